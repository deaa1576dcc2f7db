//! Opening a store, and its lists.

use super::Place;
use super::world::*;
use plimsoll_serve::store::{Store, StoreError};
use plimsoll_serve::unit::{Needs, Unit};

pub(crate) async fn two_that_open_a_new_store_at_once_both_get_it(place: Place) {
    let (one, two) = tokio::join!(Store::open(&place.url), Store::open(&place.url));
    for store in [one.expect("opens"), two.expect("opens")] {
        store.health().await.expect("is well");
        store.close().await;
    }
}

pub(crate) async fn a_store_of_a_newer_program_is_refused(place: Place) {
    let store = place.open().await;
    store.close().await;
    let newer =
        if store.is_sqlite() { "PRAGMA user_version = 1000" } else { "INSERT INTO plimsoll_schema VALUES (1000)" };
    place.sql(newer).await.expect("written");
    match Store::open(&place.url).await {
        Err(StoreError::Refused { why }) => assert!(why.contains("use a newer program"), "{why}"),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn a_record_that_does_not_read_fails_only_who_asks_for_it(place: Place) {
    let store = place.open().await;
    let put = |name: &'static str| {
        let store = store.clone();
        tokio::spawn(async move {
            let work = move |unit: &mut Unit| unit.accounts.put(id(name), account(name, 1));
            store.run(NOW, needs_accounts([name]), work).await
        })
    };
    for name in ["alice", "bob", "carol"] {
        put(name).await.expect("ends").expect("is answered");
    }
    let bytes = if store.is_sqlite() { "x'01ff'" } else { "'\\x01ff'" };
    place.sql(&format!("UPDATE accounts SET body = {bytes} WHERE id = 'bob'")).await.expect("damaged");
    let asked = ["alice", "bob", "carol", "dave"].map(|name| (name, put(name)));
    for (name, asked) in asked {
        let told = asked.await.expect("ends");
        assert_eq!(matches!(told, Err(StoreError::Damaged { .. })), name == "bob", "{name}: {told:?}");
        assert_eq!(told.is_ok(), name != "bob");
    }
    assert!(matches!(store.look(needs_accounts(["bob"])).await, Err(StoreError::Damaged { .. })));
    store.close().await;
}

pub(crate) async fn lists_come_in_pages_that_neither_skip_nor_repeat(place: Place) {
    let store = place.open().await;
    let mut needs = Needs::default();
    needs.accounts.extend((0..25).map(|n| id(&format!("list-{n:02}"))));
    needs.accounts.extend(["lisa", "list", "listen", "mist"].map(id));
    let names = needs.accounts.clone();
    let work = move |unit: &mut Unit| {
        for name in &names {
            unit.accounts.put(name.clone(), account(name.as_str(), 42));
        }
        for n in 0..25 {
            fold(unit, "list-00", &format!("row {n}"), 1);
            // Three of one second, so that a page ends within one.
            let at = NOW.plus(n as i64 / 3);
            let made = plimsoll_serve::record::GrantRecord { iat: at, ..grant("list-00", token(1, n), n + 1) };
            unit.grants.put(token(1, n), made);
            // To the account, from it, and from it to itself.
            let (payer, payee) = [("list-00", "lisa"), ("lisa", "list-00"), ("list-00", "list-00")][n as usize % 3];
            let made = plimsoll_serve::record::PaymentRecord { judged_at: at, ..payment(token(2, n), payer, payee, n) };
            unit.payments.put(token(2, n), made);
        }
    };
    store.run(NOW, needs, work).await.expect("is answered");

    let mut names = Vec::new();
    loop {
        let page = store.accounts("list-", names.last(), 7).await.expect("reads");
        if page.is_empty() {
            break;
        }
        assert!(page.iter().skip(1).all(|line| (line.tier, line.balance_minor) == (1, 42)));
        names.extend(page.into_iter().map(|line| line.id));
    }
    assert_eq!(names, (0..25).map(|n| id(&format!("list-{n:02}"))).collect::<Vec<_>>());
    assert_eq!(store.accounts("lis", None, 100).await.expect("reads").len(), 28);
    for nobody in ["list-00%", "_ist", "a\0b", "ä"] {
        assert_eq!(store.accounts(nobody, None, 10).await.expect("reads"), [], "{nobody:?}");
    }

    let of = id("list-00");
    let mut places = Vec::new();
    loop {
        let page = store.rows_before(&of, places.last().copied(), 7).await.expect("reads");
        if page.is_empty() {
            break;
        }
        places.extend(page.iter().map(|row| row.place));
    }
    assert_eq!(places, (1..=25).rev().collect::<Vec<_>>());
    let mut grants: Vec<(_, _)> = Vec::new();
    loop {
        let page = store.grants(&of, grants.last().copied(), 7).await.expect("reads");
        if page.is_empty() {
            break;
        }
        grants.extend(page.iter().map(|grant| (grant.iat, grant.jti)));
    }
    let newest_first: Vec<_> = (0..25).rev().map(|n| (NOW.plus(n / 3), token(1, n as u64))).collect();
    assert_eq!(grants, newest_first);
    let mut payments: Vec<(_, _)> = Vec::new();
    loop {
        let page = store.payments(&of, payments.last().copied(), 7).await.expect("reads");
        if page.is_empty() {
            break;
        }
        payments.extend(page.iter().map(|payment| (payment.judged_at, payment.nonce)));
    }
    let newest_first: Vec<_> = (0..25).rev().map(|n| (NOW.plus(n / 3), token(2, n as u64))).collect();
    assert_eq!(payments, newest_first);
    store.close().await;
}

#[tokio::test]
async fn what_is_no_store_is_refused_without_repeating_the_url() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let text = home.path().join("text");
    std::fs::write(&text, "not a database, and long enough to be taken for the header of one: ".repeat(40))
        .expect("written");
    let foreign = home.path().join("foreign.db");
    std::fs::write(&foreign, "").expect("an empty database");
    let place = Place { url: format!("sqlite:{}", foreign.display()), _home: None };
    place.sql("CREATE TABLE theirs (x)").await.expect("made");
    for url in [
        "mysql://user:secret@host/db".to_owned(),
        "postgres://user:secret@host:port/db".to_owned(),
        "sqlite:".to_owned(),
        "sqlite::memory:".to_owned(),
        "secret".to_owned(),
        format!("sqlite:{}", foreign.display()),
        format!("sqlite:{}", text.display()),
        format!("sqlite:{}/nowhere/secret.db", home.path().display()),
    ] {
        let told = Store::open(&url).await.expect_err("refused");
        assert!(!told.to_string().contains("secret"), "{url}: {told}");
        assert!(!matches!(told, StoreError::Unknown), "{url}: {told}");
    }
    assert_eq!(std::fs::read(&text).expect("is there")[..3], *b"not", "nothing was written over it");
}
