//! Sums of what rows add, for every bin of every column: where the time goes.

use rayon::prelude::*;

use super::grow::OUTPUTS;
use super::table::{PIECE, Table};

/// What a bin sums up: integers, so that any order and any number of threads give the same sum.
pub(super) trait Slot: Copy + Default + PartialEq + Send + Sync {
    fn add(&mut self, other: &Self);
    fn subtract(&mut self, other: &Self);
}

/// Two sums in one word: a signed one in the high half, an unsigned one in the low half. Objectives keep each below
/// 2³¹, so adding and subtracting never carries from one to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pair(u64);

impl Pair {
    pub(super) const fn new(high: i32, low: u32) -> Self {
        Self((((high as i64) << 32) as u64).wrapping_add(low as u64))
    }

    pub(super) const fn high(self) -> i32 {
        (self.0 >> 32) as i32
    }

    pub(super) const fn low(self) -> u32 {
        self.0 as u32
    }
}

impl Slot for Pair {
    fn add(&mut self, other: &Self) {
        self.0 = self.0.wrapping_add(other.0);
    }

    fn subtract(&mut self, other: &Self) {
        self.0 = self.0.wrapping_sub(other.0);
    }
}

/// Sums of several outputs, and of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lanes(pub(super) [u32; OUTPUTS]);

impl Slot for Lanes {
    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
    }

    fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a -= b);
    }
}

/// Rows gathered before they are counted. A leaf's rows lie apart: gathering asks memory for many at once, while
/// counting 40 columns of one row fills the processor's window and would ask for the next row too late (0.53 ns an
/// update instead of 0.92 when a leaf has every 32nd row).
const GATHERED: usize = 32;

/// Columns counted without a loop between them.
const WIDTH: usize = 8;

fn count<S: Slot>(histogram: &mut [[S; 256]], table: &Table<'_>, rows: &[u32], addend: impl Fn(u32) -> S) {
    let features = histogram.len();
    if features == 0 {
        return;
    }
    let (columns, last_columns) = histogram.as_chunks_mut::<WIDTH>();
    let mut gathered = vec![0u8; GATHERED * features];
    let mut addends = [S::default(); GATHERED];
    for rows in rows.chunks(GATHERED) {
        for ((row, codes), to) in rows.iter().zip(gathered.chunks_exact_mut(features)).zip(&mut addends) {
            table.gather(*row, codes);
            *to = addend(*row);
        }
        for (codes, addend) in gathered.chunks_exact(features).zip(&addends).take(rows.len()) {
            let (codes, last_codes) = codes.as_chunks::<WIDTH>();
            for (slots, codes) in columns.iter_mut().zip(codes) {
                for (slots, code) in slots.iter_mut().zip(codes) {
                    slots[usize::from(*code)].add(addend);
                }
            }
            for (slots, code) in last_columns.iter_mut().zip(last_codes) {
                slots[usize::from(*code)].add(addend);
            }
        }
    }
}

/// A histogram of every column.
#[derive(Clone, Debug)]
pub(super) struct Histogram<S>(pub(super) Vec<[S; 256]>);

impl<S: Slot> Histogram<S> {
    pub(super) fn subtract(&mut self, other: &Self) {
        for (a, b) in self.0.as_flattened_mut().iter_mut().zip(other.0.as_flattened()) {
            a.subtract(b);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (a, b) in self.0.as_flattened_mut().iter_mut().zip(other.0.as_flattened()) {
            a.add(b);
        }
    }

    /// The sum over all rows, which any column has.
    pub(super) fn total(&self) -> S {
        let mut total = S::default();
        self.0.first().into_iter().flatten().for_each(|slot| total.add(slot));
        total
    }
}

/// Histograms to be used again: fresh ones would be asked of the system page by page.
#[derive(Debug, Default)]
pub(super) struct Pool<S>(std::sync::Mutex<Vec<Histogram<S>>>);

impl<S: Slot> Pool<S> {
    fn empty(&self, features: usize) -> Histogram<S> {
        let used = self.0.lock().expect("no thread panics while it holds a histogram").pop();
        let mut slots = used.map_or_else(Vec::new, |h| h.0);
        slots.clear();
        slots.resize(features, [S::default(); 256]);
        Histogram(slots)
    }

    pub(super) fn give_back(&self, histogram: Histogram<S>) {
        self.0.lock().expect("no thread panics while it holds a histogram").push(histogram);
    }

    /// Counts `rows`, on as many threads as there are.
    pub(super) fn count(
        &self,
        table: &Table<'_>,
        rows: &[u32],
        addend: impl Fn(u32) -> S + Sync + Copy,
    ) -> Histogram<S> {
        let pieces = (rows.len() / PIECE).clamp(1, rayon::current_num_threads());
        let piece = |rows: &[u32]| {
            let mut histogram = self.empty(table.features());
            count(&mut histogram.0, table, rows, addend);
            histogram
        };
        if pieces == 1 {
            return piece(rows);
        }
        let counted: Vec<Histogram<S>> = rows.par_chunks(rows.len().div_ceil(pieces)).map(piece).collect();
        let mut counted = counted.into_iter();
        let mut sum = counted.next().expect("more than one piece");
        for other in counted {
            sum.add(&other);
            self.give_back(other);
        }
        sum
    }
}
