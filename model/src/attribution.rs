//! Attribution: what each feature adds to a prediction, in whole steps that sum to it exactly.
//!
//! ```text
//! background rows ─► covers (rows at each node) ─┐
//! forest ────────────────────────────────────────┴─► Attributor ─► row: expected + Σ features = prediction, to the step
//! ```
//!
//! The values are Shapley's, of the game in which a feature that is not told is averaged over the way the background
//! went at its splits (path-dependent TreeSHAP; Lundberg et al. 2020, *From local explanations to global
//! understanding with explainable AI for trees*). Instead of their bookkeeping of subset sizes we integrate Owen's
//! multilinear extension (1972): for a leaf whose path asks the features `j`,
//!
//! ```text
//! φ_i = leaf · ∫₀¹ (o_i − z_i) · Π_{j≠i} (t·o_j + (1−t)·z_j) dt
//! ```
//!
//! with `o` 1 where the row agrees with the path and `z` the share of the background that went that way. The integrand
//! is a polynomial, so a Gauss–Legendre rule of half as many points as features is exact; and every factor is positive, so
//! nothing cancels however deep the tree. What does not depend on the row is computed once, for each leaf and point.
//!
//! **Rounding.** Predictions and the expected value are whole steps, and so must be the parts: each is rounded down, and
//! the steps then missing go one by one to the features with the largest remainders, the earlier column first among
//! equals (Hamilton's method). So a feature that no tree asks gets exactly 0, none is off by a step or more, and two with
//! the same part differ by one step at most. Only IEEE additions, products and quotients, and `libm`, so the same bits
//! everywhere.

use crate::forest::{Forest, Node, Tree};

/// How many rows of a background came to each node: what "not told" means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covers {
    /// `[output][tree][node]`
    outputs: Vec<Vec<Vec<u32>>>,
    rows: u32,
}

impl Covers {
    /// Sends the rows of a background through a forest. `None` without rows: there is nothing to compare with.
    ///
    /// # Panics
    /// When a row is shorter than the forest's columns.
    pub fn of<'a>(forest: &Forest, rows: impl IntoIterator<Item = &'a [f32]>) -> Option<Self> {
        let empty = |trees: &Vec<Tree>| trees.iter().map(|tree| vec![0u32; tree.nodes().len()]).collect();
        let mut covers = Self { outputs: forest.outputs().iter().map(empty).collect(), rows: 0 };
        for row in rows {
            assert!(row.len() >= forest.features(), "a row of {} columns for {}", row.len(), forest.features());
            covers.rows = covers.rows.checked_add(1).expect("a background has fewer than 2³² rows");
            for (trees, counts) in forest.outputs().iter().zip(&mut covers.outputs) {
                for (tree, counts) in trees.iter().zip(counts) {
                    tree.visit(row, |node| counts[node] += 1);
                }
            }
        }
        (covers.rows > 0).then_some(covers)
    }

    /// Rows of the background.
    pub const fn rows(&self) -> u32 {
        self.rows
    }

    /// Rows at each node of a tree.
    pub fn tree(&self, output: usize, tree: usize) -> &[u32] {
        &self.outputs[output][tree]
    }
}

/// One prediction, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// The mean prediction over the background, in steps, rounded to the nearest.
    pub expected: i32,
    /// What each column adds to it, in steps.
    pub features: Vec<i32>,
}

impl Attribution {
    /// The prediction.
    pub fn prediction(&self) -> i32 {
        self.expected + self.features.iter().sum::<i32>()
    }
}

/// Takes predictions of one forest apart, against one background.
#[derive(Clone, Debug)]
pub struct Attributor {
    outputs: Vec<Output>,
    /// Rules of 1, 2, … points.
    rules: Vec<Vec<(f64, f64)>>,
    columns: usize,
}

#[derive(Clone, Debug)]
struct Output {
    leaves: Vec<Leaf>,
    /// Columns that some split asks.
    asked: Vec<usize>,
    expected: i32,
}

/// A way down a tree: its leaf, and what it asks of each column on the way.
#[derive(Clone, Debug)]
struct Leaf {
    steps: i32,
    asks: Vec<Ask>,
    /// At each point of its rule, for each ask: what does not depend on the row.
    terms: Vec<Term>,
}

/// Of one ask at one point `t`, for a row that does not agree and for one that does.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// `t·o + (1−t)·z`.
    factor: [f64; 2],
    /// `(o − z)` over that.
    part: [f64; 2],
}

impl Term {
    fn at(t: f64, share: f64) -> Self {
        let (apart, along) = ((1.0 - t) * share, t + (1.0 - t) * share);
        Self { factor: [apart, along], part: [-1.0 / (1.0 - t), (1.0 - share) / along] }
    }
}

/// `low < x ≤ high`, the top with missing, and the share of the background that went this way at each such split.
#[derive(Clone, Copy, Debug)]
struct Ask {
    column: usize,
    low: f64,
    high: f64,
    share: f64,
}

impl Ask {
    fn agrees(&self, row: &[f32]) -> bool {
        let x = f64::from(row[self.column]);
        // `x > high` is false for NaN, which only the top of the axis takes.
        if x.is_nan() { self.high == f64::INFINITY } else { self.low < x && x <= self.high }
    }
}

impl Attributor {
    /// Prepares a forest for attribution against the background that `covers` counted.
    ///
    /// # Panics
    /// When the covers are another forest's.
    pub fn new(forest: &Forest, covers: &Covers) -> Self {
        assert_eq!(forest.outputs().len(), covers.outputs.len(), "the covers are this forest's");
        let output = |(trees, counts): (&Vec<Tree>, &Vec<Vec<u32>>)| {
            assert_eq!(trees.len(), counts.len(), "the covers are this forest's");
            let leaves: Vec<Leaf> = trees.iter().zip(counts).flat_map(|(tree, counts)| ways(tree, counts)).collect();
            let mut asked: Vec<usize> = leaves.iter().flat_map(|leaf| leaf.asks.iter().map(|a| a.column)).collect();
            asked.sort_unstable();
            asked.dedup();
            Output { leaves, asked, expected: expected(trees, counts, covers.rows) }
        };
        let mut outputs: Vec<Output> = forest.outputs().iter().zip(&covers.outputs).map(output).collect();
        let most = outputs.iter().flat_map(|o| &o.leaves).map(|leaf| leaf.asks.len()).max().unwrap_or(0);
        let rules: Vec<Vec<(f64, f64)>> = (1..=most.div_ceil(2)).map(gauss_legendre).collect();
        for leaf in outputs.iter_mut().flat_map(|o| &mut o.leaves).filter(|leaf| !leaf.asks.is_empty()) {
            let points = rules[leaf.asks.len().div_ceil(2) - 1].iter();
            leaf.terms = points.flat_map(|(t, _)| leaf.asks.iter().map(|ask| Term::at(*t, ask.share))).collect();
        }
        Self { outputs, rules, columns: forest.features() }
    }

    /// The parts of one output's prediction for a row.
    ///
    /// # Panics
    /// When there is no such output, or the row is shorter than the forest's columns.
    pub fn attribute(&self, output: usize, row: &[f32]) -> Attribution {
        let parts = self.parts(output, row);
        let Output { leaves, asked, expected } = &self.outputs[output];
        let told = |leaf: &&Leaf| leaf.asks.iter().all(|ask| ask.agrees(row));
        let prediction: i32 = leaves.iter().filter(told).map(|leaf| leaf.steps).sum();
        let mut features = vec![0; self.columns];
        let mut missing = prediction - expected;
        let mut remainders = Vec::with_capacity(asked.len());
        for &column in asked {
            let down = parts[column].floor();
            features[column] = down as i32;
            missing -= down as i32;
            remainders.push((parts[column] - down, column));
        }
        remainders.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        // As many as the remainders sum to, give or take the half step of the expected value: at most one each.
        for (_, column) in remainders.iter().cycle().take(missing.max(0) as usize) {
            features[*column] += 1;
        }
        for (_, column) in remainders.iter().rev().cycle().take((-missing).max(0) as usize) {
            features[*column] -= 1;
        }
        Attribution { expected: *expected, features }
    }

    /// The same before rounding, in steps: the parts of `prediction − mean prediction`, one for each column.
    ///
    /// # Panics
    /// As [`Attributor::attribute`].
    pub fn parts(&self, output: usize, row: &[f32]) -> Vec<f64> {
        assert!(row.len() >= self.columns, "a row of {} columns for a forest of {}", row.len(), self.columns);
        let mut parts = vec![0.0; self.columns];
        let mut agrees = Vec::new();
        for leaf in self.outputs[output].leaves.iter().filter(|leaf| !leaf.asks.is_empty()) {
            agrees.clear();
            for ask in &leaf.asks {
                let agrees_here = ask.agrees(row);
                // Nobody in the background went that way, nor does the row: no coalition reaches this leaf.
                if !agrees_here && ask.share == 0.0 {
                    break;
                }
                agrees.push(usize::from(agrees_here));
            }
            let asks = leaf.asks.len();
            if agrees.len() < asks {
                continue;
            }
            let rule = &self.rules[asks.div_ceil(2) - 1];
            for ((_, weight), terms) in rule.iter().zip(leaf.terms.chunks_exact(asks)) {
                let all: f64 = terms.iter().zip(&agrees).map(|(term, o)| term.factor[*o]).product();
                let height = weight * f64::from(leaf.steps) * all;
                for ((ask, term), o) in leaf.asks.iter().zip(terms).zip(&agrees) {
                    parts[ask.column] += height * term.part[*o];
                }
            }
        }
        parts
    }
}

/// Every way down a tree that a row, or an average, can take.
fn ways(tree: &Tree, covers: &[u32]) -> Vec<Leaf> {
    assert_eq!(tree.nodes().len(), covers.len(), "the covers are this tree's");
    let mut found = Vec::new();
    let mut open: Vec<(usize, Vec<Ask>)> = vec![(0, Vec::new())];
    while let Some((ix, asks)) = open.pop() {
        match tree.nodes()[ix] {
            // A leaf of nothing adds nothing; its way matters to no other.
            Node::Leaf { steps: 0 } => {}
            Node::Leaf { steps } => found.push(Leaf { steps, asks, terms: Vec::new() }),
            Node::Split { feature, threshold, low, high } => {
                let (column, at) = (usize::from(feature), f64::from(threshold));
                let sides = [(low as usize, f64::NEG_INFINITY, at), (high as usize, at, f64::INFINITY)];
                for (child, from, to) in sides {
                    // Where the background never came, either way is as good.
                    let share = match covers[ix] {
                        0 => 0.5,
                        all => f64::from(covers[child]) / f64::from(all),
                    };
                    let mut asks = asks.clone();
                    let ask = match asks.iter_mut().find(|ask| ask.column == column) {
                        Some(ask) => {
                            (ask.low, ask.high, ask.share) = (ask.low.max(from), ask.high.min(to), ask.share * share);
                            *ask
                        }
                        None => {
                            let ask = Ask { column, low: from, high: to, share };
                            asks.push(ask);
                            ask
                        }
                    };
                    if ask.share > 0.0 || ask.low < ask.high {
                        open.push((child, asks));
                    }
                }
            }
        }
    }
    found
}

/// The mean of one output over the background, in integers, to the nearest step.
fn expected(trees: &[Tree], covers: &[Vec<u32>], rows: u32) -> i32 {
    let leaf = |(node, rows): (&Node, &u32)| match node {
        Node::Leaf { steps } => i128::from(*steps) * i128::from(*rows),
        Node::Split { .. } => 0,
    };
    let tree = |(tree, covers): (&Tree, &Vec<u32>)| tree.nodes().iter().zip(covers).map(leaf).sum::<i128>();
    let sum: i128 = trees.iter().zip(covers).map(tree).sum();
    let rows = i128::from(rows);
    i32::try_from((2 * sum + rows).div_euclid(2 * rows)).expect("a mean of sums below 2²⁴ is below 2²⁴")
}

/// Points in (0, 1) and weights that integrate polynomials of degree up to `2n − 1` exactly.
/// Source: Newton's method on the Legendre polynomial, as in Press et al., *Numerical Recipes*, 4.6.
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let points = n as f64;
    let point = |i: usize| {
        let mut x = libm::cos(std::f64::consts::PI * (i as f64 + 0.75) / (points + 0.5));
        let mut slope = 1.0;
        // From this start it converges in four or five.
        for _ in 0..8 {
            let (mut before, mut p) = (1.0, x);
            for k in 2..=n {
                let k = k as f64;
                (before, p) = (p, ((2.0 * k - 1.0) * x * p - (k - 1.0) * before) / k);
            }
            slope = points * (x * p - before) / (x * x - 1.0);
            x -= p / slope;
        }
        (0.5 * (1.0 + x), 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..n).map(point).collect()
}

#[cfg(test)]
mod tests;
