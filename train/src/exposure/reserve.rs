//! The smallest reserve: which share of each limit to hold back on the balance, so that what can still be lost keeps β.
//!
//! With a lien of `r × L` other payments cannot take the balance below it, so a grant loses `(L − max(S, r × L))⁺`: nothing
//! at 100 %, `(L − S)⁺` at 0 %. Whoever gets no certified limit can be served with a reserve instead of a refusal.
//!
//! The sequence goes from 100 % down for as long as the promise in money stands at 1/δ on the calibration accounts, by the
//! same betting test as a certificate. It is one more certification on them: see `calibration.tries`.

use plimsoll_model::Tier;
use plimsoll_model::artifact::{Certificate, TierTerms};
use plimsoll_model::calibration::{Promise, Stake, Verdict, Violations, boldest};
use plimsoll_model::money::Money;
use rayon::prelude::*;
use serde::Serialize;

use crate::calibrate::{Candidate, Log, Scored, candidate, in_turn};

/// What is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Granted {
    /// What ships.
    Shipped,
    /// min(balance, ceiling), to everybody.
    Balance,
}

/// The reserve that one way of granting takes in one tier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reserve {
    /// The tier.
    pub tier: Tier,
    /// How limits are set.
    pub granted: Granted,
    /// The most that is granted.
    pub ceiling: Money,
    /// What may be lost on average, a grant.
    pub beta: Money,
    /// The smallest share of each limit to hold back, per cent; none when too few accounts certify even all of it.
    pub percent: Option<u32>,
    /// With it, on accounts that took no part: lost on average at the worst age, minor units.
    pub residual: f64,
    /// And without any.
    pub unreserved: f64,
    /// Held back on average there, minor units.
    pub held: f64,
}

/// The smallest reserves of every tier with a cap.
///
/// * `ceiling`: what a tier's limits are lowered to; its cap where this says nothing.
pub fn reserves(
    log: &Log,
    certificate: &Certificate,
    ceiling: &(dyn Fn(Tier) -> Option<Money> + Sync),
) -> Vec<Reserve> {
    let asked = certificate.terms.tiers.iter().flat_map(|t| [(t, Granted::Shipped), (t, Granted::Balance)]);
    let asked: Vec<(&TierTerms, Granted)> = asked.collect();
    let of = |(tier, granted): &(&TierTerms, Granted)| {
        let most = [tier.cap, ceiling(tier.tier)].into_iter().flatten().min().filter(|c| *c > Money::ZERO)?;
        let beta = tier.beta(certificate.terms.beta)?;
        let rule = match granted {
            Granted::Balance => Candidate::Plain,
            Granted::Shipped => candidate(certificate.cell(tier.tier)?.rule, &certificate.terms),
        };
        let part = |windows: &[Scored]| windows.iter().filter(|w| w.tier == tier.tier).cloned().collect::<Vec<_>>();
        let (calibrate, test) = (part(&log.calibrate), part(&log.test));
        let promise = Promise { alpha: 1.0, money: Some((beta.minor() as f64, most.minor() as f64)) };
        let judge = |percent: u32| Verdict::of(promise, Stake::MOST, &losses(&calibrate, rule, most, percent));
        let enough = 1.0 / certificate.terms.delta_each();
        let found = boldest((0..=100).rev(), |v| v.money_e_value.is_some_and(|e| e >= enough), judge);
        let percent = found.map(|(percent, _)| percent);
        let lost = |percent: u32| Verdict::of(promise, Stake::MOST, &losses(&test, rule, most, percent)).missing;
        Some(Reserve {
            tier: tier.tier,
            granted: *granted,
            ceiling: most,
            beta,
            percent,
            residual: lost(percent.unwrap_or(100)),
            unreserved: lost(0),
            held: held(&test, rule, most, percent.unwrap_or(100)),
        })
    };
    asked.par_iter().filter_map(of).collect()
}

/// What a grant of the shipped rule, lowered to `ceiling`, lost on average on the test split: at the worst age within `ttl_h`.
pub fn mean_loss(log: &Log, certificate: &Certificate, tier: Tier, ceiling: Money, ttl_h: u32) -> f64 {
    let Some(cell) = certificate.cell(tier) else { return 0.0 };
    let rule = candidate(cell.rule, &certificate.terms);
    let test: Vec<Scored> = log.test.iter().filter(|w| w.tier == tier).cloned().collect();
    let within = certificate.terms.ages.iter().filter(|a| a.0 <= ttl_h.saturating_mul(60)).count();
    let by_age = losses(&test, rule, ceiling, 0);
    let mean = |accounts: &Vec<Violations>| {
        accounts.iter().map(|v| v.mean_missing()).sum::<f64>() / accounts.len().max(1) as f64
    };
    by_age.iter().take(within).map(mean).fold(0.0, f64::max)
}

/// What a window loses with this much of its limit held back.
fn lost(window: &Scored, age: usize, rule: Candidate, most: Money, percent: u32) -> u64 {
    let limit = rule.limit(window, age, most);
    limit.saturating_sub(window.headroom[age].max(lien(limit, percent))).minor()
}

/// Rounded up: a reserve is to be enough.
fn lien(limit: Money, percent: u32) -> Money {
    let minor = (u128::from(limit.minor()) * u128::from(percent.min(100))).div_ceil(100);
    Money::from_minor(minor as u64).expect("a share of an amount is an amount")
}

/// `[age][account]`, accounts in the order of their turns.
fn losses(windows: &[Scored], rule: Candidate, most: Money, percent: u32) -> Vec<Vec<Violations>> {
    let ages = windows.first().map_or(0, |w| w.headroom.len());
    let account = |age: usize, windows: &[Scored]| {
        let mut seen = Violations { windows: windows.len() as u32, ..Violations::default() };
        for missing in windows.iter().map(|w| lost(w, age, rule, most, percent)) {
            seen.violated += u32::from(missing > 0);
            seen.missing += missing;
        }
        seen
    };
    let accounts = in_turn(windows, |w| w.account);
    let by_account = |age| accounts.iter().map(|range| account(age, &windows[range.clone()])).collect();
    (0..ages).map(by_account).collect()
}

/// Mean over accounts and ages.
fn held(windows: &[Scored], rule: Candidate, most: Money, percent: u32) -> f64 {
    let of = |w: &Scored| {
        let ages = w.headroom.len();
        let all: u64 = (0..ages).map(|age| lien(rule.limit(w, age, most), percent).minor()).sum();
        all as f64 / ages.max(1) as f64
    };
    let account = |windows: &[Scored]| windows.iter().map(of).sum::<f64>() / windows.len().max(1) as f64;
    let means: Vec<f64> = windows.chunk_by(|a, b| a.account == b.account).map(account).collect();
    means.iter().sum::<f64>() / means.len().max(1) as f64
}
