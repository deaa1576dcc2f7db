//! The time, as something that is handed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_model::UtcSeconds;

/// Tells the time: the system's, or one that a test or a simulation sets.
#[derive(Clone, Debug)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's.
    pub const fn system() -> Self {
        Self(None)
    }

    /// One that stands at `now` until it is set.
    pub fn standing_at(now: UtcSeconds) -> Self {
        Self(Some(Arc::new(AtomicI64::new(now.0))))
    }

    /// Now.
    pub fn now(&self) -> UtcSeconds {
        UtcSeconds(match &self.0 {
            Some(at) => at.load(Ordering::SeqCst),
            // Before 1970 nothing is valid yet, which is what a broken clock deserves.
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64),
        })
    }

    /// Sets a standing clock; the system's cannot be set.
    pub fn set(&self, now: UtcSeconds) {
        if let Some(at) = &self.0 {
            at.store(now.0, Ordering::SeqCst);
        }
    }
}
