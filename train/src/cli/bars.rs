//! Progress on standard error: a bar for a stage that takes over a second or two, nothing when it is no terminal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use plimsoll_train::run::Progress;

/// The bar of the present stage. Clones share it.
#[derive(Clone)]
pub(crate) struct Bars(Arc<Mutex<Option<ProgressBar>>>);

impl Bars {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    fn with(&self, change: impl FnOnce(&mut Option<ProgressBar>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes the bar away, so that text can be printed.
    pub(crate) fn clear(&self) {
        self.with(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
    }

    /// A callback for readers and writers that count `(done, total)` themselves.
    pub(crate) fn counting(&self, name: &'static str) -> impl FnMut(u64, u64) -> std::ops::ControlFlow<()> + '_ {
        let mut known = u64::MAX;
        move |done, total| {
            if total != known {
                known = total;
                self.stage(name, total);
            }
            self.at(done);
            std::ops::ControlFlow::Continue(())
        }
    }
}

impl Progress for Bars {
    fn stage(&self, name: &'static str, total: u64) {
        self.clear();
        // indicatif draws nothing when standard error is not a terminal.
        let bar = ProgressBar::new(total);
        let style = ProgressStyle::with_template("{msg:24} {wide_bar} {percent:>3} % {eta}");
        bar.set_style(style.expect("the template is constant"));
        bar.set_message(name);
        bar.enable_steady_tick(Duration::from_millis(200));
        self.with(|present| *present = Some(bar));
    }

    fn at(&self, done: u64) {
        self.with(|bar| {
            if let Some(bar) = bar {
                bar.set_position(done);
            }
        });
    }

    fn note(&self, text: &str) {
        self.clear();
        eprintln!("plimsoll: {text}");
    }
}
