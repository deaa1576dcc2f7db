//! A writer: takes what is waiting, runs it in one transaction, and answers after the commit.
//!
//! ```text
//! queue ─► batch ─► begin ─► lock and load ─► run each ─► write ─► commit ─► answer each
//!             ▲                                             │         │
//!             └── again: somebody was faster, or the connection was lost before the commit
//!                                                                     └── lost in the commit: ask the chain how it ended
//! ```
//!
//! On SQLite a commit only appends, and the answers come from the [`Journal`] after its sync; the writer goes on meanwhile.
//!
//! A commit whose answer was lost is looked up before anything else happens: every batch that writes moves its writer's
//! row in `chains` by one, and that row stays locked until the database has made up its mind.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

use super::changes::{Chain, Changes, Times};
use super::database::{Database, Session};
use super::error::{Fault, StoreError};
use super::job::{Job, Panicked};
use super::journal::{Journal, Open, Room};
use crate::ops::metrics::StoreMetrics;
use crate::unit::Needs;

/// Requests in one commit.
const JOBS_MAX: usize = 256;
/// Names in one commit.
const NEEDS_MAX: usize = 8_192;
/// How long a batch is tried while the database is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one try may take: a server that hangs is as good as gone.
const TRY_MAX: Duration = Duration::from_secs(15);
/// Tries against somebody who was faster, before the batch is cut in two.
const CONFLICTS_MAX: u32 = 4;

pub(super) type Batch = Vec<Box<dyn Job>>;

/// One writer with its connection and its chain.
pub(super) struct Writer {
    database: Database,
    queue: Arc<Mutex<mpsc::Receiver<Box<dyn Job>>>>,
    session: Option<Session>,
    chain: Option<Chain>,
    unsettled: Option<Unsettled>,
    /// On SQLite: that its batch may wait for a sync, and what of it is to be synced.
    room: Option<Room>,
    open: Option<Open>,
    /// The database was away at the last batch of any writer: the next one is tried once.
    away: Arc<AtomicBool>,
    metrics: StoreMetrics,
}

/// A commit whose answer was lost.
#[derive(Clone, Copy)]
struct Unsettled {
    /// Where the chain stands if it was done.
    done: Chain,
    /// Its batch still waits; otherwise it was told that nobody knows.
    waits: bool,
}

/// What became of one try.
enum Tried {
    Committed,
    /// The work of this job panicked.
    Panicked(usize, Panicked),
}

impl Writer {
    pub(super) const fn new(
        database: Database,
        queue: Arc<Mutex<mpsc::Receiver<Box<dyn Job>>>>,
        away: Arc<AtomicBool>,
        metrics: StoreMetrics,
    ) -> Self {
        Self { database, queue, session: None, chain: None, unsettled: None, room: None, open: None, away, metrics }
    }

    /// Works until the queue is closed and empty.
    pub(super) async fn work(mut self) {
        while let Some(batch) = self.take().await {
            let mut batches = vec![batch];
            while let Some(batch) = batches.pop() {
                batches.extend(self.settle(batch).await.into_iter().rev());
            }
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Everything that is waiting, up to a bound. Writers take turns: while one waits here, the other commits.
    async fn take(&mut self) -> Option<Batch> {
        if let Some(journal) = self.database.journal()
            && self.room.is_none()
        {
            self.room = Some(journal.room().await);
        }
        let mut queue = self.queue.lock().await;
        let mut batch = vec![queue.recv().await?];
        let mut names = size(batch[0].needs());
        while batch.len() < JOBS_MAX && names < NEEDS_MAX {
            let Ok(job) = queue.try_recv() else { break };
            names += size(job.needs());
            batch.push(job);
        }
        Some(batch)
    }

    /// Brings a batch to its end.
    ///
    /// * returns smaller batches when it has to be cut, in order.
    async fn settle(&mut self, mut batch: Batch) -> Vec<Batch> {
        let begun = Instant::now();
        let mut conflicts = 0;
        let mut pause = Duration::from_millis(10);
        loop {
            let tried = tokio::time::timeout(TRY_MAX, self.attempt(&mut batch)).await;
            let fault = match tried.unwrap_or_else(|_| Err(Fault::Lost("it does not answer".to_owned()))) {
                Ok(Tried::Committed) => {
                    self.away.store(false, Relaxed);
                    let metrics = self.metrics.clone();
                    let tell = move |outcome: &Result<(), StoreError>| {
                        metrics.commit_s.observe(begun.elapsed().as_secs_f64());
                        metrics.batch.observe(batch.len() as f64);
                        answer(batch, outcome);
                    };
                    let open = self.open.take();
                    // What only read is told with those before it, and keeps nobody from running.
                    let room = open.as_ref().and_then(|_| self.room.take());
                    match self.database.journal() {
                        Some(journal) => journal.then(room, open, tell),
                        None => tell(&Ok(())),
                    }
                    return Vec::new();
                }
                Ok(Tried::Panicked(which, Panicked(why))) => {
                    batch.remove(which).answer(Err(StoreError::refused(format!("the request failed here: {why}"))));
                    if batch.is_empty() {
                        return Vec::new();
                    }
                    continue;
                }
                Err(fault) => fault,
            };
            self.metrics.retries.inc();
            match fault {
                Fault::Conflict(why) => {
                    conflicts += 1;
                    if conflicts >= CONFLICTS_MAX {
                        return cut(batch, StoreError::unavailable(format!("others are always faster: {why}")));
                    }
                }
                Fault::Lost(why) | Fault::NotNow(why) => {
                    let unknown = self.unsettled.is_some_and(|u| u.waits);
                    let tried_enough = self.away.load(Relaxed) && !unknown;
                    if tried_enough || begun.elapsed() >= PATIENCE {
                        self.away.store(true, Relaxed);
                        tracing::warn!(cause = why, requests = batch.len(), "the store is away");
                        self.unsettled = self.unsettled.map(|u| Unsettled { waits: false, ..u });
                        let told = if unknown { StoreError::Unknown } else { StoreError::Unavailable { why } };
                        answer(batch, &Err(told));
                        return Vec::new();
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
                Fault::Never(error) => return cut(batch, error),
            }
        }
    }

    /// One try.
    async fn attempt(&mut self, batch: &mut Batch) -> Result<Tried, Fault> {
        let mut session = match self.unsettled {
            None => self.connected().await?,
            Some(unsettled) => {
                // Whatever goes wrong here, the batch must not be run again, nor cut, before this is known.
                let asked = self.ask(unsettled.done).await;
                let (session, done) = asked.map_err(|fault| Fault::Lost(StoreError::from(fault).to_string()))?;
                if unsettled.waits && done {
                    self.session = Some(session);
                    return Ok(Tried::Committed);
                }
                session
            }
        };
        let tried = self.transact(&mut session, batch).await;
        match &tried {
            Ok(Tried::Committed) => self.session = Some(session),
            // After these the connection is well, and so is the next transaction on it. After any other the next try begins
            // with a new one.
            Ok(Tried::Panicked(..)) | Err(Fault::Conflict(_) | Fault::NotNow(_)) => {
                if session.rollback().await.is_ok() {
                    self.session = Some(session);
                }
            }
            Err(_) => {}
        }
        tried
    }

    async fn connected(&mut self) -> Result<Session, Fault> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => self.database.writer().await,
        }
    }

    /// Whether the commit was done whose answer was lost.
    async fn ask(&mut self, done: Chain) -> Result<(Session, bool), Fault> {
        let mut session = self.connected().await?;
        let stands = session.chain(done.head.chain).await?;
        self.unsettled = None;
        // Neither before nor after it: the database was restored, or failed over and lost commits.
        self.chain = stands.filter(|s| *s == done || Some(*s) == self.chain);
        Ok((session, stands == Some(done)))
    }

    async fn transact(&mut self, session: &mut Session, batch: &mut Batch) -> Result<Tried, Fault> {
        let mut needs = Needs::default();
        for job in batch.iter() {
            needs = needs.and(job.needs());
        }
        session.begin().await?;
        let mut loaded = session.load(&needs).await?;
        let mut times = Times::default();
        for (which, job) in batch.iter_mut().enumerate() {
            if let Err(panicked) = job.run(&mut loaded.unit) {
                return Ok(Tried::Panicked(which, panicked));
            }
            times.stamp(&loaded.unit, job.now());
        }
        if loaded.unit.is_unchanged() {
            session.rollback().await?;
            return Ok(Tried::Committed);
        }
        let Some(chain) = self.chain else {
            // Once in a writer's life: its chain begins in a transaction of its own.
            session.rollback().await?;
            self.chain = Some(session.begin_chain(times.latest).await?);
            return Err(Fault::Conflict("the writer's chain has begun".to_owned()));
        };
        let changes = Changes::of(&loaded, &times, chain)?;
        if let Err(fault) = session.write(&changes).await {
            if matches!(&fault, Fault::Conflict(why) if why == super::CHAIN_MOVED) {
                tracing::error!(chain = %chain.head.chain, "the writer's chain is not where it was left: another begins");
                self.chain = None;
            }
            return Err(fault);
        }
        let after = changes.chain.1;
        self.open = self.database.journal().map(Journal::open).transpose()?;
        self.unsettled = Some(Unsettled { done: after, waits: true });
        if let Err(fault) = session.commit().await {
            if session.is_sqlite() && matches!(fault, Fault::NotNow(_)) {
                // It says itself that it could not, its disk being full: nothing was written.
                self.unsettled = None;
                self.open = None;
                return Err(fault);
            }
            // Whatever else it says: only the chain tells how it ended.
            return Err(Fault::Lost(StoreError::from(fault).to_string()));
        }
        self.unsettled = None;
        self.chain = Some(after);
        Ok(Tried::Committed)
    }
}

/// One of them is to blame: halves find it in few steps, and the others are answered.
fn cut(mut batch: Batch, error: StoreError) -> Vec<Batch> {
    if batch.len() == 1 {
        answer(batch, &Err(error));
        return Vec::new();
    }
    let second = batch.split_off(batch.len() / 2);
    vec![batch, second]
}

fn answer(batch: Batch, outcome: &Result<(), StoreError>) {
    batch.into_iter().for_each(|job| job.answer(outcome.clone()));
}

fn size(needs: &Needs) -> usize {
    needs.accounts.len() + needs.grants.len() + needs.payments.len() + needs.replies.len() + needs.rows.len()
}
