//! What a forest answers to: how much each feature moves its predictions, and which way.
//!
//! * **size**: mean |Shapley value| over unseen rows, as a share of the balance: what a feature adds or takes.
//! * **curve**: accumulated local effect: rows of one bin of the feature are asked at both its ends, everything else as it
//!   is, and the differences are summed up. Unlike a partial dependence it never asks about rows that cannot be, such as
//!   a large outflow without any payment, and correlated features do not share its slope.
//!
//! Sources: Lundberg et al. 2020 (see [`plimsoll_model::attribution`]); Apley and Zhu 2020, *Visualizing the effects of
//! predictor variables in black box supervised learning models*.

use ndarray::{Array2, ArrayView2};
use plimsoll_model::artifact::{Cell, Rule};
use plimsoll_model::attribution::{Attributor, Covers};
use plimsoll_model::features::FEATURES;
use plimsoll_model::forest::{Forest, ONE};
use plimsoll_model::quantile::Ppm;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The features of one quantile, the largest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effects {
    /// Which quantile.
    pub level: Ppm,
    /// Rows that were taken apart.
    pub rows: usize,
    /// Every feature that moves it.
    pub features: Vec<Effect>,
}

/// Of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Its name.
    pub feature: String,
    /// Mean size of its part, as a share of the balance.
    pub size: f64,
    /// Share of rows in which it is missing.
    pub missing: f64,
    /// `(value, effect as a share of the balance)`, zero on average; only of the largest.
    pub curve: Vec<(f64, f64)>,
}

/// Rows that are taken apart: a thousand settle the order, and one takes up to a millisecond.
const ATTRIBUTED: usize = 1_000;
/// Rows against which they are.
const BACKGROUND: usize = 2_000;
/// Rows behind a curve, its bins, and features that have one.
const CURVED: usize = 4_000;
const BINS: usize = 16;
const CURVES: usize = 6;

/// The lowest level that a tier's limit is computed from; the lowest of all where none is.
pub fn shipped_level(cells: &[Cell], levels: &[Ppm]) -> Ppm {
    let ships = |cell: &Cell| match cell.rule {
        Rule::Gap { level, .. } => Some(level),
        _ => None,
    };
    cells.iter().filter_map(ships).min().unwrap_or(levels[0])
}

impl Effects {
    /// On rows that taught nothing.
    ///
    /// # Panics
    /// When the forest has no output for the level.
    pub fn of(forest: &Forest, levels: &[Ppm], level: Ppm, rows: &Array2<f32>) -> Self {
        let output = levels.iter().position(|l| *l == level).expect("the forest has an output for each level");
        let sizes = sizes(forest, output, rows);
        let mut order: Vec<usize> = (0..forest.features()).filter(|column| sizes[*column] > 0.0).collect();
        order.sort_by(|a, b| sizes[*b].total_cmp(&sizes[*a]).then(a.cmp(b)));
        let effect = |(place, column): (usize, &usize)| {
            let values = rows.column(*column);
            Effect {
                feature: FEATURES[*column].name.into(),
                size: sizes[*column],
                missing: values.iter().filter(|v| v.is_nan()).count() as f64 / values.len().max(1) as f64,
                curve: if place < CURVES { curve(forest, output, *column, rows.view()) } else { Vec::new() },
            }
        };
        Self { level, rows: rows.nrows().min(ATTRIBUTED), features: order.par_iter().enumerate().map(effect).collect() }
    }
}

/// Mean size of each column's part of a prediction, as a share of the balance, against the rows themselves.
pub fn sizes(forest: &Forest, output: usize, rows: &Array2<f32>) -> Vec<f64> {
    let every = |most: usize| -> Vec<Vec<f32>> {
        rows.outer_iter().step_by(rows.nrows().div_ceil(most).max(1)).map(|row| row.to_vec()).collect()
    };
    let background = every(BACKGROUND);
    let mut sums = vec![0u64; forest.features()];
    let Some(covers) = Covers::of(forest, background.iter().map(Vec::as_slice)) else { return vec![0.0; sums.len()] };
    let attributor = Attributor::new(forest, &covers);
    let chosen = every(ATTRIBUTED);
    let parts: Vec<Vec<i32>> = chosen.par_iter().map(|row| attributor.attribute(output, row).features).collect();
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, steps)| *sum += u64::from(steps.unsigned_abs()));
    }
    sums.iter().map(|sum| *sum as f64 / chosen.len() as f64 / f64::from(ONE)).collect()
}

/// The accumulated local effect of a column between its 2 % and 98 % quantiles.
fn curve(forest: &Forest, output: usize, column: usize, rows: ArrayView2<'_, f32>) -> Vec<(f64, f64)> {
    let known = rows.outer_iter().step_by(rows.nrows().div_ceil(CURVED).max(1)).filter(|row| !row[column].is_nan());
    let mut sorted: Vec<Vec<f32>> = known.map(|row| row.to_vec()).collect();
    sorted.sort_by(|a, b| a[column].total_cmp(&b[column]));
    let Some(last) = sorted.len().checked_sub(1) else { return Vec::new() };
    let at = |k: usize| sorted[last * (2 + 96 * k / BINS) / 100][column];
    let mut edges: Vec<f32> = (0..=BINS).map(at).collect();
    edges.dedup();
    let predict = |row: &[f32]| forest.outputs()[output].iter().map(|tree| tree.evaluate(row)).sum::<i32>();
    let mut height = 0.0;
    let mut points = vec![(f64::from(edges[0]), 0.0)];
    // Each bin's mean effect counts as often as it has rows.
    let (mut sum, mut count) = (0.0, 0.0);
    for ends in edges.windows(2) {
        let from = sorted.partition_point(|row| row[column] < ends[0]);
        let to = sorted.partition_point(|row| row[column] <= ends[1]);
        let slope = |row: &Vec<f32>| {
            let mut row = row.clone();
            row[column] = ends[1];
            let high = predict(&row);
            row[column] = ends[0];
            i64::from(high) - i64::from(predict(&row))
        };
        let rise = sorted[from..to].iter().map(slope).sum::<i64>() as f64 / (to - from).max(1) as f64 / f64::from(ONE);
        sum += (to - from) as f64 * (height + rise / 2.0);
        count += (to - from) as f64;
        height += rise;
        points.push((f64::from(ends[1]), height));
    }
    let mean = if count > 0.0 { sum / count } else { 0.0 };
    points.iter().map(|(x, y)| (*x, y - mean)).collect()
}

#[cfg(test)]
mod tests {
    use plimsoll_model::forest::{Node, Tree};

    use super::*;

    /// Half of the balance from column 0 above 10; column 1 goes along with it and moves nothing.
    fn forest() -> Forest {
        let leaf = |steps| Node::Leaf { steps };
        let tree =
            Tree::new(vec![Node::Split { feature: 0, threshold: 10.0, low: 1, high: 2 }, leaf(0), leaf(1 << 19)]);
        Forest::new(FEATURES.len(), vec![vec![tree.expect("a tree")]]).expect("a forest")
    }

    fn rows() -> Array2<f32> {
        Array2::from_shape_fn((800, FEATURES.len()), |(r, c)| match c {
            0 if r % 10 == 9 => f32::NAN,
            0 | 1 => (r % 20) as f32,
            _ => 0.0,
        })
    }

    #[test]
    fn what_moves_nothing_has_no_effect_however_well_it_correlates() {
        let level = Ppm::new(10_000).expect("1 %");
        let found = Effects::of(&forest(), &[level], level, &rows());
        let names: Vec<&str> = found.features.iter().map(|f| f.feature.as_str()).collect();
        assert_eq!(names, [FEATURES[0].name]);
        let effect = &found.features[0];
        assert!((effect.missing - 0.1).abs() < 1e-12);
        // A half for about half of the rows, against its own mean.
        assert!((0.2..0.26).contains(&effect.size), "{}", effect.size);
        let (first, last) = (effect.curve[0], effect.curve[effect.curve.len() - 1]);
        assert!((last.1 - first.1 - 0.5).abs() < 1e-12, "{:?}", effect.curve);
        assert!(effect.curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{:?}", effect.curve);
        assert!(first.1 < 0.0 && last.1 > 0.0, "centred");
    }

    #[test]
    fn without_rows_there_is_no_effect() {
        let level = Ppm::new(10_000).expect("1 %");
        let none = Array2::zeros((0, FEATURES.len()));
        assert_eq!(Effects::of(&forest(), &[level], level, &none).features, []);
        assert_eq!(curve(&forest(), 0, 0, none.view()), []);
    }
}
