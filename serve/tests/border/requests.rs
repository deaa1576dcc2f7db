//! Hostile requests behind a good credential, and limits.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::world::{Answer, Signer, World, bearer, holder};

fn token() -> String {
    Signer::ed25519(1).token("ed", &holder("alice"))
}

async fn post(world: &World, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(path).header("authorization", format!("Bearer {}", token()));
    world.send(request.header("content-type", kind).body(body.into()).expect("a request")).await
}

#[tokio::test]
async fn every_refusal_is_the_envelope_with_its_status() {
    let world = World::new();
    let at = "/v1/accounts/a/kyc";
    for (path, kind, body, status, code) in [
        (at, "application/json", "{", StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        (at, "application/json", "", StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        (at, "application/json", "{} {}", StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        (at, "application/json", "\u{0}", StatusCode::BAD_REQUEST, "BAD_REQUEST"),
        (at, "text/plain", "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_JSON"),
        (at, "", "{}", StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_JSON"),
        ("/v1/nothing", "application/json", "{}", StatusCode::NOT_FOUND, "NOT_FOUND"),
        ("/v1/keys", "application/json", "{}", StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = post(&world, path, kind, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path} {kind} {body}");
    }
    let answer = post(&world, at, "application/json; charset=utf-8", "[1]").await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "[1]"));
    let deep = post(&world, at, "application/json", "[".repeat(60_000)).await;
    assert_eq!(deep.code(), "BAD_REQUEST", "depth is refused and not recursed into");
}

#[tokio::test]
async fn a_handler_that_breaks_is_our_fault_and_nobody_elses() {
    let world = World::new();
    let broken = Request::get("/v1/panic").header("authorization", format!("Bearer {}", token()));
    let answer = world.send(broken.body(Body::empty()).expect("a request")).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"));
    assert!(!answer.text.contains("handler broke"), "the cause is for the log: {}", answer.text);
    assert_eq!(world.bearer(&token()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_has_the_size_its_route_takes() {
    let world = World::new();
    let json = |n: usize| format!("\"{}\"", "x".repeat(n - 2));
    let kilobytes = 64 * 1024;
    let at = "/v1/accounts/a/kyc";
    assert_eq!(post(&world, at, "application/json", json(kilobytes)).await.status, StatusCode::OK);
    let answer = post(&world, at, "application/json", json(kilobytes + 1)).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE"));
    assert_eq!(post(&world, "/v1/sync", "application/json", json(10 * kilobytes)).await.status, StatusCode::OK);
    assert_eq!(post(&world, "/v1/sync", "application/json", json(10 * kilobytes + 1)).await.code(), "TOO_LARGE");

    // In pieces, without a length: it ends where the limit is, and not where the sender likes.
    let pieces = in_pieces(kilobytes / 1_024 + 1);
    assert_eq!(post(&world, at, "application/json", Body::new(pieces)).await.code(), "TOO_LARGE");
}

/// A body of so many pieces of a kilobyte, of unknown length.
fn in_pieces(pieces: usize) -> impl http_body::Body<Data = axum::body::Bytes, Error = std::convert::Infallible> {
    struct Pieces(usize);
    impl http_body::Body for Pieces {
        type Data = axum::body::Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
            if self.0 == 0 {
                return std::task::Poll::Ready(None);
            }
            self.0 -= 1;
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(vec![b' '; 1_024].into()))))
        }
    }
    Pieces(pieces)
}

#[tokio::test]
async fn a_request_id_is_taken_over_when_it_is_sane() {
    let world = World::new();
    let with = |id: &[u8]| {
        let request = Request::get("/v1/keys").header("x-request-id", id);
        request.body(Body::empty()).expect("a request")
    };
    let id = |answer: &Answer| answer.headers["x-request-id"].to_str().expect("text").to_owned();
    assert_eq!(id(&world.send(with(b"trace-0123_ABC")).await), "trace-0123_ABC");
    let long = [b'a'; 65];
    for odd in [
        b"short".as_slice(),
        b"",
        &long,
        b"with space",
        b"<script>alert",
        b"line\x09feed",
        b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8",
    ] {
        let answer = world.send(with(odd)).await;
        let drawn = id(&answer);
        assert!(drawn.len() == 22 && drawn.as_bytes() != odd, "{drawn}");
        assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
    }
    let answer = world
        .send(Request::get("/v1/who").header("x-request-id", "trace-of-mine").body(Body::empty()).expect("sent"))
        .await;
    assert!(answer.code() == "UNAUTHENTICATED" && answer.text.contains("trace-of-mine"));
}

#[tokio::test]
async fn a_holder_is_slowed_down_alone_and_a_refresh_by_the_policy() {
    let world = World::with(|config| config.limits.holder_per_minute = 30);
    let of = |account: &str| Signer::ed25519(1).token("ed", &holder(account));
    for i in 0..30 {
        assert_eq!(world.bearer(&of("alice")).await.status, StatusCode::OK, "{i}");
    }
    let answer = world.bearer(&of("alice")).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"));
    assert!(matches!(answer.headers["retry-after"].to_str(), Ok("1" | "2" | "3")), "{:?}", answer.headers);
    assert_eq!(world.bearer(&of("bob")).await.status, StatusCode::OK);

    world.border.set_refresh_per_minute(4);
    let refresh = |account: &str| {
        let request = Request::post("/v1/score/refresh").header("authorization", format!("Bearer {}", of(account)));
        world.send(request.body(Body::empty()).expect("a request"))
    };
    for i in 0..4 {
        assert_eq!(refresh("carol").await.status, StatusCode::OK, "{i}");
    }
    assert_eq!(refresh("carol").await.code(), "RATE_LIMITED");
    assert_eq!(world.bearer(&of("carol")).await.status, StatusCode::OK, "other requests go on");
    assert_eq!(refresh("dave").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_address_that_guesses_is_stopped_and_good_credentials_cost_it_nothing() {
    let world = World::with(|config| config.limits.peer_per_minute = 20);
    for _ in 0..100 {
        assert_eq!(world.bearer(&token()).await.status, StatusCode::OK);
    }
    for i in 0..20 {
        assert_eq!(world.send(bearer("guess")).await.code(), "UNAUTHENTICATED", "{i}");
    }
    assert_eq!(world.send(bearer("guess")).await.code(), "RATE_LIMITED");
    let public = || Request::get("/v1/keys").body(Body::empty()).expect("a request");
    assert_eq!(world.send(public()).await.code(), "RATE_LIMITED");
}
