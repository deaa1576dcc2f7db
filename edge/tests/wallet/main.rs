//! The wallet and the payee from outside: bytes in, bytes out, time and faults as values.
#![allow(clippy::unwrap_used)] // a test may

mod bank;

mod authorise;

mod grants;

mod payee;
