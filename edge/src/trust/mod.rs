//! Trust: from a pinned root and untrusted bytes to a [`Verified`] release, by TUF 1.0.
//!
//! ```text
//! pinned root ─► newest root ─► timestamp ─► snapshot ─► targets ─► manifest, certificate ─► model, policy, golden
//!    root          root         └─────── refresh ──────┘                └──────────────── release ───────────────┘
//! ```
//!
//! No clock and no socket: the caller passes the time, and bytes through [`Repository`]. The state
//! machine of the TUF client (section 5 of the specification: thresholds, root chain, pins) is
//! `sigstore-tuf`; this module gives it a strict Ed25519, remembered [`Floors`], and a stricter reading
//! of the files, so that a repository is accepted only as it was published, to the byte:
//!
//! - metadata is OLPC canonical JSON as a whole file; every signature in it must be good, not only a
//!   threshold of them, and be by a key of that role (`envelope`);
//! - the published root of the trusted version equals the trusted root, and every newer one chains from it;
//! - snapshot and targets must match the length and SHA-256 that the role above them signed.
//!
//! Nothing in a model, policy or golden file is parsed before its length and SHA-256 match. Signatures
//! live inside the JSON of metadata files, so that much must be read before it can be verified: at most
//! [`METADATA_BYTES_MAX`] or [`TARGETS_BYTES_MAX`] bytes, by `serde_json`, into plain values. That is the
//! only code that ever sees a byte nobody signed.
//!
//! Expiry gates the *install*. How long an installed model may be used is in its manifest
//! (`use_not_after`, `grace_days`) and is judged where it is used.

mod refuse;

mod repository;

mod bundle;

mod floors;

mod provider;

mod envelope;

mod root;

mod refresh;

mod release;

mod audit;

use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::{MODEL_BYTES_MAX, sha256_hex};

pub use audit::{Audited, audit};
pub use bundle::{BUNDLE_BYTES_MAX, Bundle, BundleFull};
pub use floors::{Floors, ModelFloor};
pub use provider::StrictEd25519;
pub use refresh::SIGNED_AT;
pub use refuse::{RefuseRelease, Role};
pub use release::Verified;
pub use repository::{Directory, FetchError, Repository};
pub(crate) use root::root_path;
pub use root::{ROOTS_MAX, TrustedRoot};

/// Bytes a root, timestamp or snapshot may have.
pub const METADATA_BYTES_MAX: u64 = 64 * 1024;
/// Bytes a targets metadata file may have.
pub const TARGETS_BYTES_MAX: u64 = 512 * 1024;
/// Bytes a policy may have.
pub const POLICY_BYTES_MAX: u64 = 256 * 1024;
/// Bytes golden vectors may have.
pub const GOLDEN_BYTES_MAX: u64 = 512 * 1024;

/// Verifies the release of a model line.
///
/// * `repo`: where the bytes are; not trusted.
/// * `root`: the root this device was built to trust; a newer one in `floors` takes its place.
/// * `floors`: what this device has seen; the result carries them raised, to be stored after activation.
/// * `now`: the wall clock; every signed time seen counts as well, and the latest of them decides.
/// * `model_id`: which model line; may be left out where the repository has only one.
///
/// # Errors
/// The first [`RefuseRelease`] met. On any of them the release that is installed stays as it is.
///
/// Source: The Update Framework specification 1.0.34, section 5.
pub fn verify(
    repo: &dyn Repository,
    root: &TrustedRoot,
    floors: &Floors,
    now: UtcSeconds,
    model_id: Option<&str>,
) -> Result<Verified, RefuseRelease> {
    let refreshed = refresh::Refreshed::new(repo, root, floors, now)?;
    release::take(repo, &refreshed, model_id)
}

/// The most bytes that a target of this name may have.
fn target_bytes_max(path: &str) -> u64 {
    match path.rsplit_once('.') {
        Some((stem, "json")) if stem.ends_with(".policy") => POLICY_BYTES_MAX,
        Some((stem, "json")) if stem.ends_with(".golden") => GOLDEN_BYTES_MAX,
        _ => MODEL_BYTES_MAX,
    }
}

fn sha256_of(bytes: &[u8]) -> String {
    sha256_hex(bytes)
}

/// The refusal that an error of the TUF client means for a file of `role`.
fn map_error(role: Role, file: &str, bytes: &[u8], error: sigstore_tuf::Error) -> RefuseRelease {
    use sigstore_tuf::Error;
    match error {
        Error::Json(error) => envelope::unreadable(file, bytes, &error),
        Error::ThresholdNotMet { found, threshold: needed, .. } => {
            RefuseRelease::ThresholdNotMet { role, found, needed }
        }
        Error::DuplicateSignature { key_id: key, .. } => RefuseRelease::DuplicateSignature { role, key },
        Error::Rollback { trusted, new: offered, .. } => RefuseRelease::Rollback { role, trusted, offered },
        Error::BadRootVersion { trusted, new: offered } => RefuseRelease::BadRoot { trusted, offered },
        Error::Expired { expires, .. } => RefuseRelease::Expired { role, at: UtcSeconds(expires.as_second()) },
        Error::UnusableKey { key_id: key, reason } => RefuseRelease::UnsupportedKey { key, reason },
        Error::UnsupportedScheme { scheme, .. } => {
            RefuseRelease::UnsupportedKey { key: scheme, reason: "only Ed25519 keys are used here".to_owned() }
        }
        other => RefuseRelease::Malformed { file: file.to_owned(), reason: other.to_string() },
    }
}
