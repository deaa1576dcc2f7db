//! The kernel inside tract: any ONNX graph around the trees runs here.

mod operator;

use plimsoll_model::forest::ONE;
use tract_hir::internal::*;

/// A graph optimised by tract, ready to run.
#[derive(Debug)]
pub(crate) struct Plan(Arc<TypedRunnableModel>);

impl Plan {
    /// Prepares a checked file over rows of `columns`.
    pub(crate) fn new(bytes: &[u8], columns: usize) -> Result<Self, String> {
        let plan = || -> TractResult<Arc<TypedRunnableModel>> {
            let mut reader = bytes;
            let rows = 1usize;
            operator::onnx()
                .model_for_read(&mut reader)?
                .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [rows, columns]))?
                .into_optimized()?
                .into_runnable()
        };
        plan().map(Self).map_err(|e| format!("{e:#}"))
    }

    /// The steps of every output for one row.
    pub(crate) fn steps(&self, row: &[f32]) -> Vec<i32> {
        let input = tract_ndarray::ArrayView2::from_shape((1, row.len()), row).expect("one row of its own length");
        let run = || -> TractResult<Vec<i32>> {
            let outputs = self.0.run(tvec!(input.to_owned().into_tensor().into_tvalue()))?;
            let view = outputs[0].try_as_plain_ram()?;
            // Whole steps below 2²⁴, so the product is exact.
            Ok(view.as_slice::<f32>()?.iter().map(|v| (v * ONE as f32) as i32).collect())
        };
        run().expect("shapes were checked when the plan was made, and the operator has no other way to fail")
    }
}
