//! The training configuration: a TOML file in which every key has a documented default.

use plimsoll_model::artifact::{MODEL_BYTES_MAX, Objective};
use plimsoll_model::calibration::{Target, accounts_needed};
use plimsoll_model::forest::ONE;
use plimsoll_model::policy::{BadPolicy, Policy};
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::{Age, CivilDate};
use serde::{Deserialize, Serialize};

use crate::boost::{self, BadConfig, BoostConfig};

/// Everything a training run depends on besides the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the model line: lower-case letters, digits and dashes.
    pub model_id: String,
    /// Version of this model; a repository only takes a higher one.
    pub model_version: u64,
    /// Decides the split, the sampled windows and ages. Same seed, same bytes.
    pub seed: u64,
    /// A preset (`tng`, `naira`, `p2p`, `card`) or the path of a policy file.
    pub policy: String,
    /// `strict`: everything observed counts against the limit. `committed`: what the holder starts on the spot does not.
    pub target: Target,
    /// Ages at which limits are certified, minutes, rising; the last must be the programme's `offline_h_max`.
    /// Empty: a ladder up to that.
    pub ages_min: Vec<Age>,
    /// Which accounts and times teach, calibrate and test.
    pub split: SplitConfig,
    /// The trees.
    pub boost: BoostConfig,
    /// The promise.
    pub calibration: CalibrationConfig,
    /// How long the artifact may be used.
    pub artifact: ArtifactConfig,
    /// What must be true of it before it is published.
    pub check: CheckConfig,
}

/// Which accounts and times teach, calibrate and test. The three share no account and no day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// Share of accounts that calibrate, in thousandths.
    pub calibrate_milli: u32,
    /// Share of accounts that test, in thousandths.
    pub test_milli: u32,
    /// Share of accounts that choose between rules, in thousandths. The rest teach.
    pub choose_milli: u32,
    /// Share of the days, in thousandths, that teach; ignored when `train_until` is given.
    pub train_days_milli: u32,
    /// Share of the days, in thousandths, that calibrate; ignored when `calibrate_until` is given.
    pub calibrate_days_milli: u32,
    /// Last local day that any teaching window may touch, `YYYY-MM-DD`.
    pub train_until: Option<CivilDate>,
    /// Last local day that any calibration window may touch.
    pub calibrate_until: Option<CivilDate>,
    /// Days of history an account needs before its first window.
    pub history_days_min: u32,
    /// Windows of an account at most, in each part.
    pub windows_per_account: u32,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            calibrate_milli: 350,
            test_milli: 200,
            choose_milli: 100,
            train_days_milli: 600,
            calibrate_days_milli: 200,
            train_until: None,
            calibrate_until: None,
            history_days_min: 30,
            windows_per_account: 24,
        }
    }
}

/// The promise: `P(S < L) ≤ alpha` and `E[(L − S)⁺] ≤ beta` at each age, per tier, with confidence `1 − delta`; and what
/// is wanted of limits that keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationConfig {
    /// Risk, parts per million.
    pub alpha: Ppm,
    /// Risk in money, parts per million of the tier's cap; as much as `alpha` when not given, and then it follows from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<Ppm>,
    /// The chance that calibration was lucky, parts per million, over all `tries`.
    pub delta: Ppm,
    /// How many certifications the calibration accounts are to serve, this one included: each has `delta / tries`.
    pub tries: u32,
    /// Thousandths of the balance that a grown forest's predictions are lowered by, before they are scaled. Trees that few
    /// accounts taught are too sure where they see no risk: there the gap is little, whatever it is multiplied by.
    pub spare_milli: u32,
    /// Balance bands that each tier is parted into where it has accounts enough; the promise is tested in each.
    pub bands: u32,
    /// What decides between rules.
    pub objective: Objective,
}

impl Default for CalibrationConfig {
    fn default() -> Self {
        let ppm = |v| Ppm::new(v).expect("between 0 and 1");
        Self {
            alpha: ppm(5_000),
            beta: None,
            delta: ppm(50_000),
            tries: 1,
            spare_milli: 0,
            bands: 1,
            objective: Objective::default(),
        }
    }
}

impl CalibrationConfig {
    /// What is promised in money.
    pub fn beta(&self) -> Ppm {
        self.beta.unwrap_or(self.alpha)
    }

    /// What predictions are lowered by, in steps.
    pub const fn spare_steps(&self) -> i32 {
        (self.spare_milli as u64 * ONE as u64 / 1_000) as i32
    }

    /// Accounts without any violation that a tier needs before its limit can certify.
    pub fn accounts_needed(&self) -> u64 {
        let strictest = self.alpha.min(self.beta()).fraction();
        accounts_needed(strictest, self.delta.fraction() / f64::from(self.tries.max(1)))
    }
}

/// How long the artifact may be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArtifactConfig {
    /// Days from publication.
    pub valid_days: u32,
    /// Days after that in which it may still be used.
    pub grace_days: u32,
    /// Raised only when older models must never run again.
    pub rollback_index: u64,
}

impl Default for ArtifactConfig {
    fn default() -> Self {
        Self { valid_days: 90, grace_days: 14, rollback_index: 0 }
    }
}

/// Bounds of `plimsoll check`, which publishing asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckConfig {
    /// Bytes that the model file may have.
    pub model_bytes_max: u64,
    /// Bytes that it may have with policy, golden vectors, manifest and certificate.
    pub artifact_bytes_max: u64,
    /// Rows on which every engine is compared with the reference walk.
    pub parity_rows: u32,
    /// How much less demand than the best plain rule the shipped one may serve, thousandths of the demand.
    pub served_short_milli: u32,
    /// Accounts of a ledger that the replay plays.
    pub replay_accounts: u32,
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self {
            model_bytes_max: MODEL_BYTES_MAX,
            artifact_bytes_max: MODEL_BYTES_MAX,
            parity_rows: 4_096,
            served_short_milli: 20,
            replay_accounts: 200,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model_id: "limit".into(),
            model_version: 1,
            seed: 42,
            policy: "tng".into(),
            target: Target::Strict,
            ages_min: Vec::new(),
            split: SplitConfig::default(),
            boost: BoostConfig::default(),
            calibration: CalibrationConfig::default(),
            artifact: ArtifactConfig::default(),
            check: CheckConfig::default(),
        }
    }
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the key.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|e| ConfigError::Syntax { reason: e.to_string() })?;
        config.validate()?;
        Ok(config)
    }

    /// Every key with its default and what it means, as a file to start from.
    pub const fn default_toml() -> &'static str {
        include_str!("../configs/default.toml")
    }

    /// The configuration with every value written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is plain tables")
    }

    /// # Errors
    /// [`ConfigError`] names the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &'static str, why: &str| Err(ConfigError::Value { key, why: why.into() });
        let name_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.model_id.is_empty() || self.model_id.len() > 64 || !self.model_id.bytes().all(name_ok) {
            return wrong("model_id", "use 1 to 64 lower-case letters, digits and dashes");
        }
        if self.model_version == 0 || i64::try_from(self.model_version).is_err() {
            return wrong("model_version", "start at 1");
        }
        let s = &self.split;
        let shares = [s.calibrate_milli, s.test_milli, s.choose_milli];
        if shares.contains(&0) || shares.iter().map(|v| u64::from(*v)).sum::<u64>() >= 1_000 {
            return wrong("split.calibrate_milli", "with test_milli and choose_milli it must leave accounts to teach");
        }
        if s.train_days_milli == 0
            || s.calibrate_days_milli == 0
            || s.train_days_milli + s.calibrate_days_milli >= 1_000
        {
            return wrong("split.train_days_milli", "with calibrate_days_milli it must leave days to test");
        }
        if s.train_until.zip(s.calibrate_until).is_some_and(|(train, calibrate)| train >= calibrate) {
            return wrong("split.calibrate_until", "must be later than train_until");
        }
        if s.windows_per_account == 0 || s.windows_per_account > 1_000 {
            return wrong("split.windows_per_account", "must be from 1 to 1,000");
        }
        if !self.ages_min.is_sorted_by(|a, b| a < b) {
            return wrong("ages_min", "list ages rising, each once");
        }
        self.boost.validate()?;
        if !matches!(self.boost.objective, boost::Objective::Quantiles | boost::Objective::QuantilesTogether) {
            return wrong("boost.objective", "limits are quantiles: write \"quantiles\" or \"quantiles_together\"");
        }
        if self.boost.early_stopping_rounds > 0 {
            return wrong("boost.early_stopping_rounds", "must be 0: a run holds no rows out to stop by");
        }
        let c = &self.calibration;
        if c.tries == 0 || c.tries > 1_000 {
            return wrong("calibration.tries", "must be from 1 to 1,000");
        }
        if c.spare_milli > 500 {
            return wrong("calibration.spare_milli", "must be from 0 to 500: half of the balance");
        }
        if c.bands == 0 || c.bands > 10 {
            return wrong("calibration.bands", "must be from 1, the tier as a whole, to 10");
        }
        let o = &c.objective;
        let weights = [o.served_milli, o.useful_milli, o.limit_milli];
        if weights.iter().any(|w| *w > 1_000) || weights == [0; 3] {
            return wrong("calibration.objective.served_milli", "weights are 0 to 1,000, and one must be above 0");
        }
        if o.useful_from_milli > 1_000 || o.simpler_within_milli > 1_000 {
            return wrong("calibration.objective.useful_from_milli", "shares are at most 1,000 thousandths");
        }
        let check = &self.check;
        if check.model_bytes_max > MODEL_BYTES_MAX {
            return wrong("check.model_bytes_max", "at most 2,000,000: devices refuse more");
        }
        if check.parity_rows < 1_000 || check.parity_rows > 1_000_000 {
            return wrong("check.parity_rows", "must be from 1,000 to 1,000,000");
        }
        if check.replay_accounts < 20 || check.replay_accounts > 1_000_000 {
            return wrong("check.replay_accounts", "must be from 20 to 1,000,000");
        }
        if check.served_short_milli > 1_000 {
            return wrong("check.served_short_milli", "shares are at most 1,000 thousandths");
        }
        if self.calibration.accounts_needed() > u64::from(u32::MAX) {
            return wrong("calibration.alpha", "no number of accounts could certify it");
        }
        Ok(())
    }

    /// The ages of a programme: those configured, or a ladder up to its longest offline time.
    ///
    /// # Errors
    /// `ConfigError::Value` when the configured ages do not end where the programme does.
    pub fn ages(&self, policy: &Policy) -> Result<Vec<Age>, ConfigError> {
        let oldest = Age::hours(policy.offline_h_max);
        if self.ages_min.is_empty() {
            let ladder = [0, 1, 4, 12, 24, 48, 72, 96].map(Age::hours);
            return Ok(ladder.into_iter().filter(|a| *a < oldest).chain([oldest]).collect());
        }
        if self.ages_min.last() == Some(&oldest) {
            Ok(self.ages_min.clone())
        } else {
            let why = format!("must end at the programme's offline_h_max, {} minutes", oldest.0);
            Err(ConfigError::Value { key: "ages_min", why })
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, an unknown key, a wrong type.
    #[error("{reason}")]
    Syntax {
        /// The parser's word, with line and key.
        reason: String,
    },
    /// A value out of range or against another.
    #[error("{key}: {why}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What to do.
        why: String,
    },
    /// A booster parameter.
    #[error(transparent)]
    Boost(#[from] BadConfig),
    /// The policy it names.
    #[error("policy {name}: {source}")]
    Policy {
        /// Name or path.
        name: String,
        /// Why.
        source: BadPolicy,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_out_reads_back() {
        let config = Config::default();
        config.validate().expect("defaults are valid");
        assert_eq!(Config::from_toml(&config.to_toml()), Ok(config));
        assert_eq!(Config::from_toml(""), Ok(Config::default()));
    }

    #[test]
    fn the_file_to_start_from_names_every_key_with_its_default() {
        let text = Config::default_toml();
        assert_eq!(Config::from_toml(text), Ok(Config::default()));
        for line in Config::default().to_toml().lines().filter(|l| !l.is_empty()) {
            let key = line.split(" = ").next().expect("a line has a start");
            assert!(text.lines().any(|l| l.starts_with(key)), "{key}");
        }
    }

    #[test]
    fn mistakes_name_their_key() {
        let refused = |text: &str| Config::from_toml(text).expect_err(text).to_string();
        assert!(refused("sed = 1").contains("sed"));
        assert!(refused("[calibration]\nalpha = 0").contains("alpha"));
        assert!(refused("[calibration]\ntries = 0").contains("calibration.tries"));
        assert!(refused("[calibration]\nspare_milli = 501").contains("calibration.spare_milli"));
        assert!(refused("[calibration]\nbands = 11").contains("calibration.bands"));
        assert!(refused("[boost]\nobjective = \"squared\"").contains("boost.objective"));
        assert!(refused("[boost]\nearly_stopping_rounds = 5").contains("boost.early_stopping_rounds"));
        assert!(refused("[split]\ntest_milli = 900").contains("split."));
        assert!(refused("[calibration.objective]\nserved_milli = 1_001").contains("objective.served_milli"));
        assert!(refused("[split]\nchoose_milli = 0").contains("choose_milli"));
        assert!(refused("[check]\nmodel_bytes_max = 2_000_001").contains("check.model_bytes_max"));
        assert!(refused("[check]\nparity_rows = 10").contains("check.parity_rows"));
        assert!(refused("model_id = \"Å\"").contains("model_id"));
        assert!(refused("ages_min = [60, 0]").contains("ages_min"));
    }

    #[test]
    fn ages_end_where_the_programme_does() {
        let naira = Policy::preset("naira").expect("naira");
        let ages = Config::default().ages(&naira).expect("a ladder");
        assert_eq!(ages.last(), Some(&Age::hours(24)));
        let short = Config { ages_min: vec![Age(0), Age(60)], ..Config::default() };
        assert!(short.ages(&naira).is_err());
    }
}
