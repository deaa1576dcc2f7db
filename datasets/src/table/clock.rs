//! Reading times: epochs, RFC 3339, dates and `%`-patterns, into UTC seconds.

use plimsoll_model::time::{CivilDate, DAY};
use plimsoll_model::{UtcOffset, UtcSeconds};

use crate::error::Reason;
use crate::source::Resolution;

/// 1900-01-01 and 2200-01-01: no wallet was alive outside.
const EARLIEST: i64 = -2_208_988_800;
const LATEST: i64 = 7_258_118_400;

/// Reads one way of writing time.
#[derive(Clone, Debug)]
pub struct Clock {
    format: Format,
    name: String,
    offset: UtcOffset,
}

#[derive(Clone, Debug)]
enum Format {
    UnixSeconds,
    UnixMillis,
    Rfc3339,
    Pattern(Vec<Token>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Year4,
    Year2,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Literal(u8),
}

impl Clock {
    /// A clock for `unix_s`, `unix_ms`, `rfc3339`, `date` or a pattern; `offset` is the zone of local times.
    ///
    /// # Errors
    /// A sentence about what is wrong with the pattern.
    pub fn new(name: &str, offset: UtcOffset) -> Result<Self, String> {
        let format = match name {
            "unix_s" => Format::UnixSeconds,
            "unix_ms" => Format::UnixMillis,
            "rfc3339" => Format::Rfc3339,
            "date" => Format::Pattern(pattern("%Y-%m-%d")?),
            other => Format::Pattern(pattern(other)?),
        };
        Ok(Self { format, name: name.to_owned(), offset })
    }

    /// `Day` when the format has no hour.
    pub fn resolution(&self) -> Resolution {
        match &self.format {
            Format::Pattern(tokens) if !tokens.contains(&Token::Hour) => Resolution::Day,
            _ => Resolution::Instant,
        }
    }

    /// The instant a text means.
    ///
    /// # Errors
    /// `Time` when the text does not follow the format, `TimeOutOfRange` outside 1900–2200.
    pub fn read(&self, text: &str) -> Result<UtcSeconds, Reason> {
        let text = text.trim();
        let seconds = match &self.format {
            Format::UnixSeconds => text.parse().ok(),
            Format::UnixMillis => text.parse::<i64>().ok().map(|ms| ms.div_euclid(1_000)),
            Format::Rfc3339 => rfc3339(text),
            Format::Pattern(tokens) => local(tokens, text.as_bytes()).map(|s| s - i64::from(self.offset.0) * 60),
        };
        let seconds = seconds.ok_or_else(|| Reason::Time { text: text.into(), format: self.name.clone() })?;
        in_range(seconds, text)
    }

    /// An instant that the file holds as one, whatever the format says.
    ///
    /// # Errors
    /// `TimeOutOfRange`.
    pub fn instant(&self, seconds: i64) -> Result<UtcSeconds, Reason> {
        in_range(seconds, &seconds.to_string())
    }

    /// A time on this clock's own zone, seconds since 1970-01-01T00:00 there.
    ///
    /// # Errors
    /// `TimeOutOfRange`.
    pub fn local(&self, seconds: i64) -> Result<UtcSeconds, Reason> {
        in_range(seconds.saturating_sub(i64::from(self.offset.0) * 60), &seconds.to_string())
    }

    /// The instant a whole number means: an epoch, or digits of a pattern such as `%Y%m%d`.
    ///
    /// # Errors
    /// As [`Clock::read`].
    pub fn read_int(&self, value: i64) -> Result<UtcSeconds, Reason> {
        match self.format {
            Format::UnixSeconds => in_range(value, &value.to_string()),
            Format::UnixMillis => in_range(value.div_euclid(1_000), &value.to_string()),
            _ => self.read(&value.to_string()),
        }
    }
}

fn in_range(seconds: i64, text: &str) -> Result<UtcSeconds, Reason> {
    if (EARLIEST..LATEST).contains(&seconds) {
        Ok(UtcSeconds(seconds))
    } else {
        Err(Reason::TimeOutOfRange { text: text.into() })
    }
}

fn pattern(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        tokens.push(match byte {
            b'%' => match bytes.next() {
                Some(b'Y') => Token::Year4,
                Some(b'y') => Token::Year2,
                Some(b'm') => Token::Month,
                Some(b'd') => Token::Day,
                Some(b'H') => Token::Hour,
                Some(b'M') => Token::Minute,
                Some(b'S') => Token::Second,
                Some(b'%') => Token::Literal(b'%'),
                other => {
                    let other = other.map_or(String::new(), |b| char::from(b).to_string());
                    return Err(format!("%{other} is not one of %Y %y %m %d %H %M %S %%"));
                }
            },
            literal => Token::Literal(literal),
        });
    }
    let has = |token| tokens.contains(&token);
    if !(has(Token::Year4) || has(Token::Year2)) || !has(Token::Month) || !has(Token::Day) {
        return Err(format!(
            "{text:?} is not unix_s, unix_ms, rfc3339 or date, nor a pattern with a year, a month and a day"
        ));
    }
    Ok(tokens)
}

/// Local seconds since 1970 that `text` means.
fn local(tokens: &[Token], text: &[u8]) -> Option<i64> {
    let (mut year, mut month, mut day, mut hour, mut minute, mut second) = (0, 0, 0, 0, 0, 0);
    let mut rest = text;
    for token in tokens {
        match token {
            Token::Year4 => year = digits(&mut rest, 4)?,
            // POSIX: 69–99 are the last century.
            Token::Year2 => year = digits(&mut rest, 2).map(|y| if y >= 69 { 1_900 + y } else { 2_000 + y })?,
            Token::Month => month = digits(&mut rest, 2)?,
            Token::Day => day = digits(&mut rest, 2)?,
            Token::Hour => hour = digits(&mut rest, 2).filter(|&h| h < 24)?,
            Token::Minute => minute = digits(&mut rest, 2).filter(|&m| m < 60)?,
            Token::Second => second = digits(&mut rest, 2).filter(|&s| s < 60)?,
            Token::Literal(literal) => match rest.split_first() {
                Some((first, tail)) if first == literal => rest = tail,
                _ => return None,
            },
        }
    }
    let date = CivilDate::new(year, u8::try_from(month).ok()?, u8::try_from(day).ok()?)?;
    rest.is_empty().then(|| date.day_number() * DAY + i64::from(hour * 3_600 + minute * 60 + second))
}

fn digits(rest: &mut &[u8], n: usize) -> Option<i32> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    head.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i32::from(byte - b'0')))
}

/// `2024-03-01T09:15:00Z`, with an optional fraction and `Z` or `±hh:mm`.
fn rfc3339(text: &str) -> Option<i64> {
    use Token::{Day, Hour, Literal, Minute, Month, Second, Year4};
    let (head, tail) = text.as_bytes().split_at_checked(19)?;
    let separator = head[10];
    if !matches!(separator, b'T' | b't' | b' ') {
        return None;
    }
    let tokens = [
        Year4,
        Literal(b'-'),
        Month,
        Literal(b'-'),
        Day,
        Literal(separator),
        Hour,
        Literal(b':'),
        Minute,
        Literal(b':'),
        Second,
    ];
    let seconds = local(&tokens, head)?;
    let zone = match tail.strip_prefix(b".") {
        Some(fraction) => {
            let n = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            (n > 0).then(|| &fraction[n..])?
        }
        None => tail,
    };
    match zone {
        b"Z" | b"z" => Some(seconds),
        [sign @ (b'+' | b'-'), hm @ ..] => {
            let mut rest = hm;
            let hours = digits(&mut rest, 2).filter(|&h| h < 24)?;
            rest = rest.strip_prefix(b":")?;
            let minutes = digits(&mut rest, 2).filter(|&m| m < 60)?;
            let shift = i64::from(hours * 3_600 + minutes * 60);
            rest.is_empty().then(|| if *sign == b'+' { seconds - shift } else { seconds + shift })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(format: &str, text: &str, want: Option<i64>) {
        let clock = Clock::new(format, UtcOffset(60)).expect("a format");
        assert_eq!(clock.read(text).ok().map(|at| at.0), want, "{format} {text}");
    }

    #[test]
    fn every_way_of_writing_one_instant_reads_the_same() {
        let want = Some(725_846_400); // 1993-01-01T00:00:00Z
        reads("unix_s", "725846400", want);
        reads("unix_ms", "725846400999", want);
        reads("rfc3339", "1993-01-01T00:00:00Z", want);
        reads("rfc3339", "1993-01-01T05:30:00.25+05:30", want);
        reads("%Y-%m-%d %H:%M:%S", "1993-01-01 01:00:00", want);
        reads("%d/%m/%y %H:%M", "01/01/93 01:00", want);
        reads("%y%m%d", "930101", want.map(|s| s - 3_600));
        reads("date", "1993-01-01", want.map(|s| s - 3_600));
    }

    #[test]
    fn what_the_calendar_does_not_have_is_refused() {
        reads("date", "1993-02-29", None);
        reads("date", "1993-2-9", None);
        reads("date", "1993-01-01x", None);
        reads("date", "", None);
        reads("%y%m%d", "931301", None);
        reads("rfc3339", "1993-01-01T00:00:00", None);
        reads("rfc3339", "1993-01-01T24:00:00Z", None);
        reads("unix_s", "99999999999", None);
        reads("unix_s", "1e9", None);
    }

    #[test]
    fn a_pattern_without_hours_is_a_day() {
        let day = Clock::new("%y%m%d", UtcOffset(0)).expect("a format");
        assert_eq!(day.resolution(), Resolution::Day);
        assert!(Clock::new("%H:%M", UtcOffset(0)).is_err());
        assert!(Clock::new("%", UtcOffset(0)).is_err());
    }
}
