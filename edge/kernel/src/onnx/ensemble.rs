//! `TreeEnsemble` of `ai.onnx.ml` 5: splits and leaves in lists of their own.

use alloc::vec;
use alloc::vec::Vec;

use super::attributes::{Attributes, LENGTH, MISSING, refused};
use super::classic::{NOT_WHOLE, columns_read, node};
use super::{Ensemble, FLOAT, Once, Operator, PostTransform};
use crate::forest::{Forest, NODES_MAX, Node, OUTPUTS_MAX, Parts, Value, steps_of};
use crate::refuse::Refused;
use crate::wire::Message;

/// `TensorProto.UINT8`.
const UINT8: i64 = 2;
/// `aggregate_function`.
const SUM: i64 = 1;
/// `post_transform`.
const NONE: i64 = 0;
/// `nodes_modes`.
const BRANCH_LEQ: u8 = 0;

pub(super) fn read(a: &mut Attributes<'_>, features: Option<usize>) -> Result<Ensemble, Refused> {
    let outputs = a.int("n_targets")?.ok_or_else(|| refused("n_targets", MISSING))?;
    let outputs = usize::try_from(outputs).ok().filter(|o| *o <= OUTPUTS_MAX);
    let outputs = outputs.ok_or(Refused::TooLarge { what: "outputs", max: OUTPUTS_MAX })?;
    if a.int("aggregate_function")?.is_some_and(|f| f != SUM) {
        return Err(refused("aggregate_function", "is not SUM"));
    }
    if a.int("post_transform")?.is_some_and(|t| t != NONE) {
        return Err(refused("post_transform", "is not NONE"));
    }

    let columns = a.ints("nodes_featureids")?.ok_or_else(|| refused("nodes_featureids", MISSING))?;
    let splits = columns.len();
    let thresholds = floats(a, "nodes_splits")?;
    let modes = bytes(a, "nodes_modes")?;
    if thresholds.len() != splits || modes.len() != splits {
        return Err(refused("nodes_splits", LENGTH));
    }
    let lows = a.ints_of("nodes_truenodeids", splits)?;
    let highs = a.ints_of("nodes_falsenodeids", splits)?;
    let low_is_leaf = a.ints_of("nodes_trueleafs", splits)?;
    let high_is_leaf = a.ints_of("nodes_falseleafs", splits)?;
    a.missing_goes_high(splits)?;
    if a.tensor("nodes_hitrates")?.is_some_and(|t| tensor(t).is_none_or(|t| t.count != splits)) {
        return Err(refused("nodes_hitrates", LENGTH));
    }
    let weights = floats(a, "leaf_weights")?;
    let targets = a.ints_of("leaf_targetids", weights.len())?;
    let roots = a.ints("tree_roots")?.ok_or_else(|| refused("tree_roots", MISSING))?;
    if splits + weights.len() > NODES_MAX {
        return Err(Refused::TooLarge { what: "nodes", max: NODES_MAX });
    }

    // Leaves come after the splits among the forest's nodes.
    let mut nodes = Vec::with_capacity(splits + weights.len());
    for ix in 0..splits {
        let child = |id: i64, leaf: i64| {
            let (skip, there) = match leaf {
                0 => (0, splits),
                1 => (splits, weights.len()),
                _ => return None,
            };
            usize::try_from(id).ok().filter(|id| *id < there).map(|id| (skip + id) as u32)
        };
        let (Some(low), Some(high)) = (child(lows[ix], low_is_leaf[ix]), child(highs[ix], high_is_leaf[ix])) else {
            return node(ix, "points outside");
        };
        let Ok(feature) = u16::try_from(columns[ix]) else {
            return node(ix, "reads a column that rows do not have");
        };
        if modes[ix] != BRANCH_LEQ {
            return node(ix, "is not BRANCH_LEQ");
        }
        nodes.push(Node::Split { feature, threshold: thresholds[ix], low, high });
    }
    let mut values = Vec::with_capacity(weights.len());
    for (ix, (weight, target)) in weights.into_iter().zip(targets).enumerate() {
        let Some(steps) = steps_of(weight) else { return node(splits + ix, NOT_WHOLE) };
        values.push(Value { output: u32::try_from(target).unwrap_or(u32::MAX), steps });
        nodes.push(Node::Leaf { first: ix as u32, end: ix as u32 + 1 });
    }
    let features = features.unwrap_or_else(|| columns_read(&nodes));

    let mut starts = Vec::with_capacity(roots.len());
    let mut alone = Vec::new();
    for root in roots {
        let Some(root) = usize::try_from(root).ok().filter(|r| *r < splits) else {
            return Err(refused("tree_roots", "points outside"));
        };
        match nodes[root] {
            // The operator has no tree without a split: a lone leaf is written as a split with both ways to it.
            Node::Split { low, high, .. } if low == high && low as usize >= splits => {
                alone.push(root);
                starts.push(low);
            }
            _ => starts.push(root as u32),
        }
    }
    if !alone.is_empty() {
        drop_splits(&mut nodes, &mut starts, &alone);
    }
    let forest = Forest::new(Parts { features, base: vec![0; outputs], roots: starts, nodes, values })?;
    Ok(Ensemble { operator: Operator::Ensemble, post_transform: PostTransform::None, forest })
}

/// Takes out the splits of lone leaves, which hang in no tree any more.
fn drop_splits(nodes: &mut Vec<Node>, roots: &mut [u32], gone: &[usize]) {
    let mut place = vec![0u32; nodes.len()];
    for ix in gone {
        place[*ix] = u32::MAX;
    }
    for (kept, place) in (0..).zip(place.iter_mut().filter(|p| **p != u32::MAX)) {
        *place = kept;
    }
    let mut ix = 0;
    nodes.retain(|_| {
        ix += 1;
        place[ix - 1] != u32::MAX
    });
    // A way that still leads to one that is gone becomes an index outside, and is refused as such.
    for node in nodes {
        if let Node::Split { low, high, .. } = node {
            (*low, *high) = (place[*low as usize], place[*high as usize]);
        }
    }
    for root in roots {
        *root = place[*root as usize];
    }
}

/// A one-dimensional `TensorProto`.
struct Tensor<'a> {
    element: i64,
    count: usize,
    raw: Option<&'a [u8]>,
    floats: Vec<f32>,
    ints: Vec<i64>,
}

fn floats(a: &mut Attributes<'_>, name: &'static str) -> Result<Vec<f32>, Refused> {
    let of = a.tensor(name)?.ok_or_else(|| refused(name, MISSING))?;
    let numbers = tensor(of).filter(|t| t.element == FLOAT && t.ints.is_empty()).and_then(|t| match t.raw {
        Some(raw) => (raw.len() == t.count * 4 && t.floats.is_empty())
            .then(|| raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
        None => (t.floats.len() == t.count).then_some(t.floats),
    });
    numbers.ok_or_else(|| refused(name, "is not a list of float32"))
}

fn bytes(a: &mut Attributes<'_>, name: &'static str) -> Result<Vec<u8>, Refused> {
    let of = a.tensor(name)?.ok_or_else(|| refused(name, MISSING))?;
    let numbers = tensor(of).filter(|t| t.element == UINT8 && t.floats.is_empty()).and_then(|t| match t.raw {
        Some(raw) => (raw.len() == t.count && t.ints.is_empty()).then(|| raw.to_vec()),
        None if t.ints.len() == t.count => t.ints.into_iter().map(|i| u8::try_from(i).ok()).collect(),
        None => None,
    });
    numbers.ok_or_else(|| refused(name, "is not a list of bytes"))
}

fn tensor(mut message: Message<'_>) -> Option<Tensor<'_>> {
    let mut tensor = Tensor { element: 0, count: 0, raw: None, floats: Vec::new(), ints: Vec::new() };
    let mut dimensions = Vec::new();
    let mut once = Once::new("a tensor");
    while let Some((field, value)) = message.field().ok()? {
        match field {
            1 => value.ints(&mut dimensions).ok()??,
            2 => tensor.element = once.int(field, value).ok()?,
            4 => value.floats(&mut tensor.floats).ok()??,
            5 => value.ints(&mut tensor.ints).ok()??,
            8 => once.meets(field).ok()?,
            9 => tensor.raw = Some(once.message(field, value).ok()?.bytes()),
            _ => return None,
        }
    }
    // A longer list would be refused for its length later; here it could be large.
    tensor.count = usize::try_from(*dimensions.first()?).ok().filter(|c| dimensions.len() == 1 && *c <= NODES_MAX)?;
    Some(tensor)
}
