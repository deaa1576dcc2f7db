//! How long does one transaction take to become features: all 61 of them, as of just before it?

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll_benches::wallets;

fn features(c: &mut Criterion) {
    let histories = wallets(64);
    let mut group = c.benchmark_group("features");
    group.throughput(Throughput::Elements(histories.transactions() as u64));
    group.sample_size(20);
    for (name, snapshots) in [("push", false), ("snapshot and push", true)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut seen = 0.0f32;
                for (ix, (_, rows)) in histories.iter().enumerate() {
                    let Some(mut state) = histories.state_before(ix) else { continue };
                    for row in rows {
                        if snapshots {
                            seen += state.snapshot(row.at).0[0];
                        }
                        state.push(row).expect("sorted");
                    }
                }
                seen
            });
        });
    }
    group.finish();
}

criterion_group!(benches, features);
criterion_main!(benches);
