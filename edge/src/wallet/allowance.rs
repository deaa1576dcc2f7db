//! What remains, and why not more.

use plimsoll_model::decision::{Bound, Decision as Modelled, Limit, Reason, Situation};
use plimsoll_model::grant::{CLOCK_SLACK_S, COUNT_MAX, Grant};
use plimsoll_model::time::{DAY, weekday};
use plimsoll_model::{Age, Money, UtcSeconds};
use serde::Serialize;

use super::state::{Head, RECORDS_MAX};

/// What may still be spent at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Allowance {
    /// In total, until the next sync.
    pub remaining: Money,
    /// In one payment.
    pub per_payment: Money,
    /// Up to this amount no proof of presence is needed; `per_payment` when the programme asks for none.
    pub without_proof: Money,
    /// The rule that had the last word on `remaining`.
    pub bound: Bound,
    /// Every rule that lowered it, in order.
    pub reasons: Vec<Reason>,
    /// What the holder can do.
    pub advice: Advice,
    /// Engine time: the wall clock, or a later signed time.
    pub at: UtcSeconds,
}

/// What the holder can do about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Nothing needs doing.
    None,
    /// A lower level is passed: a sync soon keeps the wallet going.
    SyncSoon,
    /// Only a sync brings more.
    SyncNow,
    /// Part of it comes back by itself as time goes on; a sync does not help.
    Wait,
    /// A smaller amount would go through.
    PayLess,
    /// The clock has to be set, then sync.
    SetClock,
    /// Prove presence and ask again.
    ProvePresence,
    /// The issuer has to be asked.
    AskIssuer,
}

impl Advice {
    /// For the holder, in a few words.
    pub const fn says(self) -> &'static str {
        match self {
            Self::None => "",
            Self::SyncSoon => "sync soon",
            Self::SyncNow => "sync now",
            Self::Wait => "wait, or pay online",
            Self::PayLess => "pay a smaller amount, or sync",
            Self::SetClock => "set this device's clock, then sync",
            Self::ProvePresence => "confirm with fingerprint or PIN",
            Self::AskIssuer => "ask the issuer",
        }
    }

    /// What helps against a rule that leaves nothing.
    pub(super) const fn against(bound: Bound) -> Self {
        match bound {
            Bound::Clock => Self::SetClock,
            Bound::Rolling24h | Bound::Day | Bound::Week => Self::Wait,
            Bound::TierMayNotPay | Bound::Standing | Bound::Locked => Self::AskIssuer,
            Bound::StepUp => Self::ProvePresence,
            Bound::PerPayment => Self::PayLess,
            _ => Self::SyncNow,
        }
    }
}

/// Engine time and whether the wall clock can be believed (design section 7).
pub(super) fn engine_time(head: &Head, wall: UtcSeconds) -> (UtcSeconds, bool) {
    (wall.max(head.clock), wall.plus(CLOCK_SLACK_S) >= head.clock)
}

/// The account's situation as the wallet knows it: what a model on the device decides from.
pub(super) fn situation(head: &Head, grant: &Grant, at: UtcSeconds) -> Situation {
    let [spent_24h, spent_day, spent_week] = windows(head, grant, at);
    Situation {
        balance: grant.bal,
        tier: grant.tier,
        synced_at: grant.iat,
        pending: grant.carried.saturating_add(head.spent),
        spent_24h,
        spent_day,
        spent_week,
        lifetime_tx: if grant.manual.is_some() { 0 } else { u64::MAX },
        manual_wallet: grant.manual.unwrap_or(Money::ZERO),
        new_device: grant.new_device.is_some(),
        // Standing is the issuer's to judge: its cap is in the grant.
        fraud_ppm: 0,
    }
}

/// Spent in the last 24 hours, this calendar day and this calendar week.
fn windows(head: &Head, grant: &Grant, at: UtcSeconds) -> [Money; 3] {
    let clock = grant.utc_offset_min;
    let today = clock.day(at);
    let monday = today - i64::from(weekday(today));
    // A spend exactly 24 hours ago has left the window; one at midnight belongs to the day it begins.
    [at.plus(-DAY), clock.midnight(today).plus(-1), clock.midnight(monday).plus(-1)].map(|from| head.spent_after(from))
}

/// What remains under the wallet's grant, or of nothing.
///
/// * `own`: what a model on the device decided from [`situation`]; it can only lower.
pub(super) fn allowance(
    head: &Head,
    records: usize,
    grant: Option<&Grant>,
    wall: UtcSeconds,
    own: Option<&Modelled>,
) -> Allowance {
    let (at, clock_good) = engine_time(head, wall);
    let nothing = |bound| {
        let limit = Limit::of_balance(Money::ZERO);
        let reasons = vec![Reason { bound, left: limit.amount() }];
        Allowance {
            remaining: Money::ZERO,
            per_payment: Money::ZERO,
            without_proof: Money::ZERO,
            bound,
            reasons,
            advice: Advice::against(bound),
            at,
        }
    };
    if let Some(distrust) = head.distrust {
        return nothing(distrust.bound());
    }
    if !clock_good {
        return nothing(Bound::Clock);
    }
    let Some(grant) = grant else {
        return nothing(Bound::GrantMissing);
    };

    let mut limit = grant.ceiling(at).less(head.spent, Bound::Pending);
    if let Some(own) = own {
        limit = limit.capped(own.limit, Bound::OwnModel);
    }
    let [h24, day, week] = windows(head, grant, at);
    for (cap, spent, bound) in
        [(grant.cap.h24, h24, Bound::Rolling24h), (grant.cap.day, day, Bound::Day), (grant.cap.week, week, Bound::Week)]
    {
        if let Some(cap) = cap {
            limit = limit.capped(cap.saturating_sub(spent), bound);
        }
    }
    // Payments the issuer has not acknowledged are kept; without room for one more there is no payment.
    if head.count >= grant.count_max().min(COUNT_MAX) || records >= RECORDS_MAX {
        limit = limit.capped(Money::ZERO, Bound::Count);
    }

    let remaining = limit.amount();
    let per_payment = grant.cap.token.map_or(remaining, |cap| cap.min(remaining));
    let without_proof = grant.step_up.map_or(per_payment, |rule| {
        let left = rule.free_total.map_or(rule.free_up_to, |total| total.saturating_sub(head.unproved));
        rule.free_up_to.min(left).min(per_payment)
    });
    let advice = match remaining {
        Money::ZERO => Advice::against(limit.bound()),
        _ if past_lower_level(head, grant, at) => Advice::SyncSoon,
        _ => Advice::None,
    };
    let (bound, reasons) = (limit.bound(), limit.reasons().to_vec());
    Allowance { remaining, per_payment, without_proof, bound, reasons, advice, at }
}

/// EMV's lower consecutive offline limit: still good, but a sync is due.
fn past_lower_level(head: &Head, grant: &Grant, at: UtcSeconds) -> bool {
    let age = Age::between(grant.iat, at);
    let amount = grant.cap.total.and_then(|t| t.ask).is_some_and(|ask| head.spent > ask);
    let count = grant.cap.count.and_then(|c| c.ask).is_some_and(|ask| head.count > ask);
    let old = grant.cap.age.and_then(|a| a.ask).is_some_and(|ask| age.is_none_or(|age| age > ask));
    amount || count || old
}
