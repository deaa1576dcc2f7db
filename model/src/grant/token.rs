//! From claims to signed bytes and back, in either form.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::frame::{Framed, Kind};
use super::key::{PublicKey, SignError, Signer};
use super::refuse::RefuseToken;
use super::{TOKEN_BYTES_MAX, cose, jws};

/// How a token is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JWS compact: text, about 600 bytes.
    Jws,
    /// CWT in COSE_Sign1: binary, about 200 bytes, for QR and NFC.
    Cwt,
}

/// Claims that can be written in both forms.
pub(super) trait Claims: Sized {
    const KIND: Kind;
    fn to_json(&self) -> Vec<u8>;
    fn from_json(bytes: &[u8]) -> Result<Self, RefuseToken>;
    fn to_cbor(&self) -> Vec<u8>;
    fn from_cbor(bytes: &[u8]) -> Result<Self, RefuseToken>;
    /// Whether the claims make sense together.
    fn check(&self) -> Result<(), RefuseToken>;
}

/// Claims whose signature was verified over the bytes they were read from. Whether they may be *used* (time, account,
/// device, sequence) is the wallet's or the payee's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T> {
    claims: T,
    form: Form,
    bytes: Vec<u8>,
    key: PublicKey,
}

impl<T> Verified<T> {
    /// What was signed.
    pub const fn claims(&self) -> &T {
        &self.claims
    }

    /// In which form it came.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The bytes as they came: to store, and to show a payee.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key under which they verified.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// SHA-256 of the bytes.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.claims
    }
}

/// Signs claims.
///
/// * `kid`: the key id as text; its UTF-8 bytes in a CWT.
pub(super) fn sign<C: Claims>(
    claims: &C,
    form: Form,
    kid: &Kid<'_>,
    signer: &dyn Signer,
) -> Result<Vec<u8>, SignError> {
    match form {
        Form::Jws => {
            let input = jws::signing_input(C::KIND, &kid.text(), &claims.to_json());
            let signature = signer.sign(input.as_bytes())?;
            Ok(jws::seal(input, &signature))
        }
        Form::Cwt => {
            let payload = claims.to_cbor();
            let signature = signer.sign(&cose::signing_input(C::KIND, kid.bytes(), &payload))?;
            Ok(cose::seal(C::KIND, kid.bytes(), &payload, &signature))
        }
    }
}

/// A key id: a name, or the key itself.
pub(super) enum Kid<'a> {
    Name(&'a str),
    Key(&'a PublicKey),
}

impl Kid<'_> {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Key(key) => Cow::Owned(super::id::Bytes(*key.as_bytes()).to_string()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Name(name) => name.as_bytes(),
            Self::Key(key) => key.as_bytes(),
        }
    }
}

/// Verifies bytes under the key that `key_of` finds for their key id, then reads the claims.
pub(super) fn verify<C: Claims>(
    bytes: &[u8],
    key_of: impl FnOnce(Form, &[u8]) -> Result<PublicKey, RefuseToken>,
) -> Result<Verified<C>, RefuseToken> {
    if bytes.len() > TOKEN_BYTES_MAX {
        return Err(RefuseToken::TooLong { bytes: bytes.len(), max: TOKEN_BYTES_MAX });
    }
    let form = if bytes.first() == Some(&cose::FIRST_BYTE) { Form::Cwt } else { Form::Jws };
    let Framed { kid, signed, payload, signature } = match form {
        Form::Jws => jws::open(bytes, C::KIND)?,
        Form::Cwt => cose::open(bytes, C::KIND)?,
    };
    let key = key_of(form, &kid)?;
    key.verify(&signed, &signature)?;
    let claims = match form {
        Form::Jws => C::from_json(&payload)?,
        Form::Cwt => {
            let claims = C::from_cbor(&payload)?;
            if claims.to_cbor() != *payload {
                return Err(RefuseToken::claims("not deterministic CBOR"));
            }
            claims
        }
    };
    claims.check()?;
    Ok(Verified { claims, form, bytes: bytes.to_vec(), key })
}
