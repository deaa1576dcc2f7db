//! The run directory: `config.toml`, `model.onnx`, `policy.json`, `golden.json`, `release.json` (manifest and certificate),
//! `certificate.json` (the certificate alone, canonical), `calibration.csv` (what it is derived from), `metrics.json`,
//! `accounts.csv` (who was tested) and `report.html`: everything that publishing and checking need. What came of the checks
//! is added later: `check.json`, and `override.json` where a risk officer signed for what did not pass.

use std::path::Path;

use plimsoll_datasets::write::Staging;
use plimsoll_model::artifact::Release;
use plimsoll_model::policy::Policy;

use crate::accounts::Accounts;
use crate::config::Config;
use crate::publish::put;
use crate::run::{Run, TrainError};
use crate::{log, report};

impl Run {
    /// Writes the run into `dir`: beside it first, then renamed, so that a run directory is whole or not there.
    ///
    /// # Errors
    /// `TrainError::Output` or `Io`, with nothing left behind; a directory that holds anything is refused.
    pub fn save(&self, dir: &Path) -> Result<(), TrainError> {
        let staging = Staging::new(dir)?;
        let report = ("report.html", report::html(self, None).into_bytes());
        for (name, bytes) in self.files().into_iter().chain([report]) {
            let path = staging.path().join(name);
            std::fs::write(&path, &bytes).map_err(|source| TrainError::Io { path: dir.join(name), source })?;
        }
        Ok(staging.commit()?)
    }

    /// What publishing and checking need of it, as the files of a run directory.
    pub fn files(&self) -> [(&'static str, Vec<u8>); 9] {
        [
            ("accounts.csv", self.accounts.write()),
            ("config.toml", self.config.to_toml().into_bytes()),
            ("model.onnx", self.model.clone()),
            ("policy.json", self.policy.to_json()),
            ("golden.json", self.golden.clone()),
            ("release.json", release_json(&self.release)),
            ("certificate.json", log::canonical(&self.release.certificate).into_bytes()),
            ("calibration.csv", log::write(&self.log)),
            ("metrics.json", pretty(&self.metrics)),
        ]
    }

    /// Reads what publishing and checking need of a run directory.
    ///
    /// # Errors
    /// `TrainError::Io` or `BadRun`, naming the file.
    pub fn load(dir: &Path) -> Result<Self, TrainError> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(|source| TrainError::Io { path, source })
        };
        let bad = |name: &str, reason: String| TrainError::BadRun { path: dir.join(name), reason };
        let text = String::from_utf8(read("config.toml")?).map_err(|e| bad("config.toml", e.to_string()))?;
        let release: Release =
            serde_json::from_slice(&read("release.json")?).map_err(|e| bad("release.json", e.to_string()))?;
        let log = log::read(&read("calibration.csv")?).map_err(|e| bad("calibration.csv", e))?;
        Ok(Self {
            config: Config::from_toml(&text).map_err(|e| bad("config.toml", e.to_string()))?,
            policy: Policy::from_json(&read("policy.json")?).map_err(|e| bad("policy.json", e.to_string()))?,
            model: read("model.onnx")?,
            golden: read("golden.json")?,
            metrics: serde_json::from_slice(&read("metrics.json")?).map_err(|e| bad("metrics.json", e.to_string()))?,
            accounts: Accounts::read(&read("accounts.csv")?).map_err(|e| bad("accounts.csv", e))?,
            release,
            log,
        })
    }
}

/// Adds what came later to a run directory, in the place of an earlier one.
///
/// # Errors
/// `TrainError::Io`: the file is the old or the new one.
pub fn add(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
    let path = dir.join(name);
    put(&path, bytes).map_err(|source| TrainError::Io { path, source })
}

/// The bytes of `release.json`.
pub(crate) fn release_json(release: &Release) -> Vec<u8> {
    pretty(release)
}

/// Indented JSON with a last newline.
fn pretty(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("plain data serialises");
    bytes.push(b'\n');
    bytes
}
