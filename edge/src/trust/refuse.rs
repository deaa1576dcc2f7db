//! Why a release was refused: one variant per cause, the values that show it, and what to do.

use std::fmt;

use plimsoll_model::UtcSeconds;

/// A top-level TUF role (specification section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Names the keys of every role; offline.
    Root,
    /// Names the current snapshot; online, short-lived.
    Timestamp,
    /// Names the current targets metadata; online.
    Snapshot,
    /// Names the files of every release; model owner and risk officer.
    Targets,
}

impl Role {
    /// As it is written in metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a release was refused. Nothing inside its model, policy or golden vectors was parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseRelease {
    /// A file that the metadata names is not there.
    #[error("{file} is missing: fetch the whole repository again")]
    Missing {
        /// Path in the repository.
        file: String,
    },
    /// A file ends before it should.
    #[error("{file} is cut short at {found} bytes{}: fetch it again", of_length(*.expected))]
    Truncated {
        /// Path in the repository.
        file: String,
        /// Bytes, where signed metadata names a length.
        expected: Option<u64>,
        /// Bytes.
        found: u64,
    },
    /// A file is longer than its signed length or than its kind may be; the rest of it was not read.
    #[error("{file} is larger than {max} bytes, the most it may have")]
    TooLarge {
        /// Path in the repository.
        file: String,
        /// Bytes.
        max: u64,
    },
    /// A file has the signed length and other bytes.
    #[error("{file} does not have the SHA-256 that was signed")]
    WrongHash {
        /// Path in the repository.
        file: String,
    },
    /// Metadata that is not the one spelling (OLPC canonical JSON) of what it says.
    #[error("{file} is not canonical JSON: it was rewritten after it was published")]
    NotCanonical {
        /// Path in the repository.
        file: String,
    },
    /// Metadata that does not say what such a file must say.
    #[error("{file} is malformed: {reason}")]
    Malformed {
        /// Path in the repository.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Too few keys of the role signed.
    #[error("{role} is signed by {found} of the {needed} keys it needs")]
    ThresholdNotMet {
        /// Whose metadata.
        role: Role,
        /// Valid signatures by different keys of the role.
        found: usize,
        /// The threshold.
        needed: usize,
    },
    /// One key appears twice among the signatures.
    #[error("{role} lists the signature of key {key} twice")]
    DuplicateSignature {
        /// Whose metadata.
        role: Role,
        /// Key id.
        key: String,
    },
    /// A signature beside a sufficient number of good ones does not match.
    #[error("{role} carries a signature that does not match key {key}")]
    BadSignature {
        /// Whose metadata.
        role: Role,
        /// Key id.
        key: String,
    },
    /// A signature by a key that the root does not give to the role.
    #[error("{role} carries a signature by key {key}, which the root does not give to that role")]
    UnknownSigner {
        /// Whose metadata.
        role: Role,
        /// Key id.
        key: String,
    },
    /// A key that is not a sound Ed25519 key under its own key id.
    #[error("key {key} cannot be used: {reason}")]
    UnsupportedKey {
        /// Key id.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A root that does not follow the trusted one.
    #[error("root {offered} does not follow the trusted root {trusted}")]
    BadRoot {
        /// Version trusted so far.
        trusted: u64,
        /// Version found in the place of `trusted + 1`.
        offered: u64,
    },
    /// The repository shows another root under the version that this device trusts.
    #[error("{file} is not the root this device trusts: this is another repository, or it was altered")]
    RootDiffers {
        /// Path in the repository.
        file: String,
    },
    /// More new roots than one refresh follows.
    #[error("more than {max} roots are newer than the trusted one: update the pinned root")]
    TooManyRoots {
        /// Roots followed.
        max: u64,
    },
    /// Metadata older than what this device has seen.
    #[error("{role} {offered} is older than {trusted}, which this device has seen: a rollback")]
    Rollback {
        /// Whose metadata.
        role: Role,
        /// Version seen.
        trusted: u64,
        /// Version offered.
        offered: u64,
    },
    /// Metadata of another release in the place of this one.
    #[error("{file} is {role} {found}, but this release is made of {role} {expected}: releases are mixed")]
    MixAndMatch {
        /// Path in the repository.
        file: String,
        /// Whose metadata.
        role: Role,
        /// Version that the signed pin names.
        expected: u64,
        /// Version found.
        found: u64,
    },
    /// Nothing newer was signed in time: the repository is frozen, or cut off from its signer.
    #[error("{role} expired at {}: fetch a fresh {role}", .at.rfc3339())]
    Expired {
        /// Whose metadata.
        role: Role,
        /// Its expiry.
        at: UtcSeconds,
    },
    /// A model older than the one that was active.
    #[error("model {model_id} version {offered} is older than {trusted}, which was active here")]
    ModelRollback {
        /// Which model line.
        model_id: String,
        /// Version once activated.
        trusted: u64,
        /// Version offered.
        offered: u64,
    },
    /// A model from before a security withdrawal.
    #[error("model {model_id} has rollback index {offered}, but models below {trusted} were withdrawn")]
    RollbackIndex {
        /// Which model line.
        model_id: String,
        /// Index of the model once activated.
        trusted: u64,
        /// Index offered.
        offered: u64,
    },
    /// The release needs a newer engine.
    #[error("the model needs engine {needs} and this is {engine}: update the app")]
    EngineTooOld {
        /// Oldest engine that may run it.
        needs: u32,
        /// This build.
        engine: u32,
    },
    /// The release was made for older engines.
    #[error("the model runs on engines up to {allows} and this is {engine}: publish a newer model")]
    EngineTooNew {
        /// Newest engine that may run it.
        allows: u32,
        /// This build.
        engine: u32,
    },
    /// The signed manifest or certificate is written in another schema.
    #[error("the release is written in schema {found}, this build reads {expected}")]
    WrongSchema {
        /// What this build reads.
        expected: u32,
        /// What was signed.
        found: u64,
    },
    /// The repository does not say which model to take, or has not the one asked for.
    #[error("no model {}: the repository has {known:?}", .wanted.as_deref().unwrap_or("was named"))]
    UnknownModel {
        /// The model asked for, if one was.
        wanted: Option<String>,
        /// The models there are.
        known: Vec<String>,
    },
    /// The bytes could not be fetched.
    #[error("{file} could not be read")]
    Io {
        /// Path in the repository.
        file: String,
        /// Why.
        #[source]
        source: super::FetchError,
    },
}

impl RefuseRelease {
    /// A stable name of the cause, `snake_case`, for callers in other languages.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Truncated { .. } => "truncated",
            Self::TooLarge { .. } => "too_large",
            Self::WrongHash { .. } => "wrong_hash",
            Self::NotCanonical { .. } => "not_canonical",
            Self::Malformed { .. } => "malformed",
            Self::ThresholdNotMet { .. } => "threshold_not_met",
            Self::DuplicateSignature { .. } => "duplicate_signature",
            Self::BadSignature { .. } => "bad_signature",
            Self::UnknownSigner { .. } => "unknown_signer",
            Self::UnsupportedKey { .. } => "unsupported_key",
            Self::BadRoot { .. } => "bad_root",
            Self::RootDiffers { .. } => "root_differs",
            Self::TooManyRoots { .. } => "too_many_roots",
            Self::Rollback { .. } => "rollback",
            Self::MixAndMatch { .. } => "mix_and_match",
            Self::Expired { .. } => "expired",
            Self::ModelRollback { .. } => "model_rollback",
            Self::RollbackIndex { .. } => "rollback_index",
            Self::EngineTooOld { .. } => "engine_too_old",
            Self::EngineTooNew { .. } => "engine_too_new",
            Self::WrongSchema { .. } => "wrong_schema",
            Self::UnknownModel { .. } => "unknown_model",
            Self::Io { .. } => "io",
        }
    }
}

fn of_length(expected: Option<u64>) -> String {
    expected.map(|bytes| format!(" of {bytes}")).unwrap_or_default()
}
