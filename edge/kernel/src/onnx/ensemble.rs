//! `TreeEnsemble` of `ai.onnx.ml` 5: splits and leaves in lists of their own.

use alloc::vec;
use alloc::vec::Vec;

use super::attributes::{Attributes, Kind, LENGTH, Name, refused};
use super::classic::{NOT_WHOLE, columns_read, node};
use super::{Ensemble, FLOAT, Operator, PostTransform, bits};
use crate::forest::{Forest, NODES_MAX, Node, OUTPUTS_MAX, Parts, Value, steps_of};
use crate::refuse::{Fault, Why};
use crate::wire::Message;

/// `TensorProto.UINT8`.
const UINT8: i64 = 2;
/// `aggregate_function`.
const SUM: i64 = 1;
/// `post_transform`.
const NONE: i64 = 0;
/// `nodes_modes`.
const BRANCH_LEQ: u8 = 0;

pub(super) fn read(a: &mut Attributes<'_>, features: Option<usize>) -> Result<Ensemble, Fault> {
    let outputs = a.outputs()?;
    a.hold(Name::AggregateFunction, Kind::Int, &Why::Attribute("is not SUM"), &|a| a.int == SUM)?;
    a.hold(Name::PostTransform, Kind::Int, &Why::Attribute("is not NONE"), &|a| a.int == NONE)?;

    let columns = a.need(Name::Featureids, Kind::Ints)?.ints;
    let splits = columns.len();
    let thresholds = floats(a, Name::Splits)?;
    let modes = bytes(a, Name::Modes)?;
    if thresholds.len() != splits || modes.len() != splits {
        return refused(Name::Splits, LENGTH);
    }
    let lows = a.ints_of(Name::Truenodeids, splits)?;
    let highs = a.ints_of(Name::Falsenodeids, splits)?;
    let low_is_leaf = a.ints_of(Name::Trueleafs, splits)?;
    let high_is_leaf = a.ints_of(Name::Falseleafs, splits)?;
    a.missing_goes_high(splits)?;
    // How often training rows came by: says nothing about the answer.
    let of_splits = |m: Message<'_>| tensor(m).is_some_and(|t| t.count == splits);
    a.hold(Name::Hitrates, Kind::Tensor, LENGTH, &|a| a.inner.is_some_and(of_splits))?;
    let weights = floats(a, Name::LeafWeights)?;
    let targets = a.ints_of(Name::LeafTargetids, weights.len())?;
    let roots = a.need(Name::TreeRoots, Kind::Ints)?.ints;
    if outputs > OUTPUTS_MAX {
        return Err(Fault::at(OUTPUTS_MAX, &Why::TooLarge("outputs")));
    }
    if splits + weights.len() > NODES_MAX {
        return Err(Fault::at(NODES_MAX, &Why::TooLarge("nodes")));
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
            return node(ix, &Why::Node("points outside"));
        };
        let Ok(feature) = u16::try_from(columns[ix]) else {
            return node(ix, &Why::Node("reads a column that rows do not have"));
        };
        if modes[ix] != BRANCH_LEQ {
            return node(ix, &Why::Node("is not BRANCH_LEQ"));
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
            return refused(Name::TreeRoots, &Why::Attribute("points outside"));
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
    let forest = Forest::checked(Parts { features, base: vec![0; outputs], roots: starts, nodes, values })?;
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

fn floats(a: &mut Attributes<'_>, name: Name) -> Result<Vec<f32>, Fault> {
    let of = a.need(name, Kind::Tensor)?.inner.and_then(tensor).filter(|t| t.element == FLOAT && t.ints.is_empty());
    let numbers = of.map(|mut t| {
        if let Some(raw) = t.raw {
            t.floats.extend(raw.chunks(4).map(|b| b.try_into().map_or(f32::NAN, f32::from_le_bytes)));
        }
        (t.count, t.floats)
    });
    match numbers {
        Some((count, floats)) if floats.len() == count => Ok(floats),
        _ => refused(name, &Why::Attribute("is not a list of float32")),
    }
}

fn bytes(a: &mut Attributes<'_>, name: Name) -> Result<Vec<u8>, Fault> {
    let of = a.need(name, Kind::Tensor)?.inner.and_then(tensor).filter(|t| t.element == UINT8 && t.floats.is_empty());
    let numbers = of.map(|mut t| {
        t.ints.extend(t.raw.unwrap_or_default().iter().map(|b| i64::from(*b)));
        (t.count, t.ints)
    });
    match numbers {
        // What is no byte is no mode either.
        Some((count, ints)) if ints.len() == count => {
            Ok(ints.into_iter().map(|i| u8::try_from(i).unwrap_or(u8::MAX)).collect())
        }
        _ => refused(name, &Why::Attribute("is not a list of bytes")),
    }
}

fn tensor(message: Message<'_>) -> Option<Tensor<'_>> {
    let mut tensor = Tensor { element: 0, count: 0, raw: None, floats: Vec::new(), ints: Vec::new() };
    let mut dimensions = Vec::new();
    // Besides: its name.
    let once = bits(&[2, 8, 9]);
    let fields = message.fields(&Why::Field("a tensor"), once, bits(&[1, 4, 5]), &mut |field, value| match field {
        1 => value.ints(&mut dimensions),
        4 => value.floats(&mut tensor.floats),
        _ => value.ints(&mut tensor.ints),
    });
    let fields = fields.ok()?;
    tensor.element = fields.int(2).ok()?;
    if fields.has(9) {
        tensor.raw = Some(fields.message(9).ok()?.bytes());
    }
    // A longer list would be refused for its length later; here it could be large.
    tensor.count = usize::try_from(*dimensions.first()?).ok().filter(|c| dimensions.len() == 1 && *c <= NODES_MAX)?;
    Some(tensor)
}
