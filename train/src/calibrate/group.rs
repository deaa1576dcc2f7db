//! A group of accounts: how candidates fare on its windows.

use std::ops::Range;

use plimsoll_model::Tier;
use plimsoll_model::artifact::{Expected, Span, Terms, TierTerms};
use plimsoll_model::calibration::{Promise, Stake, Verdict, Violations, mean_interval, turn};
use plimsoll_model::money::Money;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Candidate, Family, Scored};

/// The windows of one tier (or of all), by account.
#[derive(Clone)]
pub struct Group<'a> {
    windows: Vec<&'a Scored>,
    /// The most each window can be granted.
    caps: Vec<Money>,
    /// In the order of their turns.
    accounts: Vec<Range<usize>>,
    /// The smallest balance of each band that is searched by itself, too; none: only the whole is.
    bands: Vec<Money>,
    terms: &'a Terms,
}

impl<'a> Group<'a> {
    /// The windows of `tier`, or all of them.
    pub fn of(windows: &'a [Scored], tier: Option<Tier>, terms: &'a Terms) -> Self {
        Self::among(windows.iter().filter(|w| tier.is_none_or(|t| w.tier == t)), terms)
    }

    /// These windows; those of one account are neighbours.
    pub fn among(windows: impl Iterator<Item = &'a Scored>, terms: &'a Terms) -> Self {
        let windows: Vec<&Scored> = windows.collect();
        let cap = |tier| terms.tiers.iter().find(|t| t.tier == tier).and_then(|t| t.cap).unwrap_or(Money::MAX);
        let accounts = in_turn(&windows, |w| w.account);
        Self { caps: windows.iter().map(|w| cap(w.tier)).collect(), windows, accounts, bands: Vec::new(), terms }
    }

    /// The same, parted by balance: what is searched for must keep its promise in each band as well.
    ///
    /// * `from`: the smallest balance of each band, from 0 on, rising; none: as a whole only.
    pub fn in_bands(mut self, from: Vec<Money>) -> Self {
        self.bands = from;
        self
    }

    /// Where `n` bands would begin that hold equally many windows each: amounts of two digits. Fewer where balances are
    /// too much alike.
    pub fn even_bands(&self, n: u32) -> Vec<Money> {
        let mut balances: Vec<Money> = self.windows.iter().map(|w| w.balance).collect();
        balances.sort_unstable();
        let edge = |k: u32| balances.get(balances.len() * k as usize / n as usize).map(|b| two_digits(*b));
        let mut from: Vec<Money> = [Money::ZERO].into_iter().chain((1..n).filter_map(edge)).collect();
        from.dedup();
        from
    }

    /// The windows of each band, as groups of their own.
    pub fn bands(&self) -> impl Iterator<Item = (Money, Self)> {
        self.bands.iter().enumerate().map(move |(ix, from)| {
            let inside = (0..self.windows.len()).filter(move |window| self.band(*window) == ix);
            (*from, Self::among(inside.map(|window| self.windows[window]), self.terms))
        })
    }

    fn band(&self, window: usize) -> usize {
        self.bands.partition_point(|from| *from <= self.windows[window].balance).saturating_sub(1)
    }

    /// Accounts.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Windows.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether there is nothing to judge.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// What is promised of it: in money only where every window has a cap, and against the smallest β and the largest
    /// cap among them.
    pub fn promise(&self) -> Promise {
        // A tier that may not pay cannot lose.
        let pays = |t: &&TierTerms| t.cap != Some(Money::ZERO) && self.windows.iter().any(|w| w.tier == t.tier);
        let here = || self.terms.tiers.iter().filter(pays);
        let betas: Option<Vec<f64>> = here().map(|t| t.beta(self.terms.beta).map(|beta| beta.minor() as f64)).collect();
        let cap = here().filter_map(|t| t.cap).max().unwrap_or(Money::ZERO).minor() as f64;
        let beta = betas.filter(|b| !b.is_empty()).map(|b| b.into_iter().fold(f64::MAX, f64::min));
        Promise { alpha: self.terms.alpha.fraction(), money: beta.map(|beta| (beta, cap)) }
    }

    fn ages(&self) -> usize {
        self.terms.ages.len()
    }

    fn limit(&self, candidate: Candidate, window: usize, age: usize) -> Money {
        candidate.limit(self.windows[window], age, self.caps[window])
    }

    /// What is missing from a window under a candidate; none when its limit is covered.
    fn missing(&self, candidate: Candidate, window: usize, age: usize) -> Option<u64> {
        let missing = self.limit(candidate, window, age).saturating_sub(self.windows[window].headroom[age]);
        (missing > Money::ZERO).then_some(missing.minor())
    }

    /// Violations of a rule that may differ by tier, `[age][account]`.
    pub(crate) fn violations(&self, rule: &dyn Fn(Tier) -> Candidate) -> Vec<Vec<Violations>> {
        let count = |age: usize, range: &Range<usize>| {
            let mut seen = Violations { windows: range.len() as u32, ..Violations::default() };
            for window in range.clone() {
                if let Some(missing) = self.missing(rule(self.windows[window].tier), window, age) {
                    seen.violated += 1;
                    seen.missing += missing;
                }
            }
            seen
        };
        (0..self.ages()).map(|age| self.accounts.iter().map(|range| count(age, range)).collect()).collect()
    }

    /// Judges one candidate.
    pub fn judge(&self, candidate: Candidate, stake: Stake) -> Verdict {
        Verdict::of(self.promise(), stake, &self.violations(&|_| candidate))
    }

    /// The boldest member of a family that certifies at `delta`, in every band as well: its place in the sequence, itself,
    /// and the evidence of all bands together.
    pub fn search(&self, family: Family, stake: Stake, delta: f64) -> Option<(u32, Candidate, Verdict)> {
        let judge = |by_age: &[Vec<Violations>]| Verdict::of(self.promise(), stake, by_age);
        let found = self.last_that(family, |everywhere| judge(everywhere).certifies(delta));
        found.map(|(ix, candidate, everywhere)| (ix, candidate, judge(&everywhere[..self.ages()])))
    }

    /// The boldest member of a family that would certify, at the stake that gets furthest, if there were `times` as many
    /// accounts like these: a forecast.
    pub fn forecast(&self, family: Family, times: f64, delta: f64) -> Option<(Stake, Candidate)> {
        let promise = self.promise();
        let growth =
            |stake: Stake, everywhere: &[Vec<Violations>]| Verdict::of(promise, stake, everywhere).growth * times;
        let enough = libm::log(1.0 / delta);
        // A stake below the largest must leave something to lose: twice the evidence, were no account to violate. What few
        // choosers say of it is not to be trusted that far.
        let fewest = self.bands().map(|(_, band)| band.accounts()).min().unwrap_or(self.accounts());
        let accounts = fewest as f64 * times;
        let affordable = |stake: &Stake| *stake == Stake::MOST || stake.gain(promise.alpha) * accounts >= 2.0 * enough;
        let stakes: Vec<Stake> = Stake::ALL.into_iter().filter(affordable).collect();
        let found =
            self.last_that(family, |everywhere| stakes.iter().any(|stake| growth(*stake, everywhere) >= enough));
        let best = |everywhere: &[Vec<Violations>]| {
            let rated = stakes.iter().map(|stake| (growth(*stake, everywhere), *stake));
            rated.reduce(|best, next| if next.0 > best.0 { next } else { best })
        };
        found.and_then(|(_, candidate, everywhere)| Some((best(&everywhere)?.1, candidate)))
    }

    /// The last member of a family before the first that does not pass, and its violations, `[age][account]`: those of the
    /// whole, and then those of each band. An intersection-union test takes bands as it takes ages.
    ///
    /// * `pass`: whatever says no keeps saying no as violations rise. Limits rise along the family, so the first that does
    ///   not pass is found by halving, as going step by step would find it.
    pub fn last_that(
        &self,
        family: Family,
        pass: impl Fn(&[Vec<Violations>]) -> bool,
    ) -> Option<(u32, Candidate, Vec<Vec<Violations>>)> {
        let candidates = family.candidates();
        // Each window has a first candidate that violates it.
        let mut account_of = vec![0; self.windows.len()];
        self.accounts.iter().enumerate().for_each(|(ix, range)| account_of[range.clone()].fill(ix));
        let first_violated = |age: usize| {
            let first = |window: usize| {
                let limit = |c: &Candidate| self.limit(*c, window, age) <= self.windows[window].headroom[age];
                (candidates.partition_point(limit) as u32, window as u32)
            };
            let firsts = (0..self.windows.len()).map(first);
            firsts.filter(|(first, _)| (*first as usize) < candidates.len()).collect::<Vec<(u32, u32)>>()
        };
        let firsts: Vec<Vec<(u32, u32)>> = (0..self.ages()).into_par_iter().map(first_violated).collect();
        // The whole, and the window's band if there are any.
        let parts = |window: usize| [0, 1 + self.band(window)].into_iter().take(1 + self.bands.len().min(1));
        let mut clean = vec![vec![Violations::default(); self.accounts()]; 1 + self.bands.len()];
        (0..self.windows.len()).for_each(|w| parts(w).for_each(|part| clean[part][account_of[w]].windows += 1));
        let violations = |ix: u32| {
            let mut seen: Vec<_> =
                clean.iter().flat_map(|part| std::iter::repeat_n(part.clone(), self.ages())).collect();
            for (age, firsts) in firsts.iter().enumerate() {
                for (_, window) in firsts.iter().filter(|(first, _)| *first <= ix) {
                    let window = *window as usize;
                    let missing = self.missing(candidates[ix as usize], window, age).unwrap_or(0);
                    for part in parts(window) {
                        let account = &mut seen[part * self.ages() + age][account_of[window]];
                        account.violated += 1;
                        account.missing += missing;
                    }
                }
            }
            seen
        };
        let steps: Vec<u32> = (0..candidates.len() as u32).collect();
        let passed = steps.partition_point(|ix| pass(&violations(*ix))) as u32;
        passed.checked_sub(1).map(|ix| (ix, candidates[ix as usize], violations(ix)))
    }

    /// What a rule did that may differ by tier.
    pub fn outcome(&self, rule: &dyn Fn(Tier) -> Candidate) -> Outcome {
        let by_age = self.violations(rule);
        let shares = |age: &Vec<Violations>| age.iter().map(|v| v.share()).collect::<Vec<f64>>();
        let mean = |v: &[f64]| if v.is_empty() { 0.0 } else { v.iter().sum::<f64>() / v.len() as f64 };
        let worst = by_age.iter().map(shares).max_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap_or_default();
        let (low, high) = mean_interval(&worst, 0.05);
        let n = self.windows.len().max(1) as f64;
        let by_account: Vec<Sums> = self.accounts.iter().map(|range| self.sums(range.clone(), rule)).collect();
        let total = by_account.iter().fold(Sums::default(), |a, b| a.plus(b));
        let ratio = |a: f64, b: f64, empty: f64| if b > 0.0 { a / b } else { empty };
        let by_age_mean = |age| {
            let limits = (0..self.windows.len()).map(|w| self.limit(rule(self.windows[w].tier), w, age).minor() as f64);
            limits.sum::<f64>() / n
        };
        let violated = |age: &Vec<Violations>| f64::from(age.iter().map(|v| v.violated).sum::<u32>()) / n;
        Outcome {
            accounts: self.accounts() as u32,
            windows: self.len() as u32,
            violation: mean(&worst),
            low,
            high,
            violation_windows: by_age.iter().map(violated).fold(0.0, f64::max),
            mean_limit: ratio(total.granted, total.points, 0.0),
            mean_share: ratio(total.shares, total.points, 0.0),
            of_grantable: ratio(total.granted, total.grantable, 0.0),
            served: ratio(total.met, total.asked, 1.0),
            useful: mean(&by_account.iter().map(|a| ratio(a.useful, a.points, 0.0)).collect::<Vec<_>>()),
            zero_share: ratio(total.zero, total.points, 0.0),
            severity: ratio(total.missing, total.granted, 0.0),
            missing: ratio(total.missing, total.points, 0.0),
            mean_limit_by_age: (0..self.ages()).map(by_age_mean).collect(),
            spans: spans(&by_account),
        }
    }

    /// The same at a glance, without intervals: for hundreds of candidates.
    pub fn glance(&self, rule: &dyn Fn(Tier) -> Candidate) -> Glance {
        let mean = |age: &Vec<Violations>| age.iter().map(|v| v.share()).sum::<f64>() / age.len().max(1) as f64;
        let violation = self.violations(rule).iter().map(mean).fold(0.0, f64::max);
        let total = self.accounts.iter().fold(Sums::default(), |sum, range| sum.plus(&self.sums(range.clone(), rule)));
        Glance {
            violation,
            mean_limit: total.granted / total.points.max(1.0),
            served: if total.asked > 0.0 { total.met / total.asked } else { 1.0 },
        }
    }

    fn sums(&self, range: Range<usize>, rule: &dyn Fn(Tier) -> Candidate) -> Sums {
        let mut sums = Sums::default();
        for ix in range {
            let window = self.windows[ix];
            let grantable = window.balance.min(self.caps[ix]);
            for age in 0..self.ages() {
                let limit = self.limit(rule(window.tier), ix, age);
                sums.points += 1.0;
                sums.granted += limit.minor() as f64;
                sums.grantable += grantable.minor() as f64;
                sums.shares += limit.minor() as f64 / window.balance.minor() as f64;
                sums.missing += limit.saturating_sub(window.headroom[age]).minor() as f64;
                sums.met += limit.min(window.demand).minor() as f64;
                sums.asked += window.demand.minor() as f64;
                sums.zero += f64::from(u8::from(limit == Money::ZERO));
                let useful = u128::from(limit.minor()) * 1_000
                    >= u128::from(grantable.minor()) * u128::from(self.terms.objective.useful_from_milli);
                sums.useful += f64::from(u8::from(useful && limit > Money::ZERO));
            }
        }
        sums
    }
}

/// Rounded down to two digits: 37.42 is 37.00, 1,249.90 is 1,200.00.
fn two_digits(amount: Money) -> Money {
    let mut unit = 1;
    while amount.minor() / unit >= 100 {
        unit *= 10;
    }
    amount.saturating_sub(Money::from_minor(amount.minor() % unit).unwrap_or(Money::ZERO))
}

/// Rows of each account, accounts in the order of their turns.
///
/// * `rows`: those of one account are neighbours.
pub(crate) fn in_turn<T>(rows: &[T], account: impl Fn(&T) -> u32) -> Vec<Range<usize>> {
    let mut accounts: Vec<Range<usize>> = Vec::new();
    for same in rows.chunk_by(|a, b| account(a) == account(b)) {
        let start = accounts.last().map_or(0, |before| before.end);
        accounts.push(start..start + same.len());
    }
    accounts.sort_by_key(|range| turn(account(&rows[range.start])));
    accounts
}

/// A point of the frontier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Glance {
    /// Mean over accounts of the share of violated windows, at the worst age.
    pub violation: f64,
    /// Mean limit, minor units.
    pub mean_limit: f64,
    /// Share of demand that fits under the limit.
    pub served: f64,
}

/// Sums over the windows and ages of an account.
#[derive(Clone, Copy, Default)]
struct Sums {
    points: f64,
    granted: f64,
    grantable: f64,
    shares: f64,
    missing: f64,
    met: f64,
    asked: f64,
    zero: f64,
    useful: f64,
}

impl Sums {
    fn plus(self, other: &Self) -> Self {
        Self {
            points: self.points + other.points,
            granted: self.granted + other.granted,
            grantable: self.grantable + other.grantable,
            shares: self.shares + other.shares,
            missing: self.missing + other.missing,
            met: self.met + other.met,
            asked: self.asked + other.asked,
            zero: self.zero + other.zero,
            useful: self.useful + other.useful,
        }
    }
}

/// Resamples of accounts behind an interval.
const RESAMPLES: usize = 400;

/// 95 % intervals with accounts resampled: `(mean limit, served, useful, zero, missing)`, lower and upper ends. They say
/// what to expect; what is promised rests on betting.
fn spans(accounts: &[Sums]) -> [[f64; 2]; 5] {
    let n = accounts.len() as u64;
    if n == 0 {
        return [[0.0; 2]; 5];
    }
    // A fixed list of draws (SplitMix64), so that the interval is the same in every run.
    let draw = |sample: u64, k: u64| (u128::from(crate::windows::mix(sample << 32 ^ k)) * u128::from(n)) >> 64;
    let resample = |sample: usize| {
        let (mut total, mut useful) = (Sums::default(), 0.0);
        for k in 0..n {
            let account = &accounts[draw(sample as u64, k) as usize];
            total = total.plus(account);
            useful += account.useful / account.points.max(1.0);
        }
        let served = if total.asked > 0.0 { total.met / total.asked } else { 1.0 };
        [total.granted, served * total.points, useful / n as f64 * total.points, total.zero, total.missing]
            .map(|v| v / total.points.max(1.0))
    };
    let samples: Vec<[f64; 5]> = (0..RESAMPLES).into_par_iter().map(resample).collect();
    std::array::from_fn(|figure| {
        let mut values: Vec<f64> = samples.iter().map(|s| s[figure]).collect();
        values.sort_unstable_by(f64::total_cmp);
        [values[RESAMPLES / 40], values[RESAMPLES - 1 - RESAMPLES / 40]]
    })
}

/// What a rule did on a set of windows. Means are over windows and ages; amounts in minor units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Accounts.
    pub accounts: u32,
    /// Windows.
    pub windows: u32,
    /// Mean over accounts of the share of violated windows, at the worst age: the certified quantity.
    pub violation: f64,
    /// Its 95 % interval.
    pub low: f64,
    /// Its 95 % interval.
    pub high: f64,
    /// Share of windows violated, at the worst age.
    pub violation_windows: f64,
    /// Mean limit.
    pub mean_limit: f64,
    /// Mean limit as a share of the balance.
    pub mean_share: f64,
    /// `Σ L / Σ min(balance, cap)`.
    pub of_grantable: f64,
    /// Share of demand that fits under the limit.
    pub served: f64,
    /// Mean over accounts of the share of their limits that are useful.
    pub useful: f64,
    /// Share of limits that are zero.
    pub zero_share: f64,
    /// `Σ (L − S)⁺ / Σ L`.
    pub severity: f64,
    /// Mean of `(L − S)⁺`.
    pub missing: f64,
    /// Mean limit at each age.
    pub mean_limit_by_age: Vec<f64>,
    /// 95 % intervals of mean limit, served, useful, zero and missing, accounts resampled.
    pub spans: [[f64; 2]; 5],
}

impl Outcome {
    /// The weighted mean of what is wanted, 0 to 1.
    pub fn utility(&self, terms: &Terms) -> f64 {
        let o = &terms.objective;
        let weights = [o.served_milli, o.useful_milli, o.limit_milli].map(f64::from);
        let sum: f64 = weights.iter().sum();
        weights.iter().zip([self.served, self.useful, self.of_grantable]).map(|(w, v)| w * v).sum::<f64>()
            / sum.max(1.0)
    }

    /// As the certificate says it: integers, risks rounded against us.
    pub fn expected(&self) -> Expected {
        expected([self.mean_limit, self.served, self.useful, self.zero_share, self.missing])
    }

    /// Its intervals.
    pub fn intervals(&self) -> Span {
        Span { low: expected(self.spans.map(|s| s[0])), high: expected(self.spans.map(|s| s[1])) }
    }
}

fn expected([limit, served, useful, zero, missing]: [f64; 5]) -> Expected {
    Expected {
        mean_limit: Money::floor_at_zero(limit as i64),
        served_ppm: (served * 1e6) as u32,
        useful_ppm: (useful * 1e6) as u32,
        zero_ppm: (zero * 1e6).ceil() as u32,
        missing_milli: (missing * 1e3).ceil() as u64,
    }
}
