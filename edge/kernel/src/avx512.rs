//! The walk on processors with AVX-512 (F, BW, VL, VBMI): a whole block is compared at once.
//!
//! ```text
//! codes of the row [64] u8 ─► vpermb by the block's columns ─► vpcmpub with its codes ─► u64: bit i = "cell i goes high"
//! 1 ─► 2·1 + bit 1 ─► … six shifts and tests ─► slot
//! ```
//!
//! Why unsafe: the instructions exist only on some processors, which [`Avx512`] proves at run time, and loads of 64
//! bytes take pointers, which here always come from arrays of that length.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use crate::code::{Coder, PIVOTS};
use crate::forest::OUTPUTS_MAX;
use crate::layout::{Block, CELLS, LANES, Layout};

/// Proof that this processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

/// Columns that two registers of codes hold.
const COLUMNS_MAX: usize = 128;

impl Avx512 {
    /// The proof, when there is one and the forest's columns fit.
    pub(crate) fn fits(coder: &Coder) -> Option<Self> {
        let has = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512vbmi")
            && std::is_x86_feature_detected!("popcnt")
            && std::is_x86_feature_detected!("bmi2");
        (has && coder.narrow && coder.columns.len() <= COLUMNS_MAX).then_some(Self(()))
    }

    /// Evaluates whole rows of `columns` numbers, at least the forest's.
    pub(crate) fn rows(self, coder: &Coder, layout: &Layout<u8>, rows: &[f32], columns: usize, steps: &mut [i32]) {
        let outputs = layout.base.len();
        for (row, steps) in rows.chunks_exact(columns).zip(steps.chunks_exact_mut(outputs)) {
            // SAFETY: `self` proves that the processor has every feature that `one` is compiled for.
            unsafe {
                match layout.depth {
                    6 => one::<6>(coder, layout, row, steps),
                    5 => one::<5>(coder, layout, row, steps),
                    4 => one::<4>(coder, layout, row, steps),
                    3 => one::<3>(coder, layout, row, steps),
                    2 => one::<2>(coder, layout, row, steps),
                    _ => one::<1>(coder, layout, row, steps),
                }
            }
        }
    }
}

/// The codes of one row: of its first 64 columns and of the next.
#[derive(Clone, Copy)]
struct Codes(__m512i, __m512i);

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
#[inline]
fn code(coder: &Coder, row: &[f32]) -> Codes {
    let mut codes = [0u8; COLUMNS_MAX];
    for ((column, pivots), code) in coder.columns.iter().zip(&coder.pivots).zip(&mut codes) {
        let x = _mm512_set1_ps(row[column.feature as usize]);
        let sixteens = column.size.max(16) / 16;
        // NLE: "not less or equal", so NaN counts. The last pivot is infinite; without the mask NaN would pass it.
        let mut at = 0;
        if sixteens > 1 {
            let above = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(x, load_ps(pivots));
            at = 16 * (u32::from(above) & ((1 << (sixteens - 1)) - 1)).count_ones();
        }
        let first = (column.first + at) as usize;
        let sixteen = coder.thresholds[first..].first_chunk::<PIVOTS>().expect("columns are whole sixteens");
        let above = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(x, load_ps(sixteen));
        // The sixteenth is the pivot, which x did not pass, or infinite: again only NaN would count it.
        *code = (at + (u32::from(above) & 0x7fff).count_ones()) as u8;
    }
    let (low, high) = codes.split_at(CELLS);
    let half = |half: &[u8]| load(half.first_chunk().expect("half of 128 is 64"));
    Codes(half(low), half(high))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
fn one<const DEPTH: u32>(coder: &Coder, layout: &Layout<u8>, row: &[f32], steps: &mut [i32]) {
    let codes = code(coder, row);
    if coder.columns.len() <= CELLS {
        groups::<DEPTH, false>(layout, codes, steps);
    } else {
        groups::<DEPTH, true>(layout, codes, steps);
    }
}

/// Where the row comes out of a block.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
#[inline]
fn slot<const DEPTH: u32, const WIDE: bool>(block: &Block<u8>, codes: Codes) -> usize {
    let column = load(&block.column);
    let row = if WIDE {
        _mm512_permutex2var_epi8(codes.0, column, codes.1)
    } else {
        _mm512_permutexvar_epi8(column, codes.0)
    };
    let high = _mm512_cmpgt_epu8_mask(row, load(&block.code));
    let mut at = 1u64;
    for _ in 0..DEPTH {
        at = 2 * at + (high >> (at & 63) & 1);
    }
    (at as usize) & ((1 << DEPTH) - 1)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
#[inline]
fn groups<const DEPTH: u32, const WIDE: bool>(layout: &Layout<u8>, codes: Codes, steps: &mut [i32]) {
    let mut lanes = [_mm256_setzero_si256(); OUTPUTS_MAX / LANES];
    let lanes = &mut lanes[..layout.chunks];
    steps.copy_from_slice(&layout.base);
    for group in &layout.groups {
        let range = group.first as usize..(group.first + group.count) as usize;
        let mut sum = 0;
        match group.output {
            Some(_) if group.passes == 1 => {
                for (block, slots) in layout.blocks[range.clone()].iter().zip(&layout.slots[range]) {
                    sum += slots[slot::<DEPTH, WIDE>(block, codes)];
                }
            }
            _ => {
                for root in range {
                    let mut at = root;
                    for _ in 0..group.passes {
                        let slot = slot::<DEPTH, WIDE>(&layout.blocks[at], codes);
                        let found = layout.slots[at][slot];
                        if group.output.is_some() {
                            sum += found;
                        } else {
                            for (lanes, row) in lanes.iter_mut().zip(&layout.rows[found as usize..]) {
                                // SAFETY: eight i32, aligned to 32 bytes.
                                let row = unsafe { _mm256_load_si256(row.0.as_ptr().cast()) };
                                *lanes = _mm256_add_epi32(*lanes, row);
                            }
                        }
                        if group.passes > 1 {
                            at = layout.links[at][slot] as usize;
                        }
                    }
                }
            }
        }
        if let Some(output) = group.output {
            steps[output as usize] += sum;
        }
    }
    if !layout.rows.is_empty() {
        for (steps, lanes) in steps.chunks_mut(LANES).zip(lanes) {
            let mut eight = [0i32; LANES];
            // SAFETY: room for eight i32; this store asks for no alignment.
            unsafe { _mm256_storeu_si256(eight.as_mut_ptr().cast(), *lanes) };
            for (step, sum) in steps.iter_mut().zip(eight) {
                *step += sum;
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(bytes: &[u8; CELLS]) -> __m512i {
    // SAFETY: 64 bytes are there, and this load asks for no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_ps(floats: &[f32; PIVOTS]) -> __m512 {
    // SAFETY: sixteen floats are there, and this load asks for no alignment.
    unsafe { _mm512_loadu_ps(floats.as_ptr()) }
}
