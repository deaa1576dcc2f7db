//! What a device remembers between releases, so that nothing runs backwards.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::Manifest;
use serde::{Deserialize, Serialize};
use sigstore_tuf::Root;

use super::Role;

/// The oldest metadata and models a device still accepts. `Default` has seen nothing.
///
/// [`super::verify`] returns it raised; store that only after the release was activated (design
/// section 7), as an install that fails must not lock out the release that is running.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floors {
    /// The newest root that was followed: the bytes of its file, which are UTF-8.
    pub(super) root: Option<String>,
    pub(super) root_version: u64,
    pub(super) timestamp: u64,
    pub(super) snapshot: u64,
    pub(super) targets: u64,
    pub(super) models: BTreeMap<String, ModelFloor>,
    /// Latest time signed by the online key, and by the keys of targets. Apart, because the first is
    /// forgotten when that key is replaced: a thief could have signed a time far ahead.
    pub(super) online_time: Option<UtcSeconds>,
    pub(super) offline_time: Option<UtcSeconds>,
}

/// The last model of a line that was activated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFloor {
    /// Its version; an older one is refused.
    pub model_version: u64,
    /// Its rollback index; a lower one is refused.
    pub rollback_index: u64,
}

impl Floors {
    /// The version of `role` below which metadata is refused; 0 when none was seen.
    pub fn version(&self, role: Role) -> u64 {
        match role {
            Role::Root => self.root_version,
            Role::Timestamp => self.timestamp,
            Role::Snapshot => self.snapshot,
            Role::Targets => self.targets,
        }
    }

    /// The bytes of the newest root that was followed.
    pub fn root(&self) -> Option<&[u8]> {
        self.root.as_deref().map(str::as_bytes)
    }

    /// What was activated of a model line.
    pub fn model(&self, model_id: &str) -> ModelFloor {
        self.models.get(model_id).copied().unwrap_or_default()
    }

    /// The latest signed time seen: it cannot be earlier now, whatever the wall clock says.
    pub fn latest_signed(&self) -> Option<UtcSeconds> {
        self.online_time.max(self.offline_time)
    }

    /// The greater of the wall clock and every signed time seen (design section 7).
    pub fn time(&self, wall_clock: UtcSeconds) -> UtcSeconds {
        self.latest_signed().map_or(wall_clock, |signed| signed.max(wall_clock))
    }

    /// Forgets the versions of roles whose keys were replaced between two roots, so that a thief who
    /// published version 2⁶³ with a stolen key locks nobody out. TUF specification section 5.3.11.
    pub(super) fn forget_replaced(&mut self, old: &Root, new: &Root) {
        let replaced = |role: Role| keys_of(old, role) != keys_of(new, role);
        if replaced(Role::Timestamp) || replaced(Role::Snapshot) {
            self.timestamp = 0;
            self.snapshot = 0;
            self.online_time = None;
        }
        if replaced(Role::Targets) {
            self.targets = 0;
        }
    }

    /// These floors, with `other`'s models: while a new model is on trial, the one before is still accepted.
    pub(crate) fn with_models_of(&self, other: &Self) -> Self {
        Self { models: other.models.clone(), ..self.clone() }
    }

    /// Raises every floor to `other`'s, where that is higher.
    pub(crate) fn raise_to(&mut self, other: &Self) {
        if other.root_version > self.root_version {
            (self.root, self.root_version) = (other.root.clone(), other.root_version);
        }
        self.timestamp = self.timestamp.max(other.timestamp);
        self.snapshot = self.snapshot.max(other.snapshot);
        self.targets = self.targets.max(other.targets);
        self.online_time = self.online_time.max(other.online_time);
        self.offline_time = self.offline_time.max(other.offline_time);
        for (model_id, model) in &other.models {
            let floor = self.models.entry(model_id.clone()).or_default();
            floor.model_version = floor.model_version.max(model.model_version);
            floor.rollback_index = floor.rollback_index.max(model.rollback_index);
        }
    }

    pub(crate) fn raise_model(&mut self, manifest: &Manifest) {
        let floor = self.models.entry(manifest.model_id.clone()).or_default();
        floor.model_version = floor.model_version.max(manifest.model_version);
        floor.rollback_index = floor.rollback_index.max(manifest.rollback_index);
        self.offline_time = self.offline_time.max(Some(manifest.issued_at));
    }
}

fn keys_of(root: &Root, role: Role) -> Option<(BTreeSet<&String>, usize)> {
    root.role(role.name()).map(|keys| (keys.keyids.iter().collect(), keys.threshold))
}
