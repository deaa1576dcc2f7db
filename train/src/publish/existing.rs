//! What a repository holds now, checked: every signature, version, length and hash, but no expiry.
//!
//! A publisher builds on what is there, so what is there must be what was published. Devices judge by
//! `plimsoll_edge::trust`; this reader shares no code with it, and knows only what our writer writes.

use std::fs;
use std::path::Path;

use ed25519_dalek::{Signature, VerifyingKey};
use plimsoll_model::artifact::Release;

use super::PublishError;
use super::metadata::{Body, Hashes, Role, Root, Signed, Snapshot, Targets, Timestamp, canonical};

/// A repository that verified.
pub(super) struct Existing {
    /// The newest root.
    pub(super) root: Root,
    /// Those before it, oldest first.
    pub(super) former: Vec<Root>,
    /// The newest release, if anything was released.
    pub(super) current: Option<Current>,
}

/// The metadata below the root, and the bytes of its targets file.
pub(super) struct Current {
    pub(super) timestamp: Timestamp,
    pub(super) snapshot: Snapshot,
    pub(super) targets: Targets,
    pub(super) targets_bytes: Vec<u8>,
}

impl Existing {
    /// Reads and checks `directory`.
    pub(super) fn read(directory: &Path) -> Result<Self, PublishError> {
        let (root, former) = roots(directory)?;
        // A rotation that was interrupted has the newest root, and metadata signed under the one before.
        let authorities: Vec<&Root> = [Some(&root), former.last()].into_iter().flatten().collect();
        let file = Role::Timestamp.file(0);
        let Some(bytes) = find(directory, &file)? else { return Ok(Self { root, former, current: None }) };
        let timestamp: Timestamp = open(&file, &bytes, &authorities)?;

        let pin = timestamp.meta.get("snapshot.json").ok_or_else(|| damaged(&file, "it names no snapshot"))?;
        let file = Role::Snapshot.file(pin.version);
        let bytes = pinned(directory, &file, pin.length, &pin.hashes)?;
        let snapshot: Snapshot = open(&file, &bytes, &authorities)?;
        require_version(&file, &snapshot, pin.version)?;

        let pin = snapshot.meta.get("targets.json").ok_or_else(|| damaged(&file, "it names no targets"))?;
        let file = Role::Targets.file(pin.version);
        let targets_bytes = pinned(directory, &file, pin.length, &pin.hashes)?;
        let targets: Targets = open(&file, &targets_bytes, &authorities)?;
        require_version(&file, &targets, pin.version)?;
        for (path, target) in &targets.targets {
            pinned(directory, &target_file(path, &target.hashes), target.length, &target.hashes)?;
        }
        Ok(Self { root, former, current: Some(Current { timestamp, snapshot, targets, targets_bytes }) })
    }
}

impl Current {
    /// The signed facts of a model line, if it was released.
    pub(super) fn release(&self, model_path: &str) -> Result<Option<Release>, PublishError> {
        let Some(custom) = self.targets.targets.get(model_path).and_then(|file| file.custom.as_ref()) else {
            return Ok(None);
        };
        let release = serde_json::from_value(custom.clone());
        release.map(Some).map_err(|error| damaged(&Role::Targets.file(self.targets.version), &error.to_string()))
    }

    /// The bytes of a target, if it is there.
    pub(super) fn target(&self, directory: &Path, path: &str) -> Result<Option<Vec<u8>>, PublishError> {
        let file = self.targets.targets.get(path);
        file.map(|f| pinned(directory, &target_file(path, &f.hashes), f.length, &f.hashes)).transpose()
    }

    /// Whether `root` gives its keys to the role as the metadata has it signed.
    pub(super) fn targets_hold_under(&self, root: &Root) -> bool {
        open::<Targets>("", &self.targets_bytes, &[root]).is_ok()
    }
}

/// The consistent-snapshot name of a target: the hash goes before the file name.
pub(super) fn target_file(path: &str, hashes: &Hashes) -> String {
    match path.rsplit_once('/') {
        Some((directory, name)) => format!("targets/{directory}/{}.{name}", hashes.sha256),
        None => format!("targets/{}.{path}", hashes.sha256),
    }
}

/// The newest root, and those before it.
fn roots(directory: &Path) -> Result<(Root, Vec<Root>), PublishError> {
    let mut all: Vec<Root> = Vec::new();
    for version in 1.. {
        let file = Role::Root.file(version);
        let Some(bytes) = find(directory, &file)? else { break };
        let unverified: Signed<Root> = parse(&file, &bytes)?;
        let root: Root = open(&file, &bytes, &[&unverified.signed])?;
        require_version(&file, &root, version)?;
        if let Some(before) = all.last() {
            require_threshold(&file, &unverified, before)?;
        }
        all.push(root);
    }
    let newest = all.pop();
    let nothing = || PublishError::NothingThere { path: directory.to_owned(), what: "repository" };
    newest.map(|root| (root, all)).ok_or_else(nothing)
}

/// The body of a file that is canonical and signed as one of `authorities` asks.
fn open<T: Body>(file: &str, bytes: &[u8], authorities: &[&Root]) -> Result<T, PublishError> {
    let envelope: Signed<T> = parse(file, bytes)?;
    let mut refused = Ok(());
    for root in authorities {
        refused = require_threshold(file, &envelope, root);
        if refused.is_ok() {
            break;
        }
    }
    refused.map(|()| envelope.signed)
}

fn parse<T: Body>(file: &str, bytes: &[u8]) -> Result<Signed<T>, PublishError> {
    let envelope = serde_json::from_slice(bytes).map_err(|error| damaged(file, &error.to_string()))?;
    if canonical(T::ROLE, &envelope)? != bytes {
        return Err(damaged(file, "it is not canonical JSON"));
    }
    Ok(envelope)
}

/// That enough different keys which `root` gives to the role signed.
fn require_threshold<T: Body>(file: &str, envelope: &Signed<T>, root: &Root) -> Result<(), PublishError> {
    let message = canonical(T::ROLE, &envelope.signed)?;
    let (keyids, needed) = root.keys_of(T::ROLE);
    let good = keyids
        .iter()
        .filter(|id| {
            let signature = envelope.signatures.iter().find(|signature| signature.keyid == **id);
            let public = root.public_hex(id).and_then(unhex);
            signature.zip(public).is_some_and(|(signature, public)| signature_holds(&public, &message, &signature.sig))
        })
        .count();
    if good < needed {
        return Err(damaged(file, &format!("{good} of {needed} signatures hold")));
    }
    Ok(())
}

/// Whether `signature` (hex) is one of `message`.
pub(super) fn signature_holds(public: &[u8; 32], message: &[u8], signature: &str) -> bool {
    let key = VerifyingKey::from_bytes(public).ok();
    let signature = unhex(signature).map(|bytes| Signature::from_bytes(&bytes));
    key.zip(signature).is_some_and(|(key, signature)| key.verify_strict(message, &signature).is_ok())
}

pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

fn require_version<T: Body>(file: &str, body: &T, version: u64) -> Result<(), PublishError> {
    if body.version() == version { Ok(()) } else { Err(damaged(file, &format!("it is version {}", body.version()))) }
}

fn pinned(directory: &Path, file: &str, length: u64, hashes: &Hashes) -> Result<Vec<u8>, PublishError> {
    let bytes = find(directory, file)?.ok_or_else(|| damaged(file, "it is missing"))?;
    if bytes.len() as u64 != length || Hashes::of(&bytes) != *hashes {
        return Err(damaged(file, "it does not have the length and SHA-256 that were signed"));
    }
    Ok(bytes)
}

fn find(directory: &Path, file: &str) -> Result<Option<Vec<u8>>, PublishError> {
    let path = directory.join(file);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PublishError::Io { path, source }),
    }
}

fn damaged(file: &str, reason: &str) -> PublishError {
    PublishError::Damaged { file: file.to_owned(), reason: reason.to_owned() }
}
