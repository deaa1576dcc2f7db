//! The other side of every test: an issuer with a key, a device with a key, and values to begin from.

use std::cell::Cell;

use ed25519_dalek::SigningKey;
use plimsoll_edge::storage::Storage;
use plimsoll_edge::storage::crash::CrashDisk;
use plimsoll_edge::wallet::{Anchor, AnchorError, Decision, Identity, Presence, Wallet, WalletError};
use plimsoll_model::grant::{Bytes, Curve, Form, Grant, Instance, IssuerKeys, PaymentRequest, Signer, TokenId};
use plimsoll_model::{Age, Currency, Money, UtcSeconds};

pub(crate) const ISSUER: &str = "tng.example";
pub(crate) const KID: &str = "2026-11a";
pub(crate) const PAYER: &str = "u-7f3a91c2";
pub(crate) const PAYEE: &str = "m-kedai-12";
/// 2026-09-21T14:13:20Z, a Monday; 22:13:20 in Kuala Lumpur.
pub(crate) const SYNC: UtcSeconds = UtcSeconds(1_790_000_000);

pub(crate) type TestWallet<'a> = Wallet<&'a CrashDisk, &'a Counter, SigningKey>;

/// A monotonic counter, as a platform would have.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    pub(crate) value: Cell<u64>,
    pub(crate) broken: Cell<bool>,
    /// The platform has none after all.
    pub(crate) absent: bool,
}

impl Anchor for Counter {
    fn value(&self) -> Result<Option<u64>, AnchorError> {
        Ok((!self.absent).then(|| self.value.get()))
    }

    fn advance(&self, to: u64) -> Result<(), AnchorError> {
        if self.broken.get() {
            return Err(AnchorError { reason: "the secure element does not answer".into() });
        }
        assert!(to > self.value.get(), "only ever raised");
        self.value.set(to);
        Ok(())
    }
}

pub(crate) fn money(minor: u64) -> Money {
    Money::from_minor(minor).unwrap()
}

pub(crate) fn myr() -> Currency {
    Currency::new("MYR", 2).unwrap()
}

pub(crate) fn issuer_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

pub(crate) fn device_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

pub(crate) fn keys() -> IssuerKeys {
    IssuerKeys::new(ISSUER, [(KID.to_owned(), issuer_key().public())]).unwrap()
}

pub(crate) fn identity() -> Identity {
    Identity { account: PAYER.into(), programme: "tng".into(), currency: myr() }
}

/// A grant of `limit` for the wallet whose state is `wid`, good for 72 hours, with nothing else in it.
pub(crate) fn grant(wid: Instance, seq: u64, limit: u64) -> Grant {
    let curve = Curve::new(vec![(Age::hours(72), money(limit))]).unwrap();
    let (from, to) = (SYNC, SYNC.plus(72 * 3_600));
    let jkt = device_key().public().thumbprint();
    let jti = id(0x6000_0000 + seq);
    Grant::plain(ISSUER.into(), "tng".into(), PAYER.into(), jti, (from, to), seq, jkt, wid, myr(), money(limit), curve)
}

pub(crate) fn sign(grant: &Grant) -> Vec<u8> {
    grant.sign(Form::Cwt, KID, &issuer_key()).unwrap()
}

pub(crate) fn id(n: u64) -> TokenId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Bytes(bytes)
}

/// A request for `amount`, made at `at`.
pub(crate) fn request(nonce: u64, amount: u64, at: UtcSeconds) -> PaymentRequest {
    PaymentRequest {
        payee: PAYEE.into(),
        amount: money(amount),
        currency: myr(),
        nonce: id(nonce),
        iat: at,
        exp: at.plus(300),
    }
}

pub(crate) fn open<'a>(disk: &'a CrashDisk, counter: &'a Counter) -> TestWallet<'a> {
    Wallet::open(disk, counter, device_key(), identity(), keys(), [7; 16]).unwrap()
}

/// A wallet that holds a grant as `change` leaves it.
pub(crate) fn granted<'a>(
    disk: &'a CrashDisk,
    counter: &'a Counter,
    change: impl FnOnce(&mut Grant),
) -> TestWallet<'a> {
    let mut wallet = open(disk, counter);
    let mut grant = grant(wallet.status().wid, 1, 10_000);
    change(&mut grant);
    wallet.accept(&sign(&grant), SYNC).unwrap();
    wallet
}

pub(crate) fn pay<S: Storage, A: Anchor, D: Signer>(
    wallet: &mut Wallet<S, A, D>,
    nonce: u64,
    amount: u64,
    now: UtcSeconds,
) -> Result<Decision, WalletError> {
    wallet.authorise(&request(nonce, amount, now), now, Presence::Unproved, None, Form::Cwt)
}

#[track_caller]
pub(crate) fn approved(decision: Result<Decision, WalletError>) -> Vec<u8> {
    match decision {
        Ok(Decision::Approve { token, .. }) => token,
        other => panic!("expected a payment, got {other:?}"),
    }
}
