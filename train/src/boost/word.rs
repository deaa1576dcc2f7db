//! Three sums in one word, whose bits are dealt by how large each of them gets.

use super::histogram::Slot;

/// What sums stand in side by side. None is ever negative or needs more bits than it was dealt, so adding and
/// subtracting never carries from one to the next.
pub(super) trait Word: Slot {
    const BITS: u32;
    fn place(value: u32, at: u32) -> Self;
    /// 64 bits from there on.
    fn read(self, at: u32) -> u64;
}

macro_rules! word {
    ($($word:ty),*) => {$(
        impl Slot for $word {
            #[inline]
            fn add(&mut self, other: &Self) {
                *self = self.wrapping_add(*other);
            }

            #[inline]
            fn subtract(&mut self, other: &Self) {
                *self = self.wrapping_sub(*other);
            }
        }

        impl Word for $word {
            const BITS: u32 = <$word>::BITS;

            #[inline]
            fn place(value: u32, at: u32) -> Self {
                <$word>::from(value) << at
            }

            #[inline]
            fn read(self, at: u32) -> u64 {
                (self >> at) as u64
            }
        }
    )*};
}
word!(u64, u128);

/// Rows whose sums always find room in 64 bits: 21 for the rows, as many for those near, and no less for those below.
pub(super) const SHORT: u64 = 1 << 21;

/// Rows, those near their prediction, and how far rows are below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) rows: u32,
    pub(super) near: u32,
    pub(super) below: u64,
}

/// Which bits are whose: rows begin at 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deal {
    near_at: u32,
    below_at: u32,
    /// Low bits of how far a row is below that found no room.
    dropped: u32,
}

impl Deal {
    /// * `most`: what all rows together come to.
    pub(super) fn of<W: Word>(most: Sums) -> Self {
        let bits = |most: u64| u64::BITS - most.leading_zeros();
        let near_at = bits(most.rows.into());
        let below_at = near_at + bits(most.near.into());
        Self { near_at, below_at, dropped: bits(most.below).saturating_sub(W::BITS - below_at) }
    }

    /// What one of `below` has become.
    pub(super) fn unit(self) -> f64 {
        (1u64 << self.dropped) as f64
    }

    pub(super) fn rows<W: Word>(rows: u32) -> W {
        W::place(rows, 0)
    }

    #[inline]
    pub(super) fn moved<W: Word>(self, near: u32, below: u32) -> W {
        let mut word = W::place(near, self.near_at);
        word.add(&W::place(below >> self.dropped, self.below_at));
        word
    }

    #[inline]
    pub(super) fn read<W: Word>(self, word: W) -> Sums {
        let low = |word: u64, bits: u32| (word & ((1 << bits) - 1)) as u32;
        Sums {
            rows: low(word.read(0), self.near_at),
            near: low(word.read(self.near_at), self.below_at - self.near_at),
            below: word.read(self.below_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come_back<W: Word + std::fmt::Debug>(most: Sums, dropped: u32) {
        let deal = Deal::of::<W>(most);
        assert_eq!(deal.dropped, dropped);
        let mut sum = Deal::rows::<W>(most.rows);
        sum.add(&deal.moved(most.near, 0));
        // As many rows as it takes, each of one step of what is not dropped.
        let each = (most.below / u64::from(most.near.max(1))) as u32;
        for _ in 0..most.near {
            sum.add(&deal.moved(0, each));
        }
        let below = u64::from(each >> dropped) * u64::from(most.near);
        assert_eq!(deal.read(sum), Sums { below, ..most });
        sum.subtract(&deal.moved(1, each));
        assert_eq!(
            deal.read(sum),
            Sums { rows: most.rows, near: most.near - 1, below: below - u64::from(each >> dropped) }
        );
    }

    #[test]
    fn sums_do_not_run_into_each_other() {
        come_back::<u64>(Sums { rows: 1, near: 1, below: 256 }, 0);
        come_back::<u64>(Sums { rows: 500_000, near: 70_000, below: 70_000 * 256 }, 0);
        let all = SHORT as u32 - 1;
        come_back::<u64>(Sums { rows: all, near: all, below: u64::from(all) * 256 }, 7);
        come_back::<u128>(Sums { rows: u32::MAX, near: 1 << 22, below: 256 << 22 }, 0);
    }
}
