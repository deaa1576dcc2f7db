//! Running it: what it tells about itself, how it listens, and how it stops.

pub mod metrics;

pub mod process;

pub mod health;

pub mod server;

#[cfg(feature = "https")]
mod tls;

#[cfg(feature = "otlp")]
pub(crate) mod otlp;

pub mod trace;

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::app::App;

/// `/healthz` and `/readyz`, for who balances and restarts.
pub fn health_routes(app: &App) -> Router {
    let ready = |State(app): State<App>| async move { health::readiness(&app.readiness().await) };
    Router::new().route("/healthz", get(health::liveness)).route("/readyz", get(ready)).with_state(app.clone())
}

/// `/metrics`, for who watches.
pub fn metrics_routes(app: &App) -> Router {
    let shown = |State(app): State<App>| async move {
        app.metrics.store.queued.set(i64::try_from(app.store.waiting()).unwrap_or(i64::MAX));
        health::show(&app.metrics)
    };
    Router::new().route("/metrics", get(shown)).with_state(app.clone())
}
