//! Time as values: UTC seconds, ages in minutes, and the civil calendar of a fixed offset.
//!
//! Nothing here reads a clock. Days and months are those of the programme's own time zone, which is
//! a fixed offset in every country served so far (no daylight saving), so arithmetic is exact.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Seconds in a day.
pub const DAY: i64 = 86_400;

/// An instant: seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcSeconds(pub i64);

impl UtcSeconds {
    /// The instant `seconds` later (earlier if negative).
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to `self`; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// `2026-11-21T10:18:25Z`.
    pub fn rfc3339(self) -> String {
        let date = CivilDate::of_day(self.0.div_euclid(DAY));
        let s = self.0.rem_euclid(DAY);
        format!("{date}T{:02}:{:02}:{:02}Z", s / 3_600, s / 60 % 60, s % 60)
    }
}

/// Minutes since the last sync, when a limit is evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Age(pub u32);

impl Age {
    /// An age of whole hours.
    pub const fn hours(hours: u32) -> Self {
        Self(hours * 60)
    }

    /// The age at `now` of a sync at `sync`, rounded up to whole minutes; `None` when `now` is before it.
    pub fn between(sync: UtcSeconds, now: UtcSeconds) -> Option<Self> {
        let seconds = u64::try_from(now.since(sync)).ok()?;
        Some(Self(u32::try_from(seconds.div_ceil(60)).unwrap_or(u32::MAX)))
    }

    /// The age in seconds.
    pub const fn seconds(self) -> i64 {
        self.0 as i64 * 60
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            m if m < 60 => write!(f, "{m} min"),
            m if m % 60 == 0 => write!(f, "{} h", m / 60),
            m => write!(f, "{} h {:02} min", m / 60, m % 60),
        }
    }
}

/// A fixed distance from UTC, in minutes: the clock that a programme's calendar days follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcOffset(pub i16);

impl UtcOffset {
    /// The local day an instant falls in: days since 1970-01-01, local.
    pub const fn day(self, at: UtcSeconds) -> i64 {
        (at.0 + self.0 as i64 * 60).div_euclid(DAY)
    }

    /// Local seconds since that day's midnight.
    pub const fn second_of_day(self, at: UtcSeconds) -> i64 {
        (at.0 + self.0 as i64 * 60).rem_euclid(DAY)
    }

    /// The instant at which local `day` begins.
    pub const fn midnight(self, day: i64) -> UtcSeconds {
        UtcSeconds(day * DAY - self.0 as i64 * 60)
    }
}

/// A date of the proleptic Gregorian calendar; `2026-11-21` in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CivilDate {
    /// Year.
    pub year: i32,
    /// 1–12.
    pub month: u8,
    /// 1–31.
    pub day: u8,
}

impl CivilDate {
    /// The date, if the calendar has it.
    pub fn new(year: i32, month: u8, day: u8) -> Option<Self> {
        let known = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
        known.then_some(Self { year, month, day })
    }

    /// The date of a day number. Source: Howard Hinnant, *chrono-Compatible Low-Level Date Algorithms*.
    pub const fn of_day(day: i64) -> Self {
        let z = day + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + (month <= 2) as i64;
        Self { year: year as i32, month: month as u8, day: (doy - (153 * mp + 2) / 5 + 1) as u8 }
    }

    /// Days since 1970-01-01.
    pub const fn day_number(self) -> i64 {
        let y = self.year as i64 - (self.month <= 2) as i64;
        let era = y.div_euclid(400);
        let yoe = y.rem_euclid(400);
        let mp = (self.month as i64 + 9) % 12;
        let doy = (153 * mp + 2) / 5 + self.day as i64 - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        era * 146_097 + doe - 719_468
    }

    /// The same day of the month `months` later (earlier if negative), or that month's last day.
    #[must_use]
    pub const fn plus_months(self, months: i32) -> Self {
        let m = self.year * 12 + self.month as i32 - 1 + months;
        let (year, month) = (m.div_euclid(12), m.rem_euclid(12) as u8 + 1);
        let last = days_in_month(year, month);
        Self { year, month, day: if self.day < last { self.day } else { last } }
    }
}

/// Not a date of the calendar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no date; write it like 2026-11-21")]
pub struct BadDate {
    /// What was given.
    pub text: String,
}

impl TryFrom<String> for CivilDate {
    type Error = BadDate;
    fn try_from(text: String) -> Result<Self, BadDate> {
        let mut parts = text.splitn(3, '-');
        let parsed = (|| {
            let [year, month, day] = [parts.next()?, parts.next()?, parts.next()?];
            let plain = [year, month, day].iter().all(|p| p.bytes().all(|b| b.is_ascii_digit()));
            let shaped = plain && year.len() == 4 && month.len() == 2 && day.len() == 2;
            Self::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).filter(|_| shaped)
        })();
        parsed.ok_or(BadDate { text })
    }
}

impl From<CivilDate> for String {
    fn from(date: CivilDate) -> String {
        date.to_string()
    }
}

impl fmt::Display for CivilDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// 28–31.
pub const fn days_in_month(year: i32, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// 0 is Monday, 6 is Sunday; of a day number.
pub const fn weekday(day: i64) -> u8 {
    (day + 3).rem_euclid(7) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_numbers_and_dates_are_inverse_over_four_centuries() {
        for day in -80_000..80_000 {
            assert_eq!(CivilDate::of_day(day).day_number(), day);
        }
        assert_eq!(CivilDate::of_day(0).to_string(), "1970-01-01");
        assert_eq!(weekday(0), 3, "1970-01-01 was a Thursday");
    }

    #[test]
    fn a_month_later_stays_within_the_month() {
        let jan31 = CivilDate::new(1994, 1, 31).expect("a date");
        assert_eq!(jan31.plus_months(1).to_string(), "1994-02-28");
        assert_eq!(jan31.plus_months(-2).to_string(), "1993-11-30");
        assert_eq!(CivilDate::new(1994, 2, 29), None);
        assert_eq!(CivilDate::try_from("1994-01-31".to_owned()), Ok(jan31));
        for bad in ["1994-02-30", "94-01-31", "1994-1-31", "1994-01", "", "1994-01-31T00"] {
            assert!(CivilDate::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_local_day_begins_at_local_midnight() {
        let kuala_lumpur = UtcOffset(480);
        let evening = UtcSeconds(16 * 3_600); // 16:00 UTC is midnight of the next day at +08:00
        assert_eq!(kuala_lumpur.day(evening), 1);
        assert_eq!(kuala_lumpur.midnight(1), evening);
        assert_eq!(kuala_lumpur.second_of_day(evening.plus(-1)), DAY - 1);
    }

    #[test]
    fn ages_round_up_and_never_run_backwards() {
        let sync = UtcSeconds(1_000);
        assert_eq!(Age::between(sync, sync), Some(Age(0)));
        assert_eq!(Age::between(sync, sync.plus(61)), Some(Age(2)));
        assert_eq!(Age::between(sync, sync.plus(-1)), None);
    }
}
