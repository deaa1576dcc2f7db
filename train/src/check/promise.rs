//! Does the certificate follow from its log, and did anything since contradict it?

use plimsoll_model::artifact::{Basis, Cell, Compared, Terms, Tested};

use super::{Bound, Engine, Subject, Verdict};
use crate::calibrate::{Family, verify};

/// How many differences a sentence lists.
const LISTED: usize = 3;

/// Every number again, from the calibration log alone.
pub(super) fn certificate(subject: &Subject, _: &[Engine]) -> Result<Vec<Verdict>, String> {
    let log = subject.log()?;
    let stated = &subject.release()?.certificate;
    let differences = verify(stated, log);
    let says = match differences.as_slice() {
        [] => format!("every number follows from the {} rows of calibration.csv", stated.calibration_rows),
        some => {
            let listed: Vec<String> = some.iter().take(LISTED).map(ToString::to_string).collect();
            let more = some.len().saturating_sub(LISTED);
            format!("{}{}", listed.join("; "), if more > 0 { format!("; and {more} more") } else { String::new() })
        }
    };
    Ok(vec![Verdict::new("calibration.csv", differences.len() as u64, Bound::AtMost(0), "differences", says)])
}

/// On the test split, in each certified tier: the promise is not contradicted, in frequency or in money, and no plain rule
/// that keeps the same promise serves much more demand.
pub(super) fn backtest(subject: &Subject, _: &[Engine]) -> Result<Vec<Verdict>, String> {
    let config = subject.config()?;
    let certificate = &subject.release()?.certificate;
    let (alpha, short) = (certificate.terms.alpha.get(), config.check.served_short_milli * 1_000);
    let mut verdicts = Vec::new();
    for cell in certificate.cells.iter().filter(|c| c.basis == Basis::Certified) {
        let Some(test) = &cell.test else {
            verdicts.push(Verdict::impossible(format!("tier {}", cell.tier), "nobody tests it".into()));
            continue;
        };
        verdicts.push(frequency(format!("violations, tier {}", cell.tier), test, alpha));
        let bands = cell.bands.iter().filter_map(|band| Some((band.from, band.test?)));
        verdicts.extend(bands.map(|(from, test)| {
            frequency(format!("violations, tier {} from a balance of {}", cell.tier, from.minor()), &test, alpha)
        }));
        verdicts.extend(money(cell, test));
        verdicts.push(served(cell, test, &certificate.terms, short));
    }
    if verdicts.is_empty() {
        let why = "no tier is certified, so there is nothing to publish: the programme's fallback needs no model";
        verdicts.push(Verdict::impossible("certified tiers", why.into()));
    }
    Ok(verdicts)
}

fn percent(ppm: u32) -> String {
    format!("{:.3} %", f64::from(ppm) / 1e4)
}

fn frequency(what: String, test: &Tested, alpha: u32) -> Verdict {
    let says = format!(
        "realised {} [{} – {}] of {} accounts' windows, {} promised",
        percent(test.violation_ppm),
        percent(test.low_ppm),
        percent(test.high_ppm),
        test.accounts,
        percent(alpha)
    );
    let bound = Bound::AtMost(i64::from(alpha));
    Verdict::new(what, u64::from(test.low_ppm), bound, "ppm, lower end", says)
}

fn money(cell: &Cell, test: &Tested) -> Option<Verdict> {
    let beta = cell.beta?.minor().saturating_mul(1_000);
    let low = test.intervals.low.missing_milli;
    let says = format!(
        "{:.3} minor units missing on average [{:.3} – {:.3}], {} promised",
        test.expected.missing_milli as f64 / 1e3,
        low as f64 / 1e3,
        test.intervals.high.missing_milli as f64 / 1e3,
        beta / 1_000
    );
    let bound = Bound::AtMost(i64::try_from(beta).unwrap_or(i64::MAX));
    Some(Verdict::new(format!("money, tier {}", cell.tier), low, bound, "thousandths, lower end", says))
}

/// * `short`: how much less than the plain rule is let pass, parts per million of the demand.
fn served(cell: &Cell, test: &Tested, terms: &Terms, short: u32) -> Verdict {
    let plain = [Family::Share, Family::History].map(|family| family.name(terms));
    let of_rule = |c: &Compared| c.test.map(|e| (e.served_ppm, c.name.clone()));
    let tried = cell.compared.iter().filter(|c| plain.contains(&c.name));
    let (best, name) = tried.filter_map(of_rule).max().unwrap_or_default();
    let served = test.expected.served_ppm;
    let says = match name.as_str() {
        "" => format!("{} of the demand; no plain rule keeps the promise", percent(served)),
        name => format!("{} of the demand, the best plain rule ({name}) {}", percent(served), percent(best)),
    };
    let bound = Bound::AtLeast(i64::from(best.saturating_sub(short)));
    Verdict::new(format!("demand served, tier {}", cell.tier), u64::from(served), bound, "ppm", says)
}
