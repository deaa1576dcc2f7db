//! What the operator's people need across all accounts: sums, and what waits for one of them.

use plimsoll_model::UtcSeconds;

use super::lists::{AccountLine, line, page, read};
use super::{Store, StoreError};
use crate::record::{PaymentRecord, Record as _};

/// Sums over the accounts of one tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierTotals {
    /// The level of their tier when each was last written.
    pub tier: u8,
    /// How many they are.
    pub accounts: u64,
    /// What is in them, minor units.
    pub held_minor: i64,
    /// What their holders owe, minor units.
    pub owed_minor: i64,
    /// At most this may still come in as payments, minor units: what expired since an account was written is in it.
    pub exposed_minor: i64,
}

impl Store {
    /// Sums by tier. Reads every account: not for every request.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn totals(&self, now: UtcSeconds) -> Result<Vec<TierTotals>, StoreError> {
        const SQL: &str = "SELECT tier, count(*),
            CAST(sum(CASE WHEN balance > 0 THEN balance ELSE 0 END) AS BIGINT),
            CAST(sum(CASE WHEN balance < 0 THEN -balance ELSE 0 END) AS BIGINT),
            CAST(sum(CASE WHEN exposed_until > $1 THEN exposed ELSE 0 END) AS BIGINT)
            FROM accounts GROUP BY tier ORDER BY tier";
        let found: Vec<(i64, i64, i64, i64, i64)> =
            read!(self, readers => sqlx::query_as(SQL).bind(now.0).fetch_all(readers).await)?;
        let totals = |(tier, accounts, held_minor, owed_minor, exposed_minor): (i64, i64, i64, i64, i64)| {
            let tier = u8::try_from(tier).map_err(|_| StoreError::damaged("a stored tier does not read"))?;
            Ok(TierTotals { tier, accounts: accounts.unsigned_abs(), held_minor, owed_minor, exposed_minor })
        };
        found.into_iter().map(totals).collect()
    }

    /// The newest payments of all, newest first.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn newest_payments(&self, limit: usize) -> Result<Vec<PaymentRecord>, StoreError> {
        const SQL: &str = "SELECT body FROM payments ORDER BY judged_at DESC LIMIT $1";
        let found: Vec<Vec<u8>> =
            read!(self, readers => sqlx::query_scalar(SQL).bind(page(limit)).fetch_all(readers).await)?;
        found.iter().map(|body| Ok(PaymentRecord::from_bytes(body)?)).collect()
    }

    /// Payments with a dispute that nobody has looked at, the oldest dispute first.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn open_disputes(&self, limit: usize) -> Result<Vec<PaymentRecord>, StoreError> {
        const SQL: &str = "SELECT body FROM payments WHERE disputed_at > 0 ORDER BY disputed_at LIMIT $1";
        let found: Vec<Vec<u8>> =
            read!(self, readers => sqlx::query_scalar(SQL).bind(page(limit)).fetch_all(readers).await)?;
        found.iter().map(|body| Ok(PaymentRecord::from_bytes(body)?)).collect()
    }

    /// Accounts whose change of tier was proposed after an instant and not decided, the oldest proposal first.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn proposed_after(&self, after: UtcSeconds, limit: usize) -> Result<Vec<AccountLine>, StoreError> {
        const SQL: &str = "SELECT id, tier, balance, updated_at FROM accounts
            WHERE proposed_at > 0 AND proposed_at > $1 ORDER BY proposed_at LIMIT $2";
        let found: Vec<(String, i64, i64, i64)> = read!(self, readers =>
            sqlx::query_as(SQL).bind(after.0).bind(page(limit)).fetch_all(readers).await)?;
        found.into_iter().map(line).collect()
    }
}
