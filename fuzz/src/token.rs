//! Any header and claims under a good signature: what a fuzzer cannot forge, so that it reaches what comes after.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ed25519_dalek::SigningKey;
use minicbor::Encoder;
use minicbor::data::Tag;
use plimsoll_model::grant::{Bytes, Curve, Form, Grant, Payment, PaymentRequest, Signer as _};
use plimsoll_model::{Age, Currency, Money, UtcSeconds};

/// The key of the issuer, whose id is [`KID`].
pub fn issuer() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// The key of a wallet.
pub fn device() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

/// The issuer's key id.
pub const KID: &str = "2026-11a";
/// The issuer.
pub const ISSUER: &str = "tng.example";

/// `header.claims.signature`.
pub fn jws(header: &[u8], claims: &[u8], key: &SigningKey) -> Vec<u8> {
    let encode = Base64UrlUnpadded::encode_string;
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(&key.sign(signed.as_bytes()).expect("a key in memory signs"));
    format!("{signed}.{signature}").into_bytes()
}

/// `18([protected, {}, claims, signature])`.
pub fn cose(protected: &[u8], claims: &[u8], key: &SigningKey) -> Vec<u8> {
    let written = |write: &dyn Fn(&mut Encoder<Vec<u8>>) -> Result<(), minicbor::encode::Error<_>>| {
        let mut encoder = Encoder::new(Vec::new());
        write(&mut encoder).expect("writing to memory cannot fail");
        encoder.into_writer()
    };
    let signed = written(&|w| w.array(4)?.str("Signature1")?.bytes(protected)?.bytes(&[])?.bytes(claims)?.ok());
    let signature = key.sign(&signed).expect("a key in memory signs");
    written(&|w| w.tag(Tag::new(18))?.array(4)?.bytes(protected)?.map(0)?.bytes(claims)?.bytes(&signature)?.ok())
}

/// Makes tokens of a kind out of inputs.
pub struct Maker {
    header: Vec<u8>,
    protected: Vec<u8>,
    key: SigningKey,
}

impl Maker {
    /// Of grants.
    pub fn grants() -> Self {
        let sign = |form| grant().sign(form, KID, &issuer()).expect("a key in memory signs");
        Self { header: parts(&sign(Form::Jws)).0, protected: parts(&sign(Form::Cwt)).0, key: issuer() }
    }

    /// Of payments.
    pub fn payments() -> Self {
        let sign = |form| payment().sign(form, &device()).expect("a key in memory signs");
        Self { header: parts(&sign(Form::Jws)).0, protected: parts(&sign(Form::Cwt)).0, key: device() }
    }

    /// The first byte says what the rest is. `0`: the token itself. `1`: claims of a JWS. `2`: claims of a CWT. More: the
    /// header too, its length first; of a JWS where it is odd.
    pub fn token(&self, data: &[u8]) -> Option<Vec<u8>> {
        let (how, rest) = data.split_first()?;
        Some(match how {
            0 => rest.to_vec(),
            1 => jws(&self.header, rest, &self.key),
            2 => cose(&self.protected, rest, &self.key),
            _ => {
                let (length, rest) = rest.split_first()?;
                let (header, claims) = rest.split_at_checked(usize::from(*length))?;
                if how & 1 == 1 { jws(header, claims, &self.key) } else { cose(header, claims, &self.key) }
            }
        })
    }
}

/// A grant that covers a payment.
pub fn grant() -> Grant {
    let money = |minor| Money::from_minor(minor).expect("small");
    let sync = UtcSeconds(1_790_000_000);
    let curve = vec![(Age::hours(24), money(11_000)), (Age::hours(72), money(9_000))];
    Grant::plain(
        ISSUER.into(),
        "tng".into(),
        "u-7f3a91c2".into(),
        Bytes([9; 16]),
        (sync, sync.plus(72 * 3_600)),
        41,
        device().public().thumbprint(),
        Bytes([5; 8]),
        Currency::new("MYR", 2).expect("a currency"),
        money(24_850),
        Curve::new(curve).expect("a curve"),
    )
}

/// A payment under it.
pub fn payment() -> Payment {
    let grant = grant();
    Payment {
        payer: grant.sub.clone(),
        payee: "shop-12".into(),
        nonce: Bytes([3; 16]),
        iat: grant.iat.plus(60),
        exp: grant.exp,
        grant: grant.jti,
        seq: grant.seq,
        number: 1,
        amount: Money::from_minor(500).expect("small"),
        currency: grant.cur,
        spent: Money::from_minor(500).expect("small"),
    }
}

/// What it answers.
pub fn request() -> PaymentRequest {
    let payment = payment();
    PaymentRequest {
        payee: payment.payee,
        amount: payment.amount,
        currency: payment.currency,
        nonce: payment.nonce,
        iat: payment.iat,
        exp: payment.iat.plus(300),
    }
}

/// The parts of a token that was really signed: header and claims.
pub fn parts(token: &[u8]) -> (Vec<u8>, Vec<u8>) {
    if token[0] == 0xd2 {
        let mut decoder = minicbor::Decoder::new(token);
        decoder.tag().and_then(|_| decoder.array()).expect("a COSE_Sign1");
        let header = decoder.bytes().expect("a header").to_vec();
        decoder.map().expect("an empty header");
        (header, decoder.bytes().expect("claims").to_vec())
    } else {
        let text = std::str::from_utf8(token).expect("a JWS");
        let mut parts = text.split('.').map(|part| Base64UrlUnpadded::decode_vec(part).expect("base64url"));
        (parts.next().expect("a header"), parts.next().expect("claims"))
    }
}
