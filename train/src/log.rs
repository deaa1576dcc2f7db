//! The calibration log: the windows a certificate was derived from, as text. Whoever holds it can derive the certificate
//! again. Accounts are numbers in the order they came; it stays with the issuer and is never published.
//!
//! Line 1 is a `#` and what was asked, as canonical JSON. Line 2 names the columns:
//! `part,account,tier,sync,balance,demand,history,s_<age>…,q_<level>_<age>…`: amounts in minor units, times in UTC
//! seconds, `history` and `q` in steps. Parts come in the order `choose`, `calibrate`, `test`.

use std::fmt::Write;

use plimsoll_model::Tier;
use plimsoll_model::artifact::Terms;
use plimsoll_model::money::Money;
use plimsoll_model::time::UtcSeconds;

use crate::calibrate::{Log, Scored};

const PARTS: [&str; 3] = ["choose", "calibrate", "test"];

/// The log's bytes.
pub fn write(log: &Log) -> Vec<u8> {
    let mut text = format!("#{}\n{}\n", canonical(&log.terms), head(&log.terms));
    let fine = "writing to a String cannot fail";
    for (part, windows) in PARTS.into_iter().zip([&log.choose, &log.calibrate, &log.test]) {
        for w in windows {
            let (at, balance, demand) = (w.at.0, w.balance.minor(), w.demand.minor());
            write!(text, "{part},{},{},{at},{balance},{demand},{}", w.account, w.tier, w.history).expect(fine);
            w.headroom.iter().for_each(|s| write!(text, ",{}", s.minor()).expect(fine));
            w.steps.iter().for_each(|q| write!(text, ",{q}").expect(fine));
            text.push('\n');
        }
    }
    text.into_bytes()
}

/// JSON with one way to write it: sorted keys, no spaces.
pub fn canonical(value: &impl serde::Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, olpc_cjson::CanonicalFormatter::new());
    value.serialize(&mut serializer).expect("integers, text and lists have a canonical form");
    String::from_utf8(bytes).expect("JSON is text")
}

fn head(terms: &Terms) -> String {
    let mut text = String::from("part,account,tier,sync,balance,demand,history");
    let fine = "writing to a String cannot fail";
    terms.ages.iter().for_each(|age| write!(text, ",s_{}", age.0).expect(fine));
    for level in &terms.levels {
        terms.ages.iter().for_each(|age| write!(text, ",q_{}_{}", level.get(), age.0).expect(fine));
    }
    text
}

/// Reads a log.
///
/// # Errors
/// The line and what is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Log, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let mut lines = text.lines();
    let asked = lines.next().and_then(|l| l.strip_prefix('#')).ok_or("line 1 must be a # and what was asked")?;
    let terms: Terms = serde_json::from_str(asked).map_err(|e| format!("line 1: {e}"))?;
    if lines.next() != Some(head(&terms).as_str()) {
        return Err(format!("line 2 must name the columns that line 1 asks for: {}", head(&terms)));
    }
    let mut log = Log { terms, choose: Vec::new(), calibrate: Vec::new(), test: Vec::new() };
    for (ix, line) in lines.enumerate() {
        let (part, scored) = row(line, &log.terms).ok_or_else(|| format!("line {} cannot be read: {line}", ix + 3))?;
        [&mut log.choose, &mut log.calibrate, &mut log.test][part].push(scored);
    }
    // What is read must be all there was: parts in order, numbers in their one way of writing.
    if write(&log) == bytes { Ok(log) } else { Err("rows are out of order, or numbers not in their plain form".into()) }
}

fn row(line: &str, terms: &Terms) -> Option<(usize, Scored)> {
    let mut fields = line.split(',');
    let money = |text: &str| Money::from_minor(text.parse().ok()?).ok();
    let part = fields.next()?;
    let part = PARTS.iter().position(|p| *p == part)?;
    let (ages, steps) = (terms.ages.len(), terms.ages.len() * terms.levels.len());
    let scored = Scored {
        account: fields.next()?.parse().ok()?,
        tier: Tier::new(fields.next()?.parse().ok()?).ok()?,
        at: UtcSeconds(fields.next()?.parse().ok()?),
        balance: money(fields.next()?).filter(|b| *b > Money::ZERO)?,
        demand: money(fields.next()?)?,
        history: fields.next()?.parse().ok()?,
        headroom: fields.by_ref().take(ages).map(money).collect::<Option<_>>()?,
        steps: fields.by_ref().take(steps).map(|q| q.parse().ok()).collect::<Option<_>>()?,
    };
    (fields.next().is_none() && scored.headroom.len() == ages && scored.steps.len() == steps).then_some((part, scored))
}

#[cfg(test)]
mod tests {
    use plimsoll_model::calibration::Target;
    use plimsoll_model::quantile::Ppm;
    use plimsoll_model::time::Age;

    use super::*;

    #[test]
    fn a_log_reads_back_and_a_damaged_one_names_its_line() {
        let money = |m| Money::from_minor(m).expect("small");
        let ppm = |v| Ppm::new(v).expect("a level");
        let one = |account| Scored {
            account,
            tier: Tier::new(2).expect("a tier"),
            at: UtcSeconds(-5),
            balance: money(1_000),
            demand: money(0),
            history: 77,
            headroom: vec![money(900), money(0)],
            steps: vec![-3, 1 << 20],
        };
        let terms = Terms {
            levels: vec![ppm(10_000)],
            ..Terms::new(ppm(5_000), ppm(50_000), Target::Strict, 72, vec![Age(0), Age(60)])
        };
        let log = Log { terms, choose: vec![one(1)], calibrate: vec![one(2), one(2)], test: vec![one(3)] };
        let bytes = write(&log);
        assert_eq!(read(&bytes), Ok(log));
        let text = String::from_utf8(bytes).expect("text");
        let refused = |text: &str| read(text.as_bytes()).expect_err(text);
        assert!(refused(&text.replacen(",1000,", ",-1000,", 1)).starts_with("line 3"));
        assert!(refused(&text.replacen(",1000,", ",0,", 1)).starts_with("line 3"), "no window without a balance");
        assert!(refused(&text.replacen("test", "taste", 1)).starts_with("line 6"));
        assert!(refused(&text.replacen(",1000,", ",01000,", 1)).contains("plain form"));
        assert!(refused(&text.replacen("s_60", "s_61", 1)).starts_with("line 2"));
        let lines: Vec<&str> = text.lines().collect();
        let turned = [lines[0], lines[1], lines[5], lines[3], lines[4], lines[2], ""].join("\n");
        assert!(refused(&turned).contains("out of order"));
        assert!(read(b"").is_err() && read(b"#{}\n").is_err());
        assert!(read(text.trim_end().trim_end_matches(|c| c != ',').as_bytes()).is_err());
    }
}
