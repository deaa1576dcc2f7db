//! Exit codes: different by what the caller can do about it, and the same as `plimsoll`'s.

use std::process::ExitCode;

use plimsoll_edge::trust::RefuseRelease;
use plimsoll_serve::app::RefuseStart;
use plimsoll_serve::config::RefuseConfig;
use plimsoll_serve::issuer::RefuseGrantKeys;
use plimsoll_serve::models::ArchiveError;
use plimsoll_serve::store::StoreError;

/// Shown under `--help`.
pub(super) const HELP: &str = "\
Examples:
  plimsoll-serve run --dev                     an empty machine: SQLite, a developer's keys, nothing to configure
  plimsoll-serve token --dev-key plimsoll-serve/dev/token.pem --account alice
  plimsoll-serve --config /etc/plimsoll/serve.toml config check
  PLIMSOLL_SERVE__STORE__URL=postgres://plimsoll:…@db/plimsoll plimsoll-serve run

The configuration is read from the file (--config, or ./plimsoll-serve.toml where there is one), then from variables
PLIMSOLL_SERVE__SECTION__KEY, then from --set section.key=value; later ones win.

Exit codes: 0 done; 1 unexpected; 2 wrong usage; 4 bad configuration, policy or key; 6 refused: a log, a backup or a \
release does not verify; 7 a file or an address cannot be used; 9 the store is not available or refuses; 10 connections \
were cut at the end of a shutdown.";

/// The command line asked for something that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// A log does not hold what it should.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// Connections had to be cut.
#[derive(Debug, thiserror::Error)]
#[error("{0} connections did not finish within server.shutdown_s and were cut")]
pub(super) struct Cut(pub(super) usize);

pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("plimsoll-serve: {error:#}");
    ExitCode::from(error.chain().find_map(code_of).unwrap_or(1))
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(refused) = cause.downcast_ref::<RefuseStart>() {
        return Some(match refused {
            RefuseStart::Store(_) => 9,
            RefuseStart::Archive(_) => 7,
            RefuseStart::TrustRoot(_) => 6,
            _ => 4,
        });
    }
    let is = |found: bool, code: u8| found.then_some(code);
    is(cause.is::<Usage>(), 2)
        .or(is(cause.is::<RefuseConfig>() || cause.is::<RefuseGrantKeys>(), 4))
        .or(is(cause.is::<Refused>() || cause.is::<RefuseRelease>(), 6))
        .or(is(cause.is::<ArchiveError>(), 7))
        .or(is(cause.is::<StoreError>(), 9))
        .or(is(cause.is::<Cut>(), 10))
        .or(is(cause.is::<std::io::Error>(), 7))
}
