//! How much each row counts, as integers.

use plimsoll_model::quantile::{Ppm, lower_quantile};

use super::FitError;

/// Largest weight as an integer: ten bits.
const TOP: u32 = 1_023;

/// Weights of rows: all one, or integers up to ten bits, of which fewer are kept beyond two million rows so that sums
/// stay within 31.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    integers: Option<Vec<u16>>,
}

impl Weights {
    pub(super) fn of(weights: Option<&[f32]>, rows: usize) -> Result<Self, FitError> {
        let Some(weights) = weights else { return Ok(Self { integers: None }) };
        if weights.len() != rows {
            return Err(FitError::WeightCount { weights: weights.len(), rows });
        }
        if let Some(row) = weights.iter().position(|w| !w.is_finite() || *w < 0.0) {
            return Err(FitError::Weight { row });
        }
        let largest = weights.iter().copied().fold(0.0f32, f32::max);
        if largest == 0.0 {
            return Err(FitError::NoWeight);
        }
        let top = TOP.min(room(rows)) as f32;
        Ok(Self { integers: Some(weights.iter().map(|w| (w / largest * top).round() as u16).collect()) })
    }

    pub(super) const fn are_equal(&self) -> bool {
        self.integers.is_none()
    }

    #[inline]
    pub(super) fn of_row(&self, row: u32) -> u16 {
        self.integers.as_ref().map_or(1, |w| w[row as usize])
    }

    /// Of all rows.
    pub(super) fn total(&self, rows: usize) -> u64 {
        self.integers.as_ref().map_or(rows as u64, |w| w.iter().map(|w| u64::from(*w)).sum())
    }

    /// The largest weight.
    pub(super) fn heaviest(&self) -> u16 {
        self.integers.as_ref().map_or(1, |w| w.iter().copied().max().unwrap_or(1)).max(1)
    }

    /// The weight that stands for `rows` rows among `of` rows which weigh `sum` together.
    pub(super) fn size_of(&self, rows: u32, sum: u32, of: usize) -> u32 {
        if self.are_equal() {
            return rows;
        }
        (u64::from(rows) * u64::from(sum)).div_ceil(of.max(1) as u64).min(u64::from(u32::MAX)) as u32
    }

    /// The smallest value with at least `level` of the weight at or below it; of `(value, row)`. Reorders them.
    /// Nothing weighs nothing: 0.
    pub(super) fn lower_quantile(&self, values: &mut [(i32, u32)], level: Ppm) -> i32 {
        if values.is_empty() {
            return 0;
        }
        if self.are_equal() {
            return lower_quantile(&mut values.iter().map(|v| v.0).collect::<Vec<_>>(), level.fraction());
        }
        values.sort_unstable_by_key(|v| v.0);
        let all: u64 = values.iter().map(|v| u64::from(self.of_row(v.1))).sum();
        let mut below = 0;
        for (value, row) in values.iter() {
            below += u64::from(self.of_row(*row));
            if below > 0 && u128::from(below) * 1_000_000 >= u128::from(all) * u128::from(level.get()) {
                return *value;
            }
        }
        0
    }
}

/// The largest integer that so many rows may each add without their sum reaching 2³¹.
pub(super) const fn room(rows: usize) -> u32 {
    let most = (1usize << 31) / (rows + 1);
    if most > i16::MAX as usize { i16::MAX as u32 } else { most as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weighted_quantile_is_where_the_weight_is_reached() {
        let weights = Weights::of(Some(&[1.0, 0.0, 2.0, 1.0]), 4).expect("weights");
        let at =
            |ppm| weights.lower_quantile(&mut [(30, 0), (10, 1), (20, 2), (40, 3)], Ppm::new(ppm).expect("a level"));
        assert_eq!([at(1), at(400_000), at(600_000), at(900_000)], [20, 20, 30, 40]);
        let nothing = weights.lower_quantile(&mut [(5, 1)], Ppm::new(500_000).expect("a level"));
        assert_eq!(nothing, 0, "a row without weight says nothing");
    }

    #[test]
    fn sums_of_the_heaviest_rows_stay_within_31_bits() {
        for rows in [1, 1_000, 1 << 20, 1 << 24, (1 << 31) - 2] {
            assert!(u64::from(room(rows)) * rows as u64 <= 1 << 31);
        }
    }
}
