//! Writes what a fuzzer starts from: one good input of every kind. `cargo run --release --example seeds -- corpus`

use std::fs;
use std::path::Path;

use plimsoll_fuzz::token::{ISSUER, KID, device, grant, issuer, parts, payment, request};
use plimsoll_model::grant::{Form, Grant, IssuerKeys, Signer as _};

#[path = "../../edge/tests/signer/mod.rs"]
#[allow(dead_code)] // the edge's tests use all of it
mod signer;

#[path = "../../edge/kernel/tests/proto/mod.rs"]
#[allow(dead_code)] // the kernel's tests use all of it
mod proto;

use plimsoll_edge::Slots;
use plimsoll_edge::slots::Settings;
use plimsoll_edge::storage::crash::CrashDisk;
use plimsoll_edge::wallet::{Identity, NoAnchor, Presence, Wallet};
use proto::{Graph, bytes, float_list, int, int_list, text_list};
use signer::{MODEL_ID, NOW, Order, Publisher, policy};

fn main() {
    let directory = std::env::args().nth(1).expect("seeds DIRECTORY");
    let save = |target: &str, name: &str, head: &[u8], bytes: &[u8]| {
        let target = Path::new(&directory).join(target);
        fs::create_dir_all(&target).expect("a directory");
        fs::write(target.join(name), [head, bytes].concat()).expect("writes");
    };
    let mut publisher = Publisher::new();
    let first = publisher.release(&Order::version(1));
    let files = publisher.release(&Order::version(2));
    let roles = [("root", "1.root"), ("timestamp", "timestamp"), ("snapshot", "2.snapshot"), ("targets", "2.targets")];
    for (ix, (role, name)) in (0u8..).zip(roles) {
        let bytes = &files[&format!("metadata/{name}.json")];
        save("metadata", &format!("{role}-raw"), &[ix], bytes);
        let whole: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        let signed = whole["signed"].to_string();
        save("metadata", &format!("{role}-signed"), &[ix | 4], signed.as_bytes());
    }
    publisher.rotate_online_key(NOW);
    let rotated = publisher.refresh(NOW);
    save("metadata", "next-root-raw", &[8], &rotated["metadata/2.root.json"]);
    let whole: serde_json::Value = serde_json::from_slice(&rotated["metadata/2.root.json"]).expect("JSON");
    save("metadata", "next-root-signed", &[12], whole["signed"].to_string().as_bytes());

    for (path, bytes) in &files {
        if path.ends_with(".onnx") {
            save("onnx", &format!("model-{}", bytes.len()), &[], bytes);
        }
    }

    for (name, graph) in [("regressor", regressor()), ("ensemble", ensemble())] {
        save("onnx", name, &[], &graph.encode(true));
        save("onnx", &format!("{name}-unpacked"), &[], &graph.encode(false));
    }

    for (form, name, how) in [(Form::Jws, "jws", 1), (Form::Cwt, "cwt", 2)] {
        let tokens = [
            ("grant", grant().sign(form, KID, &issuer()).expect("signs")),
            ("payment", payment().sign(form, &device()).expect("signs")),
        ];
        for (target, token) in tokens {
            let (header, claims) = parts(&token);
            save(target, &format!("{name}-token"), &[0], &token);
            save(target, &format!("{name}-claims"), &[how], &claims);
            let length = u8::try_from(header.len()).expect("a short header");
            save(target, &format!("{name}-header"), &[how + 2, length], &[header, claims].concat());
        }
        save("payment", &format!("{name}-request"), &[], &request().to_bytes(form));
    }

    let disk = CrashDisk::default();
    let settings = Settings::new(publisher.root(), MODEL_ID, policy());
    let mut slots = Slots::open(&disk, settings, NOW).expect("opens");
    slots.install(&first, NOW).expect("installs");
    slots.install(&files, NOW).expect("installs");
    let image = disk.image();
    save("slots", "state-raw", &[0], &image["slots"]);
    let json = image["slots"].iter().position(|b| *b == b'\n').expect("two lines") + 1;
    save("slots", "state-sealed", &[1], &image["slots"][json..]);
    save("slots", "slot", &[2], &image["slot-b"]);

    let disk = CrashDisk::default();
    let keys = IssuerKeys::new(ISSUER, [(KID.to_owned(), issuer().public())]).expect("one key");
    let ours = grant();
    let identity = Identity { account: ours.sub, programme: ours.aud, currency: ours.cur };
    let mut wallet = Wallet::open(&disk, NoAnchor, device(), identity, keys, [7; 16]).expect("opens");
    let ours = Grant { wid: wallet.status().wid, ..grant() };
    wallet.accept(&ours.sign(Form::Cwt, KID, &issuer()).expect("signs"), ours.iat).expect("accepts");
    let sealed = |name: &str| {
        let image = disk.image();
        save("wallet", &format!("{name}-raw"), &[0], &image["wallet"]);
        save("wallet", &format!("{name}-sealed"), &[1], &image["wallet"][..image["wallet"].len() - 32]);
    };
    sealed("granted");
    wallet.authorise(&request(), request().iat, Presence::Proved, None, Form::Cwt).expect("pays");
    sealed("paid");

    let terms = format!(r#"{{"now":{},"model_id":"{MODEL_ID}"}}"#, NOW.0);
    save("ffi", "terms", &[0, 0], terms.as_bytes());
    let question = r#"{"history":{"profile":PROFILE,"opening_minor":1000,"rows":[{"at":1795000000,"amount_minor":-500,
        "kind":"purchase"}],"at":1795219200}}"#;
    let profile = r#"{"opened_at":1700000000,"tier":2,"attested":true,"offset":480,"currency":"MYR/2"}"#;
    save("ffi", "question", &[1, 0], question.replace("PROFILE", profile).as_bytes());
    save("ffi", "root", &[2, 0], &files["metadata/1.root.json"]);
    save(
        "ffi",
        "file",
        &[3, 0, 23],
        [&b"metadata/timestamp.json"[..], &files["metadata/timestamp.json"]].concat().as_slice(),
    );
    for bit in 0..7 {
        save("ffi", &format!("null-{bit}"), &[3, 1 << bit, 1], b"abc");
    }
}

/// A stump in the operator that our models use, written by hand.
fn regressor() -> Graph {
    Graph::regressor(vec![
        int("n_targets", 2),
        int_list("nodes_treeids", &[0, 0, 0]),
        int_list("nodes_nodeids", &[0, 1, 2]),
        int_list("nodes_featureids", &[1, 0, 0]),
        float_list("nodes_values", &[0.25, 0.0, 0.0]),
        text_list("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
        int_list("nodes_truenodeids", &[1, 0, 0]),
        int_list("nodes_falsenodeids", &[2, 0, 0]),
        int_list("target_treeids", &[0, 0, 0]),
        int_list("target_nodeids", &[1, 1, 2]),
        int_list("target_ids", &[1, 0, 0]),
        float_list("target_weights", &[0.5, 0.25, -0.5]),
        float_list("base_values", &[0.0, 0.125]),
    ])
}

/// The operator of ai.onnx.ml 5.
fn ensemble() -> Graph {
    Graph::ensemble(vec![
        int("n_targets", 2),
        int("aggregate_function", 1),
        int("post_transform", 0),
        int_list("tree_roots", &[2, 1]),
        int_list("nodes_featureids", &[2, 0, 0]),
        bytes("nodes_splits", 1, 3, &[-1.0f32, 0.0, 1.0].map(f32::to_le_bytes).concat()),
        bytes("nodes_modes", 2, 3, &[0, 0, 0]),
        int_list("nodes_truenodeids", &[0, 3, 0]),
        int_list("nodes_trueleafs", &[1, 1, 0]),
        int_list("nodes_falsenodeids", &[1, 3, 2]),
        int_list("nodes_falseleafs", &[1, 1, 1]),
        int_list("leaf_targetids", &[0, 0, 0, 1]),
        bytes("leaf_weights", 1, 4, &[0.5f32, 0.25, -0.5, 0.125].map(f32::to_le_bytes).concat()),
    ])
}
