//! The Rust peers of `benches/boost.sh`: `plimsoll-boost-peers DIRECTORY ENGINE OBJECTIVE ROUNDS THREADS`, on the same raw rows
//! and with the same one line of JSON as `engines.py`. The engines are `hessboost` (exact leaves) and `gbdt` (no quantiles,
//! one thread, exact splits: on the first 20,000 rows only).

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};

const FEATURES: usize = 40;
const LEAVES: usize = 31;
const RATE: f64 = 0.05;
const ALPHA: f64 = 0.05;
const FEW: usize = 20_000;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [directory, engine, objective, rounds, threads] = &args[..] else {
        bail!("usage: plimsoll-boost-peers DIRECTORY ENGINE OBJECTIVE ROUNDS THREADS");
    };
    let directory = Path::new(directory);
    let target = if objective == "logistic" { "label" } else { "y" };
    let (x, y) = (values(&directory.join("train.x"))?, values(&directory.join(format!("train.{target}")))?);
    let (test_x, test_y) = (values(&directory.join("test.x"))?, values(&directory.join(format!("test.{target}")))?);
    let (memory, cpu, start) = (peak_mb()?, cpu_seconds()?, Instant::now());
    let predict: Box<dyn Fn() -> anyhow::Result<Vec<f64>>> = match &engine[..] {
        "hessboost" => hessboost(&x, &y, &test_x, objective, rounds.parse()?, threads.parse()?)?,
        "gbdt" => {
            let few = FEW.min(y.len());
            gbdt(&x[..few * FEATURES], &y[..few], &test_x, objective, rounds.parse()?)?
        }
        other => bail!("engine {other}"),
    };
    let (wall, cpu, memory) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu, peak_mb()? - memory);
    let said = predict()?;
    let loss = |(y, p): (&f32, &f64)| {
        let (y, d) = (f64::from(*y), f64::from(*y) - p);
        match &objective[..] {
            "logistic" => -(y * p.max(1e-12).ln() + (1.0 - y) * (1.0 - p).max(1e-12).ln()),
            "squared" => d * d,
            _ => (ALPHA * d).max((ALPHA - 1.0) * d),
        }
    };
    let loss = test_y.iter().zip(&said).map(loss).sum::<f64>() / said.len() as f64;
    println!(
        r#"{{"engine": "{engine}", "objective": "{objective}", "rounds": {rounds}, "threads": {threads}, "cpu": {cpu:.3}, "wall": {wall:.3}, "memory_mb": {memory:.1}, "loss": {loss:.6}}}"#
    );
    Ok(())
}

type Predict = Box<dyn Fn() -> anyhow::Result<Vec<f64>>>;

fn hessboost(x: &[f32], y: &[f32], test: &[f32], objective: &str, rounds: usize, threads: usize) -> anyhow::Result<Predict> {
    use hessboost::config::{GrowPolicy, LeafEstimation};
    use hessboost::objective::{Quantiles, RegLoss};
    use hessboost::prelude::*;

    let train_set = DMatrix::from_dense(x, y.len(), FEATURES)?.with_labels(y)?;
    let quantile = objective == "quantile";
    let objective = match objective {
        "quantile" => Objective::Quantile(Quantiles::new([ALPHA])?),
        "logistic" => Objective::BinaryLogistic(RegLoss::default()),
        _ => Objective::SquaredError(RegLoss::default()),
    };
    let mut params = TrainingParams::builder()
        .objective(objective)
        .tree_method(TreeMethod::Hist)
        .grow_policy(GrowPolicy::LossGuide)
        .max_leaves(LEAVES)
        .unlimited_depth()
        .eta(RATE)
        .nthread(threads);
    if quantile {
        params = params.leaf_estimation(LeafEstimation::Exact);
    }
    let model = train(&params.build()?, &train_set, rounds)?;
    let test = DMatrix::from_dense(test, test.len() / FEATURES, FEATURES)?;
    Ok(Box::new(move || Ok(model.predict(&test, Iterations::Best)?.as_slice().iter().map(|p| f64::from(*p)).collect())))
}

fn gbdt(x: &[f32], y: &[f32], test: &[f32], objective: &str, rounds: usize) -> anyhow::Result<Predict> {
    use gbdt::config::Config;
    use gbdt::decision_tree::{Data, VALUE_TYPE_UNKNOWN};
    use gbdt::gradient_boost::GBDT;

    // It knows gaps as a value of its own, and labels as −1 and 1.
    let row = |row: &[f32]| row.iter().map(|v| if v.is_nan() { VALUE_TYPE_UNKNOWN } else { *v }).collect::<Vec<f32>>();
    let logistic = objective == "logistic";
    let mut config = Config::new();
    config.set_feature_size(FEATURES);
    config.set_max_depth(6);
    config.set_iterations(rounds);
    config.set_shrinkage(RATE as f32);
    config.set_loss(if logistic { "LogLikelyhood" } else { "SquaredError" });
    config.set_debug(false);
    let label = |y: f32| if logistic { 2.0 * y - 1.0 } else { y };
    let mut train: Vec<Data> =
        x.chunks(FEATURES).zip(y).map(|(x, y)| Data::new_training_data(row(x), 1.0, label(*y), None)).collect();
    let mut model = GBDT::new(&config);
    model.fit(&mut train);
    let test: Vec<Data> = test.chunks(FEATURES).map(|x| Data::new_test_data(row(x), None)).collect();
    Ok(Box::new(move || Ok(model.predict(&test).iter().map(|p| f64::from(*p)).collect())))
}

fn values(path: &Path) -> anyhow::Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn peak_mb() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|l| l.starts_with("VmHWM")).context("VmHWM in /proc/self/status")?;
    let kb: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kb / 1024.0)
}

/// User and system time of the process, in ticks of a hundredth of a second.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').context("a name in parentheses")?.1;
    let ticks: Vec<f64> = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
    Ok(ticks.iter().sum::<f64>() / 100.0)
}
