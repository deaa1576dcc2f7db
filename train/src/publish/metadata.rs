//! The four metadata files of TUF 1.0 (specification section 4) as we write them, and their signatures.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use olpc_cjson::CanonicalFormatter;
use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::{hex, sha256_hex};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PublishError;
use crate::keys::{Holders, PublicKey, SigningKey};

/// The version of the specification that is written.
pub(super) const SPEC_VERSION: &str = "1.0.34";

/// A top-level TUF role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Names the keys of every role.
    Root,
    /// Names the files of every release.
    Targets,
    /// Names the current targets metadata.
    Snapshot,
    /// Names the current snapshot.
    Timestamp,
}

impl Role {
    /// As it is written in metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }

    /// The file of a version. Only the timestamp has one name for all versions.
    pub(super) fn file(self, version: u64) -> String {
        match self {
            Self::Timestamp => "metadata/timestamp.json".to_owned(),
            role => format!("metadata/{version}.{role}.json"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long metadata lasts, in days, and how many signatures it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Root lasts.
    pub root_days: u32,
    /// Targets last.
    pub targets_days: u32,
    /// Snapshot lasts.
    pub snapshot_days: u32,
    /// Timestamp lasts.
    pub timestamp_days: u32,
    /// Signatures of root; read when a root is made.
    pub root_threshold: usize,
    /// Signatures of targets; read when a root is made.
    pub targets_threshold: usize,
}

impl Default for Terms {
    /// Design section 7: root 2 signatures and 365 days, targets 2 and 90, snapshot 30, timestamp 7.
    fn default() -> Self {
        Self {
            root_days: 365,
            targets_days: 90,
            snapshot_days: 30,
            timestamp_days: 7,
            root_threshold: 2,
            targets_threshold: 2,
        }
    }
}

/// `days` from `now`, as metadata writes it.
pub(super) fn expiry(now: UtcSeconds, days: u32) -> String {
    now.plus(i64::from(days) * plimsoll_model::time::DAY).rfc3339()
}

/// What the publisher reads of any role.
pub(super) trait Body: Serialize + DeserializeOwned {
    const ROLE: Role;
    fn version(&self) -> u64;
    fn expires(&self) -> &str;
}

macro_rules! body {
    ($type:ident) => {
        impl Body for $type {
            const ROLE: Role = Role::$type;
            fn version(&self) -> u64 {
                self.version
            }
            fn expires(&self) -> &str {
                &self.expires
            }
        }
    };
}

/// Section 4.3, and who holds each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    pub(super) spec_version: String,
    pub(super) version: u64,
    pub(super) expires: String,
    pub(super) consistent_snapshot: bool,
    pub(super) keys: BTreeMap<String, KeyObject>,
    pub(super) roles: BTreeMap<String, RoleKeys>,
    /// Key id → name of its file. Beside the keys, not in them: `tough` hashes a key with all members.
    #[serde(rename = "x-plimsoll-holders")]
    pub(super) holders: BTreeMap<String, String>,
}
body!(Root);

/// Section 4.2.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyObject {
    keytype: String,
    scheme: String,
    keyval: KeyValue,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    public: String,
}

/// The keys of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleKeys {
    pub(super) keyids: Vec<String>,
    pub(super) threshold: usize,
}

impl Root {
    /// A root that names `holders`.
    pub(super) fn new(version: u64, holders: &Holders, now: UtcSeconds, terms: &Terms) -> Result<Self, PublishError> {
        let mut roles = BTreeMap::new();
        for (role, keys, threshold) in [
            (Role::Root, &holders.root, terms.root_threshold),
            (Role::Targets, &holders.targets, terms.targets_threshold),
            (Role::Snapshot, &holders.online, 1),
            (Role::Timestamp, &holders.online, 1),
        ] {
            // A set: one key under two names is one key.
            let keyids: BTreeSet<String> = keys.iter().map(PublicKey::key_id).collect();
            if threshold == 0 || keyids.len() < threshold {
                return Err(PublishError::TooFewHolders { role, holders: keyids.len(), needed: threshold });
            }
            let keyids = keyids.into_iter().collect();
            roles.insert(role.name().to_owned(), RoleKeys { keyids, threshold });
        }
        let all = || holders.root.iter().chain(&holders.targets).chain(&holders.online);
        Ok(Self {
            kind: Role::Root.name().to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            expires: expiry(now, terms.root_days),
            consistent_snapshot: true,
            keys: all().map(|key| (key.key_id(), KeyObject::new(key))).collect(),
            roles,
            holders: all().map(|key| (key.key_id(), key.name().to_owned())).collect(),
        })
    }

    /// The keys of a role; none when the root does not name it.
    pub(super) fn keys_of(&self, role: Role) -> (&[String], usize) {
        self.roles.get(role.name()).map_or((&[], usize::MAX), |keys| (&keys.keyids, keys.threshold))
    }

    /// The 32 bytes of a key, lower-case hex.
    pub(super) fn public_hex(&self, key_id: &str) -> Option<&str> {
        self.keys.get(key_id).map(|key| key.keyval.public.as_str())
    }
}

impl KeyObject {
    fn new(key: &PublicKey) -> Self {
        let ed25519 = "ed25519".to_owned();
        Self { keytype: ed25519.clone(), scheme: ed25519, keyval: KeyValue { public: key.hex() } }
    }
}

/// The version, length and hash of a metadata file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pin {
    pub(super) version: u64,
    pub(super) length: u64,
    pub(super) hashes: Hashes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hashes {
    pub(super) sha256: String,
}

impl Hashes {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { sha256: sha256_hex(bytes) }
    }
}

impl Pin {
    pub(super) fn of(version: u64, bytes: &[u8]) -> Self {
        Self { version, length: bytes.len() as u64, hashes: Hashes::of(bytes) }
    }
}

/// Section 4.5.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Targets {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    pub(super) spec_version: String,
    pub(super) version: u64,
    pub(super) expires: String,
    pub(super) targets: BTreeMap<String, TargetFile>,
}
body!(Targets);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetFile {
    pub(super) length: u64,
    pub(super) hashes: Hashes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) custom: Option<Value>,
}

/// Section 4.4.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    pub(super) spec_version: String,
    pub(super) version: u64,
    pub(super) expires: String,
    pub(super) meta: BTreeMap<String, Pin>,
}
body!(Snapshot);

/// Section 4.6, and when it was signed: TUF has expiries only, and a device's clock may be behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timestamp {
    #[serde(rename = "_type")]
    pub(super) kind: String,
    pub(super) spec_version: String,
    pub(super) version: u64,
    pub(super) expires: String,
    pub(super) meta: BTreeMap<String, Pin>,
    #[serde(rename = "x-plimsoll-signed-at")]
    pub(super) signed_at: UtcSeconds,
}
body!(Timestamp);

/// The envelope of section 4.2.1.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signed<T> {
    pub(super) signatures: Vec<Signature>,
    pub(super) signed: T,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signature {
    pub(super) keyid: String,
    pub(super) sig: String,
}

/// The file of `body`: signed by every given key that one of `roots` gives to its role, by rising key id.
///
/// # Errors
/// `ThresholdNotMet` unless every one of `roots` is satisfied; `NotCanonical`.
pub(super) fn sign<T: Body>(body: T, keys: &[SigningKey], roots: &[&Root]) -> Result<Vec<u8>, PublishError> {
    let role = T::ROLE;
    let given: BTreeMap<String, &SigningKey> = keys.iter().map(|key| (key.public().key_id(), key)).collect();
    for root in roots {
        let (keyids, needed) = root.keys_of(role);
        let (there, missing): (Vec<_>, Vec<_>) = keyids.iter().partition(|id| given.contains_key(*id));
        if there.len() < needed {
            let name = |id: &String| root.holders.get(id).unwrap_or(id).clone();
            let missing = missing.into_iter().map(name).collect();
            return Err(PublishError::ThresholdNotMet { role, found: there.len(), needed, missing });
        }
    }
    let message = canonical(role, &body)?;
    let signatures = given
        .iter()
        .filter(|(id, _)| roots.iter().any(|root| root.keys_of(role).0.contains(id)))
        .map(|(id, key)| Signature { keyid: id.clone(), sig: hex(&key.sign(&message)) })
        .collect();
    canonical(role, &Signed { signatures, signed: body })
}

/// OLPC canonical JSON that reads back as what was written.
pub(super) fn canonical(role: Role, value: &impl Serialize) -> Result<Vec<u8>, PublishError> {
    let refuse = |reason: String| PublishError::NotCanonical { what: role, reason };
    let value = serde_json::to_value(value).map_err(|error| refuse(error.to_string()))?;
    let mut bytes = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, CanonicalFormatter::new());
    value.serialize(&mut writer).map_err(|error| refuse(error.to_string()))?;
    // OLPC writes control characters raw, which is not JSON, and composes letters.
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(again) if again == value => Ok(bytes),
        _ => Err(refuse("a text has control characters or decomposed letters".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_and_control_characters_cannot_be_signed() {
        for value in [serde_json::json!({"share": 0.5}), serde_json::json!("two\nlines"), serde_json::json!("e\u{301}")]
        {
            assert!(matches!(canonical(Role::Targets, &value), Err(PublishError::NotCanonical { .. })), "{value}");
        }
        assert_eq!(
            canonical(Role::Targets, &serde_json::json!({"b": -1, "a": "é\""})).ok(),
            Some("{\"a\":\"é\\\"\",\"b\":-1}".into())
        );
    }
}
