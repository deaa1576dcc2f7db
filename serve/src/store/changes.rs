//! What a batch writes: the changed records of a unit as the columns of both databases.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::TokenId;
use serde::{Deserialize, Serialize};

use super::error::{Fault, StoreError};
use super::history::StoredRow;
use crate::audit::chain::{Head, Link};
use crate::record::{Account, AccountId, Record as _};
use crate::unit::{ReplyKey, Unit};

/// A unit as it was loaded, and what the store has to know to write it back.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) unit: Unit,
    pub(super) accounts: BTreeMap<AccountId, Place>,
    pub(super) grants: BTreeSet<TokenId>,
    pub(super) payments: BTreeSet<TokenId>,
    pub(super) replies: BTreeSet<ReplyKey>,
}

/// Where an account stands in the store.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Rises with every write.
    pub(super) revision: i64,
    /// Rows in its history.
    pub(super) history: i64,
    /// The end of its bytes, which has a row of its own.
    pub(super) features: Vec<u8>,
}

impl Loaded {
    /// An account whose bytes are in two rows.
    pub(super) fn account(
        &mut self,
        (revision, history, mut body): (i64, i64, Vec<u8>),
        features: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let features = features.ok_or_else(|| StoreError::damaged("an account is without its features"))?;
        body.extend_from_slice(&features);
        let account = Account::from_bytes(&body)?;
        self.accounts.insert(account.id.clone(), Place { revision, history, features });
        self.unit.accounts.load(account.id.clone(), Some(account));
        Ok(())
    }
}

/// Where a writer's chain stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) head: Head,
    /// Commits of its writer.
    pub(super) batch: i64,
}

/// An account's bytes are `body` and then its row of features. Only transactions change those, and they are nine tenths of
/// it, so that a sync without payments writes a tenth.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AccountRow {
    pub(super) id: String,
    pub(super) revision: i64,
    pub(super) history: i64,
    pub(super) tier: i64,
    pub(super) balance: i64,
    pub(super) updated_at: i64,
    pub(super) exposed: i64,
    pub(super) exposed_until: i64,
    pub(super) proposed_at: i64,
    pub(super) window_until: i64,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FeaturesRow {
    pub(super) account: String,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HistoryRow {
    pub(super) account: String,
    pub(super) place: i64,
    pub(super) name: String,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GrantRow {
    pub(super) jti: Vec<u8>,
    pub(super) account: String,
    pub(super) jkt: Vec<u8>,
    pub(super) seq: i64,
    pub(super) iat: i64,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PaymentRow {
    pub(super) nonce: Vec<u8>,
    pub(super) payer: String,
    pub(super) payee: String,
    pub(super) judged_at: i64,
    pub(super) disputed_at: i64,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReplyRow {
    pub(super) client: String,
    pub(super) name: String,
    pub(super) fingerprint: Vec<u8>,
    pub(super) status: i64,
    pub(super) at: i64,
    pub(super) body: Vec<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EndedRow {
    pub(super) jti: Vec<u8>,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct EventRow {
    pub(super) at: i64,
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
}

/// Records of one kind: those that are new, and those that replace one. A new one never replaces: the second of two
/// writers of one name is stopped by the database.
#[derive(Debug)]
pub(super) struct Split<T> {
    pub(super) new: Vec<T>,
    pub(super) changed: Vec<T>,
}

impl<T> Default for Split<T> {
    fn default() -> Self {
        Self { new: Vec::new(), changed: Vec::new() }
    }
}

impl<T> Split<T> {
    fn of<K: Ord>(rows: impl Iterator<Item = (K, T)>, known: &BTreeSet<K>) -> Self {
        let mut split = Self { new: Vec::new(), changed: Vec::new() };
        for (key, row) in rows {
            if known.contains(&key) { split.changed.push(row) } else { split.new.push(row) }
        }
        split
    }
}

/// Everything that one commit writes, in the order of its keys, so that writers lock in the same order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) accounts: Vec<AccountRow>,
    pub(super) features: Split<FeaturesRow>,
    pub(super) history: Vec<HistoryRow>,
    pub(super) grants: Split<GrantRow>,
    pub(super) payments: Split<PaymentRow>,
    pub(super) replies: Split<ReplyRow>,
    pub(super) events: Vec<EventRow>,
    pub(super) ended: Vec<EndedRow>,
    pub(super) log: Vec<Link>,
    /// The writer's chain before and after.
    pub(super) chain: (Chain, Chain),
}

impl Changes {
    /// * `times`: of each entry, and of each event, when it was asked for;
    /// * `now`: of the batch.
    pub(super) fn of(loaded: &Loaded, times: &Times, chain: Chain) -> Result<Self, Fault> {
        let unit = &loaded.unit;
        let mut history_of: BTreeMap<&AccountId, i64> = BTreeMap::new();
        let mut history = Vec::with_capacity(unit.rows.len());
        for row in &unit.rows {
            let before = loaded.accounts.get(&row.account).map_or(0, |place| place.history);
            let place = history_of.entry(&row.account).or_insert(before);
            *place += 1;
            let body = StoredRow::from(&row.transaction).to_bytes();
            let (account, name) = (row.account.to_string(), row.name.clone());
            history.push(HistoryRow { account, place: *place, name, body });
        }
        let mut accounts = Vec::new();
        let mut features = Split::default();
        for (id, account) in unit.accounts.changed() {
            let before = loaded.accounts.get(id);
            let mut body = account.to_bytes();
            // Wherever the bytes are cut, they are put together again as they were.
            match before {
                Some(before) if body.ends_with(&before.features) => body.truncate(body.len() - before.features.len()),
                _ => {
                    let row =
                        FeaturesRow { account: id.to_string(), body: body.split_off(account.features_from(&body)) };
                    if before.is_some() { features.changed.push(row) } else { features.new.push(row) }
                }
            }
            accounts.push(AccountRow {
                id: id.to_string(),
                revision: before.map_or(0, |place| place.revision) + 1,
                history: history_of.remove(id).unwrap_or(before.map_or(0, |place| place.history)),
                tier: account.tier(times.latest).level().into(),
                balance: account.balance_minor(),
                updated_at: times.latest.0,
                exposed: account.exposed(times.latest).minor() as i64,
                exposed_until: account.exposed_until().0,
                proposed_at: account.proposed.as_ref().map_or(0, |p| p.at.0),
                window_until: account.window.map_or(0, |w| w.until.0),
                body,
            });
        }
        if let Some(account) = history_of.into_keys().next() {
            let why = format!("a row was added to the history of an account that was not changed: {account:?}");
            return Err(StoreError::Refused { why }.into());
        }

        let mut head = chain.head;
        let mut log = Vec::with_capacity(unit.entries.len());
        for (entry, at) in unit.entries.iter().zip(&times.entries) {
            let link = Link::after(&head, *at, entry.kind, entry.account.as_str(), entry.body.clone());
            head = link.head();
            log.push(link);
        }
        let events = unit.events.iter().zip(&times.events);
        Ok(Self {
            accounts,
            features,
            history,
            grants: Split::of(unit.grants.changed().map(|(k, v)| (*k, grant(v))), &loaded.grants),
            payments: Split::of(unit.payments.changed().map(|(k, v)| (*k, payment(v))), &loaded.payments),
            replies: Split::of(unit.replies.changed().map(|(k, v)| (k.clone(), reply(k, v))), &loaded.replies),
            events: events
                .map(|(e, at)| EventRow { at: at.0, topic: e.topic.to_owned(), body: json(&e.body) })
                .collect(),
            ended: unit.ended.iter().map(|e| EndedRow { jti: e.promise.jti.0.to_vec(), body: e.to_bytes() }).collect(),
            log,
            chain: (chain, Chain { head, batch: chain.batch + 1 }),
        })
    }
}

/// When what a batch writes was asked for.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) entries: Vec<UtcSeconds>,
    pub(super) events: Vec<UtcSeconds>,
    pub(super) latest: UtcSeconds,
}

impl Default for Times {
    fn default() -> Self {
        Self { entries: Vec::new(), events: Vec::new(), latest: UtcSeconds(i64::MIN) }
    }
}

impl Times {
    /// Everything in the unit that has no time yet was asked for at `now`.
    pub(super) fn stamp(&mut self, unit: &Unit, now: UtcSeconds) {
        self.entries.resize(unit.entries.len(), now);
        self.events.resize(unit.events.len(), now);
        self.latest = self.latest.max(now);
    }
}

fn grant(record: &crate::record::GrantRecord) -> GrantRow {
    GrantRow {
        jti: record.jti.0.to_vec(),
        account: record.account.to_string(),
        jkt: record.jkt.0.to_vec(),
        seq: count(record.seq),
        iat: record.iat.0,
        body: record.to_bytes(),
    }
}

fn payment(record: &crate::record::PaymentRecord) -> PaymentRow {
    PaymentRow {
        nonce: record.nonce.0.to_vec(),
        payer: record.payer.to_string(),
        payee: record.payee.to_string(),
        judged_at: record.judged_at.0,
        disputed_at: record.dispute.as_ref().filter(|d| d.found.is_none()).map_or(0, |d| d.at.0),
        body: record.to_bytes(),
    }
}

fn reply((client, name): &ReplyKey, reply: &crate::unit::Reply) -> ReplyRow {
    ReplyRow {
        client: client.clone(),
        name: name.clone(),
        fingerprint: reply.fingerprint.to_vec(),
        status: reply.status.into(),
        at: reply.at.0,
        body: reply.body.clone(),
    }
}

fn json(value: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value is always JSON")
}

/// A count as both databases hold it. No wallet counts to 2⁶³.
pub(super) fn count(n: u64) -> i64 {
    i64::try_from(n).expect("a count below 2^63")
}
