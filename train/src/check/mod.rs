//! The gate: what must be true of a run before it is published, checked on its files alone.
//!
//! ```text
//! run directory ─► Subject ─► CHECKS ─► verdicts ─► check.json ─► publish
//!   its bytes       read        one function each     with hashes    refuses what did not pass
//! ```
//!
//! | check | what it asks |
//! |---|---|
//! | `size` | are the model, and the artifact as a device downloads it, small enough? |
//! | `files` | do manifest, certificate and files name each other? |
//! | `golden` | does each engine give the golden vectors' answers? |
//! | `parity` | does each engine give the reference walk's bits on rows drawn around the thresholds? |
//! | `monotone` | are the exported trees monotone, by proof? |
//! | `certificate` | does every number of it follow from the calibration log? |
//! | `backtest` | on the test split: is the promise uncontradicted, and is as much demand served as by a plain rule? |
//! | `gaps` | on the test split: is the promise broken beyond doubt for some group of accounts? |
//! | `replay` | played over a ledger: is the certificate kept, and does no attack get more than its bound? |
//!
//! A check is one function of [`Subject`] and engines; adding one is a line of [`CHECKS`]. Figures and bounds are whole
//! numbers, so that whether a check passed can be read again from `check.json`.

mod subject;

mod verdict;

mod engines;

mod files;

mod promise;

mod groups;

mod replayed;

pub use engines::{ENGINES, Engine, Steps};
pub use replayed::{REPLAY_FILE, Replayed, Scene};
pub(crate) use subject::published;
pub use subject::{FILES, Subject, hashes};
pub use verdict::{BadChecked, Bound, Checked, Verdict};

/// Where a run directory keeps the outcome.
pub const CHECK_FILE: &str = "check.json";

/// One question about a run.
#[derive(Clone, Copy)]
pub struct Check {
    /// What it is called, in `check.json` and in refusals.
    pub name: &'static str,
    /// One verdict for each thing it looks at, or why it could not look.
    pub run: fn(&Subject, &[Engine]) -> Result<Vec<Verdict>, String>,
}

/// Every check, in the order in which they are made.
pub const CHECKS: [Check; 9] = [
    Check { name: "size", run: files::size },
    Check { name: "files", run: files::named },
    Check { name: "golden", run: engines::golden },
    Check { name: "parity", run: engines::parity },
    Check { name: "monotone", run: files::monotone },
    Check { name: "certificate", run: promise::certificate },
    Check { name: "backtest", run: promise::backtest },
    Check { name: "gaps", run: groups::gaps },
    Check { name: "replay", run: replayed::replay },
];

/// Makes every check of a run.
///
/// * `engines`: those of [`ENGINES`]; one that is not given fails.
/// * `begun`: hears the number and name of each check as it begins.
pub fn check(subject: &Subject, engines: &[Engine], begun: &dyn Fn(usize, &'static str)) -> Checked {
    let mut verdicts = Vec::new();
    for (ix, check) in CHECKS.iter().enumerate() {
        begun(ix, check.name);
        match (check.run)(subject, engines) {
            Ok(found) => verdicts.extend(found.into_iter().map(|v| Verdict { check: check.name.to_owned(), ..v })),
            Err(why) => verdicts.push(Verdict { check: check.name.to_owned(), ..Verdict::impossible("", why) }),
        }
    }
    Checked::new(subject, verdicts)
}
