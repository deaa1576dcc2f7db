//! How many transactions does the generator make in a second, on one core?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll_datasets::synth::{Block, Config, Generator};

fn generate(c: &mut Criterion) {
    let generator = Generator::new(&Config { accounts: 128, days: 366, ..Config::default() }).expect("valid");
    let mut block = Block::new();
    generator.block(0, &mut block);
    let mut group = c.benchmark_group("generate");
    group.throughput(Throughput::Elements(block.transactions() as u64));
    group.bench_function("a village of 128 wallets, 366 days", |b| b.iter(|| generator.block(0, &mut block)));
    group.finish();
}

criterion_group!(benches, generate);
criterion_main!(benches);
