//! The booster: a histogram gradient booster for low quantiles whose monotone constraints hold by construction.
//!
//! ```text
//! rows [n, F] f32 ─► bins [n, F] u8 ─► each round: every row's integer gradient ─► histograms of packed sums
//!   ─► the best splits ─► leaves (exact residual quantiles, Newton's steps, means), clamped to their bounds,
//!      in whole steps ─► Forest
//! ```
//!
//! A pinball gradient takes two values, so a histogram bin is two integer counts in one `u64`: exact, and the same in
//! any order. Other objectives round their gradients to integers, right on average, and work their leaves out exactly.
//! Predictions, residuals and leaves are integers of 2⁻²⁰ too. So the same rows and config give the same bytes on any
//! number of threads.
//!
//! Missing values are the top of every axis, as in [`plimsoll_model::forest`]. Constraints are kept in
//! every tree, missing values included: [`Monotone`].
//!
//! Source: Ke et al. 2017 (*LightGBM*: leaf-wise histogram growth, sibling subtraction); Friedman 2001 (leaf renewal
//! for absolute loss); Shi et al. 2022 (integer gradients).

mod bins;

mod config;

mod set;

mod table;

mod histogram;

mod grow;

mod order;

mod rounds;

mod weights;
mod word;

mod quantile;

mod levels;

mod newton;

mod logistic;

mod squared;

use plimsoll_model::forest::{BadForest, Forest, ONE};
use plimsoll_model::monotone::Direction;
use plimsoll_model::quantile::Ppm;
use rayon::prelude::*;

pub use bins::{Binner, Bins, Cuts};
pub use config::{BadConfig, BoostConfig, Growth, Monotone, Objective};
pub use set::TrainingSet;

use levels::Levels;
use logistic::Logistic;
use quantile::Quantile;
use rounds::Rounds;
use squared::Squared;
use table::Table;
use weights::Weights;

/// Why no forest was grown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// A parameter outside its range.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// No rows to learn from.
    #[error("no training rows")]
    NoRows,
    /// More than are counted in 32 bits.
    #[error("{rows} training rows (times the rungs of a ladder); at most 2³¹ − 1")]
    TooManyRows {
        /// How many.
        rows: usize,
    },
    /// Columns are numbered in 16 bits.
    #[error("rows have {columns} columns; at most 65,535")]
    TooManyColumns {
        /// How many.
        columns: usize,
    },
    /// One target for each row.
    #[error("{targets} targets for {rows} rows")]
    TargetCount {
        /// Targets given.
        targets: usize,
        /// Rows given.
        rows: usize,
    },
    /// A target beyond one, in steps; for logistic loss below 0, too.
    #[error("the target of row {row} is {steps} steps, which is out of range")]
    Target {
        /// Which row.
        row: usize,
        /// Its target.
        steps: i32,
    },
    /// One weight for each row.
    #[error("{weights} weights for {rows} rows")]
    WeightCount {
        /// Weights given.
        weights: usize,
        /// Rows given.
        rows: usize,
    },
    /// Negative, infinite or NaN.
    #[error("the weight of row {row} is negative or not finite")]
    Weight {
        /// Which row.
        row: usize,
    },
    /// Nothing to learn from either.
    #[error("all weights are 0")]
    NoWeight,
    /// A constraint on a column that rows do not have.
    #[error("a monotone constraint names column {column} of rows that have {columns}")]
    Constraint {
        /// The column.
        column: usize,
        /// Columns there are.
        columns: usize,
    },
    /// Held-out rows of another shape.
    #[error("held-out rows have {found} columns, training rows {expected}")]
    HeldOutColumns {
        /// Of the held-out rows.
        found: usize,
        /// Of the training rows.
        expected: usize,
    },
    /// Stopping early needs rows to watch.
    #[error("boost.early_stopping_rounds needs held-out rows: TrainingSet::held_out")]
    NothingHeldOut,
    /// A caller's mistake caught by the forest's own rules.
    #[error(transparent)]
    Forest(#[from] BadForest),
}

/// Grows a forest: one output for each quantile level, or one. `progress` is called after each tree with the number
/// done in all.
///
/// ```
/// # use ndarray::Array2;
/// # use plimsoll_model::forest::ONE;
/// # use plimsoll_train::boost::{BoostConfig, Objective, TrainingSet, fit};
/// let rows = Array2::from_shape_fn((1_000, 2), |(r, f)| (r * (f + 3) % 101) as f32);
/// let targets: Vec<i32> = rows.rows().into_iter().map(|row| (row[0] / 101.0 * ONE as f32) as i32).collect();
/// let config = BoostConfig { objective: Objective::Squared, ..BoostConfig::default() };
/// let forest = fit(TrainingSet::new(rows.view(), &targets), &config, &|_| {})?;
/// let said = forest.evaluate(&[50.0, 3.0])[0];
/// assert!((f64::from(said) / f64::from(ONE) - 0.495).abs() < 0.02);
/// # Ok::<(), plimsoll_train::boost::FitError>(())
/// ```
///
/// # Errors
/// [`FitError`]; nothing is returned half-grown.
pub fn fit(set: TrainingSet<'_>, config: &BoostConfig, progress: &(dyn Fn(u64) + Sync)) -> Result<Forest, FitError> {
    config.validate()?;
    set.validate(config)?;
    let weights = Weights::of(set.weights, set.targets.len())?;
    let bins = set.bins(config);
    let held_out = set.held_out_bins(bins.cuts());
    let done = std::sync::atomic::AtomicU64::new(0);
    let tick = || progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);

    let (targets, l2) = (set.targets, config.l2());
    let (rungs, fractions) = match &config.objective {
        Objective::Ladder(rungs) => (&rungs[..], rungs.iter().map(|r| *r as f32 / ONE as f32).collect()),
        _ => (&[][..], Vec::new()),
    };
    let mut monotone = set.monotone.to_vec();
    if !rungs.is_empty() {
        monotone.push((bins.features(), Direction::Increasing));
    }
    let rounds = Rounds {
        table: Table { bins: &bins, rungs: &fractions },
        monotone: &monotone,
        held_out: held_out.as_ref().zip(set.held_out.map(|held_out| held_out.1)),
        config,
        tick: &tick,
    };
    let outputs = match &config.objective {
        // Levels share nothing but the bins: each is one task, and its bytes do not depend on the others.
        Objective::Quantiles => {
            let short = weights.total(targets.len()) < word::SHORT;
            let of = |level: &Ppm| {
                if short {
                    rounds.learn(Quantile::<u64>::new(targets, &weights, *level, config))
                } else {
                    rounds.learn(Quantile::<u128>::new(targets, &weights, *level, config))
                }
            };
            config.levels.par_iter().flat_map_iter(of).collect()
        }
        Objective::QuantilesTogether => rounds.learn(Levels::new(&config.levels, targets, &weights, config)),
        Objective::Logistic | Objective::Ladder(_) => rounds.learn(Logistic::new(targets, rungs, &weights, l2)),
        Objective::Squared => rounds.learn(Squared::new(targets, &weights, l2)),
    };
    Ok(Forest::new(rounds.table.features(), outputs)?)
}

/// Mean pinball loss of predictions in steps, as a fraction of one.
pub fn pinball(targets: &[i32], predictions: &[i32], level: Ppm) -> f64 {
    let alpha = level.fraction();
    let sum: f64 = targets.iter().zip(predictions).map(|(y, p)| pinball_of(*y, *p, alpha)).sum();
    sum / targets.len().max(1) as f64
}

fn pinball_of(target: i32, prediction: i32, alpha: f64) -> f64 {
    let d = f64::from(target - prediction) / f64::from(ONE);
    if d >= 0.0 { alpha * d } else { (alpha - 1.0) * d }
}

#[cfg(test)]
mod tests;
