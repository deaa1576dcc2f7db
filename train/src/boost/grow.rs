//! One tree: leaf-wise growth on packed histograms.

use plimsoll_model::forest::{Node, ONE, Tree};
use plimsoll_model::monotone::Direction;
use plimsoll_model::quantile::{Ppm, lower_quantile};

use super::{Bins, BoostConfig};

/// A bin: rows in the high half, rows below their prediction in the low half. Adding never carries over,
/// because a training set has fewer than 2³² rows.
type Packed = u64;

const fn packed(below: bool) -> Packed {
    (1 << 32) | below as u64
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    rows: u32,
    below: u32,
}

impl Counts {
    const fn of(packed: Packed) -> Self {
        Self { rows: (packed >> 32) as u32, below: packed as u32 }
    }

    const fn less(self, other: Self) -> Self {
        Self { rows: self.rows - other.rows, below: self.below - other.below }
    }

    /// `(below − α rows)² / rows`: how much of the pinball loss's slope a leaf here could take away.
    fn score(self, alpha: f64) -> f64 {
        let slope = f64::from(self.below) - alpha * f64::from(self.rows);
        slope * slope / f64::from(self.rows)
    }

    /// The direction the prediction of these rows wants to move: positive is up.
    fn pull(self, alpha: f64) -> f64 {
        alpha - f64::from(self.below) / f64::from(self.rows)
    }
}

#[derive(Clone, Copy, Debug)]
struct Split {
    gain: f64,
    feature: usize,
    /// Bins up to and including this one go low.
    bin: u8,
}

/// A leaf that may still be split.
struct Open {
    node: usize,
    depth: u32,
    rows: std::ops::Range<usize>,
    histogram: Vec<Packed>,
    counts: Counts,
    /// Bounds of the residual that leaves below may take, in steps.
    bounds: (i32, i32),
    split: Option<Split>,
}

/// Grows trees over the same bins; keeps its buffers between trees.
pub(super) struct Grower<'a> {
    bins: &'a Bins,
    monotone: Vec<Option<Direction>>,
    level: Ppm,
    config: &'a BoostConfig,
    order: Vec<u32>,
    residuals: Vec<i32>,
    /// Whether each row counts as below its prediction.
    below: Vec<bool>,
    scratch: Vec<i32>,
    spare: Vec<Vec<Packed>>,
}

const BIN_SLOTS: usize = 256;

impl<'a> Grower<'a> {
    pub(super) fn new(bins: &'a Bins, monotone: &[(usize, Direction)], level: Ppm, config: &'a BoostConfig) -> Self {
        let mut directions = vec![None; bins.features()];
        for (column, direction) in monotone {
            directions[*column] = Some(*direction);
        }
        Self {
            bins,
            monotone: directions,
            level,
            config,
            order: Vec::new(),
            residuals: Vec::new(),
            below: Vec::new(),
            scratch: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Grows one tree for `targets − predictions` and adds it to `predictions`.
    pub(super) fn grow(&mut self, targets: &[i32], predictions: &mut [i32]) -> Tree {
        let n = targets.len();
        self.residuals.clear();
        self.residuals.extend(targets.iter().zip(predictions.iter()).map(|(y, p)| y - p));
        // A row that keeps nothing is below every prediction that grants anything. Without this a level that starts at
        // the atom at zero would see no row below it, hence no slope anywhere, and learn nothing.
        self.below.clear();
        self.below.extend(self.residuals.iter().zip(targets).map(|(r, y)| *r < 0 || *y == 0));
        self.order.clear();
        self.order.extend(0..n as u32);

        let mut nodes = vec![Node::Leaf { steps: 0 }];
        let root = self.open(0, 0, 0..n, (-(ONE as i32), ONE as i32), None);
        let mut open = vec![root];
        let mut leaves = 1;
        while leaves < self.config.leaves {
            // The largest gain; of equal ones, the node made first.
            let best = (0..open.len())
                .filter(|i| open[*i].split.is_some())
                .max_by(|a, b| gain(&open[*a]).total_cmp(&gain(&open[*b])).then(open[*b].node.cmp(&open[*a].node)));
            let Some(best) = best else { break };
            let parent = open.swap_remove(best);
            let (low, high) = self.split(parent, &mut nodes);
            open.push(low);
            open.push(high);
            leaves += 1;
        }
        for leaf in open {
            let value = self.quantile(leaf.rows.clone()).clamp(leaf.bounds.0, leaf.bounds.1);
            let steps = self.config.taken(value);
            nodes[leaf.node] = Node::Leaf { steps };
            for row in &self.order[leaf.rows] {
                predictions[*row as usize] += steps;
            }
            self.spare.push(leaf.histogram);
        }
        Tree::new(preorder(&nodes)).expect("children are appended after their parent, one parent each")
    }

    /// Applies a node's split: its rows are partitioned, its children opened.
    fn split(&mut self, parent: Open, nodes: &mut Vec<Node>) -> (Open, Open) {
        let Split { feature, bin, .. } = parent.split.expect("only nodes with a split are chosen");
        let (low_node, high_node) = (nodes.len(), nodes.len() + 1);
        nodes.extend([Node::Leaf { steps: 0 }; 2]);
        nodes[parent.node] = Node::Split {
            feature: feature as u16,
            threshold: self.bins.thresholds(feature)[usize::from(bin)],
            low: low_node as u32,
            high: high_node as u32,
        };
        let bins = self.bins;
        let rows = parent.rows.clone();
        let at = rows.start + partition(&mut self.order[rows.clone()], |r| bins.code(r as usize, feature) <= bin);
        let (low_rows, high_rows) = (rows.start..at, at..rows.end);

        let (mut low_bounds, mut high_bounds) = (parent.bounds, parent.bounds);
        if let Some(direction) = self.monotone[feature] {
            let clamp = |v: i32| v.clamp(parent.bounds.0, parent.bounds.1);
            let low = clamp(self.quantile(low_rows.clone()));
            let high = clamp(self.quantile(high_rows.clone()));
            let middle = (i64::from(low) + i64::from(high)).div_euclid(2) as i32;
            match direction {
                Direction::Increasing => (low_bounds.1, high_bounds.0) = (middle, middle),
                Direction::Decreasing => (low_bounds.0, high_bounds.1) = (middle, middle),
            }
        }
        // The smaller child is counted; the larger is what is left of the parent.
        let depth = parent.depth + 1;
        if low_rows.len() <= high_rows.len() {
            let low = self.open(low_node, depth, low_rows, low_bounds, None);
            let rest = subtract(parent.histogram, &low.histogram);
            let high =
                self.open(high_node, depth, high_rows, high_bounds, Some((rest, parent.counts.less(low.counts))));
            (low, high)
        } else {
            let high = self.open(high_node, depth, high_rows, high_bounds, None);
            let rest = subtract(parent.histogram, &high.histogram);
            let low = self.open(low_node, depth, low_rows, low_bounds, Some((rest, parent.counts.less(high.counts))));
            (low, high)
        }
    }

    fn open(
        &mut self,
        node: usize,
        depth: u32,
        rows: std::ops::Range<usize>,
        bounds: (i32, i32),
        known: Option<(Vec<Packed>, Counts)>,
    ) -> Open {
        let (histogram, counts) = known.unwrap_or_else(|| self.count(rows.clone()));
        let room = depth < self.config.depth && counts.rows >= 2 * self.config.min_leaf && bounds.0 < bounds.1;
        let split = if room { self.best_split(&histogram, counts) } else { None };
        Open { node, depth, rows, histogram, counts, bounds, split }
    }

    fn count(&mut self, rows: std::ops::Range<usize>) -> (Vec<Packed>, Counts) {
        let features = self.bins.features();
        let mut histogram = self.spare.pop().unwrap_or_default();
        histogram.clear();
        histogram.resize(features * BIN_SLOTS, 0);
        let mut total = 0;
        for row in &self.order[rows] {
            let row = *row as usize;
            let add = packed(self.below[row]);
            total += add;
            for (slots, code) in histogram.chunks_exact_mut(BIN_SLOTS).zip(self.bins.row(row)) {
                slots[usize::from(*code)] += add;
            }
        }
        (histogram, Counts::of(total))
    }

    fn best_split(&self, histogram: &[Packed], total: Counts) -> Option<Split> {
        let alpha = self.level.fraction();
        let min = self.config.min_leaf;
        let whole = total.score(alpha);
        let mut best: Option<Split> = None;
        for (feature, slots) in histogram.chunks_exact(BIN_SLOTS).enumerate() {
            let mut sum = 0;
            for (bin, slot) in slots.iter().take(self.bins.thresholds(feature).len()).enumerate() {
                if *slot == 0 {
                    continue;
                }
                sum += slot;
                let low = Counts::of(sum);
                if low.rows < min {
                    continue;
                }
                let high = total.less(low);
                if high.rows < min {
                    break;
                }
                let wrong_way = self.monotone[feature].is_some_and(|d| !allows(d, low.pull(alpha), high.pull(alpha)));
                let gain = low.score(alpha) + high.score(alpha) - whole;
                if !wrong_way && gain > 1e-9 && best.is_none_or(|b| gain > b.gain) {
                    best = Some(Split { gain, feature, bin: bin as u8 });
                }
            }
        }
        best
    }

    /// The exact quantile of the residuals of some rows.
    fn quantile(&mut self, rows: std::ops::Range<usize>) -> i32 {
        self.scratch.clear();
        self.scratch.extend(self.order[rows].iter().map(|r| self.residuals[*r as usize]));
        lower_quantile(&mut self.scratch, self.level.fraction())
    }
}

fn allows(direction: Direction, low: f64, high: f64) -> bool {
    match direction {
        Direction::Increasing => low <= high,
        Direction::Decreasing => low >= high,
    }
}

/// The same tree with every low child right after its parent: half of a file's node numbers then say nothing new.
fn preorder(nodes: &[Node]) -> Vec<Node> {
    let mut ordered = Vec::with_capacity(nodes.len());
    // Nodes still to be laid, each with the node whose high child it is.
    let mut open = vec![(0usize, None)];
    while let Some((from, parent)) = open.pop() {
        let at = ordered.len() as u32;
        if let Some(Node::Split { high, .. }) = parent.and_then(|p: u32| ordered.get_mut(p as usize)) {
            *high = at;
        }
        match nodes[from] {
            leaf @ Node::Leaf { .. } => ordered.push(leaf),
            Node::Split { feature, threshold, low, high } => {
                ordered.push(Node::Split { feature, threshold, low: at + 1, high: 0 });
                open.push((high as usize, Some(at)));
                open.push((low as usize, None));
            }
        }
    }
    ordered
}

fn gain(open: &Open) -> f64 {
    open.split.map_or(0.0, |s| s.gain)
}

fn subtract(mut from: Vec<Packed>, less: &[Packed]) -> Vec<Packed> {
    // Each half of a child is at most its parent's, so no borrow crosses between them.
    from.iter_mut().zip(less).for_each(|(a, b)| *a -= b);
    from
}

/// Moves the rows that `goes_low` to the front and returns how many; keeps the order within both parts, so that
/// later passes over memory stay sequential.
fn partition(rows: &mut [u32], goes_low: impl Fn(u32) -> bool) -> usize {
    let mut high = Vec::with_capacity(rows.len());
    let mut at = 0;
    for i in 0..rows.len() {
        let row = rows[i];
        if goes_low(row) {
            rows[at] = row;
            at += 1;
        } else {
            high.push(row);
        }
    }
    rows[at..].copy_from_slice(&high);
    at
}
