//! How long does it take to say what each of 61 features adds to a prediction, to the step?

use criterion::{Criterion, criterion_group, criterion_main};
use plimsoll_benches::{run, wallets};
use plimsoll_model::attribution::{Attributor, Covers};
use plimsoll_model::forest::Tree;
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::policy::Policy;
use plimsoll_train::run::{examples, windows};

fn attribution(c: &mut Criterion) {
    let histories = wallets(2_000);
    let run = run(&histories);
    let forest = ModelFile::decode(&run.model).expect("reads").forest;
    let policy = Policy::preset("tng").expect("a preset");
    let ages = &run.release.manifest.ages;
    let windows = windows(&histories, &run.config, &policy, ages, &()).expect("splits");
    let (rows, _) = examples(&windows.test, ages);
    let rows: Vec<Vec<f32>> = rows.outer_iter().take(2_000).map(|row| row.to_vec()).collect();
    let background = || rows.iter().map(Vec::as_slice);
    let covers = Covers::of(&forest, background()).expect("rows");
    let attributor = Attributor::new(&forest, &covers);
    let trees = &forest.outputs()[1];
    let splits: usize = trees.iter().map(|tree| tree.nodes().len() / 2).sum();
    let depth = trees.iter().map(Tree::depth).max().unwrap_or(0);
    let mut group = c.benchmark_group(format!("attribution, {} trees, {splits} splits, depth {depth}", trees.len()));
    group.sample_size(20);
    group.bench_function("covers of 2,000 rows, three outputs", |b| b.iter(|| Covers::of(&forest, background())));
    group.bench_function("a forest made ready", |b| b.iter(|| Attributor::new(&forest, &covers)));
    let mut next = rows.iter().cycle();
    group.bench_function("one row, one output", |b| {
        b.iter(|| attributor.attribute(1, next.next().expect("rows go round")));
    });
    group.finish();
}

criterion_group!(benches, attribution);
criterion_main!(benches);
