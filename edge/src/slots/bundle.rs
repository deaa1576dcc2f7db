//! A release and its provenance in one file: the very files of the repository that it was verified from.
//!
//! ```text
//! "plimsoll slot 1\n" │ verified at i64 │ files u16 │ { path length u16, path, length u32, bytes } …   little-endian
//! ```
//!
//! A slot is a repository again, so a load passes through the same [`trust::verify`] as an install did: from the root
//! that the app pins, through every signature, to the hash of the model. Nothing but this framing is read before that.

use std::cell::RefCell;
use std::collections::BTreeMap;

use plimsoll_model::UtcSeconds;

use crate::trust::{self, FetchError, Floors, METADATA_BYTES_MAX, RefuseRelease, Repository, TrustedRoot, Verified};

const MAGIC: &[u8; 16] = b"plimsoll slot 1\n";

/// Files of a release: four kinds of metadata, three targets, and at most so many roots.
const FILES_MAX: usize = 6 + 1 + trust::ROOTS_MAX as usize;

/// The files of one release by path, and when they were verified.
#[derive(Debug, PartialEq, Eq)]
pub struct Bundle<'a> {
    verified_at: UtcSeconds,
    files: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> Bundle<'a> {
    /// Takes a slot's bytes apart; `None` when they are not a slot.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut left = bytes.strip_prefix(MAGIC)?;
        let mut take = |length: usize| {
            let (taken, rest) = left.split_at_checked(length)?;
            left = rest;
            Some(taken)
        };
        let verified_at = UtcSeconds(i64::from_le_bytes(take(8)?.try_into().ok()?));
        let count = usize::from(u16::from_le_bytes(take(2)?.try_into().ok()?));
        let mut files = BTreeMap::new();
        for _ in 0..count {
            let length = usize::from(u16::from_le_bytes(take(2)?.try_into().ok()?));
            let path = std::str::from_utf8(take(length)?).ok()?;
            let length = u32::from_le_bytes(take(4)?.try_into().ok()?);
            files.insert(path, take(usize::try_from(length).ok()?)?);
        }
        let whole = left.is_empty() && files.len() == count && count <= FILES_MAX;
        whole.then_some(Self { verified_at, files })
    }

    /// Verifies the release as on the day it was installed. Expiry gates the install, so that day is now over and does
    /// not matter; who may sign does. A root that the app pins and the slot has not seen yet takes the place of its own.
    ///
    /// # Errors
    /// [`RefuseRelease`].
    pub fn verify(&self, root: &TrustedRoot, model_id: &str) -> Result<Verified, RefuseRelease> {
        let kept = Kept { bundle: self, root };
        trust::verify(&kept, root, &Floors::default(), self.verified_at, Some(model_id))
    }

    /// Its files by their path in the repository; [`Bundle::verify`] says whether they are anybody's.
    pub fn files(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.files.iter().map(|(path, bytes)| (*path, *bytes))
    }
}

struct Kept<'a> {
    bundle: &'a Bundle<'a>,
    root: &'a TrustedRoot,
}

impl Repository for Kept<'_> {
    fn fetch(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX).saturating_add(1);
        let pinned = || (path == trust::root_path(self.root.version())).then_some(self.root.bytes());
        let found = self.bundle.files.get(path).copied().or_else(pinned);
        Ok(found.map(|bytes| bytes[..bytes.len().min(most)].to_vec()))
    }
}

/// A repository that remembers what was taken from it.
pub struct Recorder<'a> {
    repo: &'a dyn Repository,
    files: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl<'a> Recorder<'a> {
    /// Over a repository from which nothing was taken yet.
    pub fn new(repo: &'a dyn Repository) -> Self {
        Self { repo, files: RefCell::default() }
    }

    /// The bytes of a slot with everything that was taken, and every root from the pinned to the one in `floors`: a
    /// device that remembers a newer root did not ask for the ones before.
    ///
    /// # Errors
    /// `Io` when a root cannot be fetched. One that is not there shows when the slot is verified.
    pub fn into_slot(
        self,
        pinned: &TrustedRoot,
        floors: &Floors,
        verified_at: UtcSeconds,
    ) -> Result<Vec<u8>, RefuseRelease> {
        for version in pinned.version()..floors.version(trust::Role::Root) {
            let file = trust::root_path(version);
            if !self.files.borrow().contains_key(&file) {
                self.fetch(&file, METADATA_BYTES_MAX).map_err(|source| RefuseRelease::Io { file, source })?;
            }
        }
        let files = self.files.into_inner();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(verified_at.0.to_le_bytes());
        bytes.extend(u16::try_from(files.len()).expect("verify takes a few dozen files").to_le_bytes());
        for (path, file) in files {
            bytes.extend(u16::try_from(path.len()).expect("verify makes short paths").to_le_bytes());
            bytes.extend(path.as_bytes());
            bytes.extend(u32::try_from(file.len()).expect("every file is bounded").to_le_bytes());
            bytes.extend(file);
        }
        Ok(bytes)
    }
}

impl Repository for Recorder<'_> {
    fn fetch(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let found = self.repo.fetch(path, max_bytes)?;
        // One that is too long is refused by whoever asked.
        if let Some(bytes) = found.as_ref().filter(|bytes| bytes.len() as u64 <= max_bytes) {
            self.files.borrow_mut().insert(path.to_owned(), bytes.clone());
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Vec<u8> {
        let repo = BTreeMap::from([("a".to_owned(), b"one".to_vec()), ("b/c".to_owned(), Vec::new())]);
        let recorder = Recorder::new(&repo);
        for path in ["a", "b/c", "missing"] {
            recorder.fetch(path, 3).expect("a map does not fail");
        }
        let root = include_bytes!("../../tests/fixtures/published/root.json");
        let root = TrustedRoot::from_bytes(root).expect("the fixture's root");
        recorder.into_slot(&root, &Floors::default(), UtcSeconds(-5)).expect("a map does not fail")
    }

    #[test]
    fn what_was_taken_is_read_back() {
        let bytes = slot();
        let bundle = Bundle::read(&bytes).expect("a slot");
        assert_eq!(bundle.verified_at, UtcSeconds(-5));
        assert_eq!(bundle.files, BTreeMap::from([("a", &b"one"[..]), ("b/c", b"")]));
    }

    #[test]
    fn no_part_of_a_slot_is_a_slot() {
        let bytes = slot();
        for cut in 0..bytes.len() {
            assert_eq!(Bundle::read(&bytes[..cut]), None, "{cut} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Bundle::read(&longer), None);
    }

    #[test]
    fn a_length_past_the_end_is_no_slot() {
        let bytes = slot();
        for at in MAGIC.len() + 8..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] = 0xff;
            // No panic and no allocation of what the length says; some of these are still slots, of other bytes.
            let _ = Bundle::read(&bytes);
        }
        let mut huge = bytes[..MAGIC.len() + 8].to_vec();
        huge.extend([1, 0, 1, 0, b'a', 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(Bundle::read(&huge), None);
    }
}
