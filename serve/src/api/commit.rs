//! A request that changes something: done once, however often it comes under one idempotency key.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Service;
use super::body::Body;
use crate::border::{ApiError, Identity};
use crate::unit::{Needs, Reply, ReplyKey, Unit};

/// Keys of requests that this process is working on. Another replica's are held apart by the store's locks.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Mutex<HashSet<ReplyKey>>>);

/// Takes its key out when the request ends, however it ends.
struct Guard(InFlight, ReplyKey);

impl InFlight {
    fn enter(&self, key: &ReplyKey) -> Result<Guard, ApiError> {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.insert(key.clone()) { Ok(Guard(self.clone(), key.clone())) } else { Err(ApiError::InFlight) }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// What was done, and which status says so.
pub(super) struct Done<T> {
    pub(super) status: StatusCode,
    pub(super) told: T,
}

impl<T> Done<T> {
    pub(super) const fn ok(told: T) -> Self {
        Self { status: StatusCode::OK, told }
    }

    pub(super) const fn created(told: T) -> Self {
        Self { status: StatusCode::CREATED, told }
    }
}

/// What can be stored and given again.
pub(super) trait Told: Serialize + DeserializeOwned + Send + 'static {}
impl<T: Serialize + DeserializeOwned + Send + 'static> Told for T {}

/// Does a piece of work in one transaction, and answers after its commit. Under an idempotency key the answer is kept
/// with what was done, and given again when the same request comes again; a refusal is not kept, as nothing was done.
///
/// * `finish`: makes the answer of what was told; it runs again for a repeated request, so it must give the same again.
pub(super) async fn commit<B, T: Told, A: Serialize>(
    service: &Service,
    who: &Identity,
    body: &Body<B>,
    needs: Needs,
    mut work: impl FnMut(&mut Unit) -> Result<Done<T>, ApiError> + Send + 'static,
    finish: impl FnOnce(T) -> Result<A, ApiError>,
) -> Result<Response, ApiError> {
    let now = service.now();
    let key = body.key.clone().map(|key| (who.key(), key));
    let _guard = key.as_ref().map(|key| service.in_flight.enter(key)).transpose()?;
    let mut needs = needs;
    needs.replies.extend(key.clone());
    let fingerprint = body.fingerprint;
    let attempt = move |unit: &mut Unit| {
        unit.attempt(|unit| {
            if let Some(before) = key.as_ref().and_then(|key| unit.replies.get(key)) {
                if before.fingerprint != fingerprint {
                    return Err(ApiError::KeyReused);
                }
                let told = serde_json::from_slice(&before.body).map_err(ApiError::internal)?;
                let status = StatusCode::from_u16(before.status).map_err(ApiError::internal)?;
                return Ok(Done { status, told });
            }
            let done = work(unit)?;
            if let Some(key) = &key {
                let body = serde_json::to_vec(&done.told).map_err(ApiError::internal)?;
                unit.replies.put(key.clone(), Reply { fingerprint, status: done.status.as_u16(), body, at: now });
            }
            Ok(done)
        })
    };
    let done = service.store.run(now, needs, attempt).await??;
    Ok(json(done.status, &finish(done.told)?))
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, answer: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(answer).expect("answers hold only integers, text and lists");
    (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}
