//! Events for others: each reader gets every one at least once, in order, and says how far it has come.

use plimsoll_model::UtcSeconds;

use super::database::Database;
use super::lists::{page, read};
use super::{Store, StoreError};

/// An event that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Rises from one to the next, with gaps.
    pub number: u64,
    /// When what it tells was decided.
    pub at: UtcSeconds,
    /// e.g. `payment.settled`.
    pub topic: String,
    /// JSON, these very bytes.
    pub body: Vec<u8>,
}

/// What only one reader at a time does.
const NUMBERING: i64 = 0x506c_696d_6576_6e74;

impl Store {
    /// Events behind number `after`, in order: two about one account come in the order in which they happened.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn events(&self, after: u64, limit: usize) -> Result<Vec<Sent>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let found: Vec<(i64, i64, String, Vec<u8>)> = match &self.shared.database {
            // One writer at a time: places become visible in their order.
            Database::Sqlite(file) => {
                let sql = "SELECT place, at, topic, body FROM events WHERE place > $1 ORDER BY place LIMIT $2";
                let found = sqlx::query_as(sql).bind(after).bind(page(limit)).fetch_all(&file.readers).await?;
                file.journal.settled().await?;
                found
            }
            // A place is drawn while its writer holds the accounts it tells about, so places tell the order of any two
            // that must have one. Numbers are given to what is visible, under a lock: nothing ever appears behind a reader.
            Database::Postgres(server) => {
                let mut tx = server.readers.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(NUMBERING).execute(&mut *tx).await?;
                sqlx::query(
                    "WITH fresh AS MATERIALIZED (SELECT place FROM events WHERE number IS NULL ORDER BY place),
                          numbered AS MATERIALIZED (SELECT place, nextval('event_numbers') AS number FROM fresh)
                     UPDATE events SET number = n.number FROM numbered n WHERE events.place = n.place",
                )
                .execute(&mut *tx)
                .await?;
                let found = sqlx::query_as(
                    "SELECT number, at, topic, body FROM events WHERE number > $1 ORDER BY number LIMIT $2",
                )
                .bind(after)
                .bind(page(limit))
                .fetch_all(&mut *tx)
                .await?;
                tx.commit().await?;
                found
            }
        };
        let sent = |(number, at, topic, body): (i64, i64, String, Vec<u8>)| {
            let number = u64::try_from(number).map_err(|_| StoreError::damaged("an event's number does not read"))?;
            Ok(Sent { number, at: UtcSeconds(at), topic, body })
        };
        found.into_iter().map(sent).collect()
    }

    /// How far a reader has come; 0 when it has never said.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn acknowledged(&self, reader: &str) -> Result<u64, StoreError> {
        let found: Option<i64> = read!(self, readers =>
            sqlx::query_scalar("SELECT place FROM readers WHERE reader = $1").bind(reader).fetch_optional(readers).await)?;
        u64::try_from(found.unwrap_or(0)).map_err(|_| StoreError::damaged("a reader's place does not read"))
    }

    /// A reader has dealt with everything up to `number`; it never goes back.
    ///
    /// # Errors
    /// `Unavailable`, `Refused` for a name that is no text.
    pub async fn acknowledge(&self, reader: &str, number: u64) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO readers (reader, place) VALUES ($1, $2)
            ON CONFLICT (reader) DO UPDATE SET place = excluded.place WHERE readers.place < excluded.place";
        if reader.is_empty() || reader.len() > 64 || !reader.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(StoreError::refused("a reader of events has a name of 1 to 64 letters, digits and signs"));
        }
        let number = i64::try_from(number).map_err(|_| StoreError::refused("no event has that number"))?;
        self.write_aside(SQL, &[Value::Text(reader), Value::Number(number)]).await.map(drop)
    }
}

/// A parameter of a statement that is written beside the batches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(i64),
}

impl Store {
    /// A statement of its own, beside the batches: nothing that a decision depends on.
    ///
    /// * returns how many rows it changed.
    pub(super) async fn write_aside(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        macro_rules! bound {
            ($run:expr) => {{
                let mut query = sqlx::query(sql);
                for value in values {
                    query = match value {
                        Value::Text(text) => query.bind(text.to_string()),
                        Value::Number(number) => query.bind(*number),
                    };
                }
                query.execute($run).await?.rows_affected()
            }};
        }
        Ok(match &self.shared.database {
            Database::Sqlite(file) => {
                let mut connection = file.connect().await?;
                bound!(&mut connection)
            }
            Database::Postgres(server) => bound!(&server.readers),
        })
    }
}
