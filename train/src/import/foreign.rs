//! Trees as other engines write them, and the way from there to ours.
//!
//! Theirs: a test, and apart from it the way a missing value takes. Ours: `x ≤ t` low, everything else high, missing
//! always high. A test that sends missing low becomes two of ours, and what lies below it on that side is written twice;
//! the copy for missing values loses every further test of that column, so it is smaller than it looks.

use plimsoll_model::forest::{Node, ONE, SUM_BOUND, Tree};
use plimsoll_model::quantile::Ppm;

use super::{Column, ImportError, Imported, Output, malformed};

/// Nodes of a converted model: what our files may hold. A bound on memory, too: tests written twice could grow without end.
const NODES_MAX: usize = 400_000;
/// Nodes of one converted tree: the proof compares its leaves in pairs.
const TREE_NODES_MAX: usize = 1 << 13;
/// Tests on the longest way down: conversion recurses.
const DEPTH_MAX: usize = 512;

/// A model as its file tells it.
#[derive(Clone, Debug)]
pub(super) struct Foreign {
    pub(super) made_by: String,
    /// Names of its features, in its own order; empty when the file has none.
    pub(super) names: Vec<String>,
    /// How many features it was trained on.
    pub(super) width: usize,
    pub(super) outputs: Vec<ForeignOutput>,
    /// Half the distance from 1 to the next number of the type that its engine adds in.
    pub(super) unit_roundoff: f64,
}

#[derive(Clone, Debug)]
pub(super) struct ForeignOutput {
    pub(super) level: Option<Ppm>,
    /// What predictions start from.
    pub(super) base: f64,
    pub(super) trees: Vec<ForeignTree>,
}

#[derive(Clone, Debug)]
pub(super) struct ForeignTree {
    /// Its place in the file.
    pub(super) ix: usize,
    /// Root first; otherwise in any order.
    pub(super) nodes: Vec<ForeignNode>,
}

#[derive(Clone, Debug)]
pub(super) enum ForeignNode {
    Split { column: usize, test: Test, left: usize, right: usize },
    Leaf { value: f64 },
}

/// Which way values take: up to and including each bound, beyond the last, and missing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    /// `(bound, left)`, bounds finite and rising.
    bounds: Vec<(f32, bool)>,
    beyond: bool,
    missing: bool,
}

impl Test {
    /// `x ≤ at` goes left.
    pub(super) fn up_to(at: Option<f32>, missing: bool) -> Self {
        Self { bounds: at.map(|at| (at, true)).into_iter().collect(), beyond: false, missing }
    }

    /// The same, but what lies within `±zero` goes where missing values go.
    pub(super) fn up_to_but_zero(at: Option<f32>, zero: f32, missing: bool) -> Self {
        let mut ends: Vec<f32> = at.into_iter().chain([(-zero).next_down(), zero]).collect();
        ends.sort_by(f32::total_cmp);
        ends.dedup();
        let side = |x: f32| if (-zero..=zero).contains(&x) { missing } else { at.is_some_and(|at| x <= at) };
        Self { bounds: ends.into_iter().map(|end| (end, side(end))).collect(), beyond: false, missing }
    }
}

/// The part of a column that can still arrive at a node: `low < x ≤ high`, and missing while `high` is infinite.
#[derive(Clone, Copy)]
struct Range {
    low: f32,
    high: f32,
    may_be_missing: bool,
}

impl Test {
    /// The ways that are still open in a range: `(bound, left)`, the last without a bound.
    fn open_in(&self, range: Range) -> Vec<(Option<f32>, bool)> {
        let mut ways: Vec<(Option<f32>, bool)> = Vec::new();
        let top = range.high == f32::INFINITY;
        let numbers = range.low < f32::MAX;
        if numbers {
            for &(bound, left) in &self.bounds {
                if bound > range.low && (top || bound < range.high) {
                    ways.push((Some(bound), left));
                } else if bound >= range.high && !top {
                    // Everything left of the range lies in this piece.
                    ways.push((None, left));
                    break;
                }
            }
            if ways.last().is_none_or(|w| w.0.is_some())
                && !(top && self.bounds.last().is_some_and(|b| b.0 == f32::MAX))
            {
                ways.push((None, self.beyond));
            }
        }
        if top && range.may_be_missing {
            if let Some(last) = ways.last_mut().filter(|w| w.0.is_none()) {
                last.0 = Some(f32::MAX);
            }
            ways.push((None, self.missing));
        } else if let Some(last) = ways.last_mut() {
            // Nothing but what the last bound holds can arrive.
            last.0 = None;
        } else {
            ways.push((None, self.missing));
        }
        // Neighbours that go the same way are one.
        let mut merged: Vec<(Option<f32>, bool)> = Vec::new();
        for way in ways {
            match merged.last_mut() {
                Some(last) if last.1 == way.1 => last.0 = way.0,
                _ => merged.push(way),
            }
        }
        merged
    }
}

impl Foreign {
    /// The same model in our trees.
    pub(super) fn convert(self, columns: &[Column<'_>]) -> Result<Imported, ImportError> {
        let place = self.places(columns)?;
        let top =
            |c: &Column<'_>| Range { low: f32::NEG_INFINITY, high: f32::INFINITY, may_be_missing: c.may_be_missing };
        let ranges: Vec<Range> = columns.iter().map(top).collect();
        let nodes_there = self.outputs.iter().flat_map(|o| &o.trees).map(|t| t.nodes.len()).sum();
        let mut outputs = Vec::new();
        let mut room = NODES_MAX;
        for output in &self.outputs {
            let (base, error) = steps(output.base).map_err(|why| malformed(format!("base score: {why}")))?;
            let mut trees = vec![Tree::constant(base)];
            let (mut rounding_max, mut size) = (error, output.base.abs());
            for foreign in &output.trees {
                let mut growing = Growing::new(foreign, &place, ranges.clone(), room.min(TREE_NODES_MAX));
                growing.grow(0, 0)?;
                room -= growing.nodes.len();
                rounding_max += growing.error;
                size += growing.size;
                trees.push(Tree::new(growing.nodes).map_err(|e| foreign.wrong(0, e.to_string()))?);
            }
            // n additions of numbers whose sizes sum to `size`, in any order: Higham 2002, *Accuracy and Stability*, 4.2.
            let n = trees.len() as f64 * self.unit_roundoff;
            let float_max = n / (1.0 - n) * size;
            outputs.push(Output { level: output.level, trees, rounding_max, float_max });
        }
        Ok(Imported { made_by: self.made_by, outputs, columns: columns.len(), nodes_there })
    }

    /// Our column of each of its features; `None` for one that no tree may ask.
    fn places(&self, columns: &[Column<'_>]) -> Result<Vec<Result<u16, String>>, ImportError> {
        if self.names.is_empty() {
            if self.width != columns.len() {
                return Err(ImportError::Unsupported {
                    what: format!(
                        "no feature names, and {} columns where {} are computed here",
                        self.width,
                        columns.len()
                    ),
                    advice: "train it with feature names",
                });
            }
            return Ok((0..columns.len()).map(|c| Ok(c as u16)).collect());
        }
        let place = |name: &String| {
            let found = columns.iter().position(|c| c.name == name);
            found.map(|c| c as u16).ok_or_else(|| name.clone())
        };
        Ok(self.names.iter().map(place).collect())
    }
}

impl ForeignTree {
    pub(super) fn wrong(&self, node: usize, why: impl Into<String>) -> ImportError {
        ImportError::Node { tree: self.ix, node, why: why.into() }
    }
}

/// A value in whole steps, and how far off that is.
fn steps(value: f64) -> Result<(i32, f64), String> {
    // Exact: a power of two.
    let scaled = value * f64::from(ONE);
    if scaled.is_nan() || scaled.abs() >= SUM_BOUND as f64 {
        return Err(format!("{value} is no share of a balance; predictions must be fractions, 0 to 1, not amounts"));
    }
    let rounded = scaled.round();
    Ok((rounded as i32, (rounded - scaled).abs() / f64::from(ONE)))
}

/// One tree on its way over.
struct Growing<'a> {
    from: &'a ForeignTree,
    place: &'a [Result<u16, String>],
    ranges: Vec<Range>,
    nodes: Vec<Node>,
    /// Nodes there may be.
    room: usize,
    /// Largest error of a leaf.
    error: f64,
    /// Largest leaf.
    size: f64,
}

impl<'a> Growing<'a> {
    fn new(from: &'a ForeignTree, place: &'a [Result<u16, String>], ranges: Vec<Range>, room: usize) -> Self {
        Self { from, place, ranges, nodes: Vec::new(), room, error: 0.0, size: 0.0 }
    }

    /// Writes what lies at and below one of its nodes, as far as the ranges let anything arrive.
    fn grow(&mut self, at: usize, depth: usize) -> Result<u32, ImportError> {
        let node = self.from.nodes.get(at).ok_or_else(|| self.from.wrong(at, "there is no such node"))?;
        if depth > DEPTH_MAX {
            return Err(self.from.wrong(at, format!("deeper than {DEPTH_MAX} tests, or a loop")));
        }
        match node {
            ForeignNode::Leaf { value } => {
                let (steps, error) = steps(*value).map_err(|why| self.from.wrong(at, why))?;
                self.error = self.error.max(error);
                self.size = self.size.max(value.abs());
                self.push(at, Node::Leaf { steps })
            }
            ForeignNode::Split { column, test, left, right } => {
                let column = match self.place.get(*column) {
                    Some(Ok(column)) => *column,
                    Some(Err(name)) => return Err(ImportError::UnknownColumn { name: name.clone() }),
                    None => return Err(self.from.wrong(at, format!("there is no feature {column}"))),
                };
                let before = self.ranges[usize::from(column)];
                let ways = test.open_in(before);
                let mut holder = None;
                let mut first = None;
                for (bound, goes_left) in ways {
                    let child = if goes_left { *left } else { *right };
                    // The split first, so that children come after their parents.
                    let split = match bound {
                        Some(threshold) => Some((
                            self.push(at, Node::Split { feature: column, threshold, low: 0, high: 0 })?,
                            threshold,
                        )),
                        None => None,
                    };
                    let range = &mut self.ranges[usize::from(column)];
                    let (low, high) = (range.low, range.high);
                    if let Some((_, threshold)) = split {
                        range.high = threshold;
                    }
                    let grown = self.grow(child, depth + 1)?;
                    let here = split.map_or(grown, |(ix, _)| ix);
                    first.get_or_insert(here);
                    if let Some(holder) = holder
                        && let Node::Split { high, .. } = &mut self.nodes[holder as usize]
                    {
                        *high = here;
                    }
                    if let Some((ix, threshold)) = split {
                        if let Node::Split { low, .. } = &mut self.nodes[ix as usize] {
                            *low = grown;
                        }
                        holder = Some(ix);
                        self.ranges[usize::from(column)] = Range { low: threshold.max(low), high, ..before };
                    }
                }
                self.ranges[usize::from(column)] = before;
                Ok(first.expect("some way is always open"))
            }
        }
    }

    fn push(&mut self, at: usize, node: Node) -> Result<u32, ImportError> {
        if self.nodes.len() >= self.room {
            let why = format!(
                "more than {TREE_NODES_MAX} nodes in it, or {NODES_MAX} in all; tests that send missing values low are written \
                 twice: train it with missing values filled by a number above all others (`plimsoll data windows --missing top`)"
            );
            return Err(self.from.wrong(at, why));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a value goes by the test itself.
    fn by_test(test: &Test, x: f32) -> bool {
        if x.is_nan() {
            return test.missing;
        }
        test.bounds.iter().find(|b| x <= b.0).map_or(test.beyond, |b| b.1)
    }

    /// A single split with leaves 1 and 2 steps, as our tree.
    fn converted(test: &Test, may_be_missing: bool) -> Tree {
        let one = 1.0 / f64::from(ONE);
        let nodes = vec![
            ForeignNode::Split { column: 0, test: test.clone(), left: 1, right: 2 },
            ForeignNode::Leaf { value: one },
            ForeignNode::Leaf { value: 2.0 * one },
        ];
        let tree = ForeignTree { ix: 0, nodes };
        let top = Range { low: f32::NEG_INFINITY, high: f32::INFINITY, may_be_missing };
        let mut growing = Growing::new(&tree, &[Ok(0)], vec![top], NODES_MAX);
        growing.grow(0, 0).expect("small");
        Tree::new(growing.nodes).expect("a tree")
    }

    #[test]
    fn every_value_and_missing_go_where_the_test_sends_them() {
        const ZERO: f32 = 1e-35;
        for at in
            [None, Some(-2.5), Some(-ZERO), Some(0.0), Some(f32::from_bits(1)), Some(ZERO), Some(7.0), Some(f32::MAX)]
        {
            for missing in [false, true] {
                for test in [Test::up_to(at, missing), Test::up_to_but_zero(at, ZERO, missing)] {
                    let tree = converted(&test, true);
                    let near = [at.unwrap_or(1.0), ZERO, -ZERO, 0.0, -0.0, f32::MAX, -f32::MAX, 3.0];
                    let around = near.into_iter().flat_map(|x| [x, x.next_up(), x.next_down()]);
                    for x in around.filter(|x| x.is_finite()).chain([f32::NAN]) {
                        let want = if by_test(&test, x) { 1 } else { 2 };
                        assert_eq!(tree.evaluate(&[x]), want, "{x:e} in {test:?}: {tree:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_column_that_is_never_missing_costs_one_split_whatever_the_default() {
        assert_eq!(converted(&Test::up_to(Some(1.0), true), false).nodes().len(), 3);
        assert_eq!(converted(&Test::up_to(Some(1.0), false), true).nodes().len(), 3);
        assert_eq!(converted(&Test::up_to(Some(1.0), true), true).nodes().len(), 5);
    }

    #[test]
    fn leaves_are_rounded_by_half_a_step_at_most_and_amounts_are_refused() {
        assert_eq!(steps(0.5), Ok((1 << 19, 0.0)));
        let (rounded, error) = steps(0.3).expect("a share");
        assert_eq!(rounded, 314_573);
        assert!(error > 0.0 && error <= 0.5 / f64::from(ONE));
        assert!(steps(16.0).is_err() && steps(f64::NAN).is_err() && steps(f64::NEG_INFINITY).is_err());
    }
}
