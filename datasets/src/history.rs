//! Histories in memory: rows grouped by account and sorted by time, ready to be walked once.
//!
//! ```text
//! Row Row Row …  ─► group by account (counting sort) ─► sort by (at, source order) ─► drop repeated ids
//!                                                       └► recorded balances ─► opening, chain check
//! ```

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use plimsoll_model::features::{FeatureState, Profile};
use plimsoll_model::{Account, Channel, Currency, Transaction, UtcOffset, UtcSeconds};
use sha2::{Digest, Sha256};

use crate::Progress;
use crate::chain::{self, Balance};
use crate::error::{BadRow, LoadError, Reason};
use crate::groups::Groups;
use crate::report::LoadReport;
use crate::source::{OnBadRow, Resolution, Row, Source};

/// How many rows pass between two calls of the progress callback.
const PROGRESS_EVERY: u64 = 1 << 15;

/// The histories of all accounts of one data set.
#[derive(Clone, Debug)]
pub struct Histories {
    /// The one currency.
    pub currency: Currency,
    /// The clock that calendar days follow.
    pub offset: UtcOffset,
    /// How finely time is told.
    pub resolution: Resolution,
    /// What reading cost.
    pub report: LoadReport,
    /// What the source says of the accounts beyond the vocabulary: not hashed, for nothing is learned from it.
    pub groups: Groups,
    accounts: Vec<Account>,
    rows: Vec<Transaction>,
    ranges: Vec<Range<usize>>,
}

/// Rows as they come, with what is needed until they are grouped.
#[derive(Default)]
struct Arrivals {
    rows: Vec<(u32, Transaction)>,
    lines: Vec<u64>,
    /// Empty until the first recorded balance; `None` is `(i64::MIN, i64::MIN)`.
    balances: Vec<(i64, i64)>,
}

const NO_BALANCE: (i64, i64) = (i64::MIN, i64::MIN);

impl Arrivals {
    fn push(&mut self, row: &Row) {
        if row.balance.is_some() && self.balances.is_empty() {
            self.balances.resize(self.rows.len(), NO_BALANCE);
        }
        if row.balance.is_some() || !self.balances.is_empty() {
            self.balances.push(row.balance.map_or(NO_BALANCE, |b| (b.before, b.after)));
        }
        self.rows.push((row.account, row.transaction));
        self.lines.push(row.line);
    }

    fn balance(&self, at: usize) -> Option<Balance> {
        let &(before, after) = self.balances.get(at).filter(|&&b| b != NO_BALANCE)?;
        Some(Balance { before, after })
    }

    /// Indices of the rows, grouped by account, in order of (time, arrival); and each account's share of them.
    fn group(&self, accounts: usize) -> (Vec<usize>, Vec<Range<usize>>) {
        let mut ends = vec![0_usize; accounts + 1];
        for (account, _) in &self.rows {
            ends[*account as usize + 1] += 1;
        }
        for i in 1..ends.len() {
            ends[i] += ends[i - 1];
        }
        let mut next = ends.clone();
        let mut order = vec![0_usize; self.rows.len()];
        for (i, (account, _)) in self.rows.iter().enumerate() {
            let place = &mut next[*account as usize];
            order[*place] = i;
            *place += 1;
        }
        let ranges: Vec<Range<usize>> = ends.windows(2).map(|w| w[0]..w[1]).collect();
        for range in &ranges {
            // Stable: rows of one instant keep their order in the source.
            order[range.clone()].sort_by_key(|&i| self.rows[i].1.at);
        }
        (order, ranges)
    }
}

impl Histories {
    /// Reads a source to its end, groups and sorts it. `progress` sees `(done, total)` of the source.
    ///
    /// Rows that repeat a nonzero id of their account are duplicates: left out and counted, or the end.
    /// Rows out of order are kept in their place in time, and counted.
    ///
    /// # Errors
    /// The source's; `BadRow` when `on_bad` says to stop; `NoGoodRows` when no row could be kept;
    /// `Interrupted` when `progress` breaks.
    pub fn read(mut source: Box<dyn Source>, on_bad: OnBadRow, progress: &mut Progress<'_>) -> Result<Self, LoadError> {
        let mut report = LoadReport::default();
        let mut arrivals = Arrivals::default();
        let mut latest: Vec<i64> = Vec::new();
        let mut first_bad = None;
        let mut calls = 0_u64;
        let mut tell = |source: &dyn Source| {
            let (done, total) = source.position();
            if progress(done, total) == ControlFlow::Break(()) { Err(LoadError::Interrupted) } else { Ok(()) }
        };
        tell(&*source)?;
        while let Some(next) = source.next_row() {
            calls += 1;
            if calls.is_multiple_of(PROGRESS_EVERY) {
                tell(&*source)?;
            }
            match next {
                Ok(row) => {
                    report.rows_read += 1;
                    let account = row.account as usize;
                    if latest.len() <= account {
                        latest.resize(account + 1, i64::MIN);
                    }
                    let at = row.transaction.at.0;
                    report.out_of_order += u64::from(at < latest[account]);
                    latest[account] = latest[account].max(at);
                    arrivals.push(&row);
                }
                Err(error) => {
                    if let (LoadError::BadRow(bad), None) = (&error, &first_bad) {
                        first_bad = Some(bad.clone());
                    }
                    report.refuse(error, on_bad)?;
                }
            }
        }
        tell(&*source)?;
        if arrivals.rows.is_empty() {
            let path = source.path().to_owned();
            return Err(match first_bad {
                Some(first) => LoadError::NoGoodRows { path, rows: report.rows_read, first: Box::new(first) },
                None => LoadError::NoRows { path },
            });
        }
        Self::assemble(&*source, &arrivals, report, on_bad)
    }

    fn assemble(
        source: &dyn Source,
        arrivals: &Arrivals,
        mut report: LoadReport,
        on_bad: OnBadRow,
    ) -> Result<Self, LoadError> {
        let mut accounts = source.accounts().to_vec();
        let (mut order, grouped) = arrivals.group(accounts.len());
        let mut rows = Vec::with_capacity(arrivals.rows.len());
        let mut ranges = Vec::with_capacity(accounts.len());
        for (account, range) in accounts.iter_mut().zip(grouped) {
            let order = &mut order[range];
            let kept = drop_repeated(order, arrivals, source, &mut report, on_bad)?;
            if source.resolution() == Resolution::Day {
                order_days(&mut order[..kept], arrivals);
            }
            check_chain(account, &order[..kept], arrivals, source, &mut report);
            let start = rows.len();
            rows.extend(order[..kept].iter().map(|&i| arrivals.rows[i].1));
            ranges.push(start..rows.len());
        }
        report.rows_kept = rows.len() as u64;
        report.accounts = accounts.len() as u64;
        report.accounts_with_rows = ranges.iter().filter(|r| !r.is_empty()).count() as u64;
        let (currency, offset, resolution) = (source.currency(), source.offset(), source.resolution());
        let groups = source.groups();
        Ok(Self { currency, offset, resolution, report, groups, accounts, rows, ranges })
    }

    /// Histories that are grouped and sorted already: each account with its rows, in order.
    pub(crate) fn from_sorted<'a>(
        currency: Currency,
        offset: UtcOffset,
        parts: impl Iterator<Item = (Account, Box<dyn Iterator<Item = Transaction> + 'a>)>,
    ) -> Self {
        let (mut accounts, mut rows, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        for (account, transactions) in parts {
            let start = rows.len();
            rows.extend(transactions);
            accounts.push(account);
            ranges.push(start..rows.len());
        }
        let report = LoadReport {
            rows_read: rows.len() as u64,
            rows_kept: rows.len() as u64,
            accounts: accounts.len() as u64,
            accounts_with_rows: ranges.iter().filter(|r: &&Range<usize>| !r.is_empty()).count() as u64,
            ..LoadReport::default()
        };
        Self {
            currency,
            offset,
            resolution: Resolution::Instant,
            report,
            groups: Groups::default(),
            accounts,
            rows,
            ranges,
        }
    }

    /// How many accounts.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is no account.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// How many transactions, over all accounts.
    pub fn transactions(&self) -> usize {
        self.rows.len()
    }

    /// An account and its rows, oldest first.
    pub fn get(&self, account: usize) -> Option<(&Account, &[Transaction])> {
        Some((self.accounts.get(account)?, &self.rows[self.ranges.get(account)?.clone()]))
    }

    /// Every account and its rows, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Account, &[Transaction])> + Clone {
        self.accounts.iter().zip(&self.ranges).map(|(account, range)| (account, &self.rows[range.clone()]))
    }

    /// The feature state of an account as it was before its first row; `None` without rows. A history does not say whether
    /// a device was attested: it counts as if it was.
    pub fn state_before(&self, account: usize) -> Option<FeatureState> {
        let (account, rows) = self.get(account)?;
        let first = rows.first()?;
        let profile = Profile {
            opened_at: account.opened_at.unwrap_or(first.at),
            tier: account.tier,
            attested: true,
            offset: self.offset,
            currency: self.currency,
        };
        Some(FeatureState::new(profile, account.opening_minor, first.at))
    }

    /// First and last instant of any row; `None` without rows.
    pub fn span(&self) -> Option<(UtcSeconds, UtcSeconds)> {
        let ends = self.iter().filter_map(|(_, rows)| Some((rows.first()?.at, rows.last()?.at)));
        ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// SHA-256, in lower-case hexadecimal, of the canonical bytes of everything that enters a training run:
    /// currency, offset, resolution, accounts in order of their names, rows in order. It does not
    /// depend on the file format nor on the order of the accounts in it.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(b"plimsoll histories 1\n");
        hash.update(format!("{:?};{};{:?}\n", self.currency, self.offset.0, self.resolution));
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|&a, &b| self.accounts[a].name.cmp(&self.accounts[b].name));
        let mut bytes = Vec::with_capacity(1 << 16);
        for account in order {
            bytes.clear();
            let (account, rows) = self.get(account).expect("an index below len");
            bytes.extend((account.name.len() as u64).to_le_bytes());
            bytes.extend(account.name.as_bytes());
            bytes.push(u8::from(account.opened_at.is_some()));
            bytes.extend(account.opened_at.map_or(0, |at| at.0).to_le_bytes());
            bytes.push(account.tier.level());
            bytes.extend(account.opening_minor.to_le_bytes());
            bytes.extend((rows.len() as u64).to_le_bytes());
            for row in rows {
                canonical(row, &mut bytes);
            }
            hash.update(&bytes);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// 48 bytes of a row, little-endian.
fn canonical(row: &Transaction, bytes: &mut Vec<u8>) {
    bytes.extend(row.at.0.to_le_bytes());
    bytes.extend(row.amount.minor().to_le_bytes());
    bytes.push(row.kind as u8);
    bytes.push(match row.channel {
        Channel::Online => 0,
        Channel::Offline(outcome) => 1 + outcome as u8,
    });
    bytes.push(row.device);
    bytes.extend(row.payee.to_le_bytes());
    bytes.extend(row.id.to_le_bytes());
    bytes.push(u8::from(row.place.is_some()));
    let (latitude, longitude) = row.place.map_or((0, 0), |p| (p.latitude_e6, p.longitude_e6));
    bytes.extend(latitude.to_le_bytes());
    bytes.extend(longitude.to_le_bytes());
}

/// Moves the indices of rows that repeat an earlier id (earlier in the source) out of `order`; how many stay.
fn drop_repeated(
    order: &mut [usize],
    arrivals: &Arrivals,
    source: &dyn Source,
    report: &mut LoadReport,
    on_bad: OnBadRow,
) -> Result<usize, LoadError> {
    let mut ids: Vec<(u64, usize)> =
        order.iter().map(|&i| (arrivals.rows[i].1.id, i)).filter(|&(id, _)| id != 0).collect();
    ids.sort_unstable();
    let repeated: Vec<usize> = ids.windows(2).filter(|w| w[0].0 == w[1].0).map(|w| w[1].1).collect();
    if repeated.is_empty() {
        return Ok(order.len());
    }
    let repeated: HashMap<usize, ()> = repeated.into_iter().map(|i| (i, ())).collect();
    let mut kept = 0;
    for at in 0..order.len() {
        let index = order[at];
        if repeated.contains_key(&index) {
            let file = source.path().to_owned();
            let bad = BadRow { file, line: arrivals.lines[index], column: None, reason: Reason::Duplicate };
            if on_bad == OnBadRow::Stop {
                return Err(bad.into());
            }
            report.count(&bad);
            report.duplicates += 1;
        } else {
            order[kept] = index;
            kept += 1;
        }
    }
    Ok(kept)
}

/// Puts the rows of each date in the order their balances tell; the file's own order within a date means nothing.
fn order_days(order: &mut [usize], arrivals: &Arrivals) {
    let row = |i: usize| &arrivals.rows[i].1;
    let mut before = None;
    for day in order.chunk_by_mut(|&a, &b| row(a).at == row(b).at) {
        if day.len() > 1 {
            let of_row = |&i: &usize| (arrivals.balance(i), row(i).amount.is_debit());
            let rows: Vec<_> = day.iter().map(of_row).collect();
            let ordered: Vec<usize> = chain::order_of_day(&rows, before).into_iter().map(|at| day[at]).collect();
            day.copy_from_slice(&ordered);
        }
        before = day.last().and_then(|&i| arrivals.balance(i)).map(|b| b.after);
    }
}

/// Sets the opening balance from the recorded balances, unless the source states it, and compares what the
/// flows make of each instant with what was recorded at its end. Each comparison starts from the last
/// recorded balance, so that one gap in the file is counted once.
fn check_chain(
    account: &mut Account,
    order: &[usize],
    arrivals: &Arrivals,
    source: &dyn Source,
    report: &mut LoadReport,
) {
    let at = |i: usize| arrivals.rows[i].1.at;
    let major = source.currency().minor_per_major();
    let (mut recorded_balance, mut summed) = (account.opening_minor, account.opening_minor);
    for (nth, group) in order.chunk_by(|&a, &b| at(a) == at(b)).enumerate() {
        let recorded: Vec<Balance> = group.iter().filter_map(|&i| arrivals.balance(i)).collect();
        if nth == 0 && !source.knows_openings() {
            account.opening_minor = chain::opening(&recorded).unwrap_or(0);
            (recorded_balance, summed) = (account.opening_minor, account.opening_minor);
        }
        for &i in group {
            let moved = arrivals.rows[i].1.moved();
            recorded_balance = recorded_balance.saturating_add(moved);
            summed = summed.saturating_add(moved);
        }
        // The rows of an instant have no order: the one nearest to the sum closes it.
        let Some(nearest) = recorded.iter().map(|b| b.after).min_by_key(|b| b.abs_diff(recorded_balance)) else {
            continue;
        };
        report.balance_checked += 1;
        match nearest.abs_diff(recorded_balance) {
            0 => {}
            off if off < major => report.balance_rounded += 1,
            _ => report.balance_mismatched += 1,
        }
        report.balance_drift_max_minor = report.balance_drift_max_minor.max(nearest.abs_diff(summed));
        recorded_balance = nearest;
    }
}
