//! A holder's phone: the wallet that ships, over storage in memory, and payees who check what they are handed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::SigningKey;
use plimsoll_edge::payee::{self, RefusePayment};
use plimsoll_edge::storage::Memory;
use plimsoll_edge::wallet::{Allowance, Anchor, AnchorError, Decision, Identity, Presence, RefuseRequest, WalletError};
use plimsoll_edge::{Wallet, payee::Covered};
use plimsoll_model::decision::Bound;
use plimsoll_model::features::FeatureVector;
use plimsoll_model::grant::{Bytes, Form, Grant, Payment, PaymentRequest, Signer as _, Thumbprint, Verified};
use plimsoll_model::{Money, UtcSeconds};

use super::ReplayError;
use super::draw::Draw;
use super::issuer::{House, Record};

/// The platform's counter. Clones share it, as it lies outside the phone's files.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Anchor for Counter {
    fn value(&self) -> Result<Option<u64>, AnchorError> {
        Ok(Some(self.0.load(Ordering::SeqCst)))
    }

    fn advance(&self, to: u64) -> Result<(), AnchorError> {
        self.0.fetch_max(to, Ordering::SeqCst);
        Ok(())
    }
}

/// One phone.
pub(super) struct Phone<'a, A> {
    house: &'a House<'a>,
    account: String,
    pub(super) key: SigningKey,
    pub(super) files: Memory,
    pub(super) wallet: Wallet<Memory, A, SigningKey>,
    /// What the issuer signed into the grant.
    features: Option<FeatureVector>,
    draw: Draw,
    asked: u64,
}

/// What the wallet said.
pub(super) enum Answer {
    /// Paid, and an honest payee's device took it.
    Paid(Box<Verified<Payment>>),
    /// Paid, and an honest payee's device refused it.
    Untaken(RefusePayment, Box<Verified<Payment>>),
    /// Not paid.
    Declined(Bound),
    /// Presence has to be proved.
    StepUp,
    /// The request itself is not one to answer.
    Refused(RefuseRequest),
}

impl<'a, A: Anchor> Phone<'a, A> {
    /// A phone over files: empty ones for a new wallet.
    ///
    /// * `draw`: names the phone; its key follows from it.
    pub(super) fn open(
        house: &'a House<'a>,
        account: &str,
        files: Memory,
        anchor: A,
        key: SigningKey,
        draw: Draw,
    ) -> Result<Self, ReplayError> {
        let policy = house.evaluator.policy();
        let identity =
            Identity { account: account.to_owned(), programme: policy.programme.clone(), currency: policy.currency };
        let wallet = Wallet::open(files.clone(), anchor, key.clone(), identity, house.keys.clone(), draw.of(1).bytes());
        let wallet = wallet.map_err(|e| ReplayError::broken(account, UtcSeconds(0), &e))?;
        let features = wallet.grant().and_then(|g| g.features());
        Ok(Self { house, account: account.to_owned(), key, files, wallet, features, draw: draw.of(2), asked: 0 })
    }

    pub(super) fn jkt(&self) -> Thumbprint {
        self.key.public().thumbprint()
    }

    /// Comes back: gets a grant, and accepts it.
    ///
    /// * returns what the issuer counted as pending.
    pub(super) fn sync(
        &mut self,
        record: &mut Record,
        balance: Money,
        features: &FeatureVector,
        lifetime_tx: u64,
        now: UtcSeconds,
    ) -> Result<Money, ReplayError> {
        self.asked += 1;
        let jti = Bytes(self.draw.of(1 << 40 | self.asked).bytes());
        let (jkt, wid) = (self.jkt(), self.wallet.status().wid);
        let (grant, pending) = record.sync(self.house, jkt, wid, balance, features, lifetime_tx, now, jti)?;
        self.wallet.accept(&grant, now).map_err(|e| ReplayError::broken(&self.account, now, &e))?;
        self.features = self.wallet.grant().and_then(|g| g.features());
        Ok(pending)
    }

    pub(super) fn grant(&self) -> &Grant {
        self.wallet.grant().expect("a phone pays after it has synced").claims()
    }

    /// What the phone's own model allows, as an app computes it: from the signed features and the wallet's counters.
    fn own(&self, wall: UtcSeconds) -> Option<plimsoll_model::decision::Decision> {
        let situation = self.wallet.situation(wall)?;
        Some(self.house.evaluator.decide(self.features.as_ref()?, &situation, wall))
    }

    /// What may be spent.
    pub(super) fn left(&mut self, wall: UtcSeconds) -> Result<Allowance, ReplayError> {
        let own = self.own(wall);
        self.wallet.limit(wall, own.as_ref()).map_err(|e| ReplayError::broken(&self.account, wall, &e))
    }

    /// A request as a payee makes it.
    pub(super) fn request(&mut self, amount: Money, payee: &str, at: UtcSeconds) -> PaymentRequest {
        self.asked += 1;
        let policy = self.house.evaluator.policy();
        PaymentRequest {
            payee: payee.to_owned(),
            amount,
            currency: policy.currency,
            nonce: Bytes(self.draw.of(self.asked).bytes()),
            iat: at,
            exp: at.plus(i64::from(policy.token.request_valid_s)),
        }
    }

    /// Pays an honest payee whose clock is right, if the wallet does.
    pub(super) fn pay(&mut self, amount: Money, payee: &str, at: UtcSeconds) -> Result<Answer, ReplayError> {
        let request = self.request(amount, payee, at);
        self.answer(&request, at, at, Presence::Proved)
    }

    /// Decides on a request, and hands what it signs to a payee.
    ///
    /// * `wall`: the phone's clock; `now`: the payee's.
    pub(super) fn answer(
        &mut self,
        request: &PaymentRequest,
        wall: UtcSeconds,
        now: UtcSeconds,
        presence: Presence,
    ) -> Result<Answer, ReplayError> {
        let own = self.own(wall);
        let token = match self.wallet.authorise(request, wall, presence, own.as_ref(), Form::Cwt) {
            Ok(Decision::Approve { token, .. }) => token,
            Ok(Decision::Decline { bound, .. }) => return Ok(Answer::Declined(bound)),
            Ok(Decision::StepUp { .. }) => return Ok(Answer::StepUp),
            Err(WalletError::Request(why)) => return Ok(Answer::Refused(why)),
            Err(error) => return Err(ReplayError::broken(&self.account, wall, &error)),
        };
        match self.hand(&token, request, now) {
            Ok(covered) => Ok(Answer::Paid(Box::new(covered.payment().clone()))),
            Err(why) => {
                let payment = Payment::verify(&token).map_err(|e| ReplayError::broken(&self.account, wall, &e))?;
                Ok(Answer::Untaken(why, Box::new(payment)))
            }
        }
    }

    /// What an honest payee's device makes of a token and this phone's grant, from bytes alone.
    pub(super) fn hand(
        &self,
        token: &[u8],
        request: &PaymentRequest,
        now: UtcSeconds,
    ) -> Result<Covered, RefusePayment> {
        let grant = self.wallet.grant().expect("a phone pays after it has synced");
        payee::verify(grant.bytes(), token, &self.house.keys, &self.house.evaluator.policy().programme, request, now)
    }

    /// A payment as whoever has the device's key can write it, without asking the wallet.
    pub(super) fn forge(&self, request: &PaymentRequest, number: u64, at: UtcSeconds) -> (Vec<u8>, Verified<Payment>) {
        let grant = self.grant();
        let payment = Payment {
            payer: grant.sub.clone(),
            payee: request.payee.clone(),
            nonce: request.nonce,
            iat: at,
            exp: at.plus(i64::from(grant.payment_valid_s)),
            grant: grant.jti,
            seq: grant.seq,
            number,
            amount: request.amount,
            currency: request.currency,
            spent: request.amount,
        };
        let token = payment.sign(Form::Cwt, &self.key).expect("a key in memory signs");
        let read = Payment::verify(&token).expect("what was signed just now verifies");
        (token, read)
    }

    /// Spends everything that is left in as few payments as the wallet allows, each to a payee of its own.
    ///
    /// * `payee`: a name that the payment's number is added to.
    pub(super) fn drain(
        &mut self,
        payee: &str,
        at: UtcSeconds,
    ) -> Result<(Vec<Verified<Payment>>, Bound), ReplayError> {
        let mut paid = Vec::new();
        loop {
            let left = self.left(at)?;
            let amount = left.per_payment.min(left.remaining);
            if amount == Money::ZERO {
                return Ok((paid, left.bound));
            }
            match self.pay(amount, &format!("{payee}-{}", paid.len()), at)? {
                Answer::Paid(payment) => paid.push(*payment),
                Answer::Declined(bound) => return Ok((paid, bound)),
                Answer::StepUp => return Ok((paid, Bound::StepUp)),
                Answer::Untaken(why, _) => return Err(ReplayError::broken(&self.account, at, &why)),
                Answer::Refused(why) => return Err(ReplayError::broken(&self.account, at, &why)),
            }
        }
    }
}
