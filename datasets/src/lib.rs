//! Where history comes from. Every source — a generator with known truth, the Berka bank, the PaySim
//! simulation, anyone's CSV or Parquet with a mapping file — is translated into the vocabulary of
//! `plimsoll_model` and nothing else leaves this crate. Sources stream; a row that cannot be read is
//! an error with file, line, column and reason, or a counted skip: nothing is silently dropped.
//!
//! ```text
//! synth  ─┐
//! berka  ─┤                                         ┌─► history   grouped, sorted, hashed, described
//! paysim ─┼─► source: one Row at a time, streaming ─►┤
//! table  ─┘   error: file, line, column, why         └─► write     Parquet or CSV, beside then renamed
//!   ▲
//! mapping: what the columns of somebody's table mean
//! ```
//!
//! Only `input`, `write` and the loaders touch the file system. Nothing reads a clock: the generator's
//! seed and dates come in as configuration, and its bytes are the same on every platform.

pub mod error;

pub mod groups;

pub mod source;

pub mod synth;

pub mod berka;

pub mod paysim;

pub mod mapping;

pub mod table;

pub mod input;

pub mod chain;

pub mod report;

pub mod history;

pub mod describe;

pub mod write;

pub use error::{BadRow, LoadError, Reason};
pub use groups::Groups;
pub use history::Histories;
pub use input::{Format, Input, open};
pub use report::LoadReport;
pub use source::{OnBadRow, Resolution, Row, Source};

/// How a long run reports `(done, total)` and learns that it should stop: `Break` ends it with
/// [`LoadError::Interrupted`] and nothing half-written.
pub type Progress<'a> = dyn FnMut(u64, u64) -> std::ops::ControlFlow<()> + 'a;
