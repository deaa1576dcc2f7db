//! The payee's device: asks for a payment, and checks what it gets without a network.
//!
//! ```text
//! ask(amount, nonce) ─► PaymentRequest ─► payer ─► grant, payment ─► verify ─► not seen, adds up, room ─► written ─► Received
//!                                                                    bytes alone      its own record       durable
//! ```
//!
//! A payment is taken once: it answers one open request by its nonce, and taking it closes the request. What is
//! remembered is bounded; when there is no room the payee refuses, and says to settle first.

mod refuse;

mod state;

mod verify;

use plimsoll_model::grant::{CLOCK_SLACK_S, IssuerKeys, Payment, PaymentRequest, RefuseToken, TokenId};
use plimsoll_model::{Currency, Money, UtcSeconds};

use crate::storage::{Storage, StorageError};
use state::{REQUESTS_MAX, SEEN_MAX, STATE_BYTES_MAX, State, UNSETTLED_MAX};

pub use refuse::RefusePayment;
pub use state::Received;
pub use verify::{Covered, verify};

/// The payee's file.
const FILE: &str = "payee";
/// Where a file that did not read is kept.
const DAMAGED: &str = "payee.damaged";

/// Who is paid, and under which rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayeeRules {
    /// Its name in requests.
    pub payee: String,
    /// The programme it takes.
    pub programme: String,
    /// What it takes.
    pub currency: Currency,
    /// Whether its tier may be paid offline; on a wallet's device, not `no_receive` of its own grant.
    pub may_receive: bool,
    /// Sum of unsettled payments it may hold.
    pub exposure_max: Option<Money>,
    /// Seconds its requests are valid.
    pub request_valid_s: u32,
}

/// A payee's side of one device.
#[derive(Debug)]
pub struct Payee<S> {
    storage: S,
    rules: PayeeRules,
    keys: IssuerKeys,
    state: State,
    /// A write failed: what is on the disk is not known until it was read again.
    unsure: bool,
    lost: bool,
}

impl<S: Storage> Payee<S> {
    /// Opens the record in `storage`, or begins one.
    ///
    /// A file that does not read is set aside and a new one begun: no payment can be taken twice for it, as every one
    /// answers a request, and open requests are forgotten with it. See [`Payee::lost`].
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn open(storage: S, rules: PayeeRules, keys: IssuerKeys) -> Result<Self, StorageError> {
        let mut payee = Self { storage, rules, keys, state: State::default(), unsure: true, lost: false };
        payee.ready()?;
        Ok(payee)
    }

    /// Whether unsettled payments may have been lost with a damaged file, which is kept as `payee.damaged`.
    pub fn lost(&self) -> bool {
        self.lost
    }

    /// Replaces the issuer's keys.
    pub fn set_keys(&mut self, keys: IssuerKeys) {
        self.keys = keys;
    }

    /// Asks for a payment. The request is remembered before it is shown.
    ///
    /// * `nonce`: drawn at random for this request.
    ///
    /// # Errors
    /// [`RefusePayment::Full`] when too many requests are open, `MayNotReceive`, and what makes no request.
    pub fn ask(&mut self, amount: Money, nonce: TokenId, now: UtcSeconds) -> Result<PaymentRequest, RefusePayment> {
        self.ready()?;
        if !self.rules.may_receive {
            return Err(RefusePayment::MayNotReceive);
        }
        let request = PaymentRequest {
            payee: self.rules.payee.clone(),
            amount,
            currency: self.rules.currency,
            nonce,
            iat: now,
            exp: now.plus(i64::from(self.rules.request_valid_s)),
        };
        request.check().map_err(RefusePayment::Payment)?;
        let used = self.state.requests.iter().any(|r| r.nonce == nonce)
            || self.state.received.iter().any(|r| r.nonce == nonce);
        if used {
            return Err(RefusePayment::Payment(RefuseToken::Claim { claim: "nonce", why: "was used before" }));
        }
        self.forget(now);
        if self.state.requests.len() == REQUESTS_MAX {
            return Err(RefusePayment::Full);
        }
        self.change(|state| state.requests.push(request.clone()))?;
        Ok(request)
    }

    /// Takes a payment with its payer's grant, in either form, and records it durably before it says so.
    ///
    /// # Errors
    /// [`RefusePayment`]: nothing was taken.
    pub fn take(&mut self, grant: &[u8], payment: &[u8], now: UtcSeconds) -> Result<Received, RefusePayment> {
        self.ready()?;
        if !self.rules.may_receive {
            return Err(RefusePayment::MayNotReceive);
        }
        let signed = self.state.clock;
        if now.plus(CLOCK_SLACK_S) < signed {
            return Err(RefusePayment::Clock { signed });
        }
        let nonce = Payment::verify(payment).map_err(RefusePayment::Payment)?.nonce;
        if let Some(before) = self.state.received.iter().find(|r| r.nonce == nonce) {
            return Err(RefusePayment::SeenBefore { at: before.at });
        }
        let request = self.state.requests.iter().find(|r| r.nonce == nonce);
        let request = request.ok_or(RefusePayment::UnknownRequest)?;
        let covered = verify(grant, payment, &self.keys, &self.rules.programme, request, now)?;

        let (grant, payment) = (covered.grant(), covered.payment());
        let received = Received {
            nonce,
            device: grant.cnf.jkt,
            grant: grant.jti,
            number: payment.number,
            amount: payment.amount,
            spent: payment.spent,
            at: now,
            exp: payment.exp,
            tokens: Some((grant.bytes().to_vec(), payment.bytes().to_vec())),
        };
        self.check_adds_up(&received)?;
        self.check_room(&received, now)?;
        let clock = signed.max(grant.iat);
        self.change(|state| {
            state.clock = clock;
            state.requests.retain(|r| r.nonce != nonce);
            state.received.push(received.clone());
        })?;
        Ok(received)
    }

    /// Payments to hand in for settlement, oldest first.
    pub fn unsettled(&self) -> impl Iterator<Item = &Received> {
        self.state.received.iter().filter(|r| r.tokens.is_some())
    }

    /// Their sum.
    pub fn exposure(&self) -> Money {
        self.unsettled().fold(Money::ZERO, |sum, r| sum.saturating_add(r.amount))
    }

    /// The issuer settled these: they count no longer, and are remembered until they expire.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn settled(&mut self, nonces: &[TokenId]) -> Result<(), StorageError> {
        self.ready()?;
        self.change(|state| {
            for received in state.received.iter_mut().filter(|r| nonces.contains(&r.nonce)) {
                received.tokens = None;
            }
        })
    }

    /// A wallet that was copied or set back shows the same number twice, or a sum that did not go up.
    fn check_adds_up(&self, new: &Received) -> Result<(), RefusePayment> {
        for old in self.state.received.iter().filter(|r| r.device == new.device) {
            if old.number == new.number {
                return Err(RefusePayment::NumberReused { number: new.number });
            }
            let (earlier, later) = if old.number < new.number { (old, new) } else { (new, old) };
            if old.grant == new.grant && earlier.spent.saturating_add(later.amount) > later.spent {
                return Err(RefusePayment::DoesNotAddUp { number: old.number });
            }
        }
        Ok(())
    }

    fn check_room(&mut self, new: &Received, now: UtcSeconds) -> Result<(), RefusePayment> {
        let held = self.exposure();
        if let Some(max) = self.rules.exposure_max
            && held.saturating_add(new.amount) > max
        {
            return Err(RefusePayment::Exposure { max, held });
        }
        self.forget(now);
        if self.state.received.len() >= SEEN_MAX || self.unsettled().count() >= UNSETTLED_MAX {
            return Err(RefusePayment::Full);
        }
        Ok(())
    }

    /// Forgets requests nobody can answer any more, and settled payments that nobody would take any more.
    fn forget(&mut self, now: UtcSeconds) {
        let at = now.max(self.state.clock);
        self.state.requests.retain(|r| r.exp.plus(2 * CLOCK_SLACK_S) > at);
        self.state.received.retain(|r| r.tokens.is_some() || r.exp > at);
    }

    fn ready(&mut self) -> Result<(), StorageError> {
        if !self.unsure {
            return Ok(());
        }
        let read = match self.storage.read(FILE, STATE_BYTES_MAX) {
            Ok(read) => read.map(|bytes| State::from_bytes(&bytes)),
            Err(StorageError::TooLong { .. }) => Some(None),
            Err(error) => return Err(error),
        };
        match read {
            None => self.state = State::default(),
            Some(Some(state)) => {
                // Whether it would survive a power cut nobody knows before it was synced here.
                self.storage.sync(FILE)?;
                self.storage.sync_names()?;
                self.state = state;
            }
            Some(None) => {
                self.storage.rename(FILE, DAMAGED)?;
                self.storage.sync_names()?;
                self.lost = true;
                self.state = State::default();
            }
        }
        self.unsure = false;
        Ok(())
    }

    /// Changes the state on the disk, or not at all.
    fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<(), StorageError> {
        let mut next = self.state.clone();
        change(&mut next);
        self.unsure = true;
        self.storage.replace(FILE, &next.to_bytes())?;
        self.unsure = false;
        self.state = next;
        Ok(())
    }
}
