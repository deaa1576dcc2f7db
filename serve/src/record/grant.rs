//! A grant that was issued: looked up when a payment under it comes in.

use plimsoll_model::grant::{Grant, Thumbprint, TokenId};
use plimsoll_model::{Money, UtcSeconds};
use serde::{Deserialize, Serialize};

use super::{AccountId, Record};

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// Its name.
    pub jti: TokenId,
    /// Whose.
    pub account: AccountId,
    /// Which wallet's.
    pub jkt: Thumbprint,
    /// Rises strictly per wallet.
    pub seq: u64,
    /// When it was made.
    pub iat: UtcSeconds,
    /// Of the limits that the model computed, the share that was granted, parts per million.
    pub granted_ppm: u32,
    /// Its claims as they were signed.
    pub claims: Vec<u8>,
    /// Settled under it.
    pub settled: Money,
}

impl Record for GrantRecord {
    const VERSION: u8 = 1;
}

impl GrantRecord {
    /// The claims.
    ///
    /// # Errors
    /// When the row was not written by this program.
    pub fn grant(&self) -> Result<Grant, super::BadRecord> {
        serde_json::from_slice(&self.claims)
            .map_err(|e| super::BadRecord { of: "grant", why: format!("its claims: {e}") })
    }
}
