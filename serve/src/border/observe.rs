//! Around every request: its id, its line in the log, its time, and the envelope of a refusal.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::Border;
use super::admit::bounded;
use super::error::{ApiError, Refusal};
use crate::ops::metrics::Request as Labels;
#[cfg(feature = "otlp")]
use crate::ops::otlp;

/// Where the request id comes in and goes out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name of one request: the caller's where it is sane, else drawn. In every answer, envelope and log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Its text: 8 to 64 letters, digits, `-` and `_`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(request: &Request) -> Self {
        let mut given = request.headers().get_all(&REQUEST_ID).iter();
        let sane = |id: &&str| {
            (8..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        match (given.next().and_then(|id| id.to_str().ok()).filter(sane), given.next()) {
            (Some(id), None) => Self(id.into()),
            _ => Self::draw(),
        }
    }

    fn draw() -> Self {
        use base64ct::{Base64UrlUnpadded, Encoding as _};
        let mut bytes = [0; 16];
        // Without randomness ids may repeat; requests are still served.
        let _ = getrandom::fill(&mut bytes);
        Self(Base64UrlUnpadded::encode_string(&bytes).into())
    }
}

/// The outermost layer.
pub(super) async fn observe(State(border): State<Arc<Border>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    // The template, never the path: paths hold account names.
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = known_method(request.method());
    let probed = matches!(route.as_str(), "/healthz" | "/readyz" | "/metrics");
    let span = if probed {
        tracing::debug_span!("request", id = id.as_str(), method, route)
    } else {
        tracing::info_span!(
            "request",
            id = id.as_str(),
            method,
            route,
            otel.name = Empty,
            otel.kind = Empty,
            otel.status_code = Empty
        )
    };
    #[cfg(feature = "otlp")]
    otlp::describe(&span, request.headers(), method, &route);

    border.metrics.http.in_flight.inc();
    let in_flight = InFlight(&border);
    let mut response = bounded(&border, request, next).instrument(span.clone()).await;
    drop(in_flight);

    let refusal = match (response.extensions_mut().remove::<Refusal>(), response.status()) {
        (Some(Refusal(refusal)), _) => Some(refusal),
        // axum's own, whose text is not the envelope.
        (None, StatusCode::METHOD_NOT_ALLOWED) => Some(ApiError::MethodNotAllowed),
        (None, _) => None,
    };
    if let Some(refusal) = &refusal {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = refusal.clone().into_response();
        response.extensions_mut().remove::<Refusal>();
        *response.body_mut() = Body::from(refusal.envelope(Some(id.as_str())));
        response.headers_mut().remove(header::CONTENT_LENGTH);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    response.headers_mut().insert(REQUEST_ID, HeaderValue::from_str(id.as_str()).expect("letters and digits"));

    let took = began.elapsed();
    let status = response.status();
    #[cfg(feature = "otlp")]
    otlp::ended(&span, status.as_u16());
    let labels = Labels { route, method, status: status.into() };
    border.metrics.http.duration_s.get_or_create(&labels).observe(took.as_secs_f64());
    span.in_scope(|| {
        let (status, us) = (status.as_u16(), took.as_micros() as u64);
        match &refusal {
            Some(ApiError::Internal { cause }) => tracing::error!(status, us, cause, "failed"),
            Some(refusal) => tracing::info!(status, us, code = refusal.code(), "refused"),
            // Every few seconds, and nothing is learned from it.
            None if probed => tracing::debug!(status, us, "answered"),
            None => tracing::info!(status, us, "answered"),
        }
    });
    response
}

/// Counts down even when the connection goes while the request is worked on.
struct InFlight<'a>(&'a Border);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.http.in_flight.dec();
    }
}

/// A label takes few values, whatever clients send.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
