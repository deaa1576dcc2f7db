//! Keys that were replaced: the chain of roots is followed, and nothing of the old keys is left.

use plimsoll_edge::trust::{Floors, RefuseRelease, Role};
use plimsoll_train::publish::{self, PublishError};
use serde_json::json;

use crate::workshop::{MODEL_ID, NOW, Publisher, TIMESTAMP, all_holders, holders, keys};

const OLD: &str = "metadata/1.root.json";
const NEXT: &str = "metadata/2.root.json";

fn new_online() -> plimsoll_train::keys::Holders {
    holders(&["root-1", "root-2", "root-3"], &["targets-owner", "targets-risk"], &["online-2"])
}

#[test]
fn root_rotation_is_followed_and_a_skipped_version_refused() {
    let publisher = Publisher::new();
    publisher.rotate(&new_online(), &["root-1", "root-2", "online-2"], NOW);
    let mirror = publisher.mirror();
    let verified = mirror.verified(&publisher.root, &Floors::default(), NOW);
    assert_eq!(verified.floors().version(Role::Root), 2);
    // The device goes on from the root it remembers.
    mirror.verified(&publisher.root, verified.floors(), NOW);

    let mut skipped = mirror.clone();
    skipped.edit(NEXT, &["root-1", "root-2"], |signed| signed["version"] = json!(3));
    let want = RefuseRelease::BadRoot { trusted: 1, offered: 3 };
    assert_eq!(skipped.refused(&publisher.root, &Floors::default(), NOW), want);

    let mut repeated = mirror.clone();
    repeated.files.insert(NEXT.to_owned(), mirror.files[OLD].clone());
    let want = RefuseRelease::BadRoot { trusted: 1, offered: 1 };
    assert_eq!(repeated.refused(&publisher.root, &Floors::default(), NOW), want);
}

#[test]
fn a_replaced_online_key_signs_nothing_more() {
    let publisher = Publisher::new();
    let before = publisher.mirror();
    publisher.rotate(&new_online(), &["root-1", "root-2", "online-2"], NOW);
    let mut mirror = publisher.mirror();
    mirror.files.insert(TIMESTAMP.to_owned(), before.files[TIMESTAMP].clone());
    let want = RefuseRelease::ThresholdNotMet { role: Role::Timestamp, found: 0, needed: 1 };
    assert_eq!(mirror.refused(&publisher.root, &Floors::default(), NOW), want);
}

#[test]
fn replaced_targets_keys_sign_nothing_more() {
    let publisher = Publisher::new();
    let before = publisher.mirror();
    let next = holders(&["root-1", "root-2", "root-3"], &["targets-owner", "targets-risk-2"], &["online"]);
    let signers = ["root-1", "root-2", "targets-owner", "targets-risk-2", "online"];
    publisher.rotate(&next, &signers, NOW);
    let mut mirror = publisher.mirror();
    let verified = mirror.verified(&publisher.root, &Floors::default(), NOW);
    assert_eq!(verified.floors().version(Role::Targets), 2, "signed again by the new keys");
    mirror.edit("metadata/2.targets.json", &["targets-owner", "targets-risk"], |_| ());
    mirror.repin(2);
    let want = RefuseRelease::ThresholdNotMet { role: Role::Targets, found: 1, needed: 2 };
    assert_eq!(mirror.refused(&publisher.root, &Floors::default(), NOW), want);

    let mut mixed = publisher.mirror();
    mixed.files.insert("metadata/2.targets.json".to_owned(), before.files["metadata/1.targets.json"].clone());
    mixed.repin(2);
    let file = "metadata/2.targets.json".to_owned();
    let want = RefuseRelease::MixAndMatch { file, role: Role::Targets, expected: 2, found: 1 };
    assert_eq!(mixed.refused(&publisher.root, &Floors::default(), NOW), want);
}

#[test]
fn a_thief_of_root_keys_below_the_threshold_rotates_nothing() {
    let publisher = Publisher::new();
    let mut mirror = publisher.mirror();
    mirror.files.insert(NEXT.to_owned(), mirror.files[OLD].clone());
    // Two keys sign, as the new root asks; of the old root's it is one.
    let stolen = keys(&["root-1", "thief"]);
    mirror.edit(NEXT, &["root-1", "thief"], |signed| {
        signed["version"] = json!(2);
        let thief = stolen[1].public();
        signed["keys"][thief.key_id()] =
            json!({"keytype": "ed25519", "keyval": {"public": thief.hex()}, "scheme": "ed25519"});
        signed["roles"]["root"]["keyids"] = json!([stolen[0].public().key_id(), thief.key_id()]);
    });
    let want = RefuseRelease::ThresholdNotMet { role: Role::Root, found: 1, needed: 2 };
    assert_eq!(mirror.refused(&publisher.root, &Floors::default(), NOW), want);
}

#[test]
fn a_fast_forwarded_timestamp_is_forgotten_with_its_key() {
    let publisher = Publisher::new();
    let mut stolen = publisher.mirror();
    stolen.edit(TIMESTAMP, &["online"], |signed| {
        signed["version"] = json!(u64::MAX);
        signed["x-plimsoll-signed-at"] = json!(NOW.plus(6 * 86_400));
    });
    let seen = stolen.verified(&publisher.root, &Floors::default(), NOW).floors().clone();
    let rollback = RefuseRelease::Rollback { role: Role::Timestamp, trusted: u64::MAX, offered: 1 };
    assert_eq!(publisher.mirror().refused(&publisher.root, &seen, NOW), rollback);

    publisher.rotate(&new_online(), &["root-1", "root-2", "online-2"], NOW);
    let verified = publisher.mirror().verified(&publisher.root, &seen, NOW);
    assert_eq!(verified.floors().version(Role::Timestamp), 2);
    assert_eq!(verified.floors().latest_signed(), Some(NOW), "the thief's time is forgotten too");
    assert_eq!(verified.floors().model(MODEL_ID).model_version, 1);
}

#[test]
fn more_roots_than_one_refresh_follows_are_refused() {
    let publisher = Publisher::new();
    for _ in 0..plimsoll_edge::trust::ROOTS_MAX {
        publisher.rotate(&all_holders(), &["root-1", "root-2", "online"], NOW);
    }
    publisher.mirror().verified(&publisher.root, &Floors::default(), NOW);
    publisher.rotate(&all_holders(), &["root-1", "root-2", "online"], NOW);
    let want = RefuseRelease::TooManyRoots { max: plimsoll_edge::trust::ROOTS_MAX };
    assert_eq!(publisher.mirror().refused(&publisher.root, &Floors::default(), NOW), want);
}

#[test]
fn rotation_needs_the_old_and_the_new_threshold() {
    let publisher = Publisher::new();
    let before = publisher.mirror();
    let next = holders(&["root-1", "root-4", "root-5"], &["targets-owner", "targets-risk"], &["online"]);
    for (signers, missing) in [
        (&["root-1", "root-4", "online"][..], &["root-2", "root-3"][..]),
        (&["root-1", "root-2", "online"], &["root-4", "root-5"]),
    ] {
        let refused = publish::rotate_root(publisher.path(), &next, &keys(signers), NOW, &publisher.terms);
        let Err(PublishError::ThresholdNotMet { role: publish::Role::Root, found: 1, needed: 2, missing: named }) =
            refused
        else {
            panic!("{refused:?}")
        };
        let named: std::collections::BTreeSet<_> = named.iter().map(String::as_str).collect();
        assert_eq!(named, missing.iter().copied().collect());
    }
    assert_eq!(publisher.mirror().files, before.files, "nothing was written");
    publisher.rotate(&next, &["root-1", "root-2", "root-4", "online"], NOW);
    publisher.mirror().verified(&publisher.root, &Floors::default(), NOW);
}

#[test]
fn an_interrupted_rotation_is_completed_by_a_refresh() {
    let publisher = Publisher::new();
    let before = publisher.mirror();
    publisher.rotate(&new_online(), &["root-1", "root-2", "online-2"], NOW);
    // As if the power had failed after the root and before the timestamp.
    std::fs::write(publisher.path().join(TIMESTAMP), &before.files[TIMESTAMP]).expect("writes");
    publisher.mirror().refused(&publisher.root, &Floors::default(), NOW);
    publish::refresh_timestamp(publisher.path(), &keys(&["online-2"]), NOW, &publisher.terms).expect("completes");
    publisher.mirror().verified(&publisher.root, &Floors::default(), NOW);
}
