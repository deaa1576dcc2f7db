//! One row of a table, CSV or Parquet alike: cells read as names, amounts, times and numbers.

use std::path::Path;

use plimsoll_model::money::ParseAmount;
use plimsoll_model::transaction::name_hash;
use plimsoll_model::{Currency, Flow, UtcSeconds};

use crate::error::{LoadError, Reason};
use crate::mapping::{AmountUnit, IdUnit, PlaceUnit};
use crate::table::clock::Clock;
use crate::table::lines::Lines;
use crate::table::slices::{Slices, Value};

/// A table and its current row.
pub enum Cells {
    /// Text cells.
    Csv(Box<Lines>),
    /// Typed cells.
    Parquet(Box<Slices>),
}

impl Cells {
    /// Opens a table; the name's ending says which kind.
    ///
    /// # Errors
    /// As [`Lines::open`] and [`Slices::open`].
    pub fn open(path: &Path, delimiter: u8) -> Result<Self, LoadError> {
        let parquet = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
        Ok(if parquet {
            Self::Parquet(Box::new(Slices::open(path)?))
        } else {
            Self::Csv(Box::new(Lines::open(path, delimiter)?))
        })
    }

    /// The index under which a column's cells are read.
    ///
    /// # Errors
    /// `MissingColumn`, `ColumnType`.
    pub fn column(&mut self, name: &str) -> Result<usize, LoadError> {
        match self {
            Self::Csv(lines) => lines.column(name),
            Self::Parquet(slices) => slices.column(name),
        }
    }

    /// The same for a column that may be unmapped.
    ///
    /// # Errors
    /// `MissingColumn`, `ColumnType`.
    pub fn maybe(&mut self, name: Option<&str>) -> Result<Option<usize>, LoadError> {
        name.map(|name| self.column(name)).transpose()
    }

    /// Goes to the next row; `Ok(false)` at the end.
    ///
    /// # Errors
    /// As [`Lines::advance`] and [`Slices::advance`].
    pub fn advance(&mut self) -> Result<bool, LoadError> {
        match self {
            Self::Csv(lines) => lines.advance(),
            Self::Parquet(slices) => slices.advance(),
        }
    }

    /// The error that refuses the current row.
    pub fn bad(&self, column: Option<usize>, reason: Reason) -> LoadError {
        match self {
            Self::Csv(lines) => lines.bad(column, reason),
            Self::Parquet(slices) => slices.bad(column, reason),
        }
    }

    /// The current row's line, 1-based.
    pub fn line(&self) -> u64 {
        match self {
            Self::Csv(lines) => lines.line(),
            Self::Parquet(slices) => slices.line(),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Csv(lines) => lines.path(),
            Self::Parquet(slices) => slices.path(),
        }
    }

    /// `(done, total)`.
    pub fn position(&self) -> (u64, u64) {
        match self {
            Self::Csv(lines) => lines.position(),
            Self::Parquet(slices) => slices.position(),
        }
    }

    fn value(&self, column: usize) -> Result<Value<'_>, Reason> {
        let value = match self {
            Self::Csv(lines) => Value::Text(lines.text(column)?),
            Self::Parquet(slices) => slices.value(column),
        };
        Ok(match value {
            Value::Text(text) if text.trim().is_empty() => Value::Null,
            other => other,
        })
    }

    /// Runs `read` on a cell; its reason becomes this row's error, with the column.
    ///
    /// # Errors
    /// `BadRow`.
    pub fn read<T>(&self, column: usize, read: impl FnOnce(Value<'_>) -> Result<T, Reason>) -> Result<T, LoadError> {
        self.value(column).and_then(read).map_err(|reason| self.bad(Some(column), reason))
    }

    /// The same for an unmapped column, which reads as nothing.
    ///
    /// # Errors
    /// `BadRow`.
    pub fn read_maybe<T>(
        &self,
        column: Option<usize>,
        read: impl FnOnce(Value<'_>) -> Result<T, Reason>,
    ) -> Result<T, LoadError> {
        match column {
            Some(column) => self.read(column, read),
            None => read(Value::Null).map_err(|reason| self.bad(None, reason)),
        }
    }
}

/// `-12.50` of −1250 hundredths: exact, for [`Currency::parse`].
fn decimal(unscaled: i128, scale: usize) -> String {
    let (sign, digits) = (if unscaled < 0 { "-" } else { "" }, unscaled.unsigned_abs().to_string());
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

impl Value<'_> {
    /// Hands the value on as text: numbers as their digits, nothing as `""`.
    pub fn with_text<T>(self, read: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Null => read(""),
            Self::Text(text) => read(text.trim()),
            Self::Int(v) => read(&v.to_string()),
            Self::Uint(v) => read(&v.to_string()),
            Self::Float(v) => read(&v.to_string()),
            Self::Decimal(v, scale) => read(&decimal(v, scale)),
            Self::Instant(v) | Self::Local(v) => read(&v.to_string()),
        }
    }

    /// An amount of money.
    ///
    /// # Errors
    /// `Missing`, `Amount`, `NotFinite`.
    pub fn amount(self, currency: Currency, unit: AmountUnit) -> Result<Flow, Reason> {
        // Minor units are major units of a currency without decimals.
        let minor = Currency::new(currency.code(), 0).expect("the code is a currency's");
        let currency = if unit == AmountUnit::Minor { minor } else { currency };
        match self {
            Self::Null => Err(Reason::Missing),
            Self::Float(v) => float_amount(v, currency),
            Self::Int(v) => {
                let scaled = v.checked_mul(currency.minor_per_major() as i64);
                scaled
                    .and_then(|minor| Flow::from_minor(minor).ok())
                    .ok_or_else(|| ParseAmount::Overflow { text: v.to_string() }.into())
            }
            other => other.with_text(|text| currency.parse(text)).map_err(Reason::Amount),
        }
    }

    /// A time.
    ///
    /// # Errors
    /// `Missing`, `Time`, `TimeOutOfRange`.
    pub fn time(self, clock: &Clock) -> Result<UtcSeconds, Reason> {
        match self {
            Self::Null => Err(Reason::Missing),
            Self::Int(v) => clock.read_int(v),
            Self::Instant(v) => clock.instant(v),
            Self::Local(v) => clock.local(v),
            other => other.with_text(|text| clock.read(text)),
        }
    }

    /// A time, or nothing.
    ///
    /// # Errors
    /// `Time`, `TimeOutOfRange`.
    pub fn maybe_time(self, clock: &Clock) -> Result<Option<UtcSeconds>, Reason> {
        if self == Self::Null { Ok(None) } else { self.time(clock).map(Some) }
    }

    /// An id or a payee; 0 when there is none.
    ///
    /// # Errors
    /// `NotWhole` when ids are numbers and this is none.
    pub fn id(self, unit: IdUnit) -> Result<u64, Reason> {
        match (self, unit) {
            (Self::Null, _) => Ok(0),
            (Self::Uint(v), IdUnit::U64) => Ok(v),
            (value, IdUnit::U64) => {
                value.with_text(|text| text.parse().map_err(|_| Reason::NotWhole { text: text.into() }))
            }
            (value, IdUnit::Text) => Ok(value.with_text(|text| name_hash(text.as_bytes()))),
        }
    }

    /// A small whole number; 0 when there is none.
    ///
    /// # Errors
    /// `NotWhole`.
    pub fn small(self) -> Result<u8, Reason> {
        match self {
            Self::Null => Ok(0),
            value => value.with_text(|text| text.parse().map_err(|_| Reason::NotWhole { text: text.into() })),
        }
    }

    /// A coordinate in millionths of a degree, at most `bound` degrees either way; `None` when there is none.
    ///
    /// # Errors
    /// `Place`.
    pub fn coordinate(self, unit: PlaceUnit, bound: i32) -> Result<Option<i32>, Reason> {
        if self == Self::Null {
            return Ok(None);
        }
        let e6 = match (self, unit) {
            (Self::Int(v), PlaceUnit::E6) => Some(v as f64),
            (Self::Int(v), PlaceUnit::Degrees) => Some(v as f64 * 1e6),
            (Self::Float(v), PlaceUnit::Degrees) => Some(v * 1e6),
            (value, PlaceUnit::E6) => value.with_text(|text| text.parse::<i32>().ok().map(f64::from)),
            (value, PlaceUnit::Degrees) => value.with_text(|text| text.parse::<f64>().ok().map(|v| v * 1e6)),
        };
        match e6 {
            Some(e6) if e6.abs() <= f64::from(bound) * 1e6 => Ok(Some(e6.round() as i32)),
            _ => Err(self.with_text(|text| Reason::Place { text: text.into() })),
        }
    }
}

/// A float as money: exact to a millionth of the minor unit, since `0.1 + 0.2` was meant as 0.30.
fn float_amount(value: f64, currency: Currency) -> Result<Flow, Reason> {
    let text = || value.to_string();
    if !value.is_finite() {
        return Err(Reason::NotFinite { text: text() });
    }
    let minor = value * currency.minor_per_major() as f64;
    if minor.abs() > 1e15 {
        return Err(ParseAmount::Overflow { text: text() }.into());
    }
    let whole = minor.round();
    // Doubles near 10¹⁵ are an eighth apart: the tolerance grows with the amount's own rounding.
    let tolerance = (minor.abs() * 1e-14).max(1e-6);
    if (minor - whole).abs() > tolerance {
        return Err(ParseAmount::TooManyDecimals { text: text(), allowed: currency.exponent() }.into());
    }
    Flow::from_minor(whole as i64).map_err(|_| ParseAmount::Overflow { text: text() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn amount(value: Value<'_>, want: Result<i64, &str>) {
        let myr = Currency::new("MYR", 2).expect("a currency");
        let got = value.amount(myr, AmountUnit::Major);
        assert_eq!(got.as_ref().map(|f| f.minor()).map_err(Reason::name), want, "{value:?}");
    }

    #[test]
    fn floats_are_money_when_they_were_meant_as_money() {
        amount(Value::Float(0.1 + 0.2), Ok(30));
        amount(Value::Float(-12.5), Ok(-1_250));
        amount(Value::Float(12.345), Err("too many decimals"));
        amount(Value::Float(f64::NAN), Err("not a finite number"));
        amount(Value::Float(f64::INFINITY), Err("not a finite number"));
        amount(Value::Float(1e300), Err("amount too large"));
        amount(Value::Int(12), Ok(1_200));
        amount(Value::Int(i64::MAX), Err("amount too large"));
        amount(Value::Uint(7), Ok(700));
        amount(Value::Text("7.10"), Ok(710));
        amount(Value::Text("NaN"), Err("amount is not a number"));
        amount(Value::Null, Err("empty cell"));
    }

    #[test]
    fn places_stay_on_the_globe() {
        assert_eq!(Value::Text("3.1390").coordinate(PlaceUnit::Degrees, 90), Ok(Some(3_139_000)));
        assert_eq!(Value::Int(-3_139_000).coordinate(PlaceUnit::E6, 90), Ok(Some(-3_139_000)));
        assert_eq!(Value::Null.coordinate(PlaceUnit::E6, 90), Ok(None));
        assert!(Value::Float(90.1).coordinate(PlaceUnit::Degrees, 90).is_err());
        assert!(Value::Float(f64::NAN).coordinate(PlaceUnit::Degrees, 90).is_err());
        assert!(Value::Text("north").coordinate(PlaceUnit::Degrees, 90).is_err());
    }
}
