//! Hostile metadata: raw bytes in the place of one file, or anything at all under the signatures of its role.
//!
//! Whatever is accepted must be accepted again, and must not fall below the floors it started from.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use plimsoll_edge::Evaluator;
use plimsoll_edge::trust::{Floors, Role, TrustedRoot, audit, verify};
use plimsoll_fuzz as _;
use serde_json::Value;

#[path = "../../edge/tests/signer/mod.rs"]
#[allow(dead_code)] // the edge's tests use all of it
mod signer;

use signer::{Files, MODEL_ID, NOW, Order, Publisher};

fn repository() -> (Publisher, Files) {
    let mut publisher = Publisher::new();
    publisher.release(&Order::version(1));
    let files = publisher.release(&Order::version(2));
    (publisher, files)
}

struct World {
    root: TrustedRoot,
    files: Files,
    floors: Floors,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (publisher, files) = repository();
    let root = publisher.root();
    let verified = verify(&files, &root, &Floors::default(), NOW, Some(MODEL_ID)).expect("good");
    World { root, floors: verified.floors().clone(), files }
});

const NAMES: [&str; 4] =
    ["metadata/1.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json", "metadata/2.targets.json"];

const ROLES: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

fuzz_target!(|data: &[u8]| {
    let [how, rest @ ..] = data else { return };
    let world = &*WORLD;
    let mut files = world.files.clone();
    let name = NAMES[usize::from(how & 3)];
    match how >> 2 & 3 {
        0 => {
            files.insert(name.to_owned(), rest.to_vec());
            if name.ends_with("root.json") {
                // The pinned root is hostile too: an app could be built with it.
                let Ok(root) = TrustedRoot::from_bytes(rest) else { return };
                let _ = verify(&files, &root, &Floors::default(), NOW, None);
                return;
            }
        }
        1 => {
            // Signed by the right keys, whatever it says: a stolen key.
            let Ok(signed) = serde_json::from_slice::<Value>(rest) else { return };
            let Some(forged) = repository().0.forge(ROLES[usize::from(how & 3)], signed) else { return };
            files = forged;
        }
        2 => {
            // A root that follows.
            files.insert("metadata/2.root.json".to_owned(), rest.to_vec());
        }
        _ => {
            let Ok(signed) = serde_json::from_slice::<Value>(rest) else { return };
            let Some(forged) = repository().0.forge("root", signed) else { return };
            files = forged;
        }
    }
    for floors in [&Floors::default(), &world.floors] {
        if let Ok(verified) = verify(&files, &world.root, floors, NOW, Some(MODEL_ID)) {
            let again = verify(&files, &world.root, verified.floors(), NOW, Some(MODEL_ID));
            assert_eq!(again.as_ref().map(|v| v.model_sha256()), Ok(verified.model_sha256()));
            let newer_root = verified.floors().version(Role::Root) > floors.version(Role::Root);
            for role in [Role::Timestamp, Role::Snapshot, Role::Targets] {
                // A new root may replace keys, and then their floors are forgotten.
                assert!(newer_root || verified.floors().version(role) >= floors.version(role), "{role}");
            }
            let _ = Evaluator::new(&verified);
        }
    }
    let _ = audit(&files, &world.root, &Floors::default(), NOW);
});
