//! The API, version 1: what is asked and answered as JSON, and nothing else. What decides is in [`crate::ledger`].
//!
//! Amounts are integer minor units, times UTC seconds, ages minutes. A field that is not known is refused by name, except
//! where a client of an older system sends its own ([`score`]). What a client says of its tier, balance or features never
//! decides anything.

mod body;

mod commit;

mod describe;

mod view;

pub mod account;

pub mod device;

pub mod explain;

pub mod model;

pub mod score;

pub mod settle;

pub mod sync;

pub mod transfer;

use plimsoll_model::UtcSeconds;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::clock::Clock;
use crate::issuer::GrantKeys;
use crate::ledger::{Overdraft, Rules};
use crate::models::{Active, Models, delivery};
use crate::store::Store;

pub use commit::InFlight;

/// What handlers share.
#[derive(Clone, Debug)]
pub struct Service {
    /// What is remembered.
    pub store: Store,
    /// What limits are computed by.
    pub models: Models,
    /// Signs grants.
    pub keys: GrantKeys,
    /// The time.
    pub clock: Clock,
    /// Who bears a payment that the balance does not cover.
    pub overdraft: Overdraft,
    /// Requests with an idempotency key that are being worked on.
    pub in_flight: InFlight,
}

impl Service {
    pub(crate) fn now(&self) -> UtcSeconds {
        self.clock.now()
    }

    /// The issuer's name in grants.
    pub(crate) fn issuer(&self) -> String {
        self.keys.issuer().to_owned()
    }
}

/// The rules of a model at an instant.
pub(crate) fn rules<'a>(active: &'a Active, issuer: &'a str, overdraft: Overdraft, now: UtcSeconds) -> Rules<'a> {
    Rules {
        issuer,
        policy: active.policy(),
        policy_sha256: Some(active.policy_sha256()),
        basis: active.basis(),
        granted_ppm: active.granted(),
        overdraft,
        now,
    }
}

/// The document that [`router`] fills in.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Plimsoll",
        description = "Offline spending limits with a stated and checked guarantee: refreshed on sync, granted, settled.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(describe::Refused)),
    paths(delivery::everybodys, delivery::ones_own, delivery::issuer_keys, delivery::score_policy),
    tags(
        (name = "wallet", description = "What a holder's device asks."),
        (name = "bridge", description = "What the operator's own systems tell."),
        (name = "desk", description = "What the operator's people do.")
    )
)]
struct Document;

/// The protected routes under `/v1`, and their description.
pub fn router() -> OpenApiRouter<Service> {
    let mut router = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(sync::sync))
        .routes(routes!(score::refresh))
        .routes(routes!(score::rows))
        .routes(routes!(account::open, account::read))
        .routes(routes!(account::transactions))
        .routes(routes!(account::kyc))
        .routes(routes!(device::enrol))
        .routes(routes!(device::revoke))
        .routes(routes!(settle::settle))
        .routes(routes!(settle::dispute))
        .routes(routes!(settle::resolve))
        .routes(routes!(transfer::signal))
        .routes(routes!(transfer::check))
        .routes(routes!(explain::explain))
        .routes(routes!(model::list))
        .routes(routes!(model::widen))
        .routes(routes!(model::pull_back));
    describe::complete(router.get_openapi_mut());
    router
}
