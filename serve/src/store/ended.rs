//! Windows that have ended are counted once, whichever replica comes first, into one record that all of them read.
//!
//! ```text
//! batch: account without window + row in `ended` ─► count: the note, locked ─► rows taken out, note replaced ─► commit
//!        one commit, at most once for a window                                 one commit: both or neither
//! ```
//!
//! A count whose answer was lost is not asked about: the next one finds the rows gone and the note as it became, or both
//! as they were.

use plimsoll_model::UtcSeconds;

use super::database::{Session, on_either};
use super::error::Fault;
use super::lists::{page, read};
use super::{Store, StoreError};
use crate::record::{AccountId, Ended, Record as _};
use crate::unit::Event;

/// Windows of one count.
const COUNT_MAX: i64 = 2_000;

/// What a count makes of windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The note as it is to be.
    pub body: String,
    /// What others are told of it.
    pub events: Vec<Event>,
}

impl Store {
    /// Accounts whose window ended at or before an instant and was not closed, the oldest first.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn windows_over(&self, at: UtcSeconds, limit: usize) -> Result<Vec<AccountId>, StoreError> {
        const SQL: &str = "SELECT id FROM accounts WHERE window_until > 0 AND window_until <= $1
            ORDER BY window_until, id LIMIT $2";
        let found: Vec<String> =
            read!(self, readers => sqlx::query_scalar(SQL).bind(at.0).bind(page(limit)).fetch_all(readers).await)?;
        let id = |name: String| name.try_into().map_err(|_| StoreError::damaged("a stored account has no name"));
        found.into_iter().map(id).collect()
    }

    /// Whether windows have ended that are not counted.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn has_uncounted(&self) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT count(*) FROM (SELECT 1 FROM ended LIMIT 1) AS any_row";
        let found: i64 = read!(self, readers => sqlx::query_scalar(SQL).fetch_one(readers).await)?;
        Ok(found > 0)
    }

    /// Counts windows into a note, in the order of their ends: at most 2,000, each once for all replicas.
    ///
    /// * `count`: makes the next note of what the note says now, if there is one, and of the windows;
    /// * returns how many were counted.
    ///
    /// # Errors
    /// `Unavailable`: they were counted or they were not, and in either case are not counted again. `Damaged`, and the
    /// errors of `count`.
    pub async fn count_ended(
        &self,
        note: &str,
        now: UtcSeconds,
        count: impl FnOnce(Option<&str>, &[Ended]) -> Result<Counted, StoreError>,
    ) -> Result<usize, StoreError> {
        let mut session = self.shared.database.connect().await?;
        session.begin().await?;
        let counted = counted(&mut session, note, now, count).await;
        let counted = match counted {
            Ok(counted) => session.commit().await.map(|()| counted),
            Err(fault) => Err(fault),
        };
        // Closing takes back what was not committed.
        session.close().await;
        Ok(counted?)
    }
}

async fn counted(
    session: &mut Session,
    note: &str,
    now: UtcSeconds,
    count: impl FnOnce(Option<&str>, &[Ended]) -> Result<Counted, StoreError>,
) -> Result<usize, Fault> {
    // Whoever is second waits here, and then sees the first one's note.
    const FIRST: &str = "INSERT INTO notes (name, body, revision) VALUES ($1, '', 0) ON CONFLICT (name) DO NOTHING";
    const SQLITE: &str = "SELECT revision, body FROM notes WHERE name = $1";
    const POSTGRES: &str = "SELECT revision, body FROM notes WHERE name = $1 FOR UPDATE";
    const TAKE: &str = "DELETE FROM ended WHERE jti IN (SELECT jti FROM ended ORDER BY jti LIMIT $1) RETURNING body";
    const REPLACE: &str = "UPDATE notes SET body = $2, revision = revision + 1 WHERE name = $1";
    const EVENT: &str = "INSERT INTO events (at, topic, body) VALUES ($1, $2, $3)";
    let sql = if session.is_sqlite() { SQLITE } else { POSTGRES };
    on_either!(Session, session, c => {
        sqlx::query(FIRST).bind(note).execute(&mut *c).await?;
        let (revision, body): (i64, String) = sqlx::query_as(sql).bind(note).fetch_one(&mut *c).await?;
        let taken: Vec<Vec<u8>> = sqlx::query_scalar(TAKE).bind(COUNT_MAX).fetch_all(&mut *c).await?;
        let ended = taken.iter().map(|body| Ended::from_bytes(body));
        let mut ended = ended.collect::<Result<Vec<_>, _>>().map_err(StoreError::from)?;
        ended.sort_by_key(|e| (e.at, e.promise.jti));
        let next = count(Some(body.as_str()).filter(|_| revision > 0), &ended)?;
        sqlx::query(REPLACE).bind(note).bind(&next.body).execute(&mut *c).await?;
        for event in &next.events {
            let body = serde_json::to_vec(&event.body).expect("a JSON value is always JSON");
            sqlx::query(EVENT).bind(now.0).bind(event.topic).bind(body).execute(&mut *c).await?;
        }
        Ok(ended.len())
    })
}
