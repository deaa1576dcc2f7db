//! What `Slots` keeps beside the slots: which one runs, which one is kept, and the floors.

use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::sha256_hex;
use serde::{Deserialize, Serialize};

use super::{Event, FloorReason};
use crate::trust::{Floors, Verified};

/// Bytes a state may have: the remembered root is most of it, escaped once.
pub(super) const STATE_BYTES_MAX: u64 = 256 * 1024;

const MAGIC: &str = "plimsoll slots 1";
/// Models that were pulled back and are not installed again.
const PULLED_MAX: usize = 16;

/// Everything but the slots themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) active: Option<Slot>,
    /// The model before it.
    pub(super) kept: Option<Kept>,
    /// How much of its trial the active model still has before it.
    pub(super) trial: Option<Trial>,
    /// Why nothing is active, when something was.
    pub(super) floor: Option<FloorReason>,
    pub(super) floors: Floors,
    /// The latest signed time heard outside of releases: grants, receipts.
    pub(super) heard: Option<UtcSeconds>,
    /// SHA-256 of models that were pulled back, the latest last.
    pub(super) pulled: Vec<String>,
    pub(super) events: Vec<Event>,
    /// Number of the next event.
    pub(super) next_event: u64,
}

/// One of three files. Two hold models; the third is free, so that an install overwrites neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    A,
    B,
    C,
}

impl Place {
    pub(super) const ALL: [Self; 3] = [Self::A, Self::B, Self::C];

    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::A => "slot-a",
            Self::B => "slot-b",
            Self::C => "slot-c",
        }
    }
}

/// A slot that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) place: Place,
    /// Of the file.
    pub(super) sha256: String,
    pub(super) model_sha256: String,
    pub(super) model_version: u64,
    pub(super) rollback_index: u64,
}

impl Slot {
    pub(super) fn of(place: Place, bytes: &[u8], verified: &Verified) -> Self {
        let manifest = &verified.release().manifest;
        Self {
            place,
            sha256: sha256_hex(bytes),
            model_sha256: verified.model_sha256().to_owned(),
            model_version: manifest.model_version,
            rollback_index: manifest.rollback_index,
        }
    }
}

/// The model before the active one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) slot: Slot,
    pub(super) until: UtcSeconds,
}

/// How a model proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Evaluations until the trial is passed.
    pub evaluations: u32,
    /// Loads that may end without success, for instance with the process, before the model is pulled back.
    pub loads: u32,
}

impl State {
    /// `<magic> <SHA-256 of the rest>\n` and JSON.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).expect("a state holds integers, text and lists");
        format!("{MAGIC} {}\n{json}", sha256_hex(json.as_bytes())).into_bytes()
    }

    /// `None` for anything that [`State::to_bytes`] did not write.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (sha256, json) = text.strip_prefix(MAGIC)?.strip_prefix(' ')?.split_once('\n')?;
        (sha256 == sha256_hex(json.as_bytes())).then_some(())?;
        serde_json::from_str(json).ok()
    }

    /// A place that neither model uses.
    pub(super) fn free(&self) -> Place {
        let used = [self.active.as_ref(), self.kept.as_ref().map(|kept| &kept.slot)];
        let is_free = |place: &Place| used.iter().flatten().all(|slot| slot.place != *place);
        Place::ALL.into_iter().find(is_free).expect("two models use two of three places")
    }

    pub(super) fn pull(&mut self, model_sha256: String) {
        self.pulled.retain(|other| *other != model_sha256);
        self.pulled.push(model_sha256);
        if self.pulled.len() > PULLED_MAX {
            self.pulled.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let slot = |place, version| Slot {
            place,
            sha256: sha256_hex(b"slot"),
            model_sha256: sha256_hex(b"model"),
            model_version: version,
            rollback_index: 3,
        };
        State {
            active: Some(slot(Place::B, 2)),
            kept: Some(Kept { slot: slot(Place::A, 1), until: UtcSeconds(9) }),
            trial: Some(Trial { evaluations: 5, loads: 3 }),
            ..State::default()
        }
    }

    #[test]
    fn a_state_is_read_back_and_no_other_bytes_are_one() {
        let bytes = state().to_bytes();
        assert_eq!(State::from_bytes(&bytes), Some(state()));
        for at in 0..bytes.len() {
            assert_eq!(State::from_bytes(&bytes[..at]), None, "{at} bytes");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(State::from_bytes(&flipped), None, "byte {at} flipped");
        }
    }

    #[test]
    fn an_install_has_a_place_of_its_own() {
        assert_eq!(State::default().free(), Place::A);
        assert_eq!(state().free(), Place::C);
    }

    #[test]
    fn the_latest_pulled_models_are_remembered() {
        let mut state = State::default();
        for model in (0..20).chain([10]) {
            state.pull(model.to_string());
        }
        assert_eq!(state.pulled.len(), PULLED_MAX);
        assert_eq!(state.pulled.first().map(String::as_str), Some("4"));
        assert_eq!(state.pulled.last().map(String::as_str), Some("10"));
    }
}
