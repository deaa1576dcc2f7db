//! Bytes across the border: slices that are lent, and buffers that are given.

use std::alloc::{self, Layout};
use std::ptr;

/// Bytes that the library made and the caller gives back to `plimsoll_bytes_free`. Not terminated by a zero.
#[repr(C)]
#[derive(Debug)]
pub struct Bytes {
    /// The first byte; null when there are none.
    pub data: *mut u8,
    /// How many.
    pub len: usize,
}

impl Bytes {
    /// No bytes.
    pub const NONE: Self = Self { data: ptr::null_mut(), len: 0 };

    /// Gives bytes away.
    pub(crate) fn give(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() {
            return Self::NONE;
        }
        let bytes = Box::leak(bytes.into_boxed_slice());
        Self { data: bytes.as_mut_ptr(), len: bytes.len() }
    }

    /// Takes given bytes back; leaves none.
    ///
    /// # Safety
    /// They come from [`Bytes::give`], and were not taken back before.
    unsafe fn take(&mut self) -> Box<[u8]> {
        let given = std::mem::replace(self, Self::NONE);
        if given.data.is_null() {
            return Box::default();
        }
        // SAFETY: `give` leaked a boxed slice of exactly this pointer and length.
        unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(given.data, given.len)) }
    }
}

/// The bytes a caller lends; `None` for null with a length, or for more than memory can hold.
///
/// # Safety
/// `data` is null, or readable for `len` bytes while `'a` lasts, and nobody writes to it then.
pub(crate) unsafe fn lent<'a>(data: *const u8, len: usize) -> Option<&'a [u8]> {
    if len == 0 {
        return Some(&[]);
    }
    if data.is_null() || isize::try_from(len).is_err() {
        return None;
    }
    // SAFETY: not null, at most `isize::MAX` bytes, and readable as the caller promises.
    Some(unsafe { std::slice::from_raw_parts(data, len) })
}

/// Frees bytes that the library made, and sets them to none. Null and no bytes are fine.
///
/// # Safety
/// `bytes` is null or points to bytes that this library set and that were not freed through another copy.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_bytes_free(bytes: *mut Bytes) {
    // SAFETY: the caller's promise: null or a valid struct.
    let Some(bytes) = (unsafe { bytes.as_mut() }) else { return };
    // SAFETY: the caller's promise: set by `Bytes::give`, and freeing sets it to none.
    drop(unsafe { bytes.take() });
}

/// Makes room for `len` bytes, aligned for any struct of this library, for callers without an allocator of their own in
/// this memory (WebAssembly). Given back by `plimsoll_dealloc`. Null when `len` is 0 or there is no room.
#[unsafe(no_mangle)]
pub extern "C" fn plimsoll_alloc(len: usize) -> *mut u8 {
    match layout(len) {
        // SAFETY: the layout has at least one byte.
        Some(layout) => unsafe { alloc::alloc_zeroed(layout) },
        None => ptr::null_mut(),
    }
}

/// Frees room that `plimsoll_alloc` made. Null is fine.
///
/// # Safety
/// `room` is null or from `plimsoll_alloc(len)` with the same `len`, and is freed once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plimsoll_dealloc(room: *mut u8, len: usize) {
    if let Some(layout) = layout(len).filter(|_| !room.is_null()) {
        // SAFETY: allocated with this layout.
        unsafe { alloc::dealloc(room, layout) };
    }
}

fn layout(len: usize) -> Option<Layout> {
    if len == 0 { None } else { Layout::from_size_align(len, align_of::<u64>()).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_bytes_come_back_and_freeing_twice_through_the_same_struct_is_harmless() {
        let mut bytes = Bytes::give(vec![1, 2, 3]);
        // SAFETY: just given.
        assert_eq!(unsafe { lent(bytes.data, bytes.len) }, Some(&[1, 2, 3][..]));
        for _ in 0..2 {
            // SAFETY: ours, and set to none by the first call.
            unsafe { plimsoll_bytes_free(&mut bytes) };
            assert!(bytes.data.is_null() && bytes.len == 0);
        }
        // SAFETY: null is allowed.
        unsafe { plimsoll_bytes_free(ptr::null_mut()) };
    }

    #[test]
    fn null_with_a_length_is_not_read() {
        // SAFETY: null is allowed; the other is never read because its length is impossible.
        assert_eq!(unsafe { lent(ptr::null(), 1) }, None);
        // SAFETY: as above.
        assert_eq!(unsafe { lent(ptr::null(), 0) }, Some(&[][..]));
        // SAFETY: as above.
        assert_eq!(unsafe { lent(ptr::dangling(), usize::MAX) }, None);
    }

    #[test]
    fn room_is_zero_and_aligned_and_room_that_cannot_be_had_is_null() {
        assert!(plimsoll_alloc(usize::MAX).is_null());
        assert!(plimsoll_alloc(0).is_null());
        let room = plimsoll_alloc(17);
        assert!(room.cast::<u64>().is_aligned());
        // SAFETY: just made.
        assert_eq!(unsafe { lent(room, 17) }, Some(&[0; 17][..]));
        // SAFETY: ours.
        unsafe { plimsoll_dealloc(room, 17) };
        // SAFETY: null is allowed.
        unsafe { plimsoll_dealloc(ptr::null_mut(), 17) };
    }
}
