//! Files in memory, for hosts without a file system: a browser keeps a copy of them where it keeps things.
//!
//! A write is durable here once it is made, and gone with the process. So the host must have stored a copy
//! ([`Memory::files`]) before it lets a payment out, as [`super::Files`] does by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Storage, StorageError};

/// Files by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Memory {
    /// Begins with what the host kept.
    pub fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self(Arc::new(Mutex::new(files)))
    }

    /// What is to be kept.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // No call leaves the map half-changed, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for Memory {
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        match self.lock().get(name) {
            Some(bytes) if bytes.len() as u64 > max => Err(StorageError::TooLong { name: name.to_owned(), max }),
            found => Ok(found.cloned()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.lock().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        if self.lock().contains_key(name) { Ok(()) } else { Err(StorageError::failed(name, "no such file")) }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let mut files = self.lock();
        let bytes = files.remove(from).ok_or_else(|| StorageError::failed(from, "no such file"))?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.lock().remove(name);
        Ok(())
    }

    fn sync_names(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_begins_the_next_life() {
        let memory = Memory::default();
        memory.replace("a", b"one").expect("replaces");
        memory.replace("a", b"two").expect("replaces");
        let next = Memory::new(memory.files());
        assert_eq!(next.read("a", 3).expect("reads"), Some(b"two".to_vec()));
        assert_eq!(next.read("a", 2), Err(StorageError::TooLong { name: "a".to_owned(), max: 2 }));
        assert_eq!(next.read("a.next", 9).expect("reads"), None);
        assert!(next.rename("b", "c").is_err());
    }
}
