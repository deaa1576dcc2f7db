//! Devices: a key is enrolled for an account, and revoked when the device is lost.

use axum::extract::{Path, State};
use axum::response::Response;
use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::{Bytes, Thumbprint};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::commit::{Done, commit};
use super::{Service, rules};
use crate::border::{ApiError, Identity, Role};
use crate::ledger::enrol;
use crate::record::AccountId;
use crate::unit::{Needs, Unit};

/// A device's key.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Enrol {
    /// For which account; a holder's own when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9._:-]{1,64}$")]
    account: Option<AccountId>,
    /// Ed25519, 32 bytes, base64url; not every 32 bytes are a key.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
    public_key: Bytes<32>,
    /// Until when the operator has found the device's attestation to hold, UTC seconds. Only a bridge may say so.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 9_000_000_000_i64)]
    attested_until: Option<UtcSeconds>,
}

/// An enrolled device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Enrolled {
    /// Its key's thumbprint (RFC 7638): what grants name it by.
    jkt: String,
    /// What it may be granted at first, minor units; none when the programme has no such cap.
    initial_cap: Option<u64>,
}

/// Enrols a device's key. Small-order keys are refused; at most `devices_max` of the policy are live.
#[utoipa::path(post, path = "/v1/devices", tag = "wallet", request_body = Enrol, responses(
    (status = 200, description = "Enrolled", body = Enrolled),
    (status = 409, description = "Too many devices, or a revoked key"),
))]
pub(super) async fn enrol(
    State(service): State<Service>,
    who: Identity,
    body: Body<Enrol>,
) -> Result<Response, ApiError> {
    let asked = body.asked.clone();
    let id = account_of(&who, asked.account)?;
    if asked.attested_until.is_some() {
        who.bridge().map_err(|_| ApiError::Forbidden("attested_until: only a bridge may say so"))?;
    }
    let needs = Needs { accounts: [id.clone()].into(), ..Needs::default() };
    let active = service.models.for_account(&id);
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let work = move |unit: &mut Unit| {
        let rules = rules(&active, &name, overdraft, now);
        let jkt = enrol::enrol(unit, &rules, &id, &asked.public_key.0, asked.attested_until)?;
        let initial_cap = rules.policy.new_device_cap.map(plimsoll_model::Money::minor);
        Ok(Done::ok(Enrolled { jkt: jkt.to_string(), initial_cap }))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

/// Why a device is revoked.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    /// For which account; a holder's own when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9._:-]{1,64}$")]
    account: Option<AccountId>,
    /// Why, for the audit trail.
    #[serde(default)]
    reason: String,
}

/// It is revoked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Revoked {
    /// Its key's thumbprint.
    revoked: String,
}

/// Revokes a device from now on. What it signed before still settles.
#[utoipa::path(post, path = "/v1/devices/{jkt}/revoke", tag = "wallet",
    params(("jkt" = String, Path, description = "Its key's thumbprint")), request_body = Revoke, responses(
    (status = 200, description = "Revoked", body = Revoked), (status = 404, description = "No such device")))]
pub(super) async fn revoke(
    State(service): State<Service>,
    who: Identity,
    Path(jkt): Path<String>,
    body: Body<Revoke>,
) -> Result<Response, ApiError> {
    let asked = body.asked.clone();
    let id = match (&who, &asked.account) {
        (Identity::Admin { .. }, Some(account)) => {
            who.admin(Role::Support)?;
            account.clone()
        }
        _ => account_of(&who, asked.account.clone())?,
    };
    let jkt = Thumbprint::try_from(jkt).map_err(|_| ApiError::BadRequest("jkt: not a thumbprint".into()))?;
    let needs = Needs { accounts: [id.clone()].into(), ..Needs::default() };
    let active = service.models.for_account(&id);
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let by = who.key();
    let work = move |unit: &mut Unit| {
        let rules = rules(&active, &name, overdraft, now);
        let reason: String = asked.reason.chars().take(200).collect();
        enrol::revoke(unit, &rules, &id, &jkt, &by, &reason)?;
        Ok(Done::ok(Revoked { revoked: jkt.to_string() }))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

/// For whom a request is: a holder's own account, or the one that a bridge names.
pub(super) fn account_of(who: &Identity, named: Option<AccountId>) -> Result<AccountId, ApiError> {
    let own = match who {
        Identity::Holder { account, .. } => Some(account.clone()),
        Identity::Bridge { .. } | Identity::Admin { .. } => None,
    };
    let id = named.or(own).ok_or_else(|| ApiError::BadRequest("account: whose?".into()))?;
    who.acts_for(&id)?;
    Ok(id)
}
