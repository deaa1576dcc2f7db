//! `Slots`, as an app uses it: what runs, when, and what happens when anything fails.
//!
//! | module | question |
//! |---|---|
//! | `life` | install, trial, keep, roll back, expire, report |
//! | `hostile` | damaged slots and states, wrong releases, wrong clocks |
//! | `power` | after a power cut anywhere, a full disk or a broken one: what runs? |

#[path = "../signer/mod.rs"]
#[allow(dead_code)] // the kill test and the fuzz targets use the rest
mod signer;

mod device;

mod life;

mod hostile;

mod power;
