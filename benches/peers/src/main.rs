//! The kernel and its peers on one model and the same rows, in one interleaved run. `plimsoll-peers DIRECTORY`, which
//! `edge-peers.sh` fills and calls.
//!
//! Every engine takes 25 rows in turn; the smallest time of each 25 over all rounds counts, so that what else the
//! machine does falls on everybody and then on nobody. Answers are compared before anything is timed.

mod engines;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engines::{Engine, Rows};

/// Rows that one engine takes in its turn.
const CHUNK: usize = 25;

fn main() -> anyhow::Result<()> {
    let directory = std::env::args().nth(1).context("which directory?")?;
    let rounds = std::env::var("ROUNDS").ok().map_or(Ok(60), |r| r.parse())?;
    let rows = Rows::read(Path::new(&directory))?;
    // One for the process; finds the library by ORT_DYLIB_PATH.
    let runtime = ort::init().build().context("ONNX Runtime, by ORT_DYLIB_PATH")?;
    let mut single = engines::single(Path::new(&directory), &runtime, &rows)?;
    let mut batch = engines::batch(Path::new(&directory), &runtime, &rows)?;

    for engine in single.iter_mut().chain(&mut batch) {
        check(engine, &rows).with_context(|| engine.name.to_owned())?;
    }

    let chunks = rows.count() / CHUNK;
    let mut least = vec![vec![Duration::MAX; chunks]; single.len()];
    let mut least_batch = vec![Duration::MAX; batch.len()];
    for round in 0..rounds {
        for chunk in 0..chunks {
            for (engine, least) in single.iter_mut().zip(&mut least) {
                // Seven milliseconds a row: three rounds say enough.
                if engine.slow && (round >= 3 || chunk >= 4) {
                    continue;
                }
                let from = chunk * CHUNK;
                let start = Instant::now();
                (engine.run)(from, from + CHUNK)?;
                least[chunk] = least[chunk].min(start.elapsed());
            }
        }
        for (engine, least) in batch.iter_mut().zip(&mut least_batch) {
            let start = Instant::now();
            (engine.run)(0, rows.count())?;
            *least = (*least).min(start.elapsed());
        }
    }

    let per_row = |least: &[Duration]| {
        let timed: Vec<f64> = least.iter().filter(|l| **l < Duration::MAX).map(Duration::as_secs_f64).collect();
        timed.iter().sum::<f64>() * 1e6 / (timed.len() * CHUNK) as f64
    };
    table("one row at a time", &single, &least.iter().map(|l| per_row(l)).collect::<Vec<_>>());
    let per_row: Vec<f64> = least_batch.iter().map(|l| l.as_secs_f64() * 1e6 / rows.count() as f64).collect();
    table("1,000 rows at once, one core", &batch, &per_row);
    Ok(())
}

/// The first engine is the one the others are held against.
fn table(title: &str, engines: &[Engine<'_>], per_row: &[f64]) {
    println!("\n| {title} | µs a row | times the kernel |\n|---|---:|---:|");
    for (engine, time) in engines.iter().zip(per_row) {
        println!("| {} | {time:.3} | {:.1} |", engine.name, time / per_row[0]);
    }
}

/// Ours must equal the reference walk to the bit; the peers LightGBM's own answers to 10⁻⁵.
fn check(engine: &mut Engine<'_>, rows: &Rows) -> anyhow::Result<()> {
    let count = if engine.slow { 4 * CHUNK } else { rows.count() };
    (engine.run)(0, count)?;
    let answers = (engine.answers)();
    ensure!(answers.len() >= count, "{} answers for {count} rows", answers.len());
    for (row, (found, want)) in answers.iter().zip(&rows.answers).take(count).enumerate() {
        let near = (found - want).abs() <= 1e-5 * want.abs().max(1e-3);
        ensure!(near && (!engine.exact || found == want), "row {row}: {found}, expected {want}");
    }
    Ok(())
}
