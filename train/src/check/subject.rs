//! A run as bytes, each file read once; what cannot be read is a failed check, not the end of all of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::{Release, sha256_hex};
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::policy::Policy;

use super::REPLAY_FILE;
use crate::calibrate::Log;
use crate::config::Config;
use crate::directory::release_json;
use crate::log;
use crate::run::TrainError;

/// The files of a run that are checked, and whose hashes publishing compares.
pub const FILES: [&str; 10] = [
    "accounts.csv",
    "calibration.csv",
    "certificate.json",
    "config.toml",
    "golden.json",
    "metrics.json",
    "model.onnx",
    "policy.json",
    "release.json",
    REPLAY_FILE,
];

/// The files of a run and what they say.
pub struct Subject {
    files: BTreeMap<String, Vec<u8>>,
    config: Result<Config, String>,
    release: Result<Release, String>,
    policy: Result<Policy, String>,
    model: Result<ModelFile, String>,
    log: Result<Log, String>,
}

impl Subject {
    /// Reads a run directory.
    ///
    /// # Errors
    /// `TrainError::Io` names the file of [`FILES`] that is missing or unreadable.
    pub fn read(dir: &Path) -> Result<Self, TrainError> {
        Ok(Self::of(read(dir)?))
    }

    /// A run that is not on a disk. Files that no check reads are left out.
    pub fn of(mut files: BTreeMap<String, Vec<u8>>) -> Self {
        files.retain(|name, _| FILES.contains(&name.as_str()));
        fn parse<T>(
            files: &BTreeMap<String, Vec<u8>>,
            name: &str,
            parse: impl FnOnce(&[u8]) -> Result<T, String>,
        ) -> Result<T, String> {
            let bytes = files.get(name).ok_or_else(|| format!("{name} is missing"))?;
            parse(bytes).map_err(|why| format!("{name}: {why}"))
        }
        Self {
            config: parse(&files, "config.toml", |bytes| {
                Config::from_toml(std::str::from_utf8(bytes).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
            }),
            release: parse(&files, "release.json", |bytes| serde_json::from_slice(bytes).map_err(|e| e.to_string())),
            policy: parse(&files, "policy.json", |bytes| Policy::from_json(bytes).map_err(|e| e.to_string())),
            model: parse(&files, "model.onnx", |bytes| ModelFile::decode(bytes).map_err(|e| e.to_string())),
            log: parse(&files, "calibration.csv", log::read),
            files,
        }
    }

    /// Nothing but what is published: what needs a run's other files fails.
    pub fn published(release: &Release, model: &[u8], policy: &[u8], golden: &[u8]) -> Self {
        let files = published(release, model, policy, golden);
        Self::of(files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.into_owned())).collect())
    }

    /// SHA-256 of each file, lower-case hex.
    pub fn hashes(&self) -> BTreeMap<String, String> {
        hashed(&self.files)
    }

    /// The bytes of one of [`FILES`].
    ///
    /// # Errors
    /// That it is missing.
    pub fn bytes(&self, name: &str) -> Result<&[u8], String> {
        self.files.get(name).map(Vec::as_slice).ok_or_else(|| format!("{name} is missing"))
    }

    /// What the run was asked.
    ///
    /// # Errors
    /// Why the file cannot be read; as for the others below.
    pub fn config(&self) -> Result<&Config, String> {
        self.config.as_ref().map_err(Clone::clone)
    }

    /// Manifest and certificate.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub fn release(&self) -> Result<&Release, String> {
        self.release.as_ref().map_err(Clone::clone)
    }

    /// The rules it was certified under.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub fn policy(&self) -> Result<&Policy, String> {
        self.policy.as_ref().map_err(Clone::clone)
    }

    /// The exported trees.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub fn model(&self) -> Result<&ModelFile, String> {
        self.model.as_ref().map_err(Clone::clone)
    }

    /// The calibration log.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub fn log(&self) -> Result<&Log, String> {
        self.log.as_ref().map_err(Clone::clone)
    }
}

/// What is published, as files of a run: the release without the dates that publishing gives it.
pub(crate) fn published<'a>(
    release: &Release,
    model: &'a [u8],
    policy: &'a [u8],
    golden: &'a [u8],
) -> [(&'static str, Cow<'a, [u8]>); 5] {
    let mut undated = release.clone();
    (undated.manifest.issued_at, undated.manifest.use_not_after) = (UtcSeconds(0), UtcSeconds(0));
    [
        ("model.onnx", model.into()),
        ("policy.json", policy.into()),
        ("golden.json", golden.into()),
        ("certificate.json", log::canonical(&release.certificate).into_bytes().into()),
        ("release.json", release_json(&undated).into()),
    ]
}

/// SHA-256 of each of [`FILES`] in a run directory.
///
/// # Errors
/// `TrainError::Io` names the file that is missing or unreadable.
pub fn hashes(dir: &Path) -> Result<BTreeMap<String, String>, TrainError> {
    Ok(hashed(&read(dir)?))
}

fn hashed(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
    files.iter().map(|(name, bytes)| (name.clone(), sha256_hex(bytes))).collect()
}

fn read(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, TrainError> {
    let mut files = BTreeMap::new();
    for name in FILES {
        let path = dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => drop(files.insert(name.to_owned(), bytes)),
            // Training does not write it: a run that was not played fails that check.
            Err(e) if name == REPLAY_FILE && e.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(TrainError::Io { path, source }),
        }
    }
    Ok(files)
}
