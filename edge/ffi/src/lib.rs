//! The C ABI: handles, bytes in, JSON bytes out. Also what the WebAssembly module exports.
//!
//! ```text
//! plimsoll_bundle_new ─► plimsoll_bundle_add … ─► plimsoll_open ─► plimsoll_evaluate … ─► plimsoll_evaluator_free
//!                               │                      └── answer ─────────┴──► plimsoll_bytes_free
//! plimsoll_device_open ─► plimsoll_device_install, plimsoll_device_command … ─► plimsoll_device_free
//! ```
//!
//! The rules are the same for every function:
//!
//! - What the caller passes stays the caller's; it is read during the call and not kept.
//! - What a call makes (a handle, an answer) is the caller's to give back to its `_free`, once.
//! - A call that can fail returns a [`Status`] and always sets `answer`: the result as JSON, or
//!   `{"code": …, "message": …}`. The JSON is that of `plimsoll_edge::wire`.
//! - A null pointer where one is not allowed is [`Status::BadArgument`], not a crash. A panic, which would be a bug of
//!   ours, is [`Status::Panicked`] and does not unwind into the caller (builds with `panic = "abort"` end the process).
//! - An evaluator may be used from several threads at once; a bundle or a device from one at a time.

mod bytes;

mod guard;

mod bundle;

mod evaluator;

mod device;

pub use bundle::{plimsoll_bundle_add, plimsoll_bundle_free, plimsoll_bundle_new};
pub use bytes::{Bytes, plimsoll_alloc, plimsoll_bytes_free, plimsoll_dealloc};
pub use device::{plimsoll_device_command, plimsoll_device_free, plimsoll_device_install, plimsoll_device_open};
pub use evaluator::{plimsoll_evaluate, plimsoll_evaluator_free, plimsoll_open};
pub use guard::Status;

/// The version of this ABI: rises when a function, a struct or an answer changes incompatibly.
pub const PLIMSOLL_ABI: u32 = 1;

/// The ABI version of the library that was linked; compare with `PLIMSOLL_ABI` of the header.
#[unsafe(no_mangle)]
pub extern "C" fn plimsoll_abi() -> u32 {
    PLIMSOLL_ABI
}
