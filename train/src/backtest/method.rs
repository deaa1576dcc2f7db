//! The methods: each a sequence of limits from nothing upwards.

use plimsoll_model::artifact::Terms;
use plimsoll_model::calibration::GapScale;
use plimsoll_model::features::{FEATURE_COUNT, Feature};
use plimsoll_model::forest::ONE;
use plimsoll_model::money::Money;
use plimsoll_model::time::Age;

use super::{Row, ladder};

/// A way of setting limits with one scalar, a step of its sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// The whole balance: no scalar.
    Full,
    /// `S` itself: what hindsight would grant.
    Oracle,
    /// The same amount for everyone.
    Flat,
    /// A share of the balance.
    Share,
    /// The account's own history of falls, scaled.
    History,
    /// The seed system's hand-written formula, scaled.
    Formula,
    /// Our forest's gap at a level.
    Gap {
        /// By index.
        level: usize,
        /// Its name.
        name: String,
    },
    /// Our ladder: the rung whose worth less λ times its risk is greatest, λ falling.
    Ladder,
    /// Another's quantile, shifted: split conformal.
    Peer {
        /// By index.
        ix: usize,
        /// Its name.
        name: String,
    },
}

/// Steps of a share or a shift.
const STEPS: u32 = 400;
/// Amounts rise by 3 % a step from one major unit.
const AMOUNTS: u32 = 700;

impl Method {
    /// Every method, and the ladder if asked for.
    pub fn all(terms: &Terms, peers: &[String], ladder: bool) -> Vec<Self> {
        let gap = |(level, ppm): (usize, &plimsoll_model::quantile::Ppm)| Self::Gap {
            level,
            name: format!("ours, gap {ppm}"),
        };
        let peer = |(ix, name): (usize, &String)| Self::Peer { ix, name: format!("{name}, split conformal") };
        [Self::Full, Self::Oracle, Self::Flat, Self::Share, Self::History, Self::Formula]
            .into_iter()
            .chain(peers.iter().enumerate().map(peer))
            .chain(ladder.then_some(Self::Ladder))
            .chain(terms.levels.iter().enumerate().map(gap))
            .collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Full => "full balance",
            Self::Oracle => "oracle",
            Self::Flat => "flat cap",
            Self::Share => "fixed fraction",
            Self::History => "account history",
            Self::Formula => "the seed's formula",
            Self::Ladder => "ours, ladder",
            Self::Gap { name, .. } | Self::Peer { name, .. } => name,
        }
    }

    /// Whether it has no scalar.
    pub const fn is_fixed(&self) -> bool {
        matches!(self, Self::Full | Self::Oracle)
    }

    /// Steps of its sequence.
    pub fn candidates(&self) -> u32 {
        match self {
            Self::Full | Self::Oracle => 1,
            Self::Flat | Self::Formula => AMOUNTS,
            Self::Share => STEPS + 1,
            Self::Ladder => ladder::PRICES,
            Self::Peer { .. } => 2 * STEPS + 1,
            Self::History | Self::Gap { .. } => scales().len() as u32,
        }
    }

    /// The limit at a step of the sequence.
    pub(crate) fn limit(&self, step: u32, row: &Row, age: usize) -> Money {
        let w = &row.scored;
        let share = |share: f64| w.balance.scale_steps((share.clamp(0.0, 1.0) * f64::from(ONE)) as u32);
        match self {
            Self::Full => w.balance,
            Self::Oracle => w.headroom[age],
            Self::Flat => Money::floor_at_zero(amount(step) as i64).min(w.balance),
            Self::Share => share(f64::from(step) / f64::from(STEPS)),
            Self::History => scales()[step as usize].limit(w.balance, w.history),
            Self::Formula => {
                let scaled = row.formula[age] as f64 * amount(step) / 1e4;
                Money::floor_at_zero(scaled.min(1e15) as i64).min(w.balance)
            }
            Self::Gap { level, .. } => {
                scales()[step as usize].limit(w.balance, w.steps[level * w.headroom.len() + age])
            }
            Self::Ladder => w.balance.scale_steps(row.ladder[age].share(step)),
            Self::Peer { ix, .. } => {
                share(f64::from(row.peers[*ix][age]) + (f64::from(step) - f64::from(STEPS)) / f64::from(STEPS))
            }
        }
    }
}

fn amount(step: u32) -> f64 {
    if step == 0 { 0.0 } else { 100.0 * 1.03f64.powi(step as i32 - 1) }
}

fn scales() -> &'static [GapScale] {
    static SCALES: std::sync::LazyLock<Vec<GapScale>> = std::sync::LazyLock::new(GapScale::sequence);
    &SCALES
}

/// The formula that ran in the seed system, before its clamps, in minor units. Where it has no value for a feature, ours
/// is missing too and counts as 0.
///
/// Source: `credit_scorer.dart` of the seed: `52.58 + 8·n(tx_count_30d, 90) + 24·n(settle rate, 1) + 16·n(account age, 720)
/// + 10·n(tier, 2) + 8·n(offline count, 36) + (attested ? 6 : −20) − 0.35·min(age, 60 min) − 0.08·max(p95 − 60, 0)`.
pub(super) fn formula(features: &[f32; FEATURE_COUNT], age: Age) -> u64 {
    let f = |feature: Feature| Some(f64::from(features[feature as usize])).filter(|v| !v.is_nan()).unwrap_or(0.0);
    let n = |value: f64, most: f64| (value / most).clamp(0.0, 1.0);
    let attested = if f(Feature::DeviceAttestOk) > 0.5 { 6.0 } else { -20.0 };
    let raw = 52.58
        + 8.0 * n(f(Feature::TxCount30d), 90.0)
        + 24.0 * n(f(Feature::PriorOfflineSettleRate), 1.0)
        + 16.0 * n(f(Feature::AccountAgeDays), 720.0)
        + 10.0 * n(f(Feature::KycTier), 2.0)
        + 8.0 * n(f(Feature::PriorOfflineCount), 36.0)
        + attested
        - 0.35 * f64::from(age.0.min(60))
        - 0.08 * (f(Feature::TxAmountP9530d) - 60.0).max(0.0);
    (raw.max(0.0) * 100.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed's demo profile, as its documents compute it.
    #[test]
    fn the_formula_gives_what_the_seed_gives() {
        let mut features = [0.0; FEATURE_COUNT];
        for (feature, value) in [
            (Feature::TxCount30d, 78.0),
            (Feature::TxAmountP9530d, 62.0),
            (Feature::PriorOfflineCount, 22.0),
            (Feature::PriorOfflineSettleRate, 0.99),
            (Feature::AccountAgeDays, 780.0),
            (Feature::KycTier, 2.0),
            (Feature::DeviceAttestOk, 1.0),
        ] {
            features[feature as usize] = value;
        }
        assert_eq!(
            [0, 12, 30, 60, 600].map(|age| formula(&features, Age(age))),
            [12_000, 11_580, 10_950, 9_900, 9_900]
        );
    }
}
