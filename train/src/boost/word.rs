//! Three sums in one word, whose bits are dealt by how large each of them gets.

use super::histogram::Slot;

/// What sums stand in side by side. None is ever negative or needs more bits than it was dealt, so adding and
/// subtracting never carries from one to the next.
pub(super) trait Word: Slot {
    const BITS: u32;
    fn place(value: u64, at: u32) -> Self;
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
            fn place(value: u64, at: u32) -> Self {
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

/// Fewer rows than this always find room in 64 bits: 21 for the rows, as many for those near, and no less for those below.
pub(super) const SHORT: u64 = 1 << 21;

/// Rows, those near their prediction, and how far rows are below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) rows: u32,
    pub(super) near: u32,
    pub(super) below: u64,
}

impl Sums {
    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.near += other.near;
        self.below += other.below;
    }
}

/// Which bits are whose: rows begin at 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deal {
    near_at: u32,
    below_at: u32,
    /// Low bits of how far a row is below that found no room.
    dropped: u32,
}

impl Deal {
    /// Of one row, 16 bits for each.
    pub(super) const ROW: Self = Self { near_at: 16, below_at: 32, dropped: 0 };

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

    #[inline]
    pub(super) fn word<W: Word>(self, sums: Sums) -> W {
        let mut word = W::place(sums.rows.into(), 0);
        word.add(&W::place(sums.near.into(), self.near_at));
        word.add(&W::place(sums.below >> self.dropped, self.below_at));
        word
    }

    #[inline]
    pub(super) fn rows<W: Word>(self, word: W) -> u32 {
        (word.read(0) & ((1 << self.near_at) - 1)) as u32
    }

    #[inline]
    pub(super) fn read<W: Word>(self, word: W) -> Sums {
        let near = word.read(self.near_at) & ((1 << (self.below_at - self.near_at)) - 1);
        Sums { rows: self.rows(word), near: near as u32, below: word.read(self.below_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come_back<W: Word + std::fmt::Debug>(most: Sums, dropped: u32) {
        let deal = Deal::of::<W>(most);
        assert_eq!(deal.dropped, dropped);
        let mut sum: W = deal.word(Sums { below: 0, ..most });
        // As many rows as it takes, each of one step of what is not dropped.
        let below = most.below / u64::from(most.near);
        let row = Sums { rows: 1, near: 1, below };
        for _ in 0..most.near {
            sum.add(&deal.word(Sums { below, ..Sums::default() }));
        }
        let all = (below >> dropped) * u64::from(most.near);
        assert_eq!(deal.read(sum), Sums { below: all, ..most });
        sum.subtract(&deal.word(row));
        let rows = most.rows - 1;
        assert_eq!(deal.read(sum), Sums { rows, near: most.near - 1, below: all - (below >> dropped) });
        assert_eq!(deal.rows(sum), rows);
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
