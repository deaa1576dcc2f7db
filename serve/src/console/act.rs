//! What the forms of an account's page do. Each is one transaction with its entry in the log, like a request of the API.

use axum::extract::{Path, State};
use axum::response::Response;
use plimsoll_model::grant::{Thumbprint, TokenId};
use plimsoll_model::standing::{Cause, Party};
use plimsoll_model::{Tier, UtcSeconds};
use serde::Deserialize;

use super::Console;
use super::page::{Problem, see};
use super::session::{Posted, Session};
use crate::api;
use crate::border::{ApiError, Role};
use crate::ledger::proposal::{self, RefuseProposal};
use crate::ledger::{Rules, enrol, signals};
use crate::record::AccountId;
use crate::unit::{Needs, Unit};

/// What a page says after a form was done.
pub(super) fn done(word: &str) -> Option<&'static str> {
    Some(match word {
        "revoked" => "The device is revoked: it gets no grant, and what it signs from now on is refused.",
        "signal" => "The signal is entered and counts from now on.",
        "resolved" => "The dispute is closed.",
        "proposed" => "The change of tier is proposed. Somebody else has to confirm it within 24 hours.",
        "confirmed" => "The tier is changed.",
        "withdrawn" => "The proposal is withdrawn.",
        _ => return None,
    })
}

impl Console {
    /// Does something to an account, as one transaction, and leads back to its page.
    ///
    /// * `needs`: what it reads besides the account.
    async fn act<E: Send + 'static>(
        &self,
        session: &Session,
        account: String,
        (least, done): (Role, &'static str),
        needs: Needs,
        mut work: impl FnMut(&mut Unit, &Rules<'_>, &AccountId, &str) -> Result<(), E> + Send + 'static,
    ) -> Result<Response, Problem>
    where
        ApiError: From<E>,
    {
        let id = AccountId::try_from(account).map_err(|_| ApiError::NotFound("account"))?;
        let back = format!("/console/accounts/{id}");
        let refused = Problem::on(back.clone());
        session.who.admin(least).map_err(&refused)?;
        let service = self.service();
        let now = service.now();
        let mut needs = needs;
        needs.accounts.insert(id.clone());
        let (active, name, overdraft) = (service.models.for_account(&id), service.issuer(), service.overdraft);
        let by = session.who.key();
        let ran = service.store.run(now, needs, move |unit| {
            let rules = api::rules(&active, &name, overdraft, now);
            unit.attempt(|unit| work(unit, &rules, &id, &by))
        });
        ran.await.map_err(|e| refused(e.into()))?.map_err(|e| refused(e.into()))?;
        Ok(see(&format!("{back}?done={done}")))
    }
}

#[derive(Deserialize)]
pub(super) struct Revoke {
    jkt: String,
    reason: String,
}

pub(super) async fn revoke(
    State(console): State<Console>,
    Path(id): Path<String>,
    posted: Posted<Revoke>,
) -> Result<Response, Problem> {
    let jkt = Thumbprint::try_from(posted.form.jkt).map_err(|_| ApiError::NotFound("device"))?;
    let reason = reason(&posted.form.reason)?;
    let work = move |unit: &mut Unit, rules: &Rules<'_>, id: &AccountId, by: &str| {
        enrol::revoke(unit, rules, id, &jkt, by, &reason)
    };
    console.act(&posted.session, id, (Role::Support, "revoked"), Needs::default(), work).await
}

#[derive(Deserialize)]
pub(super) struct Signal {
    cause: Cause,
}

pub(super) async fn signal(
    State(console): State<Console>,
    Path(id): Path<String>,
    posted: Posted<Signal>,
) -> Result<Response, Problem> {
    let cause = posted.form.cause;
    let work = move |unit: &mut Unit, rules: &Rules<'_>, id: &AccountId, by: &str| {
        signals::note(unit, rules, id, cause, rules.now, Party::Holder, by).map(drop)
    };
    console.act(&posted.session, id, (Role::Risk, "signal"), Needs::default(), work).await
}

#[derive(Deserialize)]
pub(super) struct Resolve {
    nonce: String,
    /// An account, or empty: nobody's.
    at_fault: String,
}

pub(super) async fn resolve(
    State(console): State<Console>,
    Path(id): Path<String>,
    posted: Posted<Resolve>,
) -> Result<Response, Problem> {
    let nonce = TokenId::try_from(posted.form.nonce).map_err(|_| ApiError::NotFound("payment"))?;
    let at_fault = match posted.form.at_fault.as_str() {
        "" => None,
        name => Some(AccountId::try_from(name).map_err(|_| ApiError::NotFound("account"))?),
    };
    let mut needs = Needs { payments: [nonce].into(), ..Needs::default() };
    needs.accounts.extend(at_fault.clone());
    let work = move |unit: &mut Unit, rules: &Rules<'_>, _: &AccountId, by: &str| {
        signals::find(unit, rules, &nonce, at_fault.as_ref(), by)
    };
    console.act(&posted.session, id, (Role::Risk, "resolved"), needs, work).await
}

#[derive(Deserialize)]
pub(super) struct Propose {
    tier: u8,
    reason: String,
}

pub(super) async fn propose(
    State(console): State<Console>,
    Path(id): Path<String>,
    posted: Posted<Propose>,
) -> Result<Response, Problem> {
    let tier = tier(posted.form.tier)?;
    let reason = posted.form.reason;
    let work = move |unit: &mut Unit, rules: &Rules<'_>, id: &AccountId, by: &str| {
        proposal::propose(unit, rules, id, tier, by, &reason)
    };
    console.act(&posted.session, id, (Role::Risk, "proposed"), Needs::default(), work).await
}

/// The proposal as it was looked at.
#[derive(Deserialize)]
pub(super) struct Seen {
    tier: u8,
    at: i64,
}

pub(super) async fn confirm(
    State(console): State<Console>,
    Path(id): Path<String>,
    posted: Posted<Seen>,
) -> Result<Response, Problem> {
    let seen = (tier(posted.form.tier)?, UtcSeconds(posted.form.at));
    let work = move |unit: &mut Unit, rules: &Rules<'_>, id: &AccountId, by: &str| {
        proposal::confirm(unit, rules, id, seen, by)
    };
    console.act(&posted.session, id, (Role::Risk, "confirmed"), Needs::default(), work).await
}

pub(super) async fn withdraw(
    State(console): State<Console>,
    Path(id): Path<String>,
    posted: Posted<Seen>,
) -> Result<Response, Problem> {
    let seen = (tier(posted.form.tier)?, UtcSeconds(posted.form.at));
    let work = move |unit: &mut Unit, _: &Rules<'_>, id: &AccountId, by: &str| proposal::withdraw(unit, id, seen, by);
    console.act(&posted.session, id, (Role::Risk, "withdrawn"), Needs::default(), work).await
}

fn tier(level: u8) -> Result<Tier, ApiError> {
    Tier::new(level).map_err(|e| ApiError::BadRequest(format!("tier: {e}")))
}

/// A reason for the log.
pub(super) fn reason(text: &str) -> Result<String, ApiError> {
    let reason = text.trim();
    if (1..=proposal::REASON_MAX).contains(&reason.chars().count()) {
        return Ok(reason.to_owned());
    }
    Err(ApiError::BadRequest(format!("the log needs a reason of 1 to {} characters", proposal::REASON_MAX)))
}

impl From<RefuseProposal> for ApiError {
    fn from(refused: RefuseProposal) -> Self {
        match refused {
            RefuseProposal::Enrolment(refused) => refused.into(),
            RefuseProposal::Reason => Self::BadRequest(refused.to_string()),
            RefuseProposal::SamePerson { .. } => {
                Self::Forbidden("whoever proposed a change of tier may not confirm it")
            }
            RefuseProposal::Same { .. }
            | RefuseProposal::Waiting { .. }
            | RefuseProposal::Gone
            | RefuseProposal::Expired => Self::Conflict(refused.to_string()),
        }
    }
}
