//! A publisher with seeded keys, and the attacker's tools: edit any file, sign with any key.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use plimsoll_edge::trust::{FetchError, Floors, RefuseRelease, Repository, TrustedRoot, Verified, verify};
use plimsoll_model::artifact::{
    Basis, Cell, Certificate, ENGINE, Manifest, Release, Rule, SCHEMA, Terms as Promised, TierCap, hex, sha256_hex,
};
use plimsoll_model::calibration::Target;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::DAY;
use plimsoll_model::{Age, Currency, Money, Tier, UtcSeconds};
use plimsoll_train::check::{Checked, Subject, check};
use plimsoll_train::keys::{Holders, SigningKey};
use plimsoll_train::publish::{self, Files, Override, Published, Terms};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// 2026-11-21T00:00:00Z.
pub(crate) const NOW: UtcSeconds = UtcSeconds(1_795_219_200);
pub(crate) const MODEL_ID: &str = "limit-ke";
pub(crate) const OFFLINE: [&str; 3] = ["root-1", "root-2", "root-3"];
pub(crate) const PUBLISHERS: [&str; 3] = ["targets-owner", "targets-risk", "online"];
pub(crate) const TIMESTAMP: &str = "metadata/timestamp.json";

pub(crate) fn days(count: i64) -> UtcSeconds {
    NOW.plus(count * DAY)
}

/// The keys of these names; the same name is the same key in every test.
pub(crate) fn keys(names: &[&str]) -> Vec<SigningKey> {
    let seed = |name: &str| {
        let mut seed = [7; 32];
        seed[..name.len()].copy_from_slice(name.as_bytes());
        seed
    };
    names.iter().map(|name| SigningKey::from_seed(*name, seed(name))).collect()
}

pub(crate) fn holders(root: &[&str], targets: &[&str], online: &[&str]) -> Holders {
    let public = |names: &[&str]| keys(names).iter().map(SigningKey::public).collect();
    Holders { root: public(root), targets: public(targets), online: public(online) }
}

pub(crate) fn all_holders() -> Holders {
    holders(&OFFLINE, &["targets-owner", "targets-risk"], &["online"])
}

/// The bytes of a small release, which no check would pass: the risk officer answers for it.
pub(crate) struct Goods {
    pub(crate) release: Release,
    pub(crate) model: Vec<u8>,
    pub(crate) policy: Vec<u8>,
    pub(crate) golden: Vec<u8>,
    pub(crate) check: Vec<u8>,
    pub(crate) overridden: Option<Vec<u8>>,
}

impl Goods {
    pub(crate) fn new(model_id: &str, model_version: u64) -> Self {
        let model = format!("the trees of {model_id} {model_version}").into_bytes();
        let policy = format!("{{\"policy\":{model_version}}}").into_bytes();
        let golden = b"[]".to_vec();
        let ages = vec![Age(0), Age::hours(24)];
        let ppm = |ppm| Ppm::new(ppm).expect("a level");
        let cap = Money::from_minor(5_000).expect("an amount");
        let manifest = Manifest {
            schema: SCHEMA,
            model_id: model_id.to_owned(),
            model_version,
            rollback_index: 3,
            programme: "tng".to_owned(),
            currency: Currency::new("MYR", 2).expect("a currency"),
            feature_schema: sha256_hex(b"features"),
            features: vec!["tx_count_30d".to_owned()],
            levels: vec![ppm(5_000)],
            ages: ages.clone(),
            window_h: 72,
            opset: 3,
            engine_min: ENGINE,
            engine_max: ENGINE,
            policy_sha256: sha256_hex(&policy),
            golden_sha256: sha256_hex(&golden),
            hard_cap_by_tier: vec![TierCap { tier: Tier::new(0).expect("a tier"), cap }],
            issued_at: NOW,
            use_not_after: days(90),
            grace_days: 7,
            monotone: Vec::new(),
        };
        let certificate = Certificate {
            schema: SCHEMA,
            terms: Promised::new(ppm(5_000), ppm(50_000), Target::Strict, 72, ages),
            calibration_root: sha256_hex(b"log"),
            calibration_rows: 0,
            calibration_from: days(-90),
            calibration_to: days(-1),
            cells: vec![Cell::new(Tier::new(0).expect("a tier"), Rule::Fallback { amount: cap }, Basis::Fallback)],
            limits_of_use: Vec::new(),
        };
        let (release, check) = (Release { manifest, certificate }, Vec::new());
        Self { release, model, policy, golden, check, overridden: None }.overridden_by("targets-risk")
    }

    /// Checked as it is now, and signed for by this key.
    pub(crate) fn overridden_by(mut self, officer: &str) -> Self {
        self.check = self.checked().to_json();
        let signed = Override::sign(&self.check, &keys(&[officer])[0], "R. Officer", "made by hand for a test", NOW);
        self.overridden = Some(signed.expect("no check passes"));
        self
    }

    /// What the check says of a run that holds nothing but this.
    pub(crate) fn checked(&self) -> Checked {
        let subject = Subject::published(&self.release, &self.model, &self.policy, &self.golden);
        check(&subject, &[], &|_, _| {})
    }

    pub(crate) fn files(&self) -> Files<'_> {
        Files {
            model: &self.model,
            policy: &self.policy,
            golden: &self.golden,
            check: &self.check,
            overridden: self.overridden.as_deref(),
        }
    }
}

/// A repository on disk, as its publisher made it.
pub(crate) struct Publisher {
    directory: TempDir,
    pub(crate) terms: Terms,
    pub(crate) root: TrustedRoot,
}

impl Publisher {
    /// With a root, and nothing released.
    pub(crate) fn with_terms(terms: Terms) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = publish::init_root(directory.path(), &all_holders(), &keys(&OFFLINE[..2]), NOW, &terms)
            .expect("the root is signed");
        let root = TrustedRoot::from_bytes(&root).expect("the root is sound");
        Self { directory, terms, root }
    }

    /// With version 1 released.
    pub(crate) fn new() -> Self {
        let publisher = Self::with_terms(Terms::default());
        publisher.release(1, NOW);
        publisher
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn release(&self, model_version: u64, now: UtcSeconds) -> Published {
        self.release_with(model_version, now, &keys(&PUBLISHERS))
    }

    pub(crate) fn release_with(&self, model_version: u64, now: UtcSeconds, keys: &[SigningKey]) -> Published {
        let officer = keys.iter().map(SigningKey::name).find(|name| name.starts_with("targets-risk"));
        let goods = Goods::new(MODEL_ID, model_version).overridden_by(officer.unwrap_or("targets-risk"));
        publish::release(self.path(), keys, &goods.release, goods.files(), now, &self.terms).expect("publishes")
    }

    pub(crate) fn rotate(&self, holders: &Holders, signers: &[&str], now: UtcSeconds) -> Published {
        publish::rotate_root(self.path(), holders, &keys(signers), now, &self.terms).expect("rotates")
    }

    /// What a mirror carries.
    pub(crate) fn mirror(&self) -> Mirror {
        Mirror::of(self.path())
    }
}

/// Copies of a repository's files, which an attacker may change.
#[derive(Default)]
pub(crate) struct Mirror {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Every fetch: path, and the most bytes that were asked for.
    pub(crate) asked: Mutex<Vec<(String, u64)>>,
}

impl Clone for Mirror {
    fn clone(&self) -> Self {
        Self { files: self.files.clone(), asked: Mutex::default() }
    }
}

impl Repository for Mirror {
    fn fetch(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        self.asked.lock().expect("no test panics while fetching").push((path.to_owned(), max_bytes));
        let most = usize::try_from(max_bytes + 1).expect("limits are small");
        Ok(self.files.get(path).map(|bytes| bytes[..bytes.len().min(most)].to_vec()))
    }
}

impl Mirror {
    pub(crate) fn of(directory: &Path) -> Self {
        let mut mirror = Self::default();
        let mut left = vec![directory.to_owned()];
        while let Some(next) = left.pop() {
            for entry in fs::read_dir(&next).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    left.push(path);
                } else {
                    let name = path.strip_prefix(directory).expect("inside").to_string_lossy().into_owned();
                    mirror.files.insert(name, fs::read(&path).expect("a file"));
                }
            }
        }
        mirror
    }

    /// The path of the only file that ends like this.
    #[track_caller]
    pub(crate) fn path(&self, end: &str) -> String {
        let mut found = self.files.keys().filter(|path| path.ends_with(end));
        let only = found.next().unwrap_or_else(|| panic!("no file ends with {end}"));
        assert_eq!(found.next(), None, "two files end with {end}");
        only.clone()
    }

    /// Changes what a metadata file says, and signs it with these keys: listed in this order where
    /// names repeat, else by key id as the publisher does.
    pub(crate) fn edit(&mut self, path: &str, signers: &[&str], change: impl FnOnce(&mut Value)) {
        let mut file: Value = serde_json::from_slice(&self.files[path]).expect("metadata");
        change(&mut file["signed"]);
        let message = canonical(&file["signed"]);
        let mut signatures: Vec<Value> = keys(signers)
            .iter()
            .map(|key| json!({"keyid": key.public().key_id(), "sig": hex(&key.sign(&message))}))
            .collect();
        signatures.sort_by_key(|signature| signature["keyid"].to_string());
        file["signatures"] = Value::Array(signatures);
        self.files.insert(path.to_owned(), canonical(&file));
    }

    /// Points the newest snapshot at these targets, and the timestamp at that snapshot, as whoever holds
    /// the online key can.
    pub(crate) fn repin(&mut self, targets_version: u64) {
        let snapshot_version = self.timestamp_pin()["version"].as_u64().expect("a version");
        let targets = self.pin_of("targets", targets_version);
        let snapshot = format!("metadata/{snapshot_version}.snapshot.json");
        self.edit(&snapshot, &["online"], |signed| signed["meta"]["targets.json"] = targets);
        let snapshot = self.pin_of("snapshot", snapshot_version);
        self.edit(TIMESTAMP, &["online"], |signed| signed["meta"]["snapshot.json"] = snapshot);
    }

    pub(crate) fn pin_of(&self, role: &str, version: u64) -> Value {
        let bytes = &self.files[&format!("metadata/{version}.{role}.json")];
        json!({"version": version, "length": bytes.len(), "hashes": {"sha256": sha256_hex(bytes)}})
    }

    fn timestamp_pin(&self) -> Value {
        let file: Value = serde_json::from_slice(&self.files[TIMESTAMP]).expect("metadata");
        file["signed"]["meta"]["snapshot.json"].clone()
    }

    #[track_caller]
    pub(crate) fn verified(&self, root: &TrustedRoot, floors: &Floors, now: UtcSeconds) -> Verified {
        verify(self, root, floors, now, Some(MODEL_ID)).expect("must verify")
    }

    #[track_caller]
    pub(crate) fn refused(&self, root: &TrustedRoot, floors: &Floors, now: UtcSeconds) -> RefuseRelease {
        verify(self, root, floors, now, Some(MODEL_ID)).expect_err("must be refused")
    }
}

pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let formatter = olpc_cjson::CanonicalFormatter::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter)).expect("no floats");
    bytes
}

/// Floors that say what a test wants: `{"timestamp": 5}`.
pub(crate) fn floors(said: Value) -> Floors {
    let mut floors = serde_json::to_value(Floors::default()).expect("serialises");
    for (name, value) in said.as_object().expect("an object") {
        assert!(floors.get(name).is_some(), "no floor {name}");
        floors[name] = value.clone();
    }
    serde_json::from_value(floors).expect("floors")
}
