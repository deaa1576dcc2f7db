//! Rate limits with bounded memory: one instant a name, the *theoretical arrival time* of GCRA.
//!
//! A bucket of `per_minute` tokens that refills evenly. What is remembered of a name is only when its bucket will be
//! full again; a full bucket is forgotten. When more names are being limited than are remembered, those that come new
//! share one bucket, so that a flood of names costs its senders and not the memory.
//!
//! `governor` is the well-kept crate for this; it cannot look without taking (a good credential must not spend the
//! allowance for bad ones) and bounds no memory by itself.
//!
//! Source: ITU-T I.371 (2004), annex A, *Generic Cell Rate Algorithm*, virtual scheduling.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Locks that names are spread over.
const SHARDS: usize = 16;

/// How often each name may do something.
#[derive(Debug)]
pub(super) struct Rate<K> {
    shards: [Mutex<Shard<K>>; SHARDS],
    spread: RandomState,
    remembered: usize,
    origin: Instant,
}

#[derive(Debug)]
struct Shard<K> {
    /// Nanoseconds after the origin at which the bucket is full again.
    full_at: HashMap<K, u64>,
    /// Of all the names that found no place.
    others: u64,
}

impl<K: Eq + Hash> Rate<K> {
    /// * `remembered`: names at most.
    pub(super) fn new(remembered: usize, origin: Instant) -> Self {
        let shard = |_| Mutex::new(Shard { full_at: HashMap::new(), others: 0 });
        let remembered = remembered.div_ceil(SHARDS).max(1);
        Self { shards: std::array::from_fn(shard), spread: RandomState::new(), remembered, origin }
    }

    /// Takes one token of `name`'s bucket.
    ///
    /// # Errors
    /// How long to wait until there is one.
    pub(super) fn take(&self, name: K, per_minute: u32, now: Instant) -> Result<(), Duration> {
        self.ask(name, per_minute, now, true)
    }

    /// Whether there is a token, without taking it.
    ///
    /// # Errors
    /// How long to wait until there is one.
    pub(super) fn look(&self, name: K, per_minute: u32, now: Instant) -> Result<(), Duration> {
        self.ask(name, per_minute, now, false)
    }

    fn ask(&self, name: K, per_minute: u32, now: Instant, take: bool) -> Result<(), Duration> {
        const MINUTE: u64 = 60_000_000_000;
        if per_minute == 0 {
            return Ok(());
        }
        let now = u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX / 2);
        let each = MINUTE / u64::from(per_minute);
        let shard = &self.shards[self.spread.hash_one(&name) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let Shard { full_at, others } = &mut *shard;

        let known = full_at.contains_key(&name);
        if !known && take && full_at.len() >= self.remembered {
            // A full bucket and no bucket are the same.
            full_at.retain(|_, full_at| *full_at > now);
        }
        let shared = !known && full_at.len() >= self.remembered;
        let before = if shared { *others } else { full_at.get(&name).copied().unwrap_or(0) };
        let after = before.max(now) + each;
        if after > now + MINUTE {
            return Err(Duration::from_nanos(after - now - MINUTE));
        }
        match (take, shared) {
            (false, _) => {}
            (true, true) => *others = after,
            (true, false) => drop(full_at.insert(name, after)),
        }
        Ok(())
    }

    #[cfg(test)]
    fn remembered(&self) -> usize {
        self.shards.iter().map(|s| s.lock().expect("no test panics inside").full_at.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn ten_a_minute_are_ten_at_once_then_one_every_six_seconds() {
        let start = Instant::now();
        let rate = Rate::new(100, start);
        for i in 0..10 {
            assert_eq!(rate.take("a", 10, start), Ok(()), "{i}");
        }
        let wait = rate.take("a", 10, start).expect_err("the bucket is empty");
        assert_eq!(wait, 6 * SECOND);
        assert_eq!(rate.take("b", 10, start), Ok(()), "another has its own");
        assert!(rate.take("a", 10, start + wait - Duration::from_nanos(1)).is_err());
        assert_eq!(rate.look("a", 10, start + wait), Ok(()));
        assert_eq!(rate.take("a", 10, start + wait), Ok(()), "looking took nothing");
        assert!(rate.look("a", 10, start + wait).is_err());

        let mut taken = 11;
        for tenth in 61..=6_000 {
            taken += u32::from(rate.take("a", 10, start + tenth * SECOND / 10).is_ok());
        }
        assert_eq!(taken, 10 + 100, "ten minutes later: ten and ten a minute");
    }

    #[test]
    fn a_flood_of_names_keeps_to_the_memory_and_leaves_those_that_are_known_alone() {
        let start = Instant::now();
        let rate = Rate::new(1_600, start);
        assert_eq!(rate.take(0_u64, 60, start), Ok(()));
        let served = (1..100_000).filter(|name| rate.take(*name, 60, start).is_ok()).count();
        assert!(rate.remembered() <= 1_600, "{}", rate.remembered());
        // Every shard serves the names it remembers once, and one shared bucket.
        assert!((1_599..=1_599 + SHARDS * 60).contains(&served), "{served}");
        assert_eq!(rate.take(0, 60, start), Ok(()), "the one that was there is served");
        assert_eq!(rate.take(200_000, 60, start + 61 * SECOND), Ok(()), "and a minute later everybody");
        assert!(rate.remembered() <= 1_600);
    }

    #[test]
    fn no_limit_is_no_limit() {
        let start = Instant::now();
        let rate = Rate::new(1, start);
        assert!((0..1_000).all(|_| rate.take("a", 0, start).is_ok()));
    }
}
