//! Does the promise hold, and what does it cost? Certifies many times on accounts drawn from a population whose truth is
//! known, and counts.
//!
//! ```text
//! population ─► draw accounts (seed) ─► certify ─► true risk of what ships: above α or β at any age? a failure
//!      └─► the boldest member of the family that truly keeps the promise ─► its limit: how much of it was certified?
//! ```
//!
//! Accounts are drawn with replacement, so they are independent and the population's own means are the truth, exactly.
//! A population is made up here, with an account effect the model does not see, or is the accounts of a calibration log.

use plimsoll_model::Tier;
use plimsoll_model::artifact::{Basis, Terms};
use plimsoll_model::calibration::{Stake, Verdict, Violations};
use plimsoll_model::forest::ONE;
use plimsoll_model::money::Money;
use plimsoll_model::time::UtcSeconds;
use rayon::prelude::*;

use crate::calibrate::{Candidate, Family, Group, Log, Scored, candidate, cells};
use crate::windows::mix;

/// Accounts whose every window is known.
pub struct Population {
    terms: Terms,
    windows: Vec<Scored>,
}

/// How often a tier's promise failed at one age.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Findings {
    /// The tier.
    pub tier: Tier,
    /// Certifications tried.
    pub runs: u32,
    /// Of them, those that certified a limit.
    pub certified: u32,
    /// Of those, per age: `P(S < L) > α` in truth, in the tier or in a band that was certified.
    pub failed_alpha: Vec<u32>,
    /// Of those, per age: `E[(L − S)⁺] > β` in truth.
    pub failed_beta: Vec<u32>,
    /// Of those, how many were certified in balance bands.
    pub in_bands: u32,
    /// Mean share kept of the mean limit of the boldest member of the same family that truly keeps the promise; a run
    /// that certified nothing keeps nothing.
    pub kept: f64,
    /// How often each family shipped.
    pub shipped: Vec<(String, u32)>,
}

impl Findings {
    /// The most failures of `runs` that a true rate of δ shows in 999 of 1,000 studies.
    pub fn band(runs: u32, delta: f64) -> u32 {
        let n = f64::from(runs);
        (n * delta + 3.09 * (n * delta * (1.0 - delta)).sqrt()).floor() as u32
    }
}

impl Population {
    /// The accounts of a log.
    pub fn of_log(log: Log) -> Self {
        Self { terms: log.terms, windows: [log.choose, log.calibrate, log.test].concat() }
    }

    /// Made-up accounts in every tier of `terms`: falls are log-normal, larger with age, and the model's prediction is off
    /// by a factor that stays with the account (log-normal, σ = 0.6) — so violations gather in few accounts.
    pub fn generated(terms: Terms, accounts: u32, windows: u32, seed: u64) -> Self {
        let mut all = Vec::new();
        for (t, tier) in terms.tiers.iter().enumerate() {
            for account in 0..accounts {
                let id = t as u32 * accounts + account;
                let mut noise = Noise(mix(seed ^ (u64::from(id) << 16)));
                let (size, blur) = ((noise.normal() * 0.8 - 2.6).exp(), (noise.normal() * 0.6).exp());
                let base = (noise.normal() * 0.7 + 9.6).exp();
                for w in 0..windows {
                    let balance = (base * (noise.normal() * 0.3).exp()).clamp(100.0, 1e9) as u64;
                    let luck = (noise.normal() * 0.7).exp();
                    let falls = terms.ages.iter().map(|age| size * luck * (1.0 + f64::from(age.0) / 20_000.0));
                    let kept = |fall: f64| Money::floor_at_zero((balance as f64 * (1.0 - fall).max(0.0)) as i64);
                    // What 99 % of windows stay under, were the account known; and the account is not known.
                    let predicted = |age: u32| size * blur * 5.1 * (1.0 + f64::from(age) / 20_000.0);
                    let step = |age: u32| (((1.0 - predicted(age)).max(0.0)) * f64::from(ONE)) as i32;
                    let ages = || terms.ages.iter().map(|age| step(age.0));
                    all.push(Scored {
                        account: id,
                        tier: tier.tier,
                        at: UtcSeconds(i64::from(w) * 86_400),
                        balance: Money::floor_at_zero(balance as i64),
                        demand: Money::floor_at_zero((balance as f64 * 0.2 * noise.unit()) as i64),
                        history: step(0),
                        headroom: falls.map(kept).collect(),
                        steps: terms.levels.iter().flat_map(|_| ages()).collect(),
                    });
                }
            }
        }
        Self { terms, windows: all }
    }

    /// Certifies `runs` times, each on `choose` and `calibrate` accounts of every tier.
    pub fn study(&self, runs: u32, choose: usize, calibrate: usize, progress: &(dyn Fn(u64) + Sync)) -> Vec<Findings> {
        let tiers: Vec<Tier> = self.terms.tiers.iter().map(|t| t.tier).collect();
        let by_tier: Vec<Vec<&[Scored]>> = tiers
            .iter()
            .map(|t| self.windows.chunk_by(|a, b| a.account == b.account).filter(|a| a[0].tier == *t).collect())
            .collect();
        let truths: Vec<Truth<'_>> = tiers.iter().map(|t| Truth::of(&self.windows, *t, &self.terms)).collect();
        let done = std::sync::atomic::AtomicU64::new(0);
        let once = |run: u32| {
            let draw = |part: u64, n: usize| {
                let mut next = 0;
                let mut drawn = Vec::new();
                for (t, accounts) in by_tier.iter().enumerate().filter(|(_, a)| !a.is_empty()) {
                    let mut noise = Noise(mix((u64::from(run) << 20) ^ (part << 8) ^ t as u64));
                    for _ in 0..n {
                        let one = accounts[noise.below(accounts.len() as u64) as usize];
                        drawn.extend(one.iter().cloned().map(|w| Scored { account: next, ..w }));
                        next += 1;
                    }
                }
                drawn
            };
            let log = Log {
                terms: self.terms.clone(),
                choose: draw(1, choose),
                calibrate: draw(2, calibrate),
                test: Vec::new(),
            };
            let judged = cells(&log).into_iter().zip(&truths).map(|(cell, truth)| {
                let certified = cell.basis == Basis::Certified;
                let from: Vec<Money> = cell.bands.iter().map(|band| band.from).collect();
                certified.then(|| truth.judge(candidate(cell.rule, &self.terms), from))
            });
            let judged: Vec<Option<Judged>> = judged.collect();
            progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
            judged
        };
        let all: Vec<Vec<Option<Judged>>> = (0..runs).into_par_iter().map(once).collect();
        let of = |t: usize| {
            let ages = self.terms.ages.len();
            let judged = || all.iter().filter_map(|run| run[t].as_ref());
            let count = |failed: fn(&Judged) -> &Vec<bool>| {
                (0..ages).map(|age| judged().filter(|j| failed(j)[age]).count() as u32).collect()
            };
            let mut shipped: Vec<(String, u32)> = Vec::new();
            for family in judged().map(|j| j.family.name(&self.terms)) {
                match shipped.iter_mut().find(|(name, _)| *name == family) {
                    Some((_, n)) => *n += 1,
                    None => shipped.push((family, 1)),
                }
            }
            Findings {
                tier: tiers[t],
                runs,
                certified: judged().count() as u32,
                failed_alpha: count(|j| &j.failed_alpha),
                failed_beta: count(|j| &j.failed_beta),
                in_bands: judged().filter(|j| j.in_bands).count() as u32,
                kept: judged().map(|j| j.kept).sum::<f64>() / f64::from(runs.max(1)),
                shipped,
            }
        };
        (0..tiers.len()).filter(|t| !by_tier[*t].is_empty()).map(of).collect()
    }
}

/// What one certified limit was worth.
struct Judged {
    failed_alpha: Vec<bool>,
    failed_beta: Vec<bool>,
    in_bands: bool,
    kept: f64,
    family: Family,
}

/// A tier of the population, and the best that each family could do there.
struct Truth<'a> {
    group: Group<'a>,
    best: Vec<(Family, f64)>,
}

impl<'a> Truth<'a> {
    fn of(windows: &'a [Scored], tier: Tier, terms: &'a Terms) -> Self {
        let group = Group::of(windows, Some(tier), terms);
        let promise = group.promise();
        let keeps = |by_age: &[Vec<Violations>]| {
            let truth = Verdict::of(promise, Stake::MOST, by_age);
            truth.violation <= promise.alpha && promise.money.is_none_or(|(beta, _)| truth.missing <= beta)
        };
        let best = |family: Family| {
            let found = group.last_that(family, keeps);
            (family, found.map_or(0.0, |(_, c, _)| group.outcome(&|_| c).mean_limit))
        };
        let best = Family::all(terms.levels.len()).into_iter().map(best).collect();
        Self { group, best }
    }

    /// * `from`: where its balance bands begin; none when it was certified as a whole.
    fn judge(&self, shipped: Candidate, from: Vec<Money>) -> Judged {
        let promise = self.group.promise();
        let in_bands = !from.is_empty();
        let mut parts = vec![self.group.violations(&|_| shipped)];
        parts.extend(self.group.clone().in_bands(from).bands().map(|(_, band)| band.violations(&|_| shipped)));
        // At each age, in whichever part it is worst.
        let mean = |of: &dyn Fn(&Violations) -> f64| {
            let in_part = |part: &Vec<Vec<Violations>>, age: usize| {
                part[age].iter().map(of).sum::<f64>() / part[age].len().max(1) as f64
            };
            let worst = |age| parts.iter().map(|part| in_part(part, age)).fold(0.0, f64::max);
            (0..parts[0].len()).map(worst).collect::<Vec<f64>>()
        };
        let family = match shipped {
            Candidate::Gap { level, .. } => Family::Gap { level },
            Candidate::History(_) => Family::History,
            _ => Family::Share,
        };
        let best = self.best.iter().find(|(f, _)| *f == family).map_or(0.0, |(_, l)| *l);
        let limit = self.group.outcome(&|_| shipped).mean_limit;
        Judged {
            failed_alpha: mean(&|v| v.share()).into_iter().map(|rate| rate > promise.alpha).collect(),
            failed_beta: mean(&|v| v.mean_missing())
                .into_iter()
                .map(|missing| promise.money.is_some_and(|(beta, _)| missing > beta))
                .collect(),
            in_bands,
            // A certified limit beyond the best is a failure, not a gain.
            kept: if best > 0.0 { (limit / best).min(1.0) } else { 0.0 },
            family,
        }
    }
}

/// Seeded draws (SplitMix64).
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        (-2.0 * u.ln()).sqrt() * (v * std::f64::consts::TAU).cos()
    }
}
