//! A limit as bytes that can be checked: grants, payment requests and payments.
//!
//! ```text
//! issuer                          payer's device                        payee's device
//! Grant ──sign──► bytes ──verify──► Verified<Grant> ─► wallet
//!                                   PaymentRequest  ◄──────────────────  amount, nonce
//!                                   Payment ──sign──► bytes ──verify──►  Verified<Payment>, with the grant's bytes
//! ```
//!
//! One struct of claims, two forms that decode to the same: JWS compact (RFC 7515, EdDSA of RFC 8037) for reach, and
//! CWT in a COSE_Sign1 (RFC 8392, RFC 9052) for QR and NFC. The form is chosen when signing and recognised when
//! reading.
//!
//! The profile is narrower than the standards, so that there is one way to say a thing:
//!
//! - the JWS header holds exactly `alg`, `typ`, `kid`; the COSE header exactly 1 (alg), 4 (kid), 16 (typ, RFC 9596);
//! - `alg` is written `EdDSA`; a reader also takes its later name `Ed25519` (RFC 9864); the key is always Ed25519;
//! - a signature is verified over the received bytes before a claim is parsed, by `verify_strict`, and never under a
//!   small-order key, under which one signature fits every message;
//! - base64url is canonical, JSON has no duplicate keys, CBOR is deterministic (RFC 8949, section 4.2.1);
//! - every claim is critical: an unknown one may be a cap, so it is refused. There are no floats.
//!
//! COSE framing is written on `minicbor` and not taken from `coset`: the profile is four fields, `coset` builds a tree
//! of values on the heap for any CBOR at any depth (157 KB with the signature against 61 KB without), and it cannot
//! tell whether what it read was deterministic. `coset` reads our tokens in the tests.
//!
//! Times are UTC seconds, ages minutes, amounts integer minor units.

mod refuse;

mod key;

mod id;

mod frame;

mod jws;

mod cose;

mod cbor;

mod token;

mod claims;

mod claims_cbor;

mod lottery;

mod payment;

mod issue;

#[cfg(test)]
mod tests;

pub use claims::{Caps, Cnf, Curve, Directive, Grant, Level, Model, StepUpAt};
pub use id::{Bytes, Instance, TokenId};
pub use issue::{Terms, issue};
pub use key::{IssuerKeys, PublicKey, RefuseKeys, SignError, Signer, Thumbprint};
pub use lottery::{Lottery, audit};
pub use payment::{Payment, PaymentRequest};
pub use refuse::RefuseToken;
pub use token::{Form, Verified};

/// The longest token that is read, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// Payments a wallet keeps that no grant has acknowledged; no grant may allow more.
pub const COUNT_MAX: u32 = 128;
/// Points of a signed curve.
pub const CURVE_MAX: usize = 16;
/// Seconds a wall clock may be behind a signed time before it is suspect (design section 7).
pub const CLOCK_SLACK_S: i64 = 300;
