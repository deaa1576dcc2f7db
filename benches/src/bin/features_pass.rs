//! Times the feature pass over a data directory: all features as of just before each transaction, one thread.
//! Beside it, on the same data: `benches/oracles/polars_rolling.py`.

use std::time::Instant;

use anyhow::Context;
use plimsoll_datasets::{Histories, Input, OnBadRow, open};

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).context("usage: features_pass DATA")?;
    let source = open(&Input::at(path))?;
    let histories = Histories::read(source, OnBadRow::Stop, &mut |_, _| std::ops::ControlFlow::Continue(()))?;
    let began = Instant::now();
    let mut sum = 0.0f64;
    for (ix, (_, rows)) in histories.iter().enumerate() {
        let Some(mut state) = histories.state_before(ix) else { continue };
        for row in rows {
            sum += f64::from(state.snapshot(row.at).0[0]);
            state.push(row)?;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let n = histories.transactions();
    eprintln!("checksum {sum}");
    eprintln!("plimsoll: 61 features of {n} transactions in {seconds:.2} s: {:.2} µs each", seconds * 1e6 / n as f64);
    Ok(())
}
