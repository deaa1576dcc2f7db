//! A transaction as it is stored.

use plimsoll_model::transaction::{Channel, Kind, Place, Settlement, Transaction};
use plimsoll_model::{Flow, UtcSeconds};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::record::Record;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRow {
    at: i64,
    amount: i64,
    kind: Kind,
    payee: u64,
    offline: Option<Settlement>,
    device: u8,
    place: Option<(i32, i32)>,
    id: u64,
}

impl Record for StoredRow {
    const VERSION: u8 = 1;
}

impl From<&Transaction> for StoredRow {
    fn from(t: &Transaction) -> Self {
        Self {
            at: t.at.0,
            amount: t.amount.minor(),
            kind: t.kind,
            payee: t.payee,
            offline: match t.channel {
                Channel::Online => None,
                Channel::Offline(outcome) => Some(outcome),
            },
            device: t.device,
            place: t.place.map(|p| (p.latitude_e6, p.longitude_e6)),
            id: t.id,
        }
    }
}

impl TryFrom<StoredRow> for Transaction {
    type Error = StoreError;
    fn try_from(row: StoredRow) -> Result<Self, StoreError> {
        let amount = Flow::from_minor(row.amount).map_err(|e| StoreError::damaged(format!("a row's amount: {e}")))?;
        Ok(Self {
            at: UtcSeconds(row.at),
            amount,
            kind: row.kind,
            payee: row.payee,
            channel: row.offline.map_or(Channel::Online, Channel::Offline),
            device: row.device,
            place: row.place.map(|(latitude_e6, longitude_e6)| Place { latitude_e6, longitude_e6 }),
            id: row.id,
        })
    }
}
