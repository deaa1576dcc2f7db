//! Why bytes are no token.

/// Why bytes are not a grant, request or payment of ours. Nothing of them was used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseToken {
    /// Longer than any token is.
    #[error("{bytes} bytes: a token has at most {max}")]
    TooLong {
        /// How long.
        bytes: usize,
        /// What is allowed.
        max: usize,
    },
    /// Neither `a.b.c` nor a tagged COSE_Sign1, or not canonically encoded.
    #[error("not a token: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The header is not exactly algorithm, type and key id.
    #[error("header: {reason}")]
    Header {
        /// What is wrong.
        reason: String,
    },
    /// Another algorithm than Ed25519.
    #[error("alg {found:?} is not EdDSA")]
    Algorithm {
        /// What it says.
        found: String,
    },
    /// A token of another kind.
    #[error("typ is {found:?}, expected {expected:?}")]
    Type {
        /// What was asked for.
        expected: &'static str,
        /// What it says.
        found: String,
    },
    /// Signed by a key nobody trusts.
    #[error("kid {kid:?} is not among the issuer's keys: fetch them again")]
    UnknownKey {
        /// Which.
        kid: String,
    },
    /// The key is no point of the curve, or one under which a signature fits every message.
    #[error("the key is no usable Ed25519 key")]
    WeakKey,
    /// The signature does not fit bytes and key.
    #[error("the signature does not match")]
    Signature,
    /// The signature holds, the claims do not read.
    #[error("claims: {reason}")]
    Claims {
        /// Which claim, and what is wrong.
        reason: String,
    },
    /// A claim that contradicts itself or the profile.
    #[error("{claim}: {why}")]
    Claim {
        /// Which.
        claim: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// Another issuer than the one whose keys were given.
    #[error("iss is {found:?}, the keys are those of {expected:?}")]
    Issuer {
        /// Whose keys.
        expected: String,
        /// What the token says.
        found: String,
    },
}

impl RefuseToken {
    pub(super) fn malformed(what: &'static str) -> Self {
        Self::Malformed { what }
    }

    pub(super) fn header(reason: impl ToString) -> Self {
        Self::Header { reason: reason.to_string() }
    }

    pub(super) fn claims(reason: impl ToString) -> Self {
        Self::Claims { reason: reason.to_string() }
    }

    pub(super) const fn claim(claim: &'static str, why: &'static str) -> Self {
        Self::Claim { claim, why }
    }
}
