//! Ctrl-C: take away what is half-written, say so, exit 130.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::bars::Bars;

/// Outputs under way: their staging directories, and files half-written, go when the process is told to stop.
static OUTPUTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Names an output that is about to be written beside its place.
pub(super) fn writing(target: &Path) {
    OUTPUTS.lock().unwrap_or_else(PoisonError::into_inner).push(target.to_owned());
}

pub(super) fn install(bars: Bars) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        bars.clear();
        for target in OUTPUTS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Best effort: it may not have been begun, or be in place already.
            let partial = plimsoll_datasets::write::partial_path(target);
            let _ = std::fs::remove_dir_all(&partial).or_else(|_| std::fs::remove_file(&partial));
        }
        eprintln!("plimsoll: interrupted; nothing half-written was left");
        std::process::exit(130);
    })?;
    Ok(())
}
