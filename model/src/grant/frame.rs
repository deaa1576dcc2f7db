//! What both forms have in common: a header, a payload, a signature, and the bytes that were signed.

use super::refuse::RefuseToken;

/// What a token is for; its `typ` in either form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// `typ` of a JWS.
    pub jws: &'static str,
    /// `typ` of a COSE_Sign1.
    pub cwt: &'static str,
}

/// A token taken apart; its signature not yet verified, its payload not yet read.
pub(super) struct Framed<'a> {
    /// Which key it names.
    pub kid: Vec<u8>,
    /// What the signature is over.
    pub signed: std::borrow::Cow<'a, [u8]>,
    /// The claims.
    pub payload: std::borrow::Cow<'a, [u8]>,
    /// Not verified.
    pub signature: [u8; 64],
}

/// A signature of 64 bytes, or a refusal.
pub(super) fn signature(bytes: &[u8]) -> Result<[u8; 64], RefuseToken> {
    bytes.try_into().map_err(|_| RefuseToken::malformed("a signature has 64 bytes"))
}
