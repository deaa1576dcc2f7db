//! What the server is told at the next sync: what runs here, what is refused here, and why.

use plimsoll_model::UtcSeconds;
use serde::{Deserialize, Serialize};

use super::{FloorReason, RefuseInstall};
use crate::evaluator::RefuseArtifact;
use crate::trust::RefuseRelease;

/// Events that are kept until the server has them; the oldest go first.
pub const EVENTS_MAX: usize = 32;
/// Characters of an event's detail.
const DETAIL_CHARS_MAX: usize = 160;

/// What runs on a device, for the issuer (the version report of Uptane).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The engine version that this build is.
    pub engine: u32,
    /// The active model.
    pub model: Option<ModelReport>,
    /// Version of the model before it, while it is kept.
    pub kept_version: Option<u64>,
    /// Why the static floor is in force, when it is.
    pub floor: Option<FloorReason>,
    /// What is refused.
    pub floors: FloorsReport,
    /// What happened since the last acknowledged report, oldest first.
    pub events: Vec<Event>,
    /// Number of the next event; a first event with a greater number than was last acknowledged means that some between
    /// were dropped.
    pub next_event: u64,
}

/// The active model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelReport {
    /// Model line.
    pub model_id: String,
    /// Of the signed manifest.
    pub model_version: u64,
    /// Of the signed manifest.
    pub rollback_index: u64,
    /// Lower-case hex SHA-256 of the ONNX file.
    pub sha256: String,
    /// Whether it still has to prove itself.
    pub on_trial: bool,
}

/// Versions below which metadata and models are refused; 0 when none was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the roles' own names
pub struct FloorsReport {
    pub root: u64,
    pub timestamp: u64,
    pub snapshot: u64,
    pub targets: u64,
    pub model_version: u64,
    pub rollback_index: u64,
}

/// Something the server should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one.
    pub number: u64,
    /// When, by the engine's time; of the last one where it happened several times in a row.
    pub at: UtcSeconds,
    /// What, for machines: stable `snake_case`.
    pub code: String,
    /// Of the model concerned, where it is known.
    pub model_version: Option<u64>,
    /// What, for people.
    pub detail: String,
    /// How often in a row.
    pub times: u32,
}

/// Appends an event to a bounded list, or counts it with the last one when it is the same again.
pub(super) fn append(
    events: &mut Vec<Event>,
    next_event: &mut u64,
    at: UtcSeconds,
    code: &str,
    version: Option<u64>,
    detail: &str,
) {
    let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
    if let Some(last) = events.last_mut()
        && (last.code.as_str(), last.model_version, &last.detail) == (code, version, &detail)
    {
        (last.at, last.times) = (at, last.times.saturating_add(1));
        return;
    }
    events.push(Event { number: *next_event, at, code: code.to_owned(), model_version: version, detail, times: 1 });
    *next_event = next_event.saturating_add(1);
    if events.len() > EVENTS_MAX {
        events.remove(0);
    }
}

/// The reason code of a refused install.
pub(super) fn code(refused: &RefuseInstall) -> &'static str {
    match refused {
        RefuseInstall::Release(refused) => release_code(refused),
        RefuseInstall::Artifact(refused) => artifact_code(refused),
        RefuseInstall::PastUse { .. } => "past_use",
        RefuseInstall::PulledBefore { .. } => "pulled_before",
        RefuseInstall::VersionReused { .. } => "version_reused",
        RefuseInstall::TooLarge { .. } => "too_large",
        RefuseInstall::Storage(_) => "storage",
    }
}

pub(super) fn release_code(refused: &RefuseRelease) -> &'static str {
    match refused {
        RefuseRelease::Missing { .. } => "missing",
        RefuseRelease::Truncated { .. } => "truncated",
        RefuseRelease::TooLarge { .. } => "too_large",
        RefuseRelease::WrongHash { .. } => "wrong_hash",
        RefuseRelease::NotCanonical { .. } => "not_canonical",
        RefuseRelease::Malformed { .. } => "malformed",
        RefuseRelease::ThresholdNotMet { .. } => "threshold_not_met",
        RefuseRelease::DuplicateSignature { .. } => "duplicate_signature",
        RefuseRelease::BadSignature { .. } => "bad_signature",
        RefuseRelease::UnknownSigner { .. } => "unknown_signer",
        RefuseRelease::UnsupportedKey { .. } => "unsupported_key",
        RefuseRelease::BadRoot { .. } => "bad_root",
        RefuseRelease::RootDiffers { .. } => "root_differs",
        RefuseRelease::TooManyRoots { .. } => "too_many_roots",
        RefuseRelease::Rollback { .. } => "rollback",
        RefuseRelease::MixAndMatch { .. } => "mix_and_match",
        RefuseRelease::Expired { .. } => "expired",
        RefuseRelease::ModelRollback { .. } => "model_rollback",
        RefuseRelease::RollbackIndex { .. } => "rollback_index",
        RefuseRelease::EngineTooOld { .. } => "engine_too_old",
        RefuseRelease::EngineTooNew { .. } => "engine_too_new",
        RefuseRelease::WrongSchema { .. } => "wrong_schema",
        RefuseRelease::UnknownModel { .. } => "unknown_model",
        RefuseRelease::Io { .. } => "fetch",
    }
}

pub(super) fn artifact_code(refused: &RefuseArtifact) -> &'static str {
    match refused {
        RefuseArtifact::FeatureSchema { .. } => "feature_schema",
        RefuseArtifact::Property { .. } => "property",
        RefuseArtifact::Inconsistent { .. } => "inconsistent",
        RefuseArtifact::Model(_) => "model",
        RefuseArtifact::Policy(_) => "policy",
        RefuseArtifact::Golden(_) => "golden",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_and_repeats_are_counted() {
        let (mut events, mut next) = (Vec::new(), 0);
        for second in 0..5 {
            append(&mut events, &mut next, UtcSeconds(second), "expired", None, "timestamp expired");
        }
        assert_eq!((events.len(), events[0].times, events[0].at, next), (1, 5, UtcSeconds(4), 1));
        for version in 0..100 {
            append(&mut events, &mut next, UtcSeconds(9), "golden", Some(version), &"é".repeat(1_000));
        }
        assert_eq!(events.len(), EVENTS_MAX);
        assert_eq!(events.last().map(|e| (e.number, e.detail.chars().count())), Some((100, DETAIL_CHARS_MAX)));
        assert_eq!(next, 101);
    }
}
