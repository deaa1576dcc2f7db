//! The gate: what does not pass its check is not published, unless the risk officer signs for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::common::{history, run};
use plimsoll_model::artifact::sha256_hex;
use plimsoll_train::check::{CHECKS, Checked, Replayed, Verdict};
use plimsoll_train::replay::{self, Ledger};
use serde_json::{Value, json};
use tempfile::TempDir;

fn plimsoll(at: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll")).current_dir(at).args(args).output().expect("the binary starts")
}

#[track_caller]
fn works(at: &Path, args: &[&str]) -> String {
    let output = plimsoll(at, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn refuses(at: &Path, args: &[&str], code: i32, words: &[&str]) {
    let output = plimsoll(at, args);
    let says = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {says}");
    for word in words {
        assert!(says.contains(word), "{args:?} should say {word:?}: {says}");
    }
    assert!(!says.contains("panicked"), "{says}");
}

/// A directory with a run that passed its check, and keys.
struct Workshop(TempDir);

impl Workshop {
    fn new() -> Self {
        static CHECK: OnceLock<Vec<u8>> = OnceLock::new();
        static REPLAY: OnceLock<Vec<u8>> = OnceLock::new();
        let dir = tempfile::tempdir().expect("a directory");
        run().save(&dir.path().join("run")).expect("saves");
        let workshop = Self(dir);
        workshop.write("run/replay.json", REPLAY.get_or_init(|| played(workshop.at())));
        let check = CHECK.get_or_init(|| {
            works(workshop.at(), &["check", "run"]);
            workshop.read("run/check.json")
        });
        workshop.write("run/check.json", check);
        works(workshop.at(), &["keys", "keys"]);
        workshop
    }

    fn at(&self) -> &Path {
        self.0.path()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.at().join(file)).expect("reads")
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.at().join(file), bytes).expect("writes");
    }

    fn edit(&self, file: &str, change: impl FnOnce(&str) -> String) {
        let text = String::from_utf8(self.read(file)).expect("text");
        let changed = change(&text);
        assert_ne!(text, changed, "{file} is as it was");
        self.write(file, changed.as_bytes());
    }

    #[track_caller]
    fn not_published(&self, words: &[&str]) {
        refuses(self.at(), &PUBLISH, 8, words);
        assert!(!self.at().join("repository/metadata/timestamp.json").exists(), "something was released");
    }

    /// Checks again, whatever comes of it.
    fn check(&self) -> Checked {
        plimsoll(self.at(), &["check", "run"]);
        Checked::from_json(&self.read("run/check.json")).expect("what check writes reads back")
    }
}

/// The run, played over a few accounts.
fn played(at: &Path) -> Vec<u8> {
    let history = history();
    let config = replay::Config { accounts: 60, lifetime_before: 600, ..replay::Config::default() };
    let ends = history.span().expect("rows").1;
    let evaluator = replay::evaluator(run(), &at.join("scratch"), ends).expect("an artifact");
    let outcome = replay::run(&evaluator, &Ledger::unseen(&history, run(), config.days), &config, &()).expect("plays");
    Replayed::of(&outcome, sha256_hex(&run().policy.to_json()), history.sha256()).to_json()
}

const PUBLISH: [&str; 7] = ["publish", "--run", "run", "--keys", "keys", "--repo", "repository"];
const VERIFY: [&str; 5] = ["verify", "repository", "--root", "keys/root.json", "--json"];

fn sign(key: &str) -> [&str; 9] {
    ["override", "--run", "run", "--key", key, "--by", "R. Officer", "--because", "a pilot of 200 staff until March"]
}

fn targets(at: &Path) -> Vec<String> {
    let list = std::fs::read_dir(at.join("repository/targets/models")).expect("lists");
    let name = |path: PathBuf| path.file_name().expect("a name").to_string_lossy()[65..].to_owned();
    let mut names: Vec<String> = list.map(|e| name(e.expect("an entry").path())).collect();
    names.sort();
    names
}

#[test]
fn a_run_that_passes_is_published_with_the_outcome_of_its_check() {
    let workshop = Workshop::new();
    let at = workshop.at();
    let checked = Checked::from_json(&workshop.read("run/check.json")).expect("reads");
    assert!(checked.passed());
    for check in CHECKS {
        let of: Vec<&Verdict> = checked.verdicts.iter().filter(|v| v.check == check.name).collect();
        assert!(!of.is_empty() && of.iter().all(|v| v.passed && !v.says.is_empty()), "{}: {of:?}", check.name);
    }
    let judged =
        |check: &str, of: &str| checked.verdicts.iter().any(|v| v.check == check && v.of == of && v.figure >= 0);
    for engine in ["kernel", "tract"] {
        assert!(judged("golden", engine) && judged("parity", engine), "{engine}");
    }
    works(at, &PUBLISH);
    assert_eq!(targets(at), ["test.check.json", "test.golden.json", "test.onnx", "test.policy.json"]);
    let said: Value = serde_json::from_str(&works(at, &VERIFY)).expect("JSON");
    assert_eq!(said["overrides"], json!([]));
}

#[test]
fn the_same_run_gives_the_same_check_on_any_number_of_threads() {
    let workshop = Workshop::new();
    let first = workshop.read("run/check.json");
    works(workshop.at(), &["check", "run", "--threads", "1"]);
    assert!(workshop.read("run/check.json") == first);
}

#[test]
fn a_file_altered_after_the_check_is_refused_by_name() {
    let workshop = Workshop::new();
    for file in plimsoll_train::check::FILES {
        let honest = workshop.read(&format!("run/{file}"));
        let mut altered = honest.clone();
        altered.extend(b"\n");
        workshop.write(&format!("run/{file}"), &altered);
        workshop.not_published(&[&format!("{file} is not the file that was checked")]);
        workshop.write(&format!("run/{file}"), &honest);
    }
    // What the outcome says of a file counts as little.
    workshop.edit("run/check.json", |text| text.replacen("\"policy.json\": \"", "\"policy.json\": \"0", 1));
    workshop.not_published(&["policy.json is not the file that was checked"]);
}

#[test]
fn an_outcome_that_was_altered_is_refused() {
    let workshop = Workshop::new();
    let honest = workshop.read("run/check.json");
    let mut value: Value = serde_json::from_slice(&honest).expect("JSON");
    let verdicts = value["verdicts"].as_array().expect("a list").len();
    let alter = |change: &dyn Fn(&mut Value), words: &[&str]| {
        let mut value: Value = serde_json::from_slice(&honest).expect("JSON");
        change(&mut value);
        let read: Checked = serde_json::from_value(value).expect("the shape is kept");
        workshop.write("run/check.json", &read.to_json());
        workshop.not_published(words);
    };
    for ix in 0..verdicts {
        alter(&|v| v["verdicts"][ix]["passed"] = json!(false), &["does not follow from its figure"]);
    }
    // Even to a figure that keeps its bound.
    alter(&|v| v["verdicts"][0]["figure"] = json!(-1), &["not what the check finds of these files"]);
    alter(&|v| v["verdicts"][0]["says"] = json!("all is well"), &["not what the check finds of these files"]);
    alter(&|v| v["verdicts"] = json!([]), &["the checks are size, "]);
    alter(
        &|v| v["verdicts"].as_array_mut().expect("a list").retain(|v| v["check"] != "certificate"),
        &["the checks are size, "],
    );
    alter(&|v| v["plimsoll"] = json!("0.0.1"), &["it is of version 0.0.1"]);
    value["passed"] = json!(true);
    workshop.write("run/check.json", &serde_json::to_vec_pretty(&value).expect("JSON"));
    workshop.not_published(&["unknown field"]);
    workshop.write("run/check.json", &honest[1..]);
    workshop.not_published(&["check.json"]);
}

/// What each check is for: the run is made wrong in one way, and the check of that name says so.
#[test]
fn each_check_fails_on_what_it_is_for() {
    let workshop = Workshop::new();
    let at = workshop.at();
    let fails = |file: &str, change: &dyn Fn(&Workshop), found: &[(&str, &str)]| {
        let honest = workshop.read(file);
        change(&workshop);
        refuses(at, &["check", "run"], 9, &[found[0].0]);
        let checked = Checked::from_json(&workshop.read("run/check.json")).expect("reads");
        let failed: Vec<String> = checked.failed().iter().map(|v| format!("{}: {}", v.name(), v.says)).collect();
        for (check, word) in found {
            assert!(failed.iter().any(|f| f.starts_with(check) && f.contains(word)), "{check} {word}: {failed:?}");
        }
        workshop.write(file, &honest);
    };
    let bound = |w: &Workshop, key: &str, value: u64| {
        w.edit("run/config.toml", |text| {
            let line = text.lines().find(|l| l.starts_with(&format!("{key} = "))).expect("a key");
            text.replacen(line, &format!("{key} = {value}"), 1)
        });
    };
    let small = |w: &Workshop| ["model_bytes_max", "artifact_bytes_max"].iter().for_each(|key| bound(w, key, 1_000));
    fails("run/config.toml", &small, &[("size model.onnx", "bytes"), ("size artifact", "bytes")]);
    fails(
        "run/policy.json",
        &|w| w.edit("run/policy.json", |t| t.replacen("\"settle_within_h\":72", "\"settle_within_h\":71", 1)),
        &[("files", "policy.json, in the certificate"), ("files", "policy.json, in the manifest")],
    );
    let edit = |file: &str, change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&workshop.read(file)).expect("JSON");
        change(&mut value);
        workshop.write(file, &serde_json::to_vec_pretty(&value).expect("JSON"));
    };
    let one_more = |v: &mut Value| *v = json!(v.as_i64().expect("a number") + 1);
    let golden = |change: &dyn Fn(&mut Value)| edit("run/golden.json", change);
    fails(
        "run/golden.json",
        &|_| golden(&|v| one_more(&mut v["cases"][1]["outputs"][0][1][0])),
        &[("golden reference walk", "output"), ("golden kernel", "output"), ("golden tract", "output")],
    );
    let limit = |v: &mut Value| one_more(&mut v["cases"][3]["outputs"][2][2]);
    fails("run/golden.json", &|_| golden(&limit), &[("golden", "limit at age")]);
    let fewer = |v: &mut Value| drop(v["cases"][0]["outputs"].as_array_mut().expect("answers").pop());
    fails("run/golden.json", &|_| golden(&fewer), &[("golden", "every certified age")]);
    fails(
        "run/model.onnx",
        &|w| w.write("run/model.onnx", b"no model"),
        &[("parity", "model.onnx"), ("golden", "model.onnx"), ("monotone", "model.onnx")],
    );
    fails(
        "run/calibration.csv",
        &|w| w.edit("run/calibration.csv", |t| t.replacen("\ncalibrate,", "\ncalibrate,9", 1)),
        &[("certificate", "calibration_root")],
    );
    // Nothing is left of any window that tests: whoever is granted anything is above the promise.
    let ages = run().log.terms.ages.len();
    let emptied = |line: &str| {
        let cells = line.split(',').enumerate().map(|(ix, cell)| if (7..7 + ages).contains(&ix) { "0" } else { cell });
        cells.collect::<Vec<_>>().join(",") + "\n"
    };
    let empty =
        |t: &str| t.lines().map(|l| if l.starts_with("test,") { emptied(l) } else { format!("{l}\n") }).collect();
    fails("run/calibration.csv", &|w| w.edit("run/calibration.csv", empty), &[("gaps test split", "tier")]);
    let unknown = |w: &Workshop| w.write("run/accounts.csv", b"who\n");
    fails("run/accounts.csv", &unknown, &[("gaps", "accounts.csv")]);
    fails(
        "run/certificate.json",
        &|w| w.edit("run/certificate.json", |t| t.replacen("\"delta\":50000", "\"delta\":50001", 1)),
        &[("files", "certificate.json, in release.json")],
    );
    let alpha = u64::from(run().release.certificate.terms.alpha.get());
    let facts = |v: &mut Value| {
        one_more(&mut v["manifest"]["monotone"][0]["pairs"]);
        v["manifest"]["monotone"].as_array_mut().expect("claims").pop();
        let cells = v["certificate"]["cells"].as_array_mut().expect("cells");
        let cell = cells.iter_mut().find(|c| c["basis"] == "certified").expect("one is certified");
        one_more(&mut cell["windows"]);
        cell["test"]["low_ppm"] = json!(alpha + 1);
        cell["test"]["intervals"]["low"]["missing_milli"] = json!(10_000_000);
        let served =
            json!({ "mean_limit": 1, "served_ppm": 999_999, "useful_ppm": 0, "zero_ppm": 0, "missing_milli": 0 });
        cell["compared"][1]["test"] = served;
    };
    fails(
        "run/release.json",
        &|_| edit("run/release.json", &facts),
        &[
            ("monotone last_sync_age_min", "the manifest says"),
            ("monotone prior_offline_settle_rate", "does not claim"),
            ("certificate", "the log gives"),
            ("backtest violations", "promised"),
            ("backtest money", "promised"),
            ("backtest demand served", "history"),
        ],
    );
    let beyond = |v: &mut Value| {
        one_more(&mut v["scenarios"][0]["beyond"]);
        v["scenarios"].as_array_mut().expect("scenes").pop();
    };
    fails(
        "run/replay.json",
        &|_| edit("run/replay.json", &beyond),
        &[("replay clean", "beyond the certificate"), ("replay collude", "it was not played")],
    );
    let other = |v: &mut Value| v["model_sha256"] = json!("00");
    fails("run/replay.json", &|_| edit("run/replay.json", &other), &[("replay", "another model.onnx was played")]);
    let unplayed = |w: &Workshop| std::fs::remove_file(w.at().join("run/replay.json")).expect("removes");
    fails("run/replay.json", &unplayed, &[("replay", "it was not played")]);
    let uncertified = |v: &mut Value| {
        v["certificate"]["cells"]
            .as_array_mut()
            .expect("cells")
            .iter_mut()
            .for_each(|c| c["basis"] = json!("fallback"));
    };
    fails(
        "run/release.json",
        &|_| edit("run/release.json", &uncertified),
        &[("backtest certified tiers", "no tier is certified")],
    );
    refuses(at, &["check", "nowhere"], 7, &["nowhere"]);
}

/// A run that does not pass, because its owner promised a smaller file than it is.
fn failing() -> Workshop {
    let workshop = Workshop::new();
    workshop.edit("run/config.toml", |t| t.replacen("model_bytes_max = 2000000", "model_bytes_max = 1000", 1));
    assert!(!workshop.check().passed());
    workshop
}

#[test]
fn a_signed_override_is_published_beside_the_model_and_says_who_and_why() {
    let workshop = failing();
    let at = workshop.at();
    workshop.not_published(&["size model.onnx", "plimsoll override"]);
    let said = works(at, &sign("keys/targets-risk.pem"));
    assert!(said.contains("R. Officer") && said.contains("size model.onnx"), "{said}");
    works(at, &PUBLISH);
    assert!(targets(at).contains(&"test.override.json".to_owned()), "{:?}", targets(at));
    let said: Value = serde_json::from_str(&works(at, &VERIFY)).expect("JSON");
    let shown = &said["overrides"][0];
    assert_eq!(shown["model_id"], "test");
    assert_eq!(shown["override"]["by"], "R. Officer");
    assert_eq!(shown["override"]["because"], "a pilot of 200 staff until March");
    assert!(shown["override"]["failed"][0].as_str().expect("text").starts_with("size model.onnx: "), "{shown}");
    assert!(works(at, &VERIFY[..4]).contains("NOT PASSED, published by R. Officer"));

    // One flipped bit of it in the repository, and an audit refuses all.
    let file = std::fs::read_dir(at.join("repository/targets/models"))
        .expect("lists")
        .map(|e| e.expect("an entry").path())
        .find(|p| p.to_string_lossy().ends_with(".override.json"))
        .expect("the override");
    let mut bytes = std::fs::read(&file).expect("reads");
    bytes[40] ^= 1;
    std::fs::write(&file, &bytes).expect("writes");
    refuses(at, &VERIFY, 6, &["SHA-256"]);
}

#[test]
fn an_override_holds_for_nothing_else() {
    let workshop = failing();
    let at = workshop.at();
    // By anyone but the risk officer, for no reason, by nobody.
    for key in ["targets-owner", "online", "root-1"] {
        works(at, &sign(&format!("keys/{key}.pem")));
        workshop.not_published(&["the override", key, "risk officer"]);
    }
    refuses(at, &["keys", "theirs"], 0, &[]);
    works(at, &sign("theirs/targets-risk.pem"));
    workshop.not_published(&["the override", "not one that the root names"]);
    for (by, because) in [("", "why"), ("R. Officer", "  "), ("R.\nOfficer", "why")] {
        let args = ["override", "--run", "run", "--key", "keys/targets-risk.pem", "--by", by, "--because", because];
        refuses(at, &args, 8, &["must have 1 to"]);
    }

    // Altered after it was signed, in any member.
    works(at, &sign("keys/targets-risk.pem"));
    let honest = workshop.read("run/override.json");
    let value: Value = serde_json::from_slice(&honest).expect("JSON");
    let members: Vec<String> = value["signed"].as_object().expect("an object").keys().cloned().collect();
    assert_eq!(members.len(), 7);
    for member in &members {
        let mut altered = value.clone();
        match &mut altered["signed"][member] {
            Value::Object(files) => drop(files.remove("model.onnx")),
            Value::Array(failed) => drop(failed.pop()),
            Value::String(text) => text.push('x'),
            other => *other = json!(1),
        }
        workshop.write("run/override.json", plimsoll_train::log::canonical(&altered).as_bytes());
        workshop.not_published(&["the override"]);
    }
    let mut none = value.clone();
    none["signatures"] = json!([]);
    workshop.write("run/override.json", plimsoll_train::log::canonical(&none).as_bytes());
    workshop.not_published(&["one signature"]);

    // For another state of the run: the check is made again, and fails otherwise.
    workshop.write("run/override.json", &honest);
    workshop.edit("run/config.toml", |t| t.replacen("model_bytes_max = 1000", "model_bytes_max = 999", 1));
    assert!(!workshop.check().passed());
    workshop.not_published(&["signed for another config.toml"]);

    // Where everything passes there is nothing to override.
    workshop.edit("run/config.toml", |t| t.replacen("model_bytes_max = 999", "model_bytes_max = 2000000", 1));
    assert!(workshop.check().passed());
    refuses(at, &sign("keys/targets-risk.pem"), 8, &["nothing to override"]);
    // And an old one beside it is not published.
    works(at, &PUBLISH);
    assert!(!targets(at).iter().any(|t| t.contains("override")), "{:?}", targets(at));
}
