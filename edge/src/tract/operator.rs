//! The tree ensembles for tract, which has no regressor, no `TreeEnsemble` and a slow classifier: standard ONNX in, our
//! kernel inside.
//!
//! tract follows tree indices unchecked; here the node first goes through the kernel's reader, which checks every one.

use plimsoll_kernel::Kernel;
use plimsoll_kernel::forest::ONE;
use plimsoll_kernel::onnx::{Ensemble, Operator, PostTransform};
use prost::Message as _;
use tract_hir::internal::*;
use tract_onnx::model::{Onnx, ParsingContext};
use tract_onnx::pb::NodeProto;

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
    Ok((expand(Trees(Arc::new(Inner { kernel, labels, logistic }))), vec![]))
}

/// The operator: `[rows, F]` f32 in. Out: `[rows, outputs]` f32, or for a classifier `[rows]` i64 and `[rows, 2]` f32.
#[derive(Clone, Debug)]
struct Trees(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kernel: Kernel,
    /// Of a classifier.
    labels: Option<[i64; 2]>,
    logistic: bool,
}

impl Inner {
    /// Columns of the table that comes out.
    fn columns(&self) -> usize {
        if self.labels.is_some() { 2 } else { self.kernel.outputs() }
    }

    /// The label and the two scores of a margin, as ONNX Runtime has them.
    fn classify(&self, margin: f32, labels: [i64; 2]) -> (i64, [f32; 2]) {
        let logistic = |v: f32| {
            let p = 1.0 / (1.0 + (-v.abs()).exp());
            if v < 0.0 { 1.0 - p } else { p }
        };
        let scores = [-margin, margin];
        (labels[usize::from(margin > 0.0)], if self.logistic { scores.map(logistic) } else { scores })
    }
}

impl PartialEq for Trees {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trees {}

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
        let table = if self.0.labels.is_some() {
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
        s.equals(&table.shape[1], self.0.columns().to_dim())?;
        Ok(())
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(1 + usize::from(self.0.labels.is_some()))
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Trees {
    fn name(&self) -> StaticName {
        "TreeEnsemble".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Trees {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let Inner { kernel, labels, .. } = &*self.0;
        let input = args_1!(inputs);
        let &[rows, columns] = input.shape() else { bail!("expected [rows, features], got {:?}", input.shape()) };
        let least = kernel.features().max(1);
        ensure!(columns >= least, "rows of {columns} columns, the forest reads {least}");
        let view = input.try_as_plain_ram()?;
        let mut steps = vec![0; rows * kernel.outputs()];
        kernel.evaluate_rows(view.as_slice::<f32>()?, columns, &mut steps);
        // |steps| < 2²⁴ by construction of the forest, so both the cast and the product are exact.
        let sums = steps.into_iter().map(|s| s as f32 * (1.0 / ONE as f32));
        let Some(labels) = *labels else {
            let answers = tract_ndarray::Array2::from_shape_vec((rows, kernel.outputs()), sums.collect())?;
            return Ok(tvec!(answers.into_tensor().into_tvalue()));
        };
        let (classes, scores): (Vec<i64>, Vec<[f32; 2]>) = sums.map(|margin| self.0.classify(margin, labels)).unzip();
        let scores = tract_ndarray::Array2::from_shape_vec((rows, 2), scores.into_flattened())?;
        let classes = tract_ndarray::Array1::from_vec(classes);
        Ok(tvec!(classes.into_tensor().into_tvalue(), scores.into_tensor().into_tvalue()))
    }
}

impl TypedOp for Trees {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = inputs[0].shape[0].clone();
        let table = f32::fact(&[rows.clone(), self.0.columns().to_dim()]);
        Ok(match self.0.labels {
            Some(_) => tvec!(i64::fact(&[rows]), table),
            None => tvec!(table),
        })
    }

    as_op!();
}
