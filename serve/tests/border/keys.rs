//! Keys that change while the service runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use serde_json::json;

use crate::world::{Message, MessageKey, Signer, World, holder};

/// A provider of key sets on a real socket.
#[derive(Clone, Default)]
struct Provider {
    keys: Arc<std::sync::Mutex<String>>,
    asked: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl Provider {
    async fn start(keys: &[serde_json::Value]) -> (Self, String) {
        let provider = Self::default();
        provider.publish(keys);
        let shown = provider.clone();
        let router = Router::new().route(
            "/jwks",
            get(move || async move {
                shown.asked.fetch_add(1, Ordering::SeqCst);
                // Long enough for requests to pile up.
                tokio::time::sleep(Duration::from_millis(30)).await;
                if shown.broken.load(Ordering::SeqCst) {
                    return Ok::<_, Infallible>(StatusCode::INTERNAL_SERVER_ERROR.into_response());
                }
                Ok(shown.keys.lock().expect("no panic").clone().into_response())
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = format!("http://{}/jwks", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (provider, address)
    }

    fn publish(&self, keys: &[serde_json::Value]) {
        *self.keys.lock().expect("no panic") = json!({ "keys": keys }).to_string();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn world_of(address: &str, peer_per_minute: u32) -> World {
    World::with(|config| {
        config.auth.issuers.remove("desk");
        config.limits.peer_per_minute = peer_per_minute;
        config.auth.issuers.get_mut("holders").expect("there").jwks = address.to_owned();
    })
}

#[tokio::test]
async fn many_requests_at_a_cold_start_fetch_the_key_set_once() {
    let (provider, address) = Provider::start(&[Signer::ed25519(1).jwk("a")]).await;
    let world = Arc::new(world_of(&address, 0).await);
    let token = Signer::ed25519(1).token("a", &holder("alice"));
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (world, token) = (Arc::clone(&world), token.clone());
            tokio::spawn(async move { world.bearer(&token).await.status })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.expect("ends"), StatusCode::OK);
    }
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn unknown_key_ids_do_not_become_a_storm_of_fetches() {
    let (provider, address) = Provider::start(&[Signer::ed25519(1).jwk("a")]).await;
    let world = world_of(&address, 0).await;
    let token = Signer::ed25519(1).token("a", &holder("alice"));
    assert_eq!(world.bearer(&token).await.status, StatusCode::OK);
    for i in 0..200 {
        let unknown = Signer::ed25519(1).token(&format!("unknown-{i}"), &holder("alice"));
        assert_eq!(world.bearer(&unknown).await.code(), "UNKNOWN_KID");
    }
    assert_eq!(provider.asked(), 1, "the set was read a moment ago");
}

#[tokio::test]
async fn a_provider_that_fails_is_not_a_refusal_but_a_wait_and_what_was_read_counts_on() {
    let (provider, address) = Provider::start(&[Signer::ed25519(1).jwk("a")]).await;
    provider.broken.store(true, Ordering::SeqCst);
    let world = world_of(&address, 3).await;
    let token = Signer::ed25519(1).token("a", &holder("alice"));
    // However often: that the keys cannot be had is not the address's fault.
    for _ in 0..10 {
        let answer = world.bearer(&token).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
        assert_eq!(answer.headers["retry-after"], "5");
    }

    let world = world_of(&address, 3).await;
    provider.broken.store(false, Ordering::SeqCst);
    assert_eq!(world.bearer(&token).await.status, StatusCode::OK);
    provider.broken.store(true, Ordering::SeqCst);
    assert_eq!(world.bearer(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_set_in_a_file_follows_the_file_in_both_directions() {
    let world = World::new();
    let (old, new) = (Signer::ed25519(1), Signer::ed25519(2));
    let [by_old, by_new] = [old.token("ed", &holder("alice")), new.token("new", &holder("alice"))];
    assert_eq!(world.bearer(&by_old).await.status, StatusCode::OK);
    // An unknown name is looked for again after a second; what is known, after five.
    world.publish(&[old.jwk("ed"), new.jwk("new")]);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(world.bearer(&by_new).await.status, StatusCode::OK);
    assert_eq!(world.bearer(&by_old).await.status, StatusCode::OK, "both, while they overlap");

    world.publish(&[new.jwk("new")]);
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    assert_eq!(world.bearer(&by_old).await.code(), "UNKNOWN_KID", "a key that was taken back no longer counts");

    std::fs::write(world.directory.path().join("jwks.json"), "{ half a").expect("writes");
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    assert_eq!(world.bearer(&by_new).await.status, StatusCode::OK, "a broken file changes nothing");
}

#[tokio::test]
async fn a_bridges_key_is_exchanged_without_a_restart() {
    let world = World::new();
    let sent =
        |nonce: &str, key: &MessageKey| world.send(Message::new(nonce, "ledger").sign(key).request().expect("sent"));
    let next = MessageKey::Hmac(b"another secret that has 32 bytes or more".to_vec());
    assert_eq!(sent("nonce-0000000001", &MessageKey::ledger()).await.status, StatusCode::OK);
    std::fs::write(world.directory.path().join("secret"), "too short").expect("writes");
    assert!(world.border.reload(&world.config).is_err());
    assert_eq!(sent("nonce-0000000002", &MessageKey::ledger()).await.status, StatusCode::OK, "the old one stays");
    std::fs::write(world.directory.path().join("secret"), "another secret that has 32 bytes or more").expect("writes");
    world.border.reload(&world.config).expect("reads");
    assert_eq!(sent("nonce-0000000003", &MessageKey::ledger()).await.code(), "BAD_SIGNATURE");
    assert_eq!(sent("nonce-0000000004", &next).await.status, StatusCode::OK);
}
