//! A unit of work: the records of one transaction, loaded and locked, changed in memory, written back together.
//!
//! ```text
//! requests ─► needs (names) ─► load and lock ─► attempt, attempt, attempt … ─► write what changed ─► commit ─► answers
//!                                               each all or nothing
//! ```
//!
//! The rules run on records and not on a database, so there is one set of rules for every store, and many requests can
//! share a commit: a refused one takes its changes back and leaves the others alone.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::grant::TokenId;
use plimsoll_model::transaction::Transaction;

use crate::record::{Account, AccountId, Ended, GrantRecord, PaymentRecord};

/// What a piece of work reads, by name. Loading in this order locks in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Accounts, there or not.
    pub accounts: BTreeSet<AccountId>,
    /// Grants, by name.
    pub grants: BTreeSet<TokenId>,
    /// Payments, by nonce.
    pub payments: BTreeSet<TokenId>,
    /// Answers given before, by who asked and under which key.
    pub replies: BTreeSet<ReplyKey>,
    /// Rows of histories, by account and name: only whether they are there.
    pub rows: BTreeSet<(AccountId, String)>,
}

impl Needs {
    /// Both.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.accounts.extend(other.accounts.iter().cloned());
        self.grants.extend(&other.grants);
        self.payments.extend(&other.payments);
        self.replies.extend(other.replies.iter().cloned());
        self.rows.extend(other.rows.iter().cloned());
        self
    }
}

/// Who asked, and the `Idempotency-Key` it gave.
pub type ReplyKey = (String, String);

/// An answer that is given again when the same request comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// SHA-256 of method, path and body.
    pub fingerprint: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
    /// When it was given.
    pub at: plimsoll_model::UtcSeconds,
}

/// A transaction of an account's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub account: AccountId,
    /// Its name in the system it comes from; at most once per account.
    pub name: String,
    /// What happened.
    pub transaction: Transaction,
}

/// A decision for the log: JSON with everything that it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What kind of decision, e.g. `grant`.
    pub kind: &'static str,
    /// About whom.
    pub account: AccountId,
    /// Inputs, versions and outcome: JSON, as it is stored.
    pub body: Vec<u8>,
}

impl Entry {
    /// * `body`: holds text, whole numbers, lists and named things only.
    ///
    /// # Panics
    /// When it holds what JSON cannot say.
    pub fn new(kind: &'static str, account: AccountId, body: &impl serde::Serialize) -> Self {
        Self { kind, account, body: serde_json::to_vec(body).expect("a decision is told in what JSON can say") }
    }

    #[cfg(test)]
    pub(crate) fn told(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// Something that others want to know: delivered at least once, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// e.g. `payment.settled`.
    pub topic: &'static str,
    /// JSON.
    pub body: serde_json::Value,
}

/// Records by name: as loaded, as they are now, and what an attempt has to put back.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    rows: BTreeMap<K, Option<V>>,
    changed: BTreeSet<K>,
    undo: Vec<(K, Option<V>, bool)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), changed: BTreeSet::new(), undo: Vec::new() }
    }
}

impl<K: Ord + Clone + std::fmt::Debug, V: Clone> Table<K, V> {
    /// A record as the store has it; `None` when it has none.
    pub fn load(&mut self, key: K, row: Option<V>) {
        self.rows.insert(key, row);
    }

    /// The record, if there is one.
    ///
    /// # Panics
    /// When it was not among the needs.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).unwrap_or_else(|| panic!("{key:?} was not among the needs")).as_ref()
    }

    /// Puts a record in its place.
    ///
    /// # Panics
    /// When it was not among the needs and cannot be new either.
    pub fn put(&mut self, key: K, row: V) {
        let before = self.rows.insert(key.clone(), Some(row)).flatten();
        let first = self.changed.insert(key.clone());
        self.undo.push((key, before, first));
    }

    /// Changes a record that is there.
    ///
    /// # Panics
    /// When it is not there.
    pub fn change<T>(&mut self, key: &K, change: impl FnOnce(&mut V) -> T) -> T {
        let before = self.get(key).unwrap_or_else(|| panic!("{key:?} is not there"));
        // An attempt puts back what it found, so only its first change of a record needs a copy.
        if !self.undo.iter().any(|(undone, ..)| undone == key) {
            let before = Some(before.clone());
            let first = self.changed.insert(key.clone());
            self.undo.push((key.clone(), before, first));
        }
        change(self.rows.get_mut(key).and_then(Option::as_mut).expect("was there"))
    }

    /// What has changed since it was loaded.
    pub fn changed(&self) -> impl Iterator<Item = (&K, &V)> {
        self.changed.iter().filter_map(|key| Some((key, self.rows.get(key)?.as_ref()?)))
    }

    fn rollback(&mut self) {
        for (key, before, first) in self.undo.drain(..).rev() {
            if first {
                self.changed.remove(&key);
            }
            self.rows.insert(key, before);
        }
    }
}

/// The records of one transaction.
#[derive(Clone, Debug, Default)]
pub struct Unit {
    /// Accounts.
    pub accounts: Table<AccountId, Account>,
    /// Grants issued before; new ones are put here.
    pub grants: Table<TokenId, GrantRecord>,
    /// Payments judged before; new ones are put here.
    pub payments: Table<TokenId, PaymentRecord>,
    /// Answers given before; new ones are put here.
    pub replies: Table<ReplyKey, Reply>,
    /// Of the rows that were asked for, those that the histories have.
    pub known_rows: BTreeSet<(AccountId, String)>,
    /// Transactions to add.
    pub rows: Vec<Row>,
    /// Decisions to log.
    pub entries: Vec<Entry>,
    /// Events to send.
    pub events: Vec<Event>,
    /// Windows that have ended, to be counted.
    pub ended: Vec<Ended>,
}

impl Unit {
    /// Does a piece of work, or takes back all of what it did.
    ///
    /// # Errors
    /// Those of the work.
    pub fn attempt<T, E>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        self.accounts.undo.clear();
        self.grants.undo.clear();
        self.payments.undo.clear();
        self.replies.undo.clear();
        let marks = (self.rows.len(), self.entries.len(), self.events.len(), self.ended.len());
        let told = work(self);
        if told.is_err() {
            for row in &self.rows[marks.0..] {
                self.known_rows.remove(&(row.account.clone(), row.name.clone()));
            }
            self.accounts.rollback();
            self.grants.rollback();
            self.payments.rollback();
            self.replies.rollback();
            self.rows.truncate(marks.0);
            self.entries.truncate(marks.1);
            self.events.truncate(marks.2);
            self.ended.truncate(marks.3);
        }
        told
    }

    /// Whether there is anything to write.
    pub fn is_unchanged(&self) -> bool {
        self.accounts.changed.is_empty()
            && self.grants.changed.is_empty()
            && self.payments.changed.is_empty()
            && self.replies.changed.is_empty()
            && self.rows.is_empty()
            && self.entries.is_empty()
            && self.events.is_empty()
            && self.ended.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_attempt_leaves_nothing_and_an_accepted_one_everything() {
        let key = ("client".to_owned(), "key".to_owned());
        let reply =
            |status| Reply { fingerprint: [0; 32], status, body: Vec::new(), at: plimsoll_model::UtcSeconds(0) };
        let mut unit = Unit::default();
        unit.replies.load(key.clone(), None);
        let refused: Result<(), ()> = unit.attempt(|u| {
            u.replies.put(key.clone(), reply(200));
            u.replies.put(key.clone(), reply(201));
            u.events.push(Event { topic: "t", body: serde_json::Value::Null });
            Err(())
        });
        assert_eq!(refused, Err(()));
        assert!(unit.is_unchanged() && unit.replies.get(&key).is_none());

        let accepted: Result<(), ()> = unit.attempt(|u| {
            u.replies.put(key.clone(), reply(200));
            Ok(())
        });
        assert_eq!(accepted, Ok(()));
        let refused: Result<(), ()> = unit.attempt(|u| {
            u.replies.put(key.clone(), reply(500));
            Err(())
        });
        assert_eq!(refused, Err(()));
        assert_eq!(unit.replies.changed().map(|(_, r)| r.status).collect::<Vec<_>>(), [200], "the first still counts");
    }
}
