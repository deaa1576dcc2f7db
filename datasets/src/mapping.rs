//! The mapping file: what the columns of somebody's table mean, in TOML.
//!
//! ```text
//! [columns]  which column is what            [sign]   how a debit is told from a credit
//! [units]    currency, major or minor        [kinds]  the table's words ─► ours
//! [time]     format, zone, resolution        [accounts] an optional second table
//! ```
//!
//! An annotated example is `datasets/mapping.example.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_model::{Currency, Kind, Tier, UtcOffset};
use serde::{Deserialize, Serialize};

use crate::error::LoadError;
use crate::source::Resolution;
use crate::table::clock::Clock;

/// What the columns of a table mean.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The transactions file, relative to the mapping file; absent when the caller names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<PathBuf>,
    /// One character between the cells of a CSV file.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Which column is what.
    pub columns: Columns,
    /// What the numbers count.
    pub units: Units,
    /// How time is written.
    pub time: Time,
    /// How a debit is told from a credit.
    #[serde(default)]
    pub sign: Sign,
    /// The table's words for our kinds.
    #[serde(default)]
    pub kinds: Kinds,
    /// A second file, one row per account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Accounts>,
    /// Where this mapping was read from; paths inside are relative to its directory.
    #[serde(skip)]
    pub file: PathBuf,
}

const fn comma() -> char {
    ','
}

/// Column names of the transactions file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The account's name.
    pub account: String,
    /// When the ledger saw it.
    pub time: String,
    /// How much.
    pub amount: String,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The other side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<String>,
    /// The row's own id; equal ids in one account are duplicates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The balance after the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<String>,
    /// A currency code, checked against `units.currency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// `online` or `offline`; empty is online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// How an offline payment ended: `clean`, `overdraft`, `double_spend`, `expired`, `forged`; empty is clean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// When the payer made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<String>,
    /// The holder's device, a number 0–255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Latitude.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latitude: Option<String>,
    /// Longitude.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longitude: Option<String>,
}

/// What the numbers count.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Units {
    /// The currency and its decimals, like `MYR/2`.
    pub currency: Currency,
    /// `major` (12.50) or `minor` (1250).
    pub amount: AmountUnit,
    /// `text`: ids and payees are names of any kind. `u64`: they are numbers already, used as they stand, 0 unknown.
    #[serde(default)]
    pub ids: IdUnit,
    /// `degrees` or `e6` (millionths of a degree).
    #[serde(default)]
    pub place: PlaceUnit,
}

/// Whether `12.50` or `1250` is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmountUnit {
    /// With a decimal point where the currency has one.
    Major,
    /// Whole numbers of the smallest coin.
    Minor,
}

/// What ids and payees are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdUnit {
    /// Names; hashed.
    #[default]
    Text,
    /// Numbers; kept.
    U64,
}

/// How places are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceUnit {
    /// Decimal degrees.
    #[default]
    Degrees,
    /// Millionths of a degree, whole numbers.
    E6,
}

/// How time is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// `unix_s`, `unix_ms`, `rfc3339`, `date`, or a pattern of `%Y %y %m %d %H %M %S`.
    pub format: String,
    /// Minutes east of UTC: the zone of local times, and of calendar days in any case.
    #[serde(default)]
    pub zone_minutes: i16,
    /// `instant` or `day`; by default `day` when the format has no hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}

/// How a debit is told from a credit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// The rule.
    #[serde(default)]
    pub convention: Convention,
    /// With `column`: the column that tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// With `column`: its words for money going out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub debit: Vec<String>,
    /// With `column`: its words for money coming in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credit: Vec<String>,
}

/// A rule for the sign of an amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Convention {
    /// A debit is negative.
    #[default]
    Signed,
    /// A debit is positive, a credit negative.
    DebitPositive,
    /// Amounts have no sign; the kind tells.
    ByKind,
    /// Amounts have no sign; another column tells.
    Column,
}

/// The table's words for our kinds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kinds {
    /// A debit whose text is not listed; without a `columns.kind`, every debit (then `purchase` by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debit: Option<Kind>,
    /// A credit whose text is not listed; without a `columns.kind`, every credit (then `income` by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<Kind>,
    /// Their words. Our own names need no entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub text: BTreeMap<String, Kind>,
}

/// The accounts file and its columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// The file, relative to the mapping file.
    pub path: PathBuf,
    /// The account's name.
    pub name: String,
    /// When it was opened, written like the transactions' time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<String>,
    /// KYC tier, 0–3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Balance before the first transaction, in the unit of the amounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<String>,
    /// Columns by which reports compare how accounts fare, like a region; words, or numbers that are cut in fifths. No model
    /// ever sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The tier of accounts that have none or are not listed.
    #[serde(default)]
    pub default_tier: Tier,
}

impl Mapping {
    /// Reads and checks a mapping file.
    ///
    /// # Errors
    /// `Io`, or `BadMapping` naming the key.
    pub fn from_file(path: &Path) -> Result<Self, LoadError> {
        let text = fs::read_to_string(path).map_err(LoadError::io(path))?;
        Self::from_toml(&text, path)
    }

    /// Reads and checks the text of a mapping; `path` is where it came from, for messages and relative paths.
    ///
    /// # Errors
    /// `BadMapping` naming the key.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, LoadError> {
        let bad = |message: String| LoadError::BadMapping { path: path.to_owned(), message };
        let mut mapping: Self = toml::from_str(text).map_err(|e| bad(e.to_string().trim_end().to_owned()))?;
        path.clone_into(&mut mapping.file);
        mapping.check().map_err(bad)?;
        Ok(mapping)
    }

    /// `path`, relative to the mapping file.
    pub(crate) fn beside(&self, path: &Path) -> PathBuf {
        self.file.parent().map_or_else(|| path.to_owned(), |dir| dir.join(path))
    }

    /// The clock that reads this table's times.
    pub(crate) fn clock(&self) -> Result<Clock, String> {
        Clock::new(&self.time.format, UtcOffset(self.time.zone_minutes))
    }

    /// The resolution said or implied.
    pub(crate) fn resolution(&self) -> Resolution {
        let implied = || self.clock().map_or(Resolution::Instant, |clock| clock.resolution());
        self.time.resolution.unwrap_or_else(implied)
    }

    fn check(&self) -> Result<(), String> {
        self.clock().map_err(|e| format!("time.format: {e}"))?;
        if !(-14 * 60..=14 * 60).contains(&self.time.zone_minutes) {
            return Err(format!("time.zone_minutes: {} is more than 14 hours from UTC", self.time.zone_minutes));
        }
        if !self.delimiter.is_ascii() {
            return Err(format!("delimiter: {:?} is not an ASCII character", self.delimiter));
        }
        match self.sign.convention {
            Convention::Column => {
                if self.sign.column.is_none() {
                    return Err("sign.column: the convention \"column\" needs to know which".into());
                }
                if self.sign.debit.is_empty() && self.sign.credit.is_empty() {
                    return Err("sign.debit and sign.credit: list the words of at least one of them".into());
                }
            }
            Convention::ByKind if self.columns.kind.is_none() => {
                return Err("columns.kind: the sign convention \"by_kind\" needs it".into());
            }
            _ => {}
        }
        if self.kinds.debit.is_some_and(|kind| !kind.is_debit()) {
            return Err("kinds.debit: this kind brings money in".into());
        }
        if self.kinds.credit.is_some_and(Kind::is_debit) {
            return Err("kinds.credit: this kind takes money out".into());
        }
        if self.columns.latitude.is_some() != self.columns.longitude.is_some() {
            return Err("columns.latitude and columns.longitude: give both or neither".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [columns]
        account = "acc"
        time = "when"
        amount = "value"
        [units]
        currency = "MYR/2"
        amount = "major"
        [time]
        format = "%Y-%m-%d"
        zone_minutes = 480
    "#;

    #[track_caller]
    fn refused(text: &str, want: &str) {
        let error = Mapping::from_toml(text, Path::new("shop.toml")).expect_err("must be refused").to_string();
        assert!(error.starts_with("mapping shop.toml: "), "{error}");
        assert!(error.contains(want), "{error}");
    }

    #[test]
    fn a_small_mapping_is_enough() {
        let mapping = Mapping::from_toml(GOOD, Path::new("x/shop.toml")).expect("good");
        assert_eq!(mapping.resolution(), Resolution::Day);
        assert_eq!(mapping.beside(Path::new("a.csv")), Path::new("x/a.csv"));
    }

    #[test]
    fn the_example_in_the_readme_directory_is_a_valid_mapping() {
        let text = include_str!("../mapping.example.toml");
        Mapping::from_toml(text, Path::new("mapping.example.toml")).expect("the example works");
    }

    #[test]
    fn errors_name_the_file_and_the_key() {
        refused(&GOOD.replace("[units]", "[units]\ncolour = 1"), "colour");
        refused(&GOOD.replace("\"MYR/2\"", "\"ringgit\""), "currency");
        refused(&GOOD.replace("%Y-%m-%d", "%Q"), "time.format");
        refused(&GOOD.replace("480", "4800"), "zone_minutes");
        refused(&format!("{GOOD}\n[sign]\nconvention = \"by_kind\""), "columns.kind");
        refused(&format!("{GOOD}\n[sign]\nconvention = \"column\""), "sign.column");
        refused(&format!("{GOOD}\n[kinds]\ndebit = \"income\""), "kinds.debit");
        refused(&format!("{GOOD}\n[kinds.text]\nPOS = \"shopping\""), "shopping");
    }
}
