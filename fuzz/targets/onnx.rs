//! Hostile model bytes: the kernel's reader and the reference reader agree on whatever both accept, to the bit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_fuzz as _;
use plimsoll_kernel::{File, Kernel};
use plimsoll_model::onnx::ModelFile;

/// Rows that meet thresholds from both sides, and what no threshold meets.
const VALUES: [f32; 8] = [0.0, -0.0, 1.0, -1.25, 5.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

fuzz_target!(|data: &[u8]| {
    let reference = ModelFile::decode(data);
    let Ok(file) = File::read(data) else { return };
    let forest = &file.ensemble.forest;
    let Ok(kernel) = Kernel::new(forest) else { return };
    let portable = kernel.clone().portable();
    for (ix, first) in VALUES.iter().enumerate() {
        let row: Vec<f32> =
            (0..forest.features()).map(|c| if c == 0 { *first } else { VALUES[(ix + c) % 8] }).collect();
        let steps = forest.evaluate(&row);
        assert_eq!(kernel.steps(&row), steps);
        assert_eq!(portable.steps(&row), steps);
        if let Ok(reference) = &reference {
            assert_eq!(reference.forest.evaluate(&row), steps);
        }
    }
});
