//! Attacks: each by one account, once, against the wallet that ships, honest payees and an issuer who keeps books.
//!
//! | attack | what it can get at most | because |
//! |---|---|---|
//! | split | one limit | the wallet counts sums, not payments; without a proof of presence the step-up total |
//! | clock | one limit | signed times are remembered; payees and the issuer have clocks of their own |
//! | restored | one limit | the platform's counter; a lost life's grant stays pending at the issuer |
//! | copied | one limit from the issuer, and from payees one for each copy | nothing off line can tell copies apart |
//! | devices | one limit | what other devices may still spend is not granted again |
//! | collude | one limit, which the issuer may have to pay | nothing beyond the grant settles, and its balance was never held |

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use plimsoll_datasets::Resolution;
use plimsoll_edge::payee::RefusePayment;
use plimsoll_edge::storage::Memory;
use plimsoll_edge::wallet::{NoAnchor, Presence, RefuseGrant, RefuseRequest, WalletError};
use plimsoll_model::grant::{Bytes, CLOCK_SLACK_S, Form, Payment, Verified};
use plimsoll_model::time::DAY;
use plimsoll_model::{Money, Tier, UtcSeconds};

use super::config::{Config, Scenario, told};
use super::draw::Draw;
use super::issuer::{House, Record, Settled, Unsettled};
use super::life::{Balance, Book};
use super::phone::{Answer, Counter, Phone};
use super::{Ledger, ReplayError};

/// Minor units below which a limit is not worth an attack: every attack takes it in several parts.
const WORTHWHILE: u64 = 20;
/// Taps of a thief without the holder's finger.
const TAPS_MAX: u32 = 200;

/// What one attacking account got. Amounts in minor units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attacked {
    pub(super) tier: Tier,
    /// What one honest wallet could have spent.
    pub(super) honest: u64,
    /// Goods of honest payees, and what was credited to dishonest ones.
    pub(super) got: u64,
    /// The most the attack can get by design.
    pub(super) bound: u64,
    /// Paid by the issuer, and lost by honest payees.
    pub(super) issuer_lost: u64,
    pub(super) payee_lost: u64,
    /// Settled: to payees, from the balance.
    pub(super) credited: u64,
    pub(super) debited: u64,
    /// What said no, how often.
    pub(super) stopped: BTreeMap<String, u32>,
}

/// An account that attacks, right after it has synced.
pub(super) struct Scene<'a> {
    house: &'a House<'a>,
    config: &'a Config,
    name: String,
    at: UtcSeconds,
    draw: Draw,
    phone: Phone<'a, Counter>,
    counter: Counter,
    record: Record,
    book: Book<'a>,
    balance: Balance<'a>,
    lifetime: u64,
    done: Attacked,
}

impl<'a> Scene<'a> {
    /// The first sync at which the account is granted enough to be worth an attack; none when it never is.
    pub(super) fn open(
        house: &'a House<'a>,
        ledger: &'a Ledger<'a>,
        config: &'a Config,
        ix: usize,
        draw: Draw,
    ) -> Result<Option<Self>, ReplayError> {
        let histories = ledger.histories;
        let (Some((account, rows)), Some(mut book)) = (histories.get(ix), Book::open(histories, ix)) else {
            return Ok(None);
        };
        let name = format!("a{ix}");
        let tier = house.evaluator.policy().tier(account.tier).tier;
        let key = SigningKey::from_bytes(&draw.of(1).bytes());
        let counter = Counter::default();
        let mut phone = Phone::open(house, &name, Memory::default(), counter.clone(), key, draw.of(2))?;
        let mut record = Record::new(name.clone(), tier);
        record.enrol(phone.jkt());
        let manifest = house.evaluator.manifest();
        let reach = manifest.ages.last().map_or(0, |a| a.seconds()) + i64::from(manifest.window_h) * 3_600;
        let dates_only = histories.resolution == Resolution::Day;
        let mut at = ledger.begins(rows, config);
        for k in 0.. {
            let next = told(at.plus(config.sync.seconds(draw.of(3).of(k))), histories.offset, dates_only);
            at = if next > at { next } else { next.plus(DAY) };
            if at.plus(reach) > ledger.period.until {
                return Ok(None);
            }
            book.to(at);
            let holds = Money::floor_at_zero(book.balance());
            if holds == Money::ZERO {
                continue;
            }
            let (features, lifetime) = (book.features(at), config.lifetime_before + book.count());
            phone.sync(&mut record, holds, &features, lifetime, at)?;
            let honest = phone.left(at)?.remaining.minor();
            if honest >= WORTHWHILE {
                let balance = Balance::at_sync(&book, house.evaluator.certificate().terms.target);
                let done = Attacked { tier, honest, bound: honest, ..Attacked::default() };
                let scene =
                    Self { house, config, name, at, draw, phone, counter, record, book, balance, lifetime, done };
                return Ok(Some(scene));
            }
        }
        Ok(None)
    }

    /// Plays an attack, and checks the issuer's books after it.
    pub(super) fn play(mut self, attack: Scenario) -> Result<Attacked, ReplayError> {
        match attack {
            Scenario::Split => self.split()?,
            Scenario::Clock => self.clock()?,
            Scenario::Restored => self.restored()?,
            Scenario::Copied => self.copied()?,
            Scenario::Devices => self.devices()?,
            Scenario::Collude => self.collude()?,
            Scenario::Clean | Scenario::Drained | Scenario::Slow | Scenario::Outage => {}
        }
        let [credited, debited, overdraft] = self.record.moved();
        let done = &self.done;
        let same = (credited, debited, overdraft) == (done.credited, done.debited, done.issuer_lost);
        if !same || credited != debited + overdraft || self.record.of_grants().any(|(settled, most)| settled > most) {
            let why = format!("the books do not add up after {}: {done:?}", attack.name());
            return Err(ReplayError::Broken { account: self.name, at: self.at, why });
        }
        Ok(self.done)
    }

    fn stop(&mut self, what: impl Into<String>) {
        *self.done.stopped.entry(what.into()).or_default() += 1;
    }

    /// What a wallet's answer was worth to somebody whose payee is honest.
    fn took(&mut self, answer: Answer) -> Option<Verified<Payment>> {
        match answer {
            Answer::Paid(payment) => {
                self.done.got += payment.amount.minor();
                return Some(*payment);
            }
            Answer::Untaken(why, _) => self.stop(payee_says(&why)),
            Answer::Declined(bound) => self.stop(format!("wallet: {}", bound.name())),
            Answer::StepUp => self.stop("wallet: step_up"),
            Answer::Refused(why) => self.stop(wallet_says(&why)),
        }
        None
    }

    /// Hands a payment in that an honest payee took.
    fn settle(&mut self, payment: &Verified<Payment>, at: UtcSeconds) {
        match self.hand_in(payment, at) {
            Ok(settled) => self.done.payee_lost += payment.amount.saturating_sub(settled.credited).minor(),
            Err(why) => {
                self.done.payee_lost += payment.amount.minor();
                self.stop(why.name());
            }
        }
    }

    /// Hands a payment in that a dishonest payee took: what is credited is what it got.
    fn cash(&mut self, payment: &Verified<Payment>, at: UtcSeconds) -> bool {
        let handed = self.hand_in(payment, at);
        match handed {
            Ok(settled) => self.done.got += settled.credited.minor(),
            Err(why) => self.stop(why.name()),
        }
        handed.is_ok()
    }

    fn hand_in(&mut self, payment: &Verified<Payment>, at: UtcSeconds) -> Result<Settled, Unsettled> {
        let settled = self.record.judge(self.house, payment, self.balance.holds(at), at)?;
        self.balance.pay(settled.debited);
        self.done.credited += settled.credited.minor();
        self.done.debited += settled.debited.minor();
        self.done.issuer_lost += settled.overdraft.minor();
        Ok(settled)
    }

    /// One phone, many small payments: over the cap in one, past the wallet, without the holder's finger, and with it.
    fn split(&mut self) -> Result<(), ReplayError> {
        let at = self.at.plus(60);
        let left = self.phone.left(at)?;
        let most = left.per_payment.min(left.remaining);
        let request = self.phone.request(most.saturating_add(minor(1)), "shop", at);
        let answer = self.phone.answer(&request, at, at, Presence::Proved)?;
        self.took(answer);
        // With the device's key and without its wallet: the payee sees the cap in the grant, and so does the issuer.
        let (token, forged) = self.phone.forge(&request, 1_000_000, at);
        if let Err(why) = self.phone.hand(&token, &request, at) {
            self.stop(payee_says(&why));
        }
        self.cash(&forged, at);
        let mut taken = Vec::new();
        if let Some(rule) = self.phone.grant().step_up {
            let tap = rule.free_up_to.min(most);
            for n in 0..TAPS_MAX {
                let request = self.phone.request(tap, &format!("tap-{n}"), at);
                let answer = self.phone.answer(&request, at, at, Presence::Unproved)?;
                let Some(payment) = self.took(answer) else { break };
                taken.push(payment);
            }
            let unproved: u64 = taken.iter().map(|p| p.amount.minor()).sum();
            if rule.free_total.is_some_and(|total| unproved > total.minor()) {
                self.done.bound = 0;
            }
        }
        let (rest, bound) = self.phone.drain("piece", at)?;
        self.done.got += sum(&rest);
        self.stop(format!("wallet: {}", bound.name()));
        taken.extend(rest);
        taken.iter().for_each(|payment| self.settle(payment, at.plus(3_600)));
        Ok(())
    }

    /// The clock is set back and ahead; some payees help, and set theirs too.
    fn clock(&mut self) -> Result<(), ReplayError> {
        let at = self.at.plus(360);
        let part = minor((self.done.honest / 5).max(1)).min(self.phone.left(at)?.per_payment);
        let answer = self.phone.pay(part, "shop", at)?;
        if let Some(payment) = self.took(answer) {
            self.settle(&payment, at.plus(60));
        }
        // Back by two days, for a window of 24 hours that has not begun: signed times are remembered. With a request of
        // that time it is over by the signed time.
        let back = at.plus(-2 * DAY);
        for (payee, asked) in [("shop", at.plus(60)), ("helper", back)] {
            let request = self.phone.request(part, payee, asked);
            let answer = self.phone.answer(&request, back, asked, Presence::Proved)?;
            self.took(answer);
        }
        // Ahead by a day, for one that has ended. An honest payee sees a payment of tomorrow, the issuer too.
        let ahead = at.plus(DAY + 3_600);
        let request = self.phone.request(part, "helper", ahead);
        if let Answer::Paid(payment) | Answer::Untaken(_, payment) =
            self.phone.answer(&request, ahead, ahead, Presence::Proved)?
        {
            if let Err(why) = self.phone.hand(payment.bytes(), &request, at) {
                self.stop(payee_says(&why));
            }
            self.cash(&payment, at);
            // Now the right time is behind a signed one.
            let answer = self.phone.pay(part, "shop", at.plus(120))?;
            self.took(answer);
            self.cash(&payment, ahead);
        }
        // Two and a half days after the sync the phone says that it is younger than it is; an honest payee's request
        // is then from its future.
        let (late, young) = (self.at.plus(60 * 3_600), ahead.plus(60));
        let request = self.phone.request(part, "shop", late);
        let answer = self.phone.answer(&request, young, late, Presence::Proved)?;
        self.took(answer);
        let request = self.phone.request(part, "helper", young);
        if let Answer::Paid(payment) | Answer::Untaken(_, payment) =
            self.phone.answer(&request, young, young, Presence::Proved)?
        {
            self.cash(&payment, late);
        }
        // A grant that has ended is kept alive: what it signs has expired with it.
        let valid = i64::from(self.phone.grant().payment_valid_s);
        let dead = young.plus(60 + valid + CLOCK_SLACK_S + 3_600);
        let request = self.phone.request(part, "helper", young.plus(60));
        if let Answer::Paid(payment) | Answer::Untaken(_, payment) =
            self.phone.answer(&request, young.plus(60), young.plus(60), Presence::Proved)?
        {
            if let Err(why) = self.phone.hand(payment.bytes(), &request, dead) {
                self.stop(payee_says(&why));
            }
            self.cash(&payment, dead);
        }
        Ok(())
    }

    /// The app's data is set back after everything was spent, then removed, and then the phone syncs as if it were new.
    fn restored(&mut self) -> Result<(), ReplayError> {
        let at = self.at.plus(60);
        let backup = self.phone.files.files();
        let (taken, _) = self.phone.drain("shop", at)?;
        self.done.got += sum(&taken);
        let key = self.phone.key.clone();
        for (n, files) in [Memory::new(backup), Memory::default()].into_iter().enumerate() {
            let draw = self.draw.of(20 + n as u64);
            let mut again = Phone::open(self.house, &self.name, files, self.counter.clone(), key.clone(), draw)?;
            let request = again.request(minor(1), "shop", at.plus(60));
            if let Answer::Paid(payment) = again.answer(&request, at.plus(60), at.plus(60), Presence::Proved)? {
                self.done.got += payment.amount.minor();
                self.settle(&payment, at.plus(60));
            } else {
                self.stop("wallet: state");
            }
            if n == 1 {
                // Nothing of the first life has settled: the issuer holds all of it back.
                let now = at.plus(120);
                let (features, holds) = (self.book.features(self.at), self.balance.holds(now));
                let pending = again.sync(&mut self.record, holds, &features, self.lifetime, now)?;
                let left = again.left(now)?.remaining;
                self.done.bound = self.done.bound.max(left.saturating_add(pending).minor());
                let (more, bound) = again.drain("shop", now)?;
                self.done.got += sum(&more);
                if more.is_empty() {
                    self.stop(format!("issuer: {}", bound.name()));
                }
                more.iter().for_each(|payment| self.settle(payment, now.plus(3_600)));
            }
        }
        taken.iter().for_each(|payment| self.settle(payment, at.plus(2 * 3_600)));
        Ok(())
    }

    /// The app's data is copied to devices that have no counter: every copy pays somebody else.
    fn copied(&mut self) -> Result<(), ReplayError> {
        let at = self.at.plus(60);
        let backup = self.phone.files.files();
        let key = self.phone.key.clone();
        let copy = |n: u32| {
            let files = Memory::new(backup.clone());
            Phone::open(self.house, &self.name, files, NoAnchor, key.clone(), self.draw.of(30 + u64::from(n)))
        };
        let mut taken = Vec::new();
        for n in 0..self.config.copies {
            taken.extend(copy(n)?.drain(&format!("shop-{n}"), at.plus(i64::from(n)))?.0);
        }
        let mut fresh = copy(self.config.copies)?;
        self.done.got += sum(&taken);
        self.done.bound = self.done.honest * u64::from(self.config.copies);
        // The first copy's payments settle first: what the issuer covers is one limit.
        taken.iter().for_each(|payment| self.settle(payment, at.plus(3_600)));
        if self.record.numbers_reused > 0 {
            self.stop("issuer: payment number used twice");
        }
        // And a copy learns at its next sync that it is one.
        let now = at.plus(2 * 3_600);
        let (features, holds) = (self.book.features(self.at), self.balance.holds(now));
        let (jkt, wid) = (fresh.jkt(), fresh.wallet.status().wid);
        let jti = Bytes(self.draw.of(29).bytes());
        let (grant, _) = self.record.sync(self.house, jkt, wid, holds, &features, self.lifetime, now, jti)?;
        match fresh.wallet.accept(&grant, now) {
            Err(WalletError::Grant(RefuseGrant::Gap { .. })) => self.stop("wallet: sequence"),
            Err(error) => return Err(ReplayError::broken(&self.name, now, &error)),
            Ok(_) => {}
        }
        Ok(())
    }

    /// Every device that the account may have syncs, then all of them spend what they were granted.
    fn devices(&mut self) -> Result<(), ReplayError> {
        let more = self.house.evaluator.policy().refresh.devices_max.clamp(2, 16) - 1;
        let mut phones = Vec::new();
        for n in 0..more {
            let draw = self.draw.of(40 + u64::from(n));
            let key = SigningKey::from_bytes(&draw.of(1).bytes());
            let mut phone =
                Phone::open(self.house, &self.name, Memory::default(), Counter::default(), key, draw.of(2))?;
            self.record.enrol(phone.jkt());
            let now = self.at.plus(i64::from(n) + 1);
            let (features, holds) = (self.book.features(self.at), self.balance.holds(now));
            let pending = phone.sync(&mut self.record, holds, &features, self.lifetime, now)?;
            let left = phone.left(now)?;
            self.done.bound = self.done.bound.max(left.remaining.saturating_add(pending).minor());
            if left.remaining == Money::ZERO {
                self.stop(format!("issuer: {}", left.bound.name()));
            }
            phones.push(phone);
        }
        let at = self.at.plus(3_600);
        let mut taken = self.phone.drain("shop", at)?.0;
        for phone in &mut phones {
            taken.extend(phone.drain("elsewhere", at)?.0);
        }
        self.done.got += sum(&taken);
        taken.iter().for_each(|payment| self.settle(payment, at.plus(3_600)));
        Ok(())
    }

    /// Everything goes to a merchant who helps, then the account is emptied by other means, then the merchant hands in.
    fn collude(&mut self) -> Result<(), ReplayError> {
        let at = self.at.plus(60);
        let (taken, _) = self.phone.drain("helper", at)?;
        let holds = self.balance.holds(at);
        self.balance.pay(holds);
        for payment in &taken {
            self.cash(payment, at);
            self.cash(payment, at);
        }
        // What no wallet would sign and no honest payee take, signed with the device's own key.
        let grant = self.phone.grant().clone();
        let above = grant.cap.token.unwrap_or(grant.bal).saturating_add(minor(1));
        for (n, (amount, when)) in
            [(above, at), (minor(1), at), (minor(1), grant.exp), (minor(1), at.plus(DAY))].into_iter().enumerate()
        {
            let request = self.phone.request(amount, "helper", when);
            let (_, forged) = self.phone.forge(&request, 1_000_000 + n as u64, when);
            let handed_in = if n == 3 { at } else { when };
            self.cash(&forged, handed_in);
        }
        if let Some(first) = taken.first() {
            let more = |amount: Money| amount.saturating_add(minor(1));
            let twin = Payment { amount: more(first.amount), spent: more(first.spent), ..first.claims().clone() };
            let token = twin.sign(Form::Cwt, &self.phone.key).expect("a key in memory signs");
            self.cash(&Payment::verify(&token).expect("signed just now"), at);
        }
        let stranger = SigningKey::from_bytes(&self.draw.of(50).bytes());
        let request = self.phone.request(minor(1), "helper", at);
        let (_, forged) = self.phone.forge(&request, 2_000_000, at);
        let token = forged.claims().sign(Form::Cwt, &stranger).expect("a key in memory signs");
        self.cash(&Payment::verify(&token).expect("signed just now"), at);
        Ok(())
    }
}

fn minor(minor: u64) -> Money {
    Money::from_minor(minor).unwrap_or(Money::MAX)
}

fn sum(payments: &[Verified<Payment>]) -> u64 {
    payments.iter().map(|p| p.amount.minor()).sum()
}

fn payee_says(why: &RefusePayment) -> &'static str {
    match why {
        RefusePayment::OverCap { .. } => "payee: over the payment cap",
        RefusePayment::OverLimit { .. } => "payee: over the grant",
        RefusePayment::FutureDated { .. } => "payee: future-dated",
        RefusePayment::Backdated { .. } => "payee: backdated",
        RefusePayment::Expired { .. } | RefusePayment::RequestExpired { .. } => "payee: expired",
        _ => "payee: refused otherwise",
    }
}

fn wallet_says(why: &RefuseRequest) -> &'static str {
    match why {
        RefuseRequest::FutureDated { .. } => "wallet: request from the future",
        RefuseRequest::Expired { .. } => "wallet: request expired",
        _ => "wallet: request refused otherwise",
    }
}
