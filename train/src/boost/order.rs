//! Which leaves of a tree may not say more than which others: what keeps monotone constraints.
//!
//! Two leaves are in order when one lies before the other along a constrained column and the two share a point in all
//! other columns: then a row can go from one to the other by that column alone. A tree without such a pair in the wrong
//! order is monotone, missing values included, since they are the top of every axis. Cuts go through the whole of their
//! part of the space, so pairs never form a ring.

use plimsoll_model::monotone::Direction;

use super::grow::{Cell, Grown, Steps};

/// Pairs of leaves: the first may not say more than the second.
pub(super) struct LeafOrder(Vec<(u32, u32)>);

/// The codes that a leaf holds of each column that its tree splits on: from the first up to but without the second.
type LeafBox = Vec<(u16, u16)>;

impl LeafOrder {
    /// The order that constraints on columns put the leaves of a tree in.
    pub(super) fn of(grown: &Grown, monotone: &[(usize, Direction)]) -> Self {
        let mut columns: Vec<u16> = Vec::new();
        for cell in &grown.cells {
            if let Cell::Split { feature, .. } = cell {
                columns.push(*feature);
            }
        }
        columns.sort_unstable();
        columns.dedup();
        let at = |column: usize| columns.iter().position(|c| usize::from(*c) == column);
        let constrained: Vec<(usize, Direction)> =
            monotone.iter().filter_map(|(column, direction)| Some((at(*column)?, *direction))).collect();
        if constrained.is_empty() {
            return Self(Vec::new());
        }

        let mut boxes: Vec<LeafBox> = vec![Vec::new(); grown.leaves.len()];
        let mut open = vec![(0u32, vec![(0u16, u16::MAX); columns.len()])];
        while let Some((cell, region)) = open.pop() {
            match grown.cells[cell as usize] {
                Cell::Leaf(leaf) => boxes[leaf as usize] = region,
                Cell::Split { feature, bin, low, high } => {
                    let column = at(usize::from(feature)).expect("every column that is split on was listed");
                    let (mut below, mut above) = (region.clone(), region);
                    below[column].1 = u16::from(bin) + 1;
                    above[column].0 = u16::from(bin) + 1;
                    open.extend([(low, below), (high, above)]);
                }
            }
        }
        let mut pairs = Vec::new();
        for (near, near_box) in boxes.iter().enumerate() {
            for (far, far_box) in boxes.iter().enumerate() {
                for (column, direction) in &constrained {
                    if near_box[*column].1 <= far_box[*column].0 && meet_beside(near_box, far_box, *column) {
                        pairs.push(match direction {
                            Direction::Increasing => (near as u32, far as u32),
                            Direction::Decreasing => (far as u32, near as u32),
                        });
                    }
                }
            }
        }
        Self(pairs)
    }

    /// Puts what leaves say in order. Each says the middle between the most that any leaf before it says and the least
    /// that any after it says: itself, where nothing is wrong; and of two leaves in order the second has the larger
    /// of both.
    pub(super) fn keep(&self, said: &mut [Steps], outputs: usize) {
        if self.0.iter().all(|(less, more)| (0..outputs).all(|o| said[*less as usize][o] <= said[*more as usize][o])) {
            return;
        }
        let (mut most, mut least) = (said.to_vec(), said.to_vec());
        let mut changed = true;
        while changed {
            changed = false;
            for (less, more) in &self.0 {
                let (less, more) = (*less as usize, *more as usize);
                for output in 0..outputs {
                    if most[less][output] > most[more][output] {
                        most[more][output] = most[less][output];
                        changed = true;
                    }
                    if least[more][output] < least[less][output] {
                        least[less][output] = least[more][output];
                        changed = true;
                    }
                }
            }
        }
        for ((said, most), least) in said.iter_mut().zip(&most).zip(&least) {
            for output in 0..outputs {
                said[output] = (i64::from(most[output]) + i64::from(least[output])).div_euclid(2) as i32;
            }
        }
    }
}

fn meet_beside(one: &[(u16, u16)], other: &[(u16, u16)], column: usize) -> bool {
    let meet = |(a, b): (&(u16, u16), &(u16, u16))| a.0.max(b.0) < a.1.min(b.1);
    one.iter().zip(other).enumerate().all(|(c, pair)| c == column || meet(pair))
}
