//! The C ABI with hostile arguments: every answer is JSON or nothing, every refusal a status, nothing leaks or crashes.
#![no_main]

use std::ptr;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use plimsoll_ffi::{
    Bytes, Status, plimsoll_bundle_add, plimsoll_bundle_free, plimsoll_bundle_new, plimsoll_bytes_free,
    plimsoll_evaluate, plimsoll_evaluator_free, plimsoll_open,
};
use plimsoll_fuzz as _;

#[path = "../../edge/tests/signer/mod.rs"]
#[allow(dead_code)] // the edge's tests use all of it
mod signer;

use signer::{Files, MODEL_ID, NOW, Order, Publisher};

struct World {
    root: Vec<u8>,
    files: Files,
    terms: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut publisher = Publisher::new();
    let files = publisher.release(&Order::version(1));
    let terms = format!(r#"{{"now":{},"model_id":"{MODEL_ID}"}}"#, NOW.0).into_bytes();
    World { root: publisher.root().bytes().to_vec(), files, terms }
});

/// A pointer and a length of bytes that are lent; null for none where `null` says so.
fn lend(bytes: &[u8], null: bool) -> (*const u8, usize) {
    if null { (ptr::null(), bytes.len()) } else { (bytes.as_ptr(), bytes.len()) }
}

/// Checks an answer and frees it.
fn answered(status: Status, answer: &mut Bytes) {
    assert!(!matches!(status, Status::Panicked));
    if !answer.data.is_null() {
        // SAFETY: the library set pointer and length.
        let bytes = unsafe { std::slice::from_raw_parts(answer.data, answer.len) };
        assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok());
    }
    // SAFETY: set by the library, freed once, and then none: freeing again is harmless.
    unsafe { plimsoll_bytes_free(answer) };
    // SAFETY: as above.
    unsafe { plimsoll_bytes_free(answer) };
}

fuzz_target!(|data: &[u8]| {
    let [how, nulls, rest @ ..] = data else { return };
    let world = &*WORLD;
    let null = |bit: u8| nulls >> bit & 1 == 1;
    let mut answer = Bytes::NONE;
    let bundle = plimsoll_bundle_new();
    let mut add = |path: &[u8], bytes: &[u8], absent: (bool, bool)| {
        let ((path, path_len), (data, data_len)) = (lend(path, absent.0), lend(bytes, absent.1));
        // SAFETY: the slices are readable for their lengths, or null.
        let status = unsafe { plimsoll_bundle_add(bundle, path, path_len, data, data_len, &mut answer) };
        answered(status, &mut answer);
    };
    for (path, bytes) in &world.files {
        add(path.as_bytes(), bytes, (false, false));
    }
    let (mut root, mut terms, mut question) = (&*world.root, &*world.terms, &b"{}"[..]);
    match how & 3 {
        0 => terms = rest,
        1 => question = rest,
        2 => root = rest,
        _ => {
            let (length, rest) = rest.split_first().unwrap_or((&0, &[]));
            let (path, bytes) = rest.split_at_checked(usize::from(*length)).unwrap_or((b"a", rest));
            add(path, bytes, (null(0), null(1)));
        }
    }
    let ((root, root_len), (terms, terms_len)) = (lend(root, null(2)), lend(terms, null(3)));
    let given = if null(4) { ptr::null_mut() } else { bundle };
    let mut evaluator = ptr::null_mut();
    let at = if null(5) { ptr::null_mut() } else { &raw mut evaluator };
    // SAFETY: the bundle is live or null, the slices are readable or null, the results writable or null.
    let status = unsafe { plimsoll_open(given, root, root_len, terms, terms_len, at, &mut answer) };
    answered(status, &mut answer);
    assert_eq!(matches!(status, Status::Ok), !evaluator.is_null(), "a handle exactly with Ok");
    let (question, question_len) = lend(question, null(6));
    // SAFETY: the evaluator is live or null, the slice readable or null.
    let status = unsafe { plimsoll_evaluate(evaluator, question, question_len, &mut answer) };
    answered(status, &mut answer);
    // SAFETY: made above, freed once.
    unsafe { plimsoll_evaluator_free(evaluator) };
    // SAFETY: made above, freed once.
    unsafe { plimsoll_bundle_free(bundle) };
});
