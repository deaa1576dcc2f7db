//! What decides right now: the model, or the programme's static floor and why.

use plimsoll_model::UtcSeconds;
use plimsoll_model::decision::{Decision, Situation, decide_floor};
use plimsoll_model::features::FeatureVector;
use plimsoll_model::policy::Policy;
use serde::{Deserialize, Serialize};

use crate::Evaluator;

/// Seconds that a wall clock may be behind the latest signed time.
pub const CLOCK_BEHIND_S_MAX: i64 = 300;

/// What may decide at an instant.
#[derive(Clone, Copy, Debug)]
pub enum Running<'a> {
    /// The active model.
    Model(&'a Evaluator),
    /// No model may: each tier gets its `fallback`.
    Floor {
        /// Why.
        reason: FloorReason,
        /// The programme's rules: the last verified ones, or those the app was built with.
        policy: &'a Policy,
    },
}

impl Running<'_> {
    /// What may be spent offline at `now`, and why not more.
    ///
    /// * `features`: as taken at the sync; the static floor does not look at them.
    /// * `now`: [`EngineTime::now`].
    pub fn decide(&self, features: &FeatureVector, situation: &Situation, now: UtcSeconds) -> Decision {
        match self {
            Self::Model(evaluator) => evaluator.decide(features, situation, now),
            Self::Floor { policy, .. } => decide_floor(policy, situation, now),
        }
    }

    /// The rules in force.
    pub fn policy(&self) -> &Policy {
        match self {
            Self::Model(evaluator) => evaluator.policy(),
            Self::Floor { policy, .. } => policy,
        }
    }
}

/// Why the static floor is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FloorReason {
    /// A new device.
    #[error("no model was installed yet: sync")]
    NothingInstalled,
    /// The wall clock is earlier than something that was signed.
    #[error("the clock is {behind_s} s behind a signed time: set it, or sync")]
    ClockSuspect {
        /// Seconds.
        behind_s: i64,
    },
    /// Past `use_not_after` and grace.
    #[error("the model could be used until {}: sync", .until.rfc3339())]
    ModelExpired {
        /// The last instant.
        until: UtcSeconds,
    },
    /// The model was pulled back, or did not load, and the one before it is gone, withdrawn or damaged too.
    #[error("the model was pulled back and no other may run: sync")]
    PulledBack,
    /// What was stored cannot be read as what was written.
    #[error("the stored state is damaged: sync")]
    StateDamaged,
    /// The model's file could not be read this time.
    #[error("the storage failed: restart, or sync")]
    StorageFailed,
}

/// The time that rules are judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineTime {
    /// The greater of the wall clock and every signed time seen.
    pub now: UtcSeconds,
    /// Seconds that the wall clock is behind it.
    pub behind_s: i64,
}

impl EngineTime {
    pub(super) fn of(wall: UtcSeconds, signed: Option<UtcSeconds>) -> Self {
        let now = signed.map_or(wall, |signed| signed.max(wall));
        Self { now, behind_s: now.since(wall) }
    }

    /// Whether the wall clock is wrong for certain: nothing but the static floor is granted then.
    pub const fn is_suspect(&self) -> bool {
        self.behind_s > CLOCK_BEHIND_S_MAX
    }
}
