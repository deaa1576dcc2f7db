//! The keys that sign grants: a directory of PEM files, read again when it changes.
//!
//! ```text
//! 2026-05.pem  2026-11.pem  active: `2026-11`  ─►  2026-11 signs; both are published
//! ```
//!
//! One key signs; every key in the directory is published, those to come included, so that payees know a key before the
//! first grant under it reaches them. A key whose file goes stays published until nothing signed under it counts any
//! more. To rotate: add the new file, wait until devices have synced, write its name to `active`, and remove the old
//! file afterwards. A file `NAME.pub.pem` publishes a key that does not sign here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use ed25519_dalek::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use ed25519_dalek::{SigningKey, VerifyingKey};
use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::{IssuerKeys, PublicKey, RefuseKeys, SignError, Signer};
use sha2::{Digest as _, Sha256};

use crate::clock::Clock;
use crate::config::Issuer;
use crate::ops::metrics::Metrics;

/// Bytes of a PEM file that are read.
const PEM_BYTES_MAX: u64 = 4_096;

/// The keys of this issuer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GrantKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Issuer,
    clock: Clock,
    ring: RwLock<Arc<Ring>>,
}

#[derive(Clone, Debug, Default)]
struct Ring {
    signs: Option<Arc<GrantKey>>,
    published: Option<Arc<IssuerKeys>>,
    /// By key id: the key, and until when it is published after its file went.
    known: BTreeMap<String, (PublicKey, Option<UtcSeconds>)>,
    stamp: Vec<(PathBuf, SystemTime, u64)>,
}

/// The key that signs.
pub struct GrantKey {
    kid: String,
    key: SigningKey,
}

/// Why keys are refused; those that were read before stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseGrantKeys {
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A file that is no key.
    #[error("{}: no Ed25519 key in PKCS#8 PEM: {why}", path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
        /// The reader's word.
        why: String,
    },
    /// Nobody said which of them signs.
    #[error("{}: {why}", directory.display())]
    Active {
        /// Where.
        directory: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// Too many, or two of one id.
    #[error("issuer.keys: {0}")]
    Set(#[from] RefuseKeys),
}

impl GrantKeys {
    /// Reads the directory; without one there are no keys, and no grants.
    ///
    /// # Errors
    /// [`RefuseGrantKeys`].
    pub fn open(config: &Issuer, clock: Clock) -> Result<Self, RefuseGrantKeys> {
        let keys = Self(Arc::new(Shared { config: config.clone(), clock, ring: RwLock::default() }));
        keys.reload()?;
        Ok(keys)
    }

    /// The issuer's name: `iss` of its grants.
    pub fn issuer(&self) -> &str {
        &self.0.config.name
    }

    /// The key that signs now; take it once a grant, so that key id and signature belong together.
    pub fn signing(&self) -> Option<Arc<GrantKey>> {
        self.ring().signs.clone()
    }

    /// The keys that grants are checked with, as devices and payees have them.
    pub fn published(&self) -> Option<Arc<IssuerKeys>> {
        self.ring().published.clone()
    }

    /// Reads the directory again if anything in it changed, and forgets what has expired. Answers whether anything is
    /// different now.
    ///
    /// # Errors
    /// [`RefuseGrantKeys`]; what was read before stays.
    pub fn reload(&self) -> Result<bool, RefuseGrantKeys> {
        let Some(directory) = &self.0.config.keys else { return Ok(false) };
        let now = self.0.clock.now();
        let before = self.ring();
        let stamp = stamp(directory)?;
        let expired = before.known.values().any(|(_, until)| until.is_some_and(|until| until <= now));
        if before.signs.is_some() && stamp == before.stamp && !expired {
            return Ok(false);
        }
        let found = Found::read(directory)?;
        let active = found.active(directory, self.0.config.active.as_deref())?;

        let retired_until = now.plus(i64::from(self.0.config.retire_h) * 3_600);
        let mut known: BTreeMap<_, _> =
            found.public.iter().map(|key| (kid(key), (key.clone(), None::<UtcSeconds>))).collect();
        for (id, (key, until)) in &before.known {
            let until = until.unwrap_or(retired_until);
            if until > now {
                known.entry(id.clone()).or_insert((key.clone(), Some(until)));
            }
        }
        let published = known.iter().map(|(id, (key, _))| (id.clone(), key.clone()));
        let published = IssuerKeys::new(self.0.config.name.clone(), published)?;
        tracing::info!(kid = active.kid, published = known.len(), "grant keys read");
        let ring = Ring { signs: Some(Arc::new(active)), published: Some(Arc::new(published)), known, stamp };
        *self.0.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        Ok(true)
    }

    /// Reloads every `issuer.watch_s`, and whenever `asked` says so; a refusal is logged and changes nothing.
    pub async fn watch(self, metrics: Arc<Metrics>, asked: Arc<tokio::sync::Notify>) {
        let mut every = tokio::time::interval(std::time::Duration::from_secs(self.0.config.watch_s.max(1)));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            metrics.issuer_keys.set(i64::try_from(self.ring().known.len()).unwrap_or(i64::MAX));
            tokio::select! {
                _ = every.tick() => {}
                () = asked.notified() => {}
            }
            if let Err(refused) = self.reload() {
                tracing::error!(%refused, "grant keys not read: those read before stay");
            }
        }
    }

    fn ring(&self) -> Arc<Ring> {
        self.0.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl GrantKey {
    /// Its id in grants.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl Signer for GrantKey {
    fn public(&self) -> PublicKey {
        Signer::public(&self.key)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Signer::sign(&self.key, message)
    }
}

impl std::fmt::Debug for GrantKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrantKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A key's id in grants: 64 bits of its TUF key id, as `plimsoll issuer-key` writes it.
pub fn kid(key: &PublicKey) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let public = hex(key.as_bytes());
    let object = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#);
    hex(&Sha256::digest(object.as_bytes())[..8])
}

/// What a directory holds.
struct Found {
    private: BTreeMap<String, SigningKey>,
    public: Vec<PublicKey>,
    active: Option<String>,
}

impl Found {
    fn read(directory: &Path) -> Result<Self, RefuseGrantKeys> {
        let mut found = Self { private: BTreeMap::new(), public: Vec::new(), active: None };
        for (path, _, bytes) in stamp(directory)? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if bytes > PEM_BYTES_MAX {
                let why = format!("it is longer than {PEM_BYTES_MAX} bytes");
                return Err(RefuseGrantKeys::NotAKey { path, why });
            }
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(source) => return Err(RefuseGrantKeys::Io { path, source }),
            };
            let not_a_key = |why: String| RefuseGrantKeys::NotAKey { path: path.clone(), why };
            let public = if name == "active" {
                found.active = Some(text.trim().to_owned());
                continue;
            } else if name.ends_with(".pub.pem") {
                VerifyingKey::from_public_key_pem(&text).map_err(|e| not_a_key(e.to_string()))?
            } else {
                let key = SigningKey::from_pkcs8_pem(&text).map_err(|e| not_a_key(e.to_string()))?;
                let public = key.verifying_key();
                found.private.insert(name.trim_end_matches(".pem").to_owned(), key);
                public
            };
            let public = PublicKey::new(public.as_bytes()).map_err(|e| not_a_key(e.to_string()))?;
            if !found.public.contains(&public) {
                found.public.push(public);
            }
        }
        Ok(found)
    }

    fn active(&self, directory: &Path, configured: Option<&str>) -> Result<GrantKey, RefuseGrantKeys> {
        let refuse = |why: String| Err(RefuseGrantKeys::Active { directory: directory.to_owned(), why });
        let named = self.active.as_deref().or(configured);
        let key = match (named, self.private.len()) {
            (_, 0) => return refuse("there is no private key: make one with `plimsoll issuer-key`".to_owned()),
            (None, 1) => self.private.values().next(),
            (None, n) => {
                return refuse(format!("there are {n} private keys: write the name of the one that signs to `active`"));
            }
            (Some(name), _) => self.private.get(name),
        };
        match key {
            Some(key) => Ok(GrantKey { kid: kid(&Signer::public(key)), key: key.clone() }),
            None => refuse(format!("there is no {}.pem, which should sign", named.unwrap_or_default())),
        }
    }
}

/// The files that matter, with what tells that one changed.
fn stamp(directory: &Path) -> Result<Vec<(PathBuf, SystemTime, u64)>, RefuseGrantKeys> {
    let io = |path: &Path, source| RefuseGrantKeys::Io { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|e| io(directory, e))? {
        let path = entry.map_err(|e| io(directory, e))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || !(name == "active" || name.ends_with(".pem")) {
            continue;
        }
        // Through links: secrets are often mounted as links.
        let metadata = std::fs::metadata(&path).map_err(|e| io(&path, e))?;
        let changed = metadata.modified().map_err(|e| io(&path, e))?;
        files.push((path, changed, metadata.len()));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::pkcs8::EncodePrivateKey as _;

    use super::*;

    fn write(directory: &Path, name: &str, seed: u8) -> String {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let pem = key.to_pkcs8_pem(Default::default()).expect("encodes");
        std::fs::write(directory.join(format!("{name}.pem")), pem.as_bytes()).expect("writes");
        kid(&Signer::public(&key))
    }

    fn config(directory: &Path) -> Issuer {
        Issuer { keys: Some(directory.to_owned()), retire_h: 168, ..Issuer::default() }
    }

    #[test]
    fn a_key_id_is_the_one_that_the_command_line_tool_writes() {
        let key = SigningKey::from_bytes(&[1; 32]);
        assert_eq!(kid(&Signer::public(&key)), "7ab6b86cb2c9684b");
    }

    #[test]
    fn a_rotation_changes_who_signs_and_keeps_the_old_key_published_until_nothing_under_it_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Clock::standing_at(UtcSeconds(1_000_000));
        let old = write(directory.path(), "2026-05", 1);
        let keys = GrantKeys::open(&config(directory.path()), clock.clone()).expect("opens");
        assert_eq!(keys.signing().expect("one key").kid(), old);
        assert!(!keys.reload().expect("reads"), "nothing changed");

        // The new key is published first; nobody said that it signs.
        let new = write(directory.path(), "2026-11", 2);
        assert!(matches!(keys.reload(), Err(RefuseGrantKeys::Active { .. })), "two keys, and none is named");
        assert_eq!(keys.signing().expect("stays").kid(), old);
        std::fs::write(directory.path().join("active"), "2026-05\n").expect("writes");
        assert!(keys.reload().expect("reads"));
        let published = keys.published().expect("two");
        assert!(published.get(&old).is_some() && published.get(&new).is_some());

        let held = keys.signing().expect("the old one");
        std::fs::write(directory.path().join("active"), "2026-11").expect("writes");
        assert!(keys.reload().expect("reads"));
        assert_eq!(keys.signing().expect("the new one").kid(), new);
        let signature = Signer::sign(&*held, b"begun before").expect("signs");
        let published = keys.published().expect("two");
        assert_eq!(published.get(held.kid()).expect("still there").verify(b"begun before", &signature), Ok(()));

        std::fs::remove_file(directory.path().join("2026-05.pem")).expect("removes");
        assert!(keys.reload().expect("reads"));
        clock.set(UtcSeconds(1_000_000 + 168 * 3_600 - 1));
        assert!(!keys.reload().expect("reads"));
        assert!(keys.published().expect("two").get(&old).is_some());
        clock.set(UtcSeconds(1_000_000 + 168 * 3_600));
        assert!(keys.reload().expect("reads"));
        assert!(keys.published().expect("one").get(&old).is_none());
        assert!(keys.published().expect("one").get(&new).is_some());
    }

    #[test]
    fn a_directory_that_went_bad_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Clock::standing_at(UtcSeconds(0));
        assert!(matches!(
            GrantKeys::open(&config(directory.path()), clock.clone()),
            Err(RefuseGrantKeys::Active { .. })
        ));
        let kid = write(directory.path(), "a", 1);
        let keys = GrantKeys::open(&config(directory.path()), clock).expect("opens");
        std::fs::write(directory.path().join("b.pem"), "half a key").expect("writes");
        assert!(matches!(keys.reload(), Err(RefuseGrantKeys::NotAKey { path, .. }) if path.ends_with("b.pem")));
        std::fs::remove_file(directory.path().join("b.pem")).expect("removes");
        std::fs::write(directory.path().join("active"), "gone").expect("writes");
        assert!(matches!(keys.reload(), Err(RefuseGrantKeys::Active { .. })));
        assert_eq!(keys.signing().expect("stays").kid(), kid);
        assert!(!format!("{:?}", keys).contains("SigningKey"), "no secret is shown");
    }
}
