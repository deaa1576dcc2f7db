//! What devices fetch: the repository, the issuer's keys, and the policy in the words of the wallet we replace.
//!
//! ```text
//! /v1/tuf/metadata/timestamp.json ─► of the release that decides for everybody      asked for again every time
//! /v1/my/tuf/…/timestamp.json     ─► of the release that decides for this account
//! everything else                 ─► named by its version or hash                   kept for ever
//! ```
//!
//! Files come from memory and are those that verified metadata names: whatever lies in the directory beside them, or is
//! put there later, is not served, and no path leads anywhere else. A ring reaches devices by its timestamp alone; what
//! that leads to is there for all.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, any};
use axum::{Extension, Router};
use plimsoll_model::grant::IssuerKeys;

use super::active::TIMESTAMP;
use super::score_policy::ScorePolicy;
use super::stored::{IMMUTABLE, REVALIDATE, Stored};
use super::{Active, Models};
use crate::border::{ApiError, Identity};

/// The issuer's keys as they are now; `None` while it has none.
pub type Keys = Arc<dyn Fn() -> Option<Arc<IssuerKeys>> + Send + Sync>;

/// Seconds that keys and policies may be kept: short beside the time that keys overlap.
const MINUTES: &str = "public, max-age=300";

#[derive(Clone)]
pub(crate) struct Desk {
    models: Models,
    keys: Keys,
}

/// Routes for everybody: `/v1/tuf/*`, `/v1/keys`, `/v1/score/policy`.
pub fn public<S>(models: Models, keys: Keys) -> Router<S> {
    Router::new()
        .route("/v1/tuf/{*path}", reading(any(everybodys)))
        .route("/v1/keys", reading(any(issuer_keys)))
        .route("/v1/score/policy", reading(any(score_policy)))
        .with_state(Desk { models, keys })
}

/// Routes for those with an [`Identity`]: `/v1/my/tuf/*`, the repository as the account's devices are to see it.
pub fn guarded<S>(models: Models) -> Router<S> {
    let keys: Keys = Arc::new(|| None);
    Router::new().route("/v1/my/tuf/{*path}", reading(any(ones_own))).with_state(Desk { models, keys })
}

/// GET and HEAD, told apart by the handler: an answer to HEAD knows no ranges.
fn reading(handler: MethodRouter<Desk>) -> MethodRouter<Desk> {
    handler.layer(axum::middleware::from_fn(async |request: Request, next: axum::middleware::Next| {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return next.run(request).await;
        }
        let mut response = ApiError::MethodNotAllowed.into_response();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    }))
}

/// A file of the TUF repository: metadata, models, policies, golden vectors. Everything but the timestamp never changes.
#[utoipa::path(get, path = "/v1/tuf/{path}", tag = "wallet", security(()),
    params(("path" = String, Path, description = "e.g. `metadata/timestamp.json`, its slashes as they are")), responses(
    (status = 200, description = "The file", content((Object = "application/json"), (Vec<u8> = "application/octet-stream"))),
    (status = 206, description = "The range that was asked for", content_type = "application/octet-stream", body = Vec<u8>),
    (status = 304, description = "What the client has is the newest"),
    (status = 404, description = "No such file"),
    (status = 416, description = "No such range")))]
pub(crate) async fn everybodys(
    State(desk): State<Desk>,
    Path(path): Path<String>,
    method: Method,
    asked: HeaderMap,
) -> Response {
    let active = (path == TIMESTAMP).then(|| desk.models.for_everyone());
    serve(&desk.models, active.as_deref(), &path, (&method, &asked), None)
}

/// The same repository as the account's devices are to see it: with the timestamp of the release that decides for it.
#[utoipa::path(get, path = "/v1/my/tuf/{path}", tag = "wallet",
    params(("path" = String, Path, description = "e.g. `metadata/timestamp.json`, its slashes as they are")), responses(
    (status = 200, description = "The file", content((Object = "application/json"), (Vec<u8> = "application/octet-stream"))),
    (status = 206, description = "The range that was asked for", content_type = "application/octet-stream", body = Vec<u8>),
    (status = 304, description = "What the client has is the newest"),
    (status = 404, description = "No such file"),
    (status = 416, description = "No such range")))]
pub(crate) async fn ones_own(
    State(desk): State<Desk>,
    Extension(identity): Extension<Identity>,
    Path(path): Path<String>,
    method: Method,
    asked: HeaderMap,
) -> Response {
    let Identity::Holder { account, .. } = &identity else {
        return ApiError::Forbidden("only a holder has a repository of their own").into_response();
    };
    let active = (path == TIMESTAMP).then(|| desk.models.for_account(account));
    serve(&desk.models, active.as_deref(), &path, (&method, &asked), Some("authorization"))
}

fn serve(
    models: &Models,
    active: Option<&Active>,
    path: &str,
    (method, asked): (&Method, &HeaderMap),
    varies: Option<&'static str>,
) -> Response {
    let released = active.and_then(Active::released);
    let file = match released {
        Some(released) => {
            let timestamp = Stored::plain("application/json", REVALIDATE, released.timestamp().clone());
            return timestamp.answer(method, asked, varies);
        }
        None => models.file(path),
    };
    match file {
        Some(file) => file.answer(method, asked, None),
        None => {
            // The next root is not there until it is.
            let mut response = ApiError::NotFound("file").into_response();
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(REVALIDATE));
            response
        }
    }
}

/// The keys that grants are checked with, as a JWK set.
#[utoipa::path(get, path = "/v1/keys", tag = "wallet", security(()), responses(
    (status = 200, description = "The keys", content_type = "application/jwk-set+json", body = Object),
    (status = 304, description = "What the client has is the newest"),
    (status = 416, description = "No such range")))]
pub(crate) async fn issuer_keys(State(desk): State<Desk>, method: Method, asked: HeaderMap) -> Response {
    match (desk.keys)() {
        Some(keys) => {
            Stored::plain("application/jwk-set+json", MINUTES, keys.to_jwks().into()).answer(&method, &asked, None)
        }
        None => ApiError::Unavailable { why: "this issuer has no keys yet", retry_after_s: 60 }.into_response(),
    }
}

/// The policy that decides for everyone, in the words of the wallet whose API this replaces.
#[utoipa::path(get, path = "/v1/score/policy", tag = "wallet", security(()), responses(
    (status = 200, description = "The policy", content_type = "application/json", body = Object),
    (status = 304, description = "What the client has is the newest"),
    (status = 416, description = "No such range")))]
pub(crate) async fn score_policy(State(desk): State<Desk>, method: Method, asked: HeaderMap) -> Response {
    let policy = ScorePolicy::of(&desk.models.for_everyone());
    let bytes = serde_json::to_vec(&policy).expect("a policy holds only integers, text and lists");
    Stored::plain("application/json", MINUTES, bytes.into()).answer(&method, &asked, None)
}

/// Files by path.
pub(super) type Files = BTreeMap<String, Arc<Stored>>;

/// What is served: every file that verified metadata names, but for the timestamps, which belong to releases.
///
/// * `kept`: what was served before; a file that is the same is not compressed again.
/// * `fetched`: files of the releases that decide, which devices fetch now. Others are superseded, and plain.
pub(super) fn files<'a>(
    kept: &Files,
    fetched: impl Iterator<Item = (&'a str, &'a Bytes)>,
    others: impl Iterator<Item = (&'a str, &'a Bytes)>,
) -> Files {
    let mut files = Files::new();
    let all = fetched.map(|file| (file, true)).chain(others.map(|file| (file, false)));
    for ((path, bytes), coded) in all.filter(|((path, _), _)| *path != TIMESTAMP) {
        if files.contains_key(path) {
            continue;
        }
        let content_type = if path.ends_with(".json") { "application/json" } else { "application/octet-stream" };
        let same = kept.get(path).filter(|stored| stored.bytes() == bytes && (stored.is_coded() || !coded));
        let stored = same.cloned().unwrap_or_else(|| {
            let make = if coded { Stored::coded } else { Stored::plain };
            Arc::new(make(content_type, IMMUTABLE, bytes.clone()))
        });
        files.insert(path.to_owned(), stored);
    }
    files
}
