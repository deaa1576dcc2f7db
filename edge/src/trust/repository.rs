//! Where the bytes of a repository come from: a directory, a bundle, a cache, a test.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::RefuseRelease;

/// A source of repository files. It is not trusted: everything it returns is verified.
pub trait Repository {
    /// The bytes of the file at `path`, such as `metadata/timestamp.json`, `metadata/2.root.json` or
    /// `targets/models/<sha256>.<model_id>.onnx`; `None` when there is no such file.
    ///
    /// Reads at most `max_bytes + 1` bytes: one more than `max_bytes` says that there were more.
    ///
    /// # Errors
    /// `FetchError` when the file may be there and could not be read.
    fn fetch(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError>;
}

/// Why bytes could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct FetchError {
    /// In the words of the source.
    pub reason: String,
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self { reason: error.to_string() }
    }
}

/// A repository in a directory.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The repository whose `metadata` and `targets` directories are in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Repository for Directory {
    fn fetch(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        // Paths are built from verified metadata; that no path leaves the directory does not rest on it.
        if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(FetchError { reason: format!("{path:?} is not a plain relative path") });
        }
        let file = match File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// A repository in memory: path to bytes.
impl Repository for BTreeMap<String, Vec<u8>> {
    fn fetch(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX).saturating_add(1);
        Ok(self.get(path).map(|bytes| bytes[..bytes.len().min(most)].to_vec()))
    }
}

/// The file at `path`, if there is one, of at most `max` bytes.
pub(super) fn find(repo: &dyn Repository, path: &str, max: u64) -> Result<Option<Vec<u8>>, RefuseRelease> {
    let found = repo.fetch(path, max).map_err(|source| RefuseRelease::Io { file: path.to_owned(), source })?;
    match found {
        Some(bytes) if bytes.len() as u64 > max => Err(RefuseRelease::TooLarge { file: path.to_owned(), max }),
        found => Ok(found),
    }
}

/// The file at `path`, of at most `max` bytes.
pub(super) fn require(repo: &dyn Repository, path: &str, max: u64) -> Result<Vec<u8>, RefuseRelease> {
    find(repo, path, max)?.ok_or_else(|| RefuseRelease::Missing { file: path.to_owned() })
}
