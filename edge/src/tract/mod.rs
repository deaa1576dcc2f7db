//! The kernel inside tract: under `tract-onnx` any ONNX graph around the trees runs; under `tract-core` the trees alone,
//! in a graph made by hand, at half the size.

#[cfg(feature = "tract")]
mod onnx;
mod operator;

#[cfg(feature = "tract")]
pub use onnx::onnx;

use plimsoll_kernel::forest::ONE;
use tract_core::internal::*;

/// A graph optimised by tract, ready to run.
#[derive(Debug)]
pub(crate) struct Plan(Arc<TypedRunnableModel>);

impl Plan {
    /// Prepares a checked file over rows of `columns`.
    #[cfg(feature = "tract")]
    pub(crate) fn new(bytes: &[u8], columns: usize) -> Result<Self, String> {
        use tract_hir::internal::{Framework as _, InferenceFact, InferenceModelExt as _};
        let plan = || -> TractResult<Arc<TypedRunnableModel>> {
            let mut reader = bytes;
            let rows = 1usize;
            onnx()
                .model_for_read(&mut reader)?
                .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [rows, columns]))?
                .into_optimized()?
                .into_runnable()
        };
        plan().map(Self).map_err(|e| format!("{e:#}"))
    }

    /// Prepares a kernel over rows of `columns`.
    #[cfg(not(feature = "tract"))]
    pub(crate) fn of_kernel(kernel: plimsoll_kernel::Kernel, columns: usize) -> Result<Self, String> {
        let plan = || -> TractResult<Arc<TypedRunnableModel>> {
            let mut model = TypedModel::default();
            let rows = 1usize;
            let features = model.add_source("features", f32::fact([rows, columns]))?;
            let fractions = model.wire_node("trees", operator::Trees::new(kernel, None, false), &[features])?;
            model.select_output_outlets(&fractions)?;
            model.into_optimized()?.into_runnable()
        };
        plan().map(Self).map_err(|e| format!("{e:#}"))
    }

    /// The steps of every output for one row.
    pub(crate) fn steps(&self, row: &[f32]) -> Vec<i32> {
        let input = tract_ndarray::ArrayView2::from_shape((1, row.len()), row).expect("one row of its own length");
        let run = || -> TractResult<Vec<i32>> {
            let outputs = self.0.run(tvec!(input.to_owned().into_tensor().into_tvalue()))?;
            let view = outputs[0].try_as_plain_ram()?;
            // Whole steps below 2²⁴, so the product is exact.
            Ok(view.as_slice::<f32>()?.iter().map(|v| (v * ONE as f32) as i32).collect())
        };
        run().expect("shapes were checked when the plan was made, and the operator has no other way to fail")
    }
}

#[cfg(all(test, feature = "tract"))]
mod tests {
    use std::collections::BTreeMap;

    use plimsoll_model::forest::{Forest, Node, Tree};
    use plimsoll_model::onnx::ModelFile;
    use prost::Message as _;
    use tract_hir::internal::{Framework as _, InferenceFact, InferenceModelExt as _};
    use tract_onnx::pb;

    use super::*;

    /// Column 1 ≤ ½ ? −¼ : (column 0 ≤ −1 ? ¾ : ⅛), and a tree that always answers 1/16.
    fn forest() -> Forest {
        let sixteenths = |n: i32| Node::Leaf { steps: n << 16 };
        let nodes = vec![
            Node::Split { feature: 1, threshold: 0.5, low: 1, high: 2 },
            sixteenths(-4),
            Node::Split { feature: 0, threshold: -1.0, low: 3, high: 4 },
            sixteenths(12),
            sixteenths(2),
        ];
        Forest::new(2, vec![vec![Tree::new(nodes).expect("a tree"), Tree::constant(1 << 16)]]).expect("a forest")
    }

    fn proto() -> pb::ModelProto {
        let file = ModelFile { forest: forest(), version: 1, properties: BTreeMap::new() };
        pb::ModelProto::decode(file.encode().as_slice()).expect("decodes")
    }

    fn graph(model: &mut pb::ModelProto) -> &mut pb::GraphProto {
        model.graph.as_mut().expect("a graph")
    }

    fn attribute<'a>(model: &'a mut pb::ModelProto, name: &str) -> &'a mut pb::AttributeProto {
        graph(model).node[0].attribute.iter_mut().find(|a| a.name == name).expect("an attribute of that name")
    }

    /// Rows of two columns through tract; one table for each output of the graph.
    fn run(model: &pb::ModelProto, rows: &[[f32; 2]]) -> TractResult<Vec<Tensor>> {
        let table = tract_ndarray::Array2::from_shape_vec((rows.len(), 2), rows.as_flattened().to_vec())?;
        let plan = onnx()
            .model_for_read(&mut model.encode_to_vec().as_slice())?
            .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [rows.len(), 2]))?
            .into_optimized()?
            .into_runnable()?;
        Ok(plan.run(tvec!(table.into_tensor().into_tvalue()))?.into_iter().map(|o| o.into_tensor()).collect())
    }

    fn floats(tensor: &Tensor) -> Vec<f32> {
        tensor.try_as_plain_ram().expect("in memory").as_slice::<f32>().expect("floats").to_vec()
    }

    const ROWS: [[f32; 2]; 5] = [[0.0, 0.5], [-1.0, 0.6], [-0.9, 0.6], [f32::NAN, f32::NAN], [f32::INFINITY, -0.0]];

    fn reference(scale: f32) -> Vec<f32> {
        let answer = |row: &[f32; 2]| forest().evaluate(&row.map(|v| v * scale))[0] as f32 / ONE as f32;
        ROWS.iter().map(answer).collect()
    }

    #[test]
    fn rows_at_once_are_the_reference_walk_row_by_row() {
        assert_eq!(floats(&run(&proto(), &ROWS).expect("runs")[0]), reference(1.0));
    }

    #[test]
    fn a_graph_around_the_trees_runs() {
        let mut model = proto();
        let graph = graph(&mut model);
        graph.node[0].input = vec!["scaled".into()];
        graph.node.insert(
            0,
            pb::NodeProto {
                op_type: "Mul".into(),
                input: vec!["features".into(), "scale".into()],
                output: vec!["scaled".into()],
                ..Default::default()
            },
        );
        graph.initializer.push(pb::TensorProto {
            name: "scale".into(),
            dims: vec![1, 2],
            data_type: 1,
            float_data: vec![2.0, 2.0],
            ..Default::default()
        });
        assert_eq!(floats(&run(&model, &ROWS).expect("runs")[0]), reference(2.0));
        assert_ne!(reference(2.0), reference(1.0));
    }

    fn classifier(transform: &str) -> pb::ModelProto {
        let mut model = proto();
        for part in ["treeids", "nodeids", "ids", "weights"] {
            attribute(&mut model, &format!("target_{part}")).name = format!("class_{part}");
        }
        attribute(&mut model, "post_transform").s = transform.into();
        let labels = attribute(&mut model, "n_targets");
        labels.name = "classlabels_int64s".into();
        (labels.i, labels.ints, labels.r#type) = (0, vec![10, 20], pb::attribute_proto::AttributeType::Ints as i32);
        let graph = graph(&mut model);
        let node = &mut graph.node[0];
        node.attribute.retain(|a| a.name != "aggregate_function");
        node.op_type = "TreeEnsembleClassifier".into();
        node.output = vec!["label".into(), "scores".into()];
        let output = |name: &str| pb::ValueInfoProto { name: name.into(), ..Default::default() };
        graph.output = vec![output("label"), output("scores")];
        model
    }

    #[test]
    fn a_classifier_gives_labels_and_scores_as_onnx_runtime_does() {
        let outputs = run(&classifier("NONE"), &ROWS).expect("runs");
        let labels = outputs[0].try_as_plain_ram().expect("in memory");
        assert_eq!(labels.as_slice::<i64>().expect("labels"), [10, 20, 20, 20, 10]);
        let both: Vec<f32> = reference(1.0).into_iter().flat_map(|m| [-m, m]).collect();
        assert_eq!(floats(&outputs[1]), both);

        let outputs = run(&classifier("LOGISTIC"), &ROWS).expect("runs");
        for (found, margin) in floats(&outputs[1]).chunks(2).zip(reference(1.0)) {
            let want = 1.0 / (1.0 + (-f64::from(margin)).exp());
            assert!((f64::from(found[1]) - want).abs() < 1e-6 && (found[0] + found[1] - 1.0).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn what_runtimes_read_differently_is_refused_when_the_graph_is_loaded() {
        let mut never_negative = classifier("NONE");
        attribute(&mut never_negative, "class_weights").floats.iter_mut().for_each(|w| *w = w.abs());
        assert!(format!("{:#}", run(&never_negative, &ROWS).expect_err("refused")).contains("negative"));

        let mut gte = proto();
        attribute(&mut gte, "nodes_modes").strings[0] = b"BRANCH_GTE".to_vec();
        assert!(format!("{:#}", run(&gte, &ROWS).expect_err("refused")).contains("BRANCH_LEQ"));
    }

    #[test]
    fn the_tree_ensemble_of_opset_5_runs() {
        let mut model = proto();
        model.opset_import.iter_mut().filter(|o| o.domain == "ai.onnx.ml").for_each(|o| o.version = 5);
        use pb::attribute_proto::AttributeType as Kind;
        let attribute = |name: &str, kind: Kind| pb::AttributeProto {
            name: name.into(),
            r#type: kind as i32,
            ..Default::default()
        };
        let ints = |name, ints: &[i64]| pb::AttributeProto { ints: ints.to_vec(), ..attribute(name, Kind::Ints) };
        let tensor = |name, data_type, dims, raw_data| pb::AttributeProto {
            t: Some(pb::TensorProto { dims: vec![dims], data_type, raw_data, ..Default::default() }),
            ..attribute(name, Kind::Tensor)
        };
        let floats_of = |name, values: &[f32]| {
            tensor(name, 1, values.len() as i64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        };
        let node = &mut graph(&mut model).node[0];
        node.op_type = "TreeEnsemble".into();
        node.attribute = vec![
            pb::AttributeProto { i: 1, ..attribute("n_targets", Kind::Int) },
            ints("tree_roots", &[0, 2]),
            ints("nodes_featureids", &[1, 0, 0]),
            floats_of("nodes_splits", &[0.5, -1.0, 0.0]),
            tensor("nodes_modes", 2, 3, vec![0; 3]),
            ints("nodes_truenodeids", &[0, 1, 3]),
            ints("nodes_trueleafs", &[1, 1, 1]),
            ints("nodes_falsenodeids", &[1, 2, 3]),
            ints("nodes_falseleafs", &[0, 1, 1]),
            ints("leaf_targetids", &[0, 0, 0, 0]),
            floats_of("leaf_weights", &[-0.25, 0.75, 0.125, 0.0625]),
        ];
        assert_eq!(floats(&run(&model, &ROWS).expect("runs")[0]), reference(1.0));
    }
}
