//! A C program, compiled with every warning an error and under the address and undefined-behaviour sanitizers, gets the
//! same bits as Rust, and its device lives the same life.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use plimsoll_edge::trust::Bundle;
use plimsoll_edge::wire;
use plimsoll_model::golden::{Case, Golden};
use serde_json::{Value, json};

/// A day after the fixture was published.
const NOW: i64 = 1_795_219_200 + 86_400;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

/// The files of a repository, by their path in it.
fn files(repository: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![repository.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(repository).expect("inside").to_str().expect("UTF-8").to_owned();
                found.push((name, std::fs::read(&path).expect("reads")));
            }
        }
    }
    found
}

/// The question that a golden vector answers.
fn question(case: &Case) -> Value {
    let row = |(at, amount_minor, kind, payee, offline, place): &_| json!({ "at": at, "amount_minor": amount_minor, "kind": kind, "payee": payee, "offline": offline, "place": place });
    let rows: Vec<Value> = case.rows.iter().map(row).collect();
    json!({ "history": { "profile": case.profile, "opening_minor": case.opening_minor, "rows": rows, "at": case.at } })
}

fn succeeded(what: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n{said}", output.status);
    assert!(!said.contains("runtime error"), "{what}: {said}");
}

/// Compiles the consumer against the static library that stands beside this test.
fn compile(program: &Path) {
    let test = std::env::current_exe().expect("this test is a file");
    let library = test.parent().expect("in a directory").join("libplimsoll_ffi.a");
    assert!(library.exists(), "{} is missing: cargo builds it with this test", library.display());
    let gcc = Command::new("gcc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-g", "-O1"])
        .args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consumer.c"))
        .arg(library)
        .args(["-lpthread", "-ldl", "-lm", "-o"])
        .arg(program)
        .output()
        .expect("gcc starts: install gcc and libasan, this test cannot do without");
    succeeded("gcc", &gcc);
}

#[test]
fn a_c_program_gets_the_same_bits_and_the_same_refusals() {
    let dir = tempfile::tempdir().expect("a directory");
    let (repository, root) = (fixtures().join("published/first"), fixtures().join("published/root.json"));
    let program = dir.path().join("consumer");
    compile(&program);

    let mut bundle = Bundle::default();
    let files = files(&repository);
    let golden = files.iter().find(|(path, _)| path.ends_with(".golden.json")).expect("published with the model");
    let golden = Golden::from_json(&golden.1).expect("golden vectors");
    for (path, bytes) in files {
        bundle.add(&path, bytes).expect("fits");
    }
    let root_bytes = std::fs::read(&root).expect("reads");
    let terms = wire::read("terms", json!({ "now": NOW }).to_string().as_bytes()).expect("terms");
    let (evaluator, opened) = wire::open(&bundle, &root_bytes, &terms).expect("opens");

    let mut expected = vec![wire::write(&opened)];
    let mut command = Command::new(&program);
    command.arg("evaluate").args([&repository, &root]).arg(NOW.to_string());
    for (ix, case) in golden.cases.iter().enumerate() {
        let question = question(case).to_string();
        let path = dir.path().join(format!("{ix}.json"));
        std::fs::write(&path, &question).expect("writes");
        command.arg(path);
        let question = wire::read("question", question.as_bytes()).expect("a question");
        expected.push(wire::write(&wire::answer(&evaluator, &question).expect("an answer")));
    }
    let ran = command.output().expect("runs");
    succeeded("the consumer", &ran);

    let lines: Vec<&[u8]> = ran.stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), expected.len(), "one for the release, and one for each golden case");
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(String::from_utf8_lossy(line), String::from_utf8_lossy(expected));
    }
    for (line, case) in lines[1..].iter().zip(&golden.cases) {
        let answer: Value = serde_json::from_slice(line).expect("JSON");
        assert_eq!(answer["feature_bits"], json!(case.feature_bits));
        let curve = answer["curve"].as_array().expect("a curve");
        let got: Vec<Value> = curve.iter().map(|p| json!([p["age"], p["steps"], p["certified"]])).collect();
        assert_eq!(json!(got), json!(case.outputs), "what the model's own golden vectors say");
    }
}

#[test]
fn a_c_program_lives_the_life_that_rust_recorded() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("consumer");
    compile(&program);
    let mut life: Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("device.json")).expect("reads")).expect("JSON");
    // Recorded over files in memory; here over a directory, where there is nothing to hand out.
    life["setup"]["storage"] = json!({ "directory": dir.path().join("state") });
    std::fs::write(dir.path().join("setup"), life["setup"].to_string()).expect("writes");
    let steps = life["steps"].as_array().expect("steps");
    let line = |step: &Value| match step["install"].as_str() {
        Some(release) => format!("{release} {}\n", step["terms"]),
        None => format!(" {}\n", step["command"]),
    };
    std::fs::write(dir.path().join("steps"), steps.iter().map(line).collect::<String>()).expect("writes");

    let ran = Command::new(&program)
        .arg("device")
        .args([fixtures().join("published"), dir.path().join("setup"), dir.path().join("steps")])
        .output()
        .expect("runs");
    succeeded("the consumer", &ran);
    let lines: Vec<&str> = str::from_utf8(&ran.stdout).expect("UTF-8").lines().collect();
    assert_eq!(lines.len(), steps.len());
    for (line, step) in lines.iter().zip(steps) {
        let (status, answer) = line.split_once(' ').expect("a status and an answer");
        let answer: Value = serde_json::from_str(answer).expect("JSON");
        if step["command"]["files"].is_object() {
            assert_eq!((status, &answer), ("0", &Value::Null), "a directory keeps itself");
        } else if step["refused"].is_null() {
            assert_eq!((status, &answer), ("0", &step["answer"]));
        } else {
            let expected = if step["refused"]["code"] == "request" { "1" } else { "2" };
            assert_eq!((status, &answer), (expected, &step["refused"]));
        }
    }
}
