//! A limit model ready to run: bytes in, steps out. Under tract in the default build, on the kernel alone in the
//! smallest; the same bits.

use std::sync::Arc;

use plimsoll_kernel::onnx::Operator;
use plimsoll_kernel::{File, Refused};

#[cfg(not(feature = "tract-core"))]
use plimsoll_kernel::Kernel as Engine;

#[cfg(feature = "tract-core")]
use crate::tract::Plan as Engine;

/// A model ready to run. Cheap to clone, safe to share between threads.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    engine: Engine,
    features: usize,
    outputs: usize,
    version: i64,
    properties: Vec<(String, String)>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("version", &self.0.version)
            .field("features", &self.0.features)
            .field("outputs", &self.0.outputs)
            .finish()
    }
}

/// Why bytes do not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseModel {
    /// The bounds-checking reader refused it.
    #[error(transparent)]
    Onnx(#[from] Refused),
    /// A property that the file has twice: which one counts?
    #[error("the file has property {key:?} twice")]
    PropertyTwice {
        /// Which.
        key: String,
    },
    /// Trees that answer a class, not fractions of the balance.
    #[error("the file holds a classifier, and a limit model is a regressor")]
    Classifier,
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
        let File { ensemble, version, properties } = File::read(bytes)?;
        if let Operator::Classifier { .. } = ensemble.operator {
            return Err(RefuseModel::Classifier);
        }
        for (ix, (key, _)) in properties.iter().enumerate() {
            if properties[..ix].iter().any(|(before, _)| before == key) {
                return Err(RefuseModel::PropertyTwice { key: key.clone() });
            }
        }
        let (features, outputs) = (ensemble.forest.features(), ensemble.forest.outputs());
        #[cfg(not(feature = "tract-core"))]
        let engine = Engine::new(&ensemble.forest)?;
        #[cfg(all(feature = "tract-core", not(feature = "tract")))]
        let engine = plimsoll_kernel::Kernel::new(&ensemble.forest)
            .map(|kernel| Engine::of_kernel(kernel, features))?
            .map_err(|reason| RefuseModel::Engine { reason })?;
        #[cfg(feature = "tract")]
        let engine = Engine::new(bytes, features).map_err(|reason| RefuseModel::Engine { reason })?;
        Ok(Self(Arc::new(Inner { engine, features, outputs, version, properties })))
    }

    /// Columns of a row.
    pub fn features(&self) -> usize {
        self.0.features
    }

    /// Outputs: one for each level.
    pub fn outputs(&self) -> usize {
        self.0.outputs
    }

    /// `model_version` of the file.
    pub fn version(&self) -> i64 {
        self.0.version
    }

    /// What the file says about itself under `key`.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.0.properties.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The steps of every output for one row, before uncrossing.
    ///
    /// # Panics
    /// When the row has not the model's number of columns.
    pub fn steps(&self, row: &[f32]) -> Vec<i32> {
        assert_eq!(row.len(), self.0.features, "a row has as many columns as the model");
        self.0.engine.steps(row)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use plimsoll_model::forest::{Forest, Node, Tree};
    use plimsoll_model::onnx::ModelFile;

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
