//! Windows that have ended speak for or against the promise of the release that decided them.
//!
//! ```text
//! ended, from the store ─► by release and tier, one note for all replicas ─┬► evidence ─► alarm ─► share granted: only falls
//!                                                                          └► margin ─► share granted: follows, both ways
//! ```
//!
//! The evidence is in the store and counted there ([`Store::count_ended`]), so each window counts once whatever becomes of
//! a replica, and the chance of a false alarm is δ for all of them together. Every replica reads it every few seconds. What
//! a window was granted is in its record: one that was granted more than is granted now is about a larger promise, which
//! was given up, and is not held against the smaller one. The margin counts it: what it steers is the loss that was had.
//! What is granted is the smaller of both shares, signed with the grant and written with its log entry.
//!
//! Money has no watch of its own: no window misses more than the cap, so the mean that is missing is at most α of it, and
//! the default promise in money is no stricter.

use std::collections::BTreeMap;

use plimsoll_model::margin::Margin;
use plimsoll_model::monitor::{Alarm, Monitor, WHOLE};
use plimsoll_model::quantile::Ppm;
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
pub struct Promises(BTreeMap<Digest, Watched>);

/// What ended windows say of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// Whether its promise holds.
    pub monitor: Monitor,
    /// How much of its limits is granted meanwhile; none where the programme has no margin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Margin>,
}

impl Promises {
    /// Reads a note.
    fn read(body: Option<&str>) -> Result<Self, StoreError> {
        let damaged = |e| StoreError::Damaged { why: format!("the note {NOTE:?} does not read: {e}") };
        body.map_or_else(|| Ok(Self::default()), |body| serde_json::from_str(body).map_err(damaged))
    }

    /// What was seen of a release.
    pub fn of(&self, release: &Digest) -> Option<&Watched> {
        self.0.get(release)
    }

    /// Every release that a window was about.
    pub fn releases(&self) -> impl Iterator<Item = (&Digest, &Watched)> {
        self.0.iter()
    }

    /// Counts a window.
    ///
    /// * `gain`: of the margin, see [`Margin::new`]; none for no margin.
    pub fn count(&mut self, ended: &Ended, gain: Option<Ppm>) -> Option<Alarm> {
        let promise = &ended.promise;
        let new = || Watched { monitor: Monitor::new(promise.model.v, promise.alpha, promise.delta), margin: None };
        let Watched { monitor, margin } = self.0.entry(promise.model.d).or_insert_with(new);
        let loss_ppm = if ended.lost { WHOLE } else { 0 };
        *margin = gain.map(|gain| match margin.take() {
            Some(margin) => margin.with_gain(gain),
            None => Margin::new(promise.alpha, gain),
        });
        if let Some(margin) = margin {
            margin.settled(promise.tier, loss_ppm);
        }
        if promise.granted_ppm > monitor.granted_ppm(promise.tier) {
            return None;
        }
        monitor.settled(promise.tier, loss_ppm)
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
        let gain = self.0.settings.margin_gain;
        let mut counted = 0;
        for _ in 0..COUNTS_MAX {
            if !store.has_uncounted().await? {
                break;
            }
            counted += store.count_ended(NOTE, now, |body, ended| next(body, ended, gain)).await?;
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

    /// What settlements have left of a release's limits, as far as this replica has heard; none without a margin.
    pub fn margin(&self, release: &Digest) -> Option<Margin> {
        self.state().promises.of(release)?.margin.clone()
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
        for (release, watched) in promises.releases() {
            for tier in tiers().filter(|tier| watched.monitor.granted_ppm(*tier) < WHOLE) {
                lowered.lower(release, tier, watched.monitor.granted_ppm(tier));
            }
        }
        state.promises = promises;
        state.steer();
        if state.rollout != lowered {
            state.rollout = lowered;
            self.put_in_place(&mut state);
        }
    }
}

impl State {
    /// Tells every release in use its margin.
    pub(super) fn steer(&self) {
        for (release, active) in &self.loaded {
            let margin = self.promises.of(release).and_then(|watched| watched.margin.as_ref());
            for tier in tiers() {
                active.steer(tier, margin.map_or(WHOLE, |margin| margin.granted_ppm(tier)));
            }
        }
    }

    /// The watch over a release; of one that is in use, also before its first window has ended.
    fn promise(&self, release: &Digest) -> Option<Monitor> {
        let unseen = || {
            let evaluator = self.loaded.get(release)?.evaluator()?;
            Some(Monitor::of(evaluator.manifest(), evaluator.certificate()))
        };
        self.promises.of(release).map(|watched| watched.monitor.clone()).or_else(unseen)
    }
}

/// The note after some more windows.
fn next(body: Option<&str>, ended: &[Ended], gain: Option<Ppm>) -> Result<Counted, StoreError> {
    let mut promises = Promises::read(body)?;
    let mut events = Vec::new();
    for window in ended {
        let Some(alarm) = promises.count(window, gain) else { continue };
        let model = window.promise.model;
        let (tier, windows, granted_ppm) = (alarm.tier.level(), alarm.windows, alarm.granted_ppm);
        tracing::warn!(model_version = model.v, tier, windows, granted_ppm, "the promise of a release does not hold");
        events.push(Event { topic: "promise.broken", body: json!({ "model": model, "alarm": alarm }) });
    }
    let body = serde_json::to_string(&promises).expect("evidence holds only integers");
    Ok(Counted { body, events })
}

fn tiers() -> impl Iterator<Item = Tier> {
    (0..Tier::COUNT as u8).filter_map(|level| Tier::new(level).ok())
}
