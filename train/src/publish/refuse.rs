//! Why nothing was published: what the publisher can do next.

use std::io;
use std::path::PathBuf;

use super::metadata::Role;
use super::overrule::BadOverride;
use crate::check::BadChecked;

/// Why nothing was published. The repository is as it was, except after `Io` while writing: then it is
/// the old or the new one, and whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Too few of a role's keys were given.
    #[error("{role} needs {needed} signatures and {found} of its keys were given: missing {}", .missing.join(", "))]
    ThresholdNotMet {
        /// Whose metadata.
        role: Role,
        /// Keys of the role that were given.
        found: usize,
        /// Its threshold.
        needed: usize,
        /// Names of its keys that were not given.
        missing: Vec<String>,
    },
    /// A role would have fewer keys than it needs.
    #[error("{role} would need {needed} of {holders} keys: make more keys first")]
    TooFewHolders {
        /// Which role.
        role: Role,
        /// Its keys.
        holders: usize,
        /// Its threshold.
        needed: usize,
    },
    /// There is a root already.
    #[error("{} holds a repository already", .path.display())]
    AlreadyThere {
        /// Its directory.
        path: PathBuf,
    },
    /// There is no root, or nothing was released yet.
    #[error("{} holds no {what} yet", .path.display())]
    NothingThere {
        /// The directory.
        path: PathBuf,
        /// `repository` or `release`.
        what: &'static str,
    },
    /// What is there does not verify, so nothing is built on it.
    #[error("{file} of the repository does not verify: {reason}; restore it before publishing")]
    Damaged {
        /// Path in the repository.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Devices would refuse whatever is published under this root.
    #[error("root {version} expired at {at}: rotate the root first")]
    RootExpired {
        /// Its version.
        version: u64,
        /// Its expiry.
        at: String,
    },
    /// Devices would refuse the model as a rollback.
    #[error("model {model_id} version {offered} is not newer than {published}, which is published")]
    NotNewer {
        /// Which model line.
        model_id: String,
        /// Version in the repository.
        published: u64,
        /// Version offered.
        offered: u64,
    },
    /// Devices would refuse the model as withdrawn.
    #[error("model {model_id} has rollback index {offered}, but {published} is published: it never falls")]
    RollbackIndexFell {
        /// Which model line.
        model_id: String,
        /// Index in the repository.
        published: u64,
        /// Index offered.
        offered: u64,
    },
    /// Devices of this engine would not read the release.
    #[error("manifest and certificate must be written in schema {expected}")]
    WrongSchema {
        /// What this build writes.
        expected: u32,
    },
    /// The manifest was made for another file.
    #[error("the manifest names {what} {named}, the file has {found}")]
    WrongHash {
        /// `policy` or `golden vectors`.
        what: &'static str,
        /// SHA-256 in the manifest.
        named: String,
        /// SHA-256 of the file.
        found: String,
    },
    /// Devices would refuse the file.
    #[error("{what} has {found} bytes, at most {max} are allowed")]
    TooLarge {
        /// Which file.
        what: &'static str,
        /// Bytes.
        found: u64,
        /// Bytes.
        max: u64,
    },
    /// The run was not checked, or not as it is now.
    #[error(transparent)]
    Check(#[from] BadChecked),
    /// Something did not pass, and nobody answers for it.
    #[error(
        "the check did not pass: {}; mend the run, or have the risk officer sign `plimsoll override`",
        .failed.join("; ")
    )]
    CheckFailed {
        /// What did not.
        failed: Vec<String>,
    },
    /// An override that does not hold.
    #[error("the override: {0}")]
    Override(#[from] BadOverride),
    /// A name that would not be a plain file name.
    #[error("model id {model_id:?} is not 1 to 64 of a–z, 0–9, `-`, `_`, `.`, starting with a letter or digit")]
    BadModelId {
        /// What was given.
        model_id: String,
    },
    /// Something that has no canonical JSON: a float, a control character, a decomposed letter.
    #[error("{what} cannot be signed: {reason}")]
    NotCanonical {
        /// Whose metadata.
        what: Role,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
