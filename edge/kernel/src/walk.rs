//! The walk that runs everywhere: eight blocks in flight, no branch on the data.
//!
//! A walk down a block is a chain of loads, each waiting for the one before; eight independent chains keep the core
//! busy.

use crate::layout::{Block, CELLS, Code, LANES, Layout, WIDTH};

/// Adds every tree's leaf for one coded row to `sums`, one for each output.
pub(crate) fn walk<C: Code>(layout: &Layout<C>, row: impl Fn(C) -> C + Copy, sums: &mut [i32]) {
    for group in &layout.groups {
        let end = group.first + group.count;
        let mut sum = 0;
        for first in (group.first..end).step_by(WIDTH) {
            let first = first as usize;
            let mut at: [usize; WIDTH] = core::array::from_fn(|seat| first + seat);
            for pass in 0..group.passes {
                let slots = if pass == 0 {
                    let blocks = layout.blocks[first..].first_chunk().expect("groups are whole eights");
                    slots(blocks, layout.depth, row)
                } else {
                    slots(&at.map(|at| layout.blocks[at]), layout.depth, row)
                };
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

/// Where a row comes out of each of eight blocks.
#[inline(always)]
fn slots<C: Code>(blocks: &[Block<C>; WIDTH], depth: u32, row: impl Fn(C) -> C) -> [usize; WIDTH] {
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
