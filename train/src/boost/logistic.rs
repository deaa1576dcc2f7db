//! The objective of probabilities: logistic loss of a label, or of `target < rung` for every rung of a ladder.

use plimsoll_model::forest::{ONE, STEP_BITS, SUM_BOUND};
use rayon::prelude::*;

use super::grow::{Criterion, Steps};
use super::histogram::Pair;
use super::newton::{DROPPED, Scale, rounded, steps};
use super::rounds::{CHUNK, Learner, Predicted, Sampling, add_steps};
use super::weights::{Weights, room};

/// Bits of a probability.
const BITS: u32 = 24;
const CERTAIN: i64 = 1 << BITS;

/// Who carries the label: a row whose target says so, or, on a ladder, row `r / rungs` when its target is below rung
/// `r % rungs`.
#[derive(Clone, Copy)]
struct Labels<'a> {
    targets: &'a [i32],
    rungs: &'a [i32],
}

impl Labels<'_> {
    fn rows(&self) -> usize {
        self.targets.len() * self.rungs.len().max(1)
    }

    /// In 2⁻²⁴.
    #[inline]
    fn of(&self, row: u32) -> i64 {
        let rungs = self.rungs.len() as u32;
        if rungs == 0 {
            return i64::from(self.targets[row as usize]) << (BITS - STEP_BITS);
        }
        if self.targets[(row / rungs) as usize] < self.rungs[(row % rungs) as usize] { CERTAIN } else { 0 }
    }

    #[inline]
    fn source(&self, row: u32) -> u32 {
        if self.rungs.is_empty() { row } else { row / self.rungs.len() as u32 }
    }
}

pub(super) struct Logistic<'a> {
    labels: Labels<'a>,
    weights: &'a Weights,
    l2: f64,
    /// Log-odds in steps.
    predictions: Vec<i32>,
    base: i32,
    /// Gradient and curvature.
    addends: Vec<(i16, u16)>,
    sigmoid: Sigmoid,
    scale: Scale,
}

impl<'a> Logistic<'a> {
    pub(super) fn new(targets: &'a [i32], rungs: &'a [i32], weights: &'a Weights, l2: f64) -> Self {
        let labels = Labels { targets, rungs };
        let rows = labels.rows();
        let (mut carried, mut all) = (0i128, 0i128);
        for row in 0..rows as u32 {
            let weight = i128::from(weights.of_row(labels.source(row)));
            carried += weight * i128::from(labels.of(row));
            all += weight;
        }
        // Nobody's odds are 0: a label that no row carries starts at one in a million.
        let share = (carried as f64 / (all as f64 * CERTAIN as f64)).clamp(1e-6, 1.0 - 1e-6);
        let base = steps(libm::log(share / (1.0 - share)))[0];
        Self {
            labels,
            weights,
            l2,
            predictions: vec![base; rows],
            base,
            addends: vec![(0, 0); rows],
            sigmoid: Sigmoid::new(),
            scale: Scale::default(),
        }
    }

    /// Sum of gradients and of curvatures over rows, exact.
    fn sums(&self, rows: &[u32]) -> (i128, i128) {
        let (mut gradient, mut curvature) = (0i128, 0i128);
        // Sums of so many fit an i64 whatever the weights.
        for rows in rows.chunks(1 << 20) {
            let (mut g, mut h) = (0i64, 0i64);
            for row in rows {
                let weight = i64::from(self.weights.of_row(self.labels.source(*row)));
                let p = self.sigmoid.of(self.predictions[*row as usize]);
                g += weight * (p - self.labels.of(*row));
                h += weight * ((p * (CERTAIN - p)) >> BITS);
            }
            gradient += i128::from(g);
            curvature += i128::from(h);
        }
        (gradient, curvature)
    }
}

impl Criterion for Logistic<'_> {
    type Slot = Pair;

    #[inline]
    fn addend(&self, row: u32) -> Pair {
        let (gradient, curvature) = self.addends[row as usize];
        Pair::new(i32::from(gradient), u32::from(curvature))
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

    /// As many rows as the curvature of a leaf's rows is of all of its parent's.
    fn size_of(&self, rows: u32, sum: Pair, of: usize) -> u32 {
        (u64::from(rows) * u64::from(sum.low())).div_ceil(of.max(1) as u64).min(u64::from(u32::MAX)) as u32
    }

    fn value(&self, _: &[u32], sum: Pair) -> Steps {
        steps(self.scale.pull(sum))
    }
}

impl Learner for Logistic<'_> {
    fn outputs(&self) -> usize {
        1
    }

    fn base(&self) -> Steps {
        let mut base = Steps::default();
        base[0] = self.base;
        base
    }

    fn begin(&mut self, sampling: &Sampling) -> Option<Vec<u32>> {
        let heaviest = self.weights.heaviest();
        let top = i64::from(room(self.predictions.len())) / i64::from(sampling.most());
        // Gradients are below 1 and curvatures below ¼; both use all the room there is.
        self.scale = Scale {
            gradient: f64::from(heaviest) / top as f64,
            curvature: f64::from(heaviest) / (4 * top) as f64,
            l2: self.l2,
        };
        // A weight times this is `top` 2²⁰ at most, and with 24 bits of gradient 2⁵⁹.
        let unit = (top << (DROPPED - BITS)) / i64::from(heaviest);
        let (labels, weights, sigmoid) = (self.labels, self.weights, &self.sigmoid);
        let chunks = self.predictions.par_chunks(CHUNK).zip(self.addends.par_chunks_mut(CHUNK)).enumerate();
        let kept: Vec<Vec<u32>> = chunks
            .map(|(chunk, (predictions, addends))| {
                let mut kept = Vec::new();
                for (i, (prediction, addend)) in predictions.iter().zip(addends).enumerate() {
                    let row = (chunk * CHUNK + i) as u32;
                    let weight = i64::from(weights.of_row(labels.source(row)));
                    let (p, y) = (sigmoid.of(*prediction), labels.of(row));
                    let dither = sampling.dither(row);
                    let gradient = rounded((p - y) * weight * unit, dither) as i16;
                    let curvature = (((p * (CERTAIN - p)) >> (BITS - 2)) * weight * unit) >> DROPPED;
                    // No curvature at all would make a leaf's step infinite.
                    let curvature = curvature.max(i64::from(weight > 0)) as u16;
                    *addend = (gradient, curvature);
                    if let Some(times) = sampling.takes(row, y > 0) {
                        *addend = (gradient * times as i16, curvature * times);
                        kept.push(row);
                    }
                }
                kept
            })
            .collect();
        sampling.is_some().then(|| kept.concat())
    }

    fn leaf(&self, rows: &[u32]) -> Steps {
        let (gradient, curvature) = self.sums(rows);
        let unit = CERTAIN as f64;
        steps(-(gradient as f64 / unit) / (curvature as f64 / unit + self.l2).max(f64::MIN_POSITIVE))
    }

    fn add(&mut self, leaves: &[(&[u32], Steps)]) {
        add_steps(&mut self.predictions, leaves, |prediction, steps| *prediction += steps[0]);
    }

    fn loss(&self, set: &Predicted<'_>) -> f64 {
        let labels = Labels { targets: set.targets, rungs: self.labels.rungs };
        let loss = |row: u32, prediction: i32| {
            let z = f64::from(prediction) / f64::from(ONE);
            let p = labels.of(row) as f64 / CERTAIN as f64;
            // log(1 + eᶻ) − p z, without overflow.
            z.max(0.0) + libm::log1p(libm::exp(-z.abs())) - p * z
        };
        set.mean(0, loss)
    }
}

/// Probabilities of log-odds, in 2⁻²⁴: a table, because `exp` differs between machines and is slow.
struct Sigmoid(Vec<u32>);

/// Steps of log-odds that share an entry.
const SHARED: i32 = 1 << 9;

impl Sigmoid {
    fn new() -> Self {
        let entry = |i: i32| {
            let middle = f64::from(i * SHARED + SHARED / 2 - SUM_BOUND as i32) / f64::from(ONE);
            (CERTAIN as f64 / (1.0 + libm::exp(-middle))).round() as u32
        };
        Self((0..2 * SUM_BOUND as i32 / SHARED).map(entry).collect())
    }

    #[inline]
    fn of(&self, prediction: i32) -> i64 {
        // Sums of leaves stay within ±SUM_BOUND: `rounds` sees to it.
        i64::from(self.0[((prediction + SUM_BOUND as i32) / SHARED) as usize])
    }
}
