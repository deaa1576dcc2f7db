//! What to read: a path whose layout is guessed or given, opened as a [`Source`].

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::berka::Berka;
use crate::error::LoadError;
use crate::mapping::Mapping;
use crate::paysim::{self, Paysim};
use crate::source::{OnBadRow, Source};
use crate::synth;
use crate::table::Table;

/// A layout this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A directory with `trans.asc` and `account.asc`.
    Berka,
    /// One CSV file in the Kaggle column layout.
    Paysim,
    /// Anyone's CSV or Parquet, with a mapping file; or a directory this crate wrote.
    Table,
    /// A generator's configuration in TOML: the history is made as it is read.
    Synth,
}

/// What to read: the value of `--data` and its companions.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// A file or directory.
    pub path: PathBuf,
    /// Its layout; guessed from the names and the header when absent.
    pub format: Option<Format>,
    /// The mapping file of a table.
    pub mapping: Option<PathBuf>,
    /// What the reader should do with bad rows; passed on to [`crate::Histories::read`].
    pub on_bad_row: OnBadRow,
}

impl Input {
    /// An input whose format is guessed, and which stops at a bad row.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }
}

/// The mapping a directory written by this crate carries.
pub const DATA_FILE: &str = "plimsoll-data.toml";

/// Opens a source: finds its format, reads its header and its accounts file, no rows yet.
///
/// # Errors
/// `Io` when it cannot be read; `Empty`, `MissingColumn`, `BadMapping`, `NeedsMapping`, `UnknownFormat`
/// and `BadConfig` when it can and is not what it should be.
pub fn open(input: &Input) -> Result<Box<dyn Source>, LoadError> {
    let path = input.path.as_path();
    let metadata = fs::metadata(path).map_err(LoadError::io(path))?;
    let format = match input.format {
        Some(format) => format,
        None if input.mapping.is_some() => Format::Table,
        None => guess(path, metadata.is_dir())?,
    };
    Ok(match format {
        Format::Berka if metadata.is_dir() => Box::new(Berka::open(path)?),
        Format::Berka => Box::new(Berka::open(path.parent().unwrap_or(Path::new(".")))?),
        Format::Paysim => Box::new(Paysim::open(path, paysim::START)?),
        Format::Synth => Box::new(synth::Stream::new(&synth::Config::from_file(path)?)?),
        Format::Table => Box::new(open_table(path, metadata.is_dir(), input.mapping.as_deref())?),
    })
}

fn open_table(path: &Path, is_dir: bool, mapping: Option<&Path>) -> Result<Table, LoadError> {
    let inside = path.join(DATA_FILE);
    let mapping = match mapping {
        Some(mapping) => Mapping::from_file(mapping)?,
        None if is_dir && inside.is_file() => Mapping::from_file(&inside)?,
        None if is_dir => return Err(LoadError::UnknownFormat { path: path.to_owned() }),
        None => return Err(LoadError::NeedsMapping { path: path.to_owned() }),
    };
    if is_dir { Table::open(None, mapping) } else { Table::open(Some(path), mapping) }
}

/// Bytes of a first line worth looking at.
const HEADER_MAX: u64 = 64 * 1024;

fn guess(path: &Path, is_dir: bool) -> Result<Format, LoadError> {
    let unknown = || LoadError::UnknownFormat { path: path.to_owned() };
    if is_dir {
        return if path.join(DATA_FILE).is_file() {
            Ok(Format::Table)
        } else if path.join("trans.asc").is_file() {
            Ok(Format::Berka)
        } else {
            Err(unknown())
        };
    }
    if path.file_name().is_some_and(|name| name == "trans.asc") {
        return Ok(Format::Berka);
    }
    match path.extension().and_then(|e| e.to_str()) {
        Some("toml") => Ok(Format::Synth),
        Some("parquet" | "tsv") => Ok(Format::Table),
        Some("csv") => {
            let mut header = Vec::new();
            let file = File::open(path).map_err(LoadError::io(path))?;
            // A file of gigabytes without a line end is not read whole to find that out.
            let head = file.take(HEADER_MAX);
            BufReader::new(head).read_until(b'\n', &mut header).map_err(LoadError::io(path))?;
            let header = String::from_utf8_lossy(&header);
            Ok(if paysim::is_header(header.trim()) { Format::Paysim } else { Format::Table })
        }
        _ => Err(unknown()),
    }
}
