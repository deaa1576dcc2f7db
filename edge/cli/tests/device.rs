//! The command line over real files: a published repository, a grant, payments, and exit codes by cause.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ed25519_dalek::SigningKey;
use plimsoll_edge::Evaluator;
use plimsoll_edge::trust::{Directory, Floors, TrustedRoot, verify};
use plimsoll_model::decision::Situation;
use plimsoll_model::features::FeatureVector;
use plimsoll_model::golden::Golden;
use plimsoll_model::grant::{Bytes, Form, IssuerKeys, Signer as _, Terms, issue};
use plimsoll_model::{Money, UtcSeconds};
use serde_json::Value;

/// Just after the fixture's second release.
const NOW: i64 = 1_795_824_060;

fn published(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/published").join(part)
}

fn issuer() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// A directory with two devices in it: `payer` and `shop`.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().expect("a directory") };
        let keys = IssuerKeys::new("plimsoll", [("issuer-1".to_owned(), issuer().public())]).expect("one key");
        std::fs::write(desk.at("issuer.jwks.json"), keys.to_jwks()).expect("writes");
        desk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, device: &str, now: i64, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_plimsoll-edge"))
            .current_dir(self.dir.path())
            .args(["--json", "--dir", device, "--now", &now.to_string()])
            .args(args)
            .output()
            .expect("runs")
    }

    /// Runs it, holds the exit code against `code`, and returns what it printed.
    #[track_caller]
    fn check(&self, device: &str, now: i64, args: &[&str], code: i32) -> Value {
        let output = self.run(device, now, args);
        let says = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {says}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Value::String(says.into_owned()))
    }

    #[track_caller]
    fn install(&self, device: &str, account: &str) -> Value {
        let (repo, root) = (published("second"), published("root.json"));
        let args = ["install", repo.to_str().expect("text"), "--root", root.to_str().expect("text")];
        let whose = ["--issuer-keys", "issuer.jwks.json", "--account", account, "--programme", "tng"];
        self.check(device, NOW, &[&args[..], &whose, &["--model", "tng-fixture"]].concat(), 0)
    }

    /// Signs a grant of the published model for what the payer's device says of itself.
    fn grant(&self, file: &str, balance: u64) {
        self.check("payer", NOW, &["status", "--sync", "sync.json"], 0);
        let sync: Value = serde_json::from_slice(&std::fs::read(self.at("sync.json")).expect("reads")).expect("JSON");
        let text = |field: &str| sync[field].as_str().expect("text").to_owned();
        let number = |field: &str| sync[field].as_u64().expect("a number");

        let now = UtcSeconds(NOW);
        let root = TrustedRoot::from_bytes(&std::fs::read(published("root.json")).expect("reads")).expect("a root");
        let verified =
            verify(&Directory::new(published("second")), &root, &Floors::default(), now, None).expect("verifies");
        let evaluator = Evaluator::new(&verified).expect("runs");
        // The golden history that the model trusts most.
        let golden = Golden::from_json(verified.golden()).expect("golden vectors");
        let trusted = golden.cases.iter().max_by_key(|case| case.outputs[0].2).expect("cases");
        let features = FeatureVector(std::array::from_fn(|i| f32::from_bits(trusted.feature_bits[i])));
        let balance = Money::from_minor(balance).expect("small");
        let situation = Situation::fresh(balance, trusted.profile.tier, now, 1_000);
        let (jkt, wid) = (Bytes::try_from(text("jkt")).expect("32 bytes"), Bytes::try_from(text("wid")).expect("8"));
        let seq = number("seq") + 1;
        let mut terms = Terms::new("plimsoll", text("account"), Bytes([seq as u8; 16]), seq, jkt, wid);
        terms.seen = number("seen");
        terms.features = Some(features.clone());
        let curve = evaluator.curve(&features, &situation);
        let grant = issue(evaluator.policy(), &curve, &situation, &terms).expect("makes a grant");
        let bytes = grant.sign(Form::Jws, "issuer-1", &issuer()).expect("signs");
        std::fs::write(self.at(file), bytes).expect("writes");
    }
}

fn minor(value: &Value) -> u64 {
    value.as_u64().expect("an amount")
}

#[test]
fn a_device_pays_a_shop_within_its_grant_and_the_shop_takes_each_payment_once() {
    let desk = Desk::new();
    assert_eq!(desk.install("payer", "aisyah")["what"], "activated");
    desk.install("shop", "stall");
    assert_eq!(desk.install("payer", "aisyah")["what"], "current");

    // Nothing without a grant.
    let none = desk.check("payer", NOW, &["pay", "--to", "stall", "--amount", "1", "--out", "none.jwt"], 3);
    assert_eq!((&none["decision"], &none["bound"]), (&"decline".into(), &"grant_missing".into()));
    assert!(!desk.at("none.jwt").exists());

    desk.grant("grant.jwt", 1_000_000);
    assert_eq!(desk.check("payer", NOW, &["accept", "grant.jwt"], 0)["what"], "accepted");
    assert_eq!(desk.check("payer", NOW, &["accept", "grant.jwt"], 0)["what"], "already held");
    let limit = desk.check("payer", NOW, &["limit"], 0);
    let before = minor(&limit["allowance"]["remaining"]);
    assert!(before > 600, "{limit}");
    assert_eq!(minor(&limit["curve"][0][1]), before);

    desk.check("shop", NOW, &["ask", "4.50", "--out", "request.json"], 0);
    let paid = desk.check("payer", NOW + 5, &["pay", "request.json", "--out", "paid.jwt"], 0);
    assert_eq!((minor(&paid["left"]["remaining"]), &paid["repeated"]), (before - 450, &false.into()));
    let again = desk.check("payer", NOW + 6, &["pay", "request.json", "--out", "again.jwt"], 0);
    assert_eq!((minor(&again["left"]["remaining"]), &again["repeated"]), (before - 450, &true.into()));

    let taken = desk.check("shop", NOW + 9, &["verify", "paid.jwt", "--grant", "paid.jwt.grant"], 0);
    assert_eq!((minor(&taken["amount"]), minor(&taken["unsettled"])), (450, 450));
    let says = desk.check("shop", NOW + 9, &["verify", "again.jwt", "--grant", "again.jwt.grant"], 6);
    assert!(says.as_str().expect("a refusal").contains("before"), "{says}");

    let status = desk.check("payer", NOW + 10, &["status"], 0);
    assert_eq!(status["outbox"].as_array().map(Vec::len), Some(1));
    assert_eq!(status["status"]["models"]["model"]["model_version"], 2);
}

#[test]
fn exit_codes_differ_by_cause() {
    let desk = Desk::new();
    desk.check("nobody", NOW, &["limit"], 2);
    desk.check("nobody", NOW, &["install", "missing"], 2);
    desk.install("payer", "aisyah");
    desk.grant("grant.jwt", 1_000_000);
    desk.check("payer", NOW, &["accept", "grant.jwt"], 0);
    desk.check("payer", NOW, &["pay", "--to", "stall", "--amount", "0", "--out", "x"], 2);
    desk.check("payer", NOW, &["pay", "--to", "stall", "--amount", "5.01", "--out", "x"], 4);
    desk.check("payer", NOW, &["pay", "--to", "stall", "--amount", "5.01", "--out", "x", "--proved"], 0);
    desk.check("payer", NOW, &["pay", "--to", "stall", "--amount", "999999", "--out", "x"], 3);

    let mut forged = std::fs::read(desk.at("grant.jwt")).expect("reads");
    let last = forged.len() - 2;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    std::fs::write(desk.at("forged.jwt"), forged).expect("writes");
    desk.check("payer", NOW, &["accept", "forged.jwt"], 6);
    desk.check("payer", NOW, &["accept", "absent.jwt"], 7);
    desk.check("payer", NOW, &["install", published("first").to_str().expect("text")], 6);

    // Four days later the sync is too old for anything.
    let late = desk.check("payer", NOW + 4 * 86_400, &["pay", "--to", "stall", "--amount", "1", "--out", "x"], 3);
    assert_eq!(late["left"]["remaining"], 0);
}

#[test]
fn a_state_that_was_damaged_spends_nothing() {
    let desk = Desk::new();
    desk.install("payer", "aisyah");
    desk.grant("grant.jwt", 1_000_000);
    desk.check("payer", NOW, &["accept", "grant.jwt"], 0);
    let wallet = desk.at("payer").join("state/wallet");
    let bytes = std::fs::read(&wallet).expect("the wallet's file");
    std::fs::write(&wallet, &bytes[..bytes.len() / 2]).expect("writes");
    let declined = desk.check("payer", NOW, &["pay", "--to", "stall", "--amount", "1", "--out", "x"], 3);
    assert_eq!(declined["bound"], "state");
    desk.check("payer", NOW, &["accept", "grant.jwt"], 6);
    desk.grant("new.jwt", 1_000_000);
    desk.check("payer", NOW, &["accept", "new.jwt"], 0);
    desk.check("payer", NOW, &["pay", "--to", "stall", "--amount", "1", "--out", "x"], 0);
}
