//! A device under test, over a disk that loses power on demand.

use plimsoll_edge::Slots;
use plimsoll_edge::slots::{FloorReason, Installed, Running, Settings, Trial};
use plimsoll_edge::storage::Storage;
use plimsoll_edge::storage::crash::{CrashDisk, Image};
use plimsoll_edge::trust::TrustedRoot;
use plimsoll_model::UtcSeconds;

use crate::signer::{Files, MODEL_ID, NOW, Order, Publisher, policy};

/// Evaluations of a trial.
pub(crate) const EVALUATIONS: u32 = 2;
/// Loads that may fail in a trial.
pub(crate) const LOADS: u32 = 3;

pub(crate) fn settings(root: TrustedRoot) -> Settings {
    let trial = Trial { evaluations: EVALUATIONS, loads: LOADS };
    Settings { trial, ..Settings::new(root, MODEL_ID, policy()) }
}

pub(crate) fn open_at<S: Storage>(storage: S, wall: UtcSeconds) -> Slots<S> {
    Slots::open(storage, settings(Publisher::new().root()), wall).expect("opens")
}

pub(crate) fn open<S: Storage>(storage: S) -> Slots<S> {
    open_at(storage, NOW)
}

/// Repositories after the releases 1, 2, 3, …
pub(crate) fn releases(count: u64) -> Vec<Files> {
    let mut publisher = Publisher::new();
    (1..=count).map(|version| publisher.release(&Order::version(version))).collect()
}

#[track_caller]
pub(crate) fn install<S: Storage>(slots: &mut Slots<S>, repo: &Files) {
    let installed = slots.install(repo, NOW).expect("installs");
    assert!(matches!(installed, Installed::Activated { .. }), "{installed:?}");
}

pub(crate) fn pass_trial<S: Storage>(slots: &mut Slots<S>) {
    for _ in 0..EVALUATIONS {
        slots.evaluated().expect("counts");
    }
}

/// The version that runs, or why none does.
pub(crate) fn runs_at<S: Storage>(slots: &Slots<S>, wall: UtcSeconds) -> Result<u64, FloorReason> {
    match slots.running(wall) {
        Running::Model(evaluator) => Ok(evaluator.manifest().model_version),
        Running::Floor { reason, .. } => Err(reason),
    }
}

pub(crate) fn runs<S: Storage>(slots: &Slots<S>) -> Result<u64, FloorReason> {
    runs_at(slots, NOW)
}

/// The reason codes kept for the next sync.
pub(crate) fn codes<S: Storage>(slots: &Slots<S>) -> Vec<String> {
    slots.report(NOW).events.into_iter().map(|event| event.code).collect()
}

/// A disk with version 1 past its trial, and what comes on top of it.
pub(crate) fn disk_with(repos: &[Files]) -> Image {
    let disk = CrashDisk::default();
    let mut slots = open(&disk);
    for repo in repos {
        install(&mut slots, repo);
        pass_trial(&mut slots);
    }
    disk.image()
}
