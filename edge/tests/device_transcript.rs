//! A device's life as JSON: setup, commands, answers. Recorded here, and replayed by the bindings of every language, which
//! must answer to the byte: C, Node, Chromium, Python.
//!
//! `PLIMSOLL_RECORD=1 cargo test -p plimsoll-edge --no-default-features --test device_transcript` renews it.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use plimsoll_edge::trust::Bundle;
use plimsoll_edge::wire::{self, Device};
use plimsoll_model::decision::Situation;
use plimsoll_model::features::{FeatureState, Profile};
use plimsoll_model::grant::{Bytes, Form, Instance, IssuerKeys, Signer, Terms, issue};
use plimsoll_model::time::UtcSeconds;
use plimsoll_model::transaction::{Channel, Kind, Transaction};
use plimsoll_model::{Flow, Money, Tier};
use serde_json::{Value, json};

/// A day after the first fixture was published.
const NOW: UtcSeconds = UtcSeconds(1_795_219_200 + 86_400);
const ISSUER: &str = "tng.example";
const KID: &str = "2026-11a";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn bundle(release: &str) -> Bundle {
    let repository = fixtures().join("published").join(release);
    let (mut bundle, mut open) = (Bundle::default(), vec![repository.clone()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(&repository).expect("inside").to_str().expect("UTF-8").to_owned();
            bundle.add(&name, std::fs::read(path).expect("reads")).expect("fits");
        }
    }
    bundle
}

fn issuer() -> SigningKey {
    SigningKey::from_bytes(&[11; 32])
}

fn device_seed() -> [u8; 32] {
    [12; 32]
}

/// What a wallet app would hand over, with nothing kept yet.
fn setup() -> Value {
    let root = std::fs::read_to_string(fixtures().join("published/root.json")).expect("reads");
    let policy = plimsoll_model::policy::Policy::preset("tng").expect("a preset");
    let keys = IssuerKeys::new(ISSUER, [(KID.to_owned(), issuer().public())]).expect("keys");
    json!({
        "storage": { "files": {} },
        "root": root,
        "model_id": "tng-fixture",
        "policy": serde_json::from_slice::<Value>(&policy.to_json()).expect("JSON"),
        "account": "u-demo",
        "programme": "tng",
        "currency": policy.currency,
        "issuer": ISSUER,
        "jwks": serde_json::from_slice::<Value>(&keys.to_jwks()).expect("JSON"),
        "device_seed": Bytes(device_seed()),
        "entropy": Bytes([13; 16]),
        "now": NOW,
    })
}

/// The issuer's side: the account's features and the model's curve at the sync, signed for this wallet.
fn grant(wid: Instance) -> String {
    let root = std::fs::read(fixtures().join("published/root.json")).expect("reads");
    let terms = wire::read("terms", json!({ "now": NOW }).to_string().as_bytes()).expect("terms");
    let (evaluator, _) = wire::open(&bundle("first"), &root, &terms).expect("opens");
    let tier = Tier::new(1).expect("a tier");
    let profile = Profile {
        opened_at: NOW.plus(-400 * 86_400),
        tier,
        attested: true,
        offset: evaluator.policy().utc_offset_min,
        currency: evaluator.policy().currency,
    };
    let from = NOW.plus(-120 * 86_400);
    let mut state = FeatureState::new(profile, 300_000, from);
    for day in 0..120 {
        let row = |amount: i64, kind, payee| Transaction {
            at: from.plus(day * 86_400 + 36_000),
            amount: Flow::from_minor(amount).expect("small"),
            kind,
            payee,
            channel: Channel::Online,
            device: 1,
            place: None,
            id: 0,
        };
        if day % 30 == 0 {
            state.push(&row(250_000, Kind::Income, 1)).expect("in order");
        }
        state.push(&row(-(2_000 + 37 * (day % 11)), Kind::Purchase, 2 + day as u64 % 7)).expect("in order");
    }
    let features = state.snapshot(NOW);
    let situation = Situation::fresh(Money::floor_at_zero(state.balance_minor()), tier, NOW, 2_000);
    let jkt = SigningKey::from_bytes(&device_seed()).public().thumbprint();
    let mut terms = Terms::new(ISSUER, "u-demo", Bytes([14; 16]), 1, jkt, wid);
    terms.features = Some(features.clone());
    let claims =
        issue(evaluator.policy(), &evaluator.curve(&features, &situation), &situation, &terms).expect("a grant");
    String::from_utf8(claims.sign(Form::Jws, KID, &issuer()).expect("signs")).expect("text")
}

fn pay(nonce: u8, amount: u64, after: i64) -> Value {
    let at = NOW.plus(after);
    let request = json!({
        "payee": "m-kedai-12", "amt": amount, "cur": "MYR/2", "nonce": Bytes([nonce; 16]), "iat": at, "exp": at.plus(300),
    });
    json!({ "authorise": { "request": request, "now": at } })
}

/// Every step: an install or a command, and what was answered or refused.
fn transcript() -> Value {
    let mut device =
        Device::open(wire::read("setup", setup().to_string().as_bytes()).expect("a setup")).expect("opens");
    let status = json!({ "status": { "now": NOW } });
    let told = device.command(&wire::read("command", status.to_string().as_bytes()).expect("a command")).expect("told");
    let told: Value = serde_json::from_slice(&wire::write(&told)).expect("JSON");
    let wid = serde_json::from_value(told["wallet"]["wid"].clone()).expect("a wid");
    let grant = grant(wid);
    let mut forged = grant.clone().into_bytes();
    let last = forged.len() - 10;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("text");
    let mut proved = pay(4, 4_000, 300);
    proved["authorise"]["proved"] = json!(true);
    let later = |command: &str, after: i64| json!({ command: { "now": NOW.plus(after) } });
    let steps = [
        json!({ "install": "first", "terms": { "now": NOW } }),
        json!({ "install": "first", "terms": { "now": NOW } }),
        json!({ "command": later("limit", 0) }),
        json!({ "command": pay(1, 100, 0) }),
        json!({ "command": { "accept": { "grant": { "jws": forged }, "now": NOW } } }),
        json!({ "command": { "accept": { "grant": { "jws": grant }, "now": NOW } } }),
        json!({ "command": { "accept": { "grant": { "jws": grant }, "now": NOW } } }),
        json!({ "command": later("limit", 60) }),
        json!({ "command": { "curve": {} } }),
        json!({ "command": pay(1, 450, 120) }),
        json!({ "command": pay(1, 450, 120) }),
        json!({ "command": pay(2, 4_000, 180) }),
        json!({ "command": proved }),
        json!({ "command": pay(3, 99_999_999, 360) }),
        json!({ "command": later("limit", 400) }),
        json!({ "command": { "outbox": {} } }),
        json!({ "install": "second", "terms": { "now": NOW.plus(8 * 86_400) } }),
        json!({ "install": "first", "terms": { "now": NOW.plus(8 * 86_400) } }),
        json!({ "command": later("limit", 4 * 86_400) }),
        json!({ "command": later("limit", -86_400) }),
        json!({ "command": { "files": {} } }),
        json!({ "command": { "fly": {} } }),
    ];
    let answered = steps.map(|step| {
        let told = if let Some(release) = step["install"].as_str() {
            let terms = wire::read("terms", step["terms"].to_string().as_bytes()).expect("terms");
            device.install(&bundle(release), &terms).map(|installed| wire::write(&installed))
        } else {
            wire::read("command", step["command"].to_string().as_bytes())
                .and_then(|command| device.command(&command))
                .map(|told| wire::write(&told))
        };
        let parse = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).expect("JSON");
        let mut step = step;
        match told {
            Ok(answer) => step["answer"] = parse(answer),
            Err(refused) => step["refused"] = parse(refused.to_json()),
        }
        step
    });
    json!({ "setup": setup(), "steps": answered })
}

#[test]
fn a_devices_life_is_what_it_was() {
    let path = fixtures().join("device.json");
    let fresh = transcript();
    if std::env::var_os("PLIMSOLL_RECORD").is_some() {
        std::fs::write(&path, serde_json::to_vec(&fresh).expect("JSON")).expect("writes");
    }
    let kept: Value = serde_json::from_slice(&std::fs::read(&path).expect("device.json is committed")).expect("JSON");
    let (fresh_steps, kept_steps) =
        (fresh["steps"].as_array().expect("steps"), kept["steps"].as_array().expect("steps"));
    for (fresh, kept) in fresh_steps.iter().zip(kept_steps) {
        assert_eq!(fresh, kept, "a change here is a change of the ABI: record it, and tell the bindings");
    }
    assert_eq!(fresh, kept);
    let decisions: Vec<_> = kept_steps.iter().filter_map(|s| s["answer"]["decision"].as_str()).collect();
    assert_eq!(decisions, ["decline", "approve", "approve", "step_up", "approve", "decline"], "a life worth replaying");
}
