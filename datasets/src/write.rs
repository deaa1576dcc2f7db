//! Writing a data set: any source or the generator, to Parquet or CSV, in bounded memory.
//!
//! ```text
//! rows ─► sheet (128 Ki rows of columns) ─► <dir>.partial-<pid>/ ─► fsync ─► rename to <dir>
//!                                             users.*            one row per account
//!                                             transactions.*     one row per movement
//!                                             plimsoll-data.toml a mapping that reads them back
//! ```
//!
//! An error, an interruption or a panic removes the partial directory: `<dir>` is whole or absent.

mod berka;

pub mod sheet;

pub mod staging;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use plimsoll_model::{Account, Currency, Tier, UtcOffset};
use serde::{Deserialize, Serialize};

pub use berka::write_berka;

use crate::Progress;
use crate::chain::Opening;
use crate::error::LoadError;
use crate::input::DATA_FILE;
use crate::mapping::{Accounts, AmountUnit, Columns, IdUnit, Kinds, Mapping, PlaceUnit, Sign, Time, Units};
use crate::report::LoadReport;
use crate::source::{OnBadRow, Resolution, Source};
use crate::synth::{Block, Config, Generator, User};
use sheet::{Rows, Users};

pub use staging::{Staging, partial_path};

/// How the tables of a data set are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// Parquet, zstd.
    Parquet,
    /// CSV with a header.
    Csv,
}

impl FileFormat {
    /// The ending of file names.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }
}

/// How many rows pass between two calls of the progress callback.
const PROGRESS_EVERY: u64 = 1 << 15;

/// Writes all rows of a source to the new directory `dir`, in the source's order, repeated ids included.
/// The report counts what was written and what was refused.
///
/// # Errors
/// `Exists` when `dir` holds something; `Io`; the source's errors; `NoRows` when nothing could be written;
/// `Interrupted` when `progress` breaks. In every case nothing is left behind.
pub fn write_dataset(
    dir: &Path,
    format: FileFormat,
    source: &mut dyn Source,
    on_bad: OnBadRow,
    progress: &mut Progress<'_>,
) -> Result<LoadReport, LoadError> {
    let staging = Staging::new(dir)?;
    let mut rows = Rows::create(&table(&staging, "transactions", format), format)?;
    let mut report = LoadReport::default();
    let mut openings: Vec<Opening> = Vec::new();
    let mut calls = 0_u64;
    while let Some(next) = source.next_row() {
        calls += 1;
        if calls.is_multiple_of(PROGRESS_EVERY) {
            let (done, total) = source.position();
            go_on(progress(done, total))?;
        }
        match next {
            Ok(row) => {
                let account = row.account as usize;
                if let (false, Some(balance)) = (source.knows_openings(), row.balance) {
                    if openings.len() <= account {
                        openings.resize(account + 1, Opening::default());
                    }
                    openings[account].see(row.transaction.at.0, balance);
                }
                let after = row.balance.map(|b| b.after);
                rows.push(&source.accounts()[account].name, &row.transaction, row.made_at, after)?;
                report.rows_read += 1;
                report.rows_kept += 1;
            }
            Err(error) => report.refuse(error, on_bad)?,
        }
    }
    if report.rows_kept == 0 {
        return Err(LoadError::NoRows { path: source.path().to_owned() });
    }
    let (done, total) = source.position();
    go_on(progress(done, total))?;
    rows.finish()?;
    let mut users = Users::create(&table(&staging, "users", format), format)?;
    for (i, account) in source.accounts().iter().enumerate() {
        let opening = openings.get(i).and_then(Opening::minor);
        let opening_minor = opening.unwrap_or(account.opening_minor);
        users.push(&Account { opening_minor, ..account.clone() }, None)?;
    }
    report.accounts = source.accounts().len() as u64;
    users.finish()?;
    write_mapping(&staging, format, source.currency(), source.offset(), source.resolution(), &[])?;
    staging.commit()?;
    Ok(report)
}

/// What was generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// Wallets.
    pub accounts: u64,
    /// Rows.
    pub transactions: u64,
}

/// Generates a data set into the new directory `dir`, one block in memory at a time; its users file also holds
/// the truth (archetype, income, home, devices, adversary). `progress` sees accounts.
///
/// # Errors
/// `BadConfig`; `Exists` when `dir` holds something; `Io`; `Interrupted` when `progress` breaks. In every
/// case nothing is left behind.
pub fn write_generated(
    dir: &Path,
    format: FileFormat,
    config: &Config,
    progress: &mut Progress<'_>,
) -> Result<Generated, LoadError> {
    let generator = Generator::new(config)?;
    let staging = Staging::new(dir)?;
    let mut rows = Rows::create(&table(&staging, "transactions", format), format)?;
    let mut users = Users::create(&table(&staging, "users", format), format)?;
    let mut block = Block::new();
    let mut made = Generated { accounts: 0, transactions: 0 };
    for index in 0..generator.blocks() {
        go_on(progress(made.accounts, u64::from(config.accounts)))?;
        generator.block(index, &mut block);
        for (user, records) in block.iter() {
            users.push(&user.account, Some(user))?;
            for record in records {
                let after = Some(record.balance_after_minor);
                rows.push(&user.account.name, &record.transaction, record.made_at, after)?;
            }
            made.accounts += 1;
            made.transactions += records.len() as u64;
        }
    }
    go_on(progress(made.accounts, u64::from(config.accounts)))?;
    rows.finish()?;
    users.finish()?;
    let programme = config.programme;
    write_mapping(&staging, format, programme.currency(), programme.offset(), Resolution::Instant, &User::GROUPS)?;
    staging.commit()?;
    Ok(made)
}

fn go_on(flow: ControlFlow<()>) -> Result<(), LoadError> {
    if flow.is_break() { Err(LoadError::Interrupted) } else { Ok(()) }
}

fn table(staging: &Staging, name: &str, format: FileFormat) -> PathBuf {
    staging.path().join(name).with_extension(format.extension())
}

fn write_mapping(
    staging: &Staging,
    format: FileFormat,
    currency: Currency,
    offset: UtcOffset,
    resolution: Resolution,
    groups: &[&str],
) -> Result<(), LoadError> {
    let some = |name: &str| Some(name.to_owned());
    let mapping = Mapping {
        transactions: Some(PathBuf::from("transactions").with_extension(format.extension())),
        delimiter: ',',
        columns: Columns {
            account: "account".into(),
            time: "at".into(),
            amount: "amount_minor".into(),
            kind: some("kind"),
            payee: some("payee"),
            id: some("tx_id"),
            balance: some("balance_after_minor"),
            currency: None,
            channel: some("channel"),
            outcome: some("outcome"),
            made_at: some("made_at"),
            device: some("device"),
            latitude: some("lat_e6"),
            longitude: some("lon_e6"),
        },
        units: Units { currency, amount: AmountUnit::Minor, ids: IdUnit::U64, place: PlaceUnit::E6 },
        time: Time { format: "unix_s".into(), zone_minutes: offset.0, resolution: Some(resolution) },
        sign: Sign::default(),
        kinds: Kinds::default(),
        accounts: Some(Accounts {
            path: PathBuf::from("users").with_extension(format.extension()),
            name: "account".into(),
            opened: some("opened_at"),
            tier: some("tier"),
            opening: some("opening_minor"),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            default_tier: Tier::default(),
        }),
        file: PathBuf::new(),
    };
    let text = toml::to_string(&mapping).expect("a mapping is strings, numbers and tables");
    let path = staging.path().join(DATA_FILE);
    let head = "# Written with the tables beside it: reads them back with --data <this directory>.\n";
    fs::write(&path, format!("{head}{text}")).map_err(LoadError::io(&path))
}
