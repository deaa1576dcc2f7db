//! The reader against the workspace's own writer: the same bytes give the same forest, and nothing makes it panic.

use std::collections::BTreeMap;

use plimsoll_kernel::forest::{Forest, Node, Parts, Value};
use plimsoll_kernel::onnx::{Operator, PostTransform};
use plimsoll_kernel::{File, Kernel, Refused};
use plimsoll_model::forest::{Forest as Reference, Node as ReferenceNode, Tree};
use plimsoll_model::onnx::ModelFile;

mod proto;

use proto::{Graph, bytes, float_list, int, int_list, packed, text, text_list};

struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % bound
    }
}

fn tree(noise: &mut Noise, splits: u32) -> Tree {
    let mut nodes = vec![ReferenceNode::Leaf { steps: 0 }];
    let mut leaves = vec![0usize];
    for _ in 0..splits {
        let at = leaves.swap_remove(noise.below(leaves.len() as u32) as usize);
        let low = nodes.len();
        let threshold = noise.below(16) as f32 / 4.0 - 2.0;
        let feature = noise.below(5) as u16;
        nodes[at] = ReferenceNode::Split { feature, threshold, low: low as u32, high: low as u32 + 1 };
        nodes.extend([ReferenceNode::Leaf { steps: 0 }; 2]);
        leaves.extend([low, low + 1]);
    }
    for leaf in leaves {
        nodes[leaf] = ReferenceNode::Leaf { steps: noise.below(100_000) as i32 - 50_000 };
    }
    Tree::new(nodes).expect("a tree")
}

fn model(seed: u64) -> ModelFile {
    let noise = &mut Noise(seed);
    let outputs = (0..3).map(|o| (0..4 + o).map(|t| tree(noise, t * 5)).collect()).collect();
    ModelFile {
        forest: Reference::new(5, outputs).expect("a forest"),
        version: 7 + seed as i64,
        properties: BTreeMap::from([("model_id".into(), "test".into()), ("programme".into(), "ringgit ✓".into())]),
    }
}

/// The same forest in the kernel's words, tree after tree as the writer writes them.
fn plain(forest: &Reference) -> Forest {
    let mut parts = Parts { features: forest.features(), base: vec![0; forest.outputs().len()], ..Parts::default() };
    for (output, trees) in forest.outputs().iter().enumerate() {
        for tree in trees {
            let root = parts.nodes.len() as u32;
            parts.roots.push(root);
            for node in tree.nodes() {
                parts.nodes.push(match *node {
                    ReferenceNode::Split { feature, threshold, low, high } => {
                        Node::Split { feature, threshold, low: low + root, high: high + root }
                    }
                    ReferenceNode::Leaf { steps } => {
                        let first = parts.values.len() as u32;
                        parts.values.push(Value { output: output as u32, steps });
                        Node::Leaf { first, end: first + 1 }
                    }
                });
            }
        }
    }
    Forest::new(parts).expect("a forest")
}

#[test]
fn the_same_bytes_give_the_same_forest() {
    for seed in 0..20 {
        let model = model(seed);
        let file = File::read(&model.encode()).expect("reads what the writer writes");
        assert_eq!(file.ensemble.forest, plain(&model.forest));
        assert_eq!(file.ensemble.operator, Operator::Regressor);
        assert_eq!(file.version, model.version);
        let properties: BTreeMap<_, _> = file.properties.iter().cloned().collect();
        assert_eq!(properties, model.properties);
        assert_eq!(file.property("programme"), Some("ringgit ✓"));
        let kernel = Kernel::new(&file.ensemble.forest).expect("lays out");
        let noise = &mut Noise(seed);
        for _ in 0..200 {
            let row: Vec<f32> = (0..5).map(|_| noise.below(40) as f32 / 8.0 - 2.5).collect();
            assert_eq!(kernel.steps(&row), model.forest.evaluate(&row));
        }
    }
}

/// Every byte changed, cut and doubled: both readers on the same bytes. Ours reads other spellings too, but what the
/// strict one accepts is the same forest here.
#[test]
fn what_the_strict_reader_accepts_of_damaged_bytes_is_the_same_forest() {
    let bytes = model(3).encode();
    let (mut both, mut ours) = (0, 0);
    let mut check = |changed: &[u8]| {
        let strict = ModelFile::decode(changed);
        let file = File::read(changed);
        match (strict, file) {
            (Ok(strict), Ok(file)) => {
                both += 1;
                assert_eq!(file.ensemble.forest, plain(&strict.forest));
                assert_eq!(file.version, strict.version);
            }
            (Ok(_), Err(e)) => panic!("refused what the strict reader reads: {e}"),
            (Err(_), Ok(file)) => {
                ours += 1;
                // Whatever still reads evaluates inside its arrays.
                let kernel = Kernel::new(&file.ensemble.forest).expect("lays out");
                let row = vec![0.5; file.ensemble.forest.features()];
                assert_eq!(kernel.steps(&row), file.ensemble.forest.evaluate(&row));
            }
            (Err(_), Err(_)) => {}
        }
    };
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1] {
            let mut changed = bytes.clone();
            changed[at] = value;
            check(&changed);
        }
        check(&bytes[..at]);
        let mut doubled = bytes.clone();
        doubled.insert(at, bytes[at]);
        check(&doubled);
    }
    assert!(both > 100 && ours > 0, "{both} read by both, {ours} by ours alone");
}

/// A stump over column 1 of three: `x ≤ 0.25` gives −3 steps, else 2¹⁹.
fn stump() -> Graph {
    Graph::regressor(vec![
        int("n_targets", 1),
        int_list("nodes_treeids", &[0, 0, 0]),
        int_list("nodes_nodeids", &[0, 1, 2]),
        int_list("nodes_featureids", &[1, 0, 0]),
        float_list("nodes_values", &[0.25, 0.0, 0.0]),
        text_list("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
        int_list("nodes_truenodeids", &[1, 0, 0]),
        int_list("nodes_falsenodeids", &[2, 0, 0]),
        int_list("target_treeids", &[0, 0]),
        int_list("target_nodeids", &[1, 2]),
        int_list("target_ids", &[0, 0]),
        float_list("target_weights", &[-3.0 / 1_048_576.0, 0.5]),
    ])
}

#[track_caller]
fn answers(graph: &Graph, row: &[f32], want: &[i32]) {
    for bytes in [graph.encode(false), graph.encode(true)] {
        let file = File::read(&bytes).expect("reads");
        assert_eq!(file.ensemble.forest.evaluate(row), want, "reference");
        assert_eq!(Kernel::new(&file.ensemble.forest).expect("lays out").steps(row), want, "kernel");
    }
}

#[track_caller]
fn refused(graph: &Graph, word: &str) {
    for bytes in [graph.encode(false), graph.encode(true)] {
        let reason = File::read(&bytes).expect_err("refused");
        assert!(reason.to_string().contains(word), "{reason}, expected {word}");
    }
}

#[test]
fn numbers_are_read_packed_and_one_by_one() {
    answers(&stump(), &[9.0, 0.25, f32::NAN], &[-3]);
    answers(&stump(), &[9.0, 0.25f32.next_up(), f32::NAN], &[1 << 19]);
    answers(&stump(), &[9.0, f32::NAN, 0.0], &[1 << 19]);
}

#[test]
fn node_ids_in_another_order_are_the_same_tree() {
    let ids = int_list("nodes_nodeids", &[2, 0, 1]);
    let graph = stump()
        .with(ids)
        .with(int_list("nodes_truenodeids", &[0, 0, 0]))
        .with(int_list("nodes_falsenodeids", &[1, 0, 0]))
        .with(int_list("target_nodeids", &[0, 1]));
    answers(&graph, &[0.0, 0.0, 0.0], &[-3]);
    answers(&graph, &[0.0, 1.0, 0.0], &[1 << 19]);
}

#[test]
fn a_leaf_may_add_to_several_outputs_and_each_starts_from_its_base() {
    let graph = stump()
        .with(int("n_targets", 2))
        .with(int_list("target_treeids", &[0, 0, 0]))
        .with(int_list("target_nodeids", &[1, 1, 2]))
        .with(int_list("target_ids", &[1, 0, 0]))
        .with(float_list("target_weights", &[0.5, 0.25, -0.5]))
        .with(float_list("base_values", &[0.0, 0.125]));
    answers(&graph, &[0.0, 0.0, 0.0], &[1 << 18, (1 << 19) + (1 << 17)]);
    answers(&graph, &[0.0, 1.0, 0.0], &[-(1 << 19), 1 << 17]);
}

#[test]
fn a_binary_classifier_gives_its_margin_and_says_what_becomes_of_it() {
    let classifier = |labels: &[i64], transform: &str| {
        let mut graph = stump();
        graph.outputs = vec!["label", "probabilities"];
        graph.operator = "TreeEnsembleClassifier";
        for (from, to) in [
            ("target_treeids", "class_treeids"),
            ("target_nodeids", "class_nodeids"),
            ("target_ids", "class_ids"),
            ("target_weights", "class_weights"),
        ] {
            graph.rename(from, to);
        }
        graph
            .without("n_targets")
            .with(int_list("classlabels_int64s", labels))
            .with(text("post_transform", transform))
            .with(float_list("base_values", &[0.25]))
    };
    for (transform, want) in [("NONE", PostTransform::None), ("LOGISTIC", PostTransform::Logistic)] {
        let graph = classifier(&[3, 8], transform);
        answers(&graph, &[0.0, 0.0, 0.0], &[(1 << 18) - 3]);
        let ensemble = File::read(&graph.encode(true)).expect("reads").ensemble;
        assert_eq!(ensemble.post_transform, want);
        assert_eq!(ensemble.operator, Operator::Classifier { labels: [3, 8], never_negative: false });
    }
    refused(&classifier(&[0, 1], "SOFTMAX"), "post_transform");
    refused(&classifier(&[0, 1, 2], "NONE"), "classlabels_int64s");
    refused(&classifier(&[0, 1], "NONE").with(int_list("class_ids", &[0, 1])), "output");
    refused(&classifier(&[0, 1], "NONE").with(float_list("base_values", &[0.0, 0.0])), "base_values");
}

/// Column 0 ≤ 1 ? (column 2 ≤ −1 ? ½ : ¼) : −½ for output 0; output 1 is the lone leaf ⅛.
fn opset_5() -> Graph {
    Graph::ensemble(vec![
        int("n_targets", 2),
        int("aggregate_function", 1),
        int("post_transform", 0),
        int_list("tree_roots", &[2, 1]),
        int_list("nodes_featureids", &[2, 0, 0]),
        bytes("nodes_splits", 1, 3, &[-1.0f32, 0.0, 1.0].map(f32::to_le_bytes).concat()),
        bytes("nodes_modes", 2, 3, &[0, 0, 0]),
        int_list("nodes_truenodeids", &[0, 3, 0]),
        int_list("nodes_trueleafs", &[1, 1, 0]),
        int_list("nodes_falsenodeids", &[1, 3, 2]),
        int_list("nodes_falseleafs", &[1, 1, 1]),
        int_list("leaf_targetids", &[0, 0, 0, 1]),
        bytes("leaf_weights", 1, 4, &[0.5f32, 0.25, -0.5, 0.125].map(f32::to_le_bytes).concat()),
    ])
}

#[test]
fn the_tree_ensemble_of_opset_5_is_read() {
    answers(&opset_5(), &[1.0, 0.0, -1.0], &[1 << 19, 1 << 17]);
    answers(&opset_5(), &[1.0, 0.0, f32::NAN], &[1 << 18, 1 << 17]);
    answers(&opset_5(), &[f32::NAN, 0.0, -1.0], &[-(1 << 19), 1 << 17]);
    let as_floats = opset_5().with(packed("nodes_splits", 1, 3, &[-1.0, 0.0, 1.0]));
    answers(&as_floats, &[1.0, 0.0, -1.0], &[1 << 19, 1 << 17]);
}

#[test]
fn what_opset_5_can_say_and_the_kernel_cannot_do_is_refused() {
    refused(&opset_5().with(bytes("nodes_modes", 2, 3, &[0, 0, 3])), "node 2");
    refused(&opset_5().with(bytes("membership_values", 1, 1, &[0; 4])), "membership_values");
    refused(&opset_5().with(int("aggregate_function", 3)), "aggregate_function");
    refused(&opset_5().with(int("post_transform", 2)), "post_transform");
    refused(&opset_5().with(int_list("nodes_trueleafs", &[1, 1, 2])), "node 2");
    refused(&opset_5().with(int_list("nodes_truenodeids", &[0, 3, 2])), "node");
    refused(&opset_5().with(int_list("nodes_truenodeids", &[0, 3, 1])), "node");
    refused(&opset_5().with(int_list("tree_roots", &[2, 3])), "tree_roots");
    refused(&opset_5().with(int_list("tree_roots", &[2])), "node");
    refused(&opset_5().with(int_list("tree_roots", &[2, 2])), "node");
    refused(&opset_5().with(bytes("nodes_splits", 11, 3, &[0; 24])), "nodes_splits");
    refused(&opset_5().with(bytes("nodes_splits", 1, 3, &[0; 16])), "nodes_splits");
    refused(&opset_5().with(bytes("leaf_weights", 1, 4, &[0x3d; 16])), "node 3");
    let mut old = opset_5();
    old.opset = 3;
    refused(&old, "version");
}

#[test]
fn what_the_kernel_cannot_do_is_refused_by_name() {
    refused(&stump().with(text_list("nodes_modes", &["BRANCH_GTE", "LEAF", "LEAF"])), "node 0");
    refused(&stump().with(text("aggregate_function", "MIN")), "aggregate_function");
    refused(&stump().with(text("post_transform", "LOGISTIC")), "post_transform");
    refused(&stump().with(int_list("nodes_missing_value_tracks_true", &[1, 0, 0])), "nodes_missing_value_tracks_true");
    answers(&stump().with(int_list("nodes_missing_value_tracks_true", &[0, 0, 0])), &[0.0; 3], &[-3]);
    refused(&stump().with(float_list("nodes_values", &[f32::NAN, 0.0, 0.0])), "node 0");
    refused(&stump().with(float_list("nodes_values", &[f32::INFINITY, 0.0, 0.0])), "node 0");
    refused(&stump().with(float_list("target_weights", &[0.5, 1.0 / 3.0])), "node 2");
    refused(&stump().with(float_list("target_weights", &[0.5, f32::NAN])), "node 2");
    refused(&stump().with(float_list("target_weights", &[0.5, 16.0])), "node 2");
    refused(&stump().with(float_list("base_values", &[0.1])), "base_values");
    refused(&stump().with(float_list("base_values", &[0.0, 0.0])), "base_values");
    // The largest leaf is half a one, so the base has 15.5 less a step to itself.
    refused(&stump().with(float_list("base_values", &[-15.5])), "2^24");
    answers(&stump().with(float_list("base_values", &[-15.25])), &[0.0; 3], &[-3 - 61 * (1 << 18)]);
    refused(&stump().with(int_list("nodes_featureids", &[3, 0, 0])), "node 0");
    refused(&stump().with(int_list("nodes_featureids", &[-1, 0, 0])), "node 0");
    refused(&stump().with(int_list("nodes_featureids", &[1, 0])), "nodes_featureids");
    refused(&stump().with(int("n_targets", 65)), "64");
    refused(&stump().with(int("n_targets", 2)), "output 1");
    refused(&stump().with(int("n_targets", 0)), "output");
    refused(&stump().with(int("n_targets", -1)), "64");
    refused(&stump().with(float_list("n_targets", &[1.0])), "n_targets");
    refused(&stump().with(int("class_weights", 1)), "class_weights");
    refused(&stump().without("nodes_values"), "nodes_values");
    let mut twice = stump();
    twice.attributes.push(int("n_targets", 1));
    refused(&twice, "n_targets");
}

#[test]
fn ids_that_make_no_tree_are_refused() {
    refused(&stump().with(int_list("nodes_falsenodeids", &[1, 0, 0])), "node 0");
    refused(&stump().with(int_list("nodes_falsenodeids", &[0, 0, 0])), "node 0");
    refused(&stump().with(int_list("nodes_falsenodeids", &[3, 0, 0])), "node 0");
    refused(&stump().with(int_list("nodes_falsenodeids", &[-1, 0, 0])), "node 0");
    refused(&stump().with(int_list("nodes_nodeids", &[0, 1, 1])), "node 2");
    refused(&stump().with(int_list("nodes_treeids", &[0, 0, 1])), "node 2");
    refused(&stump().with(int_list("nodes_treeids", &[1, 1, 0])), "node 2");
    refused(&stump().with(int_list("target_nodeids", &[1, 0])), "leaf");
    refused(&stump().with(int_list("target_nodeids", &[1, 1])), "node 1");
    refused(&stump().with(int_list("target_treeids", &[0, 1])), "leaf");
    refused(&stump().with(int_list("target_ids", &[0, 1])), "node 2");
    // Two nodes that only reach each other.
    let island = stump()
        .with(int_list("nodes_treeids", &[0; 5]))
        .with(int_list("nodes_nodeids", &[0, 1, 2, 3, 4]))
        .with(int_list("nodes_featureids", &[0; 5]))
        .with(float_list("nodes_values", &[0.0; 5]))
        .with(text_list("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "BRANCH_LEQ"]))
        .with(int_list("nodes_truenodeids", &[1, 0, 0, 4, 3]))
        .with(int_list("nodes_falsenodeids", &[2, 0, 0, 4, 3]));
    refused(&island, "node 3");
}

#[test]
fn a_graph_that_does_more_than_the_trees_is_refused() {
    let mut other = stump();
    other.operator = "Loop";
    refused(&other, "operator");
    let mut other = stump();
    other.nodes = 2;
    refused(&other, "more than one node");
    let mut other = stump();
    other.element = 11;
    refused(&other, "float32");
    let mut other = stump();
    other.node_input = "else";
    refused(&other, "input");
    let mut bytes = stump().encode(true);
    bytes.extend([0xca, 0x01, 0x00]); // field 25: functions
    assert_eq!(File::read(&bytes), Err(Refused::Field { message: "the model", field: 25 }));
}

#[test]
fn a_file_too_long_is_refused_before_it_is_read() {
    assert_eq!(File::read(&vec![0; 2_000_001]), Err(Refused::TooLarge { what: "bytes", max: 2_000_000 }));
    assert!(matches!(File::read(&vec![0xff; 2_000_000]), Err(Refused::Protobuf { .. })));
    assert!(File::read(b"").is_err());
}
