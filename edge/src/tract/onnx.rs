//! The tree ensembles for tract's ONNX reader, which has no regressor, no `TreeEnsemble` and a slow classifier: standard
//! ONNX in, our kernel inside.
//!
//! tract follows tree indices unchecked; here the node first goes through the kernel's reader, which checks every one.

use plimsoll_kernel::Kernel;
use plimsoll_kernel::onnx::{Ensemble, Operator, PostTransform};
use prost::Message as _;
use tract_hir::internal::*;
use tract_onnx::model::{Onnx, ParsingContext};
use tract_onnx::pb::NodeProto;

use super::operator::Trees;

/// tract's ONNX reader with the three tree ensembles registered.
///
/// They evaluate what [`plimsoll_kernel::onnx`] reads and refuse the rest when the graph is loaded.
pub fn onnx() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    for operator in ["TreeEnsembleRegressor", "TreeEnsembleClassifier", "TreeEnsemble"] {
        onnx.op_register.insert(operator, build);
    }
    onnx
}

fn build(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let ensemble = Ensemble::read_node(&node.encode_to_vec())?;
    if let Operator::Classifier { never_negative: true, .. } = ensemble.operator {
        // ONNX Runtime then takes the sum for a probability and leaves out the transform; the standard does not say so.
        bail!("a classifier without a negative leaf means different things to different runtimes");
    }
    let kernel = Kernel::new(&ensemble.forest)?;
    let labels = match ensemble.operator {
        Operator::Classifier { labels, .. } => Some(labels),
        Operator::Regressor | Operator::Ensemble => None,
    };
    let logistic = ensemble.post_transform == PostTransform::Logistic;
    Ok((expand(Trees::new(kernel, labels, logistic)), vec![]))
}

impl Expansion for Trees {
    fn name(&self) -> StaticName {
        "TreeEnsemble".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        s.equals(&inputs[0].datum_type, DatumType::F32)?;
        s.equals(&inputs[0].rank, 2)?;
        let table = if self.classifies() {
            check_output_arity(outputs, 2)?;
            s.equals(&outputs[0].datum_type, DatumType::I64)?;
            s.equals(&outputs[0].rank, 1)?;
            s.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
            &outputs[1]
        } else {
            check_output_arity(outputs, 1)?;
            &outputs[0]
        };
        s.equals(&table.datum_type, DatumType::F32)?;
        s.equals(&table.rank, 2)?;
        s.equals(&table.shape[0], &inputs[0].shape[0])?;
        s.equals(&table.shape[1], self.columns().to_dim())?;
        Ok(())
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(1 + usize::from(self.classifies()))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}
