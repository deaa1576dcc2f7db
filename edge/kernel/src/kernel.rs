//! The kernel: a forest laid out, and rows in, steps out, by the fastest way this processor has.

use alloc::vec;
use alloc::vec::Vec;

use crate::code::Coder;
use crate::forest::{Forest, OUTPUTS_MAX};
use crate::layout::{Blocks, Layout};
use crate::refuse::Refused;
use crate::walk::{slots, walk};

/// A forest laid out for speed. Every way to evaluate it gives the same bits as [`Forest::evaluate`].
#[derive(Clone, Debug)]
pub struct Kernel {
    features: usize,
    outputs: usize,
    coder: Coder,
    layout: Layout,
    /// Found out once, when the forest was laid out.
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    avx512: Option<crate::avx512::Avx512>,
}

impl Kernel {
    /// Lays a forest out.
    ///
    /// # Errors
    /// [`Refused::TooLarge`] when the blocks would take more memory than any sensible model needs.
    pub fn new(forest: &Forest) -> Result<Self, Refused> {
        let parts = forest.parts();
        let (coder, splits) = Coder::new(parts)?;
        let layout = Layout::new(parts, &splits, coder.narrow)?;
        Ok(Self {
            features: forest.features(),
            outputs: forest.outputs(),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            avx512: crate::avx512::Avx512::fits(&coder),
            coder,
            layout,
        })
    }

    /// The same kernel without processor-specific instructions: for measuring, and for tests.
    #[must_use]
    pub fn portable(self) -> Self {
        Self {
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            avx512: None,
            ..self
        }
    }

    /// Which instructions evaluate it.
    pub const fn instructions(&self) -> &'static str {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if self.avx512.is_some() {
            return "avx512";
        }
        "portable"
    }

    /// Columns of a row.
    pub const fn features(&self) -> usize {
        self.features
    }

    /// Outputs.
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Trees that are walked: those of one structure count once, those without a split not at all.
    pub const fn walks(&self) -> usize {
        self.layout.walks
    }

    /// The steps of every output for one row.
    ///
    /// # Panics
    /// When the row is shorter than the forest's columns.
    pub fn steps(&self, row: &[f32]) -> Vec<i32> {
        let mut steps = vec![0; self.outputs];
        self.evaluate(row, &mut steps);
        steps
    }

    /// Evaluates one row of at least `features` columns into `steps`, one for each output, in 2⁻²⁰.
    ///
    /// # Panics
    /// When the row is shorter than the forest's columns, or `steps` is not one for each output.
    pub fn evaluate(&self, row: &[f32], steps: &mut [i32]) {
        assert!(row.len() >= self.features, "a row has as many columns as the forest");
        assert_eq!(steps.len(), self.outputs, "one answer for each output");
        if row.is_empty() {
            // A forest without splits.
            self.rows(&[0.0], 1, steps);
        } else {
            self.rows(row, row.len(), steps);
        }
    }

    /// Evaluates rows of `columns` numbers each, one after the other, into `steps`, one for each output of each row.
    ///
    /// # Panics
    /// When rows are shorter than the forest's columns, when `rows` is not whole rows, or `steps` has another length.
    pub fn evaluate_rows(&self, rows: &[f32], columns: usize, steps: &mut [i32]) {
        assert!(
            columns >= self.features.max(1) && rows.len().is_multiple_of(columns),
            "whole rows of the forest's columns"
        );
        assert_eq!(steps.len(), rows.len() / columns * self.outputs, "one answer for each output of each row");
        self.rows(rows, columns, steps);
    }

    fn rows(&self, rows: &[f32], columns: usize, steps: &mut [i32]) {
        let layout = &self.layout;
        match &layout.blocks {
            Blocks::Narrow(blocks) => {
                #[cfg(all(feature = "std", target_arch = "x86_64"))]
                if let Some(avx512) = self.avx512 {
                    return avx512.rows(&self.coder, layout, blocks, rows, columns, steps);
                }
                let mut codes = [0u8; 256];
                for (row, steps) in rows.chunks(columns).zip(steps.chunks_mut(self.outputs)) {
                    self.coder.code(row, |column, code| codes[column & 255] = code as u8);
                    steps.copy_from_slice(&layout.base);
                    let code = |column| codes[usize::from(column)];
                    walk(layout, &|at, together| slots(blocks, at, together, layout.depth, code), steps);
                }
            }
            Blocks::Wide(blocks) => {
                let mut codes = vec![0u16; self.coder.columns.len()];
                for (row, steps) in rows.chunks(columns).zip(steps.chunks_mut(self.outputs)) {
                    self.coder.code(row, |column, code| codes[column] = code as u16);
                    steps.copy_from_slice(&layout.base);
                    let code = |column| codes[usize::from(column)];
                    walk(layout, &|at, together| slots(blocks, at, together, layout.depth, code), steps);
                }
            }
        }
    }
}

const _: () = assert!(OUTPUTS_MAX <= 64, "outputs are counted in the bits of a u64");
