//! A holder's days: sync, go offline, pay, come back.
//!
//! ```text
//!   sync                          payments, as the ledger's spends come ─ all that is left           next sync
//! ───┬──────────────────────────────┬──────────────┬────────────────────────┬──────────────────────────┬───►
//!    features folded so far,        └ payee hands it in after a delay: settles from what the balance    payer hands
//!    balance ─► grant                 holds then                                                        in the rest
//! ```
//!
//! Every window begins from the ledger as it was recorded: what a holder who spent more would have done in the weeks after
//! nobody knows. Within a window the target decides what else moves the balance. *Committed*: what the ledger says the
//! holder started on this phone is tried offline instead, and the other flows happen as recorded. *Strict*: all of them
//! happen as recorded, and offline payments of the same amounts come on top. Other flows are never refused for want of
//! money: a balance that they take below zero pays for nothing.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use plimsoll_datasets::{Histories, Resolution};
use plimsoll_edge::storage::Memory;
use plimsoll_model::calibration::Target;
use plimsoll_model::decision::Bound;
use plimsoll_model::features::{FeatureState, FeatureVector};
use plimsoll_model::grant::{CLOCK_SLACK_S, Payment, Verified};
use plimsoll_model::time::DAY;
use plimsoll_model::{Money, Tier, Transaction, UtcSeconds};

use super::config::{Config, Scenario, told};
use super::draw::Draw;
use super::issuer::{House, Record, Settled, Unsettled};
use super::phone::{Answer, Counter, Phone};
use super::{Ledger, ReplayError};
use crate::windows::{Ahead, is_granted};

/// One account's recorded rows, folded into features as time goes on.
pub(super) struct Book<'a> {
    rows: &'a [Transaction],
    next: usize,
    state: FeatureState,
}

impl<'a> Book<'a> {
    pub(super) fn open(histories: &'a Histories, ix: usize) -> Option<Self> {
        Some(Self { rows: histories.get(ix)?.1, next: 0, state: histories.state_before(ix)? })
    }

    /// Goes on to a sync: rows of its very second come after it.
    pub(super) fn to(&mut self, at: UtcSeconds) {
        while let Some(row) = self.rows.get(self.next).filter(|r| r.at < at) {
            self.state.push(row).expect("histories are sorted by time");
            self.next += 1;
        }
    }

    pub(super) const fn balance(&self) -> i64 {
        self.state.balance_minor()
    }

    pub(super) fn features(&mut self, at: UtcSeconds) -> FeatureVector {
        self.state.snapshot(at)
    }

    /// Transactions so far.
    pub(super) const fn count(&self) -> u64 {
        self.next as u64
    }

    /// Rows that are still to come.
    pub(super) fn ahead(&self) -> &'a [Transaction] {
        &self.rows[self.next..]
    }
}

/// The balance from a sync on: other flows as recorded, less what settled.
pub(super) struct Balance<'a> {
    rows: &'a [Transaction],
    next: usize,
    minor: i64,
    target: Target,
}

impl<'a> Balance<'a> {
    pub(super) fn at_sync(book: &Book<'a>, target: Target) -> Self {
        Self { rows: book.ahead(), next: 0, minor: book.balance(), target }
    }

    /// What it holds at `at`, that second's flows included.
    pub(super) fn holds(&mut self, at: UtcSeconds) -> Money {
        while let Some(row) = self.rows.get(self.next).filter(|r| r.at <= at) {
            if self.target == Target::Strict || !is_granted(row) {
                self.minor += row.moved();
            }
            self.next += 1;
        }
        Money::floor_at_zero(self.minor)
    }

    pub(super) fn pay(&mut self, amount: Money) {
        self.minor -= amount.minor() as i64;
    }
}

/// What one account did in one scenario. Amounts in minor units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lived {
    pub(super) tier: Tier,
    /// Windows with a balance; those without any limit.
    pub(super) windows: u32,
    pub(super) zero: u32,
    /// Sum of limits at the sync.
    pub(super) limit: u64,
    /// At each certified age: windows with less headroom than the limit, and what was missing from them.
    pub(super) short: Vec<u32>,
    pub(super) missing: Vec<u64>,
    /// Windows in which somebody lost something.
    pub(super) lost: u32,
    /// The ledger's own spends while offline, and those of them that went through whole.
    pub(super) asked: u64,
    pub(super) met: u64,
    pub(super) tried: u32,
    pub(super) declined: u32,
    /// Declined payments, by the rule that said no.
    pub(super) by_bound: BTreeMap<&'static str, u32>,
    /// Approved, what was left at the end included.
    pub(super) spent: u64,
    /// Settled: to payees, from balances, by the issuer.
    pub(super) credited: u64,
    pub(super) debited: u64,
    pub(super) overdraft: u64,
    /// Payments that did not settle: payees' losses.
    pub(super) unsettled: u32,
    pub(super) payee_lost: u64,
}

/// What happens in a window, at its time.
#[derive(Clone, Copy)]
enum Act {
    /// The ledger has a spend.
    Spend(Money),
    /// Everything that is left goes.
    Drain,
}

/// One window: from a sync to the next.
struct Window {
    from: UtcSeconds,
    until: UtcSeconds,
    /// Nobody hands anything in from the first instant to the second.
    quiet: (UtcSeconds, UtcSeconds),
    acts: Vec<(UtcSeconds, Act)>,
    draw: Draw,
}

/// A holder in a scenario.
pub(super) struct Life<'a> {
    house: &'a House<'a>,
    config: &'a Config,
    scenario: Scenario,
    ledger: &'a Ledger<'a>,
    /// First second of the outage.
    outage: UtcSeconds,
    /// No sync before.
    begins: UtcSeconds,
    draw: Draw,
    phone: Phone<'a, Counter>,
    record: Record,
    book: Book<'a>,
    lived: Lived,
}

impl<'a> Life<'a> {
    /// * `draw`: of the account, the same in every scenario and for every model.
    pub(super) fn open(
        house: &'a House<'a>,
        ledger: &'a Ledger<'a>,
        config: &'a Config,
        scenario: Scenario,
        outage: UtcSeconds,
        ix: usize,
        draw: Draw,
    ) -> Result<Option<Self>, ReplayError> {
        let histories = ledger.histories;
        let (Some((account, rows)), Some(book)) = (histories.get(ix), Book::open(histories, ix)) else {
            return Ok(None);
        };
        // Not the account's own name: grants travel, and a report never names an account.
        let name = format!("a{ix}");
        let key = SigningKey::from_bytes(&draw.of(1).bytes());
        let phone = Phone::open(house, &name, Memory::default(), Counter::default(), key, draw.of(2))?;
        let tier = house.evaluator.policy().tier(account.tier).tier;
        let mut record = Record::new(name, tier);
        record.enrol(phone.jkt());
        let ages = house.evaluator.manifest().ages.len();
        let lived = Lived { tier, short: vec![0; ages], missing: vec![0; ages], ..Lived::default() };
        let begins = ledger.begins(rows, config);
        Ok(Some(Self { house, config, scenario, ledger, outage, begins, draw, phone, record, book, lived }))
    }

    /// Plays it to the end, and compares what came of it with the issuer's own books.
    pub(super) fn live(mut self) -> Result<Lived, ReplayError> {
        self.play()?;
        let l = &self.lived;
        let [credited, debited, overdraft] = self.record.moved();
        let same = (credited, debited, overdraft) == (l.credited, l.debited, l.overdraft);
        let over = self.record.of_grants().any(|(settled, ceiling)| settled > ceiling);
        if !same || credited != debited + overdraft || over || self.record.numbers_reused > 0 {
            let why = format!(
                "the books do not add up: credited {credited}, debited {debited}, overdraft {overdraft}; a holder's are \
                 {l:?}"
            );
            return Err(ReplayError::Broken { account: self.phone_name(), at: self.ledger.period.until, why });
        }
        Ok(self.lived)
    }

    fn phone_name(&self) -> String {
        self.phone.wallet.identity().account.clone()
    }

    fn reach(&self) -> i64 {
        let manifest = self.house.evaluator.manifest();
        manifest.ages.last().map_or(0, |a| a.seconds()) + i64::from(manifest.window_h) * 3_600
    }

    fn play(&mut self) -> Result<(), ReplayError> {
        let (syncs, begins) = (self.draw.of(3), self.begins);
        let (histories, until) = (self.ledger.histories, self.ledger.period.until);
        let dates_only = histories.resolution == Resolution::Day;
        let told = |at| told(at, histories.offset, dates_only);
        if self.scenario == Scenario::Outage {
            // The last sync before it, and the first after it.
            let back = self.outage.plus(i64::from(self.config.outage_h) * 3_600);
            let from = told(self.outage.plus(-self.config.sync.seconds(syncs.of(0))));
            if from >= begins && from.plus(self.reach()) <= until && back > from {
                self.window(from, told(back), (self.outage, back), syncs.of(0))?;
            }
            return Ok(());
        }
        // Not everybody syncs at the first second.
        let mut from = told(begins.plus(self.config.sync.seconds(syncs.of(0))));
        for k in 1.. {
            if from.plus(self.reach()) > until {
                break;
            }
            let mut next = told(from.plus(self.config.sync.seconds(syncs.of(k))));
            if self.scenario == Scenario::Slow {
                // It stays away until everything has settled.
                next = told(from.plus(self.reach()));
            }
            next = if next > from { next } else { told(from.plus(DAY)) };
            self.window(from, next, (from, from), syncs.of(k))?;
            from = next;
        }
        Ok(())
    }

    /// One window, if the account has anything then.
    fn window(
        &mut self,
        from: UtcSeconds,
        until: UtcSeconds,
        quiet: (UtcSeconds, UtcSeconds),
        draw: Draw,
    ) -> Result<(), ReplayError> {
        self.book.to(from);
        let balance = Money::floor_at_zero(self.book.balance());
        if balance == Money::ZERO {
            return Ok(());
        }
        let features = self.book.features(from);
        let lifetime = self.config.lifetime_before + self.book.count();
        self.phone.sync(&mut self.record, balance, &features, lifetime, from)?;
        self.count_headroom(from);
        let mut window = Window { from, until, quiet, acts: self.acts(from, until, draw), draw };
        let lost = self.go(&mut window)?;
        self.lived.lost += u32::from(lost);
        Ok(())
    }

    /// The certified quantity: headroom at every age, beside the limit that was signed for it.
    fn count_headroom(&mut self, from: UtcSeconds) {
        let manifest = self.house.evaluator.manifest();
        let target = self.house.evaluator.certificate().terms.target;
        let ahead = Ahead { target, ages: &manifest.ages, window_h: manifest.window_h };
        let (headroom, _) = ahead.look(self.book.ahead(), from, self.book.balance());
        let grant = self.phone.grant();
        for (ix, ((_, limit), headroom)) in grant.limit.points().iter().zip(&headroom).enumerate() {
            self.lived.short[ix] += u32::from(limit > headroom);
            self.lived.missing[ix] += limit.saturating_sub(*headroom).minor();
        }
        let limit = grant.limit.points().first().map_or(Money::ZERO, |p| p.1);
        self.lived.windows += 1;
        self.lived.limit += limit.minor();
        self.lived.zero += u32::from(limit == Money::ZERO);
    }

    /// What the holder does offline, in order.
    fn acts(&self, from: UtcSeconds, until: UtcSeconds, draw: Draw) -> Vec<(UtcSeconds, Act)> {
        let rows = self.book.ahead().iter().take_while(|r| r.at < until);
        let spends = rows.filter(|r| is_granted(r)).map(|r| (r.at, Act::Spend(Money::floor_at_zero(-r.moved()))));
        let mut acts: Vec<_> = spends.collect();
        if self.scenario.drains() {
            let oldest = self.house.evaluator.manifest().ages.last().map_or(0, |a| a.seconds());
            let seconds = until.since(from).min(oldest).max(1) as u64;
            let at = from.plus(draw.of(1).below(seconds) as i64);
            let place = acts.partition_point(|act| act.0 <= at);
            acts.insert(place, (at, Act::Drain));
        }
        acts
    }

    /// Plays a window; whether anybody lost anything in it.
    fn go(&mut self, window: &mut Window) -> Result<bool, ReplayError> {
        let mut balance = Balance::at_sync(&self.book, self.house.evaluator.certificate().terms.target);
        let mut due: BTreeMap<(UtcSeconds, u64), Verified<Payment>> = BTreeMap::new();
        let mut lost = false;
        for (at, act) in std::mem::take(&mut window.acts) {
            lost |= self.settle(&mut due, &mut balance, at);
            match act {
                Act::Spend(amount) => self.spend(amount, at, window, &mut due)?,
                Act::Drain => {
                    for payment in self.phone.drain("all", at)?.0 {
                        self.lived.spent += payment.amount.minor();
                        due.insert(self.settles(&payment, window), payment);
                    }
                }
            }
        }
        lost |= self.settle(&mut due, &mut balance, UtcSeconds(i64::MAX));
        Ok(lost)
    }

    /// One of the ledger's spends, offline.
    fn spend(
        &mut self,
        amount: Money,
        at: UtcSeconds,
        window: &Window,
        due: &mut BTreeMap<(UtcSeconds, u64), Verified<Payment>>,
    ) -> Result<(), ReplayError> {
        self.lived.tried += 1;
        self.lived.asked += amount.minor();
        let bound = match self.phone.pay(amount, "shop", at)? {
            Answer::Paid(payment) => {
                self.lived.met += amount.minor();
                self.lived.spent += amount.minor();
                due.insert(self.settles(&payment, window), *payment);
                return Ok(());
            }
            Answer::Declined(bound) => bound,
            Answer::StepUp => Bound::StepUp,
            Answer::Untaken(why, _) => return Err(ReplayError::broken(&self.phone_name(), at, &why)),
            Answer::Refused(why) => return Err(ReplayError::broken(&self.phone_name(), at, &why)),
        };
        self.lived.declined += 1;
        *self.lived.by_bound.entry(bound.name()).or_default() += 1;
        Ok(())
    }

    /// When a payment is handed in: by the payee after a delay, or by the payer's own device when it is back.
    fn settles(&self, payment: &Payment, window: &Window) -> (UtcSeconds, u64) {
        let draw = window.draw.of(2).of(payment.iat.since(window.from) as u64).of(payment.amount.minor());
        let at = match self.scenario {
            Scenario::Slow if draw.of(1).below(1_000) < u64::from(self.config.late_milli) => {
                payment.exp.plus(CLOCK_SLACK_S + 3_600)
            }
            Scenario::Slow => payment.exp,
            _ => {
                let payee = payment.iat.plus(self.config.settlement.seconds(draw)).min(payment.exp);
                let (from, until) = window.quiet;
                (if payee < from { payee } else { payee.max(until) }).min(window.until)
            }
        };
        (at, payment.number)
    }

    /// Settles what is handed in by `now`; whether anybody lost anything.
    fn settle(
        &mut self,
        due: &mut BTreeMap<(UtcSeconds, u64), Verified<Payment>>,
        balance: &mut Balance<'_>,
        now: UtcSeconds,
    ) -> bool {
        let mut lost = false;
        while let Some(entry) = due.first_entry().filter(|e| e.key().0 <= now) {
            let (at, payment) = (entry.key().0, entry.remove());
            match self.record.judge(self.house, &payment, balance.holds(at), at) {
                Ok(Settled { credited, debited, overdraft }) => {
                    balance.pay(debited);
                    self.lived.credited += credited.minor();
                    self.lived.debited += debited.minor();
                    self.lived.overdraft += overdraft.minor();
                    let unpaid = payment.amount.saturating_sub(credited);
                    self.lived.payee_lost += unpaid.minor();
                    lost |= overdraft > Money::ZERO || unpaid > Money::ZERO;
                }
                Err(Unsettled::Again) => {}
                Err(why) => {
                    self.lived.unsettled += 1;
                    self.lived.payee_lost += payment.amount.minor();
                    // Who comes too late has lost it by that, not by the limit.
                    lost |= why != Unsettled::Expired;
                }
            }
        }
        lost
    }
}
