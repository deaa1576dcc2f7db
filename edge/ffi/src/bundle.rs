//! A repository that the caller puts together, file by file.

use plimsoll_edge::trust;
use plimsoll_edge::wire::Refused;

use crate::bytes::{Bytes, lent};
use crate::guard::{Failure, Status, guarded};

/// Files by path. Nothing in it is believed before `plimsoll_open` has verified it.
pub struct Bundle(pub(crate) trust::Bundle);

/// An empty bundle, to be given back to `plimsoll_bundle_free`.
#[unsafe(no_mangle)]
pub extern "C" fn plimsoll_bundle_new() -> *mut Bundle {
    Box::into_raw(Box::new(Bundle(trust::Bundle::default())))
}

/// Puts a copy of a file into a bundle; one of the same path is replaced.
///
/// `path`: in the repository, such as `metadata/timestamp.json`; UTF-8. The answer is no bytes.
///
/// # Safety
/// `bundle` is null or from `plimsoll_bundle_new` and not freed; `path` and `data` are readable for their lengths;
/// `answer` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_bundle_add(
    bundle: *mut Bundle,
    path: *const u8,
    path_len: usize,
    data: *const u8,
    data_len: usize,
    answer: *mut Bytes,
) -> Status {
    let call = || {
        // SAFETY: null or a live bundle that nobody else uses now.
        let bundle = unsafe { bundle.as_mut() }.ok_or(Failure::Argument("bundle"))?;
        // SAFETY: readable for its length.
        let path = unsafe { lent(path, path_len) }.ok_or(Failure::Argument("path"))?;
        let path = str::from_utf8(path).map_err(|_| Failure::Argument("path"))?;
        // SAFETY: readable for its length.
        let data = unsafe { lent(data, data_len) }.ok_or(Failure::Argument("data"))?;
        bundle.0.add(path, data.to_vec()).map_err(|full| {
            let reason = full.to_string();
            Failure::Edge(Refused::Request { what: "bundle".to_owned(), reason })
        })?;
        Ok(Vec::new())
    };
    // SAFETY: null or writable.
    unsafe { guarded(answer, call) }
}

/// Frees a bundle. Null is fine. Evaluators that were opened from it stay.
///
/// # Safety
/// `bundle` is null or from `plimsoll_bundle_new`, and is freed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_bundle_free(bundle: *mut Bundle) {
    if !bundle.is_null() {
        // SAFETY: made by `Box::into_raw`, and freed once.
        drop(unsafe { Box::from_raw(bundle) });
    }
}
