//! `TreeEnsembleRegressor` and `TreeEnsembleClassifier`: one row of numbers for each node, in columns.

use alloc::vec;
use alloc::vec::Vec;

use super::attributes::{Attributes, Kind, LENGTH, Name, refused};
use super::{Ensemble, Operator, PostTransform};
use crate::forest::{FEATURES_MAX, Forest, NODES_MAX, Node, OUTPUTS_MAX, Parts, Value, steps_of};
use crate::refuse::{Fault, Why};

pub(super) fn regressor(a: &mut Attributes<'_>, features: Option<usize>) -> Result<Ensemble, Fault> {
    let outputs = a.outputs()?;
    let text = |a: &super::attributes::Attribute<'_>, text: &[u8]| a.inner.is_some_and(|m| m.bytes() == text);
    a.hold(Name::AggregateFunction, Kind::String, &Why::Attribute("is not SUM"), &|a| text(a, b"SUM"))?;
    a.hold(Name::PostTransform, Kind::String, &Why::Attribute("is not NONE"), &|a| text(a, b"NONE"))?;
    let names = [Name::TargetTreeids, Name::TargetNodeids, Name::TargetIds, Name::TargetWeights];
    let forest = forest(a, names, outputs, features)?;
    Ok(Ensemble { operator: Operator::Regressor, post_transform: PostTransform::None, forest })
}

pub(super) fn classifier(a: &mut Attributes<'_>, features: Option<usize>) -> Result<Ensemble, Fault> {
    let labels = a.need(Name::ClasslabelsInt64s, Kind::Ints)?.ints;
    let &[negative, positive] = labels.as_slice() else {
        return refused(Name::ClasslabelsInt64s, &Why::Attribute("are not two"));
    };
    let post_transform = match a.take(Name::PostTransform, Kind::String)?.and_then(|a| a.inner).map(|m| m.bytes()) {
        None | Some(b"NONE") => PostTransform::None,
        Some(b"LOGISTIC") => PostTransform::Logistic,
        Some(_) => return refused(Name::PostTransform, &Why::Attribute("is neither NONE nor LOGISTIC")),
    };
    // One output: every leaf adds to class 0, which for two classes is how writers say "the margin of the second".
    let names = [Name::ClassTreeids, Name::ClassNodeids, Name::ClassIds, Name::ClassWeights];
    let forest = forest(a, names, 1, features)?;
    let never_negative = forest.parts().values.iter().all(|v| v.steps >= 0);
    let operator = Operator::Classifier { labels: [negative, positive], never_negative };
    Ok(Ensemble { operator, post_transform, forest })
}

/// Nodes that belong together: the tree's id, its first node, and the one after its last.
struct Run {
    tree: i64,
    first: usize,
    end: usize,
}

fn forest(
    a: &mut Attributes<'_>,
    [of_tree, of_node, of_output, weights]: [Name; 4],
    outputs: usize,
    features: Option<usize>,
) -> Result<Forest, Fault> {
    if outputs > OUTPUTS_MAX {
        return Err(Fault::at(OUTPUTS_MAX, &Why::TooLarge("outputs")));
    }
    let mut base = vec![0; outputs];
    if let Some(values) = a.take(Name::BaseValues, Kind::Floats)? {
        if values.floats.len() != outputs {
            return refused(Name::BaseValues, LENGTH);
        }
        for (base, value) in base.iter_mut().zip(values.floats) {
            let why = &Why::Attribute("are not whole numbers of 2^-20 steps");
            *base = steps_of(value).ok_or(Fault::at(Name::BaseValues as usize, why))?;
        }
    }

    let modes = a.need(Name::Modes, Kind::Strings)?.texts;
    let count = modes.len();
    if count > NODES_MAX {
        return Err(Fault::at(NODES_MAX, &Why::TooLarge("nodes")));
    }
    let trees = a.ints_of(Name::Treeids, count)?;
    let ids = a.ints_of(Name::Nodeids, count)?;
    let columns = a.ints_of(Name::Featureids, count)?;
    let thresholds = a.need(Name::Values, Kind::Floats)?.floats;
    if thresholds.len() != count {
        return refused(Name::Values, LENGTH);
    }
    let lows = a.ints_of(Name::Truenodeids, count)?;
    let highs = a.ints_of(Name::Falsenodeids, count)?;
    a.missing_goes_high(count)?;
    // How often training rows came by: says nothing about the answer.
    a.hold(Name::Hitrates, Kind::Floats, LENGTH, &|a| a.floats.len() == count)?;

    // `at[first + id]` is the position of the tree's node of that id.
    let mut runs: Vec<Run> = Vec::new();
    for (ix, tree) in trees.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.tree == *tree => run.end = ix + 1,
            Some(run) if run.tree > *tree => return node(ix, &Why::Node("is of a tree that ended before")),
            _ => runs.push(Run { tree: *tree, first: ix, end: ix + 1 }),
        }
    }
    let mut at = vec![u32::MAX; count];
    for run in &runs {
        for (ix, id) in ids.iter().enumerate().take(run.end).skip(run.first) {
            match slot(run, *id).map(|s| &mut at[s]) {
                Some(at) if *at == u32::MAX => *at = ix as u32,
                _ => return node(ix, &Why::Node("has an id that is taken, or beyond the tree's nodes")),
            }
        }
    }

    let mut nodes = Vec::with_capacity(count);
    for run in &runs {
        for ix in run.first..run.end {
            let child = |id| slot(run, id).map(|s| at[s]);
            nodes.push(match modes[ix] {
                b"LEAF" => Node::Leaf { first: 0, end: 0 },
                b"BRANCH_LEQ" => {
                    let (Some(low), Some(high)) = (child(lows[ix]), child(highs[ix])) else {
                        return node(ix, &Why::Node("points outside"));
                    };
                    let column = columns[ix];
                    let Ok(feature) = u16::try_from(column) else {
                        return node(ix, &Why::Node("reads a column that rows do not have"));
                    };
                    Node::Split { feature, threshold: thresholds[ix], low, high }
                }
                _ => return node(ix, &Why::Node("is neither BRANCH_LEQ nor LEAF")),
            });
        }
    }

    let weights = a.need(weights, Kind::Floats)?.floats;
    let leaves = of_node;
    let of_tree = a.ints_of(of_tree, weights.len())?;
    let of_node = a.ints_of(of_node, weights.len())?;
    let of_output = a.ints_of(of_output, weights.len())?;
    let mut values = Vec::with_capacity(weights.len());
    let (mut run, mut last) = (0, None);
    for (ix, weight) in weights.into_iter().enumerate() {
        while runs.get(run).is_some_and(|r| r.tree < of_tree[ix]) {
            run += 1;
        }
        let owner = runs.get(run).filter(|r| r.tree == of_tree[ix]);
        let owner = owner.and_then(|r| slot(r, of_node[ix])).map(|s| at[s]);
        let Some((owner, Node::Leaf { first, end })) = owner.map(|o| (o, &mut nodes[o as usize])) else {
            return refused(leaves, &Why::Attribute("name a node that is no leaf, or one of another tree's turn"));
        };
        let place = ix as u32;
        match last {
            // Its other values came right before.
            Some(last) if last == owner => *end = place + 1,
            _ if *end == 0 => (*first, *end) = (place, place + 1),
            _ => return node(owner as usize, &Why::Node("has its leaf values in two places")),
        }
        last = Some(owner);
        let steps = steps_of(weight);
        let Some(steps) = steps else { return node(owner as usize, NOT_WHOLE) };
        // What does not fit is out of range, and the forest says so.
        let output = u32::try_from(of_output[ix]).unwrap_or(u32::MAX);
        values.push(Value { output, steps });
    }

    let roots = runs.iter().map(|run| run.first as u32).collect();
    let features = features.unwrap_or_else(|| columns_read(&nodes));
    Forest::checked(Parts { features, base, roots, nodes, values })
}

pub(super) const NOT_WHOLE: &Why = &Why::Node("is a leaf that is not a whole number of 2^-20 steps");

/// Columns a row must have for these nodes.
pub(super) fn columns_read(nodes: &[Node]) -> usize {
    let column = |node: &Node| match node {
        Node::Split { feature, .. } => usize::from(*feature) + 1,
        Node::Leaf { .. } => 0,
    };
    nodes.iter().map(column).max().unwrap_or(0).min(FEATURES_MAX)
}

fn slot(run: &Run, id: i64) -> Option<usize> {
    usize::try_from(id).ok().filter(|id| *id < run.end - run.first).map(|id| run.first + id)
}

pub(super) const fn node<T>(node: usize, why: &'static Why) -> Result<T, Fault> {
    Err(Fault::at(node, why))
}
