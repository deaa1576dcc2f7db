//! Either database: a connection that writes, and what the two do alike.

use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::Bytes;
use sqlx::{PgConnection, SqliteConnection};

use super::changes::{Chain, Changes, Loaded, count};
use super::error::{Fault, StoreError};
use super::journal::Journal;
use super::{postgres, sqlite};
use crate::audit::chain::{ChainId, Head, Link};
use crate::unit::Needs;

/// Which database.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite(sqlite::File),
    Postgres(postgres::Server),
}

/// The same tokens with the type of either connection: SQL that both understand, run-time typed.
macro_rules! on_either {
    ($of:ident, $either:expr, $connection:ident => $body:expr) => {
        match $either {
            $of::Sqlite($connection) => $body,
            $of::Postgres($connection) => $body,
        }
    };
}

pub(super) use on_either;

/// A connection that writes.
#[derive(Debug)]
pub(super) enum Session {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Database {
    pub(super) async fn open(url: &str) -> Result<Self, StoreError> {
        let opened = if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            sqlite::File::open(path.as_ref()).await.map(Self::Sqlite)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            postgres::Server::open(url).await.map(Self::Postgres)
        } else {
            // The URL may hold a password: it is not repeated.
            Err(StoreError::refused("the store's URL begins neither with sqlite: nor with postgres://").into())
        };
        Ok(opened?)
    }

    pub(super) async fn connect(&self) -> Result<Session, Fault> {
        Ok(match self {
            Self::Sqlite(file) => Session::Sqlite(file.connect().await?),
            Self::Postgres(server) => Session::Postgres(server.connect().await?),
        })
    }

    /// A connection for a writer's batches.
    pub(super) async fn writer(&self) -> Result<Session, Fault> {
        Ok(match self {
            Self::Sqlite(file) => Session::Sqlite(file.writer().await?),
            Self::Postgres(server) => Session::Postgres(server.connect().await?),
        })
    }

    /// What brings SQLite's commits to the disk; PostgreSQL's are there when they return.
    pub(super) const fn journal(&self) -> Option<&Journal> {
        match self {
            Self::Sqlite(file) => Some(&file.journal),
            Self::Postgres(_) => None,
        }
    }

    /// Reads without locks, all as of one instant.
    pub(super) async fn look(&self, needs: &Needs) -> Result<Loaded, Fault> {
        match self {
            Self::Sqlite(file) => {
                let mut tx = file.readers.begin().await?;
                let loaded = sqlite::load(&mut tx, needs).await?;
                tx.commit().await?;
                file.journal.settled().await?;
                Ok(loaded)
            }
            Self::Postgres(server) => {
                let mut tx = server.readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
                let loaded = postgres::load(&mut tx, needs, false).await?;
                tx.commit().await?;
                Ok(loaded)
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(file) => {
                // Whoever waits is answered; a sync that failed was told to those it concerns.
                let _told = file.journal.settled().await;
                file.readers.close().await;
            }
            Self::Postgres(server) => server.readers.close().await,
        }
    }
}

impl Session {
    pub(super) const fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }

    pub(super) async fn begin(&mut self) -> Result<(), Fault> {
        // IMMEDIATE: a transaction that reads first and locks later could find that somebody else was faster.
        self.control("BEGIN IMMEDIATE", "BEGIN").await
    }

    pub(super) async fn commit(&mut self) -> Result<(), Fault> {
        self.control("COMMIT", "COMMIT").await
    }

    pub(super) async fn rollback(&mut self) -> Result<(), Fault> {
        self.control("ROLLBACK", "ROLLBACK").await
    }

    async fn control(&mut self, sqlite: &'static str, postgres: &'static str) -> Result<(), Fault> {
        match self {
            // Stays prepared.
            Self::Sqlite(c) => sqlx::query(sqlite).execute(c).await?.rows_affected(),
            // One message, where a prepared statement would be four.
            Self::Postgres(c) => sqlx::Executor::execute(c, postgres).await?.rows_affected(),
        };
        Ok(())
    }

    /// Says goodbye; a connection that is only dropped is found out later by the server.
    pub(super) async fn close(self) {
        use sqlx::Connection as _;
        let closed = on_either!(Self, self, c => c.close().await);
        if let Err(error) = closed {
            tracing::debug!(%error, "closing a connection");
        }
    }

    pub(super) async fn load(&mut self, needs: &Needs) -> Result<Loaded, Fault> {
        match self {
            Self::Sqlite(c) => sqlite::load(c, needs).await,
            Self::Postgres(c) => postgres::load(c, needs, true).await,
        }
    }

    /// Writes everything that changed, and moves the writer's chain.
    pub(super) async fn write(&mut self, changes: &Changes) -> Result<(), Fault> {
        let moved = match self {
            Self::Sqlite(c) => {
                sqlite::write(c, changes).await?;
                let (before, after) = changes.chain;
                let sql = "UPDATE chains SET number = $1, hash = $2, batch = batch + 1 WHERE chain = $3 AND batch = $4";
                sqlx::query(sql)
                    .bind(count(after.head.number))
                    .bind(&after.head.hash.0[..])
                    .bind(&before.head.chain.0[..])
                    .bind(before.batch)
                    .execute(c)
                    .await?
                    .rows_affected()
                    == 1
            }
            Self::Postgres(c) => postgres::write(c, changes).await?,
        };
        if moved { Ok(()) } else { Err(super::chain_moved()) }
    }

    /// Writes what a backup holds, which belongs to no writer's chain.
    pub(super) async fn insert(&mut self, changes: &Changes) -> Result<(), Fault> {
        match self {
            Self::Sqlite(c) => sqlite::write(c, changes).await,
            Self::Postgres(c) => postgres::write(c, changes).await.map(drop),
        }
    }

    /// Where a chain stands, once whoever writes it has come to an end: waits for the lock on its row.
    pub(super) async fn chain(&mut self, chain: ChainId) -> Result<Option<Chain>, Fault> {
        const SQLITE: &str = "SELECT number, hash, batch FROM chains WHERE chain = $1";
        const POSTGRES: &str = "SELECT number, hash, batch FROM chains WHERE chain = $1 FOR UPDATE";
        self.begin().await?;
        let sql = if self.is_sqlite() { SQLITE } else { POSTGRES };
        let found: Option<(i64, Vec<u8>, i64)> = on_either!(Self, &mut *self, c =>
            sqlx::query_as(sql).bind(&chain.0[..]).fetch_optional(c).await)?;
        self.rollback().await?;
        found.map(|(number, hash, batch)| Ok(Chain { head: head(&chain.0, number, &hash)?, batch })).transpose()
    }

    /// Begins a chain: its first entry names the heads that none has named yet.
    pub(super) async fn begin_chain(&mut self, now: UtcSeconds) -> Result<Chain, Fault> {
        const SQLITE: &str = "SELECT chain, number, hash FROM chains WHERE number > named ORDER BY chain";
        const POSTGRES: &str = "SELECT chain, number, hash FROM chains WHERE number > named ORDER BY chain FOR UPDATE";
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|e| StoreError::unavailable(format!("no random numbers: {e}")))?;
        self.begin().await?;
        let sql = if self.is_sqlite() { SQLITE } else { POSTGRES };
        let found: Vec<(Vec<u8>, i64, Vec<u8>)> =
            on_either!(Self, &mut *self, c => sqlx::query_as(sql).fetch_all(c).await)?;
        let heads = found.iter().map(|(c, n, h)| head(c, *n, h)).collect::<Result<Vec<_>, _>>()?;
        let first = Link::first(Bytes(id), now, &heads);
        on_either!(Self, &mut *self, c => {
            for named in &heads {
                sqlx::query("UPDATE chains SET named = number WHERE chain = $1")
                    .bind(&named.chain.0[..])
                    .execute(&mut *c)
                    .await?;
            }
            sqlx::query("INSERT INTO log (chain, number, previous, at, kind, account, body, hash) VALUES ($1, 0, $2, $3, $4, '', $5, $6)")
                .bind(&first.chain.0[..])
                .bind(&first.previous.0[..])
                .bind(first.at.0)
                .bind(&first.kind)
                .bind(&first.body)
                .bind(&first.hash.0[..])
                .execute(&mut *c)
                .await?;
            sqlx::query("INSERT INTO chains (chain, number, hash, batch, named) VALUES ($1, 0, $2, 0, -1)")
                .bind(&first.chain.0[..])
                .bind(&first.hash.0[..])
                .execute(&mut *c)
                .await?;
        });
        self.commit().await?;
        Ok(Chain { head: first.head(), batch: 0 })
    }
}

/// Columns of a head, read.
pub(super) fn head(chain: &[u8], number: i64, hash: &[u8]) -> Result<Head, StoreError> {
    let bad = |_| StoreError::damaged("the head of a chain does not read");
    Ok(Head {
        chain: chain.try_into().map_err(bad)?,
        number: u64::try_from(number).map_err(|_| StoreError::damaged("the head of a chain does not read"))?,
        hash: hash.try_into().map_err(bad)?,
    })
}
