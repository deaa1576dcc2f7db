//! `Slots`: which model runs on a device. Install, activate, roll back; whatever fails, something complete keeps running.
//!
//! ```text
//! repository ─► verify ─► bounds, parse ─► golden vectors ─► free slot ─► sync ─► state ─► sync ─► active, on trial
//!                 │             │                │              │                                   │        │
//!                 └─────────────┴─ refused: nothing changed, reason kept for the next sync ─────────┘  passed: floor up
//!                                                                                    failed: back to the slot before
//! ```
//!
//! | file | what |
//! |---|---|
//! | `slot-a` `slot-b` `slot-c` | a release with its metadata; at rest at most two are used, an install writes the third |
//! | `slots` | which is active, which is kept, the trial, floors, events; replaced as a whole, with a checksum |
//!
//! - A model is on trial for its first evaluations. When it does not load, or the server reports that device and server
//!   disagree, the slot before it runs again if its rollback index allows, else the programme's static floor does.
//!   A model that was pulled back is not installed again.
//! - The floors of metadata rise with an activation; that of the model, which forbids the one before, after its trial.
//! - A load passes the whole chain again: the slot's hash, then every signature from the root that the app pins, then
//!   the golden vectors. Expiry of metadata gates the install only; `use_not_after` and `grace_days` gate the use.
//! - Time is the greatest of the wall clock and every signed time seen. A wall clock more than five minutes behind that
//!   gets the static floor.
//! - The model before is kept for the programme's `rollback_days`, and for as long as the new one is on trial.
//!
//! What it cannot do: someone who controls the device can put back an old copy of all files at once. The server sees it
//! in the [`Report`] and in grants, which name the model they were computed with.

pub mod bundle;

mod state;

mod running;

mod report;

use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::{ENGINE, sha256_hex};
use plimsoll_model::policy::Policy;
use plimsoll_model::time::DAY;

use crate::evaluator::{Evaluator, RefuseArtifact};
use crate::storage::{Storage, StorageError};
use crate::trust::{self, RefuseRelease, Repository, Role, TrustedRoot, Verified};

use bundle::{Bundle, Recorder};
pub use report::{EVENTS_MAX, Event, FloorsReport, ModelReport, Report};
pub use running::{CLOCK_BEHIND_S_MAX, EngineTime, FloorReason, Running};
pub use state::Trial;
use state::{Kept, Place, STATE_BYTES_MAX, Slot, State};

const STATE: &str = "slots";

/// Bytes a slot may have: a model, policy, golden vectors and metadata at their greatest, and a few roots. Real ones have
/// a tenth of that.
pub const SLOT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What an app is built with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The root it trusts.
    pub root: TrustedRoot,
    /// The model line it runs.
    pub model_id: String,
    /// The programme, for the static floor of a device that has no model yet.
    pub policy: Policy,
    /// How a new model proves itself; no evaluations: at once.
    pub trial: Trial,
}

impl Settings {
    /// A trial of 20 evaluations, of which no three loads in a row may end the process.
    pub fn new(root: TrustedRoot, model_id: impl Into<String>, policy: Policy) -> Self {
        Self { root, model_id: model_id.into(), policy, trial: Trial { evaluations: 20, loads: 3 } }
    }
}

/// The models of a device.
#[derive(Debug)]
pub struct Slots<S> {
    storage: S,
    settings: Settings,
    state: State,
    /// What the storage holds may differ from `state`: the last write of it failed.
    unsaved: bool,
    loaded: Option<Evaluator>,
    /// Why nothing is loaded, where that is no fact for the state.
    unloaded: Option<FloorReason>,
}

/// What an install did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// A new model is active, and on trial if the settings ask for one.
    Activated {
        /// Its version.
        model_version: u64,
    },
    /// The repository's newest model is the active one already.
    Current {
        /// Its version.
        model_version: u64,
    },
}

/// Why a release was not installed. What ran before runs on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseInstall {
    /// It is not what its signers published, or not for this device.
    #[error(transparent)]
    Release(#[from] RefuseRelease),
    /// It does not run on this engine.
    #[error(transparent)]
    Artifact(#[from] RefuseArtifact),
    /// Its last day of use has passed.
    #[error("model {model_version} could be used until {}", .until.rfc3339())]
    PastUse {
        /// Version.
        model_version: u64,
        /// The last instant, grace included.
        until: UtcSeconds,
    },
    /// It was pulled back here; a new release is needed.
    #[error("model {model_version} was pulled back on this device before")]
    PulledBefore {
        /// Version.
        model_version: u64,
    },
    /// Another model under the version of the active one.
    #[error("another model {model_version} is active: a changed model needs a new version")]
    VersionReused {
        /// Version.
        model_version: u64,
    },
    /// With its metadata it does not fit a slot.
    #[error("the release has {bytes} bytes with its metadata, more than {max}")]
    TooLarge {
        /// Bytes.
        bytes: u64,
        /// Bytes.
        max: u64,
    },
    /// The device could not store it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a model is pulled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullBack {
    /// Device and server computed different limits.
    Mismatch,
    /// An operator asked for it.
    Ordered,
}

/// Why a slot does not load.
enum LoadFailure {
    Storage(StorageError),
    Damaged(&'static str),
    Release(RefuseRelease),
    Artifact(RefuseArtifact),
}

impl<S: Storage> Slots<S> {
    /// Opens what the storage holds, verifies it and makes it ready. A device that holds nothing, or nothing that can be
    /// used, runs the static floor.
    ///
    /// * `wall`: the wall clock.
    ///
    /// # Errors
    /// When the state is there and cannot be read: opening it anew would forget the floors. Use the static floor and try
    /// again.
    pub fn open(storage: S, settings: Settings, wall: UtcSeconds) -> Result<Self, StorageError> {
        let found = match storage.read(STATE, STATE_BYTES_MAX) {
            Ok(None) => Some(State::default()),
            Ok(Some(bytes)) => State::from_bytes(&bytes),
            Err(StorageError::TooLong { .. }) => None,
            Err(error) => return Err(error),
        };
        let damaged = found.is_none();
        let state = found.unwrap_or_default();
        let mut slots = Self { storage, settings, state, unsaved: false, loaded: None, unloaded: None };
        if damaged {
            slots.recover(wall)?;
        }
        slots.load(wall);
        // Both make room and nothing else; what fails here is done at the next opening.
        let _ = slots.forget_kept(wall);
        if !slots.unsaved {
            slots.remove_unused();
        }
        Ok(slots)
    }

    /// Installs the newest release of the device's model line and activates it.
    ///
    /// # Errors
    /// [`RefuseInstall`]. What ran before runs on, and the reason is kept for [`Slots::report`].
    pub fn install(&mut self, repo: &dyn Repository, wall: UtcSeconds) -> Result<Installed, RefuseInstall> {
        let mut version = None;
        let result = self.try_install(repo, wall, &mut version);
        if let Err(refused) = &result {
            self.record(wall, report::code(refused), version, &refused.to_string());
            // If this fails too, the event is in memory and saved with the next change.
            let _ = self.save();
        }
        result
    }

    fn try_install(
        &mut self,
        repo: &dyn Repository,
        wall: UtcSeconds,
        version: &mut Option<u64>,
    ) -> Result<Installed, RefuseInstall> {
        if self.unsaved {
            // Else the storage might name a slot that this state calls free.
            self.save()?;
        }
        let now = self.engine_time(wall).now;
        let recorder = Recorder::new(repo);
        let model_id = &self.settings.model_id;
        let verified = trust::verify(&recorder, &self.settings.root, &self.state.floors, now, Some(model_id))?;
        let manifest = &verified.release().manifest;
        let model_version = manifest.model_version;
        *version = Some(model_version);
        let metadata_floors = verified.floors().with_models_of(&self.state.floors);
        if let Some(active) = &self.state.active
            && active.model_version == model_version
        {
            if active.model_sha256 != verified.model_sha256() {
                return Err(RefuseInstall::VersionReused { model_version });
            }
            let mut next = self.state.clone();
            next.floors = metadata_floors;
            if next != self.state {
                self.change(next)?;
            }
            return Ok(Installed::Current { model_version });
        }
        if self.state.pulled.iter().any(|sha256| sha256 == verified.model_sha256()) {
            return Err(RefuseInstall::PulledBefore { model_version });
        }
        if now > manifest.usable_until() {
            return Err(RefuseInstall::PastUse { model_version, until: manifest.usable_until() });
        }
        let evaluator = Evaluator::new(&verified)?;

        let bytes = recorder.into_slot(&self.settings.root, verified.floors(), now)?;
        if bytes.len() as u64 > SLOT_BYTES_MAX {
            return Err(RefuseInstall::TooLarge { bytes: bytes.len() as u64, max: SLOT_BYTES_MAX });
        }
        // What is about to be stored must load as it will be loaded: by the pinned root and its own files alone.
        let again = Bundle::read(&bytes).ok_or(RefuseRelease::TooManyRoots { max: trust::ROOTS_MAX })?;
        again.verify(&self.settings.root, model_id)?;

        let place = self.state.free();
        self.write_slot(place, &bytes)?;
        let mut next = self.state.clone();
        next.active = Some(Slot::of(place, &bytes, &verified));
        // A model on trial is no model to go back to: keep the one before it.
        if self.state.trial.is_none()
            && let Some(slot) = self.state.active.clone()
        {
            let days = i64::from(evaluator.policy().rollout.rollback_days);
            next.kept = Some(Kept { slot, until: now.plus(days * DAY) });
        }
        next.floors = metadata_floors;
        next.floor = None;
        next.trial = Some(self.settings.trial).filter(|trial| trial.evaluations > 0);
        if next.trial.is_none() {
            next.floors = verified.floors().clone();
        }
        self.change(next)?;
        self.loaded = Some(evaluator);
        self.unloaded = None;
        self.remove_unused();
        Ok(Installed::Activated { model_version })
    }

    /// What may decide now: the model, or the static floor and why.
    pub fn running(&self, wall: UtcSeconds) -> Running<'_> {
        let time = self.engine_time(wall);
        let policy = self.loaded.as_ref().map_or(&self.settings.policy, Evaluator::policy);
        let floor = |reason| Running::Floor { reason, policy };
        if time.is_suspect() {
            return floor(FloorReason::ClockSuspect { behind_s: time.behind_s });
        }
        match &self.loaded {
            Some(model) if time.now <= model.manifest().usable_until() => Running::Model(model),
            Some(model) => floor(FloorReason::ModelExpired { until: model.manifest().usable_until() }),
            None => floor(self.unloaded.or(self.state.floor).unwrap_or(FloorReason::NothingInstalled)),
        }
    }

    /// The time that rules are judged by: never earlier than anything that was signed.
    pub fn engine_time(&self, wall: UtcSeconds) -> EngineTime {
        EngineTime::of(wall, self.state.floors.latest_signed().max(self.state.heard))
    }

    /// Remembers a signed time that was verified elsewhere: of a grant, of a sync receipt.
    ///
    /// # Errors
    /// [`StorageError`]; it counts until the process ends.
    pub fn heard_signed_time(&mut self, at: UtcSeconds) -> Result<(), StorageError> {
        if self.state.heard.is_some_and(|heard| heard >= at) {
            return Ok(());
        }
        self.state.heard = Some(at);
        self.save()
    }

    /// Counts an evaluation of the active model that came to its end. With the last one of its trial the model's floor
    /// rises: from then on no older release, and none that was withdrawn, is accepted.
    ///
    /// # Errors
    /// [`StorageError`]; the evaluation does not count.
    pub fn evaluated(&mut self) -> Result<(), StorageError> {
        let (Some(trial), Some(model)) = (self.state.trial, &self.loaded) else { return Ok(()) };
        let mut next = self.state.clone();
        let left = trial.evaluations.saturating_sub(1);
        next.trial = (left > 0).then_some(Trial { evaluations: left, loads: self.settings.trial.loads });
        if next.trial.is_none() {
            next.floors.raise_model(model.manifest());
        }
        self.change(next)
    }

    /// Takes the active model back, for good: the one before it runs if it is kept and not withdrawn, else the static
    /// floor.
    ///
    /// # Errors
    /// [`StorageError`]: it is taken back in this process, and the storage may not know.
    pub fn pull_back(&mut self, why: PullBack, wall: UtcSeconds) -> Result<(), StorageError> {
        let code = match why {
            PullBack::Mismatch => "mismatch",
            PullBack::Ordered => "pulled_back",
        };
        self.go_back(wall, code, "pulled back", true);
        if self.unsaved { self.save() } else { Ok(()) }
    }

    /// What the issuer is told at the next sync.
    pub fn report(&self, wall: UtcSeconds) -> Report {
        let (state, floors) = (&self.state, &self.state.floors);
        let model = floors.model(&self.settings.model_id);
        let active = |slot: &Slot| ModelReport {
            model_id: self.settings.model_id.clone(),
            model_version: slot.model_version,
            rollback_index: slot.rollback_index,
            sha256: slot.model_sha256.clone(),
            on_trial: state.trial.is_some(),
        };
        Report {
            engine: ENGINE,
            model: state.active.as_ref().map(active),
            kept_version: state.kept.as_ref().map(|kept| kept.slot.model_version),
            floor: match self.running(wall) {
                Running::Floor { reason, .. } => Some(reason),
                Running::Model(_) => None,
            },
            floors: FloorsReport {
                root: floors.version(Role::Root),
                timestamp: floors.version(Role::Timestamp),
                snapshot: floors.version(Role::Snapshot),
                targets: floors.version(Role::Targets),
                model_version: model.model_version,
                rollback_index: model.rollback_index,
            },
            events: state.events.clone(),
            next_event: state.next_event,
        }
    }

    /// Forgets the events that the issuer has, up to [`Report::next_event`] of the report it got.
    ///
    /// # Errors
    /// [`StorageError`]; they will be reported again.
    pub fn acknowledge(&mut self, next_event: u64) -> Result<(), StorageError> {
        let mut next = self.state.clone();
        next.events.retain(|event| event.number >= next_event);
        if next == self.state { Ok(()) } else { self.change(next) }
    }

    /// Removes the model before the active one when its days are over. [`Slots::open`] does so too.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn forget_kept(&mut self, wall: UtcSeconds) -> Result<(), StorageError> {
        let now = self.engine_time(wall).now;
        let over = self.state.kept.as_ref().is_some_and(|kept| now > kept.until) && self.state.trial.is_none();
        if !over {
            return Ok(());
        }
        let mut next = self.state.clone();
        next.kept = None;
        self.change(next)?;
        self.remove_unused();
        Ok(())
    }

    /// The storage.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Loads the active slot; goes back as far as it must.
    fn load(&mut self, wall: UtcSeconds) {
        self.loaded = None;
        self.unloaded = None;
        while let Some(slot) = self.state.active.clone() {
            if let Some(trial) = &mut self.state.trial {
                if trial.loads == 0 {
                    self.drop_active(wall, "load_never_ended", "no load came to its end", true);
                    continue;
                }
                // Counted before, so that a load which ends the process counts.
                trial.loads -= 1;
                let _ = self.save();
            }
            match self.load_slot(&slot) {
                Ok(evaluator) => {
                    self.loaded = Some(evaluator);
                    if let Some(trial) = &mut self.state.trial {
                        trial.loads = self.settings.trial.loads;
                        let _ = self.save();
                    }
                    return;
                }
                Err(LoadFailure::Storage(error)) => {
                    // It may pass: nothing is given up for it.
                    self.record(wall, "storage", Some(slot.model_version), &error.to_string());
                    self.unloaded = Some(FloorReason::StorageFailed);
                    return;
                }
                Err(LoadFailure::Damaged(what)) => self.drop_active(wall, "slot_damaged", what, false),
                Err(LoadFailure::Release(refused)) => {
                    self.drop_active(wall, report::release_code(&refused), &refused.to_string(), false);
                }
                Err(LoadFailure::Artifact(refused)) => {
                    let on_trial = self.state.trial.is_some();
                    self.drop_active(wall, report::artifact_code(&refused), &refused.to_string(), on_trial);
                }
            }
        }
    }

    fn load_slot(&self, slot: &Slot) -> Result<Evaluator, LoadFailure> {
        let bytes = match self.storage.read(slot.place.file(), SLOT_BYTES_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(LoadFailure::Damaged("the slot is gone")),
            Err(StorageError::TooLong { .. }) => return Err(LoadFailure::Damaged("the slot is too long")),
            Err(error) => return Err(LoadFailure::Storage(error)),
        };
        if sha256_hex(&bytes) != slot.sha256 {
            return Err(LoadFailure::Damaged("the slot has another SHA-256"));
        }
        let bundle = Bundle::read(&bytes).ok_or(LoadFailure::Damaged("the slot is malformed"))?;
        let verified = self.verify_bundle(&bundle).map_err(LoadFailure::Release)?;
        if verified.model_sha256() != slot.model_sha256 {
            return Err(LoadFailure::Damaged("the slot holds another model"));
        }
        Evaluator::new(&verified).map_err(LoadFailure::Artifact)
    }

    fn verify_bundle(&self, bundle: &Bundle<'_>) -> Result<Verified, RefuseRelease> {
        bundle.verify(&self.settings.root, &self.settings.model_id)
    }

    /// Gives the active model up and runs what is left.
    fn go_back(&mut self, wall: UtcSeconds, code: &str, detail: &str, pulled: bool) {
        if self.state.active.is_some() {
            self.drop_active(wall, code, detail, pulled);
            self.load(wall);
        }
    }

    /// Makes the kept model the active one, where the floors allow it. In memory even when it cannot be saved: running
    /// the model that failed would be worse than going back again at the next opening.
    fn drop_active(&mut self, wall: UtcSeconds, code: &str, detail: &str, pulled: bool) {
        let Some(failed) = self.state.active.take() else { return };
        if pulled {
            self.state.pull(failed.model_sha256);
        }
        let floor = self.state.floors.model(&self.settings.model_id).rollback_index;
        let allowed = |slot: &Slot| slot.rollback_index >= floor && !self.state.pulled.contains(&slot.model_sha256);
        self.state.active = self.state.kept.take().map(|kept| kept.slot).filter(allowed);
        self.state.trial = None;
        self.state.floor = self.state.active.is_none().then_some(FloorReason::PulledBack);
        self.record(wall, code, Some(failed.model_version), detail);
        if self.save().is_ok() {
            self.remove_unused();
        }
    }

    /// After a damaged state: nothing runs, and the floors are those of the newest slot that still verifies.
    fn recover(&mut self, wall: UtcSeconds) -> Result<(), StorageError> {
        for place in Place::ALL {
            let bytes = match self.storage.read(place.file(), SLOT_BYTES_MAX) {
                Ok(Some(bytes)) => bytes,
                Ok(None) | Err(StorageError::TooLong { .. }) => continue,
                Err(error) => return Err(error),
            };
            if let Some(bundle) = Bundle::read(&bytes)
                && let Ok(verified) = self.verify_bundle(&bundle)
            {
                self.state.floors.raise_to(verified.floors());
            }
        }
        self.state.floor = Some(FloorReason::StateDamaged);
        self.record(wall, "state_damaged", None, "the state is not what was written; floors are those of the slots");
        self.save()
    }

    fn record(&mut self, wall: UtcSeconds, code: &str, version: Option<u64>, detail: &str) {
        let now = self.engine_time(wall).now;
        report::append(&mut self.state.events, &mut self.state.next_event, now, code, version, detail);
    }

    /// The bytes, then the name, before any state speaks of them.
    fn write_slot(&self, place: Place, bytes: &[u8]) -> Result<(), StorageError> {
        let file = place.file();
        let written = self.storage.write(file, bytes).and_then(|()| self.storage.sync(file));
        let written = written.and_then(|()| self.storage.sync_names());
        if written.is_err() {
            // Makes room again, as far as the storage lets it.
            let _ = self.storage.remove(file);
        }
        written
    }

    /// Saves `next`, and makes it the state only then.
    fn change(&mut self, next: State) -> Result<(), StorageError> {
        let before = std::mem::replace(&mut self.state, next);
        let saved = self.save();
        if saved.is_err() {
            self.state = before;
        }
        saved
    }

    fn save(&mut self) -> Result<(), StorageError> {
        self.unsaved = true;
        self.storage.replace(STATE, &self.state.to_bytes())?;
        self.unsaved = false;
        Ok(())
    }

    /// Removes the slots that a saved state does not name.
    fn remove_unused(&self) {
        let kept = self.state.kept.as_ref().map(|kept| &kept.slot);
        let used: Vec<Place> =
            [self.state.active.as_ref(), kept].into_iter().flatten().map(|slot| slot.place).collect();
        for place in Place::ALL.into_iter().filter(|place| !used.contains(place)) {
            // It only takes space; the next install writes over it.
            let _ = self.storage.remove(place.file());
        }
    }
}
