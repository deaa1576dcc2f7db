//! Publishing what did not pass: only with the risk officer's signature under what failed, by whose word, and why.
//!
//! The statement is signed like TUF metadata (canonical JSON, Ed25519) by a key that the repository's root gives to
//! targets under the name `targets-risk…`. It names the files it is about by SHA-256, so it holds for nothing else; it goes
//! into the repository beside the model, as a target, and whoever audits the repository reads it there.

use std::collections::BTreeMap;

use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::{hex, sha256_hex};
use serde::{Deserialize, Serialize};

use super::existing::signature_holds;
use super::metadata::{Role, Root, Signature, Signed, canonical};
use super::{PublishError, metadata};
use crate::check::Checked;
use crate::keys::SigningKey;

/// Where a run directory keeps it.
pub const OVERRIDE_FILE: &str = "override.json";
/// The `_type` of the statement: a signature under it can be taken for nothing else.
const KIND: &str = "plimsoll-override";
/// What the name of a risk officer's key begins with.
const OFFICER: &str = "targets-risk";
/// Bytes of a name or reason.
const WORDS_MAX: usize = 4_000;

/// What a risk officer signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    #[serde(rename = "_type")]
    kind: String,
    /// Who lets it pass.
    pub by: String,
    /// Why.
    pub because: String,
    /// When it was signed.
    pub at: UtcSeconds,
    /// SHA-256 of `check.json`.
    pub check_sha256: String,
    /// SHA-256 of each file that was checked.
    pub files: BTreeMap<String, String>,
    /// What did not pass, as the check says it.
    pub failed: Vec<String>,
}

/// Why an override does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadOverride {
    /// Everything passed.
    #[error("every check passed: there is nothing to override")]
    NothingFailed,
    /// A name or a reason that says nothing, or cannot be signed.
    #[error("{what} must have 1 to {WORDS_MAX} bytes, without control characters")]
    Words {
        /// `by` or `because`.
        what: &'static str,
    },
    /// Not what this program writes.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// It was signed for other files, or for another outcome of the check.
    #[error("it was signed for another {what}: have the risk officer sign again")]
    Stale {
        /// Which file.
        what: String,
    },
    /// Its key is not the risk officer's.
    #[error("key {key} is not one that the root names {OFFICER}: sign with the risk officer's")]
    NotTheOfficer {
        /// Its name, where the root knows it, or its id.
        key: String,
    },
    /// The signature does not hold.
    #[error("its signature does not hold: it was altered after it was signed")]
    BadSignature,
}

impl Override {
    /// Signs for what did not pass: the bytes of `override.json`.
    ///
    /// * `check`: the bytes of `check.json`.
    ///
    /// # Errors
    /// `PublishError::Check` for a `check.json` that cannot be read; `PublishError::Override`.
    pub fn sign(
        check: &[u8],
        key: &SigningKey,
        by: &str,
        because: &str,
        now: UtcSeconds,
    ) -> Result<Vec<u8>, PublishError> {
        let checked = Checked::from_json(check)?;
        if checked.passed() {
            return Err(BadOverride::NothingFailed.into());
        }
        for (what, words) in [("by", by), ("because", because)] {
            let plain = !words.trim().is_empty() && words.len() <= WORDS_MAX && !words.chars().any(char::is_control);
            if !plain || canonical(Role::Targets, &words).is_err() {
                return Err(BadOverride::Words { what }.into());
            }
        }
        let statement = Self {
            kind: KIND.to_owned(),
            by: by.to_owned(),
            because: because.to_owned(),
            at: now,
            check_sha256: sha256_hex(check),
            failed: failed(&checked),
            files: checked.files,
        };
        let message = canonical(Role::Targets, &statement)?;
        let signature = Signature { keyid: key.public().key_id(), sig: hex(&key.sign(&message)) };
        canonical(Role::Targets, &Signed { signatures: vec![signature], signed: statement })
    }

    /// Reads one that the risk officer of one of `roots` signed.
    ///
    /// # Errors
    /// `Unreadable`, `NotTheOfficer` or `BadSignature`.
    pub(super) fn open(bytes: &[u8], roots: &[&Root]) -> Result<Self, BadOverride> {
        let unreadable = |reason: String| BadOverride::Unreadable { reason };
        let envelope: Signed<Self> = serde_json::from_slice(bytes).map_err(|e| unreadable(e.to_string()))?;
        if !canonical(Role::Targets, &envelope).is_ok_and(|c| c == bytes) || envelope.signed.kind != KIND {
            return Err(unreadable("it was written by something else".into()));
        }
        let [signature] = envelope.signatures.as_slice() else {
            return Err(unreadable("it must have one signature".into()));
        };
        let key = officer(roots, &signature.keyid)?;
        let message = canonical(Role::Targets, &envelope.signed).map_err(|e| unreadable(e.to_string()))?;
        if signature_holds(&key, &message, &signature.sig) {
            Ok(envelope.signed)
        } else {
            Err(BadOverride::BadSignature)
        }
    }

    /// That it is about this outcome of the check.
    fn require_about(&self, check: &[u8], checked: &Checked) -> Result<(), BadOverride> {
        let stale = |what: &str| Err(BadOverride::Stale { what: what.to_owned() });
        let names = self.files.keys().chain(checked.files.keys());
        if let Some(file) = names.into_iter().find(|name| self.files.get(*name) != checked.files.get(*name)) {
            return stale(file);
        }
        if self.check_sha256 != sha256_hex(check) || self.failed != failed(checked) {
            return stale(crate::check::CHECK_FILE);
        }
        Ok(())
    }
}

/// The public key of `key_id`, if a root gives it to a risk officer.
fn officer(roots: &[&Root], key_id: &String) -> Result<[u8; 32], BadOverride> {
    let name = roots.iter().find_map(|root| root.holders.get(key_id));
    let is_officer =
        |name: &String| name.strip_prefix(OFFICER).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    let found = roots.iter().find(|root| {
        root.keys_of(Role::Targets).0.contains(key_id) && root.holders.get(key_id).is_some_and(is_officer)
    });
    let public = found.and_then(|root| root.public_hex(key_id)).and_then(super::existing::unhex);
    public.ok_or_else(|| BadOverride::NotTheOfficer { key: name.unwrap_or(key_id).clone() })
}

fn failed(checked: &Checked) -> Vec<String> {
    checked.failed().into_iter().map(|v| format!("{}: {}", v.name(), v.says)).collect()
}

/// Why a release may be published: everything passed, or the risk officer answers for the rest. Returns what was signed,
/// when that was needed.
pub(super) fn require_ground(
    check: &[u8],
    overridden: Option<&[u8]>,
    root: &metadata::Root,
) -> Result<(Checked, Option<Override>), PublishError> {
    let checked = Checked::from_json(check)?;
    if checked.passed() {
        return Ok((checked, None));
    }
    let Some(bytes) = overridden else { return Err(PublishError::CheckFailed { failed: failed(&checked) }) };
    let statement = Override::open(bytes, &[root])?;
    statement.require_about(check, &checked)?;
    Ok((checked, Some(statement)))
}
