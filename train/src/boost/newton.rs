//! What squared error and logistic loss share: integer gradients and curvatures, and leaves by Newton's step.

use plimsoll_model::forest::ONE;

use super::grow::{OUTPUTS, Steps};
use super::histogram::Pair;

/// What the integers of a round mean.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scale {
    /// Of one in the high half.
    pub(super) gradient: f64,
    /// Of one in the low half.
    pub(super) curvature: f64,
    pub(super) l2: f64,
}

impl Scale {
    /// Twice what a leaf of these rows takes from the loss.
    #[inline]
    pub(super) fn score(&self, sum: Pair) -> f64 {
        let gradient = f64::from(sum.high()) * self.gradient;
        gradient * gradient / (f64::from(sum.low()) * self.curvature + self.l2)
    }

    /// Newton's step.
    pub(super) fn pull(&self, sum: Pair) -> f64 {
        -f64::from(sum.high()) * self.gradient / (f64::from(sum.low()) * self.curvature + self.l2)
    }
}

/// A step of one output, `value` being a fraction of one.
pub(super) fn steps(value: f64) -> Steps {
    let mut steps = [0; OUTPUTS];
    // A float beyond an integer's range becomes its end, and NaN (no rows) becomes 0.
    steps[0] = (value * f64::from(ONE)).round() as i32;
    steps
}

/// Bits that [`rounded`] drops.
pub(super) const DROPPED: u32 = 44;

/// `value / 2⁴⁴`, rounded up or down so that it is right on average: the gradients of similar rows, all rounded the same
/// way, would add up to something else. `dither` is uniform.
#[inline]
pub(super) const fn rounded(value: i64, dither: u64) -> i64 {
    (value + (dither >> (64 - DROPPED)) as i64) >> DROPPED
}
