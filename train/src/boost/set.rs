//! Rows to learn from.

use std::borrow::Cow;

use ndarray::ArrayView2;
use plimsoll_model::forest::ONE;
use plimsoll_model::monotone::Direction;

use super::{Binner, Bins, BoostConfig, Cuts, FitError, Objective};

/// Rows to learn from.
#[derive(Clone, Copy, Debug)]
pub struct TrainingSet<'a> {
    rows: Rows<'a>,
    pub(super) targets: &'a [i32],
    pub(super) weights: Option<&'a [f32]>,
    pub(super) monotone: &'a [(usize, Direction)],
    pub(super) held_out: Option<(ArrayView2<'a, f32>, &'a [i32])>,
}

#[derive(Clone, Copy, Debug)]
enum Rows<'a> {
    Values(ArrayView2<'a, f32>),
    Binned(&'a Bins),
}

impl<'a> TrainingSet<'a> {
    /// Rows and targets without constraints.
    ///
    /// * `rows`: `[n, features]`, row-major; NaN is missing.
    /// * `targets`: `[n]`, in steps of 2⁻²⁰, at most 2²⁰ either way.
    pub const fn new(rows: ArrayView2<'a, f32>, targets: &'a [i32]) -> Self {
        Self { rows: Rows::Values(rows), targets, weights: None, monotone: &[], held_out: None }
    }

    /// Rows that were binned as they came in: [`Binner`]. Their cuts take the place of [`BoostConfig::bins`].
    pub const fn binned(bins: &'a Bins, targets: &'a [i32]) -> Self {
        Self { rows: Rows::Binned(bins), targets, weights: None, monotone: &[], held_out: None }
    }

    /// The same, with columns in which every output may move one way only.
    #[must_use]
    pub const fn monotone(mut self, monotone: &'a [(usize, Direction)]) -> Self {
        self.monotone = monotone;
        self
    }

    /// The same, with weights of rows: finite, not negative. They are rounded to 1,023rds of the largest.
    #[must_use]
    pub const fn weights(mut self, weights: &'a [f32]) -> Self {
        self.weights = Some(weights);
        self
    }

    /// The same, with other rows whose loss says when to stop: [`BoostConfig::early_stopping_rounds`].
    #[must_use]
    pub const fn held_out(mut self, rows: ArrayView2<'a, f32>, targets: &'a [i32]) -> Self {
        self.held_out = Some((rows, targets));
        self
    }

    pub(super) fn bins(&self, config: &BoostConfig) -> Cow<'a, Bins> {
        match self.rows {
            Rows::Values(rows) => Cow::Owned(Bins::of(rows, config.bins as usize)),
            Rows::Binned(bins) => Cow::Borrowed(bins),
        }
    }

    pub(super) fn held_out_bins(&self, cuts: &Cuts) -> Option<Bins> {
        self.held_out.map(|(rows, _)| {
            let mut binner = Binner::new(cuts.clone()).with_room_for(rows.nrows());
            binner.push(rows);
            binner.finish()
        })
    }

    pub(super) fn validate(&self, config: &BoostConfig) -> Result<(), FitError> {
        let (rows, columns) = match self.rows {
            Rows::Values(rows) => rows.dim(),
            Rows::Binned(bins) => (bins.rows(), bins.features()),
        };
        let check = |rows: usize, targets: &[i32]| {
            if rows != targets.len() {
                return Err(FitError::TargetCount { targets: targets.len(), rows });
            }
            if rows == 0 {
                return Err(FitError::NoRows);
            }
            let least = if config.objective == Objective::Logistic { 0 } else { -(ONE as i32) };
            match targets.iter().position(|y| !(least..=ONE as i32).contains(y)) {
                Some(row) => Err(FitError::Target { row, steps: targets[row] }),
                None => Ok(()),
            }
        };
        check(rows, self.targets)?;
        let copies = if let Objective::Ladder(rungs) = &config.objective { rungs.len() } else { 1 };
        if rows.saturating_mul(copies) > i32::MAX as usize {
            return Err(FitError::TooManyRows { rows: rows.saturating_mul(copies) });
        }
        if columns >= usize::from(u16::MAX) {
            return Err(FitError::TooManyColumns { columns });
        }
        if let Some((column, _)) = self.monotone.iter().find(|(column, _)| *column >= columns) {
            return Err(FitError::Constraint { column: *column, columns });
        }
        match self.held_out {
            Some((rows, _)) if rows.ncols() != columns => {
                Err(FitError::HeldOutColumns { found: rows.ncols(), expected: columns })
            }
            Some((rows, targets)) => check(rows.nrows(), targets),
            None if config.early_stopping_rounds > 0 => Err(FitError::NothingHeldOut),
            None => Ok(()),
        }
    }
}
