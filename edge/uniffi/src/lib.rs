//! The edge for Kotlin, Swift and Python, by UniFFI: typed objects, records and errors over `plimsoll_edge::wire`.
//!
//! ```text
//! Evaluator.open(files, root, now) ─► evaluate(history, situation, now) ─► Answer
//! Device.open(setup) ─► install(files, now) · accept(grant, now) · limit(now) · authorise(request, proved, now)
//! ```
//!
//! Amounts are integer minor units, times UTC seconds, ages minutes; no clock is read here. Objects may be used from
//! several threads; a device takes one call at a time.

uniffi::setup_scaffolding!("plimsoll");

mod words;

mod evaluator;

mod device;

mod refused;

pub use device::{Curved, Decided, Device, Installed, Paid, PaymentRequest, Remaining, Setup};
pub use evaluator::{Answer, Evaluator, History, Place, Point, Profile, Row};
pub use refused::Refused;
