//! The forest: what a limit model is, and the integer walk that every other evaluator must equal to the bit.
//!
//! ```text
//! row [F] f32 ─► for each output: Σ over trees of the leaf the row falls in ─► steps [outputs] i32 (1 = 2⁻²⁰)
//! ```
//!
//! Three rules make every conforming runtime agree (ONNX Runtime, tract, this walk):
//! 1. a leaf is an integer number of steps of 2⁻²⁰, and no sum can reach 2²⁴ steps, so a `float32` sum of leaves
//!    is exact in any order;
//! 2. a split sends `x ≤ threshold` low and everything else high (`BRANCH_LEQ`), thresholds are finite `f32`;
//! 3. NaN is not `≤` anything, so it goes high, always: missing is ordered after every number. There are no
//!    per-node flags, and monotonicity covers missing values because they are simply the top of the axis.

/// Bits of a step: one step is 2⁻²⁰ of the balance.
pub const STEP_BITS: u32 = 20;
/// One, in steps.
pub const ONE: u32 = 1 << STEP_BITS;
/// Sums of leaves stay below this, where `f32` counts every integer.
pub const SUM_BOUND: i64 = 1 << 24;

/// A node of a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Node {
    /// `row[feature] ≤ threshold` goes to `low`, everything else, NaN included, to `high`.
    Split {
        /// Column of the row.
        feature: u16,
        /// Finite.
        threshold: f32,
        /// Index of a later node of the same tree.
        low: u32,
        /// Index of a later node of the same tree.
        high: u32,
    },
    /// The end of the walk.
    Leaf {
        /// In 2⁻²⁰.
        steps: i32,
    },
}

/// A binary tree, root first; children come after their parents.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// A tree of `nodes`, root first.
    ///
    /// # Errors
    /// [`BadForest`] unless every node is reached exactly once from the root by indices that only grow, and
    /// thresholds are finite.
    pub fn new(nodes: Vec<Node>) -> Result<Self, BadForest> {
        let mut parents = vec![0u8; nodes.len()];
        for (ix, node) in nodes.iter().enumerate() {
            if let Node::Split { threshold, low, high, .. } = *node {
                if !threshold.is_finite() {
                    return Err(BadForest::Threshold { node: ix });
                }
                for child in [low, high] {
                    let child = child as usize;
                    if child <= ix || child >= nodes.len() || parents[child] > 0 {
                        return Err(BadForest::Shape { node: ix });
                    }
                    parents[child] = 1;
                }
            }
        }
        // Indices only grow, so a node with a parent is reached from the root; all but the root must have one.
        match parents.iter().skip(1).position(|p| *p == 0) {
            _ if nodes.is_empty() => Err(BadForest::Shape { node: 0 }),
            Some(orphan) => Err(BadForest::Shape { node: orphan + 1 }),
            None => Ok(Self { nodes }),
        }
    }

    /// A tree that answers `steps` to every row.
    pub fn constant(steps: i32) -> Self {
        Self { nodes: vec![Node::Leaf { steps }] }
    }

    /// The nodes, root first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The leaf a row falls in, in steps.
    pub fn evaluate(&self, row: &[f32]) -> i32 {
        let mut at = 0usize;
        loop {
            match self.nodes[at] {
                Node::Leaf { steps } => return steps,
                Node::Split { feature, threshold, low, high } => {
                    at = if row[usize::from(feature)] <= threshold { low } else { high } as usize;
                }
            }
        }
    }

    /// Calls `at` with the index of every node that a row comes by, root first, leaf last.
    pub fn visit(&self, row: &[f32], mut at: impl FnMut(usize)) {
        let mut ix = 0usize;
        loop {
            at(ix);
            match self.nodes[ix] {
                Node::Leaf { .. } => return,
                Node::Split { feature, threshold, low, high } => {
                    ix = if row[usize::from(feature)] <= threshold { low } else { high } as usize;
                }
            }
        }
    }

    /// Splits on the longest way down.
    pub fn depth(&self) -> usize {
        let mut depths = vec![0usize; self.nodes.len()];
        for (ix, node) in self.nodes.iter().enumerate() {
            if let Node::Split { low, high, .. } = *node {
                depths[low as usize] = depths[ix] + 1;
                depths[high as usize] = depths[ix] + 1;
            }
        }
        depths.into_iter().max().unwrap_or(0)
    }

    fn leaf_size_max(&self) -> i64 {
        let size = |node: &Node| match node {
            Node::Leaf { steps } => i64::from(*steps).abs(),
            Node::Split { .. } => 0,
        };
        self.nodes.iter().map(size).max().unwrap_or(0)
    }
}

/// Trees for one or more outputs over the same row.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    features: usize,
    outputs: Vec<Vec<Tree>>,
}

impl Forest {
    /// A forest over rows of `features` columns, one list of trees for each output.
    ///
    /// # Errors
    /// [`BadForest`] without outputs or trees, when a split reads a column that is not there, or when the leaves
    /// of one output could sum to 2²⁴ steps.
    pub fn new(features: usize, outputs: Vec<Vec<Tree>>) -> Result<Self, BadForest> {
        if outputs.is_empty() || outputs.iter().any(Vec::is_empty) {
            return Err(BadForest::Empty);
        }
        for (output, trees) in outputs.iter().enumerate() {
            let sum: i64 = trees.iter().map(Tree::leaf_size_max).sum();
            if sum >= SUM_BOUND {
                return Err(BadForest::Sum { output, sum });
            }
            for node in trees.iter().flat_map(Tree::nodes) {
                if let Node::Split { feature, .. } = *node
                    && usize::from(feature) >= features
                {
                    return Err(BadForest::Feature { feature, features });
                }
            }
        }
        Ok(Self { features, outputs })
    }

    /// Columns of a row.
    pub const fn features(&self) -> usize {
        self.features
    }

    /// The trees of each output.
    pub fn outputs(&self) -> &[Vec<Tree>] {
        &self.outputs
    }

    /// Nodes of all trees.
    pub fn node_count(&self) -> usize {
        self.outputs.iter().flatten().map(|tree| tree.nodes.len()).sum()
    }

    /// Columns a row must have for these trees: one more than the largest that a split reads.
    pub fn columns_read(&self) -> usize {
        let column = |node: &Node| match node {
            Node::Split { feature, .. } => usize::from(*feature) + 1,
            Node::Leaf { .. } => 0,
        };
        self.outputs.iter().flatten().flat_map(Tree::nodes).map(column).max().unwrap_or(0)
    }

    /// The reference walk: steps of every output, for one row of `features` columns.
    ///
    /// # Panics
    /// When the row is shorter than the forest's columns.
    pub fn evaluate(&self, row: &[f32]) -> Vec<i32> {
        assert!(row.len() >= self.features, "a row of {} columns for a forest of {}", row.len(), self.features);
        self.outputs.iter().map(|trees| trees.iter().map(|tree| tree.evaluate(row)).sum()).collect()
    }

    /// Every threshold of one column, ascending, each once.
    pub fn thresholds(&self, column: usize) -> Vec<f32> {
        let mut found: Vec<f32> = self
            .outputs
            .iter()
            .flatten()
            .flat_map(Tree::nodes)
            .filter_map(|node| match *node {
                Node::Split { feature, threshold, .. } if usize::from(feature) == column => Some(threshold),
                _ => None,
            })
            .collect();
        found.sort_by(f32::total_cmp);
        found.dedup();
        found
    }
}

/// Turns outputs of rising quantile levels into limits of the balance in steps that do not cross: each is at most
/// the one above it, at least 0 and at most 1. Lowering only, so any guarantee on a lower level survives
/// (Chernozhukov, Fernández-Val, Galichon 2010 rearrange; we take the running minimum from the top).
pub fn uncross(steps: &mut [i32]) {
    let mut above = ONE as i32;
    for s in steps.iter_mut().rev() {
        *s = (*s).clamp(0, above);
        above = *s;
    }
}

/// Why nodes are no forest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadForest {
    /// No output, or an output without trees.
    #[error("a forest needs at least one output, and a tree for each")]
    Empty,
    /// An index that points outside, backwards, or at a node that has a parent already.
    #[error("node {node} does not hang in a tree")]
    Shape {
        /// Index in its tree.
        node: usize,
    },
    /// NaN or infinite.
    #[error("the threshold of node {node} is not finite")]
    Threshold {
        /// Index in its tree.
        node: usize,
    },
    /// A column that rows do not have.
    #[error("a split reads column {feature} of rows that have {features}")]
    Feature {
        /// The column.
        feature: u16,
        /// Columns there are.
        features: usize,
    },
    /// Floats could round.
    #[error("leaves of output {output} can sum to {sum} steps; from 2²⁴ on float32 is not exact")]
    Sum {
        /// Which output.
        output: usize,
        /// Largest possible sum of sizes.
        sum: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stump(threshold: f32, low: i32, high: i32) -> Vec<Node> {
        vec![
            Node::Split { feature: 0, threshold, low: 1, high: 2 },
            Node::Leaf { steps: low },
            Node::Leaf { steps: high },
        ]
    }

    #[test]
    fn equal_goes_low_and_missing_goes_high() {
        let tree = Tree::new(stump(1.5, 10, 20)).expect("a stump");
        assert_eq!(tree.evaluate(&[1.5]), 10);
        assert_eq!(tree.evaluate(&[1.5f32.next_up()]), 20);
        assert_eq!(tree.evaluate(&[f32::NEG_INFINITY]), 10);
        assert_eq!(tree.evaluate(&[f32::INFINITY]), 20);
        assert_eq!(tree.evaluate(&[f32::NAN]), 20);
        assert_eq!(tree.evaluate(&[-f32::NAN]), 20);
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let with = |child: u32| {
            let mut nodes = stump(0.0, 1, 2);
            nodes[0] = Node::Split { feature: 0, threshold: 0.0, low: 1, high: child };
            Tree::new(nodes)
        };
        assert_eq!(with(0), Err(BadForest::Shape { node: 0 }), "a loop");
        assert_eq!(with(1), Err(BadForest::Shape { node: 0 }), "two parents");
        assert_eq!(with(3), Err(BadForest::Shape { node: 0 }), "outside");
        assert_eq!(Tree::new(vec![]), Err(BadForest::Shape { node: 0 }));
        assert_eq!(Tree::new(stump(f32::NAN, 1, 2)), Err(BadForest::Threshold { node: 0 }));
        let orphan = vec![Node::Leaf { steps: 1 }, Node::Leaf { steps: 2 }];
        assert_eq!(Tree::new(orphan), Err(BadForest::Shape { node: 1 }));
    }

    #[test]
    fn sums_that_float32_could_round_are_refused() {
        let half = Tree::constant(1 << 23);
        assert!(Forest::new(1, vec![vec![half.clone()]]).is_ok());
        assert_eq!(Forest::new(1, vec![vec![half.clone(), half]]), Err(BadForest::Sum { output: 0, sum: SUM_BOUND }));
        let reads_1 = Tree::new(stump(0.0, 0, 0)).expect("a stump");
        assert_eq!(Forest::new(0, vec![vec![reads_1]]), Err(BadForest::Feature { feature: 0, features: 0 }));
    }

    #[test]
    fn levels_are_uncrossed_downwards_only() {
        let mut steps = [500, 400, 2_000_000];
        uncross(&mut steps);
        assert_eq!(steps, [400, 400, ONE as i32]);
        let mut below = [-5, 10];
        uncross(&mut below);
        assert_eq!(below, [0, 10]);
    }
}
