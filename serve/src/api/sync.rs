//! `POST /v1/sync`: a device comes back.

use axum::extract::State;
use axum::response::Response;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use plimsoll_model::grant::{Bytes, Form, Grant, Instance, Payment, Thumbprint, TokenId, Verified};
use plimsoll_model::{Money, UtcSeconds};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::commit::{Done, commit};
use super::settle::read_token;
use super::view::{Point, Verdict};
use super::{Service, rules};
use crate::border::{ApiError, Identity};
use crate::ledger::share;
use crate::ledger::sync::{self, RefuseSync, Sync};

/// What a device hands in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Sync)]
pub(super) struct Request {
    /// The life of the wallet's state, 8 bytes, base64url.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$")]
    wid: Instance,
    /// The device's key thumbprint (RFC 7638), base64url; may be left out when the credential is bound to one.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
    jkt: Option<Thumbprint>,
    /// Every payment it has kept: JWS, or base64url of a CWT. At most 128.
    #[serde(default)]
    #[schema(max_items = 128)]
    payments: Vec<String>,
    /// What the device itself had computed last: compared, never believed.
    #[serde(default)]
    computed: Option<Computed>,
    /// The form it wants its grant in; both when not said.
    #[serde(default)]
    form: Option<GrantForm>,
}

/// How a grant is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum GrantForm {
    /// JWS compact, about 600 bytes of text.
    Jws,
    /// CWT in COSE_Sign1, about 200 bytes, base64url.
    Cwt,
}

/// A limit that a device computed by itself.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Computed {
    /// The grant it had then, base64url.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
    grant: TokenId,
    /// Minutes since that grant's sync.
    #[schema(value_type = u64, maximum = 4_294_967_295_u64)]
    age_min: u32,
    /// Its limit, minor units.
    #[schema(maximum = 18_446_744_073_709_551_615_u64)]
    limit: u64,
}

/// A grant, and what it was made from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Synced)]
pub(super) struct Answer<'a> {
    /// The grant, in the form that was asked for or in both.
    grant: Tokens,
    /// The grant's claims.
    #[schema(value_type = Object)]
    claims: Grant,
    /// The limit at every certified age, with reasons.
    curve: Vec<Point>,
    /// What became of the payments, in the order they came.
    payments: Vec<Verdict>,
    /// Balance, minor units; below zero is owed.
    balance: i64,
    /// Rises with every change of the balance.
    balance_version: u64,
    /// The newest signed metadata, by file: a device whose timestamp is older fetches what it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    tuf_timestamp: Option<&'a serde_json::value::RawValue>,
    /// The service's time when the grant was made.
    #[schema(value_type = i64)]
    server_time: UtcSeconds,
}

/// A signed grant.
#[derive(Debug, Serialize, ToSchema)]
struct Tokens {
    /// JWS compact.
    #[serde(skip_serializing_if = "Option::is_none")]
    jws: Option<String>,
    /// CWT in COSE_Sign1, base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    cwt: Option<String>,
}

/// What is kept for a repeated request: everything but the signature, which is made again.
#[derive(Serialize, Deserialize)]
struct Told {
    claims: Grant,
    curve: Vec<Point>,
    payments: Vec<Verdict>,
    balance: (i64, u64),
}

/// A device comes back: what it did is settled as far as it can be, and it gets a grant for what it may do next.
///
/// Safe to repeat, with or without an idempotency key: a payment settles once, and a newer grant takes the place of an
/// older one.
#[utoipa::path(post, path = "/v1/sync", tag = "wallet", request_body = Request, responses(
    (status = 200, description = "A grant", body = Answer),
    (status = 403, description = "Not a device of this account, or a revoked one"),
    (status = 404, description = "No such account"),
))]
pub(super) async fn sync(
    State(service): State<Service>,
    who: Identity,
    body: Body<Request>,
) -> Result<Response, ApiError> {
    let Identity::Holder { account, jkt } = &who else {
        return Err(ApiError::Forbidden("only a holder's device syncs"));
    };
    let jkt = match (jkt, body.asked.jkt) {
        (Some(bound), Some(said)) if *bound != said => {
            return Err(ApiError::Forbidden("the credential is bound to another device"));
        }
        (Some(jkt), _) => *jkt,
        (None, Some(jkt)) => jkt,
        (None, None) => return Err(ApiError::BadRequest("jkt: which device syncs?".into())),
    };
    let (payments, verdicts) = read(&body.asked.payments);
    let request = Sync { account: account.clone(), jkt, wid: body.asked.wid, payments };
    let active = service.models.for_account(account);
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let jti = draw(now)?;
    let needs = sync::needs(&request);
    let work = {
        let (active, request) = (active.clone(), request.clone());
        move |unit: &mut crate::unit::Unit| {
            let rules = rules(&active, &name, overdraft, now);
            let synced = sync::sync(unit, &rules, &request, jti)?;
            let mut judged = request.payments.iter().zip(&synced.payments);
            let verdict = |v: &Option<Verdict>| match v {
                Some(refused) => refused.clone(),
                None => judged.next().map_or_else(
                    || Verdict::refused("INTERNAL", String::new()),
                    |(payment, judged)| Verdict::of(payment.nonce.to_string(), judged),
                ),
            };
            Ok(Done::ok(Told {
                claims: synced.grant,
                curve: synced.curve.iter().map(Point::of).collect(),
                payments: verdicts.iter().map(verdict).collect(),
                balance: synced.balance,
            }))
        }
    };
    let answer = commit(&service, &who, &body, needs, work, |told: Told| {
        let key =
            service.keys.signing().ok_or(ApiError::Unavailable { why: "no key signs grants", retry_after_s: 60 })?;
        // A signature is a tenth of a sync's work, so only what is wanted is signed.
        let wanted = |form| body.asked.form.is_none_or(|asked| asked == form);
        let sign = |form| told.claims.sign(form, key.kid(), &*key).map_err(ApiError::internal);
        let jws = wanted(GrantForm::Jws).then(|| sign(Form::Jws)).transpose()?;
        let jws = jws.map(String::from_utf8).transpose().map_err(ApiError::internal)?;
        let cwt = wanted(GrantForm::Cwt).then(|| sign(Form::Cwt)).transpose()?;
        Ok(Answer {
            grant: Tokens { jws, cwt: cwt.map(|cwt| Base64UrlUnpadded::encode_string(&cwt)) },
            // As it was answered first: the same request gets the same bytes, but for a newer key's signature and newer
            // metadata. What time it is the header `date` says.
            server_time: told.claims.iat,
            claims: told.claims,
            curve: told.curve,
            payments: told.payments,
            balance: told.balance.0,
            balance_version: told.balance.1,
            tuf_timestamp: active.released().and_then(crate::models::Released::timestamp_json),
        })
    })
    .await?;
    if let Some(computed) = &body.asked.computed {
        compare(&service, account, computed).await?;
    }
    Ok(answer)
}

/// A grant's name. It begins with the time, so that the store adds it at the end of its index and not anywhere; what
/// follows has 88 random bits.
fn draw(now: UtcSeconds) -> Result<TokenId, ApiError> {
    let mut jti = [0; 16];
    getrandom::fill(&mut jti).map_err(ApiError::internal)?;
    jti[..5].copy_from_slice(&now.0.to_be_bytes()[3..]);
    Ok(Bytes(jti))
}

/// Reads tokens. Where one does not read its verdict is there already.
fn read(tokens: &[String]) -> (Vec<Verified<Payment>>, Vec<Option<Verdict>>) {
    let mut payments = Vec::with_capacity(tokens.len());
    let verdicts = tokens
        .iter()
        .map(|token| match read_token(token) {
            Ok(payment) => {
                payments.push(payment);
                None
            }
            Err(refused) => Some(*refused),
        })
        .collect();
    (payments, verdicts)
}

/// Holds what the device computed against what its grant says.
async fn compare(service: &Service, account: &crate::record::AccountId, computed: &Computed) -> Result<(), ApiError> {
    let mut needs = crate::unit::Needs::default();
    needs.grants.insert(computed.grant);
    let unit = service.store.look(needs).await?;
    let Some(record) = unit.grants.get(&computed.grant).filter(|g| g.account == *account) else { return Ok(()) };
    let grant = record.grant().map_err(ApiError::internal)?;
    let ours = grant.limit.points().iter().find(|(age, _)| age.0 == computed.age_min).map(|p| p.1.minor());
    if let (Some(model), Some(ours)) = (grant.mdl, ours) {
        // A device may only lower: less than the curve is its own history speaking, more is a disagreement. What it computes
        // knows nothing of alarms and margins.
        let theirs = Money::from_minor(computed.limit).map(|limit| share(limit, record.granted_ppm).minor());
        let pulled = service.models.compared(account, &model.d, theirs.is_ok_and(|t| t <= ours), service.now());
        if let Some(pulled) = pulled {
            tracing::error!(version = model.v, why = %pulled.why, "a release was pulled back");
        }
    }
    Ok(())
}

impl From<RefuseSync> for ApiError {
    fn from(refused: RefuseSync) -> Self {
        match refused {
            RefuseSync::UnknownAccount => Self::NotFound("account"),
            RefuseSync::UnknownDevice => Self::Forbidden("the device is not enrolled for this account"),
            RefuseSync::Revoked => Self::Forbidden("the device was revoked: enrol a new key"),
            RefuseSync::TooMany => Self::BadRequest(format!("payments: {refused}")),
            RefuseSync::Grant(_) | RefuseSync::Record(_) => Self::internal(refused),
        }
    }
}
