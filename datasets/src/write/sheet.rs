//! The two tables of a data set as columns, flushed in batches.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use plimsoll_model::{Account, Channel, Transaction, UtcSeconds};
use polars::io::csv::write::{BatchedWriter as CsvBatches, CsvWriter};
use polars::io::parquet::write::{BatchedWriter as ParquetBatches, ParquetWriter};
use polars::prelude::{
    Column, DataFrame, IntoColumn, IntoSeries, NamedFrom, PlSmallStr, PolarsError, SerWriter, Series,
    StatisticsOptions, StringChunkedBuilder,
};

use crate::error::LoadError;
use crate::synth::User;
use crate::write::FileFormat;

/// Rows in a batch: one row group of a Parquet file, some 10 MB in memory.
const BATCH: usize = 1 << 17;

/// A file that remembers why it failed: the Parquet writer reports a full disk as a malformed file.
struct Witnessed {
    file: File,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl Witnessed {
    fn witness<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            if let Ok(mut failure) = self.failure.lock() {
                *failure = Some(io::Error::new(error.kind(), error.to_string()));
            }
        })
    }
}

impl Write for Witnessed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.file.write(bytes);
        self.witness(result)
    }
    fn flush(&mut self) -> io::Result<()> {
        let result = self.file.flush();
        self.witness(result)
    }
}

/// A file that takes batches of columns.
struct Sink {
    path: PathBuf,
    failure: Arc<Mutex<Option<io::Error>>>,
    /// Opened by the first batch, which knows the columns.
    state: State,
    format: FileFormat,
}

enum State {
    Fresh(Witnessed),
    Csv(Box<CsvBatches<Witnessed>>),
    Parquet(Box<ParquetBatches<Witnessed>>),
    Broken,
}

impl Sink {
    fn create(path: &Path, format: FileFormat) -> Result<Self, LoadError> {
        let file = File::create(path).map_err(LoadError::io(path))?;
        let failure = Arc::new(Mutex::new(None));
        let file = Witnessed { file, failure: Arc::clone(&failure) };
        Ok(Self { path: path.to_owned(), failure, state: State::Fresh(file), format })
    }

    /// The system's own words when it was the file that failed, polars' otherwise.
    fn explain(&self, error: PolarsError) -> LoadError {
        match self.failure.lock().ok().and_then(|mut failure| failure.take()) {
            Some(source) => LoadError::Io { path: self.path.clone(), source },
            None => LoadError::polars(&self.path)(error),
        }
    }

    fn write(&mut self, columns: Vec<Column>) -> Result<(), LoadError> {
        let frame = DataFrame::new_infer_height(columns).map_err(LoadError::polars(&self.path))?;
        if let State::Fresh(_) = self.state {
            let State::Fresh(file) = std::mem::replace(&mut self.state, State::Broken) else { return Ok(()) };
            let schema = frame.schema();
            self.state = match self.format {
                FileFormat::Csv => {
                    State::Csv(Box::new(CsvWriter::new(file).batched(schema).map_err(|error| self.explain(error))?))
                }
                FileFormat::Parquet => State::Parquet(Box::new(
                    ParquetWriter::new(file)
                        .with_statistics(StatisticsOptions::empty())
                        .batched(schema)
                        .map_err(|error| self.explain(error))?,
                )),
            };
        }
        match &mut self.state {
            State::Csv(writer) => writer.write_batch(&frame),
            State::Parquet(writer) => writer.write_batch(&frame),
            State::Fresh(_) | State::Broken => Ok(()),
        }
        .map_err(|error| self.explain(error))
    }

    fn finish(&mut self) -> Result<(), LoadError> {
        match &mut self.state {
            State::Csv(writer) => writer.finish(),
            State::Parquet(writer) => writer.finish().map(drop),
            State::Fresh(_) | State::Broken => Ok(()),
        }
        .map_err(|error| self.explain(error))
    }
}

/// A text column being filled.
struct Text(StringChunkedBuilder);

impl Text {
    fn new(name: &str) -> Self {
        Self(StringChunkedBuilder::new(PlSmallStr::from_str(name), BATCH))
    }

    fn take(&mut self, name: &str) -> Column {
        let full = std::mem::replace(self, Self::new(name));
        full.0.finish().into_series().into_column()
    }
}

fn column<T>(name: &str, values: &mut Vec<T>) -> Column
where
    Series: NamedFrom<Vec<T>, [T]>,
{
    let full = std::mem::replace(values, Vec::with_capacity(BATCH));
    Series::new(PlSmallStr::from_str(name), full).into_column()
}

fn options<T>(name: &str, values: &mut Vec<Option<T>>) -> Column
where
    Series: NamedFrom<Vec<Option<T>>, [Option<T>]>,
{
    let full = std::mem::replace(values, Vec::with_capacity(BATCH));
    Series::new(PlSmallStr::from_str(name), full).into_column()
}

/// The transactions table.
pub struct Rows {
    sink: Sink,
    tx_id: Vec<u64>,
    account: Text,
    at: Vec<i64>,
    made_at: Vec<i64>,
    amount_minor: Vec<i64>,
    kind: Text,
    payee: Vec<u64>,
    device: Vec<u32>,
    channel: Text,
    outcome: Text,
    lat_e6: Vec<Option<i32>>,
    lon_e6: Vec<Option<i32>>,
    balance_after_minor: Vec<Option<i64>>,
}

impl Rows {
    /// A new file.
    ///
    /// # Errors
    /// `Io`.
    pub fn create(path: &Path, format: FileFormat) -> Result<Self, LoadError> {
        Ok(Self {
            sink: Sink::create(path, format)?,
            tx_id: Vec::with_capacity(BATCH),
            account: Text::new("account"),
            at: Vec::with_capacity(BATCH),
            made_at: Vec::with_capacity(BATCH),
            amount_minor: Vec::with_capacity(BATCH),
            kind: Text::new("kind"),
            payee: Vec::with_capacity(BATCH),
            device: Vec::with_capacity(BATCH),
            channel: Text::new("channel"),
            outcome: Text::new("outcome"),
            lat_e6: Vec::with_capacity(BATCH),
            lon_e6: Vec::with_capacity(BATCH),
            balance_after_minor: Vec::with_capacity(BATCH),
        })
    }

    /// Adds a row; every so often a batch is written.
    ///
    /// # Errors
    /// `Io`.
    pub fn push(
        &mut self,
        account: &str,
        row: &Transaction,
        made_at: UtcSeconds,
        balance_after_minor: Option<i64>,
    ) -> Result<(), LoadError> {
        self.tx_id.push(row.id);
        self.account.0.append_value(account);
        self.at.push(row.at.0);
        self.made_at.push(made_at.0);
        self.amount_minor.push(row.amount.minor());
        self.kind.0.append_value(row.kind.name());
        self.payee.push(row.payee);
        self.device.push(row.device.into());
        match row.channel {
            Channel::Online => {
                self.channel.0.append_value("online");
                self.outcome.0.append_null();
            }
            Channel::Offline(outcome) => {
                self.channel.0.append_value("offline");
                self.outcome.0.append_value(outcome.name());
            }
        }
        self.lat_e6.push(row.place.map(|p| p.latitude_e6));
        self.lon_e6.push(row.place.map(|p| p.longitude_e6));
        self.balance_after_minor.push(balance_after_minor);
        if self.at.len() == BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), LoadError> {
        let columns = vec![
            column("tx_id", &mut self.tx_id),
            self.account.take("account"),
            column("at", &mut self.at),
            column("made_at", &mut self.made_at),
            column("amount_minor", &mut self.amount_minor),
            self.kind.take("kind"),
            column("payee", &mut self.payee),
            column("device", &mut self.device),
            self.channel.take("channel"),
            self.outcome.take("outcome"),
            options("lat_e6", &mut self.lat_e6),
            options("lon_e6", &mut self.lon_e6),
            options("balance_after_minor", &mut self.balance_after_minor),
        ];
        self.sink.write(columns)
    }

    /// Writes what is left and the end of the file.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(mut self) -> Result<(), LoadError> {
        self.flush()?;
        self.sink.finish()
    }
}

/// The users table.
pub struct Users {
    sink: Sink,
    account: Text,
    opened_at: Vec<Option<i64>>,
    tier: Vec<u32>,
    opening_minor: Vec<i64>,
    archetype: Text,
    monthly_income_minor: Vec<Option<i64>>,
    lat_e6: Vec<Option<i32>>,
    lon_e6: Vec<Option<i32>>,
    devices: Vec<Option<u32>>,
    adversary: Text,
}

impl Users {
    /// A new file.
    ///
    /// # Errors
    /// `Io`.
    pub fn create(path: &Path, format: FileFormat) -> Result<Self, LoadError> {
        Ok(Self {
            sink: Sink::create(path, format)?,
            account: Text::new("account"),
            opened_at: Vec::new(),
            tier: Vec::new(),
            opening_minor: Vec::new(),
            archetype: Text::new("archetype"),
            monthly_income_minor: Vec::new(),
            lat_e6: Vec::new(),
            lon_e6: Vec::new(),
            devices: Vec::new(),
            adversary: Text::new("adversary"),
        })
    }

    /// Adds an account, with the generator's truth when there is one.
    ///
    /// # Errors
    /// `Io`.
    pub fn push(&mut self, account: &Account, truth: Option<&User>) -> Result<(), LoadError> {
        self.account.0.append_value(&account.name);
        self.opened_at.push(account.opened_at.map(|at| at.0));
        self.tier.push(account.tier.level().into());
        self.opening_minor.push(account.opening_minor);
        self.archetype.0.append_option(truth.map(|user| user.archetype.name()));
        self.monthly_income_minor.push(truth.map(|user| user.monthly_income_minor));
        self.lat_e6.push(truth.map(|user| user.centroid.latitude_e6));
        self.lon_e6.push(truth.map(|user| user.centroid.longitude_e6));
        self.devices.push(truth.map(|user| user.devices.into()));
        self.adversary.0.append_option(truth.and_then(|user| user.adversary).map(|kind| kind.name()));
        if self.tier.len() == BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), LoadError> {
        let columns = vec![
            self.account.take("account"),
            options("opened_at", &mut self.opened_at),
            column("tier", &mut self.tier),
            column("opening_minor", &mut self.opening_minor),
            self.archetype.take("archetype"),
            options("monthly_income_minor", &mut self.monthly_income_minor),
            options("lat_e6", &mut self.lat_e6),
            options("lon_e6", &mut self.lon_e6),
            options("devices", &mut self.devices),
            self.adversary.take("adversary"),
        ];
        self.sink.write(columns)
    }

    /// Writes what is left and the end of the file.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(mut self) -> Result<(), LoadError> {
        self.flush()?;
        self.sink.finish()
    }
}
