//! How far each release has come: which share of the accounts it decides for, what was seen of it, whether it was
//! pulled back.
//!
//! ```text
//! account ─► SHA-256(seed, release, account) ─► place 0 … 999,999 ─► in the ring of every release whose share is above it
//!                                                                   the newest of those that may run decides
//! ```
//!
//! Everything here only ever moves one way: shares of accounts and counts grow, shares that are
//! granted fall, a release that was pulled back stays back. So two
//! records merge without asking anybody ([`Rollout::merge`]), and replicas that pass them around in any order, any number
//! of times, end with the same one.

use std::collections::BTreeMap;

use plimsoll_model::grant::Bytes;
use plimsoll_model::{Tier, UtcSeconds};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::record::AccountId;

/// SHA-256 of a model file: what grants name a release by.
pub type Digest = Bytes<32>;

/// Everybody.
pub const EVERYONE: u32 = 1_000_000;

/// Accounts that must have compared a release before their disagreement pulls it back: below that, one careless phone
/// would decide.
pub const COMPARED_MIN: u64 = 100;

/// Replicas whose counts are told apart; more share the last place.
const REPLICAS_MAX: usize = 64;

/// What is known of every release that was ever served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// By digest.
    rings: BTreeMap<Digest, Ring>,
}

/// How far one release has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    /// Of its manifest: the model line.
    pub model_id: String,
    /// Of its manifest.
    pub model_version: u64,
    /// Of its manifest: a release with a lower one than the newest is withdrawn.
    pub rollback_index: u64,
    /// SHA-256 of its policy, so that it is known by which rules it decided.
    pub policy: Digest,
    /// Share of the accounts it decides for, parts per million.
    pub share_ppm: u32,
    /// When it came in.
    pub since: UtcSeconds,
    /// Of every limit of a tier, the share that is granted, parts per million; all of it where nothing is said.
    pub granted_ppm: BTreeMap<Tier, u32>,
    /// It decides for nobody any more.
    pub pulled: Option<Pulled>,
    /// What devices said, by the replica that heard it.
    pub compared: BTreeMap<String, Compared>,
}

/// A release was pulled back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pulled {
    /// When.
    pub at: UtcSeconds,
    /// Why, for people.
    pub why: String,
}

/// How often devices computed what the server computed. Counts accounts, each once, so that no single one can pull a
/// release back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// Accounts that compared.
    pub accounts: u64,
    /// Of those, accounts whose device came to another limit at least once.
    pub unequal: u64,
}

/// Why a release does not move as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseMove {
    /// Never served here.
    #[error("no release of model version {model_version} was ever served here")]
    Unknown {
        /// What was asked for.
        model_version: u64,
    },
    /// It was pulled back.
    #[error("model {model_version} was pulled back: {why}; publish a new version")]
    Pulled {
        /// Which.
        model_version: u64,
        /// Why.
        why: String,
    },
    /// A ring never shrinks.
    #[error("model {model_version} decides for {now_ppm} ppm already: a ring only widens; to stop it, pull it back")]
    Narrower {
        /// Which.
        model_version: u64,
        /// Its share.
        now_ppm: u32,
    },
    /// More than everybody.
    #[error("{ppm} ppm is more than everybody, 1,000,000")]
    Share {
        /// What was asked for.
        ppm: u32,
    },
}

impl Ring {
    /// Of all replicas together.
    pub fn compared(&self) -> Compared {
        self.compared.values().fold(Compared::default(), |sum, c| Compared {
            accounts: sum.accounts.saturating_add(c.accounts),
            unequal: sum.unequal.saturating_add(c.unequal),
        })
    }

    fn merge(&mut self, other: &Self) {
        self.share_ppm = self.share_ppm.max(other.share_ppm).min(EVERYONE);
        self.since = self.since.min(other.since);
        for (tier, theirs) in &other.granted_ppm {
            let ours = self.granted_ppm.entry(*tier).or_insert(EVERYONE);
            *ours = (*ours).min(*theirs);
        }
        // The first pull-back, whoever saw it.
        self.pulled = [self.pulled.take(), other.pulled.clone()].into_iter().flatten().min();
        for (replica, theirs) in &other.compared {
            let ours = self.compared.entry(replica.clone()).or_default();
            ours.accounts = ours.accounts.max(theirs.accounts);
            ours.unequal = ours.unequal.max(theirs.unequal);
        }
    }
}

impl Compared {
    /// Whether devices disagree too often: more than `share_max_ppm` of at least [`COMPARED_MIN`] accounts.
    pub fn exceeds(&self, share_max_ppm: u32) -> bool {
        let unequal = u128::from(self.unequal) * 1_000_000;
        self.accounts >= COMPARED_MIN && unequal > u128::from(self.accounts) * u128::from(share_max_ppm)
    }
}

impl Rollout {
    /// The ring of a release.
    pub fn ring(&self, release: &Digest) -> Option<&Ring> {
        self.rings.get(release)
    }

    /// Every release, in no order that means anything.
    pub fn rings(&self) -> impl Iterator<Item = (&Digest, &Ring)> {
        self.rings.iter()
    }

    /// The release of a model version.
    pub fn of_version(&self, model_version: u64) -> Option<(&Digest, &Ring)> {
        self.rings.iter().find(|(_, ring)| ring.model_version == model_version)
    }

    /// A release comes in: for the first ring, or for everybody where nothing older may run beside it.
    ///
    /// That is the case for the very first release, and for one whose signers withdrew all before it. One that follows a
    /// release pulled back *here* starts in the first ring: what it replaces was bad enough.
    pub fn admit(&mut self, release: Digest, mut ring: Ring, first_ring_ppm: u32) {
        let alone = self.rings.values().all(|older| older.rollback_index < ring.rollback_index);
        ring.share_ppm = if alone { EVERYONE } else { first_ring_ppm.min(EVERYONE) };
        self.rings.entry(release).and_modify(|known| known.merge(&ring)).or_insert(ring);
    }

    /// Gives a release to more accounts.
    ///
    /// # Errors
    /// [`RefuseMove`].
    pub fn widen(&mut self, model_version: u64, share_ppm: u32) -> Result<(), RefuseMove> {
        if share_ppm > EVERYONE {
            return Err(RefuseMove::Share { ppm: share_ppm });
        }
        let ring = self.of_version_mut(model_version)?;
        if let Some(pulled) = &ring.pulled {
            return Err(RefuseMove::Pulled { model_version, why: pulled.why.clone() });
        }
        if share_ppm < ring.share_ppm {
            return Err(RefuseMove::Narrower { model_version, now_ppm: ring.share_ppm });
        }
        ring.share_ppm = share_ppm;
        Ok(())
    }

    /// Takes a release back, for good. Doing it twice changes nothing.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn pull_back(&mut self, model_version: u64, pulled: Pulled) -> Result<(), RefuseMove> {
        self.of_version_mut(model_version)?.pulled.get_or_insert(pulled);
        Ok(())
    }

    /// Lowers the share of a tier's limits that a release grants; a higher one changes nothing.
    pub fn lower(&mut self, release: &Digest, tier: Tier, granted_ppm: u32) {
        if let Some(ring) = self.rings.get_mut(release) {
            let granted = ring.granted_ppm.entry(tier).or_insert(EVERYONE);
            *granted = (*granted).min(granted_ppm);
        }
    }

    /// Adds what a device said about a release to the counts of a replica.
    ///
    /// * `first`: the account had not compared this release before;
    /// * `unequal`: its device came to another limit, and had not before;
    /// * returns the counts of all replicas together.
    pub fn compare(&mut self, release: &Digest, replica: &str, (first, unequal): (bool, bool)) -> Compared {
        let Some(ring) = self.rings.get_mut(release) else { return Compared::default() };
        let full = ring.compared.len() >= REPLICAS_MAX && !ring.compared.contains_key(replica);
        let counts = ring.compared.entry(if full { "others" } else { replica }.to_owned()).or_default();
        counts.accounts += u64::from(first);
        counts.unequal += u64::from(unequal);
        ring.compared()
    }

    /// Both: every ring as far as either has it.
    pub fn merge(&mut self, other: &Self) {
        for (release, theirs) in &other.rings {
            match self.rings.get_mut(release) {
                Some(ours) => ours.merge(theirs),
                None => {
                    self.rings.insert(*release, theirs.clone());
                }
            }
        }
    }

    fn of_version_mut(&mut self, model_version: u64) -> Result<&mut Ring, RefuseMove> {
        let found = self.rings.values_mut().find(|ring| ring.model_version == model_version);
        found.ok_or(RefuseMove::Unknown { model_version })
    }
}

/// Where an account stands in the queue for a release: 0 to 999,999, evenly, and always the same.
///
/// A release has an order of its own, so that it is not the same few who try every new one.
pub fn place(seed: &str, release: &Digest, account: &AccountId) -> u32 {
    let mut hash = Sha256::new_with_prefix(b"plimsoll ring 1\0");
    hash.update((seed.len() as u64).to_le_bytes());
    hash.update(seed.as_bytes());
    hash.update(release.0);
    hash.update(account.as_str().as_bytes());
    let hash = hash.finalize();
    let word = u64::from_le_bytes(std::array::from_fn(|i| hash[i]));
    // The high half of a product: even to within 2⁻⁴⁴, where a remainder would favour small places.
    ((u128::from(word) * u128::from(EVERYONE)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(version: u64) -> Digest {
        Bytes([version as u8; 32])
    }

    fn ring(version: u64) -> Ring {
        Ring {
            model_id: "tng-fixture".into(),
            model_version: version,
            rollback_index: 0,
            policy: digest(99),
            share_ppm: 0,
            since: UtcSeconds(version as i64),
            granted_ppm: BTreeMap::new(),
            pulled: None,
            compared: BTreeMap::new(),
        }
    }

    fn account(i: u64) -> AccountId {
        AccountId::try_from(format!("account-{i}")).expect("a name")
    }

    fn two_releases() -> Rollout {
        let mut rollout = Rollout::default();
        rollout.admit(digest(1), ring(1), 10_000);
        rollout.admit(digest(2), ring(2), 10_000);
        rollout
    }

    #[test]
    fn the_first_release_is_for_everyone_and_the_next_for_the_first_ring() {
        let rollout = two_releases();
        assert_eq!(rollout.ring(&digest(1)).map(|r| r.share_ppm), Some(EVERYONE));
        assert_eq!(rollout.ring(&digest(2)).map(|r| r.share_ppm), Some(10_000));
    }

    #[test]
    fn a_release_that_withdraws_all_before_it_is_for_everyone() {
        let mut rollout = two_releases();
        rollout.admit(digest(3), Ring { rollback_index: 1, ..ring(3) }, 10_000);
        assert_eq!(rollout.ring(&digest(3)).map(|r| r.share_ppm), Some(EVERYONE));
    }

    #[test]
    fn a_release_after_one_that_was_pulled_back_starts_in_the_first_ring() {
        let mut rollout = Rollout::default();
        rollout.admit(digest(1), ring(1), 10_000);
        rollout.pull_back(1, Pulled { at: UtcSeconds(5), why: "ordered".into() }).expect("is there");
        rollout.admit(digest(2), ring(2), 10_000);
        assert_eq!(rollout.ring(&digest(2)).map(|r| r.share_ppm), Some(10_000));
    }

    #[test]
    fn a_restart_does_not_narrow_a_ring_that_was_widened() {
        let mut rollout = two_releases();
        rollout.widen(2, 200_000).expect("wider");
        rollout.admit(digest(2), ring(2), 10_000);
        assert_eq!(rollout.ring(&digest(2)).map(|r| r.share_ppm), Some(200_000));
    }

    #[test]
    fn the_first_ring_holds_one_in_a_hundred_accounts() {
        let n = 100_000;
        let inside = (0..n).filter(|i| place("seed", &digest(2), &account(*i)) < 10_000).count() as f64;
        // Four standard deviations of a binomial count.
        let (mean, band) = (1_000.0, 4.0 * (n as f64 * 0.01 * 0.99_f64).sqrt());
        assert!((inside - mean).abs() < band, "{inside} of {n}");
    }

    #[test]
    fn places_are_even_over_the_whole_range() {
        let n = 200_000_u64;
        let mut tenths = [0_u64; 10];
        for i in 0..n {
            tenths[(place("seed", &digest(7), &account(i)) / 100_000) as usize] += 1;
        }
        let expected = n as f64 / 10.0;
        let chi2: f64 = tenths.iter().map(|&o| (o as f64 - expected).powi(2) / expected).sum();
        // 99.99 % of χ² with nine degrees of freedom.
        assert!(chi2 < 33.7, "{chi2} {tenths:?}");
    }

    #[test]
    fn another_release_or_another_seed_is_tried_by_others() {
        let in_ring = |seed: &str, version| {
            let inside = move |i: &u64| place(seed, &digest(version), &account(*i)) < 10_000;
            (0..50_000).filter(inside).collect::<std::collections::BTreeSet<_>>()
        };
        let first = in_ring("a", 2);
        // Of about 500, about 1 % by chance.
        assert!(first.intersection(&in_ring("a", 3)).count() < 25);
        assert!(first.intersection(&in_ring("b", 2)).count() < 25);
        assert_eq!(first, in_ring("a", 2));
    }

    #[test]
    fn rings_widen_and_never_narrow() {
        let mut rollout = two_releases();
        rollout.widen(2, 50_000).expect("wider");
        assert_eq!(rollout.widen(2, 49_999), Err(RefuseMove::Narrower { model_version: 2, now_ppm: 50_000 }));
        assert_eq!(rollout.widen(3, 50_000), Err(RefuseMove::Unknown { model_version: 3 }));
        assert_eq!(rollout.widen(2, 1_000_001), Err(RefuseMove::Share { ppm: 1_000_001 }));
        rollout.widen(2, EVERYONE).expect("everybody");
    }

    #[test]
    fn devices_disagree_too_often_above_the_share_and_not_at_it() {
        let counts = |accounts, unequal| Compared { accounts, unequal };
        assert!(!counts(100, 5).exceeds(50_000), "5 of 100 is 5 %");
        assert!(counts(100, 6).exceeds(50_000));
        assert!(!counts(COMPARED_MIN - 1, COMPARED_MIN - 1).exceeds(50_000), "too few to tell");
        assert!(counts(COMPARED_MIN, COMPARED_MIN).exceeds(50_000));
        assert!(counts(u64::MAX, u64::MAX).exceeds(999_999), "no overflow");
    }

    #[test]
    fn replicas_that_each_saw_too_little_see_enough_together() {
        let mut left = two_releases();
        let mut right = left.clone();
        for _ in 0..60 {
            assert!(!left.compare(&digest(2), "left", (true, true)).exceeds(50_000));
            assert!(!right.compare(&digest(2), "right", (true, true)).exceeds(50_000));
        }
        left.merge(&right);
        assert_eq!(left.compare(&digest(2), "left", (true, false)), Compared { accounts: 121, unequal: 120 });
        assert_eq!(left.compare(&digest(9), "left", (true, false)), Compared::default(), "an unknown release");
    }

    #[test]
    fn a_release_that_was_pulled_back_stays_back() {
        let mut rollout = two_releases();
        let pulled = |at, why: &str| Pulled { at: UtcSeconds(at), why: why.to_owned() };
        rollout.pull_back(2, pulled(5, "first")).expect("is there");
        rollout.pull_back(2, pulled(6, "second")).expect("is there");
        assert_eq!(rollout.ring(&digest(2)).and_then(|r| r.pulled.clone()), Some(pulled(5, "first")));
        let why = "first".to_owned();
        assert_eq!(rollout.widen(2, EVERYONE), Err(RefuseMove::Pulled { model_version: 2, why }));
        rollout.admit(digest(2), ring(2), 10_000);
        assert!(rollout.ring(&digest(2)).is_some_and(|r| r.pulled.is_some()), "also when it comes again");
    }

    prop_compose! {
        fn any_ring()(
            version in 0..3u64,
            share_ppm in 0..=EVERYONE,
            since in 0..9i64,
            pulled in proptest::option::of((0..9i64, "[xy]")),
            counts in proptest::collection::btree_map("[ab]", (0..9u64, 0..9u64), 0..3),
            granted in proptest::collection::btree_map(0..2u8, 0..=EVERYONE, 0..3),
        ) -> (Digest, Ring) {
            let tier = |level| Tier::new(level).expect("exists");
            let of = |(accounts, unequal)| Compared { accounts, unequal };
            let ring = Ring {
                share_ppm,
                since: UtcSeconds(since),
                granted_ppm: granted.into_iter().map(|(level, ppm)| (tier(level), ppm)).collect(),
                pulled: pulled.map(|(at, why)| Pulled { at: UtcSeconds(at), why }),
                compared: counts.into_iter().map(|(replica, counts)| (replica, of(counts))).collect(),
                ..ring(version)
            };
            (digest(version), ring)
        }
    }

    fn any_rollout() -> impl Strategy<Value = Rollout> {
        proptest::collection::btree_map(0..3u8, any_ring(), 0..4)
            .prop_map(|rings| Rollout { rings: rings.into_values().collect() })
    }

    proptest! {
        #[test]
        fn records_merge_in_any_order_any_number_of_times(a in any_rollout(), b in any_rollout(), c in any_rollout()) {
            let merged = |parts: &[&Rollout]| {
                let mut all = Rollout::default();
                parts.iter().for_each(|part| all.merge(part));
                all
            };
            let all = merged(&[&a, &b, &c]);
            prop_assert_eq!(&all, &merged(&[&c, &b, &a]));
            prop_assert_eq!(&all, &merged(&[&b, &a, &b, &c, &a, &c]));
            let mut nested = merged(&[&b, &c]);
            nested.merge(&a);
            prop_assert_eq!(&all, &nested);
            // Nothing moves back.
            for (release, before) in a.rings() {
                let after = all.ring(release).expect("stays");
                prop_assert!(after.share_ppm >= before.share_ppm);
                prop_assert!(before.granted_ppm.iter().all(|(t, ppm)| after.granted_ppm[t] <= *ppm));
                prop_assert!(after.pulled.is_some() || before.pulled.is_none());
            }
        }

        #[test]
        fn a_record_reads_back(a in any_rollout()) {
            let text = serde_json::to_vec(&a).expect("writes");
            prop_assert_eq!(serde_json::from_slice::<Rollout>(&text).expect("reads"), a);
        }
    }
}
