//! What a seed draws: each number follows from the seed and what it is for, never from what happened before. So two
//! models meet the same syncs, the same payees and the same luck.

use crate::windows::mix;

/// A place in the tree of draws.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The place of a purpose, or of a number in it.
    pub(super) const fn of(self, purpose: u64) -> Self {
        Self(mix(self.0.rotate_left(17) ^ mix(purpose)))
    }

    /// 0 to `n` − 1.
    pub(super) const fn below(self, n: u64) -> u64 {
        ((self.0 as u128 * n as u128) >> 64) as u64
    }

    /// 0 to below 1.
    pub(super) fn unit(self) -> f64 {
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Bytes that name something.
    pub(super) fn bytes<const N: usize>(self) -> [u8; N] {
        std::array::from_fn(|i| self.of(i as u64).0 as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_tree_do_not_repeat_each_other() {
        let root = Draw::new(7);
        let mut all: Vec<u64> = (0..40).flat_map(|a| (0..40).map(move |b| root.of(a).of(b).0)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1_600);
        assert!((0..1_000).all(|i| root.of(i).below(6) < 6));
        let mean = (0..10_000).map(|i| root.of(i).unit()).sum::<f64>() / 1e4;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }
}
