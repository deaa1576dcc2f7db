//! The ladder head: the risk of every rung, and from it the limit whose worth less λ times its risk is greatest.
//!
//! ```text
//! rows × rungs ─► one forest: log-odds of S/B < rung ─► (risk, worth) of each rung, upper hull ─► λ falls: up the hull
//! ```
//!
//! λ is the one scalar: the price of risk. A window's worth of a share of its balance is that share times the square root
//! of the balance: by shares alone risk gathers on the poor, by money alone on the rich.
//!
//! It is compared and does not ship: benches/README.md says why.

use ndarray::Array2;
use plimsoll_model::features::{FEATURE_COUNT, Feature};
use plimsoll_model::forest::{Forest, ONE};
use plimsoll_model::time::Age;

use crate::boost::{BoostConfig, FitError, Objective, TrainingSet, fit};
use crate::run::monotone_columns;
use crate::windows::Window;

/// The forest of risks.
pub(crate) struct Ladder(Forest);

/// Rungs, the last the whole balance.
const RUNGS: usize = 15;
/// Prices of risk, falling from more than any rung is worth to almost nothing.
pub(super) const PRICES: u32 = 1_401;
/// Of neighbouring prices.
const RATIO: f64 = 1.02;
/// Minor units of balance × shares: no slope is steeper.
const DEAREST: f64 = 1e9;

/// The rungs one window climbs as the price of risk falls, at one age: `(from which price on, share)`, both rising.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Steps(Vec<(u32, u32)>);

impl Ladder {
    /// Learns from the rows that teach the other head, with settings chosen on the teaching days alone.
    ///
    /// * `trees`: twice those of a level do: they also learn how risk rises from rung to rung.
    ///
    /// # Errors
    /// [`FitError`], as the booster.
    pub(super) fn of(rows: &Array2<f32>, targets: &[i32], trees: u32) -> Result<Self, FitError> {
        let config = BoostConfig {
            objective: Objective::Ladder(rungs()),
            trees,
            leaves: 16,
            min_leaf: 50,
            learning_rate_milli: 50,
            keep_one_in: 8,
            ..BoostConfig::default()
        };
        let set = TrainingSet::new(rows.view(), targets);
        fit(set.monotone(&monotone_columns()), &config, &|_| {}).map(Self)
    }

    /// What it says of a window at each age.
    pub(super) fn steps(&self, window: &Window, ages: &[Age]) -> Vec<Steps> {
        let mut row = [0.0; FEATURE_COUNT + 1];
        row[..FEATURE_COUNT].copy_from_slice(&window.features);
        let worth = libm::sqrt(window.balance.minor() as f64);
        let mut at = |age: &Age| {
            row[Feature::LastSyncAgeMin as usize] = age.0 as f32;
            let risk = |rung: i32| {
                row[FEATURE_COUNT] = rung as f32 / ONE as f32;
                let odds = f64::from(self.0.evaluate(&row)[0]) / f64::from(ONE);
                (1.0 / (1.0 + libm::exp(-odds)), rung as u32)
            };
            Steps::climb(&rungs().into_iter().map(risk).collect::<Vec<_>>(), worth)
        };
        ages.iter().map(&mut at).collect()
    }
}

/// Shares of the balance in steps, closer to each other the less they leave.
fn rungs() -> Vec<i32> {
    // 0.02 to 0.99 of the balance: what is kept back falls from 98 % to 1 % by the same factor each time.
    let kept = |k: usize| 0.98 * libm::pow(0.01 / 0.98, k as f64 / (RUNGS - 2) as f64);
    let share = |k: usize| ((1.0 - kept(k)) * f64::from(ONE)) as i32;
    (0..RUNGS - 1).map(share).chain([ONE as i32]).collect()
}

impl Steps {
    /// From the risk of each rung, rungs rising, and what the whole balance is worth.
    fn climb(rungs: &[(f64, u32)], worth: f64) -> Self {
        let mut hull: Vec<(f64, u32, f64)> = vec![(0.0, 0, f64::INFINITY)];
        for (risk, share) in rungs {
            let slope = |from: &(f64, u32, f64)| {
                worth * f64::from(share - from.1) / f64::from(ONE) / (risk - from.0).max(f64::MIN_POSITIVE)
            };
            // A rung that buys more for its risk than the one below makes that one pointless. The start stays.
            while hull.len() > 1 && hull.last().is_some_and(|last| slope(last) >= last.2) {
                hull.pop();
            }
            let slope = hull.last().map_or(f64::INFINITY, slope);
            hull.push((*risk, *share, slope));
        }
        let price = |slope: f64| (libm::log(DEAREST / slope) / libm::log(RATIO)).ceil().max(1.0) as u32;
        Self(hull[1..].iter().map(|(_, share, slope)| (price(*slope), *share)).collect())
    }

    /// The share of the balance at a price, in steps.
    pub(super) fn share(&self, price: u32) -> u32 {
        let climbed = self.0.partition_point(|(from, _)| *from <= price);
        if climbed == 0 { 0 } else { self.0[climbed - 1].1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the definition: the greatest of worth less price times risk, rung by rung.
    #[test]
    fn the_limit_is_the_rung_worth_most_at_the_price() {
        let mut state = 7u64;
        let mut draw = || {
            state = crate::windows::mix(state);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        for _ in 0..200 {
            let mut risks: Vec<f64> = (0..RUNGS).map(|_| draw() * draw() * 0.2).collect();
            risks.sort_by(f64::total_cmp);
            let rungs: Vec<(f64, u32)> = risks.into_iter().zip(rungs().into_iter().map(|r| r as u32)).collect();
            let worth = 1e3 * draw() + 1.0;
            let steps = Steps::climb(&rungs, worth);
            for price in (0..PRICES).step_by(7) {
                let lambda = DEAREST / libm::pow(RATIO, f64::from(price));
                let gain = |risk: f64, share: u32| worth * f64::from(share) / f64::from(ONE) - lambda * risk;
                let best = rungs.iter().map(|(r, s)| gain(*r, *s)).fold(0.0, f64::max);
                let share = steps.share(price);
                let risk = rungs.iter().find(|(_, s)| *s == share).map_or(0.0, |(r, _)| *r);
                assert!(gain(risk, share) >= best - 1e-6 * (worth + lambda), "{rungs:?} at {price}");
            }
            assert_eq!(steps.share(0), 0, "it starts at nothing");
            assert_eq!(steps.share(PRICES - 1), ONE, "and ends at the whole balance");
        }
    }

    #[test]
    fn limits_rise_along_the_sequence() {
        let rungs: Vec<(f64, u32)> =
            rungs().into_iter().enumerate().map(|(k, r)| (k as f64 * 1e-3, r as u32)).collect();
        let steps = Steps::climb(&rungs, 100.0);
        assert!((1..PRICES).all(|price| steps.share(price - 1) <= steps.share(price)));
    }
}
