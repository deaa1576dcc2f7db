//! What a household earns and owes: paydays, bills on their days, and what is bought now and then.

use plimsoll_model::UtcSeconds;
use plimsoll_model::time::DAY;
use serde_json::{Value, json};

use super::draw::Draw;

/// What comes and goes by itself, as the wallet's own ledger tells it.
#[derive(Clone, Debug)]
pub(super) struct Household {
    /// Minor units a payday.
    income: i64,
    /// Days from one payday to the next, and on which of them it falls.
    payday: (i64, i64),
    /// Day of thirty, and amount.
    bills: Vec<(i64, i64)>,
    /// What one purchase costs at most.
    purchase: i64,
    draw: Draw,
    told: u64,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(super) struct Movement {
    pub(super) amount: i64,
    pub(super) row: Value,
}

impl Household {
    pub(super) fn new(mut draw: Draw) -> Self {
        let (every, income) = match draw.below(4) {
            0 => (7, 25_000 + draw.below(60_000) as i64),
            1 => (30, 30_000 + draw.below(60_000) as i64),
            _ => (30, 150_000 + draw.below(450_000) as i64),
        };
        let a_month = income * 30 / every;
        let bills =
            (0..2 + draw.below(4)).map(|_| (draw.below(30) as i64, a_month * (20 + draw.below(80) as i64) / 1_000));
        let bills = bills.collect();
        let payday = (every, draw.below(every as u64) as i64);
        Self { income, payday, bills, purchase: (a_month / 28).max(300), draw, told: 0 }
    }

    /// What is in the wallet when the service begins to count.
    pub(super) const fn opening(&self) -> i64 {
        self.income / 3
    }

    /// What happens on a day whose first second is `midnight`; nothing is paid that the balance does not cover.
    ///
    /// * `at_home`: the holder is online and shops.
    pub(super) fn day(&mut self, midnight: UtcSeconds, balance: i64, at_home: bool) -> Vec<Movement> {
        let day = midnight.0 / DAY;
        let (mut left, mut movements) = (balance, Vec::new());
        if day % self.payday.0 == self.payday.1 {
            movements.push(self.movement(midnight.plus(1_800), self.income, "income", "employer"));
            left += self.income;
        }
        for (on, amount) in self.bills.clone() {
            if day % 30 == on && left >= amount {
                movements.push(self.movement(midnight.plus(3_600 + on), -amount, "bill", "landlord"));
                left -= amount;
            }
        }
        // Whoever is away still has a family that shops: one purchase in five is theirs.
        for _ in 0..if at_home { 1 + self.draw.below(2) } else { u64::from(self.draw.one_in(5)) } {
            let amount = 100 + self.draw.below(self.purchase as u64) as i64;
            if left >= amount + 500 {
                let payee = format!("shop-{}", self.draw.below(12));
                movements.push(self.movement(midnight.plus(7_000), -amount, "purchase", &payee));
                left -= amount;
            }
        }
        movements
    }

    fn movement(&mut self, at: UtcSeconds, amount: i64, kind: &str, payee: &str) -> Movement {
        self.told += 1;
        let row = json!({ "id": format!("r{}", self.told), "at": at, "amount": amount, "kind": kind, "payee": payee });
        Movement { amount, row }
    }
}
