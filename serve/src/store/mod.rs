//! What is remembered: SQLite in one file, or PostgreSQL by URL.
//!
//! ```text
//! run(now, needs, work) ─► queue ─► writers: one commit for all that waits ─► answers
//! look(needs), lists ──────────────► readers, beside the writers
//! ```
//!
//! - [`Store::run`] answers after the commit, so an answer that was given is never taken back. Its work runs on the records
//!   that it named, locked, and may run again.
//! - One batch runs while another is brought to the disk: SQLite has one writer and a `journal` that syncs behind it,
//!   PostgreSQL has two writers for each replica.
//! - What must not happen twice (a `seq`, a nonce, a row, an idempotency key) is unique in the schema as well.
//! - Every decision is in the log in the transaction that made it: see [`crate::audit::chain`].

mod error;

mod schema;

mod changes;
mod history;

mod journal;

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
    /// Works beside the writers; ends with the store.
    aside: Option<Aside>,
    metrics: StoreMetrics,
}

#[derive(Debug)]
struct Aside(JoinHandle<()>);

impl Drop for Aside {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Store {
    /// Opens a store, creating its tables when it has none.
    ///
    /// * `url`: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    ///
    /// # Errors
    /// `Refused`: the URL, the password, a file of another program, a database of a newer version. `Unavailable`.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self::over(Database::open(url).await?))
    }

    fn over(database: Database) -> Self {
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
        let aside = match &database {
            Database::Sqlite(file) => Some(Aside(tokio::spawn(file.clone().checkpoints()))),
            Database::Postgres(_) => None,
        };
        let queue = std::sync::Mutex::new(Some(queue));
        Self { shared: Arc::new(Shared { database, queue, writers, aside, metrics }) }
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
        if let Some(Aside(aside)) = &self.shared.aside {
            aside.abort();
        }
        self.shared.database.close().await;
    }
}

fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::AtomicU8;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use super::*;
    use crate::unit::Reply;

    /// How the disk is.
    const SLOW: u8 = 0;
    const WELL: u8 = 1;
    const ILL: u8 = 2;

    fn needs(name: &str) -> Needs {
        let mut needs = Needs::default();
        needs.replies.insert(("client".to_owned(), name.to_owned()));
        needs
    }

    /// Keeps a reply, or answers that it was there.
    fn keep(store: &Store, name: &'static str) -> JoinHandle<Result<bool, StoreError>> {
        let store = store.clone();
        let work = move |unit: &mut Unit| {
            let key = ("client".to_owned(), name.to_owned());
            let there = unit.replies.get(&key).is_some();
            if !there {
                let reply = Reply { fingerprint: [0; 32], status: 200, body: Vec::new(), at: UtcSeconds(0) };
                unit.replies.put(key, reply);
            }
            there
        };
        tokio::spawn(async move { store.run(UtcSeconds(0), needs(name), work).await })
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_sqlite_nobody_is_told_what_is_not_on_the_disk() {
        let home = tempfile::tempdir().expect("a directory");
        let disk = Arc::new(AtomicU8::new(SLOW));
        let theirs = Arc::clone(&disk);
        let sync = move |log: &std::path::Path| {
            assert!(log.exists(), "{} is SQLite's log", log.display());
            loop {
                match theirs.load(SeqCst) {
                    SLOW => std::thread::sleep(Duration::from_millis(1)),
                    WELL => return Ok(()),
                    _ => return Err(io::Error::other("the disk is ill")),
                }
            }
        };
        let file = sqlite::File::with(&home.path().join("plimsoll.db"), sync).await.expect("opens");
        let store = Store::over(Database::Sqlite(file));
        let pause = || tokio::time::sleep(Duration::from_millis(200));

        let first = keep(&store, "a");
        pause().await;
        let reader = tokio::spawn({
            let store = store.clone();
            async move { store.look(needs("a")).await }
        });
        let (again, second) = (keep(&store, "a"), keep(&store, "b"));
        pause().await;
        let all = [first.is_finished(), reader.is_finished(), again.is_finished(), second.is_finished()];
        assert_eq!(all, [false; 4], "the first sync has not ended");
        disk.store(WELL, SeqCst);
        assert_eq!(first.await.expect("runs"), Ok(false));
        assert_eq!(second.await.expect("runs"), Ok(false));
        assert_eq!(again.await.expect("runs"), Ok(true));
        let unit = reader.await.expect("runs").expect("reads");
        assert!(unit.replies.get(&("client".to_owned(), "a".to_owned())).is_some(), "it was visible already");

        disk.store(ILL, SeqCst);
        assert_eq!(keep(&store, "c").await.expect("runs"), Err(StoreError::Unknown));
        disk.store(WELL, SeqCst);
        for name in ["c", "d"] {
            let told = keep(&store, name).await.expect("runs");
            assert!(matches!(told, Err(StoreError::Unavailable { .. })), "{told:?}: what the disk holds nobody knows");
        }
        assert!(store.look(needs("a")).await.is_err());
    }
}
