//! Why a limit is what it is: parts that sum to it to the minor unit, and what would raise it.
//!
//! ```text
//! mean of the background ─► + each feature ─► score ─► calibration ─► what the model grants ─► each rule ─► limit
//!          attribution (steps, exact)                    rule of the cell                       decision
//! ```
//!
//! What is attributed are the integers that ship: the forest's output in steps, the calibrated limit in steps, the money
//! it grants, and each rule's cut. A counterfactual is said only after the engine was asked again with it and granted
//! more. Codes are stable; the sentences beside them are English, and may be replaced.

use serde::{Deserialize, Serialize};

use crate::artifact::Rule;
use crate::attribution::Attributor;
use crate::decision::{Bound, Decision, Situation};
use crate::features::{FEATURES, Feature, FeatureVector};
use crate::forest::{ONE, STEP_BITS, uncross};
use crate::money::Money;
use crate::policy::Policy;
use crate::quantile::Ppm;
use crate::time::{DAY, UtcSeconds};
use crate::transaction::Tier;

/// What moved a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// Where it starts: the mean over the background of what the forest says of such accounts.
    Background,
    /// A feature.
    Feature {
        /// Its name.
        feature: String,
        /// Its value; none when missing.
        value: Option<f32>,
    },
    /// A score below 0 or above 1 is cut.
    Range,
    /// The calibrated margin between the score and what is granted.
    Calibration,
    /// Where no model decides: the balance.
    Balance,
    /// A rule.
    Rule {
        /// Which.
        bound: Bound,
    },
}

/// One part of a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// What moved it.
    #[serde(flatten)]
    pub cause: Cause,
    /// By how much, minor units.
    pub amount: i64,
}

/// What the model said, for [`parts`].
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The rule of the account's cell.
    pub rule: Rule,
    /// Of the model's outputs.
    pub levels: &'a [Ppm],
    /// Before uncrossing, at the decision's age.
    pub outputs: &'a [i32],
    /// The row that gave them.
    pub row: &'a FeatureVector,
    /// Of the model's forest.
    pub attributor: &'a Attributor,
}

/// Takes a decision apart. The parts sum to its limit; those of nothing are left out.
///
/// Where the model lowered the limit its features come first, the largest part first; otherwise the balance does.
///
/// # Panics
/// When the answer is not what the decision was made from.
pub fn parts(decision: &Decision, balance: Money, answer: Option<&Answer<'_>>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut left = balance;
    // After the balance, which is always first.
    let mut rules = decision.reasons.get(1..).unwrap_or_default();
    let model = rules.first().filter(|reason| reason.bound == Bound::Model);
    let scored = model.zip(answer).and_then(|(reason, answer)| Some((reason, score(answer)?)));
    match scored {
        Some((reason, score)) => {
            let granted = apportion(balance, &score, reason.left);
            parts.extend(score.into_iter().zip(granted).map(|((cause, _), amount)| Part { cause, amount }));
            // Background first, then features by size, then what follows them.
            let rank = |part: &Part| match part.cause {
                Cause::Background => (0, 0),
                Cause::Feature { .. } => (1, -part.amount.abs()),
                _ => (2, 0),
            };
            parts.sort_by_key(rank);
            left = reason.left;
            rules = &rules[1..];
        }
        None => parts.push(Part { cause: Cause::Balance, amount: balance.minor() as i64 }),
    }
    for reason in rules {
        let amount = reason.left.minor() as i64 - left.minor() as i64;
        parts.push(Part { cause: Cause::Rule { bound: reason.bound }, amount });
        left = reason.left;
    }
    parts.retain(|part| part.amount != 0);
    parts
}

/// The limit in steps, by cause; none when the rule does not ask the forest.
fn score(answer: &Answer<'_>) -> Option<Vec<(Cause, i64)>> {
    let Rule::Gap { level, scale } = answer.rule else { return None };
    let column = answer.levels.iter().position(|l| *l == level)?;
    // Levels may not cross: the answer at one is the least of those from it upwards.
    let lowest = (column..answer.outputs.len()).min_by_key(|c| answer.outputs[*c])?;
    let attribution = answer.attributor.attribute(lowest, &answer.row.0);
    assert_eq!(attribution.prediction(), answer.outputs[lowest], "the attributor is of the model that answered");
    let mut steps = answer.outputs.to_vec();
    uncross(&mut steps);
    let named = |(spec, (steps, value)): (&crate::features::FeatureSpec, (&i32, &f32))| {
        let value = Some(*value).filter(|v| !v.is_nan());
        (Cause::Feature { feature: spec.name.to_owned(), value }, i64::from(*steps))
    };
    let mut parts = vec![(Cause::Background, i64::from(attribution.expected))];
    parts.extend(FEATURES.iter().zip(attribution.features.iter().zip(&answer.row.0)).map(named));
    parts.push((Cause::Range, i64::from(steps[column]) - i64::from(answer.outputs[lowest])));
    parts.push((Cause::Calibration, i64::from(scale.limit_steps(steps[column])) - i64::from(steps[column])));
    Some(parts)
}

/// Steps of a balance as money that sums to `granted`: each part rounded down, and what is missing one by one to the
/// largest remainders, the earlier first among equals. Integers only.
fn apportion(balance: Money, parts: &[(Cause, i64)], granted: Money) -> Vec<i64> {
    let exact = |steps: i64| i128::from(balance.minor()) * i128::from(steps);
    let mut amounts: Vec<i64> = parts.iter().map(|(_, steps)| (exact(*steps) >> STEP_BITS) as i64).collect();
    let remainder = |ix: usize| exact(parts[ix].1) & i128::from(ONE - 1);
    let mut order: Vec<usize> = (0..parts.len()).filter(|ix| remainder(*ix) > 0).collect();
    order.sort_by_key(|ix| (-remainder(*ix), *ix));
    let missing = granted.minor() as i64 - amounts.iter().sum::<i64>();
    // The remainders sum to what is missing and the fraction that the grant rounds down, so there are enough of them.
    assert!((0..=order.len() as i64).contains(&missing), "the parts are those of the grant");
    for ix in order.into_iter().take(missing as usize) {
        amounts[ix] += 1;
    }
    amounts
}

/// What would raise a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "advice", rename_all = "snake_case")]
pub enum Advice {
    /// Synchronise.
    SyncNow,
    /// Verify the holder's identity, up to a tier.
    RaiseTier {
        /// That tier.
        tier: Tier,
    },
    /// Let earlier offline payments settle.
    SettlePending,
    /// Wait until the last day's payments no longer count.
    WaitADay,
    /// Have the device attested.
    AttestDevice,
    /// Go on paying, until there is history enough to be scored.
    MorePayments {
        /// How many more.
        count: u64,
    },
}

impl Advice {
    /// The name in files and APIs, `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SyncNow => "sync_now",
            Self::RaiseTier { .. } => "raise_tier",
            Self::SettlePending => "settle_pending",
            Self::WaitADay => "wait_a_day",
            Self::AttestDevice => "attest_device",
            Self::MorePayments { .. } => "more_payments",
        }
    }

    /// What to do, for the holder.
    pub fn says(self) -> String {
        match self {
            Self::SyncNow => "sync now".into(),
            Self::RaiseTier { tier } => format!("verify your identity, up to tier {tier}"),
            Self::SettlePending => "let earlier offline payments settle".into(),
            Self::WaitADay => "wait a day".into(),
            Self::AttestDevice => "have this device checked".into(),
            Self::MorePayments { count } => format!("make {count} more payments"),
        }
    }
}

/// Advice that the engine has checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counterfactual {
    /// What to do.
    #[serde(flatten)]
    pub advice: Advice,
    /// The limit then, everything else as it is, minor units.
    pub limit: Money,
    /// The rule that would have the last word.
    pub bound: Bound,
}

/// What would raise a decision's limit, most first: each asked of the engine, and only those that do.
///
/// * `decide`: the engine that made the decision.
pub fn counterfactuals(
    policy: &Policy,
    features: &FeatureVector,
    situation: &Situation,
    now: UtcSeconds,
    decide: impl Fn(&FeatureVector, &Situation, UtcSeconds) -> Decision,
) -> Vec<Counterfactual> {
    let limit = decide(features, situation, now).limit;
    let mut found = Vec::new();
    let mut ask = |advice: Advice, features: &FeatureVector, situation: &Situation, at: UtcSeconds| {
        let then = decide(features, situation, at);
        if then.limit > limit {
            found.push(Counterfactual { advice, limit: then.limit, bound: then.bound });
        }
    };
    let with = |change: &dyn Fn(&mut Situation)| {
        let mut changed = situation.clone();
        change(&mut changed);
        changed
    };
    if now != situation.synced_at || situation.new_device {
        ask(Advice::SyncNow, features, &with(&|s| (s.synced_at, s.new_device) = (now, false)), now);
    }
    for rules in policy.tiers.iter().filter(|rules| rules.tier > situation.tier) {
        let mut verified = features.clone();
        verified.0[Feature::KycTier as usize] = f32::from(rules.tier.level());
        ask(Advice::RaiseTier { tier: rules.tier }, &verified, &with(&|s| s.tier = rules.tier), now);
    }
    if situation.pending > Money::ZERO {
        ask(Advice::SettlePending, features, &with(&|s| s.pending = Money::ZERO), now);
    }
    if situation.spent_24h > Money::ZERO || situation.spent_day > Money::ZERO {
        let rested = with(&|s| (s.spent_24h, s.spent_day) = (Money::ZERO, Money::ZERO));
        ask(Advice::WaitADay, features, &rested, now.plus(DAY));
    }
    if features.get(Feature::DeviceAttestOk) == 0.0 {
        let mut attested = features.clone();
        attested.0[Feature::DeviceAttestOk as usize] = 1.0;
        ask(Advice::AttestDevice, &attested, situation, now);
    }
    if let Some(needed) = policy.manual_wallet.as_ref().map(|m| m.below_lifetime_tx)
        && let Some(count) = needed.checked_sub(situation.lifetime_tx).filter(|count| *count > 0)
    {
        ask(Advice::MorePayments { count }, features, &with(&|s| s.lifetime_tx = needed), now);
    }
    found.sort_by_key(|c| (std::cmp::Reverse(c.limit), c.advice));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: u64) -> Money {
        Money::from_minor(minor).expect("small")
    }

    proptest::proptest! {
        #[test]
        fn steps_of_a_balance_are_apportioned_without_losing_or_making_a_minor_unit(
            balance in 0u64..1_000_000_000_000, steps in proptest::collection::vec(-(1i64 << 20)..1 << 20, 1..60),
        ) {
            let mut parts: Vec<(Cause, i64)> = steps.iter().map(|s| (Cause::Range, *s)).collect();
            let sum: i64 = steps.iter().sum();
            // The last part makes the sum a limit, as calibration does.
            parts.push((Cause::Calibration, sum.rem_euclid(1 << 20) - sum));
            let granted = money(balance).scale_steps(sum.rem_euclid(1 << 20) as u32);
            let amounts = apportion(money(balance), &parts, granted);
            proptest::prop_assert_eq!(amounts.iter().sum::<i64>(), granted.minor() as i64);
            for (amount, (_, steps)) in amounts.iter().zip(&parts) {
                let exact = i128::from(balance) * i128::from(*steps);
                proptest::prop_assert!(((i128::from(*amount) << 20) - exact).abs() < 1 << 20, "off by a minor unit or more");
            }
            // Who was rounded up had a remainder at least as large as who was not.
            let remainder = |steps: i64| (i128::from(balance) * i128::from(steps)).rem_euclid(1 << 20);
            let up = |(amount, part): &(&i64, &(Cause, i64))| (i128::from(**amount) << 20) > i128::from(balance) * i128::from(part.1);
            let (up, down): (Vec<_>, Vec<_>) = amounts.iter().zip(&parts).partition(up);
            let least = up.iter().map(|(_, part)| remainder(part.1)).min();
            let most = down.iter().map(|(_, part)| remainder(part.1)).max();
            proptest::prop_assert!(least.is_none() || most <= least, "{most:?} {least:?}");
        }
    }

    #[test]
    fn advice_is_what_the_engine_granted_when_it_was_asked() {
        let policy = Policy::preset("tng").expect("a preset");
        let tier = |level| Tier::new(level).expect("a tier");
        let now = UtcSeconds(1_000_000);
        let mut situation = Situation::fresh(money(40_000), tier(0), now.plus(-3_600), 600);
        // The engine below does not count what was spent, so waiting raises nothing.
        (situation.pending, situation.spent_24h) = (money(70), money(1));
        let features = FeatureVector([0.0; crate::features::FEATURE_COUNT]);
        // An engine with reasons of its own: 10 a tier, 5 less when stale, pending off, nothing for an attested device.
        let engine = |f: &FeatureVector, s: &Situation, at: UtcSeconds| {
            let tier = u64::from(s.tier.level());
            let amount = 1_000 + 1_000 * tier - if at == s.synced_at { 0 } else { 500 } - s.pending.minor();
            let attested = f.get(Feature::DeviceAttestOk) > 0.0;
            let limit = money(if attested || f.get(Feature::KycTier) != tier as f32 { 0 } else { amount });
            Decision {
                limit,
                per_payment: limit,
                bound: Bound::Model,
                reasons: vec![],
                age: Default::default(),
                valid_until: at,
            }
        };
        let found = counterfactuals(&policy, &features, &situation, now, engine);
        let said: Vec<(&str, u64)> = found.iter().map(|c| (c.advice.name(), c.limit.minor())).collect();
        assert_eq!(said, [("raise_tier", 2_430), ("raise_tier", 1_430), ("sync_now", 930), ("settle_pending", 500)]);
        assert_eq!(serde_json::to_value(found[0]).expect("plain")["tier"], 2);
    }

    #[test]
    fn codes_in_files_are_the_names_and_stay() {
        let tier = Tier::new(1).expect("a tier");
        let all = [
            Advice::SyncNow,
            Advice::RaiseTier { tier },
            Advice::SettlePending,
            Advice::WaitADay,
            Advice::AttestDevice,
            Advice::MorePayments { count: 2 },
        ];
        let names = ["sync_now", "raise_tier", "settle_pending", "wait_a_day", "attest_device", "more_payments"];
        for (advice, name) in all.into_iter().zip(names) {
            assert_eq!(advice.name(), name);
            assert_eq!(serde_json::to_value(advice).expect("plain")["advice"], name);
        }
        let feature = Cause::Feature { feature: "kyc_tier".into(), value: None };
        let rule = Cause::Rule { bound: Bound::TierCap };
        let said = [Cause::Background, feature, Cause::Range, Cause::Calibration, Cause::Balance, rule]
            .map(|cause| serde_json::to_string(&Part { cause, amount: -1 }).expect("plain"));
        let want = [
            r#"{"cause":"background","amount":-1}"#,
            r#"{"cause":"feature","feature":"kyc_tier","value":null,"amount":-1}"#,
            r#"{"cause":"range","amount":-1}"#,
            r#"{"cause":"calibration","amount":-1}"#,
            r#"{"cause":"balance","amount":-1}"#,
            r#"{"cause":"rule","bound":"tier_cap","amount":-1}"#,
        ];
        assert_eq!(said, want);
    }
}
