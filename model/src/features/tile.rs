//! The bounded memory of an account: one tile a day, and the newest spends.

use serde::{Deserialize, Serialize};

/// Days of tiles kept: three calendar months and the longest window after them.
pub const DAYS: usize = 128;
/// Spends kept one by one, for what a daily sum cannot tell (medians, payees, places).
pub const SPENDS: usize = 256;
/// Horizons of remembered falls, in days.
pub(super) const HORIZONS: [usize; 3] = [1, 3, 7];

/// What one local day did to the balance; minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tile {
    /// Balance at the day's end (so far, for today).
    pub(super) end: i64,
    /// Lowest balance at any moment of the day, its start included.
    pub(super) low: i64,
    /// Sum of debits.
    pub(super) out: i64,
    /// Largest single debit.
    pub(super) out_max: i64,
    /// Sum of committed debits.
    pub(super) committed: i64,
    /// Sum of credits.
    pub(super) credits: i64,
    /// Sum of reloads.
    pub(super) reload_sum: i64,
    /// Sum of spends.
    pub(super) spend_sum: i64,
    /// Reloads.
    pub(super) reloads: u32,
    /// Spends.
    pub(super) spends: u32,
    /// How far the balance fell below that of h days before, for each horizon; −1 before there is a history.
    pub(super) fall: [i64; HORIZONS.len()],
}

impl Tile {
    /// A day that starts with `balance`.
    pub(super) const fn starting(balance: i64) -> Self {
        Self {
            end: balance,
            low: balance,
            out: 0,
            out_max: 0,
            committed: 0,
            credits: 0,
            reload_sum: 0,
            spend_sum: 0,
            reloads: 0,
            spends: 0,
            fall: [-1; HORIZONS.len()],
        }
    }
}

impl Tile {
    /// Whether sums over all tiles stay far from the ends of their types.
    pub(super) fn is_sound(&self, minor_max: i64) -> bool {
        let signed = [self.end, self.low];
        let sizes = [self.out, self.out_max, self.committed, self.credits, self.reload_sum, self.spend_sum];
        signed.iter().all(|m| (-minor_max..=minor_max).contains(m))
            && sizes.iter().all(|m| (0..=minor_max).contains(m))
            && self.fall.iter().all(|m| (-1..=2 * minor_max).contains(m))
            && self.reloads < 1 << 24
            && self.spends < 1 << 24
    }
}

/// One payment the holder started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spend {
    /// Local day.
    pub(super) day: i32,
    /// Local hour, 0–23.
    pub(super) hour: u8,
    /// Minor units, positive.
    pub(super) amount: i64,
    /// Hash of the payee.
    pub(super) payee: u64,
    /// Latitude and longitude in millionths of a degree.
    pub(super) place: Option<(i32, i32)>,
}

/// Falls over the days that end with the newest of `tiles` (oldest first): for each horizon h,
/// the balance at the end of the day h days before, less the lowest balance since; at least 0; −1 if unknown.
pub(super) fn falls(tiles: &std::collections::VecDeque<Tile>) -> [i64; HORIZONS.len()] {
    let mut falls = [-1; HORIZONS.len()];
    let mut low = i64::MAX;
    for back in 0..*HORIZONS.last().expect("there are horizons") {
        let Some(ix) = tiles.len().checked_sub(1 + back) else { break };
        low = low.min(tiles[ix].low);
        if let (Some(h), Some(before)) = (HORIZONS.iter().position(|h| *h == back + 1), ix.checked_sub(1)) {
            falls[h] = (tiles[before].end - low).max(0);
        }
    }
    falls
}
