//! The forced-sync lottery: some payments need a sync first, larger ones more often.
//!
//! Source: EMV 4.4 Book 3, section 10.6.2 (biased random selection). There the terminal draws in secret; here the draw
//! is a hash of a seed that the issuer signed and the payment's number, so that anyone with the grant can check that
//! no executed payment should have been synced first. It is a control of an honest device: its holder can compute it
//! too.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::id::TokenId;
use super::refuse::RefuseToken;
use crate::money::Money;

/// Chances of one million.
const WHOLE: u32 = 1_000_000;

/// Which payments need a sync first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lottery {
    /// Drawn by the issuer for this grant.
    pub seed: TokenId,
    /// Chance of an amount up to `from`, parts per million.
    pub base: u32,
    /// Chance of an amount of `full_at` or more, parts per million.
    pub full: u32,
    /// Where the chance begins to rise.
    pub from: Money,
    /// Where it stops rising.
    pub full_at: Money,
}

impl Lottery {
    /// The chance of an amount, parts per million, rounded down.
    pub fn rate(&self, amount: Money) -> u32 {
        if amount <= self.from {
            return self.base;
        }
        if amount >= self.full_at {
            return self.full;
        }
        let over = u128::from(amount.minor() - self.from.minor());
        let span = u128::from(self.full_at.minor() - self.from.minor());
        let risen = u128::from(self.full - self.base) * over / span;
        self.base + u32::try_from(risen).expect("a part of full - base, which is a u32")
    }

    /// Whether payment `number` of `amount` needs a sync first.
    pub fn selects(&self, number: u64, amount: Money) -> bool {
        let mut hash = Sha256::new();
        hash.update(b"plimsoll forced sync 1");
        hash.update(self.seed.0);
        hash.update(number.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let draw = u64::from_be_bytes(std::array::from_fn(|i| digest[i]));
        // floor(draw · 10⁶ / 2⁶⁴): uniform on 0..10⁶ to one part in 10¹³.
        (u128::from(draw) * u128::from(WHOLE)) >> 64 < u128::from(self.rate(amount))
    }

    pub(super) fn check(&self) -> Result<(), RefuseToken> {
        if self.base > self.full || self.full > WHOLE {
            return Err(RefuseToken::claim("lottery", "rates are not base <= full <= 1,000,000"));
        }
        if self.from >= self.full_at {
            return Err(RefuseToken::claim("lottery", "from must lie below full_at"));
        }
        Ok(())
    }
}

/// The payments among these, by number and amount, that were made although the lottery asked for a sync first.
pub fn audit(lottery: &Lottery, payments: impl IntoIterator<Item = (u64, Money)>) -> Vec<u64> {
    payments
        .into_iter()
        .filter(|(number, amount)| lottery.selects(*number, *amount))
        .map(|(number, _)| number)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Bytes;

    fn money(minor: u64) -> Money {
        Money::from_minor(minor).expect("small")
    }

    fn lottery() -> Lottery {
        Lottery { seed: Bytes([7; 16]), base: 10_000, full: 250_000, from: money(500), full_at: money(25_000) }
    }

    #[test]
    fn the_chance_rises_with_the_amount_and_stays_between_base_and_full() {
        let rates: Vec<u32> = (0..30_000).map(|m| lottery().rate(money(m))).collect();
        assert!(rates.is_sorted());
        assert_eq!(
            (rates[0], rates[500], rates[12_750], rates[25_000], rates[29_999]),
            (10_000, 10_000, 130_000, 250_000, 250_000)
        );
    }

    #[test]
    fn payments_are_drawn_as_often_as_the_rate_says() {
        let drawn = (0..100_000).filter(|n| lottery().selects(*n, money(25_000))).count();
        // Binomial(100,000; 0.25): six standard deviations are 822.
        assert!(drawn.abs_diff(25_000) < 822, "{drawn}");
        let never = Lottery { base: 0, full: 0, ..lottery() };
        let always = Lottery { base: 1_000_000, full: 1_000_000, ..lottery() };
        assert!((0..1_000).all(|n| !never.selects(n, money(1)) && always.selects(n, money(1))));
    }

    #[test]
    fn another_seed_draws_other_payments() {
        let other = Lottery { seed: Bytes([8; 16]), ..lottery() };
        assert!((0..1_000).any(|n| lottery().selects(n, money(25_000)) != other.selects(n, money(25_000))));
    }

    #[test]
    fn an_audit_names_exactly_the_payments_that_should_have_waited() {
        let payments: Vec<_> = (1..200).map(|n| (n, money(n * 100))).collect();
        let drawn: Vec<_> = payments.iter().filter(|(n, m)| lottery().selects(*n, *m)).map(|(n, _)| *n).collect();
        assert!(!drawn.is_empty());
        assert_eq!(audit(&lottery(), payments), drawn);
    }
}
