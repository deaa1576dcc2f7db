//! The objective of one quantile level: pinball loss.

use plimsoll_model::quantile::{Ppm, lower_quantile};
use rayon::prelude::*;

use super::grow::{Criterion, OUTPUTS, Steps};
use super::rounds::{CHUNK, Learner, Predicted, Sampling, add_steps};
use super::weights::Weights;
use super::word::{Deal, Sums, Word};
use super::{BoostConfig, pinball_of};

/// A pinball gradient takes two values: a row counts, and it is below its prediction or not. So a bin is integer sums,
/// exact, and only what is below, or near to it, changes from round to round. How far below is smoothed ([`Ramp`]).
///
/// * `W`: 64 bits for fewer than [`super::word::SHORT`] rows, weighted, or 128.
pub(super) struct Quantile<'a, W> {
    targets: &'a [i32],
    weights: &'a Weights,
    level: Ppm,
    alpha: f64,
    config: &'a BoostConfig,
    l2: f64,
    /// What one of a sum's `below` means.
    unit: f64,
    /// What a row near its prediction adds to the curvature of the loss.
    crowd: f64,
    deal: Deal,
    /// The target of a row that keeps nothing: 0, when no target is less.
    nothing: Option<i32>,
    base: i32,
    /// Target less prediction.
    residuals: Vec<i32>,
    /// What each row adds.
    addends: Vec<W>,
    below: Vec<u32>,
    sampled: bool,
}

impl<'a, W: Word> Quantile<'a, W> {
    pub(super) fn new(targets: &'a [i32], weights: &'a Weights, level: Ppm, config: &'a BoostConfig) -> Self {
        let base = weights.lower_quantile(&mut targets.iter().copied().zip(0..).collect::<Vec<_>>(), level);
        Self {
            targets,
            weights,
            level,
            alpha: level.fraction(),
            config,
            l2: config.l2(),
            unit: 1.0,
            crowd: 0.0,
            deal: Deal::ROW,
            nothing: (targets.iter().min() == Some(&0)).then_some(0),
            base,
            residuals: targets.iter().map(|y| y - base).collect(),
            addends: vec![W::default(); targets.len()],
            below: Vec::new(),
            sampled: false,
        }
    }

    /// The exact quantile of the residuals of some rows.
    fn quantile(&self, rows: &[u32]) -> i32 {
        if rows.is_empty() {
            return 0;
        }
        if !self.weights.are_equal() {
            let mut residuals: Vec<_> = rows.iter().map(|row| (self.residuals[*row as usize], *row)).collect();
            return self.weights.lower_quantile(&mut residuals, self.level);
        }
        low_quantile(rows.len(), |i| self.residuals[rows[i] as usize], self.alpha)
    }
}

/// Parts of a row that are told apart when it is partly below.
const FINEST: u32 = 256;

/// How far rows are below their prediction: wholly or not at all, or somewhere between when they are near it. At a low
/// level few rows are below, and their number says little about where to split; how near the next ones are says more.
/// Leaves do not use it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    /// Residuals from here on are not below at all; from as far on the other side they are wholly.
    reach: f32,
    slope: f32,
}

impl Ramp {
    /// Nothing is below.
    pub(super) const NONE: Self = Self { reach: 0.0, slope: 0.0 };

    /// Reaches up to the residual at `smooth` times the level, but not half-way from the level to all rows. 1 reaches
    /// nowhere: below or not.
    pub(super) fn of(rows: usize, residual: impl Fn(usize) -> i32, alpha: f64, smooth: u32) -> Self {
        const SAMPLE: usize = 10_000;
        let level = (alpha * f64::from(smooth)).min((1.0 + alpha) / 2.0);
        let mut sample: Vec<i32> = (0..rows).step_by(rows.div_ceil(SAMPLE).max(1)).map(residual).collect();
        let reach = if smooth == 1 || sample.is_empty() { 0 } else { lower_quantile(&mut sample, level).max(0) };
        // Between two integers, so that a residual of 0 is not below when nothing is smoothed.
        Self { reach: reach as f32, slope: if reach == 0 { 1.0 } else { 0.5 / reach as f32 } }
    }

    /// From 0, not at all, to 1.
    #[inline]
    pub(super) fn below(self, residual: i32) -> f32 {
        ((self.reach - residual as f32) * self.slope).clamp(0.0, 1.0)
    }
}

/// Rows from which a first guess is worth its sample.
const GUESSED: usize = 4_096;

/// [`lower_quantile`] of `values(0..n)`. A sample says between which two values it lies, with some room; only values
/// between them are kept, those below are counted. If the sample was wrong, all are looked at.
///
/// Floyd, Rivest (1975), *Expected time bounds for selection*.
pub(super) fn low_quantile(n: usize, value: impl Fn(usize) -> i32, alpha: f64) -> i32 {
    let rank = ((n as f64 * alpha).ceil() as usize).clamp(1, n);
    if n >= GUESSED {
        const SAMPLE: usize = 512;
        let mut sample: Vec<i32> = (0..SAMPLE).map(|i| value(i * n / SAMPLE)).collect();
        sample.sort_unstable();
        let expected = SAMPLE as f64 * alpha;
        let spare = 4.0 * (expected * (1.0 - alpha)).sqrt() + 4.0;
        let from = if expected < spare { i32::MIN } else { sample[(expected - spare) as usize] };
        let to = sample.get((expected + spare) as usize).copied().unwrap_or(i32::MAX);
        // Written always, kept if between: no branch to guess.
        let mut kept = vec![0; n];
        let (mut len, mut below) = (0, 0);
        for i in 0..n {
            let v = value(i);
            kept[len] = v;
            len += usize::from((from <= v) & (v <= to));
            below += usize::from(v < from);
        }
        if (below + 1..=below + len).contains(&rank) {
            return *kept[..len].select_nth_unstable(rank - below - 1).1;
        }
    }
    lower_quantile(&mut (0..n).map(value).collect::<Vec<_>>(), alpha)
}

impl<W: Word> Criterion for Quantile<'_, W> {
    type Slot = W;

    #[inline]
    fn addend(&self, row: u32) -> W {
        self.addends[row as usize]
    }

    fn moving(&self) -> Option<&[u32]> {
        (!self.sampled).then_some(&self.below)
    }

    #[inline]
    fn fixed(&self, row: u32) -> W {
        W::place(self.size(self.addend(row)).into(), 0)
    }

    #[inline]
    fn moved(&self, row: u32) -> W {
        let mut word = self.addend(row);
        word.subtract(&self.fixed(row));
        word
    }

    /// `(below − α rows)² / curvature`, twice what a leaf could take from the loss: its slope is how many rows too many
    /// are below, and its curvature is how crowded residuals are at the prediction. Where they are sparse, a leaf has
    /// farther to go. A few rows say little about that, so all rows count as well.
    #[inline]
    fn score(&self, sum: W) -> f64 {
        let sum = self.deal.read(sum);
        let rows = f64::from(sum.rows);
        // A signed integer becomes a float in one instruction.
        let slope = sum.below as i64 as f64 * self.unit - self.alpha * rows;
        slope * slope / (rows + f64::from(sum.near) * self.crowd + self.l2)
    }

    fn pull(&self, sum: W) -> f64 {
        let sum = self.deal.read(sum);
        self.alpha - sum.below as i64 as f64 * self.unit / f64::from(sum.rows)
    }

    #[inline]
    fn size(&self, sum: W) -> u32 {
        self.deal.rows(sum)
    }

    fn size_of(&self, rows: u32, sum: W, of: usize) -> u32 {
        self.weights.size_of(rows, self.size(sum), of)
    }

    fn value(&self, rows: &[u32], _: W) -> Steps {
        self.leaf(rows)
    }
}

impl<W: Word> Learner for Quantile<'_, W> {
    fn outputs(&self) -> usize {
        1
    }

    fn base(&self) -> Steps {
        let mut base = [0; OUTPUTS];
        base[0] = self.base;
        base
    }

    fn begin(&mut self, sampling: &Sampling) -> Option<Vec<u32>> {
        let (nothing, weights) = (self.nothing, self.weights);
        let sampled = sampling.is_some();
        self.sampled = sampled;
        let ramp = Ramp::of(self.residuals.len(), |row| self.residuals[row], self.alpha, self.config.smooth);
        let top = FINEST.min(u32::from(u16::MAX) / u32::from(weights.heaviest()));
        let chunks = self.residuals.par_chunks(CHUNK).zip(self.targets.par_chunks(CHUNK));
        let found: Vec<(Vec<u32>, Vec<u32>, Sums)> = chunks
            .zip(self.addends.par_chunks_mut(CHUNK))
            .enumerate()
            .map(|(chunk, ((residuals, targets), addends))| {
                // Written always, kept if so: no branch to guess.
                let room = |wanted: bool| vec![0u32; if wanted { residuals.len() } else { 0 }];
                let (mut rows_below, mut rows_kept) = (room(!sampled), room(sampled));
                let (mut belows, mut kepts, mut most) = (0, 0, Sums::default());
                for (i, ((r, y), addend)) in residuals.iter().zip(targets).zip(addends).enumerate() {
                    let row = (chunk * CHUNK + i) as u32;
                    // A row that keeps nothing is below every prediction that grants anything.
                    // Without this a level that starts at an atom there would see no row below it, hence no slope
                    // anywhere, and learn nothing.
                    let below = if Some(*y) == nothing { 1.0 } else { ramp.below(*r) };
                    let weight = weights.of_row(row);
                    let whole = u32::from(weight) * top;
                    let parts = (below * whole as f32) as u32;
                    let mut rows = weight;
                    if sampled {
                        let times = sampling.takes(row, below > 0.0);
                        rows *= times.unwrap_or(0);
                        rows_kept[kepts] = row;
                        kepts += usize::from(times.is_some());
                    } else {
                        rows_below[belows] = row;
                        belows += usize::from(below > 0.0);
                    }
                    // Near its prediction is what is partly below.
                    let near = u32::from(rows) * u32::from((parts > 0) & (parts < whole));
                    let sums = Sums { rows: rows.into(), near, below: parts.into() };
                    most.add(sums);
                    *addend = Deal::ROW.word(sums);
                }
                rows_below.truncate(belows);
                rows_kept.truncate(kepts);
                (rows_below, rows_kept, most)
            })
            .collect();
        let mut most = Sums::default();
        found.iter().for_each(|(.., of_chunk)| most.add(*of_chunk));
        let deal = Deal::of::<W>(most);
        self.addends.par_iter_mut().with_min_len(CHUNK).for_each(|addend| *addend = deal.word(Deal::ROW.read(*addend)));
        self.deal = deal;
        self.unit = deal.unit() / f64::from(top);
        let evenly = f64::from(most.rows) / f64::from(most.near.max(1));
        self.crowd = f64::from(self.config.crowd) * evenly;
        self.below = found.iter().flat_map(|(below, ..)| below).copied().collect();
        self.sampled.then(|| found.iter().flat_map(|(_, kept, _)| kept).copied().collect())
    }

    fn leaf(&self, rows: &[u32]) -> Steps {
        let mut steps = [0; OUTPUTS];
        steps[0] = self.quantile(rows);
        steps
    }

    fn add(&mut self, leaves: &[(&[u32], Steps)]) {
        add_steps(&mut self.residuals, leaves, |residual, steps| *residual -= steps[0]);
    }

    fn loss(&self, set: &Predicted<'_>) -> f64 {
        set.mean(0, |row, prediction| pinball_of(set.targets[row as usize], prediction, self.alpha))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guessed_quantile_is_the_one_of_all_values() {
        let n = GUESSED + 3;
        let mixed = |i: usize| (i as i32).wrapping_mul(0x9E37_79B1_u32 as i32);
        // Spread out, with many ties, all equal, rising, and such that the sample sees none of what matters.
        let shapes: [fn(i32, usize) -> i32; 5] = [
            |v, _| v,
            |v, _| v % 5,
            |_, _| -7,
            |_, i| i as i32,
            |v, i| if (0..512).any(|s| s * (GUESSED + 3) / 512 == i) { i32::MAX } else { v % 1_000 },
        ];
        for shape in shapes {
            let values: Vec<i32> = (0..n).map(|i| shape(mixed(i), i)).collect();
            for alpha in [0.000_001, 0.0025, 0.05, 0.25, 0.5, 0.9, 0.999] {
                let all = lower_quantile(&mut values.clone(), alpha);
                assert_eq!(low_quantile(n, |i| values[i], alpha), all, "{alpha}");
            }
        }
    }
}
