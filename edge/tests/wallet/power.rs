//! Every disk a power cut can leave in a payment, in a grant, and in the repair of a damaged file.

use plimsoll_edge::storage::crash::{Crash, CrashDisk, Fault};
use plimsoll_edge::wallet::Distrust;

use crate::bank::*;

/// The counter as it can be when `crash` happened in an act that raised it from `before` after its last write.
fn counters(crash: &Crash, disk: &CrashDisk, before: u64, after: u64) -> Vec<u64> {
    if crash.after < disk.calls() { vec![before] } else { vec![before, after] }
}

#[test]
fn a_cut_in_a_payment_forgets_it_before_anyone_saw_it_or_keeps_it_for_good() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    approved(pay(&mut granted(&disk, &counter, |_| {}), 1, 1_000, SYNC));
    let disk = CrashDisk::of(disk.image());
    let mut wallet = open(&disk, &counter);
    let before = counter.value.get();
    let token = approved(pay(&mut wallet, 2, 2_000, SYNC));
    let (crashes, mut kept) = (disk.crashes(), 0);
    assert!(crashes.len() >= 4);
    for crash in &crashes {
        for value in counters(crash, &disk, before, counter.value.get()) {
            let (left, counter) = (CrashDisk::of(crash.image.clone()), Counter::default());
            counter.value.set(value);
            let mut wallet = open(&left, &counter);
            assert_eq!(wallet.status().distrust, None, "a power cut is nobody's fault");
            let there = wallet.outbox().any(|paid| paid.token == token);
            assert!(there || value == before, "released, and lost");
            kept += u32::from(there);
            let remaining = if there { 7_000 } else { 9_000 };
            assert_eq!(wallet.limit(SYNC, None).unwrap().remaining.minor(), remaining);
            assert_eq!(approved(pay(&mut wallet, 2, 2_000, SYNC)), token, "asked again, it is the same payment");
            assert_eq!(wallet.limit(SYNC, None).unwrap().remaining.minor(), 7_000);
        }
    }
    assert!(kept > 0);
}

#[test]
fn a_cut_in_a_grant_leaves_the_one_before_or_the_new_one() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    approved(pay(&mut granted(&disk, &counter, |_| {}), 1, 1_000, SYNC));
    let disk = CrashDisk::of(disk.image());
    let mut wallet = open(&disk, &counter);
    let before = counter.value.get();
    let mut next = grant(wallet.status().wid, 2, 5_000);
    next.seen = 1;
    wallet.accept(&sign(&next), SYNC).unwrap();
    for crash in &disk.crashes() {
        for value in counters(crash, &disk, before, counter.value.get()) {
            let (left, counter) = (CrashDisk::of(crash.image.clone()), Counter::default());
            counter.value.set(value);
            let mut wallet = open(&left, &counter);
            let status = wallet.status();
            assert_eq!(status.distrust, None);
            let remaining = wallet.limit(SYNC, None).unwrap().remaining.minor();
            match status.seq {
                1 => assert_eq!((remaining, wallet.outbox().count(), value), (9_000, 1, before)),
                _ => assert_eq!((status.seq, remaining, wallet.outbox().count()), (2, 5_000, 0)),
            }
            wallet.accept(&sign(&next), SYNC).unwrap();
            assert_eq!(wallet.limit(SYNC, None).unwrap().remaining.minor(), 5_000);
        }
    }
}

#[test]
fn a_cut_while_a_damaged_file_is_set_aside_never_brings_trust_back() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let wid = granted(&disk, &counter, |_| {}).status().wid;
    let mut image = disk.image();
    image.insert("wallet".into(), vec![1, 2, 3].into());
    let disk = CrashDisk::of(image);
    let before = counter.value.get();
    open(&disk, &counter);
    for crash in &disk.crashes() {
        for value in counters(crash, &disk, before, counter.value.get()) {
            let (left, counter) = (CrashDisk::of(crash.image.clone()), Counter::default());
            counter.value.set(value);
            let mut wallet = open(&left, &counter);
            assert_eq!(wallet.status().distrust, Some(Distrust::Lost));
            assert_ne!(wallet.status().wid, wid);
            assert_eq!(wallet.limit(SYNC, None).unwrap().remaining.minor(), 0);
        }
    }
}

#[test]
fn a_payment_whose_write_failed_is_not_reported_and_is_safe_before_it_comes_out() {
    let (disk, counter) = (CrashDisk::default(), Counter::default());
    let mut wallet = granted(&disk, &counter, |_| {});
    // Write, sync and rename succeed; making the new name safe does not.
    disk.fail(disk.calls() + 3..disk.calls() + 4, Fault::Broken);
    assert!(pay(&mut wallet, 1, 1_000, SYNC).is_err());
    assert_eq!((wallet.status().number, wallet.outbox().count()), (0, 0), "nobody approved it");
    let token = approved(pay(&mut wallet, 1, 1_000, SYNC));
    for crash in disk.crashes().iter().filter(|crash| crash.after == disk.calls()) {
        let left = CrashDisk::of(crash.image.clone());
        assert!(open(&left, &counter).outbox().any(|paid| paid.token == token), "released, and lost");
    }
}
