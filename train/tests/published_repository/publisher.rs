//! The writer: it refuses what devices would refuse, builds on nothing damaged, and survives a crash.

use std::fs;

use plimsoll_edge::trust::{Floors, Role, verify};
use plimsoll_train::publish::{self, PublishError, Terms};

use crate::workshop::{Goods, MODEL_ID, NOW, OFFLINE, PUBLISHERS, Publisher, TIMESTAMP, all_holders, days, keys};

/// What a release of `goods` with these keys is refused as; nothing may have been written.
#[track_caller]
fn refused(publisher: &Publisher, goods: &Goods, signers: &[&str]) -> PublishError {
    let before = publisher.mirror();
    let result =
        publish::release(publisher.path(), &keys(signers), &goods.release, goods.files(), NOW, &publisher.terms);
    assert_eq!(publisher.mirror().files, before.files, "nothing may be written");
    result.expect_err("must be refused")
}

#[test]
fn too_few_keys_publish_nothing_and_the_missing_are_named() {
    let publisher = Publisher::new();
    for (signers, missing) in
        [(&["targets-owner", "online"][..], "targets-risk"), (&["targets-owner", "targets-risk"], "online")]
    {
        let refused = refused(&publisher, &Goods::new(MODEL_ID, 2), signers);
        let PublishError::ThresholdNotMet { missing: named, .. } = &refused else { panic!("{refused}") };
        assert_eq!(named, &[missing]);
        assert!(refused.to_string().ends_with(&format!("missing {missing}")), "{refused}");
    }
}

#[test]
fn a_root_needs_its_own_threshold() {
    let directory = tempfile::tempdir().expect("a directory");
    let one = publish::init_root(directory.path(), &all_holders(), &keys(&OFFLINE[..1]), NOW, &Terms::default());
    assert!(matches!(one, Err(PublishError::ThresholdNotMet { found: 1, needed: 2, .. })), "{one:?}");
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0, "nothing was written");
    let mut holders = all_holders();
    holders.targets[1] = holders.targets[0].clone();
    let twice = publish::init_root(directory.path(), &holders, &keys(&OFFLINE), NOW, &Terms::default());
    let Err(PublishError::TooFewHolders { role: publish::Role::Targets, holders: 1, needed: 2 }) = twice else {
        panic!("{twice:?}")
    };
}

#[test]
fn a_second_root_1_is_refused() {
    let publisher = Publisher::new();
    let again = publish::init_root(publisher.path(), &all_holders(), &keys(&OFFLINE), NOW, &publisher.terms);
    assert!(matches!(again, Err(PublishError::AlreadyThere { .. })), "{again:?}");
}

#[test]
fn a_release_that_devices_would_refuse_is_not_published() {
    let publisher = Publisher::new();
    let same = refused(&publisher, &Goods::new(MODEL_ID, 1), &PUBLISHERS);
    assert!(matches!(same, PublishError::NotNewer { published: 1, offered: 1, .. }), "{same}");

    let mut withdrawn = Goods::new(MODEL_ID, 2);
    withdrawn.release.manifest.rollback_index = 2;
    let withdrawn = withdrawn.overridden_by("targets-risk");
    let fell = refused(&publisher, &withdrawn, &PUBLISHERS);
    assert!(matches!(fell, PublishError::RollbackIndexFell { published: 3, offered: 2, .. }), "{fell}");

    let mut other = Goods::new(MODEL_ID, 2);
    other.policy.push(b' ');
    assert!(matches!(refused(&publisher, &other, &PUBLISHERS), PublishError::WrongHash { what: "policy", .. }));

    let mut large = Goods::new(MODEL_ID, 2);
    large.model.resize(2_000_001, 0);
    assert!(matches!(refused(&publisher, &large, &PUBLISHERS), PublishError::TooLarge { found: 2_000_001, .. }));

    for id in ["", "../up", "UPPER", ".hidden", "a/b"] {
        let goods = Goods::new(id, 2);
        assert!(matches!(refused(&publisher, &goods, &PUBLISHERS), PublishError::BadModelId { .. }), "{id}");
    }

    let mut control = Goods::new(MODEL_ID, 2);
    control.release.manifest.programme = "two\nlines".to_owned();
    let control = control.overridden_by("targets-risk");
    assert!(matches!(refused(&publisher, &control, &PUBLISHERS), PublishError::NotCanonical { .. }));
}

#[test]
fn nothing_is_built_on_a_damaged_repository() {
    let publisher = Publisher::new();
    let whole = publisher.mirror();
    for (file, bytes) in &whole.files {
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(publisher.path().join(file), &damaged).expect("writes");
        let refused = refused(&publisher, &Goods::new(MODEL_ID, 2), &PUBLISHERS);
        assert!(matches!(&refused, PublishError::Damaged { file: named, .. } if named == file), "{file}: {refused}");
        fs::write(publisher.path().join(file), bytes).expect("writes");
    }
}

#[test]
fn nothing_is_released_under_an_expired_root() {
    let publisher = Publisher::new();
    let goods = Goods::new(MODEL_ID, 2);
    let late = days(365);
    let refused =
        publish::release(publisher.path(), &keys(&PUBLISHERS), &goods.release, goods.files(), late, &publisher.terms);
    assert!(matches!(refused, Err(PublishError::RootExpired { version: 1, .. })), "{refused:?}");
    publisher.rotate(&all_holders(), &["root-1", "root-2", "online"], late);
    publisher.release(2, late);
    publisher.mirror().verified(&publisher.root, &Floors::default(), late);
}

#[test]
fn a_refresh_needs_the_online_key_only_and_thaws() {
    let publisher = Publisher::new();
    let published =
        publish::refresh_timestamp(publisher.path(), &keys(&["online"]), days(6), &publisher.terms).expect("refreshes");
    assert_eq!(published.files.len(), 2);
    let versions: Vec<_> = published.roles.iter().map(|role| role.version).collect();
    assert_eq!(versions, [1, 1, 2, 2], "root, targets, snapshot, timestamp");
    let verified = publisher.mirror().verified(&publisher.root, &Floors::default(), days(12));
    assert_eq!(verified.install_until(), days(13));
}

#[test]
fn other_model_lines_stay() {
    let publisher = Publisher::new();
    let other = Goods::new("limit-ng", 7);
    let keys = keys(&PUBLISHERS);
    publish::release(publisher.path(), &keys, &other.release, other.files(), NOW, &publisher.terms).expect("publishes");
    let mirror = publisher.mirror();
    for (id, version) in [(MODEL_ID, 1), ("limit-ng", 7)] {
        let verified = verify(&mirror, &publisher.root, &Floors::default(), NOW, Some(id)).expect("verifies");
        assert_eq!(verified.release().manifest.model_version, version);
    }
}

#[test]
fn a_release_interrupted_between_any_two_writes_is_the_old_or_the_new_one() {
    let publisher = Publisher::new();
    let old = publisher.mirror();
    let seen = old.verified(&publisher.root, &Floors::default(), NOW).floors().clone();
    let goods = Goods::new(MODEL_ID, 2);
    let plan = publish::plan_release(
        publisher.path(),
        &keys(&PUBLISHERS),
        &goods.release,
        goods.files(),
        NOW,
        &publisher.terms,
    )
    .expect("plans");
    assert_eq!(publisher.mirror().files, old.files, "a plan writes nothing");
    let writes = plan.writes();
    assert_eq!(writes.len(), 8, "model, policy, golden, check, override, targets, snapshot, timestamp");
    assert_eq!(writes.last().expect("eight").path, TIMESTAMP);
    for done in 0..=writes.len() {
        let mut torn = old.clone();
        for write in &writes[..done] {
            torn.files.insert(write.path.clone(), write.bytes.clone());
        }
        // Half of the next file, beside its place.
        if let Some(next) = writes.get(done) {
            torn.files.insert("metadata/.writing-x".to_owned(), next.bytes[..next.bytes.len() / 2].to_vec());
        }
        let want = if done == writes.len() { 2 } else { 1 };
        for floors in [&Floors::default(), &seen] {
            let verified = torn.verified(&publisher.root, floors, NOW);
            assert_eq!(verified.release().manifest.model_version, want, "after {done} writes");
            assert_eq!(verified.floors().version(Role::Targets), want);
        }
        // And the publisher can go on from there.
        let directory = tempfile::tempdir().expect("a directory");
        for (path, bytes) in &torn.files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("in the directory")).expect("creates");
            fs::write(path, bytes).expect("writes");
        }
        let next = Goods::new(MODEL_ID, 3);
        publish::release(directory.path(), &keys(&PUBLISHERS), &next.release, next.files(), NOW, &publisher.terms)
            .expect("goes on");
        let verified = crate::workshop::Mirror::of(directory.path()).verified(&publisher.root, &seen, NOW);
        assert_eq!(verified.release().manifest.model_version, 3);
    }
    plan.commit().expect("commits");
    assert_eq!(publisher.mirror().verified(&publisher.root, &seen, NOW).release(), &goods.release);
}

#[test]
fn published_files_can_be_read_by_everyone_and_nothing_is_left_beside_them() {
    let publisher = Publisher::new();
    let mirror = publisher.mirror();
    assert!(mirror.files.keys().all(|path| !path.contains(".writing-")));
    #[cfg(unix)]
    for path in mirror.files.keys() {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(publisher.path().join(path)).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{path}");
    }
    let metadata: usize =
        mirror.files.iter().filter(|(path, _)| path.starts_with("metadata/")).map(|(_, bytes)| bytes.len()).sum();
    assert!(metadata < 8_000, "{metadata} bytes of metadata");
}
