//! Round after round: a tree, its leaves, what they change.

use std::ops::Range;

use plimsoll_model::forest::{SUM_BOUND, Tree};
use plimsoll_model::monotone::Direction;
use rayon::prelude::*;

use super::grow::{Bounds, Cell, Criterion, Grower, Grown, OUTPUTS, Steps};
use super::order::LeafOrder;
use super::table::Table;
use super::{Bins, BoostConfig, Monotone};

/// Rows that a thread takes at a time in passes over all of them.
pub(super) const CHUNK: usize = 32_768;

/// Leaves say at most this before the learning rate's share is taken, in steps: eight times one.
const BOUND: (i32, i32) = (-(1 << 23), 1 << 23);

/// What is learned.
pub(super) trait Learner: Criterion {
    fn outputs(&self) -> usize;
    /// What is said before the first tree.
    fn base(&self) -> Steps;
    /// Works out what every row adds this round; the rows to grow on, if not all.
    fn begin(&mut self, sampling: &Sampling) -> Option<Vec<u32>>;
    /// What a leaf of these rows says, before the learning rate.
    fn leaf(&self, rows: &[u32]) -> Steps;
    /// Last changes to what the leaves of a tree say, the learning rate taken; `grid` divides what they say.
    fn settle(&mut self, _leaves: &mut [Steps], _grid: i32) {}
    /// Adds what leaves say to the predictions of their rows. Rows of a leaf are in rising order.
    fn add(&mut self, leaves: &[(&[u32], Steps)]);
    /// Mean loss of predictions.
    fn loss(&self, set: &Predicted<'_>) -> f64;
}

/// Rows beside the training rows, with what the forest says so far. All count alike.
pub(super) struct Predicted<'a> {
    table: Table<'a>,
    pub(super) targets: &'a [i32],
    /// One list for each output.
    pub(super) predictions: Vec<Vec<i32>>,
}

impl Predicted<'_> {
    /// The mean over rows of the loss of one output, always added up in the same order.
    pub(super) fn mean(&self, output: usize, loss: impl Fn(u32, i32) -> f64 + Sync) -> f64 {
        let chunks = self.predictions[output].par_chunks(CHUNK).enumerate().map(|(chunk, predictions)| {
            let row = |i| (chunk * CHUNK + i) as u32;
            predictions.iter().enumerate().map(|(i, prediction)| loss(row(i), *prediction)).sum()
        });
        let sums: Vec<f64> = chunks.collect();
        sums.iter().sum::<f64>() / self.table.rows().max(1) as f64
    }

    fn add(&mut self, grown: &Grown, said: &[Steps]) {
        let table = self.table;
        for (output, predictions) in self.predictions.iter_mut().enumerate() {
            predictions.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, predictions)| {
                for (i, prediction) in predictions.iter_mut().enumerate() {
                    let row = (chunk * CHUNK + i) as u32;
                    *prediction += said[grown.leaf(|feature| table.code(row, feature)) as usize][output];
                }
            });
        }
    }
}

/// Which rows a tree is grown on: decided for each row by itself, so that threads do not matter.
pub(super) struct Sampling {
    state: u64,
    rows_milli: u32,
    keep_one_in: u32,
}

impl Sampling {
    fn of(config: &BoostConfig, round: u32) -> Self {
        let state = scrambled(config.seed ^ scrambled(u64::from(round)));
        Self { state, rows_milli: config.rows_milli, keep_one_in: config.keep_one_in }
    }

    pub(super) const fn is_some(&self) -> bool {
        self.rows_milli < 1_000 || self.keep_one_in > 1
    }

    /// The largest answer of [`Self::takes`].
    pub(super) const fn most(&self) -> u32 {
        self.keep_one_in
    }

    /// A uniform number for the row and the round.
    #[inline]
    pub(super) fn dither(&self, row: u32) -> u64 {
        scrambled(self.state ^ (u64::from(row) << 32))
    }

    /// How many times the row counts, if it is taken. Those that `matter` are kept, others are for as many as are not.
    #[inline]
    pub(super) fn takes(&self, row: u32, matters: bool) -> Option<u16> {
        if !self.is_some() {
            return None;
        }
        let hash = scrambled(self.state ^ u64::from(row));
        let drawn = |hash: u64, of: u32| ((hash & 0xFFFF_FFFF) * u64::from(of)) >> 32;
        // Both asked of every row: a branch on luck would be guessed wrong as often as not.
        let row_taken = drawn(hash, 1_000) < u64::from(self.rows_milli);
        let one_taken = drawn(hash >> 32, self.keep_one_in) == 0;
        (row_taken & (matters | one_taken)).then_some(if matters { 1 } else { self.keep_one_in as u16 })
    }
}

/// Steele, Lea, Flood (2014), *Fast splittable pseudorandom number generators*: SplitMix64's finisher.
fn scrambled(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The columns a tree may split on: those with the smallest numbers drawn.
fn columns(config: &BoostConfig, features: usize, round: u32) -> Vec<usize> {
    let mut columns: Vec<usize> = (0..features).collect();
    let kept = (features as u64 * u64::from(config.columns_milli)).div_ceil(1_000) as usize;
    if kept < features {
        let state = scrambled(!config.seed ^ scrambled(u64::from(round)));
        columns.sort_by_key(|f| scrambled(state ^ *f as u64));
        columns.truncate(kept);
        columns.sort_unstable();
    }
    columns
}

/// What every learner is given.
pub(super) struct Rounds<'a> {
    pub(super) table: Table<'a>,
    pub(super) monotone: &'a [(usize, Direction)],
    pub(super) held_out: Option<(&'a Bins, &'a [i32])>,
    pub(super) config: &'a BoostConfig,
    /// Called after each tree.
    pub(super) tick: &'a (dyn Fn() + Sync),
}

impl Rounds<'_> {
    /// Grows the trees of all outputs of `learner`.
    pub(super) fn learn<L: Learner>(&self, mut learner: L) -> Vec<Vec<Tree>> {
        let Self { table, config, .. } = *self;
        let (outputs, base) = (learner.outputs(), learner.base());
        let base = &base[..outputs];
        let mut forest: Vec<Vec<Tree>> = base.iter().map(|base| vec![Tree::constant(*base)]).collect();
        // What leaves may still say before a float could round their sum.
        let mut room = base.iter().map(|base| SUM_BOUND - 1 - i64::from(*base).abs()).min().unwrap_or(0);
        let mut watched = self.held_out.map(|(bins, targets)| {
            let table = Table { bins, ..table };
            let predictions = base.iter().map(|base| vec![*base; table.rows()]).collect();
            Predicted { table, targets, predictions }
        });
        let mut least = watched.as_ref().map(|set| (learner.loss(set), 0));
        // Outputs that are not there have nothing to say.
        let mut bounds: Bounds = [(0, 0); OUTPUTS];
        bounds[..outputs].fill(BOUND);
        let mut grower = Grower::new(table, self.monotone, config);
        for round in 0..config.trees {
            let sampling = Sampling::of(config, round);
            let sample = learner.begin(&sampling);
            let sampled = sample.is_some();
            let mut grown = grower.grow(&learner, sample, &columns(config, table.features(), round), bounds);
            if sampled {
                grower.order = by_leaf(&table, &mut grown);
            }
            let rows: Vec<&[u32]> = grown.leaves.iter().map(|rows| &grower.order[rows.clone()]).collect();
            let mut said: Vec<Steps> = rows.par_iter().map(|rows| learner.leaf(rows)).collect();
            if config.monotone == Monotone::Order {
                LeafOrder::of(&grown, self.monotone).keep(&mut said, outputs);
            }
            for (steps, bounds) in said.as_flattened_mut().iter_mut().zip(grown.bounds.as_flattened()) {
                let share = config.taken((*steps).clamp(bounds.0, bounds.1));
                *steps = i64::from(share).clamp(-room, room) as i32;
            }
            learner.settle(&mut said, config.grid());
            for (output, trees) in forest.iter_mut().enumerate() {
                trees.push(grown.tree(&table, |leaf| said[leaf][output]));
            }
            room -= said.as_flattened().iter().map(|steps| i64::from(*steps).abs()).max().unwrap_or(0);
            let leaves: Vec<(&[u32], Steps)> = rows.into_iter().zip(said.iter().copied()).collect();
            learner.add(&leaves);
            (self.tick)();
            if let (Some(set), Some((loss_before, at))) = (&mut watched, &mut least) {
                set.add(&grown, &said);
                let loss = learner.loss(set);
                if loss < *loss_before {
                    (*loss_before, *at) = (loss, round + 1);
                } else if config.early_stopping_rounds > 0 && round + 1 - *at >= config.early_stopping_rounds {
                    break;
                }
            }
            // A tree of one leaf that moves nothing will be followed by the same: all is learned.
            let drawn = sampled || config.columns_milli < 1_000;
            if !drawn && said.len() == 1 && said[0] == [0; OUTPUTS] {
                forest.iter_mut().for_each(|trees| drop(trees.pop()));
                break;
            }
        }
        if let Some((_, at)) = least.filter(|_| config.early_stopping_rounds > 0) {
            forest.iter_mut().for_each(|trees| trees.truncate(at as usize + 1));
        }
        forest
    }
}

/// All rows in the order of their leaves, when the tree was grown on some. Pieces of neighbouring rows are parted split
/// by split, without a branch to guess: walking row by row took three times as long.
fn by_leaf(table: &Table<'_>, grown: &mut Grown) -> Vec<u32> {
    let rows = table.rows();
    let pieces: Vec<(Vec<u32>, Vec<Range<usize>>)> = (0..rows.div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let mut order: Vec<u32> = ((chunk * CHUNK) as u32..((chunk + 1) * CHUNK).min(rows) as u32).collect();
            let mut ranges = vec![0..0; grown.leaves.len()];
            let mut open = vec![(0u32, 0..order.len())];
            while let Some((cell, range)) = open.pop() {
                match grown.cells[cell as usize] {
                    Cell::Leaf(leaf) => ranges[leaf as usize] = range,
                    Cell::Split { feature, bin, low, high } => {
                        let at = range.start + table.part(&mut order[range.clone()], usize::from(feature), bin);
                        open.push((low, range.start..at));
                        open.push((high, at..range.end));
                    }
                }
            }
            (order, ranges)
        })
        .collect();
    let mut order = Vec::with_capacity(rows);
    for (leaf, grown) in grown.leaves.iter_mut().enumerate() {
        let start = order.len();
        pieces.iter().for_each(|(rows, ranges)| order.extend_from_slice(&rows[ranges[leaf].clone()]));
        *grown = start..order.len();
    }
    order
}

/// Applies what leaves say to `values`, one for each row, in pieces of neighbouring rows.
pub(super) fn add_steps<T: Send>(values: &mut [T], leaves: &[(&[u32], Steps)], add: impl Fn(&mut T, &Steps) + Sync) {
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
        let from = (chunk * CHUNK) as u32;
        let to = from + values.len() as u32;
        for (rows, steps) in leaves {
            let (first, last) = (rows.partition_point(|r| *r < from), rows.partition_point(|r| *r < to));
            for row in &rows[first..last] {
                add(&mut values[(*row - from) as usize], steps);
            }
        }
    });
}
