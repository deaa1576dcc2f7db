//! A request's JSON body, with what is wrong with it said by field.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::border::{ApiError, from_json, is_json};

/// Characters of an idempotency key.
const KEY_MAX: usize = 128;

/// A JSON body and what tells a repeated request from another one.
#[derive(Debug)]
pub(super) struct Body<T> {
    /// What was asked.
    pub(super) asked: T,
    /// Its idempotency key, when it has one.
    pub(super) key: Option<String>,
    /// SHA-256 of method, path and body.
    pub(super) fingerprint: [u8; 32],
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        is_json(request.headers())?;
        let key = idempotency_key(request.headers())?;
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let bytes = Bytes::from_request(request, state).await.map_err(ApiError::internal)?;
        Ok(Self { asked: from_json(&bytes)?, key, fingerprint: fingerprint(&method, &path, &bytes) })
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let fits = |k: &&str| (1..=KEY_MAX).contains(&k.len()) && k.bytes().all(|b| b.is_ascii_graphic());
    let key = value.to_str().ok().filter(fits);
    let wrong = || ApiError::BadRequest(format!("idempotency-key: 1 to {KEY_MAX} printable characters, no spaces"));
    key.map(|k| Some(k.to_owned())).ok_or_else(wrong)
}

fn fingerprint(method: &Method, path: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), path.as_bytes(), body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
