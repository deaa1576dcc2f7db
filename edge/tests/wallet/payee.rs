//! One promise of the payee each.

use ed25519_dalek::SigningKey;
use plimsoll_edge::payee::{Payee, PayeeRules, Received, RefusePayment, verify};
use plimsoll_edge::storage::crash::{CrashDisk, Fault};
use plimsoll_model::decision::Bound;
use plimsoll_model::grant::{
    Bytes, Curve, Directive, Form, Grant, IssuerKeys, Level, Lottery, Payment, PaymentRequest, RefuseToken, Signer,
};
use plimsoll_model::{Age, Currency, Money, UtcSeconds};

use crate::bank::*;

fn rules() -> PayeeRules {
    PayeeRules {
        payee: PAYEE.into(),
        programme: "tng".into(),
        currency: myr(),
        may_receive: true,
        exposure_max: None,
        request_valid_s: 300,
    }
}

fn payee(disk: &CrashDisk) -> Payee<&CrashDisk> {
    Payee::open(disk, rules(), keys()).unwrap()
}

/// A payment as the wallet of `bank` would make it.
fn payment(nonce: u64, number: u64, amount: u64, spent: u64) -> Payment {
    let jti = grant(Bytes([1; 8]), 1, 10_000).jti;
    Payment {
        payer: PAYER.into(),
        payee: PAYEE.into(),
        nonce: id(nonce),
        iat: SYNC,
        exp: SYNC.plus(72 * 3_600),
        grant: jti,
        seq: 1,
        number,
        amount: money(amount),
        currency: myr(),
        spent: money(spent),
    }
}

fn device_signed(payment: &Payment) -> Vec<u8> {
    payment.sign(Form::Cwt, &device_key()).unwrap()
}

/// What a payee who asked for RM 8.50 says to a grant and a payment changed in one way.
fn judged(change: impl FnOnce(&mut Grant, &mut Payment), now: UtcSeconds) -> Result<(), RefusePayment> {
    let (mut grant, mut payment) = (grant(Bytes([1; 8]), 1, 10_000), payment(1, 1, 850, 850));
    change(&mut grant, &mut payment);
    verify(&sign(&grant), &device_signed(&payment), &keys(), "tng", &request(1, 850, SYNC), now).map(drop)
}

#[test]
fn a_payment_within_its_grant_is_taken_in_every_pair_of_forms() {
    for grant_form in [Form::Jws, Form::Cwt] {
        for payment_form in [Form::Jws, Form::Cwt] {
            let disk = CrashDisk::default();
            let mut payee = payee(&disk);
            payee.ask(money(850), id(1), SYNC).unwrap();
            let grant = grant(Bytes([1; 8]), 1, 10_000).sign(grant_form, KID, &issuer_key()).unwrap();
            let paid = payment(1, 1, 850, 850).sign(payment_form, &device_key()).unwrap();
            let received = payee.take(&grant, &paid, SYNC).unwrap();
            assert_eq!(received.tokens, Some((grant, paid)));
            assert_eq!(payee.exposure().minor(), 850);
        }
    }
}

#[test]
fn everything_that_does_not_belong_together_is_refused() {
    type Change = fn(&mut Grant, &mut Payment);
    let claim = |claim| RefusePayment::OtherGrant { claim };
    let other_device =
        |g: &mut Grant, _: &mut Payment| g.cnf.jkt = SigningKey::from_bytes(&[9; 32]).public().thumbprint();
    let cases: [(Change, RefusePayment); 18] = [
        (other_device, RefusePayment::OtherDevice),
        (|_, p| p.grant = id(5), claim("grant")),
        (|_, p| p.seq = 2, claim("seq")),
        (|_, p| p.payer = "u-other".into(), claim("sub")),
        (|g, _| g.aud = "p2p".into(), RefusePayment::Programme { expected: "tng".into(), found: "p2p".into() }),
        (|_, p| p.nonce = id(2), RefusePayment::UnknownRequest),
        (
            |_, p| p.payee = "m-other".into(),
            RefusePayment::OtherPayee { expected: PAYEE.into(), found: "m-other".into() },
        ),
        (
            |_, p| p.currency = Currency::new("SGD", 2).unwrap(),
            RefusePayment::Currency { expected: "MYR/2".into(), found: "SGD/2".into() },
        ),
        (
            |g, _| g.cur = Currency::new("MYR", 0).unwrap(),
            RefusePayment::Currency { expected: "MYR/2".into(), found: "MYR/0".into() },
        ),
        (|_, p| p.amount = money(849), RefusePayment::Amount { expected: money(850), found: money(849) }),
        (|_, p| p.iat = SYNC.plus(301), RefusePayment::FutureDated { at: SYNC.plus(301) }),
        (|_, p| p.iat = SYNC.plus(-301), RefusePayment::Backdated { at: SYNC.plus(-301) }),
        (|_, p| p.exp = p.exp.plus(1), RefusePayment::TooLong { seconds: 259_201, max: 259_200 }),
        (
            |_, p| p.spent = money(10_001),
            RefusePayment::OverLimit { bound: Bound::Balance, limit: money(10_000), spent: money(10_001) },
        ),
        (
            |g, _| g.cap.token = Some(money(849)),
            RefusePayment::OverCap { bound: Bound::PerPayment, cap: money(849), amount: money(850) },
        ),
        (
            |g, _| g.cap.h24 = Some(money(849)),
            RefusePayment::OverCap { bound: Bound::Rolling24h, cap: money(849), amount: money(850) },
        ),
        (
            |g, _| g.reset = Directive::Lock,
            RefusePayment::OverLimit { bound: Bound::Locked, limit: Money::ZERO, spent: money(850) },
        ),
        (
            |g, _| {
                g.lottery =
                    Some(Lottery { seed: id(1), base: 1_000_000, full: 1_000_000, from: money(1), full_at: money(2) })
            },
            RefusePayment::Lottery,
        ),
    ];
    assert_eq!(judged(|_, _| {}, SYNC), Ok(()), "the control");
    for (change, want) in cases {
        assert_eq!(judged(change, SYNC), Err(want));
    }
}

#[test]
fn every_ceiling_of_a_grant_binds_the_payee_too() {
    type Change = fn(&mut Grant);
    let cases: [(Change, Bound); 7] = [
        (|g| g.limit = Curve::new(vec![(Age::hours(72), money(849))]).unwrap(), Bound::Model),
        (|g| g.standing = Some(Money::ZERO), Bound::Standing),
        (|g| g.new_device = Some(money(849)), Bound::NewDevice),
        (|g| g.manual = Some(money(849)), Bound::ManualWallet),
        (|g| g.cap.total = Some(Level { stop: money(849), ask: None }), Bound::TierCap),
        (|g| g.attested_until = Some(SYNC.plus(-1)), Bound::Attestation),
        (|g| g.nbf = Some(SYNC.plus(1)), Bound::GrantExpired),
    ];
    for (change, want) in cases {
        match judged(|g, _| change(g), SYNC) {
            Err(RefusePayment::OverLimit { bound, .. }) => assert_eq!(bound, want),
            other => panic!("{want:?}: {other:?}"),
        }
    }
}

#[test]
fn a_payment_is_judged_at_the_time_it_was_signed_and_taken_until_it_expires() {
    let end = SYNC.plus(72 * 3_600);
    assert_eq!(judged(|_, _| {}, end.plus(-1)), Ok(()), "shown late");
    assert_eq!(judged(|_, _| {}, end), Err(RefusePayment::Expired { at: end }));
    let late = SYNC.plus(600);
    assert_eq!(judged(|_, p| p.iat = late, late), Err(RefusePayment::RequestExpired { at: late }));
}

#[test]
fn tokens_nobody_signed_are_refused() {
    let (grant, paid) = (sign(&grant(Bytes([1; 8]), 1, 10_000)), device_signed(&payment(1, 1, 850, 850)));
    let asked = request(1, 850, SYNC);
    let judge = |grant: &[u8], paid: &[u8]| verify(grant, paid, &keys(), "tng", &asked, SYNC).map(drop);
    assert_eq!(judge(&grant, &paid), Ok(()));
    assert!(matches!(judge(&paid, &paid), Err(RefusePayment::Grant(RefuseToken::Type { .. }))));
    assert!(matches!(judge(&grant, &grant), Err(RefusePayment::Payment(RefuseToken::Type { .. }))));
    for at in 0..grant.len().max(paid.len()) {
        let flip =
            |bytes: &[u8]| bytes.iter().enumerate().map(|(i, b)| if i == at { b ^ 4 } else { *b }).collect::<Vec<_>>();
        if at < grant.len() {
            assert!(matches!(judge(&flip(&grant), &paid), Err(RefusePayment::Grant(_))));
            assert!(matches!(judge(&grant[..at], &paid), Err(RefusePayment::Grant(_))));
        }
        if at < paid.len() {
            // A changed key id is another key, and no signature of it.
            assert!(matches!(judge(&grant, &flip(&paid)), Err(RefusePayment::Payment(_))));
            assert!(matches!(judge(&grant, &paid[..at]), Err(RefusePayment::Payment(_))));
        }
    }
    let stranger = IssuerKeys::new(ISSUER, [(KID.to_owned(), SigningKey::from_bytes(&[9; 32]).public())]).unwrap();
    let refused = verify(&grant, &paid, &stranger, "tng", &asked, SYNC).map(drop);
    assert_eq!(refused, Err(RefusePayment::Grant(RefuseToken::Signature)));
}

/// A payee that asked `n` times, and its answers to payments of the same number.
fn took(
    payee: &mut Payee<&CrashDisk>,
    nonce: u64,
    number: u64,
    amount: u64,
    spent: u64,
) -> Result<Received, RefusePayment> {
    payee.ask(money(amount), id(nonce), SYNC)?;
    payee.take(&sign(&grant(Bytes([1; 8]), 1, 10_000)), &device_signed(&payment(nonce, number, amount, spent)), SYNC)
}

#[test]
fn a_payment_is_taken_once_also_after_a_restart_and_after_it_settled() {
    let disk = CrashDisk::default();
    let mut first = payee(&disk);
    took(&mut first, 1, 1, 850, 850).unwrap();
    let grant = sign(&grant(Bytes([1; 8]), 1, 10_000));
    let paid = device_signed(&payment(1, 1, 850, 850));
    let again = RefusePayment::SeenBefore { at: SYNC };
    assert_eq!(first.take(&grant, &paid, SYNC.plus(9)), Err(again.clone()));
    drop(first);
    let mut second = payee(&disk);
    assert_eq!(second.take(&grant, &paid, SYNC.plus(9)), Err(again.clone()));
    second.settled(&[id(1)]).unwrap();
    assert_eq!((second.exposure(), second.unsettled().count()), (Money::ZERO, 0));
    assert_eq!(second.take(&grant, &paid, SYNC.plus(9)), Err(again.clone()));
    // Another form of the same payment is the same payment.
    let jws = payment(1, 1, 850, 850).sign(Form::Jws, &device_key()).unwrap();
    assert_eq!(second.take(&grant, &jws, SYNC.plus(9)), Err(again));
    assert!(matches!(second.ask(money(1), id(1), SYNC), Err(RefusePayment::Payment(_))), "nor is its nonce used again");
    // When it can no longer settle it is forgotten, and refused for its age.
    let end = SYNC.plus(72 * 3_600);
    second.ask(money(1), id(2), end).unwrap();
    assert!(matches!(second.take(&grant, &paid, end), Err(RefusePayment::UnknownRequest)));
}

#[test]
fn a_payment_nobody_asked_for_is_refused() {
    let disk = CrashDisk::default();
    let mut payee = payee(&disk);
    let grant = sign(&grant(Bytes([1; 8]), 1, 10_000));
    let paid = device_signed(&payment(1, 1, 850, 850));
    assert_eq!(payee.take(&grant, &paid, SYNC), Err(RefusePayment::UnknownRequest));
}

#[test]
fn a_wallet_that_was_copied_or_set_back_is_caught_by_its_numbers() {
    let disk = CrashDisk::default();
    let mut payee = payee(&disk);
    took(&mut payee, 1, 5, 850, 2_000).unwrap();
    assert_eq!(took(&mut payee, 2, 5, 100, 2_100), Err(RefusePayment::NumberReused { number: 5 }));
    assert_eq!(took(&mut payee, 3, 6, 100, 2_099), Err(RefusePayment::DoesNotAddUp { number: 5 }));
    assert_eq!(
        took(&mut payee, 4, 4, 100, 1_151),
        Err(RefusePayment::DoesNotAddUp { number: 5 }),
        "shown out of order"
    );
    took(&mut payee, 5, 4, 100, 1_150).unwrap();
    took(&mut payee, 6, 6, 100, 2_100).unwrap();
}

#[test]
fn exposure_is_capped_until_payments_settle() {
    let disk = CrashDisk::default();
    let mut payee = Payee::open(&disk, PayeeRules { exposure_max: Some(money(1_000)), ..rules() }, keys()).unwrap();
    took(&mut payee, 1, 1, 850, 850).unwrap();
    assert_eq!(
        took(&mut payee, 2, 2, 151, 1_001),
        Err(RefusePayment::Exposure { max: money(1_000), held: money(850) })
    );
    took(&mut payee, 3, 2, 150, 1_000).unwrap();
    payee.settled(&[id(1)]).unwrap();
    took(&mut payee, 4, 3, 850, 1_850).unwrap();
    assert_eq!(payee.exposure().minor(), 1_000);
}

#[test]
fn what_is_remembered_is_bounded() {
    let disk = CrashDisk::default();
    let mut payee = payee(&disk);
    for n in 1..=128 {
        took(&mut payee, n, n, 1, n).unwrap();
    }
    assert_eq!(took(&mut payee, 200, 200, 1, 200), Err(RefusePayment::Full));
    let nonces: Vec<_> = payee.unsettled().map(|r| r.nonce).collect();
    payee.settled(&nonces).unwrap();
    took(&mut payee, 201, 201, 1, 201).unwrap();
    for n in 300.. {
        match payee.ask(money(1), id(n), SYNC) {
            Ok(_) => assert!(n < 400),
            Err(refused) => {
                assert_eq!(refused, RefusePayment::Full);
                break;
            }
        }
    }
    // Requests that expired make room.
    payee.ask(money(1), id(500), SYNC.plus(3_600)).unwrap();
}

#[test]
fn a_tier_that_may_not_be_paid_neither_asks_nor_takes() {
    let disk = CrashDisk::default();
    let mut payee = Payee::open(&disk, PayeeRules { may_receive: false, ..rules() }, keys()).unwrap();
    assert_eq!(payee.ask(money(1), id(1), SYNC).map(drop), Err(RefusePayment::MayNotReceive));
    assert_eq!(payee.take(b"", b"", SYNC), Err(RefusePayment::MayNotReceive));
}

#[test]
fn a_clock_behind_the_issuers_takes_nothing() {
    let disk = CrashDisk::default();
    let mut payee = payee(&disk);
    took(&mut payee, 1, 1, 850, 850).unwrap();
    let early = SYNC.plus(-301);
    payee.ask(money(1), id(2), early).unwrap();
    let paid = device_signed(&Payment { iat: early, ..payment(2, 2, 1, 851) });
    let grant = sign(&grant(Bytes([1; 8]), 1, 10_000));
    assert_eq!(payee.take(&grant, &paid, early), Err(RefusePayment::Clock { signed: SYNC }));
}

#[test]
fn a_payment_is_on_the_disk_before_it_is_taken_and_taken_at_most_once_whatever_fails() {
    for call in 0..12 {
        let disk = CrashDisk::default();
        let mut payee = payee(&disk);
        payee.ask(money(850), id(1), SYNC).unwrap();
        let (grant, paid) = (sign(&grant(Bytes([1; 8]), 1, 10_000)), device_signed(&payment(1, 1, 850, 850)));
        disk.fail(disk.calls() + call..disk.calls() + call + 1, Fault::Broken);
        let first = payee.take(&grant, &paid, SYNC);
        let second = payee.take(&grant, &paid, SYNC);
        assert!(matches!(first, Ok(_) | Err(RefusePayment::Storage(_))), "call {call}: {first:?}");
        assert!(matches!(second, Ok(_) | Err(RefusePayment::SeenBefore { .. })), "call {call}: {second:?}");
        assert!(first.is_err() || second.is_err(), "call {call}: taken twice");
        assert_eq!(payee.unsettled().count(), 1);
        if first.is_ok() {
            let safe = |crash: &plimsoll_edge::storage::crash::Crash| crash.after == disk.calls();
            for crash in disk.crashes().iter().filter(|c| safe(c)) {
                let disk = CrashDisk::of(crash.image.clone());
                assert_eq!(self::payee(&disk).unsettled().count(), 1);
            }
        }
    }
}

#[test]
fn a_damaged_record_is_set_aside_and_takes_nothing_twice() {
    let disk = CrashDisk::default();
    took(&mut payee(&disk), 1, 1, 850, 850).unwrap();
    let mut image = disk.image();
    image.insert("payee".into(), vec![0; 10].into());
    let disk = CrashDisk::of(image);
    let mut payee = payee(&disk);
    assert!(payee.lost());
    assert_eq!(disk.image()["payee.damaged"].len(), 10);
    let (grant, paid) = (sign(&grant(Bytes([1; 8]), 1, 10_000)), device_signed(&payment(1, 1, 850, 850)));
    assert_eq!(payee.take(&grant, &paid, SYNC), Err(RefusePayment::UnknownRequest));
}

#[test]
fn requests_carry_what_was_asked() {
    let disk = CrashDisk::default();
    let asked = payee(&disk).ask(money(850), id(1), SYNC).unwrap();
    assert_eq!(asked, request(1, 850, SYNC));
    assert_eq!(PaymentRequest::from_bytes(&asked.to_bytes(Form::Cwt)), Ok(asked));
    assert!(matches!(payee(&disk).ask(Money::ZERO, id(2), SYNC), Err(RefusePayment::Payment(_))));
}
