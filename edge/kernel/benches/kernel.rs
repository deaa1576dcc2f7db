//! How long does a forest of 200 trees take: one row, a thousand, seven quantiles, and with leaves of seven values?

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll_kernel::Kernel;
use plimsoll_kernel::forest::{Forest, Node, Parts, Value};

const FEATURES: usize = 40;
const TREES: usize = 200;
const ROWS: usize = 1_000;
/// Thresholds of a column: as many as a booster with 82 bins makes. The trained model of `benches/edge-peers.sh` has 82
/// on average.
const BINS: u32 = 82;

struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % bound
    }
}

/// Complete trees of depth 6; leaf `i` of every tree adds to all of `targets(tree)`.
fn forest(trees: usize, outputs: u32, targets: impl Fn(usize) -> Vec<u32>) -> Forest {
    let noise = &mut Noise(7);
    let mut parts = Parts { features: FEATURES, base: vec![0; outputs as usize], ..Parts::default() };
    for tree in 0..trees {
        let root = parts.nodes.len() as u32;
        parts.roots.push(root);
        for cell in 1..128u32 {
            if cell < 64 {
                let threshold = noise.below(BINS) as f32 / BINS as f32;
                let (low, high) = (root + 2 * cell - 1, root + 2 * cell);
                parts.nodes.push(Node::Split { feature: noise.below(FEATURES as u32) as u16, threshold, low, high });
            } else {
                let first = parts.values.len() as u32;
                for output in targets(tree) {
                    parts.values.push(Value { output, steps: noise.below(20_000) as i32 - 10_000 });
                }
                parts.nodes.push(Node::Leaf { first, end: parts.values.len() as u32 });
            }
        }
    }
    Forest::new(parts).expect("a forest")
}

fn kernel(c: &mut Criterion) {
    let noise = &mut Noise(11);
    let rows: Vec<f32> = (0..ROWS * FEATURES).map(|_| noise.below(1 << 20) as f32 / (1 << 20) as f32).collect();
    let of = |trees, outputs, targets: &dyn Fn(usize) -> Vec<u32>| {
        Kernel::new(&forest(trees, outputs, targets)).expect("lays out")
    };
    let one = of(TREES, 1, &|_| vec![0]);
    let vector = of(TREES, 7, &|_| (0..7).collect());
    let apart = of(7 * TREES, 7, &|tree| vec![(tree % 7) as u32]);
    let kernels = [
        ("one output", one.clone()),
        ("one output, portable", one.clone().portable()),
        ("seven outputs, one walk", vector.clone()),
        ("seven outputs, one walk, portable", vector.portable()),
        ("seven outputs, seven forests", apart.clone()),
        ("seven outputs, seven forests, portable", apart.portable()),
    ];
    let mut group = c.benchmark_group("kernel");
    for (name, kernel) in kernels {
        let mut steps = vec![0; kernel.outputs()];
        // Rows in turn, so that no branch predictor learns one by heart.
        let mut turn = rows.chunks_exact(FEATURES).cycle();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{name}: a row"), |b| {
            b.iter(|| {
                kernel.evaluate(turn.next().expect("endless"), &mut steps);
                black_box(steps[0])
            });
        });
        let mut steps = vec![0; ROWS * kernel.outputs()];
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function(format!("{name}: 1,000 rows"), |b| {
            b.iter(|| {
                kernel.evaluate_rows(&rows, FEATURES, &mut steps);
                black_box(steps[0])
            });
        });
    }
    group.finish();
}

criterion_group!(benches, kernel);
criterion_main!(benches);
