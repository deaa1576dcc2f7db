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
use crate::refuse::Refused;
use crate::wire::{Message, Value};
use attributes::Attributes;

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
        if bytes.len() > FILE_MAX {
            return Err(Refused::TooLarge { what: "bytes", max: FILE_MAX });
        }
        let (mut version, mut graph, mut opset, mut properties) = (0, None, None, Vec::new());
        let mut once = Once::new("the model");
        let mut model = Message::new(bytes);
        while let Some((field, value)) = model.field()? {
            match field {
                // IR version, producer and its version, domain, description.
                1..=4 | 6 => once.meets(field)?,
                5 => version = once.int(field, value)?,
                7 => graph = Some(once.message(field, value)?),
                8 => {
                    let (domain, number) = operator_set(once.inner(field, value)?)?;
                    if domain == ML_DOMAIN && opset.replace(number).is_some() {
                        return Err(once.refused(field));
                    }
                }
                14 => properties.push(property(once.inner(field, value)?)?),
                _ => return Err(once.refused(field)),
            }
        }
        let graph = Graph::read(graph.ok_or(Refused::Graph { why: "is missing" })?)?;
        let opset = opset.ok_or(Refused::Graph { why: "comes without a version of ai.onnx.ml" })?;
        let ensemble = Node::read(graph.node)?.ensemble(Some(graph.features), Some(opset), Some(&graph))?;
        Ok(Self { ensemble, version, properties })
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
        Node::read(Message::new(bytes))?.ensemble(None, None, None)
    }
}

struct Graph<'a> {
    node: Message<'a>,
    features: usize,
    input: &'a [u8],
    outputs: Vec<&'a [u8]>,
}

impl<'a> Graph<'a> {
    fn read(mut graph: Message<'a>) -> Result<Self, Refused> {
        let (mut node, mut input, mut outputs) = (None, None, Vec::new());
        let mut once = Once::new("the graph");
        while let Some((field, value)) = graph.field()? {
            match field {
                1 if node.is_some() => return Err(Refused::Graph { why: "has more than one node" }),
                1 => node = Some(once.inner(field, value)?),
                // Name, description.
                2 | 10 => once.meets(field)?,
                11 if input.is_some() => return Err(Refused::Graph { why: "has more than one input" }),
                11 => input = Some(named(once.inner(field, value)?)?),
                12 => outputs.push(named(once.inner(field, value)?)?.0),
                _ => return Err(once.refused(field)),
            }
        }
        let node = node.ok_or(Refused::Graph { why: "has no node" })?;
        let (input, of) = input.ok_or(Refused::Graph { why: "has no input" })?;
        let features = of.map(columns).transpose()?.flatten();
        let features = features.ok_or(Refused::Graph { why: "has an input that is not [rows, F] of float32" })?;
        Ok(Self { node, features, input, outputs })
    }
}

#[derive(Default)]
struct Node<'a> {
    operator: &'a [u8],
    domain: &'a [u8],
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
    attributes: Attributes<'a>,
}

impl<'a> Node<'a> {
    fn read(mut message: Message<'a>) -> Result<Self, Refused> {
        let mut node = Self::default();
        let mut once = Once::new("the node");
        while let Some((field, value)) = message.field()? {
            match field {
                1 => node.inputs.push(once.inner(field, value)?.bytes()),
                2 => node.outputs.push(once.inner(field, value)?.bytes()),
                // Name, description.
                3 | 6 => once.meets(field)?,
                4 => node.operator = once.message(field, value)?.bytes(),
                5 => node.attributes.read(once.inner(field, value)?)?,
                7 => node.domain = once.message(field, value)?.bytes(),
                _ => return Err(once.refused(field)),
            }
        }
        Ok(node)
    }

    fn ensemble(
        mut self,
        features: Option<usize>,
        opset: Option<i64>,
        graph: Option<&Graph<'a>>,
    ) -> Result<Ensemble, Refused> {
        let (versions, outputs) = match self.operator {
            b"TreeEnsembleRegressor" if self.domain == ML_DOMAIN => (1..=5, 1),
            b"TreeEnsembleClassifier" if self.domain == ML_DOMAIN => (1..=5, 2),
            b"TreeEnsemble" if self.domain == ML_DOMAIN => (5..=5, 1),
            _ => return Err(Refused::Graph { why: "is of another operator than the tree ensembles of ai.onnx.ml" }),
        };
        if opset.is_some_and(|v| !versions.contains(&v)) {
            return Err(Refused::Graph { why: "asks for a version of ai.onnx.ml that has not this operator" });
        }
        if self.inputs.len() != 1 || self.outputs.len() != outputs {
            return Err(Refused::Graph { why: "feeds its node otherwise than by one table" });
        }
        if let Some(graph) = graph {
            let wired = self.inputs[0] == graph.input && !graph.outputs.is_empty();
            if !wired || !graph.outputs.iter().all(|name| self.outputs.contains(name)) {
                return Err(Refused::Graph { why: "does not lead from its input through its node to its outputs" });
            }
        }
        let ensemble = match self.operator {
            b"TreeEnsembleRegressor" => classic::regressor(&mut self.attributes, features)?,
            b"TreeEnsembleClassifier" => classic::classifier(&mut self.attributes, features)?,
            _ => ensemble::read(&mut self.attributes, features)?,
        };
        self.attributes.none_left()?;
        Ok(ensemble)
    }
}

/// Name and `tensor_type` of a `ValueInfoProto`.
fn named(mut info: Message<'_>) -> Result<(&[u8], Option<Message<'_>>), Refused> {
    let (mut name, mut tensor) = (&[][..], None);
    let mut once = Once::new("an input or output");
    while let Some((field, value)) = info.field()? {
        match field {
            1 => name = once.message(field, value)?.bytes(),
            2 => {
                let mut of = once.message(field, value)?;
                let mut once = Once::new("a type");
                while let Some((field, value)) = of.field()? {
                    match field {
                        1 => tensor = Some(once.message(field, value)?),
                        _ => return Err(once.refused(field)),
                    }
                }
            }
            3 => once.meets(field)?,
            _ => return Err(once.refused(field)),
        }
    }
    Ok((name, tensor))
}

/// F of a `[rows, F]` f32 tensor.
fn columns(mut tensor: Message<'_>) -> Result<Option<usize>, Refused> {
    let (mut element, mut dimensions, mut last) = (0, 0, None);
    let mut once = Once::new("a tensor type");
    while let Some((field, value)) = tensor.field()? {
        match field {
            1 => element = once.int(field, value)?,
            2 => {
                let mut shape = once.message(field, value)?;
                let once = Once::new("a shape");
                while let Some((field, value)) = shape.field()? {
                    let mut dimension =
                        if field == 1 { once.inner(field, value)? } else { return Err(once.refused(field)) };
                    dimensions += 1;
                    last = None;
                    let mut once = Once::new("a dimension");
                    while let Some((field, value)) = dimension.field()? {
                        match field {
                            1 => last = Some(once.int(field, value)?),
                            2 | 3 => once.meets(field)?,
                            _ => return Err(once.refused(field)),
                        }
                    }
                }
            }
            _ => return Err(once.refused(field)),
        }
    }
    let columns = last.and_then(|c| usize::try_from(c).ok()).filter(|c| *c <= FEATURES_MAX);
    Ok(columns.filter(|_| element == FLOAT && dimensions == 2))
}

fn operator_set(mut set: Message<'_>) -> Result<(&[u8], i64), Refused> {
    let (mut domain, mut version) = (&[][..], 0);
    let mut once = Once::new("an operator set");
    while let Some((field, value)) = set.field()? {
        match field {
            1 => domain = once.message(field, value)?.bytes(),
            2 => version = once.int(field, value)?,
            _ => return Err(once.refused(field)),
        }
    }
    Ok((domain, version))
}

fn property(mut entry: Message<'_>) -> Result<(String, String), Refused> {
    let mut pair = [""; 2];
    let mut once = Once::new("a property");
    while let Some((field, value)) = entry.field()? {
        let Some(text) = pair.get_mut((field as usize).wrapping_sub(1)) else { return Err(once.refused(field)) };
        let bytes = once.message(field, value)?.bytes();
        *text = core::str::from_utf8(bytes).map_err(|_| once.refused(field))?;
    }
    Ok((pair[0].into(), pair[1].into()))
}

/// The fields of one message met so far: protobuf lets the last of a repeated scalar win, we let none.
struct Once {
    message: &'static str,
    seen: u32,
}

impl Once {
    const fn new(message: &'static str) -> Self {
        Self { message, seen: 0 }
    }

    const fn refused(&self, field: u32) -> Refused {
        Refused::Field { message: self.message, field }
    }

    /// A field that there may be once. Numbers above 31 are not asked for.
    fn meets(&mut self, field: u32) -> Result<(), Refused> {
        let bit = 1 << (field & 31);
        if self.seen & bit != 0 {
            return Err(self.refused(field));
        }
        self.seen |= bit;
        Ok(())
    }

    fn int(&mut self, field: u32, value: Value<'_>) -> Result<i64, Refused> {
        self.meets(field)?;
        value.int().ok_or(self.refused(field))
    }

    fn message<'a>(&mut self, field: u32, value: Value<'a>) -> Result<Message<'a>, Refused> {
        self.meets(field)?;
        self.inner(field, value)
    }

    /// A field that there may be any number of times.
    fn inner<'a>(&self, field: u32, value: Value<'a>) -> Result<Message<'a>, Refused> {
        value.message().ok_or(self.refused(field))
    }
}
