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
    /// Bins `rows` into at most `most` + 1 bins a feature. Thresholds are values that occur, and `f32::MAX` above
    /// them where values are missing, so that missing is a bin of its own.
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
    values.sort_unstable_by(f32::total_cmp);
    let mut cuts: Vec<f32> = Vec::new();
    let room = most - usize::from(missing);
    let mut distinct = values.clone();
    distinct.dedup();
    if distinct.len() <= room {
        cuts = distinct;
    } else {
        for k in 1..=room {
            let cut = values[(values.len() * k / room).max(1) - 1];
            if cuts.last().is_none_or(|last| *last < cut) {
                cuts.push(cut);
            }
        }
    }
    // −0 and 0 compare equal; a file should hold one of them.
    cuts.iter_mut().for_each(|c| *c += 0.0);
    cuts.retain(|c| c.is_finite());
    cuts.dedup();
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
    fn infinities_are_kept_in_order() {
        let bins = column(&[f32::NEG_INFINITY, 0.0, f32::INFINITY, f32::NAN], 255);
        let codes: Vec<u8> = (0..4).map(|r| bins.code(r, 0)).collect();
        assert!(codes[0] < codes[1] || codes[0] == 0);
        assert_eq!(codes[2], codes[3], "no threshold reaches infinity; it goes with missing, as in the forest");
    }
}
