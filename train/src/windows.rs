//! Windows: what was known at a sync, and how low the balance then fell.
//!
//! ```text
//! one account's history ─┬─ rows before t ─► features at t, balance B
//!                        └─ rows in [t, t+a+H] ─► headroom S(t, a) for each age a
//! ```
//!
//! `S(t, a) = clip(min over [t, t+a+H] of the balance from the flows that count, 0, B)`. It is observed for every
//! account and day of history, so no offline payment is needed to learn from. It never rises with age.

use plimsoll_datasets::{Histories, Resolution};
use plimsoll_model::calibration::Target;
use plimsoll_model::features::FEATURE_COUNT;
use plimsoll_model::forest::ONE;
use plimsoll_model::money::Money;
use plimsoll_model::policy::Policy;
use plimsoll_model::time::{Age, DAY, UtcSeconds};
use plimsoll_model::{Account, Tier, Transaction};
use rayon::prelude::*;

/// Which part of the data a window belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Teaches the trees.
    Train,
    /// Chooses between rules.
    Choose,
    /// Calibrates the limit.
    Calibrate,
    /// Tests the promise.
    Test,
}

/// Whose windows teach the trees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Teachers {
    /// Those of accounts that do nothing else: what the trees were taught has nothing to do with the accounts that
    /// calibrate, so a certificate holds for any number of accounts. Everything that ships is made so.
    #[default]
    ByAccount,
    /// The earlier windows of the accounts that choose and calibrate, too: many more of them, but the trees have seen
    /// these accounts, so what they do later is not what a stranger would do, and nothing is guaranteed. For
    /// comparison with methods that are tried that way.
    ByTime,
}

/// The times of a part: syncs may happen from `from`, and windows must have ended by `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// First instant of a sync.
    pub from: UtcSeconds,
    /// Last instant a window may touch.
    pub until: UtcSeconds,
}

/// How windows are taken.
#[derive(Clone, Debug)]
pub struct Sampling<'a> {
    /// Decides accounts, days and hours.
    pub seed: u64,
    /// Which flows count.
    pub target: Target,
    /// Which tiers there are: an account of another is treated as the lowest, as it will be when it is served.
    pub policy: &'a Policy,
    /// Ages, rising.
    pub ages: &'a [Age],
    /// Hours after evaluation in which payments may settle.
    pub window_h: u32,
    /// Windows of an account at most.
    pub per_account: u32,
    /// Days of history before the first window.
    pub history_days_min: u32,
    /// Shares of accounts that calibrate, that test and that choose, in thousandths.
    pub shares_milli: [u32; 3],
    /// Tests the accounts of this fold, of so many, instead of a share of them: `(fold, folds)`.
    pub fold: Option<(u32, u32)>,
    /// Whose windows teach.
    pub teachers: Teachers,
    /// The times of teaching, of calibration (and choosing), and of the test.
    pub periods: [Period; 3],
}

/// What was known at one sync, and what followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Index of the account.
    pub account: u32,
    /// The tier whose rules it is served under.
    pub tier: Tier,
    /// When the sync was.
    pub at: UtcSeconds,
    /// Balance then; positive.
    pub balance: Money,
    /// Features then, age 0.
    pub features: [f32; FEATURE_COUNT],
    /// Headroom at each age; falling.
    pub headroom: Vec<Money>,
    /// What the holder then paid on the spot within the settlement window: the demand that offline payment would meet.
    pub demand: Money,
}

impl Window {
    /// The share of the balance that stayed, at age `ix`, in steps rounded down.
    pub fn fraction_steps(&self, ix: usize) -> i32 {
        (u128::from(self.headroom[ix].minor()) * u128::from(ONE) / u128::from(self.balance.minor())) as i32
    }
}

/// Windows of the parts, in the order of accounts and times.
#[derive(Debug, Default)]
pub struct Windows {
    /// For the trees.
    pub train: Vec<Window>,
    /// For the choice of a rule.
    pub choose: Vec<Window>,
    /// For the limit.
    pub calibrate: Vec<Window>,
    /// For the promise.
    pub test: Vec<Window>,
    /// Why accounts gave no window.
    pub skipped: Skipped,
}

/// Accounts that gave no window, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// Too little history before, or too little time after, any day of their part.
    pub short_history: u32,
    /// History enough, but never a positive balance at a sampled sync.
    pub no_positive_balance: u32,
}

impl Sampling<'_> {
    /// The part an account belongs to: by a hash of its name, so that adding accounts moves nobody.
    pub fn part(&self, account: &Account) -> Part {
        let hash = mix(self.seed ^ plimsoll_model::transaction::name_hash(account.name.as_bytes()));
        let draw = (hash >> 32) as u32;
        let [calibrate, test, choose] = self.shares_milli;
        if let Some((fold, folds)) = self.fold {
            return match draw % (1_000 - test) {
                _ if mix(hash) % u64::from(folds) == u64::from(fold) => Part::Test,
                d if d < calibrate => Part::Calibrate,
                d if d < calibrate + choose => Part::Choose,
                _ => Part::Train,
            };
        }
        let draw = draw % 1_000;
        match draw {
            d if d < calibrate => Part::Calibrate,
            d if d < calibrate + test => Part::Test,
            d if d < calibrate + test + choose => Part::Choose,
            _ => Part::Train,
        }
    }

    /// Everything an account does.
    fn parts(&self, account: &Account) -> &'static [Part] {
        match (self.teachers, self.part(account)) {
            (_, Part::Test) => &[Part::Test],
            (Teachers::ByAccount, Part::Train) => &[Part::Train],
            (Teachers::ByAccount, Part::Choose) => &[Part::Choose],
            (Teachers::ByAccount, Part::Calibrate) => &[Part::Calibrate],
            (Teachers::ByTime, Part::Choose) => &[Part::Train, Part::Choose],
            (Teachers::ByTime, Part::Train | Part::Calibrate) => &[Part::Train, Part::Calibrate],
        }
    }

    const fn period(&self, part: Part) -> Period {
        match part {
            Part::Train => self.periods[0],
            Part::Choose | Part::Calibrate => self.periods[1],
            Part::Test => self.periods[2],
        }
    }

    /// Seconds from a sync to the end of its longest window.
    fn reach(&self) -> i64 {
        self.ages.last().map_or(0, |a| a.seconds()) + i64::from(self.window_h) * 3_600
    }
}

/// SplitMix64: a number for a number. Source: Steele, Lea, Flood 2014.
pub(crate) const fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Takes the windows of every account. `progress` is called now and then with accounts done.
pub fn take(histories: &Histories, sampling: &Sampling<'_>, progress: &(dyn Fn(u64) + Sync)) -> Windows {
    let done = std::sync::atomic::AtomicU64::new(0);
    let taken: Vec<Vec<Taken>> = (0..histories.len())
        .into_par_iter()
        .map(|ix| {
            let (account, rows) = histories.get(ix).expect("the range is that of the histories");
            let of_part = |part: &Part| {
                let period = sampling.period(*part);
                let (windows, short) = of_account(histories, ix as u32, account, rows, sampling, period);
                let skipped = windows.is_empty().then_some(short);
                (*part, windows, skipped)
            };
            let parts = sampling.parts(account).iter().map(of_part).collect();
            let n = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            if n.is_multiple_of(256) {
                progress(n);
            }
            parts
        })
        .collect();
    let mut all = Windows::default();
    for (part, windows, skipped) in taken.into_iter().flatten() {
        match skipped {
            Some(true) => all.skipped.short_history += 1,
            Some(false) => all.skipped.no_positive_balance += 1,
            None => {}
        }
        match part {
            Part::Train => all.train.extend(windows),
            Part::Choose => all.choose.extend(windows),
            Part::Calibrate => all.calibrate.extend(windows),
            Part::Test => all.test.extend(windows),
        }
    }
    all
}

/// What an account does, its windows for it, and where there are none, whether it had no day to offer at all.
type Taken = (Part, Vec<Window>, Option<bool>);

/// The windows of one account, and whether it had no day to offer at all.
fn of_account(
    histories: &Histories,
    ix: u32,
    account: &Account,
    rows: &[Transaction],
    sampling: &Sampling<'_>,
    period: Period,
) -> (Vec<Window>, bool) {
    let (Some(first), Some(_)) = (rows.first(), rows.last()) else { return (Vec::new(), true) };
    let offset = histories.offset;
    let day_from = offset.day(period.from).max(offset.day(first.at) + i64::from(sampling.history_days_min));
    let day_to = offset.day(period.until.plus(-sampling.reach() - DAY));
    if day_to < day_from {
        return (Vec::new(), true);
    }
    let mut state = histories.state_before(ix as usize).expect("the account has rows");
    let mut next = 0;
    let days = day_to - day_from + 1;
    let count = i64::from(sampling.per_account).min(days);
    let mut windows = Vec::new();
    for k in 0..count {
        // Evenly spread days; the hour from the seed, where the source has hours.
        let day = day_from + k * days / count;
        let second = match histories.resolution {
            // Dates only: the sync is the last second of the day, and the next day's rows begin one second later.
            Resolution::Day => DAY - 1,
            Resolution::Instant => (mix(sampling.seed ^ (u64::from(ix) << 20) ^ day as u64) % DAY as u64) as i64,
        };
        let at = offset.midnight(day).plus(second);
        while next < rows.len() && rows[next].at < at {
            state.push(&rows[next]).expect("histories are sorted by time");
            next += 1;
        }
        let balance = Money::floor_at_zero(state.balance_minor());
        if balance == Money::ZERO {
            continue;
        }
        let ahead = Ahead { target: sampling.target, ages: sampling.ages, window_h: sampling.window_h };
        let (headroom, demand) = ahead.look(&rows[next..], at, state.balance_minor());
        let features = state.snapshot(at).0;
        let tier = sampling.policy.tier(account.tier).tier;
        windows.push(Window { account: ix, tier, at, balance, features, headroom, demand });
    }
    (windows, false)
}

/// Whether a row was started by the holder on the device that would hold the grant, as far as the source tells: it would
/// have been an offline payment. A second device spends on top, whatever the grant says.
pub(crate) const fn is_granted(row: &Transaction) -> bool {
    row.kind.is_initiated() && row.moved() < 0 && row.device <= 1
}

/// How far ahead a window looks, and at what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead<'a> {
    pub(crate) target: Target,
    pub(crate) ages: &'a [Age],
    pub(crate) window_h: u32,
}

impl Ahead<'_> {
    /// Headroom at each age, and demand, from the rows at and after `at`.
    pub(crate) fn look(self, rows: &[Transaction], at: UtcSeconds, balance: i64) -> (Vec<Money>, Money) {
        let window = i64::from(self.window_h) * 3_600;
        let cap = Money::floor_at_zero(balance);
        let (mut now, mut low, mut demand) = (balance, balance, 0i64);
        let mut next = 0;
        let mut headroom = Vec::with_capacity(self.ages.len());
        for age in self.ages {
            let end = at.plus(age.seconds() + window);
            while let Some(row) = rows.get(next).filter(|r| r.at <= end) {
                let moved = row.moved();
                let granted = is_granted(row);
                if granted && row.at <= at.plus(window) {
                    demand -= moved;
                }
                if self.target == Target::Strict || !granted {
                    now += moved;
                    low = low.min(now);
                }
                next += 1;
            }
            headroom.push(Money::floor_at_zero(low).min(cap));
        }
        (headroom, Money::floor_at_zero(demand))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_model::money::Flow;
    use plimsoll_model::{Channel, Kind};

    fn row(hour: i64, minor: i64, kind: Kind) -> Transaction {
        Transaction {
            at: UtcSeconds(hour * 3_600),
            amount: Flow::from_minor(minor).expect("small"),
            kind,
            payee: 0,
            channel: Channel::Online,
            device: 1,
            place: None,
            id: 0,
        }
    }

    fn sampling(target: Target, ages: &[Age]) -> Sampling<'_> {
        static POLICY: std::sync::LazyLock<Policy> =
            std::sync::LazyLock::new(|| Policy::preset("tng").expect("a preset"));
        let all = Period { from: UtcSeconds(0), until: UtcSeconds(i64::MAX / 2) };
        Sampling {
            seed: 1,
            target,
            policy: &POLICY,
            ages,
            window_h: 24,
            per_account: 4,
            history_days_min: 0,
            shares_milli: [300, 200, 100],
            fold: None,
            teachers: Teachers::ByAccount,
            periods: [all; 3],
        }
    }

    #[track_caller]
    fn headroom(rows: &[Transaction], target: Target, want: [u64; 2], demand: u64) {
        let ages = [Age(0), Age::hours(24)];
        let (found, d) = Ahead { target, ages: &ages, window_h: 24 }.look(rows, UtcSeconds(0), 1_000);
        assert_eq!((found.iter().map(|m| m.minor()).collect::<Vec<_>>(), d.minor()), (want.to_vec(), demand));
    }

    #[test]
    fn headroom_is_the_lowest_point_of_the_window() {
        let rows = [row(1, -700, Kind::Bill), row(2, 500, Kind::Income), row(30, -400, Kind::Bill)];
        headroom(&rows, Target::Strict, [300, 300], 0);
        let later = [row(30, -900, Kind::Bill)];
        headroom(&later, Target::Strict, [1_000, 100], 0);
    }

    #[test]
    fn a_row_on_the_last_second_of_the_window_counts() {
        headroom(&[row(24, -10, Kind::Bill)], Target::Strict, [990, 990], 0);
        headroom(&[row(48, -10, Kind::Bill)], Target::Strict, [1_000, 990], 0);
    }

    #[test]
    fn headroom_stays_between_nothing_and_the_balance() {
        headroom(&[row(1, -5_000, Kind::Bill)], Target::Strict, [0, 0], 0);
        headroom(&[row(1, 5_000, Kind::Income)], Target::Strict, [1_000, 1_000], 0);
    }

    #[test]
    fn what_the_holder_starts_is_demand_and_counts_only_in_the_strict_target() {
        let rows = [row(1, -300, Kind::Purchase), row(2, -200, Kind::Bill)];
        headroom(&rows, Target::Strict, [500, 500], 300);
        headroom(&rows, Target::Committed, [800, 800], 300);
    }

    #[test]
    fn a_second_device_spends_on_top_of_the_grant() {
        let mut other = row(1, -300, Kind::Purchase);
        other.device = 2;
        headroom(&[other], Target::Committed, [700, 700], 0);
    }

    #[test]
    fn every_account_is_tested_in_one_fold_and_in_the_others_never() {
        let ages = [Age(0)];
        for n in 0..2_000u32 {
            let account = Account { name: format!("a{n}"), opened_at: None, tier: Tier::default(), opening_minor: 0 };
            let part = |fold| Sampling { fold: Some((fold, 3)), ..sampling(Target::Strict, &ages) }.part(&account);
            let parts = [0, 1, 2].map(part);
            assert_eq!(parts.iter().filter(|p| **p == Part::Test).count(), 1, "{parts:?}");
            // In the others it does the same: what teaches never calibrates.
            let mut others = parts.iter().filter(|p| **p != Part::Test);
            assert_eq!(others.next(), others.next());
        }
    }

    #[test]
    fn taught_by_time_an_account_that_is_not_tested_teaches_and_one_that_is_does_nothing_else() {
        let ages = [Age(0)];
        let by_time = Sampling { fold: Some((1, 3)), teachers: Teachers::ByTime, ..sampling(Target::Strict, &ages) };
        let mut seen = [0; 3];
        for n in 0..2_000u32 {
            let account = Account { name: format!("a{n}"), opened_at: None, tier: Tier::default(), opening_minor: 0 };
            let parts = by_time.parts(&account);
            let kind = match parts {
                [Part::Test] => 0,
                [Part::Train, Part::Choose] => 1,
                [Part::Train, Part::Calibrate] => 2,
                _ => panic!("{parts:?}"),
            };
            seen[kind] += 1;
            let by_account = Sampling { teachers: Teachers::ByAccount, ..by_time.clone() };
            assert_eq!(by_account.parts(&account), [by_account.part(&account)], "and taught by account, one thing");
        }
        assert!(seen[0] > 600 && seen[1] > 100 && seen[2] > 1_000, "{seen:?}");
    }

    #[test]
    fn accounts_keep_their_part_when_others_come_and_go() {
        let ages = [Age(0)];
        let s = sampling(Target::Strict, &ages);
        let account =
            |n: u32| Account { name: format!("a{n}"), opened_at: None, tier: Tier::default(), opening_minor: 0 };
        let count = |part| (0..10_000).filter(|n| s.part(&account(*n)) == part).count();
        for (part, share) in
            [(Part::Calibrate, 3_000), (Part::Test, 2_000), (Part::Choose, 1_000), (Part::Train, 4_000)]
        {
            assert!((share - 200..share + 200).contains(&count(part)), "{part:?} {}", count(part));
        }
    }
}
