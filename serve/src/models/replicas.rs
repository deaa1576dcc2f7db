//! Replicas over one store: a ring that one widens, a release that one pulls back and a limit that one lowers, for all.

use super::{Models, Pulled, RefuseMove, Rollout};
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

/// What somebody orders of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// It decides for this share of the accounts, parts per million.
    Widen(u32),
    /// It decides for nobody any more.
    PullBack(Pulled),
}

impl Order {
    /// Does it.
    ///
    /// # Errors
    /// [`RefuseMove`]: nothing is changed.
    pub fn follow(&self, rollout: &mut Rollout, model_version: u64) -> Result<(), RefuseMove> {
        match self {
            Self::Widen(share_ppm) => rollout.widen(model_version, *share_ppm),
            Self::PullBack(pulled) => rollout.pull_back(model_version, pulled.clone()),
        }
    }
}

/// Gives an order to all replicas: each follows it within `programme.watch_s`.
///
/// * returns why nobody will.
///
/// # Errors
/// `Damaged`, `Unavailable`: it was given or it was not, and may be given again.
pub async fn order(store: &Store, model_version: u64, order: &Order) -> Result<Result<(), RefuseMove>, StoreError> {
    for _ in 0..TRIES {
        let note = store.note(NOTE).await?;
        let mut rollout = note.as_ref().map_or_else(|| Ok(Rollout::default()), |note| read(&note.body))?;
        let before = rollout.clone();
        let moved = order.follow(&mut rollout, model_version);
        if moved.is_err() || rollout == before || store.keep_note(NOTE, &write(&rollout), note.as_ref()).await? {
            return Ok(moved);
        }
    }
    Err(crowded())
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
            if store.keep_note(NOTE, &write(&both), note.as_ref()).await? {
                return Ok(());
            }
        }
        Err(crowded())
    }
}

fn crowded() -> StoreError {
    StoreError::Unavailable { why: "many replicas write the rollout at once".to_owned() }
}

fn write(rollout: &Rollout) -> String {
    serde_json::to_string(rollout).expect("a rollout holds only integers, text and lists")
}

fn read(body: &str) -> Result<Rollout, StoreError> {
    serde_json::from_str(body).map_err(|e| StoreError::Damaged { why: format!("the note {NOTE:?} does not read: {e}") })
}
