//! Rows as codes: each number becomes its place among the thresholds it is compared with.
//!
//! ```text
//! thresholds of a column, ascending      t₀ ≤ t₁ ≤ … ≤ tₙ₋₁, then +∞ up to a power of two, at least 16
//! code(x) = how many of them x is not ≤  so  x ≤ tⱼ  ⇔  code(x) ≤ j;  NaN is above them all
//! ```
//!
//! A model compares a number with the same few thresholds hundreds of times. Coded once, a split is two bytes and
//! all splits of 200 trees stay in the first cache.

use alloc::vec::Vec;

use crate::forest::{Node, Parts};
use crate::layout::sort;
use crate::refuse::{Fault, Why};

/// The columns that splits read, and their thresholds.
#[derive(Clone, Debug)]
pub(crate) struct Coder {
    pub(crate) columns: Vec<Column>,
    pub(crate) thresholds: Vec<f32>,
    /// For each column the last threshold of every sixteen: `PIVOTS` floats.
    pub(crate) pivots: Vec<[f32; PIVOTS]>,
    /// Every column has at most 255 thresholds and there are at most 256 columns.
    pub(crate) narrow: bool,
}

/// Sixteens of thresholds that a narrow column has at most.
pub(crate) const PIVOTS: usize = 16;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Which of the row's.
    pub(crate) feature: u32,
    /// Its first threshold.
    pub(crate) first: u32,
    /// Thresholds, a power of two: the last is always infinite.
    pub(crate) size: u32,
}

/// Every pair of column and threshold that occurs, ascending. The place of a split's pair gives its code.
pub(crate) struct Splits {
    keys: Vec<u64>,
    /// For each column coded, its first key.
    starts: Vec<u32>,
}

impl Coder {
    pub(crate) fn new(parts: &Parts) -> Result<(Self, Splits), Fault> {
        let mut keys: Vec<u64> = parts.nodes.iter().filter_map(key).collect();
        sort(&mut keys);
        keys.dedup();
        let mut coder = Self { columns: Vec::new(), thresholds: Vec::new(), pivots: Vec::new(), narrow: true };
        let mut starts = Vec::new();
        let mut at = 0;
        for of_column in keys.chunk_by(|a, b| a >> 32 == b >> 32) {
            let first = coder.thresholds.len();
            let size = (of_column.len() + 1).next_power_of_two();
            if size > 1 << 16 {
                return Err(Fault::at((1 << 16) - 1, &Why::TooLarge("thresholds of one column")));
            }
            coder.thresholds.extend(of_column.iter().map(|key| unkey(*key as u32)));
            coder.thresholds.resize(first + size.max(16), f32::INFINITY);
            coder.columns.push(Column { feature: (of_column[0] >> 32) as u32, first: first as u32, size: size as u32 });
            starts.push(at as u32);
            at += of_column.len();
            coder.narrow &= size <= 256;
        }
        coder.narrow &= coder.columns.len() <= 256;
        if coder.narrow {
            coder.pivots.reserve_exact(coder.columns.len());
            for column in &coder.columns {
                let mut pivots = [f32::INFINITY; PIVOTS];
                let of_column = &coder.thresholds[column.first as usize..][..column.size.max(16) as usize];
                for (pivot, sixteen) in pivots.iter_mut().zip(of_column.chunks(16)) {
                    *pivot = sixteen[15];
                }
                coder.pivots.push(pivots);
            }
        }
        Ok((coder, Splits { keys, starts }))
    }

    /// Codes a row, column by column.
    pub(crate) fn code(&self, row: &[f32], mut put: impl FnMut(usize, u32)) {
        for (ix, column) in self.columns.iter().enumerate() {
            let x = row[column.feature as usize];
            if let Some(pivots) = self.pivots.get(ix).filter(|_| COUNTS) {
                // For everything but NaN the last of each sixteen is not below, so `min` only stops NaN.
                let sixteens = column.size.max(16) / 16;
                let at = 16 * above(x, pivots).min(sixteens - 1);
                let sixteen = self.thresholds[(column.first + at) as usize..].first_chunk();
                put(ix, at + above(x, sixteen.expect("columns are whole sixteens")).min(15));
                continue;
            }
            let thresholds = &self.thresholds[column.first as usize..][..column.size as usize];
            // Halving without a branch on the data. The last threshold is infinite, so only NaN passes it, and it
            // is never looked at.
            let mut at = 0;
            let mut half = column.size / 2;
            while half > 0 {
                // `!(x ≤ t)`, not `x > t`: NaN is above every threshold.
                #[expect(clippy::neg_cmp_op_on_partial_ord)]
                let above = !(x <= thresholds[(at + half - 1) as usize]);
                at += half & u32::from(above).wrapping_neg();
                half /= 2;
            }
            put(ix, at);
        }
    }
}

/// Counting sixteen and sixteen, four at a time, beats halving, which stalls at every step. Without vectors it does not.
const COUNTS: bool = !cfg!(target_arch = "wasm32") || cfg!(target_feature = "simd128");

/// How many of sixteen thresholds `x` is not below or equal to.
#[inline]
fn above(x: f32, thresholds: &[f32; PIVOTS]) -> u32 {
    #[expect(clippy::neg_cmp_op_on_partial_ord)]
    thresholds.iter().map(|t| u32::from(!(x <= *t))).sum()
}

impl Splits {
    /// The coded column a split reads and the place of its threshold among that column's.
    pub(crate) fn find(&self, node: &Node) -> (u16, u16) {
        let key = key(node).unwrap_or(0);
        let at = self.keys.partition_point(|k| *k < key) as u32;
        let column = self.starts.partition_point(|s| *s <= at) - 1;
        // Both fit: there are at most 65,536 columns, and as many thresholds of one.
        (column as u16, (at - self.starts[column]) as u16)
    }
}

/// Sorts like column, then threshold.
fn key(node: &Node) -> Option<u64> {
    match *node {
        Node::Split { feature, threshold, .. } => {
            let bits = threshold.to_bits();
            let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
            Some(u64::from(feature) << 32 | u64::from(ordered))
        }
        Node::Leaf { .. } => None,
    }
}

fn unkey(ordered: u32) -> f32 {
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}
