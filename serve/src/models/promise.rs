//! Windows that have settled speak for or against the promise of the release that decided them.
//!
//! Evidence is counted by each replica for what settles with it and kept in its archive; the share that is granted
//! travels with the rollout, where it only falls, so one replica's alarm lowers the grants of all.

use plimsoll_model::Tier;
use plimsoll_model::monitor::{Alarm, Monitor, Overdue};

use super::{Digest, Models, State};

impl Models {
    /// A window that a release decided has settled.
    ///
    /// * `loss_ppm`: 0 the limit was covered, 1,000,000 it was not, or how much of it was not;
    /// * returns the alarm, when this window gave it: what is granted in the tier has been lowered.
    pub fn settled(&self, release: &Digest, tier: Tier, loss_ppm: u32) -> Option<Alarm> {
        let mut state = self.state();
        let alarm = state.monitor(release)?.settled(tier, loss_ppm);
        self.heed(&mut state, release, tier, alarm)
    }

    /// A window's time to settle is over and something of it has not settled: it counts as lost until it has.
    ///
    /// * returns what to hand to [`Models::resolved`] once it has settled; `None` for a release that is not in use.
    pub fn overdue(&self, release: &Digest, tier: Tier) -> Option<(Overdue, Option<Alarm>)> {
        let mut state = self.state();
        let (overdue, alarm) = state.monitor(release)?.overdue(tier);
        Some((overdue, self.heed(&mut state, release, tier, alarm)))
    }

    /// An overdue window has settled after all.
    pub fn resolved(&self, release: &Digest, overdue: Overdue, loss_ppm: u32) {
        let mut state = self.state();
        if let Some(monitor) = state.monitor(release) {
            monitor.resolved(overdue, loss_ppm);
            state.unsaved = true;
        }
    }

    /// Lowers the share of a tier that a release grants, by hand and for as long as it decides; a higher one changes
    /// nothing.
    pub fn lower(&self, release: &Digest, tier: Tier, granted_ppm: u32) {
        let mut state = self.state();
        if let Some(monitor) = state.monitor(release) {
            monitor.lower(tier, granted_ppm);
            let granted_ppm = monitor.granted_ppm(tier);
            state.rollout.lower(release, tier, granted_ppm);
            self.put_in_place(&mut state);
        }
    }

    /// What was seen of a release's promise here.
    pub fn monitor(&self, release: &Digest) -> Option<Monitor> {
        self.state().monitor(release).cloned()
    }

    fn heed(&self, state: &mut State, release: &Digest, tier: Tier, alarm: Option<Alarm>) -> Option<Alarm> {
        state.unsaved = true;
        let alarm = alarm?;
        let (windows, rate_ppm, granted_ppm) = (alarm.windows, alarm.rate_ppm, alarm.granted_ppm);
        tracing::warn!(tier = tier.level(), windows, rate_ppm, granted_ppm, "the promise of a release does not hold");
        state.rollout.lower(release, tier, granted_ppm);
        self.put_in_place(state);
        Some(alarm)
    }
}

impl State {
    /// The watch over a release that is in use, or was.
    fn monitor(&mut self, release: &Digest) -> Option<&mut Monitor> {
        if !self.monitors.contains_key(release) {
            let evaluator = self.loaded.get(release)?.evaluator()?;
            let monitor = Monitor::of(evaluator.manifest(), evaluator.certificate());
            self.monitors.insert(*release, monitor);
        }
        self.monitors.get_mut(release)
    }
}
