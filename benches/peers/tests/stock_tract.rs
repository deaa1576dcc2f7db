//! What stock tract does with tree ensembles today. When one of these fails, upstream has fixed it: see "Fixes for
//! tract" in edge/README.md.

use std::collections::BTreeMap;

use plimsoll_model::forest::{Forest, Node, Tree};
use plimsoll_model::onnx::ModelFile;
use prost::Message as _;
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::prelude::*;

/// `x ≤ 1 ? −½ : ½`, as our writer writes it.
fn regressor() -> pb::ModelProto {
    let nodes = vec![
        Node::Split { feature: 0, threshold: 1.0, low: 1, high: 2 },
        Node::Leaf { steps: -(1 << 19) },
        Node::Leaf { steps: 1 << 19 },
    ];
    let forest = Forest::new(1, vec![vec![Tree::new(nodes).expect("a tree")]]).expect("a forest");
    let file = ModelFile { forest, version: 1, properties: BTreeMap::new() };
    pb::ModelProto::decode(file.encode().as_slice()).expect("decodes")
}

/// The same tree as the margin of two classes.
fn classifier(mode: &str, base: &[f32]) -> pb::ModelProto {
    let mut model = regressor();
    let graph = model.graph.as_mut().expect("a graph");
    let node = &mut graph.node[0];
    node.op_type = "TreeEnsembleClassifier".into();
    node.output = vec!["label".into(), "scores".into()];
    node.attribute.retain(|a| a.name != "aggregate_function" && a.name != "n_targets");
    for a in &mut node.attribute {
        a.name = a.name.replace("target_", "class_");
        if a.name == "nodes_modes" {
            a.strings[0] = mode.into();
        }
    }
    let attribute = |name: &str, kind: AttributeType| pb::AttributeProto {
        name: name.into(),
        r#type: kind as i32,
        ..Default::default()
    };
    let labels = attribute("classlabels_int64s", AttributeType::Ints);
    node.attribute.push(pb::AttributeProto { ints: vec![0, 1], ..labels });
    if !base.is_empty() {
        let values = attribute("base_values", AttributeType::Floats);
        node.attribute.push(pb::AttributeProto { floats: base.to_vec(), ..values });
    }
    let output = |name: &str| pb::ValueInfoProto { name: name.into(), ..Default::default() };
    graph.output = vec![output("label"), output("scores")];
    model
}

/// The last number that stock tract answers for `x`.
fn answer(model: &pb::ModelProto, x: f32) -> TractResult<f32> {
    let plan = tract_onnx::onnx()
        .model_for_read(&mut model.encode_to_vec().as_slice())?
        .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [1, 1]))?
        .into_optimized()?
        .into_runnable()?;
    let outputs = plan.run(tvec!(tensor2(&[[x]]).into()))?;
    let scores = outputs.last().expect("an output").try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    Ok(*scores.last().expect("a score"))
}

#[test]
fn the_regressor_is_missing() {
    let refused = answer(&regressor(), 0.0).expect_err("stock tract has a regressor now");
    assert!(format!("{refused:#}").contains("TreeEnsembleRegressor"), "{refused:#}");
}

#[test]
fn less_or_equal_is_read_right() {
    let model = classifier("BRANCH_LEQ", &[]);
    assert_eq!([0.0, 1.0, 2.0].map(|x| answer(&model, x).expect("runs")), [-0.5, -0.5, 0.5]);
}

/// `x ≥ 1 ? −½ : ½` is ½, −½, −½.
#[test]
fn greater_or_equal_is_misread_without_a_word() {
    let model = classifier("BRANCH_GTE", &[]);
    let found = [0.0, 1.0, 2.0].map(|x| answer(&model, x).ok());
    assert_ne!(found, [Some(0.5), Some(-0.5), Some(-0.5)], "stock tract reads BRANCH_GTE right now");
    assert!(found.iter().all(Option::is_some), "stock tract refuses BRANCH_GTE now: {found:?}");
}

/// XGBoost's exporter writes one base value for two classes.
#[test]
fn one_base_value_for_two_classes_is_refused() {
    let refused = answer(&classifier("BRANCH_LEQ", &[0.25]), 0.0).expect_err("stock tract reads one base value now");
    assert!(format!("{refused:#}").contains("base_values"), "{refused:#}");
}
