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
use crate::layout::{Block, CELLS, LANES, Lanes, Layout, WIDTH};

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
    pub(crate) fn rows(
        self,
        coder: &Coder,
        layout: &Layout,
        blocks: &[Block<u8>],
        rows: &[f32],
        columns: usize,
        steps: &mut [i32],
    ) {
        // SAFETY: `self` proves that the processor has every feature that `many` is compiled for.
        unsafe {
            match layout.depth {
                6 => many::<6>(coder, layout, blocks, rows, columns, steps),
                5 => many::<5>(coder, layout, blocks, rows, columns, steps),
                4 => many::<4>(coder, layout, blocks, rows, columns, steps),
                3 => many::<3>(coder, layout, blocks, rows, columns, steps),
                2 => many::<2>(coder, layout, blocks, rows, columns, steps),
                _ => many::<1>(coder, layout, blocks, rows, columns, steps),
            }
        }
    }
}

/// Whole batches at once where the forest allows it, the rest row by row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
fn many<const DEPTH: u32>(
    coder: &Coder,
    layout: &Layout,
    blocks: &[Block<u8>],
    mut rows: &[f32],
    columns: usize,
    mut steps: &mut [i32],
) {
    let outputs = layout.base.len();
    if rows.len() >= BATCH * columns && flat(layout) {
        let mut codes: Columns = [[0; BATCH]; COLUMNS_MAX];
        while let Some((these, rest)) = rows.split_at_checked(BATCH * columns) {
            for (ix, row) in these.chunks_exact(columns).enumerate() {
                code(coder, row, |column, code| codes[column & (COLUMNS_MAX - 1)][ix & (BATCH - 1)] = code);
            }
            let (now, later) = steps.split_at_mut(BATCH * outputs);
            batch::<DEPTH>(layout, blocks, &codes, now);
            (rows, steps) = (rest, later);
        }
    }
    for (row, steps) in rows.chunks_exact(columns).zip(steps.chunks_exact_mut(outputs)) {
        one::<DEPTH>(coder, layout, blocks, row, steps);
    }
}

/// The codes of one row: of its first 64 columns and of the next.
#[derive(Clone, Copy)]
struct Codes(__m512i, __m512i);

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
#[inline]
fn code(coder: &Coder, row: &[f32], mut put: impl FnMut(usize, u8)) {
    for (ix, (column, pivots)) in coder.columns.iter().zip(&coder.pivots).enumerate() {
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
        put(ix, (at + (u32::from(above) & 0x7fff).count_ones()) as u8);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
#[inline]
fn codes(coder: &Coder, row: &[f32]) -> Codes {
    let mut codes = [0u8; COLUMNS_MAX];
    code(coder, row, |column, code| codes[column & (COLUMNS_MAX - 1)] = code);
    let (low, high) = codes.split_at(CELLS);
    let half = |half: &[u8]| load(half.first_chunk().expect("half of 128 is 64"));
    Codes(half(low), half(high))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
fn one<const DEPTH: u32>(coder: &Coder, layout: &Layout, blocks: &[Block<u8>], row: &[f32], steps: &mut [i32]) {
    let codes = codes(coder, row);
    if coder.columns.len() <= CELLS {
        groups::<DEPTH, false>(layout, blocks, codes, steps);
    } else {
        groups::<DEPTH, true>(layout, blocks, codes, steps);
    }
}

/// Which cells of a block the row goes high in.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
#[inline]
fn highs<const WIDE: bool>(block: &Block<u8>, codes: Codes) -> u64 {
    let column = load(&block.column);
    let row = if WIDE {
        _mm512_permutex2var_epi8(codes.0, column, codes.1)
    } else {
        _mm512_permutexvar_epi8(column, codes.0)
    };
    _mm512_cmpgt_epu8_mask(row, load(&block.code))
}

/// Where the row comes out of a block.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
#[inline]
fn slot<const DEPTH: u32, const WIDE: bool>(block: &Block<u8>, codes: Codes) -> usize {
    let high = highs::<WIDE>(block, codes);
    let mut at = 1u64;
    for _ in 0..DEPTH {
        at = 2 * at + (high >> (at & 63) & 1);
    }
    (at as usize) & ((1 << DEPTH) - 1)
}

/// Blocks whose comparisons are kept before their walks begin: by then the stores have left the store buffer, and loads
/// of eight do not wait for them.
const AHEAD: usize = 64;

/// Gives `each` what is in the slot that the row comes out of, for blocks side by side, a multiple of eight.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
#[inline]
fn found<const DEPTH: u32, const WIDE: bool>(
    blocks: &[Block<u8>],
    slots: &[[i32; CELLS]],
    codes: Codes,
    mut each: impl FnMut(i32),
) {
    let one = _mm512_set1_epi64(1);
    let mut high = [0u64; AHEAD];
    for (blocks, slots) in blocks.chunks(AHEAD).zip(slots.chunks(AHEAD)) {
        for (block, high) in blocks.iter().zip(&mut high) {
            *high = highs::<WIDE>(block, codes);
        }
        for (slots, high) in slots.as_chunks::<WIDTH>().0.iter().zip(high.as_chunks::<WIDTH>().0) {
            // SAFETY: eight u64 are there, and this load asks for no alignment.
            let high = unsafe { _mm512_loadu_si512(high.as_ptr().cast()) };
            let mut at = one;
            for _ in 0..DEPTH {
                let bit = _mm512_srlv_epi64(high, at);
                // 2·at | (bit & 1)
                at = _mm512_ternarylogic_epi64::<0xf8>(_mm512_add_epi64(at, at), bit, one);
            }
            let mut out = [0u64; WIDTH];
            // SAFETY: room for eight u64; this store asks for no alignment.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), at) };
            for (slots, at) in slots.iter().zip(out) {
                each(slots[at as usize & ((1 << DEPTH) - 1)]);
            }
        }
    }
}

/// Rows of one batch: a byte of each in one register.
const BATCH: usize = 64;

/// Codes of a batch: for each column those of all rows.
type Columns = [[u8; BATCH]; COLUMNS_MAX];

/// Whether the batch path does all groups: one output each, no tree deeper than a block.
fn flat(layout: &Layout) -> bool {
    layout.groups.iter().all(|group| group.passes == 1 && group.output.is_some())
}

/// Sixty-four rows at once: every split is one comparison of a column of codes with one byte; the answers of a level
/// choose among the answers of the next.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
fn batch<const DEPTH: u32>(layout: &Layout, blocks: &[Block<u8>], codes: &Columns, steps: &mut [i32]) {
    let outputs = layout.base.len();
    for steps in steps.chunks_exact_mut(outputs) {
        steps.copy_from_slice(&layout.base);
    }
    for group in &layout.groups {
        let Some(output) = group.output else { continue };
        let range = group.first as usize..(group.first + group.count) as usize;
        let mut sums = [_mm512_setzero_si512(); BATCH / 16];
        for (block, slots) in blocks[range.clone()].iter().zip(&layout.slots[range]) {
            let mut high = [0u64; CELLS];
            for cell in 1..1 << DEPTH {
                let column = load(&codes[usize::from(block.column[cell]) & (COLUMNS_MAX - 1)]);
                high[cell] = _mm512_cmpgt_epu8_mask(column, _mm512_set1_epi8(block.code[cell] as i8));
            }
            // Level by level, the chosen answer is a bit of every row's slot, and halves the levels below.
            let mut slot = _mm512_setzero_si512();
            for level in 0..DEPTH {
                let chosen = high[1 << level];
                slot = _mm512_or_si512(slot, _mm512_maskz_set1_epi8(chosen, 1 << (DEPTH - 1 - level)));
                for below in level + 1..DEPTH {
                    // The subtree in use at this level has its cells at 2^below .. + 2^(below − level).
                    let (first, half) = (1usize << below, 1usize << (below - level - 1));
                    for cell in first..first + half {
                        let (low, high_side) = (high[cell], high[cell + half]);
                        high[cell] = low ^ ((low ^ high_side) & chosen);
                    }
                }
            }
            let table: [__m512i; 4] = core::array::from_fn(|quarter| {
                // SAFETY: sixteen of the block's 64 slots, and this load asks for no alignment.
                unsafe { _mm512_loadu_si512(slots[16 * quarter..].as_ptr().cast()) }
            });
            let upper = _mm512_set1_epi32(32);
            let quarters = [
                _mm512_castsi512_si128(slot),
                _mm512_extracti32x4_epi32::<1>(slot),
                _mm512_extracti32x4_epi32::<2>(slot),
                _mm512_extracti32x4_epi32::<3>(slot),
            ];
            for (sum, quarter) in sums.iter_mut().zip(quarters) {
                let at = _mm512_cvtepu8_epi32(quarter);
                let low = _mm512_permutex2var_epi32(table[0], at, table[1]);
                let found = if DEPTH == 6 {
                    let high = _mm512_permutex2var_epi32(table[2], at, table[3]);
                    _mm512_mask_blend_epi32(_mm512_test_epi32_mask(at, upper), low, high)
                } else {
                    low
                };
                *sum = _mm512_add_epi32(*sum, found);
            }
        }
        let mut all = [0i32; BATCH];
        for (sixteen, sum) in all.chunks_exact_mut(16).zip(sums) {
            // SAFETY: room for sixteen i32; this store asks for no alignment.
            unsafe { _mm512_storeu_si512(sixteen.as_mut_ptr().cast(), sum) };
        }
        for (steps, sum) in steps.chunks_exact_mut(outputs).zip(all) {
            steps[output as usize] += sum;
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,popcnt,bmi2")]
#[inline]
fn groups<const DEPTH: u32, const WIDE: bool>(layout: &Layout, blocks: &[Block<u8>], codes: Codes, steps: &mut [i32]) {
    let mut lanes = [_mm256_setzero_si256(); OUTPUTS_MAX / LANES];
    let lanes = &mut lanes[..layout.chunks];
    steps.copy_from_slice(&layout.base);
    for group in &layout.groups {
        let range = group.first as usize..(group.first + group.count) as usize;
        let mut sum = 0;
        match group.output {
            Some(_) if group.passes == 1 => {
                found::<DEPTH, WIDE>(&blocks[range.clone()], &layout.slots[range], codes, |steps| sum += steps);
            }
            None if group.passes == 1 && layout.chunks == 1 => {
                let mut eight = lanes[0];
                found::<DEPTH, WIDE>(&blocks[range.clone()], &layout.slots[range], codes, |row| {
                    eight = _mm256_add_epi32(eight, load_lanes(&layout.rows[row as usize]));
                });
                lanes[0] = eight;
            }
            _ => {
                for root in range {
                    let mut at = root;
                    for _ in 0..group.passes {
                        let slot = slot::<DEPTH, WIDE>(&blocks[at], codes);
                        let found = layout.slots[at][slot];
                        if group.output.is_some() {
                            sum += found;
                        } else {
                            for (lanes, row) in lanes.iter_mut().zip(&layout.rows[found as usize..]) {
                                *lanes = _mm256_add_epi32(*lanes, load_lanes(row));
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

#[target_feature(enable = "avx")]
#[inline]
fn load_lanes(lanes: &Lanes) -> __m256i {
    // SAFETY: eight i32, and the type is aligned to their 32 bytes.
    unsafe { _mm256_load_si256(lanes.0.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load_ps(floats: &[f32; PIVOTS]) -> __m512 {
    // SAFETY: sixteen floats are there, and this load asks for no alignment.
    unsafe { _mm512_loadu_ps(floats.as_ptr()) }
}
