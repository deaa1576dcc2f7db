//! What becomes of an offline payment.
//!
//! ```text
//! signature ─► seen before? ─► whose key ─► under which grant ─► for whom, when ─► what the grant still covers ─► what the
//! verified     same answer     enrolled      issued by us          it fits            ceiling, caps, windows        balance has
//! ```
//!
//! A payment that its grant covers settles whole, whatever the balance: the promise was the issuer's. Beyond the grant
//! nothing settles, or, in a programme of ceilings, what is left of the ceiling. Every nonce is judged once and gets the
//! same answer for ever.
//!
//! Somebody else's forgery speaks against nobody named in it: only what the account's own enrolled key has signed does.

use std::collections::BTreeMap;

use plimsoll_model::grant::{CLOCK_SLACK_S, Grant, Payment, Thumbprint, TokenId, Verified};
use plimsoll_model::standing::{Cause, Party, Signal};
use plimsoll_model::time::DAY;
use plimsoll_model::transaction::{Channel, Kind, Settlement, Transaction, name_hash};
use plimsoll_model::{Flow, Money, UtcSeconds};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Overdraft, Rules};
use crate::record::{Account, AccountId, BadRecord, Liable, Outcome, PaymentRecord, Spent};
use crate::unit::{Entry, Event, Needs, Unit};

/// Seconds between the first and the last of [`VELOCITY`] payments, by signing time, below which they are too many.
const VELOCITY_S: i64 = 300;
/// Payments in that time.
const VELOCITY: usize = 20;

/// Why a payment does not settle. The first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum RefuseSettlement {
    /// Another payment was judged under this nonce.
    #[error("another payment was settled under this nonce")]
    NonceReused,
    /// Payer or payee is no account's name, or the payer has no account.
    #[error("the payer has no account here")]
    UnknownPayer,
    /// Not an enrolled key of the payer.
    #[error("the key that signed is not enrolled for the payer")]
    UnknownKid,
    /// Signed after the device was revoked.
    #[error("the device was revoked before the payment was signed")]
    DeviceRevoked,
    /// No grant of that name was issued to that wallet.
    #[error("no such grant was issued to this device")]
    UnknownGrant,
    /// Counts in another currency.
    #[error("the payment counts in another currency than its grant")]
    WrongCurrency,
    /// For somebody else than who hands it in.
    #[error("the payment is for somebody else than who hands it in")]
    ReceiverMismatch,
    /// Signed in the future.
    #[error("the payment is signed in the future")]
    FutureDated,
    /// Signed before its grant began or after it ended.
    #[error("the payment was signed outside its grant's time")]
    OutsideGrant,
    /// Its own time is over, or longer than the grant allows.
    #[error("the payment's time to settle is over")]
    ExpiredToken,
    /// The grant's lottery asked for a sync before this payment.
    #[error("the grant asked for a sync before this payment")]
    Lottery,
    /// Above the cap of a single payment.
    #[error("the payment is above the cap of a single payment")]
    OverTokenCap,
    /// Nothing is left of what the grant covers.
    #[error("the grant does not cover the payment")]
    OverGrant,
    /// The payee's tier, when the payment was signed, may not be paid.
    #[error("the payee's tier may not be paid offline")]
    TierBlocked,
    /// The balance does not cover it, and the programme leaves that to the payee.
    #[error("the payer's balance does not cover the payment")]
    InsufficientFunds,
}

impl RefuseSettlement {
    /// The word that clients branch on.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NonceReused => "NONCE_REUSED",
            Self::UnknownPayer => "UNKNOWN_PAYER",
            Self::UnknownKid => "UNKNOWN_KID",
            Self::DeviceRevoked => "DEVICE_REVOKED",
            Self::UnknownGrant => "UNKNOWN_GRANT",
            Self::WrongCurrency => "WRONG_CURRENCY",
            Self::ReceiverMismatch => "RECEIVER_MISMATCH",
            Self::FutureDated => "FUTURE_DATED",
            Self::OutsideGrant => "OUTSIDE_GRANT",
            Self::ExpiredToken => "EXPIRED_TOKEN",
            Self::Lottery => "LOTTERY",
            Self::OverTokenCap => "OVER_TOKEN_CAP",
            Self::OverGrant => "OVER_GRANT",
            Self::TierBlocked => "TIER_BLOCKED",
            Self::InsufficientFunds => "INSUFFICIENT_FUNDS",
        }
    }
}

/// Who hands a payment in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The payer's device, at a sync.
    Payer,
    /// An account; it must be the payee.
    Account(AccountId),
    /// A bridge that speaks for payees elsewhere.
    Bridge,
}

/// A judged payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The record, as it is or was written.
    pub record: PaymentRecord,
    /// It had been judged before.
    pub again: bool,
}

/// What judging a payment reads.
pub fn needs(payment: &Payment) -> Needs {
    let mut needs = Needs::default();
    for name in [&payment.payer, &payment.payee] {
        needs.accounts.extend(AccountId::try_from(name.as_str()));
    }
    needs.grants.insert(payment.grant);
    needs.payments.insert(payment.nonce);
    needs
}

/// Judges a payment. What it changes stays changed also when it is refused: signals, and the number that was used.
///
/// # Errors
/// [`BadRecord`] when the store is damaged; refusals are in the inner result.
pub fn judge(
    unit: &mut Unit,
    rules: &Rules<'_>,
    payment: &Verified<Payment>,
    by: &By,
) -> Result<Result<Judged, RefuseSettlement>, BadRecord> {
    let judged = inner(unit, rules, payment, by)?;
    if let Err(refused) = &judged {
        tell(unit, payment, "payment.refused", json!({ "why": refused }));
    }
    Ok(judged)
}

fn inner(
    unit: &mut Unit,
    rules: &Rules<'_>,
    payment: &Verified<Payment>,
    by: &By,
) -> Result<Result<Judged, RefuseSettlement>, BadRecord> {
    use RefuseSettlement as Why;
    let claims = digest(payment);
    let jkt = payment.key().thumbprint();
    let (Ok(payer), Ok(payee)) =
        (AccountId::try_from(payment.payer.as_str()), AccountId::try_from(payment.payee.as_str()))
    else {
        return Ok(Err(Why::UnknownPayer));
    };
    let submitter_is_payee = match by {
        By::Account(account) => *account == payee,
        By::Payer | By::Bridge => true,
    };
    if !submitter_is_payee {
        return Ok(Err(Why::ReceiverMismatch));
    }
    if let Some(before) = unit.payments.get(&payment.nonce).cloned() {
        if before.digest == claims {
            return Ok(Ok(Judged { record: before, again: true }));
        }
        if enrolled(unit, &payer, &jkt) {
            count(unit, &payer, &jkt, payment, Money::ZERO);
            // A payee that asks two payers under one nonce makes neither of them a double spender.
            if (&before.payer, &before.jkt) == (&payer, &jkt) {
                signal(unit, rules, &payer, Cause::DoubleSpend, payment.iat);
            }
        }
        return Ok(Err(Why::NonceReused));
    }
    let Some(account) = unit.accounts.get(&payer) else { return Ok(Err(Why::UnknownPayer)) };
    let Some(wallet) = account.wallet(&jkt) else { return Ok(Err(Why::UnknownKid)) };
    if wallet.revoked_at.is_some_and(|at| payment.iat >= at) {
        return Ok(Err(Why::DeviceRevoked));
    }

    // From here on the account's own key speaks.
    let Some(issued) = unit.grants.get(&payment.grant).filter(|g| g.account == payer && g.jkt == jkt).cloned() else {
        signal(unit, rules, &payer, Cause::SequenceAnomaly, payment.iat);
        return Ok(Err(Why::UnknownGrant));
    };
    let grant = issued.grant()?;
    if let Err(why) = fits(rules, &grant, payment) {
        // What can never settle has come in all the same: otherwise its wallet would keep it, and in the end be full.
        if why != Why::FutureDated {
            count(unit, &payer, &jkt, payment, Money::ZERO);
        }
        return Ok(Err(why));
    }
    if unit.accounts.get(&payee).is_some_and(|a| !rules.policy.tier(a.tier(payment.iat)).receive) {
        count(unit, &payer, &jkt, payment, Money::ZERO);
        return Ok(Err(Why::TierBlocked));
    }
    let account = unit.accounts.get(&payer).expect("was there");
    let number_used = {
        let wallet = account.wallet(&jkt).expect("was there");
        // Numbers of an earlier life of the wallet's state mean nothing in this one.
        let of_this_life = payment.seq >= wallet.life_seq;
        of_this_life && (payment.number <= wallet.seen || wallet.ahead.contains(&payment.number))
    };
    let covered = covered(rules, account, &grant, issued.settled, payment);
    let partial = rules.policy.ceiling.as_ref().is_some_and(|c| c.partial_settlement);
    let funds = Money::floor_at_zero(account.balance_minor());
    let issuer_pays = rules.overdraft == Overdraft::Issuer;
    let most = if issuer_pays { covered } else { covered.min(funds) };
    let pay = match most {
        whole if whole >= payment.amount => payment.amount,
        part if partial => part,
        _ => Money::ZERO,
    };
    let missing = pay.saturating_sub(funds);
    let unpaid = payment.amount.saturating_sub(pay);
    if pay == Money::ZERO && !partial {
        count(unit, &payer, &jkt, payment, Money::ZERO);
        let covers = covered >= payment.amount;
        if number_used {
            signal(unit, rules, &payer, Cause::DoubleSpend, payment.iat);
        } else if !covers {
            signal(unit, rules, &payer, Cause::CeilingExhaustion, payment.iat);
        }
        return Ok(Err(if covers { Why::InsufficientFunds } else { Why::OverGrant }));
    }

    let overdraft = if issuer_pays { missing } else { Money::ZERO };
    let outcome = Outcome {
        debited: pay.saturating_sub(overdraft),
        credited: pay,
        overdraft,
        unpaid,
        liable: match (overdraft > Money::ZERO, unpaid > Money::ZERO) {
            (true, _) => Some(Liable::Issuer),
            (false, true) => Some(Liable::Payee),
            (false, false) => None,
        },
    };
    let record = PaymentRecord {
        nonce: payment.nonce,
        digest: claims,
        payer: payer.clone(),
        jkt,
        grant: payment.grant,
        number: payment.number,
        payee: payee.clone(),
        amount: payment.amount,
        signed_at: payment.iat,
        judged_at: rules.now,
        outcome,
        dispute: None,
    };
    settle(unit, rules, &record);
    count(unit, &payer, &jkt, payment, pay);
    if number_used {
        signal(unit, rules, &payer, Cause::DoubleSpend, payment.iat);
    }
    if unpaid > Money::ZERO {
        signal(unit, rules, &payer, Cause::CeilingExhaustion, payment.iat);
    }
    if too_fast(unit.accounts.get(&payer).expect("was there"), payment.iat) {
        signal(unit, rules, &payer, Cause::VelocityBreach, payment.iat);
    }
    unit.payments.put(record.nonce, record.clone());
    unit.entries.push(Entry::new("settlement", payer, &BTreeMap::from([("payment", &record)])));
    tell(unit, payment, "payment.settled", json!({ "outcome": outcome }));
    Ok(Ok(Judged { record, again: false }))
}

/// SHA-256 of what was said, in whichever form.
fn digest(payment: &Verified<Payment>) -> [u8; 32] {
    use sha2::Digest as _;
    let claims = serde_json::to_vec(payment.claims()).expect("a payment holds only integers and text");
    let mut hash = sha2::Sha256::new_with_prefix(payment.key().as_bytes());
    hash.update(&claims);
    hash.finalize().into()
}

fn enrolled(unit: &Unit, account: &AccountId, jkt: &Thumbprint) -> bool {
    unit.accounts.get(account).is_some_and(|a| a.wallet(jkt).is_some())
}

/// Whether a payment says what its grant lets it say, whatever was spent.
fn fits(rules: &Rules<'_>, grant: &Grant, payment: &Payment) -> Result<(), RefuseSettlement> {
    use RefuseSettlement as Why;
    let now = rules.now;
    if payment.seq != grant.seq {
        return Err(Why::UnknownGrant);
    }
    if payment.currency != grant.cur {
        return Err(Why::WrongCurrency);
    }
    if payment.iat > now.plus(CLOCK_SLACK_S) {
        return Err(Why::FutureDated);
    }
    // A wallet's time is never before its grant's: no slack on this side.
    if payment.iat < grant.not_before() || payment.iat >= grant.exp {
        return Err(Why::OutsideGrant);
    }
    // Whether it was signed in time is the signing time's question; how long it may lie about is the clock's here.
    let valid = payment.exp.since(payment.iat);
    if valid > i64::from(grant.payment_valid_s) || now > payment.exp.plus(CLOCK_SLACK_S) {
        return Err(Why::ExpiredToken);
    }
    if grant.cap.token.is_some_and(|cap| payment.amount > cap) {
        return Err(Why::OverTokenCap);
    }
    if grant.lottery.is_some_and(|lottery| lottery.selects(payment.number, payment.amount)) {
        return Err(Why::Lottery);
    }
    Ok(())
}

/// How much of a payment its grant still covers: the ceiling at the signing time less what settled under it, and the
/// windows of the grant by signing time, over everything the account has settled.
fn covered(rules: &Rules<'_>, account: &Account, grant: &Grant, settled: Money, payment: &Payment) -> Money {
    let ceiling = grant.ceiling(payment.iat).amount().saturating_sub(settled);
    let mut room = ceiling;
    if let Some(cap) = grant.cap.h24 {
        // Every 24 hours that this payment would be in, not only those that end with it.
        let ends = account.spent.iter().map(|s| s.at).filter(|at| (0..DAY).contains(&at.since(payment.iat)));
        for end in ends.chain([payment.iat]) {
            room = room.min(cap.saturating_sub(rules.windows(account, end)[0]));
        }
    }
    let [_, day, week] = last_of(rules, account, payment.iat);
    for (cap, spent) in [(grant.cap.day, day), (grant.cap.week, week)] {
        if let Some(cap) = cap {
            room = room.min(cap.saturating_sub(spent));
        }
    }
    room
}

/// The whole calendar day and week that an instant is in, as far as they are settled.
fn last_of(rules: &Rules<'_>, account: &Account, at: UtcSeconds) -> [Money; 3] {
    let clock = rules.policy.utc_offset_min;
    let day = clock.day(at);
    let sunday = day + 6 - i64::from(plimsoll_model::time::weekday(day));
    let [_, of_day, _] = rules.windows(account, clock.midnight(day + 1).plus(-1));
    let [_, _, of_week] = rules.windows(account, clock.midnight(sunday + 1).plus(-1));
    [Money::ZERO, of_day, of_week]
}

/// Moves the money: once from the payer, once to the payee.
fn settle(unit: &mut Unit, rules: &Rules<'_>, record: &PaymentRecord) {
    let outcome = &record.outcome;
    let channel =
        Channel::Offline(if outcome.overdraft > Money::ZERO { Settlement::Overdraft } else { Settlement::Clean });
    let id = name_hash(&record.nonce.0);
    let name = format!("offline:{}", record.nonce);
    let sides = [
        (&record.payer, &record.payee, Flow::debit(outcome.credited), Kind::Purchase, channel, ":out"),
        (&record.payee, &record.payer, Flow::credit(outcome.credited), Kind::TransferIn, Channel::Online, ":in"),
    ];
    for (account, other, amount, kind, channel, side) in sides {
        if amount.minor() == 0 {
            continue;
        }
        if unit.accounts.get(account).is_none() {
            // Only a payee: somebody else keeps its account, and the event tells them.
            continue;
        }
        let transaction = Transaction {
            at: rules.now,
            amount,
            kind,
            payee: name_hash(other.as_str().as_bytes()),
            channel,
            device: 1,
            place: None,
            id,
        };
        super::history::fold(unit, account, &format!("{name}{side}"), transaction);
    }
    let spent = Spent { at: record.signed_at, amount: outcome.credited };
    unit.accounts.change(&record.payer, |account| {
        super::online::know(account, record.payee.as_str());
        if spent.amount > Money::ZERO {
            let place = account.spent.partition_point(|s| s.at <= spent.at);
            account.spent.insert(place, spent);
        }
        rules.forget(account);
    });
    unit.grants.change(&record.grant, |grant| grant.settled = grant.settled.saturating_add(outcome.credited));
}

/// Counts a payment on its wallet: its number has come in, and of its grant's allowance so much has been shown.
fn count(unit: &mut Unit, payer: &AccountId, jkt: &Thumbprint, payment: &Payment, shown: Money) {
    unit.accounts.change(payer, |account| {
        let Some(wallet) = account.wallet_mut(jkt) else { return };
        if payment.seq >= wallet.life_seq
            && payment.number > wallet.seen
            && let Err(place) = wallet.ahead.binary_search(&payment.number)
        {
            wallet.ahead.insert(place, payment.number);
        }
        while wallet.ahead.first() == Some(&(wallet.seen + 1)) {
            wallet.ahead.remove(0);
            wallet.seen += 1;
        }
        if let Some(held) = wallet.held.as_mut().filter(|h| h.jti == payment.grant) {
            held.settled = held.settled.saturating_add(shown);
        } else if let Some(carried) = wallet.carried.iter_mut().find(|c| c.jti == payment.grant) {
            carried.left = carried.left.saturating_sub(shown);
        }
    });
}

/// Puts a signal on the payer's record: its own doing.
fn signal(unit: &mut Unit, rules: &Rules<'_>, account: &AccountId, cause: Cause, at: UtcSeconds) {
    let signal = Signal { cause, at: at.min(rules.now), party: Party::Holder };
    unit.accounts.change(account, |account| {
        // One burst is one breach.
        let again = cause == Cause::VelocityBreach
            && account.signals.iter().any(|s| s.cause == cause && (s.at.since(signal.at)).abs() < VELOCITY_S);
        if !again {
            account.signals.push(signal);
        }
    });
    unit.entries.push(Entry::new("signal", account.clone(), &json!({ "signal": signal })));
}

/// Whether too many payments were signed around an instant. Counted by signing time: a burst of uploads is no burst.
fn too_fast(account: &Account, at: UtcSeconds) -> bool {
    account.spent.iter().filter(|s| (0..VELOCITY_S).contains(&at.since(s.at))).count() > VELOCITY
}

fn tell(unit: &mut Unit, payment: &Payment, topic: &'static str, more: serde_json::Value) {
    let nonce: TokenId = payment.nonce;
    unit.events.push(Event {
        topic,
        body: json!({ "nonce": nonce, "payer": payment.payer, "payee": payment.payee, "amount": payment.amount, "told": more }),
    });
}
