//! What is remembered, one file for each noun. A record's bytes are postcard: see [`Record`].

mod account;

mod grant;

mod payment;

mod window;

pub use account::{
    Account, AccountId, BadAccountId, Carried, Held, PAYEES_MAX, Proposal, Spent, TRANSFERS_MAX, TierFrom, Wallet,
};
pub use grant::GrantRecord;
pub use payment::{Dispute, DisputeReason, Found, Liable, Outcome, PaymentRecord};
pub use window::{Ended, Promise, Window};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is stored as bytes.
pub trait Record: Serialize + DeserializeOwned {
    /// First byte: rises when the fields change, so that bytes of another version are never read as this one.
    const VERSION: u8;

    /// The stored bytes.
    fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![Self::VERSION]).expect("records hold only integers, text and lists")
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`BadRecord`]: the row was not written by this program.
    fn from_bytes(bytes: &[u8]) -> Result<Self, BadRecord> {
        let bad = |why: &str| BadRecord { of: std::any::type_name::<Self>(), why: why.to_owned() };
        match bytes.split_first() {
            None => Err(bad("it is empty")),
            Some((version, _)) if *version != Self::VERSION => {
                Err(bad(&format!("it is of version {version}, this program writes {}", Self::VERSION)))
            }
            Some((_, rest)) => match postcard::take_from_bytes(rest) {
                Ok((record, [])) => Ok(record),
                Ok(_) => Err(bad("bytes follow it")),
                Err(error) => Err(bad(&error.to_string())),
            },
        }
    }
}

/// A stored row that does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored {of} does not read: {why}; restore a backup, or run the version that wrote it")]
pub struct BadRecord {
    of: &'static str,
    why: String,
}
