//! The kernel as an operator of tract.

use plimsoll_kernel::Kernel;
use plimsoll_kernel::forest::ONE;
use tract_core::internal::*;

/// The operator: `[rows, F]` f32 in. Out: `[rows, outputs]` f32, or for a classifier `[rows]` i64 and `[rows, 2]` f32.
#[derive(Clone, Debug)]
pub(super) struct Trees(Arc<Inner>);

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

impl Trees {
    /// * `labels`: of a classifier, whose scores are probabilities when it is `logistic`.
    pub(super) fn new(kernel: Kernel, labels: Option<[i64; 2]>, logistic: bool) -> Self {
        Self(Arc::new(Inner { kernel, labels, logistic }))
    }

    /// Whether labels come out beside the table.
    #[cfg(feature = "tract")]
    pub(super) fn classifies(&self) -> bool {
        self.0.labels.is_some()
    }

    /// Columns of the table that comes out.
    pub(super) fn columns(&self) -> usize {
        self.0.columns()
    }
}

impl PartialEq for Trees {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trees {}

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
        let table = f32::fact(&[rows.clone(), self.columns().to_dim()]);
        Ok(match self.0.labels {
            Some(_) => tvec!(i64::fact(&[rows]), table),
            None => tvec!(table),
        })
    }

    as_op!();
}
