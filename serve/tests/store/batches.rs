//! What a batch keeps, and what it does not.

use super::Place;
use super::world::*;
use plimsoll_serve::record::GrantRecord;
use plimsoll_serve::unit::{Needs, Unit};

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

pub(crate) async fn a_refused_attempt_leaves_nothing_and_the_others_of_its_commit_stay(place: Place) {
    let store = place.open().await;
    let asked: Vec<_> = (0..60_u64)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = format!("a{n}");
                let of = name.clone();
                let mut needs = needs_accounts([name.as_str()]);
                needs.accounts.insert(id("shared"));
                store
                    .run(NOW, needs, move |unit| {
                        unit.attempt(|unit| {
                            let before = unit.accounts.get(&id("shared")).cloned();
                            let mut shared = before.unwrap_or_else(|| account("shared", 0));
                            shared.version += 1;
                            unit.accounts.put(id("shared"), shared);
                            unit.accounts.put(id(&of), account(&of, 0));
                            fold(unit, &of, "row", 5);
                            unit.grants.put(token(1, n), grant(&of, token(1, n), n + 1));
                            unit.entries.push(entry(&of, n));
                            unit.events.push(event(n));
                            if n % 3 == 0 { Err("refused") } else { Ok(n) }
                        })
                    })
                    .await
            })
        })
        .collect();
    for (n, asked) in (0..).zip(asked) {
        let told = asked.await.expect("ends").expect("is answered");
        assert_eq!(told, if n % 3 == 0 { Err("refused") } else { Ok(n) });
    }
    let mut needs = needs_accounts(["shared"]);
    needs.grants.extend((0..60).map(|n| token(1, n)));
    needs.accounts.extend((0..60).map(|n| id(&format!("a{n}"))));
    needs.rows.extend((0..60).map(|n| (id(&format!("a{n}")), "row".to_owned())));
    let unit = store.look(needs).await.expect("reads");
    assert_eq!(unit.accounts.get(&id("shared")).map(|a| a.version), Some(40));
    assert_eq!(unit.known_rows.len(), 40);
    for n in 0..60 {
        let kept = n % 3 != 0;
        let name = id(&format!("a{n}"));
        assert_eq!(unit.accounts.get(&name).is_some(), kept);
        assert_eq!(unit.grants.get(&token(1, n)).is_some(), kept);
        assert_eq!(store.log_of(&name, None, 10).await.expect("reads").len(), usize::from(kept));
    }
    assert_eq!(store.events(0, 100).await.expect("reads").len(), 40);
    store.close().await;
}

pub(crate) async fn a_request_that_panics_takes_nobody_with_it(place: Place) {
    let store = place.open().await;
    let asked: Vec<_> = (0..40_u64)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let name = format!("a{n}");
                let needs = needs_accounts([name.as_str()]);
                store
                    .run(NOW, needs, move |unit| {
                        unit.accounts.put(id(&name), account(&name, 0));
                        assert!(n != 7 && n != 21, "a bug in the way of {n}");
                    })
                    .await
            })
        })
        .collect();
    for (n, asked) in (0..).zip(asked) {
        let told = asked.await.expect("ends");
        if n == 7 || n == 21 {
            let why = format!("the store refuses: the request failed here: a bug in the way of {n}");
            assert_eq!(told.expect_err("panicked").to_string(), why);
        } else {
            told.expect("is answered");
        }
    }
    assert_eq!(store.accounts("a", None, 100).await.expect("reads").len(), 38);
    store.close().await;
}

pub(crate) async fn one_idempotency_key_does_its_work_once_on_two_replicas(place: Place) {
    let replicas = [place.open().await, place.open().await];
    let asked: Vec<_> = (0..40_usize)
        .map(|n| {
            let store = replicas[n % 2].clone();
            tokio::spawn(async move {
                let mut needs = needs_accounts(["alice"]);
                needs.replies.insert(key("client", "same"));
                store
                    .run(NOW, needs, move |unit| {
                        if let Some(before) = unit.replies.get(&key("client", "same")) {
                            return (before.clone(), false);
                        }
                        let mut alice = unit.accounts.get(&id("alice")).cloned().unwrap_or(account("alice", 0));
                        alice.version += 1;
                        unit.accounts.put(id("alice"), alice);
                        let told = reply(200, &format!("by {n}"));
                        unit.replies.put(key("client", "same"), told.clone());
                        (told, true)
                    })
                    .await
            })
        })
        .collect();
    let mut told = Vec::new();
    for asked in asked {
        told.push(asked.await.expect("ends").expect("is answered"));
    }
    assert_eq!(told.iter().filter(|(_, did)| *did).count(), 1);
    assert!(told.iter().all(|(reply, _)| *reply == told[0].0), "{told:?}");
    let unit = replicas[0].look(needs_accounts(["alice"])).await.expect("reads");
    assert_eq!(unit.accounts.get(&id("alice")).map(|a| a.version), Some(1));
    for store in replicas {
        store.close().await;
    }
}

pub(crate) async fn two_replicas_issue_no_seq_and_settle_no_nonce_twice(place: Place) {
    const TASKS: u64 = 12;
    const EACH: u64 = 10;
    let replicas = [place.open().await, place.open().await];
    let asked: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = replicas[task as usize % 2].clone();
            tokio::spawn(async move {
                let mut settled = 0;
                for n in 0..EACH {
                    // Everyone hands in the same payments, and asks for a grant of its own.
                    let mut needs = needs_accounts(["alice", "bob"]);
                    needs.payments.insert(token(2, n));
                    let (jti, nonce) = (token(3 + task as u8, n), token(2, n));
                    let did = store.run(NOW, needs, move |unit| {
                        let mut alice = unit.accounts.get(&id("alice")).cloned().unwrap_or(account("alice", 0));
                        alice.version += 1;
                        unit.grants.put(jti, grant("alice", jti, alice.version));
                        unit.accounts.put(id("alice"), alice);
                        unit.entries.push(entry("alice", n));
                        let first = unit.payments.get(&nonce).is_none();
                        if first {
                            let bob = unit.accounts.get(&id("bob")).cloned().unwrap_or(account("bob", 0));
                            unit.accounts.put(id("bob"), bob);
                            fold(unit, "bob", &format!("{nonce}"), 100);
                            unit.payments.put(nonce, payment(nonce, "alice", "bob", 100));
                        }
                        first
                    });
                    settled += u64::from(did.await.expect("is answered"));
                }
                settled
            })
        })
        .collect();
    let mut settled = 0;
    for asked in asked {
        settled += asked.await.expect("ends");
    }
    assert_eq!(settled, EACH, "each payment by one of the twelve");
    let store = &replicas[0];
    let unit = store.look(needs_accounts(["alice", "bob"])).await.expect("reads");
    assert_eq!(unit.accounts.get(&id("alice")).map(|a| a.version), Some(TASKS * EACH));
    assert_eq!(unit.accounts.get(&id("bob")).map(|a| a.balance_minor()), Some(100 * EACH as i64));
    let mut seqs: Vec<u64> =
        store.grants(&id("alice"), None, 1_000).await.expect("reads").iter().map(|g| g.seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=TASKS * EACH).collect::<Vec<_>>());
    assert_eq!(store.payments(&id("bob"), None, 1_000).await.expect("reads").len(), EACH as usize);
    let rows = store.rows_after(&id("bob"), 0, 1_000).await.expect("reads");
    assert_eq!(rows.iter().map(|r| r.place).collect::<Vec<_>>(), (1..=EACH).collect::<Vec<_>>());
    super::chains::verified(store).await.expect("whole");
    for store in replicas {
        store.close().await;
    }
}

/// A bug, or an attacker with a replica of their own, that takes no lock: the schema stops the second.
pub(crate) async fn what_the_rules_let_through_twice_the_schema_stops(place: Place) {
    let store = place.open().await;
    let put = |name: &'static str, work: fn(&mut Unit)| {
        let store = store.clone();
        async move {
            let work = move |unit: &mut Unit| {
                unit.entries.push(entry(name, 1));
                work(unit);
            };
            store.run(NOW, Needs::default(), work).await
        }
    };
    let first = put("first", |unit| {
        unit.accounts.put(id("alice"), account("alice", 7));
        unit.grants.put(token(1, 1), grant("alice", token(1, 1), 1));
        unit.payments.put(token(2, 1), payment(token(2, 1), "alice", "bob", 5));
        unit.replies.put(key("client", "one"), reply(200, "first"));
        fold(unit, "alice", "row", 1);
    });
    first.await.expect("is new");
    type Work = fn(&mut Unit);
    let again: [(&str, Work); 6] = [
        ("seq", |unit| unit.grants.put(token(1, 2), grant("alice", token(1, 2), 1))),
        ("jti", |unit| unit.grants.put(token(1, 1), grant("alice", token(1, 1), 2))),
        ("nonce", |unit| unit.payments.put(token(2, 1), payment(token(2, 1), "mallory", "bob", 5))),
        ("reply", |unit| unit.replies.put(key("client", "one"), reply(200, "second"))),
        ("account", |unit| unit.accounts.put(id("alice"), account("alice", 1_000_000))),
        ("row", |unit| {
            unit.accounts.load(id("new"), None);
            unit.accounts.put(id("new"), account("new", 0));
            fold(unit, "new", "row", 1);
            fold(unit, "new", "row", 1);
        }),
    ];
    // All at once, among others that are well: those are answered.
    let well: Vec<_> = (0..20_u64)
        .map(|n| {
            let store = store.clone();
            let name = format!("well{n}");
            tokio::spawn(async move {
                let needs = needs_accounts([name.as_str()]);
                store.run(NOW, needs, move |unit| unit.accounts.put(id(&name), account(&name, 0))).await
            })
        })
        .collect();
    for (name, work) in again {
        put(name, work).await.expect_err(name);
        assert_eq!(store.log_of(&id(name), None, 10).await.expect("reads"), [], "{name}: nothing of it was written");
    }
    for well in well {
        well.await.expect("ends").expect("is answered");
    }
    let mut needs = needs_accounts(["alice"]);
    needs.grants.insert(token(1, 1));
    needs.payments.insert(token(2, 1));
    needs.replies.insert(key("client", "one"));
    let unit = store.look(needs).await.expect("reads");
    assert_eq!(unit.accounts.get(&id("alice")).map(|a| a.balance_minor()), Some(8));
    assert_eq!(unit.grants.get(&token(1, 1)).map(|g| g.seq), Some(1));
    assert_eq!(unit.payments.get(&token(2, 1)).map(|p| p.payer.clone()), Some(id("alice")));
    assert_eq!(unit.replies.get(&key("client", "one")), Some(&reply(200, "first")));
    store.close().await;
}

pub(crate) async fn a_record_that_is_there_is_replaced(place: Place) {
    let store = place.open().await;
    for round in 1..=2_u16 {
        let work = move |unit: &mut Unit| {
            unit.accounts.put(id("alice"), account("alice", round.into()));
            unit.grants
                .put(token(1, 1), GrantRecord { settled: money(round.into()), ..grant("alice", token(1, 1), 1) });
            unit.payments.put(token(2, 1), payment(token(2, 1), "alice", "bob", round.into()));
            unit.replies.put(key("client", "one"), reply(200 + round, "again"));
        };
        store.run(NOW, everything(), work).await.expect("is answered");
        let unit = store.look(everything()).await.expect("reads");
        assert_eq!(unit.accounts.get(&id("alice")).map(|a| a.balance_minor()), Some(round.into()));
        assert_eq!(unit.grants.get(&token(1, 1)).map(|g| g.settled), Some(money(round.into())));
        assert_eq!(unit.payments.get(&token(2, 1)).map(|p| p.amount), Some(money(round.into())));
        assert_eq!(unit.replies.get(&key("client", "one")), Some(&reply(200 + round, "again")));
    }
    store.close().await;
}
