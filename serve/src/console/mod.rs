//! The console: what the operator's people see and do, as plain pages.
//!
//! ```text
//! token ─► sign-in ─► session in the store ─► cookie ─► page: reads, without locks
//!                                                  └──► form + CSRF token + role ─► ledger ─► Store::run ─► log, redirect
//! ```
//!
//! Pages are rendered here and need no script, no build and nobody else's server; the content security policy forbids
//! whatever is not ours. What a form does is what the API does: the same rules, the same transaction, the same log.

mod words;

mod chart;

mod session;

mod page;

mod sign_in;

mod overview;

mod accounts;

mod account;

mod act;

mod models;

mod log;

mod docs;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::middleware::map_response;
use axum::routing::{get, post};

pub use docs::router as docs;

use crate::api::Service;
use crate::border::Border;

/// What the pages share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Console(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Service,
    border: Arc<Border>,
    /// Scheme and authority that browsers call it by.
    origin: String,
    totals: Mutex<Option<overview::Totals>>,
}

impl Console {
    /// A console over a service.
    ///
    /// * `origin`: scheme and authority that browsers call it by; with `https` its cookie is sent over nothing else.
    pub fn new(service: Service, border: Arc<Border>, origin: String) -> Self {
        Self(Arc::new(Inner { service, border, origin, totals: Mutex::default() }))
    }

    fn service(&self) -> &Service {
        &self.0.service
    }

    fn is_https(&self) -> bool {
        self.0.origin.starts_with("https://")
    }
}

/// The pages under `/console`. They sign people in themselves: to be served as public routes.
pub fn router<S: Clone + Send + Sync + 'static>(console: Console) -> Router<S> {
    Router::new()
        .route("/console", get(overview::show))
        .route("/console/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/console/sign-out", post(sign_in::leave))
        .route("/console/style.css", get(page::style))
        .route("/console/accounts", get(accounts::show))
        .route("/console/accounts/{id}", get(account::show))
        .route("/console/accounts/{id}/log", get(log::of_account))
        .route("/console/accounts/{id}/revoke", post(act::revoke))
        .route("/console/accounts/{id}/signal", post(act::signal))
        .route("/console/accounts/{id}/resolve", post(act::resolve))
        .route("/console/accounts/{id}/propose", post(act::propose))
        .route("/console/accounts/{id}/confirm", post(act::confirm))
        .route("/console/accounts/{id}/withdraw", post(act::withdraw))
        .route("/console/models", get(models::show))
        .route("/console/models/{version}/widen", post(models::widen))
        .route("/console/models/{version}/pull-back", post(models::pull_back))
        .route("/console/log", get(log::of_no_account))
        .route("/console/{*rest}", get(page::unknown))
        .route_layer(map_response(page::harden))
        .with_state(console)
}
