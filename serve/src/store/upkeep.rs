//! What an operator's clock and probes call: forgetting, and health.

use std::time::{Duration, Instant};

use plimsoll_model::UtcSeconds;
use plimsoll_model::time::DAY;

use super::events::Value;
use super::lists::read;
use super::{QUEUE_MAX, Store, StoreError};
use crate::unit::Needs;

/// How long an answer is given again.
pub const REPLIES_KEPT_S: i64 = DAY;
/// How long an event waits for a reader that does not come.
pub const EVENTS_KEPT_S: i64 = 30 * DAY;
/// Rows that one statement of a sweep forgets, so that batches need not wait long behind it.
const SWEPT_MAX: i64 = 1_000;
/// After that long without an answer the store is not ready.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// What a sweep forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Answers older than a day.
    pub replies: u64,
    /// Events that every reader has, or that waited for a month.
    pub events: u64,
}

/// How the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Requests in its queue.
    pub waiting: usize,
    /// From a probe's way into the queue to its answer.
    pub took: Duration,
}

impl Store {
    /// Forgets what is too old. Call it every few minutes; more than one replica may.
    ///
    /// # Errors
    /// `Unavailable`: what was forgotten stays so, and the rest is for the next time.
    pub async fn sweep(&self, now: UtcSeconds) -> Result<Swept, StoreError> {
        const REPLIES: &str = "DELETE FROM replies WHERE (client, name) IN
            (SELECT client, name FROM replies WHERE at <= $1 ORDER BY at LIMIT $2)";
        const SQLITE: &str = "DELETE FROM events WHERE place IN (SELECT place FROM events
            WHERE at <= $1 OR place <= (SELECT min(place) FROM readers) ORDER BY place LIMIT $2)";
        const POSTGRES: &str = "DELETE FROM events WHERE place IN (SELECT place FROM events
            WHERE at <= $1 OR number <= (SELECT min(place) FROM readers) ORDER BY place LIMIT $2)";
        let events = if self.is_sqlite() { SQLITE } else { POSTGRES };
        Ok(Swept {
            replies: self.forget(REPLIES, now.plus(-REPLIES_KEPT_S)).await?,
            events: self.forget(events, now.plus(-EVENTS_KEPT_S)).await?,
        })
    }

    async fn forget(&self, sql: &'static str, until: UtcSeconds) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let now = self.write_aside(sql, &[Value::Number(until.0), Value::Number(SWEPT_MAX)]).await?;
            gone += now;
            if now < SWEPT_MAX as u64 {
                return Ok(gone);
            }
        }
    }

    /// Asks a reader and a writer: for readiness, every few seconds.
    ///
    /// # Errors
    /// `Unavailable`: one of them does not answer in time.
    pub async fn health(&self) -> Result<Health, StoreError> {
        let begun = Instant::now();
        let probe = async {
            let _one: i64 = read!(self, readers =>
                sqlx::query_scalar("SELECT count(*) FROM readers").fetch_one(readers).await)?;
            self.run(UtcSeconds(0), Needs::default(), |_| ()).await
        };
        let probed = tokio::time::timeout(PROBE_MAX, probe).await;
        probed.map_err(|_| StoreError::unavailable("it does not answer"))??;
        Ok(Health { waiting: self.waiting(), took: begun.elapsed() })
    }

    /// Requests in the queue: for the metrics.
    pub fn waiting(&self) -> usize {
        let queue = super::locked(&self.shared.queue);
        queue.as_ref().map_or(0, |queue| QUEUE_MAX - queue.capacity())
    }
}
