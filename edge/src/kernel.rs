//! The kernel: the forest laid out flat, eight trees in flight.
//!
//! ```text
//! node = (threshold f32, feature u32, child u32), 12 bytes; low child at `child`, high child right after it
//! leaf = a node that reads a column of zeros at the row's end, so it steps onto itself until its group is done
//! ```
//!
//! A walk is a chain of loads, each waiting for the one before; eight independent chains keep the core busy. There
//! is no branch on the data. The answer equals [`Forest::evaluate`] to the bit because both add the same integers.

use plimsoll_model::forest::{Forest, Node};

/// Trees walked side by side.
const WIDTH: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Flat {
    threshold: f32,
    feature: u32,
    child: u32,
}

/// A forest laid out for speed.
#[derive(Clone, Debug)]
pub struct Kernel {
    features: usize,
    nodes: Vec<Flat>,
    /// Steps of each node; zero for splits.
    steps: Vec<i32>,
    /// For each output, its groups of trees: roots, and how many levels the deepest has.
    outputs: Vec<Vec<Group>>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    roots: [u32; WIDTH],
    depth: u32,
}

impl Kernel {
    /// Lays a forest out.
    pub fn new(forest: &Forest) -> Self {
        let zeros = forest.features() as u32;
        let mut kernel =
            Self { features: forest.features(), nodes: Vec::new(), steps: Vec::new(), outputs: Vec::new() };
        // A leaf of zero steps, for the seats of a group that no tree fills.
        let idle = kernel.push(Flat { threshold: 0.0, feature: zeros, child: 0 }, 0);
        for trees in forest.outputs() {
            let mut by_depth: Vec<_> = trees.iter().map(|tree| (tree.depth(), tree)).collect();
            // Like with like, so that shallow trees do not wait for deep ones. Sums do not depend on the order.
            by_depth.sort_by_key(|(depth, _)| *depth);
            let mut groups = Vec::new();
            for seats in by_depth.chunks(WIDTH) {
                let mut group = Group { roots: [idle; WIDTH], depth: 0 };
                for (seat, (depth, tree)) in seats.iter().enumerate() {
                    group.roots[seat] = kernel.lay(tree.nodes(), zeros);
                    group.depth = group.depth.max(*depth as u32);
                }
                groups.push(group);
            }
            kernel.outputs.push(groups);
        }
        kernel
    }

    fn push(&mut self, node: Flat, steps: i32) -> u32 {
        self.nodes.push(node);
        self.steps.push(steps);
        (self.nodes.len() - 1) as u32
    }

    /// Lays one tree out with siblings side by side; returns its root.
    fn lay(&mut self, tree: &[Node], zeros: u32) -> u32 {
        let root = self.push(Flat { threshold: 0.0, feature: zeros, child: 0 }, 0);
        let mut open = vec![(0usize, root)];
        while let Some((from, to)) = open.pop() {
            match tree[from] {
                Node::Leaf { steps } => {
                    // 0 ≤ 0, so the next step is `child` itself.
                    self.nodes[to as usize] = Flat { threshold: 0.0, feature: zeros, child: to };
                    self.steps[to as usize] = steps;
                }
                Node::Split { feature, threshold, low, high } => {
                    let child = self.push(Flat { threshold: 0.0, feature: zeros, child: 0 }, 0);
                    self.push(Flat { threshold: 0.0, feature: zeros, child: 0 }, 0);
                    self.nodes[to as usize] = Flat { threshold, feature: u32::from(feature), child };
                    open.push((low as usize, child));
                    open.push((high as usize, child + 1));
                }
            }
        }
        root
    }

    /// Columns of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Outputs.
    pub fn outputs(&self) -> usize {
        self.outputs.len()
    }

    /// The steps of every output for one row.
    ///
    /// # Panics
    /// When the row is shorter than the forest's columns.
    pub fn steps(&self, row: &[f32]) -> Vec<i32> {
        let mut steps = vec![0; self.outputs.len()];
        self.evaluate(row, &mut Vec::with_capacity(self.features + 1), &mut steps);
        steps
    }

    /// Evaluates one row of `features` columns into `steps`, one for each output.
    ///
    /// * `padded`: scratch; holds the row and a zero after it.
    ///
    /// # Panics
    /// When the row is shorter than the forest's columns.
    pub fn evaluate(&self, row: &[f32], padded: &mut Vec<f32>, steps: &mut [i32]) {
        padded.clear();
        padded.extend_from_slice(&row[..self.features]);
        padded.push(0.0);
        let row = padded.as_slice();
        for (groups, out) in self.outputs.iter().zip(steps) {
            let mut sum = 0i32;
            for group in groups {
                let mut at = group.roots;
                for _ in 0..group.depth {
                    for seat in &mut at {
                        let node = self.nodes[*seat as usize];
                        // `!(x ≤ t)`, not `x > t`: NaN goes high.
                        let low = row[node.feature as usize] <= node.threshold;
                        *seat = node.child + u32::from(!low);
                    }
                }
                for seat in at {
                    sum += self.steps[seat as usize];
                }
            }
            *out = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_model::forest::Tree;

    fn lcg(state: &mut u64) -> u32 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as u32
    }

    fn forest(seed: u64) -> Forest {
        let state = &mut seed.wrapping_add(1);
        let mut tree = |splits: u32| {
            let mut nodes = vec![Node::Leaf { steps: 0 }];
            let mut leaves = vec![0usize];
            for _ in 0..splits {
                let at = leaves.swap_remove(lcg(state) as usize % leaves.len());
                let (low, high) = (nodes.len(), nodes.len() + 1);
                let threshold = (lcg(state) % 16) as f32 / 4.0 - 2.0;
                let feature = (lcg(state) % 5) as u16;
                nodes[at] = Node::Split { feature, threshold, low: low as u32, high: high as u32 };
                nodes.extend([Node::Leaf { steps: 0 }; 2]);
                leaves.extend([low, high]);
            }
            for leaf in leaves {
                nodes[leaf] = Node::Leaf { steps: lcg(state) as i32 % 100_000 };
            }
            Tree::new(nodes).expect("a tree")
        };
        let outputs = vec![(0..19).map(|t| tree(t % 12)).collect(), (0..3).map(|_| tree(30)).collect()];
        Forest::new(5, outputs).expect("a forest")
    }

    #[test]
    fn the_kernel_equals_the_reference_walk() {
        let mut padded = Vec::new();
        for seed in 0..20 {
            let forest = forest(seed);
            let kernel = Kernel::new(&forest);
            let state = &mut (seed + 77);
            for _ in 0..500 {
                let row: Vec<f32> = (0..5)
                    .map(|_| match lcg(state) % 10 {
                        0 => f32::NAN,
                        1 => f32::INFINITY,
                        2 => f32::NEG_INFINITY,
                        v => (v % 16) as f32 / 4.0 - 2.0,
                    })
                    .collect();
                let mut steps = [0; 2];
                kernel.evaluate(&row, &mut padded, &mut steps);
                assert_eq!(steps.to_vec(), forest.evaluate(&row));
            }
        }
    }
}
