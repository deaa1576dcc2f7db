//! The chain of balances: recorded balances against the sum of the flows, and the opening balance they imply.
//!
//! Rows of one instant (one day, in a date-only source) have no reliable order, so a group of them is
//! read as a set: each row says a balance before and a balance after; the one `before` that is no other
//! row's `after` opens the group.
//!
//! ```text
//! file order   900 ─► 700     1000 ─► 900     700 ─► 750          one day, shuffled
//! befores      {900, 1000, 700}   minus afters {700, 900, 750}  =  {1000}: the day opened at 1000
//! ```

use std::collections::HashMap;

/// A recorded balance around one row, minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Before the row.
    pub before: i64,
    /// After it.
    pub after: i64,
}

impl Balance {
    /// From the balance after a row that moved `moved` minor units.
    pub const fn after(after: i64, moved: i64) -> Self {
        Self { before: after.saturating_sub(moved), after }
    }
}

/// The balance before a group of rows of one instant, in file order; `None` when none recorded a balance.
pub fn opening(group: &[Balance]) -> Option<i64> {
    if let [only] = group {
        return Some(only.before);
    }
    let mut afters: HashMap<i64, u32> = HashMap::new();
    for balance in group {
        *afters.entry(balance.after).or_default() += 1;
    }
    for balance in group {
        match afters.get_mut(&balance.before) {
            Some(count) if *count > 0 => *count -= 1,
            _ => return Some(balance.before),
        }
    }
    // Every `before` was met: the group returns to where it started, so its first row opens it.
    group.first().map(|b| b.before)
}

/// Puts the rows of one date in the order in which they happened, as far as the balances tell: each next row is the one
/// whose recorded balance before it is nearest to where the last one ended. Where a row has no recorded balance, debits
/// come first, which is the careful reading of an unknown order.
///
/// * `rows`: `(balance, is a debit)` in file order.
/// * `before`: the balance at the end of the date before, where it was recorded.
/// * returns their places in `rows`, in order.
pub fn order_of_day(rows: &[(Option<Balance>, bool)], before: Option<i64>) -> Vec<usize> {
    let recorded: Option<Vec<Balance>> = rows.iter().map(|r| r.0).collect();
    let mut left: Vec<usize> = (0..rows.len()).collect();
    let Some(recorded) = recorded else {
        left.sort_by_key(|&i| !rows[i].1);
        return left;
    };
    let mut now = before.or_else(|| opening(&recorded)).unwrap_or(0);
    let mut ordered = Vec::with_capacity(rows.len());
    while !left.is_empty() {
        let distance = |i: usize| recorded[i].before.abs_diff(now);
        // Of equally near rows the first in the file.
        let nearest = (0..left.len()).min_by_key(|&at| distance(left[at])).unwrap_or(0);
        let row = left.remove(nearest);
        now = recorded[row].after;
        ordered.push(row);
    }
    ordered
}

/// The opening balance of one account, learnt while its rows stream by in any order of time.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    at: Option<i64>,
    group: Vec<Balance>,
}

impl Opening {
    /// Sees one row: its instant and its recorded balance.
    pub fn see(&mut self, at: i64, balance: Balance) {
        match self.at {
            Some(first) if at > first => {}
            Some(first) if at == first => self.group.push(balance),
            _ => {
                self.at = Some(at);
                self.group.clear();
                self.group.push(balance);
            }
        }
    }

    /// The balance before the account's first instant, minor units; `None` when no row recorded one.
    pub fn minor(&self) -> Option<i64> {
        opening(&self.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_within_a_day_does_not_matter() {
        let day = [Balance::after(700, -200), Balance::after(900, -100), Balance::after(750, 50)];
        for rotation in 0..3 {
            let mut shuffled = day;
            shuffled.rotate_left(rotation);
            assert_eq!(opening(&shuffled), Some(1_000));
        }
    }

    #[test]
    fn a_day_is_put_in_the_order_its_balances_tell() {
        let day = [
            (Some(Balance::after(750, 50)), false),
            (Some(Balance::after(900, -100)), true),
            (Some(Balance::after(700, -200)), true),
        ];
        assert_eq!(order_of_day(&day, None), [1, 2, 0]);
        // Rounded by less than a unit: still the nearest.
        let rounded =
            [(Some(Balance { before: 901, after: 1_001 }), false), (Some(Balance { before: 1_000, after: 900 }), true)];
        assert_eq!(order_of_day(&rounded, Some(1_000)), [1, 0]);
    }

    #[test]
    fn a_day_without_balances_has_its_debits_first() {
        assert_eq!(order_of_day(&[(None, false), (None, true), (None, false), (None, true)], Some(5)), [1, 3, 0, 2]);
    }

    #[test]
    fn a_day_that_returns_to_its_start_opens_with_its_first_row() {
        assert_eq!(opening(&[Balance::after(600, 100), Balance::after(500, -100)]), Some(500));
        assert_eq!(opening(&[]), None);
    }

    #[test]
    fn the_earliest_instant_opens_the_account_whenever_it_is_seen() {
        let mut account = Opening::default();
        account.see(20, Balance::after(80, -20));
        account.see(10, Balance::after(100, 60));
        account.see(30, Balance::after(70, -10));
        assert_eq!(account.minor(), Some(40));
    }
}
