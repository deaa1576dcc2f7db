//! From a finished run to the release of it: what must be true, who may say otherwise, and what is at stake.
//!
//! | module | question |
//! |---|---|
//! | `publishing` | does each check find what it is for, and is nothing published without it or a signed override? |
//! | `altered` | is a certificate altered in any field, or a log in any row, refused? |
//! | `exposure` | are the exposures, the fitted ceilings and the reserves those of trying everything? |
//! | `tutorial` | does the README's walk work as it is written? |

#[path = "../common/mod.rs"]
mod common;

mod publishing;

mod altered;

mod exposure;

mod tutorial;
