//! Over HTTP, from published repositories.

use std::collections::BTreeSet;
use std::fs;

use axum::body::Body;
use axum::http::{HeaderName, StatusCode};
use plimsoll_edge::trust::{self, FetchError, Floors, Repository};
use plimsoll_model::grant::PublicKey;
use plimsoll_model::policy::Policy;
use tower::ServiceExt as _;

use super::super::tests::{FIRST, House, SECOND, account, root};
use super::super::{EVERYONE, Rollout, Settings};
use super::*;

fn keys() -> Keys {
    let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]).verifying_key();
    let key = PublicKey::new(key.as_bytes()).expect("a sound key");
    let keys = Arc::new(IssuerKeys::new("issuer", [("one".to_owned(), key)]).expect("one key"));
    Arc::new(move || Some(keys.clone()))
}

fn desk(models: &Models) -> Router {
    public::<()>(models.clone(), keys()).merge(guarded(models.clone()))
}

struct Answer {
    status: StatusCode,
    head: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn shown(&self, name: &HeaderName) -> &str {
        self.head.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

fn ask(models: &Models, request: axum::http::request::Builder) -> Answer {
    let request = request.body(Body::empty()).expect("a request");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let response = desk(models).oneshot(request).await.expect("never fails");
        let (status, head) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("reads").to_vec();
        Answer { status, head, body }
    })
}

fn get(models: &Models, uri: &str) -> Answer {
    ask(models, axum::http::Request::get(uri))
}

/// A device's view of the repository, over HTTP.
struct Web<'a>(&'a Models, Option<usize>);

impl Repository for Web<'_> {
    fn fetch(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let answer = match self.1 {
            None => get(self.0, &format!("/v1/tuf/{path}")),
            Some(i) => {
                let identity = Identity::Holder { account: account(i), jkt: None };
                ask(self.0, axum::http::Request::get(format!("/v1/my/tuf/{path}")).extension(identity))
            }
        };
        match answer.status {
            StatusCode::OK if answer.body.len() as u64 <= max_bytes => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(FetchError { reason: format!("{status}") }),
        }
    }
}

fn installs(models: &Models, of: Option<usize>) -> u64 {
    let verified = trust::verify(&Web(models, of), &root(), &Floors::default(), SECOND, None).expect("verifies");
    verified.release().manifest.model_version
}

#[test]
fn a_device_installs_what_decides_for_its_account_and_a_stranger_what_decides_for_all() {
    let house = House::with("first");
    // A day before the second release, the first one's timestamp is still good.
    let models = house.open(FIRST);
    let at = |of| {
        let verified = trust::verify(&Web(&models, of), &root(), &Floors::default(), FIRST, None);
        verified.map(|v| v.release().manifest.model_version)
    };
    assert_eq!((at(None), at(Some(3))), (Ok(1), Ok(1)));

    house.publish("second");
    models.look(SECOND).expect("comes in");
    let inside = (0..5_000).find(|i| models.for_account(&account(*i)).version() == Some(2)).expect("a ring of 1 %");
    let outside = (0..5_000).find(|i| models.for_account(&account(*i)).version() == Some(1)).expect("all others");
    assert_eq!(installs(&models, Some(inside)), 2);
    assert_eq!((at(None), at(Some(outside))), (Ok(1), Ok(1)));

    models.widen(2, EVERYONE).expect("wider");
    assert_eq!((installs(&models, None), installs(&models, Some(outside))), (2, 2));
    models.pull_back(2, super::super::Pulled { at: SECOND, why: "ordered".into() }).expect("is there");
    assert_eq!((at(None), at(Some(inside))), (Ok(1), Ok(1)));
}

#[test]
fn what_is_named_by_version_or_hash_is_kept_for_ever_and_the_timestamp_is_asked_for_again() {
    let house = House::with("first");
    let models = house.open(FIRST);
    let mut names = 0;
    for (path, bytes) in models.for_everyone().released().expect("a model").files() {
        let answer = get(&models, &format!("/v1/tuf/{path}"));
        assert_eq!((answer.status, answer.body.as_slice()), (StatusCode::OK, &bytes[..]), "{path}");
        let cache = if path == TIMESTAMP { REVALIDATE } else { IMMUTABLE };
        assert_eq!(answer.shown(&header::CACHE_CONTROL), cache, "{path}");
        let tag = answer.shown(&header::ETAG).to_owned();
        let request = axum::http::Request::get(format!("/v1/tuf/{path}")).header(header::IF_NONE_MATCH, tag);
        let again = ask(&models, request);
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        names += 1;
    }
    assert_eq!(names, 7, "root, timestamp, snapshot, targets, model, policy, golden vectors");
    let next = get(&models, "/v1/tuf/metadata/2.root.json");
    assert_eq!((next.status, next.shown(&header::CACHE_CONTROL)), (StatusCode::NOT_FOUND, REVALIDATE));
}

#[test]
fn a_broken_download_of_a_model_is_continued() {
    let house = House::with("first");
    let models = house.open(FIRST);
    let active = models.for_everyone();
    let path = active.released().expect("a model").model_file().to_owned();
    let (_, whole) = active.released().expect("a model").files().find(|(p, _)| **p == path).expect("is there");
    let uri = format!("/v1/tuf/{path}");
    let first = ask(&models, axum::http::Request::get(&uri).header(header::RANGE, "bytes=0-4999"));
    assert_eq!((first.status, first.body.as_slice()), (StatusCode::PARTIAL_CONTENT, &whole[..5_000]));
    let rest = axum::http::Request::get(&uri)
        .header(header::RANGE, "bytes=5000-")
        .header(header::IF_RANGE, first.shown(&header::ETAG));
    let rest = ask(&models, rest);
    assert_eq!(rest.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!([first.body, rest.body].concat(), whole[..]);
    let coded = ask(&models, axum::http::Request::get(&uri).header(header::ACCEPT_ENCODING, "gzip, br"));
    assert!(coded.body.len() < whole.len() * 9 / 10, "{} of {}", coded.body.len(), whole.len());
}

#[test]
fn no_path_leads_out_of_the_repository_or_to_what_the_metadata_does_not_name() {
    let house = House::with("first");
    let models = house.open(FIRST);
    // There, readable, and nobody signed for it.
    fs::write(house.repository().join("metadata/secret.json"), "{}").expect("writes");
    fs::write(house.repository().join("secret"), "{}").expect("writes");
    for path in [
        "metadata/secret.json",
        "secret",
        "../archive/floors",
        "..%2farchive%2ffloors",
        "%2e%2e/archive/floors",
        "metadata/../../archive/floors",
        "metadata/%2e%2e/%2e%2e/archive/floors",
        "..%5carchive%5cfloors",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "metadata",
        "metadata/",
        "metadata//1.root.json",
        "./metadata/1.root.json",
        "metadata/1.root.json%00",
        "METADATA/1.root.json",
        "%ff%fe",
        "",
    ] {
        let answer = get(&models, &format!("/v1/tuf/{path}"));
        let refused = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST);
        assert!(refused, "{path}: {}", answer.status);
    }
    // One spelling more of a path that is there is that path: routers decode before they match.
    assert_eq!(get(&models, "/v1/tuf/metadata/1%2eroot.json").status, StatusCode::OK);
}

#[test]
fn files_of_superseded_releases_stay_for_who_is_in_the_middle_of_them() {
    let house = House::with("first");
    let models = house.open(FIRST);
    let before: BTreeSet<String> =
        models.for_everyone().released().expect("a model").files().map(|(path, _)| path.to_owned()).collect();
    house.publish("second");
    models.look(SECOND).expect("comes in");
    models.widen(2, EVERYONE).expect("wider");
    for path in &before {
        assert_eq!(get(&models, &format!("/v1/tuf/{path}")).status, StatusCode::OK, "{path}");
    }
    drop(models);
    let models = house.open(SECOND);
    for path in before {
        assert_eq!(get(&models, &format!("/v1/tuf/{path}")).status, StatusCode::OK, "{path} after a restart");
    }
}

#[test]
fn a_service_on_the_floor_has_no_repository_to_show_and_a_policy_without_a_model() {
    let house = House::with("first");
    let settings = Settings { source: None, ..house.settings() };
    let models = Models::open(settings, &Rollout::default(), FIRST).expect("opens");
    assert_eq!(get(&models, "/v1/tuf/metadata/timestamp.json").status, StatusCode::NOT_FOUND);
    let policy: ScorePolicy = serde_json::from_slice(&get(&models, "/v1/score/policy").body).expect("reads");
    assert_eq!((policy.policy_version.as_str(), policy.model), ("tng.v1.floor", None));
}

#[test]
fn the_policy_is_told_in_the_words_of_the_wallet_that_this_replaces() {
    let house = House::with("first");
    let models = house.open(FIRST);
    let answer = get(&models, "/v1/score/policy");
    let told: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(told["policy_version"], "tng.v1.m1");
    assert_eq!(told["released_at"], "2026-11-21T00:00:00Z");
    assert_eq!(told["model"]["format"], "onnx");
    let caps = serde_json::json!({ "0": "50.00", "1": "150.00", "2": "500.00" });
    assert_eq!(told["limits"]["hard_cap_per_tier"], caps);
    let tokens = serde_json::json!({ "0": "20.00", "1": "50.00", "2": "250.00" });
    assert_eq!(told["limits"]["token_cap_per_tier"], tokens);
    assert_eq!(told["limits"]["global_cap_per_token_myr"], "250.00");
    assert_eq!(told["limits"]["max_token_validity_hours"], 72);
    assert_eq!(told["tiers"][0]["receive"], false);
    // The address is one that works, and the hash is that of what is there.
    let model = get(&models, told["model"]["url"].as_str().expect("an address"));
    assert_eq!(told["model"]["sha256"], plimsoll_model::artifact::sha256_hex(&model.body));
    assert_eq!(
        serde_json::from_slice::<ScorePolicy>(&answer.body).expect("reads"),
        ScorePolicy::of(&models.for_everyone())
    );
}

#[test]
fn every_programme_has_a_policy_to_show() {
    for name in plimsoll_model::policy::PRESETS {
        let active = Active::floor(Policy::preset(name).expect("a preset"));
        let told = serde_json::to_value(ScorePolicy::of(&active)).expect("writes");
        assert_eq!(told["programme"], name);
        assert_eq!(told["limits"].get("global_cap_per_token_myr").is_some(), name == "tng", "{name}");
        // No cap is no number, and not the largest one there is.
        assert!(!told["limits"].to_string().contains("10000000000000"), "{told}");
    }
}

#[test]
fn keys_are_a_jwk_set_that_devices_read() {
    let house = House::with("first");
    let models = house.open(FIRST);
    let answer = get(&models, "/v1/keys");
    assert_eq!(answer.shown(&header::CONTENT_TYPE), "application/jwk-set+json");
    let keys = IssuerKeys::from_jwks("issuer", &answer.body).expect("reads");
    assert!(keys.get("one").is_some());
    let without = public::<()>(models, Arc::new(|| None));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let request = axum::http::Request::get("/v1/keys").body(Body::empty()).expect("a request");
    let response = runtime.block_on(without.oneshot(request)).expect("never fails");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn only_reading_is_allowed() {
    let house = House::with("first");
    let models = house.open(FIRST);
    for uri in ["/v1/tuf/metadata/timestamp.json", "/v1/keys", "/v1/score/policy"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let answer = ask(&models, axum::http::Request::builder().uri(uri).method(&method));
            assert_eq!((answer.status, answer.shown(&header::ALLOW)), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
        }
        let (head, get) = (ask(&models, axum::http::Request::head(uri)), get(&models, uri));
        assert_eq!((head.status, head.body.len(), &head.head), (StatusCode::OK, 0, &get.head), "{uri}");
    }
}
