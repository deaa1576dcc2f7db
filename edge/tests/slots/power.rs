//! After a power cut anywhere, a full disk or a broken one: something complete runs, and no floor went down.

use plimsoll_edge::Slots;
use plimsoll_edge::slots::{FloorReason, Installed, PullBack, RefuseInstall, Report};
use plimsoll_edge::storage::StorageError;
use plimsoll_edge::storage::crash::{CrashDisk, Fault, Image};

use crate::device::{EVALUATIONS, codes, disk_with, install, open, open_at, releases, runs};
use crate::signer::{Files, NOW, days};

type Device<'a> = Slots<&'a CrashDisk>;

const NOTHING: Result<u64, FloorReason> = Err(FloorReason::NothingInstalled);

/// Acts on a device that holds `start`, cuts the power at every moment of it, and reopens; then cuts it again at every
/// moment of that, and reopens. What runs must be one of `old_or_new`, and `old_or_new[1]` once the act returned.
/// Returns how many disks were tried.
#[track_caller]
fn cut(
    start: &Image,
    act: impl Fn(&mut Device<'_>),
    old_or_new: [Result<u64, FloorReason>; 2],
    next: Option<&Files>,
) -> usize {
    let disk = CrashDisk::of(start.clone());
    let mut slots = open(&disk);
    let floors_before = slots.report(NOW);
    let began = disk.calls();
    act(&mut slots);
    let returned = disk.calls();
    assert_eq!(runs(&slots), old_or_new[1], "the act itself");
    let floors_after = slots.report(NOW);
    let mut tried = 0;
    for crash in disk.crashes() {
        let done = crash.after == returned;
        let again = CrashDisk::of(crash.image.clone());
        let mut slots = open(&again);
        let found = runs(&slots);
        let allowed = if done { &old_or_new[1..] } else { &old_or_new[..] };
        assert!(allowed.contains(&found), "after {} of {began}..{returned} calls: {found:?}", crash.after);
        assert_no_lower(&floors_before, &slots.report(NOW));
        if done {
            assert_no_lower(&floors_after, &slots.report(NOW));
        }
        tried += 1;
        for second in again.crashes() {
            assert_eq!(runs(&open(CrashDisk::of(second.image))), found, "a cut while opening changed what runs");
            tried += 1;
        }
        if let Some(next) = next {
            install(&mut slots, next);
        }
    }
    tried
}

#[track_caller]
fn assert_no_lower(before: &Report, after: &Report) {
    let (b, a) = (&before.floors, &after.floors);
    for (name, before, after) in [
        ("root", b.root, a.root),
        ("timestamp", b.timestamp, a.timestamp),
        ("snapshot", b.snapshot, a.snapshot),
        ("targets", b.targets, a.targets),
        ("model version", b.model_version, a.model_version),
        ("rollback index", b.rollback_index, a.rollback_index),
    ] {
        assert!(after >= before, "the {name} floor fell from {before} to {after}");
    }
}

#[test]
fn a_cut_in_the_first_install_leaves_nothing_or_the_model() {
    let repos = releases(2);
    let tried = cut(&Image::new(), |slots| install(slots, &repos[0]), [NOTHING, Ok(1)], Some(&repos[1]));
    assert!(tried > 50, "{tried} disks");
}

#[test]
fn a_cut_in_the_second_install_leaves_the_old_or_the_new_model() {
    let repos = releases(3);
    let start = disk_with(&repos[..1]);
    let tried = cut(&start, |slots| install(slots, &repos[1]), [Ok(1), Ok(2)], Some(&repos[2]));
    assert!(tried > 50, "{tried} disks");
}

#[test]
fn a_cut_in_the_third_install_leaves_both_that_came_before() {
    let repos = releases(4);
    let start = disk_with(&repos[..2]);
    cut(&start, |slots| install(slots, &repos[2]), [Ok(2), Ok(3)], Some(&repos[3]));
    // And the kept one is still good, wherever the power went.
    let disk = CrashDisk::of(start);
    install(&mut open(&disk), &repos[2]);
    for crash in disk.crashes() {
        let mut slots = open(CrashDisk::of(crash.image));
        let before = runs(&slots).expect("a model runs");
        slots.pull_back(PullBack::Mismatch, NOW).expect("goes back");
        assert_eq!(runs(&slots), Ok(before - 1));
    }
}

#[test]
fn a_cut_in_an_install_during_a_trial_leaves_either_model() {
    let repos = releases(4);
    let disk = CrashDisk::of(disk_with(&repos[..1]));
    install(&mut open(&disk), &repos[1]);
    cut(&disk.image(), |slots| install(slots, &repos[2]), [Ok(2), Ok(3)], Some(&repos[3]));
}

#[test]
fn a_cut_at_the_end_of_a_trial_leaves_the_floor_up_or_the_trial_on() {
    let repos = releases(2);
    let disk = CrashDisk::of(disk_with(&repos[..1]));
    install(&mut open(&disk), &repos[1]);
    let evaluate = |slots: &mut Device<'_>| (0..EVALUATIONS).for_each(|_| slots.evaluated().expect("counts"));
    cut(&disk.image(), evaluate, [Ok(2), Ok(2)], None);
}

#[test]
fn a_cut_while_going_back_leaves_either_model() {
    let repos = releases(3);
    let start = disk_with(&repos[..2]);
    let back = |slots: &mut Device<'_>| slots.pull_back(PullBack::Mismatch, NOW).expect("goes back");
    cut(&start, back, [Ok(2), Ok(1)], Some(&repos[2]));
}

#[test]
fn a_cut_while_giving_up_a_damaged_model_ends_with_the_one_before() {
    let repos = releases(3);
    let mut start = disk_with(&repos[..1]);
    let disk = CrashDisk::of(start);
    install(&mut open(&disk), &repos[1]);
    start = disk.image();
    let mut rotten = start["slot-b"].to_vec();
    rotten[100] ^= 1;
    start.insert("slot-b".to_owned(), rotten.into());
    cut(&start, |_| (), [Ok(1), Ok(1)], Some(&repos[2]));
}

#[test]
fn a_cut_while_the_kept_model_is_removed_touches_the_active_one_never() {
    let repos = releases(3);
    let start = disk_with(&repos[..2]);
    cut(&start, |slots| slots.forget_kept(days(8)).expect("forgets"), [Ok(2), Ok(2)], Some(&repos[2]));
    let disk = CrashDisk::of(start);
    drop(open_at(&disk, days(8)));
    assert!(!disk.image().contains_key("slot-a"));
}

/// Installs version 2 while calls fail; then everything works again.
fn install_while(fail: impl Fn(&CrashDisk, usize), call: usize, repos: &[Files], start: &Image) -> bool {
    let disk = CrashDisk::of(start.clone());
    let mut slots = open(&disk);
    let before = slots.report(NOW);
    fail(&disk, disk.calls() + call);
    let result = slots.install(&repos[1], NOW);
    let running = runs(&slots);
    match &result {
        Ok(Installed::Activated { model_version: 2 }) => assert_eq!(running, Ok(2)),
        Err(RefuseInstall::Storage(StorageError::Full { .. } | StorageError::Failed { .. })) => {
            assert_eq!(running, Ok(1), "the model that ran runs on");
        }
        other => panic!("call {call}: {other:?}"),
    }
    assert_no_lower(&before, &slots.report(NOW));
    // A cut after the failure is as harmless as one before.
    for crash in disk.crashes() {
        let reopened = open(CrashDisk::of(crash.image));
        assert!([Ok(1), Ok(2)].contains(&runs(&reopened)), "call {call}: {:?}", runs(&reopened));
        assert_no_lower(&before, &reopened.report(NOW));
    }
    // And the same device goes on, without a restart.
    disk.fail(0..0, Fault::Broken);
    let retried = slots.install(&repos[1], NOW).expect("the storage works again");
    assert!(matches!(retried, Installed::Activated { model_version: 2 } | Installed::Current { model_version: 2 }));
    assert_eq!(runs(&open(&disk)), Ok(2));
    // Nor did the retry write over a slot that a state on the disk could name.
    for crash in disk.crashes() {
        let events = codes(&open(CrashDisk::of(crash.image)));
        assert!(!events.contains(&"slot_damaged".to_owned()), "call {call}");
    }
    result.is_err()
}

#[test]
fn a_disk_that_fails_once_anywhere_in_an_install_is_survived() {
    let repos = releases(2);
    let start = disk_with(&repos[..1]);
    for fault in [Fault::Broken, Fault::Full] {
        let failed =
            (0..12).filter(|call| install_while(|disk, at| disk.fail(at..at + 1, fault), *call, &repos, &start));
        let failed: Vec<_> = failed.collect();
        // Full: the writes of slot and state. Broken: each call up to the activation.
        let want = if fault == Fault::Full { vec![0, 3] } else { (0..7).collect() };
        assert_eq!(failed, want, "{fault:?}");
    }
}

#[test]
fn a_disk_that_fails_from_anywhere_on_in_an_install_is_survived() {
    let repos = releases(2);
    let start = disk_with(&repos[..1]);
    for fault in [Fault::Broken, Fault::Full] {
        for call in 0..9 {
            install_while(|disk, at| disk.fail(at..usize::MAX, fault), call, &repos, &start);
        }
    }
}

#[test]
fn a_state_that_cannot_be_read_is_not_taken_for_a_new_device() {
    let start = disk_with(&releases(1));
    let disk = CrashDisk::of(start.clone());
    disk.fail(0..1, Fault::Broken);
    let settings = crate::device::settings(crate::signer::Publisher::new().root());
    let refused = Slots::open(&disk, settings, NOW).expect_err("the state is there");
    assert!(matches!(refused, StorageError::Failed { .. }), "{refused:?}");
    assert_eq!(disk.image(), start);
    assert_eq!(runs(&open(&disk)), Ok(1), "and the next time it is read");
}

#[test]
fn a_slot_that_cannot_be_read_this_time_is_not_given_up() {
    let repos = releases(2);
    let disk = CrashDisk::of(disk_with(&repos));
    disk.fail(1..2, Fault::Broken);
    assert_eq!(runs(&open(&disk)), Err(FloorReason::StorageFailed));
    assert_eq!(runs(&open(&disk)), Ok(2));
}

#[test]
fn a_pull_back_that_cannot_be_saved_still_holds_in_this_process() {
    let repos = releases(2);
    let disk = CrashDisk::of(disk_with(&repos));
    let mut slots = open(&disk);
    disk.fail(disk.calls()..usize::MAX, Fault::Full);
    let refused = slots.pull_back(PullBack::Mismatch, NOW).expect_err("says that it is not saved");
    assert!(matches!(refused, StorageError::Full { .. }));
    assert_eq!(runs(&slots), Ok(1));
    disk.fail(0..0, Fault::Full);
    slots.evaluated().expect("nothing is on trial");
    slots.heard_signed_time(NOW).expect("saves everything");
    assert_eq!(runs(&open(&disk)), Ok(1));
}
