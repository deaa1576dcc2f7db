//! Backups of either store, restored into either.

use super::Place;
use super::chains::verified;
use super::crash::{consistent, step};
use super::world::*;
use plimsoll_serve::store::{Store, StoreError};
use plimsoll_serve::unit::{Needs, Unit};

/// Everything of every kind, by several accounts; a reader that is half way.
async fn fill(store: &Store) {
    for n in 0..40 {
        let (needs, work) = step(n, 1, n);
        store.run(NOW, needs, work).await.expect("is answered");
    }
    assert_eq!(store.keep_note("rings", "one percent", None).await, Ok(true));
    let events = store.events(0, 20).await.expect("reads");
    store.acknowledge("ledger", events[19].number).await.expect("has them");
    // The last of them no reader has seen.
    for n in 40..50 {
        let (needs, work) = step(n, 1, n);
        store.run(NOW, needs, work).await.expect("is answered");
    }
}

/// The events behind a reader, by what they say.
async fn unread(store: &Store) -> Vec<Vec<u8>> {
    let at = store.acknowledged("ledger").await.expect("reads");
    store.events(at, 1_000).await.expect("reads").into_iter().map(|event| event.body).collect()
}

pub(crate) async fn a_backup_is_restored_whole_into_either_store(place: Place) {
    let store = place.open().await;
    fill(&store).await;
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().join("backup");
    // While others go on.
    let busy = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..30 {
                let (needs, work) = step(n, 2, n);
                store.run(NOW, needs, work).await.expect("is answered");
            }
        }
    });
    let saved = store.backup(&path).await.expect("is made");
    busy.await.expect("went on");
    let told = store.backup(&path).await;
    assert!(matches!(told, Err(StoreError::Refused { .. })), "never over another: {told:?}");
    // What it was, as soon as nobody changes it any more.
    let path = home.path().join("quiet");
    let quiet = store.backup(&path).await.expect("is made");
    assert!(quiet.rows >= saved.rows && saved.accounts > 0);
    let versions = consistent(&store).await;
    let events = unread(&store).await;

    let name = format!("restored_{}", if store.is_sqlite() { "sqlite" } else { "postgres" });
    for other in [Place::sqlite(), Place::postgres(&name)] {
        let restored = other.open().await;
        assert_eq!(restored.restore(&path).await.expect("is restored"), quiet);
        assert_eq!(consistent(&restored).await, versions);
        assert_eq!(unread(&restored).await, events);
        let note = restored.note("rings").await.expect("reads").map(|note| (note.revision, note.body));
        assert_eq!(note, Some((1, "one percent".to_owned())));
        // It goes on where it was: the chains before it are named, the numbers of events rise.
        let last = restored.events(0, 1_000).await.expect("reads").last().map(|event| event.number);
        let (needs, work) = step(0, 3, 0);
        restored.run(NOW, needs, work).await.expect("is answered");
        assert!(restored.events(0, 1_000).await.expect("reads").last().map(|event| event.number) > last);
        verified(&restored).await.expect("whole");
        let told = restored.restore(&path).await;
        assert!(matches!(told, Err(StoreError::Refused { .. })), "not over what is there: {told:?}");
        // Out of the copy comes what went into it, but for the windows that were counted there, the chain that the copy
        // itself began and what it added.
        let again = home.path().join(format!("again-{}", restored.is_sqlite()));
        let windows: u64 = versions.values().sum();
        assert!(restored.backup(&again).await.expect("is made").rows + windows > quiet.rows);
        restored.close().await;
    }
    store.close().await;
}

pub(crate) async fn a_backup_that_was_cut_off_or_changed_leaves_nothing(place: Place) {
    let store = place.open().await;
    let home = tempfile::tempdir().expect("a temporary directory");
    let path = home.path().join("backup");
    {
        let source = Place::sqlite();
        let source_store = source.open().await;
        fill(&source_store).await;
        source_store.backup(&path).await.expect("is made");
        source_store.close().await;
    }
    let whole = std::fs::read(&path).expect("reads");
    let try_bytes = async |bytes: &[u8], what: &str| {
        let path = home.path().join("changed");
        std::fs::write(&path, bytes).expect("written");
        let told = store.restore(&path).await;
        assert!(told.is_err(), "{what}: {told:?}");
        assert_eq!(store.accounts("", None, 10).await.expect("reads"), [], "{what}");
        assert_eq!(store.heads().await.expect("reads"), [], "{what}");
    };
    for cut in [0, 5, 17, 20, whole.len() / 2, whole.len() - 33, whole.len() - 32, whole.len() - 1] {
        try_bytes(&whole[..cut], &format!("cut at {cut}")).await;
    }
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        try_bytes(&changed, &format!("changed at {at}")).await;
    }
    try_bytes(&[&whole[..], b"more"].concat(), "longer").await;
    try_bytes(b"plimsoll store 3\n\xff\xff\xff\xff", "a line of four gigabytes").await;
    store.restore(&path).await.expect("the whole one");
    let work = |unit: &mut Unit| unit.entries.push(entry("a0", 1));
    store.run(NOW, Needs::default(), work).await.expect("is answered");
    store.close().await;
}

/// A table that somebody adds has to be in the backup as well.
pub(crate) async fn a_backup_knows_every_table(place: Place) {
    let store = place.open().await;
    let sql = if store.is_sqlite() {
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    } else {
        "SELECT table_name::text FROM information_schema.tables
         WHERE table_schema = 'public' AND table_name <> 'plimsoll_schema' ORDER BY table_name::text COLLATE \"C\""
    };
    let known = [
        "accounts", "chains", "ended", "events", "features", "grants", "history", "log", "notes", "payments",
        "readers", "replies",
    ];
    assert_eq!(place.texts(sql).await, known, "a new one: into the backup, and then here");
    store.close().await;
}
