//! Damaged slots and states, releases that lie, clocks that are wrong.

use plimsoll_edge::Slots;
use plimsoll_edge::evaluator::RefuseArtifact;
use plimsoll_edge::slots::{CLOCK_BEHIND_S_MAX, FloorReason, Installed, RefuseInstall, Running};
use plimsoll_edge::storage::Storage as _;
use plimsoll_edge::storage::crash::{CrashDisk, Image};
use plimsoll_edge::trust::RefuseRelease;
use plimsoll_model::artifact::sha256_hex;

use crate::device::{codes, disk_with, install, open, open_at, pass_trial, releases, runs, runs_at};
use crate::signer::{NOW, Order, Publisher, days};

/// A disk of two releases, after `damage`.
fn damaged(damage: impl FnOnce(&mut Image)) -> CrashDisk {
    let mut image = disk_with(&releases(2));
    damage(&mut image);
    CrashDisk::of(image)
}

fn flip(image: &mut Image, name: &str, at: usize) {
    let mut bytes = image[name].to_vec();
    bytes[at] ^= 1;
    image.insert(name.to_owned(), bytes.into());
}

/// Rewrites the state's JSON under a checksum that fits, as someone can who knows how.
fn forge_state(image: &mut Image, forge: impl FnOnce(String) -> String) {
    let text = String::from_utf8(image["slots"].to_vec()).expect("text");
    let json = forge(text.split_once('\n').expect("two lines").1.to_owned());
    let sealed = format!("plimsoll slots 1 {}\n{json}", sha256_hex(json.as_bytes()));
    image.insert("slots".to_owned(), sealed.into_bytes().into());
}

#[test]
fn one_flipped_bit_anywhere_in_the_active_slot_is_noticed() {
    let length = disk_with(&releases(2))["slot-b"].len();
    for at in (0..length).step_by(length / 60) {
        let disk = damaged(|image| flip(image, "slot-b", at));
        let slots = open(&disk);
        assert_eq!(runs(&slots), Ok(1), "byte {at}");
        assert_eq!(codes(&slots), ["slot_damaged"]);
    }
}

#[test]
fn a_slot_that_is_gone_cut_or_endless_is_given_up() {
    for damage in [
        |image: &mut Image| drop(image.remove("slot-b")),
        |image: &mut Image| drop(image.insert("slot-b".to_owned(), image["slot-b"][..999].into())),
        |image: &mut Image| drop(image.insert("slot-b".to_owned(), vec![0; 5 << 20].into())),
    ] {
        let slots = damaged(damage);
        assert_eq!(runs(&open(&slots)), Ok(1));
    }
}

#[test]
fn with_both_slots_damaged_the_floor_decides_and_a_new_install_mends_it() {
    let disk = damaged(|image| {
        flip(image, "slot-a", 9);
        flip(image, "slot-b", 9);
    });
    let mut slots = open(&disk);
    assert_eq!(runs(&slots), Err(FloorReason::PulledBack));
    assert_eq!(codes(&slots).len(), 2);
    let again = slots.install(&releases(2)[1], NOW);
    assert_eq!(again, Ok(Installed::Activated { model_version: 2 }), "damage is not the model's fault");
    assert_eq!(runs(&open(&disk)), Ok(2));
}

#[test]
fn a_model_that_nobody_signed_does_not_run_though_every_checksum_fits() {
    // The attacker owns the storage: another model in the slot, its hash in the state.
    let disk = damaged(|image| {
        let slot = image["slot-b"].to_vec();
        // Near its end is the ONNX file; the paths of targets sort last.
        let mut other = slot.clone();
        let at = other.len() - 40;
        other[at] ^= 1;
        let (old, new) = (sha256_hex(&slot), sha256_hex(&other));
        image.insert("slot-b".to_owned(), other.into());
        forge_state(image, |json| json.replace(&old, &new));
    });
    let slots = open(&disk);
    assert_eq!(runs(&slots), Ok(1));
    assert_eq!(codes(&slots), ["wrong_hash"], "refused by what was signed");
}

#[test]
fn an_older_slot_under_the_name_of_the_active_one_is_noticed() {
    let disk = damaged(|image| {
        let (a, b) = (image["slot-a"].clone(), image["slot-b"].clone());
        image.insert("slot-b".to_owned(), a.clone());
        forge_state(image, |json| json.replace(&sha256_hex(&b), &sha256_hex(&a)));
    });
    assert_eq!(codes(&open(&disk)), ["slot_damaged"]);
}

#[test]
fn a_damaged_state_runs_nothing_and_keeps_the_floors_of_its_slots() {
    let length = disk_with(&releases(2))["slots"].len();
    for at in [0, 20, 90, length / 2, length - 1] {
        let disk = damaged(|image| flip(image, "slots", at));
        let mut slots = open(&disk);
        assert_eq!(runs(&slots), Err(FloorReason::StateDamaged), "byte {at}");
        assert_eq!(slots.report(NOW).floors.model_version, 2, "byte {at}");
        let older = slots.install(&releases(1)[0], NOW);
        assert!(matches!(older, Err(RefuseInstall::Release(RefuseRelease::Rollback { .. }))), "{older:?}");
        assert_eq!(runs(&open(&disk)), Err(FloorReason::StateDamaged), "also after a restart");
        install(&mut slots, &releases(3)[2]);
        assert_eq!(runs(&open(&disk)), Ok(3));
    }
    let endless = damaged(|image| drop(image.insert("slots".to_owned(), vec![b' '; 1 << 20].into())));
    assert_eq!(runs(&open(&endless)), Err(FloorReason::StateDamaged));
}

#[test]
fn bytes_that_are_no_model_are_refused_though_they_are_signed() {
    let mut publisher = Publisher::new();
    let repo = publisher.release(&Order { no_model: true, ..Order::version(1) });
    let refused = open(CrashDisk::default()).install(&repo, NOW);
    assert!(matches!(refused, Err(RefuseInstall::Artifact(RefuseArtifact::Model(_)))), "{refused:?}");
}

#[test]
fn a_changed_byte_in_any_file_of_a_repository_installs_nothing() {
    let repos = releases(2);
    for name in repos[1].keys() {
        let mut repo = repos[1].clone();
        let bytes = repo.get_mut(name).expect("listed");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let disk = CrashDisk::of(disk_with(&repos[..1]));
        let before = disk.image();
        let mut slots = open(&disk);
        let read = slots.install(&repo, NOW);
        // Superseded files are not asked for.
        let superseded = name.starts_with("metadata/1.") && !name.ends_with("root.json")
            || name.starts_with("targets/") && repos[0].contains_key(name) && !name.ends_with("policy.json");
        assert_eq!(read.is_ok(), superseded, "{name}: {read:?}");
        if read.is_err() {
            assert_eq!(runs(&slots), Ok(1));
            assert_eq!(disk.image()["slot-a"], before["slot-a"]);
            assert_eq!(slots.report(NOW).floors.targets, 1);
            assert_eq!(codes(&slots).len(), 1);
        }
    }
}

#[test]
fn a_clock_more_than_five_minutes_behind_a_signed_time_gets_the_floor() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &releases(1)[0]);
    let slow = NOW.plus(-CLOCK_BEHIND_S_MAX);
    assert_eq!(runs_at(&slots, slow), Ok(1), "a clock may be a little behind");
    assert_eq!(slots.engine_time(slow).now, NOW, "and then the signed time counts");
    let slower = slow.plus(-1);
    assert_eq!(runs_at(&slots, slower), Err(FloorReason::ClockSuspect { behind_s: 301 }));
    assert_eq!(runs_at(&open_at(&disk, slower), slower), Err(FloorReason::ClockSuspect { behind_s: 301 }));
    assert_eq!(runs(&slots), Ok(1), "set right, the model runs again");
}

#[test]
fn a_signed_time_heard_elsewhere_counts_and_is_remembered() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &releases(1)[0]);
    slots.heard_signed_time(days(2)).expect("remembers");
    slots.heard_signed_time(days(1)).expect("an earlier one changes nothing");
    assert_eq!(slots.engine_time(NOW).now, days(2));
    let behind_s = 2 * 86_400;
    assert_eq!(runs(&open(&disk)), Err(FloorReason::ClockSuspect { behind_s }));
    assert_eq!(runs_at(&open(&disk), days(2)), Ok(1));
}

#[test]
fn setting_the_clock_back_does_not_make_an_expired_model_usable() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    install(&mut slots, &releases(1)[0]);
    slots.heard_signed_time(days(98)).expect("remembers");
    for wall in [NOW, days(97), days(98)] {
        assert!(!matches!(slots.running(wall), Running::Model(_)), "{wall:?}");
    }
}

#[test]
fn a_repository_that_is_frozen_installs_nothing_and_stops_nothing() {
    let repos = releases(2);
    let mut slots = open(CrashDisk::default());
    install(&mut slots, &repos[0]);
    let late = days(15);
    let refused = slots.install(&repos[1], late);
    assert!(matches!(refused, Err(RefuseInstall::Release(RefuseRelease::Expired { .. }))), "{refused:?}");
    assert_eq!(runs_at(&slots, late), Ok(1));
    assert_eq!(codes(&slots), ["expired"]);
    for _ in 0..50 {
        let _ = slots.install(&repos[1], late);
    }
    let events = slots.report(late).events;
    assert_eq!((events.len(), events[0].times), (1, 51), "the same refusal is one event");
}

#[test]
fn the_state_stays_small_whatever_is_refused() {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    let mut publisher = Publisher::new();
    for version in 1..=100 {
        let repo = publisher.release(&Order { wrong_golden: version % 2 == 0, ..Order::version(version) });
        let installed = slots.install(&repo, NOW).is_ok();
        assert_eq!(installed, version % 2 == 1);
        pass_trial(&mut slots);
    }
    let bytes = slots.storage().read("slots", u64::MAX).expect("reads").expect("is there").len();
    assert!(bytes < 20_000, "{bytes} bytes");
    assert_eq!(
        disk.image().keys().collect::<Vec<_>>(),
        ["slot-a", "slot-b", "slots"].map(str::to_owned).iter().collect::<Vec<_>>()
    );
}

#[test]
fn another_model_line_is_another_matter() {
    let disk = CrashDisk::default();
    install(&mut open(&disk), &releases(1)[0]);
    let settings = plimsoll_edge::slots::Settings {
        model_id: "other".to_owned(),
        ..crate::device::settings(Publisher::new().root())
    };
    let mut slots = Slots::open(&disk, settings, NOW).expect("opens");
    assert_eq!(runs(&slots), Err(FloorReason::PulledBack));
    let refused = slots.install(&releases(1)[0], NOW);
    assert!(matches!(refused, Err(RefuseInstall::Release(RefuseRelease::UnknownModel { .. }))), "{refused:?}");
}
