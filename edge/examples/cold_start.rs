//! How long from a cold process to a first decision, how much memory that takes, and how long a decision takes warm:
//!
//! ```sh
//! cargo run --release -p plimsoll-edge --no-default-features --example cold_start -- REPOSITORY ROOT
//! ```
//!
//! Cold is read, verify the TUF metadata, hash, bounds-check, lay the trees out, run the golden vectors, decide. Warm is
//! one transaction into the features, a snapshot, the trees, the rules.

use std::time::Instant;

use plimsoll_edge::Evaluator;
use plimsoll_edge::trust::{Directory, Floors, TrustedRoot, verify};
use plimsoll_model::decision::Situation;
use plimsoll_model::features::{FeatureState, Profile};
use plimsoll_model::transaction::{Channel, Kind, Transaction};
use plimsoll_model::{Flow, Money, Tier, UtcSeconds};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(repository), Some(root)) = (args.next(), args.next()) else {
        return Err("usage: cold_start REPOSITORY ROOT".into());
    };
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let now = UtcSeconds(i64::try_from(wall.as_secs())?);

    let began = Instant::now();
    let root = TrustedRoot::from_bytes(&std::fs::read(root)?)?;
    let verified = verify(&Directory::new(repository), &root, &Floors::default(), now, None)?;
    let evaluator = Evaluator::new(&verified)?;
    let (offset, currency) = (evaluator.policy().utc_offset_min, evaluator.policy().currency);
    let profile = Profile { opened_at: now.plus(-400 * 86_400), tier: Tier::new(2)?, attested: true, offset, currency };
    let mut state = FeatureState::new(profile, 100_000, now.plus(-200 * 86_400));
    let situation = Situation::fresh(Money::from_minor(100_000)?, profile.tier, now, 1_000);
    // Of a copy: a snapshot moves the state on to its day, and the warm rows are of days before.
    let first = evaluator.decide(&state.clone().snapshot(now), &situation, now);
    let cold = began.elapsed();

    let purchase = |n: i64| Transaction {
        at: now.plus(-199 * 86_400 + n * 1_700),
        amount: Flow::from_minor(-(100 + n % 900)).expect("small"),
        kind: Kind::Purchase,
        payee: n.unsigned_abs() % 37,
        channel: Channel::Online,
        device: 1,
        place: None,
        id: 0,
    };
    const ROUNDS: i64 = 10_000;
    let mut best = f64::INFINITY;
    let mut sum = first.limit.minor();
    for chunk in 0..20 {
        let began = Instant::now();
        for n in chunk * ROUNDS / 20..(chunk + 1) * ROUNDS / 20 {
            let row = purchase(n);
            state.push(&row)?;
            sum += evaluator.decide(&state.snapshot(row.at.plus(1)), &situation, now).limit.minor();
        }
        best = best.min(began.elapsed().as_secs_f64() * 1e6 / (ROUNDS / 20) as f64);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("VmHWM: not known here");
    eprintln!("cold start to first decision: {:.2} ms", cold.as_secs_f64() * 1e3);
    eprintln!("{peak}");
    eprintln!("transaction to decision, warm: {best:.2} µs (best of 20 chunks; sum of limits {sum})");
    Ok(())
}
