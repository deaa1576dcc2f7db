//! The forest as plain nodes, checked: what a file says, before it is laid out for speed.

use alloc::vec;
use alloc::vec::Vec;

use crate::refuse::{Fault, Refused, Why};

/// One, in steps: leaves are whole numbers of 2⁻²⁰.
pub const ONE: u32 = 1 << 20;
/// Sums of leaves stay below this, where `f32` counts every integer.
pub const SUM_BOUND: u64 = 1 << 24;
/// Nodes a forest may have: an order of magnitude above any model we ship.
pub const NODES_MAX: usize = 400_000;
/// Outputs a forest may have.
pub const OUTPUTS_MAX: usize = 64;
/// Columns a row may have.
pub const FEATURES_MAX: usize = 65_536;

/// A node of a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Node {
    /// `row[feature] ≤ threshold` goes to `low`, everything else, NaN included, to `high`.
    Split {
        /// Column of the row.
        feature: u16,
        /// Finite.
        threshold: f32,
        /// Index among the forest's nodes.
        low: u32,
        /// Index among the forest's nodes.
        high: u32,
    },
    /// The end of the walk; adds `values[first..end]`.
    Leaf {
        /// First of its values.
        first: u32,
        /// After the last of its values.
        end: u32,
    },
}

/// What a leaf adds to one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// To which.
    pub output: u32,
    /// How much, in 2⁻²⁰.
    pub steps: i32,
}

/// The parts of a forest, not checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// Columns of a row.
    pub features: usize,
    /// What each output starts from, in 2⁻²⁰; as many as there are outputs.
    pub base: Vec<i32>,
    /// The root of each tree, among `nodes`.
    pub roots: Vec<u32>,
    /// The nodes of all trees, in any order.
    pub nodes: Vec<Node>,
    /// The values of all leaves.
    pub values: Vec<Value>,
}

/// Trees over one row, for one or more outputs: every index inside, every node in one tree, every sum exact.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest(Parts);

impl Forest {
    /// Checks the parts of a forest.
    ///
    /// # Errors
    /// [`Refused`], naming the node: more than the limits above, an index outside, a node with two parents or none,
    /// a threshold that is not finite, a leaf with no value or two for one output, an output that no leaf adds to,
    /// or leaves that could sum to 2²⁴ steps in one output.
    pub fn new(parts: Parts) -> Result<Self, Refused> {
        Ok(Self::checked(parts)?)
    }

    pub(crate) fn checked(parts: Parts) -> Result<Self, Fault> {
        let outputs = parts.base.len();
        let within = |count, max, why| if count > max { Err(Fault::at(max, why)) } else { Ok(()) };
        within(parts.features, FEATURES_MAX, &Why::TooLarge("features"))?;
        within(outputs, OUTPUTS_MAX, &Why::TooLarge("outputs"))?;
        within(parts.nodes.len(), NODES_MAX, &Why::TooLarge("nodes"))?;
        within(parts.values.len(), NODES_MAX, &Why::TooLarge("leaf values"))?;
        if outputs == 0 {
            return Err(Fault::at(0, &Why::Graph("has no output")));
        }

        // Each output's worst case is the sum over trees of the tree's largest leaf.
        let mut sums: Vec<u64> = parts.base.iter().map(|b| u64::from(b.unsigned_abs())).collect();
        let mut added_to = 0u64;
        let mut reached = vec![false; parts.nodes.len()];
        let mut open = Vec::new();
        for root in &parts.roots {
            let mut largest = [0u32; OUTPUTS_MAX];
            open.push((*root, *root));
            while let Some((from, at)) = open.pop() {
                let refused = |node: u32, why| Err(Fault::at(node as usize, why));
                // A second way to a node is a loop or a shared branch; both are no tree.
                match reached.get_mut(at as usize) {
                    None => return refused(from, &Why::Node("points outside")),
                    Some(true) => return refused(from, &Why::Node("points at a node that hangs elsewhere")),
                    Some(new) => *new = true,
                }
                match parts.nodes[at as usize] {
                    Node::Split { feature, threshold, low, high } => {
                        if !threshold.is_finite() {
                            return refused(at, &Why::Node("has a threshold that is not finite"));
                        }
                        if usize::from(feature) >= parts.features {
                            return refused(at, &Why::Node("reads a column that rows do not have"));
                        }
                        open.push((at, high));
                        open.push((at, low));
                    }
                    Node::Leaf { first, end } => {
                        let Some(values) = parts.values.get(first as usize..end as usize) else {
                            return refused(at, &Why::Node("has values outside the list"));
                        };
                        let mut seen = 0u64;
                        for value in values {
                            let bit = 1u64.checked_shl(value.output).unwrap_or(0);
                            if value.output as usize >= outputs || seen & bit != 0 {
                                return refused(at, &Why::Node("adds to an output that is not there, or twice to one"));
                            }
                            seen |= bit;
                            let most = &mut largest[value.output as usize];
                            *most = value.steps.unsigned_abs().max(*most);
                        }
                        if seen == 0 {
                            return refused(at, &Why::Node("is a leaf without a value"));
                        }
                        added_to |= seen;
                    }
                }
            }
            for (sum, most) in sums.iter_mut().zip(largest) {
                *sum += u64::from(most);
            }
        }
        if let Some(node) = reached.iter().position(|r| !r) {
            return Err(Fault::at(node, &Why::Node("hangs in no tree")));
        }
        for (output, sum) in sums.into_iter().enumerate() {
            if added_to >> output & 1 == 0 {
                return Err(Fault::at(output, &Why::Empty));
            }
            if sum >= SUM_BOUND {
                return Err(Fault::at(output, &Why::Sum));
            }
        }
        Ok(Self(parts))
    }

    /// What it is made of.
    pub const fn parts(&self) -> &Parts {
        &self.0
    }

    /// Columns of a row.
    pub const fn features(&self) -> usize {
        self.0.features
    }

    /// Outputs.
    pub const fn outputs(&self) -> usize {
        self.0.base.len()
    }

    /// The reference walk: one tree after the other, one node after the other. What [`crate::Kernel`] must equal.
    ///
    /// # Panics
    /// When the row is shorter than the forest's columns.
    pub fn evaluate(&self, row: &[f32]) -> Vec<i32> {
        assert!(row.len() >= self.features(), "a row has as many columns as the forest");
        let mut sums = self.0.base.clone();
        for root in &self.0.roots {
            let mut at = *root;
            while let Node::Split { feature, threshold, low, high } = self.0.nodes[at as usize] {
                at = if row[usize::from(feature)] <= threshold { low } else { high };
            }
            if let Node::Leaf { first, end } = self.0.nodes[at as usize] {
                for value in &self.0.values[first as usize..end as usize] {
                    sums[value.output as usize] += value.steps;
                }
            }
        }
        sums
    }
}

/// A float as a whole number of steps, when it is one below the bound.
pub(crate) fn steps_of(value: f32) -> Option<i32> {
    let scaled = f64::from(value) * f64::from(ONE);
    let steps = scaled as i32;
    (f64::from(steps) == scaled && u64::from(steps.unsigned_abs()) < SUM_BOUND).then_some(steps)
}
