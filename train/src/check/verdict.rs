//! What came of the checks: `check.json`, which publishing reads again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CHECKS, Subject};

/// The version that checks: another one may ask other questions.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a check found of one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Which check.
    pub check: String,
    /// Which engine, file, feature or tier it looked at; empty when it could not look.
    pub of: String,
    /// Whether the figure keeps the bound.
    pub passed: bool,
    /// What was found.
    pub figure: i64,
    /// What it has to keep.
    pub bound: Bound,
    /// What both count.
    pub unit: String,
    /// The same in words.
    pub says: String,
}

/// What a figure has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No more than this.
    AtMost(i64),
    /// No less than this.
    AtLeast(i64),
    /// Neither more nor less.
    Exactly(i64),
}

impl Bound {
    /// Whether a figure keeps it.
    pub const fn holds(self, figure: i64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
            Self::Exactly(value) => figure == value,
        }
    }
}

impl Verdict {
    /// A figure against its bound. The check's name is filled in by [`super::check`].
    pub fn new(of: impl Into<String>, figure: u64, bound: Bound, unit: &str, says: String) -> Self {
        let figure = i64::try_from(figure).unwrap_or(i64::MAX);
        let (check, of, unit) = (String::new(), of.into(), unit.to_owned());
        Self { check, of, passed: bound.holds(figure), figure, bound, unit, says }
    }

    /// What could not be looked at, or is plainly wrong.
    pub fn impossible(of: impl Into<String>, why: String) -> Self {
        Self::new(of, 0, Bound::AtLeast(1), "judged", why)
    }

    /// Check and thing in a few words.
    pub fn name(&self) -> String {
        [self.check.as_str(), self.of.as_str()].join(" ").trim_end().to_owned()
    }
}

/// The outcome of all checks of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// The version of plimsoll that checked.
    pub plimsoll: String,
    /// SHA-256 of every file that was checked.
    pub files: BTreeMap<String, String>,
    /// In the order of the checks.
    pub verdicts: Vec<Verdict>,
}

/// Why the outcome of a check is no ground for publishing anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadChecked {
    /// There is none.
    #[error("{run} was not checked: run `plimsoll check {run}` first")]
    Missing {
        /// The run directory.
        run: String,
    },
    /// Not what this program writes, or not consistent with itself.
    #[error("check.json: {reason}: run `plimsoll check` again")]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// The files, checked again, give another outcome.
    #[error("check.json is not what the check finds of these files: run `plimsoll check` again")]
    Altered,
    /// A file is another than the one that was checked.
    #[error("{file} is not the file that was checked: run `plimsoll check` again")]
    Stale {
        /// Which.
        file: String,
    },
}

impl Checked {
    pub(super) fn new(subject: &Subject, verdicts: Vec<Verdict>) -> Self {
        Self { plimsoll: VERSION.to_owned(), files: subject.hashes(), verdicts }
    }

    /// The bytes of `check.json`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("whole numbers and text");
        bytes.push(b'\n');
        bytes
    }

    /// Reads `check.json`: every check of this version must be in it, and every verdict follow from its figure.
    ///
    /// # Errors
    /// `BadChecked::Unreadable`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BadChecked> {
        let bad = |reason: String| BadChecked::Unreadable { reason };
        let read: Self = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if read.to_json() != bytes {
            return Err(bad("it was written by something else".into()));
        }
        if read.plimsoll != VERSION {
            return Err(bad(format!("it is of version {}, this is {VERSION}", read.plimsoll)));
        }
        let mut made: Vec<&str> = read.verdicts.iter().map(|v| v.check.as_str()).collect();
        made.dedup();
        if !made.into_iter().eq(CHECKS.iter().map(|c| c.name)) {
            let names: Vec<&str> = CHECKS.iter().map(|c| c.name).collect();
            return Err(bad(format!("the checks are {}, in this order", names.join(", "))));
        }
        match read.verdicts.iter().find(|v| v.passed != v.bound.holds(v.figure)) {
            Some(v) => Err(bad(format!("{} does not follow from its figure {}", v.name(), v.figure))),
            None => Ok(read),
        }
    }

    /// What did not pass.
    pub fn failed(&self) -> Vec<&Verdict> {
        self.verdicts.iter().filter(|v| !v.bound.holds(v.figure)).collect()
    }

    /// Whether everything passed.
    pub fn passed(&self) -> bool {
        self.failed().is_empty()
    }

    /// That these are exactly the files that were checked.
    ///
    /// # Errors
    /// `BadChecked::Stale` names the first that is not.
    pub fn require_same(&self, files: &BTreeMap<String, String>) -> Result<(), BadChecked> {
        let names = self.files.keys().chain(files.keys());
        match names.into_iter().find(|name| self.files.get(*name) != files.get(*name)) {
            Some(file) => Err(BadChecked::Stale { file: file.clone() }),
            None => Ok(()),
        }
    }
}
