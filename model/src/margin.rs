//! The margin: certified limits follow settlements day by day, between nothing and what was certified.
//!
//! ```text
//! window settles ─► loss x in [0, 1] ─► kept share of its tier: k ← min(k + γ(α − x), 1) ─► limit × k
//! ```
//!
//! Whatever happens, however it drifts and whoever plays against it: over `T` settled windows the mean loss is at most
//! `α + (1 + γ) / (γ T)`, so long as a limit of nothing loses nothing. That is a statement about the long run and not
//! about any one day; the certificate is the other way round, and both hold at once, for a margin only lowers.
//! [`crate::monitor`] asks whether the promise is broken, and what it takes stays taken; a margin gives back.
//!
//! Labels come late. Only settled windows move the margin, and one that is overdue counts as lost; `d` windows under way
//! add at most `d / T` to the bound. Integers throughout: the same on any machine, to the bit.
//!
//! Sources: Gibbs and Candès (2021), *Adaptive conformal inference under distribution shift*; Lekeufack et al. (2023),
//! *Conformal decision theory*, theorem 1.

use serde::{Deserialize, Serialize};

use crate::monitor::WHOLE;
use crate::quantile::Ppm;
use crate::transaction::Tier;

/// Everything is kept: 1 in the unit of the state, millionths of parts per million.
const ALL: i64 = WHOLE as i64 * WHOLE as i64;

/// How much of certified limits is granted, tier by tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Margin {
    /// The rate it steers to.
    alpha: Ppm,
    /// How far one lost window moves it.
    gain: Ppm,
    /// Given up, by level, in 10⁻¹²: nothing at first.
    given_up: [u64; Tier::COUNT],
}

impl Margin {
    /// Grants what is certified until windows say otherwise.
    ///
    /// * `gain`: what one lost window takes, as a share of the certified limit; 2 % follows drift within some 50 losses.
    pub const fn new(alpha: Ppm, gain: Ppm) -> Self {
        Self { alpha, gain, given_up: [0; Tier::COUNT] }
    }

    /// The same, moved by another gain from now on.
    #[must_use]
    pub const fn with_gain(self, gain: Ppm) -> Self {
        Self { gain, ..self }
    }

    /// Share of every certified limit of a tier that is granted, parts per million, rounded down.
    pub const fn granted_ppm(&self, tier: Tier) -> u32 {
        let left = ALL - self.given_up_of(tier);
        if left > 0 { (left / WHOLE as i64) as u32 } else { 0 }
    }

    /// A window that has settled, or is overdue and counts as lost.
    ///
    /// * `loss_ppm`: 0 its limit was covered, 1,000,000 it was not, or how much of it was not.
    pub fn settled(&mut self, tier: Tier, loss_ppm: u32) {
        let step = i64::from(self.gain.get()) * (i64::from(loss_ppm.min(WHOLE)) - i64::from(self.alpha.get()));
        let next = (self.given_up_of(tier) + step).clamp(0, self.most());
        self.given_up[tier.level() as usize] = next as u64;
    }

    /// Never beyond everything, whatever a file says.
    const fn given_up_of(&self, tier: Tier) -> i64 {
        let given_up = self.given_up[tier.level() as usize];
        if given_up > self.most() as u64 { self.most() } else { given_up as i64 }
    }

    /// One loss beyond everything: cut off at everything, losses on the last crumb of a limit would cost nothing, and the
    /// bound would not hold.
    const fn most(&self) -> i64 {
        ALL + self.gain.get() as i64 * WHOLE as i64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ppm(value: u32) -> Ppm {
        Ppm::new(value).expect("a level")
    }

    fn tier() -> Tier {
        Tier::new(1).expect("exists")
    }

    #[test]
    fn a_lost_window_takes_the_gain_and_good_ones_give_it_back_at_the_promised_rate() {
        let mut margin = Margin::new(ppm(10_000), ppm(20_000));
        margin.settled(tier(), 0);
        assert_eq!(margin.granted_ppm(tier()), WHOLE, "never above what is certified");
        margin.settled(tier(), WHOLE);
        assert_eq!(margin.granted_ppm(tier()), WHOLE - 19_800);
        assert_eq!(margin.granted_ppm(Tier::default()), WHOLE, "another tier is another promise");
        (0..99).for_each(|_| margin.settled(tier(), 0));
        assert_eq!(margin.granted_ppm(tier()), WHOLE, "one in a hundred is what was promised");
    }

    #[test]
    fn it_steers_to_the_promised_rate_after_a_drift() {
        // A window is lost when more is granted than it can bear; from the middle on, most can bear little.
        let (alpha, windows) = (0.01, 40_000u64);
        let mut margin = Margin::new(ppm(10_000), ppm(20_000));
        let (mut lost_late, mut state) = (0u64, 7u64);
        for i in 0..windows {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let luck = (state >> 44) as u32 % WHOLE;
            let bears = if i < windows / 2 { WHOLE } else { luck };
            let lost = margin.granted_ppm(tier()) > bears;
            lost_late += u64::from(lost && i >= windows / 2);
            margin.settled(tier(), WHOLE * u32::from(lost));
        }
        let rate = lost_late as f64 / (windows / 2) as f64;
        let bound = alpha + 1.02 / (0.02 * (windows / 2) as f64);
        assert!((0.5 * alpha..=bound).contains(&rate), "{rate} of at most {bound}");
        assert!(margin.granted_ppm(tier()) < WHOLE / 4, "what is safe now is little: {}", margin.granted_ppm(tier()));
    }

    proptest! {
        /// The theorem, against anyone: each window is lost exactly when more is granted than the adversary lets it bear.
        #[test]
        fn the_long_run_loss_is_bounded_whatever_happens(
            alpha in 1_000..300_000u32,
            gain in 5_000..500_000u32,
            bears in proptest::collection::vec(0..=WHOLE, 1..2_000),
        ) {
            let mut margin = Margin::new(ppm(alpha), ppm(gain));
            let mut lost = 0u64;
            for bears in &bears {
                let loss = u32::from(margin.granted_ppm(tier()) > *bears);
                lost += u64::from(loss);
                margin.settled(tier(), loss * WHOLE);
                prop_assert!(margin.granted_ppm(tier()) <= WHOLE);
            }
            let (t, a, g) = (bears.len() as f64, f64::from(alpha) / 1e6, f64::from(gain) / 1e6);
            prop_assert!(lost as f64 / t <= a + (1.0 + g) / (g * t) + 1e-9, "{lost} of {t}");
            let text = serde_json::to_string(&margin).expect("writes");
            prop_assert_eq!(serde_json::from_str::<Margin>(&text).expect("reads"), margin);
        }
    }
}
