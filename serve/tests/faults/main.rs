//! What must hold whatever happens: many short lives of a service under faults, each drawn from a seed, each checked.
//!
//! ```text
//! seed ─► clients ─► replicas (processes of their own) ─► SQLite or PostgreSQL ─► what is stored
//!            │            ▲ kill -9, another clock            ▲ stop, crash, full disk     │
//!            └─► history: everything that was answered ────────────────────────────────► check
//! ```
//!
//! `cargo test --release -p plimsoll-serve --test faults -- --runs 1000` runs a thousand seeds on each store; one that
//! failed runs again with `--store sqlite --seed N --runs 1`. What a seed draws is the same every time; when a process
//! gets its turn is the machine's business, so a failure may need a few runs to come again.

#![allow(clippy::print_stdout)] // it has no harness: what it found goes there

mod check;
mod client;
mod history;
mod replica;
#[path = "../store/server.rs"]
#[allow(dead_code)] // the store's own suite uses the rest
mod server;
mod storm;
mod wire;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use storm::{On, Tally};

/// Runs on SQLite and on PostgreSQL, which takes longer to stop and start, when nothing else is asked for.
const RUNS: [u64; 2] = [24, 10];
/// Runs at a time: most of a run is waiting.
const JOBS: usize = 4;

struct Asked {
    stores: Vec<bool>,
    seed: u64,
    runs: [u64; 2],
    jobs: usize,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == replica::COMMAND) {
        replica::serve(&args[1..]);
        return ExitCode::SUCCESS;
    }
    let Some(asked) = read(&args) else { return ExitCode::SUCCESS };
    let mut whole = true;
    for postgres in &asked.stores {
        whole &= runs(*postgres, &asked);
    }
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The command line; `None` where the harness asks for another test, or for a list.
fn read(args: &[String]) -> Option<Asked> {
    let mut asked = Asked { stores: vec![false, true], seed: 1, runs: RUNS, jobs: JOBS };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--seed" => asked.seed = value().parse().expect("--seed: a whole number"),
            "--runs" => asked.runs = [value().parse().expect("--runs: a whole number"); 2],
            "--jobs" => asked.jobs = value().parse().expect("--jobs: a whole number"),
            "--store" => {
                asked.stores = match value().as_str() {
                    "sqlite" => vec![false],
                    "postgres" => vec![true],
                    other => panic!("--store: sqlite or postgres, not {other}"),
                };
            }
            "--list" => {
                println!("faults: test");
                return None;
            }
            "--test-threads" | "--format" | "--skip" => {
                let _of_the_usual_harness = value();
            }
            other if other.starts_with('-') => {}
            // A filter, as `cargo test NAME` gives it to every test binary.
            name if "faults".contains(name) => {}
            _ => return None,
        }
    }
    Some(asked)
}

/// All runs on one store.
fn runs(postgres: bool, asked: &Asked) -> bool {
    let (begun, runs) = (Instant::now(), asked.runs[usize::from(postgres)]);
    let next = AtomicU64::new(asked.seed);
    let end = asked.seed + runs;
    let tally = Mutex::new(Tally::default());
    let broken = Mutex::new(Vec::new());
    let name = if postgres { "postgres" } else { "sqlite" };
    std::thread::scope(|scope| {
        for _ in 0..asked.jobs.min(usize::try_from(runs).unwrap_or(usize::MAX)) {
            scope.spawn(|| {
                // A server for each worker: a run stops it under its own clients only.
                let mut on = if postgres { On::Postgres(server::Server::start()) } else { On::Sqlite };
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| storm::run(&mut on, seed)));
                    let told = match run {
                        Ok((counted, told)) => {
                            tally.lock().expect("no thread panicked").add(&counted);
                            told
                        }
                        Err(_) => vec!["the run itself panicked".to_owned()],
                    };
                    for why in told {
                        eprintln!("faults: {name} seed {seed}: {why}");
                        broken.lock().expect("no thread panicked").push(seed);
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().expect("no thread panicked");
    let mut broken = broken.into_inner().expect("no thread panicked");
    broken.sort_unstable();
    broken.dedup();
    println!("faults: {name}: {runs} runs in {:.0?}, {tally}; broken: {}", begun.elapsed(), broken.len());
    // Runs in which nothing happened show nothing.
    let busy = runs < 8 || tally.is_busy(postgres);
    if !busy {
        eprintln!("faults: {name}: some kind of fault or of work never happened in {runs} runs");
    }
    broken.is_empty() && busy
}
