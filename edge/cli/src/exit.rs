//! Exit codes: different by what the caller can do about it.

use std::process::ExitCode;

use plimsoll_edge::payee::RefusePayment;
use plimsoll_edge::slots::RefuseInstall;
use plimsoll_edge::storage::StorageError;
use plimsoll_edge::trust::RefuseRelease;
use plimsoll_edge::wallet::WalletError;
use plimsoll_model::grant::{RefuseKeys, RefuseToken};

/// Shown under `--help`.
pub(crate) const HELP: &str = "\
Exit codes: 0 done; 1 unexpected; 2 wrong usage; 3 declined; 4 prove presence and ask again (--proved); \
6 refused: a repository, grant, request or payment does not verify; 7 the device's storage failed.

Try: plimsoll demo, then plimsoll-edge install plimsoll-demo/repository --root plimsoll-demo/keys/root.json \
--account u0000017 --programme tng";

/// The command line asked for something that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// The wallet said no. It was printed already.
#[derive(Debug, thiserror::Error)]
#[error("declined")]
pub(crate) struct Declined;

/// The wallet wants a proof of presence. It was printed already.
#[derive(Debug, thiserror::Error)]
#[error("prove presence")]
pub(crate) struct ProvePresence;

pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if !error.is::<Declined>() && !error.is::<ProvePresence>() {
        eprintln!("plimsoll-edge: {error:#}");
    }
    ExitCode::from(error.chain().find_map(code_of).unwrap_or(1))
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<WalletError>() {
        return match error {
            WalletError::Request(_) | WalletError::Grant(_) => Some(6),
            _ => Some(7),
        };
    }
    if let Some(error) = cause.downcast_ref::<RefusePayment>() {
        return match error {
            RefusePayment::Storage(_) => Some(7),
            _ => Some(6),
        };
    }
    if let Some(error) = cause.downcast_ref::<RefuseInstall>() {
        return match error {
            RefuseInstall::Storage(_) => Some(7),
            _ => Some(6),
        };
    }
    let is = |found: bool, code: u8| found.then_some(code);
    is(cause.is::<Usage>(), 2)
        .or(is(cause.is::<Declined>(), 3))
        .or(is(cause.is::<ProvePresence>(), 4))
        .or(is(cause.is::<RefuseToken>() || cause.is::<RefuseKeys>() || cause.is::<RefuseRelease>(), 6))
        .or(is(cause.is::<StorageError>() || cause.is::<std::io::Error>(), 7))
}
