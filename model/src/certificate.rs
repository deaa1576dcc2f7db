//! The certificate: what is promised of a model, to whom, on what evidence, and what it is expected to do.
//!
//! ```text
//! terms (what was asked) + calibration log ─► cells (what came of it, per tier) ─► limits of use
//! ```
//!
//! Everything in it follows from the calibration log alone, whose first line holds the terms; so whoever has the log
//! can derive it again and compare number by number. Integers and text only: canonical JSON has no floats.

use serde::{Deserialize, Serialize};

use crate::calibration::{GapScale, Stake, Target};
use crate::money::Money;
use crate::quantile::Ppm;
use crate::time::{Age, UtcSeconds};
use crate::transaction::Tier;

/// The promise: with confidence `1 − delta`, in each certified tier and at each age, `P(S < L) ≤ alpha` and
/// `E[(L − S)⁺] ≤ beta`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// [`crate::artifact::SCHEMA`].
    pub schema: u32,
    /// What was asked.
    #[serde(flatten)]
    pub terms: Terms,
    /// Lower-case hex Merkle root over the lines of the calibration log, from which all this can be derived again.
    pub calibration_root: String,
    /// Lines of it after the first.
    pub calibration_rows: u32,
    /// First and last sync in its calibration part.
    pub calibration_from: UtcSeconds,
    /// See `calibration_from`.
    pub calibration_to: UtcSeconds,
    /// One per tier of the programme, rising.
    pub cells: Vec<Cell>,
    /// What the promise does not cover.
    pub limits_of_use: Vec<String>,
}

impl Certificate {
    /// The cell of a tier.
    pub fn cell(&self, tier: Tier) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.tier == tier)
    }
}

/// What was asked, before any calibration row was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Risk: at most this share of an account's windows may have less headroom than the limit.
    pub alpha: Ppm,
    /// Risk in money: at most this share of the tier's cap may be missing from a window, on average.
    pub beta: Ppm,
    /// The chance that calibration was lucky, over all `tries`.
    pub delta: Ppm,
    /// Certifications planned on these calibration accounts; each has `delta / tries`.
    pub tries: u32,
    /// Which flows count against the limit.
    pub target: Target,
    /// Hours of the window after evaluation.
    pub window_h: u32,
    /// Ages, each of which was tested.
    pub ages: Vec<Age>,
    /// Quantile levels of the model, rising.
    pub levels: Vec<Ppm>,
    /// Into how many balance bands each tier is parted at most, where it has accounts enough; the promise holds in each.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub bands: u32,
    /// What is wanted of a limit that keeps the promise.
    pub objective: Objective,
    /// The programme's tiers, rising.
    pub tiers: Vec<TierTerms>,
    /// Lower-case hex SHA-256 of the model file.
    pub model_sha256: String,
    /// Of the policy.
    pub policy_sha256: String,
    /// Of the list of features.
    pub feature_schema: String,
    /// Of the history the model was trained, calibrated and tested on.
    pub data_sha256: String,
}

impl Terms {
    /// A promise about no model in particular, in no tier.
    pub fn new(alpha: Ppm, delta: Ppm, target: Target, window_h: u32, ages: Vec<Age>) -> Self {
        Self {
            alpha,
            beta: alpha,
            delta,
            tries: 1,
            target,
            window_h,
            ages,
            levels: Vec::new(),
            bands: whole(),
            objective: Objective::default(),
            tiers: Vec::new(),
            model_sha256: String::new(),
            policy_sha256: String::new(),
            feature_schema: String::new(),
            data_sha256: String::new(),
        }
    }

    /// The chance of being wrong that one certification may take.
    pub fn delta_each(&self) -> f64 {
        self.delta.fraction() / f64::from(self.tries.max(1))
    }
}

/// One band: the tier as a whole. It is not written, as it was not before there were bands.
const fn whole() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_whole(bands: &u32) -> bool {
    *bands == whole()
}

/// What is wanted of limits that keep the promise: the weighted mean of three shares decides between rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objective {
    /// Weight of the share of demand that fits under the limit, thousandths.
    pub served_milli: u32,
    /// Weight of the share of accounts with a useful limit, thousandths.
    pub useful_milli: u32,
    /// Weight of the limit as a share of min(balance, cap), thousandths.
    pub limit_milli: u32,
    /// A limit is useful from this share of min(balance, cap) on, thousandths.
    pub useful_from_milli: u32,
    /// A simpler rule is preferred when it does this little worse, thousandths.
    pub simpler_within_milli: u32,
}

impl Default for Objective {
    fn default() -> Self {
        Self { served_milli: 500, useful_milli: 300, limit_milli: 200, useful_from_milli: 100, simpler_within_milli: 5 }
    }
}

/// What the programme says of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierTerms {
    /// Which.
    pub tier: Tier,
    /// The most one sync can grant; none where the programme has no cap, and then there is no promise in money.
    pub cap: Option<Money>,
    /// What is granted where nothing certifies.
    pub fallback: Money,
}

impl TierTerms {
    /// What the promise in money comes to, rounded up; none without a cap.
    pub fn beta(&self, beta: Ppm) -> Option<Money> {
        let minor = |cap: Money| (u128::from(cap.minor()) * u128::from(beta.get())).div_ceil(1_000_000) as u64;
        self.cap.filter(|cap| *cap > Money::ZERO).map(|cap| Money::from_minor(minor(cap)).unwrap_or(cap))
    }
}

/// The operating point of one tier and how it was come by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The group.
    pub tier: Tier,
    /// How its limit is computed.
    pub rule: Rule,
    /// On what ground.
    pub basis: Basis,
    /// Accounts of this tier in the calibration set.
    pub accounts: u32,
    /// Windows (sync points) of those accounts.
    pub windows: u32,
    /// The smallest alpha that so many accounts could certify at all, parts per million.
    pub alpha_min_ppm: u32,
    /// Accounts that certifying `alpha` takes when none of them violates.
    pub accounts_needed: u32,
    /// The share of the capital that was bet on each account, thousandths; chosen beforehand, with the rule.
    #[serde(default)]
    pub stake_milli: Stake,
    /// Mean over accounts of the share of violated windows, at the worst age, parts per million, rounded up.
    pub violation_ppm: u32,
    /// The smallest betting e-value over the ages, in thousandths, rounded down.
    pub e_value_milli: u64,
    /// The promise in money; none without a cap.
    pub beta: Option<Money>,
    /// Mean over accounts of what was missing, at the worst age, thousandths of a minor unit, rounded up.
    pub missing_milli: u64,
    /// The smallest e-value of the promise in money over the ages, in thousandths, rounded down.
    pub money_e_value_milli: Option<u64>,
    /// Its balance bands, rising, in each of which the promise was tested by itself; none where it was tested as a whole
    /// only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<Band>,
    /// What it did on accounts and times that took no part in training or calibration.
    pub test: Option<Tested>,
    /// Every rule that was tried, each certified as if it were the only one, simplest first.
    pub compared: Vec<Compared>,
}

impl Cell {
    /// A cell without evidence.
    pub const fn new(tier: Tier, rule: Rule, basis: Basis) -> Self {
        Self {
            tier,
            rule,
            basis,
            accounts: 0,
            windows: 0,
            alpha_min_ppm: 1_000_000,
            accounts_needed: 0,
            stake_milli: Stake::MOST,
            violation_ppm: 0,
            e_value_milli: 0,
            beta: None,
            missing_milli: 0,
            money_e_value_milli: None,
            bands: Vec::new(),
            test: None,
            compared: Vec::new(),
        }
    }
}

/// Evidence that the promise holds among a cell's balances from one amount up to the next band's. The rule is the cell's:
/// with one of its own for each band, a limit could fall when money comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Band {
    /// The smallest balance, minor units.
    pub from: Money,
    /// Calibration accounts with a window in it.
    pub accounts: u32,
    /// Their windows in it.
    pub windows: u32,
    /// As in [`Cell`].
    pub violation_ppm: u32,
    /// As in [`Cell`].
    pub e_value_milli: u64,
    /// As in [`Cell`].
    pub missing_milli: u64,
    /// As in [`Cell`].
    pub money_e_value_milli: Option<u64>,
    /// As in [`Cell`].
    pub test: Option<Tested>,
}

/// How a limit is computed in a cell, before caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rule {
    /// `min(balance, cap)`: the simplest rule, where it keeps the promise.
    Balance,
    /// A fixed share of the balance.
    Share {
        /// In steps of 2⁻²⁰.
        steps: u32,
    },
    /// The forest's quantile with a calibrated gap scale.
    Gap {
        /// Which quantile.
        level: Ppm,
        /// The calibrated scalar.
        scale: GapScale,
    },
    /// Nothing certifies: the programme's fallback amount.
    Fallback {
        /// Minor units.
        amount: Money,
    },
}

impl Rule {
    /// The limit on a balance before caps, minor units, rounded down.
    ///
    /// * `levels`, `steps`: the forest's uncrossed outputs and the level of each. A level that is not among them grants
    ///   nothing.
    pub fn limit(self, balance: Money, levels: &[Ppm], steps: &[i32]) -> Money {
        match self {
            Self::Balance => balance,
            Self::Share { steps } => balance.scale_steps(steps).min(balance),
            Self::Gap { level, scale } => {
                let column = levels.iter().position(|l| *l == level);
                let steps = column.and_then(|c| steps.get(c)).copied().unwrap_or(0);
                scale.limit(balance, steps)
            }
            Self::Fallback { amount } => amount.min(balance),
        }
    }
}

/// On what ground a cell stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Its own accounts passed the test.
    Certified,
    /// Too few accounts: the more conservative of the pooled point and the next lower tier. No promise of its own.
    Borrowed,
    /// The programme's fallback.
    Fallback,
}

/// A rule that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// Its name: `share`, `history`, `gap 1 %`.
    pub name: String,
    /// How far up its sequence the promise held; none when not even the first step certified.
    pub reached: Option<u32>,
    /// Steps of the sequence.
    pub of: u32,
    /// What was expected of it before calibration, on accounts set aside for choosing; thousandths of the best possible.
    pub promising_milli: u32,
    /// What its certified limit did on the test split.
    pub test: Option<Expected>,
}

/// Realised on the test split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// Accounts.
    pub accounts: u32,
    /// Windows.
    pub windows: u32,
    /// Mean over accounts of the share of violated windows at the worst certified age, parts per million.
    pub violation_ppm: u32,
    /// 95 % interval of that mean: lower end (betting confidence sequence at fixed n).
    pub low_ppm: u32,
    /// Upper end.
    pub high_ppm: u32,
    /// What else, over all ages.
    #[serde(flatten)]
    pub expected: Expected,
    /// 95 % intervals of those, accounts resampled.
    pub intervals: Span,
}

/// What limits did for people, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// Mean limit, minor units.
    pub mean_limit: Money,
    /// Share of demand under the limit, parts per million.
    pub served_ppm: u32,
    /// Share of accounts with a useful limit, parts per million.
    pub useful_ppm: u32,
    /// Share of limits that are zero, parts per million.
    pub zero_ppm: u32,
    /// Missing on average when the whole limit is spent, thousandths of a minor unit, rounded up.
    pub missing_milli: u64,
}

/// Lower and upper ends of [`Expected`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Lower ends.
    pub low: Expected,
    /// Upper ends.
    pub high: Expected,
}
