//! The vocabulary and the rules of Plimsoll. Pure: no I/O, no clock, no threads; time, keys and
//! seeds come in as arguments, so every rule here runs the same to the bit on a phone and a server.
//!
//! ```text
//! transactions ─► features ─► forest ─► calibrated limit ─► policy caps ─► decision
//!  transaction    features    forest     calibration         policy         decision
//!                                │
//!                     attribution: what each feature adds to a prediction
//!                     onnx, monotone, golden, artifact: the same forest as bytes that can be checked
//!                                                       decision ─► explain: parts that sum to it, and what would raise it
//!                                                       decision ─► grant: a limit as bytes that can be checked
//! ```

pub mod money;

pub mod time;

pub mod transaction;

pub mod features;

pub mod quantile;

pub mod forest;

pub mod attribution;

pub mod monotone;

pub mod onnx;

pub mod calibration;

pub mod monitor;

pub mod margin;

pub mod policy;

pub mod standing;

pub mod online;

pub mod decision;

pub mod explain;

pub mod golden;

pub mod artifact;

pub mod certificate;

pub mod merkle;

pub mod grant;

pub use money::{Currency, Flow, Money};
pub use time::{Age, UtcOffset, UtcSeconds};
pub use transaction::{Account, Channel, Kind, Settlement, Tier, Transaction};
