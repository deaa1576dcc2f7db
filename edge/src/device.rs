//! A whole device: the model that runs, the wallet that pays, over one storage.
//!
//! ```text
//! repository ─► install ─► Slots ─► model ─┐ lowers only
//! grant ──────► accept ──► Wallet ─────────┴─► limit ─► authorise(request) ─► payment
//! ```
//!
//! What ties them together is little, and is here so that no app gets it wrong: the model decides from the features
//! that the issuer signed into the grant, its decision only lowers what the grant allows, signed times of either count
//! for both, and an evaluation that came to its end counts for a model on trial.

use plimsoll_model::decision::Decision as Modelled;
use plimsoll_model::features::FeatureVector;
use plimsoll_model::grant::{Form, IssuerKeys, PaymentRequest, Signer};
use plimsoll_model::{Age, Money, UtcSeconds};
use serde::Serialize;

use crate::slots::{FloorReason, Installed, PullBack, RefuseInstall, Report, Running, Settings, Slots};
use crate::storage::{Storage, StorageError};
use crate::trust::Repository;
use crate::wallet::{
    Accepted, Allowance, Anchor, Decision, Identity, Presence, Status as WalletStatus, Wallet, WalletError,
};

/// A payer's device.
#[derive(Debug)]
pub struct Device<S, A, D> {
    slots: Slots<S>,
    wallet: Wallet<S, A, D>,
    /// Features of the device's own history, as of the last sync.
    features: Option<FeatureVector>,
}

/// What a device tells whoever asks, and the issuer at the next sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What runs here, and what is refused here.
    pub models: Report,
    /// Where the counters stand.
    pub wallet: WalletStatus,
    /// What may be spent now.
    pub allowance: Allowance,
}

impl<S: Storage + Clone, A: Anchor, D: Signer> Device<S, A, D> {
    /// Opens what the storage holds, or begins anew.
    ///
    /// * `settings`, `identity`, `keys`: what the app was built with, whose wallet it is, and the issuer's keys.
    /// * `entropy`: drawn at random for this call; see [`Wallet::open`].
    /// * `wall`: the wall clock.
    ///
    /// # Errors
    /// [`WalletError`] when the device does not answer now.
    #[allow(clippy::too_many_arguments)] // each is another of the device's parts
    pub fn open(
        storage: S,
        anchor: A,
        device: D,
        settings: Settings,
        identity: Identity,
        keys: IssuerKeys,
        entropy: [u8; 16],
        wall: UtcSeconds,
    ) -> Result<Self, WalletError> {
        let slots = Slots::open(storage.clone(), settings, wall)?;
        let wallet = Wallet::open(storage, anchor, device, identity, keys, entropy)?;
        Ok(Self { slots, wallet, features: None })
    }

    /// Installs the newest release of the device's model line.
    ///
    /// # Errors
    /// [`RefuseInstall`]; what ran before runs on.
    pub fn install(&mut self, repo: &dyn Repository, wall: UtcSeconds) -> Result<Installed, RefuseInstall> {
        self.slots.install(repo, wall)
    }

    /// Takes the active model back, for good.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn pull_back(&mut self, why: PullBack, wall: UtcSeconds) -> Result<(), StorageError> {
        self.slots.pull_back(why, wall)
    }

    /// Accepts a grant.
    ///
    /// # Errors
    /// [`WalletError`]; see [`Wallet::accept`].
    pub fn accept(&mut self, grant: &[u8], wall: UtcSeconds) -> Result<Accepted, WalletError> {
        let accepted = self.wallet.accept(grant, wall)?;
        if let Some(grant) = self.wallet.grant() {
            // If this cannot be stored it counts until the process ends, and the wallet remembers it anyway.
            let _ = self.slots.heard_signed_time(grant.iat);
        }
        // Features of an earlier sync are those of another balance.
        self.features = None;
        Ok(accepted)
    }

    /// Uses features of the device's own history instead of those in the grant: a snapshot as of the grant's `iat`.
    pub fn use_features(&mut self, features: FeatureVector) {
        self.features = Some(features);
    }

    /// What may be spent now, and why not more.
    ///
    /// # Errors
    /// [`WalletError`] when the state cannot be read.
    pub fn limit(&mut self, wall: UtcSeconds) -> Result<Allowance, WalletError> {
        let own = self.own(wall);
        self.wallet.limit(wall, own.as_ref())
    }

    /// What will remain at each age of the grant's curve if nothing more is paid, for drawing.
    ///
    /// # Errors
    /// [`WalletError`] when the state cannot be read.
    pub fn curve(&mut self) -> Result<Vec<(Age, Money)>, WalletError> {
        let Some(grant) = self.wallet.grant() else { return Ok(Vec::new()) };
        let (from, last) = (grant.iat, grant.exp.plus(-1));
        let ages: Vec<Age> = grant.limit.points().iter().map(|p| p.0).collect();
        // A grant may end at the very age of its last point: what counts there is the second before.
        ages.into_iter().map(|age| Ok((age, self.limit(last.min(from.plus(age.seconds())))?.remaining))).collect()
    }

    /// Decides on a payment request, and pays.
    ///
    /// # Errors
    /// [`WalletError`]; see [`Wallet::authorise`].
    pub fn authorise(
        &mut self,
        request: &PaymentRequest,
        wall: UtcSeconds,
        presence: Presence,
        form: Form,
    ) -> Result<Decision, WalletError> {
        let own = self.own(wall);
        let decision = self.wallet.authorise(request, wall, presence, own.as_ref(), form)?;
        if own.is_some() && matches!(self.slots.running(wall), Running::Model(_)) {
            // An evaluation that is not counted leaves the model on trial for longer: no harm.
            let _ = self.slots.evaluated();
        }
        Ok(decision)
    }

    /// Where everything stands.
    ///
    /// # Errors
    /// [`WalletError`] when the state cannot be read.
    pub fn status(&mut self, wall: UtcSeconds) -> Result<Status, WalletError> {
        let allowance = self.limit(wall)?;
        Ok(Status { models: self.slots.report(wall), wallet: self.wallet.status(), allowance })
    }

    /// The models.
    pub fn slots(&self) -> &Slots<S> {
        &self.slots
    }

    /// The wallet.
    pub fn wallet(&self) -> &Wallet<S, A, D> {
        &self.wallet
    }

    /// What the device's own model allows. `None` where the grant stands alone: nothing was ever installed here, or
    /// there are no features to decide from. A model that was installed and may not run any more gives the static floor.
    fn own(&self, wall: UtcSeconds) -> Option<Modelled> {
        let running = self.slots.running(wall);
        if matches!(running, Running::Floor { reason: FloorReason::NothingInstalled, .. }) {
            return None;
        }
        let features = self.features.clone().or_else(|| self.wallet.grant().and_then(|grant| grant.features()))?;
        let situation = self.wallet.situation(wall)?;
        Some(running.decide(&features, &situation, self.slots.engine_time(wall).now))
    }
}
