//! A payment goes out.

use plimsoll_model::decision::{Bound, Decision as Modelled};
use plimsoll_model::grant::{CLOCK_SLACK_S, Form, Grant, Payment, PaymentRequest, Signer, Verified};
use plimsoll_model::{Money, UtcSeconds};

use super::Wallet;
use super::allowance::{Advice, Allowance, engine_time};
use super::anchor::Anchor;
use super::refuse::{RefuseRequest, WalletError};
use super::state::Paid;
use crate::storage::Storage;

/// Whether the holder proved presence (fingerprint, PIN) for this payment, as the platform says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Not asked, or not proved.
    Unproved,
    /// Proved just now.
    Proved,
}

/// The wallet's answer to a payment request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Paid: durably recorded, and these bytes are for the payee.
    Approve {
        /// The signed payment.
        token: Vec<u8>,
        /// Its number.
        number: u64,
        /// The same request was approved before; this is the same payment, not a second one.
        repeated: bool,
        /// What remains after it.
        left: Allowance,
    },
    /// Prove presence and ask again.
    StepUp {
        /// What remains.
        left: Allowance,
    },
    /// Not paid; nothing changed.
    Decline {
        /// The rule that said no.
        bound: Bound,
        /// What the holder can do.
        advice: Advice,
        /// What remains.
        left: Allowance,
    },
}

impl<S: Storage, A: Anchor, D: Signer> Wallet<S, A, D> {
    /// Decides on a payment request, and pays.
    ///
    /// * `now`: the wall clock.
    /// * `own`: see [`Wallet::limit`].
    /// * `form`: how the payment is written. A repeated request gets the bytes it got the first time.
    ///
    /// # Errors
    /// [`WalletError::Request`] when the request is not one to answer, any other when the device failed: nothing was
    /// released, and asking again with the same request never pays twice.
    pub fn authorise(
        &mut self,
        request: &PaymentRequest,
        now: UtcSeconds,
        presence: Presence,
        own: Option<&Modelled>,
        form: Form,
    ) -> Result<Decision, WalletError> {
        self.ready()?;
        request.check().map_err(RefuseRequest::Malformed)?;
        if let Some((token, number)) = self.paid_before(request)? {
            return Ok(Decision::Approve { token, number, repeated: true, left: self.allowance(now, own) });
        }
        self.check_request(request, now)?;

        let left = self.allowance(now, own);
        let amount = request.amount;
        let decline = |bound, advice, left| Ok(Decision::Decline { bound, advice, left });
        if amount > left.remaining {
            let (bound, none_left) = (left.bound, left.remaining == Money::ZERO);
            let advice = if none_left { left.advice } else { Advice::PayLess };
            return decline(bound, advice, left);
        }
        if amount > left.per_payment {
            return decline(Bound::PerPayment, Advice::PayLess, left);
        }
        // Without a grant nothing remains, and a request for nothing was refused.
        let Some(grant) = &self.grant else {
            return decline(Bound::GrantMissing, Advice::SyncNow, left);
        };
        let number = self.state.head.number + 1;
        if grant.lottery.is_some_and(|lottery| lottery.selects(number, amount)) {
            return decline(Bound::Lottery, Advice::SyncNow, left);
        }
        if amount > left.without_proof && grant.step_up.is_some() && presence == Presence::Unproved {
            return Ok(Decision::StepUp { left });
        }

        let payment = self.payment(grant, request, number, left.at);
        let token = payment.sign(form, &self.device)?;
        let before = self.state.mark();
        self.record(&payment, request.exp, presence, token.clone());
        if let Err(error) = self.commit() {
            // It may be on the disk all the same: the next call reads that first. Until then nobody is told of it.
            self.state.rewind(before);
            return Err(error);
        }
        Ok(Decision::Approve { token, number, repeated: false, left: self.allowance(now, own) })
    }

    /// The payment this very request was answered with, if it was.
    fn paid_before(&self, request: &PaymentRequest) -> Result<Option<(Vec<u8>, u64)>, RefuseRequest> {
        let Some(paid) = self.state.records().iter().find(|paid| paid.nonce == request.nonce) else {
            return Ok(None);
        };
        let same = paid.payee == request.payee && paid.amount == request.amount && paid.currency == request.currency;
        if same {
            Ok(Some((paid.token.clone(), paid.number)))
        } else {
            Err(RefuseRequest::NonceReused { number: paid.number })
        }
    }

    fn check_request(&self, request: &PaymentRequest, now: UtcSeconds) -> Result<(), RefuseRequest> {
        if request.currency != self.identity.currency {
            let (expected, found) = (self.identity.currency.into(), request.currency.into());
            return Err(RefuseRequest::Currency { expected, found });
        }
        if request.payee == self.identity.account {
            return Err(RefuseRequest::OwnAccount);
        }
        let at = engine_time(&self.state.head, now).0;
        if at >= request.exp {
            return Err(RefuseRequest::Expired { at: request.exp });
        }
        if request.iat > at.plus(CLOCK_SLACK_S) {
            return Err(RefuseRequest::FutureDated { at: request.iat });
        }
        if let Some(max) = self.grant.as_ref().map(|grant| grant.request_valid_s) {
            let seconds = request.exp.since(request.iat);
            if seconds > i64::from(max) {
                return Err(RefuseRequest::TooLong { seconds, max });
            }
        }
        Ok(())
    }

    fn payment(&self, grant: &Verified<Grant>, request: &PaymentRequest, number: u64, at: UtcSeconds) -> Payment {
        Payment {
            payer: self.identity.account.clone(),
            payee: request.payee.clone(),
            nonce: request.nonce,
            iat: at,
            exp: at.plus(i64::from(grant.payment_valid_s)),
            grant: grant.jti,
            seq: grant.seq,
            number,
            amount: request.amount,
            currency: request.currency,
            spent: self.state.head.spent.saturating_add(request.amount),
        }
    }

    fn record(&mut self, payment: &Payment, request_exp: UtcSeconds, presence: Presence, token: Vec<u8>) {
        let head = &mut self.state.head;
        head.number = payment.number;
        head.spent = payment.spent;
        head.count += 1;
        head.unproved = match presence {
            Presence::Proved => Money::ZERO,
            Presence::Unproved => head.unproved.saturating_add(payment.amount),
        };
        head.clock = head.clock.max(payment.iat);
        head.remember(payment.iat, payment.amount);
        self.state.push(Paid {
            number: payment.number,
            nonce: payment.nonce,
            payee: payment.payee.clone(),
            amount: payment.amount,
            currency: payment.currency,
            at: payment.iat,
            request_exp,
            token,
        });
    }
}
