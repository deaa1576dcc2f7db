//! Reader and kernel behind three C functions, without the standard library.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};

use plimsoll_kernel::{File, Kernel};

/// `n` bytes of 8, for a file or a row.
#[unsafe(no_mangle)]
pub extern "C" fn room(n: usize) -> *mut u64 {
    Vec::leak(alloc::vec![0u64; n.div_ceil(8)]).as_mut_ptr()
}

/// A kernel, or null when the file is refused.
///
/// # Safety
/// `n` bytes are at `bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn load(bytes: *const u8, n: usize) -> *mut Kernel {
    // SAFETY: the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(bytes, n) };
    let kernel = File::read(bytes).and_then(|file| Kernel::new(&file.ensemble.forest));
    kernel.map_or(core::ptr::null_mut(), |kernel| Box::into_raw(Box::new(kernel)))
}

/// Evaluates `n` numbers of rows of `columns` into `steps`.
///
/// # Safety
/// `kernel` is of [`load`], `n` floats are at `rows` and room for every answer is at `steps`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evaluate(kernel: &Kernel, rows: *const f32, n: usize, columns: usize, steps: *mut i32) {
    // SAFETY: the caller's promise.
    let (rows, steps) = unsafe {
        let count = n / columns * kernel.outputs();
        (core::slice::from_raw_parts(rows, n), core::slice::from_raw_parts_mut(steps, count))
    };
    kernel.evaluate_rows(rows, columns, steps);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    {
        unsafe extern "C" {
            fn abort() -> !;
        }
        // SAFETY: it does not come back.
        unsafe { abort() }
    }
}

struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

#[cfg(not(target_arch = "wasm32"))]
mod libc {
    #[link(name = "c")]
    unsafe extern "C" {
        pub(crate) fn aligned_alloc(align: usize, size: usize) -> *mut u8;
        pub(crate) fn free(at: *mut u8);
    }
}

#[cfg(not(target_arch = "wasm32"))]
// SAFETY: the C library's allocator, asked for whole multiples of the alignment.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let align = layout.align().max(16);
        unsafe { libc::aligned_alloc(align, layout.size().next_multiple_of(align)) }
    }

    unsafe fn dealloc(&self, at: *mut u8, _: Layout) {
        unsafe { libc::free(at) }
    }
}

#[cfg(target_arch = "wasm32")]
// SAFETY: memory only grows, one thread; what was handed out is never handed out again.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        use core::arch::wasm32::{memory_grow, memory_size};
        use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
        const PAGE: usize = 1 << 16;
        static FREE: AtomicUsize = AtomicUsize::new(0);
        if FREE.load(Relaxed) == 0 {
            FREE.store(memory_size(0) * PAGE, Relaxed);
        }
        let at = FREE.load(Relaxed).next_multiple_of(layout.align());
        let end = at + layout.size();
        let there = memory_size(0) * PAGE;
        if end > there && memory_grow(0, (end - there).div_ceil(PAGE)) == usize::MAX {
            return core::ptr::null_mut();
        }
        FREE.store(end, Relaxed);
        at as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
