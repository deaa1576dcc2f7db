//! The proof that an imported model is the one that was trained: rows and the scores it gave them, stored beside it.
//!
//! A CSV with a column for each feature the model asks, named as here, and the score: `prediction`, or with several
//! outputs `prediction_<level in parts per million>` for each. An empty cell or `nan` is a missing value.

use std::io::Read;

use plimsoll_model::forest::{Node, ONE};
use plimsoll_model::quantile::Ppm;

use super::{Column, ImportError, Joined};

/// Rows that a claim of sameness needs at least.
const ROWS_MIN: u64 = 20;

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Reproduced {
    /// Rows.
    pub rows: u64,
    /// Largest difference between a stored score and ours.
    pub difference_max: f64,
    /// Largest difference that rounding would explain.
    pub bound: f64,
    /// Leaves that some row came to: the part of the model that the comparison saw.
    pub leaves_reached: usize,
    /// Leaves of the forest.
    pub leaves: usize,
}

/// Compares stored scores with the forest's.
///
/// # Errors
/// `Scores` when the file cannot be read, lacks a column or has fewer than 20 rows; `NotReproduced` at the first row that
/// differs by more.
pub fn reproduce(
    Joined { forest, levels, bounds }: &Joined,
    columns: &[Column<'_>],
    scores: impl Read,
) -> Result<Reproduced, ImportError> {
    let wrong = |reason: String| ImportError::Scores { reason };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(scores);
    let head = reader.headers().map_err(|e| wrong(e.to_string()))?.clone();
    let find = |name: &str| head.iter().position(|h| h == name);
    let places: Vec<Option<usize>> = columns.iter().map(|c| find(c.name)).collect();
    for (ix, (column, place)) in columns.iter().zip(&places).enumerate() {
        if place.is_none() && !forest.thresholds(ix).is_empty() {
            return Err(wrong(format!("there is no column {}, which the model asks", column.name)));
        }
    }
    let named =
        |level: &Ppm| if levels.len() == 1 { "prediction".to_owned() } else { format!("prediction_{}", level.get()) };
    let mut stored_in = Vec::new();
    for name in levels.iter().map(named) {
        let at = find(&name).ok_or_else(|| wrong(format!("there is no column {name} with the model's scores")))?;
        stored_in.push((name, at));
    }

    let mut reached: Vec<Vec<Vec<bool>>> =
        forest.outputs().iter().map(|trees| trees.iter().map(|t| vec![false; t.nodes().len()]).collect()).collect();
    let mut found = Reproduced {
        rows: 0,
        difference_max: 0.0,
        bound: bounds.iter().copied().fold(0.0, f64::max),
        leaves_reached: 0,
        leaves: 0,
    };
    let mut row = vec![f32::NAN; columns.len()];
    for record in reader.records() {
        let record = record.map_err(|e| wrong(e.to_string()))?;
        let at_row = found.rows as usize + 2;
        let cell = |at: usize| record.get(at).unwrap_or_default();
        for ((value, place), column) in row.iter_mut().zip(&places).zip(columns) {
            let Some(at) = place else { continue };
            *value = match cell(*at) {
                "" => f32::NAN,
                text => {
                    text.parse().map_err(|_| wrong(format!("row {at_row}: {} is {text:?}, no number", column.name)))?
                }
            };
            if value.is_infinite() || (value.is_nan() && !column.may_be_missing) {
                let what = if value.is_nan() {
                    "missing, which this feature never is"
                } else {
                    "infinite, which no feature is"
                };
                return Err(wrong(format!("row {at_row}: {} is {what}", column.name)));
            }
        }
        for (output, (name, at)) in stored_in.iter().enumerate() {
            let stored: f64 = cell(*at).parse().map_err(|_| wrong(format!("row {at_row}: {name} is no number")))?;
            let mut steps = 0;
            for (tree, reached) in forest.outputs()[output].iter().zip(&mut reached[output]) {
                let mut leaf = 0;
                tree.visit(&row, |node| leaf = node);
                reached[leaf] = true;
                if let Node::Leaf { steps: there } = tree.nodes()[leaf] {
                    steps += there;
                }
            }
            let ours = f64::from(steps) / f64::from(ONE);
            let difference = (stored - ours).abs();
            found.difference_max = found.difference_max.max(difference);
            // A score that is no number is not reproduced.
            if difference.is_nan() || difference > bounds[output] {
                return Err(ImportError::NotReproduced {
                    row: at_row,
                    column: name.clone(),
                    stored,
                    found: ours,
                    bound: bounds[output],
                });
            }
        }
        found.rows += 1;
    }
    if found.rows < ROWS_MIN {
        return Err(wrong(format!(
            "{} rows are too few to tell one model from another; give {ROWS_MIN} or more",
            found.rows
        )));
    }
    let is_leaf = |node: &Node| matches!(node, Node::Leaf { .. });
    for (tree, reached) in forest.outputs().iter().flatten().zip(reached.iter().flatten()) {
        found.leaves += tree.nodes().iter().filter(|n| is_leaf(n)).count();
        found.leaves_reached += reached.iter().filter(|r| **r).count();
    }
    Ok(found)
}
