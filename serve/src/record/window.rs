//! A window that is watched: from a sync to its end, how low the balance falls from the flows that the promise is about.

use plimsoll_model::calibration::Target;
use plimsoll_model::grant::{Model, TokenId};
use plimsoll_model::quantile::Ppm;
use plimsoll_model::{Age, Channel, Money, Tier, Transaction, UtcSeconds};
use serde::{Deserialize, Serialize};

use super::Record;

/// An open window of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// What is promised of it.
    pub promise: Promise,
    /// When its sync was.
    pub from: UtcSeconds,
    /// The last instant that counts.
    pub until: UtcSeconds,
    /// Which flows count.
    pub target: Target,
    /// What may be spent, minor units: the limit, and what other grants still allowed when it began.
    pub limit: Money,
    /// Of the balance, what flows that do not count have moved since, minor units.
    pub aside: i64,
    /// The lowest that the balance got by the flows that count, minor units.
    pub low: i64,
}

/// Whose promise a window is, and under which terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The grant that opened it: names the window.
    pub jti: TokenId,
    /// The model that decided.
    pub model: Model,
    /// Its risk.
    pub alpha: Ppm,
    /// Its error probability.
    pub delta: Ppm,
    /// In this tier.
    pub tier: Tier,
    /// At this age.
    pub age: Age,
    /// Of its limits, the share that was granted, parts per million.
    pub granted_ppm: u32,
}

/// A window that has ended: counted once, by whoever comes first, in the order of their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What was promised of it.
    pub promise: Promise,
    /// When it ended.
    pub at: UtcSeconds,
    /// The balance fell below the limit.
    pub lost: bool,
}

impl Record for Ended {
    const VERSION: u8 = 1;
}

impl Window {
    /// Takes a transaction in that was just folded into its account, in whichever order they come.
    ///
    /// * `happened`: when, whenever it was learned of;
    /// * `balance`: of the account after it, minor units.
    pub fn take(&mut self, transaction: &Transaction, happened: UtcSeconds, balance: i64) {
        if happened > self.until || !self.counts(transaction) {
            self.aside = self.aside.saturating_add(transaction.moved());
        }
        self.low = self.low.min(balance.saturating_sub(self.aside));
    }

    /// The same line as in training: what the promise is about.
    fn counts(&self, transaction: &Transaction) -> bool {
        let paid = transaction.moved() < 0;
        // What grants allow is what the headroom is for.
        let offline = paid && matches!(transaction.channel, Channel::Offline(_));
        let granted = paid && transaction.kind.is_initiated() && transaction.device <= 1;
        !offline && (self.target == Target::Strict || !granted)
    }

    /// What became of it.
    pub fn end(&self) -> Ended {
        Ended { promise: self.promise, at: self.until, lost: Money::floor_at_zero(self.low) < self.limit }
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_model::Flow;
    use plimsoll_model::transaction::{Kind, Settlement};

    use super::*;

    const UNTIL: i64 = 1_000;

    /// A window over a balance of 100 with a limit of 60, and whether it was lost after these: (when, kind, amount, offline).
    #[track_caller]
    fn check(target: Target, rows: &[(i64, Kind, i64, bool)], lost: bool) {
        let level = |ppm| Ppm::new(ppm).expect("a level");
        let promise = Promise {
            jti: TokenId::default(),
            model: Model { v: 1, d: Default::default() },
            alpha: level(5_000),
            delta: level(50_000),
            tier: Tier::default(),
            age: Age(0),
            granted_ppm: 1_000_000,
        };
        let (from, until) = (UtcSeconds(0), UtcSeconds(UNTIL));
        let limit = Money::from_minor(60).expect("small");
        let mut window = Window { promise, from, until, target, limit, aside: 0, low: 100 };
        let mut balance = 100;
        for (at, kind, minor, offline) in rows {
            let channel = if *offline { Channel::Offline(Settlement::Clean) } else { Channel::Online };
            let transaction = Transaction {
                at: UtcSeconds(*at),
                amount: Flow::from_minor(*minor).expect("small"),
                kind: *kind,
                payee: 0,
                channel,
                device: 1,
                place: None,
                id: 0,
            };
            balance += minor;
            window.take(&transaction, UtcSeconds(*at), balance);
        }
        assert_eq!(window.end().lost, lost, "{rows:?}");
    }

    #[test]
    fn a_window_is_lost_when_the_balance_fell_below_its_limit_and_not_at_it() {
        check(Target::Strict, &[], false);
        check(Target::Strict, &[(1, Kind::Bill, -40, false)], false);
        check(Target::Strict, &[(1, Kind::Bill, -41, false)], true);
        check(Target::Strict, &[(1, Kind::Bill, -41, false), (2, Kind::Income, 500, false)], true);
        check(Target::Strict, &[(1, Kind::Income, 10, false), (2, Kind::Bill, -50, false)], false);
    }

    #[test]
    fn what_is_paid_offline_is_what_the_headroom_is_for() {
        check(Target::Strict, &[(1, Kind::Purchase, -60, true), (2, Kind::Bill, -40, false)], false);
        check(Target::Strict, &[(1, Kind::Purchase, -60, true), (2, Kind::Bill, -41, false)], true);
    }

    #[test]
    fn what_the_holder_starts_counts_only_where_the_promise_says_so() {
        let rows = [(1, Kind::CashOut, -80, false)];
        check(Target::Strict, &rows, true);
        check(Target::Committed, &rows, false);
        check(Target::Committed, &[(1, Kind::Bill, -80, false)], true);
    }

    #[test]
    fn what_happens_after_the_end_does_not_count_in_whichever_order_it_is_learned() {
        check(Target::Strict, &[(UNTIL, Kind::Bill, -41, false)], true);
        check(Target::Strict, &[(UNTIL + 1, Kind::Bill, -41, false)], false);
        check(Target::Strict, &[(UNTIL + 1, Kind::Bill, -41, false), (5, Kind::Bill, -40, false)], false);
        check(Target::Strict, &[(UNTIL + 1, Kind::Bill, -41, false), (5, Kind::Bill, -41, false)], true);
    }
}
