//! python-tuf, the reference implementation of TUF, reads what we publish and refuses what we refuse.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_model::UtcSeconds;
use plimsoll_train::publish::Terms;

use crate::workshop::{MODEL_ID, NOW, Publisher, holders};

fn tuf_check(publisher: &Publisher) -> Output {
    let python = std::env::var_os("PLIMSOLL_PYTHON")
        .expect("PLIMSOLL_PYTHON is not set: it names a Python with tuf==7.0.1; ./test.sh makes one and sets it");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/oracles/tuf_check.py");
    let root: PathBuf = publisher.path().join("pinned-root.json");
    std::fs::write(&root, publisher.root.bytes()).expect("writes");
    Command::new(&python)
        .args([&script, publisher.path(), &root])
        .output()
        .unwrap_or_else(|error| panic!("PLIMSOLL_PYTHON={} does not run: {error}", python.display()))
}

/// python-tuf takes the time from the wall clock, so these repositories are published now.
fn wall_clock() -> UtcSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    UtcSeconds(i64::try_from(since.as_secs()).expect("before the year 292 billion"))
}

/// Keys that last from `NOW`, where tests live, past the wall clock of whoever runs them.
fn publisher() -> Publisher {
    Publisher::with_terms(Terms { root_days: 36_500, ..Terms::default() })
}

#[test]
fn python_tuf_accepts_what_is_published() {
    let publisher = publisher();
    publisher.release(1, wall_clock());
    let next = holders(&["root-2", "root-3", "root-4"], &["targets-owner", "targets-risk-2"], &["online-2"]);
    let signers = ["root-1", "root-2", "root-3", "targets-owner", "targets-risk-2", "online-2"];
    publisher.rotate(&next, &signers, wall_clock());
    let keys = crate::workshop::keys(&["targets-owner", "targets-risk-2", "online-2"]);
    publisher.release_with(2, wall_clock(), &keys);
    let output = tuf_check(&publisher);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("OK root 2 targets 3 snapshot 3 timestamp 3"), "{said}");
    for end in ["onnx", "policy.json", "golden.json"] {
        assert!(said.contains(&format!("models/{MODEL_ID}.{end} ")), "{said}");
    }
}

#[test]
fn python_tuf_refuses_what_expired() {
    let publisher = publisher();
    publisher.release(1, NOW.plus(-30 * 86_400));
    let output = tuf_check(&publisher);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("REFUSED ExpiredMetadataError"), "{said}");
}
