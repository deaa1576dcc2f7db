//! Where a device keeps its few small files, and what it may rely on when the power goes.
//!
//! A write may be torn until it was synced, and a name may point to the old file until the names were synced.
//! [`Storage::replace`] is built from those steps: after it a reader sees the new bytes, before or during it the
//! old ones, never a mix.
//!
//! ```text
//! replace(name) = write name.next ─► sync ─► rename to name ─► sync names
//! ```
//!
//! [`crash`] is a storage that loses power and fails on demand, for the tests of whoever keeps state here.

pub mod crash;

mod memory;

pub use memory::Memory;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Shared storage: `Slots` and a `Wallet` of one device keep their files side by side.
impl<S: Storage + ?Sized> Storage for &S {
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        (**self).read(name, max)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        (**self).write(name, bytes)
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        (**self).sync(name)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        (**self).rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        (**self).remove(name)
    }

    fn sync_names(&self) -> Result<(), StorageError> {
        (**self).sync_names()
    }
}

/// Why a file could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file is longer than anything that is written here: it is not one of ours, or it is damaged.
    #[error("{name} is longer than {max} bytes")]
    TooLong {
        /// Which file.
        name: String,
        /// Bytes.
        max: u64,
    },
    /// No space is left: free some and try again.
    #[error("{name}: no space is left on the device")]
    Full {
        /// Which file.
        name: String,
    },
    /// Another process uses this storage.
    #[error("{name} is in use by another process")]
    InUse {
        /// The directory.
        name: String,
    },
    /// Anything else the system said: it may pass, or the device is failing.
    #[error("{name}: {reason}")]
    Failed {
        /// Which file.
        name: String,
        /// What the system said.
        reason: String,
    },
}

impl StorageError {
    fn failed(name: &str, reason: impl ToString) -> Self {
        Self::Failed { name: name.to_owned(), reason: reason.to_string() }
    }

    fn io(name: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { name: name.to_owned() },
            _ => Self::failed(name, error),
        }
    }
}

/// A directory of the device's own, used by one process at a time. Clones share it.
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
    /// Locked until the last clone is dropped or the process ends, however it ends.
    _lock: Arc<fs::File>,
}

impl Files {
    /// Uses `directory`, making it when it is not there.
    ///
    /// # Errors
    /// [`StorageError::InUse`] when another process, or another [`Files`] of this one, has it open: two wallets over one
    /// state would spend it twice.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let directory = directory.into();
        let name = directory.display().to_string();
        let failed = |error: io::Error| StorageError::io(&name, &error);
        if !directory.is_dir() {
            fs::create_dir_all(&directory).map_err(failed)?;
            // The directory's own name must survive a power cut too.
            let parent = directory.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            sync_directory(parent).map_err(failed)?;
        }
        // A dot goes before its name, so that no file of a caller's is called the same.
        let lock = fs::File::create(directory.join(".lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory, _lock: Arc::new(lock) }),
            Err(fs::TryLockError::WouldBlock) => Err(StorageError::InUse { name }),
            Err(fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, StorageError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            return Err(StorageError::failed(name, "not a plain file name"));
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
            Err(e) => return Err(StorageError::io(name, &e)),
        };
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| StorageError::io(name, &e))?;
        if bytes.len() as u64 > max {
            return Err(StorageError::TooLong { name: name.to_owned(), max });
        }
        Ok(Some(bytes))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let write = |path: PathBuf| fs::File::create(path)?.write_all(bytes);
        write(self.path(name)?).map_err(|e| StorageError::io(name, &e))
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        // Opened for writing, which some systems ask for before they flush.
        let sync = |path: PathBuf| fs::OpenOptions::new().write(true).open(path)?.sync_all();
        sync(self.path(name)?).map_err(|e| StorageError::io(name, &e))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        fs::rename(self.path(from)?, self.path(to)?).map_err(|e| StorageError::io(from, &e))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        match fs::remove_file(self.path(name)?) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StorageError::io(name, &e)),
            _ => Ok(()),
        }
    }

    fn sync_names(&self) -> Result<(), StorageError> {
        sync_directory(&self.directory).map_err(|e| StorageError::io(&self.directory.display().to_string(), &e))
    }
}

/// Makes the names in a directory survive a power cut. Where directories cannot be opened (Windows), the file system's
/// journal has to do.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(directory)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, Files) {
        let directory = tempfile::tempdir().expect("a directory");
        let files = Files::open(directory.path().join("device")).expect("opens");
        (directory, files)
    }

    #[test]
    fn what_was_replaced_is_read_back_and_what_was_removed_is_gone() {
        let (_directory, files) = files();
        assert_eq!(files.read("state", 10), Ok(None));
        files.replace("state", b"one").expect("replaces");
        files.replace("state", b"two").expect("replaces");
        assert_eq!(files.read("state", 3), Ok(Some(b"two".to_vec())));
        assert_eq!(files.read("state.next", 10), Ok(None), "nothing is left beside it");
        files.remove("state").expect("removes");
        files.remove("state").expect("it is gone already");
        assert_eq!(files.read("state", 10), Ok(None));
    }

    #[test]
    fn no_more_than_was_asked_for_is_read() {
        let (_directory, files) = files();
        files.replace("state", b"four").expect("replaces");
        assert_eq!(files.read("state", 3), Err(StorageError::TooLong { name: "state".into(), max: 3 }));
    }

    #[test]
    fn a_name_is_one_plain_name() {
        let (_directory, files) = files();
        for name in ["", ".", "..", "../up", "a/b", ".lock", "a\\b", "nul\0"] {
            assert!(matches!(files.read(name, 1), Err(StorageError::Failed { .. })), "{name:?}");
            assert!(matches!(files.write(name, b""), Err(StorageError::Failed { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_directory_is_used_once_at_a_time() {
        let (directory, files) = files();
        let again = || Files::open(directory.path().join("device"));
        let shared = files.clone();
        drop(files);
        assert!(matches!(again(), Err(StorageError::InUse { .. })), "a clone still has it");
        drop(shared);
        assert!(again().is_ok());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_says_so() {
        // /dev/full is Linux's disk without space.
        let (directory, files) = files();
        std::os::unix::fs::symlink("/dev/full", directory.path().join("device/state")).expect("links");
        assert_eq!(files.write("state", b"x"), Err(StorageError::Full { name: "state".into() }));
    }
}
