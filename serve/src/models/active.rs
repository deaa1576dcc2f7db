//! What decides for an account: a verified release, or the programme's static floor.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Bytes as Buffer;
use plimsoll_edge::Evaluator;
use plimsoll_edge::trust::{Role, Verified};
use plimsoll_model::artifact::Release;
use plimsoll_model::grant::{Bytes, Model};
use plimsoll_model::policy::Policy;
use plimsoll_model::{Tier, UtcSeconds};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::rollout::{Digest, EVERYONE};
use crate::ledger::Basis;

/// Where devices begin to read a repository.
pub(super) const TIMESTAMP: &str = "metadata/timestamp.json";

/// A basis for decisions, ready to use. Shared: a request that has one keeps it, whatever is loaded meanwhile.
pub struct Active {
    basis: Inner,
    policy_sha256: Digest,
    /// By tier, parts per million: falls while it is in use.
    granted: [AtomicU32; Tier::COUNT],
    /// The same of the margin, which follows settlements both ways.
    margin: [AtomicU32; Tier::COUNT],
}

enum Inner {
    Floor(Box<Policy>),
    Release(Box<Released>),
}

/// A release, with the files that prove it.
pub struct Released {
    evaluator: Evaluator,
    release: Release,
    install_until: UtcSeconds,
    timestamp_version: u64,
    /// The newest signed timestamp, as it is handed to devices.
    timestamp: Option<Box<RawValue>>,
    files: Vec<(String, Buffer)>,
}

impl Active {
    /// The static floor of a programme.
    pub fn floor(policy: Policy) -> Self {
        let policy_sha256 = Bytes(Sha256::digest(policy.to_json()).into());
        Self { basis: Inner::Floor(Box::new(policy)), policy_sha256, granted: everything(), margin: everything() }
    }

    /// A release that this engine runs.
    ///
    /// * `files`: those it was verified from.
    pub(super) fn release(evaluator: Evaluator, verified: &Verified, files: Vec<(String, Buffer)>) -> Self {
        let policy_sha256 = Bytes(Sha256::digest(evaluator.policy().to_json()).into());
        let timestamp = files.iter().find(|(path, _)| path == TIMESTAMP);
        let released = Released {
            evaluator,
            timestamp: timestamp.and_then(|(_, bytes)| serde_json::from_slice(bytes).ok()),
            release: verified.release().clone(),
            install_until: verified.install_until(),
            timestamp_version: verified.floors().version(Role::Timestamp),
            files,
        };
        Self { basis: Inner::Release(Box::new(released)), policy_sha256, granted: everything(), margin: everything() }
    }

    /// What the rules compute limits by.
    pub fn basis(&self) -> Basis<'_> {
        self.evaluator().map_or(Basis::Floor, Basis::Model)
    }

    /// The model, where one decides.
    pub fn evaluator(&self) -> Option<&Evaluator> {
        self.released().map(|r| &r.evaluator)
    }

    /// The programme's rules.
    pub fn policy(&self) -> &Policy {
        match &self.basis {
            Inner::Floor(policy) => policy,
            Inner::Release(released) => released.evaluator.policy(),
        }
    }

    /// SHA-256 of the rules as they are published: what a grant says under `pol`.
    pub const fn policy_sha256(&self) -> Digest {
        self.policy_sha256
    }

    /// Version of the model, where one decides.
    pub fn version(&self) -> Option<u64> {
        self.evaluator().map(|e| e.manifest().model_version)
    }

    /// SHA-256 of the model file, where one decides.
    pub fn digest(&self) -> Option<Digest> {
        self.evaluator().map(Evaluator::digest)
    }

    /// As a grant names it.
    pub fn model(&self) -> Option<Model> {
        self.evaluator().map(|e| Model { v: e.manifest().model_version, d: e.digest() })
    }

    /// Programme, version of its policy, and the model or the floor: `tng.v1.m7`, `tng.v1.floor`.
    pub fn policy_version(&self) -> String {
        let policy = self.policy();
        let model = self.version().map_or_else(|| "floor".to_owned(), |version| format!("m{version}"));
        format!("{}.v{}.{model}", policy.programme, policy.version)
    }

    /// Of every limit of a tier, the share that is granted, parts per million: all of it unless settlements were worse
    /// than promised.
    pub fn granted_ppm(&self, tier: Tier) -> u32 {
        self.watched_ppm(tier).min(self.margin_ppm(tier))
    }

    /// The same, of every tier.
    pub fn granted(&self) -> [u32; Tier::COUNT] {
        std::array::from_fn(|level| Tier::new(level as u8).map_or(0, |tier| self.granted_ppm(tier)))
    }

    /// Of every limit of a tier, the share that alarms and people leave, parts per million.
    pub fn watched_ppm(&self, tier: Tier) -> u32 {
        self.granted[usize::from(tier.level())].load(Ordering::Relaxed)
    }

    /// Of every limit of a tier, the share that the margin leaves, parts per million.
    pub fn margin_ppm(&self, tier: Tier) -> u32 {
        self.margin[usize::from(tier.level())].load(Ordering::Relaxed)
    }

    pub(super) fn steer(&self, tier: Tier, margin_ppm: u32) {
        self.margin[usize::from(tier.level())].store(margin_ppm, Ordering::Relaxed);
    }

    pub(super) fn lower(&self, tier: Tier, granted_ppm: u32) {
        self.granted[usize::from(tier.level())].fetch_min(granted_ppm, Ordering::Relaxed);
    }

    /// The release, where one decides.
    pub fn released(&self) -> Option<&Released> {
        match &self.basis {
            Inner::Floor(_) => None,
            Inner::Release(released) => Some(released),
        }
    }
}

impl Released {
    /// The signed manifest and certificate.
    pub const fn release(&self) -> &Release {
        &self.release
    }

    /// Until when a device installs it by these files; they are published anew before.
    pub const fn install_until(&self) -> UtcSeconds {
        self.install_until
    }

    /// The repository files that prove it, by path: roots, timestamp, snapshot, targets, model, policy, golden vectors.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Buffer)> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes))
    }

    /// One of them.
    pub fn file(&self, path: &str) -> Option<&Buffer> {
        self.files().find(|(name, _)| *name == path).map(|(_, bytes)| bytes)
    }

    /// The newest metadata that leads to it: what its devices are to begin with.
    pub fn timestamp(&self) -> &Buffer {
        self.file(TIMESTAMP).expect("a release was verified from its timestamp")
    }

    /// The same, to put into an answer.
    pub fn timestamp_json(&self) -> Option<&RawValue> {
        self.timestamp.as_deref()
    }

    /// Version of that metadata.
    pub const fn timestamp_version(&self) -> u64 {
        self.timestamp_version
    }

    /// Where its model is in the repository, e.g. `targets/models/<sha256>.tng.onnx`.
    pub fn model_file(&self) -> &str {
        self.files().map(|(path, _)| path).find(|path| path.ends_with(".onnx")).expect("a release has a model")
    }
}

fn everything() -> [AtomicU32; Tier::COUNT] {
    std::array::from_fn(|_| AtomicU32::new(EVERYONE))
}

impl fmt::Debug for Active {
    /// Its names, without the trees and the files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = self.policy();
        f.debug_struct("Active")
            .field("model", &self.model())
            .field("programme", &policy.programme)
            .field("policy_version", &policy.version)
            .finish_non_exhaustive()
    }
}
