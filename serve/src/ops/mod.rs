//! Running it: what it tells about itself, how it listens, and how it stops.

pub mod metrics;

pub mod process;

pub mod health;

pub mod server;

pub mod trace;
