//! The account's history on the device: the same state machine as on the server, fed with the same rows.
//!
//! ```text
//! sync ─► rows, from a version on ─► History::append ─► durable ─► snapshot(grant.iat) ─► features, to the bit the server's
//! ```
//!
//! What is fed is the ledger, as the server sends it when the device syncs: an offline payment enters history when it
//! settles, and until then the wallet counts it as pending. The state is bounded (see [`plimsoll_model::features`]), so
//! is the file. A device that keeps no history uses the features that the issuer signed into the grant.

use plimsoll_model::features::{FeatureState, FeatureVector, OutOfOrder, Profile};
use plimsoll_model::grant::Grant;
use plimsoll_model::{Transaction, UtcSeconds};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::storage::{Storage, StorageError};

/// The history's file: a digest of what follows it, then JSON.
const FILE: &str = "history";
const DIGEST: usize = 32;
/// Bytes of the largest state: 128 days of up to 14 numbers and 256 spends, in JSON.
const STATE_BYTES_MAX: u64 = 256 * 1024;

/// An account's features, kept on its holder's device.
#[derive(Debug)]
pub struct History<S> {
    storage: S,
    kept: Option<Kept>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Rows folded in since the account's beginning.
    version: u64,
    state: FeatureState,
}

/// Why rows were not folded in. What is kept stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseRows {
    /// Rows are missing in between: ask for those after `have`.
    #[error("rows after version {offered} were sent, but only {have} are here: ask again from {have}")]
    Missing {
        /// The version that is kept.
        have: u64,
        /// The version the rows follow.
        offered: u64,
    },
    /// No account was begun, or its file did not read: ask for all of it.
    #[error("no history is kept here: begin it")]
    Nothing,
    /// The rows are not in order: begin again with all of them.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// The device does not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl<S: Storage> History<S> {
    /// Opens what is kept. A file that is damaged is the same as none: it can be fetched again.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn open(storage: S) -> Result<Self, StorageError> {
        let read = match storage.read(FILE, STATE_BYTES_MAX) {
            Ok(read) => read,
            Err(StorageError::TooLong { .. }) => None,
            Err(error) => return Err(error),
        };
        let kept = read.and_then(|bytes| Kept::from_bytes(&bytes));
        Ok(Self { storage, kept })
    }

    /// Begins an account, as it was at `from`, before its first row, with `opening_minor` in it. What was kept is
    /// replaced.
    ///
    /// # Errors
    /// [`StorageError`]; what was kept stays.
    pub fn begin(&mut self, profile: Profile, opening_minor: i64, from: UtcSeconds) -> Result<(), StorageError> {
        self.keep(Kept { version: 0, state: FeatureState::new(profile, opening_minor, from) })
    }

    /// Rows folded in so far; `None` when no account was begun. What to ask the server to continue from.
    pub fn version(&self) -> Option<u64> {
        self.kept.as_ref().map(|kept| kept.version)
    }

    /// Folds rows in: those that follow row number `after`. Rows that are here already are passed over, so a delivery
    /// may come twice, or overlap.
    ///
    /// # Errors
    /// [`RefuseRows`]: none of the rows was folded in.
    pub fn append(&mut self, after: u64, rows: &[Transaction]) -> Result<u64, RefuseRows> {
        let kept = self.kept.as_ref().ok_or(RefuseRows::Nothing)?;
        let Some(known) = kept.version.checked_sub(after) else {
            return Err(RefuseRows::Missing { have: kept.version, offered: after });
        };
        let new = usize::try_from(known).ok().and_then(|known| rows.get(known..)).unwrap_or_default();
        if new.is_empty() {
            return Ok(kept.version);
        }
        let mut next = kept.clone();
        for row in new {
            next.state.push(row)?;
            next.version += 1;
        }
        let version = next.version;
        self.keep(next)?;
        Ok(version)
    }

    /// Corrects tier and attestation, which the server's record decides.
    ///
    /// # Errors
    /// [`RefuseRows`].
    pub fn set_standing(&mut self, tier: plimsoll_model::Tier, attested: bool) -> Result<(), RefuseRows> {
        let mut next = self.kept.clone().ok_or(RefuseRows::Nothing)?;
        next.state.set_standing(tier, attested);
        Ok(self.keep(next)?)
    }

    /// The features as known at `at`, age 0; `None` when nothing is kept.
    pub fn snapshot(&self, at: UtcSeconds) -> Option<FeatureVector> {
        self.kept.as_ref().map(|kept| kept.state.clone().snapshot(at))
    }

    /// The features to evaluate a grant with: those the issuer signed into it, or this history's at its sync.
    pub fn features(&self, grant: &Grant) -> Option<FeatureVector> {
        grant.features().or_else(|| self.snapshot(grant.iat))
    }

    /// Whether this history says, to the bit, what the issuer signed; `None` when one of the two is not there. A history
    /// that does not has missed or changed rows: begin it again.
    pub fn agrees(&self, grant: &Grant) -> Option<bool> {
        let (signed, own) = (grant.features()?, self.snapshot(grant.iat)?);
        Some(signed.0.map(f32::to_bits) == own.0.map(f32::to_bits))
    }

    fn keep(&mut self, kept: Kept) -> Result<(), StorageError> {
        self.storage.replace(FILE, &kept.to_bytes())?;
        self.kept = Some(kept);
        Ok(())
    }
}

impl Kept {
    fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("a state holds only integers and lists");
        [&Sha256::digest(&json)[..], &json].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (digest, json) = bytes.split_first_chunk::<DIGEST>()?;
        if Sha256::digest(json)[..] != digest[..] {
            return None;
        }
        serde_json::from_slice(json).ok().filter(|kept: &Self| kept.state.is_sound())
    }
}
