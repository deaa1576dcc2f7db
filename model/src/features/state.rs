//! The state machine: push what happened, snapshot what is known.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::FeatureVector;
use super::manifest::{FEATURE_COUNT, Feature as F};
use super::recurring::Recurring;
use super::tile::{DAYS, HORIZONS, SPENDS, Spend, Tile, falls};
use crate::money::Currency;
use crate::time::{CivilDate, DAY, UtcOffset, UtcSeconds, days_in_month, weekday};
use crate::transaction::{Channel, Kind, Settlement, Tier, Transaction};

/// Credits whose days are remembered.
const CREDIT_DAYS: usize = 9;

/// What is known of an account besides its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// When it was opened.
    pub opened_at: UtcSeconds,
    /// Its KYC tier on record.
    pub tier: Tier,
    /// Whether the device's attestation is valid.
    pub attested: bool,
    /// The clock its calendar days follow.
    pub offset: UtcOffset,
    /// What it counts in.
    pub currency: Currency,
}

/// Everything remembered of one account, in bounded memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureState {
    profile: Profile,
    balance: i64,
    last: Option<UtcSeconds>,
    /// Local day of `tiles.back()`.
    day: i64,
    /// Oldest first; the newest is today. Never empty.
    tiles: VecDeque<Tile>,
    spends: VecDeque<Spend>,
    bills: Recurring,
    incomes: Recurring,
    credit_days: VecDeque<i32>,
    reload_day: Option<i64>,
    offline: u64,
    offline_clean: u64,
}

/// A transaction older than one already folded in: the account must be rebuilt from its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction at {at:?} is older than the state, which stands at {state:?}; rebuild the account in order")]
pub struct OutOfOrder {
    /// When it happened.
    pub at: UtcSeconds,
    /// What the state has seen.
    pub state: UtcSeconds,
}

impl FeatureState {
    /// An account as it was at `from`, before its first known transaction, with `opening_minor` in it.
    pub fn new(profile: Profile, opening_minor: i64, from: UtcSeconds) -> Self {
        Self {
            profile,
            balance: opening_minor,
            last: None,
            day: profile.offset.day(from),
            tiles: VecDeque::from([Tile::starting(opening_minor)]),
            spends: VecDeque::new(),
            bills: Recurring::default(),
            incomes: Recurring::default(),
            credit_days: VecDeque::new(),
            reload_day: None,
            offline: 0,
            offline_clean: 0,
        }
    }

    /// Whether a state that was read from somewhere can have come from [`FeatureState::push`]: nothing more than is
    /// remembered, in order, and no number so large that a sum of them could overflow. One that is not must be rebuilt.
    pub fn is_sound(&self) -> bool {
        /// Sixteen times the largest amount: sums over all tiles fit `i64`.
        const MINOR_MAX: i64 = 1 << 54;
        /// The year 36,812, and as far before 1970.
        const SECONDS_MAX: i64 = 1 << 40;
        const DAY_MAX: i64 = SECONDS_MAX / DAY;
        let day = |day: i64| (-DAY_MAX..=DAY_MAX).contains(&day);
        let time = |at: UtcSeconds| (-SECONDS_MAX..=SECONDS_MAX).contains(&at.0);
        let spend = |s: &Spend| s.hour < 24 && day(i64::from(s.day)) && (1..=MINOR_MAX).contains(&s.amount);
        (1..=DAYS).contains(&self.tiles.len())
            && self.tiles.iter().all(|tile| tile.is_sound(MINOR_MAX))
            && self.spends.len() <= SPENDS
            && self.spends.iter().all(spend)
            && self.spends.iter().is_sorted_by_key(|s| s.day)
            && self.credit_days.len() <= CREDIT_DAYS
            && self.credit_days.iter().is_sorted_by(|a, b| a < b)
            && self.credit_days.iter().all(|d| day(i64::from(*d)))
            && self.bills.is_sound(MINOR_MAX, DAY_MAX)
            && self.incomes.is_sound(MINOR_MAX, DAY_MAX)
            && (-MINOR_MAX..=MINOR_MAX).contains(&self.balance)
            && day(self.day)
            && self.reload_day.is_none_or(day)
            && self.last.is_none_or(|at| time(at) && self.profile.offset.day(at) <= self.day)
            && time(self.profile.opened_at)
            && self.profile.offset.0.unsigned_abs() <= 14 * 60
            && self.offline_clean <= self.offline
            && self.offline <= 1 << 53
    }

    /// The balance in minor units.
    pub const fn balance_minor(&self) -> i64 {
        self.balance
    }

    /// When the newest transaction was that it has seen.
    pub const fn latest(&self) -> Option<UtcSeconds> {
        self.last
    }

    /// What was known of the account from the start.
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Corrects tier and attestation, which the server's record decides.
    pub fn set_standing(&mut self, tier: Tier, attested: bool) {
        self.profile.tier = tier;
        self.profile.attested = attested;
    }

    /// Folds one transaction in.
    ///
    /// # Errors
    /// `OutOfOrder` when it is older than the newest one seen, or than a day already closed.
    pub fn push(&mut self, row: &Transaction) -> Result<(), OutOfOrder> {
        let local_day = self.profile.offset.day(row.at);
        match self.last {
            Some(last) if row.at < last => return Err(OutOfOrder { at: row.at, state: last }),
            _ if local_day < self.day => {
                return Err(OutOfOrder { at: row.at, state: self.profile.offset.midnight(self.day) });
            }
            _ => {}
        }
        self.advance(local_day);
        self.last = Some(row.at);
        if let Channel::Offline(outcome) = row.channel {
            self.offline += 1;
            self.offline_clean += u64::from(outcome == Settlement::Clean);
        }
        let moved = row.moved();
        if moved == 0 {
            return Ok(());
        }
        self.balance += moved;
        let size = moved.abs();
        let today = self.tiles.back_mut().expect("a state has a tile for today");
        today.end = self.balance;
        today.low = today.low.min(self.balance);
        let day = local_day as i32;
        let key = row.payee ^ (row.kind as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if moved < 0 {
            today.out += size;
            today.out_max = today.out_max.max(size);
            if row.kind.is_committed() {
                today.committed += size;
                self.bills.note(key, day, size);
            }
            if row.kind.is_initiated() {
                today.spends += 1;
                today.spend_sum += size;
                if self.spends.len() == SPENDS {
                    self.spends.pop_front();
                }
                self.spends.push_back(Spend {
                    day,
                    hour: (self.profile.offset.second_of_day(row.at) / 3_600) as u8,
                    amount: size,
                    payee: row.payee,
                    place: row.place.map(|p| (p.latitude_e6, p.longitude_e6)),
                });
            }
        } else {
            today.credits += size;
            if row.kind == Kind::Reload {
                today.reloads += 1;
                today.reload_sum += size;
                self.reload_day = Some(local_day);
            }
            if !matches!(row.kind, Kind::Interest | Kind::Refund) {
                self.incomes.note(key, day, size);
                if self.credit_days.back() != Some(&day) {
                    if self.credit_days.len() == CREDIT_DAYS {
                        self.credit_days.pop_front();
                    }
                    self.credit_days.push_back(day);
                }
            }
        }
        Ok(())
    }

    /// Closes the days before local `day`.
    fn advance(&mut self, day: i64) {
        if day <= self.day {
            return;
        }
        // A gap longer than the memory leaves only idle days in it.
        let days = (day - self.day).min(DAYS as i64 + 1);
        for _ in 0..days {
            let closed = falls(&self.tiles);
            let today = self.tiles.back_mut().expect("a state has a tile for today");
            today.fall = closed;
            if self.tiles.len() == DAYS {
                self.tiles.pop_front();
            }
            self.tiles.push_back(Tile::starting(self.balance));
        }
        self.day = day;
        while self.spends.front().is_some_and(|s| i64::from(s.day) <= day - 90) {
            self.spends.pop_front();
        }
    }

    /// The features as known at `at` (or at the newest transaction, if that is later), age 0.
    /// Closes the days before `at`, which changes nothing that a later snapshot sees.
    pub fn snapshot(&mut self, at: UtcSeconds) -> FeatureVector {
        let at = self.last.map_or(at, |last| last.max(at));
        let offset = self.profile.offset;
        self.advance(offset.day(at));
        let mut v = [f32::NAN; FEATURE_COUNT];
        self.behaviour(&mut v);
        self.calendar(&mut v, offset.second_of_day(at));
        self.standing(&mut v, at);
        self.drawdown(&mut v);
        self.lags(&mut v);
        self.rhythm(&mut v);
        FeatureVector(v)
    }

    /// The newest `days` tiles, newest first.
    fn newest(&self, days: usize) -> impl Iterator<Item = &Tile> {
        self.tiles.iter().rev().take(days)
    }

    /// The tile of local `day`, if it is still remembered.
    fn tile(&self, day: i64) -> Option<&Tile> {
        let back = usize::try_from(self.day - day).ok()?;
        self.tiles.get(self.tiles.len().checked_sub(1 + back)?)
    }

    fn share(&self, minor: i64) -> f32 {
        if self.balance > 0 { ratio(minor, self.balance) } else { f32::NAN }
    }

    fn major(&self, minor: i64, count: i64) -> f32 {
        if count == 0 {
            f32::NAN
        } else {
            (minor as f64 / count as f64 / self.profile.currency.minor_per_major() as f64) as f32
        }
    }

    /// How the holder spends: the seed's features.
    fn behaviour(&self, v: &mut [f32; FEATURE_COUNT]) {
        let (mut spends_30, mut sum_30, mut reloads_30) = (0u32, 0i64, 0u32);
        for tile in self.newest(30) {
            spends_30 += tile.spends;
            sum_30 += tile.spend_sum;
            reloads_30 += tile.reloads;
        }
        let (mut spends_90, mut reloads_90, mut reload_sum_90) = (0u32, 0u32, 0i64);
        for tile in self.newest(90) {
            spends_90 += tile.spends;
            reloads_90 += tile.reloads;
            reload_sum_90 += tile.reload_sum;
        }
        v[F::TxCount30d as usize] = spends_30 as f32;
        v[F::TxCount90d as usize] = spends_90 as f32;
        v[F::AvgTxAmount30d as usize] = self.major(sum_30, i64::from(spends_30));
        v[F::ReloadFreq30d as usize] = reloads_30 as f32;
        v[F::ReloadAmountAvg as usize] = self.major(reload_sum_90, i64::from(reloads_90));
        if let Some(day) = self.reload_day {
            v[F::DaysSinceLastReload as usize] = (self.day - day) as f32;
        }

        let month_ago = self.day as i32 - 30;
        let mut amounts = [0i64; SPENDS];
        let mut payees = Payees::default();
        let (mut n, mut n_30, mut weekdays) = (0usize, 0usize, 0usize);
        let mut hours = [0u16; 24];
        let mut geo = Dispersion::default();
        // Newest first, so that the spends of 30 days come before the older ones.
        for spend in self.spends.iter().rev() {
            payees.count(spend.payee);
            n += 1;
            if spend.day > month_ago {
                amounts[n_30] = spend.amount;
                n_30 += 1;
                v[F::UniquePayees30d as usize] = payees.distinct as f32;
            }
            hours[usize::from(spend.hour)] += 1;
            weekdays += usize::from(weekday(i64::from(spend.day)) < 5);
            if let Some(place) = spend.place {
                geo.add(place);
            }
        }
        let [median, p95] = nearest_ranks(&mut amounts[..n_30], [50, 95]);
        v[F::MedianTxAmount30d as usize] = self.major(median, i64::from(n_30 > 0));
        v[F::TxAmountP9530d as usize] = self.major(p95, i64::from(n_30 > 0));
        if n_30 == 0 {
            v[F::UniquePayees30d as usize] = 0.0;
        }
        v[F::UniquePayees90d as usize] = payees.distinct as f32;
        v[F::PayeeDiversityIdx as usize] = payees.entropy() as f32;
        if n > 0 {
            let most = hours.iter().max().copied().unwrap_or(0);
            let hour = hours.iter().position(|h| *h == most).unwrap_or(0);
            v[F::TimeOfDayPrimary as usize] = hour as f32;
            v[F::WeekdayShare as usize] = ratio(weekdays as i64, n as i64);
        }
        v[F::GeoDispersionKm as usize] = geo.km();
    }

    fn calendar(&self, v: &mut [f32; FEATURE_COUNT], second_of_day: i64) {
        let date = CivilDate::of_day(self.day);
        v[F::DayOfMonth as usize] = f32::from(date.day);
        v[F::DaysLeftInMonth as usize] = f32::from(days_in_month(date.year, date.month) - date.day);
        v[F::Weekday as usize] = f32::from(weekday(self.day));
        v[F::HourOfDay as usize] = (second_of_day / 3_600) as f32;
    }

    fn standing(&self, v: &mut [f32; FEATURE_COUNT], at: UtcSeconds) {
        v[F::PriorOfflineCount as usize] = self.offline as f32;
        v[F::PriorOfflineSettleRate as usize] =
            if self.offline == 0 { 1.0 } else { ratio(self.offline_clean as i64, self.offline as i64) };
        v[F::AccountAgeDays as usize] = (at.since(self.profile.opened_at).max(0) / DAY) as f32;
        v[F::KycTier as usize] = f32::from(self.profile.tier.level());
        v[F::LastSyncAgeMin as usize] = 0.0;
        v[F::DeviceAttestOk as usize] = f32::from(u8::from(self.profile.attested));
        v[F::HistoryDays as usize] = self.tiles.len() as f32;
        if self.balance > 0 {
            let major = self.balance as f64 / self.profile.currency.minor_per_major() as f64;
            v[F::BalanceLog2 as usize] = libm::log2(1.0 + major) as f32;
        }
    }

    /// How low and how fast the balance falls.
    fn drawdown(&self, v: &mut [f32; FEATURE_COUNT]) {
        let mut low = i64::MAX;
        let (mut out, mut credits, mut out_max) = (0i64, 0i64, 0i64);
        let (mut out_day_max, mut committed) = (0i64, 0i64);
        let mut net_squares = 0i128;
        let mut fallen = [[0i64; 90]; HORIZONS.len()];
        let mut known = [0usize; HORIZONS.len()];
        let mut depleted = [0i64; HORIZONS.len()];
        let (mut lows, mut outs, mut ins) = ([i64::MAX; 3], [0i64; 3], [0i64; 3]);
        let mut net = (0i64, 0i64);
        for (back, tile) in self.newest(90).enumerate() {
            low = low.min(tile.low);
            out += tile.out;
            credits += tile.credits;
            out_max = out_max.max(tile.out_max);
            if back < 30 {
                out_day_max = out_day_max.max(tile.out);
                committed += tile.committed;
                let day = tile.credits - tile.out;
                net = (net.0 + day, net.1 + 1);
                net_squares += i128::from(day) * i128::from(day);
                (lows[1], outs[2], ins[2]) = (low, out, credits);
                if back < 7 {
                    (lows[0], outs[1], ins[1]) = (low, out, credits);
                    if back == 0 {
                        (outs[0], ins[0]) = (out, credits);
                    }
                }
            }
            for (h, days) in HORIZONS.into_iter().enumerate() {
                let fall = tile.fall[h];
                if fall >= 0 {
                    fallen[h][known[h]] = fall;
                    known[h] += 1;
                    // The balance the fall began from stands `days` tiles before this one.
                    let start = self.tiles.len().checked_sub(1 + back + days).map_or(0, |ix| self.tiles[ix].end);
                    depleted[h] += i64::from(start > 0 && fall * 2 >= start);
                }
            }
        }
        lows[2] = low;
        v[F::Low7dShare as usize] = self.share(lows[0]);
        v[F::Low30dShare as usize] = self.share(lows[1]);
        v[F::Low90dShare as usize] = self.share(lows[2]);
        v[F::Out1dShare as usize] = self.share(outs[0]);
        v[F::Out7dShare as usize] = self.share(outs[1]);
        v[F::Out30dShare as usize] = self.share(outs[2]);
        v[F::In7dShare as usize] = self.share(ins[1]);
        v[F::In30dShare as usize] = self.share(ins[2]);
        v[F::OutDayMax30dShare as usize] = self.share(out_day_max);
        v[F::OutMax90dShare as usize] = self.share(out_max);
        v[F::Committed30dShare as usize] = self.share(committed);
        if self.balance > 0 && net.1 > 1 {
            // n·Σx² − (Σx)² is an exact integer, and never negative.
            let n = i128::from(net.1);
            let spread = (n * net_squares - i128::from(net.0) * i128::from(net.0)) as f64;
            let sd = libm::sqrt(spread / (n * (n - 1)) as f64);
            v[F::NetSd30dShare as usize] = (sd / self.balance as f64) as f32;
        }
        for (h, columns) in [F::Depletion1d, F::Depletion3d, F::Depletion7d].into_iter().enumerate() {
            if known[h] > 0 {
                v[columns as usize] = ratio(depleted[h], known[h] as i64);
            }
        }
        let [_, three, seven] = &mut fallen;
        let (three, seven) = (&mut three[..known[1]], &mut seven[..known[2]]);
        if !three.is_empty() && self.balance > 0 {
            let over_half = three.iter().filter(|f| **f * 2 >= self.balance).count();
            v[F::Fall3dOverHalf as usize] = ratio(over_half as i64, three.len() as i64);
            let [q50, q90, q98] = nearest_ranks(three, [50, 90, 98]);
            v[F::Fall3dQ50Share as usize] = self.share(q50);
            v[F::Fall3dQ90Share as usize] = self.share(q90);
            v[F::Fall3dQ98Share as usize] = self.share(q98);
        }
        if !seven.is_empty() && self.balance > 0 {
            let over = seven.iter().filter(|f| **f >= self.balance).count();
            v[F::Fall7dOverBalance as usize] = ratio(over as i64, seven.len() as i64);
            v[F::Fall7dMaxShare as usize] = self.share(seven.iter().copied().max().unwrap_or(0));
            let [q90] = nearest_ranks(seven, [90]);
            v[F::Fall7dQ90Share as usize] = self.share(q90);
        }
    }

    /// What happened at this point of the month in the three months before.
    fn lags(&self, v: &mut [f32; FEATURE_COUNT]) {
        let (mut committed, mut credits) = (None::<i64>, None::<i64>);
        for (months, falls) in [
            (1, [Some(F::Lag1Fall3dShare), Some(F::Lag1Fall7dShare)]),
            (2, [None, Some(F::Lag2Fall7dShare)]),
            (3, [None, Some(F::Lag3Fall7dShare)]),
        ] {
            let aligned = aligned_day(self.day, months);
            for (h, column) in [(1, falls[0]), (2, falls[1])] {
                if let (Some(column), Some(tile)) = (column, self.tile(aligned + HORIZONS[h] as i64))
                    && tile.fall[h] >= 0
                {
                    v[column as usize] = self.share(tile.fall[h]);
                }
            }
            let (mut due, mut came) = (0, 0);
            let whole = (1..=7).all(|d| match self.tile(aligned + d) {
                Some(tile) => {
                    due += tile.committed;
                    came += tile.credits;
                    true
                }
                None => false,
            });
            if whole {
                committed = Some(committed.map_or(due, |c| c.max(due)));
                credits = Some(credits.map_or(came, |c| c.min(came)));
            }
        }
        if let (Some(committed), Some(credits)) = (committed, credits) {
            v[F::LagCommitted7dShare as usize] = self.share(committed);
            v[F::LagIn7dShare as usize] = self.share(credits);
        }
    }

    /// What is expected, and how regular the income is.
    fn rhythm(&self, v: &mut [f32; FEATURE_COUNT]) {
        let today = self.day as i32;
        let (mut due_3, mut due_7) = (0i64, 0i64);
        let mut next: Option<(i32, i64)> = None;
        for due in self.bills.expected(today) {
            due_3 += if due.days <= 3 { due.amount } else { 0 };
            due_7 += if due.days <= 7 { due.amount } else { 0 };
            next = match next {
                Some((days, amount)) if days < due.days => Some((days, amount)),
                Some((days, amount)) if days == due.days => Some((days, amount + due.amount)),
                _ => Some((due.days, due.amount)),
            };
        }
        v[F::Due3dShare as usize] = self.share(due_3);
        v[F::Due7dShare as usize] = self.share(due_7);
        if let Some((days, amount)) = next {
            v[F::DueNextDays as usize] = days as f32;
            v[F::DueNextShare as usize] = self.share(amount);
        }
        if let Some(days) = self.incomes.expected(today).map(|e| e.days).min() {
            v[F::InNextDays as usize] = days as f32;
        }
        if let Some(day) = self.credit_days.back() {
            v[F::InLastDays as usize] = (today - day) as f32;
        }
        let gaps = self.credit_days.len().saturating_sub(1) as i64;
        if gaps >= 2 {
            let (mut sum, mut squares) = (0i64, 0i64);
            for (earlier, later) in self.credit_days.iter().zip(self.credit_days.iter().skip(1)) {
                let gap = i64::from(later - earlier);
                sum += gap;
                squares += gap * gap;
            }
            let spread = (gaps * squares - sum * sum) as f64;
            let sd = libm::sqrt(spread / (gaps * (gaps - 1)) as f64);
            v[F::InGapCv as usize] = (sd * gaps as f64 / sum as f64) as f32;
        }
    }
}

/// The day `months` before that lies at the same point of its month: counted from the month's start in its
/// first half and from its end in the second, so that rent on the 1st is one day off from any 30th or 31st.
fn aligned_day(day: i64, months: i32) -> i64 {
    let date = CivilDate::of_day(day);
    let then = CivilDate { day: 1, ..date }.plus_months(-months);
    let length = days_in_month(then.year, then.month);
    let then_day = if date.day <= 15 {
        date.day
    } else {
        let left = days_in_month(date.year, date.month) - date.day;
        length - left
    };
    CivilDate { day: then_day, ..then }.day_number()
}

/// `a / b` in the one place where integers become `f32`.
fn ratio(a: i64, b: i64) -> f32 {
    (a as f64 / b as f64) as f32
}

/// For each of some rising percentages, the smallest value with at least that many % of the values at or below it; 0
/// of none. Reorders.
fn nearest_ranks<const N: usize>(values: &mut [i64], percents: [usize; N]) -> [i64; N] {
    let mut found = [0; N];
    let n = values.len();
    let mut rest = values;
    // From the top down, so that each search looks only below the one before.
    for (out, percent) in found.iter_mut().zip(percents).rev() {
        if n > 0 {
            let rank = (n * percent).div_ceil(100).max(1) - 1;
            rest.select_nth_unstable(rank);
            *out = rest[rank];
            rest = &mut rest[..=rank];
        }
    }
    found
}

/// Slots of [`Payees`]: twice as many as spends, so that a search is short.
const SLOTS: usize = 2 * SPENDS;

/// How often each payee was paid: a hash table that lives on the stack for one snapshot.
struct Payees {
    names: [u64; SLOTS],
    counts: [u16; SLOTS],
    /// The slots in use, so that only those are gone through.
    used: [u16; SPENDS],
    distinct: usize,
    total: usize,
}

impl Default for Payees {
    fn default() -> Self {
        Self { names: [0; SLOTS], counts: [0; SLOTS], used: [0; SPENDS], distinct: 0, total: 0 }
    }
}

impl Payees {
    fn count(&mut self, payee: u64) {
        // Fibonacci hashing: the top bits of a product by 2⁶⁴/φ (Knuth, TAOCP 6.4).
        let mut slot = (payee.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2())) as usize;
        while self.counts[slot] > 0 && self.names[slot] != payee {
            slot = (slot + 1) % SLOTS;
        }
        if self.counts[slot] == 0 {
            self.names[slot] = payee;
            self.used[self.distinct] = slot as u16;
            self.distinct += 1;
        }
        self.total += 1;
        self.counts[slot] += 1;
    }

    /// Shannon entropy in nats: `ln n − Σ c ln c / n`.
    fn entropy(&self) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        // How many payees have each count, so that the sum does not depend on where they hash to.
        let mut payees_with = [0u16; SPENDS + 1];
        let mut most = 0;
        for slot in &self.used[..self.distinct] {
            let count = usize::from(self.counts[usize::from(*slot)]);
            payees_with[count] += 1;
            most = most.max(count);
        }
        let n = self.total as f64;
        let sum: f64 = (2..=most)
            .filter(|c| payees_with[*c] > 0)
            .map(|c| f64::from(payees_with[c]) * c as f64 * libm::log(c as f64))
            .sum();
        (libm::log(n) - sum / n).max(0.0)
    }
}

/// Spread of places around their centre, exact until the last step.
#[derive(Default)]
struct Dispersion {
    n: i64,
    sum: [i64; 2],
    squares: [i128; 2],
}

impl Dispersion {
    fn add(&mut self, (latitude, longitude): (i32, i32)) {
        self.n += 1;
        for (axis, degrees_e6) in [latitude, longitude].into_iter().enumerate() {
            self.sum[axis] += i64::from(degrees_e6);
            self.squares[axis] += i128::from(degrees_e6) * i128::from(degrees_e6);
        }
    }

    fn km(&self) -> f32 {
        if self.n == 0 {
            return f32::NAN;
        }
        let n = i128::from(self.n);
        let spread: i128 =
            (0..2).map(|a| n * self.squares[a] - i128::from(self.sum[a]) * i128::from(self.sum[a])).sum();
        // Var in degrees² = spread / n² / 10¹².
        (111.0 * libm::sqrt(spread as f64 / (n * n) as f64) / 1e6) as f32
    }
}

#[cfg(test)]
mod tests;
