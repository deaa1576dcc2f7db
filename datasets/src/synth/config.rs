//! What to generate: every knob with its default, readable from TOML.

use std::fs;
use std::path::Path;

use plimsoll_model::time::CivilDate;
use plimsoll_model::{Currency, UtcOffset};
use serde::{Deserialize, Serialize};

use crate::error::LoadError;

/// A generated data set. `Config::default()` is 1,000 `tng` wallets over 2024.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Same seed, same bytes.
    pub seed: u64,
    /// How many wallets, 1 to 100,000,000.
    pub accounts: u32,
    /// How many local days, 1 to 3,660.
    pub days: u32,
    /// The first local day, like `"2024-01-01"`; 1970 to 2150.
    pub start: CivilDate,
    /// Which deployment the wallets are like.
    pub programme: Programme,
    /// A change of behaviour on the way; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Adversaries per million accounts, at most 200,000.
    pub adversary_ppm: u32,
    /// Aimed-at share of payments made offline, per million, 10,000 to 300,000.
    pub offline_ppm: u32,
    /// Accounts per million that are opened inside the span, at most 900,000.
    pub newcomer_ppm: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            accounts: 1_000,
            days: 366,
            start: CivilDate::new(2024, 1, 1).expect("a date"),
            programme: Programme::Tng,
            drift: None,
            adversary_ppm: 10_000,
            offline_ppm: 90_000,
            newcomer_ppm: 200_000,
        }
    }
}

/// Which deployment the wallets are like: currency, zone, size of amounts, mix of archetypes and tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Programme {
    /// E-wallet in Malaysia, MYR.
    Tng,
    /// Ceiling tokens in Nigeria, NGN.
    Naira,
    /// Phone to phone in India, INR.
    P2p,
    /// Stored-value card in Indonesia, IDR without decimals.
    Card,
}

impl Programme {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Tng, Self::Naira, Self::P2p, Self::Card];

    /// The currency of all amounts.
    pub fn currency(self) -> Currency {
        let (code, exponent) = match self {
            Self::Tng => ("MYR", 2),
            Self::Naira => ("NGN", 2),
            Self::P2p => ("INR", 2),
            Self::Card => ("IDR", 0),
        };
        Currency::new(code, exponent).expect("three capitals")
    }

    /// The clock of its country.
    pub const fn offset(self) -> UtcOffset {
        UtcOffset(match self {
            Self::Tng => 480,
            Self::Naira => 60,
            Self::P2p => 330,
            Self::Card => 420,
        })
    }

    /// Minor units that buy what one sen buys in Malaysia.
    pub(crate) const fn scale(self) -> f64 {
        match self {
            Self::Tng => 1.0,
            Self::Naira => 125.0,
            Self::P2p => 12.0,
            Self::Card => 17.0,
        }
    }

    /// The smallest step of a price, minor units.
    pub(crate) const fn grid(self) -> i64 {
        match self {
            Self::Tng => 5,
            Self::Naira => 1_000,
            Self::P2p => 100,
            Self::Card => 100,
        }
    }

    /// The most a wallet may hold and the most one payment may be, minor units. Without a cap of its own a
    /// programme gets one beyond any wallet, and far from the edge of the type.
    pub(crate) const fn caps(self) -> (i64, i64) {
        match self {
            Self::Card => (5_000_000, 1_000_000),
            _ => (1_000_000_000_000_000, 100_000_000_000_000),
        }
    }

    /// Weights of the tiers 0 to 3.
    pub(crate) const fn tiers(self) -> [u32; 4] {
        match self {
            Self::Tng => [30, 45, 25, 0],
            Self::Naira => [8, 47, 33, 12],
            Self::P2p => [40, 40, 20, 0],
            Self::Card => [0, 100, 0, 0],
        }
    }

    /// Around here the villages lie, degrees.
    pub(crate) const fn country(self) -> (f64, f64) {
        match self {
            Self::Tng => (4.2, 101.9),
            Self::Naira => (7.5, 5.5),
            Self::P2p => (20.5, 78.9),
            Self::Card => (-7.2, 110.4),
        }
    }
}

/// A change of behaviour: from `start_day` on, over `ramp_days`, amounts move to these percentages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// The day of the span it begins, 0 the first.
    pub start_day: u32,
    /// Days until it is complete; 0 is a shock.
    #[serde(default)]
    pub ramp_days: u32,
    /// Spending afterwards, percent of before; 100 is no change.
    #[serde(default = "hundred")]
    pub spend_percent: u32,
    /// Income afterwards, percent.
    #[serde(default = "hundred")]
    pub income_percent: u32,
    /// Time without a connection afterwards, percent.
    #[serde(default = "hundred")]
    pub offline_percent: u32,
}

const fn hundred() -> u32 {
    100
}

impl Drift {
    /// `(spend, income, offline)` as factors on a day of the span.
    pub(crate) fn factors(&self, day: u32) -> (f64, f64, f64) {
        let done = match day.checked_sub(self.start_day) {
            None => 0.0,
            Some(since) if since >= self.ramp_days => 1.0,
            Some(since) => f64::from(since) / f64::from(self.ramp_days),
        };
        let factor = |percent: u32| 1.0 + done * (f64::from(percent) / 100.0 - 1.0);
        (factor(self.spend_percent), factor(self.income_percent), factor(self.offline_percent))
    }
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// `Io`; `BadConfig` naming the file and the key.
    pub fn from_file(path: &Path) -> Result<Self, LoadError> {
        let text = fs::read_to_string(path).map_err(LoadError::io(path))?;
        let config: Self = toml::from_str(&text).map_err(|e| LoadError::BadConfig {
            message: format!("{}: {}", path.display(), e.to_string().trim_end()),
        })?;
        config.validate()?;
        Ok(config)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// `BadConfig` naming the key.
    pub fn validate(&self) -> Result<(), LoadError> {
        let range = |key: &str, value: u32, low: u32, high: u32| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(LoadError::BadConfig { message: format!("{key}: {value} is not within {low}..={high}") })
            }
        };
        range("accounts", self.accounts, 1, 100_000_000)?;
        range("days", self.days, 1, 3_660)?;
        range("start", u32::try_from(self.start.year).unwrap_or(0), 1970, 2150)?;
        range("adversary_ppm", self.adversary_ppm, 0, 200_000)?;
        range("offline_ppm", self.offline_ppm, 10_000, 300_000)?;
        range("newcomer_ppm", self.newcomer_ppm, 0, 900_000)?;
        if let Some(drift) = &self.drift {
            range("drift.start_day", drift.start_day, 0, self.days - 1)?;
            range("drift.ramp_days", drift.ramp_days, 0, 3_660)?;
            range("drift.spend_percent", drift.spend_percent, 10, 500)?;
            range("drift.income_percent", drift.income_percent, 0, 500)?;
            range("drift.offline_percent", drift.offline_percent, 0, 300)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_survives_toml() {
        let drift = Drift { start_day: 9, ramp_days: 0, spend_percent: 130, income_percent: 100, offline_percent: 100 };
        let config = Config { drift: Some(drift), programme: Programme::Naira, ..Config::default() };
        let text = toml::to_string(&config).expect("serialisable");
        assert!(text.contains("start = \"2024-01-01\""), "{text}");
        assert_eq!(toml::from_str::<Config>(&text).expect("its own output"), config);
    }

    #[test]
    fn a_key_out_of_range_is_named() {
        let error = Config { accounts: 0, ..Config::default() }.validate().expect_err("nobody");
        assert_eq!(error.to_string(), "generator configuration: accounts: 0 is not within 1..=100000000");
        assert!(toml::from_str::<Config>("start = \"2023-02-29\"").is_err());
        assert!(toml::from_str::<Config>("speed = 1").is_err());
    }

    #[test]
    fn drift_ramps_from_nothing_to_all() {
        let drift =
            Drift { start_day: 10, ramp_days: 10, spend_percent: 200, income_percent: 50, offline_percent: 100 };
        assert_eq!(drift.factors(9), (1.0, 1.0, 1.0));
        assert_eq!(drift.factors(15), (1.5, 0.75, 1.0));
        assert_eq!(drift.factors(99), (2.0, 0.5, 1.0));
    }
}
