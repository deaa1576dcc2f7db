//! Why a wallet does not do what it was asked, apart from declining a payment, which is a decision.

use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::{RefuseToken, SignError};

use super::anchor::AnchorError;
use crate::storage::StorageError;

/// A device that cannot do what was asked now. Nothing was released; try again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The state could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The platform's counter did not answer.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The request is not one to answer.
    #[error(transparent)]
    Request(#[from] RefuseRequest),
    /// The grant is not one to accept.
    #[error(transparent)]
    Grant(#[from] RefuseGrant),
}

/// Why a payment request is not answered. Ask the payee for a new one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseRequest {
    /// It does not read, or makes no sense.
    #[error("request: {0}")]
    Malformed(RefuseToken),
    /// It counts in another currency than the wallet.
    #[error("request: cur is {found}, this wallet pays in {expected}")]
    Currency {
        /// The wallet's.
        expected: String,
        /// The request's.
        found: String,
    },
    /// It asks the wallet to pay itself.
    #[error("request: payee is this wallet's own account")]
    OwnAccount,
    /// It expired.
    #[error("request: expired at {at:?}")]
    Expired {
        /// When.
        at: UtcSeconds,
    },
    /// It was made more than five minutes in the future: one of the two clocks is wrong.
    #[error("request: made at {at:?}, which is in the future")]
    FutureDated {
        /// When it says it was made.
        at: UtcSeconds,
    },
    /// It is valid for longer than the programme allows.
    #[error("request: valid for {seconds} s, the programme allows {max} s")]
    TooLong {
        /// How long.
        seconds: i64,
        /// What is allowed.
        max: u32,
    },
    /// Its nonce was used for another payment.
    #[error("request: the nonce of payment {number} was used again for something else")]
    NonceReused {
        /// Which payment.
        number: u64,
    },
}

/// Why a grant is not accepted. What the wallet holds stays as it is, except as `Gap` says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseGrant {
    /// It does not verify or read.
    #[error("grant: {0}")]
    Token(#[from] RefuseToken),
    /// A claim names another account, programme, currency or device than this wallet's.
    #[error("grant: {claim} is {found:?}, this wallet's is {expected:?}")]
    NotOurs {
        /// Which claim.
        claim: &'static str,
        /// This wallet's.
        expected: String,
        /// The grant's.
        found: String,
    },
    /// It was made for an earlier life of this wallet's state: sync again.
    #[error("grant: wid is not that of this wallet's state: sync again")]
    OtherState,
    /// A newer one, or another of the same number, was accepted before.
    #[error("grant: seq {found} is not above {have}")]
    Stale {
        /// What the wallet has.
        have: u64,
        /// What was offered.
        found: u64,
    },
    /// It was made more than five minutes in the future: this device's clock is behind.
    #[error("grant: iat {at:?} is in the future: set the clock")]
    FutureDated {
        /// When it says it was made.
        at: UtcSeconds,
    },
    /// It begins later.
    #[error("grant: nbf {at:?} has not come")]
    NotYet {
        /// When.
        at: UtcSeconds,
    },
    /// It has ended.
    #[error("grant: exp {at:?} has passed")]
    Expired {
        /// When.
        at: UtcSeconds,
    },
    /// Its directive is to go on counting, but this state has only begun: the issuer must know it, by its `wid`.
    #[error("grant: reset says to keep counters that this state does not have")]
    NothingToKeep,
    /// The issuer acknowledges fewer payments than before: it, or what carried the grant, is out of step.
    #[error("grant: seen {found} is below {have}")]
    SeenWentBack {
        /// What was acknowledged before.
        have: u64,
        /// What was offered.
        found: u64,
    },
    /// The issuer has seen payments that this wallet does not know it made: its state is an old copy. From now on
    /// nothing is spent until a grant is made for its new state.
    #[error("grant: seen is {seen}, this wallet has made {made} payments: sync again")]
    Gap {
        /// What the issuer has seen.
        seen: u64,
        /// What the wallet knows.
        made: u64,
    },
}
