//! From scored windows to certified cells: the fixed-sequence search per tier, borrowing, and the test of the promise.
//!
//! The simplest rule that certifies wins. Each tier first asks, with a small part of δ, whether plain
//! `min(balance, cap)` keeps the promise; if it does, that is the rule. Otherwise the rest of δ searches the gap
//! scale. Both are level-δ tests over accounts, so together they are wrong with probability at most δ (Bonferroni).

use plimsoll_model::artifact::{Basis, Cell, Rule, Tested};
use plimsoll_model::calibration::{GapScale, Verdict, Violations, boldest, mean_interval};
use plimsoll_model::forest::{Forest, ONE, uncross};
use plimsoll_model::money::Money;
use plimsoll_model::policy::Policy;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::{Age, UtcSeconds};
use plimsoll_model::{Tier, features::Feature};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::config::CalibrationConfig;
use crate::windows::Window;

/// A window with what the forest says of it: one line of the calibration log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Index of the account; windows of one account are neighbours.
    pub account: u32,
    /// Its tier.
    pub tier: Tier,
    /// When the sync was.
    pub at: UtcSeconds,
    /// Balance then.
    pub balance: Money,
    /// What was paid on the spot.
    pub demand: Money,
    /// At each age.
    pub headroom: Vec<Money>,
    /// The forest's answer at the calibrated level, uncrossed, at each age.
    pub steps: Vec<i32>,
}

/// Runs the forest over windows at every age.
pub fn score(forest: &Forest, windows: &[Window], ages: &[Age], level: usize) -> Vec<Scored> {
    let score = |w: &Window| {
        let mut row = w.features;
        let at = |age: &Age| {
            row[Feature::LastSyncAgeMin as usize] = age.0 as f32;
            let mut steps = forest.evaluate(&row);
            uncross(&mut steps);
            steps[level]
        };
        Scored {
            account: w.account,
            tier: w.tier,
            at: w.at,
            balance: w.balance,
            demand: w.demand,
            headroom: w.headroom.clone(),
            steps: ages.iter().map(at).collect(),
        }
    };
    windows.par_iter().map(score).collect()
}

/// A family of limits with one scalar, from the most careful to the boldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A share of the balance: what a careful operator types by hand. In 400ths.
    Fraction,
    /// The model's gap, scaled.
    Gap,
}

/// Candidates of [`Family::Fraction`].
const FRACTIONS: usize = 401;

/// One member of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// `min(balance, cap)`.
    Plain,
    /// This many 400ths of the balance.
    Fraction(u32),
    /// The model's gap at this scale.
    Gap(GapScale),
    /// A fixed amount.
    Flat(Money),
}

impl Family {
    /// Its members, in the order of the test.
    pub fn candidates(self) -> Vec<Candidate> {
        match self {
            Self::Fraction => (0..FRACTIONS as u32).map(Candidate::Fraction).collect(),
            Self::Gap => GapScale::sequence().into_iter().map(Candidate::Gap).collect(),
        }
    }
}

impl Candidate {
    /// The limit for a window at an age, under the tier's cap.
    pub fn limit(self, window: &Scored, age: usize, cap: Money) -> Money {
        let raw = match self {
            Self::Plain => window.balance,
            Self::Fraction(f) => window.balance.scale_steps(((u64::from(f) * u64::from(ONE)) / 400) as u32),
            Self::Gap(scale) => scale.limit(window.balance, window.steps[age]),
            Self::Flat(amount) => amount.min(window.balance),
        };
        raw.min(cap)
    }
}

/// The windows of one tier (or of all), by account.
pub struct Group<'a> {
    windows: Vec<&'a Scored>,
    accounts: Vec<std::ops::Range<usize>>,
    ages: usize,
    policy: &'a Policy,
}

impl<'a> Group<'a> {
    /// The windows of `tier`, or all of them.
    pub fn of(windows: &'a [Scored], tier: Option<Tier>, ages: usize, policy: &'a Policy) -> Self {
        let windows: Vec<&Scored> = windows.iter().filter(|w| tier.is_none_or(|t| w.tier == t)).collect();
        let mut accounts = Vec::new();
        let mut start = 0;
        for same in windows.chunk_by(|a, b| a.account == b.account) {
            accounts.push(start..start + same.len());
            start += same.len();
        }
        Self { windows, accounts, ages, policy }
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

    fn limit(&self, candidate: Candidate, window: &Scored, age: usize) -> Money {
        candidate.limit(window, age, self.policy.tier(window.tier).outstanding_cap())
    }

    /// Violations of a rule that may differ by tier, `[age][account]`.
    fn violations(&self, rule: &dyn Fn(Tier) -> Candidate) -> Vec<Vec<Violations>> {
        let count = |age: usize, range: &std::ops::Range<usize>| {
            let windows = &self.windows[range.clone()];
            let violated = windows.iter().filter(|w| self.limit(rule(w.tier), w, age) > w.headroom[age]).count();
            Violations { violated: violated as u32, windows: windows.len() as u32 }
        };
        (0..self.ages).map(|age| self.accounts.iter().map(|range| count(age, range)).collect()).collect()
    }

    /// Judges one candidate.
    pub fn judge(&self, alpha: Ppm, candidate: Candidate) -> Verdict {
        Verdict::of(alpha.fraction(), &self.violations(&|_| candidate))
    }

    /// The boldest member of a family that certifies at `delta`.
    pub fn search(&self, family: Family, alpha: Ppm, delta: f64) -> Option<(Candidate, Verdict)> {
        let candidates = family.candidates();
        // Limits rise along the family, so each window has a first candidate that violates it.
        let first_violated =
            |w: &&Scored, age: usize| candidates.partition_point(|c| self.limit(*c, w, age) <= w.headroom[age]) as u32;
        let critical: Vec<Vec<u32>> = (0..self.ages)
            .into_par_iter()
            .map(|age| self.windows.iter().map(|w| first_violated(w, age)).collect())
            .collect();
        let judge = |ix: u32| {
            let count = |age: &Vec<u32>, range: &std::ops::Range<usize>| {
                let violated = age[range.clone()].iter().filter(|first| **first <= ix).count();
                Violations { violated: violated as u32, windows: range.len() as u32 }
            };
            let by_age: Vec<Vec<Violations>> =
                critical.iter().map(|age| self.accounts.iter().map(|r| count(age, r)).collect()).collect();
            Verdict::of(alpha.fraction(), &by_age)
        };
        boldest(0..candidates.len() as u32, delta, judge).map(|(ix, verdict)| (candidates[ix as usize], verdict))
    }

    /// What a rule did that may differ by tier.
    pub fn outcome(&self, rule: &dyn Fn(Tier) -> Candidate) -> Outcome {
        let by_age = self.violations(rule);
        let shares = |age: &Vec<Violations>| age.iter().map(|v| v.share()).collect::<Vec<f64>>();
        let mean = |v: &[f64]| if v.is_empty() { 0.0 } else { v.iter().sum::<f64>() / v.len() as f64 };
        let worst = by_age.iter().map(shares).max_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap_or_default();
        let (low, high) = mean_interval(&worst, 0.05);
        let mut o = Outcome {
            accounts: self.accounts() as u32,
            windows: self.len() as u32,
            violation: mean(&worst),
            low,
            high,
            violation_windows: 0.0,
            mean_limit: 0.0,
            mean_share: 0.0,
            served: 0.0,
            zero_share: 0.0,
            severity: 0.0,
            mean_limit_by_age: vec![0.0; self.ages],
        };
        let n = self.windows.len().max(1) as f64;
        let (mut granted, mut lost, mut met, mut asked) = (0.0, 0.0, 0.0, 0.0);
        for age in 0..self.ages {
            let mut violated = 0u32;
            for w in &self.windows {
                let limit = self.limit(rule(w.tier), w, age);
                let minor = limit.minor() as f64;
                granted += minor;
                lost += limit.saturating_sub(w.headroom[age]).minor() as f64;
                met += limit.min(w.demand).minor() as f64;
                asked += w.demand.minor() as f64;
                violated += u32::from(limit > w.headroom[age]);
                o.zero_share += f64::from(u8::from(limit == Money::ZERO));
                o.mean_share += minor / w.balance.minor() as f64;
                o.mean_limit_by_age[age] += minor / n;
            }
            o.violation_windows = o.violation_windows.max(f64::from(violated) / n);
        }
        let points = n * self.ages.max(1) as f64;
        o.mean_limit = granted / points;
        o.mean_share /= points;
        o.zero_share /= points;
        o.served = if asked > 0.0 { met / asked } else { 1.0 };
        o.severity = if granted > 0.0 { lost / granted } else { 0.0 };
        o
    }
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
    /// Share of demand that fits under the limit.
    pub served: f64,
    /// Share of limits that are zero.
    pub zero_share: f64,
    /// `Σ (L − S)⁺ / Σ L`.
    pub severity: f64,
    /// Mean limit at each age.
    pub mean_limit_by_age: Vec<f64>,
}

/// Certifies every tier of the programme from the calibration log.
pub fn certify(windows: &[Scored], ages: usize, policy: &Policy, config: &CalibrationConfig) -> Vec<Cell> {
    let pooled_group = Group::of(windows, None, ages, policy);
    let pooled = match pooled_group.search(Family::Gap, config.alpha, config.delta_for_scaled()) {
        Some((Candidate::Gap(scale), _)) => Some(scale),
        _ => None,
    };
    let mut cells: Vec<Cell> = Vec::new();
    for rules in &policy.tiers {
        let group = Group::of(windows, Some(rules.tier), ages, policy);
        let mut cell = certify_tier(&group, rules.tier, config);
        let few = (group.accounts() as u64) < config.accounts_needed();
        if cell.basis == Basis::Fallback && few {
            // The more conservative of the pooled point and the next lower tier's.
            let below = cells.last().and_then(|c| match c.rule {
                Rule::Gap { scale, .. } => Some(scale),
                _ => None,
            });
            if let Some(scale) = pooled {
                let scale = below.map_or(scale, |b| b.max(scale));
                let candidate = Candidate::Gap(scale);
                let verdict = group.judge(config.alpha, candidate);
                cell.rule = Rule::Gap { level: config.level, scale };
                cell.basis = Basis::Borrowed;
                (cell.violation_ppm, cell.e_value_milli) = figures(&verdict, group.is_empty());
            }
        }
        if let Rule::Fallback { amount } = &mut cell.rule {
            *amount = rules.fallback;
        }
        cells.push(cell);
    }
    cells
}

fn certify_tier(group: &Group<'_>, tier: Tier, config: &CalibrationConfig) -> Cell {
    let mut cell = Cell {
        tier,
        rule: Rule::Fallback { amount: Money::ZERO },
        basis: Basis::Fallback,
        accounts: group.accounts() as u32,
        windows: group.len() as u32,
        violation_ppm: 0,
        e_value_milli: 0,
        test: None,
    };
    if group.is_empty() {
        return cell;
    }
    let plain = group.judge(config.alpha, Candidate::Plain);
    let found = if plain.certifies(config.delta_for_plain()) {
        Some((Candidate::Plain, plain))
    } else {
        // A scale that grants nobody anything certifies trivially and is no limit; it is the fallback.
        group
            .search(Family::Gap, config.alpha, config.delta_for_scaled())
            .filter(|(c, _)| !matches!(c, Candidate::Gap(s) if s.limit_steps(ONE as i32) == 0))
    };
    if let Some((candidate, verdict)) = found {
        cell.rule = match candidate {
            Candidate::Gap(scale) => Rule::Gap { level: config.level, scale },
            _ => Rule::Balance,
        };
        cell.basis = Basis::Certified;
        (cell.violation_ppm, cell.e_value_milli) = figures(&verdict, false);
    }
    cell
}

/// Rounded against us: the violation up, the evidence down.
fn figures(verdict: &Verdict, empty: bool) -> (u32, u64) {
    if empty {
        return (0, 0);
    }
    ((verdict.violation * 1e6).ceil() as u32, (verdict.e_value * 1e3).min(1e15) as u64)
}

/// The candidate a cell's rule is.
pub fn candidate(rule: Rule) -> Candidate {
    match rule {
        Rule::Balance => Candidate::Plain,
        Rule::Gap { scale, .. } => Candidate::Gap(scale),
        Rule::Fallback { amount } => Candidate::Flat(amount),
    }
}

/// The test of one cell's promise on windows that took no part in anything.
pub fn tested(outcome: &Outcome) -> Option<Tested> {
    (outcome.accounts > 0).then(|| Tested {
        accounts: outcome.accounts,
        windows: outcome.windows,
        violation_ppm: (outcome.violation * 1e6).ceil() as u32,
        low_ppm: (outcome.low * 1e6).floor() as u32,
        high_ppm: (outcome.high * 1e6).ceil() as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: u64) -> Money {
        Money::from_minor(minor).expect("small")
    }

    fn tier(level: u8) -> Tier {
        Tier::new(level).expect("a tier")
    }

    /// `n` accounts of a tier, five windows each; every `risky`-th keeps only a tenth of its balance, the rest all.
    /// The forest knows: it says 0.1 of the risky ones (less `blur`) and 1 of the rest.
    fn windows(level: u8, n: u32, risky: u32, blur: i32) -> Vec<Scored> {
        (0..n)
            .flat_map(|a| {
                let bad = a % risky == 0;
                let share = if bad { ONE as i32 / 10 } else { ONE as i32 };
                let one = Scored {
                    account: u32::from(level) * 1_000_000 + a,
                    tier: tier(level),
                    at: UtcSeconds(0),
                    balance: money(10_000),
                    demand: money(500),
                    headroom: vec![money(if bad { 1_000 } else { 10_000 }); 2],
                    steps: vec![share + if bad { blur } else { 0 }; 2],
                };
                std::iter::repeat_n(one, 5)
            })
            .collect()
    }

    fn policy() -> Policy {
        let mut policy = Policy::preset("tng").expect("tng");
        for t in &mut policy.tiers {
            (t.rolling_24h, t.per_payment) = (Some(money(100_000)), None);
        }
        policy
    }

    #[test]
    fn a_good_forest_earns_most_of_the_balance_where_the_fixed_share_earns_little() {
        let (policy, config) = (policy(), CalibrationConfig::default());
        let all = windows(0, 2_000, 20, 0);
        let cell = &certify(&all, 2, &policy, &config)[0];
        assert_eq!(cell.basis, Basis::Certified);
        let Rule::Gap { scale, .. } = cell.rule else { panic!("the plain rule violates 5 %: {cell:?}") };
        assert!(scale >= GapScale::ONE, "any less overdraws the risky accounts");
        let group = Group::of(&all, Some(tier(0)), 2, &policy);
        let model = group.outcome(&|_| Candidate::Gap(scale));
        let (fraction, _) =
            group.search(Family::Fraction, config.alpha, config.delta_for_scaled()).expect("some share");
        let fixed = group.outcome(&|_| fraction);
        assert!(model.mean_limit > 5.0 * fixed.mean_limit, "{} against {}", model.mean_limit, fixed.mean_limit);
        assert!(model.violation <= 0.005);
    }

    #[test]
    fn the_simplest_rule_that_certifies_wins() {
        let config = CalibrationConfig::default();
        let cell = &certify(&windows(0, 2_000, 5_000, 0), 2, &policy(), &config)[0];
        assert_eq!((cell.rule, cell.basis), (Rule::Balance, Basis::Certified));
    }

    #[test]
    fn a_tier_without_accounts_enough_borrows_the_more_careful_point() {
        let config = CalibrationConfig::default();
        let mut all = windows(0, 2_000, 20, 0);
        all.extend(windows(1, 50, 20, 0));
        let cells = certify(&all, 2, &policy(), &config);
        assert_eq!((cells[0].basis, cells[1].basis), (Basis::Certified, Basis::Borrowed));
        let scale = |c: &Cell| match c.rule {
            Rule::Gap { scale, .. } => scale,
            _ => panic!("a scale: {c:?}"),
        };
        assert!(scale(&cells[1]) >= scale(&cells[0]));
        assert_eq!(cells[2].basis, Basis::Borrowed, "no accounts at all");
    }

    #[test]
    fn where_nothing_certifies_the_programme_falls_back() {
        let config = CalibrationConfig::default();
        // 5 % of accounts lose everything, and the forest does not see it coming.
        let mut all = windows(0, 2_000, 20, 0);
        for w in &mut all {
            w.steps = vec![ONE as i32; 2];
            w.headroom = w.headroom.iter().map(|h| if h.minor() < 10_000 { Money::ZERO } else { *h }).collect();
        }
        let cell = &certify(&all, 2, &policy(), &config)[0];
        assert_eq!((cell.rule, cell.basis), (Rule::Fallback { amount: Money::ZERO }, Basis::Fallback));
    }

    #[test]
    fn the_fast_search_judges_like_the_slow_one() {
        let (policy, config) = (policy(), CalibrationConfig::default());
        let all = windows(0, 1_500, 20, 30_000);
        let group = Group::of(&all, None, 2, &policy);
        let (chosen, verdict) = group.search(Family::Gap, config.alpha, 0.04).expect("certifies");
        assert_eq!(group.judge(config.alpha, chosen), verdict);
        let slow = boldest(Family::Gap.candidates(), 0.04, |c| group.judge(config.alpha, c)).expect("certifies");
        assert_eq!(slow, (chosen, verdict));
    }
}
