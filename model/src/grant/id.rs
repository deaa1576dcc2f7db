//! Fixed bytes that name things: base64url in JSON, byte strings in CBOR.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde::{Deserialize, Serialize};

/// `N` bytes; canonical base64url without padding in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes<const N: usize>(pub [u8; N]);

/// 128 bits that name one token or one request.
pub type TokenId = Bytes<16>;
/// 64 bits that name one life of a wallet's state: drawn anew whenever the state was lost or cannot be trusted, so
/// that no grant made for an earlier life can be replayed into it.
pub type Instance = Bytes<8>;

impl<const N: usize> fmt::Debug for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<const N: usize> fmt::Display for Bytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl<const N: usize> Default for Bytes<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

/// Not `N` bytes of canonical base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {bytes} bytes of base64url")]
pub struct BadBytes {
    /// How many were expected.
    pub bytes: usize,
}

impl<const N: usize> TryFrom<String> for Bytes<N> {
    type Error = BadBytes;
    fn try_from(text: String) -> Result<Self, BadBytes> {
        let mut bytes = [0; N];
        match Base64UrlUnpadded::decode(&text, &mut bytes) {
            Ok(read) if read.len() == N => Ok(Self(bytes)),
            _ => Err(BadBytes { bytes: N }),
        }
    }
}

impl<const N: usize> From<Bytes<N>> for String {
    fn from(bytes: Bytes<N>) -> String {
        bytes.to_string()
    }
}

impl<const N: usize> TryFrom<&[u8]> for Bytes<N> {
    type Error = BadBytes;
    fn try_from(bytes: &[u8]) -> Result<Self, BadBytes> {
        bytes.try_into().map(Self).map_err(|_| BadBytes { bytes: N })
    }
}
