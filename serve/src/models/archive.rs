//! What the service keeps of its releases, in a directory of its own.
//!
//! | file | what |
//! |---|---|
//! | `release-<sha256 of the model>` | a release with the files that prove it, verified again at every load |
//! | `policy-<sha256>` | a policy that decided without a model |
//! | `floors` | the oldest metadata and models that are still accepted |
//! | `rollout` | how far each release has come |
//!
//! Each is replaced as a whole or not at all. One process writes it at a time; others may read (`audit replay`).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use axum::body::Bytes as Buffer;
use plimsoll_edge::slots::SLOT_BYTES_MAX;
use plimsoll_edge::slots::bundle::Bundle;
use plimsoll_edge::storage::{Files, Storage as _, StorageError};
use plimsoll_edge::trust::{Floors, POLICY_BYTES_MAX, RefuseRelease, TrustedRoot};
use plimsoll_edge::{Evaluator, RefuseArtifact};
use plimsoll_model::artifact::hex;
use plimsoll_model::policy::{BadPolicy, Policy};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::active::Active;
use super::rollout::{Digest, Rollout};

const FLOORS: &str = "floors";
const ROLLOUT: &str = "rollout";
/// Bytes that floors or a rollout may have: a root and a few numbers; thousands of releases.
const STATE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Archive {
    directory: PathBuf,
    /// None where it is only read.
    files: Option<Files>,
}

/// Why something kept does not come back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The disk, or another process that uses the directory.
    #[error("the archive of releases: {0}")]
    Storage(#[from] StorageError),
    /// Not there.
    #[error("{name} is not in the archive: copy it there from another replica")]
    Missing {
        /// The file.
        name: String,
    },
    /// Not as it was written.
    #[error("{name} in the archive is damaged: {why}; put back a copy of it")]
    Damaged {
        /// The file.
        name: String,
        /// How it shows.
        why: String,
    },
    /// Not, or no longer, signed by keys that are trusted.
    #[error("{name} in the archive: {source}")]
    Release {
        /// The file.
        name: String,
        /// Why.
        source: RefuseRelease,
    },
    /// This build does not run it.
    #[error("{name} in the archive: {source}")]
    Artifact {
        /// The file.
        name: String,
        /// Why.
        source: RefuseArtifact,
    },
}

impl Archive {
    /// To read and write; nobody else may write meanwhile.
    pub(super) fn open(directory: &Path) -> Result<Self, ArchiveError> {
        Ok(Self { directory: directory.to_owned(), files: Some(Files::open(directory)?) })
    }

    /// To read.
    pub(super) fn read_only(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), files: None }
    }

    /// The floors and how far releases have come, as the last run left them.
    ///
    /// # Errors
    /// `Damaged` also where releases were served and the floors are gone: anything old would come in again.
    pub(super) fn state_of_start(&self) -> Result<(Floors, Rollout), ArchiveError> {
        let (floors, rollout) = (self.state(FLOORS)?, self.rollout()?);
        if floors.is_none() && rollout.rings().next().is_some() {
            let why = "releases were served, and the floors below which none is accepted are gone".to_owned();
            return Err(ArchiveError::Damaged { name: FLOORS.to_owned(), why });
        }
        Ok((floors.unwrap_or_default(), rollout))
    }

    pub(super) fn keep_floors(&self, floors: &Floors) -> Result<(), ArchiveError> {
        self.replace(FLOORS, &json(floors))
    }

    /// How far releases have come.
    pub(super) fn rollout(&self) -> Result<Rollout, ArchiveError> {
        Ok(self.state(ROLLOUT)?.unwrap_or_default())
    }

    pub(super) fn keep_rollout(&self, rollout: &Rollout) -> Result<(), ArchiveError> {
        self.replace(ROLLOUT, &json(rollout))
    }

    /// Keeps a release; the same release with newer metadata takes its place.
    pub(super) fn keep_release(&self, digest: &Digest, slot: &[u8]) -> Result<(), ArchiveError> {
        self.replace(&release_name(digest), slot)
    }

    /// A release, verified from the root through every signature to the golden vectors, as on the day it came in.
    pub(super) fn release(&self, digest: &Digest, model_id: &str, root: &TrustedRoot) -> Result<Active, ArchiveError> {
        let name = release_name(digest);
        let slot = self.read(&name, SLOT_BYTES_MAX)?.ok_or_else(|| ArchiveError::Missing { name: name.clone() })?;
        let damaged = |why: &str| ArchiveError::Damaged { name: name.clone(), why: why.to_owned() };
        let bundle = Bundle::read(&slot).ok_or_else(|| damaged("it is not a release"))?;
        let verified = bundle.verify(root, model_id);
        let verified = verified.map_err(|source| ArchiveError::Release { name: name.clone(), source })?;
        let evaluator =
            Evaluator::new(&verified).map_err(|source| ArchiveError::Artifact { name: name.clone(), source })?;
        if evaluator.digest() != *digest {
            return Err(damaged("it holds another model"));
        }
        let files = bundle.files().map(|(path, bytes)| (path.to_owned(), Buffer::copy_from_slice(bytes))).collect();
        Ok(Active::release(evaluator, &verified, files))
    }

    pub(super) fn keep_policy(&self, digest: &Digest, policy: &Policy) -> Result<(), ArchiveError> {
        self.replace(&policy_name(digest), &policy.to_json())
    }

    /// A policy that decided without a model.
    pub(super) fn policy(&self, digest: &Digest) -> Result<Policy, ArchiveError> {
        let name = policy_name(digest);
        let bytes = self.read(&name, POLICY_BYTES_MAX)?.ok_or_else(|| ArchiveError::Missing { name: name.clone() })?;
        let damaged = |why: String| ArchiveError::Damaged { name: name.clone(), why };
        if hex(&digest.0) != plimsoll_model::artifact::sha256_hex(&bytes) {
            return Err(damaged("it does not have the SHA-256 of its name".to_owned()));
        }
        Policy::from_json(&bytes).map_err(|error: BadPolicy| damaged(error.to_string()))
    }

    fn state<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ArchiveError> {
        let Some(bytes) = self.read(name, STATE_BYTES_MAX)? else { return Ok(None) };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|e| ArchiveError::Damaged { name: name.to_owned(), why: e.to_string() })
    }

    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        if let Some(files) = &self.files {
            return Ok(files.read(name, max)?);
        }
        let failed = |e: io::Error| StorageError::Failed { name: name.to_owned(), reason: e.to_string() };
        let file = match File::open(self.directory.join(name)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > max {
            return Err(StorageError::TooLong { name: name.to_owned(), max }.into());
        }
        Ok(Some(bytes))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
        let files = self.files.as_ref().expect("an archive that is only read is never written to");
        Ok(files.replace(name, bytes)?)
    }
}

fn json(state: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(state).expect("states hold only integers, text and lists")
}

fn release_name(digest: &Digest) -> String {
    format!("release-{}", hex(&digest.0))
}

fn policy_name(digest: &Digest) -> String {
    format!("policy-{}", hex(&digest.0))
}
