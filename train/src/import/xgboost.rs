//! XGBoost's model file, JSON or UBJSON: what `Booster.save_model` writes.
//!
//! A test is `x < threshold` in `f32`, so ours asks `x ≤` the number before it. Every float of the file is an `f32`,
//! and must read back as one.

use plimsoll_model::quantile::Ppm;
use serde::Deserialize;

use super::foreign::{Foreign, ForeignNode, ForeignOutput, ForeignTree, Test};
use super::{ImportError, lightgbm, malformed, ubjson};

/// Objectives whose prediction is the sum of the leaves.
const IDENTITY: [&str; 5] =
    ["reg:quantileerror", "reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:linear"];

#[derive(Deserialize)]
struct File {
    learner: Learner,
    #[serde(default)]
    version: Vec<u32>,
}

#[derive(Deserialize)]
struct Learner {
    #[serde(default)]
    feature_names: Vec<String>,
    gradient_booster: Booster,
    learner_model_param: Param,
    objective: Objective,
}

#[derive(Deserialize)]
struct Param {
    base_score: String,
    #[serde(default)]
    num_class: String,
    num_feature: String,
    #[serde(default)]
    num_target: String,
}

#[derive(Deserialize)]
struct Objective {
    name: String,
    #[serde(default)]
    quantile_loss_param: Option<QuantileParam>,
}

#[derive(Deserialize)]
struct QuantileParam {
    quantile_alpha: String,
}

#[derive(Deserialize)]
struct Booster {
    #[serde(default)]
    name: String,
    #[serde(default)]
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    tree_info: Vec<usize>,
    trees: Vec<Tree>,
}

#[derive(Deserialize)]
struct Tree {
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<usize>,
    split_conditions: Vec<f64>,
    default_left: Vec<Flag>,
    #[serde(default)]
    split_type: Vec<Flag>,
    #[serde(default)]
    tree_param: TreeParam,
}

#[derive(Default, Deserialize)]
struct TreeParam {
    #[serde(default)]
    size_leaf_vector: String,
}

/// Versions write 0 and 1, or false and true.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Number(u8),
}

impl Flag {
    const fn is_set(self) -> bool {
        match self {
            Self::Bool(set) => set,
            Self::Number(n) => n != 0,
        }
    }
}

pub(super) fn from_json(bytes: &[u8]) -> Result<Foreign, ImportError> {
    let file = serde_json::from_slice::<File>(bytes);
    read(file.map_err(|e| malformed(format!("XGBoost JSON: {e}")))?)
}

pub(super) fn from_ubjson(bytes: &[u8]) -> Result<Foreign, ImportError> {
    let value = ubjson::read(bytes).map_err(malformed)?;
    let file = serde_json::from_value::<File>(value);
    read(file.map_err(|e| malformed(format!("XGBoost UBJSON: {e}")))?)
}

fn read(file: File) -> Result<Foreign, ImportError> {
    let learner = file.learner;
    let refuse = |what: String, advice| Err(ImportError::Unsupported { what, advice });
    if learner.gradient_booster.name != "gbtree" {
        return refuse(format!("booster {:?}", learner.gradient_booster.name), "train it with booster=gbtree");
    }
    let objective = &learner.objective;
    if !IDENTITY.contains(&objective.name.as_str()) {
        return refuse(
            format!("objective {:?}", objective.name),
            "its prediction is not the sum of its leaves; train it with objective=reg:quantileerror",
        );
    }
    let param = &learner.learner_model_param;
    if !matches!(param.num_class.as_str(), "" | "0" | "1") {
        return refuse(format!("num_class={}", param.num_class), "it must predict quantiles, not classes");
    }
    let number = |name, text: &str| text.parse().map_err(|_| malformed(format!("XGBoost: {name} is {text:?}")));
    let targets: usize = if param.num_target.is_empty() { 1 } else { number("num_target", &param.num_target)? };
    let width = number("num_feature", &param.num_feature)?;
    let model = learner.gradient_booster.model.ok_or_else(|| malformed("XGBoost: gradient_booster has no model"))?;
    if targets == 0 || targets > 16 {
        return refuse(format!("{targets} targets"), "a forest has 1 to 16 outputs");
    }
    if model.tree_info.len() != model.trees.len() {
        let (trees, info) = (model.trees.len(), model.tree_info.len());
        return Err(malformed(format!("XGBoost: {trees} trees, and tree_info for {info}")));
    }
    let bases = floats("base_score", &param.base_score)?;
    let levels = match &objective.quantile_loss_param {
        Some(param) => floats("quantile_alpha", &param.quantile_alpha)?,
        None => Vec::new(),
    };
    let output = |ix: usize| {
        let base = bases.get(ix).or(bases.first().filter(|_| bases.len() == 1));
        let base = *base.ok_or_else(|| malformed(format!("XGBoost: no base_score for target {ix}")))?;
        let level: Option<Ppm> = levels.get(ix).and_then(|alpha| lightgbm::level(f64::from(*alpha)));
        Ok(ForeignOutput { level, base: base.into(), trees: Vec::new() })
    };
    let mut outputs = (0..targets).map(output).collect::<Result<Vec<_>, ImportError>>()?;
    for (ix, (there, target)) in model.trees.iter().zip(&model.tree_info).enumerate() {
        let output = outputs.get_mut(*target);
        let output =
            output.ok_or_else(|| malformed(format!("XGBoost: tree {ix} is for target {target} of {targets}")))?;
        output.trees.push(tree(ix, there)?);
    }
    let version: Vec<String> = file.version.iter().map(u32::to_string).collect();
    Ok(Foreign {
        made_by: format!("XGBoost {}", version.join(".")),
        names: learner.feature_names,
        width,
        outputs,
        unit_roundoff: f64::from(f32::EPSILON) / 2.0,
    })
}

fn tree(ix: usize, there: &Tree) -> Result<ForeignTree, ImportError> {
    let mut tree = ForeignTree { ix, nodes: Vec::new() };
    if !matches!(there.tree_param.size_leaf_vector.as_str(), "" | "0" | "1") {
        let what = format!("vectors in its leaves (tree {ix})");
        return Err(ImportError::Unsupported { what, advice: "train it with multi_strategy=one_output_per_tree" });
    }
    let n = there.left_children.len();
    let lists =
        [there.right_children.len(), there.split_indices.len(), there.split_conditions.len(), there.default_left.len()];
    if lists.iter().any(|len| *len != n) || !(there.split_type.is_empty() || there.split_type.len() == n) {
        return Err(tree.wrong(0, format!("lists of {n} and {lists:?} entries do not belong together")));
    }
    let mut nodes = Vec::with_capacity(n);
    for node in 0..n {
        let value = single(there.split_conditions[node]);
        let value =
            value.ok_or_else(|| tree.wrong(node, format!("{:e} is no float32", there.split_conditions[node])))?;
        let (left, right) = (there.left_children[node], there.right_children[node]);
        if left == -1 && right == -1 {
            nodes.push(ForeignNode::Leaf { value: value.into() });
            continue;
        }
        if there.split_type.get(node).is_some_and(|kind| kind.is_set()) {
            let what = format!("categorical splits (tree {ix}, node {node})");
            return Err(ImportError::Unsupported { what, advice: "pass categories as ordered numbers" });
        }
        let (Ok(left), Ok(right)) = (usize::try_from(left), usize::try_from(right)) else {
            return Err(tree.wrong(node, "one child is missing"));
        };
        // x < t is x ≤ the float before t; before −MAX there is none that a row can hold.
        let at = Some(value.next_down()).filter(|at| at.is_finite());
        let test = Test::up_to(at, there.default_left[node].is_set());
        nodes.push(ForeignNode::Split { column: there.split_indices[node], test, left, right });
    }
    tree.nodes = nodes;
    Ok(tree)
}

/// The `f32` that a decimal of the file was written for. The JSON reader may be off by a few units of its `f64`; none of
/// those within reach may round to another `f32`.
fn single(read: f64) -> Option<f32> {
    const REACH: u64 = 8;
    let near = read as f32;
    let size = read.abs().to_bits();
    let others = [size.saturating_sub(REACH), size + REACH].map(|bits| f64::from_bits(bits) as f32);
    (near.is_finite() && others.iter().all(|other| *other == near.abs())).then_some(near)
}

/// `0.5` or, since version 3.1, `[5E-1,2E-1]`.
fn floats(name: &str, text: &str) -> Result<Vec<f32>, ImportError> {
    let inner = text.trim_matches(['[', ']', '(', ')']);
    let list: Option<Vec<f32>> = inner.split(',').map(|item| item.trim().parse().ok()).collect();
    list.filter(|list| list.iter().all(|v| v.is_finite()))
        .ok_or_else(|| malformed(format!("XGBoost: {name} is {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_that_could_be_two_floats_is_refused() {
        assert_eq!(single(0.0), Some(0.0));
        assert_eq!(single(f64::from(0.1f32)), Some(0.1));
        assert_eq!(single(0.1), Some(0.1));
        assert_eq!(single(f64::from(f32::from_bits(1))), Some(f32::from_bits(1)));
        assert_eq!(single(f64::from(-f32::MAX)), Some(-f32::MAX));
        let middle = f64::midpoint(f64::from(1.0f32), f64::from(1.0f32.next_up()));
        assert_eq!(single(middle), None);
        assert_eq!((single(1e39), single(f64::NAN)), (None, None));
    }

    #[test]
    fn base_scores_of_all_versions_are_read() {
        assert_eq!(floats("x", "5E-1"), Ok(vec![0.5]));
        assert_eq!(floats("x", "[5E-1,-2.5E-1]"), Ok(vec![0.5, -0.25]));
        assert!(floats("x", "").is_err() && floats("x", "[inf]").is_err());
    }
}
