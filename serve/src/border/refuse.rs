//! Why a credential does not count: told in full to the log and the metrics, and in few words to who tries.

use super::error::ApiError;
use crate::ops::metrics::Refused;

/// Why a credential does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseCredential {
    /// There is none.
    #[error("there is no credential")]
    Missing,
    /// There are several: which one counts would be a guess.
    #[error("there is more than one credential")]
    Ambiguous,
    /// It does not read.
    #[error("it does not read: {0}")]
    Malformed(&'static str),
    /// The algorithm is not one that is allowed, or not the key's.
    #[error("the algorithm is not one that counts here")]
    Algorithm,
    /// The token is for something else.
    #[error("`typ` is not one that counts here")]
    Type,
    /// No key of that id.
    #[error("the key id is unknown")]
    UnknownKey,
    /// Another key, or other bytes.
    #[error("the signature does not match")]
    Signature,
    /// Too late.
    #[error("it has expired")]
    Expired,
    /// Too early.
    #[error("it is not valid yet")]
    NotYet,
    /// Of somebody else.
    #[error("`iss` is not the key's owner")]
    Issuer,
    /// For somebody else.
    #[error("`aud` is not this service")]
    Audience,
    /// A claim that is needed is missing or wrong.
    #[error("claim {0} is missing or wrong")]
    Claim(&'static str),
    /// A part of the request that matters is not covered.
    #[error("the signature does not cover {0}")]
    Uncovered(&'static str),
    /// The body is not the one that was signed.
    #[error("the body does not have the digest that was signed")]
    Digest,
    /// It was used before.
    #[error("the nonce was used before")]
    Replayed,
    /// More signed messages than are remembered.
    #[error("more nonces than are remembered")]
    TooManyNonces,
    /// The keys cannot be had.
    #[error("the key set cannot be had")]
    NoKeys,
}

impl RefuseCredential {
    /// One word for the metric.
    pub(super) const fn label(self) -> Refused {
        let reason = match self {
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::Malformed(_) => "malformed",
            Self::Algorithm => "algorithm",
            Self::Type => "type",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claim(_) => "claim",
            Self::Uncovered(_) => "uncovered",
            Self::Digest => "digest",
            Self::Replayed => "replayed",
            Self::TooManyNonces => "too_many_nonces",
            Self::NoKeys => "no_keys",
        };
        Refused { reason }
    }
}

/// Those who cannot show a credential learn nothing about it; those whose key matched learn what to do.
impl From<RefuseCredential> for ApiError {
    fn from(refused: RefuseCredential) -> Self {
        use RefuseCredential as R;
        match refused {
            R::Expired => Self::ExpiredToken,
            R::Signature | R::Digest => Self::BadSignature,
            R::UnknownKey => Self::UnknownKid,
            R::Replayed => Self::NonceReused,
            R::NoKeys => Self::Unavailable { why: "credentials cannot be checked", retry_after_s: 5 },
            R::TooManyNonces => Self::RateLimited { retry_after_s: 60 },
            R::Ambiguous => Self::BadRequest("send one credential, not several".to_owned()),
            _ => Self::Unauthenticated,
        }
    }
}
