//! What is learned and how trees are grown.

use plimsoll_model::forest::{ONE, STEP_BITS};
use plimsoll_model::quantile::Ppm;
use serde::{Deserialize, Serialize};

/// What the forest says about a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Each of [`BoostConfig::levels`] with trees of its own, as if trained alone: the best loss, one level's time for
    /// each. Outputs may cross; [`plimsoll_model::forest::uncross`] puts them in order.
    #[default]
    Quantiles,
    /// All of [`BoostConfig::levels`], at most seven, with the same splits in every tree: outputs never cross, whatever
    /// the row.
    QuantilesTogether,
    /// The log-odds of a label; a target is the label's probability, usually 0 or 2²⁰.
    Logistic,
    /// The log-odds of `target < rung` for each of these rising rungs, in steps: one forest with the rung, a fraction of
    /// one, as one more column at the end of the row. It never falls as the rung rises.
    Ladder(Vec<i32>),
    /// The mean, by squared error.
    Squared,
}

/// Which leaf is split next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// The one that gains most: deeper trees, less loss for the same leaves.
    #[default]
    Leaf,
    /// One of the least depth: flatter trees.
    Depth,
}

/// How a monotone constraint is kept. Both hold by construction, missing values included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monotone {
    /// A split on a constrained column puts a bound between its sides, half-way between what they would say, which
    /// nothing below may cross.
    #[default]
    Bounds,
    /// A grown tree's leaves are put in order: less loss than bounds wherever a constrained column says much.
    Order,
}

/// What is learned and how trees are grown.
///
/// ```
/// # use plimsoll_train::boost::{BoostConfig, Objective};
/// let config = BoostConfig { objective: Objective::Logistic, trees: 300, learning_rate_milli: 50, ..BoostConfig::default() };
/// assert!(config.validate().is_ok());
/// let refused = BoostConfig { trees: 0, ..config }.validate();
/// assert_eq!(refused.expect_err("no trees").to_string(), "boost.trees is 0; it must be from 1 to 10000");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoostConfig {
    /// Quantile levels in parts per million, rising: one output each. Other objectives do not read them.
    pub levels: Vec<Ppm>,
    /// Rounds, 1 to 10,000: trees of each output.
    pub trees: u32,
    /// Leaves of a tree at most, 2 to 1,024.
    pub leaves: u32,
    /// Splits on the longest way down at most, 1 to 64. Device kernels lay trees out by depth.
    pub depth: u32,
    /// Rows of a leaf at least. A leaf's low quantile is only as good as the rows below it. With weights: as much weight
    /// as so many rows of the node above have; with logistic loss: as much curvature.
    pub min_leaf: u32,
    /// Share of each tree that is taken, in thousandths, 1 to 1,000.
    pub learning_rate_milli: u32,
    /// Bins of a feature at most, 2 to 255.
    pub bins: u32,
    /// Leaves are whole multiples of 2 to the minus this, 8 to 20: coarser leaves make a smaller file.
    pub leaf_bits: u32,
    /// See [`Objective`].
    pub objective: Objective,
    /// See [`Growth`].
    pub growth: Growth,
    /// See [`Monotone`].
    pub monotone: Monotone,
    /// Added to a leaf's rows (or curvature) in thousandths when splits are compared and, but for quantiles, when leaves
    /// are drawn to 0; up to a million rows.
    pub l2_milli: u32,
    /// Share of the rows that a tree is grown on, in thousandths, 1 to 1,000. Its leaves are worked out on all rows.
    pub rows_milli: u32,
    /// Share of the columns that a tree may split on, in thousandths, 1 to 1,000.
    pub columns_milli: u32,
    /// Quantiles: splits are compared by how far rows are below their prediction, smoothed out to where the residuals
    /// of this multiple of the level are, 1 to 10. 1 only counts those below.
    pub smooth: u32,
    /// Quantiles with trees of their own, smoothed: what the rows within that reach count for in the curvature of the
    /// loss, when what all rows do is one; up to 10. Where they are sparse, a split is worth more. 0 counts rows alone.
    pub crowd: u32,
    /// Of the rows that say little, one in this many (1 to 64) is looked at for splits and counts for all: those above
    /// their quantile, or without the label. 4 costs next to no loss at low levels and halves the time.
    pub keep_one_in: u32,
    /// Rounds without a smaller held-out loss after which it stops and goes back to the best; 0 never stops.
    pub early_stopping_rounds: u32,
    /// Decides which rows and columns are drawn, and how gradients are rounded.
    pub seed: u64,
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
            objective: Objective::Quantiles,
            growth: Growth::Leaf,
            monotone: Monotone::Bounds,
            l2_milli: 0,
            rows_milli: 1_000,
            columns_milli: 1_000,
            smooth: 1,
            crowd: 2,
            keep_one_in: 1,
            early_stopping_rounds: 0,
            seed: 0,
        }
    }
}

/// Most rungs of a ladder: a code each.
const RUNGS: usize = 256;

impl BoostConfig {
    /// # Errors
    /// `BadConfig` names the parameter and its range.
    pub fn validate(&self) -> Result<(), BadConfig> {
        let check = |name, value: u64, min, max| {
            if (u64::from(min)..=u64::from(max)).contains(&value) {
                Ok(())
            } else {
                Err(BadConfig { name, value, min, max })
            }
        };
        check("trees", self.trees.into(), 1, 10_000)?;
        check("leaves", self.leaves.into(), 2, 1_024)?;
        check("depth", self.depth.into(), 1, 64)?;
        check("min_leaf", self.min_leaf.into(), 1, 1_000_000)?;
        check("learning_rate_milli", self.learning_rate_milli.into(), 1, 1_000)?;
        check("bins", self.bins.into(), 2, 255)?;
        check("leaf_bits", self.leaf_bits.into(), 8, STEP_BITS)?;
        check("l2_milli", self.l2_milli.into(), 0, 1_000_000_000)?;
        check("rows_milli", self.rows_milli.into(), 1, 1_000)?;
        check("columns_milli", self.columns_milli.into(), 1, 1_000)?;
        check("smooth", self.smooth.into(), 1, 10)?;
        check("crowd", self.crowd.into(), 0, 10)?;
        check("keep_one_in", self.keep_one_in.into(), 1, 64)?;
        check("early_stopping_rounds", self.early_stopping_rounds.into(), 0, 10_000)?;
        match &self.objective {
            Objective::Quantiles => check("levels (how many)", self.levels.len() as u64, 1, 16)?,
            Objective::QuantilesTogether => check("levels (how many)", self.levels.len() as u64, 1, 7)?,
            Objective::Ladder(rungs) => {
                check("objective.ladder (how many rungs)", rungs.len() as u64, 2, RUNGS as u32)?;
                let inside = rungs.iter().all(|r| r.unsigned_abs() <= ONE);
                check("objective.ladder (rungs that rise, within one)", u64::from(inside && rising(rungs)), 1, 1)?;
            }
            Objective::Logistic | Objective::Squared => {}
        }
        check("levels (rising order)", u64::from(rising(&self.levels)), 1, 1)
    }

    /// What a leaf of `value` steps adds: the learning rate's share, rounded to the grid of leaves. A monotone function
    /// of the value, so leaves keep their order.
    pub(super) fn taken(&self, value: i32) -> i32 {
        let grid = 1_000 * i64::from(self.grid());
        let share = i64::from(value) * i64::from(self.learning_rate_milli);
        ((share + grid / 2).div_euclid(grid) * i64::from(self.grid())) as i32
    }

    /// Leaves are whole multiples of this many steps.
    pub(super) const fn grid(&self) -> i32 {
        1 << (STEP_BITS - self.leaf_bits)
    }

    pub(super) fn l2(&self) -> f64 {
        f64::from(self.l2_milli) / 1e3
    }
}

fn rising<T: PartialOrd>(values: &[T]) -> bool {
    values.is_sorted_by(|a, b| a < b)
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
