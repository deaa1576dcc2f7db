//! Accounts: opened by the operator's own systems, which also tell what happens on them.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use plimsoll_model::transaction::{Kind, Place};
use plimsoll_model::{Flow, Money, Tier, UtcSeconds};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::commit::{Done, commit, json};
use super::{Service, rules};
use crate::border::{ApiError, Identity, Role};
use crate::ledger::enrol::{self, Opening, RefuseEnrolment};
use crate::ledger::history::{self, Movement, RefuseMovements};
use crate::record::{AccountId, TierFrom};
use crate::unit::{Needs, Unit};

/// Movements in one request.
const MOVEMENTS_MAX: usize = 200;
/// Transactions of a life: no wallet counts so far, and no sum of them overflows.
const LIFETIME_MAX: u64 = 1_000_000_000_000;
/// Seconds since 1970 that a plan may be about.
const TIME_MAX: i64 = 9_000_000_000;
/// Characters of a name or a reason.
const TEXT_MAX: usize = 200;

/// An account's name out of a path.
pub(super) fn named(id: String) -> Result<AccountId, ApiError> {
    AccountId::try_from(id).map_err(|e| ApiError::BadRequest(format!("account: {e}")))
}

/// A new account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Open {
    /// When it was opened, UTC seconds.
    #[schema(value_type = i64, minimum = 0, maximum = 9_000_000_000_i64)]
    opened_at: UtcSeconds,
    /// Its KYC tier; the programme has to know it.
    #[schema(value_type = u8, maximum = 3)]
    tier: Tier,
    /// In it, minor units; below zero is owed.
    #[schema(minimum = -1_000_000_000_000_000_i64, maximum = 1_000_000_000_000_000_i64)]
    balance: i64,
    /// Transactions in its life before the service counts them.
    #[serde(default)]
    #[schema(maximum = 1_000_000_000_000_u64)]
    lifetime_tx: u64,
    /// Loaded by hand, where the programme has such a wallet, minor units.
    #[serde(default)]
    #[schema(value_type = u64, maximum = 1_000_000_000_000_000_u64)]
    manual_wallet: Money,
}

/// An account as it stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Standing {
    /// Its name.
    account: String,
    /// Its tier now.
    tier: u8,
    /// What API clients call the tier.
    policy_class: String,
    /// Minor units; below zero is owed.
    balance: i64,
    /// Rises with every change of the balance.
    balance_version: u64,
    /// Fraud score, parts per million.
    fraud_ppm: u32,
    /// Live devices, by key thumbprint.
    devices: Vec<Device>,
}

/// A device of an account.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct Device {
    /// Its key's thumbprint.
    jkt: String,
    /// `seq` of its newest grant.
    seq: u64,
    /// Up to this payment number nothing is missing.
    seen: u64,
    /// What its grants may still turn into payments, minor units.
    #[schema(value_type = u64)]
    outstanding: Money,
}

fn standing(unit: &Unit, rules: &crate::ledger::Rules<'_>, id: &AccountId) -> Result<Standing, ApiError> {
    let account = unit.accounts.get(id).ok_or(ApiError::NotFound("account"))?;
    let live = account.wallets.iter().filter(|w| w.revoked_at.is_none());
    let device = |w: &crate::record::Wallet| Device {
        jkt: w.jkt.to_string(),
        seq: w.seq,
        seen: w.seen,
        outstanding: w.outstanding(rules.now),
    };
    let tier = account.tier(rules.now);
    Ok(Standing {
        account: id.to_string(),
        tier: tier.level(),
        policy_class: rules.policy.tier(tier).class.clone(),
        balance: account.balance_minor(),
        balance_version: account.version,
        fraud_ppm: rules.fraud_ppm(account),
        devices: live.map(device).collect(),
    })
}

/// Opens an account. The same opening again changes nothing.
#[utoipa::path(put, path = "/v1/accounts/{id}", tag = "bridge", params(("id" = String, Path, description = "Its name")),
    request_body = Open, responses(
    (status = 201, description = "Opened", body = Standing),
    (status = 200, description = "It was there", body = Standing),
    (status = 409, description = "It is there, opened otherwise"),
))]
pub(super) async fn open(
    State(service): State<Service>,
    who: Identity,
    Path(id): Path<String>,
    body: Body<Open>,
) -> Result<Response, ApiError> {
    who.bridge()?;
    let id = named(id)?;
    let asked = body.asked.clone();
    if asked.lifetime_tx > LIFETIME_MAX {
        return Err(ApiError::BadRequest(format!("lifetime_tx: at most {LIFETIME_MAX}")));
    }
    if asked.opened_at > service.now() || asked.opened_at.0 < 0 {
        return Err(ApiError::BadRequest("opened_at: is in the future, or before 1970".into()));
    }
    let opening = Opening {
        opened_at: asked.opened_at,
        tier: asked.tier,
        balance: Flow::from_minor(asked.balance).map_err(|e| ApiError::BadRequest(format!("balance: {e}")))?.minor(),
        lifetime_tx: asked.lifetime_tx,
        manual_wallet: asked.manual_wallet,
    };
    let needs = Needs { accounts: [id.clone()].into(), ..Needs::default() };
    let active = service.models.for_account(&id);
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let work = move |unit: &mut Unit| {
        let rules = rules(&active, &name, overdraft, now);
        let new = enrol::open(unit, &rules, &id, &opening)?;
        let told = standing(unit, &rules, &id)?;
        Ok(if new { Done::created(told) } else { Done::ok(told) })
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

/// An account as it stands: its holder's own, or for support.
#[utoipa::path(get, path = "/v1/accounts/{id}", tag = "wallet", params(("id" = String, Path, description = "Its name")),
    responses((status = 200, description = "As it stands", body = Standing), (status = 404, description = "No such account")))]
pub(super) async fn read(
    State(service): State<Service>,
    who: Identity,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = named(id)?;
    if who.admin(Role::Support).is_err() {
        who.acts_for(&id)?;
    }
    let unit = service.store.look(Needs { accounts: [id.clone()].into(), ..Needs::default() }).await?;
    let active = service.models.for_account(&id);
    let name = service.issuer();
    let rules = rules(&active, &name, service.overdraft, service.now());
    Ok(json(StatusCode::OK, &standing(&unit, &rules, &id)?))
}

/// What happened on an account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Movements {
    /// At most 200, in any order.
    #[schema(min_items = 1, max_items = 200)]
    transactions: Vec<MovementIn>,
}

/// One movement.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MovementIn {
    /// Its name in the operator's ledger: a second one of that name changes nothing. Printable ASCII, not beginning with
    /// `offline:`.
    #[schema(pattern = "^[!-~][ -~]{0,199}$")]
    id: String,
    /// When, UTC seconds.
    #[schema(value_type = i64, minimum = 0, maximum = 9_000_000_000_i64)]
    at: UtcSeconds,
    /// Minor units: debits below zero, credits above.
    #[schema(minimum = -1_000_000_000_000_000_i64, maximum = 1_000_000_000_000_000_i64)]
    amount: i64,
    /// What for.
    #[schema(value_type = super::view::KindName)]
    kind: Kind,
    /// The other side.
    #[serde(default)]
    #[schema(max_length = 200)]
    payee: String,
    /// Where: latitude and longitude in millionths of a degree.
    #[serde(default)]
    #[schema(value_type = Option<Vec<i32>>, min_items = 2, max_items = 2)]
    place: Option<(i32, i32)>,
}

/// What became of them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Taken {
    /// Folded in.
    new: u64,
    /// Known already.
    known: u64,
    /// Of the new ones, folded in later than they happened.
    late: u64,
    /// The account's balance, minor units.
    balance: i64,
    /// Rises with every change of the balance.
    balance_version: u64,
}

/// Tells what happened on an account. All of it is taken, or nothing.
#[utoipa::path(post, path = "/v1/accounts/{id}/transactions", tag = "bridge",
    params(("id" = String, Path, description = "The account")), request_body = Movements, responses(
    (status = 200, description = "Taken", body = Taken), (status = 404, description = "No such account")))]
pub(super) async fn transactions(
    State(service): State<Service>,
    who: Identity,
    Path(id): Path<String>,
    body: Body<Movements>,
) -> Result<Response, ApiError> {
    who.bridge()?;
    let id = named(id)?;
    let asked = &body.asked.transactions;
    if !(1..=MOVEMENTS_MAX).contains(&asked.len()) {
        return Err(ApiError::BadRequest(format!("transactions: 1 to {MOVEMENTS_MAX}")));
    }
    let movements = asked.iter().map(movement).collect::<Result<Vec<_>, _>>()?;
    let needs = history::needs(&id, &movements);
    let active = service.models.for_account(&id);
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let work = move |unit: &mut Unit| {
        let rules = rules(&active, &name, overdraft, now);
        let t = history::take(unit, &rules, &id, &movements)?;
        let told = Taken { new: t.new, known: t.known, late: t.late, balance: t.balance, balance_version: t.version };
        Ok(Done::ok(told))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

fn movement(asked: &MovementIn) -> Result<Movement, ApiError> {
    let wrong = |field: &str, why: &dyn std::fmt::Display| {
        ApiError::BadRequest(format!("transactions: {:?}: {field}: {why}", asked.id))
    };
    let printable = asked.id.bytes().all(|b| (b' '..=b'~').contains(&b)) && !asked.id.starts_with(' ');
    if !(1..=TEXT_MAX).contains(&asked.id.len()) || !printable || asked.id.starts_with("offline:") {
        return Err(wrong("id", &"1 to 200 printable ASCII characters, not beginning with offline:"));
    }
    if asked.payee.chars().count() > TEXT_MAX {
        return Err(wrong("payee", &"at most 200 characters"));
    }
    if asked.at.0 < 0 {
        return Err(wrong("at", &"before 1970"));
    }
    let place = |(latitude_e6, longitude_e6): (i32, i32)| {
        let on_earth = latitude_e6.unsigned_abs() <= 90_000_000 && longitude_e6.unsigned_abs() <= 180_000_000;
        on_earth.then_some(Place { latitude_e6, longitude_e6 }).ok_or_else(|| wrong("place", &"not on earth"))
    };
    Ok(Movement {
        name: asked.id.clone(),
        at: asked.at,
        amount: Flow::from_minor(asked.amount).map_err(|e| wrong("amount", &e))?,
        kind: asked.kind,
        payee: asked.payee.clone(),
        place: asked.place.map(place).transpose()?,
    })
}

/// A change of tier.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Kyc {
    /// Which; the programme has to know it.
    #[schema(value_type = u8, maximum = 3)]
    tier: Tier,
    /// From when, UTC seconds; now when left out, and never before now.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 9_000_000_000_i64)]
    from: Option<UtcSeconds>,
    /// Why, for the audit trail.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
}

/// Changes an account's tier. Later changes that were planned are dropped.
#[utoipa::path(put, path = "/v1/accounts/{id}/kyc", tag = "bridge",
    params(("id" = String, Path, description = "The account")), request_body = Kyc, responses(
    (status = 200, description = "Changed", body = Standing), (status = 404, description = "No such account")))]
pub(super) async fn kyc(
    State(service): State<Service>,
    who: Identity,
    Path(id): Path<String>,
    body: Body<Kyc>,
) -> Result<Response, ApiError> {
    who.bridge()?;
    let id = named(id)?;
    let asked = body.asked.clone();
    if !(1..=TEXT_MAX).contains(&asked.reason.chars().count()) {
        return Err(ApiError::BadRequest("reason: 1 to 200 characters".into()));
    }
    if asked.from.is_some_and(|from| !(0..=TIME_MAX).contains(&from.0)) {
        return Err(ApiError::BadRequest("from: seconds from 1970, before the year 2255".into()));
    }
    let needs = Needs { accounts: [id.clone()].into(), ..Needs::default() };
    let active = service.models.for_account(&id);
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let by = who.key();
    let work = move |unit: &mut Unit| {
        let rules = rules(&active, &name, overdraft, now);
        let to = TierFrom { tier: asked.tier, from: asked.from.unwrap_or(now) };
        enrol::set_tier(unit, &rules, &id, to, &by, &asked.reason)?;
        Ok(Done::ok(standing(unit, &rules, &id)?))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

impl From<RefuseEnrolment> for ApiError {
    fn from(refused: RefuseEnrolment) -> Self {
        match refused {
            RefuseEnrolment::UnknownAccount => Self::NotFound("account"),
            RefuseEnrolment::UnknownDevice => Self::NotFound("device"),
            RefuseEnrolment::DeviceLimit { .. } => Self::DeviceLimit(refused.to_string()),
            RefuseEnrolment::UnknownTier { .. } => Self::BadRequest(format!("tier: {refused}")),
            RefuseEnrolment::Key(_) => Self::BadRequest(format!("public_key: {refused}")),
            RefuseEnrolment::Exists | RefuseEnrolment::Revoked | RefuseEnrolment::TooManyChanges => {
                Self::Conflict(refused.to_string())
            }
        }
    }
}

impl From<RefuseMovements> for ApiError {
    fn from(refused: RefuseMovements) -> Self {
        match refused {
            RefuseMovements::UnknownAccount => Self::NotFound("account"),
            RefuseMovements::Future { .. } | RefuseMovements::Sign { .. } => {
                Self::BadRequest(format!("transactions: {refused}"))
            }
        }
    }
}
