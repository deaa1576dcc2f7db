//! `POST /v1/tokens/settle` and what is said against a payment afterwards.

use axum::extract::State;
use axum::response::Response;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use plimsoll_model::grant::{Payment, RefuseToken, TOKEN_BYTES_MAX, TokenId, Verified};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::commit::{Done, commit};
use super::view::Verdict;
use super::{Service, rules};
use crate::border::{ApiError, Identity, Role};
use crate::ledger::judge::{self, By};
use crate::ledger::signals::{self, RefuseSignal};
use crate::record::{AccountId, DisputeReason};
use crate::unit::Needs;

/// Tokens in one request.
const TOKENS_MAX: usize = 50;

/// Payments to settle.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Settle)]
pub(super) struct Request {
    /// JWS, or base64url of a CWT. At most 50.
    #[schema(min_items = 1, max_items = 50)]
    tokens: Vec<String>,
}

/// What became of them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Settled)]
pub(super) struct Answer {
    /// In the order they came.
    results: Vec<Verdict>,
}

/// Settles offline payments that their payee hands in, or a bridge for payees elsewhere.
///
/// Each is judged by itself: one that is refused leaves the others alone. A payment settles once; handed in again it gets
/// the same answer again.
#[utoipa::path(post, path = "/v1/tokens/settle", tag = "wallet", request_body = Request, responses(
    (status = 200, description = "What became of each", body = Answer),
    (status = 400, description = "No tokens, or too many"),
))]
pub(super) async fn settle(
    State(service): State<Service>,
    who: Identity,
    body: Body<Request>,
) -> Result<Response, ApiError> {
    let by = match &who {
        Identity::Holder { account, .. } => By::Account(account.clone()),
        Identity::Bridge { .. } => By::Bridge,
        Identity::Admin { .. } => return Err(ApiError::Forbidden("payees and bridges settle")),
    };
    if !(1..=TOKENS_MAX).contains(&body.asked.tokens.len()) {
        return Err(ApiError::BadRequest(format!("tokens: 1 to {TOKENS_MAX}")));
    }
    let tokens: Vec<_> = body.asked.tokens.iter().map(|t| read_token(t)).collect();
    let needs = tokens.iter().flatten().fold(Needs::default(), |needs, payment| needs.and(&judge::needs(payment)));
    let active = service.models.for_everyone();
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let work = move |unit: &mut crate::unit::Unit| {
        let rules = rules(&active, &name, overdraft, now);
        let judge = |token: &Result<Verified<Payment>, Box<Verdict>>| match token {
            Err(refused) => Ok(Verdict::clone(refused)),
            Ok(payment) => {
                let judged = judge::judge(unit, &rules, payment, &by).map_err(ApiError::internal)?;
                Ok(Verdict::of(payment.nonce.to_string(), &judged))
            }
        };
        let results = tokens.iter().map(judge).collect::<Result<_, ApiError>>()?;
        Ok(Done::ok(Answer { results }))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

/// Verifies a token in either form.
pub(super) fn read_token(text: &str) -> Result<Verified<Payment>, Box<Verdict>> {
    let refused = |why: &RefuseToken| {
        let code = match why {
            RefuseToken::Signature => "BAD_SIGNATURE",
            _ => "BAD_REQUEST",
        };
        Box::new(Verdict::refused(code, why.to_string()))
    };
    if text.len() > 2 * TOKEN_BYTES_MAX {
        return Err(refused(&RefuseToken::TooLong { bytes: text.len(), max: TOKEN_BYTES_MAX }));
    }
    // Only a JWS has dots.
    if text.contains('.') {
        return Payment::verify(text.as_bytes()).map_err(|e| refused(&e));
    }
    match Base64UrlUnpadded::decode_vec(text) {
        Ok(cwt) => Payment::verify(&cwt).map_err(|e| refused(&e)),
        Err(_) => Err(Box::new(Verdict::refused("BAD_REQUEST", "neither a JWS nor base64url of a CWT".into()))),
    }
}

/// A payment that its payer or payee disputes.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Disputed {
    /// The payment's nonce, base64url.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
    nonce: TokenId,
    /// Why.
    #[schema(value_type = super::view::DisputeName)]
    reason_code: DisputeReason,
    /// In the holder's words; the first 500 characters are kept.
    #[serde(default)]
    detail: String,
}

/// It is on the record.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DisputeNoted)]
pub(super) struct Noted {
    /// `open` or `closed`.
    dispute: String,
}

/// Disputes a payment. It speaks against nobody until somebody has looked.
#[utoipa::path(post, path = "/v1/tokens/dispute", tag = "wallet", request_body = Disputed, responses(
    (status = 200, description = "On the record", body = Noted),
    (status = 404, description = "No such payment of this account"),
    (status = 409, description = "Disputed already"),
))]
pub(super) async fn dispute(
    State(service): State<Service>,
    who: Identity,
    body: Body<Disputed>,
) -> Result<Response, ApiError> {
    let Identity::Holder { account, .. } = &who else {
        return Err(ApiError::Forbidden("payer and payee dispute their own payments"));
    };
    let needs = Needs { payments: [body.asked.nonce].into(), ..Needs::default() };
    let (asked, by, active) = (body.asked.clone(), account.clone(), service.models.for_everyone());
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let work = move |unit: &mut crate::unit::Unit| {
        let rules = rules(&active, &name, overdraft, now);
        signals::dispute(unit, &rules, &by, &asked.nonce, asked.reason_code, &asked.detail)?;
        Ok(Done::ok(Noted { dispute: "open".into() }))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

/// What was found about a dispute.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Finding {
    /// The payment's nonce, base64url.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{21}[AQgw]$")]
    nonce: TokenId,
    /// Payer or payee, whose doing it was; nobody's when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9._:-]{1,64}$")]
    at_fault: Option<AccountId>,
}

/// Closes a dispute. What is found weighs against the one at fault.
#[utoipa::path(post, path = "/v1/admin/disputes/resolve", tag = "desk", request_body = Finding, responses(
    (status = 200, description = "Closed", body = Noted),
    (status = 404, description = "No such payment"),
    (status = 409, description = "No open dispute"),
))]
pub(super) async fn resolve(
    State(service): State<Service>,
    who: Identity,
    body: Body<Finding>,
) -> Result<Response, ApiError> {
    let by = who.admin(Role::Risk)?.to_owned();
    let mut needs = Needs { payments: [body.asked.nonce].into(), ..Needs::default() };
    needs.accounts.extend(body.asked.at_fault.clone());
    let (asked, active) = (body.asked.clone(), service.models.for_everyone());
    let (now, overdraft, name) = (service.now(), service.overdraft, service.issuer());
    let work = move |unit: &mut crate::unit::Unit| {
        let rules = rules(&active, &name, overdraft, now);
        signals::find(unit, &rules, &asked.nonce, asked.at_fault.as_ref(), &by)?;
        Ok(Done::ok(Noted { dispute: "closed".into() }))
    };
    commit(&service, &who, &body, needs, work, Ok).await
}

impl From<RefuseSignal> for ApiError {
    fn from(refused: RefuseSignal) -> Self {
        match refused {
            RefuseSignal::UnknownAccount => Self::NotFound("account"),
            RefuseSignal::UnknownPayment => Self::NotFound("payment"),
            RefuseSignal::Disputed | RefuseSignal::NotDisputed => Self::Conflict(refused.to_string()),
            RefuseSignal::NotAParty => Self::BadRequest(format!("at_fault: {refused}")),
            RefuseSignal::Future => Self::BadRequest(format!("at: {refused}")),
        }
    }
}
