//! A Parquet file read in slices of rows, so that memory holds one slice whatever the file's size.

use std::fs::File;
use std::path::{Path, PathBuf};

use plimsoll_model::time::DAY;
use polars::prelude::{
    AnyValue, ArrowDataType, Column, DataFrame, ParallelStrategy, ParquetReader, SerReader, TimeUnit,
};

use crate::error::{BadRow, LoadError, Reason};

/// Rows decoded at a time: about 20 MB of our own layout.
const SLICE: usize = 1 << 17;

/// An open Parquet file and the slice of it that is in memory.
pub struct Slices {
    file: File,
    path: PathBuf,
    header: Vec<String>,
    types: Vec<ArrowDataType>,
    wanted: Vec<String>,
    slice: DataFrame,
    columns: Vec<Column>,
    start: usize,
    row: usize,
    total: usize,
}

/// One value of a row, as the file holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// Text.
    Text(&'a str),
    /// A signed whole number.
    Int(i64),
    /// An unsigned whole number.
    Uint(u64),
    /// A float.
    Float(f64),
    /// A decimal: this many of 10⁻ˢᶜᵃˡᵉ.
    Decimal(i128, usize),
    /// An instant, UTC seconds.
    Instant(i64),
    /// A time on the source's own clock, seconds since 1970-01-01T00:00 there.
    Local(i64),
}

const fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Nanoseconds => 1_000_000_000,
        TimeUnit::Microseconds => 1_000_000,
        TimeUnit::Milliseconds => 1_000,
    }
}

impl Slices {
    /// Opens a file and reads its footer.
    ///
    /// # Errors
    /// `Io`; `Empty` for a file of no bytes; `Corrupt` for one that is not Parquet.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(LoadError::io(path))?;
        if file.metadata().map_err(LoadError::io(path))?.len() == 0 {
            return Err(LoadError::Empty { path: path.to_owned() });
        }
        let mut reader = ParquetReader::new(file.try_clone().map_err(LoadError::io(path))?);
        let schema = reader.schema().map_err(LoadError::polars(path))?;
        let total = reader.num_rows().map_err(LoadError::polars(path))?;
        let (header, types) = schema.iter_values().map(|f| (f.name.to_string(), f.dtype.clone())).unzip();
        Ok(Self {
            file,
            path: path.to_owned(),
            header,
            types,
            wanted: Vec::new(),
            slice: DataFrame::empty(),
            columns: Vec::new(),
            start: 0,
            row: 0,
            total,
        })
    }

    /// Asks for a column and says at which index its values will stand.
    ///
    /// # Errors
    /// `MissingColumn`; `ColumnType` when it holds neither numbers, text nor times.
    pub fn column(&mut self, name: &str) -> Result<usize, LoadError> {
        let at = self.header.iter().position(|found| found == name).ok_or_else(|| LoadError::MissingColumn {
            path: self.path.clone(),
            column: name.to_owned(),
            found: self.header.clone(),
        })?;
        let readable = matches!(
            self.types[at],
            ArrowDataType::Int32
                | ArrowDataType::Int64
                | ArrowDataType::UInt32
                | ArrowDataType::UInt64
                | ArrowDataType::Decimal(..)
                | ArrowDataType::Date32
                | ArrowDataType::Timestamp(..)
                | ArrowDataType::Float32
                | ArrowDataType::Float64
                | ArrowDataType::Utf8
                | ArrowDataType::LargeUtf8
                | ArrowDataType::Utf8View
                | ArrowDataType::Null
        );
        if !readable {
            return Err(LoadError::ColumnType {
                path: self.path.clone(),
                column: name.to_owned(),
                found: format!("{:?}", self.types[at]),
            });
        }
        Ok(self.wanted.iter().position(|wanted| wanted == name).unwrap_or_else(|| {
            self.wanted.push(name.to_owned());
            self.wanted.len() - 1
        }))
    }

    /// Goes to the next row, decoding a slice when the last one is used up; `Ok(false)` at the end.
    ///
    /// # Errors
    /// `NoRows`; `Io` and `Corrupt` from decoding.
    pub fn advance(&mut self) -> Result<bool, LoadError> {
        if self.total == 0 {
            return Err(LoadError::NoRows { path: self.path.clone() });
        }
        if self.columns.is_empty() || self.row + 1 >= self.slice.height() {
            let next = self.start + self.slice.height();
            if next >= self.total {
                return Ok(false);
            }
            self.decode(next)?;
            return Ok(true);
        }
        self.row += 1;
        Ok(true)
    }

    fn decode(&mut self, start: usize) -> Result<(), LoadError> {
        let file = self.file.try_clone().map_err(LoadError::io(&self.path))?;
        let slice = ParquetReader::new(file)
            .with_slice(Some((start, SLICE)))
            .with_columns(Some(self.wanted.clone()))
            .read_parallel(ParallelStrategy::None)
            .set_rechunk(true)
            .finish()
            .map_err(LoadError::polars(&self.path))?;
        if slice.height() == 0 {
            let message = format!("ends at row {start} of {}", self.total);
            return Err(LoadError::Corrupt { path: self.path.clone(), message });
        }
        self.columns = self
            .wanted
            .iter()
            .map(|name| slice.column(name).cloned())
            .collect::<Result<_, _>>()
            .map_err(LoadError::polars(&self.path))?;
        (self.slice, self.start, self.row) = (slice, start, 0);
        Ok(())
    }

    /// The value of a column (by the index [`Slices::column`] gave) in the current row.
    pub fn value(&self, column: usize) -> Value<'_> {
        match self.columns[column].get(self.row) {
            Ok(AnyValue::String(text)) => Value::Text(text),
            Ok(AnyValue::Int64(v)) => Value::Int(v),
            Ok(AnyValue::Int32(v)) => Value::Int(v.into()),
            Ok(AnyValue::UInt64(v)) => Value::Uint(v),
            Ok(AnyValue::UInt32(v)) => Value::Int(v.into()),
            Ok(AnyValue::Decimal(v, _, scale)) => Value::Decimal(v, scale),
            Ok(AnyValue::Date(days)) => Value::Local(i64::from(days) * DAY),
            Ok(AnyValue::Datetime(v, unit, zone)) => {
                let seconds = v.div_euclid(per_second(unit));
                // polars keeps UTC wherever a zone is given.
                if zone.is_some() { Value::Instant(seconds) } else { Value::Local(seconds) }
            }
            Ok(AnyValue::Float64(v)) => Value::Float(v),
            Ok(AnyValue::Float32(v)) => Value::Float(v.into()),
            _ => Value::Null,
        }
    }

    /// The current row, 1-based.
    pub fn line(&self) -> u64 {
        (self.start + self.row + 1) as u64
    }

    /// The error that refuses the current row.
    pub fn bad(&self, column: Option<usize>, reason: Reason) -> LoadError {
        let column = column.and_then(|at| self.wanted.get(at).cloned());
        LoadError::BadRow(BadRow { file: self.path.clone(), line: self.line(), column, reason })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `(done, total)` in rows.
    pub fn position(&self) -> (u64, u64) {
        ((self.start + self.row).min(self.total) as u64, self.total as u64)
    }
}
