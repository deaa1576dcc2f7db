//! Importance: which features a forest lives from, asked in three ways.
//!
//! * **splits**: how often it asks a feature. Says what was tried, not what it was worth.
//! * **gain**: what the splits took off the loss of the rows they were grown on, by the gradients each tree met
//!   (`G²/n` of both sides less that of the node), as LightGBM and XGBoost count it. Recomputed from rows, so it can be
//!   had for a forest that came from anywhere.
//! * **permutation**: how much worse the loss of *unseen* rows gets when a column is shuffled. What a forest would lose.
//!
//! Source: Breiman 2001, *Random Forests*, for permutation.

use ndarray::ArrayView2;
use plimsoll_model::forest::{Forest, Node, ONE};
use plimsoll_model::quantile::Ppm;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What a prediction is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Pinball loss of a quantile.
    Pinball(Ppm),
    /// Half the squared error.
    Squared,
}

impl Loss {
    /// Of one row, targets and predictions in steps, as a fraction of one.
    fn of(self, target: i32, prediction: i32) -> f64 {
        let d = f64::from(target - prediction) / f64::from(ONE);
        match self {
            Self::Pinball(level) => d * if d >= 0.0 { level.fraction() } else { level.fraction() - 1.0 },
            Self::Squared => d * d / 2.0,
        }
    }

    /// Its slope in the prediction.
    fn slope(self, target: i32, prediction: i32) -> f64 {
        match self {
            Self::Pinball(level) => f64::from(u8::from(target < prediction)) - level.fraction(),
            Self::Squared => f64::from(prediction - target) / f64::from(ONE),
        }
    }
}

/// How often each column is split on in one output.
pub fn splits(forest: &Forest, output: usize) -> Vec<u64> {
    let mut counts = vec![0; forest.features()];
    for node in forest.outputs()[output].iter().flat_map(|tree| tree.nodes()) {
        if let Node::Split { feature, .. } = node {
            counts[usize::from(*feature)] += 1;
        }
    }
    counts
}

/// What the splits on each column took off the loss of these rows, tree after tree.
///
/// * `rows`: `[n, features]`; `targets`: `[n]`, in steps.
///
/// # Panics
/// When there are not as many targets as rows, or rows have too few columns.
pub fn gains(forest: &Forest, output: usize, rows: ArrayView2<'_, f32>, targets: &[i32], loss: Loss) -> Vec<f64> {
    assert_eq!(rows.nrows(), targets.len(), "a target for each row");
    let mut gains = vec![0.0; forest.features()];
    let mut predictions = vec![0i32; targets.len()];
    let mut row = vec![0.0; rows.ncols()];
    for tree in &forest.outputs()[output] {
        // Sum of slopes and rows at each node.
        let mut met = vec![(0.0f64, 0u64); tree.nodes().len()];
        for ((values, target), prediction) in rows.outer_iter().zip(targets).zip(&mut predictions) {
            values.iter().zip(&mut row).for_each(|(from, to)| *to = *from);
            let slope = loss.slope(*target, *prediction);
            let mut leaf = 0;
            tree.visit(&row, |node| {
                met[node] = (met[node].0 + slope, met[node].1 + 1);
                leaf = node;
            });
            if let Node::Leaf { steps } = tree.nodes()[leaf] {
                *prediction += steps;
            }
        }
        let worth = |node: usize| if met[node].1 == 0 { 0.0 } else { met[node].0 * met[node].0 / met[node].1 as f64 };
        for (ix, node) in tree.nodes().iter().enumerate() {
            if let Node::Split { feature, low, high, .. } = *node {
                gains[usize::from(feature)] += worth(low as usize) + worth(high as usize) - worth(ix);
            }
        }
    }
    gains
}

/// How much worse a forest gets without a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Worse {
    /// Mean loss with the column shuffled, less that without: over the repeats.
    pub mean: f64,
    /// Standard deviation over the repeats.
    pub sd: f64,
}

/// Shuffles each column `repeats` times. The same seed gives the same bits on any number of threads; a column that is never
/// asked gets exactly 0.
///
/// # Panics
/// As [`gains`].
pub fn permutation(
    forest: &Forest,
    output: usize,
    rows: ArrayView2<'_, f32>,
    targets: &[i32],
    loss: Loss,
    seed: u64,
    repeats: u32,
) -> Vec<Worse> {
    assert_eq!(rows.nrows(), targets.len(), "a target for each row");
    let trees = &forest.outputs()[output];
    let n = targets.len();
    // The rows as they are, or with one column taken from others.
    let mean = |shuffled: Option<(usize, &[u32])>| {
        let mut row = vec![0.0; rows.ncols()];
        let mut sum = 0.0;
        for (ix, target) in targets.iter().enumerate() {
            rows.row(ix).iter().zip(&mut row).for_each(|(from, to)| *to = *from);
            if let Some((column, order)) = shuffled {
                row[column] = rows[[order[ix] as usize, column]];
            }
            sum += loss.of(*target, trees.iter().map(|tree| tree.evaluate(&row)).sum());
        }
        sum / n.max(1) as f64
    };
    let base = mean(None);
    let asked = splits(forest, output);
    let column = |column: usize| {
        if asked[column] == 0 || repeats == 0 || n == 0 {
            return Worse::default();
        }
        let mut order: Vec<u32> = (0..n as u32).collect();
        let mut draw = SplitMix(seed ^ (column as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut found = Vec::new();
        for _ in 0..repeats {
            for last in (1..n).rev() {
                order.swap(last, draw.below(last as u64 + 1) as usize);
            }
            found.push(mean(Some((column, &order))) - base);
        }
        let mean = found.iter().sum::<f64>() / f64::from(repeats);
        let variance = found.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / f64::from(repeats);
        Worse { mean, sd: variance.sqrt() }
    };
    (0..forest.features()).into_par_iter().map(column).collect()
}

/// SplitMix64. Source: Steele, Lea, Flood 2014.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The high half of the product: off by n / 2⁶⁴ from even, which no shuffle shows.
        ((u128::from(z ^ (z >> 31)) * u128::from(n)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use plimsoll_model::forest::Tree;

    const HALF: i32 = (ONE / 2) as i32;

    /// Column 0 decides, column 1 is asked in vain, column 2 never.
    fn forest() -> Forest {
        let split = |feature, low, high| Node::Split { feature, threshold: 0.5, low, high };
        let leaf = |steps| Node::Leaf { steps };
        let first = Tree::new(vec![split(0, 1, 2), leaf(0), split(1, 3, 4), leaf(HALF), leaf(HALF)]).expect("a tree");
        Forest::new(3, vec![vec![first]]).expect("a forest")
    }

    fn rows() -> (Array2<f32>, Vec<i32>) {
        let rows = Array2::from_shape_fn((400, 3), |(r, c)| ((r >> c) & 1) as f32);
        let targets = rows.column(0).iter().map(|x| if *x > 0.5 { HALF } else { 0 }).collect();
        (rows, targets)
    }

    #[test]
    fn what_decides_is_important_and_what_is_never_asked_is_not() {
        let (rows, targets) = rows();
        assert_eq!(splits(&forest(), 0), [1, 1, 0]);
        // Slopes −½ on half of the rows: at the root G = −100, and all of it on one side.
        let gains = gains(&forest(), 0, rows.view(), &targets, Loss::Squared);
        assert_eq!(gains, [100.0 * 100.0 / 200.0 - 100.0 * 100.0 / 400.0, 0.0, 0.0]);
        let worse = permutation(&forest(), 0, rows.view(), &targets, Loss::Squared, 1, 4);
        // A shuffled coin is wrong half of the time, by one half: ½ · ½² / 2.
        assert!((worse[0].mean - 0.0625).abs() < 0.01 && worse[0].sd > 0.0, "{worse:?}");
        assert_eq!(worse[1..], [Worse::default(); 2]);
    }

    #[test]
    fn a_seed_gives_the_same_bits_on_any_number_of_threads() {
        let (rows, targets) = rows();
        let level = Ppm::new(100_000).expect("10 %");
        let on = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| permutation(&forest(), 0, rows.view(), &targets, Loss::Pinball(level), seed, 2))
        };
        assert_eq!(on(1, 5), on(3, 5));
        assert_ne!(on(1, 5), on(1, 6));
    }
}
