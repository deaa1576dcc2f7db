//! What the guarantees and the small file cost in accuracy: the default forest (monotone, short thresholds, coarse
//! leaves) beside one that may split every way, with leaves as fine as they come, on the same windows.

use std::collections::BTreeMap;

use anyhow::Context as _;
use plimsoll_datasets::{Histories, Input, OnBadRow, open};
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::policy::Policy;
use plimsoll_train::boost::{BoostConfig, TrainingSet, fit, pinball};
use plimsoll_train::config::Config;
use plimsoll_train::run::{examples, monotone_columns, windows};

fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).context("usage: model_size DATA")?;
    let histories =
        Histories::read(open(&Input::at(path))?, OnBadRow::Stop, &mut |_, _| std::ops::ControlFlow::Continue(()))?;
    let config = Config { target: plimsoll_model::calibration::Target::Committed, ..Config::default() };
    let policy = Policy::preset(&config.policy).context("the default policy is a preset")?;
    let ages = config.ages(&policy)?;
    let windows = windows(&histories, &config, &policy, &ages, &())?;
    let (rows, targets) = examples(&windows.train, &ages);
    let (test_rows, test_targets) = examples(&windows.test, &ages);
    eprintln!("{} windows to learn from, {} to test on", targets.len(), test_targets.len());

    let fine = BoostConfig { leaf_bits: 20, ..config.boost.clone() };
    let mut free = Vec::new();
    for (name, boost, monotone) in [("unconstrained", &fine, vec![]), ("default", &config.boost, monotone_columns())] {
        let forest = fit(TrainingSet::new(rows.view(), &targets).monotone(&monotone), boost, &|_| ())?;
        let losses: Vec<f64> = forest
            .outputs()
            .iter()
            .zip(&boost.levels)
            .map(|(trees, level)| {
                let answer = |row: ndarray::ArrayView1<'_, f32>| {
                    let row = row.to_vec();
                    trees.iter().map(|t| t.evaluate(&row)).sum()
                };
                let answers: Vec<i32> = test_rows.rows().into_iter().map(answer).collect();
                pinball(&test_targets, &answers, *level)
            })
            .collect();
        let bytes = ModelFile { forest, version: 1, properties: BTreeMap::new() }.encode();
        let packed = zstd::bulk::compress(&bytes, 19)?.len();
        eprintln!("{name}: {} bytes, {packed} under zstd 19; pinball losses {losses:.6?}", bytes.len());
        free = if free.is_empty() { losses } else { compare(&free, &losses) };
    }
    Ok(())
}

fn compare(free: &[f64], ours: &[f64]) -> Vec<f64> {
    let (free, ours): (f64, f64) = (free.iter().sum(), ours.iter().sum());
    eprintln!("the default's loss over all levels is {:+.3} % of the unconstrained one's", (ours / free - 1.0) * 100.0);
    vec![ours]
}
