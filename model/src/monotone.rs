//! Proof that a forest never moves the wrong way in a feature: by the trees themselves, not by training.
//!
//! A tree cuts the space into boxes, one a leaf. It is non-decreasing in feature `f` exactly when no leaf is
//! larger than another that lies further along `f` and shares a point with it in all other features. Checking
//! every such pair covers every threshold of `f` and every value of the rest; a sum of such trees is monotone.
//! NaN is the top of every axis (see [`crate::forest`]), so missing values are inside the proof.

use serde::{Deserialize, Serialize};

use crate::forest::{Forest, Node, Tree};

/// Which way an output may move as a feature grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It never falls.
    Increasing,
    /// It never rises.
    Decreasing,
}

impl Direction {
    /// Whether going from `near` to `far` along the feature is allowed.
    pub const fn allows(self, near: i64, far: i64) -> bool {
        match self {
            Self::Increasing => near <= far,
            Self::Decreasing => near >= far,
        }
    }
}

/// What was checked, with no violation found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Different thresholds of the feature in the forest.
    pub thresholds: usize,
    /// Trees that split on it.
    pub trees: usize,
    /// Pairs of leaves compared.
    pub pairs: u64,
}

/// Two leaves of one tree that stand in the wrong order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "output {output}, tree {tree}: along column {column} leaf {near_leaf} ({near} steps) comes before leaf {far_leaf} ({far} steps)"
)]
pub struct Violation {
    /// The feature.
    pub column: usize,
    /// Output of the forest.
    pub output: usize,
    /// Tree of that output.
    pub tree: usize,
    /// Node index of the leaf nearer to −∞.
    pub near_leaf: usize,
    /// Node index of the leaf further along.
    pub far_leaf: usize,
    /// Its steps.
    pub near: i32,
    /// Its steps.
    pub far: i32,
}

/// Proves that every output of `forest` moves only in `direction` as `column` grows.
///
/// # Errors
/// The first [`Violation`].
pub fn prove(forest: &Forest, column: usize, direction: Direction) -> Result<Proof, Violation> {
    let mut proof = Proof { thresholds: forest.thresholds(column).len(), trees: 0, pairs: 0 };
    for (output, trees) in forest.outputs().iter().enumerate() {
        for (ix, tree) in trees.iter().enumerate() {
            let splits = |n: &Node| matches!(n, Node::Split { feature, .. } if usize::from(*feature) == column);
            if !tree.nodes().iter().any(splits) {
                continue;
            }
            proof.trees += 1;
            let leaves = boxes(tree);
            for (near, near_box) in &leaves {
                for (far, far_box) in &leaves {
                    if near_box.high(column) > far_box.low(column) || !near_box.meets_beside(far_box, column) {
                        continue;
                    }
                    proof.pairs += 1;
                    if !direction.allows(i64::from(near.1), i64::from(far.1)) {
                        return Err(Violation {
                            column,
                            output,
                            tree: ix,
                            near_leaf: near.0,
                            far_leaf: far.0,
                            near: near.1,
                            far: far.1,
                        });
                    }
                }
            }
        }
    }
    Ok(proof)
}

/// What [`enforce`] changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Enforced {
    /// Leaves with another value than before.
    pub leaves_moved: usize,
    /// The most that a leaf moved, in steps.
    pub moved_max: i32,
}

/// The forest nearest to hand that moves only in the given directions: in each tree every leaf becomes the middle of the
/// largest monotone tree that is nowhere above and the smallest that is nowhere below. A tree that is monotone already
/// stays as it is. Values stay between the smallest and the largest leaf of their tree, so sums stay exact. Time and
/// memory grow with the square of a tree's leaves.
pub fn enforce(forest: &Forest, constraints: &[(usize, Direction)]) -> (Forest, Enforced) {
    let mut done = Enforced::default();
    let mut straighten = |tree: &Tree| {
        let leaves = boxes(tree);
        // `(a, b)`: leaf a may not exceed leaf b.
        let mut orders: Vec<(u32, u32)> = Vec::new();
        for &(column, direction) in constraints {
            for (near, (_, near_box)) in leaves.iter().enumerate() {
                for (far, (_, far_box)) in leaves.iter().enumerate() {
                    if near_box.high(column) <= far_box.low(column) && near_box.meets_beside(far_box, column) {
                        let (near, far) = (near as u32, far as u32);
                        orders.push(if direction == Direction::Increasing { (near, far) } else { (far, near) });
                    }
                }
            }
        }
        let values: Vec<i32> = leaves.iter().map(|leaf| leaf.0.1).collect();
        let (mut low, mut high) = (values.clone(), values.clone());
        // Each pass carries a value one leaf further at least; they only fall, or only rise, among finitely many.
        loop {
            let before = (low.clone(), high.clone());
            for &(a, b) in &orders {
                let (a, b) = (a as usize, b as usize);
                low[a] = low[a].min(low[b]);
                high[b] = high[b].max(high[a]);
            }
            if before == (low.clone(), high.clone()) {
                break;
            }
        }
        let mut nodes = tree.nodes().to_vec();
        for (ix, ((node, was), _)) in leaves.iter().enumerate() {
            // Rounded down: a monotone function of the two, so leaves keep their order.
            let steps = low[ix] + (high[ix] - low[ix]) / 2;
            if steps != *was {
                nodes[*node] = Node::Leaf { steps };
                done.leaves_moved += 1;
                done.moved_max = done.moved_max.max((steps - was).abs());
            }
        }
        Tree::new(nodes).expect("the shape is that of a tree")
    };
    let outputs = forest.outputs().iter().map(|trees| trees.iter().map(&mut straighten).collect()).collect();
    let straight = Forest::new(forest.features(), outputs).expect("no leaf is larger than the largest was");
    (straight, done)
}

/// The part of the space that falls in one leaf: `low < x ≤ high` in each column that was split on.
/// The top of an axis is +∞ and NaN, which no threshold reaches.
#[derive(Clone, Default)]
struct LeafBox(Vec<(usize, f64, f64)>);

impl LeafBox {
    fn range(&self, column: usize) -> (f64, f64) {
        self.0.iter().find(|r| r.0 == column).map_or((f64::NEG_INFINITY, f64::INFINITY), |r| (r.1, r.2))
    }

    fn low(&self, column: usize) -> f64 {
        self.range(column).0
    }

    fn high(&self, column: usize) -> f64 {
        self.range(column).1
    }

    /// Whether the two share a point in all columns but one.
    fn meets_beside(&self, other: &Self, column: usize) -> bool {
        self.0.iter().filter(|r| r.0 != column).all(|&(c, low, high)| {
            let (other_low, other_high) = other.range(c);
            low.max(other_low) < high.min(other_high)
        })
    }

    fn narrowed(&self, column: usize, low: f64, high: f64) -> Self {
        let mut next = self.clone();
        match next.0.iter_mut().find(|r| r.0 == column) {
            Some(r) => (r.1, r.2) = (r.1.max(low), r.2.min(high)),
            None => next.0.push((column, low, high)),
        }
        next
    }

    fn is_empty(&self) -> bool {
        self.0.iter().any(|r| r.1 >= r.2)
    }
}

/// The reachable leaves of a tree: `((node, steps), box)`.
fn boxes(tree: &Tree) -> Vec<((usize, i32), LeafBox)> {
    let mut found = Vec::new();
    let mut open = vec![(0usize, LeafBox::default())];
    while let Some((ix, region)) = open.pop() {
        if region.is_empty() {
            continue;
        }
        match tree.nodes()[ix] {
            Node::Leaf { steps } => found.push(((ix, steps), region)),
            Node::Split { feature, threshold, low, high } => {
                let (column, at) = (usize::from(feature), f64::from(threshold));
                open.push((low as usize, region.narrowed(column, f64::NEG_INFINITY, at)));
                open.push((high as usize, region.narrowed(column, at, f64::INFINITY)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(feature: u16, threshold: f32, low: u32, high: u32) -> Node {
        Node::Split { feature, threshold, low, high }
    }

    fn leaf(steps: i32) -> Node {
        Node::Leaf { steps }
    }

    /// Splits on another column first, then on column 0 in one branch only.
    fn forest(inner: [i32; 2], other: i32) -> Forest {
        let nodes = vec![split(1, 5.0, 1, 2), split(0, 1.0, 3, 4), leaf(other), leaf(inner[0]), leaf(inner[1])];
        Forest::new(2, vec![vec![Tree::new(nodes).expect("a tree")]]).expect("a forest")
    }

    #[test]
    fn a_rising_tree_is_proved_whatever_the_other_branch_holds() {
        let proof = prove(&forest([1, 2], 100), 0, Direction::Increasing).expect("monotone");
        assert_eq!((proof.thresholds, proof.trees), (1, 1));
        assert!(proof.pairs >= 1);
    }

    #[test]
    fn a_falling_pair_is_found_and_named() {
        let found = prove(&forest([2, 1], 0), 0, Direction::Increasing).expect_err("falls");
        assert_eq!((found.near, found.far, found.column), (2, 1, 0));
        assert!(prove(&forest([2, 1], 0), 0, Direction::Decreasing).is_ok());
    }

    #[test]
    fn a_violation_across_branches_is_found() {
        // Column 0 splits first; below, column 1 splits at different places, and one overlap is wrong.
        let nodes =
            vec![split(0, 0.0, 1, 2), split(1, 1.0, 3, 4), split(1, 2.0, 5, 6), leaf(1), leaf(7), leaf(5), leaf(9)];
        let tree = Tree::new(nodes).expect("a tree");
        let forest = Forest::new(2, vec![vec![tree]]).expect("a forest");
        // Where 1 < x1 ≤ 2 the low side answers 7 and the high side 5.
        let found = prove(&forest, 0, Direction::Increasing).expect_err("7 before 5");
        assert_eq!((found.near, found.far), (7, 5));
    }

    #[test]
    fn a_forest_that_ignores_the_feature_is_monotone_in_it() {
        let forest = Forest::new(1, vec![vec![Tree::constant(3)]]).expect("a forest");
        assert_eq!(prove(&forest, 0, Direction::Decreasing), Ok(Proof { thresholds: 0, trees: 0, pairs: 0 }));
    }

    #[test]
    fn what_is_not_monotone_becomes_so_and_what_is_stays() {
        let wrong = forest([20, 10], 0);
        let (straight, done) = enforce(&wrong, &[(0, Direction::Increasing)]);
        assert!(prove(&straight, 0, Direction::Increasing).is_ok());
        assert_eq!((straight.evaluate(&[0.0, 0.0]), straight.evaluate(&[2.0, 0.0])), (vec![15], vec![15]));
        assert_eq!(done, Enforced { leaves_moved: 2, moved_max: 5 });
        assert_eq!(enforce(&wrong, &[(0, Direction::Decreasing)]), (wrong, Enforced::default()));
    }

    proptest::proptest! {
        #[test]
        fn an_enforced_forest_is_proved_in_every_direction_and_stays_within_its_leaves(
            leaves in proptest::collection::vec(-50i32..50, 8), cuts in proptest::collection::vec(0u8..4, 7),
        ) {
            // A full tree of depth 3 that asks two columns in turn, at thresholds that may repeat.
            let nodes = (0..15usize).map(|ix| if ix < 7 {
                let child = (2 * ix + 1) as u32;
                split(u16::from(ix > 2 || ix == 0) ^ u16::from(cuts[ix] > 1), f32::from(cuts[ix]), child, child + 1)
            } else {
                leaf(leaves[ix - 7])
            });
            let forest = Forest::new(2, vec![vec![Tree::new(nodes.collect()).expect("a tree")]]).expect("a forest");
            let both = [(0, Direction::Increasing), (1, Direction::Decreasing)];
            let (straight, _) = enforce(&forest, &both);
            for (column, direction) in both {
                proptest::prop_assert!(prove(&straight, column, direction).is_ok());
            }
            let (least, most) = (leaves.iter().min(), leaves.iter().max());
            for x in [-1.0, 0.5, 1.5, 2.5, 9.0] {
                let value = straight.evaluate(&[x, 1.0])[0];
                proptest::prop_assert!(Some(&value) >= least && Some(&value) <= most);
            }
        }
    }
}
