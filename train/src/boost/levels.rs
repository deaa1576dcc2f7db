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
    /// Of each lane, 0 where there is no level: loops over all lanes have no end to ask for.
    alphas: [f64; OUTPUTS],
    /// What a level's slope counts: levels near 0 and 1 have small slopes by nature.
    shares: [f64; OUTPUTS],
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
        let (mut alphas, mut shares) = ([0.0; OUTPUTS], [0.0; OUTPUTS]);
        for ((alpha, share), level) in alphas.iter_mut().zip(&mut shares).zip(levels) {
            *alpha = level.fraction();
            *share = 1.0 / (*alpha * (1.0 - *alpha));
        }
        let mut sorted: Vec<(i32, u32)> = targets.iter().copied().zip(0..).collect();
        let mut base = Steps::default();
        for (base, level) in base.iter_mut().zip(levels) {
            *base = weights.lower_quantile(&mut sorted, *level);
        }
        let mut start = Steps::default();
        start[..levels.len()].copy_from_slice(&base[..levels.len()]);
        Self {
            levels,
            alphas,
            shares,
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

    #[inline]
    fn slopes(&self, sum: Lanes) -> [f64; OUTPUTS] {
        let rows = f64::from(sum.0[ROWS]);
        std::array::from_fn(|level| f64::from(sum.0[level]) * self.unit - self.alphas[level] * rows)
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
        let slopes = self.slopes(sum);
        // All squares first, which is done two at a time, then their sum in the order of levels.
        let squares: [f64; OUTPUTS] = std::array::from_fn(|level| slopes[level] * slopes[level] * self.shares[level]);
        squares.iter().sum::<f64>() / (f64::from(sum.0[ROWS]) + self.config.l2())
    }

    fn pull(&self, sum: Lanes) -> f64 {
        -self.slopes(sum).iter().zip(&self.shares).map(|(slope, share)| slope * share).sum::<f64>()
            / f64::from(sum.0[ROWS])
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
        let ramps: [Ramp; OUTPUTS] = std::array::from_fn(|level| if level < levels { ramp(level) } else { Ramp::NONE });
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
                    let all_of_it = if Some(*y) == nothing { 1.0 } else { 0.0 };
                    // Through i32, which a processor has an instruction for.
                    *addend = std::array::from_fn(|level| {
                        (ramps[level].below(residuals[level]).max(all_of_it) * whole) as i32 as u16
                    });
                    addend[ROWS] = weight;
                    let below = sampling.is_some() && addend[..levels].iter().any(|a| *a > 0);
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
        // Level by level side by side: a row, which lies anywhere, is asked of memory once.
        let mut residuals = vec![0; self.levels.len() * rows.len()];
        for (i, row) in rows.iter().enumerate() {
            for (level, residual) in self.residuals[*row as usize].iter().enumerate().take(self.levels.len()) {
                residuals[level * rows.len() + i] = *residual;
            }
        }
        for (level, (steps, residuals)) in steps.iter_mut().zip(residuals.chunks_exact(rows.len().max(1))).enumerate() {
            *steps = if self.weights.are_equal() {
                low_quantile(rows.len(), |i| residuals[i], self.alphas[level])
            } else {
                let mut residuals: Vec<_> = residuals.iter().copied().zip(rows.iter().copied()).collect();
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
        self.alphas.iter().enumerate().take(self.levels.len()).map(of).sum::<f64>() / self.levels.len() as f64
    }
}
