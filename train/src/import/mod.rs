//! Import: a model trained elsewhere becomes a forest of ours, split for split, or is refused with the reason.
//!
//! ```text
//! XGBoost JSON, UBJSON ─┐
//! LightGBM text ────────┴─► Foreign ─► trees that ask x ≤ t, missing high; leaves in steps ─► Forest ─► scores reproduced?
//! ```
//!
//! Thresholds are converted exactly: every row takes the way it took there. Leaves are rounded to steps of 2⁻²⁰; the
//! largest error that this can add to any prediction is known from the trees and reported ([`Output::rounding_max`]).
//! What cannot be said in our trees is refused by name: categories, linear leaves, weights of trees, links other than
//! the identity.
//!
//! A model comes as bytes from anywhere, so the readers bound what they allocate by what they read.

mod foreign;
mod lightgbm;
mod reproduce;
mod ubjson;
mod xgboost;

use plimsoll_model::features::FEATURES;
use plimsoll_model::forest::{BadForest, Forest, Tree};
use plimsoll_model::quantile::Ppm;

pub use reproduce::{Reproduced, reproduce};

/// Larger than any model that would fit an artifact, in the most talkative of the formats.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// What rows have: the names that a foreign model calls its features by.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether a row may lack it. Where none does, it does not matter which way a tree would send a missing value.
    pub may_be_missing: bool,
}

/// The columns that this engine computes.
pub fn columns() -> Vec<Column<'static>> {
    FEATURES.iter().map(|f| Column { name: f.name, may_be_missing: f.missing == "NaN" }).collect()
}

/// One output of an imported model.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The quantile it was trained for, where the file says.
    pub level: Option<Ppm>,
    /// Its trees.
    pub trees: Vec<Tree>,
    /// Rounding leaves moved no prediction by more than this.
    pub rounding_max: f64,
    /// The engine that made the model adds in floats: its own sum may be off by this.
    pub float_max: f64,
}

/// A foreign model as trees of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// What made it: `LightGBM v4`, `XGBoost 3.2.0`.
    pub made_by: String,
    /// In the order of the file.
    pub outputs: Vec<Output>,
    /// Columns of a row.
    pub columns: usize,
    /// Nodes in the file.
    pub nodes_there: usize,
}

impl Imported {
    /// Reads a model: XGBoost's JSON or UBJSON, or LightGBM's text, whichever it is.
    ///
    /// # Errors
    /// [`ImportError`] but those of scores.
    pub fn read(bytes: &[u8], columns: &[Column<'_>]) -> Result<Self, ImportError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(ImportError::TooLarge { bytes: bytes.len() });
        }
        let foreign = match bytes {
            [b'{', b'L' | b'U' | b'i' | b'I' | b'l', ..] => xgboost::from_ubjson(bytes)?,
            _ if bytes.trim_ascii_start().first() == Some(&b'{') => xgboost::from_json(bytes)?,
            _ if bytes.starts_with(b"tree") => lightgbm::read(bytes)?,
            _ => {
                let reason = "neither XGBoost JSON, XGBoost UBJSON nor a LightGBM text model".to_owned();
                return Err(ImportError::Format { reason });
            }
        };
        foreign.convert(columns)
    }

    /// Puts the outputs of models beside each other, as levels of one forest.
    ///
    /// # Errors
    /// `Levels` unless every output has a level and no two the same; `Forest` when leaves are too large for exact floats.
    pub fn join(models: Vec<Self>) -> Result<Joined, ImportError> {
        let columns = models.first().map_or(0, |m| m.columns);
        let mut outputs = Vec::new();
        for output in models.into_iter().flat_map(|m| m.outputs) {
            let level = output.level.ok_or_else(|| ImportError::Levels {
                why: "the file does not say which quantile it predicts: give --level for each output".into(),
            })?;
            outputs.push((level, output));
        }
        outputs.sort_by_key(|o| o.0);
        if let Some(same) = outputs.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(ImportError::Levels { why: format!("two outputs predict the {} quantile", same[0].0) });
        }
        let levels = outputs.iter().map(|o| o.0).collect();
        let bounds = outputs.iter().map(|o| o.1.rounding_max + o.1.float_max).collect();
        let forest = Forest::new(columns, outputs.into_iter().map(|o| o.1.trees).collect())?;
        Ok(Joined { forest, levels, bounds })
    }
}

/// Imported models as one forest.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// One output for each level.
    pub forest: Forest,
    /// Rising.
    pub levels: Vec<Ppm>,
    /// The most that a score stored beside the model may differ from ours, for each level.
    pub bounds: Vec<f64>,
}

/// Why a foreign model is not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Not a file we read.
    #[error("the model cannot be read: {reason}")]
    Format {
        /// What is wrong, and where.
        reason: String,
    },
    /// Larger than any model that would fit.
    #[error("the model has {bytes} bytes; no artifact of at most 2 MB could come of it")]
    TooLarge {
        /// Of the file.
        bytes: usize,
    },
    /// It has something our trees cannot say.
    #[error("the model has {what}: {advice}")]
    Unsupported {
        /// Which.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// It asks a feature that this engine does not compute.
    #[error("the model asks feature {name:?}, which is not computed here: see `plimsoll data windows` for the columns")]
    UnknownColumn {
        /// As the model calls it.
        name: String,
    },
    /// One node.
    #[error("tree {tree}, node {node}: {why}")]
    Node {
        /// Of the file, from 0.
        tree: usize,
        /// As the file counts them.
        node: usize,
        /// What is wrong.
        why: String,
    },
    /// Which quantile is which.
    #[error("{why}")]
    Levels {
        /// What to do.
        why: String,
    },
    /// Together the trees are no forest.
    #[error(transparent)]
    Forest(#[from] BadForest),
    /// The scores cannot be read.
    #[error("scores: {reason}")]
    Scores {
        /// Where and what.
        reason: String,
    },
    /// The trees say something else than the scores stored beside them.
    #[error(
        "scores, row {row}: {column} is {stored}, the imported trees say {found}, and rounding explains at most {bound:e}: \
         were features and missing values passed to the model as they stand in this file, and all of its rounds used?"
    )]
    NotReproduced {
        /// Of the file, the header being row 1.
        row: usize,
        /// Which score.
        column: String,
        /// There.
        stored: f64,
        /// Here.
        found: f64,
        /// Largest difference that rounding explains.
        bound: f64,
    },
}

fn malformed(reason: impl Into<String>) -> ImportError {
    ImportError::Format { reason: reason.into() }
}

#[cfg(test)]
mod tests;
