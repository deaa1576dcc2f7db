//! One way through the border: no panic leaves, and every call says how it went.

use std::panic::{AssertUnwindSafe, catch_unwind};

use plimsoll_edge::wire::{self, Refused};

use crate::bytes::Bytes;

/// How a call went.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done; the answer is the result.
    Ok = 0,
    /// A pointer is null, a text is not UTF-8, a request is not the JSON that is asked for: the caller's mistake.
    BadArgument = 1,
    /// The release, or what it is asked about, is refused; what the caller had before still holds.
    Refused = 2,
    /// A bug in the library. Throw the handles of this call away.
    Panicked = 3,
}

/// Why a call fails: the status and the answer that explains it.
pub(crate) enum Failure {
    Argument(&'static str),
    Edge(Refused),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Edge(refused)
    }
}

impl Failure {
    fn told(self) -> (Status, Vec<u8>) {
        match self {
            Self::Argument(what) => {
                let refused = Refused::Request { what: what.to_owned(), reason: "is null or not usable".to_owned() };
                (Status::BadArgument, refused.to_json())
            }
            Self::Edge(refused @ Refused::Request { .. }) => (Status::BadArgument, refused.to_json()),
            Self::Edge(refused) => (Status::Refused, refused.to_json()),
        }
    }
}

/// Runs a call and sets its answer. Without a place for the answer nothing runs.
///
/// # Safety
/// `answer` is null or may be written to; what it held is not freed.
pub(crate) unsafe fn guarded(answer: *mut Bytes, call: impl FnOnce() -> Result<Vec<u8>, Failure>) -> Status {
    if answer.is_null() {
        return Status::BadArgument;
    }
    // What a call can leave half-done is a handle that it was making, and that is dropped here.
    let (status, bytes) = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(bytes)) => (Status::Ok, bytes),
        Ok(Err(failure)) => failure.told(),
        Err(_) => {
            let bug = wire::write(&std::collections::BTreeMap::from([
                ("code", "panicked"),
                ("message", "a bug in the library: please report it"),
            ]));
            (Status::Panicked, bug)
        }
    };
    // SAFETY: not null, and writable as the caller promises; `write` drops nothing that was there.
    unsafe { answer.write(Bytes::give(bytes)) };
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{lent, plimsoll_bytes_free};

    fn text(mut bytes: Bytes) -> String {
        // SAFETY: ours.
        let text = String::from_utf8(unsafe { lent(bytes.data, bytes.len) }.expect("lent").to_vec()).expect("UTF-8");
        // SAFETY: ours.
        unsafe { plimsoll_bytes_free(&mut bytes) };
        text
    }

    #[test]
    fn a_panic_does_not_leave_the_library() {
        let mut answer = Bytes::NONE;
        // SAFETY: a local.
        let status = unsafe { guarded(&mut answer, || panic!("this test panics on purpose")) };
        assert_eq!(status, Status::Panicked);
        assert!(text(answer).contains("panicked"));
    }

    #[test]
    fn without_a_place_for_the_answer_nothing_runs() {
        // SAFETY: null is allowed.
        let status = unsafe { guarded(std::ptr::null_mut(), || unreachable!("must not run")) };
        assert_eq!(status, Status::BadArgument);
    }
}
