//! The rules: records in, records out. No clock, no database, no key; time, keys' answers and drawn numbers are given.
//!
//! - [`judge`]: what becomes of an offline payment;
//! - [`sync`]: a device comes back, hands in what it did, and gets a grant;
//! - [`history`]: transactions of the wallet's own ledger come in;
//! - [`enrol`]: accounts, tiers, devices;
//! - [`proposal`]: a change of tier that two people make;
//! - [`online`]: transfers that are about to happen;
//! - [`watch`]: windows of accounts, which say whether promises hold;
//! - [`signals`]: disputes, and what others noticed.

pub mod enrol;

pub mod history;

pub mod judge;

pub mod online;

pub mod proposal;

pub mod signals;

pub mod sync;

pub mod watch;

#[cfg(test)]
mod tests;

use plimsoll_edge::Evaluator;
use plimsoll_model::decision::{Bound, Decision, Situation, decide_floor};
use plimsoll_model::features::FeatureVector;
use plimsoll_model::grant::Bytes;
use plimsoll_model::policy::Policy;
use plimsoll_model::time::{Age, DAY, weekday};
use plimsoll_model::{Money, Tier, UtcSeconds, standing};

use crate::record::Account;

/// What limits are computed by: a certified model, or the programme's static floor while there is none.
#[derive(Clone, Copy, Debug)]
pub enum Basis<'a> {
    /// A verified release.
    Model(&'a Evaluator),
    /// No model may decide: each tier's fallback.
    Floor,
}

/// The rules that hold at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The issuer's name in grants.
    pub issuer: &'a str,
    /// The programme.
    pub policy: &'a Policy,
    /// SHA-256 of the programme as it is published, where that is known already.
    pub policy_sha256: Option<Bytes<32>>,
    /// What computes limits.
    pub basis: Basis<'a>,
    /// By tier, of every limit the share that is granted: 1,000,000 unless watching the settlements said less.
    pub granted_ppm: [u32; Tier::COUNT],
    /// Who bears a payment within its grant that the balance does not cover.
    pub overdraft: Overdraft,
    /// Now.
    pub now: UtcSeconds,
}

/// Who bears a payment within its grant that the balance does not cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overdraft {
    /// The issuer pays, and the payer owes it: its balance goes below zero.
    Issuer,
    /// Nobody pays: the payee loses what is missing.
    Payee,
}

/// Hours after its enrolment during which a device is new.
const NEW_DEVICE_H: i64 = 24;
/// How long settled payments are remembered for windows: the longest is a week.
const SPENT_DAYS: i64 = 8;

impl Rules<'_> {
    /// The account as it stands, for a device of it.
    ///
    /// * `pending`: what other grants may still turn into payments.
    pub fn situation(&self, account: &Account, enrolled_at: UtcSeconds, pending: Money) -> Situation {
        let now = self.now;
        let [spent_24h, spent_day, spent_week] = self.windows(account, now);
        Situation {
            balance: Money::floor_at_zero(account.balance_minor()),
            tier: account.tier(now),
            synced_at: now,
            pending,
            spent_24h,
            spent_day,
            spent_week,
            lifetime_tx: account.lifetime_tx,
            manual_wallet: account.manual_wallet,
            new_device: now.since(enrolled_at) < NEW_DEVICE_H * 3_600,
            fraud_ppm: self.fraud_ppm(account),
        }
    }

    /// The account's fraud score; 0 where the programme keeps none.
    pub fn fraud_ppm(&self, account: &Account) -> u32 {
        self.policy.standing.as_ref().map_or(0, |rules| standing::score_ppm(rules, &account.signals, self.now))
    }

    /// The decision at every certified age, after the margin.
    pub fn curve(&self, features: &FeatureVector, situation: &Situation) -> Vec<(Age, Decision)> {
        let mut curve = match self.basis {
            Basis::Model(evaluator) => evaluator.curve(features, situation),
            Basis::Floor => {
                let oldest = Age::hours(self.policy.offline_h_max);
                let at = |age: Age| (age, decide_floor(self.policy, situation, self.now.plus(age.seconds())));
                vec![at(Age(0)), at(oldest)]
            }
        };
        for (_, decision) in &mut curve {
            lower(decision, self.granted_ppm(situation.tier));
        }
        curve
    }

    /// The decision now, after the margin.
    pub fn decide(&self, features: &FeatureVector, situation: &Situation) -> Decision {
        let mut decision = match self.basis {
            Basis::Model(evaluator) => evaluator.decide(features, situation, self.now),
            Basis::Floor => decide_floor(self.policy, situation, self.now),
        };
        lower(&mut decision, self.granted_ppm(situation.tier));
        decision
    }

    /// Of every limit of a tier, the share that is granted.
    pub const fn granted_ppm(&self, tier: Tier) -> u32 {
        self.granted_ppm[tier.level() as usize]
    }

    /// Settled in the 24 hours, the calendar day and the calendar week up to `at`, by signing time.
    pub fn windows(&self, account: &Account, at: UtcSeconds) -> [Money; 3] {
        let clock = self.policy.utc_offset_min;
        let today = clock.day(at);
        let monday = today - i64::from(weekday(today));
        [at.plus(-DAY), clock.midnight(today).plus(-1), clock.midnight(monday).plus(-1)].map(|from| {
            let within = account.spent.iter().filter(|s| s.at > from && s.at <= at);
            within.fold(Money::ZERO, |sum, s| sum.saturating_add(s.amount))
        })
    }

    /// Forgets what no rule looks at any more.
    fn forget(&self, account: &mut Account) {
        account.spent.retain(|s| self.now.since(s.at) < SPENT_DAYS * DAY);
        account.transfers.retain(|s| self.now.since(s.at) < SPENT_DAYS * DAY);
        if let Some(rules) = &self.policy.standing {
            account.signals.retain(|s| !standing::is_faded(rules, s, self.now));
        }
        for wallet in &mut account.wallets {
            wallet.carried.retain(|c| c.until > self.now);
        }
    }
}

/// A share of a limit, parts per million, rounded down.
pub fn share(limit: Money, granted_ppm: u32) -> Money {
    let steps = (u64::from(granted_ppm.min(1_000_000)) << 20) / 1_000_000;
    limit.scale_steps(steps as u32)
}

/// Takes the margin off.
fn lower(decision: &mut Decision, granted_ppm: u32) {
    let left = share(decision.limit, granted_ppm);
    if left < decision.limit {
        decision.limit = left;
        decision.per_payment = decision.per_payment.min(left);
        decision.bound = Bound::Margin;
        decision.reasons.push(plimsoll_model::decision::Reason { bound: Bound::Margin, left });
    }
}
