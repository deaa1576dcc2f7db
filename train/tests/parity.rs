//! One file, three evaluators, the same bits: ONNX Runtime, tract, and the reference walk.

mod common;

use common::{Noise, oracle, read_f32, run, write_f32};
use plimsoll_edge::{Kernel, Model, kernel};
use plimsoll_model::features::{FEATURE_COUNT, FEATURES, Feature};
use plimsoll_model::forest::ONE;
use plimsoll_model::monotone::{Direction, prove};
use plimsoll_model::onnx::ModelFile;
use plimsoll_train::run::MONOTONE;

/// A row whose values lie around the thresholds of each column, with some missing and some infinite.
fn random_row(thresholds: &[Vec<f32>], noise: &mut Noise) -> Vec<f32> {
    let value = |t: &Vec<f32>, noise: &mut Noise| {
        if t.is_empty() {
            return noise.unit() * 100.0;
        }
        let near = t[noise.bits() as usize % t.len()];
        match noise.bits() % 16 {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            3 => near,
            4 => near.next_up(),
            5 => near.next_down(),
            _ => near * (0.5 + noise.unit()),
        }
    };
    thresholds.iter().map(|t| value(t, noise)).collect()
}

#[test]
fn onnx_runtime_tract_and_the_reference_walk_give_the_same_bits() {
    let run = run();
    let model = Model::from_bytes(&run.model).expect("runs under tract");
    let forest = &ModelFile::decode(&run.model).expect("reads").forest;
    let read = kernel::File::read(&run.model).expect("reads");
    let kernel = Kernel::new(&read.ensemble.forest).expect("lays out");
    let portable = kernel.clone().portable();
    let thresholds: Vec<Vec<f32>> = (0..FEATURE_COUNT).map(|c| forest.thresholds(c)).collect();

    let noise = &mut Noise(5);
    let mut rows: Vec<Vec<f32>> = (0..10_000).map(|_| random_row(&thresholds, noise)).collect();
    // Rows of nothing but missing, and with one column present at a time.
    rows.push(vec![f32::NAN; FEATURE_COUNT]);
    rows.extend((0..FEATURE_COUNT).map(|c| {
        let mut row = vec![f32::NAN; FEATURE_COUNT];
        row[c] = thresholds[c].first().copied().unwrap_or(0.0);
        row
    }));
    // Every threshold of every feature, and both of its neighbours.
    let base = random_row(&thresholds, noise);
    for (c, of_column) in thresholds.iter().enumerate() {
        for t in of_column {
            for x in [t.next_down(), *t, t.next_up()] {
                let mut row = base.clone();
                row[c] = x;
                rows.push(row);
            }
        }
    }
    assert!(rows.len() > 12_000, "10,000 random rows, and thresholds by the hundred: {}", rows.len());

    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let text = |name: &str| at(name).to_str().expect("a plain path").to_owned();
    std::fs::write(at("model.onnx"), &run.model).expect("writes");
    write_f32(&at("rows"), rows.iter().flatten().copied());
    let columns = FEATURE_COUNT.to_string();
    oracle("onnxruntime_rows.py", &[&text("model.onnx"), &text("rows"), &columns, &text("out")]);
    let runtime = read_f32(&at("out"));

    let outputs = forest.outputs().len();
    assert_eq!(runtime.len(), rows.len() * outputs);
    let mut steps = vec![0; outputs];
    for (row, runtime) in rows.iter().zip(runtime.chunks_exact(outputs)) {
        let reference = forest.evaluate(row);
        assert_eq!(model.steps(row), reference, "tract, {row:?}");
        for kernel in [&kernel, &portable] {
            kernel.evaluate(row, &mut steps);
            assert_eq!(steps, reference, "kernel, {}, {row:?}", kernel.instructions());
        }
        let bits: Vec<u32> = runtime.iter().map(|v| v.to_bits()).collect();
        let expected: Vec<u32> = reference.iter().map(|s| (*s as f32 / ONE as f32).to_bits()).collect();
        assert_eq!(bits, expected, "ONNX Runtime, {row:?}");
    }
}

#[test]
fn the_exported_file_is_monotone_by_proof() {
    let forest = ModelFile::decode(&run().model).expect("reads").forest;
    for (feature, direction) in MONOTONE {
        let proof = prove(&forest, feature as usize, direction).expect("no violation");
        let claim = run().release.manifest.monotone.iter().find(|c| c.feature == feature.name()).expect("claimed");
        assert_eq!(claim.pairs, proof.pairs);
    }
    let age = prove(&forest, Feature::LastSyncAgeMin as usize, Direction::Decreasing).expect("no violation");
    assert!(age.thresholds > 0 && age.pairs > 0, "the forest uses age: {age:?}");
    // The proof can fail: the same trees are not monotone in what was not constrained.
    let free = Feature::column("out_7d_share").expect("a feature");
    let both = [Direction::Increasing, Direction::Decreasing].map(|d| prove(&forest, free, d).is_err());
    assert_eq!(both, [true, true], "{}", FEATURES[free].name);
}

#[test]
fn a_hundred_thousand_random_pairs_agree_with_the_proof() {
    let run = run();
    let model = ModelFile::decode(&run.model).expect("reads");
    let thresholds: Vec<Vec<f32>> = (0..FEATURE_COUNT).map(|c| model.forest.thresholds(c)).collect();
    let noise = &mut Noise(9);
    for pair in 0..100_000 {
        let (feature, direction) = MONOTONE[pair % MONOTONE.len()];
        let column = feature as usize;
        let mut near = random_row(&thresholds, noise);
        let mut far = near.clone();
        let (a, b) = (random_row(&thresholds, noise)[column], random_row(&thresholds, noise)[column]);
        // Missing is ordered after every number.
        let below = |x: f32, y: f32| y.is_nan() || x <= y;
        (near[column], far[column]) = if below(a, b) { (a, b) } else { (b, a) };
        for (n, f) in model.forest.evaluate(&near).into_iter().zip(model.forest.evaluate(&far)) {
            assert!(direction.allows(n.into(), f.into()), "{}: {near:?} and {}", feature.name(), far[column]);
        }
    }
}
