//! A limit model running under tract: bytes in, steps out.

use std::sync::Arc;

use plimsoll_model::forest::ONE;
use plimsoll_model::onnx::{ModelFile, RefuseOnnx};
use tract_hir::internal::*;

use crate::operator;

/// A model ready to run. Cheap to clone, safe to share between threads.
#[derive(Clone)]
pub struct Model {
    plan: Arc<TypedRunnableModel>,
    file: Arc<ModelFile>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("version", &self.file.version)
            .field("nodes", &self.file.forest.node_count())
            .finish()
    }
}

/// Why bytes do not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseModel {
    /// The bounds-checking reader refused it.
    #[error(transparent)]
    Onnx(#[from] RefuseOnnx),
    /// tract refused what our reader accepted: a bug of one of them.
    #[error("tract: {reason}")]
    Engine {
        /// tract's words.
        reason: String,
    },
}

impl Model {
    /// Reads and checks an ONNX file, and prepares it to run.
    ///
    /// Whoever calls this with bytes from outside has verified their signature: [`crate::Evaluator`] takes only
    /// verified releases.
    ///
    /// # Errors
    /// [`RefuseModel`]; every index is checked before tract sees the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RefuseModel> {
        let file = ModelFile::decode(bytes)?;
        let columns = file.forest.features();
        let plan = || -> TractResult<Arc<TypedRunnableModel>> {
            let mut reader = bytes;
            let rows = 1usize;
            operator::onnx()
                .model_for_read(&mut reader)?
                .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [rows, columns]))?
                .into_optimized()?
                .into_runnable()
        };
        let plan = plan().map_err(|e| RefuseModel::Engine { reason: format!("{e:#}") })?;
        Ok(Self { plan, file: Arc::new(file) })
    }

    /// What the file holds.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// The steps of every output for one row, before uncrossing.
    ///
    /// # Panics
    /// When the row has not the model's number of columns.
    pub fn steps(&self, row: &[f32]) -> Vec<i32> {
        assert_eq!(row.len(), self.file.forest.features(), "a row has as many columns as the model");
        let input = tract_ndarray::ArrayView2::from_shape((1, row.len()), row).expect("one row of its own length");
        let run = || -> TractResult<Vec<i32>> {
            let outputs = self.plan.run(tvec!(input.to_owned().into_tensor().into_tvalue()))?;
            let view = outputs[0].try_as_plain_ram()?;
            // Whole steps below 2²⁴, so the product is exact.
            Ok(view.as_slice::<f32>()?.iter().map(|v| (v * ONE as f32) as i32).collect())
        };
        run().expect("shapes were checked when the plan was made, and the operator has no other way to fail")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plimsoll_model::forest::{Forest, Node, Tree};

    use super::*;

    fn file() -> ModelFile {
        let nodes = vec![
            Node::Split { feature: 2, threshold: 0.5, low: 1, high: 2 },
            Node::Leaf { steps: -7 },
            Node::Split { feature: 0, threshold: -1.25, low: 3, high: 4 },
            Node::Leaf { steps: 1 << 19 },
            Node::Leaf { steps: 3 },
        ];
        let tree = || Tree::new(nodes.clone()).expect("a tree");
        let outputs = vec![vec![Tree::constant(11), tree()], vec![tree(), tree(), Tree::constant(-1)]];
        ModelFile { forest: Forest::new(4, outputs).expect("a forest"), version: 1, properties: BTreeMap::new() }
    }

    #[test]
    fn tract_equals_the_reference_walk_on_both_sides_of_every_threshold() {
        let model = Model::from_bytes(&file().encode()).expect("runs");
        let around = |t: f32| [t.next_down(), t, t.next_up(), f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        for a in around(-1.25) {
            for b in around(0.5) {
                let row = [a, 0.0, b, f32::NAN];
                assert_eq!(model.steps(&row), file().forest.evaluate(&row), "{row:?}");
            }
        }
    }

    #[test]
    fn a_model_runs_from_many_threads_at_once() {
        let model = Model::from_bytes(&file().encode()).expect("runs");
        std::thread::scope(|scope| {
            for t in 0..4 {
                let model = model.clone();
                scope.spawn(move || {
                    for i in 0..200 {
                        let row = [i as f32 - 100.0, 0.0, (t * i) as f32 / 100.0, 0.0];
                        assert_eq!(model.steps(&row), file().forest.evaluate(&row));
                    }
                });
            }
        });
    }

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        assert!(matches!(Model::from_bytes(b""), Err(RefuseModel::Onnx(_))));
        assert!(matches!(Model::from_bytes(&[0xff; 64]), Err(RefuseModel::Onnx(_))));
    }
}
