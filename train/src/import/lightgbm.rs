//! LightGBM's text model: what `Booster.save_model` writes.
//!
//! A test is `x ≤ threshold` in `f64`; our rows are `f32`, so the largest `f32` that is not above the threshold sends
//! every row the same way. Where training saw no missing value LightGBM takes one for 0, and with `zero_as_missing` it
//! takes zeros for missing: both are written out as tests.

use std::collections::HashMap;

use plimsoll_model::quantile::Ppm;

use super::foreign::{Foreign, ForeignNode, ForeignOutput, ForeignTree, Test};
use super::{ImportError, malformed};

/// `kZeroThreshold`: what LightGBM takes for zero.
const ZERO: f32 = 1e-35;

/// Objectives whose prediction is the sum of the leaves.
const IDENTITY: [&str; 8] =
    ["quantile", "regression", "regression_l2", "regression_l1", "huber", "fair", "mape", "custom"];

pub(super) fn read(bytes: &[u8]) -> Result<Foreign, ImportError> {
    let text = std::str::from_utf8(bytes).map_err(|e| malformed(format!("LightGBM text: {e}")))?;
    let (head, rest) = text.split_once("\nTree=").ok_or_else(|| malformed("LightGBM text: it has no trees"))?;
    let (trees, tail) =
        rest.split_once("end of trees").ok_or_else(|| malformed("LightGBM text: it was cut before `end of trees`"))?;
    let head = Section::of(head);

    let refuse = |what: String, advice| Err(ImportError::Unsupported { what, advice });
    if head.0.contains_key("average_output") {
        return refuse("averaged trees (boosting=rf)".into(), "train it with boosting=gbdt");
    }
    for key in ["num_class", "num_tree_per_iteration"] {
        if head.get(key)? != "1" {
            return refuse(format!("{key}={}", head.get(key)?), "one model predicts one quantile");
        }
    }
    let objective = head.0.get("objective").copied().unwrap_or("custom");
    let mut words = objective.split_whitespace();
    if !words.next().is_some_and(|name| IDENTITY.contains(&name)) || words.any(|word| word == "sqrt") {
        return refuse(
            format!("objective {objective:?}"),
            "its prediction is not the sum of its leaves; train it with objective=quantile",
        );
    }
    let alpha = tail.lines().find_map(|line| line.strip_prefix("[alpha: ")?.strip_suffix(']')?.parse::<f64>().ok());
    let level = alpha.filter(|_| objective.starts_with("quantile")).and_then(level);

    let names: Vec<String> = head.get("feature_names")?.split(' ').map(str::to_owned).collect();
    let width = names.len();
    let trees = trees.split("\nTree=").enumerate().map(|(ix, text)| tree(ix, &Section::of(text)));
    let trees = trees.collect::<Result<Vec<_>, _>>()?;
    Ok(Foreign {
        made_by: format!("LightGBM {}", head.0.get("version").copied().unwrap_or("of unknown version")),
        names,
        width,
        outputs: vec![ForeignOutput { level, base: 0.0, trees }],
        unit_roundoff: f64::EPSILON / 2.0,
    })
}

/// A level as the whole parts per million that we count in.
pub(super) fn level(alpha: f64) -> Option<Ppm> {
    let ppm = (alpha * 1e6).round();
    (ppm > 0.0 && ppm < 1e6).then(|| Ppm::new(ppm as u32).ok()).flatten()
}

/// Lines of `key=value`.
struct Section<'a>(HashMap<&'a str, &'a str>);

impl<'a> Section<'a> {
    fn of(text: &'a str) -> Self {
        Self(text.lines().map(|line| line.trim_end_matches('\r').split_once('=').unwrap_or((line, ""))).collect())
    }

    fn get(&self, key: &str) -> Result<&'a str, ImportError> {
        self.0.get(key).copied().ok_or_else(|| malformed(format!("LightGBM text: it has no {key}")))
    }

    /// A list that must have `n` numbers.
    fn list<T: std::str::FromStr>(&self, key: &str, n: usize) -> Result<Vec<T>, String> {
        let text = self.0.get(key).ok_or_else(|| format!("it has no {key}"))?;
        let list: Option<Vec<T>> = text.split_ascii_whitespace().map(|item| item.parse().ok()).collect();
        let list = list.ok_or_else(|| format!("{key} holds something that is no number"))?;
        if list.len() == n { Ok(list) } else { Err(format!("{key} has {} entries, {n} expected", list.len())) }
    }
}

fn tree(ix: usize, section: &Section<'_>) -> Result<ForeignTree, ImportError> {
    let mut tree = ForeignTree { ix, nodes: Vec::new() };
    let refuse = |what: &str, advice| Err(ImportError::Unsupported { what: format!("{what} (tree {ix})"), advice });
    if section.0.get("is_linear").is_some_and(|v| *v != "0") {
        return refuse("linear leaves", "train it with linear_tree=false");
    }
    if section.0.get("num_cat").is_some_and(|v| *v != "0") {
        return refuse("categorical splits", "pass categories as ordered numbers");
    }
    let wrong = |why: String| ImportError::Node { tree: ix, node: 0, why };
    let leaves: usize = section.get("num_leaves")?.parse().map_err(|_| wrong("num_leaves is no count".into()))?;
    let values: Vec<f64> = section.list("leaf_value", leaves).map_err(wrong)?;
    if leaves == 0 {
        return Err(wrong("it has no leaves".into()));
    }
    let splits = leaves - 1;
    if splits > 0 {
        let features: Vec<usize> = section.list("split_feature", splits).map_err(wrong)?;
        let thresholds: Vec<f64> = section.list("threshold", splits).map_err(wrong)?;
        let kinds: Vec<u8> = section.list("decision_type", splits).map_err(wrong)?;
        let left: Vec<i64> = section.list("left_child", splits).map_err(wrong)?;
        let right: Vec<i64> = section.list("right_child", splits).map_err(wrong)?;
        // Splits first, then leaves; a negative child is a leaf.
        let child = |node: usize, child: i64| {
            let at =
                if child < 0 { usize::try_from(!child).ok().map(|leaf| splits + leaf) } else { child.try_into().ok() };
            at.ok_or_else(|| tree.wrong(node, "a child that is no index"))
        };
        let mut nodes = Vec::with_capacity(splits + leaves);
        for node in 0..splits {
            let test = test(thresholds[node], kinds[node]).map_err(|why| tree.wrong(node, why))?;
            let (left, right) = (child(node, left[node])?, child(node, right[node])?);
            nodes.push(ForeignNode::Split { column: features[node], test, left, right });
        }
        tree.nodes = nodes;
    }
    tree.nodes.extend(values.into_iter().map(|value| ForeignNode::Leaf { value }));
    Ok(tree)
}

/// * `kind`: bit 0 a category, bit 1 missing goes left, bits 2–3 what counts as missing.
fn test(threshold: f64, kind: u8) -> Result<Test, String> {
    if threshold.is_nan() {
        return Err("the threshold is not a number".into());
    }
    let at = not_above(threshold);
    let left = kind & 2 != 0;
    match (kind & 1, kind >> 2 & 3) {
        (0, 0) => Ok(Test::up_to(at, 0.0 <= threshold)),
        (0, 1) => Ok(Test::up_to_but_zero(at, ZERO, left)),
        (0, 2) => Ok(Test::up_to(at, left)),
        _ => Err(format!("decision_type {kind} is not one that is known here")),
    }
}

/// The largest finite `f32` that is not above; none when all of them are.
fn not_above(threshold: f64) -> Option<f32> {
    let near = threshold as f32;
    let at = if f64::from(near) > threshold { near.next_down() } else { near };
    (at > f32::NEG_INFINITY).then(|| at.min(f32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_threshold_separates_the_same_floats() {
        for t in [0.1, -0.1, 1.0, 1.0 + 1e-12, 1.0 - 1e-12, 1e-320, -1e-320, 3.402_823_5e38, 1e300, -1e300, 0.0, -0.0] {
            let at = not_above(t);
            let around = at.unwrap_or(0.0);
            for x in [around, around.next_up(), around.next_down(), 0.0, -0.0, f32::MAX, -f32::MAX] {
                if x.is_finite() {
                    assert_eq!(f64::from(x) <= t, at.is_some_and(|at| x <= at), "{x:e} against {t:e}");
                }
            }
        }
    }
}
