//! Money as integer minor units behind checked types, and the currency that gives them a decimal point.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in minor units (sen, kobo, cents): a count of coins, never a float, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Money(u64); // invariant: <= MAX

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// 10¹⁵ minor units: a sum of 1,000 amounts still fits `i64`.
    pub const MAX: Self = Self(1_000_000_000_000_000);

    /// An amount of `minor` units.
    ///
    /// # Errors
    /// `OutOfRange` above [`Money::MAX`].
    pub const fn from_minor(minor: u64) -> Result<Self, OutOfRange> {
        if minor <= Self::MAX.0 { Ok(Self(minor)) } else { Err(OutOfRange { minor: minor as i128 }) }
    }

    /// The non-negative part of a balance in minor units, at most [`Money::MAX`].
    pub const fn floor_at_zero(minor: i64) -> Self {
        if minor <= 0 {
            Self::ZERO
        } else if minor as u64 > Self::MAX.0 {
            Self::MAX
        } else {
            Self(minor as u64)
        }
    }

    /// The count of minor units.
    pub const fn minor(self) -> u64 {
        self.0
    }

    /// `self − other`, or zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self + other`, at most [`Money::MAX`].
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0).min(Self::MAX.0))
    }

    /// `floor(self × steps / 2²⁰)`: the share of an amount that a forest grants, in integers only.
    pub fn scale_steps(self, steps: u32) -> Self {
        let steps = u128::from(steps.min(crate::forest::ONE));
        Self(((u128::from(self.0) * steps) >> crate::forest::STEP_BITS) as u64)
    }
}

impl TryFrom<u64> for Money {
    type Error = OutOfRange;
    fn try_from(minor: u64) -> Result<Self, OutOfRange> {
        Self::from_minor(minor)
    }
}

impl From<Money> for u64 {
    fn from(money: Money) -> u64 {
        money.0
    }
}

/// A signed movement in minor units: a credit is positive, a debit negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Flow(i64); // invariant: |flow| <= Money::MAX

impl Flow {
    /// A movement of `minor` units, signed.
    ///
    /// # Errors
    /// `OutOfRange` when the size is above [`Money::MAX`].
    pub const fn from_minor(minor: i64) -> Result<Self, OutOfRange> {
        if minor.unsigned_abs() <= Money::MAX.0 { Ok(Self(minor)) } else { Err(OutOfRange { minor: minor as i128 }) }
    }

    /// Money coming in.
    pub const fn credit(amount: Money) -> Self {
        Self(amount.0 as i64)
    }

    /// Money going out.
    pub const fn debit(amount: Money) -> Self {
        Self(-(amount.0 as i64))
    }

    /// Signed minor units.
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// The size, whichever way it went.
    pub const fn size(self) -> Money {
        Money(self.0.unsigned_abs())
    }

    /// Whether money left the account.
    pub const fn is_debit(self) -> bool {
        self.0 < 0
    }
}

impl TryFrom<i64> for Flow {
    type Error = OutOfRange;
    fn try_from(minor: i64) -> Result<Self, OutOfRange> {
        Self::from_minor(minor)
    }
}

impl From<Flow> for i64 {
    fn from(flow: Flow) -> i64 {
        flow.0
    }
}

/// An amount outside ±10¹⁵ minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{minor} minor units is outside ±{}", Money::MAX.minor())]
pub struct OutOfRange {
    /// What was given.
    pub minor: i128,
}

/// A currency: an ISO 4217 code and how many decimals its minor unit has *in this programme*
/// (the rupiah's sen is dead, so `IDR` is used with exponent 0).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: [u8; 3],
    exponent: u8,
}

impl Currency {
    /// A currency of three capital letters and 0–4 decimals.
    ///
    /// # Errors
    /// `BadCurrency` for anything else.
    pub fn new(code: &str, exponent: u8) -> Result<Self, BadCurrency> {
        match code.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) && exponent <= 4 => {
                Ok(Self { code: [a, b, c], exponent })
            }
            _ => Err(BadCurrency { text: format!("{code}/{exponent}") }),
        }
    }

    /// The three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).expect("Currency::new admits ASCII capitals only")
    }

    /// Decimals of the minor unit.
    pub const fn exponent(self) -> u8 {
        self.exponent
    }

    /// Minor units in one major unit: `10^exponent`.
    pub const fn minor_per_major(self) -> u64 {
        10u64.pow(self.exponent as u32)
    }

    /// Reads `-1234.5` into minor units.
    ///
    /// # Errors
    /// `ParseAmount` for anything but digits with at most one sign and point, for more decimals than
    /// the currency has (trailing zeros are no decimals), and for amounts over [`Money::MAX`].
    pub fn parse(self, text: &str) -> Result<Flow, ParseAmount> {
        let trimmed = text.trim();
        let (negative, digits) = match trimmed.as_bytes() {
            [b'-', ..] => (true, &trimmed[1..]),
            [b'+', ..] => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty()
            || !whole.bytes().all(|b| b.is_ascii_digit())
            || !fraction.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(ParseAmount::NotANumber { text: text.into() });
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > usize::from(self.exponent) {
            return Err(ParseAmount::TooManyDecimals { text: text.into(), allowed: self.exponent });
        }
        let overflow = || ParseAmount::Overflow { text: text.into() };
        let mut minor: i64 = 0;
        let padding = std::iter::repeat_n(b'0', usize::from(self.exponent) - fraction.len());
        for digit in whole.bytes().chain(fraction.bytes()).chain(padding) {
            minor = minor.checked_mul(10).and_then(|m| m.checked_add(i64::from(digit - b'0'))).ok_or_else(overflow)?;
        }
        Flow::from_minor(if negative { -minor } else { minor }).map_err(|_| overflow())
    }

    /// `1234.50`, without the code.
    pub fn format(self, minor: i64) -> String {
        let per = self.minor_per_major();
        let (sign, size) = (if minor < 0 { "-" } else { "" }, minor.unsigned_abs());
        if self.exponent == 0 {
            format!("{sign}{size}")
        } else {
            format!("{sign}{}.{:0width$}", size / per, size % per, width = usize::from(self.exponent))
        }
    }

    /// `1234.50`, for an amount.
    pub fn show(self, amount: Money) -> String {
        self.format(amount.0 as i64)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.code(), self.exponent)
    }
}

impl TryFrom<String> for Currency {
    type Error = BadCurrency;
    /// Reads `MYR/2`.
    fn try_from(text: String) -> Result<Self, BadCurrency> {
        let parsed = text.split_once('/').and_then(|(code, e)| Some((code, e.parse().ok()?)));
        match parsed {
            Some((code, exponent)) => Self::new(code, exponent),
            None => Err(BadCurrency { text }),
        }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        format!("{currency:?}")
    }
}

/// Not a currency we can count in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a currency: write a code and its decimals, like \"MYR/2\"")]
pub struct BadCurrency {
    /// What was given.
    pub text: String,
}

/// Why a text is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAmount {
    /// Letters, two points, nothing at all.
    #[error("{text:?} is not a decimal number")]
    NotANumber {
        /// What was given.
        text: String,
    },
    /// Finer than the minor unit: rounding would invent or destroy money.
    #[error("{text:?} has more decimals than the currency's {allowed}")]
    TooManyDecimals {
        /// What was given.
        text: String,
        /// Decimals of the currency.
        allowed: u8,
    },
    /// Above 10¹⁵ minor units.
    #[error("{text:?} is larger than {} minor units", Money::MAX.minor())]
    Overflow {
        /// What was given.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn myr() -> Currency {
        Currency::new("MYR", 2).expect("a currency")
    }

    #[track_caller]
    fn reads(text: &str, want: Result<i64, ()>) {
        assert_eq!(myr().parse(text).map(Flow::minor).map_err(drop), want, "{text:?}");
    }

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        reads("0", Ok(0));
        reads("20.00", Ok(2_000));
        reads("-8.5", Ok(-850));
        reads(".07", Ok(7));
        reads("700.000", Ok(70_000));
        reads("0.005", Err(()));
        reads("", Err(()));
        reads("-", Err(()));
        reads("1e3", Err(()));
        reads("NaN", Err(()));
        reads("1,000", Err(()));
        reads("10000000000000.00", Ok(1_000_000_000_000_000));
        reads("10000000000000.01", Err(()));
        reads("99999999999999999999", Err(()));
    }

    #[test]
    fn what_is_formatted_reads_back() {
        for minor in [-1, 0, 7, 99, 100, 123_456_789] {
            assert_eq!(myr().parse(&myr().format(minor)).map(Flow::minor), Ok(minor));
        }
    }

    #[test]
    fn a_share_of_money_is_rounded_down() {
        let ten = Money::from_minor(10).expect("small");
        assert_eq!(ten.scale_steps(crate::forest::ONE).minor(), 10);
        assert_eq!(ten.scale_steps(crate::forest::ONE - 1).minor(), 9);
        assert_eq!(ten.scale_steps(u32::MAX).minor(), 10, "never more than the whole");
        assert_eq!(Money::MAX.scale_steps(crate::forest::ONE), Money::MAX);
    }
}
