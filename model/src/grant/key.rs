//! Keys: the issuer's, by id, and the device's, by thumbprint. Ed25519 only, strictly.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::id::Bytes;
use super::refuse::RefuseToken;

/// Keys an issuer may have at one time: the one in use, the one before, the one to come, and room.
const ISSUER_KEYS_MAX: usize = 8;
/// Bytes of a key set file.
const JWKS_BYTES_MAX: usize = 16 * 1024;

/// SHA-256 of a key's canonical JWK (RFC 7638; for Ed25519, RFC 8037 appendix A.3).
pub type Thumbprint = Bytes<32>;

/// An Ed25519 public key that is a point of the curve, and not of small order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key of these 32 bytes.
    ///
    /// # Errors
    /// `WeakKey` for bytes that are no point, and for the points under which one signature fits every message.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, RefuseToken> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| RefuseToken::WeakKey)?;
        if key.is_weak() { Err(RefuseToken::WeakKey) } else { Ok(Self(key)) }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Its RFC 7638 thumbprint.
    pub fn thumbprint(&self) -> Thumbprint {
        let x = Base64UrlUnpadded::encode_string(self.as_bytes());
        Bytes(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)).into())
    }

    /// Whether `signature` is this key's over `message`, by the strict rules of RFC 8032.
    ///
    /// # Errors
    /// `Signature`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), RefuseToken> {
        let signature = Signature::from_slice(signature).map_err(|_| RefuseToken::Signature)?;
        self.0.verify_strict(message, &signature).map_err(|_| RefuseToken::Signature)
    }
}

/// Something that signs: a key in memory, or a handle to one that never leaves secure hardware.
pub trait Signer {
    /// The public half.
    fn public(&self) -> PublicKey;

    /// The Ed25519 signature of `message`.
    ///
    /// # Errors
    /// [`SignError`] when the hardware refuses, or the holder did.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// A signature that was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key did not sign: {reason}")]
pub struct SignError {
    /// What the platform said.
    pub reason: String,
}

impl Signer for ed25519_dalek::SigningKey {
    fn public(&self) -> PublicKey {
        PublicKey(self.verifying_key())
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(ed25519_dalek::Signer::sign(self, message).to_bytes())
    }
}

/// The keys of one issuer, by key id: what a device checks grants with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerKeys {
    issuer: String,
    keys: Vec<(String, PublicKey)>,
}

/// Why a key set is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseKeys {
    /// Not a JSON Web Key Set.
    #[error("not a key set: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// More keys than an issuer has, or none.
    #[error("{found} Ed25519 keys: an issuer has 1 to {ISSUER_KEYS_MAX}")]
    Count {
        /// How many.
        found: usize,
    },
    /// One of them is no usable Ed25519 key, or repeats another's id.
    #[error("key {kid:?}: {why}")]
    Key {
        /// Which.
        kid: String,
        /// What is wrong.
        why: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
struct Jwks {
    keys: Vec<Jwk>,
}

/// Members of a key we read; others (`use`, `x5c` …) are ignored, as RFC 7517 asks.
#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    crv: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    kid: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    x: String,
}

impl IssuerKeys {
    /// The keys of `issuer`, the `iss` of its grants.
    ///
    /// # Errors
    /// [`RefuseKeys`] for none, too many, or one id twice.
    pub fn new(
        issuer: impl Into<String>,
        keys: impl IntoIterator<Item = (String, PublicKey)>,
    ) -> Result<Self, RefuseKeys> {
        let keys: Vec<_> = keys.into_iter().take(ISSUER_KEYS_MAX + 1).collect();
        if keys.is_empty() || keys.len() > ISSUER_KEYS_MAX {
            return Err(RefuseKeys::Count { found: keys.len() });
        }
        for (i, (kid, _)) in keys.iter().enumerate() {
            let why = match kid {
                kid if kid.is_empty() || kid.len() > 64 => "a key id has 1 to 64 bytes",
                kid if keys[..i].iter().any(|(other, _)| other == kid) => "this id is there twice",
                _ => continue,
            };
            return Err(RefuseKeys::Key { kid: kid.clone(), why });
        }
        Ok(Self { issuer: issuer.into(), keys })
    }

    /// Reads a JSON Web Key Set (RFC 7517). Keys that are not Ed25519 are passed over.
    ///
    /// # Errors
    /// [`RefuseKeys`].
    pub fn from_jwks(issuer: impl Into<String>, bytes: &[u8]) -> Result<Self, RefuseKeys> {
        if bytes.len() > JWKS_BYTES_MAX {
            return Err(RefuseKeys::Malformed { reason: format!("longer than {JWKS_BYTES_MAX} bytes") });
        }
        let set: Jwks = serde_json::from_slice(bytes).map_err(|e| RefuseKeys::Malformed { reason: e.to_string() })?;
        let ours = set.keys.into_iter().filter(|k| k.kty == "OKP" && k.crv == "Ed25519");
        let read = |key: Jwk| {
            let x = Bytes::<32>::try_from(key.x).ok().and_then(|x| PublicKey::new(&x.0).ok());
            match x {
                Some(x) => Ok((key.kid, x)),
                None => Err(RefuseKeys::Key { kid: key.kid, why: "no usable Ed25519 key" }),
            }
        };
        Self::new(issuer, ours.map(read).collect::<Result<Vec<_>, _>>()?)
    }

    /// The set as it is published.
    pub fn to_jwks(&self) -> Vec<u8> {
        let keys = self.keys.iter().map(|(kid, key)| Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            kid: kid.clone(),
            x: Bytes(*key.as_bytes()).to_string(),
        });
        serde_json::to_vec(&Jwks { keys: keys.collect() }).expect("a key set holds only text")
    }

    /// Whose keys these are.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key of this id.
    pub fn get(&self, kid: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|(id, _)| id == kid).map(|(_, key)| key)
    }
}
