//! `fleet`: wallets that go offline, pay each other and come back, against the whole service in this process.

use std::path::PathBuf;
use std::time::Instant;

use plimsoll_serve::fleet::{self, Plan};

#[derive(clap::Args)]
#[command(
    after_help = "Example: plimsoll-serve fleet --wallets 10000 --days 30 --repo edge/tests/fixtures/published/first \
                        --root edge/tests/fixtures/published/root.json"
)]
pub(super) struct Args {
    /// Honest wallets; each attack brings two accounts more.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    wallets: u64,
    /// Simulated days; five are enough for every attack to end.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(5..=80))]
    days: u64,
    /// Everything follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The repository that the model comes from: a directory with `metadata/` and `targets/`.
    #[arg(long, value_name = "DIR")]
    repo: PathBuf,
    /// Its root, which is trusted.
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// An empty store; SQLite in a temporary directory when not given.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// The fleet came to its end, and something did not hold.
#[derive(Debug, thiserror::Error)]
#[error("the fleet: not everything held")]
pub(super) struct NotHeld;

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let home = Home::new()?;
    let plan = Plan {
        wallets: args.wallets,
        days: args.days,
        seed: args.seed,
        home: home.0.clone(),
        repository: args.repo.clone(),
        root: args.root.clone(),
        store: args.store.clone(),
    };
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(fleet::run(&plan, |line| eprintln!("fleet: {line}")))?;
    super::print(&format!("{report}\n{:.0?}", begun.elapsed()))?;
    if report.held() { Ok(()) } else { Err(NotHeld.into()) }
}

/// A directory that goes when the fleet has ended.
struct Home(PathBuf);

impl Home {
    fn new() -> std::io::Result<Self> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(std::io::Error::other)?;
        let name: String = name.iter().map(|b| format!("{b:02x}")).collect();
        let home = std::env::temp_dir().join(format!("plimsoll-fleet-{name}"));
        std::fs::create_dir(&home)?;
        Ok(Self(home))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("fleet: {}: {error}", self.0.display());
        }
    }
}
