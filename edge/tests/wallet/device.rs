//! A whole device: model and wallet over one storage.

use ed25519_dalek::SigningKey;
use plimsoll_edge::slots::{FloorReason, PullBack, Settings};
use plimsoll_edge::storage::crash::CrashDisk;
use plimsoll_edge::trust::{Floors, verify};
use plimsoll_edge::wallet::{Decision, Presence};
use plimsoll_edge::{Device, Evaluator};
use plimsoll_model::decision::{Bound, Situation};
use plimsoll_model::features::{FeatureState, Profile};
use plimsoll_model::grant::{Curve, Form, Grant};
use plimsoll_model::policy::Policy;
use plimsoll_model::{Age, Money, Tier};

use crate::bank::{Counter, device_key, grant, identity, keys, money, request, sign};
use crate::signer::{Files, MODEL_ID, NOW, Order, Publisher};

type TestDevice<'a> = Device<&'a CrashDisk, &'a Counter, SigningKey>;

const BALANCE: u64 = 20_000;

fn open<'a>(publisher: &Publisher, disk: &'a CrashDisk, counter: &'a Counter) -> TestDevice<'a> {
    let settings = Settings::new(publisher.root(), MODEL_ID, Policy::preset("tng").unwrap());
    Device::open(disk, counter, device_key(), settings, identity(), keys(), [7; 16], NOW).unwrap()
}

/// A grant of `limit` on [`BALANCE`] in tier 2, with the features of an account that has done nothing yet.
fn with_features(device: &TestDevice<'_>, limit: u64) -> Vec<u8> {
    let mut claims = grant(device.wallet().status().wid, 1, BALANCE);
    (claims.iat, claims.exp) = (NOW, NOW.plus(72 * 3_600));
    claims.limit = Curve::new(vec![(Age::hours(72), money(limit))]).unwrap();
    claims.tier = Tier::new(2).unwrap();
    let policy = Policy::preset("tng").unwrap();
    let (offset, currency, tier) = (policy.utc_offset_min, policy.currency, claims.tier);
    let profile = Profile { opened_at: NOW.plus(-400 * 86_400), tier, attested: true, offset, currency };
    let features = FeatureState::new(profile, BALANCE as i64, NOW.plus(-86_400)).snapshot(NOW);
    claims.set_features(&features);
    sign(&claims)
}

/// What the model alone grants on that account.
fn modelled(publisher: &Publisher, files: &Files, device: &TestDevice<'_>) -> Money {
    let evaluator = Evaluator::new(&verify(files, &publisher.root(), &Floors::default(), NOW, None).unwrap()).unwrap();
    let bytes = with_features(device, BALANCE);
    let claims = Grant::verify(&bytes, &keys()).unwrap();
    let situation = Situation::fresh(money(BALANCE), claims.tier, NOW, u64::MAX);
    evaluator.decide(&claims.features().unwrap(), &situation, NOW).limit
}

#[test]
fn the_devices_own_model_lowers_a_grant_and_never_raises_one() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut publisher = Publisher::new();
    let mut device = open(&publisher, &disk, &counter);
    let files = publisher.release(&Order::version(1));
    let own = modelled(&publisher, &files, &device);
    assert!(Money::ZERO < own && own < money(BALANCE));

    // Without a model the grant stands alone.
    device.accept(&with_features(&device, BALANCE), NOW).unwrap();
    assert_eq!(device.limit(NOW).unwrap().remaining, money(BALANCE));

    device.install(&files, NOW).unwrap();
    let allowance = device.limit(NOW).unwrap();
    assert_eq!((allowance.remaining, allowance.bound), (own, Bound::OwnModel));
    // The grant ends at the curve's last age: it is good until then.
    assert_eq!(device.curve().unwrap(), [(Age::hours(72), own)]);

    // A grant below the model's answer is as good as it says.
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut device = open(&publisher, &disk, &counter);
    device.install(&files, NOW).unwrap();
    device.accept(&with_features(&device, own.minor() - 1), NOW).unwrap();
    let allowance = device.limit(NOW).unwrap();
    assert_eq!((allowance.remaining.minor(), allowance.bound), (own.minor() - 1, Bound::Model));
}

#[test]
fn a_model_that_was_pulled_back_leaves_the_static_floor() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut publisher = Publisher::new();
    let files = publisher.release(&Order::version(1));
    let mut device = open(&publisher, &disk, &counter);
    device.install(&files, NOW).unwrap();
    device.accept(&with_features(&device, BALANCE), NOW).unwrap();
    assert!(device.limit(NOW).unwrap().remaining > Money::ZERO);

    device.pull_back(PullBack::Mismatch, NOW).unwrap();
    let status = device.status(NOW).unwrap();
    assert_eq!(status.models.floor, Some(FloorReason::PulledBack));
    assert_eq!((status.allowance.remaining, status.allowance.bound), (Money::ZERO, Bound::OwnModel));
}

#[test]
fn payments_prove_a_new_model_and_signed_times_count_for_both() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut publisher = Publisher::new();
    let files = publisher.release(&Order::version(1));
    let mut device = open(&publisher, &disk, &counter);
    device.install(&files, NOW).unwrap();
    device.accept(&with_features(&device, BALANCE), NOW).unwrap();
    assert_eq!(device.slots().engine_time(NOW.plus(-60)).now, NOW);

    for n in 1..=20 {
        assert!(device.status(NOW).unwrap().models.model.unwrap().on_trial);
        let at = NOW.plus(n);
        let nonce = u64::try_from(n).unwrap();
        let decision = device.authorise(&request(nonce, 10, at), at, Presence::Unproved, Form::Cwt).unwrap();
        assert!(matches!(decision, Decision::Approve { .. }), "{decision:?}");
    }
    let models = device.status(NOW.plus(20)).unwrap().models;
    assert!(!models.model.unwrap().on_trial);
    assert_eq!(models.floors.model_version, 1);
    assert_eq!(device.wallet().outbox().count(), 20);
}
