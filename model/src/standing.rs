//! Fraud standing: signals that fade, added up to one score.
//!
//! ```text
//! signals (cause, age) ─► Σ weight · 2^(−age / half-life) ─► 1 − exp(−Σ) ─► score, parts per million
//! ```
//!
//! A score is exact to the last part per million on every machine: `libm` computes it, not the platform.

use serde::{Deserialize, Serialize};

use crate::policy::{SignalWeights, StandingRules};
use crate::time::{DAY, UtcSeconds};

/// Something that speaks against an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// What happened.
    pub cause: Cause,
    /// When it happened, not when it was noticed.
    pub at: UtcSeconds,
    /// Whose doing it was.
    pub party: Party,
}

/// Causes of signals, by the names of the policy's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A claim under the account's own key that its records contradict.
    SignatureInvalid,
    /// One number or one nonce, two payments.
    DoubleSpend,
    /// Impossible places.
    GeographicAnomaly,
    /// Numbers or sums that contradict each other.
    SequenceAnomaly,
    /// Another device than before.
    DeviceChange,
    /// Too many payments, by signing time.
    VelocityBreach,
    /// Payments beyond what the grant covered.
    CeilingExhaustion,
}

/// Whose doing something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The account's own: it weighs.
    Holder,
    /// Somebody else's: kept for the record, weighs nothing. A victim is not punished for a forged claim.
    Other,
    /// Nobody has looked yet: weighs nothing until then.
    Unknown,
}

impl Cause {
    /// The name used in policies and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignatureInvalid => "signature_invalid",
            Self::DoubleSpend => "double_spend",
            Self::GeographicAnomaly => "geographic_anomaly",
            Self::SequenceAnomaly => "sequence_anomaly",
            Self::DeviceChange => "device_change",
            Self::VelocityBreach => "velocity_breach",
            Self::CeilingExhaustion => "ceiling_exhaustion",
        }
    }

    /// Its weight, in thousandths.
    pub const fn weight_milli(self, weights: &SignalWeights) -> u32 {
        match self {
            Self::SignatureInvalid => weights.signature_invalid,
            Self::DoubleSpend => weights.double_spend,
            Self::GeographicAnomaly => weights.geographic_anomaly,
            Self::SequenceAnomaly => weights.sequence_anomaly,
            Self::DeviceChange => weights.device_change,
            Self::VelocityBreach => weights.velocity_breach,
            Self::CeilingExhaustion => weights.ceiling_exhaustion,
        }
    }
}

/// The score at `now`, parts per million. Signals of the future count as of now.
pub fn score_ppm<'a>(rules: &StandingRules, signals: impl IntoIterator<Item = &'a Signal>, now: UtcSeconds) -> u32 {
    let half_life = f64::from(rules.half_life_days.max(1)) * DAY as f64;
    let sum = signals.into_iter().filter(|s| s.party == Party::Holder).fold(0.0, |sum, signal| {
        let weight = f64::from(signal.cause.weight_milli(&rules.weights_milli)) / 1_000.0;
        sum + weight * libm::exp2(-(now.since(signal.at).max(0) as f64) / half_life)
    });
    // 1 − exp(−Σ) without losing the small ones.
    libm::round(-libm::expm1(-sum) * 1e6) as u32
}

/// Whether a signal of that age still weighs anything in the score: less than a ten-thousandth of itself does not.
pub fn is_faded(rules: &StandingRules, signal: &Signal, now: UtcSeconds) -> bool {
    now.since(signal.at) > 14 * i64::from(rules.half_life_days.max(1)) * DAY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn rules() -> StandingRules {
        Policy::preset("naira").and_then(|p| p.standing).expect("naira has standing")
    }

    fn holder(cause: Cause, days_ago: i64) -> Signal {
        Signal { cause, at: UtcSeconds(1_000 * DAY).plus(-days_ago * DAY), party: Party::Holder }
    }

    #[track_caller]
    fn check(signals: &[Signal], want: f64) {
        let score = f64::from(score_ppm(&rules(), signals, UtcSeconds(1_000 * DAY))) / 1e6;
        assert!((score - want).abs() < 5e-4, "{score} is not {want}");
    }

    #[test]
    fn scores_are_those_of_the_specification() {
        check(&[], 0.0);
        check(&[holder(Cause::SignatureInvalid, 0)], 0.503);
        check(&[holder(Cause::SignatureInvalid, 90)], 0.0838);
        check(&[holder(Cause::SignatureInvalid, 0); 2], 0.753);
        check(&[holder(Cause::DoubleSpend, 0)], 0.393);
        check(&[holder(Cause::DoubleSpend, 0); 3], 0.777);
        check(&[holder(Cause::GeographicAnomaly, 0)], 0.330);
        check(&[holder(Cause::VelocityBreach, 0)], 0.259);
        check(&[holder(Cause::CeilingExhaustion, 0); 2], 0.330);
    }

    #[test]
    fn what_somebody_else_did_weighs_nothing() {
        for party in [Party::Other, Party::Unknown] {
            check(&[Signal { party, ..holder(Cause::SignatureInvalid, 0) }; 5], 0.0);
        }
    }

    #[test]
    fn a_faded_signal_changes_no_score() {
        let rules = rules();
        let old = holder(Cause::SignatureInvalid, 15 * 30);
        assert!(is_faded(&rules, &old, UtcSeconds(1_000 * DAY)));
        assert!(score_ppm(&rules, &[old], UtcSeconds(1_000 * DAY)) < 100);
        assert!(!is_faded(&rules, &holder(Cause::DoubleSpend, 400), UtcSeconds(1_000 * DAY)));
    }
}
