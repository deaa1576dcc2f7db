//! How long does the booster take: 100,000 rows, 61 columns, one level of 100 trees; what a value costs to bin, and a row
//! and column of a tree under each objective?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::boost::{Binner, Bins, BoostConfig, Objective, TrainingSet, fit};

fn sample(rows: usize, columns: usize) -> (Array2<f32>, Vec<i32>) {
    let mut state = 1u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let rows = Array2::from_shape_fn((rows, columns), |_| unit());
    let targets =
        rows.rows().into_iter().map(|r| ((0.2 + 0.5 * r[0] * r[1] + 0.2 * r[2]) * 1_048_576.0) as i32).collect();
    (rows, targets)
}

fn level(ppm: u32) -> Ppm {
    Ppm::new(ppm).expect("between 0 and 1")
}

fn boost(c: &mut Criterion) {
    let (rows, targets) = sample(100_000, 61);
    let config = BoostConfig { levels: vec![level(50_000)], ..BoostConfig::default() };
    let mut group = c.benchmark_group("boost");
    group.sample_size(10);
    group.bench_function("100,000 x 61, one level, 100 trees of 31 leaves", |b| {
        b.iter(|| fit(TrainingSet::new(rows.view(), &targets), &config, &|_| {}).expect("fits"));
    });
    group.finish();
}

fn kernels(c: &mut Criterion) {
    const TREES: u32 = 10;
    let (rows, targets) = sample(200_000, 40);
    let bins = Bins::of(rows.view(), 255);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
    let mut group = c.benchmark_group("booster, 200,000 x 40, one thread");
    group.sample_size(10);
    group.throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("bin a value", |b| {
        b.iter(|| {
            pool.install(|| {
                let mut binner = Binner::new(bins.cuts().clone()).with_room_for(bins.rows());
                binner.push(rows.view());
                binner.finish()
            })
        });
    });
    group.throughput(Throughput::Elements(rows.len() as u64 * u64::from(TREES)));
    let three = vec![level(50_000), level(250_000), level(500_000)];
    for (name, objective, levels) in [
        ("one level", Objective::Quantiles, vec![level(50_000)]),
        ("three levels together", Objective::QuantilesTogether, three),
        ("squared error", Objective::Squared, vec![]),
    ] {
        let config = BoostConfig { objective, levels, trees: TREES, depth: 64, ..BoostConfig::default() };
        group.bench_function(format!("a row and column of a tree: {name}"), |b| {
            b.iter(|| pool.install(|| fit(TrainingSet::binned(&bins, &targets), &config, &|_| {})).expect("fits"));
        });
    }
    group.finish();
}

criterion_group!(benches, boost, kernels);
criterion_main!(benches);
