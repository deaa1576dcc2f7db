//! Payments and the ledger they end up in: online at once, offline at the next sync, declined without a trace.

use plimsoll_model::time::DAY;
use plimsoll_model::transaction::Place;
use plimsoll_model::{Channel, Flow, Kind, Settlement, Transaction, UtcSeconds};

use super::{Due, Payee, SHOPS, Village};
use crate::synth::person::{Adversary, BANK, near};
use crate::synth::{Block, Record};

/// Tokens live this long, seconds.
const TOKEN_LIFE: i64 = 72 * 3_600;

impl Village<'_> {
    /// A payment the holder wants to make now: offline, online, after a top-up, or not at all.
    pub(super) fn spend_on(&mut self, at: i64, i: usize, kind: Kind, minor: i64, to: Payee, out: &mut Block) {
        let (_, single) = self.config.programme.caps();
        let minor = minor.min(single);
        let mut device = 1;
        if self.people[i].user.devices > 1 && self.random.chance(0.12) {
            device = 1 + self.random.between(1, u32::from(self.people[i].user.devices) - 1) as u8;
        }
        // Cash needs a connection, and further devices stay at home, on the line.
        if self.in_gap(at, i) && device == 1 && kind != Kind::CashOut {
            return self.offline_payment(at, i, kind, minor, to, out);
        }
        if self.wallets[i].balance >= minor {
            return self.online(at, i, kind, minor, to, device, out);
        }
        if self.random.chance(self.people[i].insist) && !self.wallets[i].reload_due {
            let missing = minor - self.wallets[i].balance;
            if self.reload(at, i, missing, out) {
                let after = at + i64::from(self.random.between(20, 150));
                self.later(after, i, Due::Retry { kind: kind as u8, minor, to });
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // The fields of one payment.
    pub(super) fn online(&mut self, at: i64, i: usize, kind: Kind, minor: i64, to: Payee, device: u8, out: &mut Block) {
        let (payee, place) = self.payee(to);
        let place = if kind == Kind::Purchase && self.random.chance(0.8) { place } else { None };
        let place = place.map(|p| near(p, 0.000_3, &mut self.random));
        self.in_gap(at, i);
        self.wallets[i].balance -= minor;
        self.record(at, at, i, kind, -minor, payee, Channel::Online, place, device, out);
        self.receive(at, i, kind, minor, to, out);
        if kind == Kind::Purchase && self.random.chance(0.006) {
            let back = at + i64::from(self.random.between(3_600, 6 * 86_400));
            self.later(back, i, Due::Refund { minor, payee });
        }
        self.after_spending(at, i);
    }

    /// A neighbour's side of a payment.
    fn receive(&mut self, at: i64, i: usize, kind: Kind, minor: i64, to: Payee, out: &mut Block) {
        if let Payee::Neighbour(j) = to {
            let j = usize::from(j);
            let payer = self.people[i].payee;
            if kind == Kind::Purchase {
                self.wallets[j].sold += minor;
                self.credit(at, j, Kind::Income, minor, payer, None, out);
            } else {
                self.credit(at, j, Kind::TransferIn, minor, payer, None, out);
            }
        }
    }

    fn offline_payment(&mut self, at: i64, i: usize, kind: Kind, minor: i64, to: Payee, out: &mut Block) {
        let day = at / DAY;
        let adversary = self.people[i].user.adversary.filter(|_| day >= i64::from(self.people[i].turns_on));
        if self.wallets[i].cached < minor {
            return; // Declined by the device itself.
        }
        let wallet = &mut self.wallets[i];
        wallet.cached -= minor;
        wallet.promised += 1;
        let settles = wallet.gap_end + i64::from(wallet.promised) * 2;
        let promise = |made_at: i64, outcome: Option<Settlement>, minor: i64, to: Payee| Due::Settle {
            made_at,
            outcome: outcome.map(|o| o as u8),
            device: 1,
            kind: kind as u8,
            minor,
            to,
        };
        match adversary {
            Some(Adversary::Expired) if self.random.chance(0.5) => {
                let late = at + TOKEN_LIFE + i64::from(self.random.between(60, 48 * 3_600));
                return self.later(late, i, promise(at, Some(Settlement::Expired), minor, to));
            }
            Some(Adversary::DoubleSpend) if self.random.chance(0.5) => {
                let again = at + i64::from(self.random.between(30, 1_800));
                let other = Payee::Shop(self.random.below(SHOPS as u32) as u8);
                self.later(settles.max(again) + 1, i, promise(again, Some(Settlement::DoubleSpend), minor, other));
            }
            Some(Adversary::Forged) if self.random.chance(0.5) => {
                let inflated = minor * i64::from(self.random.between(1, 5));
                self.later(settles.max(at + 5) + 1, i, promise(at + 5, Some(Settlement::Forged), inflated, to));
            }
            Some(Adversary::SecondDevice) if !self.wallets[i].drained && self.random.chance(0.6) => {
                self.wallets[i].drained = true;
                // All that the first device may still promise, and online everything the ledger has.
                let rest = self.wallets[i].cached;
                if rest > 0 {
                    self.wallets[i].cached = 0;
                    self.later(settles.max(at + 40) + 1, i, promise(at + 40, None, rest, to));
                }
                let share = self.random.uniform(0.75, 1.0);
                let minor = (self.wallets[i].balance as f64 * share) as i64;
                if minor > 0 {
                    let (_, single) = self.config.programme.caps();
                    let to = self.friend(i);
                    self.online(at, i, Kind::TransferOut, minor.min(single), to, 2, out);
                }
            }
            _ => {}
        }
        self.later(settles, i, promise(at, None, minor, to));
    }

    #[allow(clippy::too_many_arguments)] // The fields of one promise.
    pub(super) fn settle_payment(
        &mut self,
        at: i64,
        i: usize,
        made_at: i64,
        outcome: Option<u8>,
        device: u8,
        kind: Kind,
        minor: i64,
        to: Payee,
        out: &mut Block,
    ) {
        self.in_gap(at, i);
        let covered = self.wallets[i].balance >= minor;
        let outcome = match outcome {
            Some(rejected) => Settlement::ALL[usize::from(rejected)],
            None if covered => Settlement::Clean,
            None => Settlement::Overdraft,
        };
        let (payee, place) = self.payee(to);
        let place = if kind == Kind::Purchase { place.map(|p| near(p, 0.000_3, &mut self.random)) } else { None };
        if outcome.moves_money() {
            self.wallets[i].balance -= minor;
        }
        self.record(at, made_at, i, kind, -minor, payee, Channel::Offline(outcome), place, device, out);
        if outcome.moves_money() {
            self.receive(at, i, kind, minor, to, out);
            self.after_spending(at, i);
        }
    }

    /// A low balance may bring a top-up later.
    fn after_spending(&mut self, at: i64, i: usize) {
        let (person, wallet) = (&self.people[i], &self.wallets[i]);
        if wallet.balance < person.threshold && !wallet.reload_due && self.random.chance(person.prompt) {
            let wait = self.random.waiting(person.reload_delay) as i64 + 60;
            self.wallets[i].reload_due = true;
            self.later(at + wait.min(5 * DAY), i, Due::Reload { at_least: 0 });
        }
    }

    /// Tops up, at least by `at_least`, if there is money to do it with; whether it did.
    pub(super) fn reload(&mut self, at: i64, i: usize, at_least: i64, out: &mut Block) -> bool {
        if self.in_gap(at, i) && !self.people[i].cash {
            if at_least == 0 {
                let later = self.wallets[i].gap_end + i64::from(self.random.between(60, 7_200));
                self.wallets[i].reload_due = true;
                self.later(later, i, Due::Reload { at_least });
            }
            return false;
        }
        let (balance_cap, _) = self.config.programme.caps();
        let person = &self.people[i];
        let wallet = &self.wallets[i];
        let want = (person.target as i64 - wallet.balance).max(at_least).max(person.reload_step);
        let steps = (want + person.reload_step - 1) / person.reload_step;
        let minor = (steps * person.reload_step).min(balance_cap - wallet.balance);
        // What is left at the bank bounds it: the end of the month is thin.
        let left = wallet.bank / person.reload_step * person.reload_step;
        let minor = minor.min(left.max(0));
        if minor <= 0 || minor < at_least {
            return false;
        }
        let kind = if person.cash { Kind::CashIn } else { Kind::Reload };
        self.wallets[i].bank -= minor;
        self.credit(at, i, kind, minor, BANK, None, out);
        true
    }

    #[allow(clippy::too_many_arguments)] // The fields of one row.
    pub(super) fn credit(
        &mut self,
        at: i64,
        i: usize,
        kind: Kind,
        minor: i64,
        payee: u64,
        place: Option<Place>,
        out: &mut Block,
    ) {
        self.in_gap(at, i);
        self.wallets[i].balance += minor;
        self.record(at, at, i, kind, minor, payee, Channel::Online, place, 0, out);
        // A wallet near its cap is emptied over the counter before the next credit would not fit.
        let (cap, single) = self.config.programme.caps();
        let spare = self.wallets[i].balance - self.people[i].target as i64;
        if self.wallets[i].balance > cap - single && spare > 0 {
            self.debit(at, i, Kind::CashOut, spare, BANK, None, out);
        }
    }

    /// A debit the operator or the holder makes online, known to be covered.
    #[allow(clippy::too_many_arguments)] // The fields of one row.
    pub(super) fn debit(
        &mut self,
        at: i64,
        i: usize,
        kind: Kind,
        minor: i64,
        payee: u64,
        place: Option<Place>,
        out: &mut Block,
    ) {
        if minor <= 0 || self.wallets[i].balance < minor {
            return;
        }
        self.in_gap(at, i);
        self.wallets[i].balance -= minor;
        self.record(at, at, i, kind, -minor, payee, Channel::Online, place, 0, out);
        self.after_spending(at, i);
    }

    #[allow(clippy::too_many_arguments)] // The fields of one row.
    fn record(
        &mut self,
        at: i64,
        made_at: i64,
        i: usize,
        kind: Kind,
        minor: i64,
        payee: u64,
        channel: Channel,
        place: Option<Place>,
        device: u8,
        out: &mut Block,
    ) {
        let wallet = &mut self.wallets[i];
        wallet.rows += 1;
        let midnight = self.config.programme.offset().midnight(self.config.start.day_number()).0;
        let transaction = Transaction {
            at: UtcSeconds(midnight + at),
            amount: Flow::from_minor(minor).expect("a wallet's amounts are far below 10^15"),
            kind,
            payee,
            channel,
            device,
            place,
            id: (u64::from(self.first) + i as u64) << 24 | u64::from(wallet.rows),
        };
        out.rows[i].push(Record {
            transaction,
            made_at: UtcSeconds(midnight + made_at),
            balance_after_minor: wallet.balance,
        });
    }
}
