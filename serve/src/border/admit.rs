//! The layers of the API, from the socket inwards.
//!
//! ```text
//! observe (shed, deadline) ─► panics ─┬► public:  rate of the address ─► body within its limits ─► handler
//!                                      └► guarded: rate of the address ─► credential ─► rate of the identity
//!                                                    ─► body within its limits, and its digest ─► handler
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;

use super::error::ApiError;
use super::{Border, Identity, body, observe, route};
use crate::ops::metrics::RateLimited;
use crate::ops::server::peer_of;

/// One service of two routers: `public` serves everybody, `guarded` only those with an [`Identity`].
///
/// Layers are laid on after routing, so they know the route's template; hand in routers with their full paths.
pub fn layered<S: Clone + Send + Sync + 'static>(
    public: Router<S>,
    guarded: Router<S>,
    border: &Arc<Border>,
) -> Router<S> {
    let with = |border: &Arc<Border>| Arc::clone(border);
    let public = match public.has_routes() {
        true => public.route_layer(from_fn_with_state(with(border), admit_anybody)),
        false => public,
    };
    let guarded = match guarded.has_routes() {
        true => guarded.route_layer(from_fn_with_state(with(border), admit_identified)),
        false => guarded,
    };
    public
        .merge(guarded)
        .fallback(|| async { ApiError::NotFound("path") })
        .layer(CatchPanicLayer::custom(|panic: Box<dyn std::any::Any + Send>| {
            let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            ApiError::internal(format!("panic: {}", said.unwrap_or("without a message"))).into_response()
        }))
        .layer(from_fn_with_state(with(border), observe::observe))
}

/// Turns requests away while too many are worked on: a quick no is better than a late yes. Ends one that takes too long:
/// what it began in the store may still be done, so it may safely be sent again.
pub(super) async fn bounded(border: &Border, request: Request, next: Next) -> Response {
    let Ok(_place) = border.places.try_acquire() else {
        border.metrics.http.shed.inc();
        let shed = ApiError::Unavailable { why: "too many requests are being worked on", retry_after_s: 1 };
        return shed.into_response();
    };
    let within = Duration::from_secs(border.server.request_s);
    match tokio::time::timeout(within, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::Unavailable { why: "the request took too long", retry_after_s: 1 }.into_response(),
    }
}

async fn admit_anybody(State(border): State<Arc<Border>>, request: Request, next: Next) -> Response {
    let peer = peer_of(&request, &border.server.trusted_proxies);
    if let Err(wait) = border.peers.take(peer, border.limits.peer_per_minute, Instant::now()) {
        return border.rate_limited("peer", wait).into_response();
    }
    match whole(&border, request).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

async fn admit_identified(State(border): State<Arc<Border>>, request: Request, next: Next) -> Response {
    match border.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// The request with its body in memory.
async fn whole(border: &Border, request: Request) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    let template = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let max = route::body_bytes_max(&border.server, template);
    let bytes = body::read(body, &parts.headers, max, Duration::from_secs(border.server.body_s)).await?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

impl Border {
    pub(super) fn rate_limited(&self, by: &'static str, wait: Duration) -> ApiError {
        self.metrics.border.rate_limited.get_or_create(&RateLimited { by }).inc();
        let retry_after_s = u32::try_from(wait.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
        ApiError::RateLimited { retry_after_s }
    }

    /// The rates of an identity.
    pub(super) fn pace(&self, identity: &Identity, template: &str) -> Result<(), ApiError> {
        let per_minute = match identity {
            Identity::Holder { .. } => self.limits.holder_per_minute,
            Identity::Bridge { .. } => self.limits.bridge_per_minute,
            Identity::Admin { .. } => self.limits.admin_per_minute,
        };
        let now = Instant::now();
        let taken = self.identities.take(identity.key(), per_minute, now);
        taken.map_err(|wait| self.rate_limited("identity", wait))?;
        if matches!(identity, Identity::Holder { .. }) && route::is_refresh(template) {
            let per_minute = self.refresh_per_minute.load(std::sync::atomic::Ordering::Relaxed);
            let taken = self.refreshes.take(identity.key(), per_minute, now);
            taken.map_err(|wait| self.rate_limited("refresh", wait))?;
        }
        Ok(())
    }
}
