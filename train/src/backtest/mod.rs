//! The backtest: what each way of setting a limit would have granted, and what it would have lost, on accounts and days
//! that nothing was tuned on.
//!
//! ```text
//! accounts ─► folds: each is tested once, by methods that never saw it ─┐
//! days ─► teach │ choose, calibrate │ test ─────────────────────────────┴─► three readings of each method
//! ```
//!
//! Every method has one scalar and is read three ways. *Static*: the scalar is the boldest whose share of violated
//! calibration windows is at most α, which is what split conformal prediction and most operators do; it promises nothing.
//! *Certified*: the boldest that the betting test over accounts certifies. *Same rate*: the one scalar at which the
//! method violates α of the test windows, so that methods can be compared at equal risk; it cannot be deployed.

mod ladder;
mod measure;
mod method;

use std::ops::Range;
use std::path::Path;

use plimsoll_datasets::Histories;
use plimsoll_model::Money;
use plimsoll_model::calibration::{Promise, Stake, Verdict, Violations};
use plimsoll_model::policy::Policy;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::Age;
use rayon::prelude::*;

use crate::calibrate::{Candidate, Log, Scored, candidate, cells, in_turn, score};
use crate::config::Config;
use crate::run::{Progress, TrainError, examples, forest_of, sampling, terms};
use crate::windows::{Teachers, Window, take};

use ladder::Ladder;

pub use measure::{Measured, Ratio};
pub use method::Method;

/// One row of the backtest: a window, what the forest of its fold says of it, and what others say.
pub(crate) struct Row {
    pub(crate) scored: Scored,
    /// What the seed system's formula says, minor units, at each age.
    pub(crate) formula: Vec<u64>,
    /// What each peer says stays of the balance, at each age: `[peer][age]`.
    pub(crate) peers: Vec<Vec<f32>>,
    /// What the ladder head says, at each age.
    pub(crate) ladder: Vec<ladder::Steps>,
}

/// One fold.
pub(crate) struct Fold {
    /// Accounts that taught.
    pub(crate) teachers: usize,
    pub(crate) calibrate: Vec<Row>,
    pub(crate) test: Vec<Row>,
    /// What the engine ships, by tier.
    pub(crate) shipped: Vec<(plimsoll_model::Tier, Candidate)>,
}

/// Everything a backtest found.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Findings {
    /// Accounts and windows tested.
    pub accounts: usize,
    /// Windows tested.
    pub windows: usize,
    /// Accounts that taught, in each fold.
    pub teaching: Vec<usize>,
    /// Calibration accounts of each fold.
    pub calibrating: Vec<usize>,
    /// α, parts per million.
    pub alpha_ppm: u32,
    /// Each method, each reading.
    pub measured: Vec<Measured>,
    /// Mean limits of our model over those of others, at the same rate and certified.
    pub ratios: Vec<Ratio>,
}

/// What is asked of a backtest, besides the configuration.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Every account is tested in one of so many folds.
    pub folds: u32,
    /// Whose windows teach the trees, and peers.
    pub teachers: Teachers,
    /// Shares of violated windows at which methods are compared.
    pub rates: Vec<Ppm>,
    /// Also shows the mean of min(limit, this).
    pub cap: Option<Money>,
    /// Whether the ladder head is grown and compared, too: as much work again as everything else.
    pub ladder: bool,
    /// Others to compare with.
    pub peers: Peers<'a>,
}

/// Which rows are written for peers, or where their answers are.
#[derive(Clone, Copy, Debug)]
pub enum Peers<'a> {
    /// No peers.
    None,
    /// Writes each fold's rows here, and stops.
    Export(&'a Path),
    /// Reads `fold<k>.<name>.f32` from here: one answer for each row and age that was written, in order.
    Read(&'a Path, &'a [String]),
}

/// Runs the backtest. `None` when rows were only written for peers.
///
/// # Errors
/// [`TrainError`], as training.
pub fn backtest(
    histories: &Histories,
    config: &Config,
    policy: &Policy,
    asked: &Asked<'_>,
    progress: &dyn Progress,
) -> Result<Option<Findings>, TrainError> {
    config.validate()?;
    let ages = config.ages(policy)?;
    let terms = terms(config, policy, &ages);
    let (folds, peers) = (asked.folds, asked.peers);
    let mut all = Vec::new();
    progress.stage("folds", u64::from(folds));
    for fold in 0..folds {
        let sampling = crate::windows::Sampling {
            fold: Some((fold, folds)),
            teachers: asked.teachers,
            ..sampling(histories, config, policy, &ages)
        };
        let windows = take(histories, &sampling, &|_| {});
        crate::run::refuse_empty(&windows, histories.len(), config, &ages, policy)?;
        let (rows, targets) = examples(&windows.train, &ages);
        if let Peers::Export(dir) = peers {
            export(dir, fold, &rows, &targets, &windows.calibrate, &windows.test, &ages)?;
            progress.at(u64::from(fold) + 1);
            continue;
        }
        let forest = forest_of(&rows, &targets, config, &|_| {})?;
        let ladder = asked.ladder.then(|| Ladder::of(&rows, &targets, 2 * config.boost.trees)).transpose()?;
        let log = Log {
            terms: terms.clone(),
            choose: score(&forest, &windows.choose, &ages),
            calibrate: score(&forest, &windows.calibrate, &ages),
            test: Vec::new(),
        };
        let shipped = cells(&log).iter().map(|c| (c.tier, candidate(c.rule, &terms))).collect();
        let test = score(&forest, &windows.test, &ages);
        let mut answers = read(peers, fold, windows.calibrate.len() + windows.test.len(), ages.len())?;
        let of_test = answers.iter_mut().map(|peer| peer.split_off(windows.calibrate.len())).collect();
        all.push(Fold {
            teachers: windows.train.chunk_by(|a, b| a.account == b.account).count(),
            calibrate: rows_of(log.calibrate, &windows.calibrate, answers, ladder.as_ref(), &ages),
            test: rows_of(test, &windows.test, of_test, ladder.as_ref(), &ages),
            shipped,
        });
        progress.at(u64::from(fold) + 1);
    }
    if all.is_empty() {
        return Ok(None);
    }
    let names: &[String] = if let Peers::Read(_, names) = peers { names } else { &[] };
    Ok(Some(measure::read(&all, &terms, &Method::all(&terms, names, asked.ladder), asked)))
}

fn rows_of(
    scored: Vec<Scored>,
    windows: &[Window],
    peers: Vec<Vec<Vec<f32>>>,
    ladder: Option<&Ladder>,
    ages: &[Age],
) -> Vec<Row> {
    let mut peers: Vec<_> = peers.into_iter().map(Vec::into_iter).collect();
    let mut climbed = windows.par_iter().map(|w| ladder.map(|l| l.steps(w, ages))).collect::<Vec<_>>().into_iter();
    let row = |(scored, window): (Scored, &Window)| Row {
        formula: ages.iter().map(|age| method::formula(&window.features, *age)).collect(),
        peers: peers.iter_mut().map(|p| p.next().unwrap_or_default()).collect(),
        ladder: climbed.next().flatten().unwrap_or_default(),
        scored,
    };
    scored.into_iter().zip(windows).map(row).collect()
}

/// `fold<k>.train.f32` (features, target), `fold<k>.ask.f32` (features, age by age of each row: calibration, then test).
fn export(
    dir: &Path,
    fold: u32,
    rows: &ndarray::Array2<f32>,
    targets: &[i32],
    calibrate: &[Window],
    test: &[Window],
    ages: &[Age],
) -> Result<(), TrainError> {
    let one = plimsoll_model::forest::ONE as f32;
    let teach = rows.rows().into_iter().zip(targets).flat_map(|(row, y)| {
        row.to_vec().into_iter().chain([*y as f32 / one]).flat_map(f32::to_le_bytes).collect::<Vec<u8>>()
    });
    let ask = calibrate.iter().chain(test).flat_map(|w| ages.iter().map(move |age| (w, age))).flat_map(|(w, age)| {
        let mut row = w.features;
        row[plimsoll_model::features::Feature::LastSyncAgeMin as usize] = age.0 as f32;
        row.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>()
    });
    for (name, bytes) in [("train", teach.collect::<Vec<u8>>()), ("ask", ask.collect())] {
        let path = dir.join(format!("fold{fold}.{name}.f32"));
        std::fs::write(&path, bytes).map_err(|source| TrainError::Io { path, source })?;
    }
    Ok(())
}

/// `[peer][row][age]`.
fn read(peers: Peers<'_>, fold: u32, rows: usize, ages: usize) -> Result<Vec<Vec<Vec<f32>>>, TrainError> {
    let Peers::Read(dir, names) = peers else { return Ok(Vec::new()) };
    let one = |name: &String| {
        let path = dir.join(format!("fold{fold}.{name}.f32"));
        let bytes = std::fs::read(&path).map_err(|source| TrainError::Io { path: path.clone(), source })?;
        if bytes.len() != rows * ages * 4 {
            let reason =
                format!("{} bytes for {rows} rows at {ages} ages: export again, then ask the peer again", bytes.len());
            return Err(TrainError::BadRun { path, reason });
        }
        let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(values.chunks_exact(ages).map(<[f32]>::to_vec).collect())
    };
    names.iter().map(one).collect()
}

/// The first candidate of a method that violates each row, by age: `[age][row]`.
pub(crate) fn first_violated(rows: &[Row], method: &Method, ages: usize) -> Vec<Vec<u32>> {
    let n = method.candidates();
    let first = |row: &Row, age: usize| {
        let (mut low, mut high) = (0, n);
        while low < high {
            let middle = u32::midpoint(low, high);
            if method.limit(middle, row, age) <= row.scored.headroom[age] { low = middle + 1 } else { high = middle }
        }
        low
    };
    (0..ages).into_par_iter().map(|age| rows.iter().map(|row| first(row, age)).collect()).collect()
}

/// The boldest candidate whose share of violated windows is at most `alpha` at every age.
pub(crate) fn at_rate(firsts: &[Vec<u32>], candidates: u32, alpha: f64) -> u32 {
    let of_age = |firsts: &Vec<u32>| {
        let mut counts = vec![0u64; candidates as usize + 1];
        firsts.iter().for_each(|f| counts[*f as usize] += 1);
        let most = (alpha * firsts.len() as f64) as u64;
        let mut violated = 0;
        for (candidate, count) in counts[..candidates as usize].iter().enumerate() {
            violated += count;
            if violated > most {
                return candidate.saturating_sub(1) as u32;
            }
        }
        candidates - 1
    };
    firsts.iter().map(of_age).min().unwrap_or(0)
}

/// The boldest candidate that certifies over accounts.
pub(crate) fn certified(rows: &[Row], firsts: &[Vec<u32>], candidates: u32, alpha: f64, delta: f64) -> Option<u32> {
    let accounts = in_turn(rows, |row| row.scored.account);
    let promise = Promise { alpha, money: None };
    let certifies = |candidate: u32| {
        let of_age = |firsts: &Vec<u32>| {
            let count = |range: &Range<usize>| Violations {
                violated: firsts[range.clone()].iter().filter(|f| **f <= candidate).count() as u32,
                missing: 0,
                windows: range.len() as u32,
            };
            accounts.iter().map(count).collect::<Vec<Violations>>()
        };
        Verdict::of(promise, Stake::MOST, &firsts.iter().map(of_age).collect::<Vec<_>>()).certifies(delta)
    };
    // Limits rise from candidate to candidate, so the first failure is found by halving.
    let all: Vec<u32> = (0..candidates).collect();
    (all.partition_point(|candidate| certifies(*candidate)) as u32).checked_sub(1)
}
