//! Values as small integers: at most 256 bins a feature, with thresholds that are exact `f32` values.

use ndarray::ArrayView2;
use rayon::prelude::*;

/// Rows looked at to choose thresholds.
const SAMPLE: usize = 100_000;

/// Binned rows.
#[derive(Debug)]
pub struct Bins {
    /// Row-major `[n, features]`.
    codes: Vec<u8>,
    features: usize,
    /// For each feature: ascending thresholds; bin b holds `thresholds[b−1] < x ≤ thresholds[b]`, and the last bin
    /// what no threshold reaches.
    thresholds: Vec<Vec<f32>>,
}

impl Bins {
    /// Bins `rows` into at most `most` + 1 bins a feature. A threshold lies between two neighbouring values that occur,
    /// at the number with the fewest digits there ([`shortest`]); where values are missing there is `f32::MAX` above all
    /// of them, so that missing is a bin of its own.
    pub fn of(rows: ArrayView2<'_, f32>, most: usize) -> Self {
        let (n, features) = rows.dim();
        let stride = n.div_ceil(SAMPLE).max(1);
        let thresholds: Vec<Vec<f32>> = (0..features)
            .into_par_iter()
            .map(|f| thresholds(rows.column(f).iter().copied().step_by(stride).collect(), most))
            .collect();
        let mut codes = vec![0u8; n * features];
        codes.par_chunks_mut(features.max(1)).enumerate().for_each(|(r, codes)| {
            for (f, code) in codes.iter_mut().enumerate() {
                let x = rows[[r, f]];
                *code = if x.is_nan() {
                    thresholds[f].len() as u8
                } else {
                    thresholds[f].partition_point(|t| *t < x) as u8
                };
            }
        });
        Self { codes, features, thresholds }
    }

    /// Columns.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The codes of one row.
    pub fn row(&self, r: usize) -> &[u8] {
        &self.codes[r * self.features..(r + 1) * self.features]
    }

    /// The bin of one value.
    pub fn code(&self, r: usize, feature: usize) -> u8 {
        self.codes[r * self.features + feature]
    }

    /// The thresholds of a feature: one fewer than its bins.
    pub fn thresholds(&self, feature: usize) -> &[f32] {
        &self.thresholds[feature]
    }
}

fn thresholds(mut values: Vec<f32>, most: usize) -> Vec<f32> {
    let all = values.len();
    values.retain(|v| !v.is_nan());
    let missing = values.len() < all;
    // −0 and 0 compare equal; a file should hold one of them.
    values.iter_mut().for_each(|v| *v += 0.0);
    values.sort_unstable_by(f32::total_cmp);
    let room = most - usize::from(missing);
    let mut distinct = values.clone();
    distinct.dedup();
    let mut cuts: Vec<f32> = if distinct.len() <= room {
        distinct.clone()
    } else {
        (1..=room).map(|k| values[(values.len() * k / room).max(1) - 1]).collect()
    };
    cuts.retain(|c| c.is_finite());
    cuts.dedup();
    for cut in &mut cuts {
        if let Some(next) = distinct.get(distinct.partition_point(|v| v <= cut)) {
            *cut = shortest(*cut, *next);
        }
    }
    if missing {
        if cuts.last().is_none_or(|last| *last < f32::MAX) {
            cuts.push(f32::MAX);
        }
    } else {
        // Nothing was seen above the largest value: a split there would separate nothing.
        cuts.pop();
    }
    cuts
}

/// The number in `[low, high)` with the fewest bits set at the end of its mantissa: it separates the same rows, and a
/// file of such thresholds packs a third smaller.
fn shortest(low: f32, high: f32) -> f32 {
    for kept in 0..23 {
        let dropped = (1u32 << (23 - kept)) - 1;
        // Towards zero for negative numbers, away from it for positive ones: the least number of that length ≥ `low`.
        let up = if low > 0.0 { low.to_bits().saturating_add(dropped) } else { low.to_bits() };
        let short = f32::from_bits(up & !dropped);
        if short >= low && short < high {
            return short + 0.0;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn column(values: &[f32], most: usize) -> Bins {
        Bins::of(Array2::from_shape_vec((values.len(), 1), values.to_vec()).expect("a column").view(), most)
    }

    #[test]
    fn few_values_get_a_bin_each_and_missing_its_own() {
        let bins = column(&[3.0, f32::NAN, 1.0, 2.0, 1.0], 255);
        assert_eq!(bins.thresholds(0), [1.0, 2.0, 3.0, f32::MAX]);
        assert_eq!(column(&[0.1, 0.7, 0.9], 255).thresholds(0), [0.125, 0.75]);
        let codes: Vec<u8> = (0..5).map(|r| bins.code(r, 0)).collect();
        assert_eq!(codes, [2, 4, 0, 1, 0]);
    }

    #[test]
    fn a_constant_or_missing_column_cannot_be_split() {
        assert!(column(&[7.0, 7.0], 255).thresholds(0).is_empty());
        assert_eq!(column(&[f32::NAN, f32::NAN], 255).thresholds(0), [f32::MAX]);
        assert_eq!(column(&[-0.0, 0.0], 255).thresholds(0).len(), 0);
    }

    #[test]
    fn many_values_are_cut_at_their_quantiles() {
        let values: Vec<f32> = (0..10_000).map(|v| v as f32).collect();
        let bins = column(&values, 255);
        assert!(bins.thresholds(0).len() >= 250 && bins.thresholds(0).len() <= 255);
        for (r, v) in values.iter().enumerate() {
            let code = usize::from(bins.code(r, 0));
            assert!(bins.thresholds(0).get(code).is_none_or(|t| v <= t));
            assert!(code == 0 || bins.thresholds(0)[code - 1] < *v);
        }
    }

    #[test]
    fn a_threshold_is_the_shortest_number_between_two_values() {
        let check = |low: f32, high: f32, want: f32| assert_eq!(shortest(low, high), want, "{low} {high}");
        check(0.1, 0.7, 0.125);
        check(-0.7, -0.1, -0.5);
        check(-3.0, 5.0, -2.0);
        check(3.0, 4.0, 3.0);
        check(0.0, 1.0, 0.0);
        check(1.1, 1.1f32.next_up(), 1.1);
        check(f32::MAX, f32::INFINITY, f32::MAX);
        check(f32::from_bits(1), f32::from_bits(2), f32::from_bits(1));
    }

    #[test]
    fn infinities_are_kept_in_order() {
        let bins = column(&[f32::NEG_INFINITY, 0.0, f32::INFINITY, f32::NAN], 255);
        let codes: Vec<u8> = (0..4).map(|r| bins.code(r, 0)).collect();
        assert!(codes[0] < codes[1] || codes[0] == 0);
        assert_eq!(codes[2], codes[3], "no threshold reaches infinity; it goes with missing, as in the forest");
    }
}
