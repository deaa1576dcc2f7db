//! Is the promise, which is a tier's, broken for some group of accounts inside it?

use super::{Bound, Engine, Subject, Verdict};
use crate::accounts::Accounts;
use crate::gaps::Gaps;

/// How many groups a sentence lists.
const LISTED: usize = 3;

/// On the test split: no group's violations are above the promise beyond doubt, whichever groups were looked at.
pub(super) fn gaps(subject: &Subject, _: &[Engine]) -> Result<Vec<Verdict>, String> {
    let (log, policy) = (subject.log()?, subject.policy()?);
    let cells = &subject.release()?.certificate.cells;
    let accounts = Accounts::read(subject.bytes("accounts.csv")?).map_err(|e| format!("accounts.csv: {e}"))?;
    let gaps = Gaps::among(&log.test, &accounts, &log.terms, cells, policy.currency);
    let groups: usize = gaps.by.iter().map(|gap| gap.groups.len()).sum();
    let percent = |share: f64| format!("{:.3} %", share * 100.0);
    let above: Vec<String> = gaps
        .above()
        .map(|(by, group)| {
            let o = &group.outcome;
            let name = &group.group;
            format!(
                "{by} {name}: {} [{} – {}] of {}",
                percent(o.violation),
                percent(o.low),
                percent(o.high),
                o.accounts
            )
        })
        .collect();
    let says = match above.as_slice() {
        [] => format!("none of {groups} groups is above {} beyond doubt", percent(gaps.alpha)),
        some => some[..some.len().min(LISTED)].join("; "),
    };
    Ok(vec![Verdict::new("test split", above.len() as u64, Bound::AtMost(0), "groups", says)])
}
