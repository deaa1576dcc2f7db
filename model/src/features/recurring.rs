//! Flows that come again: which, when next, how much.

use serde::{Deserialize, Serialize};

use crate::time::CivilDate;

/// A flow between the account and one counterparty, and the rhythm it has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rhythm {
    key: u64,
    last_day: i32,
    amount: i64,
    period: Period,
    /// Times seen in rhythm.
    cycles: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Period {
    Unknown,
    Week,
    Fortnight,
    Month,
}

impl Period {
    const fn of_gap(days: i32) -> Self {
        match days {
            6..=8 => Self::Week,
            13..=15 => Self::Fortnight,
            26..=36 => Self::Month,
            _ => Self::Unknown,
        }
    }

    fn after(self, day: i32) -> Option<i32> {
        match self {
            Self::Unknown => None,
            Self::Week => Some(day + 7),
            Self::Fortnight => Some(day + 14),
            Self::Month => Some(CivilDate::of_day(i64::from(day)).plus_months(1).day_number() as i32),
        }
    }
}

/// A flow that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// Days from today; 0 when it is due or up to [`LATE`] days overdue.
    pub(super) days: i32,
    /// Minor units, as it was last time.
    pub(super) amount: i64,
}

/// Days a flow may be late before it is no longer expected.
const LATE: i32 = 4;
/// Flows remembered.
const CAPACITY: usize = 8;

/// The newest few recurring flows of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recurring(Vec<Rhythm>);

impl Recurring {
    /// Notes a flow of `amount` (positive minor units) with counterparty `key` on local `day`.
    pub(super) fn note(&mut self, key: u64, day: i32, amount: i64) {
        if let Some(known) = self.0.iter_mut().find(|r| r.key == key) {
            if day == known.last_day {
                known.amount += amount;
                return;
            }
            let period = Period::of_gap(day - known.last_day);
            known.cycles = match period {
                Period::Unknown => 1,
                _ if period == known.period || known.cycles == 1 => known.cycles + 1,
                _ => 2,
            };
            (known.period, known.last_day, known.amount) = (period, day, amount);
            return;
        }
        let fresh = Rhythm { key, last_day: day, amount, period: Period::Unknown, cycles: 1 };
        if self.0.len() < CAPACITY {
            self.0.push(fresh);
        } else if let Some(oldest) = self.0.iter_mut().min_by_key(|r| r.last_day) {
            *oldest = fresh;
        }
    }

    /// Whether this can have come from [`Recurring::note`]: no more than is remembered, nothing absurd.
    pub(super) fn is_sound(&self, minor_max: i64, day_max: i64) -> bool {
        let sound = |r: &Rhythm| {
            (0..=minor_max).contains(&r.amount) && i64::from(r.last_day).abs() <= day_max && r.cycles < 1 << 24
        };
        self.0.len() <= CAPACITY && self.0.iter().all(sound)
    }

    /// What is expected from `day` on, in no particular order.
    pub(super) fn expected(&self, day: i32) -> impl Iterator<Item = Expected> + '_ {
        self.0.iter().filter(|r| r.cycles >= 2).filter_map(move |r| {
            let due = r.period.after(r.last_day)?;
            (due + LATE >= day).then_some(Expected { days: (due - day).max(0), amount: r.amount })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monthly_bill_is_expected_on_its_day_of_the_month() {
        let mut bills = Recurring::default();
        let day = |y, m, d| CivilDate::new(y, m, d).expect("a date").day_number() as i32;
        bills.note(1, day(2026, 1, 31), 500);
        assert_eq!(bills.expected(day(2026, 2, 1)).count(), 0, "once is no rhythm");
        bills.note(1, day(2026, 2, 28), 510);
        let next: Vec<_> = bills.expected(day(2026, 3, 20)).collect();
        assert_eq!(next, [Expected { days: 8, amount: 510 }]);
        assert_eq!(bills.expected(day(2026, 4, 20)).count(), 0, "three weeks late is over");
    }

    #[test]
    fn memory_stays_bounded() {
        let mut flows = Recurring::default();
        for key in 0..1_000 {
            flows.note(key, key as i32, 1);
        }
        assert_eq!(flows.0.len(), CAPACITY);
    }
}
