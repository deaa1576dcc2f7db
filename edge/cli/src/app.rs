//! The device's directory: what an app is built with, whose it is, its key, and the library's own storage.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use plimsoll_edge::Device;
use plimsoll_edge::payee::{Payee, PayeeRules};
use plimsoll_edge::slots::Settings;
use plimsoll_edge::storage::Files;
use plimsoll_edge::trust::TrustedRoot;
use plimsoll_edge::wallet::{Identity, NoAnchor};
use plimsoll_model::grant::{Bytes, IssuerKeys, TokenId};
use plimsoll_model::policy::Policy;
use serde::{Deserialize, Serialize};

use crate::Context;
use crate::exit::Usage;

/// `device.json`: what stays the same for as long as the device is this account's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct App {
    pub(crate) account: String,
    pub(crate) model_id: String,
    pub(crate) issuer: String,
    pub(crate) policy: Policy,
}

/// A device whose state lies in files. There is no hardware counter here, so a copy of the directory that is put back
/// goes unnoticed until the next sync: see `NoAnchor`.
pub(crate) type FileDevice = Device<Files, NoAnchor, SigningKey>;

impl App {
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("device.json")
    }

    pub(crate) fn load(dir: &Path) -> anyhow::Result<Self> {
        let path = Self::path(dir);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let why = format!("{} is no device yet: begin with plimsoll-edge install", dir.display());
                return Err(Usage(why).into());
            }
            read => read.with_context(|| path.display().to_string())?,
        };
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
    }

    /// Makes the directory, with a new key. `device.json` comes last: without it there is no device.
    pub(crate) fn begin(&self, dir: &Path, root: &[u8]) -> anyhow::Result<()> {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        if !dir.join(KEY).exists() {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed)?;
            let pair = KeypairBytes { secret_key: seed, public_key: None };
            let pem = pair.to_pkcs8_pem(LineEnding::LF).context("32 bytes always encode")?;
            write_private(&dir.join(KEY), pem.as_bytes())?;
        }
        write(&dir.join(ROOT), root)?;
        write(&Self::path(dir), &serde_json::to_vec_pretty(self)?)
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            account: self.account.clone(),
            programme: self.policy.programme.clone(),
            currency: self.policy.currency,
        }
    }

    /// Opens the device as it was left.
    pub(crate) fn open(&self, context: &Context) -> anyhow::Result<FileDevice> {
        let dir = &context.dir;
        let root = dir.join(ROOT);
        let root = fs::read(&root).with_context(|| root.display().to_string())?;
        let settings = Settings::new(TrustedRoot::from_bytes(&root)?, &self.model_id, self.policy.clone());
        let key = key(dir)?;
        let (storage, keys) = (self.storage(dir)?, self.issuer_keys(dir)?);
        Ok(Device::open(storage, NoAnchor, key, settings, self.identity(), keys, drawn()?.0, context.now)?)
    }

    /// Opens the payee's side.
    pub(crate) fn payee(&self, context: &Context) -> anyhow::Result<Payee<Files>> {
        let rules = PayeeRules {
            payee: self.account.clone(),
            programme: self.policy.programme.clone(),
            currency: self.policy.currency,
            may_receive: true,
            exposure_max: None,
            request_valid_s: self.policy.token.request_valid_s,
        };
        Ok(Payee::open(self.storage(&context.dir)?, rules, self.issuer_keys(&context.dir)?)?)
    }

    fn storage(&self, dir: &Path) -> anyhow::Result<Files> {
        Ok(Files::open(dir.join("state"))?)
    }

    fn issuer_keys(&self, dir: &Path) -> anyhow::Result<IssuerKeys> {
        let path = dir.join(ISSUER_KEYS);
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        IssuerKeys::from_jwks(&self.issuer, &bytes).with_context(|| path.display().to_string())
    }

    /// Checks and keeps the issuer's keys.
    pub(crate) fn set_issuer_keys(&self, dir: &Path, jwks: &Path) -> anyhow::Result<()> {
        let bytes = fs::read(jwks).with_context(|| jwks.display().to_string())?;
        IssuerKeys::from_jwks(&self.issuer, &bytes).with_context(|| jwks.display().to_string())?;
        write(&dir.join(ISSUER_KEYS), &bytes)
    }
}

const KEY: &str = "key.pem";
const ROOT: &str = "root.json";
const ISSUER_KEYS: &str = "issuer.jwks.json";

/// 128 random bits.
pub(crate) fn drawn() -> anyhow::Result<TokenId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(Bytes(bytes))
}

/// The device's private key.
fn key(dir: &Path) -> anyhow::Result<SigningKey> {
    let path = dir.join(KEY);
    let pem = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    SigningKey::from_pkcs8_pem(&pem).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}

/// Makes a file or replaces it, whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_next(path, bytes, &mut fs::OpenOptions::new())
}

fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    write_next(path, bytes, &mut options)
}

fn write_next(path: &Path, bytes: &[u8], options: &mut fs::OpenOptions) -> anyhow::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    let mut replace = || -> std::io::Result<()> {
        let mut file = options.write(true).create(true).truncate(true).open(&next)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&next, path)
    };
    replace().or_else(|e| {
        let _ = fs::remove_file(&next);
        Err(e).with_context(|| path.display().to_string())
    })
}
