//! `config check`: what would hold, and whether what it names is there.

use plimsoll_serve::border::Border;
use plimsoll_serve::clock::Clock;
use plimsoll_serve::issuer::GrantKeys;
use plimsoll_serve::ops::metrics::Metrics;

use super::Context;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Read it, read the keys and secrets it names, and print what holds, without the secrets.
    Check,
}

pub(super) fn run(context: &Context, Command::Check: &Command) -> anyhow::Result<()> {
    let config = context.config()?;
    for (key, secret) in config.secrets() {
        secret.read(&key)?;
    }
    Border::new(&config, Clock::system(), std::sync::Arc::new(Metrics::default()), None)?;
    GrantKeys::open(&config.issuer, Clock::system())?;
    super::print(&toml::to_string(&config.shown())?)
}
