//! Replicas over one store: a ring that one widens, a release that one pulls back and a limit that one lowers, for all.

use super::{Models, Rollout};
use crate::store::{Store, StoreError};

const NOTE: &str = "rollout";
/// Tries before others are let through: each that fails means that another replica got on.
const TRIES: u32 = 16;

/// How far all replicas know the releases to be: what a new one starts from.
///
/// # Errors
/// `Damaged` when the note is not one of ours, `Unavailable`.
pub async fn known(store: &Store) -> Result<Rollout, StoreError> {
    match store.note(NOTE).await? {
        Some(note) => read(&note.body),
        None => Ok(Rollout::default()),
    }
}

impl Models {
    /// Tells the other replicas what this one knows, and takes in what they know. Call it after a change and every few
    /// seconds; records merge, so it does not matter who comes first.
    ///
    /// # Errors
    /// `Damaged` when the note is not one of ours; `Unavailable`: the next time tells it all.
    pub async fn share(&self, store: &Store) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let note = store.note(NOTE).await?;
            let theirs = note.as_ref().map_or_else(|| Ok(Rollout::default()), |note| read(&note.body))?;
            let (models, heard) = (self.clone(), theirs.clone());
            // It may load a release, and writes the archive: off the async threads.
            let merged = tokio::task::spawn_blocking(move || models.merge(&heard)).await;
            let both = merged.map_err(|e| StoreError::Unavailable { why: e.to_string() })?;
            if both == theirs {
                return Ok(());
            }
            let body = serde_json::to_string(&both).expect("a rollout holds only integers, text and lists");
            if store.keep_note(NOTE, &body, note.as_ref()).await? {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable { why: "many replicas write the rollout at once".to_owned() })
    }
}

fn read(body: &str) -> Result<Rollout, StoreError> {
    serde_json::from_str(body).map_err(|e| StoreError::Damaged { why: format!("the note {NOTE:?} does not read: {e}") })
}
