//! The release of one model line: its signed facts, then its files by length and SHA-256.

use std::fmt;

use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::{ENGINE, MODEL_BYTES_MAX, Release, SCHEMA};
use serde_json::Value;
use sigstore_tuf::Targets;

use super::refresh::{Refreshed, wrong_bytes};
use super::repository::{find, require};
use super::{Floors, GOLDEN_BYTES_MAX, POLICY_BYTES_MAX, RefuseRelease, Repository, Role, sha256_of};

/// A release whose every byte was signed for, and that this device may install. Its model, policy and
/// golden vectors were not parsed. The only way to get one is [`super::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    release: Release,
    model: Vec<u8>,
    policy: Vec<u8>,
    golden: Vec<u8>,
    model_sha256: String,
    floors: Floors,
    install_until: UtcSeconds,
}

impl Verified {
    /// The signed manifest and certificate.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The bytes of the ONNX file.
    pub fn model(&self) -> &[u8] {
        &self.model
    }

    /// The bytes of the policy file.
    pub fn policy(&self) -> &[u8] {
        &self.policy
    }

    /// The bytes of the golden vectors.
    pub fn golden(&self) -> &[u8] {
        &self.golden
    }

    /// Lower-case hex SHA-256 of the ONNX file.
    pub fn model_sha256(&self) -> &str {
        &self.model_sha256
    }

    /// The floors, raised by this release: to be stored once it is activated, and not before.
    pub fn floors(&self) -> &Floors {
        &self.floors
    }

    /// The earliest expiry of the metadata: from then on the same repository does not install.
    pub fn install_until(&self) -> UtcSeconds {
        self.install_until
    }
}

impl fmt::Debug for Verified {
    /// The facts, without the files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("manifest", &self.release.manifest)
            .field("model_sha256", &self.model_sha256)
            .field("floors", &self.floors)
            .field("install_until", &self.install_until)
            .finish_non_exhaustive()
    }
}

/// The ids of the model lines that a repository carries.
pub(super) fn model_ids(targets: &Targets) -> Vec<String> {
    let id = |path: &String| path.strip_prefix("models/")?.strip_suffix(".onnx").map(str::to_owned);
    targets.targets.keys().filter_map(id).collect()
}

/// Checks the release of `model_id` against this build and the floors, then fetches its files.
pub(super) fn take(
    repo: &dyn Repository,
    refreshed: &Refreshed,
    model_id: Option<&str>,
) -> Result<Verified, RefuseRelease> {
    let targets = refreshed.targets();
    let known = model_ids(targets);
    let model_id = match (model_id, known.as_slice()) {
        (Some(wanted), _) if known.iter().any(|id| id == wanted) => wanted,
        (None, [only]) => only,
        (wanted, _) => {
            return Err(RefuseRelease::UnknownModel { wanted: wanted.map(str::to_owned), known });
        }
    };
    let release = read_custom(targets, model_id)?;
    let manifest = &release.manifest;
    let floor = refreshed.floors.model(model_id);
    let model_id = model_id.to_owned();
    if manifest.rollback_index < floor.rollback_index {
        let (trusted, offered) = (floor.rollback_index, manifest.rollback_index);
        return Err(RefuseRelease::RollbackIndex { model_id, trusted, offered });
    }
    if manifest.model_version < floor.model_version {
        let (trusted, offered) = (floor.model_version, manifest.model_version);
        return Err(RefuseRelease::ModelRollback { model_id, trusted, offered });
    }
    let (model_sha256, model) = fetch_target(repo, targets, &manifest.model_path(), MODEL_BYTES_MAX)?;
    let (policy_sha256, policy) = fetch_target(repo, targets, &manifest.policy_path(), POLICY_BYTES_MAX)?;
    let (golden_sha256, golden) = fetch_target(repo, targets, &manifest.golden_path(), GOLDEN_BYTES_MAX)?;
    if policy_sha256 != manifest.policy_sha256 || golden_sha256 != manifest.golden_sha256 {
        return Err(malformed(targets, "a manifest names another policy or other golden vectors".to_owned()));
    }
    let mut floors = refreshed.floors.clone();
    floors.raise_model(manifest);
    Ok(Verified { release, model, policy, golden, model_sha256, floors, install_until: refreshed.expires })
}

/// The signed `custom` object of a model, if this build can read and run what it describes.
fn read_custom(targets: &Targets, model_id: &str) -> Result<Release, RefuseRelease> {
    let custom = targets.target(&format!("models/{model_id}.onnx")).and_then(|file| file.custom.as_ref());
    let custom = custom.ok_or_else(|| malformed(targets, format!("model {model_id} has no manifest")))?;
    // The schema first: another one may have another shape.
    for part in ["manifest", "certificate"] {
        let found = custom.get(part).and_then(|part| part.get("schema")).and_then(Value::as_u64);
        let found = found.ok_or_else(|| malformed(targets, format!("model {model_id} has no {part} schema")))?;
        if found != u64::from(SCHEMA) {
            return Err(RefuseRelease::WrongSchema { expected: SCHEMA, found });
        }
    }
    // Through text, not `from_value`: its own copy of every deserialiser would be a tenth of the WebAssembly module.
    let text = serde_json::to_vec(custom).expect("a value that was read can be written");
    let release: Release = serde_json::from_slice(&text)
        .map_err(|error| malformed(targets, format!("manifest of {model_id}: {error}")))?;
    let manifest = &release.manifest;
    if manifest.model_id != model_id {
        return Err(malformed(targets, format!("{model_id} has the manifest of {}", manifest.model_id)));
    }
    if manifest.engine_min > ENGINE {
        return Err(RefuseRelease::EngineTooOld { needs: manifest.engine_min, engine: ENGINE });
    }
    if manifest.engine_max < ENGINE {
        return Err(RefuseRelease::EngineTooNew { allows: manifest.engine_max, engine: ENGINE });
    }
    Ok(release)
}

/// A target as it was signed: where it is, how long it is, and its SHA-256.
struct Signed<'a> {
    file: String,
    length: u64,
    sha256: &'a str,
}

impl<'a> Signed<'a> {
    /// A signed length above `max` is refused before anything is fetched.
    fn new(targets: &'a Targets, path: &str, max: u64) -> Result<Self, RefuseRelease> {
        let signed = targets.target(path);
        let signed = signed.ok_or_else(|| malformed(targets, format!("it does not list {path}")))?;
        let sha256 = signed.hashes.get("sha256").filter(|hash| hash.bytes().all(|c| c.is_ascii_hexdigit()));
        let sha256 = sha256.ok_or_else(|| malformed(targets, format!("{path} has no SHA-256")))?;
        // Consistent snapshots: the hash goes before the file name.
        let file = match path.rsplit_once('/') {
            Some((directory, name)) => format!("targets/{directory}/{sha256}.{name}"),
            None => format!("targets/{sha256}.{path}"),
        };
        if signed.length > max {
            return Err(RefuseRelease::TooLarge { file, max });
        }
        Ok(Self { file, length: signed.length, sha256 })
    }

    fn require(&self, bytes: &[u8]) -> Result<(), RefuseRelease> {
        if bytes.len() as u64 == self.length && sha256_of(bytes) == self.sha256 {
            return Ok(());
        }
        Err(wrong_bytes(&self.file, self.length, bytes.len() as u64))
    }
}

/// The file of a target of at most `max` bytes, and its SHA-256.
pub(super) fn fetch_target(
    repo: &dyn Repository,
    targets: &Targets,
    path: &str,
    max: u64,
) -> Result<(String, Vec<u8>), RefuseRelease> {
    let signed = Signed::new(targets, path, max)?;
    let bytes = require(repo, &signed.file, signed.length)?;
    signed.require(&bytes)?;
    Ok((signed.sha256.to_owned(), bytes))
}

/// That the file of a target is as it was signed, if the repository still has it.
pub(super) fn check_target(
    repo: &dyn Repository,
    targets: &Targets,
    path: &str,
    max: u64,
) -> Result<(), RefuseRelease> {
    let signed = Signed::new(targets, path, max)?;
    find(repo, &signed.file, signed.length)?.map_or(Ok(()), |bytes| signed.require(&bytes))
}

fn malformed(targets: &Targets, reason: String) -> RefuseRelease {
    RefuseRelease::Malformed { file: format!("metadata/{}.{}.json", targets.version, Role::Targets), reason }
}
