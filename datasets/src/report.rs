//! What reading cost: how many rows came, stayed and went, and why.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{BadRow, LoadError};
use crate::source::OnBadRow;

/// How many refused rows are quoted in full.
const SAMPLES: usize = 5;

/// What happened to every row: `rows_read = rows_kept + sum(skipped)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// Rows the source produced, refused ones included. (A PaySim line may hold two.)
    pub rows_read: u64,
    /// Rows in the histories.
    pub rows_kept: u64,
    /// Rows left out, by reason; duplicates included.
    pub skipped: BTreeMap<&'static str, u64>,
    /// The first refused rows, in words.
    pub samples: Vec<String>,
    /// Rows left out because an earlier row of the account has the same id.
    pub duplicates: u64,
    /// Rows that came before an earlier row of their account in time; they are kept, sorted.
    pub out_of_order: u64,
    /// Accounts known, those without rows included.
    pub accounts: u64,
    /// Accounts with at least one row.
    pub accounts_with_rows: u64,
    /// Instants (days, for date-only sources) at which a recorded balance was compared with the sum of the flows.
    pub balance_checked: u64,
    /// Of those, how many were off by less than one major unit: the source rounds.
    pub balance_rounded: u64,
    /// Of those, how many were off by more: a row is missing, or wrong.
    pub balance_mismatched: u64,
    /// The furthest that opening balance plus flows strays from a recorded balance, minor units.
    pub balance_drift_max_minor: u64,
}

impl LoadReport {
    /// Rows left out, for all reasons together.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Counts a refused row, or hands it back as the error that ends the reading.
    ///
    /// # Errors
    /// The error itself when it is no bad row, or when `on_bad` says to stop and the reason is one to stop at.
    pub(crate) fn refuse(&mut self, error: LoadError, on_bad: OnBadRow) -> Result<(), LoadError> {
        match error {
            LoadError::BadRow(bad) if on_bad == OnBadRow::Skip || !bad.reason.stops() => {
                self.rows_read += 1;
                self.count(&bad);
                Ok(())
            }
            other => Err(other),
        }
    }

    /// Counts a row that was read and is left out.
    pub(crate) fn count(&mut self, bad: &BadRow) {
        *self.skipped.entry(bad.reason.name()).or_default() += 1;
        if self.samples.len() < SAMPLES {
            self.samples.push(bad.to_string());
        }
    }
}
