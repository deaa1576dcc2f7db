//! Whether it lives and whether it can work, for those who watch and those who balance.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::metrics::{CONTENT_TYPE, Metrics};
use crate::border::ApiError;

/// What `/readyz` says of one part.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Part {
    /// It works.
    Ready,
    /// It works with less than it should: shown, but still ready.
    Reduced(String),
    /// Requests would fail.
    Down(String),
}

/// `/readyz`: 200 when no part is down, else 503; the parts by name.
#[must_use]
pub fn readiness(parts: &BTreeMap<&'static str, Part>) -> Response {
    let down = parts.values().any(|part| matches!(part, Part::Down(_)));
    let status = if down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(parts)).into_response()
}

/// `/healthz`: that the process answers.
pub async fn liveness() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], "ok\n").into_response()
}

/// `/metrics`.
///
/// # Errors
/// `Internal` when a metric cannot be written.
pub fn show(metrics: &Metrics) -> Result<Response, ApiError> {
    let text = metrics.render().map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}
