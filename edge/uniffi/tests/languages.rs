//! Python runs the generated bindings against the built library; Kotlin and Swift are generated and say what they should.

use std::path::{Path, PathBuf};
use std::process::Command;

use uniffi::{GenerateOptions, TargetLanguage};

/// The library that cargo built for this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("this test is a file");
    let name = format!("{}plimsoll_uniffi{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = test.parent().expect("in a directory").join(name);
    assert!(library.exists(), "{} is missing: cargo builds it with this test", library.display());
    library
}

/// Generates bindings into `out`; the text of the file that ends in `extension`.
fn generate(language: TargetLanguage, out: &Path, extension: &str) -> String {
    let utf8 = |path: &Path| path.to_str().expect("a UTF-8 path").to_owned().into();
    let options = GenerateOptions {
        languages: vec![language],
        source: utf8(&library()),
        out_dir: utf8(out),
        ..GenerateOptions::default()
    };
    uniffi::generate(options).expect("UniFFI reads the library");
    let mut open = vec![out.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                return std::fs::read_to_string(path).expect("text");
            }
        }
    }
    panic!("no .{extension} file was generated");
}

#[track_caller]
fn says(source: &str, words: &[&str]) {
    for word in words {
        assert!(source.contains(word), "{word:?} is not in the generated source");
    }
}

#[test]
fn python_gets_the_same_bits_the_same_refusals_and_the_same_life() {
    let dir = tempfile::tempdir().expect("a directory");
    generate(TargetLanguage::Python, dir.path(), "py");
    std::fs::copy(library(), dir.path().join(library().file_name().expect("a name"))).expect("copies");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ran = Command::new("python3")
        .arg(here.join("tests/consumer.py"))
        .arg(here.join("../tests/fixtures"))
        .arg(dir.path().join("state"))
        .env("PYTHONPATH", dir.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python3 starts: install Python 3.11 or later");
    let (told, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{told}{complained}");
    // The consumer counts what it compared: a script that compared nothing has not passed.
    says(&told, &["16 golden histories equal", "7 flipped files refused", "22 steps of a device's life equal"]);
}

#[test]
fn kotlin_has_the_whole_interface() {
    let dir = tempfile::tempdir().expect("a directory");
    let kotlin = generate(TargetLanguage::Kotlin, dir.path(), "kt");
    says(&kotlin, &["open class Evaluator", "open class Device", "data class Answer", "sealed class Decided"]);
    says(&kotlin, &["fun `evaluate`(", "fun `authorise`(", "fun `install`(", "fun `pullBack`(", "fun `outbox`("]);
    says(&kotlin, &["class Because(", "enum class Kind", "enum class Bound"]);
}

#[test]
fn swift_has_the_whole_interface() {
    let dir = tempfile::tempdir().expect("a directory");
    let swift = generate(TargetLanguage::Swift, dir.path(), "swift");
    says(&swift, &["open class Evaluator", "open class Device", "public struct Answer", "public enum Decided"]);
    says(&swift, &["func evaluate(", "func authorise(", "func install(", "func pullBack(", "func outbox("]);
    says(&swift, &["case Because(", "enum Kind", "enum Bound"]);
}
