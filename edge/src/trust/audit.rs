//! Every file of a repository, not only those a device fetches: all model lines, and what was superseded.
//!
//! A device reads the newest release of one line. A publisher, a mirror or an auditor wants to know that
//! nothing in the whole repository was altered since it was signed, the past included: old roots,
//! snapshots, targets metadata and the files these name.

use plimsoll_model::UtcSeconds;
use sigstore_tuf::metadata::Role as TufRole;
use sigstore_tuf::{Metadata, Root, Snapshot, Targets};

use super::envelope::Envelope;
use super::refresh::Refreshed;
use super::release::{check_target, fetch_target, model_ids, take};
use super::repository::{find, require};
use super::root::{follow, root_path, self_signed};
use super::{
    Floors, METADATA_BYTES_MAX, RefuseRelease, Repository, Role, TARGETS_BYTES_MAX, TrustedRoot, Verified, map_error,
    target_bytes_max,
};

/// What an audit found in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The current release of every model line, by model id.
    pub releases: Vec<Verified>,
    /// Superseded metadata files that are still there.
    pub superseded: usize,
}

/// Verifies every release as [`super::verify`] does, and every superseded file that is still there by the
/// keys of its time. Superseded metadata may have expired and may be gone; old roots may not be gone.
///
/// # Errors
/// The first [`RefuseRelease`] met.
pub fn audit(
    repo: &dyn Repository,
    root: &TrustedRoot,
    floors: &Floors,
    now: UtcSeconds,
) -> Result<Audited, RefuseRelease> {
    let refreshed = Refreshed::new(repo, root, floors, now)?;
    let targets = refreshed.targets();
    let releases: Result<Vec<_>, _> = model_ids(targets).iter().map(|id| take(repo, &refreshed, Some(id))).collect();
    for path in targets.targets.keys() {
        fetch_target(repo, targets, path, target_bytes_max(path))?;
    }
    let roots = every_root(repo, root, refreshed.root().version)?;
    let mut superseded = roots.len() - 1;
    for version in 1..refreshed.floors.version(Role::Snapshot) {
        let found = past::<Snapshot>(repo, Role::Snapshot, version, METADATA_BYTES_MAX, &roots)?;
        superseded += usize::from(found.is_some());
    }
    for version in 1..refreshed.floors.version(Role::Targets) {
        let Some(past) = past::<Targets>(repo, Role::Targets, version, TARGETS_BYTES_MAX, &roots)? else {
            continue;
        };
        superseded += 1;
        for path in past.targets.keys() {
            check_target(repo, &past, path, target_bytes_max(path))?;
        }
    }
    Ok(Audited { releases: releases?, superseded })
}

/// The chain from root 1 through the pinned root to the newest, oldest first.
fn every_root(repo: &dyn Repository, pinned: &TrustedRoot, newest: u64) -> Result<Vec<Root>, RefuseRelease> {
    let first = require(repo, &root_path(1), METADATA_BYTES_MAX)?;
    let mut set = self_signed(&root_path(1), &first)?;
    let mut roots = vec![set.root().clone()];
    for version in 1..=newest {
        let file = root_path(version);
        if version > 1 {
            let bytes = require(repo, &file, METADATA_BYTES_MAX)?;
            follow(&mut set, &file, &bytes)?;
            roots.push(set.root().clone());
        }
        if version == pinned.version() && set.root_bytes() != pinned.bytes() {
            return Err(RefuseRelease::RootDiffers { file });
        }
    }
    Ok(roots)
}

/// A superseded file, if it is there, signed as one of `roots` asked for; the newest that fits.
fn past<T: TufRole>(
    repo: &dyn Repository,
    role: Role,
    version: u64,
    max: u64,
    roots: &[Root],
) -> Result<Option<T>, RefuseRelease> {
    let file = format!("metadata/{version}.{role}.json");
    let Some(bytes) = find(repo, &file, max)? else { return Ok(None) };
    let envelope = Envelope::read(role, &file, &bytes)?;
    let metadata = Metadata::<T>::from_slice(&bytes).map_err(|e| map_error(role, &file, &bytes, e))?;
    let signed_under = |root: &Root| {
        let keys = root.role(role.name()).expect("every root has four roles: `require_sound`");
        metadata.verify_threshold(&root.keys, keys, role.name()).map_err(|e| map_error(role, &file, &bytes, e))?;
        envelope.require_every_signature(role, &[root])
    };
    let mut refused = Ok(());
    for root in roots.iter().rev() {
        refused = signed_under(root);
        if refused.is_ok() {
            break;
        }
    }
    refused?;
    let found = metadata.signed().version();
    if found != version {
        return Err(RefuseRelease::MixAndMatch { file, role, expected: version, found });
    }
    Ok(Some(metadata.into_signed()))
}
