//! The writer of the TUF repository: a model, its policy and golden vectors become a signed release.
//!
//! ```text
//! what is there ─► verified ─► what is offered passed its check ─► new targets, snapshot, timestamp, signed ─► plan ─► files,
//!                  existing    or was overridden: overrule                      metadata                      timestamp last
//! ```
//!
//! ```text
//! <repo>/metadata/1.root.json  2.root.json …  N.targets.json  N.snapshot.json  timestamp.json
//! <repo>/targets/models/<sha256>.<model_id>.onnx  .policy.json  .golden.json  .check.json  .override.json
//! ```
//!
//! Versions rise from what is there; what is there is verified first. Files of the past stay. Metadata
//! files are OLPC canonical JSON as a whole, so they have one spelling and a device can insist on it.
//! One publisher at a time: two at once would give one version to two releases.
//!
//! Source: The Update Framework specification 1.0.34, sections 4 and 6.

mod refuse;

mod metadata;

mod existing;

mod overrule;

mod plan;

use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::{MODEL_BYTES_MAX, Release, SCHEMA, sha256_hex};

use self::existing::{Current, Existing, target_file};
use self::metadata::{Body, Hashes, Pin, Root, SPEC_VERSION, Snapshot, TargetFile, Targets, Timestamp, expiry, sign};
use self::overrule::require_ground;
use crate::check::{BadChecked, published};
use crate::keys::{Holders, SigningKey};

pub(crate) use plan::put;

pub use metadata::{Role, Terms};
pub use overrule::{BadOverride, OVERRIDE_FILE, Override};
pub use plan::{FileWrite, Plan, Published, PublishedRole};
pub use refuse::PublishError;

/// Bytes a policy may have; the edge refuses more.
pub const POLICY_BYTES_MAX: u64 = 256 * 1024;
/// Bytes golden vectors may have; the edge refuses more.
pub const GOLDEN_BYTES_MAX: u64 = 512 * 1024;

/// The files of a release, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The ONNX file.
    pub model: &'a [u8],
    /// The policy it was certified under.
    pub policy: &'a [u8],
    /// Transactions in, limits out.
    pub golden: &'a [u8],
    /// `check.json`: what [`crate::check::check`] found of these very files.
    pub check: &'a [u8],
    /// `override.json`, where something did not pass and the risk officer answers for it.
    pub overridden: Option<&'a [u8]>,
}

/// Starts a repository: writes `metadata/1.root.json`, and returns its bytes, which devices pin.
///
/// # Errors
/// `AlreadyThere`, `TooFewHolders`, `ThresholdNotMet` or `Io`.
pub fn init_root(
    repo: &Path,
    holders: &Holders,
    keys: &[SigningKey],
    now: UtcSeconds,
    terms: &Terms,
) -> Result<Vec<u8>, PublishError> {
    if repo.join(Role::Root.file(1)).exists() {
        return Err(PublishError::AlreadyThere { path: repo.to_owned() });
    }
    let root = Root::new(1, holders, now, terms)?;
    let bytes = sign(root.clone(), keys, &[&root])?;
    let mut draft = Draft::new(repo);
    draft.metadata(&root, bytes.clone());
    draft.plan().commit()?;
    Ok(bytes)
}

/// Publishes a release: plans and commits it.
///
/// # Errors
/// Those of [`plan_release`], and `Io`.
pub fn release(
    repo: &Path,
    keys: &[SigningKey],
    release: &Release,
    files: Files<'_>,
    now: UtcSeconds,
    terms: &Terms,
) -> Result<Published, PublishError> {
    plan_release(repo, keys, release, files, now, terms)?.commit()
}

/// What [`release`] will write. The other model lines of the repository stay as they are.
///
/// # Errors
/// `ThresholdNotMet` when keys of targets, snapshot or timestamp are missing; `Damaged`,
/// `NothingThere` or `RootExpired` for what is there; `NotNewer`, `RollbackIndexFell`, `WrongSchema`,
/// `WrongHash`, `TooLarge`, `BadModelId` or `NotCanonical` for what is offered; `Check`, `CheckFailed` or `Override` when
/// it did not pass.
pub fn plan_release(
    repo: &Path,
    keys: &[SigningKey],
    release: &Release,
    files: Files<'_>,
    now: UtcSeconds,
    terms: &Terms,
) -> Result<Plan, PublishError> {
    let manifest = &release.manifest;
    require_consistent(release, files)?;
    let Existing { root, current, .. } = Existing::read(repo)?;
    require_fresh(&root, now)?;
    if let Some(published) = current.as_ref().map(|c| c.release(&manifest.model_path())).transpose()?.flatten() {
        require_newer(&published, release)?;
    }
    let (checked, overridden) = require_ground(files.check, files.overridden, &root)?;
    for (name, bytes) in published(release, files.model, files.policy, files.golden) {
        if checked.files.get(name) != Some(&sha256_hex(&bytes)) {
            return Err(BadChecked::Stale { file: name.to_owned() }.into());
        }
    }

    let mut draft = Draft::new(repo);
    let mut targets = current.as_ref().map(|c| c.targets.targets.clone()).unwrap_or_default();
    let custom = serde_json::to_value(release)
        .map_err(|error| PublishError::NotCanonical { what: Role::Targets, reason: error.to_string() })?;
    // An override is for one release: the next one of this line stands on its own.
    targets.remove(&override_path(&manifest.model_id));
    let override_file = overridden.and(files.overridden).map(|bytes| (override_path(&manifest.model_id), bytes, None));
    let artifact = [
        (manifest.model_path(), files.model, Some(custom)),
        (manifest.policy_path(), files.policy, None),
        (manifest.golden_path(), files.golden, None),
        (check_path(&manifest.model_id), files.check, None),
    ];
    for (path, bytes, custom) in artifact.into_iter().chain(override_file) {
        let hashes = Hashes::of(bytes);
        draft.file(target_file(&path, &hashes), bytes.to_vec());
        targets.insert(path, TargetFile { length: bytes.len() as u64, hashes, custom });
    }
    draft.root(&root);
    let pin = draft.targets(targets, current.as_ref(), &root, keys, now, terms)?;
    draft.online(pin, current.as_ref(), &root, keys, now, terms)?;
    Ok(draft.plan())
}

/// Signs the current release again with the online key, before snapshot or timestamp expire.
///
/// # Errors
/// `ThresholdNotMet`, `Damaged`, `NothingThere`, `RootExpired` or `Io`.
pub fn refresh_timestamp(
    repo: &Path,
    keys: &[SigningKey],
    now: UtcSeconds,
    terms: &Terms,
) -> Result<Published, PublishError> {
    let Existing { root, current, .. } = Existing::read(repo)?;
    require_fresh(&root, now)?;
    let current = current.ok_or_else(|| PublishError::NothingThere { path: repo.to_owned(), what: "release" })?;
    let mut draft = Draft::new(repo);
    draft.root(&root);
    let pin = draft.same_targets(&current, &root, keys, now, terms)?;
    draft.online(pin, Some(&current), &root, keys, now, terms)?;
    draft.plan().commit()
}

/// Publishes the next root: other keys, or the same ones for another year. Signed by the old and by the
/// new threshold; what the old keys had signed is signed again by the new ones.
///
/// Where the online or targets keys change, the root and the timestamp must change together and two
/// renames cannot: a device that comes in between refuses and tries again. If this is interrupted
/// there, [`refresh_timestamp`] (with the new keys) completes it.
///
/// # Errors
/// `TooFewHolders`, `ThresholdNotMet`, `Damaged`, `NothingThere` or `Io`.
pub fn rotate_root(
    repo: &Path,
    holders: &Holders,
    keys: &[SigningKey],
    now: UtcSeconds,
    terms: &Terms,
) -> Result<Published, PublishError> {
    let Existing { root: old, current, .. } = Existing::read(repo)?;
    let root = Root::new(next(Some(&old))?, holders, now, terms)?;
    let bytes = sign(root.clone(), keys, &[&old, &root])?;
    let mut draft = Draft::new(repo);
    match &current {
        None => draft.metadata(&root, bytes),
        Some(current) => {
            let pin = draft.same_targets(current, &root, keys, now, terms)?;
            draft.online(pin, Some(current), &root, keys, now, terms)?;
            // After the files it leads to, before the timestamp that only it makes valid.
            let last = draft.writes.pop().expect("`online` writes the timestamp last");
            draft.metadata(&root, bytes);
            draft.writes.push(last);
        }
    }
    draft.plan().commit()
}

/// The override that the current release of a model line was published on, if it needed one: signed by the risk officer of
/// this or a former root.
///
/// # Errors
/// `Damaged`, `NothingThere`, `Io`; `Override` when it does not hold.
pub fn overridden(repo: &Path, model_id: &str) -> Result<Option<Override>, PublishError> {
    let Existing { root, former, current } = Existing::read(repo)?;
    let current = current.ok_or_else(|| PublishError::NothingThere { path: repo.to_owned(), what: "release" })?;
    let Some(bytes) = current.target(repo, &override_path(model_id))? else { return Ok(None) };
    let roots: Vec<&Root> = former.iter().chain([&root]).collect();
    Ok(Some(Override::open(&bytes, &roots)?))
}

fn check_path(model_id: &str) -> String {
    format!("models/{model_id}.check.json")
}

fn override_path(model_id: &str) -> String {
    format!("models/{model_id}.override.json")
}

fn require_consistent(release: &Release, files: Files<'_>) -> Result<(), PublishError> {
    let manifest = &release.manifest;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let id = &manifest.model_id;
    if !(1..=64).contains(&id.len()) || !id.chars().all(plain) || id.starts_with(['-', '_', '.']) {
        return Err(PublishError::BadModelId { model_id: id.clone() });
    }
    if [manifest.schema, release.certificate.schema] != [SCHEMA; 2] {
        return Err(PublishError::WrongSchema { expected: SCHEMA });
    }
    for (what, bytes, max) in [
        ("the model", files.model, MODEL_BYTES_MAX),
        ("the policy", files.policy, POLICY_BYTES_MAX),
        ("the golden vectors", files.golden, GOLDEN_BYTES_MAX),
    ] {
        let found = bytes.len() as u64;
        if found > max {
            return Err(PublishError::TooLarge { what, found, max });
        }
    }
    for (what, bytes, named) in
        [("policy", files.policy, &manifest.policy_sha256), ("golden vectors", files.golden, &manifest.golden_sha256)]
    {
        let found = sha256_hex(bytes);
        if found != *named {
            return Err(PublishError::WrongHash { what, named: named.clone(), found });
        }
    }
    Ok(())
}

fn require_newer(published: &Release, offered: &Release) -> Result<(), PublishError> {
    let (published, offered) = (&published.manifest, &offered.manifest);
    let model_id = offered.model_id.clone();
    if offered.model_version <= published.model_version {
        let (published, offered) = (published.model_version, offered.model_version);
        return Err(PublishError::NotNewer { model_id, published, offered });
    }
    if offered.rollback_index < published.rollback_index {
        let (published, offered) = (published.rollback_index, offered.rollback_index);
        return Err(PublishError::RollbackIndexFell { model_id, published, offered });
    }
    Ok(())
}

fn require_fresh(root: &Root, now: UtcSeconds) -> Result<(), PublishError> {
    // Both are RFC 3339 in UTC with four-digit years, which order as text.
    if root.expires <= now.rfc3339() {
        return Err(PublishError::RootExpired { version: root.version, at: root.expires.clone() });
    }
    Ok(())
}

/// The version after that of `current`; 1 when there is none.
fn next<T: Body>(current: Option<&T>) -> Result<u64, PublishError> {
    let version = current.map_or(0, Body::version);
    version.checked_add(1).ok_or_else(|| PublishError::Damaged {
        file: T::ROLE.file(version),
        reason: "no version is left: a thief has signed the last one".to_owned(),
    })
}

/// A plan in the making.
struct Draft {
    directory: std::path::PathBuf,
    writes: Vec<FileWrite>,
    roles: BTreeMap<Role, PublishedRole>,
}

impl Draft {
    fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), writes: Vec::new(), roles: BTreeMap::new() }
    }

    fn file(&mut self, path: String, bytes: Vec<u8>) {
        self.writes.push(FileWrite { path, bytes });
    }

    fn metadata<T: Body>(&mut self, body: &T, bytes: Vec<u8>) {
        self.file(T::ROLE.file(body.version()), bytes);
        self.role(body);
    }

    /// Notes a root that stays.
    fn root(&mut self, root: &Root) {
        self.role(root);
    }

    fn role<T: Body>(&mut self, body: &T) {
        let (role, version, expires) = (T::ROLE, body.version(), body.expires().to_owned());
        self.roles.insert(role, PublishedRole { role, version, expires });
    }

    /// The next targets metadata.
    fn targets(
        &mut self,
        targets: BTreeMap<String, TargetFile>,
        current: Option<&Current>,
        root: &Root,
        keys: &[SigningKey],
        now: UtcSeconds,
        terms: &Terms,
    ) -> Result<Pin, PublishError> {
        let body = Targets {
            kind: Role::Targets.name().to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version: next(current.map(|c| &c.targets))?,
            expires: expiry(now, terms.targets_days),
            targets,
        };
        let bytes = sign(body.clone(), keys, &[root])?;
        let pin = Pin::of(body.version, &bytes);
        self.metadata(&body, bytes);
        Ok(pin)
    }

    /// The targets metadata there is, signed again only where the root gives its role to other keys.
    fn same_targets(
        &mut self,
        current: &Current,
        root: &Root,
        keys: &[SigningKey],
        now: UtcSeconds,
        terms: &Terms,
    ) -> Result<Pin, PublishError> {
        if current.targets_hold_under(root) {
            self.role(&current.targets);
            return Ok(Pin::of(current.targets.version, &current.targets_bytes));
        }
        self.targets(current.targets.targets.clone(), Some(current), root, keys, now, terms)
    }

    /// The next snapshot and timestamp.
    fn online(
        &mut self,
        targets: Pin,
        current: Option<&Current>,
        root: &Root,
        keys: &[SigningKey],
        now: UtcSeconds,
        terms: &Terms,
    ) -> Result<(), PublishError> {
        let snapshot = Snapshot {
            kind: Role::Snapshot.name().to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version: next(current.map(|c| &c.snapshot))?,
            expires: expiry(now, terms.snapshot_days),
            meta: BTreeMap::from([("targets.json".to_owned(), targets)]),
        };
        let bytes = sign(snapshot.clone(), keys, &[root])?;
        let pin = Pin::of(snapshot.version, &bytes);
        self.metadata(&snapshot, bytes);
        let timestamp = Timestamp {
            kind: Role::Timestamp.name().to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version: next(current.map(|c| &c.timestamp))?,
            expires: expiry(now, terms.timestamp_days),
            meta: BTreeMap::from([("snapshot.json".to_owned(), pin)]),
            signed_at: now,
        };
        let bytes = sign(timestamp.clone(), keys, &[root])?;
        self.metadata(&timestamp, bytes);
        Ok(())
    }

    fn plan(self) -> Plan {
        let files = self.writes.iter().map(|w| (w.path.clone(), w.bytes.len() as u64)).collect();
        let published = Published { roles: self.roles.into_values().collect(), files };
        Plan { directory: self.directory, writes: self.writes, published }
    }
}
