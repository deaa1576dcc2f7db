//! `plimsoll-edge`: a device on the command line. Everything it decides is decided by the library; here are files,
//! a clock, random bytes and text.

mod app;
mod commands;
mod exit;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use plimsoll_model::UtcSeconds;

/// Install a signed model, hold a signed grant, pay and be paid without a network.
#[derive(Parser)]
#[command(name = "plimsoll-edge", version, about, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The device's directory.
    #[arg(long, global = true, value_name = "DIR", default_value = "plimsoll-device")]
    dir: PathBuf,
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// Pretend that it is this time (seconds since 1970), to try expiry, age and a wrong clock.
    #[arg(long, global = true, value_name = "SECONDS")]
    now: Option<i64>,
}

#[derive(Subcommand)]
enum Command {
    /// Install the newest model of a repository; the first time, also say whose device this is.
    Install(commands::Install),
    /// Show what runs, what is held, what was paid; or write what the issuer needs for a grant.
    Status(commands::Status),
    /// Take a grant from the issuer.
    Accept(commands::Accept),
    /// Show what may be spent now, why not more, and how it falls with age.
    Limit,
    /// Ask for a payment: the payee's side.
    Ask(commands::Ask),
    /// Pay, if it may be paid: writes the payment and the grant that covers it.
    Pay(commands::Pay),
    /// Check a payment from its bytes alone and take it: the payee's side.
    Verify(commands::Verify),
}

/// What every command may use.
struct Context {
    dir: PathBuf,
    json: bool,
    now: UtcSeconds,
}

impl Context {
    /// The one result of a command: JSON for machines, or text for people.
    fn answer(&self, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        use std::io::Write as _;
        let printed = if self.json { serde_json::to_string_pretty(value)? } else { text() };
        // A reader that has seen enough (`| head`) is no error.
        match writeln!(std::io::stdout().lock(), "{}", printed.trim_end()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
            _ => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    let context = Context { dir: cli.dir, json: cli.json, now: UtcSeconds(cli.now.unwrap_or_else(clock)) };
    let done = match cli.command {
        Command::Install(args) => commands::install(&context, &args),
        Command::Status(args) => commands::status(&context, &args),
        Command::Accept(args) => commands::accept(&context, &args),
        Command::Limit => commands::limit(&context),
        Command::Ask(args) => commands::ask(&context, &args),
        Command::Pay(args) => commands::pay(&context, &args),
        Command::Verify(args) => commands::verify(&context, &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
