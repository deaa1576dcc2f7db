//! Does the promise hold? Settled windows speak, after each of them one may ask, and the limits follow by themselves.
//!
//! ```text
//! window settles ─► loss x in [0, 1] ─► E of its tier ─► E ≥ 1/δ: alarm ─► granted share halves, E begins anew
//!                                                                           nothing raises it but a new model
//! ```
//!
//! The certificate promises that in a tier a window's expected loss is at most α, whatever happened before. Against that,
//! a gambler who starts with 1 and stakes λ on every window has `Π(1 + λ(x − α))`, which nobody can expect to grow while
//! the promise holds; the average over several λ is such a game again. By Ville's inequality it ever reaches 1/δ with a
//! probability of at most δ. So one may look after every window, for ever, without a correction, and an alarm is evidence
//! at any time.
//!
//! A fractional loss is counted a little short: as `x` lost windows and `1 − x` good ones. The logarithm is concave, so
//! that capital is never above the gambler's, the guarantee stands, and the whole state is two integers per tier: the
//! same in any order of windows, on any machine, to the bit.
//!
//! | true rate, α = 0.5 %, δ = 5 % | half of the alarms within | 95 % within |
//! |---|---|---|
//! | 2 α | 1,500 windows | 5,100 |
//! | 4 α | 270 | 810 |
//! | 10 α | 65 | 175 |
//!
//! Two windows of one account that overlap are one event seen twice: give each account at most one window at a time.
//! What is lost is headroom, and how low a balance fell is known at the end of the window, whichever payments came in: so
//! every window ends in its time, and none has to count as lost because it is not settled yet.
//! Accounts differ, and one that was lucky before will be again; what counts is that new accounts come in and old ones
//! take turns. A tier with a handful of accounts has no such promise, and no certificate either.
//!
//! Sources: Ville (1939); Waudby-Smith and Ramdas (2024), *Estimating means of bounded random variables by betting*;
//! Podkopaev and Ramdas (2022), *Tracking the risk of a deployed model and detecting harmful distribution shifts*.

use serde::{Deserialize, Serialize};

use crate::artifact::{Certificate, Manifest};
use crate::quantile::Ppm;
use crate::transaction::Tier;

/// A whole loss, and everything granted, in parts per million.
pub const WHOLE: u32 = 1_000_000;

/// Stakes, in multiples of the best one against twice the rate, and how the first coin is spread over them. Most of it
/// is on twice the rate; the others cost that one a factor of 1/0.35 and find what is slower or much worse.
const STAKES: [(f64, f64); 7] =
    [(0.25, 0.10), (0.5, 0.15), (1.0, 0.35), (2.0, 0.20), (4.0, 0.10), (8.0, 0.06), (16.0, 0.04)];

/// A stake takes at most this share of what a window without loss could cost: no gambler is ever broke.
const STAKE_MAX: f64 = 0.5;

/// Alarms after which nothing is granted any more: a half, a quarter, an eighth, nothing.
const ALARMS_MAX: u32 = 4;

/// Watches one model, tier by tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// Of the model that made the promise.
    model_version: u64,
    /// The promise.
    alpha: Ppm,
    /// How rare false alarms are to be, in each tier.
    delta: Ppm,
    /// By level.
    tiers: [Watch; Tier::COUNT],
}

/// What was seen of one tier since its last alarm, and what follows from all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Windows.
    pub windows: u64,
    /// Their losses, parts per million of a window.
    pub loss_ppm: u64,
    /// Alarms so far; windows before the last are not counted above.
    pub alarms: u32,
    /// Taken off by hand, parts per million.
    pub taken_ppm: u32,
}

/// The promise is broken, as far as one can tell with error probability δ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// Where.
    pub tier: Tier,
    /// Windows it took, since the last alarm.
    pub windows: u64,
    /// Their mean loss, parts per million; the promise was α.
    pub rate_ppm: u32,
    /// The evidence.
    pub e_value: f64,
    /// Share of every limit that is granted from now on, parts per million.
    pub granted_ppm: u32,
}

impl Monitor {
    /// Watches a model from its first window on.
    pub fn new(model_version: u64, alpha: Ppm, delta: Ppm) -> Self {
        Self { model_version, alpha, delta, tiers: [Watch::default(); Tier::COUNT] }
    }

    /// Watches the promise of a certificate.
    pub fn of(manifest: &Manifest, certificate: &Certificate) -> Self {
        Self::new(manifest.model_version, certificate.terms.alpha, certificate.terms.delta)
    }

    /// For a model that is installed: a newer one begins with a clean slate, any other keeps what is known.
    #[must_use]
    pub fn renewed(self, installed: Self) -> Self {
        if installed.model_version > self.model_version { installed } else { self }
    }

    /// Of the model that is watched.
    pub const fn model_version(&self) -> u64 {
        self.model_version
    }

    /// What was seen of a tier.
    pub const fn watch(&self, tier: Tier) -> &Watch {
        &self.tiers[tier.level() as usize]
    }

    /// Share of every limit of a tier that is granted, parts per million. Never rises.
    pub fn granted_ppm(&self, tier: Tier) -> u32 {
        let watch = self.watch(tier);
        let by_alarms = if watch.alarms >= ALARMS_MAX { 0 } else { WHOLE >> watch.alarms };
        by_alarms.min(WHOLE.saturating_sub(watch.taken_ppm))
    }

    /// The evidence against the promise in a tier since its last alarm: 1 says nothing, 1/δ is an alarm.
    pub fn e_value(&self, tier: Tier) -> f64 {
        let watch = self.watch(tier);
        let alpha = self.alpha.fraction();
        let lost = watch.loss_ppm as f64 / f64::from(WHOLE);
        let good = (watch.windows as f64 - lost).max(0.0);
        let capital = |(times, weight): &(f64, f64)| {
            let stake = (times / (1.0 - alpha)).min(STAKE_MAX / alpha);
            let log = lost * libm::log1p(stake * (1.0 - alpha)) + good * libm::log1p(-stake * alpha);
            weight * libm::exp(log.min(600.0))
        };
        STAKES.iter().map(capital).sum()
    }

    /// A window that has settled.
    ///
    /// * `loss_ppm`: of the window: 0 the limit was covered, 1,000,000 it was not, or how much of it was not.
    pub fn settled(&mut self, tier: Tier, loss_ppm: u32) -> Option<Alarm> {
        let watch = self.watch_mut(tier);
        watch.windows = watch.windows.saturating_add(1);
        watch.loss_ppm = watch.loss_ppm.saturating_add(u64::from(loss_ppm.min(WHOLE)));
        // Without a loss the evidence falls.
        if loss_ppm == 0 { None } else { self.alarm(tier) }
    }

    /// Lowers the share of a tier by hand, to at most this; a higher one changes nothing.
    pub fn lower(&mut self, tier: Tier, granted_ppm: u32) {
        let watch = self.watch_mut(tier);
        watch.taken_ppm = watch.taken_ppm.max(WHOLE.saturating_sub(granted_ppm));
    }

    fn alarm(&mut self, tier: Tier) -> Option<Alarm> {
        let e_value = self.e_value(tier);
        if e_value < 1.0 / self.delta.fraction() {
            return None;
        }
        let watch = self.watch_mut(tier);
        let windows = watch.windows;
        let rate_ppm = u32::try_from(watch.loss_ppm / windows.max(1)).unwrap_or(WHOLE);
        // Evidence is spent once. What is granted now is a smaller promise, and is watched from here.
        *watch = Watch { alarms: watch.alarms.saturating_add(1), taken_ppm: watch.taken_ppm, ..Watch::default() };
        Some(Alarm { tier, windows, rate_ppm, e_value, granted_ppm: self.granted_ppm(tier) })
    }

    fn watch_mut(&mut self, tier: Tier) -> &mut Watch {
        &mut self.tiers[tier.level() as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DELTA: u32 = 50_000;

    fn ppm(level: u32) -> Ppm {
        Ppm::new(level).expect("a level")
    }

    fn monitor(alpha: u32) -> Monitor {
        Monitor::new(1, ppm(alpha), ppm(DELTA))
    }

    fn tier() -> Tier {
        Tier::new(1).expect("exists")
    }

    /// SplitMix64: seeded, even, and enough for coins.
    struct Coins(u64);

    impl Coins {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// Heads, in so many of a million throws.
        fn heads(&mut self, ppm: u32) -> bool {
            ((u128::from(self.next()) * 1_000_000) >> 64) < u128::from(ppm)
        }
    }

    /// Windows to the first alarm, of at most so many.
    fn first_alarm(alpha: u32, most: u64, mut loss: impl FnMut(u64) -> u32) -> Option<u64> {
        let mut monitor = monitor(alpha);
        (0..most).find_map(|i| monitor.settled(tier(), loss(i))).map(|alarm| alarm.windows)
    }

    /// The most of `n` that a coin of probability δ shows in 9,999 of 10,000 trials.
    fn band(n: f64) -> f64 {
        let delta = f64::from(DELTA) / 1e6;
        n * delta + 3.72 * (n * delta * (1.0 - delta)).sqrt()
    }

    #[test]
    fn under_the_promise_alarms_are_as_rare_as_said_however_long_one_looks() {
        let streams = 2_000_u64;
        for alpha in [1_000, 5_000, 50_000, 300_000] {
            // Some 100 expected losses in each stream, looked at after every window.
            let windows = 100_000_000 / u64::from(alpha);
            let alarms = (0..streams)
                .filter(|s| {
                    let mut coins = Coins(s * 977 + u64::from(alpha));
                    first_alarm(alpha, windows, |_| WHOLE * u32::from(coins.heads(alpha))).is_some()
                })
                .count() as f64;
            assert!(alarms <= band(streams as f64), "alpha {alpha}: {alarms} of {streams}");
            assert!(alarms >= 0.1 * band(streams as f64), "alpha {alpha}: {alarms} alarms: it looks away");
        }
    }

    #[test]
    fn losses_that_come_in_fractions_and_in_bursts_alarm_no_more_often() {
        let (streams, alpha) = (2_000_u64, 5_000);
        let fractions = (0..streams).filter(|s| {
            let mut coins = Coins(s + 1);
            // Half a loss, twice as often: the same mean.
            first_alarm(alpha, 20_000, |_| WHOLE / 2 * u32::from(coins.heads(2 * alpha))).is_some()
        });
        assert!(fractions.count() as f64 <= band(streams as f64));
        let bursts = (0..streams).filter(|s| {
            let (mut coins, mut bad) = (Coins(s + 7), false);
            // Good times without any loss, bad times at the promised rate: the mean given the past is never above it.
            let burst = |i: u64| {
                bad = if i.is_multiple_of(500) { coins.heads(500_000) } else { bad };
                WHOLE * u32::from(bad && coins.heads(alpha))
            };
            first_alarm(alpha, 20_000, burst).is_some()
        });
        assert!(bursts.count() as f64 <= band(streams as f64));
    }

    /// The table of this module.
    #[test]
    fn a_broken_promise_is_found_within_the_stated_windows() {
        let (streams, alpha) = (1_000_u64, 5_000);
        for (times, half, most) in [(2, 1_500, 5_100), (4, 270, 810), (10, 65, 175)] {
            let mut found: Vec<u64> = (0..streams)
                .map(|s| {
                    let mut coins = Coins(s * 31 + u64::from(times));
                    first_alarm(alpha, 50_000, |_| WHOLE * u32::from(coins.heads(times * alpha))).expect("is found")
                })
                .collect();
            found.sort_unstable();
            let (median, late) = (found[streams as usize / 2], found[streams as usize * 95 / 100]);
            assert!(median <= half && late <= most, "{times} α: half within {median}, 95 % within {late}");
        }
    }

    #[test]
    fn every_alarm_halves_what_is_granted_and_the_fourth_leaves_nothing() {
        let mut monitor = monitor(5_000);
        let mut granted = Vec::new();
        for _ in 0..200 {
            granted.extend(monitor.settled(tier(), WHOLE).map(|alarm| alarm.granted_ppm));
        }
        assert_eq!(granted[..5], [500_000, 250_000, 125_000, 0, 0]);
        assert_eq!(monitor.granted_ppm(Tier::default()), WHOLE, "another tier is another promise");
    }

    #[test]
    fn a_newer_model_begins_anew_and_an_older_one_changes_nothing() {
        let mut monitor = Monitor::new(5, ppm(5_000), ppm(DELTA));
        while monitor.settled(tier(), WHOLE).is_none() {}
        let installed = |version| Monitor::new(version, ppm(10_000), ppm(DELTA));
        for older in [4, 5] {
            assert_eq!(monitor.clone().renewed(installed(older)), monitor);
        }
        assert_eq!(monitor.granted_ppm(tier()), 500_000);
        let renewed = monitor.renewed(installed(6));
        assert_eq!((renewed.granted_ppm(tier()), renewed), (WHOLE, installed(6)));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Settled(u8, u32),
        Lower(u8, u32),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let loss = prop_oneof![Just(0), Just(WHOLE), 0..=u32::MAX];
        let act = prop_oneof![
            4 => (0..4u8, loss.clone()).prop_map(|(t, x)| Act::Settled(t, x)),
            1 => (0..4u8, loss).prop_map(|(t, x)| Act::Lower(t, x)),
        ];
        proptest::collection::vec(act, 0..300)
    }

    proptest! {
        #[test]
        fn nothing_raises_what_is_granted(acts in acts(), alpha in 1..999_999u32) {
            let mut monitor = monitor(alpha);
            for act in acts {
                let before = monitor.clone();
                match act {
                    Act::Settled(t, x) => { monitor.settled(Tier::new(t).expect("exists"), x); }
                    Act::Lower(t, x) => monitor.lower(Tier::new(t).expect("exists"), x),
                }
                for t in 0..4 {
                    let tier = Tier::new(t).expect("exists");
                    prop_assert!(monitor.granted_ppm(tier) <= before.granted_ppm(tier));
                    let watch = monitor.watch(tier);
                    prop_assert!(watch.loss_ppm <= watch.windows * u64::from(WHOLE));
                    prop_assert!(monitor.e_value(tier) >= 0.0 && monitor.e_value(tier).is_finite());
                }
            }
            let text = serde_json::to_string(&monitor).expect("writes");
            prop_assert_eq!(serde_json::from_str::<Monitor>(&text).expect("reads"), monitor);
        }

        /// The bound that the two integers rest on: what they hold is never more than a gambler who saw the fractions.
        #[test]
        fn evidence_is_never_more_than_the_games_own(
            alpha in 100..900_000u32,
            losses in proptest::collection::vec(0..=WHOLE, 1..60),
        ) {
            // No alarm in between: it would begin anew.
            let mut monitor = Monitor::new(1, ppm(alpha), ppm(1));
            let mut capital = STAKES.map(|(_, weight)| weight);
            let a = f64::from(alpha) / 1e6;
            let mut alarmed = false;
            for loss in losses {
                alarmed |= monitor.settled(tier(), loss).is_some();
                for (capital, (times, _)) in capital.iter_mut().zip(STAKES) {
                    let stake = (times / (1.0 - a)).min(STAKE_MAX / a);
                    prop_assert!(1.0 - stake * a > 0.0, "never broke");
                    *capital *= 1.0 + stake * (f64::from(loss) / 1e6 - a);
                }
                let game: f64 = capital.iter().sum();
                prop_assert!(alarmed || monitor.e_value(tier()) <= game * (1.0 + 1e-9));
            }
        }

        #[test]
        // So few that no alarm comes in between: it would begin anew.
        fn evidence_does_not_depend_on_the_order(mut losses in proptest::collection::vec(0..=WHOLE, 1..24), seed in any::<u64>()) {
            let of = |losses: &[u32]| {
                let mut monitor = Monitor::new(1, ppm(400_000), ppm(1));
                losses.iter().for_each(|x| { monitor.settled(tier(), *x); });
                monitor.e_value(tier()).to_bits()
            };
            let before = of(&losses);
            let mut coins = Coins(seed);
            for i in (1..losses.len()).rev() {
                losses.swap(i, (coins.next() % (i as u64 + 1)) as usize);
            }
            prop_assert_eq!(of(&losses), before);
        }
    }
}
