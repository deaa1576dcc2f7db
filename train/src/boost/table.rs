//! What trees are grown over: binned rows, or each of them once for every rung of a ladder.

use super::Bins;

/// Rows × columns of codes. A ladder's rows are never written out: row `r` is row `r / rungs` of the bins with rung
/// `r % rungs` as one more column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    pub(super) bins: &'a Bins,
    /// Thresholds of the column of rungs; empty without a ladder.
    pub(super) rungs: &'a [f32],
}

impl<'a> Table<'a> {
    pub(super) fn rows(&self) -> usize {
        self.bins.rows() * self.rungs.len().max(1)
    }

    pub(super) fn features(&self) -> usize {
        self.bins.features() + usize::from(!self.rungs.is_empty())
    }

    /// Thresholds of a column. The last rung is none: nothing lies above it.
    pub(super) fn thresholds(&self, feature: usize) -> &'a [f32] {
        if feature < self.bins.features() { self.bins.thresholds(feature) } else { &self.rungs[..self.rungs.len() - 1] }
    }

    pub(super) fn code(&self, row: u32, feature: usize) -> u8 {
        match (self.rungs.len() as u32, row as usize) {
            (0, row) => self.bins.code(row, feature),
            (rungs, _) if feature == self.bins.features() => (row % rungs) as u8,
            (rungs, _) => self.bins.code((row / rungs) as usize, feature),
        }
    }

    /// Writes the codes of one row to `to`.
    #[inline]
    pub(super) fn gather(&self, row: u32, to: &mut [u8]) {
        match (self.rungs.len() as u32, to) {
            (0, to) => copy(self.bins.row(row as usize), to),
            (rungs, [to @ .., rung]) => {
                copy(self.bins.row((row / rungs) as usize), to);
                *rung = (row % rungs) as u8;
            }
            (_, []) => {}
        }
    }

    /// Moves the rows of `rows` whose code is at most `bin` to the front, the order kept within both parts, so that
    /// later passes over memory stay sequential. Returns how many they are.
    pub(super) fn part(&self, rows: &mut [u32], feature: usize, bin: u8) -> usize {
        if self.rungs.is_empty() {
            // Told apart outside the loop: the plain case is a third of a tree's time.
            part(rows, |row| self.bins.code(row as usize, feature) <= bin)
        } else {
            part(rows, |row| self.code(row, feature) <= bin)
        }
    }
}

/// `copy_from_slice` of a row, which is short, by pieces of a known size: a call for each row of 40 bytes would cost as
/// much as the bytes, and any loop over them becomes that call.
#[inline]
fn copy(from: &[u8], to: &mut [u8]) {
    match from.len() {
        0..8 => to.copy_from_slice(from),
        8..16 => copy_ends::<8>(from, to),
        16..32 => copy_ends::<16>(from, to),
        32..64 => copy_ends::<32>(from, to),
        64..=128 => copy_ends::<64>(from, to),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last `N` bytes: all of them where there are `N` to `2 N`.
#[inline]
fn copy_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>()) {
        *to = *from;
    }
}

/// Fewest rows of a piece of work that another thread is woken for.
pub(super) const PIECE: usize = 16_384;

fn part(rows: &mut [u32], goes_low: impl Fn(u32) -> bool + Copy + Sync) -> usize {
    if rows.len() < 2 * PIECE || rayon::current_num_threads() == 1 {
        return part_here(rows, goes_low);
    }
    // Both halves at once, then the first's high rows change places with the second's low ones.
    let middle = rows.len() / 2;
    let (first, second) = rows.split_at_mut(middle);
    let (first, second) = rayon::join(|| part(first, goes_low), || part(second, goes_low));
    rows[first..middle + second].rotate_left(middle - first);
    first + second
}

fn part_here(rows: &mut [u32], goes_low: impl Fn(u32) -> bool) -> usize {
    let mut high = vec![0u32; rows.len()];
    let (mut lows, mut highs) = (0, 0);
    for i in 0..rows.len() {
        let row = rows[i];
        let low = goes_low(row);
        // Written to both places, kept in one: no branch to guess.
        rows[lows] = row;
        high[highs] = row;
        lows += usize::from(low);
        highs += usize::from(!low);
    }
    rows[lows..].copy_from_slice(&high[..highs]);
    lows
}
