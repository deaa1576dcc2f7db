//! The statements of SQLite: one file, one writer at a time, readers beside it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::TokenId;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, QueryBuilder, Sqlite};

use super::changes::{Changes, Loaded, Split};
use super::error::Fault;
use super::journal::Journal;
use super::{StoreError, schema};
use crate::record::{GrantRecord, PaymentRecord, Record as _};
use crate::unit::{Needs, Reply};

/// Rows of one INSERT. Batches are cut into powers of two, so that there are few statements and all stay prepared.
const ROWS_MAX: usize = 128;
/// Statements that stay prepared: the powers of two up to [`ROWS_MAX`] for each table, and the others.
const PREPARED: usize = 256;
const READERS: u32 = 4;
/// Pages of the log, 128 MB, from which on a commit copies what is left of it, and the next one begins it again.
const LOG_PAGES: i64 = 16_384;
/// How often it is copied beside the writer, and how often once it is nearly full.
const COPY: Duration = Duration::from_millis(200);
const COPY_THE_REST: Duration = Duration::from_millis(5);
/// How long a writer waits for another process (a backup, a second service on the same file).
const BUSY: Duration = Duration::from_secs(5);

/// One file.
#[derive(Clone, Debug)]
pub(super) struct File {
    options: SqliteConnectOptions,
    pub(super) readers: SqlitePool,
    pub(super) journal: Journal,
}

impl File {
    /// Opens the file, or creates it.
    pub(super) async fn open(path: &Path) -> Result<Self, Fault> {
        Self::with(path, sync_log).await
    }

    /// * `sync`: brings the log at a path to the disk.
    pub(super) async fn with(
        path: &Path,
        sync: impl Fn(&Path) -> io::Result<()> + Send + 'static,
    ) -> Result<Self, Fault> {
        if path.as_os_str().is_empty() || path.to_string_lossy().starts_with(":memory:") {
            return Err(StoreError::refused("sqlite: needs the path of a file").into());
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            // An account's row has some 4 kB: with smaller pages every one of them would have a page of overflow.
            .page_size(8_192)
            .journal_mode(SqliteJournalMode::Wal)
            // An answer is given after the commit, so the commit has to be on the disk: NORMAL may lose the last ones, and is
            // for the writer, whose answers wait for the journal.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .statement_cache_capacity(PREPARED)
            .pragma("cache_size", "-65536")
            // Pages that many batches touch are copied into the file once; most of them by `checkpoints`, beside the writer.
            .pragma("wal_autocheckpoint", LOG_PAGES.to_string())
            // What a statement of many rows would put back is kept in memory, not in a file that is unlinked.
            .pragma("temp_store", "MEMORY")
            // After a large batch the log shrinks again. Written over, it needs no new blocks, and syncs faster.
            .pragma("journal_size_limit", (LOG_PAGES * 8_192).to_string())
            .disable_statement_logging();
        let begun = Instant::now();
        // Turning a new file's WAL on does not wait for another process that does the same.
        while let Err(fault) = create(&options).await {
            if !matches!(fault, Fault::NotNow(_)) || begun.elapsed() >= BUSY || !path.exists() {
                return Err(fault);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY)
            .connect_lazy_with(options.clone().read_only(true).create_if_missing(false));
        let io = |e: io::Error| StoreError::unavailable(format!("{}: {e}", path.display()));
        // SQLite follows links too, and its log is beside what they lead to.
        let mut log = path.canonicalize().map_err(io)?.into_os_string();
        log.push("-wal");
        let log = PathBuf::from(log);
        let journal = Journal::new(move || sync(&log)).map_err(io)?;
        Ok(Self { options, readers, journal })
    }

    /// A connection that writes, and whose commits are on the disk when they return.
    pub(super) async fn connect(&self) -> Result<SqliteConnection, Fault> {
        Ok(self.options.clone().create_if_missing(false).connect().await?)
    }

    /// Copies the log into the file for ever, so that little is left for the commit that finds it full: that one stands still
    /// until all is copied and synced.
    pub(super) async fn checkpoints(self) {
        let mut connection = None;
        let mut copied = (0, 0);
        loop {
            let full = copied.0 > LOG_PAGES / 4 * 3;
            tokio::time::sleep(if full { COPY_THE_REST } else { COPY }).await;
            let commits = self.journal.commits();
            if commits == copied.1 {
                continue;
            }
            match self.checkpoint(&mut connection).await {
                Ok(pages) => copied = (pages, commits),
                Err(fault) => {
                    // Full disk, say: commits meet it too, and say so.
                    tracing::debug!(?fault, "the log was not copied");
                    connection = None;
                }
            }
        }
    }

    /// * returns the pages of the log.
    async fn checkpoint(&self, connection: &mut Option<SqliteConnection>) -> Result<i64, Fault> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(self.connect().await?),
        };
        let (_busy, pages, _copied): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
        Ok(pages)
    }

    /// A connection whose commits are brought to the disk by the journal.
    pub(super) async fn writer(&self) -> Result<SqliteConnection, Fault> {
        let options = self.options.clone().create_if_missing(false);
        Ok(options.synchronous(SqliteSynchronous::Normal).connect().await?)
    }
}

/// By a file of our own: on SQLite's log nobody holds a lock, which closing this one would take away.
fn sync_log(log: &Path) -> io::Result<()> {
    match std::fs::OpenOptions::new().read(true).write(true).open(log) {
        Ok(file) => file.sync_data(),
        // The last connection was closed: SQLite has copied and synced all of it before it removed the log.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn create(options: &SqliteConnectOptions) -> Result<(), Fault> {
    let mut connection = options.connect().await?;
    schema::migrate_sqlite(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Reads what the needs name. `BEGIN IMMEDIATE` has locked everything already.
pub(super) async fn load(connection: &mut SqliteConnection, needs: &Needs) -> Result<Loaded, Fault> {
    let mut loaded = Loaded::default();
    if !needs.accounts.is_empty() {
        let found: Vec<AccountColumns> = sqlx::query_as(
            "SELECT a.revision, a.history, a.body, f.body FROM json_each($1) n CROSS JOIN accounts a ON a.id = n.value
             LEFT JOIN features f ON f.account = a.id",
        )
        .bind(names(needs.accounts.iter().map(crate::record::AccountId::as_str)))
        .fetch_all(&mut *connection)
        .await?;
        needs.accounts.iter().for_each(|id| loaded.unit.accounts.load(id.clone(), None));
        for (revision, history, body, features) in found {
            loaded.account((revision, history, body), features)?;
        }
    }
    let unit = &mut loaded.unit;
    if !needs.grants.is_empty() {
        let found: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT g.body FROM json_each($1) n CROSS JOIN grants g ON g.jti = unhex(n.value)")
                .bind(tokens(needs.grants.iter()))
                .fetch_all(&mut *connection)
                .await?;
        needs.grants.iter().for_each(|jti| unit.grants.load(*jti, None));
        for body in found {
            let grant = GrantRecord::from_bytes(&body)?;
            loaded.grants.insert(grant.jti);
            unit.grants.load(grant.jti, Some(grant));
        }
    }
    if !needs.payments.is_empty() {
        let found: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT p.body FROM json_each($1) n CROSS JOIN payments p ON p.nonce = unhex(n.value)")
                .bind(tokens(needs.payments.iter()))
                .fetch_all(&mut *connection)
                .await?;
        needs.payments.iter().for_each(|nonce| unit.payments.load(*nonce, None));
        for body in found {
            let payment = PaymentRecord::from_bytes(&body)?;
            loaded.payments.insert(payment.nonce);
            unit.payments.load(payment.nonce, Some(payment));
        }
    }
    if !needs.replies.is_empty() {
        let found: Vec<ReplyColumns> = sqlx::query_as(
            "SELECT r.client, r.name, r.fingerprint, r.status, r.at, r.body FROM json_each($1) n
             CROSS JOIN replies r ON r.client = n.value ->> 0 AND r.name = n.value ->> 1",
        )
        .bind(pairs(needs.replies.iter().map(|(client, name)| (client.as_str(), name.as_str()))))
        .fetch_all(&mut *connection)
        .await?;
        needs.replies.iter().for_each(|key| unit.replies.load(key.clone(), None));
        for (client, name, fingerprint, status, at, body) in found {
            let reply = read_reply(&fingerprint, status, at, body)?;
            loaded.replies.insert((client.clone(), name.clone()));
            unit.replies.load((client, name), Some(reply));
        }
    }
    if !needs.rows.is_empty() {
        let found: Vec<(String, String)> = sqlx::query_as(
            "SELECT h.account, h.name FROM json_each($1) n
             CROSS JOIN history h ON h.account = n.value ->> 0 AND h.name = n.value ->> 1",
        )
        .bind(pairs(needs.rows.iter().map(|(account, name)| (account.as_str(), name.as_str()))))
        .fetch_all(&mut *connection)
        .await?;
        for (account, name) in found {
            let account = account.try_into().map_err(|_| StoreError::damaged("a row's account has no name"))?;
            unit.known_rows.insert((account, name));
        }
    }
    Ok(loaded)
}

type AccountColumns = (i64, i64, Vec<u8>, Option<Vec<u8>>);
type ReplyColumns = (String, String, Vec<u8>, i64, i64, Vec<u8>);

/// Columns of a reply, read.
pub(super) fn read_reply(fingerprint: &[u8], status: i64, at: i64, body: Vec<u8>) -> Result<Reply, StoreError> {
    let bad = |_| StoreError::damaged("a stored reply does not read");
    Ok(Reply {
        fingerprint: fingerprint.try_into().map_err(|_| StoreError::damaged("a stored reply does not read"))?,
        status: status.try_into().map_err(bad)?,
        body,
        at: UtcSeconds(at),
    })
}

/// Writes everything that changed.
pub(super) async fn write(connection: &mut SqliteConnection, changes: &Changes) -> Result<(), Fault> {
    let wrote = rows(connection, ACCOUNTS, &changes.accounts, |mut q, r| {
        q.push_bind(r.id.clone())
            .push_bind(r.revision)
            .push_bind(r.history)
            .push_bind(r.tier)
            .push_bind(r.balance)
            .push_bind(r.updated_at)
            .push_bind(r.exposed)
            .push_bind(r.exposed_until)
            .push_bind(r.proposed_at)
            .push_bind(r.window_until)
            .push_bind(r.body.clone());
    })
    .await?;
    if wrote != changes.accounts.len() as u64 {
        return Err(Fault::Conflict("an account was written by somebody else".to_owned()));
    }
    split(connection, FEATURES, &changes.features, |mut q, r| {
        q.push_bind(r.account.clone()).push_bind(r.body.clone());
    })
    .await?;
    rows(connection, ("INSERT INTO history (account, place, name, body) ", ""), &changes.history, |mut q, r| {
        q.push_bind(r.account.clone()).push_bind(r.place).push_bind(r.name.clone()).push_bind(r.body.clone());
    })
    .await?;
    split(connection, GRANTS, &changes.grants, |mut q, r| {
        q.push_bind(r.jti.clone())
            .push_bind(r.account.clone())
            .push_bind(r.jkt.clone())
            .push_bind(r.seq)
            .push_bind(r.iat)
            .push_bind(r.body.clone());
    })
    .await?;
    split(connection, PAYMENTS, &changes.payments, |mut q, r| {
        q.push_bind(r.nonce.clone())
            .push_bind(r.payer.clone())
            .push_bind(r.payee.clone())
            .push_bind(r.judged_at)
            .push_bind(r.disputed_at)
            .push_bind(r.body.clone());
    })
    .await?;
    split(connection, REPLIES, &changes.replies, |mut q, r| {
        q.push_bind(r.client.clone())
            .push_bind(r.name.clone())
            .push_bind(r.fingerprint.clone())
            .push_bind(r.status)
            .push_bind(r.at)
            .push_bind(r.body.clone());
    })
    .await?;
    rows(connection, ("INSERT INTO events (at, topic, body) ", ""), &changes.events, |mut q, r| {
        q.push_bind(r.at).push_bind(r.topic.clone()).push_bind(r.body.clone());
    })
    .await?;
    rows(connection, ("INSERT INTO ended (jti, body) ", ""), &changes.ended, |mut q, r| {
        q.push_bind(r.jti.clone()).push_bind(r.body.clone());
    })
    .await?;
    const LOG: &str = "INSERT INTO log (chain, number, previous, at, kind, account, body, hash) ";
    rows(connection, (LOG, ""), &changes.log, |mut q, r| {
        q.push_bind(r.chain.0.to_vec())
            .push_bind(super::changes::count(r.number))
            .push_bind(r.previous.0.to_vec())
            .push_bind(r.at.0)
            .push_bind(r.kind.clone())
            .push_bind(r.account.clone())
            .push_bind(r.body.clone())
            .push_bind(r.hash.0.to_vec());
    })
    .await?;
    Ok(())
}

/// An upsert that overwrites only what was loaded: the second line behind the lock.
const ACCOUNTS: (&str, &str) = (
    "INSERT INTO accounts
     (id, revision, history, tier, balance, updated_at, exposed, exposed_until, proposed_at, window_until, body) ",
    " ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, history = excluded.history, tier = excluded.tier,
      balance = excluded.balance, updated_at = excluded.updated_at, exposed = excluded.exposed,
      exposed_until = excluded.exposed_until, proposed_at = excluded.proposed_at,
      window_until = excluded.window_until, body = excluded.body
      WHERE accounts.revision = excluded.revision - 1",
);
const FEATURES: (&str, &str) =
    ("INSERT INTO features (account, body) ", " ON CONFLICT (account) DO UPDATE SET body = excluded.body");
const GRANTS: (&str, &str) = (
    "INSERT INTO grants (jti, account, jkt, seq, iat, body) ",
    " ON CONFLICT (jti) DO UPDATE SET body = excluded.body",
);
const PAYMENTS: (&str, &str) = (
    "INSERT INTO payments (nonce, payer, payee, judged_at, disputed_at, body) ",
    " ON CONFLICT (nonce) DO UPDATE SET disputed_at = excluded.disputed_at, body = excluded.body",
);
const REPLIES: (&str, &str) = (
    "INSERT INTO replies (client, name, fingerprint, status, at, body) ",
    " ON CONFLICT (client, name) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
      at = excluded.at, body = excluded.body",
);

type Bind<'a> = sqlx::query_builder::Separated<'a, Sqlite, &'static str>;

/// New rows with what comes before the VALUES; changed ones also with what comes after.
async fn split<T>(
    connection: &mut SqliteConnection,
    (before, after): (&'static str, &'static str),
    records: &Split<T>,
    bind: impl Fn(Bind<'_>, &T) + Copy,
) -> Result<(), Fault> {
    rows(connection, (before, ""), &records.new, bind).await?;
    rows(connection, (before, after), &records.changed, bind).await?;
    Ok(())
}

/// * returns how many rows it wrote.
async fn rows<T>(
    connection: &mut SqliteConnection,
    (before, after): (&'static str, &'static str),
    rows: &[T],
    bind: impl Fn(Bind<'_>, &T) + Copy,
) -> Result<u64, Fault> {
    let mut wrote = 0;
    let mut left = rows;
    while !left.is_empty() {
        let size = ROWS_MAX.min(1 << left.len().ilog2());
        let (now, later) = left.split_at(size);
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(before);
        query.push_values(now, bind).push(after);
        wrote += query.build().execute(&mut *connection).await?.rows_affected();
        left = later;
    }
    Ok(wrote)
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    serde_json::to_string(&names.collect::<Vec<_>>()).expect("text is JSON")
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    serde_json::to_string(&pairs.collect::<Vec<_>>()).expect("text is JSON")
}

fn tokens<'a>(tokens: impl Iterator<Item = &'a TokenId>) -> String {
    let hex = |token: &TokenId| token.0.iter().map(|b| format!("{b:02x}")).collect::<String>();
    serde_json::to_string(&tokens.map(hex).collect::<Vec<_>>()).expect("text is JSON")
}
