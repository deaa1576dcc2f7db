//! A directory written beside its place and renamed into it: whole, or not there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;

use crate::error::LoadError;

/// Where this process writes what will be `target`: `<target>.partial-<pid>`.
pub fn partial_path(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or(target.as_os_str()).to_owned();
    name.push(format!(".partial-{}", process::id()));
    target.with_file_name(name)
}

/// A directory on its way; removed when dropped before [`Staging::commit`].
#[derive(Debug)]
pub struct Staging {
    partial: PathBuf,
    target: PathBuf,
    committed: bool,
}

impl Staging {
    /// Makes `<target>.partial-<pid>`. An empty directory at `target` will be replaced.
    ///
    /// # Errors
    /// `Exists` when `target` holds anything or is a file; `Io`.
    pub fn new(target: &Path) -> Result<Self, LoadError> {
        let taken = match fs::read_dir(target) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(_) if target.is_file() => true,
            Err(error) => return Err(LoadError::io(target)(error)),
        };
        if taken {
            return Err(LoadError::Exists { path: target.to_owned() });
        }
        let partial = partial_path(target);
        if let Some(parent) = partial.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(LoadError::io(parent))?;
        }
        fs::create_dir(&partial).map_err(LoadError::io(&partial))?;
        Ok(Self { partial, target: target.to_owned(), committed: false })
    }

    /// Where to write meanwhile.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Makes every file durable and moves the directory to its place.
    ///
    /// # Errors
    /// `Io`; then nothing is left behind.
    pub fn commit(mut self) -> Result<(), LoadError> {
        for entry in fs::read_dir(&self.partial).map_err(LoadError::io(&self.partial))? {
            let path = entry.map_err(LoadError::io(&self.partial))?.path();
            File::open(&path).and_then(|file| file.sync_all()).map_err(LoadError::io(&path))?;
        }
        sync_dir(&self.partial)?;
        // An empty directory in the way was allowed; on Unix rename replaces it, elsewhere it must go first.
        if self.target.is_dir() {
            fs::remove_dir(&self.target).map_err(LoadError::io(&self.target))?;
        }
        fs::rename(&self.partial, &self.target).map_err(LoadError::io(&self.target))?;
        self.committed = true;
        match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
            _ => sync_dir(Path::new(".")),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.committed {
            // Best effort: the error that brought us here is the one to report.
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

/// Makes a rename in `dir` durable, where directories can be synced at all.
fn sync_dir(dir: &Path) -> Result<(), LoadError> {
    if cfg!(unix) {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(LoadError::io(dir))?;
    }
    Ok(())
}
