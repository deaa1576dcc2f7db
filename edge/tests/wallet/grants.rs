//! One promise of `accept` each.

use ed25519_dalek::SigningKey;
use plimsoll_edge::storage::crash::CrashDisk;
use plimsoll_edge::wallet::{Accepted, Distrust, RefuseGrant, WalletError};
use plimsoll_model::Currency;
use plimsoll_model::grant::{Bytes, Directive, Form, Grant, RefuseToken, Signer};

use crate::bank::*;

#[track_caller]
fn refused(result: Result<Accepted, WalletError>) -> RefuseGrant {
    match result {
        Err(WalletError::Grant(refused)) => refused,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_grant_for_another_account_programme_currency_or_device_is_refused() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = open(&disk, &counter);
    let wid = wallet.status().wid;
    type Change = fn(&mut Grant);
    let cases: [(&str, Change); 4] = [
        ("sub", |g| g.sub = "u-other".into()),
        ("aud", |g| g.aud = "naira".into()),
        ("cur", |g| g.cur = Currency::new("MYR", 0).unwrap()),
        ("cnf.jkt", |g| g.cnf.jkt = SigningKey::from_bytes(&[9; 32]).public().thumbprint()),
    ];
    for (claim, change) in cases {
        let mut other = grant(wid, 1, 100);
        change(&mut other);
        match refused(wallet.accept(&sign(&other), SYNC)) {
            RefuseGrant::NotOurs { claim: found, .. } => assert_eq!(found, claim),
            other => panic!("{claim}: {other:?}"),
        }
    }
    let stranger = grant(wid, 1, 100).sign(Form::Jws, KID, &SigningKey::from_bytes(&[9; 32])).unwrap();
    assert_eq!(refused(wallet.accept(&stranger, SYNC)), RefuseGrant::Token(RefuseToken::Signature));
    assert_eq!(wallet.grant(), None);
}

#[test]
fn a_grant_made_for_an_earlier_life_of_the_state_is_refused() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = open(&disk, &counter);
    let other = grant(Bytes([1; 8]), 1, 100);
    assert_eq!(refused(wallet.accept(&sign(&other), SYNC)), RefuseGrant::OtherState);
}

#[test]
fn sequence_only_rises_and_a_copy_changes_nothing() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = open(&disk, &counter);
    let wid = wallet.status().wid;
    let (older, newer) = (grant(wid, 4, 5_000), grant(wid, 5, 10_000));
    assert_eq!(wallet.accept(&sign(&newer), SYNC), Ok(Accepted::New));
    approved(pay(&mut wallet, 1, 9_000, SYNC));
    for form in [Form::Cwt, Form::Jws] {
        let copy = newer.sign(form, KID, &issuer_key()).unwrap();
        assert_eq!(wallet.accept(&copy, SYNC), Ok(Accepted::Already));
    }
    assert_eq!(refused(wallet.accept(&sign(&older), SYNC)), RefuseGrant::Stale { have: 5, found: 4 });
    let twin = grant(wid, 5, 20_000);
    assert_eq!(refused(wallet.accept(&sign(&twin), SYNC)), RefuseGrant::Stale { have: 5, found: 5 });
    assert_eq!(wallet.limit(SYNC, None).unwrap().remaining.minor(), 1_000);
}

#[test]
fn a_grant_outside_its_time_is_refused() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = open(&disk, &counter);
    let mut later = grant(wallet.status().wid, 1, 100);
    let end = later.exp;
    assert_eq!(refused(wallet.accept(&sign(&later), end)), RefuseGrant::Expired { at: end });
    assert_eq!(refused(wallet.accept(&sign(&later), SYNC.plus(-301))), RefuseGrant::FutureDated { at: SYNC });
    later.nbf = Some(SYNC.plus(60));
    assert_eq!(refused(wallet.accept(&sign(&later), SYNC.plus(59))), RefuseGrant::NotYet { at: SYNC.plus(60) });
    assert_eq!(wallet.accept(&sign(&later), SYNC.plus(60)), Ok(Accepted::New));
    let early = grant(wallet.status().wid, 2, 100);
    assert_eq!(wallet.accept(&sign(&early), SYNC.plus(-300)), Ok(Accepted::New), "clocks differ by a little");
}

#[test]
fn payments_made_while_the_sync_was_under_way_count_against_the_new_grant() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = granted(&disk, &counter, |_| {});
    approved(pay(&mut wallet, 1, 1_000, SYNC));
    approved(pay(&mut wallet, 2, 2_000, SYNC));
    let mut next = grant(wallet.status().wid, 2, 10_000);
    next.seen = 1; // the issuer had seen the first only
    wallet.accept(&sign(&next), SYNC).unwrap();
    assert_eq!(wallet.limit(SYNC, None).unwrap().remaining.minor(), 8_000);
    assert_eq!(wallet.outbox().map(|p| p.number).collect::<Vec<_>>(), [2]);
}

#[test]
fn the_four_directives_do_what_they_say() {
    let after = |reset, amounts: [u64; 2]| {
        let (disk, counter) = (CrashDisk::default(), Counter::default());
        let mut wallet = granted(&disk, &counter, |_| {});
        for (nonce, amount) in (1..).zip(amounts) {
            approved(pay(&mut wallet, nonce, amount, SYNC));
        }
        let mut next = grant(wallet.status().wid, 2, 10_000);
        (next.reset, next.seen) = (reset, 2);
        wallet.accept(&sign(&next), SYNC).unwrap();
        let status = wallet.status();
        (wallet.limit(SYNC, None).unwrap().remaining.minor(), status.spent.minor(), status.count)
    };
    assert_eq!(after(Directive::Reset, [1_000, 2_000]), (10_000, 0, 0));
    assert_eq!(after(Directive::Keep, [1_000, 2_000]), (7_000, 3_000, 2));
    assert_eq!(after(Directive::Add(money(500)), [1_000, 2_000]), (6_500, 3_500, 2));
    assert_eq!(after(Directive::Lock, [1_000, 2_000]), (0, 0, 0));
}

#[test]
fn a_state_that_begins_takes_the_issuers_count_but_no_directive_to_keep() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = open(&disk, &counter);
    let mut first = grant(wallet.status().wid, 9, 10_000);
    first.seen = 40;
    for reset in [Directive::Keep, Directive::Add(money(1))] {
        let keep = Grant { reset, ..first.clone() };
        assert_eq!(refused(wallet.accept(&sign(&keep), SYNC)), RefuseGrant::NothingToKeep);
    }
    wallet.accept(&sign(&first), SYNC).unwrap();
    approved(pay(&mut wallet, 1, 1, SYNC));
    assert_eq!(wallet.outbox().next().unwrap().number, 41);
}

#[test]
fn an_issuer_that_acknowledges_less_than_before_is_refused() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = granted(&disk, &counter, |g| g.seen = 3);
    let back = Grant { seen: 2, ..grant(wallet.status().wid, 2, 10_000) };
    assert_eq!(refused(wallet.accept(&sign(&back), SYNC)), RefuseGrant::SeenWentBack { have: 3, found: 2 });
}

#[test]
fn a_lost_wallet_comes_back_with_a_grant_for_its_new_state_and_higher_numbers() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = granted(&disk, &counter, |_| {});
    for nonce in 1..=5 {
        approved(pay(&mut wallet, nonce, 100, SYNC));
    }
    let before = wallet.status();
    drop(wallet);
    let empty = CrashDisk::default();
    let mut wallet = open(&empty, &counter);
    assert_eq!(wallet.status().distrust, Some(Distrust::Lost));
    let old = grant(before.wid, 2, 10_000);
    assert_eq!(refused(wallet.accept(&sign(&old), SYNC)), RefuseGrant::OtherState);
    wallet.accept(&sign(&grant(wallet.status().wid, 2, 10_000)), SYNC).unwrap();
    approved(pay(&mut wallet, 9, 100, SYNC));
    assert!(wallet.outbox().next().unwrap().number > 5, "no number is used twice");
}

#[test]
fn a_clock_that_was_ahead_is_forgiven_at_the_next_sync() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = granted(&disk, &counter, |_| {});
    approved(pay(&mut wallet, 1, 100, SYNC.plus(48 * 3_600)));
    assert_eq!(wallet.limit(SYNC.plus(600), None).unwrap().remaining.minor(), 0);
    let mut next = grant(wallet.status().wid, 2, 10_000);
    (next.iat, next.exp) = (SYNC.plus(900), SYNC.plus(72 * 3_600));
    wallet.accept(&sign(&next), SYNC.plus(900)).unwrap();
    assert_eq!(wallet.limit(SYNC.plus(900), None).unwrap().remaining.minor(), 9_900);
    assert_eq!(wallet.situation(SYNC.plus(900)).unwrap().spent_24h.minor(), 100, "it still counts in its windows");
}
