//! Windows that have ended speak for or against the promise of the release that decided them.
//!
//! ```text
//! ended, from the store ─► evidence by release and tier, one note for all replicas ─► alarm ─► share granted, falls everywhere
//! ```
//!
//! The evidence is in the store and counted there ([`Store::count_ended`]), so each window counts once whatever becomes of
//! a replica, and the chance of a false alarm is δ for all of them together. Every replica reads it every few seconds. What
//! a window was granted is in its record: one that was granted more than is granted now is about a larger promise, which
//! was given up, and is not held against the smaller one.

use std::collections::BTreeMap;

use plimsoll_model::monitor::{Alarm, Monitor, WHOLE};
use plimsoll_model::{Tier, UtcSeconds};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Digest, Models, State};
use crate::record::Ended;
use crate::store::{Counted, Store, StoreError};
use crate::unit::Event;

/// Where the evidence is kept.
const NOTE: &str = "promises";
/// Counts in one look, so that one that comes late leaves others their turn.
const COUNTS_MAX: usize = 16;

/// What ended windows say of every release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Promises(BTreeMap<Digest, Monitor>);

impl Promises {
    /// Reads a note.
    fn read(body: Option<&str>) -> Result<Self, StoreError> {
        let damaged = |e| StoreError::Damaged { why: format!("the note {NOTE:?} does not read: {e}") };
        body.map_or_else(|| Ok(Self::default()), |body| serde_json::from_str(body).map_err(damaged))
    }

    /// What was seen of a release.
    pub fn of(&self, release: &Digest) -> Option<&Monitor> {
        self.0.get(release)
    }

    /// Every release that a window was about.
    pub fn releases(&self) -> impl Iterator<Item = (&Digest, &Monitor)> {
        self.0.iter()
    }

    /// Counts a window.
    pub fn count(&mut self, ended: &Ended) -> Option<Alarm> {
        let promise = &ended.promise;
        let new = || Monitor::new(promise.model.v, promise.alpha, promise.delta);
        let monitor = self.0.entry(promise.model.d).or_insert_with(new);
        if promise.granted_ppm > monitor.granted_ppm(promise.tier) {
            return None;
        }
        monitor.settled(promise.tier, if ended.lost { WHOLE } else { 0 })
    }
}

impl Models {
    /// Counts windows that have ended, for all replicas, and heeds what all of them say. Call it every few seconds.
    ///
    /// * returns how many windows it counted.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is counted twice, and the next time counts the rest.
    pub async fn watch(&self, store: &Store, now: UtcSeconds) -> Result<usize, StoreError> {
        let mut counted = 0;
        for _ in 0..COUNTS_MAX {
            if !store.has_uncounted().await? {
                break;
            }
            counted += store.count_ended(NOTE, now, next).await?;
        }
        let note = store.note(NOTE).await?;
        let promises = Promises::read(note.as_ref().map(|note| note.body.as_str()))?;
        let models = self.clone();
        // An alarm writes the archive: off the async threads.
        let heeded = tokio::task::spawn_blocking(move || models.heed(promises)).await;
        heeded.map_err(|e| StoreError::Unavailable { why: e.to_string() })?;
        Ok(counted)
    }

    /// What all replicas have seen of a release's promise, as far as this one has heard.
    pub fn monitor(&self, release: &Digest) -> Option<Monitor> {
        self.state().promise(release)
    }

    /// The same, of every release.
    pub fn promises(&self) -> Promises {
        self.state().promises.clone()
    }

    /// Lowers the share of a tier that a release grants, by hand and for as long as it decides; a higher one changes
    /// nothing.
    pub fn lower(&self, release: &Digest, tier: Tier, granted_ppm: u32) {
        let mut state = self.state();
        state.rollout.lower(release, tier, granted_ppm);
        self.put_in_place(&mut state);
    }

    /// Grants no more than what is known allows.
    fn heed(&self, promises: Promises) {
        let mut state = self.state();
        let mut lowered = state.rollout.clone();
        for (release, monitor) in promises.releases() {
            let tiers = (0..Tier::COUNT as u8).filter_map(|level| Tier::new(level).ok());
            for tier in tiers.filter(|tier| monitor.granted_ppm(*tier) < WHOLE) {
                lowered.lower(release, tier, monitor.granted_ppm(tier));
            }
        }
        state.promises = promises;
        if state.rollout != lowered {
            state.rollout = lowered;
            self.put_in_place(&mut state);
        }
    }
}

impl State {
    /// The watch over a release; of one that is in use, also before its first window has ended.
    fn promise(&self, release: &Digest) -> Option<Monitor> {
        let unseen = || {
            let evaluator = self.loaded.get(release)?.evaluator()?;
            Some(Monitor::of(evaluator.manifest(), evaluator.certificate()))
        };
        self.promises.of(release).cloned().or_else(unseen)
    }
}

/// The note after some more windows.
fn next(body: Option<&str>, ended: &[Ended]) -> Result<Counted, StoreError> {
    let mut promises = Promises::read(body)?;
    let mut events = Vec::new();
    for window in ended {
        let Some(alarm) = promises.count(window) else { continue };
        let model = window.promise.model;
        let (tier, windows, granted_ppm) = (alarm.tier.level(), alarm.windows, alarm.granted_ppm);
        tracing::warn!(model_version = model.v, tier, windows, granted_ppm, "the promise of a release does not hold");
        events.push(Event { topic: "promise.broken", body: json!({ "model": model, "alarm": alarm }) });
    }
    let body = serde_json::to_string(&promises).expect("evidence holds only integers");
    Ok(Counted { body, events })
}
