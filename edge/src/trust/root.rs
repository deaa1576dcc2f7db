//! The trust anchor: the pinned root, and the chain of roots that leads from it to the newest.
//!
//! ```text
//! pinned or remembered root N ═ metadata/N.root.json ─► N+1 signed by N and by N+1 ─► … ─► newest
//! ```

use sigstore_tuf::{Root, TrustedMetadataSet};

use super::envelope::{Envelope, verifying_key};
use super::repository::{find, require};
use super::{Floors, METADATA_BYTES_MAX, RefuseRelease, Repository, Role, map_error, provider};

/// New roots that one refresh follows.
pub const ROOTS_MAX: u64 = 32;

/// Root metadata that the app was built with: signed by its own threshold, with sound keys.
#[derive(Clone, Debug)]
pub struct TrustedRoot {
    bytes: Vec<u8>,
    version: u64,
}

impl TrustedRoot {
    /// Checks that `bytes` are a root that signs itself; its expiry matters only when it is used.
    ///
    /// # Errors
    /// `TooLarge`, `Truncated`, `NotCanonical`, `Malformed`, `UnsupportedKey`, `ThresholdNotMet`, or
    /// another refusal of its signatures.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RefuseRelease> {
        let set = self_signed("the pinned root", bytes)?;
        Ok(Self { bytes: bytes.to_vec(), version: set.root().version })
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its version.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// Where root `version` is in a repository.
pub(crate) fn root_path(version: u64) -> String {
    format!("metadata/{version}.root.json")
}

/// Follows the roots of `repo` from the newer of the pinned and the remembered one to the newest, and
/// forgets in `floors` what belonged to keys that were replaced. TUF specification section 5.3.
pub(super) fn newest_root(
    repo: &dyn Repository,
    pinned: &TrustedRoot,
    floors: &mut Floors,
) -> Result<TrustedMetadataSet, RefuseRelease> {
    let mut set = self_signed("the pinned root", &pinned.bytes)?;
    let mut remembered = None;
    if let Some(bytes) = floors.root() {
        let known = self_signed("the remembered root", bytes)?;
        remembered = Some(known.root().clone());
        if known.root().version > pinned.version {
            set = known;
        }
    }
    let trusted = set.root().version;
    let file = root_path(trusted);
    if require(repo, &file, METADATA_BYTES_MAX)? != set.root_bytes() {
        return Err(RefuseRelease::RootDiffers { file });
    }
    let last = trusted.saturating_add(ROOTS_MAX);
    for version in trusted.saturating_add(1)..=last {
        let file = root_path(version);
        let Some(bytes) = find(repo, &file, METADATA_BYTES_MAX)? else { break };
        follow(&mut set, &file, &bytes)?;
    }
    if set.root().version == last && find(repo, &root_path(last.saturating_add(1)), METADATA_BYTES_MAX)?.is_some() {
        return Err(RefuseRelease::TooManyRoots { max: ROOTS_MAX });
    }
    if let Some(remembered) = remembered {
        floors.forget_replaced(&remembered, set.root());
    }
    Ok(set)
}

/// A set that trusts `bytes` because they sign themselves.
pub(super) fn self_signed(file: &str, bytes: &[u8]) -> Result<TrustedMetadataSet, RefuseRelease> {
    provider::install();
    if bytes.len() as u64 > METADATA_BYTES_MAX {
        return Err(RefuseRelease::TooLarge { file: file.to_owned(), max: METADATA_BYTES_MAX });
    }
    let envelope = Envelope::read(Role::Root, file, bytes)?;
    let set = TrustedMetadataSet::from_root(bytes).map_err(|e| map_error(Role::Root, file, bytes, e))?;
    require_sound(set.root(), file)?;
    envelope.require_every_signature(Role::Root, &[set.root()])?;
    Ok(set)
}

/// Makes the next root the trusted one.
pub(super) fn follow(set: &mut TrustedMetadataSet, file: &str, bytes: &[u8]) -> Result<(), RefuseRelease> {
    let envelope = Envelope::read(Role::Root, file, bytes)?;
    let old = set.root().clone();
    set.update_root(bytes).map_err(|e| map_error(Role::Root, file, bytes, e))?;
    require_sound(set.root(), file)?;
    envelope.require_every_signature(Role::Root, &[&old, set.root()])
}

/// That a root names four roles with keys that exist, differ and can be used, and versioned file names.
fn require_sound(root: &Root, file: &str) -> Result<(), RefuseRelease> {
    let malformed = |reason: String| RefuseRelease::Malformed { file: file.to_owned(), reason };
    for (id, key) in &root.keys {
        verifying_key(id, key)?;
    }
    for role in [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets] {
        let keys = root.role(role.name()).ok_or_else(|| malformed(format!("it has no role {role}")))?;
        let mut ids: Vec<&String> = keys.keyids.iter().collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != keys.keyids.len() || !ids.iter().all(|id| root.keys.contains_key(*id)) {
            return Err(malformed(format!("role {role} names a key twice, or one that is not listed")));
        }
        if keys.threshold == 0 || keys.threshold > ids.len() {
            return Err(malformed(format!("role {role} needs {} of {} keys", keys.threshold, ids.len())));
        }
    }
    if !root.consistent_snapshot {
        return Err(malformed("it does not use consistent snapshots".to_owned()));
    }
    Ok(())
}
