//! The integer arithmetic of the caps, exhaustively on small domains and at random on large ones, against a few lines
//! that say the same in another way.

use plimsoll_edge::storage::crash::CrashDisk;
use plimsoll_edge::wallet::Decision;
use plimsoll_model::grant::{Caps, Curve, Grant, Level};
use plimsoll_model::{Age, UtcSeconds};
use proptest::prelude::*;

use crate::bank::*;

/// A grant's caps as plain numbers; `None` where there is none.
#[derive(Clone, Copy, Debug)]
struct Rules {
    limit: u64,
    token: Option<u64>,
    h24: Option<u64>,
    total: Option<u64>,
    count: u32,
}

impl Rules {
    fn apply(self, grant: &mut Grant) {
        grant.limit = Curve::new(vec![(Age::hours(72), money(self.limit))]).unwrap();
        grant.cap = Caps {
            token: self.token.map(money),
            h24: self.h24.map(money),
            total: self.total.map(|stop| Level { stop: money(stop), ask: None }),
            count: Some(Level { stop: self.count, ask: None }),
            ..Caps::default()
        };
    }

    /// Whether `amount` at `at` may follow `paid`: every sentence of the rules, one by one, in wide integers.
    fn allow(self, paid: &[(UtcSeconds, u64)], at: UtcSeconds, amount: u64) -> bool {
        let sum = |from: i64| paid.iter().filter(|p| p.0.0 > from).map(|p| i128::from(p.1)).sum::<i128>();
        let amount = i128::from(amount);
        let all = sum(i64::MIN);
        all + amount <= i128::from(self.limit)
            && self.token.is_none_or(|cap| amount <= i128::from(cap))
            && self.total.is_none_or(|cap| all + amount <= i128::from(cap))
            && self.h24.is_none_or(|cap| sum(at.0 - 86_400) + amount <= i128::from(cap))
            && paid.len() < self.count as usize
    }
}

/// Plays payments through a wallet, and compares every answer.
fn plays(rules: Rules, balance: u64, payments: &[(i64, u64)]) {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = granted(&disk, &counter, |g| {
        g.bal = money(balance);
        rules.apply(g);
    });
    let (mut at, mut paid) = (SYNC, Vec::new());
    for (nonce, (gap, amount)) in (1..).zip(payments) {
        at = at.plus(*gap);
        let want = rules.allow(&paid, at, *amount);
        let remaining = wallet.limit(at, None).unwrap();
        let got = pay(&mut wallet, nonce, *amount, at).unwrap();
        let yes = matches!(got, Decision::Approve { .. });
        assert_eq!(yes, want, "{rules:?} after {paid:?}: {amount} at {at:?}");
        assert_eq!(*amount <= remaining.per_payment.minor(), want, "what is shown is what is paid");
        if yes {
            paid.push((at, *amount));
        }
    }
}

#[test]
fn every_small_case_agrees_with_the_sentences_of_the_rules() {
    let caps = [None, Some(0), Some(1), Some(2), Some(3)];
    let mut cases = 0;
    for limit in 0..4 {
        for token in caps {
            for h24 in caps {
                for total in caps {
                    for count in 0..3 {
                        let rules = Rules { limit, token, h24, total, count };
                        // Three payments of 1 to 3, the last one on the edge of the first one's 24 hours.
                        for amounts in 0..9_u64 {
                            for last in [86_399, 86_400] {
                                let second = amounts / 3 + 1;
                                plays(rules, 4, &[(0, amounts % 3 + 1), (0, second), (last, 1)]);
                                cases += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(cases, 4 * 5 * 5 * 5 * 3 * 18);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn random_payments_up_to_the_largest_amounts_agree_too(
        scale in 1u64..=1_000_000_000_000_000,
        caps in proptest::array::uniform4(proptest::option::of(0u64..=1_000)),
        count in 0u32..=12,
        payments in proptest::collection::vec((0i64..20_000, 1u64..=1_000), 1..14),
    ) {
        let part = |share: u64| (u128::from(scale) * u128::from(share) / 1_000) as u64;
        let [limit, token, h24, total] = caps.map(|share| share.map(part));
        let rules = Rules { limit: limit.unwrap_or(scale), token, h24, total, count };
        let payments: Vec<_> = payments.into_iter().map(|(gap, share)| (gap, part(share).max(1))).collect();
        plays(rules, scale, &payments);
    }
}
