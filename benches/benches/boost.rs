//! How long does the booster take: 100,000 rows, 61 columns, one level of 100 trees?

use criterion::{Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::boost::{BoostConfig, TrainingSet, fit};

fn boost(c: &mut Criterion) {
    let mut state = 1u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let rows = Array2::from_shape_fn((100_000, 61), |_| unit());
    let targets: Vec<i32> =
        rows.rows().into_iter().map(|r| ((0.2 + 0.5 * r[0] * r[1] + 0.2 * r[2]) * 1_048_576.0) as i32).collect();
    let level = Ppm::new(50_000).expect("5 %");
    let config = BoostConfig { levels: vec![level], ..BoostConfig::default() };
    let mut group = c.benchmark_group("boost");
    group.sample_size(10);
    group.bench_function("100,000 x 61, one level, 100 trees of 31 leaves", |b| {
        b.iter(|| fit(TrainingSet::new(rows.view(), &targets), &config, &|_| {}).expect("fits"));
    });
    group.finish();
}

criterion_group!(benches, boost);
criterion_main!(benches);
