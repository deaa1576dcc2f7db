//! The README's walk from a ledger to a published limit, run by a shell from its text on an empty directory.

use std::process::Command;

/// The commands that say they are run here, in their order.
fn commands() -> Vec<&'static str> {
    let readme = include_str!("../../README.md");
    let blocks: Vec<&str> = readme
        .split("<!-- run by tests/gate/tutorial.rs -->\n```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert_eq!(blocks.len(), 6, "the README's steps");
    blocks
}

#[test]
fn the_readmes_walk_ends_in_limits_that_a_device_grants() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_plimsoll"));
    let bin = program.parent().expect("a directory").display();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let script = format!("set -euo pipefail\n{}", commands().concat());
    let told = Command::new("bash").args(["-c", &script]).current_dir(directory.path()).env("PATH", path).output();
    let told = told.expect("bash runs");
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{out}\n{err}");
    for part in [
        // The ledger is foreign, and all of it is understood.
        "ref;customer;posted;what;dc;sum",
        "900",
        "Certificate",
        "every number follows",
        "Passed: it may be published.",
        "golden vectors run, monotone proved",
        "The largest ceilings within the budget",
        "min(balance, ceiling)",
    ] {
        assert!(out.contains(part), "{part} is missing in\n{out}\n{err}");
    }
    assert!(!err.contains("skipped"), "a row was not understood: {err}");
    // The account's balance and limits: a line of each age.
    let limits: Vec<&str> = out.lines().filter(|l| l.contains("u0000000") && l.contains("min")).collect();
    assert!(!limits.is_empty(), "{out}");
    assert!(directory.path().join("runs/first/report.html").exists());
    // The same as from the generator's own files: the mapping lost nothing.
    let ledger = std::fs::read_to_string(directory.path().join("ledger.csv")).expect("reads");
    let ours = std::fs::read_to_string(directory.path().join("wallets/transactions.csv")).expect("reads");
    assert_eq!(ledger.lines().count(), ours.lines().count());
}
