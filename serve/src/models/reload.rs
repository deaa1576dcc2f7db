//! A repository is taken in, whole and verified, or not at all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes as Buffer;
use plimsoll_edge::slots::SLOT_BYTES_MAX;
use plimsoll_edge::slots::bundle::{Bundle, Recorder};
use plimsoll_edge::trust::{self, Directory, FetchError, METADATA_BYTES_MAX, RefuseRelease, Repository};
use plimsoll_edge::{Evaluator, RefuseArtifact};
use plimsoll_model::UtcSeconds;

use super::active::TIMESTAMP;
use super::rollout::{Digest, Ring};
use super::{Active, ArchiveError, Models, Source, State};

/// Bytes of a repository that are held in memory, superseded files included.
const REPOSITORY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What became of a repository that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// Its release is the one that is known already.
    Current {
        /// Which.
        model_version: u64,
    },
    /// A new release.
    Admitted {
        /// Which.
        model_version: u64,
        /// Share of the accounts it decides for now.
        share_ppm: u32,
    },
}

/// Why a repository was not taken in. What was served goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseReload {
    /// The service has none.
    #[error("no repository is configured")]
    NoSource,
    /// It is not what its signers published, or older than what was seen before.
    #[error(transparent)]
    Release(#[from] RefuseRelease),
    /// Its model does not run on this engine.
    #[error(transparent)]
    Artifact(#[from] RefuseArtifact),
    /// Its last day of use has passed.
    #[error("model {model_version} could be used until {}", .until.rfc3339())]
    PastUse {
        /// Version.
        model_version: u64,
        /// The last instant, grace included.
        until: UtcSeconds,
    },
    /// For another programme than this service's.
    #[error("the release is for programme {found:?}, this service runs {expected:?}")]
    Programme {
        /// Configured.
        expected: String,
        /// Of the release.
        found: String,
    },
    /// Another release under a version that is known.
    #[error("another release was served as model version {model_version}: a changed release needs a new version")]
    VersionReused {
        /// Version.
        model_version: u64,
    },
    /// With its metadata it is larger than any we keep.
    #[error("the release has {bytes} bytes with its metadata, more than {max}")]
    TooLarge {
        /// Bytes.
        bytes: u64,
        /// Bytes.
        max: u64,
    },
    /// It could not be kept.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// The repository as it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its timestamp, when it was last taken in.
    timestamp: Option<Vec<u8>>,
    pub(super) checked_at: Option<UtcSeconds>,
    pub(super) refused: Option<String>,
    /// Every file that its metadata names, verified; superseded ones too.
    pub(super) files: BTreeMap<String, Buffer>,
}

impl Models {
    /// Takes the repository in if it has changed since it was last taken in, or was refused. Reads files and checks
    /// signatures: off the async threads, please.
    ///
    /// * returns `None` when there is nothing new.
    ///
    /// # Errors
    /// [`RefuseReload`]; what was served goes on.
    pub fn look(&self, now: UtcSeconds) -> Result<Option<Reloaded>, RefuseReload> {
        let Some(source) = &self.0.settings.source else { return Ok(None) };
        let found = Directory::new(&source.directory).fetch(TIMESTAMP, METADATA_BYTES_MAX);
        let mut state = self.state();
        state.save();
        if let Ok(Some(timestamp)) = found
            && state.repository.refused.is_none()
            && state.repository.timestamp.as_ref() == Some(&timestamp)
        {
            state.repository.checked_at = Some(now);
            return Ok(None);
        }
        drop(state);
        self.reload(now).map(Some)
    }

    /// Takes the repository in.
    ///
    /// # Errors
    /// [`RefuseReload`]; what was served goes on.
    pub fn reload(&self, now: UtcSeconds) -> Result<Reloaded, RefuseReload> {
        let Some(source) = &self.0.settings.source else { return Err(RefuseReload::NoSource) };
        let mut state = self.state();
        let result = self.take_in(&mut state, source, now);
        state.repository.checked_at = Some(now);
        let refused = result.as_ref().err().map(ToString::to_string);
        // Once per cause: a repository in the middle of being copied is looked at again and again.
        match (&result, &refused) {
            (Ok(Reloaded::Admitted { model_version, share_ppm }), _) => {
                tracing::info!(model_version, share_ppm, "a release came in");
            }
            (_, Some(why)) if state.repository.refused != refused => {
                tracing::warn!(why, "the repository was refused; what was served goes on");
            }
            _ => {}
        }
        state.repository.refused = refused;
        result
    }

    fn take_in(&self, state: &mut State, source: &Source, now: UtcSeconds) -> Result<Reloaded, RefuseReload> {
        // Everything once, so that what is verified is what is kept and served, whoever writes there meanwhile.
        let taken = Taken { directory: Directory::new(&source.directory), files: RefCell::default() };
        trust::audit(&taken, &source.root, &state.floors, now)?;
        let files = taken.files.into_inner().files;
        let recorder = Recorder::new(&files);
        let model_id = source.model_id.as_deref();
        let verified = trust::verify(&recorder, &source.root, &state.floors, now, model_id)?;
        let manifest = &verified.release().manifest;
        let (model_version, model_id) = (manifest.model_version, &manifest.model_id);
        let expected = &self.0.settings.policy.programme;
        if manifest.programme != *expected {
            let (expected, found) = (expected.clone(), manifest.programme.clone());
            return Err(RefuseReload::Programme { expected, found });
        }
        let evaluator = Evaluator::new(&verified)?;
        let digest = evaluator.digest();
        let active = Active::release(evaluator, &verified, Vec::new());
        let of_version = state.rollout.of_version(model_version);
        let known = of_version.is_some();
        if of_version.is_some_and(|(known, ring)| *known != digest || ring.policy != active.policy_sha256()) {
            return Err(RefuseReload::VersionReused { model_version });
        }
        let at = verified.floors().time(now);
        if !known && at > manifest.usable_until() {
            return Err(RefuseReload::PastUse { model_version, until: manifest.usable_until() });
        }

        let slot = recorder.into_slot(&source.root, verified.floors(), at)?;
        if slot.len() as u64 > SLOT_BYTES_MAX {
            return Err(RefuseReload::TooLarge { bytes: slot.len() as u64, max: SLOT_BYTES_MAX });
        }
        // What is about to be kept must load as it will be loaded: by the given root and its own files alone.
        let again = Bundle::read(&slot).ok_or(RefuseRelease::TooManyRoots { max: trust::ROOTS_MAX })?;
        let verified_again = again.verify(&source.root, model_id)?;
        let evaluator = Evaluator::new(&verified_again)?;
        let proof = again.files().map(|(path, bytes)| (path.to_owned(), Buffer::copy_from_slice(bytes))).collect();
        let active = Active::release(evaluator, &verified_again, proof);

        // In this order, so that a crash in between is made good by looking again.
        state.archive.keep_release(&digest, &slot)?;
        state.archive.keep_floors(verified.floors())?;
        state.floors = verified.floors().clone();
        if !known {
            let first_ring = active.policy().rollout.first_ring.get();
            let policy = active.policy_sha256();
            state.rollout.admit(digest, ring(manifest, policy, now), first_ring);
        }
        state.loaded.insert(digest, Arc::new(active));
        state.unloaded.remove(&digest);
        state.repository.timestamp = files.get(TIMESTAMP).cloned();
        state.repository.files = files.into_iter().map(|(path, bytes)| (path, bytes.into())).collect();
        self.put_in_place(state);
        if known {
            return Ok(Reloaded::Current { model_version });
        }
        let share_ppm = state.rollout.ring(&digest).map_or(0, |ring| ring.share_ppm);
        Ok(Reloaded::Admitted { model_version, share_ppm })
    }
}

fn ring(manifest: &plimsoll_model::artifact::Manifest, policy: Digest, now: UtcSeconds) -> Ring {
    Ring {
        model_id: manifest.model_id.clone(),
        model_version: manifest.model_version,
        rollback_index: manifest.rollback_index,
        policy,
        share_ppm: 0,
        since: now,
        granted_ppm: BTreeMap::new(),
        pulled: None,
        compared: BTreeMap::new(),
    }
}

/// A repository that hands out the same bytes for a path however often it is asked, and keeps them.
struct Taken {
    directory: Directory,
    files: RefCell<Held>,
}

#[derive(Default)]
struct Held {
    files: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

impl Repository for Taken {
    fn fetch(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let mut held = self.files.borrow_mut();
        if let Some(bytes) = held.files.get(path) {
            let most = usize::try_from(max_bytes).unwrap_or(usize::MAX).saturating_add(1);
            return Ok(Some(bytes[..bytes.len().min(most)].to_vec()));
        }
        let found = self.directory.fetch(path, max_bytes)?;
        // One that is too long is refused by whoever asked.
        if let Some(bytes) = found.as_ref().filter(|bytes| bytes.len() as u64 <= max_bytes) {
            held.bytes += bytes.len();
            if held.bytes > REPOSITORY_BYTES_MAX {
                let reason = format!("the repository has more than {REPOSITORY_BYTES_MAX} bytes: prune old releases");
                return Err(FetchError { reason });
            }
            held.files.insert(path.to_owned(), bytes.clone());
        }
        Ok(found)
    }
}
