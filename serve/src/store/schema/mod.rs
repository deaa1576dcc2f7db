//! The tables, and how a database gets them: migrations within the program, each applied once, in one transaction.

use sqlx::{Connection as _, Executor as _};

use super::error::{Fault, StoreError};

/// By version, from 1. Never change one that was released: add the next.
const SQLITE: &[&str] = &[include_str!("sqlite-1.sql")];
const POSTGRES: &[&str] = &[include_str!("postgres-1.sql")];

/// Written into the header of our SQLite files, so that no other program's file is taken for one: "Plim".
const APPLICATION: i64 = 0x506c_696d;
/// What migrating replicas lock, so that one goes first.
const LOCK: i64 = 0x506c_696d_736f_6c6c;

/// Brings a SQLite file to this program's version.
pub(super) async fn migrate_sqlite(connection: &mut sqlx::SqliteConnection) -> Result<(), Fault> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *tx).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *tx).await?;
    if application != APPLICATION && tables > 0 {
        return Err(StoreError::refused("the SQLite file belongs to another program").into());
    }
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *tx).await?;
    for sql in missing(SQLITE, version)? {
        tx.execute(*sql).await?;
    }
    if version < SQLITE.len() as i64 {
        // Pragmas take no parameters.
        let stamp = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {}", SQLITE.len());
        tx.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(stamp))).await?;
    }
    Ok(tx.commit().await?)
}

/// Brings a PostgreSQL database to this program's version.
pub(super) async fn migrate_postgres(connection: &mut sqlx::PgConnection) -> Result<(), Fault> {
    let mut tx = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    tx.execute(
        "CREATE TABLE IF NOT EXISTS plimsoll_schema
         (version BIGINT PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())",
    )
    .await?;
    let version: i64 =
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM plimsoll_schema").fetch_one(&mut *tx).await?;
    for (sql, version) in missing(POSTGRES, version)?.iter().zip(version + 1..) {
        tx.execute(sqlx::raw_sql(*sql)).await?;
        sqlx::query("INSERT INTO plimsoll_schema (version) VALUES ($1)").bind(version).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

fn missing(all: &'static [&'static str], version: i64) -> Result<&'static [&'static str], StoreError> {
    let newer = || {
        let known = all.len();
        StoreError::refused(format!(
            "the database is of version {version}, this program knows {known}: use a newer program"
        ))
    };
    usize::try_from(version).ok().and_then(|v| all.get(v..)).ok_or_else(newer)
}
