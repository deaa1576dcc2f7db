//! The objective of means: squared error.

use plimsoll_model::forest::ONE;
use rayon::prelude::*;

use super::grow::{Criterion, Steps};
use super::histogram::Pair;
use super::newton::{DROPPED, Scale, rounded, steps};
use super::rounds::{CHUNK, Learner, Predicted, Sampling, add_steps};
use super::weights::{Weights, room};

pub(super) struct Squared<'a> {
    weights: &'a Weights,
    l2: f64,
    base: i32,
    /// Target less prediction.
    residuals: Vec<i32>,
    /// Gradient and weight.
    addends: Vec<(i16, u16)>,
    scale: Scale,
}

impl<'a> Squared<'a> {
    pub(super) fn new(targets: &'a [i32], weights: &'a Weights, l2: f64) -> Self {
        let mut learner = Self {
            weights,
            l2: 0.0,
            base: 0,
            residuals: targets.to_vec(),
            addends: vec![(0, 0); targets.len()],
            scale: Scale::default(),
        };
        learner.base = learner.leaf(&(0..targets.len() as u32).collect::<Vec<_>>())[0];
        learner.residuals.iter_mut().for_each(|r| *r -= learner.base);
        Self { l2, ..learner }
    }
}

impl Criterion for Squared<'_> {
    type Slot = Pair;

    #[inline]
    fn addend(&self, row: u32) -> Pair {
        let (gradient, weight) = self.addends[row as usize];
        Pair::new(i32::from(gradient), u32::from(weight))
    }

    #[inline]
    fn score(&self, sum: Pair) -> f64 {
        self.scale.score(sum)
    }

    fn pull(&self, sum: Pair) -> f64 {
        self.scale.pull(sum)
    }

    #[inline]
    fn size(&self, sum: Pair) -> u32 {
        sum.low()
    }

    fn size_of(&self, rows: u32, sum: Pair, of: usize) -> u32 {
        self.weights.size_of(rows, sum.low(), of)
    }

    fn value(&self, _: &[u32], sum: Pair) -> Steps {
        steps(self.scale.pull(sum))
    }
}

impl Learner for Squared<'_> {
    fn outputs(&self) -> usize {
        1
    }

    fn base(&self) -> Steps {
        let mut base = Steps::default();
        base[0] = self.base;
        base
    }

    fn begin(&mut self, sampling: &Sampling) -> Option<Vec<u32>> {
        let weights = self.weights;
        let heaviest = i64::from(weights.heaviest());
        let largest = self.residuals.par_iter().map(|r| r.unsigned_abs()).max().unwrap_or(0).max(1);
        let top = i64::from(room(self.residuals.len()));
        let divisor = i64::from(largest) * heaviest;
        let unit = (top << DROPPED) / divisor;
        self.scale = Scale { gradient: divisor as f64 / top as f64 / f64::from(ONE), curvature: 1.0, l2: self.l2 };
        let chunks = self.residuals.par_chunks(CHUNK).zip(self.addends.par_chunks_mut(CHUNK)).enumerate();
        let kept: Vec<Vec<u32>> = chunks
            .map(|(chunk, (residuals, addends))| {
                let mut kept = Vec::new();
                for (i, (residual, addend)) in residuals.iter().zip(addends).enumerate() {
                    let row = (chunk * CHUNK + i) as u32;
                    let weight = weights.of_row(row);
                    let gradient = -i64::from(*residual) * i64::from(weight) * unit;
                    *addend = (rounded(gradient, sampling.dither(row)) as i16, weight);
                    // No row matters more than another.
                    if sampling.takes(row, true).is_some() {
                        kept.push(row);
                    }
                }
                kept
            })
            .collect();
        sampling.is_some().then(|| kept.concat())
    }

    /// The exact mean of the residuals, drawn to 0 by `l2`.
    fn leaf(&self, rows: &[u32]) -> Steps {
        let (mut sum, mut weight) = (0i128, 0i128);
        for row in rows {
            let w = i64::from(self.weights.of_row(*row));
            sum += i128::from(w * i64::from(self.residuals[*row as usize]));
            weight += i128::from(w);
        }
        steps(sum as f64 / f64::from(ONE) / (weight as f64 + self.l2).max(f64::MIN_POSITIVE))
    }

    fn add(&mut self, leaves: &[(&[u32], Steps)]) {
        add_steps(&mut self.residuals, leaves, |residual, steps| *residual -= steps[0]);
    }

    fn loss(&self, set: &Predicted<'_>) -> f64 {
        let loss = |row: u32, prediction: i32| {
            let d = f64::from(set.targets[row as usize] - prediction) / f64::from(ONE);
            d * d
        };
        set.mean(0, loss)
    }
}
