//! From the newest root down to the targets metadata: signed, fresh, not rolled back, of one release.

use plimsoll_model::UtcSeconds;
use sigstore_tuf::metadata::Role as TufRole;
use sigstore_tuf::{MetaFile, Metadata, Root, Snapshot, Targets, Timestamp, TrustedMetadataSet};

use super::envelope::Envelope;
use super::repository::require;
use super::root::newest_root;
use super::{
    Floors, METADATA_BYTES_MAX, RefuseRelease, Repository, Role, TARGETS_BYTES_MAX, TrustedRoot, map_error, sha256_of,
};

/// The member of `timestamp.json` that says when it was signed (UTC seconds). TUF has expiries only;
/// the specification (section 4.1) lets publishers add members, and clients that do not know one keep it.
pub const SIGNED_AT: &str = "x-plimsoll-signed-at";

/// Verified metadata, and the floors raised by it.
pub(super) struct Refreshed {
    set: TrustedMetadataSet,
    pub(super) floors: Floors,
    pub(super) expires: UtcSeconds,
}

impl Refreshed {
    /// The client workflow of TUF 1.0, section 5.
    pub(super) fn new(
        repo: &dyn Repository,
        pinned: &TrustedRoot,
        floors: &Floors,
        now: UtcSeconds,
    ) -> Result<Self, RefuseRelease> {
        let mut floors = floors.clone();
        let mut set = newest_root(repo, pinned, &mut floors)?;
        let root = set.root().clone();
        let mut now = floors.time(now);
        set.check_root_expired(instant(now)).map_err(|e| map_error(Role::Root, "root.json", &[], e))?;
        let mut expires = not_expired(Role::Root, &root, now)?;

        let file = "metadata/timestamp.json";
        let bytes = require(repo, file, METADATA_BYTES_MAX)?;
        let envelope = Envelope::read(Role::Timestamp, file, &bytes)?;
        set.update_timestamp(&bytes, instant(now)).map_err(|e| map_error(Role::Timestamp, file, &bytes, e))?;
        envelope.require_every_signature(Role::Timestamp, &[&root])?;
        let timestamp = set.timestamp().expect("update_timestamp sets it");
        at_least(Role::Timestamp, floors.timestamp, timestamp.version)?;
        if let Some(at) = signed_at(file, timestamp)? {
            floors.online_time = floors.online_time.max(Some(at));
            now = now.max(at);
        }
        expires = expires.min(not_expired(Role::Timestamp, timestamp, now)?);
        let pin = pin(file, timestamp.snapshot_meta())?;
        floors.timestamp = timestamp.version;

        at_least(Role::Snapshot, floors.snapshot, pin.version)?;
        let file = format!("metadata/{}.snapshot.json", pin.version);
        let bytes = require(repo, &file, METADATA_BYTES_MAX)?;
        pin.require::<Snapshot>(Role::Snapshot, &file, &bytes, &root)?;
        let envelope = Envelope::read(Role::Snapshot, &file, &bytes)?;
        set.update_snapshot(&bytes, instant(now)).map_err(|e| map_error(Role::Snapshot, &file, &bytes, e))?;
        envelope.require_every_signature(Role::Snapshot, &[&root])?;
        let snapshot = set.snapshot().expect("update_snapshot sets it");
        expires = expires.min(not_expired(Role::Snapshot, snapshot, now)?);
        floors.snapshot = snapshot.version;

        let pin = self::pin(&file, snapshot.meta.get("targets.json"))?;
        at_least(Role::Targets, floors.targets, pin.version)?;
        let file = format!("metadata/{}.targets.json", pin.version);
        let bytes = require(repo, &file, TARGETS_BYTES_MAX)?;
        pin.require::<Targets>(Role::Targets, &file, &bytes, &root)?;
        let envelope = Envelope::read(Role::Targets, &file, &bytes)?;
        set.update_targets(&bytes, instant(now)).map_err(|e| map_error(Role::Targets, &file, &bytes, e))?;
        envelope.require_every_signature(Role::Targets, &[&root])?;
        let targets = set.targets_role("targets").expect("update_targets sets it");
        if targets.delegations.is_some() {
            let reason = "delegations are not used here".to_owned();
            return Err(RefuseRelease::Malformed { file, reason });
        }
        expires = expires.min(not_expired(Role::Targets, targets, now)?);
        floors.targets = targets.version;

        floors.root_version = root.version;
        floors.root = Some(String::from_utf8(set.root_bytes().to_vec()).expect("JSON was parsed from it"));
        Ok(Self { set, floors, expires })
    }

    /// The files of the repository.
    pub(super) fn targets(&self) -> &Targets {
        self.set.targets_role("targets").expect("Refreshed::new loads it")
    }

    /// The newest root.
    pub(super) fn root(&self) -> &Root {
        self.set.root()
    }
}

/// Which file a role must be: version, bytes, lower-case hex SHA-256.
struct Pin {
    version: u64,
    length: u64,
    sha256: String,
}

fn pin(file: &str, meta: Option<&MetaFile>) -> Result<Pin, RefuseRelease> {
    let sha256 = |meta: &MetaFile| meta.hashes.as_ref().and_then(|hashes| hashes.get("sha256").cloned());
    meta.and_then(|meta| Some(Pin { version: meta.version, length: meta.length?, sha256: sha256(meta)? })).ok_or_else(
        || RefuseRelease::Malformed {
            file: file.to_owned(),
            reason: "it does not name version, length and SHA-256 of the next file".to_owned(),
        },
    )
}

impl Pin {
    /// That `bytes` are the pinned file. Where they are metadata of another version instead, and properly
    /// signed, the refusal says so: that is an attack, and not a damaged download.
    fn require<T: TufRole>(&self, role: Role, file: &str, bytes: &[u8], root: &Root) -> Result<(), RefuseRelease> {
        let pinned = bytes.len() as u64 == self.length && sha256_of(bytes) == self.sha256;
        let keys = root.role(role.name());
        if let (Ok(other), Some(keys)) = (Metadata::<T>::from_slice(bytes), keys)
            && other.signed().version() != self.version
            && (pinned || other.verify_threshold(&root.keys, keys, role.name()).is_ok())
        {
            let (expected, found) = (self.version, other.signed().version());
            return Err(RefuseRelease::MixAndMatch { file: file.to_owned(), role, expected, found });
        }
        if pinned { Ok(()) } else { Err(wrong_bytes(file, self.length, bytes.len() as u64)) }
    }
}

/// Why bytes are not the signed ones, when they are not.
pub(super) fn wrong_bytes(file: &str, expected: u64, found: u64) -> RefuseRelease {
    let file = file.to_owned();
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => RefuseRelease::Truncated { file, expected: Some(expected), found },
        std::cmp::Ordering::Equal => RefuseRelease::WrongHash { file },
        std::cmp::Ordering::Greater => RefuseRelease::TooLarge { file, max: expected },
    }
}

fn at_least(role: Role, trusted: u64, offered: u64) -> Result<(), RefuseRelease> {
    if offered < trusted { Err(RefuseRelease::Rollback { role, trusted, offered }) } else { Ok(()) }
}

/// The expiry, if `now` is before it. The specification says that metadata expires *at* that instant;
/// sigstore-tuf lets that instant pass.
fn not_expired<T: TufRole>(role: Role, metadata: &T, now: UtcSeconds) -> Result<UtcSeconds, RefuseRelease> {
    let at = UtcSeconds(metadata.expires().as_second());
    if now >= at { Err(RefuseRelease::Expired { role, at }) } else { Ok(at) }
}

fn signed_at(file: &str, timestamp: &Timestamp) -> Result<Option<UtcSeconds>, RefuseRelease> {
    match timestamp.extra.get(SIGNED_AT).map(serde_json::Value::as_i64) {
        None => Ok(None),
        Some(Some(seconds)) => Ok(Some(UtcSeconds(seconds))),
        Some(None) => Err(RefuseRelease::Malformed {
            file: file.to_owned(),
            reason: format!("{SIGNED_AT} is not a count of seconds"),
        }),
    }
}

/// An instant that the calendar of `jiff` ends before is after every expiry.
fn instant(at: UtcSeconds) -> jiff::Timestamp {
    let end = if at.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_second(at.0).unwrap_or(end)
}
