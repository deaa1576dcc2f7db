//! One tree: the best split first, found on histograms.

use std::ops::Range;

use plimsoll_model::forest::{Node, Tree};
use plimsoll_model::monotone::Direction;

use super::histogram::{Histogram, Pool, Slot};
use super::table::{PIECE, Table};
use super::{BoostConfig, Growth, Monotone};

/// Outputs of a leaf at most, and what a bin of several of them has room for.
pub(super) const OUTPUTS: usize = 8;

/// What a leaf says for each output, in steps of 2⁻²⁰; outputs that are not there say 0.
pub(super) type Steps = [i32; OUTPUTS];

/// What trees are grown for: how rows are summed up and what a sum is worth.
pub(super) trait Criterion: Sync {
    type Slot: Slot;

    /// What a row adds to its bins this round.
    fn addend(&self, row: u32) -> Self::Slot;
    /// The part of [`Self::addend`] that never changes, and the rows that have another part this round. `None`: all
    /// of it changes, and every round counts every row.
    fn moving(&self) -> Option<&[u32]> {
        None
    }
    fn fixed(&self, row: u32) -> Self::Slot {
        self.addend(row)
    }
    fn moved(&self, row: u32) -> Self::Slot {
        self.addend(row)
    }

    /// How much loss a leaf of these rows could take away.
    fn score(&self, sum: Self::Slot) -> f64;
    /// The way the prediction of these rows wants to move: positive is up.
    fn pull(&self, sum: Self::Slot) -> f64;
    /// Rows, or what stands for them.
    fn size(&self, sum: Self::Slot) -> u32;
    /// The [`Self::size`] that so many rows have among `rows` rows of that sum.
    fn size_of(&self, rows: u32, sum: Self::Slot, of: usize) -> u32;
    /// What a leaf of these rows would say: where [`Monotone::Bounds`] puts the bound between two sides.
    fn value(&self, rows: &[u32], sum: Self::Slot) -> Steps;
}

/// The least and the greatest that leaves below a node may say.
pub(super) type Bounds = [(i32, i32); OUTPUTS];

/// A node by codes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cell {
    /// Codes up to and including `bin` go low.
    Split { feature: u16, bin: u8, low: u32, high: u32 },
    /// Which leaf.
    Leaf(u32),
}

/// A grown tree whose leaves say nothing yet.
pub(super) struct Grown {
    pub(super) cells: Vec<Cell>,
    /// The rows of each leaf, in [`Grower::order`].
    pub(super) leaves: Vec<Range<usize>>,
    /// Of each leaf.
    pub(super) bounds: Vec<Bounds>,
}

impl Grown {
    /// The leaf of a row.
    pub(super) fn leaf(&self, code: impl Fn(usize) -> u8) -> u32 {
        let mut at = 0u32;
        loop {
            match self.cells[at as usize] {
                Cell::Leaf(leaf) => return leaf,
                Cell::Split { feature, bin, low, high } => {
                    at = if code(usize::from(feature)) <= bin { low } else { high }
                }
            }
        }
    }

    /// The tree of one output, every low child right after its parent: half of a file's node numbers then say
    /// nothing new.
    pub(super) fn tree(&self, table: &Table<'_>, steps: impl Fn(usize) -> i32) -> Tree {
        let mut nodes = Vec::with_capacity(self.cells.len());
        // Cells still to be laid, each with the node whose high child it is.
        let mut open = vec![(0u32, None)];
        while let Some((from, parent)) = open.pop() {
            let at = nodes.len() as u32;
            if let Some(Node::Split { high, .. }) = parent.and_then(|p: u32| nodes.get_mut(p as usize)) {
                *high = at;
            }
            nodes.push(match self.cells[from as usize] {
                Cell::Leaf(leaf) => Node::Leaf { steps: steps(leaf as usize) },
                Cell::Split { feature, bin, low, high } => {
                    open.push((high, Some(at)));
                    open.push((low, None));
                    let threshold = table.thresholds(usize::from(feature))[usize::from(bin)];
                    Node::Split { feature, threshold, low: at + 1, high: 0 }
                }
            });
        }
        Tree::new(nodes).expect("every cell is laid once, after its parent")
    }
}

#[derive(Clone, Copy, Debug)]
struct Split<S> {
    gain: f64,
    feature: usize,
    bin: u8,
    /// Of the low side.
    low: S,
}

/// A leaf that may still be split.
struct Open<S> {
    cell: usize,
    depth: u32,
    rows: Range<usize>,
    histogram: Histogram<S>,
    sum: S,
    bounds: Bounds,
    split: Option<Split<S>>,
}

/// Grows trees over one table; keeps its buffers between trees.
pub(super) struct Grower<'a, S> {
    table: Table<'a>,
    config: &'a BoostConfig,
    monotone: Vec<Option<Direction>>,
    /// Rows, those of a leaf side by side.
    pub(super) order: Vec<u32>,
    pool: Pool<S>,
    /// What never changes of the root's histogram.
    root: Option<Histogram<S>>,
}

impl<'a, S: Slot> Grower<'a, S> {
    pub(super) fn new(table: Table<'a>, monotone: &[(usize, Direction)], config: &'a BoostConfig) -> Self {
        let mut directions = vec![None; table.features()];
        for (column, direction) in monotone {
            directions[*column] = Some(*direction);
        }
        Self { table, config, monotone: directions, order: Vec::new(), pool: Pool::default(), root: None }
    }

    /// Grows one tree over `sample`, or over all rows, on `columns`.
    pub(super) fn grow<O: Criterion<Slot = S>>(
        &mut self,
        objective: &O,
        sample: Option<Vec<u32>>,
        columns: &[usize],
        bounds: Bounds,
    ) -> Grown {
        let rows = self.table.rows() as u32;
        let all = sample.is_none();
        match sample {
            Some(sample) => self.order = sample,
            None => {
                self.order.clear();
                self.order.extend(0..rows);
            }
        }
        let histogram = match objective.moving() {
            Some(moving) if all => self.root(objective, moving),
            _ => self.pool.count(&self.table, &self.order, |row| objective.addend(row)),
        };
        let sum = histogram.total();
        let mut root = Open { cell: 0, depth: 0, rows: 0..self.order.len(), histogram, sum, bounds, split: None };
        root.split = self.best_split(objective, columns, &root);

        let mut cells = vec![Cell::Leaf(0)];
        let mut open = vec![root];
        while open.len() < self.config.leaves as usize {
            let Some(next) = self.next(&open) else { break };
            let parent = open.swap_remove(next);
            let (low, high) = self.split(objective, columns, parent, &mut cells);
            open.push(low);
            open.push(high);
        }
        let leaves = open.into_iter().enumerate().map(|(leaf, open)| {
            cells[open.cell] = Cell::Leaf(leaf as u32);
            self.pool.give_back(open.histogram);
            (open.rows, open.bounds)
        });
        let (leaves, bounds) = leaves.unzip();
        Grown { cells, leaves, bounds }
    }

    /// The root's histogram from what never changes and the rows that do.
    fn root<O: Criterion<Slot = S>>(&mut self, objective: &O, moving: &[u32]) -> Histogram<S> {
        let fixed =
            self.root.take().unwrap_or_else(|| self.pool.count(&self.table, &self.order, |row| objective.fixed(row)));
        let mut histogram = self.pool.count(&self.table, moving, |row| objective.moved(row));
        histogram.add(&fixed);
        self.root = Some(fixed);
        histogram
    }

    /// The leaf to split: of the largest gain (and of the least depth before that, when growing by depth); of equal
    /// ones, the one made first.
    fn next(&self, open: &[Open<S>]) -> Option<usize> {
        let depth = |o: &Open<S>| if self.config.growth == Growth::Depth { o.depth } else { 0 };
        let gain = |o: &Open<S>| o.split.map_or(0.0, |s| s.gain);
        (0..open.len()).filter(|i| open[*i].split.is_some()).max_by(|a, b| {
            let (a, b) = (&open[*a], &open[*b]);
            depth(b).cmp(&depth(a)).then(gain(a).total_cmp(&gain(b))).then(b.cell.cmp(&a.cell))
        })
    }

    /// Applies a leaf's split: its rows are parted, its children opened.
    fn split<O: Criterion<Slot = S>>(
        &mut self,
        objective: &O,
        columns: &[usize],
        parent: Open<S>,
        cells: &mut Vec<Cell>,
    ) -> (Open<S>, Open<S>) {
        let Split { feature, bin, low: low_sum, .. } = parent.split.expect("only leaves with a split are chosen");
        let (low_cell, high_cell) = (cells.len(), cells.len() + 1);
        cells.extend([Cell::Leaf(0); 2]);
        cells[parent.cell] = Cell::Split { feature: feature as u16, bin, low: low_cell as u32, high: high_cell as u32 };
        let rows = parent.rows.clone();
        let at = rows.start + self.table.part(&mut self.order[rows.clone()], feature, bin);
        let (low_rows, high_rows) = (rows.start..at, at..rows.end);
        let mut high_sum = parent.sum;
        high_sum.subtract(&low_sum);

        let (mut low_bounds, mut high_bounds) = (parent.bounds, parent.bounds);
        if let Some(direction) = self.monotone[feature].filter(|_| self.config.monotone == Monotone::Bounds) {
            let (low, high) = both(
                rows.len(),
                || objective.value(&self.order[low_rows.clone()], low_sum),
                || objective.value(&self.order[high_rows.clone()], high_sum),
            );
            for (output, bounds) in parent.bounds.iter().enumerate() {
                let clamp = |v: i32| i64::from(v.clamp(bounds.0, bounds.1));
                let middle = (clamp(low[output]) + clamp(high[output])).div_euclid(2) as i32;
                match direction {
                    Direction::Increasing => (low_bounds[output].1, high_bounds[output].0) = (middle, middle),
                    Direction::Decreasing => (low_bounds[output].0, high_bounds[output].1) = (middle, middle),
                }
            }
        }
        // The smaller child is counted; the larger is what is left of the parent.
        let low_counted = low_rows.len() <= high_rows.len();
        let counted = if low_counted { low_rows.clone() } else { high_rows.clone() };
        let few = self.pool.count(&self.table, &self.order[counted], |row| objective.addend(row));
        let mut many = parent.histogram;
        many.subtract(&few);
        let (low_histogram, high_histogram) = if low_counted { (few, many) } else { (many, few) };
        let depth = parent.depth + 1;
        let open = |cell, rows, histogram, sum, bounds| {
            let split = None;
            Open { cell, depth, rows, histogram, sum, bounds, split }
        };
        let mut low = open(low_cell, low_rows, low_histogram, low_sum, low_bounds);
        let mut high = open(high_cell, high_rows, high_histogram, high_sum, high_bounds);
        (low.split, high.split) = both(
            rows.len(),
            || self.best_split(objective, columns, &low),
            || self.best_split(objective, columns, &high),
        );
        (low, high)
    }

    fn best_split<O: Criterion<Slot = S>>(&self, objective: &O, columns: &[usize], open: &Open<S>) -> Option<Split<S>> {
        let total = open.sum;
        let min = objective.size_of(self.config.min_leaf, total, open.rows.len()).max(1);
        let room = open.depth < self.config.depth
            && objective.size(total) / 2 >= min
            && open.bounds.iter().any(|(least, greatest)| least < greatest);
        if !room {
            return None;
        }
        let whole = objective.score(total);
        let mut best: Option<Split<S>> = None;
        for feature in columns.iter().copied() {
            let direction = self.monotone[feature];
            let mut low = S::default();
            let slots = &open.histogram.0[feature];
            for (bin, slot) in slots.iter().take(self.table.thresholds(feature).len()).enumerate() {
                if *slot == S::default() {
                    continue;
                }
                low.add(slot);
                if objective.size(low) < min {
                    continue;
                }
                let mut high = total;
                high.subtract(&low);
                if objective.size(high) < min {
                    break;
                }
                let gain = objective.score(low) + objective.score(high) - whole;
                if gain > best.map_or(1e-9, |b| b.gain)
                    && direction.is_none_or(|d| allows(d, objective.pull(low), objective.pull(high)))
                {
                    best = Some(Split { gain, feature, bin: bin as u8, low });
                }
            }
        }
        best
    }
}

/// Both at once where they are worth waking a thread for.
fn both<A: Send, B: Send>(rows: usize, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    if rows < PIECE || rayon::current_num_threads() == 1 { (a(), b()) } else { rayon::join(a, b) }
}

fn allows(direction: Direction, low: f64, high: f64) -> bool {
    match direction {
        Direction::Increasing => low <= high,
        Direction::Decreasing => low >= high,
    }
}
