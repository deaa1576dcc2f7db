//! The booster: a histogram gradient booster for low quantiles whose monotone constraints hold by construction.
//!
//! ```text
//! rows [n, F] f32 ─► bins [n, F] u8 ─► per level, per round: below = (y < prediction, or y = 0) as 1 bit
//!   ─► histograms of packed (count, below) ─► leaf-wise splits ─► leaves = exact residual quantiles,
//!      clamped to their bounds, in whole steps ─► Forest
//! ```
//!
//! A pinball gradient takes two values, so a histogram bin is two integer counts in one `u64`: exact, and the same
//! in any order. Predictions, residuals and leaves are integers of 2⁻²⁰ too. So the same rows and config give the
//! same bytes on any number of threads.
//!
//! Missing values are the top of every axis, as in [`plimsoll_model::forest`].
//!
//! Source: Ke et al. 2017 (*LightGBM*: leaf-wise histogram growth, sibling subtraction); Friedman 2001 (leaf renewal
//! for absolute loss); monotone bounds by midpoints as in XGBoost, applied to exact quantiles.

mod bins;
mod grow;

use plimsoll_model::forest::{BadForest, Forest, ONE, STEP_BITS, Tree};
use plimsoll_model::monotone::Direction;
use plimsoll_model::quantile::{Ppm, lower_quantile};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use bins::Bins;

/// How trees are grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoostConfig {
    /// Quantile levels in parts per million, rising: one output each.
    pub levels: Vec<Ppm>,
    /// Rounds per level, 1 to 1,000.
    pub trees: u32,
    /// Leaves of a tree at most, 2 to 256.
    pub leaves: u32,
    /// Splits on the longest way down at most, 1 to 16. Device kernels lay trees out by depth.
    pub depth: u32,
    /// Rows of a leaf at least. A leaf's low quantile is only as good as the rows below it.
    pub min_leaf: u32,
    /// Share of each tree that is taken, in thousandths, 1 to 1,000.
    pub learning_rate_milli: u32,
    /// Bins of a feature at most, 2 to 255.
    pub bins: u32,
    /// Leaves are whole multiples of 2 to the minus this, 8 to 20: coarser leaves make a smaller file.
    pub leaf_bits: u32,
}

impl Default for BoostConfig {
    fn default() -> Self {
        let level = |ppm| Ppm::new(ppm).expect("between 0 and 1");
        Self {
            levels: vec![level(2_500), level(10_000), level(50_000)],
            trees: 100,
            leaves: 31,
            depth: 6,
            min_leaf: 100,
            learning_rate_milli: 100,
            bins: 255,
            leaf_bits: 12,
        }
    }
}

impl BoostConfig {
    /// # Errors
    /// `BadConfig` names the parameter and its range.
    pub fn validate(&self) -> Result<(), BadConfig> {
        let check = |name, value: u32, min, max| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(BadConfig { name, value: u64::from(value), min, max })
            }
        };
        check("trees", self.trees, 1, 1_000)?;
        check("leaves", self.leaves, 2, 256)?;
        check("depth", self.depth, 1, 16)?;
        check("min_leaf", self.min_leaf, 1, 1_000_000)?;
        check("learning_rate_milli", self.learning_rate_milli, 1, 1_000)?;
        check("bins", self.bins, 2, 255)?;
        check("leaf_bits", self.leaf_bits, 8, STEP_BITS)?;
        check("levels (how many)", self.levels.len() as u32, 1, 16)?;
        // Each tree moves a prediction by at most the learning rate, and the sum must stay below 16 for exact floats.
        check("trees × learning_rate_milli", self.trees * self.learning_rate_milli, 1, 14_900)?;
        let rising = self.levels.is_sorted_by(|a, b| a < b);
        if rising { Ok(()) } else { Err(BadConfig { name: "levels (rising order)", value: 0, min: 1, max: 1 }) }
    }

    /// What a leaf of `value` steps adds: the learning rate's share, rounded to the grid of leaves. A monotone function
    /// of the value, so leaves keep their order.
    fn taken(&self, value: i32) -> i32 {
        let grid = 1_000 << (STEP_BITS - self.leaf_bits);
        let share = i64::from(value) * i64::from(self.learning_rate_milli);
        ((share + grid / 2).div_euclid(grid) << (STEP_BITS - self.leaf_bits)) as i32
    }
}

/// A parameter outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("boost.{name} is {value}; it must be from {min} to {max}")]
pub struct BadConfig {
    /// Which.
    pub name: &'static str,
    /// What was given.
    pub value: u64,
    /// Smallest allowed.
    pub min: u32,
    /// Largest allowed.
    pub max: u32,
}

/// Why no forest was grown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// A parameter outside its range.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// No rows to learn from.
    #[error("no training rows")]
    NoRows,
    /// A caller's mistake caught by the forest's own rules.
    #[error(transparent)]
    Forest(#[from] BadForest),
}

/// Rows to learn from.
#[derive(Clone, Copy, Debug)]
pub struct TrainingSet<'a> {
    /// `[n, features]`, row-major; NaN is missing.
    pub rows: ndarray::ArrayView2<'a, f32>,
    /// `[n]`, in steps of 2⁻²⁰, 0 to 2²⁰.
    pub targets: &'a [i32],
    /// Columns in which every output may move one way only.
    pub monotone: &'a [(usize, Direction)],
}

impl<'a> TrainingSet<'a> {
    /// Rows and targets without constraints.
    pub const fn new(rows: ndarray::ArrayView2<'a, f32>, targets: &'a [i32]) -> Self {
        Self { rows, targets, monotone: &[] }
    }

    /// The same, with columns in which outputs may move one way only.
    #[must_use]
    pub const fn monotone(mut self, monotone: &'a [(usize, Direction)]) -> Self {
        self.monotone = monotone;
        self
    }
}

/// Grows a forest with one output for each level. `progress` is called after each tree with the number done in all.
///
/// # Errors
/// [`FitError`]; nothing is returned half-grown.
pub fn fit(set: TrainingSet<'_>, config: &BoostConfig, progress: &(dyn Fn(u64) + Sync)) -> Result<Forest, FitError> {
    config.validate()?;
    if set.targets.is_empty() || set.rows.nrows() != set.targets.len() {
        return Err(FitError::NoRows);
    }
    let bins = Bins::of(set.rows, config.bins as usize);
    let done = std::sync::atomic::AtomicU64::new(0);
    let tick = || progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
    // Levels share nothing but the bins: each is one task, and its bytes do not depend on the others.
    let outputs = config.levels.par_iter().map(|level| fit_level(&bins, &set, *level, config, &tick)).collect();
    Ok(Forest::new(set.rows.ncols(), outputs)?)
}

fn fit_level(bins: &Bins, set: &TrainingSet<'_>, level: Ppm, config: &BoostConfig, tick: &dyn Fn()) -> Vec<Tree> {
    let base = lower_quantile(&mut set.targets.to_vec(), level.fraction());
    let mut predictions = vec![base; set.targets.len()];
    let mut trees = vec![Tree::constant(base)];
    let mut grower = grow::Grower::new(bins, set.monotone, level, config);
    for _ in 0..config.trees {
        let tree = grower.grow(set.targets, &mut predictions);
        // A tree of one leaf that moves nothing will be followed by the same: the level is learned.
        let stuck = matches!(tree.nodes(), [plimsoll_model::forest::Node::Leaf { steps: 0 }]);
        tick();
        if stuck {
            break;
        }
        trees.push(tree);
    }
    trees
}

/// Mean pinball loss of predictions in steps, as a fraction of one.
pub fn pinball(targets: &[i32], predictions: &[i32], level: Ppm) -> f64 {
    let alpha = level.fraction();
    let sum: f64 = targets
        .iter()
        .zip(predictions)
        .map(|(y, p)| {
            let d = f64::from(y - p) / f64::from(ONE);
            if d >= 0.0 { alpha * d } else { (alpha - 1.0) * d }
        })
        .sum();
    sum / targets.len().max(1) as f64
}

#[cfg(test)]
mod tests;
