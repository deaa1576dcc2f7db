//! One promise of `authorise` each.

use plimsoll_edge::storage::crash::{CrashDisk, Fault};
use plimsoll_edge::wallet::{Advice, Decision, Distrust, NoAnchor, Presence, RefuseRequest, Wallet, WalletError};
use plimsoll_model::decision::Bound;
use plimsoll_model::grant::{
    COUNT_MAX, Caps, Curve, Directive, Form, Grant, Level, Lottery, Payment, PaymentRequest, SignError, Signer,
    StepUpAt,
};
use plimsoll_model::time::UtcOffset;
use plimsoll_model::{Age, Currency, Money, UtcSeconds};

use crate::bank::*;

/// A fresh disk and counter, and a wallet with a grant of RM 100 as `change` leaves it.
fn with(change: impl FnOnce(&mut Grant), test: impl FnOnce(&mut TestWallet<'_>)) {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    test(&mut granted(&disk, &counter, change));
}

#[track_caller]
fn declined(decision: Result<Decision, WalletError>) -> (Bound, Advice, u64) {
    match decision {
        Ok(Decision::Decline { bound, advice, left }) => (bound, advice, left.remaining.minor()),
        other => panic!("expected to be declined, got {other:?}"),
    }
}

#[test]
fn a_payment_is_signed_by_the_device_and_says_what_it_pays() {
    with(
        |g| g.jti = id(99),
        |wallet| {
            let at = SYNC.plus(600);
            let token = approved(pay(wallet, 1, 850, at));
            let payment = Payment::verify(&token).unwrap();
            assert_eq!(payment.key(), &device_key().public());
            let want = Payment {
                payer: PAYER.into(),
                payee: PAYEE.into(),
                nonce: id(1),
                iat: at,
                exp: at.plus(72 * 3_600),
                grant: id(99),
                seq: 1,
                number: 1,
                amount: money(850),
                currency: myr(),
                spent: money(850),
            };
            assert_eq!(payment.claims(), &want);
            let second = Payment::verify(&approved(pay(wallet, 2, 100, at))).unwrap();
            assert_eq!((second.number, second.spent.minor()), (2, 950));
        },
    );
}

#[test]
fn what_was_spent_does_not_come_back_with_time() {
    with(
        |_| {},
        |wallet| {
            approved(pay(wallet, 1, 10_000, SYNC));
            for hours in 0..72 {
                let at = SYNC.plus(hours * 3_600);
                assert_eq!(declined(pay(wallet, 2, 1, at)), (Bound::Pending, Advice::SyncNow, 0));
            }
        },
    );
}

#[test]
fn the_same_request_is_paid_once_and_answered_with_the_same_bytes() {
    with(
        |_| {},
        |wallet| {
            let first = approved(pay(wallet, 1, 850, SYNC));
            let again = wallet.authorise(&request(1, 850, SYNC), SYNC.plus(900), Presence::Unproved, None, Form::Jws);
            match again.unwrap() {
                Decision::Approve { token, number: 1, repeated: true, left } => {
                    assert_eq!((token, left.remaining.minor()), (first, 9_150));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(wallet.outbox().count(), 1);
            for other in [request(1, 851, SYNC), PaymentRequest { payee: "m-other".into(), ..request(1, 850, SYNC) }] {
                let refused = wallet.authorise(&other, SYNC, Presence::Unproved, None, Form::Cwt);
                assert_eq!(refused, Err(RefuseRequest::NonceReused { number: 1 }.into()));
            }
        },
    );
}

#[test]
fn every_cap_says_its_name_and_what_to_do() {
    type Change = fn(&mut Grant);
    let cases: [(Change, u64, (Bound, Advice, u64)); 11] = [
        (|_| {}, 10_001, (Bound::Balance, Advice::PayLess, 10_000)),
        (
            |g| g.limit = Curve::new(vec![(Age::hours(72), money(500))]).unwrap(),
            501,
            (Bound::Model, Advice::PayLess, 500),
        ),
        (|g| g.cap.token = Some(money(200)), 201, (Bound::PerPayment, Advice::PayLess, 10_000)),
        (|g| g.cap.h24 = Some(money(300)), 301, (Bound::Rolling24h, Advice::PayLess, 300)),
        (|g| g.cap.day = Some(money(300)), 301, (Bound::Day, Advice::PayLess, 300)),
        (|g| g.cap.week = Some(money(300)), 301, (Bound::Week, Advice::PayLess, 300)),
        (|g| g.cap.total = Some(Level { stop: money(40), ask: None }), 41, (Bound::TierCap, Advice::PayLess, 40)),
        (|g| g.cap.count = Some(Level { stop: 0, ask: None }), 1, (Bound::Count, Advice::SyncNow, 0)),
        (|g| g.standing = Some(Money::ZERO), 1, (Bound::Standing, Advice::AskIssuer, 0)),
        (|g| g.new_device = Some(money(50)), 51, (Bound::NewDevice, Advice::PayLess, 50)),
        (|g| g.reset = Directive::Lock, 1, (Bound::Locked, Advice::AskIssuer, 0)),
    ];
    for (change, amount, want) in cases {
        with(change, |wallet| {
            assert_eq!(declined(pay(wallet, 1, amount, SYNC)), want);
            if want.2 > 0 {
                approved(pay(wallet, 2, (amount - 1).min(want.2), SYNC));
            }
        });
    }
}

#[test]
fn the_manual_wallet_is_all_there_is_for_a_young_account() {
    with(
        |g| g.manual = Some(money(2_000)),
        |wallet| {
            assert_eq!(wallet.situation(SYNC).unwrap().lifetime_tx, 0, "a model on the device is not asked either");
            assert_eq!(declined(pay(wallet, 1, 2_001, SYNC)).0, Bound::ManualWallet);
            approved(pay(wallet, 2, 2_000, SYNC));
        },
    );
}

#[test]
fn the_curve_is_read_at_the_age_rounded_up() {
    let curve = |g: &mut Grant| {
        g.limit = Curve::new(vec![(Age(60), money(900)), (Age(120), money(500)), (Age(180), money(100))]).unwrap();
    };
    with(curve, |wallet| {
        for (seconds, want) in
            [(0, 900), (3_600, 900), (3_601, 500), (7_200, 500), (7_201, 100), (10_800, 100), (10_801, 0)]
        {
            let left = wallet.limit(SYNC.plus(seconds), None).unwrap();
            assert_eq!(left.remaining.minor(), want, "after {seconds} s");
        }
        let old = wallet.limit(SYNC.plus(10_801), None).unwrap();
        assert_eq!((old.bound, old.advice), (Bound::Age, Advice::SyncNow));
    });
}

#[test]
fn a_grant_gives_nothing_past_its_end_its_age_or_its_attestation() {
    with(
        |_| {},
        |wallet| {
            let (last, end) = (SYNC.plus(72 * 3_600 - 1), SYNC.plus(72 * 3_600));
            assert_eq!(wallet.limit(last, None).unwrap().remaining.minor(), 10_000);
            assert_eq!(declined(pay(wallet, 1, 1, end)), (Bound::GrantExpired, Advice::SyncNow, 0));
        },
    );
    with(
        |g| g.cap.age = Some(Level { stop: Age(60), ask: None }),
        |wallet| {
            assert_eq!(wallet.limit(SYNC.plus(3_600), None).unwrap().remaining.minor(), 10_000);
            assert_eq!(declined(pay(wallet, 1, 1, SYNC.plus(3_601))).0, Bound::Age);
        },
    );
    with(
        |g| g.attested_until = Some(SYNC.plus(10)),
        |wallet| {
            assert_eq!(wallet.limit(SYNC.plus(10), None).unwrap().remaining.minor(), 10_000);
            assert_eq!(declined(pay(wallet, 1, 1, SYNC.plus(11))), (Bound::Attestation, Advice::SyncNow, 0));
        },
    );
}

#[test]
fn windows_roll_by_signing_time_and_turn_at_local_midnight() {
    with(
        |g| g.cap.h24 = Some(money(100)),
        |wallet| {
            approved(pay(wallet, 1, 100, SYNC));
            let day = 24 * 3_600;
            assert_eq!(declined(pay(wallet, 2, 1, SYNC.plus(day - 1))), (Bound::Rolling24h, Advice::Wait, 0));
            approved(pay(wallet, 3, 100, SYNC.plus(day)));
        },
    );
    // SYNC is a Monday, 22:13:20 in Kuala Lumpur: midnight is 6,400 s later.
    with(
        |g| (g.cap.day, g.utc_offset_min) = (Some(money(100)), UtcOffset(480)),
        |wallet| {
            approved(pay(wallet, 1, 100, SYNC));
            assert_eq!(declined(pay(wallet, 2, 1, SYNC.plus(6_399))), (Bound::Day, Advice::Wait, 0));
            approved(pay(wallet, 3, 100, SYNC.plus(6_400)));
        },
    );
    // The same grant three days later, on a Thursday: the week ends with Sunday, three days and 6,400 s on.
    let monday = |g: &mut Grant| (g.cap.week, g.utc_offset_min) = (Some(money(100)), UtcOffset(480));
    with(monday, |wallet| {
        approved(pay(wallet, 1, 100, SYNC));
        let mut later = grant(wallet.status().wid, 2, 10_000);
        monday(&mut later);
        (later.iat, later.exp) = (SYNC.plus(5 * 86_400), SYNC.plus(8 * 86_400));
        (later.seen, later.jti) = (1, id(2));
        wallet.accept(&sign(&later), later.iat).unwrap();
        let midnight = SYNC.plus(6 * 86_400 + 6_400);
        assert_eq!(declined(pay(wallet, 2, 1, midnight.plus(-1))), (Bound::Week, Advice::Wait, 0));
        approved(pay(wallet, 3, 100, midnight));
    });
}

#[test]
fn lower_levels_ask_for_a_sync_and_upper_ones_decline() {
    let caps = |g: &mut Grant| {
        g.cap = Caps {
            total: Some(Level { stop: money(1_000), ask: Some(money(300)) }),
            count: Some(Level { stop: 4, ask: Some(2) }),
            age: Some(Level { stop: Age(600), ask: Some(Age(60)) }),
            ..Caps::default()
        };
    };
    with(caps, |wallet| {
        let advice = |wallet: &mut TestWallet<'_>, at| wallet.limit(at, None).unwrap().advice;
        assert_eq!(advice(wallet, SYNC.plus(3_600)), Advice::None);
        assert_eq!(advice(wallet, SYNC.plus(3_601)), Advice::SyncSoon, "age");
        approved(pay(wallet, 1, 300, SYNC));
        assert_eq!(advice(wallet, SYNC), Advice::None);
        approved(pay(wallet, 2, 1, SYNC));
        assert_eq!(advice(wallet, SYNC), Advice::SyncSoon, "amount");
    });
    with(caps, |wallet| {
        for n in 1..=4 {
            let advice = wallet.limit(SYNC, None).unwrap().advice;
            assert_eq!(advice, if n > 3 { Advice::SyncSoon } else { Advice::None }, "before payment {n}");
            approved(pay(wallet, n, 1, SYNC));
        }
        assert_eq!(declined(pay(wallet, 5, 1, SYNC)), (Bound::Count, Advice::SyncNow, 0));
    });
}

#[test]
fn no_more_payments_are_made_than_can_be_kept() {
    with(
        |_| {},
        |wallet| {
            for n in 1..=u64::from(COUNT_MAX) {
                approved(pay(wallet, n, 1, SYNC));
            }
            assert_eq!(declined(pay(wallet, 1_000, 1, SYNC)).0, Bound::Count);
            assert_eq!(wallet.outbox().count(), COUNT_MAX as usize);
        },
    );
}

#[test]
fn a_proof_of_presence_is_asked_for_by_amount_and_by_sum_and_starts_the_sum_again() {
    let rule = |g: &mut Grant| g.step_up = Some(StepUpAt { free_up_to: money(500), free_total: Some(money(1_200)) });
    with(rule, |wallet| {
        let ask = |wallet: &mut TestWallet<'_>, nonce, amount, presence| {
            wallet.authorise(&request(nonce, amount, SYNC), SYNC, presence, None, Form::Cwt)
        };
        assert_eq!(wallet.limit(SYNC, None).unwrap().without_proof.minor(), 500);
        assert!(matches!(ask(wallet, 1, 501, Presence::Unproved), Ok(Decision::StepUp { .. })));
        assert_eq!(wallet.status().unproved, Money::ZERO, "only executed payments count");
        approved(ask(wallet, 2, 500, Presence::Unproved));
        approved(ask(wallet, 3, 500, Presence::Unproved));
        assert_eq!(wallet.limit(SYNC, None).unwrap().without_proof.minor(), 200);
        assert!(matches!(ask(wallet, 4, 201, Presence::Unproved), Ok(Decision::StepUp { .. })));
        approved(ask(wallet, 5, 200, Presence::Unproved));
        assert!(matches!(ask(wallet, 6, 1, Presence::Unproved), Ok(Decision::StepUp { .. })));
        approved(ask(wallet, 6, 1, Presence::Proved));
        approved(ask(wallet, 7, 500, Presence::Unproved));
        assert_eq!(wallet.status().unproved.minor(), 500);
    });
}

#[test]
fn a_drawn_payment_waits_for_a_sync_however_often_it_is_asked_for() {
    let all = Lottery { seed: id(1), base: 0, full: 1_000_000, from: money(100), full_at: money(101) };
    with(
        |g| g.lottery = Some(all),
        |wallet| {
            approved(pay(wallet, 1, 100, SYNC));
            for nonce in 2..50 {
                assert_eq!(declined(pay(wallet, nonce, 101, SYNC)), (Bound::Lottery, Advice::SyncNow, 9_900));
            }
            let paid = wallet.outbox().map(|p| (p.number, p.amount));
            assert_eq!(plimsoll_model::grant::audit(&all, paid), [0_u64; 0]);
        },
    );
}

#[test]
fn a_model_on_the_device_only_lowers() {
    use plimsoll_model::decision::Decision as Modelled;
    let own = |limit| Modelled {
        limit: money(limit),
        per_payment: money(limit),
        bound: Bound::Model,
        reasons: Vec::new(),
        age: Age(0),
        valid_until: SYNC,
    };
    with(
        |_| {},
        |wallet| {
            let low = wallet.limit(SYNC, Some(&own(300))).unwrap();
            assert_eq!((low.remaining.minor(), low.bound), (300, Bound::OwnModel));
            let high = wallet.limit(SYNC, Some(&own(99_999))).unwrap();
            assert_eq!((high.remaining.minor(), high.bound), (10_000, Bound::Balance));
            let refused =
                wallet.authorise(&request(1, 301, SYNC), SYNC, Presence::Unproved, Some(&own(300)), Form::Cwt);
            assert_eq!(declined(refused).0, Bound::OwnModel);
            approved(pay(wallet, 1, 850, SYNC));
            let situation = wallet.situation(SYNC.plus(60)).unwrap();
            assert_eq!(
                (situation.balance.minor(), situation.pending.minor(), situation.spent_24h.minor()),
                (10_000, 850, 850)
            );
        },
    );
}

#[test]
fn a_clock_that_went_back_pays_nothing_until_it_is_right() {
    with(
        |_| {},
        |wallet| {
            let noon = SYNC.plus(10 * 3_600);
            approved(pay(wallet, 1, 1, noon));
            let asked = request(2, 1, noon);
            approved(wallet.authorise(&asked, noon.plus(-300), Presence::Unproved, None, Form::Cwt));
            assert_eq!(wallet.outbox().last().unwrap().at, noon, "engine time does not run back");
            let asked = request(3, 1, noon);
            let back = wallet.authorise(&asked, noon.plus(-301), Presence::Unproved, None, Form::Cwt);
            assert_eq!(declined(back), (Bound::Clock, Advice::SetClock, 0));
            approved(pay(wallet, 3, 1, noon));
        },
    );
}

#[test]
fn requests_that_are_not_for_this_wallet_or_this_time_are_refused() {
    with(
        |_| {},
        |wallet| {
            let now = SYNC.plus(1_000);
            let mut ask =
                |request: PaymentRequest| match wallet.authorise(&request, now, Presence::Unproved, None, Form::Cwt) {
                    Err(WalletError::Request(refused)) => refused,
                    other => panic!("expected a refusal, got {other:?}"),
                };
            let good = request(1, 850, now);
            let sgd = Currency::new("SGD", 2).unwrap();
            let expected = "MYR/2".to_owned();
            assert_eq!(
                ask(PaymentRequest { currency: sgd, ..good.clone() }),
                RefuseRequest::Currency { expected: expected.clone(), found: "SGD/2".into() }
            );
            let no_decimals = Currency::new("MYR", 0).unwrap();
            assert_eq!(
                ask(PaymentRequest { currency: no_decimals, ..good.clone() }),
                RefuseRequest::Currency { expected, found: "MYR/0".into() }
            );
            assert_eq!(ask(PaymentRequest { payee: PAYER.into(), ..good.clone() }), RefuseRequest::OwnAccount);
            let old = PaymentRequest { iat: now.plus(-300), exp: now, ..good.clone() };
            assert_eq!(ask(old), RefuseRequest::Expired { at: now });
            let early = now.plus(301);
            assert_eq!(
                ask(PaymentRequest { iat: early, exp: early.plus(1), ..good.clone() }),
                RefuseRequest::FutureDated { at: early }
            );
            assert_eq!(
                ask(PaymentRequest { exp: now.plus(301), ..good.clone() }),
                RefuseRequest::TooLong { seconds: 301, max: 300 }
            );
            assert!(matches!(ask(PaymentRequest { amount: Money::ZERO, ..good.clone() }), RefuseRequest::Malformed(_)));
            approved(wallet.authorise(&good, now, Presence::Unproved, None, Form::Cwt));
        },
    );
}

#[test]
fn without_a_grant_nothing_is_paid() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = open(&disk, &counter);
    assert_eq!(declined(pay(&mut wallet, 1, 1, SYNC)), (Bound::GrantMissing, Advice::SyncNow, 0));
}

#[test]
fn a_damaged_file_pays_nothing_and_is_kept_for_whoever_looks_into_it() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let wid = granted(&disk, &counter, |_| {}).status().wid;
    let mut image = disk.image();
    let damaged: Vec<u8> = image["wallet"].iter().map(|b| b ^ 1).collect();
    image.insert("wallet".into(), damaged.clone().into());
    let disk = CrashDisk::of(image);
    let mut wallet = open(&disk, &counter);
    assert_eq!(wallet.status().distrust, Some(Distrust::Lost));
    assert_ne!(wallet.status().wid, wid, "no grant made before is accepted again");
    assert_eq!(declined(pay(&mut wallet, 1, 1, SYNC)), (Bound::State, Advice::SyncNow, 0));
    assert_eq!(&*disk.image()["wallet.damaged"], &damaged[..]);
}

#[test]
fn a_restored_backup_pays_nothing_but_keeps_its_payments() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = granted(&disk, &counter, |_| {});
    let first = approved(pay(&mut wallet, 1, 4_000, SYNC));
    let backup = CrashDisk::of(disk.image());
    approved(pay(&mut wallet, 2, 6_000, SYNC));

    let mut restored = open(&backup, &counter);
    assert_eq!(restored.status().distrust, Some(Distrust::Restored));
    assert_eq!(declined(pay(&mut restored, 3, 1, SYNC)), (Bound::State, Advice::SyncNow, 0));
    assert_eq!(restored.outbox().map(|p| &p.token).collect::<Vec<_>>(), [&first]);
    // Opened again it is no more trusted.
    drop(restored);
    assert_eq!(open(&backup, &counter).status().distrust, Some(Distrust::Restored));
}

#[test]
fn files_that_are_gone_pay_nothing_where_the_platform_remembers_them() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    granted(&disk, &counter, |_| {});
    let empty = CrashDisk::default();
    let mut wallet = open(&empty, &counter);
    assert_eq!(wallet.status().distrust, Some(Distrust::Lost));
    assert_eq!(declined(pay(&mut wallet, 1, 1, SYNC)).0, Bound::State);
}

#[test]
fn without_an_anchor_a_restored_backup_goes_unnoticed_until_the_issuer_says_so() {
    let disk = CrashDisk::default();
    let open = |disk| Wallet::open(disk, NoAnchor, device_key(), identity(), keys(), [7; 16]).unwrap();
    let mut wallet = open(&disk);
    let wid = wallet.status().wid;
    wallet.accept(&sign(&grant(wid, 1, 10_000)), SYNC).unwrap();
    let backup = CrashDisk::of(disk.image());
    approved(pay(&mut wallet, 1, 10_000, SYNC));

    let mut restored = open(&backup);
    approved(pay(&mut restored, 2, 100, SYNC)); // what `NoAnchor` says cannot be told
    let mut next = grant(wid, 2, 10_000);
    next.seen = 2; // the issuer has seen the first life's payment 1 and one more
    assert!(restored.accept(&sign(&next), SYNC).is_err());
    assert_eq!(restored.status().distrust, Some(Distrust::Gap));
    assert_eq!(declined(pay(&mut restored, 3, 1, SYNC)), (Bound::Sequence, Advice::SyncNow, 0));
}

#[test]
fn nothing_is_released_when_the_write_the_counter_or_the_key_fails() {
    // How many calls one payment makes, to fail each of them.
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = granted(&disk, &counter, |_| {});
    let before = disk.calls();
    approved(pay(&mut wallet, 1, 1_000, SYNC));
    let calls = disk.calls() - before;
    assert!(calls >= 4);

    for call in 0..calls {
        for fault in [Fault::Broken, Fault::Full] {
            let (disk, counter) = (CrashDisk::default(), Counter::default());
            let mut wallet = granted(&disk, &counter, |_| {});
            disk.fail(disk.calls() + call..disk.calls() + call + 1, fault);
            let once = pay(&mut wallet, 1, 1_000, SYNC);
            if fault == Fault::Broken {
                assert!(matches!(once, Err(WalletError::Storage(_))), "call {call}");
            }
            // Asked again, it is one payment, whatever the first attempt left.
            approved(pay(&mut wallet, 1, 1_000, SYNC));
            assert_eq!(wallet.limit(SYNC, None).unwrap().remaining.minor(), 9_000);
            assert_eq!(wallet.outbox().count(), 1);
        }
    }

    counter.broken.set(true);
    assert!(matches!(pay(&mut wallet, 2, 1_000, SYNC), Err(WalletError::Anchor(_))));
    counter.broken.set(false);
    approved(pay(&mut wallet, 2, 1_000, SYNC));
    assert_eq!(wallet.limit(SYNC, None).unwrap().remaining.minor(), 8_000);

    struct Refuses;
    impl Signer for Refuses {
        fn public(&self) -> plimsoll_model::grant::PublicKey {
            device_key().public()
        }
        fn sign(&self, _message: &[u8]) -> Result<[u8; 64], SignError> {
            Err(SignError { reason: "the holder cancelled".into() })
        }
    }
    drop(wallet);
    let mut wallet = Wallet::open(&disk, &counter, Refuses, identity(), keys(), [7; 16]).unwrap();
    assert!(matches!(pay(&mut wallet, 3, 1, SYNC), Err(WalletError::Sign(_))));
    assert_eq!(wallet.limit(SYNC, None).unwrap().remaining.minor(), 8_000);
}

#[test]
fn keys_that_rotate_away_take_their_grant_along() {
    with(
        |_| {},
        |wallet| {
            let other = ed25519_dalek::SigningKey::from_bytes(&[3; 32]).public();
            wallet.set_keys(plimsoll_model::grant::IssuerKeys::new(ISSUER, [("2026-12a".into(), other)]).unwrap());
            assert_eq!(declined(pay(wallet, 1, 1, SYNC)).0, Bound::GrantMissing);
            wallet.set_keys(keys());
            approved(pay(wallet, 1, 1, UtcSeconds(SYNC.0)));
        },
    );
}
