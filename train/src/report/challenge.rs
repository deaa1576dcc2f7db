//! Two runs side by side: does the challenger grant more, and is that more than chance?

use std::collections::HashMap;

use plimsoll_model::Tier;
use plimsoll_model::artifact::Terms;
use plimsoll_model::money::Money;
use serde::Serialize;

use crate::calibrate::{Candidate, Scored, candidate};
use crate::run::Run;
use crate::windows::mix;

/// What one run granted over what the other did, on the test windows that both have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Accounts in both.
    pub accounts: u32,
    /// Windows in both.
    pub windows: u32,
    /// Mean limit of the run over that of the other.
    pub limit: f64,
    /// Its 95 % interval, accounts resampled.
    pub limit_span: [f64; 2],
    /// Demand served, the run's less the other's.
    pub served: f64,
    /// Its 95 % interval.
    pub served_span: [f64; 2],
}

/// Why two runs cannot be compared window by window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// They were not made from the same history.
    #[error("the runs were made from different histories")]
    History,
    /// Other ages, another window or another target.
    #[error("the runs promise for different ages, windows or targets")]
    Terms,
    /// No test window is in both.
    #[error("no test window is in both runs")]
    Windows,
}

const RESAMPLES: usize = 400;

/// Compares on the windows in both: the same account at the same sync.
pub fn ratio(run: &Run, other: &Run) -> Result<Ratio, Incomparable> {
    let (ours, theirs) = (&run.log.terms, &other.log.terms);
    if ours.data_sha256 != theirs.data_sha256 {
        return Err(Incomparable::History);
    }
    if (&ours.ages, ours.window_h, ours.target) != (&theirs.ages, theirs.window_h, theirs.target) {
        return Err(Incomparable::Terms);
    }
    let there: HashMap<(u32, i64), &Scored> = other.log.test.iter().map(|w| ((w.account, w.at.0), w)).collect();
    let mut accounts: Vec<[f64; 5]> = Vec::new();
    let mut windows = 0;
    for account in run.log.test.chunk_by(|a, b| a.account == b.account) {
        // Granted by either, demand met by either, demand.
        let mut sums = [0.0; 5];
        let mut here = 0;
        for (w, v) in account.iter().filter_map(|w| Some((w, there.get(&(w.account, w.at.0))?))) {
            here += 1;
            for age in 0..ours.ages.len() {
                let (a, b) = (limit(run, ours, w, age), limit(other, theirs, v, age));
                let met = |limit: Money| limit.min(w.demand).minor() as f64;
                let more = [a.minor() as f64, b.minor() as f64, met(a), met(b), w.demand.minor() as f64];
                sums.iter_mut().zip(more).for_each(|(sum, v)| *sum += v);
            }
        }
        if here > 0 {
            windows += here;
            accounts.push(sums);
        }
    }
    if accounts.is_empty() {
        return Err(Incomparable::Windows);
    }
    let figures = |drawn: &mut dyn Iterator<Item = usize>| {
        let mut total = [0.0; 5];
        drawn.for_each(|ix| total.iter_mut().zip(accounts[ix]).for_each(|(sum, v)| *sum += v));
        let [a, b, met_a, met_b, asked] = total;
        [a / b.max(1.0), (met_a - met_b) / asked.max(1.0)]
    };
    let n = accounts.len() as u64;
    let draw = |sample: u64, k: u64| ((u128::from(mix(sample << 32 ^ k)) * u128::from(n)) >> 64) as usize;
    let samples: Vec<[f64; 2]> = (0..RESAMPLES as u64).map(|s| figures(&mut (0..n).map(|k| draw(s, k)))).collect();
    let span = |figure: usize| {
        let mut values: Vec<f64> = samples.iter().map(|s| s[figure]).collect();
        values.sort_unstable_by(f64::total_cmp);
        [values[RESAMPLES / 40], values[RESAMPLES - 1 - RESAMPLES / 40]]
    };
    let [limit, served] = figures(&mut (0..accounts.len()));
    Ok(Ratio { accounts: n as u32, windows, limit, limit_span: span(0), served, served_span: span(1) })
}

fn limit(run: &Run, terms: &Terms, window: &Scored, age: usize) -> Money {
    let rule =
        run.release.certificate.cell(window.tier).map_or(Candidate::Flat(Money::ZERO), |c| candidate(c.rule, terms));
    rule.limit(window, age, cap(terms, window.tier))
}

/// The most a tier can be granted.
pub(super) fn cap(terms: &Terms, tier: Tier) -> Money {
    terms.tiers.iter().find(|t| t.tier == tier).and_then(|t| t.cap).unwrap_or(Money::MAX)
}
