//! Rules for transfers made online: block, flag or allow, by what an account has just done.
//!
//! A blocked transfer does not happen; a flagged one does, and somebody looks. Blocking goes before flagging.

use serde::{Deserialize, Serialize};

use crate::money::Money;
use crate::policy::{OnlineRules, TierRules};
use crate::quantile::Ppm;

/// A transfer that is about to happen, and what the account's record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// How much.
    pub amount: Money,
    /// Transfers of the account in the last 60 s, this one not counted.
    pub last_minute: u32,
    /// In the last hour.
    pub last_hour: u32,
    /// Seconds since the account was opened; `None` when that is not known.
    pub account_age_s: Option<i64>,
    /// The account has paid this payee before.
    pub known_payee: bool,
    /// Transfers of this calendar day, this one not counted.
    pub today: Money,
}

/// What becomes of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It goes.
    Allow,
    /// It goes, and somebody looks.
    Flag,
    /// It does not go.
    Block,
}

/// A rule that a transfer met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The tier may not pay.
    TierBlocked,
    /// Above the tier's cap of one payment.
    SingleLimit,
    /// The day's sum would pass the tier's cap.
    DailyLimit,
    /// Too many in a minute.
    VelocityMinute,
    /// Too many in an hour.
    VelocityHour,
    /// A new account, and a large sum.
    NewAccount,
    /// A payee never paid before, and a large sum.
    NewPayee,
    /// Most of the day's cap.
    DailyShare,
}

impl Rule {
    /// What it does to a transfer that meets it.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::TierBlocked | Self::SingleLimit | Self::DailyLimit | Self::VelocityMinute | Self::VelocityHour => {
                Verdict::Block
            }
            Self::NewAccount | Self::NewPayee | Self::DailyShare => Verdict::Flag,
        }
    }
}

/// Every rule that a transfer meets, worst first.
pub fn rules_met(rules: &OnlineRules, tier: &TierRules, transfer: &Transfer) -> Vec<Rule> {
    let t = transfer;
    let after = t.today.saturating_add(t.amount);
    let new_account = t.account_age_s.is_some_and(|age| age > 0 && age < i64::from(rules.new_account_h) * 3_600);
    let share = |cap: Money| u128::from(cap.minor()) * u128::from(Ppm::get(rules.day_share)) / 1_000_000;
    let mut met: Vec<Rule> = [
        (Rule::TierBlocked, !tier.pay),
        (Rule::SingleLimit, tier.per_payment.is_some_and(|cap| t.amount > cap)),
        (Rule::DailyLimit, tier.day.is_some_and(|cap| after > cap)),
        (Rule::VelocityMinute, t.last_minute >= rules.per_minute_max),
        (Rule::VelocityHour, t.last_hour >= rules.per_hour_max),
        (Rule::NewAccount, new_account && t.amount > rules.new_account_above),
        (Rule::NewPayee, !t.known_payee && t.amount > rules.new_payee_above),
        (Rule::DailyShare, tier.day.is_some_and(|cap| u128::from(after.minor()) > share(cap))),
    ]
    .into_iter()
    .filter_map(|(rule, met)| met.then_some(rule))
    .collect();
    met.sort_by_key(|rule| std::cmp::Reverse(rule.verdict()));
    met
}

/// The verdict of the worst of them.
pub fn verdict(met: &[Rule]) -> Verdict {
    met.iter().map(|rule| rule.verdict()).max().unwrap_or(Verdict::Allow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use crate::transaction::Tier;

    const QUIET: Transfer = Transfer {
        amount: Money::ZERO,
        last_minute: 0,
        last_hour: 0,
        account_age_s: Some(400 * 86_400),
        known_payee: true,
        today: Money::ZERO,
    };

    fn naira(minor: u64) -> Money {
        Money::from_minor(minor * 100).expect("small")
    }

    #[track_caller]
    fn check(tier: u8, transfer: Transfer, want: &[Rule]) {
        let policy = Policy::preset("naira").expect("a preset");
        let rules = policy.online.as_ref().expect("naira has online rules");
        let met = rules_met(rules, policy.tier(Tier::new(tier).expect("a tier")), &transfer);
        assert_eq!(met, want, "{transfer:?}");
        let worst = want.iter().map(|r| r.verdict()).max();
        assert_eq!(verdict(&met), worst.unwrap_or(Verdict::Allow));
    }

    #[test]
    fn the_rules_are_those_of_the_specification() {
        check(3, Transfer { amount: naira(99_999), ..QUIET }, &[]);
        check(3, Transfer { last_minute: 9, last_hour: 49, ..QUIET }, &[]);
        check(3, Transfer { last_minute: 10, last_hour: 10, ..QUIET }, &[Rule::VelocityMinute]);
        check(3, Transfer { last_hour: 50, ..QUIET }, &[Rule::VelocityHour]);
        let young = Transfer { amount: naira(20_001), account_age_s: Some(86_399), ..QUIET };
        check(3, young, &[Rule::NewAccount]);
        check(3, Transfer { amount: naira(20_000), ..young }, &[]);
        check(3, Transfer { account_age_s: None, ..young }, &[]);
        check(3, Transfer { account_age_s: Some(86_400), ..young }, &[]);
        let stranger = Transfer { amount: naira(100_001), known_payee: false, ..QUIET };
        check(3, stranger, &[Rule::NewPayee]);
        check(3, Transfer { known_payee: true, ..stranger }, &[]);
        check(1, Transfer { amount: naira(10_000), today: naira(14_000), ..QUIET }, &[]);
        check(1, Transfer { amount: naira(10_000), today: naira(14_001), ..QUIET }, &[Rule::DailyShare]);
        check(
            1,
            Transfer { amount: naira(10_000), today: naira(20_001), ..QUIET },
            &[Rule::DailyLimit, Rule::DailyShare],
        );
        check(1, Transfer { amount: naira(10_001), ..QUIET }, &[Rule::SingleLimit]);
    }

    #[test]
    fn a_tier_that_may_not_pay_is_blocked_first() {
        let met = [Rule::TierBlocked, Rule::VelocityMinute, Rule::NewAccount];
        assert_eq!(verdict(&met), Verdict::Block);
        let policy = Policy::preset("naira").expect("a preset");
        let rules = policy.online.as_ref().expect("naira has online rules");
        let lowest = policy.tier(Tier::new(0).expect("a tier"));
        assert_eq!(rules_met(rules, lowest, &Transfer { amount: naira(1), ..QUIET }).first(), Some(&Rule::TierBlocked));
    }
}
