//! The command line as its users meet it: the real binary, real files, exit codes by cause, nothing left behind.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn plimsoll(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .current_dir(dir)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn works(dir: &Path, args: &[&str]) -> String {
    let output = plimsoll(dir, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The command ends with this code, says these words, and leaves the directory as it was.
#[track_caller]
fn refuses(dir: &Path, args: &[&str], code: i32, words: &[&str]) {
    let before = listing(dir);
    let output = plimsoll(dir, args);
    let says = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {says}");
    for word in words {
        assert!(says.contains(word), "{args:?} should say {word:?}: {says}");
    }
    assert!(!says.contains("panicked"), "{says}");
    assert_eq!(listing(dir), before, "{args:?} left something behind");
}

fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .expect("lists")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

const QUICK: &str = "\
target = \"committed\"
[boost]
trees = 20
leaves = 8
[calibration]
alpha = 50_000
[split]
windows_per_account = 6
";

/// Of `runs/one`, and of `runs/two` which is the same.
#[track_caller]
fn reports_stand_alone_and_follow_from_the_run(at: &Path) {
    let read = |path: &str| std::fs::read_to_string(at.join(path)).expect(path);
    works(at, &["report", "runs/one", "--out", "again.html"]);
    let html = read("again.html");
    assert!(html == read("runs/one/report.html"), "training and reporting write the same bytes");
    let outward = ["http://", "https://", "<script", "<link", "src=", "url(", "@import"];
    let html_only = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for word in outward {
        assert!(!html_only.contains(word), "{word} leaves the file");
    }
    for words in ["archetype", "monthly income", "tenure", "Sign-off", "1/δ = 20", "never lowers the prediction"] {
        assert!(html.contains(words), "{words}");
    }
    let against = ["report", "runs/two", "--against", "runs/one", "--out", "against.html", "--json"];
    let said: serde_json::Value = serde_json::from_str(&works(at, &against)).expect("JSON");
    let of = |figure: &str| said["against"][figure].as_f64().expect("a number");
    assert_eq!((of("limit"), of("served")), (1.0, 0.0), "a run beside itself");
    assert!(of("accounts") > 50.0 && read("against.html").contains("1.000 × the other"));
    assert_eq!(said["gaps"]["by"].as_array().map(|by| by.len()), Some(6), "{}", said["gaps"]);

    // Nobody signs numbers that do not follow, or a run of which a part is damaged.
    std::fs::create_dir(at.join("forged")).expect("makes");
    for file in listing(&at.join("runs/one")) {
        std::fs::copy(at.join("runs/one").join(&file), at.join("forged").join(&file)).expect("copies");
    }
    let kinder = read("forged/release.json").replacen("\"violation_ppm\": ", "\"violation_ppm\": 1", 1);
    std::fs::write(at.join("forged/release.json"), kinder).expect("writes");
    refuses(at, &["report", "forged"], 6, &["violation_ppm"]);
    assert!(read("forged/report.html") == html, "the old report stays");
    std::fs::write(at.join("forged/accounts.csv"), "account,age\n").expect("writes");
    refuses(at, &["report", "forged"], 3, &["accounts.csv"]);
    std::fs::remove_dir_all(at.join("forged")).expect("removes");
}

#[test]
fn history_becomes_a_certified_model_that_the_edge_evaluates() {
    let dir = temporary();
    let at = dir.path();
    std::fs::write(at.join("quick.toml"), QUICK).expect("writes");
    let said = works(at, &["data", "synth", "--accounts", "900", "--days", "150", "--seed", "4", "--out", "wallets"]);
    assert!(said.contains("900 accounts"), "{said}");
    let described = works(at, &["data", "describe", "--data", "wallets", "--json"]);
    let described: serde_json::Value = serde_json::from_str(&described).expect("JSON");
    assert_eq!(described["history"]["accounts"], 900);

    let train = |threads: &str, out: &str| {
        works(at, &["train", "--data", "wallets", "--config", "quick.toml", "--threads", threads, "--out", out])
    };
    let said = train("1", "runs/one");
    assert!(said.contains("Certificate") && said.contains("report.html"), "{said}");
    train("2", "runs/two");
    for file in listing(&at.join("runs/one")) {
        let read = |run: &str| std::fs::read(at.join("runs").join(run).join(&file)).expect("reads");
        assert!(read("one") == read("two"), "{file} depends on the number of threads");
    }
    assert!(works(at, &["inspect", "runs/one", "--recheck"]).contains("follows from calibration.csv"));
    reports_stand_alone_and_follow_from_the_run(at);
    let verify = ["certificate", "verify", "--certificate", "forged.json", "--log", "runs/one/calibration.csv"];
    assert!(works(at, &["certificate", "verify", "runs/one"]).contains("every number follows"));
    let honest = std::fs::read_to_string(at.join("runs/one/certificate.json")).expect("reads");
    std::fs::write(at.join("forged.json"), honest.replacen("\"delta\":50000", "\"delta\":50001", 1)).expect("writes");
    refuses(at, &verify, 6, &["delta: the certificate says 50001, the log gives 50000"]);
    std::fs::write(at.join("forged.json"), &honest[1..]).expect("writes");
    refuses(at, &verify, 3, &["forged.json"]);
    std::fs::write(at.join("forged.json"), honest.replacen('{', "{\"also\":1,", 1)).expect("writes");
    refuses(at, &verify, 3, &["forged.json", "something was added"]);
    let log = std::fs::read_to_string(at.join("runs/one/calibration.csv")).expect("reads");
    std::fs::write(at.join("forged.csv"), log.replacen("\ncalibrate,", "\ncalibrate,9", 1)).expect("writes");
    let changed = ["certificate", "verify", "--certificate", "runs/one/certificate.json", "--log", "forged.csv"];
    refuses(at, &changed, 6, &["calibration_root"]);

    works(at, &["keys", "keys"]);
    let publish = ["publish", "--run", "runs/one", "--keys", "keys", "--repo", "repository"];
    refuses(at, &publish, 8, &["runs/one was not checked", "plimsoll check runs/one"]);
    assert!(
        works(at, &["check", "runs/one", "runs/two", "--data", "wallets"]).contains("Passed: it may be published.")
    );
    works(at, &publish);
    let said = works(at, &["verify", "repository", "--root", "keys/root.json"]);
    assert!(said.contains("golden vectors run, monotone proved"), "{said}");
    let score = ["score", "--repo", "repository", "--root", "keys/root.json", "--data", "wallets", "--json"];
    let scored: serde_json::Value = serde_json::from_str(&works(at, &score)).expect("JSON");
    let accounts = scored.as_array().expect("a list");
    assert_eq!(accounts.len(), 5);
    for account in accounts {
        let limits: Vec<u64> = account["decisions"]
            .as_array()
            .expect("ages")
            .iter()
            .map(|d| d[1]["limit"].as_u64().expect("minor"))
            .collect();
        assert_eq!(limits.len(), 7);
        assert!(limits.is_sorted_by(|a, b| a >= b), "limits fall with age: {limits:?}");
        assert!(limits[0] <= account["balance"].as_u64().expect("minor"));
    }

    // The same version again is refused, and the repository stays as it was.
    let again = plimsoll(at, &["publish", "--run", "runs/two", "--keys", "keys", "--repo", "repository"]);
    assert_eq!(again.status.code(), Some(8), "{}", text(&again.stderr));
    works(at, &["publish", "--refresh", "--keys", "keys", "--repo", "repository"]);
    works(at, &["verify", "repository", "--root", "keys/root.json"]);

    // Played as published and from the run: the same model, so it differs from itself by nothing.
    let run = ["replay", "--run", "runs/one", "--data", "wallets", "--lifetime-before", "600", "--attackers", "1000"];
    let few = ["--accounts", "12", "--days", "16", "--scenario", "drained", "--scenario", "split", "--json"];
    let both = ["--against", "repository", "--against-root", "keys/root.json", "--out", "replay.csv"];
    let played = works(at, &[&run[..], &few[..], &both[..]].concat());
    let played: serde_json::Value = serde_json::from_str(&played).expect("JSON");
    assert_eq!(played["replay"]["unseen"], true);
    assert!(played["replay"]["played"][0]["windows"].as_u64().expect("a count") > 20, "{played}");
    let differ = played["differences"].as_array().expect("a list");
    assert!(differ.len() > 6 && differ.iter().all(|d| d["difference"]["value"] == 0.0), "{differ:?}");
    let csv = std::fs::read_to_string(at.join("replay.csv")).expect("reads");
    assert!(csv.starts_with("scenario,tier,figure,value,low,high\ndrained,all,mean_limit,"), "{csv}");
    let from_repository = ["replay", "--repo", "repository", "--root", "keys/root.json", "--data", "wallets"];
    let said = works(at, &[&from_repository[..], &few[..4], &["--scenario", "clean"]].concat());
    assert!(said.contains("with --run only what took no part in it is played"), "{said}");
    std::fs::create_dir(at.join("scratch")).expect("makes");
    let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args([&run[..], &["--out", "stopped.json"]].concat())
        .current_dir(at)
        .env("TMPDIR", at.join("scratch"))
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    std::thread::sleep(Duration::from_millis(700));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs").success());
    // No code: a machine so busy that it was stopped before it could listen, and had made nothing.
    let code = child.wait().expect("ends").code();
    assert!(matches!(code, Some(130) | None), "{code:?}");
    assert!(listing(&at.join("scratch")).is_empty(), "wherever it was stopped");
    assert!(!listing(at).iter().any(|n| n.contains("stopped")), "{:?}", listing(at));

    // One flipped bit of the model; and a year later.
    let model = std::fs::read_dir(at.join("repository/targets/models"))
        .expect("lists")
        .map(|e| e.expect("an entry").path())
        .find(|p| p.extension().is_some_and(|e| e == "onnx"))
        .expect("a model");
    let mut bytes = std::fs::read(&model).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&model, &bytes).expect("writes");
    refuses(at, &["verify", "repository", "--root", "keys/root.json"], 6, &["SHA-256"]);
    bytes[middle] ^= 1;
    std::fs::write(&model, &bytes).expect("writes");
    refuses(at, &["verify", "repository", "--root", "keys/root.json", "--now", "9999999999"], 6, &["expired"]);
}

#[test]
fn the_demo_prints_a_certificate_and_limits_with_their_reasons() {
    let dir = temporary();
    let args = ["demo", "--accounts", "1500", "--days", "200"];
    let said = works(dir.path(), &args);
    for word in ["Certificate", "tier", "limit", "bound", "reason", "report.html", "manual_wallet"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(listing(&dir.path().join("plimsoll-demo")), ["data", "issuer", "keys", "repository", "run"]);
    // Again over itself; but not over somebody's files.
    works(dir.path(), &args);
    std::fs::write(dir.path().join("plimsoll-demo/mine"), "mine").expect("writes");
    refuses(dir.path(), &args, 2, &["mine", "--dir"]);
}

#[test]
fn bad_data_says_where_and_what() {
    let dir = temporary();
    let at = dir.path();
    let mapping = "[columns]\naccount = \"who\"\ntime = \"when\"\namount = \"how_much\"\n\
        [units]\namount = \"major\"\ncurrency = \"MYR/2\"\n[time]\nformat = \"date\"\n[sign]\nconvention = \"signed\"\n";
    std::fs::write(at.join("map.toml"), mapping).expect("writes");
    let table = |name: &str, content: &str| std::fs::write(at.join(name), content).expect("writes");
    table("empty.csv", "");
    table("header.csv", "who,when,how_much\n");
    table("column.csv", "who,when,amount\na,2026-01-01,1.00\n");
    table("decimals.csv", "who,when,how_much\na,2026-01-01,1.00\na,2026-01-02,-0.125\n");
    table("huge.csv", "who,when,how_much\na,2026-01-01,99999999999999999999\n");
    table("nan.csv", "who,when,how_much\na,2026-01-01,NaN\n");
    table("date.csv", "who,when,how_much\na,2026-02-30,1.00\n");
    table("one.csv", "who,when,how_much\na,2026-01-01,10.00\na,2026-01-02,-1.00\n");
    let train =
        |file: &str| ["train", "--mapping", "map.toml", "--out", "run", "--data", file].map(str::to_owned).to_vec();
    let refused = |file: &str, code: i32, words: &[&str]| {
        let args = train(file);
        refuses(at, &args.iter().map(String::as_str).collect::<Vec<_>>(), code, words);
    };
    refused("empty.csv", 3, &["empty.csv", "empty"]);
    refused("header.csv", 3, &["header.csv", "no rows"]);
    refused("column.csv", 3, &["column.csv", "how_much"]);
    refused("decimals.csv", 3, &["decimals.csv, line 3", "how_much", "-0.125", "more decimals"]);
    refused("huge.csv", 3, &["huge.csv, line 2", "how_much", "larger"]);
    refused("nan.csv", 3, &["nan.csv, line 2", "how_much", "not a decimal number"]);
    refused("date.csv", 3, &["date.csv, line 2", "when"]);
    refused("one.csv", 5, &["no windows", "of 1 accounts"]);
    refused("absent.csv", 7, &["absent.csv", "No such file"]);
    refuses(at, &["train", "--data", "one.csv", "--out", "run"], 3, &["mapping"]);

    // Skipping counts what it skips.
    let output =
        plimsoll(at, &["data", "describe", "--mapping", "map.toml", "--data", "decimals.csv", "--on-bad-row", "skip"]);
    assert!(output.status.success());
    let says = text(&output.stderr);
    assert!(says.contains("skipped 1 of 2 rows") && says.contains("line 3"), "{says}");
}

#[test]
fn mistakes_in_configuration_and_usage_have_their_own_codes() {
    let dir = temporary();
    let at = dir.path();
    std::fs::write(at.join("bad.toml"), "[boost]\ntrees = 0\n").expect("writes");
    std::fs::write(at.join("key.toml"), "[boost]\nfree = 1\n").expect("writes");
    let config = |file: &'static str| ["train", "--data", "x", "--out", "run", "--config", file];
    refuses(at, &config("bad.toml"), 4, &["bad.toml", "boost.trees"]);
    refuses(at, &config("key.toml"), 4, &["key.toml", "free"]);
    refuses(at, &config("none.toml"), 7, &["none.toml"]);
    refuses(at, &["train", "--data", "x", "--out", "run", "--policy", "nobody"], 7, &["nobody", "tng"]);
    refuses(at, &["train", "--out", "run"], 2, &["--data"]);
    refuses(at, &["config", "--policy", "nobody"], 2, &["naira"]);
    refuses(at, &["replay", "--data", "x"], 2, &["--run"]);
    let replay = |what: &[&'static str]| [&["replay", "--run", "r", "--data", "x"], what].concat();
    refuses(at, &replay(&["--scenario", "clena"]), 2, &["clean, drained"]);
    refuses(at, &replay(&["--out", "replay.txt"]), 2, &[".csv or .json"]);
    std::fs::write(at.join("replay.toml"), "copies = 1\n").expect("writes");
    refuses(at, &replay(&["--config", "replay.toml"]), 4, &["replay.toml", "copies = 1: use 2 to 16"]);
    refuses(at, &["verify", ".", "--root", "absent.json"], 7, &["absent.json"]);
    std::fs::create_dir(at.join("taken")).expect("makes");
    std::fs::write(at.join("taken/mine"), "mine").expect("writes");
    refuses(at, &["train", "--data", "x", "--out", "taken"], 7, &["taken", "already exists"]);
    refuses(at, &["data", "synth", "--accounts", "0", "--out", "none"], 3, &["accounts"]);

    let default = works(at, &["config"]);
    assert!(default.contains("alpha = 5000") && default.contains("[boost]"), "{default}");
    assert!(works(at, &["config", "--policy", "card"]).contains("16_000_000"));
    assert!(works(at, &["completions", "bash"]).contains("plimsoll"));
    assert!(works(at, &["train", "--help"]).contains("Example"));
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let dir = temporary();
    // The limit stands in for a full disk: writing past 64 KB fails.
    let script = format!(
        "trap '' XFSZ; ulimit -f 64; exec {} data synth --accounts 600 --days 60 --out wallets",
        env!("CARGO_BIN_EXE_plimsoll")
    );
    let output = Command::new("bash").arg("-c").arg(script).current_dir(dir.path()).output().expect("bash starts");
    let says = text(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{says}");
    assert!(says.contains("transactions.parquet") && says.to_lowercase().contains("too large"), "{says}");
    assert!(listing(dir.path()).is_empty(), "{:?}", listing(dir.path()));
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_nothing_behind() {
    let dir = temporary();
    let mut child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
        .args(["data", "synth", "--accounts", "2000000", "--out", "wallets"])
        .current_dir(dir.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    // Wait until it is writing.
    let begun = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        listing(dir.path()).iter().any(|n| n.contains("partial"))
    });
    assert!(begun, "it never began to write");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let status = child.wait().expect("ends");
    assert_eq!(status.code(), Some(130));
    assert!(listing(dir.path()).is_empty(), "{:?}", listing(dir.path()));
}
