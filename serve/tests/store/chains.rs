//! The log, its chains, and the events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::Place;
use super::world::*;
use plimsoll_serve::audit::chain::{BrokenChain, FIRST, Head, Verifier};
use plimsoll_serve::store::Store;
use plimsoll_serve::unit::{Needs, Unit};

/// Follows every chain of a store up to the heads that it says it has.
pub(crate) async fn verified(store: &Store) -> Result<(Vec<Head>, u64), BrokenChain> {
    let heads = store.heads().await.expect("reads");
    let mut verifier = Verifier::default();
    for head in &heads {
        verifier.expect(*head)?;
        for first in store.log(head.chain, 0, 1).await.expect("reads") {
            verifier.expect_named(&first)?;
        }
    }
    for head in &heads {
        let mut next = 0;
        while next <= head.number {
            let page = store.log(head.chain, next, 100).await.expect("reads");
            for link in page.iter().filter(|l| l.number <= head.number) {
                verifier.follow(link)?;
            }
            let Some(last) = page.last() else { break };
            next = last.number + 1;
        }
    }
    verifier.finish()
}

/// Logs decisions `numbers` about an account, one request each.
async fn decide(store: &Store, name: &'static str, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let work = move |unit: &mut Unit| unit.entries.push(entry(name, n));
        store.run(NOW.plus(n as i64), Needs::default(), work).await.expect("is answered");
    }
}

pub(crate) async fn every_start_names_the_heads_it_found_and_all_of_it_verifies(place: Place) {
    for round in 0..3 {
        let store = place.open().await;
        let (heads, entries) = verified(&store).await.expect("whole");
        assert_eq!(entries, 10 * round + heads.len() as u64, "what was decided before, and each chain's first");
        decide(&store, "alice", 0..10).await;
        store.close().await;
    }
    let store = place.open().await;
    let (heads, entries) = verified(&store).await.expect("whole");
    assert_eq!(entries, 30 + heads.len() as u64, "ten of each start, and each chain's first");
    assert!(heads.len() >= 3);
    // Newest first, and each page behind the one before it.
    let mut seen = Vec::new();
    while seen.len() < 30 {
        let page = store.log_of(&id("alice"), seen.last(), 7).await.expect("reads");
        assert!(!page.is_empty());
        seen.extend(page);
    }
    assert!(seen.is_sorted_by(|a, b| (a.at, a.chain, a.number) > (b.at, b.chain, b.number)));
    assert_eq!(store.log_of(&id("alice"), seen.last(), 7).await.expect("reads"), []);
    store.close().await;
}

pub(crate) async fn the_log_can_neither_be_changed_nor_shortened(place: Place) {
    let store = place.open().await;
    decide(&store, "alice", 0..3).await;
    let entries = |links: Vec<plimsoll_serve::audit::chain::Link>| links.len();
    for sql in ["UPDATE log SET account = 'bob'", "DELETE FROM log", "DELETE FROM log WHERE number = 2"] {
        let told = place.sql(sql).await.expect_err("append-only");
        assert!(told.to_string().contains("the log is append-only"), "{told}");
    }
    assert_eq!(entries(store.log_of(&id("alice"), None, 10).await.expect("reads")), 3);

    // Whoever may drop the triggers is found out by the chain.
    store.close().await;
    let triggers: &[&str] = if store.is_sqlite() {
        &["DROP TRIGGER log_is_not_changed", "DROP TRIGGER log_is_not_shortened"]
    } else {
        &["DROP TRIGGER log_is_not_changed ON log"]
    };
    for sql in triggers {
        place.sql(sql).await.expect("dropped");
    }
    let store = place.open().await;
    verified(&store).await.expect("whole");
    place.sql("UPDATE log SET account = 'bob' WHERE number = 2").await.expect("changed");
    assert!(matches!(verified(&store).await, Err(BrokenChain::Changed { number: 2, .. })));
    place.sql("UPDATE log SET account = 'alice' WHERE number = 2").await.expect("changed back");
    verified(&store).await.expect("whole");
    place.sql("DELETE FROM log WHERE number >= 2").await.expect("cut off");
    assert!(matches!(verified(&store).await, Err(BrokenChain::Lost { .. })));
    store.close().await;
}

pub(crate) async fn a_chain_that_was_taken_away_is_missed(place: Place) {
    let store = place.open().await;
    decide(&store, "alice", 0..3).await;
    let old = store.heads().await.expect("reads");
    store.close().await;
    let store = place.open().await;
    decide(&store, "bob", 0..3).await;
    if store.is_sqlite() {
        place.sql("DROP TRIGGER log_is_not_shortened").await.expect("dropped");
    } else {
        place.sql("DROP TRIGGER log_is_not_changed ON log").await.expect("dropped");
    }
    // Each writer begins a chain, and the first of them names what it found.
    let mut named = false;
    for new in store.heads().await.expect("reads").iter().filter(|h| !old.contains(h)) {
        let first = store.log(new.chain, 0, 1).await.expect("reads").remove(0);
        named |= first.kind == FIRST && String::from_utf8_lossy(&first.body).contains(&old[0].hash.to_string());
    }
    assert!(named);
    // All of it, head included, as somebody would who knows the tables.
    let chain: String = old[0].chain.0.iter().map(|b| format!("{b:02x}")).collect();
    for table in ["log", "chains"] {
        let literal = if store.is_sqlite() { format!("x'{chain}'") } else { format!("'\\x{chain}'") };
        place.sql(&format!("DELETE FROM {table} WHERE chain = {literal}")).await.expect("taken away");
    }
    let told = verified(&store).await;
    assert!(matches!(told, Err(BrokenChain::Lost { head }) if head.chain == old[0].chain), "{told:?}");
    store.close().await;
}

/// Reads events while they are written, and to the end.
///
/// * returns how many of each account.
async fn read_all(store: Store, done: Arc<AtomicBool>) -> BTreeMap<String, u64> {
    let mut at = 0;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let last_round = done.load(SeqCst);
        let page = store.events(at, 7).await.expect("reads");
        for event in &page {
            assert!(event.number > at, "numbers rise");
            at = event.number;
            let body: serde_json::Value = serde_json::from_slice(&event.body).expect("JSON");
            let of = seen.entry(body["account"].as_str().expect("text").to_owned()).or_default();
            *of += 1;
            assert_eq!(body["version"], *of, "in order, none missing, none twice");
        }
        if page.is_empty() {
            if last_round {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) async fn a_reader_of_events_misses_none_and_sees_each_accounts_in_order(place: Place) {
    const TASKS: u64 = 8;
    const EACH: u64 = 25;
    let replicas = [place.open().await, place.open().await];
    let writes: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = replicas[task as usize % 2].clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    // Two tasks share an account, and the account says which event is its next.
                    let name = format!("a{}", task / 2);
                    let needs = needs_accounts([name.as_str()]);
                    let work = move |unit: &mut Unit| {
                        let mut one = unit.accounts.get(&id(&name)).cloned().unwrap_or(account(&name, 0));
                        one.version += 1;
                        let body = serde_json::json!({ "account": name, "version": one.version });
                        unit.events.push(plimsoll_serve::unit::Event { topic: "test", body });
                        unit.accounts.put(id(&name), one);
                        n
                    };
                    assert_eq!(store.run(NOW, needs, work).await, Ok(n));
                }
            })
        })
        .collect();
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = replicas.iter().map(|store| tokio::spawn(read_all(store.clone(), done.clone()))).collect();
    for write in writes {
        write.await.expect("wrote");
    }
    done.store(true, SeqCst);
    for reader in readers {
        let seen = reader.await.expect("read");
        assert_eq!(seen.into_values().collect::<Vec<_>>(), [2 * EACH; TASKS as usize / 2]);
    }
    for store in replicas {
        store.close().await;
    }
}

pub(crate) async fn what_is_old_is_forgotten_and_event_numbers_never_come_again(place: Place) {
    use plimsoll_serve::store::{EVENTS_KEPT_S, REPLIES_KEPT_S, Swept};
    let store = place.open().await;
    for n in 0..3_u64 {
        let work = move |unit: &mut Unit| {
            let at = NOW.plus(n as i64);
            unit.replies.put(key("client", &n.to_string()), plimsoll_serve::unit::Reply { at, ..reply(200, "") });
            unit.events.push(event(n));
        };
        store.run(NOW.plus(n as i64), Needs::default(), work).await.expect("is answered");
    }
    let events = store.events(0, 10).await.expect("reads");
    assert_eq!(events.len(), 3);
    assert_eq!(store.sweep(NOW).await, Ok(Swept::default()));
    assert_eq!(store.sweep(NOW.plus(REPLIES_KEPT_S + 1)).await, Ok(Swept { replies: 2, events: 0 }));

    assert_eq!(store.acknowledged("ledger").await, Ok(0));
    store.acknowledge("ledger", events[2].number).await.expect("has them");
    store.acknowledge("ledger", events[0].number).await.expect("late");
    assert_eq!(store.acknowledged("ledger").await, Ok(events[2].number), "never back");
    store.acknowledge("slow", events[0].number).await.expect("has one");
    assert_eq!(store.sweep(NOW).await, Ok(Swept { replies: 0, events: 1 }), "what every reader has");
    assert_eq!(store.sweep(NOW.plus(EVENTS_KEPT_S + 3)).await, Ok(Swept { replies: 1, events: 2 }));
    let work = |unit: &mut Unit| unit.events.push(event(9));
    store.run(NOW, Needs::default(), work).await.expect("is answered");
    let next = store.events(0, 10).await.expect("reads");
    assert!(next.len() == 1 && next[0].number > events[2].number, "{next:?} after {events:?}");
    assert!(store.acknowledge("", 1).await.is_err() && store.acknowledge("a\0b", 1).await.is_err());
    store.close().await;
}
