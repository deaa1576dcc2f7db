//! The calibration log: the windows a certificate was derived from, as CSV. Whoever holds it can derive the
//! certificate again. Accounts are numbers in the order they came; it stays with the issuer and is never published.
//!
//! `account,tier,sync,balance,demand,s_<age>…,q_<age>…`: amounts in minor units, times in UTC seconds, `q` in steps.

use std::fmt::Write;

use plimsoll_model::Tier;
use plimsoll_model::money::Money;
use plimsoll_model::time::{Age, UtcSeconds};

use crate::calibrate::Scored;

/// The log's bytes.
pub fn write(windows: &[Scored], ages: &[Age]) -> Vec<u8> {
    let mut text = String::from("account,tier,sync,balance,demand");
    let fine = "writing to a String cannot fail";
    for prefix in ["s", "q"] {
        for age in ages {
            write!(text, ",{prefix}_{}", age.0).expect(fine);
        }
    }
    text.push('\n');
    for w in windows {
        write!(text, "{},{},{},{},{}", w.account, w.tier, w.at.0, w.balance.minor(), w.demand.minor()).expect(fine);
        w.headroom.iter().for_each(|s| write!(text, ",{}", s.minor()).expect(fine));
        w.steps.iter().for_each(|q| write!(text, ",{q}").expect(fine));
        text.push('\n');
    }
    text.into_bytes()
}

/// Reads a log.
///
/// # Errors
/// The line and what is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Vec<Scored>, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let mut lines = text.lines();
    let columns = lines.next().ok_or("the file is empty")?.split(',').count();
    if columns < 7 || !(columns - 5).is_multiple_of(2) {
        return Err(format!("line 1 has {columns} columns, expected 5 and two for each age"));
    }
    let ages = (columns - 5) / 2;
    lines
        .enumerate()
        .map(|(ix, line)| row(line, ages).ok_or_else(|| format!("line {} cannot be read: {line}", ix + 2)))
        .collect()
}

fn row(line: &str, ages: usize) -> Option<Scored> {
    let mut fields = line.split(',');
    let money = |text: &str| Money::from_minor(text.parse().ok()?).ok();
    let scored = Scored {
        account: fields.next()?.parse().ok()?,
        tier: Tier::new(fields.next()?.parse().ok()?).ok()?,
        at: UtcSeconds(fields.next()?.parse().ok()?),
        balance: money(fields.next()?)?,
        demand: money(fields.next()?)?,
        headroom: fields.by_ref().take(ages).map(money).collect::<Option<_>>()?,
        steps: fields.by_ref().take(ages).map(|q| q.parse().ok()).collect::<Option<_>>()?,
    };
    (fields.next().is_none() && scored.steps.len() == ages).then_some(scored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_reads_back_and_a_damaged_one_names_its_line() {
        let money = |m| Money::from_minor(m).expect("small");
        let one = Scored {
            account: 7,
            tier: Tier::new(2).expect("a tier"),
            at: UtcSeconds(-5),
            balance: money(1_000),
            demand: money(0),
            headroom: vec![money(900), money(0)],
            steps: vec![-3, 1 << 20],
        };
        let bytes = write(&[one.clone(), one.clone()], &[Age(0), Age(60)]);
        assert_eq!(read(&bytes), Ok(vec![one.clone(), one]));
        let text = String::from_utf8(bytes).expect("text");
        let damaged = text.replacen("1000", "-1000", 1);
        assert!(read(damaged.as_bytes()).expect_err("negative").starts_with("line 2"));
        assert!(read(b"").is_err());
        assert!(read(text.trim_end().trim_end_matches(|c| c != ',').as_bytes()).is_err());
    }
}
