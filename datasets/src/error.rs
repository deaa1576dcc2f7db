//! Why a source was refused, or a row of it: the file, the line, the column and the reason.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use plimsoll_model::money::ParseAmount;

/// Why reading or writing a data set ended early.
///
/// `Io`, `Exists` and `Interrupted` are about the machine; everything else is about the data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file system said no: missing, unreadable, full.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The place to write to holds something already.
    #[error("{} already exists and is not empty; choose another directory or remove it", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The caller's progress callback asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A file of no bytes.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A header and nothing below it.
    #[error("{} has a header and no rows", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// Every row was refused.
    #[error("{}: all {rows} rows were refused, the first because: {first}", path.display())]
    NoGoodRows {
        /// The file.
        path: PathBuf,
        /// How many were read.
        rows: u64,
        /// The first of them.
        first: Box<BadRow>,
    },
    /// A column the loader needs is not in the header.
    #[error("{} has no column {column:?}; it has {}", path.display(), found.join(", "))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column looked for.
        column: String,
        /// The columns there are.
        found: Vec<String>,
    },
    /// A Parquet column of a type that holds neither numbers nor text.
    #[error("{}, column {column:?} is of type {found}; store whole numbers, decimals or text", path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its Arrow type.
        found: String,
    },
    /// A row was refused, and the caller chose to stop at the first.
    #[error(transparent)]
    BadRow(#[from] BadRow),
    /// The mapping file does not say what it must.
    #[error("mapping {}: {message}", path.display())]
    BadMapping {
        /// The mapping file.
        path: PathBuf,
        /// What is wrong, with the key.
        message: String,
    },
    /// A generator configuration out of range.
    #[error("generator configuration: {message}")]
    BadConfig {
        /// What is wrong, with the key.
        message: String,
    },
    /// A table that needs a mapping and has none.
    #[error("{} is a table of its own layout: say what its columns mean with a mapping file (see datasets/README.md)", path.display())]
    NeedsMapping {
        /// The table.
        path: PathBuf,
    },
    /// Not a format this crate knows.
    #[error("{} is not a data set we know: expected a directory with plimsoll-data.toml or trans.asc, a .csv or .parquet table, or a generator's .toml", path.display())]
    UnknownFormat {
        /// What was given.
        path: PathBuf,
    },
    /// The file is not the Parquet or CSV it claims to be.
    #[error("{}: {message}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        message: String,
    },
}

impl LoadError {
    /// Wraps what the system said about `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Wraps what the CSV reader or writer said about `path`.
    pub(crate) fn csv(path: &Path) -> impl FnOnce(csv::Error) -> Self + '_ {
        move |error| match error.into_kind() {
            csv::ErrorKind::Io(source) => Self::Io { path: path.to_owned(), source },
            other => Self::Corrupt { path: path.to_owned(), message: format!("{other:?}") },
        }
    }

    /// Wraps what polars said about `path`.
    pub(crate) fn polars(path: &Path) -> impl FnOnce(polars::error::PolarsError) -> Self + '_ {
        move |error| match error {
            polars::error::PolarsError::IO { error, .. } => {
                Self::Io { path: path.to_owned(), source: io::Error::new(error.kind(), error.to_string()) }
            }
            other => Self::Corrupt { path: path.to_owned(), message: other.to_string() },
        }
    }

    /// Whether the machine failed rather than the data: another exit code.
    pub const fn is_io(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Exists { .. })
    }
}

/// One refused row: where it stands and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The file it is in.
    pub file: PathBuf,
    /// 1-based line of a text file, 1-based row of a Parquet file; 0 when the row has no place of its own.
    pub line: u64,
    /// The column at fault, if one is.
    pub column: Option<String>,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file.display(), self.line)?;
        if let Some(column) = &self.column {
            write!(f, ", column {column:?}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for BadRow {}

/// Why a row was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Not an exact amount of money.
    #[error(transparent)]
    Amount(#[from] ParseAmount),
    /// A float that is NaN or infinite.
    #[error("{text} is not a finite number")]
    NotFinite {
        /// What stands there.
        text: String,
    },
    /// A cell that must not be empty.
    #[error("empty")]
    Missing,
    /// Bytes that are not UTF-8.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// Not a whole number where one is needed.
    #[error("{text:?} is not a whole number in range")]
    NotWhole {
        /// What stands there.
        text: String,
    },
    /// A time that does not follow the format, or that the calendar does not have.
    #[error("{text:?} is not a time written as {format}")]
    Time {
        /// What stands there.
        text: String,
        /// What was expected.
        format: String,
    },
    /// A time no wallet was alive in.
    #[error("{text:?} is outside the years 1900 to 2200")]
    TimeOutOfRange {
        /// What stands there.
        text: String,
    },
    /// A kind, type or symbol nobody mapped.
    #[error("{text:?} is mapped to no kind of movement")]
    UnknownKind {
        /// What stands there.
        text: String,
    },
    /// Neither a debit nor a credit.
    #[error("{text:?} is listed neither as debit nor as credit")]
    UnknownSign {
        /// What stands there.
        text: String,
    },
    /// A minus where the sign comes from elsewhere.
    #[error("{text:?} is negative, but the sign comes from another column")]
    NegativeSize {
        /// What stands there.
        text: String,
    },
    /// Money going the wrong way for its kind.
    #[error("a {kind} cannot {}; map it to another kind", if *.credit { "bring money in" } else { "take money out" })]
    SignContradictsKind {
        /// The kind's name.
        kind: &'static str,
        /// Whether the amount is a credit.
        credit: bool,
    },
    /// Mixed currencies.
    #[error("currency {found:?}, but this data set is in {expected}: mixed currencies")]
    OtherCurrency {
        /// What stands there.
        found: String,
        /// The mapping's currency.
        expected: String,
    },
    /// A channel other than online and offline.
    #[error("{text:?} is neither \"online\" nor \"offline\"")]
    UnknownChannel {
        /// What stands there.
        text: String,
    },
    /// An outcome nobody defined, or one on an online row.
    #[error("{text:?} is no outcome of an offline payment")]
    UnknownOutcome {
        /// What stands there.
        text: String,
    },
    /// A tier outside 0..=3.
    #[error("{text:?} is not a KYC tier (0, 1, 2 or 3)")]
    Tier {
        /// What stands there.
        text: String,
    },
    /// A latitude or longitude off the globe, or half a pair.
    #[error("{text:?} is not a place on the globe")]
    Place {
        /// What stands there.
        text: String,
    },
    /// A row with too few or too many cells.
    #[error("{found} cells, the header has {expected}")]
    CellCount {
        /// Cells in this row.
        found: usize,
        /// Cells in the header.
        expected: usize,
    },
    /// An account the accounts file does not list.
    #[error("account {account:?} is not in the accounts file")]
    UnknownAccount {
        /// Its name.
        account: String,
    },
    /// The accounts file lists an account twice.
    #[error("account {account:?} is listed twice")]
    AccountTwice {
        /// Its name.
        account: String,
    },
    /// The same id as an earlier row of the account.
    #[error("same id as an earlier row of the account")]
    Duplicate,
    /// The source itself says that this movement did not happen; counted, never a reason to stop.
    #[error("flagged by the platform and not executed")]
    NotExecuted,
}

impl Reason {
    /// A short name to count by.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Amount(ParseAmount::NotANumber { .. }) => "amount is not a number",
            Self::Amount(ParseAmount::TooManyDecimals { .. }) => "too many decimals",
            Self::Amount(ParseAmount::Overflow { .. }) => "amount too large",
            Self::NotFinite { .. } => "not a finite number",
            Self::Missing => "empty cell",
            Self::NotUtf8 => "not UTF-8",
            Self::NotWhole { .. } => "not a whole number",
            Self::Time { .. } => "bad time",
            Self::TimeOutOfRange { .. } => "time out of range",
            Self::UnknownKind { .. } => "unknown kind",
            Self::UnknownSign { .. } => "unknown sign",
            Self::NegativeSize { .. } => "unexpected minus",
            Self::SignContradictsKind { .. } => "sign contradicts kind",
            Self::OtherCurrency { .. } => "mixed currencies",
            Self::UnknownChannel { .. } => "unknown channel",
            Self::UnknownOutcome { .. } => "unknown outcome",
            Self::Tier { .. } => "bad tier",
            Self::Place { .. } => "bad place",
            Self::CellCount { .. } => "wrong number of cells",
            Self::UnknownAccount { .. } => "unknown account",
            Self::AccountTwice { .. } => "account listed twice",
            Self::Duplicate => "duplicate",
            Self::NotExecuted => "not executed",
        }
    }

    /// Whether a caller who stops at bad rows stops at this one.
    pub const fn stops(&self) -> bool {
        !matches!(self, Self::NotExecuted)
    }
}
