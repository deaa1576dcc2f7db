//! Calibration: how far a limit may go before its promise is in doubt.
//!
//! ```text
//! windows of accounts the trees never saw ─► share of violated windows per account, at each age [accounts]
//!        ─► betting e-value per age, along the accounts ─► the boldest scale at which every age still has E ≥ 1/δ
//! ```
//!
//! The unit of the test is the account, not the window: rows of one account are not exchangeable, and tests that
//! pool windows certify false limits 20–30 % of the time. For i.i.d. accounts with mean violation share `Z_i` in
//! [0, 1], under `E[Z] > α` the product `Π(1 + λ(α − Z_i))` is expected to fall with every account, so it ever exceeds
//! `1/δ` with probability at most δ (Ville 1939; Waudby-Smith and Ramdas 2024, *Estimating means of bounded random
//! variables by betting*). *Ever*: the e-value is the most it came to along the accounts, which must therefore come in
//! an order that nothing was chosen by. Scales are tried in a fixed sequence from a limit of nothing, stopping at the first failure, so
//! trying many costs nothing (Learn-then-Test: Angelopoulos et al. 2021). Every age must pass: an
//! intersection-union test, which needs no correction either.

use serde::{Deserialize, Serialize};

use crate::forest::ONE;
use crate::money::Money;

/// Which flows count against headroom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Everything observed counts: the limit is drawn on top of all that happened anyway.
    Strict,
    /// Flows the holder starts on the spot would have been offline payments, so only the others count.
    Committed,
}

/// The calibrated scalar of the quantile head, in 2⁻¹⁶: how many times the predicted gap is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GapScale(pub u32);

/// The gap never counts as less than 1 % of the balance: a forest that sees no risk at all still keeps something
/// back, and without this floor the scale could not reach a limit of nothing (limits measured on real wallets).
const GAP_MIN: u64 = (ONE as u64).div_ceil(100);

impl GapScale {
    /// One times the predicted gap.
    pub const ONE: Self = Self(1 << 16);
    /// Keeps everything back: with the least gap of 1 %, 101 times it is more than the balance.
    pub const NOTHING: Self = Self(101 << 16);

    /// The share of the balance to grant, in steps, when the forest says that `steps` stay at its level:
    /// `1 − scale × max(1 − q, 1 %)`, rounded down, at least 0.
    pub fn limit_steps(self, steps: i32) -> u32 {
        let steps = steps.clamp(0, ONE as i32) as u64;
        let gap = (u64::from(ONE) - steps).max(GAP_MIN);
        let kept = (u64::from(self.0) * gap).div_ceil(1 << 16);
        u64::from(ONE).saturating_sub(kept) as u32
    }

    /// The limit on a balance, rounded down: integers only.
    pub fn limit(self, balance: Money, steps: i32) -> Money {
        balance.scale_steps(self.limit_steps(steps))
    }

    /// The fixed sequence of candidates, from a limit of nothing to no margin at all: scales that fall
    /// geometrically by integer arithmetic; about 1,400. The last is 0, which grants the whole balance.
    pub fn sequence() -> Vec<Self> {
        let mut scale = Self::NOTHING.0;
        let mut all = Vec::new();
        while scale > 0 {
            all.push(Self(scale));
            // 0.5 % a step, and a thousandth of the predicted gap once that is more: in a fixed sequence, small steps cost
            // nothing.
            scale -= (scale / 200).max(66).min(scale);
        }
        all.push(Self(0));
        all
    }
}

/// The share of the capital that is put on each account, in thousandths: fixed before the accounts are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stake(u32);

impl Stake {
    /// Those there are. Large stakes need the fewest accounts, and win most where violations are many and small; an
    /// account that violates all its windows takes a stake whole, so where those are few among many accounts, small
    /// stakes get further.
    pub const ALL: [Self; 10] =
        [Self::MOST, Self(900), Self(800), Self(650), Self(500), Self(350), Self(250), Self(150), Self(80), Self(40)];
    /// The largest: one account violated whole leaves α of the capital.
    pub const MOST: Self = Self(1_000);

    /// In thousandths.
    pub const fn milli(self) -> u32 {
        self.0
    }

    fn fraction(self) -> f64 {
        f64::from(self.0) / 1e3
    }

    /// Logarithm of what 1 grows to over one account without violations, when α is promised.
    pub fn gain(self, alpha: f64) -> f64 {
        libm::log1p(self.fraction() * alpha)
    }
}

impl Default for Stake {
    fn default() -> Self {
        Self::MOST
    }
}

/// When it is an account's turn: bets are placed in the order of this hash of its number (SplitMix64: Steele, Lea, Flood
/// 2014). It is fixed beforehand, and has nothing to do with what an account did, or when it came.
pub const fn turn(account: u32) -> u64 {
    let z = (account as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a gambler who bets on `E[Z] ≤ α` made of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capital {
    /// The most it came to: the e-value against `E[Z] > α`.
    pub most: f64,
    /// What was left after the last account.
    pub last: f64,
}

/// Bets on the mean violation share of each account, in [0, 1], in the order given. The larger a share, the smaller
/// every sum from there on, to the bit: rounding is monotone.
pub fn bet(stake: Stake, alpha: f64, shares: impl IntoIterator<Item = f64>) -> Capital {
    let stake = stake.fraction();
    shares.into_iter().fold(Capital { most: 1.0, last: 1.0 }, |capital, z| {
        let last = (capital.last * (1.0 + stake * (alpha - z))).min(f64::MAX);
        Capital { most: capital.most.max(last), last }
    })
}

/// Accounts without a single violation that are needed to reach `1 / delta`: what calibration can say in advance.
pub fn accounts_needed(alpha: f64, delta: f64) -> u64 {
    (libm::log(1.0 / delta) / Stake::MOST.gain(alpha)).ceil() as u64
}

/// The smallest α that so many accounts could certify, if none of them violated: the other way round.
pub fn alpha_min(accounts: u64, delta: f64) -> f64 {
    if accounts == 0 {
        1.0
    } else {
        (libm::expm1(libm::log(1.0 / delta) / accounts as f64) / Stake::MOST.fraction()).min(1.0)
    }
}

/// What one account's windows came to at one age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// Windows whose headroom was below the limit.
    pub violated: u32,
    /// What was missing from them, minor units.
    pub missing: u64,
    /// Windows.
    pub windows: u32,
}

impl Violations {
    /// The share violated, 0 without windows.
    pub fn share(self) -> f64 {
        if self.windows == 0 { 0.0 } else { f64::from(self.violated) / f64::from(self.windows) }
    }

    /// Missing on average from a window, minor units.
    pub fn mean_missing(self) -> f64 {
        if self.windows == 0 { 0.0 } else { self.missing as f64 / f64::from(self.windows) }
    }
}

/// What is promised of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    /// `P(S < L)` at most.
    pub alpha: f64,
    /// `E[(L − S)⁺]` at most, minor units, and the cap that no loss can exceed; none without a cap.
    pub money: Option<(f64, f64)>,
}

/// What a candidate did on the calibration accounts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The smallest e-value over the ages, against `P(S < L) > α`.
    pub e_value: f64,
    /// The smallest over the ages, against `E[(L − S)⁺] > β`, where that is promised.
    pub money_e_value: Option<f64>,
    /// The largest mean violation share over the ages.
    pub violation: f64,
    /// The largest mean of what was missing over the ages, minor units.
    pub missing: f64,
    /// Accounts.
    pub accounts: usize,
    /// Logarithm of what the gambler was left with after the last account, the least over ages and promises.
    pub growth: f64,
}

impl Verdict {
    /// Judges one candidate: `by_age[age][account]`, accounts in an order that nothing was chosen by. Those without
    /// windows say nothing.
    pub fn of(promise: Promise, stake: Stake, by_age: &[Vec<Violations>]) -> Self {
        let mut verdict = Self {
            e_value: if by_age.is_empty() { 0.0 } else { f64::MAX },
            money_e_value: promise.money.map(|_| if by_age.is_empty() { 0.0 } else { f64::MAX }),
            violation: 0.0,
            missing: 0.0,
            accounts: by_age.first().map_or(0, Vec::len),
            growth: 0.0,
        };
        let mut least = if by_age.is_empty() { 0.0 } else { f64::MAX };
        for accounts in by_age {
            let seen = || accounts.iter().filter(|v| v.windows > 0);
            let n = seen().count();
            verdict.accounts = verdict.accounts.min(n);
            let capital = bet(stake, promise.alpha, seen().map(|v| v.share()));
            verdict.e_value = verdict.e_value.min(capital.most);
            least = least.min(capital.last);
            if let (Some((beta, cap)), Some(e)) = (promise.money, &mut verdict.money_e_value) {
                // No loss exceeds the cap, so the share of it is in [0, 1], as the bet needs.
                let capital = bet(stake, beta / cap, seen().map(|v| (v.mean_missing() / cap).min(1.0)));
                *e = e.min(capital.most);
                least = least.min(capital.last);
            }
            if n > 0 {
                verdict.violation = verdict.violation.max(seen().map(|v| v.share()).sum::<f64>() / n as f64);
                verdict.missing = verdict.missing.max(seen().map(|v| v.mean_missing()).sum::<f64>() / n as f64);
            }
        }
        verdict.growth = libm::log(least);
        verdict
    }

    /// Whether both promises are kept with confidence `1 − delta`. Each must pass at every age: an intersection-union
    /// test, which needs no correction.
    pub fn certifies(&self, delta: f64) -> bool {
        self.e_value >= 1.0 / delta && self.money_e_value.is_none_or(|e| e >= 1.0 / delta)
    }
}

/// Goes through candidates from the most careful to the boldest and returns the last that passes.
/// Stops at the first that does not: going on would need a correction for trying again.
pub fn boldest<C: Copy>(
    candidates: impl IntoIterator<Item = C>,
    pass: impl Fn(&Verdict) -> bool,
    mut judge: impl FnMut(C) -> Verdict,
) -> Option<(C, Verdict)> {
    let mut best = None;
    for candidate in candidates {
        let verdict = judge(candidate);
        if !pass(&verdict) {
            break;
        }
        best = Some((candidate, verdict));
    }
    best
}

/// A confidence interval for the mean of account shares in [0, 1], at level `1 − delta`, by betting both ways over a
/// grid of means: each mean whose hedged capital stays below `2 / delta` is inside. Valid at any sample size.
/// Source: Waudby-Smith and Ramdas 2024, theorem 3, with fixed stakes mixed over five sizes.
pub fn mean_interval(shares: &[f64], delta: f64) -> (f64, f64) {
    const STAKES: [f64; 5] = [0.05, 0.15, 0.4, 0.7, 0.95];
    let rejected = |m: f64, up: bool| {
        let capital: f64 = STAKES
            .iter()
            .map(|stake| {
                let log: f64 = shares
                    .iter()
                    .map(|x| {
                        // Largest stake that cannot go broke against this mean, scaled.
                        let bet =
                            if up { stake / m.max(1e-12) * (x - m) } else { stake / (1.0 - m).max(1e-12) * (m - x) };
                        libm::log1p(bet.max(-0.999_999))
                    })
                    .sum();
                libm::exp(log.min(600.0))
            })
            .sum::<f64>()
            / STAKES.len() as f64;
        capital >= 2.0 / delta
    };
    let mean = if shares.is_empty() { 0.0 } else { shares.iter().sum::<f64>() / shares.len() as f64 };
    let bisect = |mut inside: f64, mut outside: f64, up: bool| {
        for _ in 0..40 {
            let middle = f64::midpoint(inside, outside);
            if rejected(middle, up) { outside = middle } else { inside = middle }
        }
        outside
    };
    let low = if mean > 0.0 { bisect(mean, 0.0, true) } else { 0.0 };
    let high = if mean < 1.0 { bisect(mean, 1.0, false) } else { 1.0 };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_scale_never_grants_more() {
        let scales = GapScale::sequence();
        assert!((1_000..2_000).contains(&scales.len()), "{}", scales.len());
        assert_eq!(scales.first(), Some(&GapScale::NOTHING));
        for steps in [-1, 0, 1, 1 << 19, ONE as i32 - 1, ONE as i32] {
            assert_eq!(GapScale::NOTHING.limit_steps(steps), 0, "the sequence starts at nothing");
            assert_eq!(GapScale(0).limit_steps(steps), ONE, "and ends at everything");
            assert!(scales.windows(2).all(|w| w[1] < w[0]));
            assert!(scales.windows(2).all(|w| w[0].limit_steps(steps) <= w[1].limit_steps(steps)));
        }
    }

    #[test]
    fn the_gap_is_kept_back_once_at_scale_one() {
        let hundred = Money::from_minor(10_000).expect("small");
        let seventy = (ONE as f64 * 0.7) as i32;
        assert_eq!(GapScale::ONE.limit(hundred, seventy).minor(), 6_999, "rounded down");
        assert_eq!(GapScale::ONE.limit(hundred, ONE as i32).minor(), 9_899, "the gap is at least 1 %");
    }

    #[test]
    fn what_calibration_needs_is_known_in_advance() {
        assert_eq!(accounts_needed(0.01, 0.05), 302);
        let clean = |n| bet(Stake::MOST, 0.01, std::iter::repeat_n(0.0, n)).most;
        assert!(clean(302) >= 20.0 && clean(301) < 20.0);
    }

    #[test]
    fn evidence_once_enough_stays_enough_and_later_accounts_cannot_be_waited_for() {
        let shares = |bad_from: usize| (0..400).map(move |i| if i < bad_from { 0.0 } else { 0.5 });
        let enough = bet(Stake::MOST, 0.01, shares(302));
        assert!(enough.most >= 20.0 && enough.last < 1e-9, "{enough:?}");
        let late = bet(Stake::MOST, 0.01, shares(301));
        assert!(late.most < 20.0, "{late:?}");
        // Turns do not follow numbers.
        let rising = (0..1_000).filter(|a| turn(*a) < turn(a + 1)).count();
        assert!((400..600).contains(&rising), "{rising}");
    }

    #[test]
    fn more_violations_are_never_more_evidence() {
        let mut shares = vec![0.0; 300];
        for stake in Stake::ALL {
            let mut before = bet(stake, 0.01, shares.iter().copied());
            for ix in [7, 99, 250] {
                shares[ix] += 0.125;
                let after = bet(stake, 0.01, shares.iter().copied());
                assert!(after.most <= before.most && after.last < before.last, "{before:?} {after:?}");
                before = after;
            }
        }
    }

    #[test]
    fn one_failing_age_stops_the_sequence() {
        let fine = vec![Violations { violated: 0, missing: 0, windows: 5 }; 400];
        let mut bad = fine.clone();
        bad[..40].fill(Violations { violated: 5, missing: 5, windows: 5 });
        let promise = Promise { alpha: 0.01, money: None };
        let judge = |bold: bool| {
            Verdict::of(promise, Stake::MOST, &[fine.clone(), if bold { bad.clone() } else { fine.clone() }])
        };
        let (chosen, verdict) =
            boldest([false, false, true], |v| v.certifies(0.05), judge).expect("the careful ones certify");
        assert!(!chosen);
        assert_eq!(verdict.violation, 0.0);
        assert!(boldest([true, false], |v| v.certifies(0.05), judge).is_none(), "it stops at the first failure");
        // Whichever age it is.
        let first_age_bad = Verdict::of(promise, Stake::MOST, &[bad.clone(), fine.clone()]);
        assert!(!first_age_bad.certifies(0.05) && first_age_bad.violation > 0.05);
        assert!(!Verdict::of(promise, Stake::MOST, &[]).certifies(0.05), "no data certifies nothing");
    }

    #[test]
    fn few_violations_that_cost_much_break_the_promise_in_money() {
        // One account in 200 violates half of its windows: 0.25 %, under α = 1 %; each time all of the cap is missing.
        let costing = |missing| {
            let mut accounts = vec![Violations { violated: 0, missing: 0, windows: 4 }; 2_000];
            accounts.iter_mut().step_by(200).for_each(|v| (v.violated, v.missing) = (2, missing));
            Verdict::of(Promise { alpha: 0.01, money: Some((20.0, 10_000.0)) }, Stake::MOST, &[accounts])
        };
        let (dear, cheap) = (costing(20_000), costing(20));
        assert!(dear.e_value >= 20.0 && !dear.certifies(0.05), "{dear:?}");
        assert!(cheap.certifies(0.05), "{cheap:?}");
        assert_eq!((dear.missing, cheap.missing), (25.0, 0.025));
    }

    #[test]
    fn the_tightest_alpha_is_the_one_for_which_the_accounts_just_suffice() {
        for n in [100, 302, 1_100, 20_000] {
            let alpha = alpha_min(n, 0.05);
            assert_eq!(accounts_needed(alpha * 1.000_001, 0.05), n);
            assert!(accounts_needed(alpha * 0.999, 0.05) > n);
        }
        assert_eq!((alpha_min(0, 0.05), alpha_min(1, 0.05)), (1.0, 1.0));
    }

    /// Truth known: accounts with a strong effect of their own, true mean just above α. False certificates must
    /// stay within δ. (A pooled binomial test fails this 20–30 % of the time.)
    #[test]
    fn false_certificates_are_as_rare_as_promised() {
        let mut state = 42u64;
        let mut uniform = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let (alpha, runs) = (0.05, 2_000);
        let mut wrong = 0;
        for _ in 0..runs {
            // 10.4 % of accounts are risky in half of their windows: mean 5.2 %.
            let shares: Vec<f64> = (0..300)
                .map(
                    |_| if uniform() < 0.104 { (0..10).filter(|_| uniform() < 0.5).count() as f64 / 10.0 } else { 0.0 },
                )
                .collect();
            wrong += usize::from(bet(Stake::MOST, alpha, shares).most >= 20.0);
        }
        assert!(wrong as f64 / runs as f64 <= 0.05, "{wrong} of {runs}");
    }

    #[test]
    fn the_interval_holds_the_mean() {
        let shares: Vec<f64> = (0..500).map(|i| if i % 50 == 0 { 0.5 } else { 0.0 }).collect();
        let (low, high) = mean_interval(&shares, 0.05);
        assert!(low > 0.0 && low < 0.01 && 0.01 < high && high < 0.05, "({low}, {high})");
        assert_eq!(mean_interval(&[], 0.05), (0.0, 1.0));
    }
}
