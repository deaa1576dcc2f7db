//! What is played, how often devices sync, how late payments settle: a TOML file in which every key has a default.

use plimsoll_model::UtcSeconds;
use serde::{Deserialize, Serialize};

use super::draw::Draw;

/// Everything a replay depends on besides the model and the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Decides syncs, delays, attackers. Same seed, same bytes.
    pub seed: u64,
    /// Accounts at most, evenly picked from those of the ledger.
    pub accounts: u32,
    /// Local days that are played, the ledger's last; a run's own test days when fewer.
    pub days: u32,
    /// What is played.
    pub scenarios: Vec<Scenario>,
    /// Share of accounts that attack, in each of the attacks, thousandths.
    pub attackers_milli: u32,
    /// Transactions an account is taken to have made before the ledger begins: programmes that do not score young
    /// histories count them.
    pub lifetime_before: u64,
    /// Days of history before an account takes part.
    pub history_days_min: u32,
    /// Who pays what the balance does not cover.
    pub overdraft: Bears,
    /// From one sync to the next.
    pub sync: Spread,
    /// From a payment to when its payee hands it in. The payer hands in what it still has at its own next sync.
    pub settlement: Spread,
    /// Hours of the mass outage.
    pub outage_h: u32,
    /// Slow settlement: the share of payments, thousandths, whose payee comes an hour after they have expired.
    pub late_milli: u32,
    /// Copied app data: copies that pay, each somebody else.
    pub copies: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            accounts: 1_000,
            days: 30,
            scenarios: Scenario::ALL.to_vec(),
            attackers_milli: 200,
            lifetime_before: 0,
            history_days_min: 30,
            overdraft: Bears::Issuer,
            sync: Spread::Exponential { mean_h: 24, max_h: 96 },
            settlement: Spread::Exponential { mean_h: 12, max_h: 72 },
            outage_h: 48,
            late_milli: 100,
            copies: 3,
        }
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// What is wrong, with the key.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        config.validate()?;
        Ok(config)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// What is wrong, with the key.
    pub fn validate(&self) -> Result<(), String> {
        let range = |key: &str, value: u32, low: u32, high: u32| {
            if (low..=high).contains(&value) { Ok(()) } else { Err(format!("{key} = {value}: use {low} to {high}")) }
        };
        range("accounts", self.accounts, 1, 10_000_000)?;
        range("days", self.days, 1, 3_660)?;
        range("attackers_milli", self.attackers_milli, 1, 1_000)?;
        range("outage_h", self.outage_h, 1, 24 * 14)?;
        range("late_milli", self.late_milli, 0, 1_000)?;
        range("copies", self.copies, 2, 16)?;
        if self.scenarios.is_empty() {
            return Err("scenarios: name at least one".into());
        }
        for (key, spread) in [("sync", &self.sync), ("settlement", &self.settlement)] {
            let hours = match *spread {
                Spread::Fixed { h } => vec![h],
                Spread::Uniform { from_h, to_h } if from_h > to_h => {
                    return Err(format!("{key}: from_h is above to_h"));
                }
                Spread::Uniform { to_h, .. } => vec![to_h],
                Spread::Exponential { mean_h, max_h } => vec![mean_h, max_h],
            };
            hours.into_iter().try_for_each(|h| range(&format!("{key} in hours"), h, 1, 24 * 30))?;
        }
        Ok(())
    }
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Spread {
    /// Always as long.
    Fixed {
        /// Hours.
        h: u32,
    },
    /// Any length between two, equally likely.
    Uniform {
        /// Hours.
        from_h: u32,
        /// Hours.
        to_h: u32,
    },
    /// No memory, cut off.
    Exponential {
        /// Mean before the cut, hours.
        mean_h: u32,
        /// Never longer, hours.
        max_h: u32,
    },
}

impl Spread {
    /// Seconds, at least one minute.
    pub(super) fn seconds(&self, draw: Draw) -> i64 {
        let drawn = match *self {
            Self::Fixed { h } => i64::from(h) * 3_600,
            Self::Uniform { from_h, to_h } => {
                let seconds = u64::from(to_h - from_h) * 3_600;
                i64::from(from_h) * 3_600 + draw.below(seconds + 1) as i64
            }
            Self::Exponential { mean_h, max_h } => {
                let hours = -libm::log(1.0 - draw.unit()) * f64::from(mean_h);
                (hours.min(f64::from(max_h)) * 3_600.0) as i64
            }
        };
        drawn.max(60)
    }
}

/// Who pays what a settled payment's payer does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bears {
    /// The issuer, to whom the payer then owes it.
    Issuer,
    /// The payee.
    Payee,
}

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    /// Everybody pays offline what the ledger says they paid, and no more.
    Clean,
    /// Everybody also spends, at some moment of every window, all that the wallet lets them: the most that the
    /// certificate speaks of.
    Drained,
    /// The same, and every payment settles at the last instant it may; some come too late.
    Slow,
    /// No device syncs and no payee settles for days from the ledger's busiest payday on, and everybody spends all.
    Outage,
    /// One phone, many small payments.
    Split,
    /// The phone's clock is set back and ahead, with and without a payee that helps.
    Clock,
    /// The app's data is set back or removed; the platform has a counter.
    Restored,
    /// The app's data is copied to devices without such a counter, and each copy pays somebody else.
    Copied,
    /// Every device the account may have drains at once.
    Devices,
    /// A merchant helps: takes what no honest one would, while the account is emptied elsewhere.
    Collude,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Clean,
        Self::Drained,
        Self::Slow,
        Self::Outage,
        Self::Split,
        Self::Clock,
        Self::Restored,
        Self::Copied,
        Self::Devices,
        Self::Collude,
    ];

    /// Its name in files, `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Drained => "drained",
            Self::Slow => "slow",
            Self::Outage => "outage",
            Self::Split => "split",
            Self::Clock => "clock",
            Self::Restored => "restored",
            Self::Copied => "copied",
            Self::Devices => "devices",
            Self::Collude => "collude",
        }
    }

    /// The scenario of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Whether every account plays it, day by day; the others are attacks, made once by some.
    pub const fn is_life(self) -> bool {
        matches!(self, Self::Clean | Self::Drained | Self::Slow | Self::Outage)
    }

    /// Whether the certificate speaks of it. An outage begins on a day that was picked, not at a sync like any other.
    pub const fn is_promised(self) -> bool {
        matches!(self, Self::Clean | Self::Drained | Self::Slow)
    }

    /// Whether its holders spend all they may.
    pub(super) const fn drains(self) -> bool {
        matches!(self, Self::Drained | Self::Slow | Self::Outage)
    }
}

/// An instant moved to where the source can tell it: the last second of the day where it only has dates, as the next
/// day's rows begin one second later.
pub(super) fn told(at: UtcSeconds, offset: plimsoll_model::UtcOffset, dates_only: bool) -> UtcSeconds {
    if dates_only { offset.midnight(offset.day(at) + 1).plus(-1) } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_written_and_read_and_mistakes_name_their_key() {
        let text = toml::to_string(&Config::default()).expect("serialises");
        assert_eq!(Config::from_toml(&text), Ok(Config::default()));
        assert_eq!(Config::from_toml("seed = 1"), Ok(Config::default()));
        for (text, word) in [
            ("seeds = 1", "seeds"),
            ("copies = 1", "copies"),
            ("scenarios = []", "scenarios"),
            ("scenarios = ['clena']", "clena"),
            ("sync = { kind = 'uniform', from_h = 9, to_h = 2 }", "sync"),
            ("settlement = { kind = 'fixed', h = 0 }", "settlement"),
        ] {
            let refused = Config::from_toml(text).expect_err(text);
            assert!(refused.contains(word), "{refused}");
        }
    }

    #[test]
    fn spreads_keep_their_bounds_and_their_mean() {
        let spread = Spread::Exponential { mean_h: 24, max_h: 96 };
        let hours: Vec<i64> = (0..20_000).map(|i| spread.seconds(Draw::new(i)) / 3_600).collect();
        assert!(hours.iter().all(|h| (0..=96).contains(h)));
        let mean = hours.iter().sum::<i64>() as f64 / hours.len() as f64;
        // 24 · (1 − e⁻⁴), less half an hour for the division.
        assert!((22.5..23.7).contains(&mean), "{mean}");
        let uniform = Spread::Uniform { from_h: 2, to_h: 3 };
        assert!((0..500).all(|i| (7_200..=10_800).contains(&uniform.seconds(Draw::new(i)))));
    }
}
