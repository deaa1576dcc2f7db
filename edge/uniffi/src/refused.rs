//! One error for all calls.

use plimsoll_edge::wire;

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum Refused {
    /// `code` is stable (`wrong_hash`, `expired`, `grant`, `request` …), `reason` is for people.
    #[error("{reason}")]
    Because {
        /// Of the cause.
        code: String,
        /// In words.
        reason: String,
    },
}

impl Refused {
    pub(crate) fn request(what: &str, reason: impl std::fmt::Display) -> Self {
        wire::Refused::Request { what: what.to_owned(), reason: reason.to_string() }.into()
    }
}

impl From<wire::Refused> for Refused {
    fn from(refused: wire::Refused) -> Self {
        Self::Because { code: refused.code().to_owned(), reason: refused.to_string() }
    }
}
