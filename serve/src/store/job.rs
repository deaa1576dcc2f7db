//! A request that waits for its commit.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use plimsoll_model::UtcSeconds;
use tokio::sync::oneshot;

use super::StoreError;
use crate::unit::{Needs, Unit};

/// A piece of work in the queue, whatever it answers.
pub(super) trait Job: Send {
    /// What it reads.
    fn needs(&self) -> &Needs;
    /// When it was asked for.
    fn now(&self) -> UtcSeconds;
    /// Does it, and keeps what it tells. May be done again, on a fresh unit.
    fn run(&mut self, unit: &mut Unit) -> Result<(), Panicked>;
    /// Answers.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// The work panicked; the unit is of no more use.
#[derive(Debug)]
pub(super) struct Panicked(pub(super) String);

struct Work<T, F> {
    now: UtcSeconds,
    needs: Needs,
    work: F,
    told: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

/// A job, and where its answer comes out.
pub(super) fn job<T: Send + 'static>(
    now: UtcSeconds,
    needs: Needs,
    work: impl FnMut(&mut Unit) -> T + Send + 'static,
) -> (Box<dyn Job>, oneshot::Receiver<Result<T, StoreError>>) {
    let (answer, told) = oneshot::channel();
    (Box::new(Work { now, needs, work, told: None, answer }), told)
}

impl<T: Send, F: FnMut(&mut Unit) -> T + Send> Job for Work<T, F> {
    fn needs(&self) -> &Needs {
        &self.needs
    }

    fn now(&self) -> UtcSeconds {
        self.now
    }

    fn run(&mut self, unit: &mut Unit) -> Result<(), Panicked> {
        // One request with a bug in its way must not take the writer, and with it all others, down.
        match catch_unwind(AssertUnwindSafe(|| (self.work)(unit))) {
            Ok(told) => {
                self.told = Some(told);
                Ok(())
            }
            Err(cause) => Err(Panicked(message(&*cause))),
        }
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { told, answer, .. } = *self;
        // Whoever asked may have gone; what it asked for is done all the same.
        let _gone = answer.send(outcome.map(|()| told.expect("a batch commits after all of its work has run")));
    }
}

fn message(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}
