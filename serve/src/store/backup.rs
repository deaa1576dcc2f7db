//! Backups: one file for either database, as of one instant, restored into either.
//!
//! ```text
//! plimsoll store 3 ⏎ ─► length, line ─► length, line ─► … ─► length, end ─► SHA-256 of all of it
//! ```
//!
//! Not the database's own format, so that a service can move from SQLite to PostgreSQL and back, and so that a backup reads
//! in ten years. Writers go on while it is made. A restore fills an empty store, in one transaction, and ends with the
//! digest: a backup that was cut off or changed leaves nothing.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::changes::{AccountRow, Changes, EndedRow, FeaturesRow, GrantRow, HistoryRow, PaymentRow, ReplyRow};
use super::database::{Database, Session, on_either};
use super::error::Fault;
use super::{Store, StoreError};
use crate::audit::chain::Link;

const MAGIC: &[u8] = b"plimsoll store 3\n";
/// Rows of one statement.
const PAGE: i64 = 500;
/// Bytes of one line: far more than the largest account.
const LINE_MAX: u32 = 16 << 20;

/// A backup that was made or restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Accounts in it.
    pub accounts: u64,
    /// Rows of all kinds in it.
    pub rows: u64,
    /// SHA-256 of the file up to the digest at its end.
    pub digest: [u8; 32],
}

/// One row of one table.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Account(AccountRow),
    Features(FeaturesRow),
    Row(HistoryRow),
    Grant(GrantRow),
    Payment(PaymentRow),
    Reply(ReplyRow),
    Ended(EndedRow),
    /// The last number that was given to an event; comes before the events.
    LastEvent(i64),
    Event {
        /// None while no reader has seen it.
        number: Option<i64>,
        at: i64,
        topic: String,
        body: Vec<u8>,
    },
    Reader {
        reader: String,
        place: i64,
    },
    Note {
        name: String,
        revision: i64,
        body: String,
    },
    Log {
        chain: [u8; 16],
        number: i64,
        previous: [u8; 32],
        at: i64,
        kind: String,
        account: String,
        body: Vec<u8>,
        hash: [u8; 32],
    },
    Chain {
        chain: [u8; 16],
        number: i64,
        hash: [u8; 32],
        batch: i64,
        named: i64,
    },
    End {
        rows: u64,
    },
}

impl Store {
    /// Writes everything as of now into a new file, which is on the disk when this answers.
    ///
    /// # Errors
    /// `Refused`: the file is there already, or cannot be written. `Unavailable`, `Damaged`.
    pub async fn backup(&self, path: &Path) -> Result<Saved, StoreError> {
        let mut writer = Writer::create(path)?;
        match &self.shared.database {
            Database::Sqlite(file) => {
                let mut tx = file.readers.begin().await?;
                dump::sqlite(&mut tx, &mut writer).await?;
                tx.commit().await?;
                file.journal.settled().await?;
            }
            Database::Postgres(server) => {
                let mut tx = server.readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
                dump::postgres(&mut tx, &mut writer).await?;
                tx.commit().await?;
            }
        }
        writer.finish()
    }

    /// Fills an empty store with a backup, whole or not at all.
    ///
    /// # Errors
    /// `Refused`: the store is not empty, or the file is no whole backup. `Unavailable`.
    pub async fn restore(&self, path: &Path) -> Result<Saved, StoreError> {
        let mut reader = Reader::open(path)?;
        let mut session = self.shared.database.connect().await?;
        session.begin().await?;
        let filled = fill(&mut session, &mut reader).await;
        match filled {
            Ok(saved) => {
                session.commit().await?;
                session.close().await;
                Ok(saved)
            }
            // Closing the connection takes everything back.
            Err(fault) => {
                session.close().await;
                Err(fault.into())
            }
        }
    }
}

/// Reading either database with the same words.
mod dump {
    use sqlx::{PgConnection, SqliteConnection};

    use super::*;

    macro_rules! dump {
        ($name:ident, $connection:ty, $last_event:literal, $($events:literal from $start:literal),+) => {
            pub(super) async fn $name(connection: &mut $connection, to: &mut Writer) -> Result<(), StoreError> {
                let mut last = String::new();
                loop {
                    let page: Vec<(String, i64, i64, i64, i64, i64, i64, i64, i64, i64, Vec<u8>)> = sqlx::query_as(
                        "SELECT id, revision, history, tier, balance, updated_at, exposed, exposed_until, proposed_at, window_until, body
                         FROM accounts WHERE id > $1 ORDER BY id LIMIT $2",
                    )
                    .bind(&last).bind(PAGE).fetch_all(&mut *connection).await?;
                    let Some(end) = page.last() else { break };
                    last.clone_from(&end.0);
                    for (id, revision, history, tier, balance, updated_at, exposed, exposed_until, proposed_at, window_until, body) in page {
                        let row = AccountRow {
                            id, revision, history, tier, balance, updated_at, exposed, exposed_until, proposed_at,
                            window_until, body,
                        };
                        to.write(&Line::Account(row))?;
                    }
                }
                let mut last = String::new();
                loop {
                    let page: Vec<(String, Vec<u8>)> =
                        sqlx::query_as("SELECT account, body FROM features WHERE account > $1 ORDER BY account LIMIT $2")
                            .bind(&last).bind(PAGE).fetch_all(&mut *connection).await?;
                    let Some(end) = page.last() else { break };
                    last.clone_from(&end.0);
                    for (account, body) in page {
                        to.write(&Line::Features(FeaturesRow { account, body }))?;
                    }
                }
                let mut last = (String::new(), 0_i64);
                loop {
                    let page: Vec<(String, i64, String, Vec<u8>)> = sqlx::query_as(
                        "SELECT account, place, name, body FROM history
                         WHERE (account, place) > ($1, $2) ORDER BY account, place LIMIT $3",
                    )
                    .bind(&last.0).bind(last.1).bind(PAGE).fetch_all(&mut *connection).await?;
                    let Some(end) = page.last() else { break };
                    last = (end.0.clone(), end.1);
                    for (account, place, name, body) in page {
                        to.write(&Line::Row(HistoryRow { account, place, name, body }))?;
                    }
                }
                let mut last = Vec::new();
                loop {
                    let page: Vec<(Vec<u8>, String, Vec<u8>, i64, i64, Vec<u8>)> = sqlx::query_as(
                        "SELECT jti, account, jkt, seq, iat, body FROM grants WHERE jti > $1 ORDER BY jti LIMIT $2",
                    )
                    .bind(&last).bind(PAGE).fetch_all(&mut *connection).await?;
                    let Some(end) = page.last() else { break };
                    last.clone_from(&end.0);
                    for (jti, account, jkt, seq, iat, body) in page {
                        to.write(&Line::Grant(GrantRow { jti, account, jkt, seq, iat, body }))?;
                    }
                }
                let mut last = Vec::new();
                loop {
                    let page: Vec<(Vec<u8>, String, String, i64, i64, Vec<u8>)> = sqlx::query_as(
                        "SELECT nonce, payer, payee, judged_at, disputed_at, body FROM payments
                         WHERE nonce > $1 ORDER BY nonce LIMIT $2",
                    )
                    .bind(&last).bind(PAGE).fetch_all(&mut *connection).await?;
                    let Some(end) = page.last() else { break };
                    last.clone_from(&end.0);
                    for (nonce, payer, payee, judged_at, disputed_at, body) in page {
                        to.write(&Line::Payment(PaymentRow { nonce, payer, payee, judged_at, disputed_at, body }))?;
                    }
                }
                let mut last = (String::new(), String::new());
                loop {
                    let page: Vec<(String, String, Vec<u8>, i64, i64, Vec<u8>)> = sqlx::query_as(
                        "SELECT client, name, fingerprint, status, at, body FROM replies
                         WHERE (client, name) > ($1, $2) ORDER BY client, name LIMIT $3",
                    )
                    .bind(&last.0).bind(&last.1).bind(PAGE).fetch_all(&mut *connection).await?;
                    let Some(end) = page.last() else { break };
                    last = (end.0.clone(), end.1.clone());
                    for (client, name, fingerprint, status, at, body) in page {
                        to.write(&Line::Reply(ReplyRow { client, name, fingerprint, status, at, body }))?;
                    }
                }
                let mut last = Vec::new();
                loop {
                    let page: Vec<(Vec<u8>, Vec<u8>)> =
                        sqlx::query_as("SELECT jti, body FROM ended WHERE jti > $1 ORDER BY jti LIMIT $2")
                            .bind(&last).bind(PAGE).fetch_all(&mut *connection).await?;
                    let Some(end) = page.last() else { break };
                    last.clone_from(&end.0);
                    for (jti, body) in page {
                        to.write(&Line::Ended(EndedRow { jti, body }))?;
                    }
                }
                let numbered: Option<i64> = sqlx::query_scalar($last_event).fetch_optional(&mut *connection).await?;
                to.write(&Line::LastEvent(numbered.unwrap_or(0)))?;
                $({
                    let mut last: i64 = $start;
                    loop {
                        let page: Vec<(i64, Option<i64>, i64, String, Vec<u8>)> =
                            sqlx::query_as($events).bind(last).bind(PAGE).fetch_all(&mut *connection).await?;
                        let Some(end) = page.last() else { break };
                        last = end.0;
                        for (_, number, at, topic, body) in page {
                            to.write(&Line::Event { number, at, topic, body })?;
                        }
                    }
                })+
                let readers: Vec<(String, i64)> =
                    sqlx::query_as("SELECT reader, place FROM readers ORDER BY reader").fetch_all(&mut *connection).await?;
                for (reader, place) in readers {
                    to.write(&Line::Reader { reader, place })?;
                }
                let notes: Vec<(String, i64, String)> =
                    sqlx::query_as("SELECT name, revision, body FROM notes ORDER BY name").fetch_all(&mut *connection).await?;
                for (name, revision, body) in notes {
                    to.write(&Line::Note { name, revision, body })?;
                }
                let mut last = (Vec::new(), 0_i64);
                loop {
                    let page: Vec<(Vec<u8>, i64, Vec<u8>, i64, String, String, Vec<u8>, Vec<u8>)> = sqlx::query_as(
                        "SELECT chain, number, previous, at, kind, account, body, hash FROM log
                         WHERE (chain, number) > ($1, $2) ORDER BY chain, number LIMIT $3",
                    )
                    .bind(&last.0).bind(last.1).bind(PAGE).fetch_all(&mut *connection).await?;
                    let Some(end) = page.last() else { break };
                    last = (end.0.clone(), end.1);
                    for (chain, number, previous, at, kind, account, body, hash) in page {
                        let (chain, previous, hash) = (fixed(&chain)?, fixed(&previous)?, fixed(&hash)?);
                        to.write(&Line::Log { chain, number, previous, at, kind, account, body, hash })?;
                    }
                }
                let chains: Vec<(Vec<u8>, i64, Vec<u8>, i64, i64)> =
                    sqlx::query_as("SELECT chain, number, hash, batch, named FROM chains ORDER BY chain")
                        .fetch_all(&mut *connection)
                        .await?;
                for (chain, number, hash, batch, named) in chains {
                    let (chain, hash) = (fixed(&chain)?, fixed(&hash)?);
                    to.write(&Line::Chain { chain, number, hash, batch, named })?;
                }
                Ok(())
            }
        };
    }

    dump!(
        sqlite,
        SqliteConnection,
        "SELECT seq FROM sqlite_sequence WHERE name = 'events'",
        "SELECT place, place, at, topic, body FROM events WHERE place > $1 ORDER BY place LIMIT $2" from 0
    );
    dump!(
        postgres,
        PgConnection,
        "SELECT last_value FROM event_numbers WHERE is_called",
        "SELECT number, number, at, topic, body FROM events WHERE number > $1 ORDER BY number LIMIT $2" from 0,
        "SELECT place, number, at, topic, body FROM events WHERE number IS NULL AND place > $1
         ORDER BY place LIMIT $2" from 0
    );
}

/// Writes what the reader holds, to the end.
async fn fill(session: &mut Session, reader: &mut Reader) -> Result<Saved, Fault> {
    let there: i64 = on_either!(Session, &mut *session, c =>
        sqlx::query_scalar("SELECT count(*) FROM (SELECT 1 FROM accounts UNION ALL SELECT 1 FROM log LIMIT 1) AS any_row")
            .fetch_one(&mut *c)
            .await)?;
    if there > 0 {
        return Err(StoreError::refused("a backup is restored into an empty store, and this one is not").into());
    }
    let mut accounts = 0;
    let mut rows: u64 = 0;
    let mut page = Changes::default();
    let mut in_page = 0;
    loop {
        let line = reader.read()?;
        if let Line::End { rows: expected } = line {
            if expected != rows {
                return Err(no_backup("it ends after another number of rows than it says").into());
            }
            session.insert(&page).await?;
            return Ok(Saved { accounts, rows, digest: reader.finish()? });
        }
        rows += 1;
        match line {
            Line::Account(row) => {
                accounts += 1;
                page.accounts.push(row);
            }
            Line::Features(row) => page.features.new.push(row),
            Line::Row(row) => page.history.push(row),
            Line::Grant(row) => page.grants.new.push(row),
            Line::Payment(row) => page.payments.new.push(row),
            Line::Reply(row) => page.replies.new.push(row),
            Line::Ended(row) => page.ended.push(row),
            Line::Log { chain, number, previous, at, kind, account, body, hash } => page.log.push(Link {
                chain: Bytes(chain),
                number: u64::try_from(number).map_err(|_| no_backup("a number of the log is below zero"))?,
                previous: Bytes(previous),
                at: UtcSeconds(at),
                kind,
                account,
                body,
                hash: Bytes(hash),
            }),
            other => place(session, other).await?,
        }
        in_page += 1;
        if in_page >= PAGE {
            session.insert(&page).await?;
            page = Changes::default();
            in_page = 0;
        }
    }
}

/// Writes a row of the tables that no batch writes so.
async fn place(session: &mut Session, line: Line) -> Result<(), Fault> {
    const READER: &str = "INSERT INTO readers (reader, place) VALUES ($1, $2)";
    const NOTE: &str = "INSERT INTO notes (name, revision, body) VALUES ($1, $2, $3)";
    const CHAIN: &str = "INSERT INTO chains (chain, number, hash, batch, named) VALUES ($1, $2, $3, $4, $5)";
    const EVENT_SQLITE: &str = "INSERT INTO events (place, at, topic, body) VALUES ($1, $2, $3, $4)";
    const EVENT_POSTGRES: &str = "INSERT INTO events (number, at, topic, body) VALUES ($1, $2, $3, $4)";
    const LAST_SQLITE: &str = "INSERT INTO sqlite_sequence (name, seq) VALUES ('events', $1)";
    const LAST_POSTGRES: &str = "SELECT setval('event_numbers', $1) WHERE $1 > 0";
    let sqlite = session.is_sqlite();
    on_either!(Session, session, c => {
        let query = match line {
            Line::Reader { reader, place } => sqlx::query(READER).bind(reader).bind(place),
            Line::Note { name, revision, body } => sqlx::query(NOTE).bind(name).bind(revision).bind(body),
            Line::Chain { chain, number, hash, batch, named } => {
                sqlx::query(CHAIN).bind(chain.to_vec()).bind(number).bind(hash.to_vec()).bind(batch).bind(named)
            }
            Line::Event { number, at, topic, body } => {
                let sql = if sqlite { EVENT_SQLITE } else { EVENT_POSTGRES };
                sqlx::query(sql).bind(number).bind(at).bind(topic).bind(body)
            }
            Line::LastEvent(number) => sqlx::query(if sqlite { LAST_SQLITE } else { LAST_POSTGRES }).bind(number),
            other => return Err(no_backup(&format!("it holds a line that has no place: {other:?}")).into()),
        };
        query.execute(c).await.map(drop)
    })?;
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::damaged("a stored hash or name has another length"))
}

fn no_backup(why: &str) -> StoreError {
    StoreError::refused(format!("the file is no whole backup of a store: {why}"))
}

/// Writes lines, and the digest at the end.
struct Writer {
    path: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
    digest: Sha256,
    accounts: u64,
    rows: u64,
}

impl Writer {
    fn create(path: &Path) -> Result<Self, StoreError> {
        if path.exists() {
            return Err(StoreError::refused(format!("{} is there already", path.display())));
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // What a stopped backup left is of no use.
        let file = File::create(&part).map_err(|e| StoreError::refused(format!("{}: {e}", part.display())))?;
        let mut writer = Self {
            path: path.to_owned(),
            part,
            file: BufWriter::new(file),
            digest: Sha256::new(),
            accounts: 0,
            rows: 0,
        };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    fn write(&mut self, line: &Line) -> Result<(), StoreError> {
        self.accounts += u64::from(matches!(line, Line::Account(_)));
        self.rows += u64::from(!matches!(line, Line::End { .. }));
        let bytes = postcard::to_allocvec(line).expect("rows hold only integers, text and bytes");
        let length = u32::try_from(bytes.len()).ok().filter(|l| *l <= LINE_MAX);
        let length = length.ok_or_else(|| StoreError::damaged("a stored row is larger than any should be"))?;
        self.put(&length.to_le_bytes())?;
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.digest.update(bytes);
        self.file.write_all(bytes).map_err(|e| self.failed(&e))
    }

    /// On the disk, under its name: a file of that name is always a whole backup.
    fn finish(mut self) -> Result<Saved, StoreError> {
        self.write(&Line::End { rows: self.rows })?;
        let digest: [u8; 32] = self.digest.clone().finalize().into();
        let written = self.file.write_all(&digest).and_then(|()| self.file.flush());
        written.and_then(|()| self.file.get_ref().sync_all()).map_err(|e| self.failed(&e))?;
        std::fs::rename(&self.part, &self.path).map_err(|e| self.failed(&e))?;
        let home = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(home).and_then(|home| home.sync_all()).map_err(|e| self.failed(&e))?;
        Ok(Saved { accounts: self.accounts, rows: self.rows, digest })
    }

    fn failed(&self, error: &std::io::Error) -> StoreError {
        StoreError::unavailable(format!("{}: {error}", self.part.display()))
    }
}

/// Reads lines, and checks the digest at the end.
struct Reader {
    file: BufReader<File>,
    digest: Sha256,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|e| StoreError::refused(format!("{}: {e}", path.display())))?;
        let mut reader = Self { file: BufReader::new(file), digest: Sha256::new() };
        if reader.take(MAGIC.len())? == MAGIC { Ok(reader) } else { Err(no_backup("it begins otherwise")) }
    }

    fn read(&mut self) -> Result<Line, StoreError> {
        let length: [u8; 4] = fixed(&self.take(4)?)?;
        let length = u32::from_le_bytes(length);
        if length > LINE_MAX {
            return Err(no_backup("a line is too long"));
        }
        let bytes = self.take(length as usize)?;
        match postcard::take_from_bytes(&bytes) {
            Ok((line, [])) => Ok(line),
            _ => Err(no_backup("a line does not read")),
        }
    }

    /// The digest, which must be the last of the file.
    fn finish(&mut self) -> Result<[u8; 32], StoreError> {
        let computed: [u8; 32] = self.digest.clone().finalize().into();
        let mut rest = Vec::new();
        (&mut self.file).take(33).read_to_end(&mut rest).map_err(|e| StoreError::unavailable(e.to_string()))?;
        if rest == computed { Ok(computed) } else { Err(no_backup("its digest is another one")) }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, StoreError> {
        // Grows with what is there, whatever length a hostile file claims.
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(length as u64).read_to_end(&mut bytes);
        read.map_err(|e| StoreError::unavailable(e.to_string()))?;
        if bytes.len() < length {
            return Err(no_backup("it was cut off"));
        }
        self.digest.update(&bytes);
        Ok(bytes)
    }
}
