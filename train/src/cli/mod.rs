//! The commands. Each returns what it did; printing and exit codes are decided in one place.

mod backtest;
mod bars;
mod certificate;
mod check;
mod data;
mod demo;
mod exit;
mod explain;
mod exposure;
mod grant;
mod import;
mod importance;
mod inspect;
mod interrupt;
mod release;
mod replay;
mod report;
mod score;
mod show;
mod train;
mod windows;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use plimsoll_model::UtcSeconds;

/// Learn, certify, sign and try offline spending limits.
#[derive(Parser)]
#[command(name = "plimsoll", version, about, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Threads to use; the bytes made do not depend on it.
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// Pretend that it is this time (seconds since 1970), for reproducible releases and for trying expiry.
    #[arg(long, global = true, value_name = "SECONDS")]
    now: Option<i64>,
}

#[derive(Subcommand)]
enum Command {
    /// The whole chain on generated wallets, in under a minute: certificate, limits, report.
    Demo(demo::Args),
    /// Generate, describe or convert transaction history.
    #[command(subcommand)]
    Data(data::Command),
    /// Print the training configuration with every default, or a programme's policy.
    Config(train::ConfigArgs),
    /// Train, calibrate and test a limit model on a history.
    Train(train::Args),
    /// Take a model that XGBoost or LightGBM trained: `plimsoll train --forest` certifies it.
    Import(import::Args),
    /// Show a run's certificate, or derive it again from the calibration log.
    Inspect(inspect::Args),
    /// Write a run's report again, beside another run if you like: what a risk officer reads and signs.
    Report(report::Args),
    /// Compare ways of setting limits on accounts and days that nothing was tuned on.
    Backtest(backtest::Args),
    /// Play a model over a ledger with the code that ships, attacks included: who loses what.
    Replay(replay::Args),
    /// Check a certificate against its calibration log.
    #[command(subcommand)]
    Certificate(certificate::Command),
    /// Check everything that must be true of a run before it is published.
    Check(check::Args),
    /// Sign, as risk officer, for publishing a run whose check did not pass.
    Override(check::OverrideArgs),
    /// Fit ceilings, time to live and sync frequency into a loss budget, and find the smallest reserve.
    Exposure(exposure::Args),
    /// Say which features a run's forest lives from.
    Importance(importance::Args),
    /// Make the signing keys of a repository.
    Keys(release::KeysArgs),
    /// Make the key that signs grants.
    IssuerKey(release::IssuerKeyArgs),
    /// Sign a run and add it to a repository.
    Publish(release::PublishArgs),
    /// Verify a repository as a device would, and every file in it.
    Verify(release::VerifyArgs),
    /// Evaluate a published model on the edge for accounts of a history.
    Score(score::Args),
    /// Say why accounts have the limits they have, to the minor unit, and what would raise them.
    Explain(explain::Args),
    /// Sign a grant for a device, by hand: for trying one before there is a service.
    Grant(grant::Args),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// What every command may use.
pub(crate) struct Context {
    pub(crate) json: bool,
    pub(crate) now: UtcSeconds,
    pub(crate) bars: bars::Bars,
}

impl Context {
    /// The one result of a command: JSON for machines, or text for people.
    pub(crate) fn answer(&self, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        use std::io::Write;
        self.bars.clear();
        let mut out = std::io::stdout().lock();
        let printed = if self.json { serde_json::to_string_pretty(value)? } else { text() };
        // A reader that has seen enough (`| head`) is no error.
        match writeln!(out, "{}", printed.trim_end()).and_then(|()| out.flush()) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let bars = bars::Bars::new();
    match run(cli, bars.clone()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            bars.clear();
            exit::report(&error)
        }
    }
}

fn run(cli: Cli, bars: bars::Bars) -> anyhow::Result<()> {
    interrupt::install(bars.clone())?;
    if let Some(threads) = cli.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    let context = Context { json: cli.json, now: UtcSeconds(cli.now.unwrap_or_else(clock)), bars };
    match cli.command {
        Command::Demo(args) => demo::run(&context, &args),
        Command::Data(command) => data::run(&context, command),
        Command::Config(args) => train::config(&context, &args),
        Command::Train(args) => train::run(&context, &args),
        Command::Import(args) => import::run(&context, &args),
        Command::Inspect(args) => inspect::run(&context, &args),
        Command::Report(args) => report::run(&context, &args),
        Command::Backtest(args) => backtest::run(&context, &args),
        Command::Replay(args) => replay::run_command(&context, &args),
        Command::Certificate(command) => certificate::run(&context, &command),
        Command::Check(args) => check::run(&context, &args),
        Command::Override(args) => check::overrule(&context, &args),
        Command::Exposure(args) => exposure::run(&context, &args),
        Command::Importance(args) => importance::run(&context, &args),
        Command::Keys(args) => release::keys(&context, &args),
        Command::IssuerKey(args) => release::issuer_key(&context, &args),
        Command::Publish(args) => release::publish(&context, &args),
        Command::Verify(args) => release::verify(&context, &args),
        Command::Score(args) => score::run(&context, &args),
        Command::Explain(args) => explain::run(&context, &args),
        Command::Grant(args) => grant::run(&context, &args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "plimsoll", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// The `--data` options, shared by all commands that read a history.
#[derive(clap::Args)]
pub(crate) struct DataArgs {
    /// A data directory or file: one this tool wrote, a Berka directory, a PaySim CSV, or any table with --mapping.
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Its layout, where the names do not tell.
    #[arg(long, value_parser = data::format)]
    data_format: Option<plimsoll_datasets::Format>,
    /// What the columns of a table mean (see datasets/mapping.example.toml).
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// What to do with a row that cannot be read: stop, or skip and count.
    #[arg(long, value_name = "stop|skip", default_value = "stop", value_parser = data::on_bad_row)]
    on_bad_row: plimsoll_datasets::OnBadRow,
}
