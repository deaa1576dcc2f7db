//! Verify, evaluate, decide: the part of Plimsoll that ships on devices. It reads no clock and opens no socket;
//! the caller passes time and bytes.
//!
//! ```text
//! bytes ─► trust::verify ─► Verified ─► Evaluator::new ─► Evaluator ─► decide(features, situation, now) ─► Decision
//!          TUF metadata     signed      bounds check,     evaluable    model ─► caps ─► reasons
//!          then hashes      bytes       golden vectors
//! ```
//!
//! Trust is a type: only [`trust::verify`] makes a [`trust::Verified`], and only that becomes an [`Evaluator`].

pub mod storage;

pub mod trust;

#[cfg(feature = "tract-core")]
pub mod tract;

pub mod model;

pub mod evaluator;

pub mod slots;

pub mod history;

pub mod wallet;

pub mod payee;

pub mod device;

pub mod wire;

pub use device::Device;
pub use evaluator::{Evaluator, RefuseArtifact};
pub use model::{Model, RefuseModel};
pub use payee::Payee;
pub use plimsoll_kernel::{self as kernel, Kernel};
pub use slots::Slots;
pub use wallet::Wallet;
