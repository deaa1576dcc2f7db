//! A publisher in memory: real little models, real golden vectors, real signatures by test keys, any time, any mistake.
//!
//! The publisher that ships is in `train`, which the edge does not depend on; what it publishes is in
//! `tests/fixtures/published`, and devices must take both.

use std::collections::BTreeMap;

use ed25519_dalek::{Signer as _, SigningKey};
use plimsoll_edge::evaluator::properties;
use plimsoll_edge::trust::{SIGNED_AT, TrustedRoot};
use plimsoll_model::artifact::{
    Basis, Cell, Certificate, ENGINE, Manifest, Release, Rule, SCHEMA, Terms, TierCap, hex, sha256_hex,
};
use plimsoll_model::calibration::{GapScale, Target};
use plimsoll_model::features::{FEATURES, schema_hash};
use plimsoll_model::forest::{Forest, Node, Tree};
use plimsoll_model::golden::Golden;
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::policy::Policy;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::DAY;
use plimsoll_model::{Age, Money, Tier, UtcSeconds};
use serde_json::{Value, json};
use sigstore_tuf::canonical_json::to_canonical_bytes;

/// 2026-11-21T00:00:00Z.
pub(crate) const NOW: UtcSeconds = UtcSeconds(1_795_219_200);
/// The model line.
pub(crate) const MODEL_ID: &str = "tng-test";

/// Path to bytes: a [`plimsoll_edge::trust::Repository`].
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The instant `count` days after [`NOW`].
pub(crate) fn days(count: i64) -> UtcSeconds {
    NOW.plus(count * DAY)
}

/// What a release may get wrong, or have otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) version: u64,
    pub(crate) rollback_index: u64,
    pub(crate) issued_at: UtcSeconds,
    pub(crate) valid_days: i64,
    /// Golden vectors of another model.
    pub(crate) wrong_golden: bool,
    /// Bytes that are no ONNX file, properly signed.
    pub(crate) no_model: bool,
    /// The preset it is certified under.
    pub(crate) programme: &'static str,
}

impl Order {
    pub(crate) fn version(version: u64) -> Self {
        Self {
            version,
            rollback_index: 1,
            issued_at: NOW,
            valid_days: 90,
            wrong_golden: false,
            no_model: false,
            programme: "tng",
        }
    }
}

/// A repository that grows by whole releases.
pub(crate) struct Publisher {
    files: Files,
    root_keys: Vec<SigningKey>,
    targets_keys: Vec<SigningKey>,
    online: SigningKey,
    root_version: u64,
    /// Of targets, snapshot and timestamp: releases so far.
    releases: u64,
    /// Files of the current release, by target path.
    targets: serde_json::Map<String, Value>,
}

impl Publisher {
    /// With a root and nothing released.
    pub(crate) fn new() -> Self {
        let keys = |seeds: &[u8]| seeds.iter().map(|seed| SigningKey::from_bytes(&[*seed; 32])).collect();
        let mut publisher = Self {
            files: Files::new(),
            root_keys: keys(&[1, 2, 3]),
            targets_keys: keys(&[4, 5]),
            online: SigningKey::from_bytes(&[6; 32]),
            root_version: 0,
            releases: 0,
            targets: serde_json::Map::new(),
        };
        publisher.sign_root();
        publisher
    }

    /// The same, after so many releases that nobody has kept.
    pub(crate) fn at(releases: u64) -> Self {
        Self { releases, ..Self::new() }
    }

    /// The root that devices pin.
    pub(crate) fn root(&self) -> TrustedRoot {
        TrustedRoot::from_bytes(&self.files["metadata/1.root.json"]).expect("a sound root")
    }

    /// The newest root.
    pub(crate) fn newest_root(&self) -> TrustedRoot {
        let newest = &self.files[&format!("metadata/{}.root.json", self.root_version)];
        TrustedRoot::from_bytes(newest).expect("a sound root")
    }

    /// The repository with one more release.
    pub(crate) fn release(&mut self, order: &Order) -> Files {
        let model_id = MODEL_ID;
        let policy = policy_of(order.programme);
        let levels = vec![ppm(10_000)];
        let certificate = certificate(&policy);
        let forest = forest(order.version);
        let recorded = if order.wrong_golden { self::forest(order.version + 1) } else { forest.clone() };
        let golden = Golden::record(&recorded, &levels, &certificate, policy.currency, policy.utc_offset_min).to_json();
        let policy_json = policy.to_json();
        let manifest = Manifest {
            schema: SCHEMA,
            model_id: model_id.to_owned(),
            model_version: order.version,
            rollback_index: order.rollback_index,
            programme: policy.programme.clone(),
            currency: policy.currency,
            feature_schema: schema_hash(),
            features: FEATURES.iter().map(|f| f.name.to_owned()).collect(),
            levels,
            ages: certificate.terms.ages.clone(),
            window_h: certificate.terms.window_h,
            opset: 3,
            engine_min: ENGINE,
            engine_max: ENGINE,
            policy_sha256: sha256_hex(&policy_json),
            golden_sha256: sha256_hex(&golden),
            hard_cap_by_tier: (0..4)
                .map(|t| TierCap { tier: tier(t), cap: policy.tier(tier(t)).outstanding_cap() })
                .collect(),
            issued_at: order.issued_at,
            use_not_after: order.issued_at.plus(order.valid_days * DAY),
            grace_days: 7,
            monotone: Vec::new(),
        };
        let named = properties(&manifest).map(|(name, value)| (name.to_owned(), value));
        let model = if order.no_model {
            b"the trees, in words".to_vec()
        } else {
            ModelFile {
                forest,
                version: i64::try_from(order.version).expect("small"),
                properties: BTreeMap::from(named),
            }
            .encode()
        };
        self.targets.clear();
        self.target(&manifest.policy_path(), policy_json, None);
        self.target(&manifest.golden_path(), golden, None);
        let path = manifest.model_path();
        let release = Release { manifest, certificate };
        self.target(&path, model, Some(serde_json::to_value(release).expect("integers and text")));
        self.sign_release(order.issued_at);
        self.files.clone()
    }

    /// Signs snapshot and timestamp again, and nothing else.
    pub(crate) fn refresh(&mut self, at: UtcSeconds) -> Files {
        self.sign_release(at);
        self.files.clone()
    }

    /// Replaces the online key by a new root.
    pub(crate) fn rotate_online_key(&mut self, at: UtcSeconds) -> Files {
        self.online = SigningKey::from_bytes(&[100 + self.root_version as u8; 32]);
        self.sign_root();
        self.sign_release(at);
        self.files.clone()
    }

    fn target(&mut self, path: &str, bytes: Vec<u8>, custom: Option<Value>) {
        let sha256 = sha256_hex(&bytes);
        let mut listed = json!({"length": bytes.len(), "hashes": {"sha256": sha256}});
        if let Some(custom) = custom {
            listed["custom"] = custom;
        }
        self.targets.insert(path.to_owned(), listed);
        self.files.insert(format!("targets/{}", path.replacen("models/", &format!("models/{sha256}."), 1)), bytes);
    }

    fn sign_root(&mut self) {
        self.root_version += 1;
        let mut keys = serde_json::Map::new();
        let mut listed = |signers: &[&SigningKey], threshold: usize| {
            let ids: Vec<Value> = signers
                .iter()
                .map(|signer| {
                    keys.insert(key_id(signer), key(signer));
                    Value::String(key_id(signer))
                })
                .collect();
            json!({"keyids": ids, "threshold": threshold})
        };
        let roles = json!({
            "root": listed(&self.root_keys.iter().collect::<Vec<_>>(), 2),
            "targets": listed(&self.targets_keys.iter().collect::<Vec<_>>(), 2),
            "snapshot": listed(&[&self.online], 1),
            "timestamp": listed(&[&self.online], 1),
        });
        let mut signed = head("root", self.root_version, days(3_650));
        signed["consistent_snapshot"] = json!(true);
        signed["keys"] = Value::Object(keys);
        signed["roles"] = roles;
        let bytes = sign(signed, &self.root_keys[..2]);
        self.files.insert(format!("metadata/{}.root.json", self.root_version), bytes);
    }

    fn sign_release(&mut self, at: UtcSeconds) {
        self.releases += 1;
        let version = self.releases;
        let mut targets = head("targets", version, at.plus(90 * DAY));
        targets["targets"] = Value::Object(self.targets.clone());
        let targets = sign(targets, &self.targets_keys);
        self.sign_snapshot(&pin(version, &targets), at);
        self.files.insert(format!("metadata/{version}.targets.json"), targets);
    }

    fn sign_snapshot(&mut self, targets: &Value, at: UtcSeconds) {
        let version = self.releases;
        let mut snapshot = head("snapshot", version, at.plus(30 * DAY));
        snapshot["meta"] = json!({"targets.json": targets});
        let snapshot = sign(snapshot, std::slice::from_ref(&self.online));
        self.sign_timestamp(&pin(version, &snapshot), at);
        self.files.insert(format!("metadata/{version}.snapshot.json"), snapshot);
    }

    fn sign_timestamp(&mut self, snapshot: &Value, at: UtcSeconds) {
        let mut timestamp = head("timestamp", self.releases, at.plus(14 * DAY));
        timestamp["meta"] = json!({"snapshot.json": snapshot});
        timestamp[SIGNED_AT] = json!(at.0);
        let timestamp = sign(timestamp, std::slice::from_ref(&self.online));
        self.files.insert("metadata/timestamp.json".to_owned(), timestamp);
    }

    /// The repository with anything at all under the signatures of a role, and pinned by the roles above it: what a
    /// thief of its keys can do. `None` for what cannot be signed (canonical JSON has no floats).
    pub(crate) fn forge(&mut self, role: &str, signed: Value) -> Option<Files> {
        to_canonical_bytes(&signed).ok()?;
        let version = signed["version"].as_u64().unwrap_or(self.releases);
        let signers = match role {
            "root" => &self.root_keys[..2],
            "targets" => &self.targets_keys[..],
            _ => std::slice::from_ref(&self.online),
        };
        let bytes = sign(signed, signers);
        match role {
            "targets" => self.sign_snapshot(&pin(version, &bytes), NOW),
            "snapshot" => self.sign_timestamp(&pin(version, &bytes), NOW),
            _ => {}
        }
        let file = match role {
            "root" => format!("metadata/{}.root.json", self.root_version + 1),
            "timestamp" => "metadata/timestamp.json".to_owned(),
            _ => format!("metadata/{version}.{role}.json"),
        };
        self.files.insert(file, bytes);
        Some(self.files.clone())
    }
}

/// What every role's metadata begins with.
fn head(role: &str, version: u64, expires: UtcSeconds) -> Value {
    json!({"_type": role, "spec_version": "1.0.31", "version": version, "expires": expires.rfc3339()})
}

/// The programme of most releases: `tng`.
#[allow(dead_code)] // not every test binary that publishes asks for it
pub(crate) fn policy() -> Policy {
    policy_of("tng")
}

/// A preset; `tng` with a fallback that tells the floor from nothing.
pub(crate) fn policy_of(programme: &str) -> Policy {
    let mut policy = Policy::preset(programme).expect("a preset");
    if programme == "tng" {
        policy.tiers[2].fallback = money(700);
    }
    policy
}

/// Trees that differ by version: the answer is half the balance, and `version` steps more.
fn forest(version: u64) -> Forest {
    let steps = (1 << 19) + i32::try_from(version).expect("tests have few versions");
    let split = vec![
        Node::Split { feature: 0, threshold: 5.5, low: 1, high: 2 },
        Node::Leaf { steps },
        Node::Leaf { steps: steps - 7 },
    ];
    let trees = vec![Tree::constant(0), Tree::new(split).expect("a tree")];
    Forest::new(FEATURES.len(), vec![trees]).expect("a forest")
}

fn certificate(policy: &Policy) -> Certificate {
    let level = ppm(10_000);
    let cell = |t| Cell {
        accounts: 1_000,
        windows: 9_000,
        violation_ppm: 100,
        e_value_milli: 25_000,
        ..Cell::new(tier(t), Rule::Gap { level, scale: GapScale::ONE }, Basis::Certified)
    };
    let ages = vec![Age(0), Age::hours(policy.offline_h_max / 3), Age::hours(policy.offline_h_max)];
    Certificate {
        schema: SCHEMA,
        terms: Terms::new(ppm(5_000), ppm(50_000), Target::Committed, policy.settle_within_h, ages),
        calibration_root: sha256_hex(b"log"),
        calibration_rows: 9_000,
        calibration_from: days(-90),
        calibration_to: days(-1),
        cells: (0..4).map(cell).collect(),
        limits_of_use: Vec::new(),
    }
}

fn ppm(value: u32) -> Ppm {
    Ppm::new(value).expect("between 0 and 1")
}

/// Minor units.
pub(crate) fn money(minor: u64) -> Money {
    Money::from_minor(minor).expect("an amount")
}

/// A KYC tier.
pub(crate) fn tier(level: u8) -> Tier {
    Tier::new(level).expect("a tier")
}

fn pin(version: u64, bytes: &[u8]) -> Value {
    json!({"version": version, "length": bytes.len(), "hashes": {"sha256": sha256_hex(bytes)}})
}

fn key(signer: &SigningKey) -> Value {
    let public = hex(signer.verifying_key().as_bytes());
    json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}})
}

fn key_id(signer: &SigningKey) -> String {
    sha256_hex(&canonical(&key(signer)))
}

fn sign(signed: Value, signers: &[SigningKey]) -> Vec<u8> {
    let message = canonical(&signed);
    let mut signatures: Vec<Value> = signers
        .iter()
        .map(|signer| json!({"keyid": key_id(signer), "sig": hex(&signer.sign(&message).to_bytes())}))
        .collect();
    signatures.sort_by_key(|signature| signature["keyid"].to_string());
    canonical(&json!({"signatures": signatures, "signed": signed}))
}

fn canonical(value: &Value) -> Vec<u8> {
    to_canonical_bytes(value).expect("no floats")
}
