//! Who is signed in: a random secret in a cookie, and what it stands for in the store, where every replica finds it.
//!
//! The store keeps a hash of the secret, so that whoever reads the database cannot sign in. A session ends with its token,
//! after [`SESSION_S`], or when its holder signs out, whichever comes first.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use plimsoll_model::UtcSeconds;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Console;
use super::page::Problem;
use crate::border::{ApiError, Identity, Role};
use crate::unit::{Needs, Reply, ReplyKey};

/// The longest that somebody stays signed in. Less than the store keeps replies for.
pub(super) const SESSION_S: i64 = 4 * 3_600;

/// Where the store keeps sessions among its replies.
const CLIENT: &str = "console";

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Who; always one of the operator's people.
    pub(super) who: Identity,
    pub(super) name: String,
    pub(super) role: Role,
    /// Stands in every form.
    pub(super) csrf: String,
    key: ReplyKey,
}

/// What the store remembers of a session.
#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    role: Role,
    until: UtcSeconds,
}

impl Console {
    /// Signs somebody in until `until` at most.
    ///
    /// * returns the cookie.
    pub(super) async fn begin(&self, name: &str, role: Role, until: UtcSeconds) -> Result<HeaderValue, ApiError> {
        let now = self.service().now();
        let until = until.min(now.plus(SESSION_S));
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|e| ApiError::internal(format!("no randomness: {e}")))?;
        let secret = Base64UrlUnpadded::encode_string(&secret);
        let kept = Kept { name: name.to_owned(), role, until };
        let body = serde_json::to_vec(&kept).map_err(ApiError::internal)?;
        self.keep(key_of(&secret), body, now).await?;
        self.cookie(&secret, until.since(now))
    }

    /// Signs somebody out: on every replica, and for whoever has a copy of the cookie.
    pub(super) async fn end(&self, session: &Session) -> Result<HeaderValue, ApiError> {
        self.keep(session.key.clone(), Vec::new(), self.service().now()).await?;
        self.cookie("", 0)
    }

    async fn keep(&self, key: ReplyKey, body: Vec<u8>, now: UtcSeconds) -> Result<(), ApiError> {
        let needs = Needs { replies: [key.clone()].into(), ..Needs::default() };
        let kept = self.service().store.run(now, needs, move |unit| {
            unit.replies.put(key.clone(), Reply { fingerprint: [0; 32], status: 0, body: body.clone(), at: now });
        });
        Ok(kept.await?)
    }

    fn cookie(&self, secret: &str, seconds: i64) -> Result<HeaderValue, ApiError> {
        let name = self.cookie_name();
        // `__Host-` needs both, and keeps other hosts of the domain from setting it.
        let (path, secure) = if self.is_https() { ("/", "; Secure") } else { ("/console", "") };
        let text = format!("{name}={secret}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::from_str(&text).map_err(ApiError::internal)
    }

    const fn cookie_name_of(https: bool) -> &'static str {
        if https { "__Host-plimsoll" } else { "plimsoll" }
    }

    fn cookie_name(&self) -> &'static str {
        Self::cookie_name_of(self.is_https())
    }

    /// Whose session a request is in.
    async fn session(&self, headers: &HeaderMap) -> Result<Option<Session>, ApiError> {
        let Some(secret) = cookie_of(headers, self.cookie_name()) else { return Ok(None) };
        let key = key_of(secret);
        let unit = self.service().store.look(Needs { replies: [key.clone()].into(), ..Needs::default() }).await?;
        let kept = unit.replies.get(&key).and_then(|reply| serde_json::from_slice::<Kept>(&reply.body).ok());
        let Some(kept) = kept.filter(|kept| self.service().now() < kept.until) else { return Ok(None) };
        let who = Identity::Admin { name: kept.name.clone(), role: kept.role };
        Ok(Some(Session { who, name: kept.name, role: kept.role, csrf: csrf_of(secret), key }))
    }

    /// Whether a form was sent by one of our own pages, as far as the browser says so.
    pub(super) fn is_ours(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
            return site == "same-origin";
        }
        // A browser that does not say so says at least where the page came from.
        text(header::ORIGIN).is_none_or(|origin| {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            origin == self.0.origin || (authority.is_some() && authority == text(header::HOST))
        })
    }
}

/// The secret is nowhere but in the cookie: the store has a hash of it, forms have another.
fn key_of(secret: &str) -> ReplyKey {
    (CLIENT.to_owned(), hashed(b"plimsoll console session\0", secret))
}

fn csrf_of(secret: &str) -> String {
    hashed(b"plimsoll console form\0", secret)
}

fn hashed(what: &[u8], secret: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(what);
    hash.update(secret.as_bytes());
    Base64UrlUnpadded::encode_string(&hash.finalize())
}

fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut ours = all.flat_map(|value| value.split(';')).filter_map(|pair| {
        let (key, secret) = pair.trim().split_once('=')?;
        (key == name && !secret.is_empty()).then_some(secret)
    });
    match (ours.next(), ours.next()) {
        (Some(secret), None) => Some(secret),
        // Two of a name: which one counts would be a guess.
        _ => None,
    }
}

impl FromRequestParts<Console> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        match console.session(&parts.headers).await? {
            Some(session) => Ok(session),
            None if parts.method == Method::GET => {
                Err(Problem::SignIn { next: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string) })
            }
            None => Err(ApiError::Unauthenticated.into()),
        }
    }
}

/// A form that somebody who is signed in sent from one of our pages.
#[derive(Debug)]
pub(super) struct Posted<T> {
    pub(super) session: Session,
    pub(super) form: T,
}

#[derive(Deserialize)]
struct Token {
    csrf: String,
}

impl<T: DeserializeOwned> FromRequest<Console> for Posted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, console).await?;
        let ours = console.is_ours(&parts.headers);
        let bytes = form_bytes(Request::from_parts(parts, body)).await?;
        let token = serde_urlencoded::from_bytes::<Token>(&bytes).map(|token| token.csrf).unwrap_or_default();
        // By their hashes: how long it takes says nothing about the token.
        if !ours || Sha256::digest(&token) != Sha256::digest(&session.csrf) {
            return Err(Problem::from(ApiError::Forbidden(
                "this form was not sent from a page of this console: open the page again",
            )));
        }
        Ok(Self { session, form: read(&bytes)? })
    }
}

/// A form's bytes.
pub(super) async fn form_bytes(request: Request) -> Result<axum::body::Bytes, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(ApiError::BadRequest("the body is not a form".to_owned()));
    }
    // The border has read it whole, within its limits.
    axum::body::Bytes::from_request(request, &()).await.map_err(|e| ApiError::BadRequest(e.to_string()))
}

/// A form's fields.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_urlencoded::from_bytes(bytes).map_err(|e| ApiError::BadRequest(format!("the form does not read: {e}")))
}
