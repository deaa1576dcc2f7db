//! What happened on an account elsewhere: its wallet's own ledger tells us, oldest first.
//!
//! A history is in the order in which the issuer learned of it. A row that comes late is folded in at the time of the
//! newest one before it, so no state is ever rebuilt behind a grant that was computed from it, and the rows as stored
//! give the same state again.

use plimsoll_model::transaction::{Channel, Kind, Place, Transaction, name_hash};
use plimsoll_model::{Flow, UtcSeconds};
use serde_json::json;

use super::Rules;
use crate::record::AccountId;
use crate::unit::{Event, Needs, Row, Unit};

/// A transaction as the wallet's ledger tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Its name there; a second one of that name changes nothing.
    pub name: String,
    /// When.
    pub at: UtcSeconds,
    /// Signed minor units.
    pub amount: Flow,
    /// What for.
    pub kind: Kind,
    /// The other side, by whatever name.
    pub payee: String,
    /// Where.
    pub place: Option<Place>,
}

/// What became of movements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Taken {
    /// Folded in.
    pub new: u64,
    /// Known already.
    pub known: u64,
    /// Of the new ones, folded in later than they happened.
    pub late: u64,
    /// The account's balance, minor units.
    pub balance: i64,
    /// Of the balance.
    pub version: u64,
}

/// Why movements are refused, all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseMovements {
    /// No such account.
    #[error("there is no such account")]
    UnknownAccount,
    /// In the future.
    #[error("movement {name:?} is in the future: {at:?}")]
    Future {
        /// Which.
        name: String,
        /// When it claims to be.
        at: UtcSeconds,
    },
    /// A debit of a credit's kind, or nothing at all.
    #[error("movement {name:?}: a {kind} of {minor} minor units: debits are below zero, credits above")]
    Sign {
        /// Which.
        name: String,
        /// Its kind.
        kind: &'static str,
        /// Its amount.
        minor: i64,
    },
}

/// What taking movements in reads.
pub fn needs(account: &AccountId, movements: &[Movement]) -> Needs {
    let mut needs = Needs::default();
    needs.accounts.insert(account.clone());
    needs.rows.extend(movements.iter().map(|m| (account.clone(), m.name.clone())));
    needs
}

/// Takes movements in.
///
/// # Errors
/// [`RefuseMovements`]: none was taken.
pub fn take(
    unit: &mut Unit,
    rules: &Rules<'_>,
    account: &AccountId,
    movements: &[Movement],
) -> Result<Taken, RefuseMovements> {
    if unit.accounts.get(account).is_none() {
        return Err(RefuseMovements::UnknownAccount);
    }
    for m in movements {
        if m.at > rules.now.plus(plimsoll_model::grant::CLOCK_SLACK_S) {
            return Err(RefuseMovements::Future { name: m.name.clone(), at: m.at });
        }
        let minor = m.amount.minor();
        if minor == 0 || (minor < 0) != m.kind.is_debit() {
            return Err(RefuseMovements::Sign { name: m.name.clone(), kind: m.kind.name(), minor });
        }
    }
    let mut order: Vec<&Movement> = movements.iter().collect();
    order.sort_by_key(|m| m.at);
    let mut taken = Taken::default();
    for m in order {
        // Folding makes a row known, so that the next request of the same commit sees it.
        if unit.known_rows.contains(&(account.clone(), m.name.clone())) {
            taken.known += 1;
            continue;
        }
        let transaction = Transaction {
            at: m.at,
            amount: m.amount,
            kind: m.kind,
            payee: name_hash(m.payee.as_bytes()),
            channel: Channel::Online,
            device: 1,
            place: m.place,
            id: name_hash(m.name.as_bytes()),
        };
        taken.late += u64::from(fold(unit, account, &m.name, transaction));
        taken.new += 1;
    }
    let after = unit.accounts.get(account).expect("was there");
    (taken.balance, taken.version) = (after.balance_minor(), after.version);
    if taken.new > 0 {
        let body = json!({ "account": account, "balance": taken.balance, "version": taken.version });
        unit.events.push(Event { topic: "balance.changed", body });
    }
    Ok(taken)
}

/// Folds one transaction into an account and its history; later than it happened where the state is past it.
///
/// * returns whether it came late.
///
/// # Panics
/// When the account is not there.
pub(super) fn fold(unit: &mut Unit, account: &AccountId, name: &str, mut transaction: Transaction) -> bool {
    let happened = transaction.at;
    unit.accounts.change(account, |account| {
        transaction.at = account.features.latest().map_or(happened, |last| last.max(happened));
        account.features.push(&transaction).expect("is not older than the newest");
        let balance = account.balance_minor();
        if let Some(window) = &mut account.window {
            window.take(&transaction, happened, balance);
        }
        account.version += 1;
        account.lifetime_tx += 1;
    });
    unit.known_rows.insert((account.clone(), name.to_owned()));
    unit.rows.push(Row { account: account.clone(), name: name.to_owned(), transaction });
    transaction.at > happened
}
