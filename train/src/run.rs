//! One training run: history in; model, certificate, calibration log and metrics out. The same history, configuration
//! and seed give the same bytes. [`crate::directory`] keeps it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use plimsoll_datasets::{Histories, LoadError};
use plimsoll_model::artifact::{
    ENGINE, Manifest, MonotoneClaim, Release, SCHEMA, Terms, TierCap, TierTerms, sha256_hex,
};
use plimsoll_model::features::{FEATURES, Feature, schema_hash};
use plimsoll_model::forest::{Forest, Tree};
use plimsoll_model::golden::Golden;
use plimsoll_model::money::Money;
use plimsoll_model::monotone::{Direction, Violation, prove};
use plimsoll_model::onnx::{ML_OPSET, ModelFile};
use plimsoll_model::policy::{Policy, TierRules};
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::{Age, UtcSeconds};

use crate::accounts::Accounts;
use crate::boost::{FitError, TrainingSet, fit};
use crate::calibrate::{Feasible, Log, derive, score, verify};
use crate::config::{Config, ConfigError, SplitConfig};
use crate::metrics::Metrics;
use crate::windows::{Period, Sampling, Teachers, Window, Windows, take};

/// Features in which the limit may move one way only: the older the sync the less, the older the account and the
/// cleaner its settlements the more.
pub const MONOTONE: [(Feature, Direction); 3] = [
    (Feature::LastSyncAgeMin, Direction::Decreasing),
    (Feature::AccountAgeDays, Direction::Increasing),
    (Feature::PriorOfflineSettleRate, Direction::Increasing),
];

/// Hears how far a long run is.
pub trait Progress: Sync {
    /// A new stage of `total` units begins.
    fn stage(&self, name: &'static str, total: u64);
    /// So many of them are done.
    fn at(&self, done: u64);
    /// Something worth knowing before the next stage.
    fn note(&self, _text: &str) {}
}

/// Hears nothing.
impl Progress for () {
    fn stage(&self, _: &'static str, _: u64) {}
    fn at(&self, _: u64) {}
}

/// Why a run ended without a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The configuration.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// History and policy count in different money.
    #[error("the history counts in {history}, the policy {programme} in {policy}: give a policy of that currency")]
    Currency {
        /// Of the history.
        history: String,
        /// Of the policy.
        policy: String,
        /// Its name.
        programme: String,
    },
    /// A part of the split has no windows.
    #[error(
        "no windows to {part}: of {accounts} accounts {short} have too little history for their part and {empty} never a \
         positive balance; windows need {needs_days} days of history before them and {reach_h} hours after"
    )]
    NoWindows {
        /// `train`, `choose`, `calibrate` or `test`.
        part: &'static str,
        /// In the history.
        accounts: usize,
        /// Skipped for want of history.
        short: u32,
        /// Skipped for want of balance.
        empty: u32,
        /// `split.history_days_min`.
        needs_days: u32,
        /// Longest age and settlement window.
        reach_h: i64,
    },
    /// The booster.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// A forest that was made elsewhere.
    #[error("the forest: {why}")]
    BadForest {
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The exported trees are not monotone, and the artifact is not written: a bug of the booster, or an import that
    /// was not made monotone.
    #[error("the exported trees are not monotone in {feature}: {violation}")]
    NotMonotone {
        /// Which feature.
        feature: &'static str,
        /// Where.
        violation: Violation,
    },
    /// The output directory cannot be made, or is taken.
    #[error(transparent)]
    Output(#[from] LoadError),
    /// Reading or writing a file.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A run directory that does not hold what a run writes.
    #[error("{path}: {reason}")]
    BadRun {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A finished run.
#[derive(Debug)]
pub struct Run {
    /// What it was asked.
    pub config: Config,
    /// The rules it was certified under.
    pub policy: Policy,
    /// `model.onnx`.
    pub model: Vec<u8>,
    /// `golden.json`.
    pub golden: Vec<u8>,
    /// Manifest and certificate; dates are set when it is published.
    pub release: Release,
    /// The calibration log.
    pub log: Log,
    /// What it did on the test split.
    pub metrics: Metrics,
    /// Who was in it.
    pub accounts: Accounts,
}

/// Trains, proves, calibrates and tests.
///
/// # Errors
/// [`TrainError`]; nothing is written here.
pub fn train(
    histories: &Histories,
    config: &Config,
    policy: &Policy,
    progress: &dyn Progress,
) -> Result<Run, TrainError> {
    run(histories, config, policy, progress, None)
}

/// The same with trees that were made elsewhere ([`crate::import`]): proves, calibrates and tests them.
///
/// The configuration's `boost` grows nothing; its levels become the file's, whose predictions are taken as they are.
///
/// # Errors
/// [`TrainError`]; `BadForest` when the file does not say what it predicts, or predicts something else than this engine
/// computes features for.
pub fn adopt(
    histories: &Histories,
    config: &Config,
    policy: &Policy,
    file: &ModelFile,
    progress: &dyn Progress,
) -> Result<Run, TrainError> {
    let bad = |why: String| TrainError::BadForest { why };
    let property = |name: &str| file.properties.get(name).ok_or_else(|| bad(format!("it has no property {name}")));
    if *property("feature_schema")? != schema_hash() || file.forest.features() != FEATURES.len() {
        return Err(bad("it was imported for other features than this build computes: import it again".into()));
    }
    let level = |text: &str| text.parse().ok().and_then(|ppm| Ppm::new(ppm).ok());
    let levels: Option<Vec<Ppm>> = property(LEVELS)?.split(',').map(level).collect();
    let levels = levels.filter(|l| l.len() == file.forest.outputs().len() && l.is_sorted_by(|a, b| a < b));
    let levels = levels.ok_or_else(|| bad(format!("its property {LEVELS} does not name a level for each output")))?;
    let mut config = config.clone();
    config.boost.levels = levels;
    config.calibration.spare_milli = 0;
    run(histories, &config, policy, progress, Some(file))
}

/// Of an imported model's file: the level of each output in parts per million, separated by commas.
pub const LEVELS: &str = "levels_ppm";
/// Of an imported model's file: what made it.
pub const MADE_BY: &str = "made_by";
/// Of an imported model's file: the files it was made from.
pub const SOURCE: &str = "source_sha256";

fn run(
    histories: &Histories,
    config: &Config,
    policy: &Policy,
    progress: &dyn Progress,
    given: Option<&ModelFile>,
) -> Result<Run, TrainError> {
    config.validate()?;
    let ages = config.ages(policy)?;
    if histories.currency != policy.currency {
        return Err(TrainError::Currency {
            history: format!("{:?}", histories.currency),
            policy: format!("{:?}", policy.currency),
            programme: policy.programme.clone(),
        });
    }

    let windows = windows(histories, config, policy, &ages, progress)?;
    refuse_empty(&windows, histories.len(), config, &ages, policy)?;

    let mut terms = terms(config, policy, &ages);
    let calibrating = |tier| {
        let of_tier = windows.calibrate.iter().filter(|w| w.tier == tier).map(|w| w.account);
        of_tier.collect::<std::collections::BTreeSet<u32>>().len()
    };
    for feasible in Feasible::of(&terms, calibrating).into_iter().filter(|f| !f.suffices()) {
        progress.note(&feasible.to_string());
    }

    let mut properties = BTreeMap::from([
        ("model_id".to_owned(), config.model_id.clone()),
        ("model_version".to_owned(), config.model_version.to_string()),
        ("programme".to_owned(), policy.programme.clone()),
        ("feature_schema".to_owned(), schema_hash()),
    ]);
    let forest = match given {
        None => grow(&windows, &ages, config, progress)?,
        Some(file) => {
            let kept = file.properties.iter().filter(|(name, _)| [MADE_BY, SOURCE].contains(&name.as_str()));
            properties.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
            file.forest.clone()
        }
    };
    let mut monotone = Vec::new();
    let file = ModelFile {
        forest,
        version: i64::try_from(config.model_version).expect("validate refuses larger versions"),
        properties,
    };
    let model = file.encode();
    // The proof is of the file, not of the trees in memory.
    let exported = ModelFile::decode(&model).expect("the reader reads what the writer writes").forest;
    for (feature, direction) in MONOTONE {
        let proof = prove(&exported, feature as usize, direction)
            .map_err(|violation| TrainError::NotMonotone { feature: feature.name(), violation })?;
        monotone.push(MonotoneClaim {
            feature: feature.name().into(),
            increasing: direction == Direction::Increasing,
            pairs: proof.pairs,
        });
    }

    progress.stage("calibration", 3);
    terms.model_sha256 = sha256_hex(&model);
    terms.data_sha256 = histories.sha256();
    let log = Log {
        terms,
        choose: score(&exported, &windows.choose, &ages),
        calibrate: score(&exported, &windows.calibrate, &ages),
        test: score(&exported, &windows.test, &ages),
    };
    progress.at(1);
    let certificate = derive(&log);
    progress.at(2);
    let metrics = Metrics::of(&exported, &windows, &log, &certificate.cells, config, &model);
    progress.at(3);
    let levels = &config.boost.levels;
    let golden = Golden::record(&exported, levels, &certificate, policy.currency, policy.utc_offset_min).to_json();
    let manifest = Manifest {
        schema: SCHEMA,
        model_id: config.model_id.clone(),
        model_version: config.model_version,
        rollback_index: config.artifact.rollback_index,
        programme: policy.programme.clone(),
        currency: policy.currency,
        feature_schema: schema_hash(),
        features: FEATURES.iter().map(|f| f.name.to_owned()).collect(),
        levels: config.boost.levels.clone(),
        ages,
        window_h: policy.settle_within_h,
        opset: ML_OPSET as u32,
        engine_min: ENGINE,
        engine_max: ENGINE,
        policy_sha256: sha256_hex(&policy.to_json()),
        golden_sha256: sha256_hex(&golden),
        hard_cap_by_tier: policy.tiers.iter().map(|t| TierCap { tier: t.tier, cap: t.outstanding_cap() }).collect(),
        // Set by `stamp`: a run does not depend on the day it was made.
        issued_at: UtcSeconds(0),
        use_not_after: UtcSeconds(0),
        grace_days: config.artifact.grace_days,
        monotone,
    };
    let release = Release { manifest, certificate };
    let accounts = Accounts::of(histories, &windows.test);
    Ok(Run { config: config.clone(), policy: policy.clone(), model, golden, release, log, metrics, accounts })
}

/// What is asked of a model, before there is one.
pub fn terms(config: &Config, policy: &Policy, ages: &[Age]) -> Terms {
    let tier = |t: &TierRules| TierTerms {
        tier: t.tier,
        cap: Some(t.outstanding_cap()).filter(|cap| *cap < Money::MAX),
        fallback: t.fallback,
    };
    let c = &config.calibration;
    Terms {
        beta: c.beta(),
        tries: c.tries,
        bands: c.bands,
        levels: config.boost.levels.clone(),
        objective: c.objective,
        tiers: policy.tiers.iter().map(tier).collect(),
        policy_sha256: sha256_hex(&policy.to_json()),
        feature_schema: schema_hash(),
        ..Terms::new(c.alpha, c.delta, config.target, policy.settle_within_h, ages.to_vec())
    }
}

fn grow(windows: &Windows, ages: &[Age], config: &Config, progress: &dyn Progress) -> Result<Forest, TrainError> {
    progress.stage("trees", u64::from(config.boost.trees) * config.boost.levels.len() as u64);
    let (rows, targets) = examples(&windows.train, ages);
    Ok(forest_of(&rows, &targets, config, &|done| progress.at(done))?)
}

/// The forest that predictions come from: each output's trees, and one of a single leaf that lowers what they say.
pub(crate) fn forest_of(
    rows: &ndarray::Array2<f32>,
    targets: &[i32],
    config: &Config,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Forest, FitError> {
    let set = TrainingSet::new(rows.view(), targets);
    let forest = fit(set.monotone(&monotone_columns()), &config.boost, progress)?;
    let spare = config.calibration.spare_steps();
    if spare == 0 {
        return Ok(forest);
    }
    let lowered = |trees: &Vec<Tree>| trees.iter().cloned().chain([Tree::constant(-spare)]).collect();
    Ok(Forest::new(forest.features(), forest.outputs().iter().map(lowered).collect())?)
}

/// The times of the three parts.
fn periods(histories: &Histories, split: &SplitConfig) -> [Period; 3] {
    let offset = histories.offset;
    let Some((first, last)) = histories.span() else {
        return [Period { from: UtcSeconds(0), until: UtcSeconds(0) }; 3];
    };
    let (first_day, last_day) = (offset.day(first), offset.day(last));
    let days = last_day - first_day + 1;
    let ends = |day: i64| offset.midnight(day + 1).plus(-1);
    let train_days = days * i64::from(split.train_days_milli) / 1_000;
    let train_day = split.train_until.map_or(first_day + train_days - 1, |d| d.day_number());
    let calibrate_days = days * i64::from(split.calibrate_days_milli) / 1_000;
    let calibrate_day = split.calibrate_until.map_or(train_day + calibrate_days, |d| d.day_number());
    let starts = |day: i64| offset.midnight(day);
    [
        Period { from: starts(first_day), until: ends(train_day) },
        Period { from: starts(train_day + 1), until: ends(calibrate_day) },
        Period { from: starts(calibrate_day + 1), until: ends(last_day) },
    ]
}

pub(crate) fn refuse_empty(
    windows: &Windows,
    accounts: usize,
    config: &Config,
    ages: &[Age],
    policy: &Policy,
) -> Result<(), TrainError> {
    let parts = [
        ("train", &windows.train),
        ("choose", &windows.choose),
        ("calibrate", &windows.calibrate),
        ("test", &windows.test),
    ];
    let Some((part, _)) = parts.into_iter().find(|(_, w)| w.is_empty()) else { return Ok(()) };
    let reach_h = ages.last().map_or(0, |a| i64::from(a.0) / 60) + i64::from(policy.settle_within_h);
    Err(TrainError::NoWindows {
        part,
        accounts,
        short: windows.skipped.short_history,
        empty: windows.skipped.no_positive_balance,
        needs_days: config.split.history_days_min,
        reach_h,
    })
}

/// Features and headroom of sync points, split by account and time as `config` says.
///
/// * `ages`: of [`Config::ages`].
///
/// # Errors
/// [`TrainError::Config`] when the split cannot be made.
pub fn windows(
    histories: &Histories,
    config: &Config,
    policy: &Policy,
    ages: &[Age],
    progress: &dyn Progress,
) -> Result<Windows, TrainError> {
    progress.stage("features and labels", histories.len() as u64);
    let sampling = sampling(histories, config, policy, ages);
    Ok(take(histories, &sampling, &|done| progress.at(done)))
}

/// How windows are taken, as `config` says.
pub(crate) fn sampling<'a>(
    histories: &Histories,
    config: &Config,
    policy: &'a Policy,
    ages: &'a [Age],
) -> Sampling<'a> {
    Sampling {
        seed: config.seed,
        target: config.target,
        policy,
        ages,
        window_h: policy.settle_within_h,
        per_account: config.split.windows_per_account,
        history_days_min: config.split.history_days_min,
        shares_milli: [config.split.calibrate_milli, config.split.test_milli, config.split.choose_milli],
        fold: None,
        teachers: Teachers::ByAccount,
        periods: periods(histories, &config.split),
    }
}

/// What trees learn from: rows `[n, features]`, and the share of the balance that each window kept, in steps.
pub fn examples(windows: &[Window], ages: &[Age]) -> (ndarray::Array2<f32>, Vec<i32>) {
    let mut rows = ndarray::Array2::<f32>::zeros((windows.len(), FEATURES.len()));
    let mut targets = Vec::with_capacity(windows.len());
    for (ix, window) in windows.iter().enumerate() {
        // Every age in turn, so that the trees learn age and every age has as many rows.
        let age = ix % ages.len();
        let mut row = rows.row_mut(ix);
        row.assign(&ndarray::ArrayView1::from(&window.features[..]));
        row[Feature::LastSyncAgeMin as usize] = ages[age].0 as f32;
        targets.push(window.fraction_steps(age));
    }
    (rows, targets)
}

/// Columns in which a limit may move one way only, and which way.
pub fn monotone_columns() -> Vec<(usize, Direction)> {
    MONOTONE.iter().map(|(feature, direction)| (*feature as usize, *direction)).collect()
}

/// The release with its dates: made now, used for as long as the configuration says.
pub fn stamp(mut release: Release, now: UtcSeconds, valid_days: u32) -> Release {
    release.manifest.issued_at = now;
    release.manifest.use_not_after = now.plus(i64::from(valid_days) * plimsoll_model::time::DAY);
    release
}

impl Run {
    /// Derives the certificate again from the calibration log, and compares it number by number; then the files it
    /// names, and the proof that the trees are monotone.
    ///
    /// # Errors
    /// What does not follow from the log, or is another file than the certificate's.
    pub fn recheck(&self) -> Result<(), String> {
        let certificate = &self.release.certificate;
        let differences = verify(certificate, &self.log);
        if !differences.is_empty() {
            return Err(differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
        }
        let files = [
            ("model.onnx", sha256_hex(&self.model), &certificate.terms.model_sha256),
            ("policy.json", sha256_hex(&self.policy.to_json()), &certificate.terms.policy_sha256),
            ("the list of features", schema_hash(), &certificate.terms.feature_schema),
        ];
        if let Some((name, found, stated)) = files.iter().find(|(_, found, stated)| found != *stated) {
            return Err(format!("{name} hashes to {found}, the certificate says {stated}"));
        }
        let file = ModelFile::decode(&self.model).map_err(|e| format!("model.onnx: {e}"))?;
        for (feature, direction) in MONOTONE {
            prove(&file.forest, feature as usize, direction).map_err(|v| format!("{}: {v}", feature.name()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_model::features::FEATURE_COUNT;
    use plimsoll_model::forest::ONE;

    use super::*;

    #[test]
    fn what_is_spared_lowers_every_prediction_by_as_much() {
        let rows =
            ndarray::Array2::from_shape_fn((600, FEATURE_COUNT), |(row, column)| ((row * (column + 3)) % 97) as f32);
        let targets: Vec<i32> = rows.rows().into_iter().map(|r| (r[20] / 97.0 * ONE as f32) as i32).collect();
        let mut config = Config::default();
        config.boost.trees = 5;
        let plain = forest_of(&rows, &targets, &config, &|_| {}).expect("grows");
        config.calibration.spare_milli = 50;
        let spared = forest_of(&rows, &targets, &config, &|_| {}).expect("grows");
        for row in rows.rows().into_iter().step_by(37) {
            let row = row.to_vec();
            let (plain, spared) = (plain.evaluate(&row), spared.evaluate(&row));
            assert!(plain.iter().zip(&spared).all(|(p, s)| p - s == 52_428), "{plain:?} {spared:?}");
        }
        assert_ne!(
            plain.evaluate(&[0.0; FEATURE_COUNT]),
            plain.evaluate(&[96.0; FEATURE_COUNT]),
            "it learned something"
        );
    }
}
