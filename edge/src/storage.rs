//! Where a device keeps its few small files, and what it may rely on when the power goes.
//!
//! A write may be torn until it was synced, and a name may point to the old file until the names were synced.
//! [`Storage::replace`] is built from those steps: after it a reader sees the new bytes, before or during it the
//! old ones, never a mix.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Named files of a device. Every method may fail; none may half-succeed silently.
pub trait Storage {
    /// The whole file; `None` when there is none. At most `max` bytes are read.
    ///
    /// # Errors
    /// [`StorageError`], also when the file is longer than `max`.
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, StorageError>;

    /// Writes a whole file. A crash before [`Storage::sync`] may leave any part of it.
    ///
    /// # Errors
    /// [`StorageError`].
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes what was written to a file survive a power cut.
    ///
    /// # Errors
    /// [`StorageError`].
    fn sync(&self, name: &str) -> Result<(), StorageError>;

    /// Gives a file another name, replacing what had it. A crash before [`Storage::sync_names`] may leave either.
    ///
    /// # Errors
    /// [`StorageError`].
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`StorageError`].
    fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// Makes renames and removals survive a power cut.
    ///
    /// # Errors
    /// [`StorageError`].
    fn sync_names(&self) -> Result<(), StorageError>;

    /// Replaces a file: all of it or nothing, and for good once this returns.
    ///
    /// # Errors
    /// [`StorageError`]; the old file is still there.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let next = format!("{name}.next");
        self.write(&next, bytes)?;
        self.sync(&next)?;
        self.rename(&next, name)?;
        self.sync_names()
    }
}

/// A file that could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct StorageError {
    /// Which file.
    pub name: String,
    /// What the system said.
    pub reason: String,
}

impl StorageError {
    fn new(name: &str, reason: impl ToString) -> Self {
        Self { name: name.to_owned(), reason: reason.to_string() }
    }
}

/// A directory of the device's own.
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// Uses `directory`, making it when it is not there.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(|e| StorageError::new(&directory.display().to_string(), e))?;
        Ok(Self { directory })
    }

    fn path(&self, name: &str) -> Result<PathBuf, StorageError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(StorageError::new(name, "not a plain file name"));
        }
        Ok(self.directory.join(name))
    }
}

impl Storage for Files {
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        use io::Read as _;
        let file = match fs::File::open(self.path(name)?) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StorageError::new(name, e)),
        };
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| StorageError::new(name, e))?;
        if bytes.len() as u64 > max {
            return Err(StorageError::new(name, format_args!("longer than {max} bytes")));
        }
        Ok(Some(bytes))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let write = |path: PathBuf| fs::File::create(path)?.write_all(bytes);
        write(self.path(name)?).map_err(|e| StorageError::new(name, e))
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        let sync = |path: PathBuf| fs::File::open(path)?.sync_all();
        sync(self.path(name)?).map_err(|e| StorageError::new(name, e))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        fs::rename(self.path(from)?, self.path(to)?).map_err(|e| StorageError::new(from, e))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        match fs::remove_file(self.path(name)?) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StorageError::new(name, e)),
            _ => Ok(()),
        }
    }

    fn sync_names(&self) -> Result<(), StorageError> {
        let sync = || fs::File::open(&self.directory)?.sync_all();
        sync().map_err(|e| StorageError::new(&self.directory.display().to_string(), e))
    }
}
