//! What is in a data set, in numbers: for the eyes of whoever is about to train on it.

use std::collections::BTreeMap;

use plimsoll_model::{Channel, Currency, Tier, UtcOffset, UtcSeconds};
use serde::Serialize;

use crate::history::Histories;
use crate::source::Resolution;

/// The numbers. Money is in minor units of `currency`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// The currency.
    pub currency: Currency,
    /// Minutes east of UTC of calendar days.
    pub offset: UtcOffset,
    /// How finely time is told.
    pub resolution: Resolution,
    /// Accounts, those without rows included.
    pub accounts: u64,
    /// Accounts without a row.
    pub accounts_without_rows: u64,
    /// Rows.
    pub transactions: u64,
    /// First row.
    pub first: Option<UtcSeconds>,
    /// Last row.
    pub last: Option<UtcSeconds>,
    /// Local days from the first row to the last, both included.
    pub days: u64,
    /// Rows and sums by kind.
    pub kinds: BTreeMap<&'static str, KindTotal>,
    /// Share of the payments (debits the holder started) that were made offline, 0–1.
    pub offline_share: f64,
    /// Rows by outcome of offline payments.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Accounts by KYC tier.
    pub tiers: [u64; Tier::COUNT],
    /// Balance after each row, minor units.
    pub balance: Percentiles,
    /// Rows after which the balance is below zero.
    pub negative_rows: u64,
    /// Accounts whose balance was ever below zero.
    pub negative_accounts: u64,
    /// Accounts whose balance was never above zero after a row: nothing to limit.
    pub never_positive_accounts: u64,
    /// Rows per account.
    pub rows_per_account: Percentiles,
    /// Days from an account's first row to its last, both included.
    pub days_per_account: Percentiles,
}

/// Rows of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KindTotal {
    /// How many.
    pub rows: u64,
    /// What they moved, signed minor units.
    pub moved_minor: i128,
}

/// Nearest-rank percentiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // The names say it.
pub struct Percentiles {
    pub min: i64,
    pub p1: i64,
    pub p5: i64,
    pub p25: i64,
    pub p50: i64,
    pub p75: i64,
    pub p95: i64,
    pub p99: i64,
    pub max: i64,
}

impl Percentiles {
    /// Of `values`, which are put in order; all zero when there are none.
    pub fn of(values: &mut [i64]) -> Self {
        values.sort_unstable();
        let rank = |percent: usize| {
            let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(at).copied().unwrap_or(0)
        };
        Self {
            min: rank(0),
            p1: rank(1),
            p5: rank(5),
            p25: rank(25),
            p50: rank(50),
            p75: rank(75),
            p95: rank(95),
            p99: rank(99),
            max: rank(100),
        }
    }
}

impl Histories {
    /// Counts everything once.
    pub fn describe(&self) -> Description {
        let mut kinds: BTreeMap<&'static str, KindTotal> = BTreeMap::new();
        let mut outcomes: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut tiers = [0; Tier::COUNT];
        let (mut balances, mut counts, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        let (mut payments, mut offline) = (0_u64, 0_u64);
        let (mut negative_rows, mut negative_accounts, mut never_positive) = (0, 0, 0);
        for (account, rows) in self.iter() {
            tiers[usize::from(account.tier.level())] += 1;
            counts.push(rows.len() as i64);
            let mut balance = account.opening_minor;
            let (mut negative, mut positive) = (0, balance > 0);
            for row in rows {
                balance = balance.saturating_add(row.moved());
                balances.push(balance);
                negative += u64::from(balance < 0);
                positive |= balance > 0;
                let total = kinds.entry(row.kind.name()).or_default();
                total.rows += 1;
                total.moved_minor += i128::from(row.moved());
                payments += u64::from(row.kind.is_initiated());
                if let Channel::Offline(outcome) = row.channel {
                    *outcomes.entry(outcome.name()).or_default() += 1;
                    offline += u64::from(row.kind.is_initiated());
                }
            }
            negative_rows += negative;
            negative_accounts += u64::from(negative > 0);
            never_positive += u64::from(!positive);
            if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
                spans.push(self.offset.day(last.at) - self.offset.day(first.at) + 1);
            }
        }
        let span = self.span();
        Description {
            currency: self.currency,
            offset: self.offset,
            resolution: self.resolution,
            accounts: self.len() as u64,
            accounts_without_rows: self.len() as u64 - spans.len() as u64,
            transactions: self.transactions() as u64,
            first: span.map(|s| s.0),
            last: span.map(|s| s.1),
            days: span.map_or(0, |(a, b)| (self.offset.day(b) - self.offset.day(a) + 1) as u64),
            kinds,
            offline_share: if payments == 0 { 0.0 } else { offline as f64 / payments as f64 },
            outcomes,
            tiers,
            balance: Percentiles::of(&mut balances),
            negative_rows,
            negative_accounts,
            never_positive_accounts: never_positive,
            rows_per_account: Percentiles::of(&mut counts),
            days_per_account: Percentiles::of(&mut spans),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occur() {
        let mut values: Vec<i64> = (1..=200).rev().collect();
        let p = Percentiles::of(&mut values);
        assert_eq!((p.min, p.p1, p.p5, p.p50, p.p99, p.max), (1, 2, 10, 100, 198, 200));
        assert_eq!(
            Percentiles::of(&mut [7]),
            Percentiles { min: 7, p1: 7, p5: 7, p25: 7, p50: 7, p75: 7, p95: 7, p99: 7, max: 7 }
        );
        assert_eq!(Percentiles::of(&mut []), Percentiles::default());
    }
}
