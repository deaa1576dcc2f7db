//! Releases: which decide, how far each has come, and what somebody orders of one. The log has the order before it is
//! followed, so none goes without its entry.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use plimsoll_model::{Tier, UtcSeconds};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Service;
use super::body::Body;
use super::commit::{Done, commit, json as answer};
use crate::border::{ApiError, Identity, Role};
use crate::models::replicas::{self, Order};
use crate::models::{EVERYONE, Pulled, ReleaseStatus};
use crate::record::AccountId;
use crate::unit::{Entry, Needs, Unit};

/// Characters of a reason.
const REASON_MAX: usize = 500;

/// What is known of the releases.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Releases {
    /// Newest first.
    releases: Vec<Release>,
    /// When this replica last looked at its repository, UTC seconds.
    #[schema(value_type = Option<i64>)]
    checked_at: Option<UtcSeconds>,
    /// Why it was refused then, if it was.
    refused: Option<String>,
}

/// A release.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct Release {
    /// Of its manifest.
    version: u64,
    /// The model line.
    model_id: String,
    /// SHA-256 of its model, base64url.
    digest: String,
    /// Share of the accounts it decides for, parts per million.
    share_ppm: u32,
    /// It decides for some accounts now.
    deciding: bool,
    /// Its signers withdrew it.
    withdrawn: bool,
    /// Why it was pulled back, if it was.
    pulled_back: Option<String>,
    /// Why this replica cannot run it.
    unavailable: Option<String>,
    /// Accounts whose device compared its limit with ours.
    compared: u64,
    /// Of those, accounts whose device came to another.
    unequal: u64,
    /// Whether its promise holds, by tier.
    promises: Vec<Promise>,
}

/// What ended windows say of a promise.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct Promise {
    /// The tier's level.
    tier: u8,
    /// Windows since the last alarm.
    windows: u64,
    /// Of those, windows with less headroom than their limit.
    lost: u64,
    /// Evidence against the promise: 1 says nothing, 1/δ is an alarm.
    e_value: f64,
    /// Alarms so far.
    alarms: u32,
    /// Of every limit, the share that is granted, parts per million: the smallest that alarms, people and the margin leave.
    granted_ppm: u32,
    /// Of every limit, the share that the margin leaves, parts per million: it follows what was lost, both ways.
    margin_ppm: u32,
}

fn release(service: &Service, status: ReleaseStatus) -> Release {
    let ReleaseStatus { digest, ring, compared, deciding, withdrawn, unavailable } = status;
    let monitor = service.models.monitor(&digest);
    let margin = service.models.margin(&digest);
    let promise = |tier: Tier| {
        let monitor = monitor.as_ref()?;
        let watch = monitor.watch(tier);
        let margin_ppm = margin.as_ref().map_or(EVERYONE, |margin| margin.granted_ppm(tier));
        Some(Promise {
            tier: tier.level(),
            windows: watch.windows,
            lost: watch.loss_ppm / u64::from(EVERYONE),
            e_value: monitor.e_value(tier),
            alarms: watch.alarms,
            granted_ppm: ring.granted_ppm.get(&tier).copied().unwrap_or(EVERYONE).min(margin_ppm),
            margin_ppm,
        })
    };
    let tiers = (0..Tier::COUNT as u8).filter_map(|level| Tier::new(level).ok());
    Release {
        version: ring.model_version,
        digest: digest.to_string(),
        share_ppm: ring.share_ppm,
        deciding,
        withdrawn,
        pulled_back: ring.pulled.as_ref().map(|pulled| pulled.why.clone()),
        unavailable,
        compared: compared.accounts,
        unequal: compared.unequal,
        promises: tiers.filter_map(promise).collect(),
        model_id: ring.model_id,
    }
}

/// The releases that were ever served, how far each has come, and whether its promise holds.
#[utoipa::path(get, path = "/v1/admin/models", tag = "desk", responses(
    (status = 200, description = "Newest first", body = Releases)))]
pub(super) async fn list(State(service): State<Service>, who: Identity) -> Result<Response, ApiError> {
    who.admin(Role::Viewer)?;
    let status = service.models.status();
    let releases = status.releases.into_iter().map(|status| release(&service, status)).collect();
    let told = Releases { releases, checked_at: status.checked_at, refused: status.refused };
    Ok(answer(StatusCode::OK, &told))
}

/// A wider ring.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Widen {
    /// Share of the accounts that the release is to decide for, parts per million. A ring never narrows.
    #[schema(maximum = 1_000_000)]
    share_ppm: u32,
    /// Why, for the audit trail.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Why a release is pulled back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PullBack {
    /// For the audit trail, and for whoever looks at the release.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// An order that all replicas follow.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Ordered {
    /// Of the release.
    version: u64,
    /// What was ordered: `widen` or `pull_back`.
    ordered: String,
}

/// Gives a release to more accounts. Other replicas follow within `programme.watch_s`.
#[utoipa::path(post, path = "/v1/admin/models/{version}/widen", tag = "desk",
    params(("version" = u64, Path, description = "The release's version")), request_body = Widen, responses(
    (status = 200, description = "It is ordered", body = Ordered), (status = 404, description = "No such release"),
    (status = 409, description = "It was pulled back, or decides for more accounts already")))]
pub(super) async fn widen(
    State(service): State<Service>,
    who: Identity,
    Path(version): Path<String>,
    body: Body<Widen>,
) -> Result<Response, ApiError> {
    let (share_ppm, reason) = (body.asked.share_ppm, reason(&body.asked.reason)?);
    let entry = json!({ "ordered": "widen", "share_ppm": share_ppm, "reason": reason });
    give(&service, &who, &body, version, Order::Widen(share_ppm), entry).await
}

/// Takes a release back, for good: the one before it decides again, or the static floor.
#[utoipa::path(post, path = "/v1/admin/models/{version}/pull-back", tag = "desk",
    params(("version" = u64, Path, description = "The release's version")), request_body = PullBack, responses(
    (status = 200, description = "It is ordered", body = Ordered), (status = 404, description = "No such release")))]
pub(super) async fn pull_back(
    State(service): State<Service>,
    who: Identity,
    Path(version): Path<String>,
    body: Body<PullBack>,
) -> Result<Response, ApiError> {
    let reason = reason(&body.asked.reason)?;
    let entry = json!({ "ordered": "pull_back", "reason": reason });
    let order = Order::PullBack(Pulled { at: service.now(), why: reason });
    give(&service, &who, &body, version, order, entry).await
}

async fn give<B>(
    service: &Service,
    who: &Identity,
    body: &Body<B>,
    version: String,
    order: Order,
    mut entry: serde_json::Value,
) -> Result<Response, ApiError> {
    who.admin(Role::Admin)?;
    let version: u64 = version.parse().map_err(|_| ApiError::BadRequest("version: not a release's number".into()))?;
    let name = match order {
        Order::Widen(_) => "widen",
        Order::PullBack(_) => "pull_back",
    };
    // What this replica knows and has not told yet, the order may be about.
    service.models.share(&service.store).await?;
    let follows = order.follow(&mut service.models.rollout(), version);
    entry["version"] = version.into();
    entry["by"] = who.key().into();
    let work = move |unit: &mut Unit| {
        follows.clone()?;
        unit.entries.push(Entry::new("model", AccountId::none(), &entry));
        Ok(Done::ok(Ordered { version, ordered: name.to_owned() }))
    };
    let told = commit(service, who, body, Needs::default(), work, Ok).await?;
    // Again for a repeated request, whose first one may have ended here. Whoever ordered more meanwhile has the last word.
    if let Err(overtaken) = replicas::order(&service.store, version, &order).await? {
        tracing::info!(%overtaken, "an order for a release was overtaken");
    }
    service.models.share(&service.store).await?;
    Ok(told)
}

fn reason(text: &str) -> Result<String, ApiError> {
    let reason = text.trim();
    if (1..=REASON_MAX).contains(&reason.chars().count()) {
        return Ok(reason.to_owned());
    }
    Err(ApiError::BadRequest(format!("reason: 1 to {REASON_MAX} characters")))
}
