//! Tree ensembles out of ONNX bytes, walked fast, on anything: no standard library, no dependency, no clock, no I/O.
//!
//! ```text
//! bytes ─► onnx::File ─► Forest ─► Kernel ─► row [F] f32 ─► codes ─► slots ─► steps [outputs] i32
//!          refuses what   checked   laid      what the      one byte  one for   1 = 2⁻²⁰
//!          it knows not   nodes     out       trees read    a column  a block
//! ```
//!
//! Three rules make every conforming runtime agree to the bit: leaves are whole steps of 2⁻²⁰ and no sum reaches
//! 2²⁴ of them, so a `float32` sum is exact in any order; a split sends `x ≤ threshold` low and everything else
//! high; NaN is not `≤` anything, so it goes high.

#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod refuse;

pub mod forest;

mod wire;

pub mod onnx;

mod code;

mod layout;

mod walk;

#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod avx512;

mod kernel;

pub use forest::Forest;
pub use kernel::Kernel;
pub use onnx::File;
pub use refuse::Refused;
