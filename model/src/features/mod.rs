//! Features: one definition for training, service and device.
//!
//! ```text
//! transactions, oldest first ─► FeatureState::push ─► daily tiles + bounded head
//!                                FeatureState::snapshot(at) ─► FeatureVector [N] f32 ─► with_age(a)
//! ```
//!
//! * Money is summed in integers (`i64`, `i128`), so adding in any order is exact; each feature is turned into
//!   an `f32` once, at the end, by IEEE division, square root and `libm`'s logarithm: the same bits everywhere.
//! * Windows are local calendar days, today included: `30 d` is today so far and the 29 days before it.
//! * A snapshot sees what was pushed before it. Rows that share a timestamp are pushed after a snapshot at that
//!   timestamp, so all of them see the state before any of them.
//! * Missing is NaN, and NaN is ordered after every number: see [`crate::forest`].
//! * Memory per account is bounded: [`DAYS`] tiles, [`SPENDS`] spends, and a few recurring flows.
//!
//! The table of features, with unit, window and missing value, is [`FEATURES`]; its hash is [`schema_hash`].

mod manifest;
mod recurring;
mod state;
mod tile;

pub use manifest::{FEATURE_COUNT, FEATURES, Feature, FeatureSpec, schema_hash};
pub use state::{FeatureState, OutOfOrder, Profile};
pub use tile::{DAYS, SPENDS};

use crate::time::Age;

/// One row of model input, in the order of [`FEATURES`].
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureVector(pub [f32; FEATURE_COUNT]);

impl FeatureVector {
    /// The same features, evaluated `age` after the sync they were taken at.
    #[must_use]
    pub fn with_age(mut self, age: Age) -> Self {
        self.set_age(age);
        self
    }

    /// Sets the age in place.
    pub fn set_age(&mut self, age: Age) {
        // Ages served are far below 2²⁴ minutes (31 years), where f32 is exact.
        self.0[Feature::LastSyncAgeMin as usize] = age.0 as f32;
    }

    /// One feature's value; NaN when missing.
    pub const fn get(&self, feature: Feature) -> f32 {
        self.0[feature as usize]
    }
}
