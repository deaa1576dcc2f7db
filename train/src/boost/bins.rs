//! Values as small integers: at most 256 bins a feature, with thresholds that are exact `f32` values.
//!
//! ```text
//! rows [n, F] f32 ─► Cuts: thresholds of each column, from a sample ─► Binner: rows in blocks, in any number
//!   ─► Bins: every code twice, by row (to count) and by column (to part rows): 2 bytes a row and feature
//! ```

use ndarray::ArrayView2;
use rayon::prelude::*;

/// Rows looked at to choose thresholds.
const SAMPLE: usize = 100_000;

/// Rows whose codes of one column lie side by side.
const BLOCK: usize = 4_096;

/// Where each column is cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Cuts {
    /// For each feature: ascending thresholds; bin b holds `thresholds[b−1] < x ≤ thresholds[b]`, and the last bin
    /// what no threshold reaches.
    thresholds: Vec<Vec<f32>>,
}

impl Cuts {
    /// Chooses thresholds for at most `most` + 1 bins a feature from up to 100,000 of `rows`, evenly spread. A threshold
    /// lies between two neighbouring values that occur, at the number with the fewest digits there; where values
    /// are missing there is `f32::MAX` above all of them, so that missing is a bin of its own.
    pub fn of(rows: ArrayView2<'_, f32>, most: usize) -> Self {
        let stride = rows.nrows().div_ceil(SAMPLE).max(1);
        let most = most.clamp(2, 255);
        let cut = |f| thresholds(rows.column(f).iter().copied().step_by(stride).collect(), most);
        Self { thresholds: (0..rows.ncols()).into_par_iter().map(cut).collect() }
    }
}

/// Takes rows block by block, so that the values themselves are never in memory together.
///
/// ```
/// # use ndarray::Array2;
/// # use plimsoll_train::boost::{Binner, Cuts};
/// let first = Array2::from_shape_fn((1_000, 3), |(r, f)| (r * (f + 1) % 97) as f32);
/// let mut binner = Binner::new(Cuts::of(first.view(), 255));
/// for block in [first.view(), first.view()] {
///     binner.push(block);
/// }
/// assert_eq!(binner.finish().rows(), 2_000);
/// ```
#[derive(Debug)]
pub struct Binner {
    bins: Bins,
    tables: Vec<Table>,
}

impl Binner {
    /// A binner without rows yet.
    pub fn new(cuts: Cuts) -> Self {
        let tables = cuts.thresholds.iter().map(|thresholds| Table::of(thresholds)).collect();
        Self { bins: Bins { rows: 0, by_row: Vec::new(), by_column: Vec::new(), cuts }, tables }
    }

    /// Room for so many rows, taken at once instead of by doubling.
    #[must_use]
    pub fn with_room_for(mut self, rows: usize) -> Self {
        let features = self.bins.features();
        self.bins.by_row.reserve_exact(rows * features);
        self.bins.by_column.reserve_exact(rows.next_multiple_of(BLOCK) * features);
        self
    }

    /// Takes the next rows.
    ///
    /// # Panics
    /// When they have another number of columns than the cuts.
    pub fn push(&mut self, rows: ArrayView2<'_, f32>) {
        let bins = &mut self.bins;
        let features = bins.features();
        assert_eq!(rows.ncols(), features, "rows of as many columns as were cut");
        let (before, after) = (bins.rows, bins.rows + rows.nrows());
        bins.rows = after;
        if features == 0 {
            return;
        }
        bins.by_row.resize(after * features, 0);
        bins.by_column.resize(after.next_multiple_of(BLOCK) * features, 0);
        let begun = before / BLOCK;
        let by_row = &mut bins.by_row[begun * BLOCK * features..];
        let by_column = &mut bins.by_column[begun * BLOCK * features..];
        let blocks = by_row.par_chunks_mut(BLOCK * features).zip(by_column.par_chunks_mut(BLOCK * features));
        blocks.enumerate().for_each(|(b, (by_row, by_column))| {
            let from = (begun + b) * BLOCK;
            for (f, (table, column)) in self.tables.iter().zip(by_column.chunks_exact_mut(BLOCK)).enumerate() {
                for r in before.max(from)..after.min(from + BLOCK) {
                    let code = table.code(rows[[r - before, f]]);
                    column[r - from] = code;
                    by_row[(r - from) * features + f] = code;
                }
            }
        });
    }

    /// The binned rows.
    pub fn finish(self) -> Bins {
        self.bins
    }
}

/// Binned rows.
#[derive(Clone, Debug)]
pub struct Bins {
    rows: usize,
    /// Row-major `[rows, features]`.
    by_row: Vec<u8>,
    /// `[⌈rows / BLOCK⌉, features, BLOCK]`.
    by_column: Vec<u8>,
    cuts: Cuts,
}

impl Bins {
    /// Bins `rows` at thresholds chosen among them: see [`Cuts::of`].
    pub fn of(rows: ArrayView2<'_, f32>, most: usize) -> Self {
        let mut binner = Binner::new(Cuts::of(rows, most)).with_room_for(rows.nrows());
        binner.push(rows);
        binner.finish()
    }

    /// Rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn features(&self) -> usize {
        self.cuts.thresholds.len()
    }

    /// Where the columns are cut: held-out rows are binned at the same places.
    pub const fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// The codes of one row.
    pub fn row(&self, r: usize) -> &[u8] {
        let features = self.features();
        &self.by_row[r * features..(r + 1) * features]
    }

    /// The bin of one value.
    #[inline]
    pub fn code(&self, r: usize, feature: usize) -> u8 {
        self.by_column[(r / BLOCK * self.features() + feature) * BLOCK + r % BLOCK]
    }

    /// The thresholds of a feature: one fewer than its bins.
    pub fn thresholds(&self, feature: usize) -> &[f32] {
        &self.cuts.thresholds[feature]
    }
}

/// A column's thresholds, filled up to 255 with infinity: eight steps without a branch find a value's bin.
#[derive(Debug)]
struct Table {
    thresholds: [f32; 256],
    top: u8,
}

impl Table {
    fn of(thresholds: &[f32]) -> Self {
        let mut filled = [f32::INFINITY; 256];
        filled[..thresholds.len()].copy_from_slice(thresholds);
        Self { thresholds: filled, top: thresholds.len() as u8 }
    }

    /// How many thresholds are below `x`; NaN is above all.
    #[inline]
    fn code(&self, x: f32) -> u8 {
        let mut below = 0u8;
        for step in [128u8, 64, 32, 16, 8, 4, 2, 1] {
            let reached = self.thresholds[usize::from(below + (step - 1))] < x;
            below += if reached { step } else { 0 };
        }
        if x.is_nan() { self.top } else { below }
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
    fn blocks_give_the_bins_of_all_rows_at_once() {
        let rows =
            Array2::from_shape_fn(
                (10_000, 3),
                |(r, f)| {
                    if r % 7 == f { f32::NAN } else { ((r * 7_919 + f) % 10_007) as f32 }
                },
            );
        let whole = Bins::of(rows.view(), 255);
        let mut binner = Binner::new(whole.cuts().clone());
        for (from, to) in [(0, 1), (1, 4_096), (4_096, 4_096), (4_096, 9_000), (9_000, 10_000)] {
            binner.push(rows.slice_axis(ndarray::Axis(0), (from..to).into()));
        }
        let pieces = binner.finish();
        assert_eq!((pieces.rows(), &pieces.by_row, &pieces.by_column), (10_000, &whole.by_row, &whole.by_column));
        for r in (0..10_000).step_by(37) {
            let by_column: Vec<u8> = (0..3).map(|f| whole.code(r, f)).collect();
            assert_eq!(whole.row(r), by_column);
            for f in 0..3 {
                let x = rows[[r, f]];
                let below = whole.thresholds(f).iter().filter(|t| x.is_nan() || **t < x).count();
                assert_eq!(usize::from(whole.code(r, f)), below);
            }
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
