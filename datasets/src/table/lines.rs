//! A CSV file read record by record: its header, the line each record begins on, and how far it is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use crate::error::{BadRow, LoadError, Reason};

/// An open CSV file, past its header.
pub struct Lines {
    reader: Reader<File>,
    record: ByteRecord,
    header: Vec<String>,
    path: PathBuf,
    bytes: u64,
    rows: u64,
    /// Whether the last line has an end.
    terminated: bool,
}

impl Lines {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// `Io`; `Empty` for a file of no bytes.
    pub fn open(path: &Path, delimiter: u8) -> Result<Self, LoadError> {
        let mut file = File::open(path).map_err(LoadError::io(path))?;
        let bytes = file.metadata().map_err(LoadError::io(path))?.len();
        if bytes == 0 {
            return Err(LoadError::Empty { path: path.to_owned() });
        }
        let terminated = ends_its_line(&mut file).map_err(LoadError::io(path))?;
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            // With CRLF as terminator the reader places a record on the line before it; the `\r` is trimmed here.
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(1 << 18)
            .from_reader(file);
        let header = reader.byte_headers().map_err(LoadError::csv(path))?;
        let header: Vec<String> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned())
            .collect();
        if header.iter().all(String::is_empty) {
            return Err(LoadError::Empty { path: path.to_owned() });
        }
        Ok(Self { reader, record: ByteRecord::new(), header, path: path.to_owned(), bytes, rows: 0, terminated })
    }

    /// Where a column stands.
    ///
    /// # Errors
    /// `MissingColumn`, with the header that is there.
    pub fn column(&self, name: &str) -> Result<usize, LoadError> {
        self.header.iter().position(|found| found == name).ok_or_else(|| LoadError::MissingColumn {
            path: self.path.clone(),
            column: name.to_owned(),
            found: self.header.clone(),
        })
    }

    /// Reads the next record; `Ok(false)` at the end.
    ///
    /// # Errors
    /// `Io`; `NoRows` when the file ends after its header; `BadRow` for a record of another width.
    pub fn advance(&mut self) -> Result<bool, LoadError> {
        loop {
            if !self.reader.read_byte_record(&mut self.record).map_err(LoadError::csv(&self.path))? {
                return if self.rows == 0 { Err(LoadError::NoRows { path: self.path.clone() }) } else { Ok(false) };
            }
            // A line of nothing but its end is no row.
            if self.record.len() > 1 || self.header.len() == 1 || !self.bytes(0).is_empty() {
                break;
            }
        }
        self.rows += 1;
        let (found, expected) = (self.record.len(), self.header.len());
        if found == expected { Ok(true) } else { Err(self.bad(None, Reason::CellCount { found, expected })) }
    }

    /// A cell of the current record, trimmed.
    ///
    /// # Errors
    /// `NotUtf8`.
    pub fn text(&self, column: usize) -> Result<&str, Reason> {
        std::str::from_utf8(self.bytes(column)).map_err(|_| Reason::NotUtf8)
    }

    /// A cell of the current record as bytes, trimmed.
    pub fn bytes(&self, column: usize) -> &[u8] {
        self.record.get(column).unwrap_or_default().trim_ascii()
    }

    /// The line the current record begins on, 1-based.
    pub fn line(&self) -> u64 {
        // The record's own position is that of the blank lines before it. Counted from its end instead: the
        // lines inside its cells, and its line end unless the file stops short of one.
        let inside = self.record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
        let last = self.reader.position().byte() >= self.bytes;
        let ended = u64::from(!last || self.terminated);
        self.reader.position().line().saturating_sub(inside + ended)
    }

    /// The error that refuses the current record.
    pub fn bad(&self, column: Option<usize>, reason: Reason) -> LoadError {
        let column = column.and_then(|at| self.header.get(at).cloned());
        LoadError::BadRow(BadRow { file: self.path.clone(), line: self.line(), column, reason })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `(done, total)` in bytes.
    pub fn position(&self) -> (u64, u64) {
        (self.reader.position().byte().min(self.bytes), self.bytes)
    }
}

/// Whether the last byte is a line end; the file is back at its beginning.
fn ends_its_line(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    file.rewind()?;
    Ok(last == *b"\n")
}
