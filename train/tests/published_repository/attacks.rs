//! One test per attack of the TUF specification's threat model (section 1.5.2), and of design section 7.

use plimsoll_edge::trust::{Floors, RefuseRelease, Role, TrustedRoot, verify};
use plimsoll_model::artifact::{ENGINE, SCHEMA};
use plimsoll_train::publish::Terms;
use serde_json::json;

use crate::workshop::{Goods, MODEL_ID, Mirror, NOW, PUBLISHERS, Publisher, TIMESTAMP, days, floors, keys};

/// Versions 1 and 2 of a release: the old mirror, the new one, and a device that saw the new one.
fn two_releases() -> (TrustedRoot, Mirror, Mirror, Floors) {
    let publisher = Publisher::new();
    let old = publisher.mirror();
    publisher.release(2, NOW);
    let new = publisher.mirror();
    let seen = new.verified(&publisher.root, &Floors::default(), NOW).floors().clone();
    (publisher.root, old, new, seen)
}

#[test]
fn what_was_published_is_verified() {
    let publisher = Publisher::new();
    let verified = publisher.mirror().verified(&publisher.root, &Floors::default(), NOW);
    let goods = Goods::new(MODEL_ID, 1);
    assert_eq!(verified.release(), &goods.release);
    assert_eq!(verified.model(), goods.model);
    assert_eq!(verified.policy(), goods.policy);
    assert_eq!(verified.golden(), goods.golden);
    assert_eq!(verified.install_until(), days(7), "the timestamp expires first");
    assert_eq!(verified.floors().version(Role::Targets), 1);
    assert_eq!(verified.floors().model(MODEL_ID).model_version, 1);
    assert_eq!(verified.floors().latest_signed(), Some(NOW));
    // The same repository again, to the same device.
    publisher.mirror().verified(&publisher.root, verified.floors(), NOW);
    // And from the directory itself.
    let directory = plimsoll_edge::trust::Directory::new(publisher.path());
    assert_eq!(verify(&directory, &publisher.root, &Floors::default(), NOW, None), Ok(verified));
}

#[test]
fn rollback_of_timestamp_is_refused() {
    let (root, old, _, seen) = two_releases();
    let want = RefuseRelease::Rollback { role: Role::Timestamp, trusted: 2, offered: 1 };
    assert_eq!(old.refused(&root, &seen, NOW), want);
}

#[test]
fn rollback_of_snapshot_is_refused() {
    let (root, _, mut new, seen) = two_releases();
    let old_snapshot = new.pin_of("snapshot", 1);
    new.edit(TIMESTAMP, &["online"], |signed| signed["meta"]["snapshot.json"] = old_snapshot);
    let want = RefuseRelease::Rollback { role: Role::Snapshot, trusted: 2, offered: 1 };
    assert_eq!(new.refused(&root, &seen, NOW), want);
}

#[test]
fn rollback_of_targets_is_refused() {
    let (root, _, mut new, seen) = two_releases();
    new.repin(1);
    let want = RefuseRelease::Rollback { role: Role::Targets, trusted: 2, offered: 1 };
    assert_eq!(new.refused(&root, &seen, NOW), want);
}

#[test]
fn rollback_of_root_is_refused() {
    let publisher = Publisher::new();
    let old = publisher.mirror();
    publisher.rotate(&crate::workshop::all_holders(), &["root-1", "root-2", "online"], NOW);
    let seen = publisher.mirror().verified(&publisher.root, &Floors::default(), NOW).floors().clone();
    let want = RefuseRelease::Missing { file: "metadata/2.root.json".to_owned() };
    assert_eq!(old.refused(&publisher.root, &seen, NOW), want);
}

#[test]
fn freeze_an_old_timestamp_is_refused_after_expiry() {
    let publisher = Publisher::new();
    let frozen = publisher.mirror();
    let want = RefuseRelease::Expired { role: Role::Timestamp, at: days(7) };
    frozen.verified(&publisher.root, &Floors::default(), days(7).plus(-1));
    assert_eq!(frozen.refused(&publisher.root, &Floors::default(), days(7)), want, "from the second on");
}

#[test]
fn a_clock_set_back_does_not_thaw_a_frozen_repository() {
    let publisher = Publisher::new();
    let want = RefuseRelease::Expired { role: Role::Timestamp, at: days(7) };
    for kind in ["online_time", "offline_time"] {
        let seen = floors(json!({ kind: days(8) }));
        assert_eq!(publisher.mirror().refused(&publisher.root, &seen, NOW), want, "{kind}");
    }
}

#[test]
fn a_signed_time_ahead_of_the_clock_counts_at_once() {
    let publisher = Publisher::with_terms(Terms { snapshot_days: 2, ..Terms::default() });
    publisher.release(1, NOW);
    let mut mirror = publisher.mirror();
    mirror.edit(TIMESTAMP, &["online"], |signed| signed["x-plimsoll-signed-at"] = json!(days(3)));
    let want = RefuseRelease::Expired { role: Role::Snapshot, at: days(2) };
    assert_eq!(mirror.refused(&publisher.root, &Floors::default(), NOW), want);
}

#[test]
fn mix_and_match_of_snapshot_and_targets_is_refused() {
    let (root, _, new, _) = two_releases();
    for (role, name) in [(Role::Targets, "targets"), (Role::Snapshot, "snapshot")] {
        let file = format!("metadata/2.{name}.json");
        let mut mixed = new.clone();
        mixed.files.insert(file.clone(), new.files[&format!("metadata/1.{name}.json")].clone());
        let want = RefuseRelease::MixAndMatch { file, role, expected: 2, found: 1 };
        assert_eq!(mixed.refused(&root, &Floors::default(), NOW), want);
    }
}

#[test]
fn mix_and_match_of_two_model_lines_is_refused() {
    let publisher = Publisher::new();
    let other = Goods::new("limit-ng", 1);
    let keys = keys(&PUBLISHERS);
    plimsoll_train::publish::release(publisher.path(), &keys, &other.release, other.files(), NOW, &publisher.terms)
        .expect("publishes");
    let mut mirror = publisher.mirror();
    let ours = mirror.path(&format!("{MODEL_ID}.onnx"));
    let theirs = mirror.files[&mirror.path("limit-ng.onnx")].clone();
    mirror.files.insert(ours.clone(), theirs);
    let want = RefuseRelease::WrongHash { file: ours };
    assert_eq!(mirror.refused(&publisher.root, &Floors::default(), NOW), want);
}

#[track_caller]
fn targets_signed_by(signers: &[&str]) -> RefuseRelease {
    let publisher = Publisher::new();
    let mut mirror = publisher.mirror();
    mirror.edit("metadata/1.targets.json", signers, |_| ());
    mirror.repin(1);
    mirror.refused(&publisher.root, &Floors::default(), NOW)
}

#[test]
fn one_of_two_targets_signatures_is_refused() {
    let want = |found| RefuseRelease::ThresholdNotMet { role: Role::Targets, found, needed: 2 };
    assert_eq!(targets_signed_by(&["targets-owner"]), want(1));
    assert_eq!(targets_signed_by(&["targets-risk"]), want(1));
    assert_eq!(targets_signed_by(&[]), want(0));
}

#[test]
fn the_same_signature_twice_counts_once() {
    let key = keys(&["targets-owner"])[0].public().key_id();
    let want = RefuseRelease::DuplicateSignature { role: Role::Targets, key };
    assert_eq!(targets_signed_by(&["targets-owner", "targets-owner"]), want);
}

#[test]
fn the_online_key_does_not_sign_for_targets() {
    let want = RefuseRelease::ThresholdNotMet { role: Role::Targets, found: 1, needed: 2 };
    assert_eq!(targets_signed_by(&["targets-owner", "online"]), want);
}

#[test]
fn a_signature_beside_a_sufficient_number_is_refused() {
    let key = keys(&["online"])[0].public().key_id();
    let want = RefuseRelease::UnknownSigner { role: Role::Targets, key };
    assert_eq!(targets_signed_by(&["targets-owner", "targets-risk", "online"]), want);
}

#[test]
fn a_root_signed_by_one_key_is_refused() {
    let publisher = Publisher::new();
    let want = RefuseRelease::ThresholdNotMet { role: Role::Root, found: 1, needed: 2 };

    let mut mirror = publisher.mirror();
    mirror.edit("metadata/1.root.json", &["root-1"], |_| ());
    let pinned = TrustedRoot::from_bytes(&mirror.files["metadata/1.root.json"]);
    assert_eq!(pinned.expect_err("must be refused"), want);

    let mut mirror = publisher.mirror();
    let root = mirror.files["metadata/1.root.json"].clone();
    mirror.files.insert("metadata/2.root.json".to_owned(), root);
    mirror.edit("metadata/2.root.json", &["root-3"], |signed| signed["version"] = json!(2));
    assert_eq!(mirror.refused(&publisher.root, &Floors::default(), NOW), want);
}

#[track_caller]
fn expires_first(role: Role, terms: Terms) {
    let publisher = Publisher::with_terms(terms);
    publisher.release(1, NOW);
    let mirror = publisher.mirror();
    mirror.verified(&publisher.root, &Floors::default(), days(1).plus(-1));
    let want = RefuseRelease::Expired { role, at: days(1) };
    assert_eq!(mirror.refused(&publisher.root, &Floors::default(), days(1)), want);
}

#[test]
fn expired_root_is_refused() {
    expires_first(Role::Root, Terms { root_days: 1, ..Terms::default() });
}

#[test]
fn expired_targets_is_refused() {
    expires_first(Role::Targets, Terms { targets_days: 1, ..Terms::default() });
}

#[test]
fn expired_snapshot_is_refused() {
    expires_first(Role::Snapshot, Terms { snapshot_days: 1, ..Terms::default() });
}

#[test]
fn expired_timestamp_is_refused() {
    expires_first(Role::Timestamp, Terms { timestamp_days: 1, ..Terms::default() });
}

#[test]
fn a_small_order_key_signs_nothing() {
    // The root gives the targets role to a key under which one signature fits every message.
    let publisher = Publisher::new();
    let mut neutral = "00".repeat(32);
    neutral.replace_range(..2, "01");
    let object = json!({"keytype": "ed25519", "keyval": {"public": neutral}, "scheme": "ed25519"});
    let key = plimsoll_model::artifact::sha256_hex(&crate::workshop::canonical(&object));
    let mut mirror = publisher.mirror();
    mirror.edit("metadata/1.root.json", &["root-1", "root-2"], |signed| {
        signed["keys"][&key] = object;
        signed["roles"]["targets"]["keyids"] = json!([key]);
        signed["roles"]["targets"]["threshold"] = json!(1);
    });
    let refused = TrustedRoot::from_bytes(&mirror.files["metadata/1.root.json"]).expect_err("must be refused");
    assert!(matches!(&refused, RefuseRelease::UnsupportedKey { key: found, .. } if *found == key), "{refused}");
}

#[test]
fn one_key_under_two_ids_is_refused() {
    let publisher = Publisher::new();
    let mut mirror = publisher.mirror();
    mirror.edit("metadata/1.root.json", &["root-1", "root-2"], |signed| {
        let owner = keys(&["targets-owner"])[0].public().key_id();
        signed["keys"]["00"] = signed["keys"][&owner].clone();
        signed["roles"]["targets"]["keyids"] = json!([owner, "00"]);
    });
    let refused = TrustedRoot::from_bytes(&mirror.files["metadata/1.root.json"]).expect_err("must be refused");
    assert!(matches!(&refused, RefuseRelease::UnsupportedKey { key, .. } if key == "00"), "{refused}");
}

#[test]
fn another_repository_is_refused() {
    let publisher = Publisher::with_terms(Terms { root_days: 364, ..Terms::default() });
    publisher.release(1, NOW);
    let want = RefuseRelease::RootDiffers { file: "metadata/1.root.json".to_owned() };
    assert_eq!(publisher.mirror().refused(&Publisher::new().root, &Floors::default(), NOW), want);
}

#[test]
fn a_model_older_than_the_floor_is_refused() {
    let publisher = Publisher::new();
    let seen = floors(json!({"models": {MODEL_ID: {"model_version": 2, "rollback_index": 3}}}));
    let want = RefuseRelease::ModelRollback { model_id: MODEL_ID.to_owned(), trusted: 2, offered: 1 };
    assert_eq!(publisher.mirror().refused(&publisher.root, &seen, NOW), want);
}

#[test]
fn a_model_below_the_rollback_index_is_refused() {
    let publisher = Publisher::new();
    let seen = floors(json!({"models": {MODEL_ID: {"model_version": 1, "rollback_index": 4}}}));
    let want = RefuseRelease::RollbackIndex { model_id: MODEL_ID.to_owned(), trusted: 4, offered: 3 };
    assert_eq!(publisher.mirror().refused(&publisher.root, &seen, NOW), want);
}

/// The refusal when both holders of targets sign this change of the manifest.
#[track_caller]
fn signed_manifest(change: impl FnOnce(&mut serde_json::Value)) -> RefuseRelease {
    let publisher = Publisher::new();
    let mut mirror = publisher.mirror();
    let model = format!("models/{MODEL_ID}.onnx");
    mirror.edit("metadata/1.targets.json", &["targets-owner", "targets-risk"], |signed| {
        change(&mut signed["targets"][model]["custom"]);
    });
    mirror.repin(1);
    mirror.refused(&publisher.root, &Floors::default(), NOW)
}

#[test]
fn a_release_for_other_engines_is_refused() {
    let refused = signed_manifest(|custom| custom["manifest"]["engine_min"] = json!(ENGINE + 1));
    assert_eq!(refused, RefuseRelease::EngineTooOld { needs: ENGINE + 1, engine: ENGINE });
    let refused = signed_manifest(|custom| custom["manifest"]["engine_max"] = json!(ENGINE - 1));
    assert_eq!(refused, RefuseRelease::EngineTooNew { allows: ENGINE - 1, engine: ENGINE });
}

#[test]
fn a_release_in_another_schema_is_refused_whatever_its_shape() {
    let other = json!({"manifest": {"schema": SCHEMA + 1}, "certificate": "of another shape"});
    let want = RefuseRelease::WrongSchema { expected: SCHEMA, found: u64::from(SCHEMA) + 1 };
    assert_eq!(signed_manifest(|custom| *custom = other), want);
    assert_eq!(signed_manifest(|custom| custom["certificate"]["schema"] = json!(SCHEMA + 1)), want);
}

#[test]
fn a_manifest_that_names_another_policy_is_refused() {
    let refused = signed_manifest(|custom| custom["manifest"]["policy_sha256"] = json!("00"));
    assert!(matches!(refused, RefuseRelease::Malformed { .. }), "{refused}");
}

#[test]
fn an_unknown_model_is_refused_by_name() {
    let publisher = Publisher::new();
    let refused = verify(&publisher.mirror(), &publisher.root, &Floors::default(), NOW, Some("limit-ng"));
    let want = RefuseRelease::UnknownModel { wanted: Some("limit-ng".to_owned()), known: vec![MODEL_ID.to_owned()] };
    assert_eq!(refused, Err(want));
}

#[test]
fn delegations_are_refused() {
    let publisher = Publisher::new();
    let mut mirror = publisher.mirror();
    mirror.edit("metadata/1.targets.json", &["targets-owner", "targets-risk"], |signed| {
        signed["delegations"] = json!({"keys": {}, "roles": []});
    });
    mirror.repin(1);
    let refused = mirror.refused(&publisher.root, &Floors::default(), NOW);
    assert!(matches!(&refused, RefuseRelease::Malformed { reason, .. } if reason.contains("delegations")));
}
