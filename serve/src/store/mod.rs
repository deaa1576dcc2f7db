//! What is remembered: SQLite in one file, or PostgreSQL by URL.
//!
//! ```text
//! run(now, needs, work) ─► queue ─► writers: one commit for all that waits ─► answers
//! look(needs), lists ──────────────► readers, beside the writers
//! ```
//!
//! - [`Store::run`] answers after the commit, so an answer that was given is never taken back. Its work runs on the records
//!   that it named, locked, and may run again.
//! - SQLite has one writer. PostgreSQL has two for each replica, so that one batch runs while the other commits.
//! - What must not happen twice (a `seq`, a nonce, a row, an idempotency key) is unique in the schema as well.
//! - Every decision is in the log in the transaction that made it: see [`crate::audit::chain`].

mod error;

mod schema;

mod changes;
mod history;

mod postgres;
mod sqlite;

mod database;

mod job;
mod writer;

mod lists;

mod desk;

mod events;

mod notes;

mod ended;

mod upkeep;

mod backup;

pub use backup::Saved;
pub use desk::TierTotals;
pub use ended::Counted;
pub use error::StoreError;
pub use events::Sent;
pub use lists::{AccountLine, PAGE_MAX, PlacedRow};
pub use notes::Note;
pub use upkeep::{EVENTS_KEPT_S, Health, REPLIES_KEPT_S, Swept};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use plimsoll_model::UtcSeconds;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::ops::metrics::StoreMetrics;
use crate::unit::{Needs, Unit};
use database::Database;
use error::Fault;
use job::Job;
use writer::Writer;

/// Requests that may wait for a writer; the next ones wait to be let into the queue.
const QUEUE_MAX: usize = 4_096;
/// Writers of one process on PostgreSQL: while one waits for its commit, the other runs its batch.
const POSTGRES_WRITERS: usize = 2;

const CHAIN_MOVED: &str = "the writer's chain has moved";

fn chain_moved() -> Fault {
    Fault::Conflict(CHAIN_MOVED.to_owned())
}

/// The store. Cheap to clone; needs a Tokio runtime.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    /// Empty once closed.
    queue: std::sync::Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    writers: std::sync::Mutex<Vec<JoinHandle<()>>>,
    metrics: StoreMetrics,
}

impl Store {
    /// Opens a store, creating its tables when it has none.
    ///
    /// * `url`: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    ///
    /// # Errors
    /// `Refused`: the URL, the password, a file of another program, a database of a newer version. `Unavailable`.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let database = Database::open(url).await?;
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let jobs = Arc::new(Mutex::new(jobs));
        let count = match database {
            Database::Sqlite(_) => 1,
            Database::Postgres(_) => POSTGRES_WRITERS,
        };
        let away = Arc::new(AtomicBool::new(false));
        let metrics = StoreMetrics::default();
        let start = |_| tokio::spawn(Writer::new(database.clone(), jobs.clone(), away.clone(), metrics.clone()).work());
        let writers = std::sync::Mutex::new((0..count).map(start).collect());
        Ok(Self { shared: Arc::new(Shared { database, queue: std::sync::Mutex::new(Some(queue)), writers, metrics }) })
    }

    /// Runs a piece of work on the records it needs, and answers after the commit.
    ///
    /// * `now`: the time of what it decides: entries of the log and events get it;
    /// * `work`: runs on a unit that holds what it needs and what the others in its batch need. It may run more than once,
    ///   each time on fresh records; what it told last is answered. It must not block: it computes.
    ///
    /// # Errors
    /// [`StoreError`], by what the caller can do.
    pub async fn run<T: Send + 'static>(
        &self,
        now: UtcSeconds,
        needs: Needs,
        work: impl FnMut(&mut Unit) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::unavailable("it is closed");
        let queue = locked(&self.shared.queue).clone().ok_or_else(closed)?;
        let (job, told) = job::job(now, needs, work);
        queue.send(job).await.map_err(|_| closed())?;
        drop(queue);
        // No answer: the runtime is going down, and may have committed it.
        told.await.unwrap_or(Err(StoreError::Unknown))
    }

    /// Reads records as of one instant, without locking them.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn look(&self, needs: Needs) -> Result<Unit, StoreError> {
        Ok(self.shared.database.look(&needs).await?.unit)
    }

    /// What its writers count.
    pub fn metrics(&self) -> &StoreMetrics {
        &self.shared.metrics
    }

    /// Whether it is one file.
    pub fn is_sqlite(&self) -> bool {
        matches!(self.shared.database, Database::Sqlite(_))
    }

    /// Finishes what was accepted, accepts nothing more, and closes the connections.
    pub async fn close(&self) {
        // The writers stop when the queue is empty and nobody can put anything in it.
        drop(locked(&self.shared.queue).take());
        let writers = std::mem::take(&mut *locked(&self.shared.writers));
        for writer in writers {
            if let Err(error) = writer.await {
                tracing::error!(%error, "a writer of the store ended badly");
            }
        }
        self.shared.database.close().await;
    }
}

fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
