//! The keys of a TUF repository: who may sign what, as PEM files.
//!
//! | file | role | where it belongs |
//! |---|---|---|
//! | `root-1.pem`, `root-2.pem`, `root-3.pem` | root, 2 of 3 | three people, offline |
//! | `targets-owner.pem`, `targets-risk.pem` | targets, 2 of 2 | model owner and risk officer |
//! | `online.pem` | snapshot and timestamp | the publishing service |
//!
//! Private keys are PKCS#8 (RFC 8410) with mode 0600; beside each is its `.pub.pem`. A file's name says
//! its role: what comes before the first `-`.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, KeypairBytes};
use ed25519_dalek::{Signer, VerifyingKey};
use plimsoll_model::artifact::{hex, sha256_hex};
use plimsoll_model::grant::IssuerKeys;

/// The keys that [`generate`] makes.
pub const NAMES: [&str; 6] = ["root-1", "root-2", "root-3", "targets-owner", "targets-risk", "online"];

/// Why keys could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A key is never replaced: whatever it signed could not be followed any more.
    #[error("{} exists: choose another directory, or remove it yourself", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file holds something else.
    #[error("{} is not an Ed25519 {kind} key in PEM: {reason}", .path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// `private` or `public`.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The file's name gives its key no role.
    #[error("{} has no role: name it root-…, targets-… or online", .path.display())]
    NoRole {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read or written.
    #[error("{}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("no randomness from the system")]
    Randomness(#[source] getrandom::Error),
}

impl KeyError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// A private key and its name.
pub struct SigningKey {
    name: String,
    key: ed25519_dalek::SigningKey, // wiped on drop
}

impl SigningKey {
    /// A new key of the system's randomness.
    ///
    /// # Errors
    /// `Randomness`.
    pub fn generate(name: impl Into<String>) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Randomness)?;
        Ok(Self::from_seed(name, seed))
    }

    /// The key of a seed (RFC 8032): for tests, and for seeds that live in a vault.
    pub fn from_seed(name: impl Into<String>, seed: [u8; 32]) -> Self {
        Self { name: name.into(), key: ed25519_dalek::SigningKey::from_bytes(&seed) }
    }

    /// Reads `<name>.pem`.
    ///
    /// # Errors
    /// `Io`, or `NotAKey`.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = fs::read_to_string(path).map_err(KeyError::io(path))?;
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(&text).map_err(|error| KeyError::NotAKey {
            path: path.to_owned(),
            kind: "private",
            reason: error.to_string(),
        })?;
        Ok(Self { name: stem(path), key })
    }

    /// Writes `<name>.pem` (mode 0600) and `<name>.pub.pem` into `directory`.
    ///
    /// # Errors
    /// `Exists`, or `Io`.
    pub fn save(&self, directory: &Path) -> Result<(), KeyError> {
        // PKCS#8 version 1, without the public key: OpenSSL reads no other.
        let pair = KeypairBytes { secret_key: self.key.to_bytes(), public_key: None };
        let private = pair.to_pkcs8_pem(LineEnding::LF).expect("32 bytes always encode");
        let public = self.key.verifying_key().to_public_key_pem(LineEnding::LF).expect("32 bytes always encode");
        write_new(&directory.join(format!("{}.pem", self.name)), private.as_bytes())?;
        write_new(&directory.join(format!("{}.pub.pem", self.name)), public.as_bytes())
    }

    /// The name of its file, without `.pem`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), bytes: self.key.verifying_key().to_bytes() }
    }

    /// Its id in grants: 64 bits of its key id in a repository.
    pub fn kid(&self) -> String {
        self.public().key_id()[..16].to_owned()
    }

    /// The signature of `message` (RFC 8032).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl plimsoll_model::grant::Signer for SigningKey {
    fn public(&self) -> plimsoll_model::grant::PublicKey {
        plimsoll_model::grant::Signer::public(&self.key)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], plimsoll_model::grant::SignError> {
        plimsoll_model::grant::Signer::sign(&self.key, message)
    }
}

impl fmt::Debug for SigningKey {
    /// The name and key id; never the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("name", &self.name).field("key_id", &self.public().key_id()).finish()
    }
}

/// A public key and the name of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    bytes: [u8; 32],
}

impl PublicKey {
    /// Reads `<name>.pub.pem`.
    ///
    /// # Errors
    /// `Io`, or `NotAKey`, which includes keys of small order.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let not_a_key = |reason: String| KeyError::NotAKey { path: path.to_owned(), kind: "public", reason };
        let text = fs::read_to_string(path).map_err(KeyError::io(path))?;
        let key = VerifyingKey::from_public_key_pem(&text).map_err(|error| not_a_key(error.to_string()))?;
        if key.is_weak() {
            return Err(not_a_key("it has small order, so anyone can sign with it".to_owned()));
        }
        Ok(Self { name: stem(path), bytes: key.to_bytes() })
    }

    /// The name of its file, without `.pub.pem`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lower-case hex of its 32 bytes.
    pub fn hex(&self) -> String {
        hex(&self.bytes)
    }

    /// The TUF key id: SHA-256 of the canonical key object (TUF specification section 4.2).
    pub fn key_id(&self) -> String {
        // Three ASCII members in their canonical order: simpler to read than to serialise.
        let object = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{}"}},"scheme":"ed25519"}}"#, self.hex());
        sha256_hex(object.as_bytes())
    }
}

/// The public keys of every role: what a root names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Root.
    pub root: Vec<PublicKey>,
    /// Targets.
    pub targets: Vec<PublicKey>,
    /// Snapshot and timestamp.
    pub online: Vec<PublicKey>,
}

impl Holders {
    /// Every `.pub.pem` of a directory, by the role in its name.
    ///
    /// # Errors
    /// `Io`, `NotAKey` or `NoRole`.
    pub fn load(directory: &Path) -> Result<Self, KeyError> {
        let mut holders = Self::default();
        for path in pem_files(directory, true)? {
            let key = PublicKey::load(&path)?;
            match key.name.split('-').next() {
                Some("root") => holders.root.push(key),
                Some("targets") => holders.targets.push(key),
                Some("online") => holders.online.push(key),
                _ => return Err(KeyError::NoRole { path }),
            }
        }
        Ok(holders)
    }
}

/// Makes the six keys of [`NAMES`] in `directory` (created with mode 0700).
///
/// # Errors
/// `Exists` when any of the files is there, before any is written; `Io`; `Randomness`.
pub fn generate(directory: &Path) -> Result<Vec<SigningKey>, KeyError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory).map_err(KeyError::io(directory))?;
    for name in NAMES {
        for path in [format!("{name}.pem"), format!("{name}.pub.pem")].map(|file| directory.join(file)) {
            if path.symlink_metadata().is_ok() {
                return Err(KeyError::Exists { path });
            }
        }
    }
    let keys: Vec<_> = NAMES.into_iter().map(SigningKey::generate).collect::<Result<_, _>>()?;
    for key in &keys {
        key.save(directory)?;
    }
    Ok(keys)
}

/// Makes the key that signs grants, in a directory of its own: it belongs to the service, not to a repository. Beside
/// it `issuer.jwks.json`, the key set that devices and payees check grants with.
///
/// # Errors
/// `Exists` before anything is written; `Io`; `Randomness`.
pub fn generate_issuer(directory: &Path, issuer: &str) -> Result<SigningKey, KeyError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory).map_err(KeyError::io(directory))?;
    for file in ["issuer.pem", "issuer.pub.pem", "issuer.jwks.json"] {
        let path = directory.join(file);
        if path.symlink_metadata().is_ok() {
            return Err(KeyError::Exists { path });
        }
    }
    let key = SigningKey::generate("issuer")?;
    let public = plimsoll_model::grant::Signer::public(&key);
    let set = IssuerKeys::new(issuer, [(key.kid(), public)]).expect("one key with an id");
    key.save(directory)?;
    write_new(&directory.join("issuer.jwks.json"), &set.to_jwks())?;
    Ok(key)
}

/// Every private key of a directory, by name.
///
/// # Errors
/// `Io`, or `NotAKey`.
pub fn load(directory: &Path) -> Result<Vec<SigningKey>, KeyError> {
    pem_files(directory, false)?.iter().map(|path| SigningKey::load(path)).collect()
}

/// The `.pub.pem` files of a directory, or its other `.pem` files, sorted.
fn pem_files(directory: &Path, public: bool) -> Result<Vec<PathBuf>, KeyError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(KeyError::io(directory))? {
        let path = entry.map_err(KeyError::io(directory))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".pem") && !name.starts_with('.') && name.ends_with(".pub.pem") == public {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.trim_end_matches(".pem").trim_end_matches(".pub").to_owned()
}

/// Writes beside (mode 0600 from the first byte), then links into place without replacing anything.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut beside = tempfile::NamedTempFile::new_in(directory).map_err(KeyError::io(path))?;
    beside.write_all(bytes).map_err(KeyError::io(path))?;
    beside.as_file().sync_all().map_err(KeyError::io(path))?;
    beside.persist_noclobber(path).map_err(|refused| match refused.error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
        _ => KeyError::Io { path: path.to_owned(), source: refused.error },
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_generated_can_be_loaded_and_is_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let keys = directory.path().join("keys");
        let made = generate(&keys).expect("generates");
        let loaded = load(&keys).expect("loads");
        assert_eq!(loaded.len(), NAMES.len());
        let holders = Holders::load(&keys).expect("loads");
        assert_eq!([holders.root.len(), holders.targets.len(), holders.online.len()], [3, 2, 1]);
        for key in &made {
            let again = loaded.iter().find(|other| other.name() == key.name()).expect("same names");
            assert_eq!(again.public(), key.public());
            assert_eq!(PublicKey::load(&keys.join(format!("{}.pub.pem", key.name()))).expect("loads"), key.public());
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
            assert_eq!(mode(&keys), 0o700);
            assert_eq!(mode(&keys.join("online.pem")), 0o600);
        }
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        SigningKey::generate("targets-risk").expect("generates").save(directory.path()).expect("saves");
        let refused = generate(directory.path()).expect_err("one of the names is taken");
        assert!(matches!(refused, KeyError::Exists { path } if path.ends_with("targets-risk.pem")));
        assert_eq!(load(directory.path()).expect("loads").len(), 1, "nothing was written beside it");
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("online.pem");
        fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").expect("writes");
        let refused = SigningKey::load(&path).expect_err("no key");
        assert!(refused.to_string().contains("online.pem"), "{refused}");
        assert!(matches!(refused, KeyError::NotAKey { kind: "private", .. }));
    }

    #[test]
    fn a_key_id_is_the_one_of_securesystemslib() {
        // `SSlibKey.from_dict`/`_get_keyid` of securesystemslib 1.6 for the key of seed 0x01 × 32.
        let key = SigningKey::from_seed("online", [1; 32]).public();
        assert_eq!(key.hex(), "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c");
        assert_eq!(key.key_id(), "7ab6b86cb2c9684b0ddc10896153aa2595decf4d4327a5ff1a8ab7422c828b12");
    }
}
