//! What a batch keeps, and what it does not.

use super::Place;
use super::world::*;
use plimsoll_serve::unit::Needs;

/// Everything of every kind.
fn everything() -> Needs {
    let mut needs = needs_accounts(["alice", "bob"]);
    needs.grants.insert(token(1, 1));
    needs.payments.insert(token(2, 1));
    needs.replies.insert(key("client", "one"));
    needs.rows.insert((id("alice"), "first".into()));
    needs.rows.insert((id("alice"), "second".into()));
    needs.rows.insert((id("bob"), "first".into()));
    needs
}

pub(crate) async fn what_was_answered_is_there_after_opening_again(place: Place) {
    let store = place.open().await;
    let told = store
        .run(NOW, everything(), |unit| {
            assert!(unit.accounts.get(&id("alice")).is_none());
            unit.accounts.put(id("alice"), account("alice", 1_000));
            fold(unit, "alice", "first", -300);
            fold(unit, "alice", "second", 50);
            unit.grants.put(token(1, 1), grant("alice", token(1, 1), 1));
            unit.payments.put(token(2, 1), payment(token(2, 1), "alice", "bob", 20));
            unit.replies.put(key("client", "one"), reply(201, "made"));
            unit.entries.push(entry("alice", 1));
            unit.events.push(event(1));
            "told"
        })
        .await;
    assert_eq!(told, Ok("told"));
    store.close().await;
    assert!(store.run(NOW, Needs::default(), |_| ()).await.is_err(), "closed");

    let store = place.open().await;
    let unit = store.look(everything()).await.expect("reads");
    let alice = unit.accounts.get(&id("alice")).expect("is there");
    assert_eq!((alice.balance_minor(), alice.version), (750, 2));
    assert!(unit.accounts.get(&id("bob")).is_none());
    assert_eq!(unit.grants.get(&token(1, 1)), Some(&grant("alice", token(1, 1), 1)));
    assert_eq!(unit.payments.get(&token(2, 1)), Some(&payment(token(2, 1), "alice", "bob", 20)));
    assert_eq!(unit.replies.get(&key("client", "one")), Some(&reply(201, "made")));
    let known: Vec<_> = unit.known_rows.iter().map(|(a, n)| (a.as_str(), n.as_str())).collect();
    assert_eq!(known, [("alice", "first"), ("alice", "second")]);

    let rows = store.rows_after(&id("alice"), 0, 10).await.expect("reads");
    let rows: Vec<_> = rows.iter().map(|r| (r.place, r.row.name.as_str(), r.row.transaction)).collect();
    assert_eq!(rows, [(1, "first", transaction(-300, NOW)), (2, "second", transaction(50, NOW))]);
    let log = store.log_of(&id("alice"), None, 10).await.expect("reads");
    assert_eq!(
        log.iter().map(|l| (l.at, l.kind.as_str(), &l.body[..])).collect::<Vec<_>>(),
        [(NOW, "test", &br#"{"number":1}"#[..])]
    );
    let events = store.events(0, 10).await.expect("reads");
    assert_eq!(events.iter().map(|e| (e.at, e.topic.as_str())).collect::<Vec<_>>(), [(NOW, "test")]);
    store.close().await;
}
