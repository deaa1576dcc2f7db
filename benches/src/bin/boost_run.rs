//! Our side of `benches/boost.sh`: `boost_run DIRECTORY ENGINE OBJECTIVE ROUNDS THREADS`, on the same raw rows and with the
//! same one line of JSON as `benches/boost/engines.py`.
//!
//! ENGINE is `plimsoll` (exact), `plimsoll-sampled` (all rows below the quantile, one in sixteen of the rest) or
//! `plimsoll-monotone` (columns 0, 10 and 15 rising, as they do in truth). SETTINGS, TOML of `BoostConfig`, changes the rest.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use ndarray::Array2;
use plimsoll_model::forest::{Forest, ONE};
use plimsoll_model::monotone::{Direction, prove};
use plimsoll_model::quantile::Ppm;
use plimsoll_train::boost::{BoostConfig, Monotone, Objective, TrainingSet, fit};

const FEATURES: usize = 40;
const LEVELS: [u32; 7] = [2_500, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000];
const MONOTONE: [(usize, Direction); 3] =
    [(0, Direction::Increasing), (10, Direction::Increasing), (15, Direction::Increasing)];

#[allow(clippy::print_stdout, reason = "one line of JSON is the answer")]
fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [directory, engine, objective, rounds, threads] = &args[..] else {
        bail!("usage: boost_run DIRECTORY ENGINE OBJECTIVE ROUNDS THREADS");
    };
    let directory = Path::new(directory);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build()?;
    let levels = |ppm: &[u32]| ppm.iter().map(|ppm| Ppm::new(*ppm)).collect::<Result<Vec<_>, _>>();
    let mut config = BoostConfig {
        levels: levels(&[50_000])?,
        trees: rounds.parse()?,
        leaves: 31,
        depth: 64,
        min_leaf: 20,
        learning_rate_milli: 50,
        leaf_bits: 20,
        smooth: 3,
        monotone: Monotone::Order,
        ..BoostConfig::default()
    };
    let mut settings = toml::Table::try_from(&config)?;
    settings.extend(std::env::var("SETTINGS").unwrap_or_default().parse::<toml::Table>()?);
    config = settings.try_into()?;
    match &objective[..] {
        "quantile" => {}
        "levels" => (config.objective, config.levels) = (Objective::QuantilesTogether, levels(&LEVELS)?),
        "levels-apart" => config.levels = levels(&LEVELS)?,
        "logistic" => config.objective = Objective::Logistic,
        "squared" => config.objective = Objective::Squared,
        other => bail!("objective {other}"),
    }
    let mut monotone = &[][..];
    match &engine[..] {
        "plimsoll" => {}
        "plimsoll-sampled" => config.keep_one_in = 16,
        "plimsoll-monotone" => monotone = &MONOTONE,
        other => bail!("engine {other}"),
    }

    let target = if objective == "logistic" { "label" } else { "y" };
    let (x, y) = (values(&directory.join("train.x"))?, values(&directory.join(format!("train.{target}")))?);
    let rows = Array2::from_shape_vec((y.len(), FEATURES), x)?;
    // Targets become fractions between the least and the greatest: steps of less than 10⁻⁴ here.
    let (least, greatest) = if objective == "logistic" {
        (0.0, 1.0)
    } else {
        y.iter().fold((y[0], y[0]), |m, v| (m.0.min(*v), m.1.max(*v)))
    };
    let span = f64::from(greatest) - f64::from(least);
    let steps = |y: f32| ((f64::from(y) - f64::from(least)) / span * f64::from(ONE)).round() as i32;
    let targets: Vec<i32> = y.iter().map(|y| steps(*y)).collect();

    let (memory, cpu, start) = (peak_mb()?, cpu_seconds()?, Instant::now());
    let set = TrainingSet::new(rows.view(), &targets).monotone(monotone);
    let forest = pool.install(|| fit(set, &config, &|_| {}))?;
    let (wall, cpu, memory) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu, peak_mb()? - memory);

    for (column, direction) in monotone {
        prove(&forest, *column, *direction).context("the proof")?;
    }
    let (x, y) = (values(&directory.join("test.x"))?, values(&directory.join(format!("test.{target}")))?);
    let said: Vec<Vec<f64>> = said(&forest, &x)
        .into_iter()
        .map(|steps| {
            let value = |s: &i32| f64::from(*s) / f64::from(ONE);
            steps
                .iter()
                .map(|s| if objective == "logistic" { value(s) } else { value(s) * span + f64::from(least) })
                .collect()
        })
        .collect();
    let crossed = said.iter().filter(|row| !row.is_sorted()).count();
    let mut loss = 0.0;
    for (row, y) in said.iter().zip(&y) {
        let y = f64::from(*y);
        for (said, level) in row.iter().zip(&config.levels) {
            loss += match &objective[..] {
                "logistic" => said.max(0.0) + (-said.abs()).exp().ln_1p() - y * said,
                "squared" => (y - said).powi(2),
                _ => (level.fraction() * (y - said)).max((level.fraction() - 1.0) * (y - said)),
            } / row.len() as f64;
        }
    }
    let hash = plimsoll_model::artifact::sha256_hex(format!("{forest:?}").as_bytes());
    println!(
        r#"{{"engine": "{engine}", "objective": "{objective}", "rounds": {rounds}, "threads": {threads}, "cpu": {cpu:.3}, "wall": {wall:.3}, "memory_mb": {memory:.1}, "loss": {:.6}, "crossed": {crossed}, "forest": "{}"}}"#,
        loss / y.len() as f64,
        &hash[..12],
    );
    Ok(())
}

fn said(forest: &Forest, x: &[f32]) -> Vec<Vec<i32>> {
    x.chunks_exact(FEATURES).map(|row| forest.evaluate(row)).collect()
}

/// Read piece by piece: what is read twice at once would hide what training takes.
fn values(path: &Path) -> anyhow::Result<Vec<f32>> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let mut values = Vec::with_capacity(file.metadata()?.len() as usize / 4);
    let mut piece = [0u8; 1 << 16];
    loop {
        let mut filled = 0;
        while filled < piece.len() {
            match file.read(&mut piece[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        values.extend(piece[..filled].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)));
        if filled < piece.len() {
            return Ok(values);
        }
    }
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
