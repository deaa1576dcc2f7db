//! What is signed with a model: the manifest (what it is and who may run it) and the certificate (what
//! is promised, on what data). Both travel as the `custom` object of the model's TUF target, so both
//! are integers and text only: canonical JSON has no floats.

use serde::{Deserialize, Serialize};

use crate::money::{Currency, Money};
use crate::quantile::Ppm;
use crate::time::{Age, UtcSeconds};
use crate::transaction::Tier;

pub use crate::certificate::{
    Band, Basis, Cell, Certificate, Compared, Expected, Objective, Rule, Span, Terms, Tested, TierTerms,
};

/// The version of the objects in this module.
pub const SCHEMA: u32 = 2;
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

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Lower-case hex SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex(&sha2::Sha256::digest(bytes))
}
