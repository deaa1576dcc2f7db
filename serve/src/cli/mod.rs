//! The commands. Each returns what it did; exit codes are decided in one place.

mod audit;
mod backup;
mod config;
mod dev;
mod exit;
mod fleet;
mod models;
mod run;
mod sign;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use plimsoll_serve::config::{Config, Load};

/// The issuer of offline spending limits: judges settlements, computes limits, signs grants.
#[derive(Parser)]
#[command(name = "plimsoll-serve", version, about, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", env = "PLIMSOLL_SERVE_CONFIG")]
    config: Option<PathBuf>,
    /// Sets one key, above file and environment; may be repeated.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; SIGHUP reads the keys again.
    Run(run::Args),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Look at the log of decisions.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Look at releases, widen a ring, or pull a release back.
    #[command(subcommand)]
    Models(models::Command),
    /// Write the whole store into one file, while the service goes on.
    Backup(backup::BackupArgs),
    /// Fill an empty store with a backup.
    Restore(backup::RestoreArgs),
    /// Print the OpenAPI description of the API.
    Openapi,
    /// Make a token to try things out with, signed by a developer's key.
    Token(token::Args),
    /// Print the headers that sign a message of a developer's bridge.
    Sign(sign::Args),
    /// Play a fleet of wallets against the service, attacks included, and check what must hold.
    Fleet(fleet::Args),
}

/// What every command may use.
pub(crate) struct Context {
    load: Load,
}

impl Context {
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        Ok(self.load.config()?)
    }
}

/// What a command prints, to a reader that may have seen enough (`| head`).
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it like server.listen=127.0.0.1:8080")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let beside = PathBuf::from("plimsoll-serve.toml");
    let file = cli.config.or_else(|| beside.is_file().then_some(beside));
    let context = Context { load: Load::of_process(file, cli.set) };
    let done = match cli.command {
        Command::Run(args) => run::run(&context, &args),
        Command::Config(command) => config::run(&context, &command),
        Command::Audit(command) => audit::run(&context, &command),
        Command::Models(command) => models::run(&context, &command),
        Command::Backup(args) => backup::backup(&context, &args),
        Command::Restore(args) => backup::restore(&context, &args),
        Command::Openapi => openapi(),
        Command::Token(args) => token::run(&context, &args),
        Command::Sign(args) => sign::run(&context, &args),
        Command::Fleet(args) => fleet::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

fn openapi() -> anyhow::Result<()> {
    let (_, described) = plimsoll_serve::api::router().split_for_parts();
    print(&described.to_pretty_json()?)
}
