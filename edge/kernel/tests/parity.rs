//! Every way to evaluate a forest gives the bits of the reference walk.

use plimsoll_kernel::Kernel;
use plimsoll_kernel::forest::{Forest, Node, Parts, Value};
use proptest::prelude::*;

struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % bound
    }
}

/// What a made-up forest is like.
#[derive(Clone, Copy, Debug)]
struct Like {
    features: u32,
    /// Columns that splits read, from the last one down.
    read: u32,
    outputs: u32,
    trees: u32,
    splits: u32,
    /// Different thresholds there are.
    thresholds: u32,
    /// A leaf grows at the end of the deepest branch: one long chain instead of a bush.
    chains: bool,
    /// Leaves add to every output rather than to one.
    vectors: bool,
}

fn threshold(place: u32, of: u32) -> f32 {
    match place {
        0 => 0.0,
        1 => -0.0,
        2 => f32::MIN_POSITIVE / 4.0,
        3 => -f32::MIN_POSITIVE / 4.0,
        4 => f32::MAX,
        5 => f32::MIN,
        _ => (place as f32 - of as f32 / 2.0) * 0.37,
    }
}

fn forest(like: Like, seed: u64) -> Forest {
    let noise = &mut Noise(seed);
    let mut parts = Parts { features: like.features as usize, ..Parts::default() };
    parts.base = (0..like.outputs).map(|o| o as i32 * 3 - 1).collect();
    for tree in 0..like.trees.max(like.outputs) {
        let root = parts.nodes.len() as u32;
        parts.roots.push(root);
        let blank = Node::Leaf { first: 0, end: 0 };
        parts.nodes.push(blank);
        let mut leaves = vec![root];
        for _ in 0..noise.below(like.splits + 1) {
            let pick = if like.chains { leaves.len() - 1 } else { noise.below(leaves.len() as u32) as usize };
            let at = leaves.swap_remove(pick);
            let low = parts.nodes.len() as u32;
            parts.nodes.extend([blank; 2]);
            parts.nodes[at as usize] = Node::Split {
                feature: (like.features - 1 - noise.below(like.read)) as u16,
                threshold: threshold(noise.below(like.thresholds), like.thresholds),
                low,
                high: low + 1,
            };
            leaves.extend([low, low + 1]);
        }
        for leaf in leaves {
            let first = parts.values.len() as u32;
            let outputs = if like.vectors { 0..like.outputs } else { tree % like.outputs..tree % like.outputs + 1 };
            for output in outputs {
                parts.values.push(Value { output, steps: noise.below(4001) as i32 - 2000 });
            }
            parts.nodes[leaf as usize] = Node::Leaf { first, end: parts.values.len() as u32 };
        }
    }
    Forest::new(parts).expect("a forest")
}

/// Numbers on thresholds, right beside them, and everything that is no number.
fn number(like: Like, noise: &mut Noise) -> f32 {
    let near = threshold(noise.below(like.thresholds), like.thresholds);
    match noise.below(14) {
        0 => f32::NAN,
        1 => -f32::NAN,
        2 => f32::INFINITY,
        3 => f32::NEG_INFINITY,
        4 => 0.0,
        5 => -0.0,
        6 => f32::from_bits(noise.below(1 << 20)),
        7 | 8 => near,
        9 => near.next_up(),
        10 => near.next_down(),
        _ => (noise.below(1 << 16) as f32 / 65536.0 - 0.5) * like.thresholds as f32 * 0.4,
    }
}

#[track_caller]
fn check(like: Like, seed: u64, instructions: &str) {
    let forest = forest(like, seed);
    let kernel = Kernel::new(&forest).expect("lays out");
    let here = cfg!(all(feature = "std", target_arch = "x86_64")) && has_avx512();
    assert_eq!(kernel.instructions(), if here { instructions } else { "portable" }, "{like:?}");
    let noise = &mut Noise(seed ^ 0x5eed);
    // More than one batch of 64, and a rest; a column more than the forest reads.
    let (count, columns) = (131, like.features as usize + 1);
    let rows: Vec<f32> = (0..count * columns).map(|_| number(like, noise)).collect();
    let want: Vec<i32> = rows.chunks_exact(columns).flat_map(|row| forest.evaluate(row)).collect();
    for kernel in [kernel.clone(), kernel.portable()] {
        let mut steps = vec![i32::MIN; want.len()];
        kernel.evaluate_rows(&rows, columns, &mut steps);
        assert_eq!(steps, want, "rows at once, {}, {like:?}", kernel.instructions());
        let one: Vec<i32> = rows.chunks_exact(columns).flat_map(|row| kernel.steps(row)).collect();
        assert_eq!(one, want, "row by row, {}, {like:?}", kernel.instructions());
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("avx512bw")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

const BUSH: Like =
    Like { features: 40, read: 40, outputs: 1, trees: 30, splits: 62, thresholds: 80, chains: false, vectors: false };

#[test]
fn a_bush_of_forty_columns() {
    (0..20).for_each(|seed| check(BUSH, seed, "avx512"));
}

#[test]
fn shallow_trees_of_every_depth() {
    for splits in 1..12 {
        check(Like { splits, ..BUSH }, u64::from(splits), "avx512");
    }
}

#[test]
fn several_outputs_each_with_trees_of_its_own() {
    (0..5).for_each(|seed| check(Like { outputs: 7, trees: 50, ..BUSH }, seed, "avx512"));
}

#[test]
fn leaves_of_several_values() {
    for outputs in [2, 7, 8, 9, 64] {
        check(Like { outputs, vectors: true, ..BUSH }, outputs.into(), "avx512");
    }
}

#[test]
fn chains_deeper_than_many_blocks() {
    for vectors in [false, true] {
        check(Like { chains: true, splits: 300, outputs: 3, vectors, ..BUSH }, 3, "avx512");
    }
}

#[test]
fn more_columns_than_one_register_holds() {
    check(Like { features: 300, read: 64, trees: 60, ..BUSH }, 1, "avx512");
    check(Like { features: 128, read: 128, trees: 90, ..BUSH }, 2, "avx512");
    check(Like { features: 300, read: 250, trees: 300, ..BUSH }, 3, "portable");
}

#[test]
fn a_column_with_exactly_the_thresholds_that_a_byte_counts() {
    for thresholds in [16, 17, 18, 32, 33, 250, 255, 256] {
        check(Like { features: 2, read: 1, thresholds, trees: 120, ..BUSH }, thresholds.into(), "avx512");
    }
}

#[test]
fn more_thresholds_than_a_byte_counts_and_more_columns_than_one_indexes() {
    check(Like { features: 3, read: 3, thresholds: 5_000, trees: 100, ..BUSH }, 1, "portable");
    check(Like { features: 65_536, read: 65_536, trees: 100, ..BUSH }, 2, "portable");
}

#[test]
fn a_forest_without_a_split_answers_its_constants() {
    let leaf = |first| Node::Leaf { first, end: first + 1 };
    let parts = Parts {
        features: 0,
        base: vec![5, -7],
        roots: vec![0, 1],
        nodes: vec![leaf(0), leaf(1)],
        values: vec![Value { output: 1, steps: 2 }, Value { output: 0, steps: 3 }],
    };
    let kernel = Kernel::new(&Forest::new(parts).expect("a forest")).expect("lays out");
    assert_eq!(kernel.steps(&[]), [8, -5]);
    assert_eq!(kernel.portable().steps(&[1.0]), [8, -5]);
}

/// The same splits for every output, as a booster of several levels writes them.
#[test]
fn trees_of_one_structure_are_walked_once_and_answer_the_same() {
    let apart = |copies: u32, outputs: u32| {
        let one = forest(Like { outputs: 1, trees: 20, ..BUSH }, 4);
        let mut parts = Parts { base: vec![0; outputs as usize], ..one.parts().clone() };
        (parts.roots, parts.nodes, parts.values) = (vec![], vec![], vec![]);
        for copy in 0..copies {
            let (nodes, values) = (parts.nodes.len() as u32, parts.values.len() as u32);
            parts.roots.extend(one.parts().roots.iter().map(|r| r + nodes));
            parts.nodes.extend(one.parts().nodes.iter().map(|node| match *node {
                Node::Split { feature, threshold, low, high } => {
                    Node::Split { feature, threshold, low: low + nodes, high: high + nodes }
                }
                Node::Leaf { first, end } => Node::Leaf { first: first + values, end: end + values },
            }));
            let output = copy % outputs;
            let steps = |v: &Value| v.steps * (copy as i32 + 1);
            parts.values.extend(one.parts().values.iter().map(|v| Value { output, steps: steps(v) }));
        }
        Forest::new(parts).expect("a forest")
    };
    for (copies, outputs) in [(3, 3), (7, 7), (3, 1), (9, 4)] {
        let forest = apart(copies, outputs);
        let kernel = Kernel::new(&forest).expect("lays out");
        assert_eq!(kernel.walks(), Kernel::new(&apart(1, 1)).expect("lays out").walks(), "{copies} copies, one walk");
        let noise = &mut Noise(8);
        for _ in 0..300 {
            let row: Vec<f32> = (0..40).map(|_| number(BUSH, noise)).collect();
            assert_eq!(kernel.steps(&row), forest.evaluate(&row));
            assert_eq!(kernel.clone().portable().steps(&row), forest.evaluate(&row));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_forest(
        seed: u64, features in 1u32..140, outputs in 1u32..10, trees in 1u32..40, splits in 0u32..90,
        thresholds in 6u32..400, chains: bool, vectors: bool,
    ) {
        let like = Like { features, read: features, outputs, trees, splits, thresholds, chains, vectors };
        let forest = forest(like, seed);
        let kernel = Kernel::new(&forest).expect("lays out");
        let noise = &mut Noise(seed);
        for _ in 0..30 {
            let row: Vec<f32> = (0..features).map(|_| number(like, noise)).collect();
            prop_assert_eq!(kernel.steps(&row), forest.evaluate(&row));
            prop_assert_eq!(kernel.clone().portable().steps(&row), forest.evaluate(&row));
        }
    }
}
