//! From a bundle to a model that may decide, and its decisions.

use plimsoll_edge::wire;

use crate::bundle::Bundle;
use crate::bytes::{Bytes, lent};
use crate::guard::{Failure, Status, guarded};

/// A model whose signatures were verified and whose golden vectors passed.
pub struct Evaluator(plimsoll_edge::Evaluator);

/// Verifies the release in a bundle, checks it against this engine, and runs its golden vectors.
///
/// `root`: the pinned root, the bytes of its file. `terms`: JSON, `{"now": UTC seconds}`, and if wanted `"floors"` (as
/// the last answer said) and `"model_id"`. On `PLIMSOLL_STATUS_OK`, `evaluator` is set, to be given back to
/// `plimsoll_evaluator_free`, and the answer says what was opened; otherwise `evaluator` is set to null.
///
/// # Safety
/// `bundle` is null or from `plimsoll_bundle_new` and not freed; `root` and `terms` are readable for their lengths;
/// `evaluator` and `answer` are null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_open(
    bundle: *const Bundle,
    root: *const u8,
    root_len: usize,
    terms: *const u8,
    terms_len: usize,
    evaluator: *mut *mut Evaluator,
    answer: *mut Bytes,
) -> Status {
    if evaluator.is_null() {
        // SAFETY: null or writable.
        return unsafe { guarded(answer, || Err(Failure::Argument("evaluator"))) };
    }
    // SAFETY: not null, so writable.
    unsafe { evaluator.write(std::ptr::null_mut()) };
    let call = || {
        // SAFETY: null or a live bundle.
        let bundle = unsafe { bundle.as_ref() }.ok_or(Failure::Argument("bundle"))?;
        // SAFETY: readable for its length.
        let root = unsafe { lent(root, root_len) }.ok_or(Failure::Argument("root"))?;
        // SAFETY: readable for its length.
        let terms = unsafe { lent(terms, terms_len) }.ok_or(Failure::Argument("terms"))?;
        let (opened, says) = wire::open(&bundle.0, root, &wire::read("terms", terms)?)?;
        let says = wire::write(&says);
        let opened = Box::into_raw(Box::new(Evaluator(opened)));
        // SAFETY: not null, so writable. The last step, so a handle is given only with `Ok`.
        unsafe { evaluator.write(opened) };
        Ok(says)
    };
    // SAFETY: null or writable.
    unsafe { guarded(answer, call) }
}

/// What an account may spend offline: `question` and answer are JSON, see `plimsoll_edge::wire`.
///
/// # Safety
/// `evaluator` is null or from `plimsoll_open` and not freed; `question` is readable for its length; `answer` is null
/// or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_evaluate(
    evaluator: *const Evaluator,
    question: *const u8,
    question_len: usize,
    answer: *mut Bytes,
) -> Status {
    let call = || {
        // SAFETY: null or a live evaluator.
        let evaluator = unsafe { evaluator.as_ref() }.ok_or(Failure::Argument("evaluator"))?;
        // SAFETY: readable for its length.
        let question = unsafe { lent(question, question_len) }.ok_or(Failure::Argument("question"))?;
        Ok(wire::write(&wire::answer(&evaluator.0, &wire::read("question", question)?)?))
    };
    // SAFETY: null or writable.
    unsafe { guarded(answer, call) }
}

/// Frees an evaluator. Null is fine.
///
/// # Safety
/// `evaluator` is null or from `plimsoll_open`, and is freed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_evaluator_free(evaluator: *mut Evaluator) {
    if !evaluator.is_null() {
        // SAFETY: made by `Box::into_raw`, and freed once.
        drop(unsafe { Box::from_raw(evaluator) });
    }
}
