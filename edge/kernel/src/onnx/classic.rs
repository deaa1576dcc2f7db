//! `TreeEnsembleRegressor` and `TreeEnsembleClassifier`: one row of numbers for each node, in columns.

use alloc::vec;
use alloc::vec::Vec;

use super::attributes::{Attributes, LENGTH, MISSING, refused};
use super::{Ensemble, Operator, PostTransform};
use crate::forest::{FEATURES_MAX, Forest, NODES_MAX, Node, OUTPUTS_MAX, Parts, Value, steps_of};
use crate::refuse::Refused;

pub(super) fn regressor(a: &mut Attributes<'_>, features: Option<usize>) -> Result<Ensemble, Refused> {
    let outputs = a.int("n_targets")?.ok_or_else(|| refused("n_targets", MISSING))?;
    let outputs = usize::try_from(outputs).ok().filter(|o| *o <= OUTPUTS_MAX);
    let outputs = outputs.ok_or(Refused::TooLarge { what: "outputs", max: OUTPUTS_MAX })?;
    if a.text("aggregate_function")?.is_some_and(|f| f != b"SUM") {
        return Err(refused("aggregate_function", "is not SUM"));
    }
    if a.text("post_transform")?.is_some_and(|t| t != b"NONE") {
        return Err(refused("post_transform", "is not NONE"));
    }
    let names = ["target_treeids", "target_nodeids", "target_ids", "target_weights"];
    let forest = forest(a, names, outputs, features)?;
    Ok(Ensemble { operator: Operator::Regressor, post_transform: PostTransform::None, forest })
}

pub(super) fn classifier(a: &mut Attributes<'_>, features: Option<usize>) -> Result<Ensemble, Refused> {
    let labels = a.ints("classlabels_int64s")?;
    let labels = labels.ok_or_else(|| refused("classlabels_int64s", MISSING))?;
    let labels = <[i64; 2]>::try_from(labels.as_slice());
    let labels = labels.map_err(|_| refused("classlabels_int64s", "are not two"))?;
    let post_transform = match a.text("post_transform")? {
        None | Some(b"NONE") => PostTransform::None,
        Some(b"LOGISTIC") => PostTransform::Logistic,
        Some(_) => return Err(refused("post_transform", "is neither NONE nor LOGISTIC")),
    };
    // One output: every leaf adds to class 0, which for two classes is how writers say "the margin of the second".
    let names = ["class_treeids", "class_nodeids", "class_ids", "class_weights"];
    let forest = forest(a, names, 1, features)?;
    let parts = forest.parts();
    let never_negative = parts.values.iter().all(|v| v.steps >= 0);
    Ok(Ensemble { operator: Operator::Classifier { labels, never_negative }, post_transform, forest })
}

/// Nodes that belong together: the tree's id, its first node, and the one after its last.
struct Run {
    tree: i64,
    first: usize,
    end: usize,
}

fn forest(
    a: &mut Attributes<'_>,
    [of_tree, of_node, of_output, weights]: [&'static str; 4],
    outputs: usize,
    features: Option<usize>,
) -> Result<Forest, Refused> {
    let base = match a.floats("base_values")? {
        None => vec![0; outputs],
        Some(base) if base.len() != outputs => return Err(refused("base_values", LENGTH)),
        Some(base) => {
            let base: Option<Vec<i32>> = base.into_iter().map(steps_of).collect();
            base.ok_or_else(|| refused("base_values", "are not whole numbers of 2^-20 steps"))?
        }
    };

    let modes = a.texts("nodes_modes")?.ok_or_else(|| refused("nodes_modes", MISSING))?;
    let count = modes.len();
    if count > NODES_MAX {
        return Err(Refused::TooLarge { what: "nodes", max: NODES_MAX });
    }
    let trees = a.ints_of("nodes_treeids", count)?;
    let ids = a.ints_of("nodes_nodeids", count)?;
    let columns = a.ints_of("nodes_featureids", count)?;
    let thresholds = a.floats_of("nodes_values", count)?;
    let lows = a.ints_of("nodes_truenodeids", count)?;
    let highs = a.ints_of("nodes_falsenodeids", count)?;
    a.missing_goes_high(count)?;
    // How often training rows came by: says nothing about the answer.
    if a.floats("nodes_hitrates")?.is_some_and(|h| h.len() != count) {
        return Err(refused("nodes_hitrates", LENGTH));
    }

    // `at[first + id]` is the position of the tree's node of that id.
    let mut runs: Vec<Run> = Vec::new();
    for (ix, tree) in trees.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if run.tree == *tree => run.end = ix + 1,
            Some(run) if run.tree > *tree => return node(ix, "is of a tree that ended before"),
            _ => runs.push(Run { tree: *tree, first: ix, end: ix + 1 }),
        }
    }
    let mut at = vec![u32::MAX; count];
    for run in &runs {
        for (ix, id) in ids.iter().enumerate().take(run.end).skip(run.first) {
            match slot(run, *id).map(|s| &mut at[s]) {
                Some(at) if *at == u32::MAX => *at = ix as u32,
                _ => return node(ix, "has an id that is taken, or beyond the tree's nodes"),
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
                        return node(ix, "points outside");
                    };
                    let column = columns[ix];
                    let Ok(feature) = u16::try_from(column) else {
                        return node(ix, "reads a column that rows do not have");
                    };
                    Node::Split { feature, threshold: thresholds[ix], low, high }
                }
                _ => return node(ix, "is neither BRANCH_LEQ nor LEAF"),
            });
        }
    }

    let weights = a.floats(weights)?.ok_or_else(|| refused(weights, MISSING))?;
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
            return Err(refused(LEAVES, "name a node that is no leaf, or are not in the order of trees"));
        };
        let place = ix as u32;
        match last {
            // Its other values came right before.
            Some(last) if last == owner => *end = place + 1,
            _ if *end == 0 => (*first, *end) = (place, place + 1),
            _ => return node(owner as usize, "has its leaf values in two places"),
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
    Forest::new(Parts { features, base, roots, nodes, values })
}

const LEAVES: &str = "(leaf ids)";
pub(super) const NOT_WHOLE: &str = "is a leaf that is not a whole number of 2^-20 steps";

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

pub(super) fn node<T>(node: usize, why: &'static str) -> Result<T, Refused> {
    Err(Refused::Node { node, why })
}
