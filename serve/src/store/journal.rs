//! Commits on their way to the disk: SQLite appends them to its log, and one sync brings to the disk whatever was appended
//! before it began.
//!
//! ```text
//! writer   run, append 1 │ run, append 2 │ run, append 3 │ …
//! journal                │ sync 1        │ sync 2        │ sync 3      and then the answers
//! ```
//!
//! With `synchronous = FULL` SQLite syncs within each commit, and nothing else happens meanwhile; so its commits only append
//! (`NORMAL`: a crash leaves a prefix of them), and an answer, of a reader as well, waits for the sync that covers what it
//! tells. One group may wait while another is synced: the next one grows until then.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, mpsc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::StoreError;

/// The way to the disk. Cheap to clone; ends with its last clone.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    waiters: mpsc::Sender<Waiter>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Commits that were begun and are not on the disk.
    open: AtomicUsize,
    /// Commits that were begun.
    begun: AtomicUsize,
    room: Arc<Semaphore>,
    failed: OnceLock<String>,
}

struct Waiter {
    room: Option<Room>,
    told: Tell,
}

type Tell = Box<dyn FnOnce(&Result<(), StoreError>) + Send>;

/// Room for a group that waits for its sync.
pub(super) type Room = OwnedSemaphorePermit;

/// A commit that may be visible and not on the disk.
#[derive(Debug)]
pub(super) struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

impl Journal {
    /// * `sync`: brings everything to the disk that was appended before it is called.
    pub(super) fn new(sync: impl Fn() -> io::Result<()> + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            open: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(1)),
            failed: OnceLock::new(),
        });
        let (waiters, waiting) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || theirs.work(&waiting, sync))?;
        Ok(Self { waiters, shared })
    }

    /// Waits until a group may be run: the one before it is on its way.
    pub(super) async fn room(&self) -> Room {
        Arc::clone(&self.shared.room).acquire_owned().await.expect("never closed")
    }

    /// A commit begins: from now on readers wait for the journal.
    ///
    /// # Errors
    /// `Unavailable` after a sync has failed: what the disk holds since then, nobody knows.
    pub(super) fn open(&self) -> Result<Open, StoreError> {
        self.shared.sound()?;
        self.shared.open.fetch_add(1, SeqCst);
        self.shared.begun.fetch_add(1, SeqCst);
        Ok(Open(Arc::clone(&self.shared)))
    }

    /// How many commits were begun so far.
    pub(super) fn commits(&self) -> usize {
        self.shared.begun.load(SeqCst)
    }

    /// Tells when everything is on the disk that is visible now.
    ///
    /// * `open`: what was committed, if anything was.
    pub(super) fn then(
        &self,
        room: Option<Room>,
        open: Option<Open>,
        tell: impl FnOnce(&Result<(), StoreError>) + Send + 'static,
    ) {
        if open.is_none() && self.shared.open.load(SeqCst) == 0 {
            return tell(&self.shared.sound());
        }
        let told = Box::new(move |outcome: &Result<(), StoreError>| {
            drop(open);
            tell(outcome);
        });
        // The thread ends with the last sender.
        let _ends = self.waiters.send(Waiter { room, told });
    }

    /// Waits until everything is on the disk that is visible now.
    ///
    /// # Errors
    /// `Unavailable`: a sync failed.
    pub(super) async fn settled(&self) -> Result<(), StoreError> {
        let (tell, told) = oneshot::channel();
        self.then(None, None, move |outcome| drop(tell.send(outcome.clone())));
        match told.await {
            Ok(Ok(())) => Ok(()),
            _ => self.shared.sound(),
        }
    }
}

impl Shared {
    fn work(&self, waiting: &mpsc::Receiver<Waiter>, sync: impl Fn() -> io::Result<()>) {
        while let Ok(first) = waiting.recv() {
            let mut group = vec![first];
            group.extend(waiting.try_iter());
            // They are on their way: the next group may be run.
            group.iter_mut().for_each(|waiter| drop(waiter.room.take()));
            // A second sync may succeed and bring nothing of what the first one lost (Linux forgets it), so it counts for ever.
            if self.failed.get().is_none()
                && let Err(error) = sync()
            {
                tracing::error!(%error, "the disk did not take SQLite's log: the service has to be started again");
                let _first = self.failed.set(format!("a sync of its log failed ({error}): start the service again"));
            }
            // They may be on the disk or not.
            let outcome = self.sound().map_err(|_| StoreError::Unknown);
            group.into_iter().for_each(|waiter| (waiter.told)(&outcome));
        }
    }

    fn sound(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            None => Ok(()),
            Some(why) => Err(StoreError::unavailable(why.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;

    /// A disk whose syncs take place one by one, when the test lets them.
    fn disk() -> (Journal, mpsc::Sender<io::Result<()>>) {
        let (ends, ended) = mpsc::channel::<io::Result<()>>();
        let journal = Journal::new(move || ended.recv().expect("the test says how it ends")).expect("starts");
        (journal, ends)
    }

    fn flag(journal: &Journal, room: Option<Room>) -> Arc<AtomicBool> {
        let told = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&told);
        let open = journal.open().expect("sound");
        journal.then(room, Some(open), move |outcome| tell.store(outcome.is_ok(), SeqCst));
        told
    }

    fn wait(told: &AtomicBool) {
        while !told.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[tokio::test]
    async fn what_is_appended_during_a_sync_waits_for_the_next_one() {
        let (journal, ends) = disk();
        let first = flag(&journal, Some(journal.room().await));
        // Its sync has begun once there is room again.
        let room = journal.room().await;
        let second = flag(&journal, Some(room));
        assert!(tokio::time::timeout(Duration::from_millis(50), journal.room()).await.is_err(), "a third has to wait");
        let reader = tokio::spawn({
            let journal = journal.clone();
            async move { journal.settled().await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!first.load(SeqCst) && !second.load(SeqCst) && !reader.is_finished());
        ends.send(Ok(())).expect("syncs");
        wait(&first);
        let _third = journal.room().await;
        assert!(!second.load(SeqCst) && !reader.is_finished(), "both came after that sync had begun");
        ends.send(Ok(())).expect("syncs");
        wait(&second);
        assert_eq!(reader.await.expect("ends"), Ok(()));
        assert_eq!(journal.settled().await, Ok(()), "nothing is open: no sync is needed");
    }

    #[tokio::test]
    async fn after_a_sync_that_failed_nothing_is_promised_any_more() {
        let (journal, ends) = disk();
        let told = Arc::new(Mutex::new(Vec::new()));
        for _ in 0..2 {
            let tell = Arc::clone(&told);
            let open = journal.open().expect("sound");
            journal.then(None, Some(open), move |outcome| tell.lock().expect("whole").push(outcome.clone()));
        }
        ends.send(Err(io::Error::other("the disk is ill"))).expect("syncs");
        ends.send(Ok(())).expect("a second sync would succeed");
        while told.lock().expect("whole").len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(*told.lock().expect("whole"), [Err(StoreError::Unknown), Err(StoreError::Unknown)]);
        assert!(matches!(journal.open(), Err(StoreError::Unavailable { .. })));
        assert!(matches!(journal.settled().await, Err(StoreError::Unavailable { .. })));
    }
}
