//! What a payee remembers: open requests, payments not settled, and payments that could still be shown again.
//!
//! ```text
//! "PLP1" ─ CBOR ─ SHA-256 of everything before (32)
//! ```

use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use plimsoll_model::grant::{Bytes, PaymentRequest, Thumbprint, TokenId};
use plimsoll_model::{Currency, Money, UtcSeconds};
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 4] = b"PLP1";
const DIGEST: usize = 32;
/// Requests that may be open at one time.
pub(super) const REQUESTS_MAX: usize = 32;
/// Payments remembered until they expire, so that none is taken twice.
pub(super) const SEEN_MAX: usize = 512;
/// Payments kept until they are settled.
pub(super) const UNSETTLED_MAX: usize = 128;
/// The largest state there can be: two tokens of 4,096 bytes for every unsettled payment, 200 bytes for anything else.
pub(super) const STATE_BYTES_MAX: u64 = (UNSETTLED_MAX * 8_192 + (SEEN_MAX + REQUESTS_MAX) * 200 + 1_024) as u64;

/// A payment that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The request's nonce.
    pub nonce: TokenId,
    /// The payer's device.
    pub device: Thumbprint,
    /// The payer's grant.
    pub grant: TokenId,
    /// The payment's number on that device.
    pub number: u64,
    /// How much.
    pub amount: Money,
    /// What the payer had spent under its grant with it.
    pub spent: Money,
    /// When it was taken.
    pub at: UtcSeconds,
    /// Until when it may settle.
    pub exp: UtcSeconds,
    /// The grant's and the payment's bytes, until it is settled.
    pub tokens: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The latest time an issuer signed.
    pub clock: UtcSeconds,
    pub requests: Vec<PaymentRequest>,
    pub received: Vec<Received>,
}

impl State {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        write(&mut bytes, self).expect("writing to memory cannot fail");
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// All of a file, or nothing.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (body, digest) = bytes.split_last_chunk::<DIGEST>()?;
        if Sha256::digest(body)[..] != digest[..] {
            return None;
        }
        let body = body.strip_prefix(MAGIC)?;
        let mut d = Decoder::new(body);
        let state = read(&mut d).ok()?;
        (d.position() == body.len()).then_some(state)
    }
}

fn write(to: &mut Vec<u8>, state: &State) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    let mut e = Encoder::new(to);
    e.array(3)?.i64(state.clock.0)?.array(state.requests.len() as u64)?;
    for r in &state.requests {
        e.array(6)?.str(&r.payee)?.u64(r.amount.minor())?.str(&String::from(r.currency))?;
        e.bytes(&r.nonce.0)?.i64(r.iat.0)?.i64(r.exp.0)?;
    }
    e.array(state.received.len() as u64)?;
    for r in &state.received {
        let (grant, payment) = r.tokens.as_ref().map_or((&[][..], &[][..]), |(g, p)| (&g[..], &p[..]));
        e.array(10)?.bytes(&r.nonce.0)?.bytes(&r.device.0)?.bytes(&r.grant.0)?.u64(r.number)?;
        e.u64(r.amount.minor())?.u64(r.spent.minor())?.i64(r.at.0)?.i64(r.exp.0)?.bytes(grant)?.bytes(payment)?;
    }
    Ok(())
}

fn read(d: &mut Decoder<'_>) -> Result<State, Error> {
    length(d, 3, 3)?;
    let clock = UtcSeconds(d.i64()?);
    let requests = (0..length(d, 0, REQUESTS_MAX)?).map(|_| read_request(d)).collect::<Result<_, _>>()?;
    let received = (0..length(d, 0, SEEN_MAX)?).map(|_| read_received(d)).collect::<Result<_, _>>()?;
    Ok(State { clock, requests, received })
}

fn read_request(d: &mut Decoder<'_>) -> Result<PaymentRequest, Error> {
    length(d, 6, 6)?;
    Ok(PaymentRequest {
        payee: d.str()?.to_owned(),
        amount: money(d)?,
        currency: Currency::try_from(d.str()?.to_owned()).map_err(Error::message)?,
        nonce: bytes(d)?,
        iat: UtcSeconds(d.i64()?),
        exp: UtcSeconds(d.i64()?),
    })
}

fn read_received(d: &mut Decoder<'_>) -> Result<Received, Error> {
    length(d, 10, 10)?;
    Ok(Received {
        nonce: bytes(d)?,
        device: bytes(d)?,
        grant: bytes(d)?,
        number: d.u64()?,
        amount: money(d)?,
        spent: money(d)?,
        at: UtcSeconds(d.i64()?),
        exp: UtcSeconds(d.i64()?),
        tokens: Some((d.bytes()?.to_vec(), d.bytes()?.to_vec())).filter(|(grant, _)| !grant.is_empty()),
    })
}

fn length(d: &mut Decoder<'_>, min: usize, max: usize) -> Result<usize, Error> {
    let length = d.array()?.and_then(|n| usize::try_from(n).ok()).filter(|n| (min..=max).contains(n));
    length.ok_or(Error::message("a list of another length"))
}

fn bytes<const N: usize>(d: &mut Decoder<'_>) -> Result<Bytes<N>, Error> {
    Bytes::try_from(d.bytes()?).map_err(Error::message)
}

fn money(d: &mut Decoder<'_>) -> Result<Money, Error> {
    Money::from_minor(d.u64()?).map_err(Error::message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let money = |minor| Money::from_minor(minor).expect("small");
        let received = |n: u8, tokens| Received {
            nonce: Bytes([n; 16]),
            device: Bytes([2; 32]),
            grant: Bytes([3; 16]),
            number: u64::from(n),
            amount: money(850),
            spent: money(1_700),
            at: UtcSeconds(1_000),
            exp: UtcSeconds(2_000),
            tokens,
        };
        let request = PaymentRequest {
            payee: "m-kedai-12".into(),
            amount: money(850),
            currency: Currency::new("MYR", 2).expect("a currency"),
            nonce: Bytes([9; 16]),
            iat: UtcSeconds(1_000),
            exp: UtcSeconds(1_300),
        };
        let received = vec![received(1, Some((vec![1; 210], vec![2; 190]))), received(2, None)];
        State { clock: UtcSeconds(900), requests: vec![request], received }
    }

    #[test]
    fn what_is_written_reads_back_and_anything_else_does_not() {
        let good = state().to_bytes();
        assert_eq!(State::from_bytes(&good), Some(state()));
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert_eq!(State::from_bytes(&bad), None, "byte {i}");
            assert_eq!(State::from_bytes(&good[..i]), None, "cut at {i}");
        }
        assert_eq!(State::from_bytes(&[&good[..], &[0]].concat()), None);
    }

    proptest::proptest! {
        #[test]
        fn hostile_files_never_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let mut sealed = [&MAGIC[..], &body].concat();
            sealed.extend_from_slice(&Sha256::digest(&sealed));
            let _either = State::from_bytes(&sealed);
        }
    }
}
