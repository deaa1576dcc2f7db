//! What a caller of the store can do when it fails.

use std::borrow::Cow;

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing was written: the same may be tried again later. The database is away, busy, or its disk is full.
    #[error("the store is not available: {why}")]
    Unavailable {
        /// What it said.
        why: String,
    },
    /// The connection was lost during the commit and could not be had again in time: it was written whole or not at all.
    /// Ask again under the same name (idempotency key, nonce), and the answer will be the right one.
    #[error("the store was lost while it committed: ask again under the same idempotency key")]
    Unknown,
    /// Nothing was written, and trying again will not help: the configuration or the request has to change.
    #[error("the store refuses: {why}")]
    Refused {
        /// What has to change.
        why: String,
    },
    /// Nothing was written: what is stored does not read. Somebody has to look.
    #[error("the store is damaged: {why}")]
    Damaged {
        /// What does not read.
        why: String,
    },
}

impl StoreError {
    pub(super) fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into() }
    }

    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    pub(super) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged { why: why.into() }
    }
}

impl From<crate::record::BadRecord> for StoreError {
    fn from(bad: crate::record::BadRecord) -> Self {
        Self::damaged(bad.to_string())
    }
}

/// What went wrong within a transaction, by what its writer does about it.
#[derive(Debug)]
pub(super) enum Fault {
    /// Somebody else was faster, or two waited for each other: run the work again on what is there now.
    Conflict(String),
    /// The connection is of no more use: take another one, and try again for a while.
    Lost(String),
    /// The connection is well, and the database cannot do it now: its disk is full, say.
    NotNow(String),
    /// It will not work however often it is tried.
    Never(StoreError),
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Conflict(why) | Fault::Lost(why) | Fault::NotNow(why) => Self::Unavailable { why },
            Fault::Never(error) => error,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Never(error)
    }
}

impl From<crate::record::BadRecord> for Fault {
    fn from(bad: crate::record::BadRecord) -> Self {
        Self::Never(bad.into())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Fault::from(error).into()
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        let why = error.to_string();
        match &error {
            sqlx::Error::Database(cause) => {
                let code = cause.code().unwrap_or(Cow::Borrowed(""));
                if cause.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                    of_sqlite(code.parse().unwrap_or(0), why)
                } else {
                    of_postgres(&code, why)
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Lost(why),
            // Also what a build without the feature `postgres-tls` says to `sslmode=require`.
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => Self::Never(StoreError::Refused { why }),
            _ => Self::Never(StoreError::Damaged { why }),
        }
    }
}

/// By SQLite's extended result code: <https://www.sqlite.org/rescode.html>.
fn of_sqlite(code: i32, why: String) -> Fault {
    match code & 0xff {
        // A constraint that is there to stop the second of two: PRIMARYKEY, UNIQUE.
        19 if matches!(code >> 8, 6 | 8) => Fault::Conflict(why),
        // BUSY, LOCKED, INTERRUPT, NOMEM, FULL, CANTOPEN.
        5 | 6 | 7 | 9 | 13 | 14 => Fault::NotNow(why),
        // IOERR: whatever the connection still holds is not to be relied on.
        10 => Fault::Lost(why),
        // PERM, READONLY, AUTH.
        3 | 8 | 23 => Fault::Never(StoreError::Refused { why }),
        // CORRUPT, NOTADB and whatever else.
        _ => Fault::Never(StoreError::Damaged { why }),
    }
}

/// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn of_postgres(code: &str, why: String) -> Fault {
    match code {
        // Unique violation, serialisation failure, deadlock.
        "23505" | "40001" | "40P01" => Fault::Conflict(why),
        // A standby, as after a failover: another connection may reach the new primary.
        "25006" => Fault::Lost(why),
        // Going down, starting up, database gone.
        "57P01" | "57P02" | "57P03" | "57P05" => Fault::Lost(why),
        // Statement or lock timeout.
        "57014" | "55P03" => Fault::NotNow(why),
        _ => match code.get(..2).unwrap_or("") {
            "08" => Fault::Lost(why),
            // Transaction rollback of any other kind.
            "40" => Fault::Conflict(why),
            // Out of disk, memory, connections.
            "53" => Fault::NotNow(why),
            // I/O error.
            "58" => Fault::Lost(why),
            // Wrong name or password; no such database; may not; text that it cannot hold.
            "28" | "3D" | "42" | "0A" | "22" => Fault::Never(StoreError::Refused { why }),
            _ => Fault::Never(StoreError::Damaged { why }),
        },
    }
}
