//! Tree ensembles out of ONNX bytes: one node, an allow-list of everything, no code generation.
//!
//! ```text
//! bytes ─► model ─► graph ─► its one node ─► attributes ─► classic | opset 5 ─► Forest
//!          version           its operator    by name, each taken once
//!          properties        its columns
//! ```
//!
//! What the reader does not know it refuses, so nothing in a file can mean something to another runtime that this
//! one did not see. Equal trees in another spelling (packed or not, attributes in another order, node ids permuted)
//! are read.
//!
//! Source: ONNX `onnx.proto3` and the `ai.onnx.ml` operator reference, versions 1 to 5.

mod attributes;

mod classic;
mod ensemble;

use alloc::string::String;
use alloc::vec::Vec;

use crate::forest::{FEATURES_MAX, Forest};
use crate::refuse::{Fault, Refused, Why};
use crate::wire::{Message, Value};
use attributes::Attributes;
pub(crate) use attributes::NAMES;

/// Bytes a file may have.
pub const FILE_MAX: usize = 2_000_000;
const ML_DOMAIN: &[u8] = b"ai.onnx.ml";
/// `TensorProto.FLOAT`.
const FLOAT: i64 = 1;

/// A model file: the forest, and what the file says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// The trees and how they are meant.
    pub ensemble: Ensemble,
    /// `model_version` of the file.
    pub version: i64,
    /// `metadata_props`, as they come; unsigned by themselves.
    pub properties: Vec<(String, String)>,
}

/// The one node of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    /// Which operator it is.
    pub operator: Operator,
    /// What the operator makes of the sums; the kernel leaves that to its caller.
    pub post_transform: PostTransform,
    /// The trees. For a classifier one output: the margin of the second class.
    pub forest: Forest,
}

/// The operators that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `ai.onnx.ml` 1–3 `TreeEnsembleRegressor`.
    Regressor,
    /// `ai.onnx.ml` 1–3 `TreeEnsembleClassifier` of two classes whose leaves all add to one margin.
    Classifier {
        /// `classlabels_int64s`.
        labels: [i64; 2],
        /// No leaf is negative. ONNX Runtime then takes the margin for a probability.
        never_negative: bool,
    },
    /// `ai.onnx.ml` 5 `TreeEnsemble`.
    Ensemble,
}

/// What becomes of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostTransform {
    /// Nothing.
    None,
    /// `1 / (1 + e⁻ˣ)`.
    Logistic,
}

impl File {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`Refused`], saying what is wrong with it and where.
    pub fn read(bytes: &[u8]) -> Result<Self, Refused> {
        Ok(Self::checked(bytes)?)
    }

    fn checked(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > FILE_MAX {
            return Err(Fault::at(FILE_MAX, &Why::TooLarge("bytes")));
        }
        let (mut opset, mut properties) = (None, Vec::new());
        // Besides: IR version, producer and its version, domain, description.
        let once = bits(&[1, 2, 3, 4, 5, 6, 7]);
        let model = Message::new(bytes).fields(&MODEL, once, bits(&[8, 14]), &mut |field, value| {
            let Some(message) = value.message() else { return Ok(None) };
            if field == 14 {
                properties.push(property(message)?);
                return Ok(Some(()));
            }
            let set = message.fields(&Why::Field("an operator set"), bits(&[1, 2]), 0, &mut none)?;
            let ours = set.message(1)?.bytes() == ML_DOMAIN;
            Ok(if ours && opset.replace(set.int(2)?).is_some() { None } else { Some(()) })
        })?;
        let graph = Graph::read(model.message(7)?)?;
        let opset = opset.ok_or(Fault::at(0, &Why::Graph("comes without a version of ai.onnx.ml")))?;
        let ensemble = Node::read(graph.node)?.ensemble(Some((&graph, opset)))?;
        Ok(Self { ensemble, version: model.int(5)?, properties })
    }

    /// The value of one of the file's properties.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.properties.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

impl Ensemble {
    /// Reads one `NodeProto` out of a larger graph, for runtimes that hold the rest of it.
    ///
    /// The node does not say how wide its rows are: the forest's `features` are those it reads.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn read_node(bytes: &[u8]) -> Result<Self, Refused> {
        // Other writers do not pack their numbers, which costs up to twice the bytes.
        if bytes.len() > 2 * FILE_MAX {
            return Err(Refused::TooLarge { what: "bytes", max: 2 * FILE_MAX });
        }
        Ok(Node::read(Message::new(bytes))?.ensemble(None)?)
    }
}

static MODEL: Why = Why::Field("the model");

/// Field numbers as bits.
const fn bits(fields: &[u32]) -> u32 {
    let (mut bits, mut ix) = (0, 0);
    while ix < fields.len() {
        bits |= 1 << fields[ix];
        ix += 1;
    }
    bits
}

/// For messages of which no field may be repeated.
fn none(_: u32, _: Value<'_>) -> Result<Option<()>, Fault> {
    Ok(None)
}

const fn graph<T>(why: &'static Why) -> Result<T, Fault> {
    Err(Fault::at(0, why))
}

struct Graph<'a> {
    node: Message<'a>,
    features: usize,
    input: &'a [u8],
    outputs: Vec<&'a [u8]>,
}

impl<'a> Graph<'a> {
    fn read(message: Message<'a>) -> Result<Self, Fault> {
        let (mut nodes, mut inputs, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        // Besides: name, description.
        message.fields(&Why::Field("the graph"), bits(&[2, 10]), bits(&[1, 11, 12]), &mut |field, value| {
            let Some(message) = value.message() else { return Ok(None) };
            match field {
                1 if nodes.is_empty() => nodes.push(message),
                1 => return graph(&Why::Graph("has more than one node")),
                11 if inputs.is_empty() => inputs.push(named(message)?),
                11 => return graph(&Why::Graph("has more than one input")),
                _ => outputs.push(named(message)?.0),
            }
            Ok(Some(()))
        })?;
        let (Some(node), Some((input, tensor))) = (nodes.pop(), inputs.pop()) else {
            return graph(&Why::Graph("has no node, or no input"));
        };
        let Some(features) = columns(tensor)? else {
            return graph(&Why::Graph("has an input that is not [rows, F] of float32"));
        };
        Ok(Self { node, features, input, outputs })
    }
}

struct Node<'a> {
    operator: &'a [u8],
    ours: bool,
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
    attributes: Attributes<'a>,
}

impl<'a> Node<'a> {
    fn read(message: Message<'a>) -> Result<Self, Fault> {
        let (mut inputs, mut outputs, mut attributes) = (Vec::new(), Vec::new(), Attributes::default());
        // Besides: name, description.
        let once = bits(&[3, 4, 6, 7]);
        let node = message.fields(&Why::Field("the node"), once, bits(&[1, 2, 5]), &mut |field, value| {
            let Some(message) = value.message() else { return Ok(None) };
            match field {
                1 => inputs.push(message.bytes()),
                2 => outputs.push(message.bytes()),
                _ => attributes.read(message)?,
            }
            Ok(Some(()))
        })?;
        let ours = node.message(7)?.bytes() == ML_DOMAIN;
        Ok(Self { operator: node.message(4)?.bytes(), ours, inputs, outputs, attributes })
    }

    /// The ensemble of the node, held against the graph and operator set around it when they are known.
    fn ensemble(mut self, around: Option<(&Graph<'a>, i64)>) -> Result<Ensemble, Fault> {
        let a = &mut self.attributes;
        let features = around.map(|(graph, _)| graph.features);
        let (first_version, outputs) = match self.operator {
            b"TreeEnsembleRegressor" => (1, 1),
            b"TreeEnsembleClassifier" => (1, 2),
            b"TreeEnsemble" => (5, 1),
            _ => (0, 0),
        };
        if first_version == 0 || !self.ours {
            return graph(&Why::Graph("is of another operator than the tree ensembles of ai.onnx.ml"));
        }
        if self.inputs.len() != 1 || self.outputs.len() != outputs {
            return graph(&Why::Graph("feeds its node otherwise than by one table"));
        }
        if let Some((around, opset)) = around {
            if !(first_version..=5).contains(&opset) {
                return graph(&Why::Graph("asks for a version of ai.onnx.ml that has not this operator"));
            }
            let wired = self.inputs[0] == around.input && !around.outputs.is_empty();
            if !wired || !around.outputs.iter().all(|name| self.outputs.contains(name)) {
                return graph(&Why::Graph("does not lead from its input through its node to its outputs"));
            }
        }
        let ensemble = match self.operator {
            b"TreeEnsembleRegressor" => classic::regressor(a, features)?,
            b"TreeEnsembleClassifier" => classic::classifier(a, features)?,
            _ => ensemble::read(a, features)?,
        };
        self.attributes.none_left()?;
        Ok(ensemble)
    }
}

/// Name and `tensor_type` of a `ValueInfoProto`.
fn named(info: Message<'_>) -> Result<(&[u8], Message<'_>), Fault> {
    let info = info.fields(&Why::Field("an input or output"), bits(&[1, 2, 3]), 0, &mut none)?;
    let of = info.message(2)?.fields(&Why::Field("a type"), bits(&[1]), 0, &mut none)?;
    Ok((info.message(1)?.bytes(), of.message(1)?))
}

/// F of a `[rows, F]` f32 tensor.
fn columns(tensor: Message<'_>) -> Result<Option<usize>, Fault> {
    let tensor = tensor.fields(&Why::Field("a tensor type"), bits(&[1, 2]), 0, &mut none)?;
    let (mut dimensions, mut last) = (0, None);
    tensor.message(2)?.fields(&Why::Field("a shape"), 0, bits(&[1]), &mut |_, value| {
        let Some(message) = value.message() else { return Ok(None) };
        // Besides: the name of a dimension without a number, and its denotation.
        let dimension = message.fields(&Why::Field("a dimension"), bits(&[1, 2, 3]), 0, &mut none)?;
        dimensions += 1;
        last = if dimension.has(1) { usize::try_from(dimension.int(1)?).ok() } else { None };
        Ok(Some(()))
    })?;
    let columns = last.filter(|c| *c <= FEATURES_MAX);
    Ok(if tensor.int(1)? == FLOAT && dimensions == 2 { columns } else { None })
}

fn property(entry: Message<'_>) -> Result<(String, String), Fault> {
    const WHAT: &Why = &Why::Field("a property");
    let entry = entry.fields(WHAT, bits(&[1, 2]), 0, &mut none)?;
    let text = |field| {
        let bytes = entry.message(field)?.bytes();
        core::str::from_utf8(bytes).map(String::from).map_err(|_| Fault::at(field as usize, WHAT))
    };
    Ok((text(1)?, text(2)?))
}
