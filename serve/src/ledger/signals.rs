//! Disputes, and what others noticed about an account.
//!
//! A dispute speaks against nobody by itself: a victim who says so is not punished for it, and nor is whoever they name,
//! until somebody has looked. What is found then weighs against the one at fault, from the payment's own time on.

use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::TokenId;
use plimsoll_model::standing::{Cause, Party, Signal};
use serde_json::json;

use super::Rules;
use crate::record::{AccountId, Dispute, DisputeReason, Found};
use crate::unit::{Entry, Event, Unit};

/// Characters of a dispute's own words.
pub const DETAIL_MAX: usize = 500;
/// Signals that an account remembers.
const SIGNALS_MAX: usize = 256;

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseSignal {
    /// No such account.
    #[error("there is no such account")]
    UnknownAccount,
    /// No such payment, or not one's own.
    #[error("there is no such payment of this account")]
    UnknownPayment,
    /// Somebody disputes it already.
    #[error("the payment is disputed already")]
    Disputed,
    /// Nobody disputes it, or it is found out already.
    #[error("the payment has no open dispute")]
    NotDisputed,
    /// Neither payer nor payee.
    #[error("the account at fault is neither payer nor payee")]
    NotAParty,
    /// Of the future.
    #[error("the signal is of the future")]
    Future,
}

/// Payer or payee disputes a payment.
///
/// # Errors
/// `UnknownPayment`, `Disputed`.
pub fn dispute(
    unit: &mut Unit,
    rules: &Rules<'_>,
    by: &AccountId,
    nonce: &TokenId,
    reason: DisputeReason,
    detail: &str,
) -> Result<(), RefuseSignal> {
    let payment = unit.payments.get(nonce).filter(|p| p.payer == *by || p.payee == *by);
    if payment.ok_or(RefuseSignal::UnknownPayment)?.dispute.is_some() {
        return Err(RefuseSignal::Disputed);
    }
    let detail = detail.chars().take(DETAIL_MAX).collect();
    let dispute = Dispute { by: by.clone(), reason, detail, at: rules.now, found: None };
    unit.payments.change(nonce, |payment| payment.dispute = Some(dispute));
    let body = json!({ "nonce": nonce, "reason": reason });
    unit.entries.push(Entry::new("dispute", by.clone(), &body));
    unit.events.push(Event { topic: "payment.disputed", body });
    Ok(())
}

/// Somebody has looked at a dispute.
///
/// # Errors
/// `UnknownPayment`, `NotDisputed`, `NotAParty`, `UnknownAccount`.
pub fn find(
    unit: &mut Unit,
    rules: &Rules<'_>,
    nonce: &TokenId,
    at_fault: Option<&AccountId>,
    by: &str,
) -> Result<(), RefuseSignal> {
    let payment = unit.payments.get(nonce).cloned().ok_or(RefuseSignal::UnknownPayment)?;
    if payment.dispute.as_ref().is_none_or(|d| d.found.is_some()) {
        return Err(RefuseSignal::NotDisputed);
    }
    if let Some(id) = at_fault {
        if *id != payment.payer && *id != payment.payee {
            return Err(RefuseSignal::NotAParty);
        }
        note(unit, rules, id, Cause::SignatureInvalid, payment.signed_at, Party::Holder, by)?;
    }
    let found = Found { at_fault: at_fault.cloned(), by: by.to_owned(), at: rules.now };
    let body = json!({ "nonce": nonce, "found": found });
    unit.payments.change(nonce, |payment| {
        if let Some(dispute) = &mut payment.dispute {
            dispute.found = Some(found);
        }
    });
    unit.entries.push(Entry::new("dispute", payment.payer, &body));
    Ok(())
}

/// Something was noticed about an account.
///
/// # Errors
/// `UnknownAccount`, `Future`.
pub fn note(
    unit: &mut Unit,
    rules: &Rules<'_>,
    id: &AccountId,
    cause: Cause,
    at: UtcSeconds,
    party: Party,
    by: &str,
) -> Result<u32, RefuseSignal> {
    unit.accounts.get(id).ok_or(RefuseSignal::UnknownAccount)?;
    if at > rules.now {
        return Err(RefuseSignal::Future);
    }
    let signal = Signal { cause, at, party };
    unit.accounts.change(id, |account| {
        rules.forget(account);
        let place = account.signals.partition_point(|s| s.at <= at);
        account.signals.insert(place, signal);
        if account.signals.len() > SIGNALS_MAX {
            account.signals.remove(0);
        }
    });
    unit.entries.push(Entry::new("signal", id.clone(), &json!({ "signal": signal, "by": by })));
    Ok(rules.fraud_ppm(unit.accounts.get(id).expect("was there")))
}
