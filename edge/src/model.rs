//! A limit model ready to run: bytes in, steps out. Under tract in the default build, on the kernel alone in the
//! smallest; the same bits.

use std::sync::Arc;

use plimsoll_model::onnx::{ModelFile, RefuseOnnx};

#[cfg(not(feature = "tract"))]
use crate::kernel::Kernel as Engine;
#[cfg(feature = "tract")]
use crate::tract::Plan as Engine;

/// A model ready to run. Cheap to clone, safe to share between threads.
#[derive(Clone)]
pub struct Model {
    engine: Arc<Engine>,
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
        #[cfg(not(feature = "tract"))]
        let engine = Engine::new(&file.forest);
        #[cfg(feature = "tract")]
        let engine = Engine::new(bytes, file.forest.features()).map_err(|reason| RefuseModel::Engine { reason })?;
        Ok(Self { engine: Arc::new(engine), file: Arc::new(file) })
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
        self.engine.steps(row)
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
    fn the_engine_equals_the_reference_walk_on_both_sides_of_every_threshold() {
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
