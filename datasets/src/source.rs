//! What every loader is: a stream of rows, the accounts met so far, and the units they are in.

use std::path::Path;

use plimsoll_model::{Account, Currency, Transaction, UtcOffset, UtcSeconds};
use serde::{Deserialize, Serialize};

use crate::chain::Balance;
use crate::error::LoadError;
use crate::groups::Groups;

/// How finely a source tells the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// To the second, or near enough to order the rows of a day.
    #[default]
    Instant,
    /// Dates only: `at` is the local midnight that begins the day, and the order within a day means nothing.
    Day,
}

/// What to do with a row that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// End with the row's error.
    #[default]
    Stop,
    /// Leave it out and count it by reason.
    Skip,
}

/// One row read from a source, with the index of its account and what the source says beyond the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Index into [`Source::accounts`].
    pub account: u32,
    /// The movement.
    pub transaction: Transaction,
    /// When the payer made it; `transaction.at` unless it was offline and the source says otherwise.
    pub made_at: UtcSeconds,
    /// The balance the source recorded around it.
    pub balance: Option<Balance>,
    /// 1-based line (row, for Parquet) in [`Source::path`].
    pub line: u64,
}

/// A stream of rows. Memory is bounded by the number of accounts, not of rows.
pub trait Source {
    /// The next row, in the source's order; `None` at the end.
    ///
    /// # Errors
    /// [`LoadError::BadRow`] for a row that was refused: calling again goes on with the next one. Any
    /// other error ends the stream.
    fn next_row(&mut self) -> Option<Result<Row, LoadError>>;
    /// The accounts met so far; grows while reading.
    fn accounts(&self) -> &[Account];
    /// What the source says of them beyond the vocabulary.
    fn groups(&self) -> Groups {
        Groups::default()
    }
    /// Whether `opening_minor` of the accounts is the source's own statement, not to be rebuilt from recorded balances.
    fn knows_openings(&self) -> bool;
    /// The one currency of all amounts.
    fn currency(&self) -> Currency;
    /// The clock that calendar days follow.
    fn offset(&self) -> UtcOffset;
    /// How finely time is told.
    fn resolution(&self) -> Resolution;
    /// The file that rows are counted in, for messages.
    fn path(&self) -> &Path;
    /// How far the reading is, `(done, total)`, in bytes or rows.
    fn position(&self) -> (u64, u64);
}
