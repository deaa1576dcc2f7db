//! How long from a payment request to signed bytes, besides the disk? Request read, caps checked, payment signed, state
//! encoded and handed to storage in memory; and the payee's side of it.
#![allow(missing_docs, clippy::unwrap_used)] // a bench is read, not linked against

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use plimsoll_edge::payee::verify;
use plimsoll_edge::storage::{Storage, StorageError};
use plimsoll_edge::wallet::{Decision, Identity, NoAnchor, Presence, Wallet};
use plimsoll_model::grant::{Bytes, Caps, Curve, Form, Grant, IssuerKeys, Level, PaymentRequest, Signer, StepUpAt};
use plimsoll_model::{Age, Currency, Money, UtcSeconds};

const SYNC: UtcSeconds = UtcSeconds(1_790_000_000);

/// Files in memory: what a disk costs is not asked here.
#[derive(Default)]
struct Memory(RefCell<BTreeMap<String, Vec<u8>>>);

impl Storage for Memory {
    fn read(&self, name: &str, _max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.0.borrow().get(name).cloned())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.borrow_mut().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn sync(&self, _name: &str) -> Result<(), StorageError> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let bytes = self.0.borrow_mut().remove(from).unwrap_or_default();
        self.0.borrow_mut().insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.0.borrow_mut().remove(name);
        Ok(())
    }

    fn sync_names(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

fn money(minor: u64) -> Money {
    Money::from_minor(minor).unwrap()
}

fn currency() -> Currency {
    Currency::new("MYR", 2).unwrap()
}

fn issuer() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn device() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn keys() -> IssuerKeys {
    IssuerKeys::new("tng.example", [("2026-11a".to_owned(), issuer().public())]).unwrap()
}

fn request(nonce: u64) -> PaymentRequest {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&nonce.to_be_bytes());
    let (payee, amount, currency) = ("m-kedai-12".to_owned(), money(100), currency());
    PaymentRequest { payee, amount, currency, nonce: Bytes(id), iat: SYNC, exp: SYNC.plus(300) }
}

/// A wallet with every cap, and `paid` payments in its outbox.
fn wallet(paid: u64) -> Wallet<Memory, NoAnchor, SigningKey> {
    let identity = Identity { account: "u-7f3a91c2".into(), programme: "tng".into(), currency: currency() };
    let mut wallet = Wallet::open(Memory::default(), NoAnchor, device(), identity, keys(), [7; 16]).unwrap();
    wallet.accept(&grant(&wallet), SYNC).unwrap();
    for nonce in 0..paid {
        pay(&mut wallet, &request(nonce).to_bytes(Form::Cwt), Form::Cwt);
    }
    wallet
}

fn grant(wallet: &Wallet<Memory, NoAnchor, SigningKey>) -> Vec<u8> {
    let ages = [0, 60, 720, 1_440, 2_880, 4_320];
    let curve = Curve::new(ages.map(|age| (Age(age), money(50_000))).to_vec()).unwrap();
    let mut grant = Grant::plain(
        "tng.example".into(),
        "tng".into(),
        "u-7f3a91c2".into(),
        Bytes([9; 16]),
        (SYNC, SYNC.plus(72 * 3_600)),
        1,
        device().public().thumbprint(),
        wallet.status().wid,
        currency(),
        money(50_000),
        curve,
    );
    grant.cap = Caps {
        token: Some(money(25_000)),
        h24: Some(money(50_000)),
        day: Some(money(50_000)),
        week: Some(money(50_000)),
        total: Some(Level { stop: money(50_000), ask: Some(money(40_000)) }),
        ..Caps::default()
    };
    grant.step_up = Some(StepUpAt { free_up_to: money(500), free_total: None });
    grant.sign(Form::Cwt, "2026-11a", &issuer()).unwrap()
}

fn pay(wallet: &mut Wallet<Memory, NoAnchor, SigningKey>, request: &[u8], form: Form) -> Vec<u8> {
    let request = PaymentRequest::from_bytes(request).unwrap();
    match wallet.authorise(&request, SYNC, Presence::Unproved, None, form).unwrap() {
        Decision::Approve { token, .. } => token,
        other => panic!("{other:?}"),
    }
}

fn benches(c: &mut Criterion) {
    let asked = request(1_000).to_bytes(Form::Cwt);
    for paid in [0, 10, 127] {
        for (name, form) in [("CWT", Form::Cwt), ("JWS", Form::Jws)] {
            c.bench_function(&format!("authorise, {name}, {paid} unsettled"), |b| {
                let fresh = || wallet(paid);
                b.iter_batched_ref(fresh, |wallet| pay(wallet, black_box(&asked), form), BatchSize::LargeInput);
            });
        }
    }
    c.bench_function("limit, 10 unsettled", |b| {
        let mut wallet = wallet(10);
        b.iter(|| wallet.limit(black_box(SYNC), None).unwrap());
    });
    c.bench_function("sign alone", |b| {
        let key = device();
        b.iter(|| Signer::sign(&key, black_box(&[7; 300])).unwrap());
    });
    c.bench_function("payee: verify grant and payment, CWT", |b| {
        let mut wallet = wallet(0);
        let token = pay(&mut wallet, &asked, Form::Cwt);
        let grant = wallet.grant().unwrap().bytes().to_vec();
        let (keys, request) = (keys(), request(1_000));
        b.iter(|| verify(black_box(&grant), black_box(&token), &keys, "tng", &request, SYNC).unwrap());
    });
}

criterion_group!(authorise, benches);
criterion_main!(authorise);
