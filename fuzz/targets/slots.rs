//! Hostile storage: any state and any slot, also under the right checksums. Only what was signed ever runs.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use plimsoll_edge::Slots;
use plimsoll_edge::slots::{PullBack, Running, Settings};
use plimsoll_edge::storage::crash::{CrashDisk, Image};
use plimsoll_fuzz as _;
use plimsoll_model::artifact::sha256_hex;
use serde_json::Value;

#[path = "../../edge/tests/signer/mod.rs"]
#[allow(dead_code)] // the edge's tests use all of it
mod signer;

use signer::{Files, MODEL_ID, NOW, Order, Publisher, policy};

struct World {
    repos: [Files; 3],
    settings: Settings,
    /// A device with version 2 active and version 1 kept.
    image: Image,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut publisher = Publisher::new();
    let repos = [1, 2, 3].map(|version| publisher.release(&Order::version(version)));
    let settings = Settings::new(publisher.root(), MODEL_ID, policy());
    let disk = CrashDisk::default();
    let mut slots = Slots::open(&disk, settings.clone(), NOW).expect("opens");
    for repo in &repos[..2] {
        slots.install(repo, NOW).expect("installs");
        for _ in 0..settings.trial.evaluations {
            slots.evaluated().expect("counts");
        }
    }
    drop(slots);
    World { repos, settings, image: disk.image() }
});

/// A state's JSON, and the state of it.
fn state(image: &Image) -> Value {
    let text = std::str::from_utf8(&image["slots"]).expect("text");
    serde_json::from_str(text.split_once('\n').expect("two lines").1).expect("JSON")
}

fn seal(json: &[u8]) -> Vec<u8> {
    let mut bytes = format!("plimsoll slots 1 {}\n", sha256_hex(json)).into_bytes();
    bytes.extend(json);
    bytes
}

fuzz_target!(|data: &[u8]| {
    let [how, rest @ ..] = data else { return };
    let world = &*WORLD;
    let mut image = world.image.clone();
    match how % 3 {
        0 => image.insert("slots".to_owned(), rest.into()),
        1 => image.insert("slots".to_owned(), seal(rest).into()),
        _ => {
            // A slot whose hash the state knows: whoever can write one can write the other.
            let mut state = state(&image);
            state["active"]["sha256"] = Value::String(sha256_hex(rest));
            image.insert("slots".to_owned(), seal(state.to_string().as_bytes()).into());
            image.insert("slot-b".to_owned(), rest.into())
        }
    };
    let disk = CrashDisk::of(image);
    let check = |slots: &Slots<&CrashDisk>| {
        if let Running::Model(evaluator) = slots.running(NOW) {
            assert!(matches!(evaluator.manifest().model_version, 1..=3));
        }
        assert!(serde_json::to_vec(&slots.report(NOW)).is_ok());
    };
    let mut slots = Slots::open(&disk, world.settings.clone(), NOW).expect("a disk in memory is read");
    check(&slots);
    let _ = slots.install(&world.repos[2], NOW);
    check(&slots);
    slots.evaluated().expect("a disk in memory is written");
    slots.pull_back(PullBack::Mismatch, NOW).expect("a disk in memory is written");
    check(&slots);
    drop(slots);
    check(&Slots::open(&disk, world.settings.clone(), NOW).expect("it reads what it wrote"));
});
