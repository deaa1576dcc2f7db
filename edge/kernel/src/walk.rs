//! The walk that runs everywhere: eight blocks in flight, no branch on the data.
//!
//! A walk down a block is a chain of loads, each waiting for the one before; eight independent chains keep the core
//! busy.

use crate::layout::{Block, CELLS, LANES, Layout, WIDTH};

/// Adds every tree's leaf for one coded row to `sums`, one for each output.
///
/// * `slots`: where the row comes out of each of eight blocks; the flag says that they stand side by side.
pub(crate) fn walk(layout: &Layout, slots: &dyn Fn(&[usize; WIDTH], bool) -> [usize; WIDTH], sums: &mut [i32]) {
    for group in &layout.groups {
        let end = group.first + group.count;
        let mut sum = 0;
        for first in (group.first..end).step_by(WIDTH) {
            let mut at: [usize; WIDTH] = core::array::from_fn(|seat| first as usize + seat);
            for pass in 0..group.passes {
                let slots = slots(&at, pass == 0);
                for (at, slot) in at.iter_mut().zip(slots) {
                    let found = layout.slots[*at][slot];
                    match group.output {
                        Some(_) => sum += found,
                        None => {
                            let rows = &layout.rows[found as usize..][..layout.chunks];
                            for (sums, lanes) in sums.chunks_mut(LANES).zip(rows) {
                                for (sum, steps) in sums.iter_mut().zip(lanes.0) {
                                    *sum += steps;
                                }
                            }
                        }
                    }
                    if group.passes > 1 {
                        *at = layout.links[*at][slot] as usize;
                    }
                }
            }
        }
        if let Some(output) = group.output {
            sums[output as usize] += sum;
        }
    }
}

/// Where a row comes out of each of eight blocks. `row` gives the code of a column.
#[inline(always)]
pub(crate) fn slots<C: Copy + Ord>(
    blocks: &[Block<C>],
    at: &[usize; WIDTH],
    together: bool,
    depth: u32,
    row: impl Fn(C) -> C,
) -> [usize; WIDTH] {
    let copied;
    let blocks: &[Block<C>; WIDTH] = if together {
        blocks[at[0]..].first_chunk().expect("groups are whole eights")
    } else {
        copied = at.map(|at| blocks[at]);
        &copied
    };
    let mut at = [1usize; WIDTH];
    for _ in 0..depth {
        for (at, block) in at.iter_mut().zip(blocks) {
            // Always inside: `depth` steps end above the last level. The mask tells the compiler so.
            let cell = *at & (CELLS - 1);
            *at = 2 * *at + usize::from(row(block.column[cell]) > block.code[cell]);
        }
    }
    at.map(|at| (at - (1 << depth)) & (CELLS - 1))
}
