//! A repository held in memory: downloaded, unpacked, or chosen by a person in a browser.

use std::collections::BTreeMap;

use super::{FetchError, Repository};

/// Bytes that all files of a bundle may have together.
pub const BUNDLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Files by their path in the repository. Holding them proves nothing: [`super::verify`] does.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    files: BTreeMap<String, Vec<u8>>,
    bytes: usize,
}

impl Bundle {
    /// Holds a file; one of the same path is replaced.
    ///
    /// # Errors
    /// [`BundleFull`] when the bundle would be larger than [`BUNDLE_BYTES_MAX`]; it stays as it was.
    pub fn add(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), BundleFull> {
        let cost = |bytes: &Vec<u8>| path.len() + bytes.len();
        let without = self.bytes - self.files.get(path).map_or(0, cost);
        let with = without.saturating_add(cost(&bytes));
        if with > BUNDLE_BYTES_MAX {
            return Err(BundleFull { path: path.to_owned() });
        }
        self.bytes = with;
        self.files.insert(path.to_owned(), bytes);
        Ok(())
    }
}

impl Repository for Bundle {
    fn fetch(&self, path: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let most = usize::try_from(max_bytes.saturating_add(1)).unwrap_or(usize::MAX);
        Ok(self.files.get(path).map(|bytes| bytes[..bytes.len().min(most)].to_vec()))
    }
}

/// A file that no longer fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} would make the bundle larger than {BUNDLE_BYTES_MAX} bytes")]
pub struct BundleFull {
    /// Its path.
    pub path: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_gives_back_one_byte_more_than_asked_for_and_no_other_path() {
        let mut bundle = Bundle::default();
        bundle.add("a", vec![7; 10]).expect("fits");
        assert_eq!(bundle.fetch("a", 4).expect("reads"), Some(vec![7; 5]));
        assert_eq!(bundle.fetch("a", u64::MAX).expect("reads"), Some(vec![7; 10]));
        assert_eq!(bundle.fetch("b", 4).expect("reads"), None);
    }

    #[test]
    fn a_bundle_grows_to_its_bound_and_replacing_a_file_frees_the_old_one() {
        let mut bundle = Bundle::default();
        let most = BUNDLE_BYTES_MAX - 1;
        bundle.add("a", vec![0; most]).expect("fits exactly");
        assert_eq!(bundle.add("b", Vec::new()), Err(BundleFull { path: "b".to_owned() }));
        assert!(bundle.add("a", vec![0; most + 1]).is_err());
        bundle.add("a", vec![0; 1]).expect("smaller");
        bundle.add("b", vec![0; 1]).expect("there is room now");
    }
}
