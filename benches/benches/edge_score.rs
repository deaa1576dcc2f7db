//! How long does the edge take from features to limit, on a model at the default settings?

use criterion::{Criterion, criterion_group, criterion_main};
use plimsoll_benches::{run, wallets};
use plimsoll_edge::{Kernel, Model, kernel};
use plimsoll_model::decision::{Situation, decide};
use plimsoll_model::forest::uncross;
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::{Money, UtcSeconds};
use std::hint::black_box;

fn edge_score(c: &mut Criterion) {
    let histories = wallets(4_000);
    let run = run(&histories);
    let forest = ModelFile::decode(&run.model).expect("reads").forest;
    let model = Model::from_bytes(&run.model).expect("runs");
    let read = kernel::File::read(&run.model).expect("reads");
    let kernel = Kernel::new(&read.ensemble.forest).expect("lays out");
    // Rows of different accounts in turn, so that no branch predictor learns one row by heart.
    let rows: Vec<_> = histories
        .iter()
        .enumerate()
        .take(1_000)
        .filter_map(|(ix, (account, rows))| {
            let mut state = histories.state_before(ix)?;
            rows.iter().for_each(|row| state.push(row).expect("sorted"));
            Some((state.snapshot(rows.last()?.at.plus(1)), Money::floor_at_zero(state.balance_minor()), account.tier))
        })
        .collect();
    let mut group = c.benchmark_group("edge_score");
    let mut turn = 0;
    let mut next = || {
        turn = (turn + 1) % rows.len();
        &rows[turn]
    };
    let now = UtcSeconds(1_800_000_000);
    group.bench_function("limit through tract: features to decision", |b| {
        b.iter(|| {
            let (features, balance, tier) = next();
            let mut steps = model.steps(&features.0);
            uncross(&mut steps);
            let situation = Situation::fresh(*balance, *tier, now, 1_000);
            decide(&run.release.manifest, &run.release.certificate, &run.policy, &situation, &steps, now)
        });
    });
    group.bench_function("forest through tract", |b| b.iter(|| model.steps(&next().0.0)));
    let mut steps = vec![0; forest.outputs().len()];
    group.bench_function("forest, kernel alone", |b| {
        b.iter(|| {
            kernel.evaluate(&next().0.0, &mut steps);
            black_box(steps[0])
        });
    });
    group.bench_function("forest, reference walk", |b| b.iter(|| forest.evaluate(&next().0.0)));
    group.bench_function("load: decode, check, plan", |b| b.iter(|| Model::from_bytes(&run.model).expect("runs")));
    group.finish();
}

criterion_group!(benches, edge_score);
criterion_main!(benches);
