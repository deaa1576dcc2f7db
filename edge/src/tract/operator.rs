//! `TreeEnsembleRegressor` for tract, which does not have it: standard ONNX in, our kernel inside.
//!
//! tract follows tree indices unchecked; here the attributes first become a [`Forest`], which checks every one.

use plimsoll_model::forest::{Forest, ONE};
use plimsoll_model::onnx::{Attributes, OPERATOR};
use tract_hir::internal::*;
use tract_onnx::model::{Onnx, ParsingContext};
use tract_onnx::pb::NodeProto;

use crate::kernel::Kernel;

/// tract's ONNX reader with our operator registered.
pub(crate) fn onnx() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    onnx.op_register.insert(OPERATOR, build);
    onnx
}

fn build(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let mut attributes = Attributes::default();
    for a in &node.attribute {
        attributes.set(&a.name, a.i, &a.s, &a.floats, &a.ints, &a.strings)?;
    }
    // The node does not know how wide its input is; `eval` holds each row against the columns the forest reads.
    let forest = attributes.forest(usize::from(u16::MAX) + 1)?;
    let narrow = Forest::new(forest.columns_read(), forest.outputs().to_vec())?;
    Ok((expand(TreeEnsembleRegressor(Arc::new(Kernel::new(&narrow)))), vec![]))
}

/// The operator: `[rows, F]` f32 in, `[rows, outputs]` f32 out.
#[derive(Clone, Debug)]
struct TreeEnsembleRegressor(Arc<Kernel>);

impl PartialEq for TreeEnsembleRegressor {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TreeEnsembleRegressor {}

impl Expansion for TreeEnsembleRegressor {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, DatumType::F32)?;
        s.equals(&outputs[0].datum_type, DatumType::F32)?;
        s.equals(&inputs[0].rank, 2)?;
        s.equals(&outputs[0].rank, 2)?;
        s.equals(&outputs[0].shape[0], &inputs[0].shape[0])?;
        s.equals(&outputs[0].shape[1], self.0.outputs().to_dim())?;
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for TreeEnsembleRegressor {
    fn name(&self) -> StaticName {
        OPERATOR.into()
    }

    op_as_typed_op!();
}

impl EvalOp for TreeEnsembleRegressor {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[rows, columns] = input.shape() else { bail!("expected [rows, features], got {:?}", input.shape()) };
        ensure!(columns >= self.0.features(), "rows of {columns} columns, the forest reads {}", self.0.features());
        let view = input.try_as_plain_ram()?;
        let values = view.as_slice::<f32>()?;
        let outputs = self.0.outputs();
        let mut answers = Vec::with_capacity(rows * outputs);
        let (mut padded, mut steps) = (Vec::with_capacity(columns + 1), vec![0; outputs]);
        for row in values.chunks_exact(columns.max(1)) {
            self.0.evaluate(row, &mut padded, &mut steps);
            // |steps| < 2²⁴ by construction of the forest, so both the cast and the product are exact.
            answers.extend(steps.iter().map(|s| *s as f32 * (1.0 / ONE as f32)));
        }
        let answers = tract_ndarray::Array2::from_shape_vec((rows, outputs), answers)?;
        Ok(tvec!(answers.into_tensor().into_tvalue()))
    }
}

impl TypedOp for TreeEnsembleRegressor {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::fact(&[inputs[0].shape[0].clone(), self.0.outputs().to_dim()])))
    }

    as_op!();
}
