//! Tokens that were verified before: a signature holds for good, so it is checked once.
//!
//! What can change is asked each time by whoever uses this: whether the key still counts, and the time.
//!
//! Bounded by two generations: when the young one is full it becomes the old one, and what was old and not asked for again
//! is forgotten. Only a verified token gets in, so strangers cannot drive others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::identity::Identity;
use super::jose::Key;

/// Locks that tokens are spread over.
const SHARDS: usize = 16;
/// Tokens of one generation of one shard: some 16,000 in all, about 8 MB.
const GENERATION: usize = 512;

/// What a token proved.
#[derive(Debug)]
pub(super) struct Proven {
    /// Which of the configured issuers.
    pub(super) issuer: usize,
    pub(super) kid: String,
    /// The key that its signature was checked with.
    pub(super) key: Key,
    pub(super) identity: Identity,
    /// UTC seconds from which it counts, as it says.
    pub(super) begins: i64,
    /// UTC seconds at which it ends, as it says.
    pub(super) expires: i64,
}

type Name = [u8; 32];

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Name, Arc<Proven>>,
    old: HashMap<Name, Arc<Proven>>,
}

/// Tokens by the SHA-256 of their text.
#[derive(Debug, Default)]
pub(super) struct Known([Mutex<Generations>; SHARDS]);

impl Known {
    /// The name of a token here.
    pub(super) fn name(token: &str) -> Name {
        Sha256::digest(token).into()
    }

    pub(super) fn get(&self, name: &Name) -> Option<Arc<Proven>> {
        let mut generations = self.shard(name).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(proven) = generations.young.get(name) {
            return Some(Arc::clone(proven));
        }
        let proven = generations.old.remove(name)?;
        generations.insert(*name, Arc::clone(&proven));
        Some(proven)
    }

    pub(super) fn put(&self, name: Name, proven: Proven) {
        self.shard(&name).lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(proven));
    }

    fn shard(&self, name: &Name) -> &Mutex<Generations> {
        &self.0[usize::from(name[0]) % SHARDS]
    }
}

impl Generations {
    fn insert(&mut self, name: Name, proven: Arc<Proven>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, proven);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven() -> Proven {
        let key = ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key();
        let identity = Identity::Bridge { key_id: "a".to_owned() };
        Proven { issuer: 0, kid: "a".to_owned(), key: Key::Ed25519(key), identity, begins: 0, expires: 1 }
    }

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let known = Known::default();
        let asked = Known::name("asked for");
        known.put(asked, proven());
        for i in 0..100_000 {
            known.put(Known::name(&i.to_string()), proven());
            assert!(i % 1_000 != 0 || known.get(&asked).is_some(), "{i}");
        }
        let held: usize = known.0.iter().map(|s| s.lock().map(|g| g.young.len() + g.old.len()).unwrap_or(0)).sum();
        assert!(held <= 2 * SHARDS * GENERATION, "{held}");
        assert!(known.get(&Known::name("0")).is_none() && known.get(&Known::name("never")).is_none());
    }
}
