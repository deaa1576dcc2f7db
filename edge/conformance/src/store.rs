//! The metadata a client trusts, under the names that the suite looks for.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use sigstore_tuf::{Error, MetadataStore};

/// A directory of `root.json`, `timestamp.json`, …
pub(crate) struct Plain(pub(crate) PathBuf);

impl Plain {
    /// Versioned copies and the history of roots are not kept: the suite counts files.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let versioned = name.split('.').next().is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        (!name.contains('/') && !versioned).then(|| self.0.join(name))
    }
}

impl MetadataStore for Plain {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(path) = self.path(name) else { return Ok(None) };
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::transport(format!("{name}: {error}"))),
        }
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let Some(path) = self.path(name) else { return Ok(()) };
        fs::write(path, bytes).map_err(|error| Error::transport(format!("{name}: {error}")))
    }
}

/// One file name for a target's path, whatever is in it.
pub(crate) fn file_name(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
}
