//! Nonces that were used, for as long as the signature over them counts: bounded, and each once.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use plimsoll_model::UtcSeconds;
use sha2::{Digest as _, Sha256};

use super::refuse::RefuseCredential;
use crate::store::Store;
use crate::unit::{Needs, Reply};

/// Nonces remembered: an hour of seventy a second.
const REMEMBERED: usize = 1 << 18;

/// Nonces of all bridges.
#[derive(Debug, Default)]
pub(super) struct Nonces(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    used: HashSet<[u8; 32]>,
    until: BTreeMap<i64, Vec<[u8; 32]>>,
}

impl Nonces {
    /// Uses a nonce of a key.
    ///
    /// * `until`: afterwards the signature does not count any more, so the nonce may be forgotten.
    ///
    /// # Errors
    /// `Replayed`; `TooManyNonces`, since forgetting one that still counts would let a replay in.
    pub(super) fn once(
        &self,
        key_id: &str,
        nonce: &str,
        until: UtcSeconds,
        now: UtcSeconds,
    ) -> Result<(), RefuseCredential> {
        let name: [u8; 32] = Sha256::new().chain_update(key_id).chain_update([0]).chain_update(nonce).finalize().into();
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = used.until.first_entry().filter(|first| *first.key() <= now.0) {
            for name in first.remove() {
                used.used.remove(&name);
            }
        }
        if used.used.contains(&name) {
            return Err(RefuseCredential::Replayed);
        }
        if used.used.len() >= REMEMBERED {
            return Err(RefuseCredential::TooManyNonces);
        }
        used.used.insert(name);
        used.until.entry(until.0).or_default().push(name);
        Ok(())
    }
}

/// Uses a nonce of a key on every replica, and beyond a restart. The store forgets it after a day, and no signature
/// counts for longer than an hour.
///
/// # Errors
/// `Replayed`; `NoKeys` when the store does not answer, since a replay could not be told then.
pub(super) async fn once_anywhere(
    store: &Store,
    key_id: &str,
    nonce: &str,
    now: UtcSeconds,
) -> Result<(), RefuseCredential> {
    let name = (format!("nonce/{key_id}"), nonce.to_owned());
    let needs = Needs { replies: [name.clone()].into(), ..Needs::default() };
    let used = store.run(now, needs, move |unit| {
        let used = unit.replies.get(&name).is_some();
        if !used {
            let reply = Reply { fingerprint: [0; 32], status: 0, body: Vec::new(), at: now };
            unit.replies.put(name.clone(), reply);
        }
        used
    });
    match used.await {
        Ok(false) => Ok(()),
        Ok(true) => Err(RefuseCredential::Replayed),
        Err(error) => {
            tracing::warn!(%error, "a nonce could not be remembered");
            Err(RefuseCredential::NoKeys)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_counts_once_for_a_key_until_its_signature_has_expired() {
        let nonces = Nonces::default();
        let at = UtcSeconds;
        assert_eq!(nonces.once("k", "n", at(100), at(0)), Ok(()));
        assert_eq!(nonces.once("k", "n", at(200), at(99)), Err(RefuseCredential::Replayed));
        assert_eq!(nonces.once("other", "n", at(100), at(0)), Ok(()));
        assert_eq!(nonces.once("kn", "", at(100), at(0)), Ok(()), "key and nonce do not run into each other");
        assert_eq!(nonces.once("k", "n", at(300), at(100)), Ok(()), "the signature that had it has expired");
    }

    #[test]
    fn more_nonces_than_are_remembered_are_refused_and_not_forgotten() {
        let nonces = Nonces::default();
        for i in 0..REMEMBERED {
            assert_eq!(nonces.once("k", &i.to_string(), UtcSeconds(100), UtcSeconds(0)), Ok(()));
        }
        assert_eq!(nonces.once("k", "new", UtcSeconds(100), UtcSeconds(0)), Err(RefuseCredential::TooManyNonces));
        assert_eq!(nonces.once("k", "0", UtcSeconds(100), UtcSeconds(99)), Err(RefuseCredential::Replayed));
        assert_eq!(nonces.once("k", "new", UtcSeconds(200), UtcSeconds(100)), Ok(()));
        assert_eq!(nonces.0.lock().expect("no panic").used.len(), 1);
    }
}
