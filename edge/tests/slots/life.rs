//! Install, trial, keep, roll back, expire, report.

use plimsoll_edge::Slots;
use plimsoll_edge::evaluator::RefuseArtifact;
use plimsoll_edge::slots::{FloorReason, Installed, PullBack, RefuseInstall, Running, Settings, Trial};
use plimsoll_edge::storage::crash::CrashDisk;
use plimsoll_edge::trust::{Directory, RefuseRelease, TrustedRoot};
use plimsoll_model::decision::{Bound, Situation};
use plimsoll_model::features::{FEATURE_COUNT, FeatureVector};
use plimsoll_model::policy::Policy;
use plimsoll_model::time::DAY;

use crate::device::{LOADS, codes, install, open, open_at, pass_trial, releases, runs, runs_at, settings};
use crate::signer::{MODEL_ID, NOW, Order, Publisher, days, money, tier};

#[test]
fn a_new_device_runs_the_floor_until_it_installs() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    assert_eq!(runs(&slots), Err(FloorReason::NothingInstalled));
    install(&mut slots, &releases(1)[0]);
    assert_eq!(runs(&slots), Ok(1));
    assert_eq!(runs(&open(&disk)), Ok(1), "and after a restart");
}

#[test]
fn what_the_real_publisher_published_installs_and_updates() {
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/published");
    let repo = |release: &str| Directory::new(format!("{published}/{release}"));
    let root = std::fs::read(format!("{published}/root.json")).expect("the fixture's root");
    let root = TrustedRoot::from_bytes(&root).expect("the fixture's root");
    let policy = Policy::preset("tng").expect("a preset");
    let disk = CrashDisk::default();
    let settings = || Settings::new(root.clone(), "tng-fixture", policy.clone());
    let mut slots = Slots::open(&disk, settings(), NOW).expect("opens");
    assert_eq!(slots.install(&repo("first"), NOW), Ok(Installed::Activated { model_version: 1 }));
    assert_eq!(slots.install(&repo("second"), days(7)), Ok(Installed::Activated { model_version: 2 }));
    let reopened = Slots::open(&disk, settings(), days(7)).expect("opens");
    assert_eq!(runs_at(&reopened, days(7)), Ok(2));
}

#[test]
fn the_floor_decides_by_the_programmes_fallback() {
    let features = FeatureVector([0.0; FEATURE_COUNT]);
    let situation = Situation::fresh(money(40_000), tier(2), NOW, 1_000);
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    let decision = slots.running(NOW).decide(&features, &situation, NOW);
    assert_eq!((decision.limit, decision.bound), (money(700), Bound::Fallback));
    install(&mut slots, &releases(1)[0]);
    let decision = slots.running(NOW).decide(&features, &situation, NOW);
    assert_eq!((decision.limit, decision.bound), (money(20_000), Bound::Model));
}

#[test]
fn the_same_release_again_changes_nothing_but_the_metadata_seen() {
    let disk = CrashDisk::default();
    let mut publisher = Publisher::new();
    let mut slots = open(&disk);
    install(&mut slots, &publisher.release(&Order::version(1)));
    pass_trial(&mut slots);
    let before = disk.image();
    let refreshed = publisher.refresh(days(3));
    assert_eq!(slots.install(&refreshed, days(3)), Ok(Installed::Current { model_version: 1 }));
    assert_eq!(disk.image()["slot-a"], before["slot-a"]);
    assert_eq!(slots.report(days(3)).floors.timestamp, 2);
    assert_eq!(slots.engine_time(NOW).now, days(3), "the newer signed time counts");
    let calls = disk.calls();
    assert_eq!(slots.install(&refreshed, days(3)), Ok(Installed::Current { model_version: 1 }));
    assert_eq!(disk.calls(), calls, "nothing new, nothing written");
}

#[test]
fn the_floor_of_models_rises_with_the_last_evaluation_of_the_trial() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &releases(1)[0]);
    let floor = |slots: &Slots<&CrashDisk>| (slots.report(NOW).floors.model_version, slots.report(NOW).floors.targets);
    assert_eq!(floor(&slots), (0, 1), "metadata counts from the activation");
    slots.evaluated().expect("counts");
    assert_eq!(floor(&slots), (0, 1));
    assert!(slots.report(NOW).model.expect("active").on_trial);
    slots.evaluated().expect("counts");
    assert_eq!(floor(&slots), (1, 1));
    assert!(!slots.report(NOW).model.expect("active").on_trial);
    assert_eq!(floor(&open(&disk)), (1, 1));
}

#[test]
fn a_mismatch_brings_the_model_before_back_and_the_new_one_never_again() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    let repos = releases(3);
    install(&mut slots, &repos[0]);
    pass_trial(&mut slots);
    install(&mut slots, &repos[1]);
    slots.pull_back(PullBack::Mismatch, NOW).expect("goes back");
    assert_eq!(runs(&slots), Ok(1));
    let mut slots = open(&disk);
    assert_eq!(runs(&slots), Ok(1));
    assert_eq!(slots.install(&repos[1], NOW), Err(RefuseInstall::PulledBefore { model_version: 2 }));
    assert_eq!(codes(&slots), ["mismatch", "pulled_before"]);
    install(&mut slots, &repos[2]);
    assert_eq!(runs(&slots), Ok(3), "a new release is the way on");
}

#[test]
fn a_model_past_its_trial_is_pulled_back_too() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    for repo in &releases(2) {
        install(&mut slots, repo);
        pass_trial(&mut slots);
    }
    slots.pull_back(PullBack::Ordered, NOW).expect("goes back");
    assert_eq!(runs(&slots), Ok(1));
    assert_eq!(slots.report(NOW).floors.model_version, 2, "floors never go down");
    slots.pull_back(PullBack::Ordered, NOW).expect("goes back");
    assert_eq!(runs(&slots), Err(FloorReason::PulledBack), "and then there is nothing but the floor");
    assert_eq!(runs(&open(&disk)), Err(FloorReason::PulledBack));
}

#[test]
fn a_withdrawn_model_does_not_come_back() {
    let mut publisher = Publisher::new();
    let first = publisher.release(&Order::version(1));
    let second = publisher.release(&Order { rollback_index: 2, ..Order::version(2) });
    let run = |pass: bool| {
        let disk = CrashDisk::default();
        let mut slots = open(&disk);
        install(&mut slots, &first);
        pass_trial(&mut slots);
        install(&mut slots, &second);
        if pass {
            pass_trial(&mut slots);
        }
        slots.pull_back(PullBack::Mismatch, NOW).expect("goes back");
        runs(&slots)
    };
    assert_eq!(run(true), Err(FloorReason::PulledBack));
    assert_eq!(run(false), Ok(1), "until its trial is over the new model withdraws nothing");
}

#[test]
fn a_model_on_trial_is_not_what_a_device_goes_back_to() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    let repos = releases(3);
    install(&mut slots, &repos[0]);
    pass_trial(&mut slots);
    install(&mut slots, &repos[1]);
    install(&mut slots, &repos[2]);
    assert_eq!(slots.report(NOW).kept_version, Some(1));
    slots.pull_back(PullBack::Mismatch, NOW).expect("goes back");
    assert_eq!(runs(&slots), Ok(1));
}

#[test]
fn loads_that_end_the_process_end_the_trial() {
    let repos = releases(2);
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &repos[0]);
    pass_trial(&mut slots);
    install(&mut slots, &repos[1]);
    // A load counts before it begins: the first change it makes to the disk, and then the process is gone.
    let mut image = disk.image();
    for _ in 0..LOADS {
        let disk = CrashDisk::of(image.clone());
        drop(open(&disk));
        let counted = disk.crashes().into_iter().filter(|crash| crash.image.keys().eq(image.keys()));
        let counted = counted.map(|crash| crash.image).filter(|found| *found != disk.image() && *found != image);
        image = counted.last().expect("a load on trial is counted on the disk");
    }
    let disk = CrashDisk::of(image);
    let slots = open(&disk);
    assert_eq!(runs(&slots), Ok(1));
    assert_eq!(codes(&slots), ["load_never_ended"]);
}

#[test]
fn loads_that_succeed_do_not_end_the_trial() {
    let disk = CrashDisk::default();
    install(&mut open(&disk), &releases(1)[0]);
    for _ in 0..20 {
        assert_eq!(runs(&open(&disk)), Ok(1));
    }
}

#[test]
fn the_model_before_is_kept_for_seven_days_and_through_a_trial() {
    let repos = releases(2);
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &repos[0]);
    pass_trial(&mut slots);
    install(&mut slots, &repos[1]);
    let kept = |wall| open_at(&disk, wall).report(wall).kept_version;
    assert_eq!(kept(days(8)), Some(1), "on trial");
    pass_trial(&mut slots);
    assert_eq!(kept(days(7)), Some(1));
    assert!(disk.image().contains_key("slot-a"));
    assert_eq!(kept(days(7).plus(1)), None);
    assert!(!disk.image().contains_key("slot-a"), "its bytes are gone too");
    assert_eq!(runs(&open(&disk)), Ok(2));
}

#[test]
fn a_model_is_used_until_its_grace_ends_and_then_never_again() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &releases(1)[0]);
    // The metadata of the release expired long before: that gates the install, not the use.
    let last = days(97);
    assert_eq!(runs_at(&open_at(&disk, last), last), Ok(1));
    assert_eq!(runs_at(&slots, last), Ok(1));
    let after = last.plus(1);
    assert_eq!(runs_at(&slots, after), Err(FloorReason::ModelExpired { until: last }));
    assert_eq!(runs_at(&open_at(&disk, after), after), Err(FloorReason::ModelExpired { until: last }));
}

#[test]
fn a_release_past_its_last_day_is_not_installed() {
    let mut publisher = Publisher::new();
    let order = Order { issued_at: days(-98), ..Order::version(1) };
    publisher.release(&order);
    let repo = publisher.refresh(NOW);
    let refused = open(&CrashDisk::default()).install(&repo, NOW);
    assert_eq!(refused, Err(RefuseInstall::PastUse { model_version: 1, until: days(-1) }));
}

#[test]
fn golden_vectors_that_differ_leave_the_old_model_running_and_a_reason() {
    let mut publisher = Publisher::new();
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &publisher.release(&Order::version(1)));
    let before = disk.image();
    let bad = publisher.release(&Order { wrong_golden: true, ..Order::version(2) });
    let refused = slots.install(&bad, NOW);
    assert!(matches!(refused, Err(RefuseInstall::Artifact(RefuseArtifact::Golden(_)))), "{refused:?}");
    assert_eq!(runs(&slots), Ok(1));
    assert_eq!(disk.image()["slot-a"], before["slot-a"]);
    let report = slots.report(NOW);
    let event = report.events.last().expect("recorded");
    assert_eq!((event.code.as_str(), event.model_version, event.at), ("golden", Some(2), NOW));
    assert_eq!(report.floors.targets, 1, "a refused release raises no floor");
    assert_eq!(open(&disk).report(NOW).events, report.events, "the reason survives a restart");

    slots.acknowledge(report.next_event).expect("forgets");
    assert_eq!(open(&disk).report(NOW).events, []);
}

#[test]
fn an_older_release_is_refused_whatever_it_is_called() {
    let repos = releases(2);
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &repos[1]);
    let refused = slots.install(&repos[0], NOW);
    assert!(matches!(refused, Err(RefuseInstall::Release(RefuseRelease::Rollback { .. }))), "{refused:?}");
    let mut publisher = Publisher::new();
    let first = publisher.release(&Order::version(5));
    let other = publisher.release(&Order { rollback_index: 9, ..Order::version(5) });
    let mut slots = open(CrashDisk::default());
    install(&mut slots, &first);
    // The rollback index is signed beside the model, so this is the same model again.
    assert_eq!(slots.install(&other, NOW), Ok(Installed::Current { model_version: 5 }));
    let changed = publisher.release(&Order { no_model: true, ..Order::version(5) });
    assert_eq!(slots.install(&changed, NOW), Err(RefuseInstall::VersionReused { model_version: 5 }));
}

#[test]
fn a_root_rotated_between_two_releases_is_followed_from_the_pinned_one() {
    let mut publisher = Publisher::new();
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &publisher.release(&Order::version(1)));
    publisher.rotate_online_key(NOW);
    install(&mut slots, &publisher.release(&Order::version(2)));
    assert_eq!(slots.report(NOW).floors.root, 2);
    assert_eq!(runs(&open(&disk)), Ok(2));
    // The device does not ask for root 1 now, and yet the slot must verify from it.
    install(&mut slots, &publisher.release(&Order::version(3)));
    assert_eq!(runs(&open(&disk)), Ok(3));
}

#[test]
fn an_app_that_pins_a_newer_root_judges_stored_models_by_it() {
    let mut publisher = Publisher::new();
    let disk = CrashDisk::default();
    install(&mut open(&disk), &publisher.release(&Order::version(1)));
    publisher.rotate_online_key(NOW);
    let updated = Slots::open(&disk, settings(publisher.newest_root()), NOW).expect("opens");
    assert_eq!(runs(&updated), Err(FloorReason::PulledBack), "its timestamp was signed by a key that was replaced");
    assert_eq!(codes(&updated), ["threshold_not_met"]);
}

#[test]
fn a_device_without_a_trial_trusts_at_once() {
    let disk = CrashDisk::default();
    let settings = Settings { trial: Trial { evaluations: 0, loads: 0 }, ..settings(Publisher::new().root()) };
    let mut slots = Slots::open(&disk, settings, NOW).expect("opens");
    install(&mut slots, &releases(1)[0]);
    assert_eq!(slots.report(NOW).floors.model_version, 1);
    assert!(matches!(slots.running(NOW), Running::Model(_)));
}

#[test]
fn a_report_says_what_runs() {
    let mut slots = open(CrashDisk::default());
    install(&mut slots, &releases(1)[0]);
    let report = serde_json::to_value(slots.report(NOW)).expect("serialises");
    assert_eq!(report["model"]["model_id"], MODEL_ID);
    assert_eq!(report["model"]["model_version"], 1);
    assert_eq!(report["floor"], serde_json::Value::Null);
    assert_eq!(report["floors"]["timestamp"], 1);
    let behind = NOW.plus(-DAY);
    let report = serde_json::to_value(slots.report(behind)).expect("serialises");
    assert_eq!(report["floor"]["reason"], "clock_suspect");
}
