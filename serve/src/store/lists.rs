//! What console and audit read: pages, beside the writers, without locks.
//!
//! A page begins behind the last item of the one before it, so that no page gets slower the further one reads.

use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::TokenId;

use super::database::head;
use super::history::StoredRow;
use super::{Store, StoreError};
use crate::audit::chain::{ChainId, Head, Link};
use crate::record::{AccountId, GrantRecord, PaymentRecord, Record as _};
use crate::unit::Row;

/// Items of one page, whatever is asked for.
pub const PAGE_MAX: usize = 1_000;

/// An account in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountLine {
    /// Its name.
    pub id: AccountId,
    /// The level of its tier when it was last written.
    pub tier: u8,
    /// What is in it, minor units.
    pub balance_minor: i64,
    /// When it was last written.
    pub updated_at: UtcSeconds,
}

/// A transaction, and its place in its account's history: from 1, in the order in which they were folded in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedRow {
    /// Its place.
    pub place: u64,
    /// The transaction.
    pub row: Row,
}

/// Columns of the log.
type LogColumns = (Vec<u8>, i64, Vec<u8>, i64, String, String, Vec<u8>, Vec<u8>);

macro_rules! columns_of_log {
    ($rest:literal) => {
        concat!("SELECT chain, number, previous, at, kind, account, body, hash FROM log ", $rest)
    };
}

/// Runs SQL that both databases understand on a reader of either.
macro_rules! read {
    ($store:expr, $readers:ident => $body:expr) => {
        match &$store.shared.database {
            $crate::store::database::Database::Sqlite(file) => {
                let $readers = &file.readers;
                let found = $body;
                // What is told has to be on the disk.
                file.journal.settled().await?;
                found
            }
            $crate::store::database::Database::Postgres(server) => {
                let $readers = &server.readers;
                $body
            }
        }
    };
}
pub(super) use read;

impl Store {
    /// Accounts whose name begins with `prefix`, by name.
    ///
    /// * `after`: the last of the page before.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn accounts(
        &self,
        prefix: &str,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountLine>, StoreError> {
        const SQL: &str = "SELECT id, tier, balance, updated_at FROM accounts
            WHERE id >= $1 AND id < $2 AND id > $3 ORDER BY id LIMIT $4";
        // No name holds a byte from 0x7f on. A prefix that no name can have, such as one with a zero byte that PostgreSQL
        // would refuse, finds nothing.
        if !prefix.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Vec::new());
        }
        let found: Vec<(String, i64, i64, i64)> = read!(self, readers => sqlx::query_as(SQL)
            .bind(prefix)
            .bind(format!("{prefix}\u{7f}"))
            .bind(after.map_or("", |a| a.as_str()))
            .bind(page(limit))
            .fetch_all(readers)
            .await)?;
        found.into_iter().map(line).collect()
    }

    /// An account's transactions, newest first.
    ///
    /// * `before`: the place of the last of the page before.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn rows_before(
        &self,
        of: &AccountId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<PlacedRow>, StoreError> {
        const SQL: &str =
            "SELECT place, name, body FROM history WHERE account = $1 AND place < $2 ORDER BY place DESC LIMIT $3";
        let before = before.and_then(|b| i64::try_from(b).ok()).unwrap_or(i64::MAX);
        let found: Vec<(i64, String, Vec<u8>)> = read!(self, readers => sqlx::query_as(SQL)
            .bind(of.as_str()).bind(before).bind(page(limit)).fetch_all(readers).await)?;
        found.into_iter().map(|columns| placed(of, columns)).collect()
    }

    /// An account's transactions in the order in which they were folded in.
    ///
    /// * `after`: the place of the last of the page before; 0 to begin.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn rows_after(&self, of: &AccountId, after: u64, limit: usize) -> Result<Vec<PlacedRow>, StoreError> {
        const SQL: &str =
            "SELECT place, name, body FROM history WHERE account = $1 AND place > $2 ORDER BY place LIMIT $3";
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let found: Vec<(i64, String, Vec<u8>)> = read!(self, readers => sqlx::query_as(SQL)
            .bind(of.as_str()).bind(after).bind(page(limit)).fetch_all(readers).await)?;
        found.into_iter().map(|columns| placed(of, columns)).collect()
    }

    /// An account's grants, newest first.
    ///
    /// * `before`: time and name of the last of the page before.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn grants(
        &self,
        of: &AccountId,
        before: Option<(UtcSeconds, TokenId)>,
        limit: usize,
    ) -> Result<Vec<GrantRecord>, StoreError> {
        const SQL: &str = "SELECT body FROM grants WHERE account = $1 AND (iat, jti) < ($2, $3)
            ORDER BY iat DESC, jti DESC LIMIT $4";
        let (at, token) = before.unwrap_or(END);
        let found: Vec<Vec<u8>> = read!(self, readers => sqlx::query_scalar(SQL)
            .bind(of.as_str()).bind(at.0).bind(&token.0[..]).bind(page(limit)).fetch_all(readers).await)?;
        found.iter().map(|body| Ok(GrantRecord::from_bytes(body)?)).collect()
    }

    /// The payments that an account made or was to get, newest first.
    ///
    /// * `before`: time of judgement and nonce of the last of the page before.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn payments(
        &self,
        of: &AccountId,
        before: Option<(UtcSeconds, TokenId)>,
        limit: usize,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        // Two short walks along two indices; a payment to oneself is in both.
        const SQL: &str = "
            SELECT body FROM (
                SELECT * FROM (
                    SELECT judged_at, nonce, body FROM payments WHERE payer = $1 AND (judged_at, nonce) < ($2, $3)
                    ORDER BY judged_at DESC, nonce DESC LIMIT $4) AS made
                UNION ALL
                SELECT * FROM (
                    SELECT judged_at, nonce, body FROM payments
                    WHERE payee = $1 AND payer <> $1 AND (judged_at, nonce) < ($2, $3)
                    ORDER BY judged_at DESC, nonce DESC LIMIT $4) AS taken
            ) AS both_sides ORDER BY judged_at DESC, nonce DESC LIMIT $4";
        let (at, token) = before.unwrap_or(END);
        let found: Vec<Vec<u8>> = read!(self, readers => sqlx::query_scalar(SQL)
            .bind(of.as_str()).bind(at.0).bind(&token.0[..]).bind(page(limit)).fetch_all(readers).await)?;
        found.iter().map(|body| Ok(PaymentRecord::from_bytes(body)?)).collect()
    }

    /// The ends of all chains of the log, by chain. What grew after this was asked lies behind them.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn heads(&self) -> Result<Vec<Head>, StoreError> {
        const SQL: &str = "SELECT chain, number, hash FROM chains ORDER BY chain";
        let found: Vec<(Vec<u8>, i64, Vec<u8>)> = read!(self, readers => sqlx::query_as(SQL).fetch_all(readers).await)?;
        found.iter().map(|(chain, number, hash)| head(chain, *number, hash)).collect()
    }

    /// Entries of one chain in their order, from number `from` on.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn log(&self, chain: ChainId, from: u64, limit: usize) -> Result<Vec<Link>, StoreError> {
        const SQL: &str = columns_of_log!("WHERE chain = $1 AND number >= $2 ORDER BY number LIMIT $3");
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let found: Vec<LogColumns> = read!(self, readers => sqlx::query_as(SQL)
            .bind(&chain.0[..]).bind(from).bind(page(limit)).fetch_all(readers).await)?;
        found.into_iter().map(link).collect()
    }

    /// Entries about one account, newest first.
    ///
    /// * `before`: the last of the page before.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn log_of(&self, of: &AccountId, before: Option<&Link>, limit: usize) -> Result<Vec<Link>, StoreError> {
        const SQL: &str = columns_of_log!(
            "WHERE account = $1 AND (at, chain, number) < ($2, $3, $4) ORDER BY at DESC, chain DESC, number DESC LIMIT $5"
        );
        let end = (i64::MAX, ChainId::default(), 0);
        let (at, chain, number) = before.map_or(end, |l| (l.at.0, l.chain, super::changes::count(l.number)));
        let found: Vec<LogColumns> = read!(self, readers => sqlx::query_as(SQL)
            .bind(of.as_str())
            .bind(at)
            .bind(&chain.0[..])
            .bind(number)
            .bind(page(limit))
            .fetch_all(readers)
            .await)?;
        found.into_iter().map(link).collect()
    }
}

/// Before the first page: later than anything.
const END: (UtcSeconds, TokenId) = (UtcSeconds(i64::MAX), plimsoll_model::grant::Bytes([0xff; 16]));

pub(super) fn page(limit: usize) -> i64 {
    limit.min(PAGE_MAX) as i64
}

/// Columns of an account in a list, read.
pub(super) fn line((id, tier, balance_minor, updated_at): (String, i64, i64, i64)) -> Result<AccountLine, StoreError> {
    let tier = u8::try_from(tier).map_err(|_| StoreError::damaged("a stored tier does not read"))?;
    Ok(AccountLine { id: account(id)?, tier, balance_minor, updated_at: UtcSeconds(updated_at) })
}

fn account(id: String) -> Result<AccountId, StoreError> {
    id.try_into().map_err(|_| StoreError::damaged("a stored account's name does not read"))
}

fn placed(of: &AccountId, (place, name, body): (i64, String, Vec<u8>)) -> Result<PlacedRow, StoreError> {
    let place = u64::try_from(place).map_err(|_| StoreError::damaged("a row's place does not read"))?;
    let transaction = StoredRow::from_bytes(&body)?.try_into()?;
    Ok(PlacedRow { place, row: Row { account: of.clone(), name, transaction } })
}

fn link((chain, number, previous, at, kind, account, body, hash): LogColumns) -> Result<Link, StoreError> {
    let end = head(&chain, number, &hash)?;
    let previous = previous.as_slice().try_into();
    Ok(Link {
        chain: end.chain,
        number: end.number,
        previous: previous.map_err(|_| StoreError::damaged("a stored hash does not read"))?,
        at: UtcSeconds(at),
        kind,
        account,
        body,
        hash: end.hash,
    })
}
