//! A disk that is full: a small one of the test's own, in memory, mounted where nobody else sees it.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Place;
use super::crash::{consistent, step};
use super::server::Server;
use super::world::*;
use plimsoll_serve::store::{Store, StoreError};

const DISK: &str = "PLIMSOLL_TEST_DISK";
const KIND: &str = "PLIMSOLL_TEST_DISK_KIND";

/// Runs `disk` in a mount namespace of its own, which takes the disk with it when it ends.
fn in_a_small_disk(kind: &str) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut child = Command::new("unshare");
    child.arg("--mount").arg(std::env::current_exe().expect("has a path"));
    child.args(["--exact", "full::disk", "--ignored", "--nocapture"]);
    child.env(DISK, home.path()).env("TMPDIR", home.path()).env(KIND, kind);
    let out = child.stdin(Stdio::null()).output().expect("unshare runs");
    let told = String::from_utf8_lossy(&out.stderr);
    let need = "needs to mount a small disk, as root on Linux";
    assert!(out.status.success(), "{need}\n{}\n{told}", String::from_utf8_lossy(&out.stdout));
}

#[test]
fn on_sqlite_a_full_disk_refuses_and_keeps_what_was_answered() {
    in_a_small_disk("sqlite");
}

#[test]
fn on_postgres_a_full_disk_refuses_and_keeps_what_was_answered() {
    in_a_small_disk("postgres");
}

/// Takes all of the disk but `left` bytes.
fn fill(path: &PathBuf, left: u64) {
    let mut filler = File::create(path).expect("is made");
    while filler.write_all(&[1; 1 << 14]).is_ok() {}
    let full = filler.metadata().expect("has a size").len();
    filler.set_len(full.saturating_sub(left)).expect("shrinks");
}

#[test]
#[ignore = "started by the tests in a mount namespace of its own"]
fn disk() {
    let home = PathBuf::from(std::env::var_os(DISK).expect("the test says where"));
    let sqlite = std::env::var(KIND).expect("the test says what") == "sqlite";
    let size = if sqlite { "size=16m,mode=1777" } else { "size=256m,mode=1777" };
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(&home).status();
    assert!(mounted.is_ok_and(|status| status.success()), "cannot mount a disk");
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    if sqlite {
        let place = Place { url: format!("sqlite:{}", home.join("plimsoll.db").display()), _home: None };
        runtime.block_on(work_until_full(&place.url, &home, || ()));
    } else {
        let mut server = Server::start();
        let url = server.database("full");
        // A server that cannot write its own log stops itself; its operator frees the disk and starts it.
        runtime.block_on(work_until_full(&url, &home, || server.up_again()));
    }
}

async fn work_until_full(url: &str, home: &std::path::Path, freed: impl FnOnce()) {
    let store = Store::open(url).await.expect("opens");
    let mut done = 0;
    for n in 0..20 {
        let (needs, work) = step(n, 1, n);
        store.run(NOW, needs, work).await.expect("there is room");
        done += 1;
    }
    let filler = home.join("filler");
    fill(&filler, 1 << 19);
    let mut refused = 0;
    for n in 20..20_000 {
        let (needs, work) = step(n, 1, n);
        match store.run(NOW, needs, work).await {
            Ok(_) => done += 1,
            Err(StoreError::Unavailable { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3, "{done} were done on a full disk");
    std::fs::remove_file(&filler).expect("is freed");
    freed();
    // The operator frees the disk, and the store goes on by itself.
    let (needs, work) = step(0, 2, 0);
    store.run(NOW, needs, work).await.expect("there is room again");
    assert_eq!(consistent(&store).await.values().sum::<u64>(), done + 1, "what was refused is not there");
    store.close().await;
}
