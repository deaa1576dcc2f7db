//! Files that were cut, grown, swapped or flipped, wherever they are hit.

use std::sync::atomic::{AtomicUsize, Ordering};

use plimsoll_edge::trust::{
    Directory, Floors, METADATA_BYTES_MAX, RefuseRelease, Repository, TrustedRoot, audit, verify,
};
use plimsoll_model::artifact::MODEL_BYTES_MAX;
use plimsoll_train::publish::Terms;
use serde_json::json;

use crate::workshop::{Goods, MODEL_ID, Mirror, NOW, PUBLISHERS, Publisher, TIMESTAMP, all_holders, keys};

/// A repository with two roots and one release, without what is there for auditors alone (the outcome of the check and the
/// override): a device that pins root 1 reads every file of it.
fn repository() -> (TrustedRoot, Mirror) {
    let publisher = Publisher::with_terms(Terms::default());
    publisher.rotate(&all_holders(), &["root-2", "root-3"], NOW);
    publisher.release(1, NOW);
    let mut mirror = publisher.mirror();
    let all = mirror.files.len();
    mirror.files.retain(|path, _| !path.ends_with(".check.json") && !path.ends_with(".override.json"));
    assert_eq!(mirror.files.len(), all - 2);
    mirror.verified(&publisher.root, &Floors::default(), NOW);
    let read: std::collections::BTreeSet<_> =
        mirror.asked.lock().expect("not poisoned").iter().map(|(path, _)| path.clone()).collect();
    assert!(mirror.files.keys().all(|path| read.contains(path)), "{read:?}");
    (publisher.root, mirror.clone()) // with an empty record of what was asked
}

#[track_caller]
fn truncated(end: &str) {
    let (root, whole) = repository();
    let file = whole.path(end);
    let length = whole.files[&file].len();
    for found in [0, 1, length / 2, length - 1] {
        let mut cut = whole.clone();
        cut.files.insert(file.clone(), whole.files[&file][..found].to_vec());
        let refused = cut.refused(&root, &Floors::default(), NOW);
        let RefuseRelease::Truncated { file: named, found: counted, .. } = &refused else { panic!("{refused}") };
        assert_eq!((named, *counted), (&file, found as u64));
    }
    let mut gone = whole.clone();
    gone.files.remove(&file);
    // Without the newest root the device sees an older, complete repository, if its keys are the same.
    if end != "2.root.json" {
        assert_eq!(gone.refused(&root, &Floors::default(), NOW), RefuseRelease::Missing { file });
    }
}

#[test]
fn a_truncated_root_is_refused() {
    truncated("2.root.json");
}

#[test]
fn a_truncated_timestamp_is_refused() {
    truncated("timestamp.json");
}

#[test]
fn a_truncated_snapshot_is_refused() {
    truncated("1.snapshot.json");
}

#[test]
fn a_truncated_targets_is_refused() {
    truncated("1.targets.json");
}

#[test]
fn a_truncated_model_is_refused() {
    truncated(".onnx");
}

#[test]
fn a_truncated_policy_is_refused() {
    truncated(".policy.json");
}

#[test]
fn a_truncated_golden_is_refused() {
    let (root, mut cut) = repository();
    let file = cut.path(".golden.json");
    cut.files.insert(file.clone(), b"[".to_vec());
    let want = RefuseRelease::Truncated { file, expected: Some(2), found: 1 };
    assert_eq!(cut.refused(&root, &Floors::default(), NOW), want);
}

#[test]
fn a_truncated_copy_of_the_pinned_root_is_refused() {
    let (root, mut cut) = repository();
    let file = "metadata/1.root.json".to_owned();
    cut.files.get_mut(&file).expect("is there").pop();
    assert_eq!(cut.refused(&root, &Floors::default(), NOW), RefuseRelease::RootDiffers { file });
}

#[test]
fn an_oversized_file_is_refused_unread() {
    let (root, whole) = repository();
    let signed = Goods::new(MODEL_ID, 1).model.len() as u64;
    for (file, max) in [(TIMESTAMP.to_owned(), METADATA_BYTES_MAX), (whole.path(".onnx"), signed)] {
        let mut grown = whole.clone();
        grown.files.get_mut(&file).expect("is there").resize(3_000_000, b' ');
        let want = RefuseRelease::TooLarge { file: file.clone(), max };
        assert_eq!(grown.refused(&root, &Floors::default(), NOW), want);
        let asked = grown.asked.lock().expect("not poisoned");
        assert!(asked.iter().filter(|(path, _)| *path == file).all(|(_, asked)| *asked == max));
    }
}

#[test]
fn a_signed_length_above_the_limit_is_refused_unfetched() {
    let (root, mut mirror) = repository();
    mirror.edit("metadata/1.targets.json", &["targets-owner", "targets-risk"], |signed| {
        signed["targets"][format!("models/{MODEL_ID}.onnx")]["length"] = json!(MODEL_BYTES_MAX + 1);
    });
    mirror.repin(1);
    let file = mirror.path(".onnx");
    let want = RefuseRelease::TooLarge { file: file.clone(), max: MODEL_BYTES_MAX };
    assert_eq!(mirror.refused(&root, &Floors::default(), NOW), want);
    assert!(mirror.asked.lock().expect("not poisoned").iter().all(|(path, _)| *path != file));
}

#[test]
fn a_swapped_target_is_refused() {
    let (root, mut mirror) = repository();
    let file = mirror.path(".onnx");
    let other = Goods::new(MODEL_ID, 2).model;
    assert_eq!(other.len(), mirror.files[&file].len());
    mirror.files.insert(file.clone(), other);
    assert_eq!(mirror.refused(&root, &Floors::default(), NOW), RefuseRelease::WrongHash { file });
}

#[test]
fn rewritten_metadata_is_refused_though_its_signatures_hold() {
    let (root, whole) = repository();
    for file in [TIMESTAMP, "metadata/2.root.json"] {
        let value: serde_json::Value = serde_json::from_slice(&whole.files[file]).expect("metadata");
        let pretty = serde_json::to_vec_pretty(&value).expect("serialises");
        let newline = [&whole.files[file][..], b"\n"].concat();
        for bytes in [pretty, newline] {
            let mut mirror = whole.clone();
            mirror.files.insert(file.to_owned(), bytes);
            let want = RefuseRelease::NotCanonical { file: file.to_owned() };
            assert_eq!(mirror.refused(&root, &Floors::default(), NOW), want);
        }
    }
}

#[test]
fn a_path_out_of_the_directory_is_not_read() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("secret"), "x").expect("writes");
    let inside = directory.path().join("repository");
    std::fs::create_dir(&inside).expect("creates");
    let repository = Directory::new(&inside);
    for path in ["../secret", "/etc/hostname", "metadata/../../secret", ""] {
        assert!(repository.fetch(path, 10).is_err(), "{path}");
    }
    assert_eq!(repository.fetch("metadata/1.root.json", 10), Ok(None));
}

/// Flips bits of every byte of the files that `chosen` names, and counts the flips; each must be refused.
fn flip_every_byte(
    whole: &Mirror,
    flips: impl Fn(usize) -> Vec<u8> + Sync,
    chosen: impl Fn(&str) -> bool,
    accepted: impl Fn(&Mirror) -> bool + Sync,
) -> usize {
    let bytes: Vec<(&String, usize)> = whole
        .files
        .iter()
        .filter(|(path, _)| chosen(path))
        .flat_map(|(path, bytes)| (0..bytes.len()).map(move |at| (path, at)))
        .collect();
    let count = AtomicUsize::new(0);
    let (flips, accepted, counter) = (&flips, &accepted, &count);
    std::thread::scope(|scope| {
        for half in bytes.chunks(bytes.len().div_ceil(2)) {
            scope.spawn(move || {
                let mut mirror = whole.clone();
                for (path, at) in half {
                    for mask in flips(*at) {
                        let flip = |mirror: &mut Mirror| mirror.files.get_mut(*path).expect("is there")[*at] ^= mask;
                        flip(&mut mirror);
                        assert!(!accepted(&mirror), "byte {at} of {path} ^ {mask:#04x} was accepted");
                        flip(&mut mirror);
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    count.into_inner()
}

#[test]
fn every_flipped_byte_of_every_file_is_refused() {
    let (root, whole) = repository();
    // One bit that walks through the byte, and the bit of letter case, which hex digits would forgive.
    let flips = |at: usize| vec![1 << (at % 8), 0x20];
    let accepted = |mirror: &Mirror| verify(mirror, &root, &Floors::default(), NOW, Some(MODEL_ID)).is_ok();
    let total: usize = whole.files.values().map(Vec::len).sum();
    assert_eq!(flip_every_byte(&whole, flips, |_| true, accepted), 2 * total);
}

#[test]
fn every_flipped_byte_of_the_past_is_refused_by_an_audit() {
    let publisher = Publisher::new();
    publisher.rotate(&all_holders(), &["root-1", "root-3", "online"], NOW);
    publisher.release(2, NOW);
    let other = Goods::new("limit-ng", 1);
    let keys = keys(&PUBLISHERS);
    plimsoll_train::publish::release(publisher.path(), &keys, &other.release, other.files(), NOW, &publisher.terms)
        .expect("publishes");
    let whole = publisher.mirror();
    let audited = audit(&whole, &publisher.root, &Floors::default(), NOW).expect("all is in order");
    let lines: Vec<_> = audited.releases.iter().map(|v| v.release().manifest.model_id.as_str()).collect();
    assert_eq!(lines, [MODEL_ID, "limit-ng"]);
    assert_eq!(audited.superseded, 1 + 3 + 2, "root 1, snapshots 1 to 3, targets 1 and 2");

    // Files that a device which fetches `limit-ke` does not read.
    whole.verified(&publisher.root, &Floors::default(), NOW);
    let whole = whole.clone();
    whole.verified(&publisher.root, &Floors::default(), NOW);
    let read: Vec<String> = whole.asked.lock().expect("not poisoned").iter().map(|(path, _)| path.clone()).collect();
    let accepted = |mirror: &Mirror| audit(mirror, &publisher.root, &Floors::default(), NOW).is_ok();
    // Outcomes of checks are long, and the same for both lines: one line's will do.
    let long = |path: &str| path.ends_with("limit-ke.check.json") || path.ends_with("limit-ke.override.json");
    let chosen = |path: &str| !long(path) && !read.iter().any(|r| r == path);
    let count = flip_every_byte(&whole, |at| vec![1 << (at % 8)], chosen, accepted);
    assert!(count > 3_000, "{count}");
}
