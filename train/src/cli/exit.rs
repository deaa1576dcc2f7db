//! Exit codes: different by what the caller can do about it.

use std::process::ExitCode;

use plimsoll_datasets::LoadError;
use plimsoll_edge::RefuseArtifact;
use plimsoll_edge::trust::RefuseRelease;
use plimsoll_train::check::BadChecked;
use plimsoll_train::config::ConfigError;
use plimsoll_train::import::ImportError;
use plimsoll_train::keys::KeyError;
use plimsoll_train::publish::PublishError;
use plimsoll_train::replay::ReplayError;
use plimsoll_train::run::TrainError;

/// Shown under `--help`.
pub(super) const HELP: &str = "\
Exit codes: 0 done; 1 unexpected; 2 wrong usage; 3 bad input data; 4 bad configuration, policy or key; \
5 not enough data to train or test; 6 refused: a repository, release or artifact does not verify; \
7 input or output failed (unreadable, full disk, already there); 8 nothing published; 9 a check did not pass; 130 interrupted.

Try: plimsoll demo";

/// The command line asked for something that is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// A check found a difference.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// A run did not pass its check, or was not checked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CheckFailed(pub(super) String);

/// A file that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub(super) struct BadFile {
    pub(super) path: std::path::PathBuf,
    pub(super) reason: String,
}

pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("plimsoll: {}", told(error));
    ExitCode::from(code(error))
}

/// Every cause once: many say their own in their words already.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !told.ends_with(&cause) {
            told = if told.is_empty() { cause } else { format!("{told}: {cause}") };
        }
    }
    told
}

fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(1)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    let load = |e: &LoadError| match e {
        LoadError::Interrupted => 130,
        e if e.is_io() => 7,
        _ => 3,
    };
    if let Some(e) = cause.downcast_ref::<LoadError>() {
        return Some(load(e));
    }
    if let Some(e) = cause.downcast_ref::<TrainError>() {
        return Some(match e {
            TrainError::Config(_) | TrainError::Currency { .. } => 4,
            TrainError::NoWindows { .. } => 5,
            TrainError::Output(e) => load(e),
            TrainError::Io { .. } => 7,
            TrainError::BadRun { .. } | TrainError::BadForest { .. } => 3,
            _ => 1,
        });
    }
    if let Some(e) = cause.downcast_ref::<PublishError>() {
        return Some(if matches!(e, PublishError::Io { .. }) { 7 } else { 8 });
    }
    if let Some(e) = cause.downcast_ref::<ImportError>() {
        return Some(if matches!(e, ImportError::NotReproduced { .. }) { 6 } else { 3 });
    }
    if let Some(e) = cause.downcast_ref::<ReplayError>() {
        return Some(match e {
            ReplayError::Config(_) | ReplayError::Currency { .. } => 4,
            ReplayError::NoWindows { .. } => 5,
            ReplayError::Artifact { .. } | ReplayError::Expired { .. } => 6,
            _ => 1,
        });
    }
    let is = |found: bool, code: u8| found.then_some(code);
    is(cause.is::<Usage>(), 2)
        .or(is(cause.is::<BadFile>(), 3))
        .or(is(cause.is::<ConfigError>() || cause.is::<KeyError>(), 4))
        .or(is(cause.is::<plimsoll_model::policy::BadPolicy>(), 4))
        .or(is(cause.is::<RefuseRelease>() || cause.is::<RefuseArtifact>() || cause.is::<Refused>(), 6))
        .or(is(cause.is::<BadChecked>(), 8))
        .or(is(cause.is::<CheckFailed>(), 9))
        .or(is(cause.is::<std::io::Error>(), 7))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_is_said_once_and_none_is_left_out() {
        let source = std::io::Error::other("gone");
        let io = TrainError::Io { path: "run/model.onnx".into(), source };
        let error = Err::<(), _>(io).context("checking").expect_err("fails");
        assert_eq!(told(&error), "checking: run/model.onnx: gone");
    }
}
