//! Which model decides for whom: releases come in, are tried by a few, then by all, or are pulled back.
//!
//! ```text
//! TUF repository ─► audit, verify, golden vectors ─► archive ─► rings ─► for_account ─► Active ─► rules, grants
//!                       refused: what was served goes on           │
//!                                                                  └─► delivery: each account's devices see its release
//! ```
//!
//! A request takes an [`Active`] and keeps it to its end; a reload puts a new table in place and touches no request. The
//! release that decides for an account is the newest whose ring holds it, that was not pulled back here and not withdrawn
//! by its signers. Where there is none, the programme's static floor decides.

mod active;

mod archive;

mod promise;

mod reload;

mod rollout;

mod score_policy;

mod stored;

pub mod delivery;

pub mod replicas;

#[cfg(test)]
#[path = "../../../edge/tests/signer/mod.rs"]
#[allow(dead_code)] // the edge's tests use the rest
mod signer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use plimsoll_edge::trust::{Floors, TrustedRoot};
use plimsoll_model::UtcSeconds;
use plimsoll_model::policy::Policy;
use plimsoll_model::quantile::Ppm;
use sha2::{Digest as _, Sha256};

pub use active::{Active, Released};
pub use archive::ArchiveError;
pub use promise::{Promises, Watched};
pub use reload::{RefuseReload, Reloaded};
pub use rollout::{COMPARED_MIN, Compared, Digest, EVERYONE, Pulled, RefuseMove, Ring, Rollout, place};
pub use score_policy::{Limits, ModelFile, ScorePolicy, TierPolicy};

use crate::record::AccountId;
use archive::Archive;

/// Accounts per release whose comparison is remembered, so that each counts once; more change nothing any more.
const HEARD_MAX: usize = 200_000;

/// Where releases come from, and what decides without one.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The repository, and the root that is trusted; none for a service that runs on the static floor.
    pub source: Option<Source>,
    /// A directory of this process's own for what it keeps, see `archive`.
    pub archive: PathBuf,
    /// The programme: its floor decides where no model may.
    pub policy: Policy,
    /// Mixed into places in rings; the same on every replica.
    pub ring_seed: String,
    /// This replica's name: counts are kept by it.
    pub replica: String,
    /// What one lost window takes off the limits of its tier; none for no margin. The same on every replica.
    pub margin_gain: Option<Ppm>,
}

/// A TUF repository in a directory.
#[derive(Clone, Debug)]
pub struct Source {
    /// Holds `metadata` and `targets`.
    pub directory: PathBuf,
    /// The root this service was given.
    pub root: TrustedRoot,
    /// Which model line; may be left out where there is only one.
    pub model_id: Option<String>,
}

/// The releases of a service. Cheap to clone, safe to share.
#[derive(Clone, Debug)]
pub struct Models(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    /// What requests read: replaced as a whole.
    serving: RwLock<Arc<Serving>>,
    /// What changes it: one at a time.
    state: Mutex<State>,
}

/// What decides now.
#[derive(Debug)]
struct Serving {
    /// Newest first; the last is everybody's, unless only the floor is.
    live: Vec<Live>,
    floor: Arc<Active>,
    /// What devices fetch.
    files: delivery::Files,
}

#[derive(Debug)]
struct Live {
    digest: Digest,
    share_ppm: u32,
    active: Arc<Active>,
}

#[derive(Debug)]
struct State {
    archive: Archive,
    floors: Floors,
    rollout: Rollout,
    /// Something of it is not on disk yet.
    unsaved: bool,
    loaded: BTreeMap<Digest, Arc<Active>>,
    unloaded: BTreeMap<Digest, String>,
    /// Of each release, which accounts compared it, and whether they ever disagreed.
    heard: BTreeMap<Digest, HashMap<u64, bool>>,
    /// As last read from the store.
    promises: Promises,
    repository: reload::Seen,
}

/// What is known of a release, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReleaseStatus {
    /// SHA-256 of its model.
    pub digest: Digest,
    /// How far it has come.
    pub ring: Ring,
    /// What devices said, all replicas together.
    pub compared: Compared,
    /// It decides for some accounts now.
    pub deciding: bool,
    /// Its signers withdrew it.
    pub withdrawn: bool,
    /// Why this replica cannot run it.
    pub unavailable: Option<String>,
}

/// What is known of all of them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Newest first.
    pub releases: Vec<ReleaseStatus>,
    /// When the repository was last taken in, or found unchanged.
    pub checked_at: Option<UtcSeconds>,
    /// Why it was refused then, if it was: what was served goes on.
    pub refused: Option<String>,
}

impl Models {
    /// Opens the archive, makes what it holds ready, and takes the repository in.
    ///
    /// A repository that is refused does not keep the service from starting: what the archive holds decides, or the
    /// static floor, and [`Models::status`] says why.
    ///
    /// * `known`: how far other replicas know the releases to be.
    ///
    /// # Errors
    /// [`ArchiveError`] when the archive cannot be used, or has lost its floors: without them an old release would come in.
    pub fn open(settings: Settings, known: &Rollout, now: UtcSeconds) -> Result<Self, ArchiveError> {
        let archive = Archive::open(&settings.archive)?;
        let (floors, mut rollout) = archive.state_of_start()?;
        rollout.merge(known);
        let floor = Arc::new(Active::floor(settings.policy.clone()));
        archive.keep_policy(&floor.policy_sha256(), &settings.policy)?;
        let state = State {
            archive,
            floors,
            rollout,
            unsaved: true,
            loaded: BTreeMap::new(),
            unloaded: BTreeMap::new(),
            heard: BTreeMap::new(),
            promises: Promises::default(),
            repository: reload::Seen::default(),
        };
        let serving = RwLock::new(Arc::new(Serving { live: Vec::new(), floor, files: delivery::Files::new() }));
        let models = Self(Arc::new(Shared { settings, serving, state: Mutex::new(state) }));
        models.put_in_place(&mut models.state());
        let _ = models.reload(now);
        Ok(models)
    }

    /// What decides for an account now.
    pub fn for_account(&self, account: &AccountId) -> Arc<Active> {
        let serving = self.serving();
        let seed = &self.0.settings.ring_seed;
        let holds = |live: &&Live| live.share_ppm >= EVERYONE || place(seed, &live.digest, account) < live.share_ppm;
        serving.live.iter().find(holds).map_or_else(|| serving.floor.clone(), |live| live.active.clone())
    }

    /// What decides for accounts outside every ring: what strangers are shown, and what holds where no account is asked
    /// about.
    pub fn for_everyone(&self) -> Arc<Active> {
        let serving = self.serving();
        let live = serving.live.iter().find(|live| live.share_ppm >= EVERYONE);
        live.map_or_else(|| serving.floor.clone(), |live| live.active.clone())
    }

    /// A release by the SHA-256 of its model, whether or not it decides for anybody; reads the archive when it is not
    /// in use.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn by_digest(&self, digest: &Digest) -> Result<Arc<Active>, ArchiveError> {
        let state = self.state();
        if let Some(active) = state.loaded.get(digest) {
            return Ok(active.clone());
        }
        let (archive, rollout) = (state.archive.clone(), state.rollout.clone());
        drop(state);
        let root = self.0.settings.source.as_ref().map(|s| &s.root);
        Archived { archive, rollout, root: root.cloned() }.release(digest).map(Arc::new)
    }

    /// Takes in what a device says about a release: whether it came to the limit that the server came to.
    ///
    /// Each account counts once. When devices disagree too often (`rollout.mismatch_max` of the release's policy, from
    /// [`COMPARED_MIN`] accounts on) and an older release can take over, the release is pulled back.
    ///
    /// * returns why, when this observation pulled it back.
    pub fn compared(&self, account: &AccountId, release: &Digest, equal: bool, now: UtcSeconds) -> Option<Pulled> {
        let mut state = self.state();
        let share_max = state.loaded.get(release)?.policy().rollout.mismatch_max.get();
        let heard = state.heard.entry(*release).or_default();
        let hash = Sha256::digest(account.as_str());
        let key = u64::from_le_bytes(std::array::from_fn(|i| hash[i]));
        let before = heard.get(&key).copied();
        if before.is_none() && heard.len() >= HEARD_MAX {
            return None;
        }
        heard.insert(key, before.unwrap_or(false) || !equal);
        let news = (before.is_none(), !equal && before != Some(true));
        if news == (false, false) {
            return None;
        }
        let counted = state.rollout.compare(release, &self.0.settings.replica, news);
        state.unsaved = true;
        if !counted.exceeds(share_max) || !state.has_substitute(release) {
            return None;
        }
        let why = format!("{} of {} accounts' devices computed another limit", counted.unequal, counted.accounts);
        let pulled = Pulled { at: now, why };
        let model_version = state.rollout.ring(release)?.model_version;
        state.rollout.pull_back(model_version, pulled.clone()).ok()?;
        self.put_in_place(&mut state);
        Some(pulled)
    }

    /// Gives a release to more accounts.
    ///
    /// # Errors
    /// [`RefuseMove`].
    pub fn widen(&self, model_version: u64, share_ppm: u32) -> Result<(), RefuseMove> {
        let mut state = self.state();
        state.rollout.widen(model_version, share_ppm)?;
        self.put_in_place(&mut state);
        Ok(())
    }

    /// Takes a release back, for good: the one before it decides again, or the static floor.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn pull_back(&self, model_version: u64, pulled: Pulled) -> Result<(), RefuseMove> {
        let mut state = self.state();
        state.rollout.pull_back(model_version, pulled)?;
        self.put_in_place(&mut state);
        Ok(())
    }

    /// How far releases have come, to tell other replicas.
    pub fn rollout(&self) -> Rollout {
        self.state().rollout.clone()
    }

    /// Takes in how far other replicas know releases to be.
    ///
    /// * returns both together, to be stored where they look.
    pub fn merge(&self, theirs: &Rollout) -> Rollout {
        let mut state = self.state();
        let before = state.rollout.clone();
        state.rollout.merge(theirs);
        if state.rollout != before {
            self.put_in_place(&mut state);
        }
        state.rollout.clone()
    }

    /// What is known of all releases.
    pub fn status(&self) -> Status {
        let state = self.state();
        let serving = self.serving();
        let mut releases: Vec<ReleaseStatus> = state
            .rollout
            .rings()
            .map(|(digest, ring)| ReleaseStatus {
                digest: *digest,
                ring: ring.clone(),
                compared: ring.compared(),
                deciding: serving.live.iter().any(|live| live.digest == *digest),
                withdrawn: state.is_withdrawn(ring),
                unavailable: state.unloaded.get(digest).cloned(),
            })
            .collect();
        releases.sort_by_key(|r| std::cmp::Reverse(r.ring.model_version));
        Status { releases, checked_at: state.repository.checked_at, refused: state.repository.refused.clone() }
    }

    /// Every release that decides for somebody now, newest first.
    pub fn deciding(&self) -> Vec<Arc<Active>> {
        self.serving().live.iter().map(|live| live.active.clone()).collect()
    }

    /// The programme's rules where no model decides.
    pub fn floor(&self) -> Arc<Active> {
        self.serving().floor.clone()
    }

    /// A file of the repository, but for the timestamp.
    fn file(&self, path: &str) -> Option<Arc<stored::Stored>> {
        self.serving().files.get(path).cloned()
    }

    fn serving(&self) -> Arc<Serving> {
        self.0.serving.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what the rollout says the truth: loads, saves, and puts a new table in place.
    fn put_in_place(&self, state: &mut State) {
        state.unsaved = true;
        let live = self.0.settings.source.as_ref().map_or_else(Vec::new, |source| state.live(&source.root));
        state.steer();
        let before = self.serving();
        let released = live.iter().filter_map(|live| live.active.released());
        let others = state.repository.files.iter().map(|(path, bytes)| (path.as_str(), bytes));
        let files = delivery::files(&before.files, released.flat_map(Released::files), others);
        let serving = Serving { live, floor: before.floor.clone(), files };
        *self.0.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(serving);
        state.save();
    }
}

impl State {
    /// The releases that decide, newest first, down to the first that is everybody's. One that cannot be loaded is passed
    /// over while it is tried; one that is everybody's leaves the floor: nobody said that an older one may decide.
    fn live(&mut self, root: &TrustedRoot) -> Vec<Live> {
        let mut rings: Vec<(Digest, Ring)> = self.rollout.rings().map(|(d, r)| (*d, r.clone())).collect();
        rings.retain(|(_, ring)| ring.pulled.is_none() && !self.is_withdrawn(ring));
        rings.sort_by_key(|(digest, ring)| (std::cmp::Reverse(ring.model_version), *digest));
        let mut live = Vec::new();
        for (digest, ring) in rings {
            if let Some(active) = self.load(&digest, &ring, root) {
                for (tier, granted_ppm) in &ring.granted_ppm {
                    active.lower(*tier, *granted_ppm);
                }
                live.push(Live { digest, share_ppm: ring.share_ppm, active });
            }
            if ring.share_ppm >= EVERYONE {
                break;
            }
        }
        let used: Vec<Digest> = live.iter().map(|l: &Live| l.digest).collect();
        self.loaded.retain(|digest, _| used.contains(digest));
        live
    }

    fn load(&mut self, digest: &Digest, ring: &Ring, root: &TrustedRoot) -> Option<Arc<Active>> {
        if let Some(active) = self.loaded.get(digest) {
            return Some(active.clone());
        }
        match self.archive.release(digest, &ring.model_id, root) {
            Ok(active) => {
                let active = Arc::new(active);
                self.loaded.insert(*digest, active.clone());
                self.unloaded.remove(digest);
                Some(active)
            }
            Err(error) => {
                tracing::error!(model_version = ring.model_version, %error, "a release cannot be used");
                self.unloaded.insert(*digest, error.to_string());
                None
            }
        }
    }

    /// Whether its signers forbade it since.
    fn is_withdrawn(&self, ring: &Ring) -> bool {
        ring.rollback_index < self.floors.model(&ring.model_id).rollback_index
    }

    /// Whether an older release can take over.
    fn has_substitute(&self, release: &Digest) -> bool {
        let Some(ring) = self.rollout.ring(release) else { return false };
        let may = |older: &Ring| {
            older.model_version < ring.model_version && older.pulled.is_none() && !self.is_withdrawn(older)
        };
        self.rollout.rings().any(|(_, older)| may(older) && older.share_ppm >= EVERYONE)
    }

    /// Keeps what moves. Where that fails it is tried again with the next change and the next look at the repository.
    fn save(&mut self) {
        if !self.unsaved {
            return;
        }
        match self.archive.keep_rollout(&self.rollout) {
            Ok(()) => self.unsaved = false,
            Err(error) => tracing::error!(%error, "how far releases have come is not saved yet"),
        }
    }
}

/// What an archive holds, for whoever decides again what was decided: needs no running service.
#[derive(Clone, Debug)]
pub struct Archived {
    archive: Archive,
    rollout: Rollout,
    root: Option<TrustedRoot>,
}

impl Archived {
    /// Reads the archive of a service, also while it runs.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn open(directory: &std::path::Path, root: Option<TrustedRoot>) -> Result<Self, ArchiveError> {
        let archive = Archive::read_only(directory);
        let rollout = archive.rollout()?;
        Ok(Self { archive, rollout, root })
    }

    /// A release by the SHA-256 of its model.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn release(&self, digest: &Digest) -> Result<Active, ArchiveError> {
        let (Some(ring), Some(root)) = (self.rollout.ring(digest), &self.root) else {
            return Err(ArchiveError::Missing { name: format!("release {digest}") });
        };
        self.archive.release(digest, &ring.model_id, root)
    }

    /// The floor of a policy that decided without a model.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn floor(&self, policy: &Digest) -> Result<Active, ArchiveError> {
        self.archive.policy(policy).map(Active::floor)
    }
}
