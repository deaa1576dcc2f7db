//! The objective of several quantile levels with one set of splits, whose outputs never cross.

use plimsoll_model::quantile::Ppm;
use rayon::prelude::*;

use super::grow::{Criterion, OUTPUTS, Steps};
use super::histogram::Lanes;
use super::quantile::{Ramp, low_quantile};
use super::rounds::{CHUNK, Learner, Predicted, Sampling, add_steps};
use super::weights::{Weights, room};
use super::{BoostConfig, pinball_of};

/// The lane of a bin that counts its rows; those before it count, level by level, how far rows are below.
const ROWS: usize = OUTPUTS - 1;

/// Parts of a row that are told apart when it is partly below.
const FINEST: u32 = 256;

/// Every tree has one set of splits and, in each leaf, the exact residual quantile of each level.
pub(super) struct Levels<'a> {
    levels: &'a [Ppm],
    alphas: Vec<f64>,
    /// What a level's slope counts: levels near 0 and 1 have small slopes by nature.
    shares: Vec<f64>,
    targets: &'a [i32],
    weights: &'a Weights,
    config: &'a BoostConfig,
    /// The target of a row that keeps nothing: 0, when no target is less.
    nothing: Option<i32>,
    base: Steps,
    /// What one in a lane of rows below means.
    unit: f64,
    /// Targets less predictions.
    residuals: Vec<Steps>,
    addends: Vec<[u16; OUTPUTS]>,
    /// For each pair of neighbouring levels, the least by which the upper is above the lower, on any row whatever.
    gaps: Vec<i64>,
}

impl<'a> Levels<'a> {
    pub(super) fn new(levels: &'a [Ppm], targets: &'a [i32], weights: &'a Weights, config: &'a BoostConfig) -> Self {
        let alphas: Vec<f64> = levels.iter().map(|level| level.fraction()).collect();
        let mut sorted: Vec<(i32, u32)> = targets.iter().copied().zip(0..).collect();
        let mut base = Steps::default();
        for (base, level) in base.iter_mut().zip(levels) {
            *base = weights.lower_quantile(&mut sorted, *level);
        }
        let mut start = Steps::default();
        start[..levels.len()].copy_from_slice(&base[..levels.len()]);
        Self {
            levels,
            shares: alphas.iter().map(|alpha| 1.0 / (alpha * (1.0 - alpha))).collect(),
            alphas,
            targets,
            weights,
            config,
            nothing: (targets.iter().min() == Some(&0)).then_some(0),
            base,
            unit: 1.0,
            residuals: targets.iter().map(|y| start.map(|base| y - base)).collect(),
            addends: vec![[0; OUTPUTS]; targets.len()],
            gaps: base[..levels.len()].windows(2).map(|pair| i64::from(pair[1]) - i64::from(pair[0])).collect(),
        }
    }

    fn slopes(&self, sum: Lanes) -> impl Iterator<Item = f64> {
        let rows = f64::from(sum.0[ROWS]);
        self.alphas.iter().zip(sum.0).map(move |(alpha, below)| f64::from(below) * self.unit - alpha * rows)
    }
}

impl Criterion for Levels<'_> {
    type Slot = Lanes;

    #[inline]
    fn addend(&self, row: u32) -> Lanes {
        Lanes(self.addends[row as usize].map(u32::from))
    }

    #[inline]
    fn score(&self, sum: Lanes) -> f64 {
        let sum_of_squares: f64 = self.slopes(sum).zip(&self.shares).map(|(slope, share)| slope * slope * share).sum();
        sum_of_squares / (f64::from(sum.0[ROWS]) + self.config.l2())
    }

    fn pull(&self, sum: Lanes) -> f64 {
        -self.slopes(sum).zip(&self.shares).map(|(slope, share)| slope * share).sum::<f64>() / f64::from(sum.0[ROWS])
    }

    #[inline]
    fn size(&self, sum: Lanes) -> u32 {
        sum.0[ROWS]
    }

    fn size_of(&self, rows: u32, sum: Lanes, of: usize) -> u32 {
        self.weights.size_of(rows, sum.0[ROWS], of)
    }

    fn value(&self, rows: &[u32], _: Lanes) -> Steps {
        self.leaf(rows)
    }
}

impl Learner for Levels<'_> {
    fn outputs(&self) -> usize {
        self.levels.len()
    }

    fn base(&self) -> Steps {
        self.base
    }

    fn begin(&mut self, sampling: &Sampling) -> Option<Vec<u32>> {
        let (nothing, weights, levels) = (self.nothing, self.weights, self.levels.len());
        let n = self.residuals.len();
        let ramp = |level: usize| Ramp::of(n, |row| self.residuals[row][level], self.alphas[level], self.config.smooth);
        let ramps: Vec<Ramp> = (0..levels).map(ramp).collect();
        let top = (room(n).min(FINEST) / u32::from(weights.heaviest())).max(1) as f32;
        self.unit = 1.0 / f64::from(top);
        let chunks = self.residuals.par_chunks(CHUNK).zip(self.targets.par_chunks(CHUNK));
        let kept: Vec<Vec<u32>> = chunks
            .zip(self.addends.par_chunks_mut(CHUNK))
            .enumerate()
            .map(|(chunk, ((residuals, targets), addends))| {
                let mut kept = Vec::new();
                for (i, ((residuals, y), addend)) in residuals.iter().zip(targets).zip(addends).enumerate() {
                    let row = (chunk * CHUNK + i) as u32;
                    let weight = weights.of_row(row);
                    let whole = f32::from(weight) * top;
                    for ((addend, r), ramp) in addend.iter_mut().zip(residuals).zip(&ramps) {
                        *addend = (if Some(*y) == nothing { whole } else { ramp.below(*r) * whole }) as u16;
                    }
                    addend[ROWS] = weight;
                    let below = addend[..levels].iter().any(|a| *a > 0);
                    if let Some(times) = sampling.takes(row, below) {
                        addend[ROWS] *= times;
                        kept.push(row);
                    }
                }
                kept
            })
            .collect();
        sampling.is_some().then(|| kept.concat())
    }

    fn leaf(&self, rows: &[u32]) -> Steps {
        let mut steps = Steps::default();
        for (level, steps) in steps.iter_mut().enumerate().take(self.levels.len()) {
            let residual = |i: usize| self.residuals[rows[i] as usize][level];
            *steps = if self.weights.are_equal() {
                low_quantile(rows.len(), residual, self.alphas[level])
            } else {
                let mut residuals: Vec<_> = (0..rows.len()).map(|i| (residual(i), rows[i])).collect();
                self.weights.lower_quantile(&mut residuals, self.levels[level])
            };
        }
        steps
    }

    /// Lowers what lower levels say where neighbours would come nearer than the least gap left: so gaps never close,
    /// on no row whatever. It is the same function in every leaf, and rising in what is said, so monotone leaves stay
    /// monotone.
    fn settle(&mut self, leaves: &mut [Steps], grid: i32) {
        for (lower, gap) in self.gaps.iter_mut().enumerate().rev() {
            let room = gap.div_euclid(i64::from(grid)) * i64::from(grid);
            for said in leaves.iter_mut() {
                said[lower] = i64::from(said[lower]).min(i64::from(said[lower + 1]) + room) as i32;
            }
            let change = leaves.iter().map(|said| i64::from(said[lower + 1]) - i64::from(said[lower])).min();
            *gap += change.unwrap_or(0);
        }
    }

    fn add(&mut self, leaves: &[(&[u32], Steps)]) {
        add_steps(&mut self.residuals, leaves, |residuals, steps| {
            residuals.iter_mut().zip(steps).for_each(|(residual, steps)| *residual -= steps);
        });
    }

    fn loss(&self, set: &Predicted<'_>) -> f64 {
        let of = |(output, alpha): (usize, &f64)| {
            set.mean(output, |row, prediction| pinball_of(set.targets[row as usize], prediction, *alpha))
        };
        self.alphas.iter().enumerate().map(of).sum::<f64>() / self.levels.len() as f64
    }
}
