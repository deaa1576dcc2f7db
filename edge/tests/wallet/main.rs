//! The wallet and the payee from outside: bytes in, bytes out, time and faults as values.
#![allow(clippy::unwrap_used)] // a test may

#[path = "../signer/mod.rs"]
#[allow(dead_code)] // the wallet publishes less than the slots do
mod signer;

mod bank;

mod authorise;

mod device;

mod caps;

mod grants;

mod history;

mod lives;

mod payee;

mod power;

mod programmes;
