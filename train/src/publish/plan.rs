//! What will be written, in an order in which any prefix leaves a repository that verifies.
//!
//! Every file but the timestamp has its version or its hash in its name, so writing it changes nothing a
//! device sees. `timestamp.json` comes last, by rename: that is the commit.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::PublishError;

/// Writes that publish something. Nothing happens before [`Plan::commit`].
#[derive(Clone, Debug)]
#[must_use = "a plan publishes nothing until it is committed"]
pub struct Plan {
    pub(super) directory: PathBuf,
    pub(super) writes: Vec<FileWrite>,
    pub(super) published: Published,
}

/// One file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileWrite {
    /// Path in the repository.
    pub path: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What a commit published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Versions and expiries, by role; a role that has no file yet is not listed.
    pub roles: Vec<PublishedRole>,
    /// Files written and their sizes in bytes, in the order of writing.
    pub files: Vec<(String, u64)>,
}

/// The current metadata of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedRole {
    /// Which role.
    pub role: super::Role,
    /// Its version.
    pub version: u64,
    /// RFC 3339, UTC.
    pub expires: String,
}

impl Plan {
    /// The writes, in their order.
    pub fn writes(&self) -> &[FileWrite] {
        &self.writes
    }

    /// What a commit will publish.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Writes every file beside its place, flushes it to the disk and renames it, one after the other.
    ///
    /// # Errors
    /// `Io`: the repository is then the old one or the new one.
    pub fn commit(self) -> Result<Published, PublishError> {
        for write in &self.writes {
            let path = self.directory.join(&write.path);
            put(&path, &write.bytes).map_err(|source| PublishError::Io { path, source })?;
        }
        Ok(self.published)
    }
}

/// Writes a file that is then the old one or the new one, and on the disk.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-");
    // Published files are for everyone to read; `tempfile` would make them private.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut beside = builder.tempfile_in(directory)?;
    beside.write_all(bytes)?;
    beside.as_file().sync_all()?;
    beside.persist(path).map_err(|refused| refused.error)?;
    // The rename itself must survive a power cut before the next file refers to this one.
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    Ok(())
}
