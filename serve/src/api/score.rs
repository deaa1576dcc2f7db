//! `POST /v1/score/refresh`: the limit at this instant, in our words and in those of the wallet whose API this replaces.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use plimsoll_model::decision::{Situation, confidence};
use plimsoll_model::features::{FEATURE_COUNT, FEATURES, Feature, FeatureVector};
use plimsoll_model::{Money, Tier, UtcSeconds};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::body::Body;
use super::commit::{Done, commit};
use super::device::account_of;
use super::view::Point;
use super::{Service, rules};
use crate::border::{ApiError, Identity, Json, Role};
use crate::models::Active;
use crate::record::AccountId;
use crate::unit::{Entry, Needs, Unit};

/// Features that a request may carry.
const FEATURES_MAX: usize = 128;

/// Asks for an account's limit. What else an older client sends (its balance, its counts) is not looked at.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = ScoreRequest)]
pub(super) struct Request {
    /// Whose; the holder's own when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9._:-]{1,64}$")]
    user_id: Option<AccountId>,
    /// Features as the client computes them, by name: compared with ours, never believed.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, Option<f64>>>)]
    features: Option<BTreeMap<String, Option<f64>>>,
}

/// An account's limit.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ScoreAnswer)]
pub(super) struct Answer {
    /// Whose.
    user_id: String,
    /// What may be spent offline, in major units, as text.
    safe_offline_balance: String,
    /// One minus the certified miss rate of the cell it was computed in; 0 where nothing is certified.
    confidence: f64,
    /// The class of the account's tier.
    policy_class: String,
    /// Programme, version and model.
    policy_version: String,
    /// When, RFC 3339.
    computed_at: String,
    /// The same limit in minor units.
    #[schema(value_type = u64)]
    limit: Money,
    /// What it counts in, e.g. `MYR/2`.
    currency: String,
    /// The limit at every certified age, with reasons.
    curve: Vec<Point>,
    /// Until when it may be shown, UTC seconds.
    #[schema(value_type = i64)]
    valid_until: UtcSeconds,
    /// How the client's own features compare.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    parity: Option<Parity>,
}

/// A client's features against ours.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct Parity {
    /// Features of names that we compute.
    compared: u32,
    /// Of those, not equal as float32.
    unequal: Vec<String>,
}

/// An account's limit at this instant: computed from the service's own record, and logged.
///
/// It is no grant: nothing may be spent by it offline.
#[utoipa::path(post, path = "/v1/score/refresh", tag = "wallet", request_body = Request, responses(
    (status = 200, description = "The limit", body = Answer), (status = 404, description = "No such account"),
    (status = 429, description = "More than the programme's refreshes a minute")))]
pub(super) async fn refresh(
    State(service): State<Service>,
    who: Identity,
    body: Body<Request>,
) -> Result<Response, ApiError> {
    let id = account_of(&who, body.asked.user_id.clone())?;
    let theirs = body.asked.features.clone();
    if theirs.as_ref().is_some_and(|f| f.len() > FEATURES_MAX) {
        return Err(ApiError::BadRequest(format!("features: at most {FEATURES_MAX}")));
    }
    let needs = Needs { accounts: [id.clone()].into(), ..Needs::default() };
    let active = service.models.for_account(&id);
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let work = move |unit: &mut Unit| {
        let rules = rules(&active, &name, overdraft, now);
        let account = unit.accounts.get(&id).ok_or(ApiError::NotFound("account"))?;
        let live = account.wallets.iter().filter(|w| w.revoked_at.is_none());
        let newest = live.clone().map(|w| w.enrolled_at).max().unwrap_or(UtcSeconds(0));
        let pending = live.flat_map(|w| w.carried.iter()).filter(|c| c.until > now).map(|c| c.left);
        let pending = pending.fold(Money::ZERO, Money::saturating_add);
        let situation = rules.situation(account, newest, pending);
        let mut state = account.features.clone();
        let attested = account.wallets.iter().any(|w| w.attested_until.is_some_and(|until| until > now));
        state.set_standing(situation.tier, attested);
        let features = state.snapshot(now);
        let curve = rules.curve(&features, &situation);
        let (_, fresh) = curve.first().ok_or_else(|| ApiError::internal("a curve has a point"))?;
        let policy = rules.policy;
        let told = Answer {
            user_id: id.to_string(),
            safe_offline_balance: policy.currency.format(fresh.limit.minor() as i64),
            confidence: active.evaluator().map_or(0.0, |e| confidence(e.certificate(), situation.tier)),
            policy_class: policy.tier(situation.tier).class.clone(),
            policy_version: policy_version(&active),
            computed_at: now.rfc3339(),
            limit: fresh.limit,
            currency: policy.currency.into(),
            valid_until: fresh.valid_until,
            curve: curve.iter().map(Point::of).collect(),
            parity: theirs.as_ref().map(|theirs| compare(theirs, &features.0)),
        };
        let body = json!({ "limit": told.limit, "policy_version": told.policy_version, "parity": told.parity });
        unit.entries.push(Entry::new("score", id.clone(), &body));
        Ok(Done::ok(told))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

/// Rows in one request.
const ROWS_MAX: usize = 1_000;

/// Rows to score, without an account: for monitoring and for trying a model out.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rows {
    /// At most 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The features in the manifest's order; null where missing.
    #[schema(min_items = 61, max_items = 61)]
    features: Vec<Option<f32>>,
    /// Balance at the sync, minor units.
    #[schema(value_type = u64, maximum = 1_000_000_000_000_000_u64)]
    balance: Money,
    /// KYC tier.
    #[schema(value_type = u8, maximum = 3)]
    tier: Tier,
    /// Minutes since the sync.
    #[serde(default)]
    #[schema(value_type = u64, maximum = 4_294_967_295_u64)]
    age_min: u32,
}

/// Limits, in the order of the rows.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Scored {
    /// Minor units.
    #[schema(value_type = Vec<u64>)]
    limits: Vec<Money>,
    /// The rule that had the last word, for each.
    bounds: Vec<&'static str>,
    /// Programme, version and model.
    policy_version: String,
}

/// Scores rows of features with the model that decides for everyone. Nothing is remembered, and nothing is granted.
#[utoipa::path(post, path = "/v1/score", tag = "bridge", request_body = Rows, responses(
    (status = 200, description = "Limits", body = Scored), (status = 400, description = "A row of another length")))]
pub(super) async fn rows(
    State(service): State<Service>,
    who: Identity,
    Json(asked): Json<Rows>,
) -> Result<Response, ApiError> {
    if who.bridge().is_err() {
        who.admin(Role::Viewer)?;
    }
    if !(1..=ROWS_MAX).contains(&asked.rows.len()) {
        return Err(ApiError::BadRequest(format!("rows: 1 to {ROWS_MAX}")));
    }
    let active = service.models.for_everyone();
    let (now, name) = (service.now(), service.issuer());
    let rules = rules(&active, &name, service.overdraft, now);
    let mut scored = Scored { limits: Vec::new(), bounds: Vec::new(), policy_version: policy_version(&active) };
    for (ix, row) in asked.rows.iter().enumerate() {
        let mut features = FeatureVector([f32::NAN; FEATURE_COUNT]);
        if row.features.len() != FEATURE_COUNT {
            return Err(ApiError::BadRequest(format!("rows[{ix}].features: {FEATURE_COUNT} numbers")));
        }
        for (x, value) in features.0.iter_mut().zip(&row.features) {
            *x = value.unwrap_or(f32::NAN);
        }
        let synced_at = now.plus(-60 * i64::from(row.age_min));
        let decision = rules.decide(&features, &Situation::fresh(row.balance, row.tier, synced_at, u64::MAX));
        scored.limits.push(decision.limit);
        scored.bounds.push(decision.bound.name());
    }
    Ok(super::commit::json(StatusCode::OK, &scored))
}

/// What a limit was computed under: programme, policy and model.
fn policy_version(active: &Active) -> String {
    let policy = active.policy();
    let model = active.version().map_or_else(|| "floor".to_owned(), |version| format!("m{version}"));
    format!("{}.v{}.{model}", policy.programme, policy.version)
}

/// Holds a client's features against ours. Only the age is the client's own to know.
fn compare(theirs: &BTreeMap<String, Option<f64>>, ours: &[f32]) -> Parity {
    let mut parity = Parity { compared: 0, unequal: Vec::new() };
    for (name, value) in theirs {
        let Some(column) = Feature::column(name) else { continue };
        if FEATURES[column].name == "last_sync_age_min" {
            continue;
        }
        parity.compared += 1;
        let same = match value {
            None => ours[column].is_nan(),
            Some(x) => (*x as f32).to_bits() == ours[column].to_bits(),
        };
        if !same {
            parity.unequal.push(name.clone());
        }
    }
    parity
}
