//! A disk in memory that loses power at any moment and fails on demand.
//!
//! ```text
//! calls ─► journal ─► for every prefix: which names reached the disk × what of each unsynced file ─► images
//! ```
//!
//! What may be left after a power cut is what POSIX allows, not what one file system does. A file that was not synced
//! holds what it held before, nothing, a part of what was written, as many zeros, or all of it. Names that were not
//! synced (new files, renames, removals) are there or not, each by itself, in any order; one rename is atomic.
//!
//! Source: Pillai et al. (2014), *All File Systems Are Not Created Equal* (ALICE); Mohan et al. (2018), *Finding
//! Crash-Consistency Bugs with Bounded Black-Box Crash Testing* (CrashMonkey).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Storage, StorageError};

/// The files that are on a disk, by name.
pub type Image = BTreeMap<String, Arc<[u8]>>;

/// A disk that may have been left by a power cut.
#[derive(Clone, Debug)]
pub struct Crash {
    /// The most calls that can have been made when the power went, counted as by [`CrashDisk::calls`].
    pub after: usize,
    /// What is on the disk.
    pub image: Image,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// [`StorageError::Full`] on a write, which leaves half of it; other calls do not fail.
    Full,
    /// [`StorageError::Failed`]; a write leaves half of it, anything else leaves things as they were.
    Broken,
}

/// A disk in memory. What it holds at first is safe; everything after is in the journal.
#[derive(Debug, Default)]
pub struct CrashDisk {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    first: Image,
    now: Image,
    journal: Vec<(usize, Step)>,
    calls: usize,
    faults: Option<(std::ops::Range<usize>, Fault)>,
}

#[derive(Clone, Debug)]
enum Step {
    Write { name: String, bytes: Arc<[u8]> },
    Sync { name: String },
    Rename { from: String, to: String },
    Remove { name: String },
    SyncNames,
}

impl CrashDisk {
    /// A disk that holds these files, all of them safe.
    pub fn of(image: Image) -> Self {
        Self { inner: RefCell::new(Inner { first: image.clone(), now: image, ..Inner::default() }) }
    }

    /// What a running system sees.
    pub fn image(&self) -> Image {
        self.inner.borrow().now.clone()
    }

    /// Calls made so far, reads included.
    pub fn calls(&self) -> usize {
        self.inner.borrow().calls
    }

    /// Makes the calls in `range` fail, counted from 0 as by [`CrashDisk::calls`].
    pub fn fail(&self, range: std::ops::Range<usize>, fault: Fault) {
        self.inner.borrow_mut().faults = Some((range, fault));
    }

    /// Every disk that a power cut can leave, at any moment from the beginning until now, each once.
    pub fn crashes(&self) -> Vec<Crash> {
        let inner = self.inner.borrow();
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        // From the last moment back, so that each disk is listed with the most that can have happened.
        for done in (0..=inner.journal.len()).rev() {
            let after = inner.journal.get(done).map_or(inner.calls, |(call, _)| *call);
            let mut disk = Disk::of(&inner.first);
            for (_, step) in &inner.journal[..done] {
                disk.step(step);
            }
            for image in disk.images() {
                if seen.insert(image.clone()) {
                    found.push(Crash { after, image });
                }
            }
        }
        found
    }
}

impl Inner {
    /// Counts a call; the fault it meets.
    fn call(&mut self) -> Option<Fault> {
        let call = self.calls;
        self.calls += 1;
        self.faults.as_ref().filter(|(range, _)| range.contains(&call)).map(|(_, fault)| *fault)
    }

    fn broken(&mut self, name: &str) -> Result<(), StorageError> {
        match self.call() {
            Some(Fault::Broken) => Err(StorageError::failed(name, "input/output error")),
            Some(Fault::Full) | None => Ok(()),
        }
    }

    fn record(&mut self, step: Step) {
        self.journal.push((self.calls - 1, step));
    }
}

impl Storage for CrashDisk {
    fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let mut inner = self.inner.borrow_mut();
        inner.broken(name)?;
        match inner.now.get(name) {
            Some(bytes) if bytes.len() as u64 > max => Err(StorageError::TooLong { name: name.to_owned(), max }),
            found => Ok(found.map(|bytes| bytes.to_vec())),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let mut inner = self.inner.borrow_mut();
        let fault = inner.call();
        let written: Arc<[u8]> = if fault.is_some() { bytes[..bytes.len() / 2].into() } else { bytes.into() };
        inner.now.insert(name.to_owned(), written.clone());
        inner.record(Step::Write { name: name.to_owned(), bytes: written });
        match fault {
            None => Ok(()),
            Some(Fault::Full) => Err(StorageError::Full { name: name.to_owned() }),
            Some(Fault::Broken) => Err(StorageError::failed(name, "input/output error")),
        }
    }

    fn sync(&self, name: &str) -> Result<(), StorageError> {
        let mut inner = self.inner.borrow_mut();
        inner.broken(name)?;
        if !inner.now.contains_key(name) {
            return Err(StorageError::failed(name, "no such file"));
        }
        inner.record(Step::Sync { name: name.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let mut inner = self.inner.borrow_mut();
        inner.broken(from)?;
        let bytes = inner.now.remove(from).ok_or_else(|| StorageError::failed(from, "no such file"))?;
        inner.now.insert(to.to_owned(), bytes);
        inner.record(Step::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let mut inner = self.inner.borrow_mut();
        inner.broken(name)?;
        if inner.now.remove(name).is_some() {
            inner.record(Step::Remove { name: name.to_owned() });
        }
        Ok(())
    }

    fn sync_names(&self) -> Result<(), StorageError> {
        let mut inner = self.inner.borrow_mut();
        inner.broken("the directory")?;
        inner.record(Step::SyncNames);
        Ok(())
    }
}

/// What the journal's beginning left: files, and what of them is safe.
struct Disk {
    files: Vec<File>,
    safe_names: BTreeMap<String, usize>,
    names: BTreeMap<String, usize>,
    /// Changes of names since they were last synced.
    unsafe_names: Vec<NameChange>,
}

struct File {
    safe: Arc<[u8]>,
    /// Written since the last sync, oldest first.
    written: Vec<Arc<[u8]>>,
}

#[derive(Clone)]
struct NameChange {
    gone: Option<String>,
    there: Option<(String, usize)>,
}

/// More changes of names than this between two syncs would take too long to try in every combination.
const UNSAFE_NAMES_MAX: usize = 10;

impl Disk {
    fn of(image: &Image) -> Self {
        let files = image.values().map(|bytes| File { safe: bytes.clone(), written: Vec::new() }).collect();
        let names: BTreeMap<String, usize> = image.keys().cloned().zip(0..).collect();
        Self { files, safe_names: names.clone(), names, unsafe_names: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write { name, bytes } => {
                let file = self.names.get(name).copied().unwrap_or_else(|| {
                    self.files.push(File { safe: Arc::default(), written: Vec::new() });
                    let file = self.files.len() - 1;
                    self.change(NameChange { gone: None, there: Some((name.clone(), file)) });
                    file
                });
                self.files[file].written.push(bytes.clone());
            }
            Step::Sync { name } => {
                let file = &mut self.files[self.names[name]];
                if let Some(last) = file.written.pop() {
                    *file = File { safe: last, written: Vec::new() };
                }
            }
            Step::Rename { from, to } => {
                let there = Some((to.clone(), self.names[from]));
                self.change(NameChange { gone: Some(from.clone()), there });
            }
            Step::Remove { name } => self.change(NameChange { gone: Some(name.clone()), there: None }),
            Step::SyncNames => {
                self.safe_names = self.names.clone();
                self.unsafe_names.clear();
            }
        }
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsafe_names.push(change);
    }

    fn images(&self) -> Vec<Image> {
        let changes = self.unsafe_names.len();
        assert!(changes <= UNSAFE_NAMES_MAX, "{changes} changes of names without `sync_names`");
        let mut images = Vec::new();
        for chosen in 0_u32..1 << changes {
            let mut names = self.safe_names.clone();
            for (ix, change) in self.unsafe_names.iter().enumerate() {
                if chosen >> ix & 1 == 1 {
                    change.apply(&mut names);
                }
            }
            let mut these = vec![Image::new()];
            for (name, file) in names {
                let contents = self.files[file].contents();
                let with = |image: &Image, bytes: &Arc<[u8]>| {
                    let mut image = image.clone();
                    image.insert(name.clone(), bytes.clone());
                    image
                };
                these = these.iter().flat_map(|image| contents.iter().map(|bytes| with(image, bytes))).collect();
            }
            images.append(&mut these);
        }
        images
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(name) = &self.gone {
            names.remove(name);
        }
        if let Some((name, file)) = &self.there {
            names.insert(name.clone(), *file);
        }
    }
}

impl File {
    /// What may be found in it.
    fn contents(&self) -> Vec<Arc<[u8]>> {
        let mut contents = vec![self.safe.clone()];
        for bytes in &self.written {
            let (half, length) = (bytes.len() / 2, bytes.len());
            let mut half_zeros = bytes[..half].to_vec();
            half_zeros.resize(length, 0);
            contents.extend([
                Arc::default(),
                bytes[..half].into(),
                bytes[..length.saturating_sub(1)].into(),
                vec![0; length].into(),
                half_zeros.into(),
                bytes.clone(),
            ]);
        }
        contents.sort();
        contents.dedup();
        contents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(files: &[(&str, &str)]) -> CrashDisk {
        CrashDisk::of(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().into())).collect())
    }

    /// What `name` can hold after a power cut.
    fn found(disk: &CrashDisk, name: &str) -> BTreeSet<Option<String>> {
        let text = |image: &Image| image.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        disk.crashes().iter().map(|crash| text(&crash.image)).collect()
    }

    fn some(texts: &[&str]) -> BTreeSet<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn an_unsynced_write_leaves_old_new_or_a_part() {
        let disk = disk(&[("state", "old")]);
        disk.write("state", b"next").expect("writes");
        assert_eq!(found(&disk, "state"), some(&["old", "", "ne", "nex", "\0\0\0\0", "ne\0\0", "next"]));
        disk.sync("state").expect("syncs");
        let last = |crash: &&Crash| crash.after == disk.calls();
        assert_eq!(disk.crashes().iter().filter(last).count(), 1, "a synced file is safe");
    }

    #[test]
    fn replacing_is_old_or_new_and_new_once_it_returned() {
        let disk = disk(&[("state", "old")]);
        disk.replace("state", b"next").expect("replaces");
        assert_eq!(found(&disk, "state"), some(&["old", "next"]));
        for crash in disk.crashes() {
            if crash.after == disk.calls() {
                assert_eq!(&*crash.image["state"], b"next");
            }
        }
    }

    #[test]
    fn a_rename_without_a_sync_before_it_is_caught() {
        let disk = disk(&[("state", "old")]);
        disk.write("state.next", b"next").expect("writes");
        disk.rename("state.next", "state").expect("renames");
        disk.sync_names().expect("syncs");
        assert!(found(&disk, "state").contains(&Some(String::new())), "the classic empty file");
    }

    #[test]
    fn names_reach_the_disk_in_any_order() {
        let disk = disk(&[("a", "a")]);
        disk.write("b", b"b").expect("writes");
        disk.sync("b").expect("syncs");
        disk.remove("a").expect("removes");
        let there: BTreeSet<Vec<String>> = disk.crashes().iter().map(|c| c.image.keys().cloned().collect()).collect();
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(there, BTreeSet::from([names(&["a"]), names(&["a", "b"]), names(&["b"]), names(&[])]));
    }

    #[test]
    fn a_full_disk_refuses_writes_only_and_leaves_half() {
        let disk = disk(&[("state", "old")]);
        disk.fail(0..9, Fault::Full);
        assert_eq!(disk.write("next", b"next"), Err(StorageError::Full { name: "next".into() }));
        assert_eq!(&*disk.image()["next"], b"ne");
        assert_eq!(disk.read("state", 9), Ok(Some(b"old".to_vec())));
        disk.remove("next").expect("removing makes space");
    }

    #[test]
    fn a_broken_disk_fails_for_as_long_as_it_was_told_to() {
        let disk = disk(&[("state", "old")]);
        disk.fail(1..2, Fault::Broken);
        assert!(disk.read("state", 9).is_ok());
        assert!(matches!(disk.sync("state"), Err(StorageError::Failed { .. })));
        assert!(disk.sync("state").is_ok());
    }
}
