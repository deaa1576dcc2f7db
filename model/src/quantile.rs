//! Probability levels as integers: parts per million, so that a signed statement holds no float.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A probability strictly between 0 and 1, in parts per million; `5_000` is 0.5 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Ppm(u32); // invariant: 0 < level < 1_000_000

impl Ppm {
    /// A level of `ppm` parts per million.
    ///
    /// # Errors
    /// `BadLevel` for 0 and for one million or more.
    pub const fn new(ppm: u32) -> Result<Self, BadLevel> {
        if ppm > 0 && ppm < 1_000_000 { Ok(Self(ppm)) } else { Err(BadLevel { ppm }) }
    }

    /// Parts per million.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// As a fraction of one.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl TryFrom<u32> for Ppm {
    type Error = BadLevel;
    fn try_from(ppm: u32) -> Result<Self, BadLevel> {
        Self::new(ppm)
    }
}

impl From<Ppm> for u32 {
    fn from(level: Ppm) -> u32 {
        level.0
    }
}

impl fmt::Display for Ppm {
    /// As a percentage: `0.5 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 1e4)
    }
}

/// A level that leaves nothing to chance, or nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ppm} parts per million is not strictly between 0 and 1,000,000")]
pub struct BadLevel {
    /// What was given.
    pub ppm: u32,
}

/// The exact lower `level` quantile of `values`: the smallest value with at least `level · n` values at or
/// below it. Reorders `values`.
///
/// # Panics
/// On an empty slice: a leaf without rows is a bug of the grower.
pub fn lower_quantile(values: &mut [i32], level: f64) -> i32 {
    assert!(!values.is_empty(), "a quantile needs at least one value");
    let rank = ((values.len() as f64 * level).ceil() as usize).clamp(1, values.len()) - 1;
    *values.select_nth_unstable(rank).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_the_one_a_sorted_list_shows() {
        let mut v: Vec<i32> = (1..=100).rev().collect();
        assert_eq!(lower_quantile(&mut v, 0.05), 5);
        assert_eq!(lower_quantile(&mut v, 0.5), 50);
        assert_eq!(lower_quantile(&mut v, 0.999), 100);
        assert_eq!(lower_quantile(&mut [7], 0.01), 7);
    }
}
