//! A server that goes away and comes back.

use std::time::Duration;

use super::server::Server;
use super::world::*;
use plimsoll_serve::store::{Store, StoreError};
use plimsoll_serve::unit::Needs;

/// Opens an account, and says whether it was there.
async fn put(store: &Store, name: &'static str) -> Result<bool, StoreError> {
    store
        .run(NOW, needs_accounts([name]), move |unit| {
            let there = unit.accounts.get(&id(name)).is_some();
            unit.accounts.put(id(name), account(name, 1));
            unit.entries.push(entry(name, 1));
            there
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_is_said_to_be_away_and_used_again_when_it_is_back() {
    let mut server = tokio::task::spawn_blocking(Server::start).await.expect("starts");
    let store = Store::open(&server.database("outage")).await.expect("opens");
    assert_eq!(put(&store, "before").await, Ok(false));

    for stop in [Server::down, Server::kill] {
        tokio::task::block_in_place(|| stop(&mut server));
        let told = put(&store, "during").await;
        assert!(matches!(told, Err(StoreError::Unavailable { .. })), "{told:?}");
        // Once it is known to be away nobody waits for the whole of the writers' patience.
        let soon = tokio::time::timeout(Duration::from_secs(2), put(&store, "during")).await;
        assert!(matches!(soon, Ok(Err(StoreError::Unavailable { .. }))), "{soon:?}");
        assert!(store.health().await.is_err());
        tokio::task::block_in_place(|| server.up());
        assert_eq!(put(&store, "before").await, Ok(true), "what was answered is there");
        store.health().await.expect("is well");
    }
    let unit = store.look(needs_accounts(["during"])).await.expect("reads");
    assert!(unit.accounts.get(&id("during")).is_none(), "what was refused is not");

    // A short stop is nobody's business: the batch waits for the server.
    tokio::task::block_in_place(|| server.down());
    let waits = tokio::spawn({
        let store = store.clone();
        async move { put(&store, "meanwhile").await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    tokio::task::block_in_place(|| server.up());
    assert_eq!(waits.await.expect("ends"), Ok(false));
    assert_eq!(store.run(NOW, Needs::default(), |_| 1).await, Ok(1));
    store.close().await;
}
