//! The offline risk machine of a payer's device: a grant in, payments out.
//!
//! ```text
//!              accept(grant)                        authorise(request)
//!  ┌───────┐  seq above the last   ┌─────────┐   within everything   ┌────────────────┐  durable   ┌──────────┐
//!  │ empty │ ────────────────────► │ granted │ ────────────────────► │ signed, written│ ─────────► │ released │
//!  └───────┘                       └─────────┘ ◄──┐                  └────────────────┘  anchored  └──────────┘
//!      ▲                             │   ▲        │ directive: reset, keep, lock, add
//!      │ file gone, no anchor        │   └────────┘ accept(grant with higher seq)
//!      │                             ▼ damaged, restored, gone though anchored, or a gap in the sequence
//!      │                         ┌────────────┐  a new `wid`: only a grant made for it is accepted
//!      └──────────────────────── │ distrusted │ ───────────────────────────────────────────► granted
//!                                └────────────┘
//! ```
//!
//! A payment is signed, then written with everything it changes in one durable step, then the platform's counter is
//! raised, and only then do its bytes leave this module. A crash before the write forgets a payment nobody saw; a crash
//! after it keeps one that counts as spent, and asking again for the same request gives the same bytes.
//!
//! | bound | what remains at most | it comes back |
//! |---|---|---|
//! | `model` … (`why` of the grant) | the signed curve at the certified age, rounded up | with a new grant |
//! | `own_model` | the device's own model, on its own history: lowers only | as the model says |
//! | `pending` | less what was spent under the grant, and what the issuer had not seen of before | with a new grant |
//! | `tier_cap` | `cap.total` | with a new grant |
//! | `rolling_24h`, `day`, `week` | the cap less what was signed in that window, under any grant | with time |
//! | `per_payment` | `cap.token`, for one payment | |
//! | `count` | nothing, at `cap.count` payments, 128 at most | with a new grant that acknowledges some |
//! | `age` | nothing, past `cap.age` or the curve's last point | with a new grant |
//! | `grant_expired`, `attestation` | nothing, past `exp` or `attested_until` | with a new grant |
//! | `standing`, `new_device`, `manual_wallet` | their caps | with a new grant |
//! | `step_up` | nothing without a proof of presence, above an amount or a sum of payments without proof | with a proof |
//! | `lottery` | nothing of this size before a sync, when the draw says so | with a new grant |
//! | `locked` | nothing: the issuer's directive | with a new grant |
//! | `clock` | nothing, while the wall clock is over 5 minutes behind a signed time | with the right time |
//! | `state`, `sequence` | nothing: what was spent is not known | with a grant for the new `wid` |
//!
//! What this cannot do: keep a holder who controls the whole device from setting its files back. An [`Anchor`] detects
//! that; [`NoAnchor`] says what is left without one.

mod anchor;

mod state;

mod refuse;

mod allowance;

mod accept;

mod authorise;

use plimsoll_model::decision::{Bound, Decision as Modelled, Situation};
use plimsoll_model::grant::{Bytes, Grant, Instance, IssuerKeys, Signer, Thumbprint, Verified};
use plimsoll_model::{Currency, Money, UtcSeconds};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::storage::{Storage, StorageError};
use state::{Head, STATE_BYTES_MAX, State};

pub use accept::Accepted;
pub use allowance::{Advice, Allowance};
pub use anchor::{Anchor, AnchorError, NoAnchor};
pub use authorise::{Decision, Presence};
pub use refuse::{RefuseGrant, RefuseRequest, WalletError};
pub use state::Paid;

/// The wallet's file.
const FILE: &str = "wallet";
/// Where a file that did not read is kept, for whoever looks into it.
const DAMAGED: &str = "wallet.damaged";

/// Whose wallet this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account: `sub` of its grants.
    pub account: String,
    /// The programme: `aud` of its grants.
    pub programme: String,
    /// What it pays in.
    pub currency: Currency,
}

/// Why a wallet does not know what was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distrust {
    /// The file does not read, or is gone although the platform's counter says there was one.
    Lost,
    /// The file is older, or newer, than the platform's counter says.
    Restored,
    /// The issuer has seen payments that the file does not know.
    Gap,
}

impl Distrust {
    const fn code(self) -> u8 {
        match self {
            Self::Lost => 1,
            Self::Restored => 2,
            Self::Gap => 3,
        }
    }

    /// `None` for an unknown code; `Some(None)` for trust.
    const fn of_code(code: u8) -> Option<Option<Self>> {
        Some(match code {
            0 => None,
            1 => Some(Self::Lost),
            2 => Some(Self::Restored),
            3 => Some(Self::Gap),
            _ => return None,
        })
    }

    const fn bound(self) -> Bound {
        match self {
            Self::Lost | Self::Restored => Bound::State,
            Self::Gap => Bound::Sequence,
        }
    }
}

/// What a wallet tells the issuer when it syncs, and whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The life of the state: the next grant must be made for it.
    pub wid: Instance,
    /// Why nothing is spent, if so.
    pub distrust: Option<Distrust>,
    /// The highest grant number accepted.
    pub seq: u64,
    /// The last payment's number.
    pub number: u64,
    /// The last payment the issuer acknowledged.
    pub seen: u64,
    /// Spent under the grant.
    pub spent: Money,
    /// Payments under the grant.
    pub count: u32,
    /// Spent since the last proof of presence.
    pub unproved: Money,
    /// The latest signed time seen.
    pub clock: UtcSeconds,
}

/// A payer's wallet: one account on one device.
///
/// Two of them over one storage would each spend the whole; [`crate::storage::Files`] lets a directory be opened once.
#[derive(Debug)]
pub struct Wallet<S, A, D> {
    storage: S,
    anchor: A,
    device: D,
    identity: Identity,
    keys: IssuerKeys,
    /// For new `wid`s.
    entropy: [u8; 16],
    state: State,
    /// The state's grant, as long as the issuer's keys verify it.
    grant: Option<Verified<Grant>>,
    /// A write failed: what is on the disk is not known until it was read again.
    unsure: bool,
}

impl<S: Storage, A: Anchor, D: Signer> Wallet<S, A, D> {
    /// Opens the wallet in `storage`, or begins one.
    ///
    /// * `keys`: the issuer's, as last published.
    /// * `entropy`: drawn at random for this call; it names the state when that is new or cannot be trusted.
    ///
    /// # Errors
    /// [`WalletError::Storage`] and [`WalletError::Anchor`] when the device does not answer; a state that is damaged,
    /// gone or set back is none: the wallet opens, and declines until it is synced.
    pub fn open(
        storage: S,
        anchor: A,
        device: D,
        identity: Identity,
        keys: IssuerKeys,
        entropy: [u8; 16],
    ) -> Result<Self, WalletError> {
        let state = State::new(Head::default());
        let mut wallet = Self { storage, anchor, device, identity, keys, entropy, state, grant: None, unsure: true };
        wallet.ready()?;
        Ok(wallet)
    }

    /// Replaces the issuer's keys, for instance after they rotated. A grant they do not verify is not used any more.
    pub fn set_keys(&mut self, keys: IssuerKeys) {
        self.keys = keys;
        self.grant = self.held();
    }

    /// What may still be spent at `now`, the wall clock, and why not more.
    ///
    /// * `own`: the decision of a model on the device for [`Wallet::situation`]; it can only lower.
    ///
    /// # Errors
    /// [`WalletError`] when the state has to be read again and cannot be.
    pub fn limit(&mut self, now: UtcSeconds, own: Option<&Modelled>) -> Result<Allowance, WalletError> {
        self.ready()?;
        Ok(self.allowance(now, own))
    }

    fn allowance(&self, now: UtcSeconds, own: Option<&Modelled>) -> Allowance {
        let grant = self.grant.as_ref().map(Verified::claims);
        allowance::allowance(&self.state.head, self.state.records().len(), grant, now, own)
    }

    /// What a model on the device decides from; `None` without a grant.
    pub fn situation(&self, now: UtcSeconds) -> Option<Situation> {
        let at = allowance::engine_time(&self.state.head, now).0;
        self.grant.as_ref().map(|grant| allowance::situation(&self.state.head, grant, at))
    }

    /// The grant it holds: its bytes go to a payee with every payment.
    pub fn grant(&self) -> Option<&Verified<Grant>> {
        self.grant.as_ref()
    }

    /// The payments the issuer has not acknowledged, oldest first: what to hand in at the next sync.
    pub fn outbox(&self) -> impl Iterator<Item = &Paid> {
        self.state.records().iter().filter(|paid| paid.number > self.state.head.seen)
    }

    /// Where the counters stand.
    pub fn status(&self) -> Status {
        let head = &self.state.head;
        Status {
            wid: head.wid,
            distrust: head.distrust,
            seq: head.seq,
            number: head.number,
            seen: head.seen,
            spent: head.spent,
            count: head.count,
            unproved: head.unproved,
            clock: head.clock,
        }
    }

    /// The device key's thumbprint, which its grants name.
    pub fn thumbprint(&self) -> Thumbprint {
        self.device.public().thumbprint()
    }

    /// Whose wallet it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Reads the state again after a write that failed: it may be on the disk, and may not.
    fn ready(&mut self) -> Result<(), WalletError> {
        if self.unsure {
            let before = self.state.clone();
            self.load().inspect_err(|_| self.state = before)?;
            self.unsure = false;
        }
        Ok(())
    }

    fn load(&mut self) -> Result<(), WalletError> {
        let anchored = self.anchor.value()?;
        let read = match self.storage.read(FILE, STATE_BYTES_MAX) {
            Ok(read) => read.map(|bytes| State::from_bytes(&bytes)),
            Err(StorageError::TooLong { .. }) => Some(Err(state::Damaged { what: "too long".into() })),
            Err(error) => return Err(error.into()),
        };
        let (state, distrust) = match (read, anchored) {
            (Some(Ok(state)), None) => (state, None),
            (Some(Ok(state)), Some(anchor)) => {
                let revision = state.head.revision;
                // One ahead: the power went between the write and the counter, and nothing had been released.
                let present = revision == anchor || revision == anchor.saturating_add(1);
                (state, (!present).then_some(Distrust::Restored))
            }
            (Some(Err(_)), _) => {
                self.storage.rename(FILE, DAMAGED)?;
                (State::new(Head::default()), Some(Distrust::Lost))
            }
            (None, None | Some(0)) => (State::new(Head::default()), None),
            (None, Some(_)) => (State::new(Head::default()), Some(Distrust::Lost)),
        };
        let begun = state.head.revision == 0;
        self.state = state;
        if begun || distrust.is_some() {
            self.begin_anew(distrust, anchored.unwrap_or(0));
            self.commit()?;
        } else {
            // It can be read, but whether it would survive a power cut nobody knows before it was synced here. And a
            // payment in it may be released again, so the counter must have it.
            self.storage.sync(FILE)?;
            self.storage.sync_names()?;
            self.raise_anchor(anchored)?;
        }
        self.grant = self.held();
        Ok(())
    }

    /// Gives the state a new name, so that no grant made before is accepted again. Its payments stay: they were
    /// approved. Their numbers go on above any that can have been used, as every payment raises the revision.
    fn begin_anew(&mut self, distrust: Option<Distrust>, anchored: u64) {
        let head = &mut self.state.head;
        head.revision = head.revision.max(anchored);
        let mut name = Sha256::new();
        name.update(b"plimsoll wallet life 1");
        name.update(self.entropy);
        name.update(head.wid.0);
        name.update(head.revision.to_be_bytes());
        let name: [u8; 32] = name.finalize().into();
        head.wid = Bytes(std::array::from_fn(|i| name[i]));
        head.distrust = distrust;
        if distrust.is_some() {
            head.number = head.number.max(head.revision);
        }
    }

    /// Writes the state durably, then raises the platform's counter to it.
    fn commit(&mut self) -> Result<(), WalletError> {
        self.state.head.revision += 1;
        self.unsure = true;
        self.storage.replace(FILE, &self.state.to_bytes())?;
        let anchored = self.anchor.value()?;
        self.raise_anchor(anchored)?;
        self.unsure = false;
        Ok(())
    }

    fn raise_anchor(&self, anchored: Option<u64>) -> Result<(), WalletError> {
        match anchored {
            Some(value) if value < self.state.head.revision => Ok(self.anchor.advance(self.state.head.revision)?),
            _ => Ok(()),
        }
    }

    /// The state's grant, when the issuer's keys still verify it.
    fn held(&self) -> Option<Verified<Grant>> {
        let bytes = self.state.head.grant.as_deref()?;
        Grant::verify(bytes, &self.keys).ok().filter(|grant| self.check_ours(grant).is_ok())
    }
}
