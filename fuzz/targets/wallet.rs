//! Hostile wallet state, raw and under its checksum: no panic, never above the grant, and it reads what it writes.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use plimsoll_edge::storage::crash::{CrashDisk, Image};
use plimsoll_edge::wallet::{Decision, Identity, NoAnchor, Presence, Wallet};
use plimsoll_fuzz::token::{ISSUER, KID, device, grant, issuer, request};
use plimsoll_model::grant::{Form, Grant, IssuerKeys, Signer as _};
use sha2::{Digest as _, Sha256};

static KEYS: LazyLock<IssuerKeys> =
    LazyLock::new(|| IssuerKeys::new(ISSUER, [(KID.to_owned(), issuer().public())]).expect("one key"));

type Phone<'a> = Wallet<&'a CrashDisk, NoAnchor, ed25519_dalek::SigningKey>;

fn open(disk: &CrashDisk) -> Phone<'_> {
    let grant = grant();
    let identity = Identity { account: grant.sub, programme: grant.aud, currency: grant.cur };
    Wallet::open(disk, NoAnchor, device(), identity, KEYS.clone(), [7; 16]).expect("a disk in memory is read")
}

/// Asks for a payment; a wallet never approves more than it said was left.
fn pay(wallet: &mut Phone<'_>, disk: &CrashDisk) {
    let now = request().iat;
    let left = wallet.limit(now, None).expect("a disk in memory is read");
    if let Some(held) = wallet.grant() {
        assert!(left.remaining <= held.claims().bal);
    }
    let before = wallet.status();
    match wallet.authorise(&request(), now, Presence::Proved, None, Form::Cwt) {
        Ok(Decision::Approve { repeated: false, .. }) => {
            assert!(request().amount <= left.remaining);
            let after = wallet.status();
            assert!(after.spent > before.spent && after.number > before.number);
            let again = open(disk).status();
            assert_eq!((again.spent, again.number), (after.spent, after.number), "an approved payment is kept");
        }
        Ok(_) => assert_eq!(wallet.status(), before),
        Err(_) => {}
    }
}

fuzz_target!(|data: &[u8]| {
    let [how, body @ ..] = data else { return };
    let mut bytes = body.to_vec();
    if how & 1 == 1 {
        bytes.extend(Sha256::digest(body));
    }
    let disk = CrashDisk::of(Image::from([("wallet".to_owned(), bytes.into())]));
    let mut wallet = open(&disk);
    pay(&mut wallet, &disk);
    let status = wallet.status();
    let next = Grant { wid: status.wid, seq: status.seq.saturating_add(1), seen: status.number, ..grant() };
    if next.check().is_ok() {
        let next = next.sign(Form::Jws, KID, &issuer()).expect("a key in memory signs");
        let _ = wallet.accept(&next, request().iat);
        pay(&mut wallet, &disk);
    }
    assert_eq!(open(&disk).status().distrust, wallet.status().distrust);
});
