//! What a payee asks for, and what a payer's device signs.

use minicbor::Decoder;
use minicbor::decode::Error;
use serde::{Deserialize, Serialize};

use super::cbor::{MapWriter, each_entry};
use super::claims::{JSON_INTEGER_MAX, check_name, check_time};
use super::claims_cbor::{bytes, currency, money, required, time};
use super::frame;
use super::id::TokenId;
use super::key::{PublicKey, SignError, Signer};
use super::refuse::RefuseToken;
use super::token::{Claims, Form, Kid, Verified, sign, verify};
use super::{Bytes, TOKEN_BYTES_MAX};
use crate::money::{Currency, Money};
use crate::time::UtcSeconds;

/// Payee to payer: please pay this. Not signed: the payer's device shows it to the holder, and the payee will take
/// only a payment that answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentRequest {
    /// Who wants to be paid.
    pub payee: String,
    /// How much.
    #[serde(rename = "amt")]
    pub amount: Money,
    /// In what.
    #[serde(rename = "cur")]
    pub currency: Currency,
    /// Drawn by the payee for this request; it becomes the payment's name.
    pub nonce: TokenId,
    /// When it was asked for, on the payee's clock.
    pub iat: UtcSeconds,
    /// Until when it may be answered.
    pub exp: UtcSeconds,
}

impl PaymentRequest {
    /// The bytes to show: JSON, or deterministic CBOR for QR and NFC.
    pub fn to_bytes(&self, form: Form) -> Vec<u8> {
        match form {
            Form::Jws => serde_json::to_vec(self).expect("a request holds only integers and text"),
            Form::Cwt => {
                let mut map = MapWriter::new();
                map.put(1, |w| w.str(&self.payee));
                map.put(2, |w| w.u64(self.amount.minor()));
                map.put(3, |w| w.str(&String::from(self.currency)));
                map.put(4, |w| w.bytes(&self.nonce.0));
                map.put(5, |w| w.i64(self.iat.0));
                map.put(6, |w| w.i64(self.exp.0));
                map.finish()
            }
        }
    }

    /// Reads a request in either form.
    ///
    /// # Errors
    /// [`RefuseToken`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RefuseToken> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(RefuseToken::TooLong { bytes: bytes.len(), max: TOKEN_BYTES_MAX });
        }
        let request = if bytes.first() == Some(&b'{') {
            serde_json::from_slice(bytes).map_err(RefuseToken::claims)?
        } else {
            let request = Self::from_cbor(bytes).map_err(RefuseToken::claims)?;
            if request.to_bytes(Form::Cwt) != bytes {
                return Err(RefuseToken::claims("not deterministic CBOR"));
            }
            request
        };
        request.check()?;
        Ok(request)
    }

    fn from_cbor(request: &[u8]) -> Result<Self, Error> {
        let (mut payee, mut amount, mut cur, mut nonce, mut iat, mut exp) = (None, None, None, None, None, None);
        each_entry(&mut Decoder::new(request), |d, label| {
            match label {
                1 => payee = Some(d.str()?.to_owned()),
                2 => amount = Some(money(d)?),
                3 => cur = Some(currency(d)?),
                4 => nonce = Some(bytes(d)?),
                5 => iat = Some(time(d)?),
                6 => exp = Some(time(d)?),
                _ => return Err(Error::message("an unknown claim")),
            }
            Ok(())
        })?;
        Ok(Self {
            payee: required(payee, "payee")?,
            amount: required(amount, "amt")?,
            currency: required(cur, "cur")?,
            nonce: required(nonce, "nonce")?,
            iat: required(iat, "iat")?,
            exp: required(exp, "exp")?,
        })
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// `Claim`.
    pub fn check(&self) -> Result<(), RefuseToken> {
        check_name("payee", &self.payee)?;
        check_time("iat", self.iat)?;
        check_time("exp", self.exp)?;
        if self.exp <= self.iat {
            return Err(RefuseToken::claim("exp", "a request ends after it was made"));
        }
        if self.amount == Money::ZERO {
            return Err(RefuseToken::claim("amt", "nothing was asked for"));
        }
        Ok(())
    }
}

/// Payer's device to payee: this much, under this grant, for this request.
///
/// The key id in its header is the device's public key itself, so that a payee can verify it from bytes alone and
/// compare the key's thumbprint with the grant's `cnf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// The account that pays.
    #[serde(rename = "sub")]
    pub payer: String,
    /// Who is paid.
    #[serde(rename = "aud")]
    pub payee: String,
    /// The request's nonce: the payment's own name.
    #[serde(rename = "jti")]
    pub nonce: TokenId,
    /// When it was signed, on the wallet's engine time.
    pub iat: UtcSeconds,
    /// The last instant at which it may settle.
    pub exp: UtcSeconds,
    /// The grant's name.
    pub grant: TokenId,
    /// The grant's sequence number.
    pub seq: u64,
    /// Rises by one with every payment of the wallet.
    #[serde(rename = "n")]
    pub number: u64,
    /// How much.
    #[serde(rename = "amt")]
    pub amount: Money,
    /// In what.
    #[serde(rename = "cur")]
    pub currency: Currency,
    /// Spent under the grant, this payment included.
    pub spent: Money,
}

impl Payment {
    /// Signs the payment with the device's key.
    ///
    /// # Errors
    /// [`SignError`] of the key.
    pub fn sign(&self, form: Form, device: &dyn Signer) -> Result<Vec<u8>, SignError> {
        sign(self, form, &Kid::Key(&device.public()), device)
    }

    /// Verifies a payment under the key that it names, then reads it. Whether that key holds a grant, the caller
    /// checks: see [`Verified::key`].
    ///
    /// # Errors
    /// [`RefuseToken`].
    pub fn verify(bytes: &[u8]) -> Result<Verified<Self>, RefuseToken> {
        let key_of = |form, kid: &[u8]| {
            let key = match form {
                Form::Jws => Bytes::<32>::try_from(String::from_utf8_lossy(kid).into_owned()).ok(),
                Form::Cwt => Bytes::<32>::try_from(kid).ok(),
            };
            PublicKey::new(&key.ok_or_else(|| RefuseToken::header("kid is no Ed25519 key"))?.0)
        };
        verify(bytes, key_of)
    }
}

impl Claims for Payment {
    const KIND: frame::Kind = frame::Kind { jws: "offline-payment+jwt", cwt: "offline-payment+cwt" };

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a payment holds only integers and text")
    }

    fn from_json(bytes: &[u8]) -> Result<Self, RefuseToken> {
        serde_json::from_slice(bytes).map_err(RefuseToken::claims)
    }

    fn to_cbor(&self) -> Vec<u8> {
        let mut own = MapWriter::new();
        own.put(1, |w| w.bytes(&self.grant.0));
        own.put(2, |w| w.u64(self.seq));
        own.put(3, |w| w.u64(self.number));
        own.put(4, |w| w.u64(self.amount.minor()));
        own.put(5, |w| w.str(&String::from(self.currency)));
        own.put(6, |w| w.u64(self.spent.minor()));
        let mut claims = MapWriter::new();
        claims.put(2, |w| w.str(&self.payer));
        claims.put(3, |w| w.str(&self.payee));
        claims.put(4, |w| w.i64(self.exp.0));
        claims.put(6, |w| w.i64(self.iat.0));
        claims.put(7, |w| w.bytes(&self.nonce.0));
        claims.put(super::claims_cbor::OWN, |w| {
            w.writer_mut().extend_from_slice(&own.finish());
            Ok(w)
        });
        claims.finish()
    }

    fn from_cbor(claims: &[u8]) -> Result<Self, RefuseToken> {
        read(claims).map_err(RefuseToken::claims)
    }

    fn check(&self) -> Result<(), RefuseToken> {
        check_name("sub", &self.payer)?;
        check_name("aud", &self.payee)?;
        check_time("iat", self.iat)?;
        check_time("exp", self.exp)?;
        if self.exp <= self.iat {
            return Err(RefuseToken::claim("exp", "a payment ends after it was signed"));
        }
        if self.amount == Money::ZERO || self.spent < self.amount {
            return Err(RefuseToken::claim("spent", "is not at least the amount, or that is zero"));
        }
        if [self.seq, self.number].iter().any(|n| *n == 0 || *n > JSON_INTEGER_MAX) {
            return Err(RefuseToken::claim("n", "seq and n are not between 1 and 2^53"));
        }
        Ok(())
    }
}

fn read(claims: &[u8]) -> Result<Payment, Error> {
    let (mut payer, mut payee, mut nonce, mut iat, mut exp) = (None, None, None, None, None);
    let (mut grant, mut seq, mut number, mut amount, mut cur, mut spent) = (None, None, None, None, None, None);
    each_entry(&mut Decoder::new(claims), |d, label| {
        match label {
            2 => payer = Some(d.str()?.to_owned()),
            3 => payee = Some(d.str()?.to_owned()),
            4 => exp = Some(time(d)?),
            6 => iat = Some(time(d)?),
            7 => nonce = Some(bytes(d)?),
            super::claims_cbor::OWN => each_entry(d, |d, label| {
                match label {
                    1 => grant = Some(bytes(d)?),
                    2 => seq = Some(d.u64()?),
                    3 => number = Some(d.u64()?),
                    4 => amount = Some(money(d)?),
                    5 => cur = Some(currency(d)?),
                    6 => spent = Some(money(d)?),
                    _ => return Err(Error::message("an unknown claim of ours")),
                }
                Ok(())
            })?,
            _ => return Err(Error::message("an unknown claim")),
        }
        Ok(())
    })?;
    Ok(Payment {
        payer: required(payer, "sub")?,
        payee: required(payee, "aud")?,
        nonce: required(nonce, "cti")?,
        iat: required(iat, "iat")?,
        exp: required(exp, "exp")?,
        grant: required(grant, "grant")?,
        seq: required(seq, "seq")?,
        number: required(number, "n")?,
        amount: required(amount, "amt")?,
        currency: required(cur, "cur")?,
        spent: required(spent, "spent")?,
    })
}
