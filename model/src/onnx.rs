//! The forest as a standard ONNX file, and back.
//!
//! One `ai.onnx.ml` 3 `TreeEnsembleRegressor` node, input `features` `[rows, F]` f32, output `fractions`
//! `[rows, outputs]` f32 (steps × 2⁻²⁰). Any ONNX runtime loads it unmodified. Scalars are written packed, which
//! every protobuf reader accepts and which saves a third.
//!
//! The reader is strict: one node, one operator, no attribute it does not know, every index inside, leaves whole
//! steps, and nothing in the file that it would not write itself. It is bounded by the length of its input and
//! runs only on bytes whose signature was verified.
//!
//! Source: ONNX `onnx.proto3` (IR version 8) and the `ai.onnx.ml` operator reference, `TreeEnsembleRegressor`.

use std::collections::BTreeMap;

use prost::Message;

use crate::forest::{BadForest, Forest, Node, ONE, Tree};

/// IR version written.
const IR_VERSION: i64 = 8;
/// `ai.onnx.ml` operator set written and read.
pub const ML_OPSET: i64 = 3;
const ML_DOMAIN: &str = "ai.onnx.ml";
/// The one operator.
pub const OPERATOR: &str = "TreeEnsembleRegressor";
const BRANCH: &[u8] = b"BRANCH_LEQ";
const LEAF: &[u8] = b"LEAF";
/// Nodes a file may have: an order of magnitude above any model we ship.
const NODES_MAX: usize = 400_000;

/// A model file: the forest and what the file says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// The trees.
    pub forest: Forest,
    /// `model_version` of the file.
    pub version: i64,
    /// `metadata_props`; unsigned by themselves, cross-checked with the manifest.
    pub properties: BTreeMap<String, String>,
}

impl ModelFile {
    /// The bytes of a standard ONNX file.
    pub fn encode(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    /// Reads an ONNX file that [`ModelFile::encode`] could have written.
    ///
    /// # Errors
    /// [`RefuseOnnx`], saying what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, RefuseOnnx> {
        let model = proto::Model::decode(bytes).map_err(|e| RefuseOnnx::Protobuf { reason: e.to_string() })?;
        let unexpected = |what: String| RefuseOnnx::Unexpected { what };
        let graph = model.graph.as_ref().ok_or_else(|| unexpected("no graph".into()))?;
        let [node] = graph.node.as_slice() else {
            return Err(unexpected(format!("{} nodes, expected one", graph.node.len())));
        };
        if node.op_type != OPERATOR || node.domain != ML_DOMAIN {
            return Err(unexpected(format!("operator {}:{}", node.domain, node.op_type)));
        }
        let features = match graph.input.as_slice() {
            [input] => input.columns().ok_or_else(|| unexpected("an input that is not [rows, F] f32".into()))?,
            inputs => return Err(unexpected(format!("{} inputs, expected one", inputs.len()))),
        };
        let mut attributes = Attributes::default();
        for a in &node.attribute {
            attributes.set(&a.name, a.i, &a.s, &a.floats, &a.ints, &a.strings)?;
        }
        let file = Self {
            forest: attributes.forest(features)?,
            version: model.model_version,
            properties: model.metadata_props.iter().map(|p| (p.key.clone(), p.value.clone())).collect(),
        };
        // Whatever this reader skipped (a second domain, a function body, a default it did not look at) shows here.
        if file.encode() != bytes {
            return Err(unexpected("content that this writer would not write".into()));
        }
        Ok(file)
    }

    fn to_proto(&self) -> proto::Model {
        let tensor = |name: &str, columns: usize| proto::ValueInfo {
            name: name.into(),
            r#type: Some(proto::Type {
                tensor_type: Some(proto::TensorType {
                    elem_type: proto::FLOAT,
                    shape: Some(proto::Shape {
                        dim: vec![
                            proto::Dim { value: Some(proto::DimValue::Param("rows".into())) },
                            proto::Dim { value: Some(proto::DimValue::Value(columns as i64)) },
                        ],
                    }),
                }),
            }),
        };
        proto::Model {
            ir_version: IR_VERSION,
            producer_name: "plimsoll".into(),
            model_version: self.version,
            graph: Some(proto::Graph {
                node: vec![proto::Node {
                    input: vec!["features".into()],
                    output: vec!["fractions".into()],
                    name: "forest".into(),
                    op_type: OPERATOR.into(),
                    attribute: Attributes::of(&self.forest).to_proto(),
                    domain: ML_DOMAIN.into(),
                }],
                name: "plimsoll_limit".into(),
                input: vec![tensor("features", self.forest.features())],
                output: vec![tensor("fractions", self.forest.outputs().len())],
            }),
            opset_import: vec![
                proto::Opset { domain: String::new(), version: 17 },
                proto::Opset { domain: ML_DOMAIN.into(), version: ML_OPSET },
            ],
            metadata_props: self
                .properties
                .iter()
                .map(|(key, value)| proto::Entry { key: key.clone(), value: value.clone() })
                .collect(),
        }
    }
}

/// The attributes of a `TreeEnsembleRegressor`, as any protobuf reader hands them over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    n_targets: i64,
    nodes_treeids: Vec<i64>,
    nodes_nodeids: Vec<i64>,
    nodes_featureids: Vec<i64>,
    nodes_values: Vec<f32>,
    nodes_modes: Vec<Vec<u8>>,
    nodes_truenodeids: Vec<i64>,
    nodes_falsenodeids: Vec<i64>,
    target_treeids: Vec<i64>,
    target_nodeids: Vec<i64>,
    target_ids: Vec<i64>,
    target_weights: Vec<f32>,
}

impl Attributes {
    /// Takes one attribute in.
    ///
    /// # Errors
    /// `RefuseOnnx::Unexpected` for a name this engine does not evaluate, or a value other than the one it does.
    pub fn set(
        &mut self,
        name: &str,
        int: i64,
        text: &[u8],
        floats: &[f32],
        ints: &[i64],
        texts: &[Vec<u8>],
    ) -> Result<(), RefuseOnnx> {
        match name {
            "n_targets" => self.n_targets = int,
            "aggregate_function" if text == b"SUM" => {}
            "post_transform" if text == b"NONE" => {}
            "nodes_treeids" => self.nodes_treeids = ints.to_vec(),
            "nodes_nodeids" => self.nodes_nodeids = ints.to_vec(),
            "nodes_featureids" => self.nodes_featureids = ints.to_vec(),
            "nodes_values" => self.nodes_values = floats.to_vec(),
            "nodes_modes" => self.nodes_modes = texts.to_vec(),
            "nodes_truenodeids" => self.nodes_truenodeids = ints.to_vec(),
            "nodes_falsenodeids" => self.nodes_falsenodeids = ints.to_vec(),
            "target_treeids" => self.target_treeids = ints.to_vec(),
            "target_nodeids" => self.target_nodeids = ints.to_vec(),
            "target_ids" => self.target_ids = ints.to_vec(),
            "target_weights" => self.target_weights = floats.to_vec(),
            other => {
                return Err(RefuseOnnx::Unexpected { what: format!("attribute {other} (or its value)") });
            }
        }
        Ok(())
    }

    fn of(forest: &Forest) -> Self {
        let mut a = Self { n_targets: forest.outputs().len() as i64, ..Self::default() };
        let mut tree_id = 0;
        for (output, trees) in forest.outputs().iter().enumerate() {
            for tree in trees {
                for (ix, node) in tree.nodes().iter().enumerate() {
                    a.nodes_treeids.push(tree_id);
                    a.nodes_nodeids.push(ix as i64);
                    let (feature, value, mode, low, high) = match *node {
                        Node::Split { feature, threshold, low, high } => (feature, threshold, BRANCH, low, high),
                        Node::Leaf { steps } => {
                            a.target_treeids.push(tree_id);
                            a.target_nodeids.push(ix as i64);
                            a.target_ids.push(output as i64);
                            a.target_weights.push(steps as f32 / ONE as f32);
                            (0, 0.0, LEAF, 0, 0)
                        }
                    };
                    a.nodes_featureids.push(i64::from(feature));
                    a.nodes_values.push(value);
                    a.nodes_modes.push(mode.to_vec());
                    a.nodes_truenodeids.push(i64::from(low));
                    a.nodes_falsenodeids.push(i64::from(high));
                }
                tree_id += 1;
            }
        }
        a
    }

    fn to_proto(&self) -> Vec<proto::Attribute> {
        let int = |name: &str, i| proto::Attribute { name: name.into(), i, r#type: proto::INT, ..Default::default() };
        let text = |name: &str, s: &str| proto::Attribute {
            name: name.into(),
            s: s.into(),
            r#type: proto::STRING,
            ..Default::default()
        };
        let ints = |name: &str, ints: &[i64]| proto::Attribute {
            name: name.into(),
            ints: ints.to_vec(),
            r#type: proto::INTS,
            ..Default::default()
        };
        let floats = |name: &str, floats: &[f32]| proto::Attribute {
            name: name.into(),
            floats: floats.to_vec(),
            r#type: proto::FLOATS,
            ..Default::default()
        };
        vec![
            int("n_targets", self.n_targets),
            text("aggregate_function", "SUM"),
            text("post_transform", "NONE"),
            ints("nodes_treeids", &self.nodes_treeids),
            ints("nodes_nodeids", &self.nodes_nodeids),
            ints("nodes_featureids", &self.nodes_featureids),
            floats("nodes_values", &self.nodes_values),
            proto::Attribute {
                name: "nodes_modes".into(),
                strings: self.nodes_modes.clone(),
                r#type: proto::STRINGS,
                ..Default::default()
            },
            ints("nodes_truenodeids", &self.nodes_truenodeids),
            ints("nodes_falsenodeids", &self.nodes_falsenodeids),
            ints("target_treeids", &self.target_treeids),
            ints("target_nodeids", &self.target_nodeids),
            ints("target_ids", &self.target_ids),
            floats("target_weights", &self.target_weights),
        ]
    }

    /// The forest these attributes describe, over rows of `features` columns; every index is checked.
    ///
    /// # Errors
    /// [`RefuseOnnx`], saying what is wrong.
    pub fn forest(&self, features: usize) -> Result<Forest, RefuseOnnx> {
        let nodes = self.nodes_treeids.len();
        let columns = [
            self.nodes_nodeids.len(),
            self.nodes_featureids.len(),
            self.nodes_values.len(),
            self.nodes_modes.len(),
            self.nodes_truenodeids.len(),
            self.nodes_falsenodeids.len(),
        ];
        let weights = self.target_weights.len();
        let leaves = [self.target_treeids.len(), self.target_nodeids.len(), self.target_ids.len()];
        let outputs = usize::try_from(self.n_targets).unwrap_or(0);
        if columns.iter().any(|c| *c != nodes) || leaves.iter().any(|c| *c != weights) {
            return Err(RefuseOnnx::Unexpected { what: "attribute lists of different lengths".into() });
        }
        if nodes > NODES_MAX || outputs > 64 {
            return Err(RefuseOnnx::Unexpected { what: format!("{nodes} nodes, {outputs} outputs") });
        }
        let mut trees: Vec<Vec<Tree>> = vec![Vec::new(); outputs];
        let mut leaf = 0;
        let mut start = 0;
        let mut tree_id = 0i64;
        while start < nodes {
            let length = self.nodes_treeids[start..].iter().take_while(|id| **id == tree_id).count();
            if length == 0 {
                return Err(RefuseOnnx::Index { node: start });
            }
            let mut built = Vec::with_capacity(length);
            let mut target = None;
            for ix in start..start + length {
                let refused = RefuseOnnx::Index { node: ix };
                if self.nodes_nodeids[ix] != (ix - start) as i64 {
                    return Err(refused);
                }
                if self.nodes_modes[ix] == LEAF {
                    let owned = leaf < weights
                        && self.target_treeids[leaf] == tree_id
                        && self.target_nodeids[leaf] == (ix - start) as i64
                        && target.is_none_or(|t| t == self.target_ids[leaf]);
                    if !owned {
                        return Err(refused);
                    }
                    target = Some(self.target_ids[leaf]);
                    let scaled = f64::from(self.target_weights[leaf]) * f64::from(ONE);
                    if scaled.fract() != 0.0 || scaled.abs() >= f64::from(1 << 24) {
                        return Err(RefuseOnnx::Leaf { node: ix });
                    }
                    built.push(Node::Leaf { steps: scaled as i32 });
                    leaf += 1;
                } else if self.nodes_modes[ix] == BRANCH {
                    let index = |v: i64| u32::try_from(v).map_err(|_| RefuseOnnx::Index { node: ix });
                    built.push(Node::Split {
                        feature: u16::try_from(self.nodes_featureids[ix]).map_err(|_| refused)?,
                        threshold: self.nodes_values[ix],
                        low: index(self.nodes_truenodeids[ix])?,
                        high: index(self.nodes_falsenodeids[ix])?,
                    });
                } else {
                    let what = format!("node mode {:?}", String::from_utf8_lossy(&self.nodes_modes[ix]));
                    return Err(RefuseOnnx::Unexpected { what });
                }
            }
            let output = target.and_then(|t| usize::try_from(t).ok()).filter(|t| *t < outputs);
            let output = output.ok_or(RefuseOnnx::Index { node: start })?;
            trees[output].push(Tree::new(built)?);
            start += length;
            tree_id += 1;
        }
        if leaf != weights {
            return Err(RefuseOnnx::Unexpected { what: "leaf weights without a leaf".into() });
        }
        Ok(Forest::new(features, trees)?)
    }
}

/// Why bytes are no limit model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseOnnx {
    /// Not protobuf, or cut short.
    #[error("not an ONNX file: {reason}")]
    Protobuf {
        /// The decoder's word.
        reason: String,
    },
    /// Valid ONNX, but not of the one shape this engine evaluates.
    #[error("the ONNX file has {what}")]
    Unexpected {
        /// What.
        what: String,
    },
    /// An id that is out of order or points outside.
    #[error("node {node}: an index is out of order or out of range")]
    Index {
        /// Position in the node lists.
        node: usize,
    },
    /// Not a whole number of steps, or too many.
    #[error("node {node}: the leaf is not a whole number of 2⁻²⁰ steps")]
    Leaf {
        /// Position in the node lists.
        node: usize,
    },
    /// The nodes are no forest.
    #[error(transparent)]
    Forest(#[from] BadForest),
}

/// The part of `onnx.proto3` that one tree ensemble needs.
mod proto {
    pub(super) const FLOAT: i32 = 1;
    pub(super) const INT: i32 = 2;
    pub(super) const STRING: i32 = 3;
    pub(super) const FLOATS: i32 = 6;
    pub(super) const INTS: i32 = 7;
    pub(super) const STRINGS: i32 = 8;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Model {
        #[prost(int64, tag = "1")]
        pub(super) ir_version: i64,
        #[prost(string, tag = "2")]
        pub(super) producer_name: String,
        #[prost(int64, tag = "5")]
        pub(super) model_version: i64,
        #[prost(message, optional, tag = "7")]
        pub(super) graph: Option<Graph>,
        #[prost(message, repeated, tag = "8")]
        pub(super) opset_import: Vec<Opset>,
        #[prost(message, repeated, tag = "14")]
        pub(super) metadata_props: Vec<Entry>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Graph {
        #[prost(message, repeated, tag = "1")]
        pub(super) node: Vec<Node>,
        #[prost(string, tag = "2")]
        pub(super) name: String,
        #[prost(message, repeated, tag = "11")]
        pub(super) input: Vec<ValueInfo>,
        #[prost(message, repeated, tag = "12")]
        pub(super) output: Vec<ValueInfo>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Node {
        #[prost(string, repeated, tag = "1")]
        pub(super) input: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        pub(super) output: Vec<String>,
        #[prost(string, tag = "3")]
        pub(super) name: String,
        #[prost(string, tag = "4")]
        pub(super) op_type: String,
        #[prost(message, repeated, tag = "5")]
        pub(super) attribute: Vec<Attribute>,
        #[prost(string, tag = "7")]
        pub(super) domain: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Attribute {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(int64, tag = "3")]
        pub(super) i: i64,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) s: Vec<u8>,
        #[prost(float, repeated, tag = "7")]
        pub(super) floats: Vec<f32>,
        #[prost(int64, repeated, tag = "8")]
        pub(super) ints: Vec<i64>,
        #[prost(bytes = "vec", repeated, tag = "9")]
        pub(super) strings: Vec<Vec<u8>>,
        #[prost(int32, tag = "20")]
        pub(super) r#type: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ValueInfo {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "2")]
        pub(super) r#type: Option<Type>,
    }

    impl ValueInfo {
        /// F of a `[rows, F]` f32 tensor.
        pub(super) fn columns(&self) -> Option<usize> {
            let tensor = self.r#type.as_ref()?.tensor_type.as_ref()?;
            match tensor.shape.as_ref()?.dim.as_slice() {
                [_, Dim { value: Some(DimValue::Value(columns)) }] if tensor.elem_type == FLOAT => {
                    usize::try_from(*columns).ok().filter(|c| *c <= usize::from(u16::MAX))
                }
                _ => None,
            }
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Type {
        #[prost(message, optional, tag = "1")]
        pub(super) tensor_type: Option<TensorType>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TensorType {
        #[prost(int32, tag = "1")]
        pub(super) elem_type: i32,
        #[prost(message, optional, tag = "2")]
        pub(super) shape: Option<Shape>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Shape {
        #[prost(message, repeated, tag = "1")]
        pub(super) dim: Vec<Dim>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Dim {
        #[prost(oneof = "DimValue", tags = "1, 2")]
        pub(super) value: Option<DimValue>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum DimValue {
        #[prost(int64, tag = "1")]
        Value(i64),
        #[prost(string, tag = "2")]
        Param(String),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Opset {
        #[prost(string, tag = "1")]
        pub(super) domain: String,
        #[prost(int64, tag = "2")]
        pub(super) version: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Entry {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ModelFile {
        let nodes = |t: f32| {
            vec![
                Node::Split { feature: 1, threshold: t, low: 1, high: 2 },
                Node::Leaf { steps: -3 },
                Node::Leaf { steps: 1 << 19 },
            ]
        };
        let tree = |t| Tree::new(nodes(t)).expect("a tree");
        let outputs = vec![vec![Tree::constant(5), tree(0.25)], vec![tree(-1.5)]];
        ModelFile {
            forest: Forest::new(3, outputs).expect("a forest"),
            version: 7,
            properties: BTreeMap::from([("model_id".into(), "test".into())]),
        }
    }

    #[test]
    fn a_forest_survives_the_file() {
        assert_eq!(ModelFile::decode(&file().encode()), Ok(file()));
    }

    #[test]
    fn a_cut_file_is_refused_or_has_lost_its_properties() {
        let bytes = file().encode();
        for length in 0..bytes.len() {
            // The properties come last: a cut just before them is a valid file, which the manifest then refuses.
            if let Ok(read) = ModelFile::decode(&bytes[..length]) {
                assert_eq!((&read.forest, read.properties.len()), (&file().forest, 0), "cut at {length}");
            }
        }
    }

    #[test]
    fn no_single_byte_makes_the_reader_panic_or_read_outside() {
        let bytes = file().encode();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1] {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(read) = ModelFile::decode(&changed) {
                    // Whatever still reads is a forest of its own, and evaluating it stays inside.
                    let _ = read.forest.evaluate(&vec![0.0; read.forest.features()]);
                }
            }
        }
    }

    #[test]
    fn other_operators_and_attributes_are_refused() {
        let mut model = file().to_proto();
        let node = |m: &mut proto::Model| m.graph.as_mut().map(|g| g.node.remove(0)).expect("one node");
        let mut other = node(&mut model);
        other.op_type = "Loop".into();
        model.graph.as_mut().expect("a graph").node.push(other);
        let refused = ModelFile::decode(&model.encode_to_vec());
        assert!(matches!(refused, Err(RefuseOnnx::Unexpected { what }) if what.contains("Loop")));

        let mut model = file().to_proto();
        let mut tree = node(&mut model);
        tree.attribute.push(proto::Attribute { name: "base_values".into(), floats: vec![1.0], ..Default::default() });
        model.graph.as_mut().expect("a graph").node.push(tree);
        let refused = ModelFile::decode(&model.encode_to_vec());
        assert!(matches!(refused, Err(RefuseOnnx::Unexpected { what }) if what.contains("base_values")));
    }

    #[test]
    fn a_leaf_between_two_steps_is_refused() {
        let mut attributes = Attributes::of(&file().forest);
        attributes.target_weights[0] = 1.0 / 3.0;
        assert!(matches!(attributes.forest(3), Err(RefuseOnnx::Leaf { .. })));
        let mut attributes = Attributes::of(&file().forest);
        attributes.target_weights[0] = f32::NAN;
        assert!(matches!(attributes.forest(3), Err(RefuseOnnx::Leaf { .. })));
    }

    #[test]
    fn unknown_content_is_refused() {
        let mut bytes = file().encode();
        bytes.extend([0xa2, 0x06, 0x01, b'x']); // field 100, one byte
        assert!(matches!(ModelFile::decode(&bytes), Err(RefuseOnnx::Unexpected { .. })));
    }
}
