//! Whether a grant covers a payment, from bytes alone.

use plimsoll_model::UtcSeconds;
use plimsoll_model::decision::Bound;
use plimsoll_model::grant::{CLOCK_SLACK_S, Grant, IssuerKeys, Payment, PaymentRequest, Verified};

use super::refuse::RefusePayment;

/// A payment, and the grant that covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    grant: Verified<Grant>,
    payment: Verified<Payment>,
}

impl Covered {
    /// The payer's grant.
    pub const fn grant(&self) -> &Verified<Grant> {
        &self.grant
    }

    /// The payment.
    pub const fn payment(&self) -> &Verified<Payment> {
        &self.payment
    }
}

/// Checks that a payment answers a request and that its payer's grant covers it: the issuer signed the grant, the
/// grant names the device, the device signed the payment, and every amount and time fits. Either may be a JWS or a CWT.
///
/// It needs no state, so it cannot see a payment shown twice: see [`super::Payee`].
///
/// * `programme`: the one the payee takes.
/// * `request`: what the payee asked for.
/// * `now`: the payee's clock.
///
/// # Errors
/// [`RefusePayment`].
pub fn verify(
    grant: &[u8],
    payment: &[u8],
    keys: &IssuerKeys,
    programme: &str,
    request: &PaymentRequest,
    now: UtcSeconds,
) -> Result<Covered, RefusePayment> {
    let grant = Grant::verify(grant, keys).map_err(RefusePayment::Grant)?;
    let payment = Payment::verify(payment).map_err(RefusePayment::Payment)?;
    check_belong(&grant, &payment, programme)?;
    check_answers(&grant, &payment, request)?;
    check_time(&grant, &payment, request, now)?;
    check_amounts(&grant, &payment)?;
    Ok(Covered { grant, payment })
}

fn check_belong(grant: &Grant, payment: &Verified<Payment>, programme: &str) -> Result<(), RefusePayment> {
    if payment.key().thumbprint() != grant.cnf.jkt {
        return Err(RefusePayment::OtherDevice);
    }
    for (claim, same) in
        [("grant", payment.grant == grant.jti), ("seq", payment.seq == grant.seq), ("sub", payment.payer == grant.sub)]
    {
        if !same {
            return Err(RefusePayment::OtherGrant { claim });
        }
    }
    if grant.aud != programme {
        return Err(RefusePayment::Programme { expected: programme.into(), found: grant.aud.clone() });
    }
    Ok(())
}

fn check_answers(grant: &Grant, payment: &Payment, request: &PaymentRequest) -> Result<(), RefusePayment> {
    if payment.nonce != request.nonce {
        return Err(RefusePayment::UnknownRequest);
    }
    if payment.payee != request.payee {
        return Err(RefusePayment::OtherPayee { expected: request.payee.clone(), found: payment.payee.clone() });
    }
    for found in [payment.currency, grant.cur] {
        if found != request.currency {
            return Err(RefusePayment::Currency { expected: request.currency.into(), found: found.into() });
        }
    }
    if payment.amount != request.amount {
        return Err(RefusePayment::Amount { expected: request.amount, found: payment.amount });
    }
    Ok(())
}

fn check_time(
    grant: &Grant,
    payment: &Payment,
    request: &PaymentRequest,
    now: UtcSeconds,
) -> Result<(), RefusePayment> {
    let at = payment.iat;
    if at > now.plus(CLOCK_SLACK_S) {
        return Err(RefusePayment::FutureDated { at });
    }
    if at.plus(CLOCK_SLACK_S) < request.iat {
        return Err(RefusePayment::Backdated { at });
    }
    if at >= request.exp.plus(CLOCK_SLACK_S) {
        return Err(RefusePayment::RequestExpired { at });
    }
    if now >= payment.exp {
        return Err(RefusePayment::Expired { at: payment.exp });
    }
    let seconds = payment.exp.since(at);
    if seconds > i64::from(grant.payment_valid_s) {
        return Err(RefusePayment::TooLong { seconds, max: grant.payment_valid_s });
    }
    Ok(())
}

fn check_amounts(grant: &Grant, payment: &Payment) -> Result<(), RefusePayment> {
    let amount = payment.amount;
    for (cap, bound) in [
        (grant.cap.token, Bound::PerPayment),
        (grant.cap.h24, Bound::Rolling24h),
        (grant.cap.day, Bound::Day),
        (grant.cap.week, Bound::Week),
    ] {
        if let Some(cap) = cap
            && amount > cap
        {
            return Err(RefusePayment::OverCap { bound, cap, amount });
        }
    }
    // At the time of signing: the limit falls with age, and past the grant's end it is nothing.
    let limit = grant.ceiling(payment.iat);
    if payment.spent > limit.amount() {
        return Err(RefusePayment::OverLimit { bound: limit.bound(), limit: limit.amount(), spent: payment.spent });
    }
    if grant.lottery.is_some_and(|lottery| lottery.selects(payment.number, amount)) {
        return Err(RefusePayment::Lottery);
    }
    Ok(())
}
