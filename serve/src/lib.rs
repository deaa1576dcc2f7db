//! The issuer: what a wallet backend runs.
//!
//! ```text
//! device, bridge ─► border ─► api ─► ledger ─► unit of records ─► store: SQLite or PostgreSQL
//!                  who asks   JSON   the rules   one transaction     many requests, one commit
//!                                      │
//!                                      └─► models: the certified evaluator ─► limits ─► grants, signed after the commit
//! ```
//!
//! Three rules hold it together. What decides is in `ledger` and is pure: records in, records out, time given. A request
//! answers after its own commit. And everything an account is stands in one row, so that one statement loads and locks it
//! and replicas need nothing of each other.

pub mod clock;

pub mod config;

pub mod app;

pub mod border;

pub mod issuer;

pub mod ops;

pub mod record;
pub mod unit;

pub mod ledger;

pub mod models;

pub mod audit;

pub mod store;

pub mod api;

pub mod fleet;
