//! What the operator's systems ask before a transfer, and tell about an account.

use axum::extract::State;
use axum::response::Response;
use plimsoll_model::online::{Rule, Verdict};
use plimsoll_model::standing::{Cause, Party};
use plimsoll_model::{Money, UtcSeconds};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::commit::{Done, commit};
use super::{Service, rules};
use crate::border::{ApiError, Identity, Role};
use crate::ledger::online::{self, RefuseTransfer};
use crate::ledger::signals;
use crate::record::AccountId;
use crate::unit::{Needs, Unit};

/// A transfer that is about to happen.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Transfer {
    /// Who pays.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9._:-]{1,64}$")]
    account: AccountId,
    /// Who is paid.
    #[schema(min_length = 1, max_length = 200)]
    payee: String,
    /// Minor units.
    #[schema(value_type = u64, maximum = 1_000_000_000_000_000_u64)]
    amount: Money,
}

/// Whether it goes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Checked {
    /// Whether.
    #[schema(value_type = super::view::VerdictName)]
    verdict: Verdict,
    /// Every rule it met, worst first.
    #[schema(value_type = Vec<String>)]
    rules: Vec<Rule>,
}

/// Judges a transfer before it happens. What is let through counts from now on.
#[utoipa::path(post, path = "/v1/transfers/check", tag = "bridge", request_body = Transfer, responses(
    (status = 200, description = "Whether it goes", body = Checked), (status = 404, description = "No such account")))]
pub(super) async fn check(
    State(service): State<Service>,
    who: Identity,
    body: Body<Transfer>,
) -> Result<Response, ApiError> {
    who.bridge()?;
    let asked = body.asked.clone();
    if !(1..=200).contains(&asked.payee.chars().count()) {
        return Err(ApiError::BadRequest("payee: 1 to 200 characters".into()));
    }
    let needs = Needs { accounts: [asked.account.clone()].into(), ..Needs::default() };
    let active = service.models.for_account(&asked.account);
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let work = move |unit: &mut Unit| {
        let rules = rules(&active, &name, overdraft, now);
        let (verdict, met) = online::check(unit, &rules, &asked.account, &asked.payee, asked.amount)?;
        Ok(Done::ok(Checked { verdict, rules: met }))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

impl From<RefuseTransfer> for ApiError {
    fn from(refused: RefuseTransfer) -> Self {
        match refused {
            RefuseTransfer::UnknownAccount => Self::NotFound("account"),
            RefuseTransfer::NoRules => Self::Conflict(refused.to_string()),
        }
    }
}

/// Something that was noticed about an account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Signal {
    /// About whom.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9._:-]{1,64}$")]
    account: AccountId,
    /// What.
    #[schema(value_type = super::view::CauseName)]
    cause: Cause,
    /// When it happened, UTC seconds; not in the future.
    #[schema(value_type = i64, minimum = 0, maximum = 9_000_000_000_i64)]
    at: UtcSeconds,
    /// Whose doing: `holder` weighs; `other` and `unknown` do not.
    #[schema(value_type = super::view::PartyName)]
    party: Party,
}

/// The account's score with it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SignalNoted)]
pub(super) struct Noted {
    /// Fraud score, parts per million.
    fraud_ppm: u32,
}

/// Puts a signal on an account's record.
#[utoipa::path(post, path = "/v1/signals", tag = "bridge", request_body = Signal, responses(
    (status = 200, description = "On the record", body = Noted), (status = 404, description = "No such account")))]
pub(super) async fn signal(
    State(service): State<Service>,
    who: Identity,
    body: Body<Signal>,
) -> Result<Response, ApiError> {
    if who.bridge().is_err() {
        who.admin(Role::Risk)?;
    }
    let asked = body.asked.clone();
    let needs = Needs { accounts: [asked.account.clone()].into(), ..Needs::default() };
    let active = service.models.for_account(&asked.account);
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let by = who.key();
    let work = move |unit: &mut Unit| {
        let rules = rules(&active, &name, overdraft, now);
        let fraud_ppm = signals::note(unit, &rules, &asked.account, asked.cause, asked.at, asked.party, &by)?;
        Ok(Done::ok(Noted { fraud_ppm }))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}
