//! From what accounts did to figures with intervals: accounts are resampled, as rows of one account are not exchangeable.

use std::collections::BTreeMap;

use plimsoll_model::Tier;
use plimsoll_model::artifact::{Basis, Certificate};
use plimsoll_model::calibration::mean_interval;
use rayon::prelude::*;
use serde::Serialize;

use super::attack::Attacked;
use super::config::Scenario;
use super::life::Lived;
use crate::windows::mix;

/// Resamples of accounts behind an interval.
const RESAMPLES: usize = 1_000;
/// Of a rate that is compared with the promise, the level of its interval: 95 %.
const DELTA: f64 = 0.05;

/// A figure and its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Figure {
    /// The mean of account shares in [0, 1], by betting: valid at any number of accounts.
    fn mean(shares: &[f64]) -> Self {
        let (low, high) = mean_interval(shares, DELTA);
        let value = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
        Self { value, low: low.min(value), high: high.max(value) }
    }
}

/// Whether what was seen contradicts what is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No interval lies above what is promised.
    WithinCertificate,
    /// One does.
    BeyondCertificate,
    /// The certificate does not speak of this scenario, or promises this tier nothing.
    NotPromised,
}

impl Verdict {
    /// In words.
    pub const fn says(self) -> &'static str {
        match self {
            Self::WithinCertificate => "within the certificate",
            Self::BeyondCertificate => "BEYOND the certificate",
            Self::NotPromised => "not promised",
        }
    }
}

/// One scenario, one tier or all of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Played {
    /// Which scenario.
    pub scenario: Scenario,
    /// Which tier; all together when not given.
    pub tier: Option<Tier>,
    /// Accounts with a window.
    pub accounts: usize,
    /// Windows: syncs at which there was a balance.
    pub windows: u64,
    /// Share of them without any limit.
    pub zero: f64,
    /// Mean limit at the sync, minor units.
    pub mean_limit: Figure,
    /// Spent of what was granted.
    pub utilisation: Figure,
    /// Of the ledger's own spends while offline, the share of money that went through.
    pub served: Figure,
    /// The ledger's own spends that were tried offline, and those that were declined.
    pub tried: u64,
    /// See `tried`.
    pub declined: u64,
    /// Share of them that was declined.
    pub declines: Figure,
    /// Declines by the rule that said no.
    pub by_bound: BTreeMap<String, u64>,
    /// Share of an account's windows in which somebody lost something, mean over accounts.
    pub lost: Figure,
    /// Share of an account's windows with less headroom than the limit, mean over accounts, at the worst age: what α is
    /// promised of.
    pub short: Figure,
    /// α, parts per million; none where nothing is promised.
    pub alpha_ppm: Option<u32>,
    /// Missing from a window when all is spent, mean over accounts, at the worst age, minor units: what β is promised of.
    pub missing: f64,
    /// β of the tier, minor units.
    pub beta: Option<u64>,
    /// Settled payments, minor units: credited to payees, debited from balances. The issuer paid the rest.
    pub credited: u64,
    /// See `credited`.
    pub debited: u64,
    /// Paid by the issuer beyond what balances held, minor units.
    pub issuer_lost: u64,
    /// The same of one window.
    pub issuer_lost_a_window: Figure,
    /// Payments that did not settle, and what their payees lost, minor units.
    pub unsettled: u64,
    /// See `unsettled`.
    pub payee_lost: u64,
    /// Beside the certificate.
    pub verdict: Verdict,
}

/// One attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttackPlayed {
    /// Which attack.
    pub attack: Scenario,
    /// Accounts that tried it; those that would have but were never granted enough.
    pub attackers: usize,
    /// See `attackers`.
    pub passed_over: usize,
    /// What one honest wallet could have spent, mean, minor units.
    pub honest: f64,
    /// What an attacker got, mean, minor units.
    pub got: Figure,
    /// What an attacker got over what one honest wallet could have spent, mean, minor units.
    pub over: Figure,
    /// What the design lets it get at most, mean, minor units.
    pub bound: f64,
    /// Attackers that got more than that: a bug.
    pub beyond_bound: usize,
    /// Lost by the issuer, mean of an attacker, minor units.
    pub issuer_lost: Figure,
    /// Lost by honest payees, mean of an attacker, minor units.
    pub payee_lost: Figure,
    /// The same over all accounts of the ledger, minor units: an attack by `attackers_milli` of them.
    pub lost_an_account: f64,
    /// What said no, and to how many attackers.
    pub stopped: BTreeMap<String, u64>,
}

/// A figure of two models on the same ledger with the same luck.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Scenario or attack.
    pub scenario: Scenario,
    /// Which tier; all together when not given.
    pub tier: Option<Tier>,
    /// Which figure.
    pub figure: &'static str,
    /// Of the model.
    pub ours: f64,
    /// Of the one it is compared with.
    pub theirs: f64,
    /// Ours less theirs; accounts resampled in pairs.
    pub difference: Figure,
}

/// Sums of an account that figures are ratios of.
const SUMS: usize = 10;
type Sums = [f64; SUMS];

/// The figures of [`figures`].
const NAMES: [&str; 6] =
    ["mean limit", "demand served", "declines", "utilisation", "lost windows", "issuer's loss a window"];

fn sums(l: &Lived) -> Sums {
    let n = f64::from;
    [
        n(l.windows),
        l.limit as f64,
        l.asked as f64,
        l.met as f64,
        n(l.tried),
        n(l.declined),
        l.spent as f64,
        n(l.lost),
        l.overdraft as f64,
        n(l.zero),
    ]
}

fn figures(s: &Sums) -> [f64; NAMES.len()] {
    let of = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    [of(s[1], s[0]), of(s[3], s[2]), of(s[5], s[4]), of(s[6], s[1]), of(s[7], s[0]), of(s[8], s[0])]
}

fn total<const K: usize>(rows: impl Iterator<Item = [f64; K]>) -> [f64; K] {
    rows.fold([0.0; K], |mut sum, row| {
        sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
        sum
    })
}

/// Figures of accounts, with accounts drawn with replacement from a fixed list of draws.
fn spans<const K: usize, const M: usize>(
    rows: &[[f64; K]],
    figures: impl Fn(&[f64; K]) -> [f64; M] + Sync,
) -> [Figure; M] {
    let n = rows.len();
    let values = figures(&total(rows.iter().copied()));
    if n == 0 {
        return values.map(|value| Figure { value, low: value, high: value });
    }
    let draw =
        |sample: usize, k: usize| ((u128::from(mix((sample as u64) << 32 ^ k as u64)) * n as u128) >> 64) as usize;
    let resample = |sample: usize| figures(&total((0..n).map(|k| rows[draw(sample, k)])));
    let samples: Vec<[f64; M]> = (0..RESAMPLES).into_par_iter().map(resample).collect();
    std::array::from_fn(|figure| {
        let mut drawn: Vec<f64> = samples.iter().map(|s| s[figure]).collect();
        drawn.sort_unstable_by(f64::total_cmp);
        let value = values[figure];
        Figure { value, low: drawn[RESAMPLES / 40].min(value), high: drawn[RESAMPLES - 1 - RESAMPLES / 40].max(value) }
    })
}

impl Played {
    /// All tiers together, then each.
    pub(super) fn all(scenario: Scenario, lives: &[Option<Lived>], certificate: &Certificate) -> Vec<Self> {
        let tiers = certificate.cells.iter().map(|cell| cell.tier);
        let mut each: Vec<Self> = tiers.map(|tier| Self::of(scenario, Some(tier), lives, certificate)).collect();
        each.retain(|p| p.accounts > 0);
        let mut everyone = Self::of(scenario, None, lives, certificate);
        let any = |verdict| each.iter().any(|p| p.verdict == verdict);
        everyone.verdict = if any(Verdict::BeyondCertificate) {
            Verdict::BeyondCertificate
        } else if any(Verdict::WithinCertificate) {
            Verdict::WithinCertificate
        } else {
            Verdict::NotPromised
        };
        each.insert(0, everyone);
        each
    }

    fn of(scenario: Scenario, tier: Option<Tier>, lives: &[Option<Lived>], certificate: &Certificate) -> Self {
        let lives: Vec<&Lived> = of_tier(lives, tier).collect();
        let count = |f: fn(&Lived) -> u64| lives.iter().map(|l| f(l)).sum::<u64>();
        let rows: Vec<Sums> = lives.iter().map(|l| sums(l)).collect();
        let [mean_limit, served, declines, utilisation, _, issuer_lost_a_window] = spans(&rows, figures);
        let share = |f: &dyn Fn(&Lived) -> f64| -> Vec<f64> {
            lives.iter().map(|l| f(l) / f64::from(l.windows.max(1))).collect()
        };
        let ages = certificate.terms.ages.len();
        let at_ages = (0..ages).map(|age| Figure::mean(&share(&|l| f64::from(l.short[age]))));
        let short = at_ages.max_by(|a, b| a.value.total_cmp(&b.value)).unwrap_or_default();
        let missing_at = |age: usize| share(&|l| l.missing[age] as f64);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let missing = (0..ages).map(|age| mean(&missing_at(age))).fold(0.0, f64::max);
        let lost = Figure::mean(&share(&|l| f64::from(l.lost)));

        let cell = tier.and_then(|t| certificate.cell(t)).filter(|c| c.basis == Basis::Certified);
        let alpha = cell.map(|_| certificate.terms.alpha);
        let cap = tier.and_then(|t| certificate.terms.tiers.iter().find(|terms| terms.tier == t)).and_then(|t| t.cap);
        let beta = cell.and_then(|c| c.beta);
        let in_money = |values: Vec<f64>| match (beta, cap) {
            (Some(beta), Some(cap)) if cap > plimsoll_model::Money::ZERO => {
                let cap = cap.minor() as f64;
                let shares: Vec<f64> = values.iter().map(|v| (v / cap).min(1.0)).collect();
                Figure::mean(&shares).low * cap > beta.minor() as f64
            }
            _ => false,
        };
        let verdict = match alpha.filter(|_| scenario.is_promised() && !lives.is_empty()) {
            None => Verdict::NotPromised,
            Some(alpha) => {
                let beyond = short.low > alpha.fraction()
                    || lost.low > alpha.fraction()
                    || (0..ages).any(|age| in_money(missing_at(age)))
                    || in_money(share(&|l| l.overdraft as f64));
                if beyond { Verdict::BeyondCertificate } else { Verdict::WithinCertificate }
            }
        };
        let mut by_bound = BTreeMap::new();
        for (bound, n) in lives.iter().flat_map(|l| &l.by_bound) {
            *by_bound.entry((*bound).to_owned()).or_default() += u64::from(*n);
        }
        let windows = count(|l| l.windows.into());
        Self {
            scenario,
            tier,
            accounts: lives.len(),
            windows,
            zero: count(|l| l.zero.into()) as f64 / windows.max(1) as f64,
            mean_limit,
            utilisation,
            served,
            tried: count(|l| l.tried.into()),
            declined: count(|l| l.declined.into()),
            declines,
            by_bound,
            lost,
            short,
            alpha_ppm: alpha.map(|a| a.get()),
            missing,
            beta: beta.map(|b| b.minor()),
            credited: count(|l| l.credited),
            debited: count(|l| l.debited),
            issuer_lost: count(|l| l.overdraft),
            issuer_lost_a_window,
            unsettled: count(|l| l.unsettled.into()),
            payee_lost: count(|l| l.payee_lost),
            verdict,
        }
    }
}

impl AttackPlayed {
    /// * `tried`: of every account that would attack, what it got; none when it was never granted enough.
    pub(super) fn of(attack: Scenario, tried: &[Option<Attacked>], accounts: usize) -> Self {
        let done: Vec<&Attacked> = tried.iter().flatten().collect();
        let rows: Vec<[f64; 6]> = done.iter().map(|a| attack_sums(a)).collect();
        let each = |s: &[f64; 6]| s.map(|x| x / s[0].max(1.0));
        let [_, honest, got, issuer_lost, payee_lost, bound] = spans(&rows, each);
        let [over] = spans(&rows, |s| [(s[2] - s[1]) / s[0].max(1.0)]);
        let mut stopped = BTreeMap::new();
        for what in done.iter().flat_map(|a| a.stopped.keys()) {
            *stopped.entry(what.clone()).or_default() += 1;
        }
        let lost: u64 = done.iter().map(|a| a.issuer_lost + a.payee_lost).sum();
        Self {
            attack,
            attackers: done.len(),
            passed_over: tried.len() - done.len(),
            honest: honest.value,
            got,
            over,
            bound: bound.value,
            beyond_bound: done.iter().filter(|a| a.got > a.bound).count(),
            issuer_lost,
            payee_lost,
            lost_an_account: lost as f64 / accounts.max(1) as f64,
            stopped,
        }
    }
}

fn attack_sums(a: &Attacked) -> [f64; 6] {
    [1.0, a.honest as f64, a.got as f64, a.issuer_lost as f64, a.payee_lost as f64, a.bound as f64]
}

fn of_tier(lives: &[Option<Lived>], tier: Option<Tier>) -> impl Iterator<Item = &Lived> {
    lives.iter().flatten().filter(move |l| l.windows > 0 && tier.is_none_or(|t| l.tier == t))
}

/// Ours less theirs, of lives of the same accounts.
pub(super) fn differences(scenario: Scenario, ours: &[Option<Lived>], theirs: &[Option<Lived>]) -> Vec<Difference> {
    let mut tiers: Vec<Tier> = of_tier(ours, None).chain(of_tier(theirs, None)).map(|l| l.tier).collect();
    tiers.sort_unstable();
    tiers.dedup();
    let mut found = Vec::new();
    for tier in std::iter::once(None).chain(tiers.into_iter().map(Some)) {
        let of =
            |life: &Option<Lived>| life.as_ref().filter(|l| tier.is_none_or(|t| l.tier == t)).map_or([0.0; SUMS], sums);
        let pairs = ours.iter().zip(theirs).map(|(a, b)| (of(a), of(b))).filter(|(a, b)| a[0] + b[0] > 0.0);
        let rows: Vec<[f64; 2 * SUMS]> =
            pairs.map(|(a, b)| std::array::from_fn(|i| if i < SUMS { a[i] } else { b[i - SUMS] })).collect();
        found.extend(paired(&rows, scenario, tier, NAMES, figures));
    }
    found
}

/// Ours less theirs, of attacks by the same accounts.
pub(super) fn attack_differences(
    attack: Scenario,
    ours: &[Option<Attacked>],
    theirs: &[Option<Attacked>],
) -> Vec<Difference> {
    let of = |a: &Option<Attacked>| a.as_ref().map_or([0.0; 6], attack_sums);
    let pairs = ours.iter().zip(theirs).map(|(a, b)| (of(a), of(b))).filter(|(a, b)| a[0] + b[0] > 0.0);
    let rows: Vec<[f64; 12]> =
        pairs.map(|(a, b)| std::array::from_fn(|i| if i < 6 { a[i] } else { b[i - 6] })).collect();
    let each = |s: &[f64; 6]| [s[2], s[3], s[4]].map(|x| x / s[0].max(1.0));
    paired(&rows, attack, None, ["got by an attacker", "issuer's loss an attacker", "payees' loss an attacker"], each)
}

fn paired<const K: usize, const TWICE: usize, const M: usize>(
    rows: &[[f64; TWICE]],
    scenario: Scenario,
    tier: Option<Tier>,
    names: [&'static str; M],
    figures: impl Fn(&[f64; K]) -> [f64; M] + Sync,
) -> Vec<Difference> {
    let both = |s: &[f64; TWICE]| {
        let (ours, theirs) = (std::array::from_fn(|i| s[i]), std::array::from_fn(|i| s[K + i]));
        (figures(&ours), figures(&theirs))
    };
    let (ours, theirs) = both(&total(rows.iter().copied()));
    let differences: [Figure; M] = spans(rows, |s| {
        let (ours, theirs) = both(s);
        std::array::from_fn(|i| ours[i] - theirs[i])
    });
    let one = |i: usize| {
        let (figure, difference) = (names[i], differences[i]);
        Difference { scenario, tier, figure, ours: ours[i], theirs: theirs[i], difference }
    };
    (0..M).map(one).collect()
}
