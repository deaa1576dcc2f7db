//! The layout: trees cut into blocks, every block a complete tree in heap order.
//!
//! ```text
//!                  1                    block: cells 1 … 63, split = (column, code); cell i leads to 2i and 2i+1
//!            2           3              slots: what hangs below the last level: a leaf, or the next block
//!         4     5     6     7
//!        ⋮                              a tree that ends early is filled with splits that always go low,
//!      slots 0 1 2 …       2ᴰ−1         so its leaf is the leftmost slot below it
//! ```
//!
//! Every block takes the same number of steps, so nothing in the walk depends on the data. Trees of one structure
//! are merged: their leaves become one vector, and the walk is paid once.

use alloc::vec;
use alloc::vec::Vec;

use crate::code::Splits;
use crate::forest::{Node, OUTPUTS_MAX, Parts};
use crate::refuse::{Fault, Why};

/// Levels of splits in a block at most: 63 splits are one comparison of 64 bytes.
pub(crate) const DEPTH_MAX: u32 = 6;
/// Cells of a block; the first is not used. Also its slots.
pub(crate) const CELLS: usize = 1 << DEPTH_MAX;
/// Blocks walked side by side.
pub(crate) const WIDTH: usize = 8;
/// Outputs added at once.
pub(crate) const LANES: usize = 8;
/// Blocks a layout may have: 40 MB of them. Only forests of stumps by the ten thousand need more.
const BLOCKS_MAX: usize = 1 << 16;
/// Eights of leaf values a layout may have: 16 MB.
const ROWS_MAX: usize = 1 << 19;

/// One block's splits. `C` is a byte, or two when a column has more than 255 thresholds.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Block<C> {
    pub(crate) column: [C; CELLS],
    pub(crate) code: [C; CELLS],
}

/// Eight outputs of a leaf.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(crate) struct Lanes(pub(crate) [i32; LANES]);

/// Trees that are walked and added alike: `first..first + count` are the blocks of their roots.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) first: u32,
    /// A multiple of [`WIDTH`]: idle blocks fill the last seats.
    pub(crate) count: u32,
    /// Blocks on the longest way down.
    pub(crate) passes: u32,
    /// The one output that is added to, or `None`: slots are places in `rows`.
    pub(crate) output: Option<u32>,
}

/// A forest as blocks.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Levels of every block.
    pub(crate) depth: u32,
    /// Trees after merging.
    pub(crate) walks: usize,
    pub(crate) groups: Vec<Group>,
    pub(crate) blocks: Blocks,
    /// For each block: steps of its leaves, or where in `rows` they are. Links add nothing.
    pub(crate) slots: Vec<[i32; CELLS]>,
    /// For each block: the next one. Leaves lead to block 0, which leads to itself and adds nothing. Empty when no
    /// tree is deeper than a block.
    pub(crate) links: Vec<[u32; CELLS]>,
    /// `chunks` for each leaf; the first leaf is zero.
    pub(crate) rows: Vec<Lanes>,
    pub(crate) chunks: usize,
    /// What each output starts from, leaves of trees without a split included.
    pub(crate) base: Vec<i32>,
}

/// The splits of all blocks.
#[derive(Clone, Debug)]
pub(crate) enum Blocks {
    /// At most 256 columns, of at most 255 thresholds.
    Narrow(Vec<Block<u8>>),
    Wide(Vec<Block<u16>>),
}

impl Blocks {
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Narrow(blocks) => blocks.len(),
            Self::Wide(blocks) => blocks.len(),
        }
    }

    /// One more block that goes low everywhere: no row's code is above the largest number.
    fn push(&mut self) {
        match self {
            Self::Narrow(blocks) => blocks.push(Block { column: [0; CELLS], code: [u8::MAX; CELLS] }),
            Self::Wide(blocks) => blocks.push(Block { column: [0; CELLS], code: [u16::MAX; CELLS] }),
        }
    }

    fn set(&mut self, block: usize, cell: usize, (column, code): (u16, u16)) {
        match self {
            Self::Narrow(blocks) => {
                (blocks[block].column[cell], blocks[block].code[cell]) = (column as u8, code as u8);
            }
            Self::Wide(blocks) => (blocks[block].column[cell], blocks[block].code[cell]) = (column, code),
        }
    }
}

/// Trees of one structure, walked as one.
struct Merged {
    /// The trees, by their places in `Shapes::trees`.
    trees: Vec<u32>,
    output: Option<u32>,
    passes: u32,
}

/// Every tree in preorder: what it splits on, and its leaves.
struct Shapes {
    trees: Vec<Shape>,
    splits: Vec<u32>,
    leaves: Vec<u32>,
}

struct Shape {
    splits: (usize, usize),
    leaves: (usize, usize),
    root: u32,
    depth: u32,
    passes: u32,
}

const LEAF: u32 = u32::MAX;

impl Layout {
    pub(crate) fn new(parts: &Parts, splits: &Splits, narrow: bool) -> Result<Self, Fault> {
        let mut base = parts.base.clone();
        let mut shapes = Shapes { trees: Vec::new(), splits: Vec::new(), leaves: Vec::new() };
        for root in &parts.roots {
            match parts.nodes[*root as usize] {
                // A tree without a split adds the same to every row.
                Node::Leaf { first, end } => {
                    for value in &parts.values[first as usize..end as usize] {
                        base[value.output as usize] += value.steps;
                    }
                }
                Node::Split { .. } => shapes.take(parts, splits, *root),
            }
        }
        let depth = shapes.trees.iter().map(|t| t.depth).max().unwrap_or(1).min(DEPTH_MAX);
        for tree in &mut shapes.trees {
            tree.passes = tree.depth.div_ceil(depth);
        }
        let merged = shapes.merge(parts);

        let mut layout = Self {
            depth,
            walks: merged.len(),
            groups: Vec::new(),
            blocks: if narrow { Blocks::Narrow(Vec::new()) } else { Blocks::Wide(Vec::new()) },
            slots: Vec::new(),
            links: Vec::new(),
            rows: Vec::new(),
            chunks: base.len().div_ceil(LANES),
            base,
        };
        layout.block()?;
        if merged.iter().any(|m| m.output.is_none()) {
            layout.row()?;
        }
        // Roots of a group side by side, like with like; then everything below them.
        let alike = |a: &Merged, b: &Merged| (a.output, a.passes) == (b.output, b.passes);
        for trees in merged.chunk_by(alike) {
            let first = layout.blocks.len();
            for _ in 0..trees.len().next_multiple_of(WIDTH) {
                layout.block()?;
            }
            let (count, output) = ((layout.blocks.len() - first) as u32, trees[0].output);
            layout.groups.push(Group { first: first as u32, count, passes: trees[0].passes, output });
        }
        if merged.iter().any(|m| m.passes > 1) {
            layout.links = vec![[0; CELLS]; layout.blocks.len()];
        }
        let mut at = 1;
        for trees in merged.chunk_by(alike) {
            for (seat, tree) in trees.iter().enumerate() {
                layout.lay(parts, splits, &shapes, tree, at + seat)?;
            }
            at += trees.len().next_multiple_of(WIDTH);
        }
        Ok(layout)
    }

    /// One more block that goes low everywhere and adds nothing.
    fn block(&mut self) -> Result<usize, Fault> {
        if self.blocks.len() == BLOCKS_MAX {
            return Err(Fault::at(BLOCKS_MAX, &Why::TooLarge("blocks of splits")));
        }
        self.blocks.push();
        self.slots.push([0; CELLS]);
        if !self.links.is_empty() {
            self.links.push([0; CELLS]);
        }
        Ok(self.blocks.len() - 1)
    }

    /// One more leaf of zeros.
    fn row(&mut self) -> Result<usize, Fault> {
        let at = self.rows.len();
        if at + self.chunks > ROWS_MAX {
            return Err(Fault::at(ROWS_MAX * LANES, &Why::TooLarge("leaf values")));
        }
        self.rows.resize(at + self.chunks, Lanes::default());
        Ok(at)
    }

    /// Lays merged trees into their root's block and, where they are deeper, into new ones.
    fn lay(
        &mut self,
        parts: &Parts,
        splits: &Splits,
        shapes: &Shapes,
        tree: &Merged,
        block: usize,
    ) -> Result<(), Fault> {
        let mut leaf = 0;
        let root = shapes.trees[tree.trees[0] as usize].root;
        let mut open = vec![(root, block, 1usize, 0u32)];
        while let Some((at, mut block, mut cell, mut level)) = open.pop() {
            let node = &parts.nodes[at as usize];
            if let Node::Split { low, high, .. } = *node {
                if level == self.depth {
                    let next = self.block()?;
                    self.links[block][cell - (1 << self.depth)] = next as u32;
                    (block, cell, level) = (next, 1, 0);
                }
                self.blocks.set(block, cell, splits.find(node));
                open.push((high, block, 2 * cell + 1, level + 1));
                open.push((low, block, 2 * cell, level + 1));
            } else {
                let slot = (cell << (self.depth - level)) - (1 << self.depth);
                self.slots[block][slot] = match tree.output {
                    Some(_) => shapes.values(parts, tree, leaf).map(|v| v.1).sum(),
                    None => {
                        let row = self.row()?;
                        for (output, steps) in shapes.values(parts, tree, leaf) {
                            self.rows[row + output / LANES].0[output % LANES] += steps;
                        }
                        row as i32
                    }
                };
                leaf += 1;
            }
        }
        Ok(())
    }
}

impl Shapes {
    /// Takes a tree in.
    fn take(&mut self, parts: &Parts, splits: &Splits, root: u32) {
        let (first_split, first_leaf) = (self.splits.len(), self.leaves.len());
        let mut deepest = 0;
        let mut open = vec![(root, 0)];
        while let Some((at, depth)) = open.pop() {
            let node = &parts.nodes[at as usize];
            match *node {
                Node::Split { low, high, .. } => {
                    let (column, code) = splits.find(node);
                    self.splits.push(u32::from(column) << 16 | u32::from(code));
                    open.push((high, depth + 1));
                    open.push((low, depth + 1));
                }
                Node::Leaf { .. } => {
                    self.splits.push(LEAF);
                    self.leaves.push(at);
                    deepest = deepest.max(depth);
                }
            }
        }
        let splits = (first_split, self.splits.len());
        let leaves = (first_leaf, self.leaves.len());
        self.trees.push(Shape { splits, leaves, root, depth: deepest, passes: 0 });
    }

    fn splits(&self, tree: u32) -> &[u32] {
        let (first, end) = self.trees[tree as usize].splits;
        &self.splits[first..end]
    }

    /// Trees of the same splits together; those that add to one output first, by output, then by passes.
    fn merge(&self, parts: &Parts) -> Vec<Merged> {
        // Equal trees have equal hashes; the place of the tree in the low bits keeps the order and names it.
        let bits = usize::BITS - self.trees.len().leading_zeros();
        let mut keys: Vec<u64> =
            (0..self.trees.len() as u32).map(|t| hash(self.splits(t)) >> bits << bits | u64::from(t)).collect();
        sort(&mut keys);
        let tree = |key: &u64| (key & ((1 << bits) - 1)) as u32;
        let mut merged: Vec<Merged> = keys
            .chunk_by(|a, b| self.splits(tree(a)) == self.splits(tree(b)))
            .map(|same| {
                let trees: Vec<u32> = same.iter().map(tree).collect();
                let passes = self.trees[trees[0] as usize].passes;
                let outputs = trees.iter().fold(0u64, |all, t| all | self.outputs(parts, *t));
                let output = (outputs.count_ones() == 1).then_some(outputs.trailing_zeros());
                Merged { trees, output, passes }
            })
            .collect();
        let mut keys: Vec<u64> = merged
            .iter()
            .enumerate()
            .map(|(ix, m)| {
                let output = u64::from(m.output.unwrap_or(OUTPUTS_MAX as u32));
                output << 56 | u64::from(m.passes) << 32 | ix as u64
            })
            .collect();
        sort(&mut keys);
        let taken = keys.into_iter().map(|key| {
            let m = &mut merged[key as u32 as usize];
            Merged { trees: core::mem::take(&mut m.trees), output: m.output, passes: m.passes }
        });
        taken.collect()
    }

    /// The outputs that a tree adds to, as bits.
    fn outputs(&self, parts: &Parts, tree: u32) -> u64 {
        let (first, end) = self.trees[tree as usize].leaves;
        let values = self.leaves[first..end].iter().flat_map(|leaf| values(parts, *leaf));
        values.fold(0, |all, (output, _)| all | 1 << output)
    }

    /// What the `leaf`th leaf of merged trees adds.
    fn values<'a>(
        &'a self,
        parts: &'a Parts,
        tree: &'a Merged,
        leaf: usize,
    ) -> impl Iterator<Item = (usize, i32)> + 'a {
        let leaf_of = move |t: &u32| self.leaves[self.trees[*t as usize].leaves.0 + leaf];
        tree.trees.iter().flat_map(move |t| values(parts, leaf_of(t)))
    }
}

fn values(parts: &Parts, leaf: u32) -> impl Iterator<Item = (usize, i32)> + '_ {
    let (first, end) = match parts.nodes[leaf as usize] {
        Node::Leaf { first, end } => (first, end),
        Node::Split { .. } => (0, 0),
    };
    parts.values[first as usize..end as usize].iter().map(|v| (v.output as usize, v.steps))
}

/// FNV-1a over words, folded once more so that the high bits see everything.
fn hash(words: &[u32]) -> u64 {
    let fold = |h: u64, w: u64| (h ^ w).wrapping_mul(0x0100_0000_01b3);
    let all = words.iter().fold(0xcbf2_9ce4_8422_2325, |h, w| fold(h, u64::from(*w)));
    (all ^ all >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Sorts ascending: heapsort, a few hundred bytes of code where the standard one takes several thousand.
pub(crate) fn sort(keys: &mut [u64]) {
    let sift = |keys: &mut [u64], mut at: usize| {
        while 2 * at + 1 < keys.len() {
            let mut child = 2 * at + 1;
            if child + 1 < keys.len() && keys[child] < keys[child + 1] {
                child += 1;
            }
            if keys[at] >= keys[child] {
                break;
            }
            keys.swap(at, child);
            at = child;
        }
    };
    for at in (0..keys.len() / 2).rev() {
        sift(keys, at);
    }
    for end in (1..keys.len()).rev() {
        keys.swap(0, end);
        sift(&mut keys[..end], 0);
    }
}
