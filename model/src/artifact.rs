//! What is signed with a model: the manifest (what it is and who may run it) and the certificate (what
//! is promised, on what data). Both travel as the `custom` object of the model's TUF target, so both
//! are integers and text only: canonical JSON has no floats.

use serde::{Deserialize, Serialize};

use crate::calibration::{GapScale, Target};
use crate::money::{Currency, Money};
use crate::quantile::Ppm;
use crate::time::{Age, UtcSeconds};
use crate::transaction::Tier;

/// The version of the objects in this module.
pub const SCHEMA: u32 = 1;
/// The engine version that this build is; a manifest names the oldest and newest that may run it.
pub const ENGINE: u32 = 1;
/// An artifact may not be larger than this (the seed's 2 MB).
pub const MODEL_BYTES_MAX: u64 = 2_000_000;

/// The `custom` object of a model's TUF target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// What the file is.
    pub manifest: Manifest,
    /// What is promised of it.
    pub certificate: Certificate,
}

/// What a model file is, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Stable name of the model line; the file in the repository is `models/<model_id>.onnx`.
    pub model_id: String,
    /// Rises with every release; also in the ONNX `model_version`.
    pub model_version: u64,
    /// Raised only when an older model must never run again.
    pub rollback_index: u64,
    /// The programme (policy) it was certified under.
    pub programme: String,
    /// What it counts in.
    pub currency: Currency,
    /// Lower-case hex SHA-256 of the feature manifest.
    pub feature_schema: String,
    /// Names of the features, in the order of the ONNX input columns.
    pub features: Vec<String>,
    /// Quantile levels, rising: one ONNX output column each.
    pub levels: Vec<Ppm>,
    /// Ages at which limits are certified, rising; an age between two is rounded up to the next.
    pub ages: Vec<Age>,
    /// Hours from evaluation to the last instant a payment may settle (`H`).
    pub window_h: u32,
    /// ai.onnx.ml operator set of the file.
    pub opset: u32,
    /// Oldest engine that may run it.
    pub engine_min: u32,
    /// Newest engine that may run it.
    pub engine_max: u32,
    /// Lower-case hex SHA-256 of the policy file it was certified under.
    pub policy_sha256: String,
    /// Lower-case hex SHA-256 of the golden vectors.
    pub golden_sha256: String,
    /// The most an account of each tier may ever be granted, whatever the model says.
    pub hard_cap_by_tier: Vec<TierCap>,
    /// When it was made.
    pub issued_at: UtcSeconds,
    /// After this it must not be used without grace.
    pub use_not_after: UtcSeconds,
    /// Days after `use_not_after` in which it may still be used.
    pub grace_days: u32,
    /// What was proved of the trees.
    pub monotone: Vec<MonotoneClaim>,
}

impl Manifest {
    /// The last instant at which the model may be used, grace included.
    pub fn usable_until(&self) -> UtcSeconds {
        self.use_not_after.plus(i64::from(self.grace_days) * crate::time::DAY)
    }

    /// The target path of the model.
    pub fn model_path(&self) -> String {
        format!("models/{}.onnx", self.model_id)
    }

    /// The target path of the policy.
    pub fn policy_path(&self) -> String {
        format!("models/{}.policy.json", self.model_id)
    }

    /// The target path of the golden vectors.
    pub fn golden_path(&self) -> String {
        format!("models/{}.golden.json", self.model_id)
    }

    /// The signed ceiling of a tier; zero for a tier the manifest does not name.
    pub fn hard_cap(&self, tier: Tier) -> Money {
        self.hard_cap_by_tier.iter().find(|c| c.tier == tier).map_or(Money::ZERO, |c| c.cap)
    }
}

/// A signed ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierCap {
    /// Of this tier.
    pub tier: Tier,
    /// Minor units.
    pub cap: Money,
}

/// A direction that was proved on the exported file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonotoneClaim {
    /// The feature.
    pub feature: String,
    /// Whether the output never falls (`true`) or never rises as the feature grows.
    pub increasing: bool,
    /// Pairs of leaves that were compared.
    pub pairs: u64,
}

/// The promise: `P(S < L) ≤ alpha` at every certified age, with confidence `1 − delta`, per tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Risk: at most this share of windows may have less headroom than the limit.
    pub alpha: Ppm,
    /// The chance that calibration was lucky.
    pub delta: Ppm,
    /// Share of `delta` spent on asking whether plain min(balance, cap) is already safe.
    pub delta_plain: Ppm,
    /// Which flows count against the limit.
    pub target: Target,
    /// Hours of the window after evaluation.
    pub window_h: u32,
    /// Ages, each of which was tested.
    pub ages: Vec<Age>,
    /// Lower-case hex SHA-256 of the calibration log, from which everything below can be derived again.
    pub calibration_sha256: String,
    /// First and last sync in it.
    pub calibration_from: UtcSeconds,
    /// See `calibration_from`.
    pub calibration_to: UtcSeconds,
    /// Lower-case hex SHA-256 of the history the model was trained, calibrated and tested on.
    pub data_sha256: String,
    /// One per tier of the programme, rising.
    pub cells: Vec<Cell>,
}

impl Certificate {
    /// The cell of a tier.
    pub fn cell(&self, tier: Tier) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.tier == tier)
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
    /// Mean over accounts of the share of violated windows, at the worst age, parts per million, rounded up.
    pub violation_ppm: u32,
    /// The smallest betting e-value over the ages, in thousandths, rounded down.
    pub e_value_milli: u64,
    /// What it did on accounts and times that took no part in training or calibration.
    pub test: Option<Tested>,
}

/// How a limit is computed in a cell, before caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rule {
    /// `min(balance, cap)`: the simplest rule, where it keeps the promise.
    Balance,
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

/// Realised on the test split, at the worst certified age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tested {
    /// Accounts.
    pub accounts: u32,
    /// Windows.
    pub windows: u32,
    /// Mean over accounts of the share of violated windows, parts per million.
    pub violation_ppm: u32,
    /// 95 % interval of that mean: lower end (betting confidence sequence at fixed n).
    pub low_ppm: u32,
    /// Upper end.
    pub high_ppm: u32,
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Lower-case hex SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex(&sha2::Sha256::digest(bytes))
}
