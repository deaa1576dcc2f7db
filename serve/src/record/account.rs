//! An account: everything that a decision on it needs, in one row.

use plimsoll_model::features::FeatureState;
use plimsoll_model::grant::{Instance, Thumbprint, TokenId};
use plimsoll_model::standing::Signal;
use plimsoll_model::{Money, Tier, UtcSeconds};
use serde::{Deserialize, Serialize};

use super::{Record, Window};

/// An account's name: 1 to 64 letters, digits, `-`, `_`, `.` or `:`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

/// Not an account's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account's name has 1 to 64 letters, digits, '-', '_', '.' or ':'")]
pub struct BadAccountId;

impl AccountId {
    /// For a log entry about no account: empty, as no account's name is.
    pub const fn none() -> Self {
        Self(String::new())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AccountId {
    type Error = BadAccountId;
    fn try_from(name: String) -> Result<Self, BadAccountId> {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
        if fits { Ok(Self(name)) } else { Err(BadAccountId) }
    }
}

impl TryFrom<&str> for AccountId {
    type Error = BadAccountId;
    fn try_from(name: &str) -> Result<Self, BadAccountId> {
        Self::try_from(name.to_owned())
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.0
    }
}

impl std::fmt::Display for AccountId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Online transfers that are remembered: more than any rule lets through in its window.
pub const TRANSFERS_MAX: usize = 512;
/// Payees that are remembered.
pub const PAYEES_MAX: usize = 512;

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its name.
    pub id: AccountId,
    /// Tiers by the time they begin; the last that has begun counts. Never empty.
    pub tiers: Vec<TierFrom>,
    /// Rises with every change of the balance.
    pub version: u64,
    /// Transactions in its life.
    pub lifetime_tx: u64,
    /// What the holder loaded by hand, where the programme has such a wallet.
    pub manual_wallet: Money,
    /// Enrolled devices, revoked ones included.
    pub wallets: Vec<Wallet>,
    /// Settled offline payments by signing time, of the last eight days, oldest first.
    pub spent: Vec<Spent>,
    /// Online transfers that were let through, of the last eight days, oldest first, the newest [`TRANSFERS_MAX`].
    pub transfers: Vec<Spent>,
    /// Payees that were paid, as hashes, the newest [`PAYEES_MAX`].
    pub payees: Vec<u64>,
    /// Fraud signals that still weigh something, oldest first.
    pub signals: Vec<Signal>,
    /// A change of tier that one of the operator's people proposed and another has to confirm.
    pub proposed: Option<Proposal>,
    /// The window that is watched: at most one at a time, since two that overlap are one event seen twice.
    pub window: Option<Window>,
    /// What is known of its history; holds the balance. The last in its bytes: see [`Account::features_from`].
    pub features: FeatureState,
}

/// A tier from an instant on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierFrom {
    /// Which.
    pub tier: Tier,
    /// From when.
    pub from: UtcSeconds,
}

/// A change of tier that waits for a second pair of eyes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The tier when it was proposed.
    pub was: Tier,
    /// The tier it is to be.
    pub tier: Tier,
    /// Why.
    pub reason: String,
    /// Who proposed it.
    pub by: String,
    /// When.
    pub at: UtcSeconds,
}

/// A device of the account: its key, and what the issuer has counted of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wallet {
    /// Its key's thumbprint.
    pub jkt: Thumbprint,
    /// Its Ed25519 key.
    pub key: [u8; 32],
    /// When it was enrolled.
    pub enrolled_at: UtcSeconds,
    /// Payments signed at or after this instant are refused, and it gets no grant.
    pub revoked_at: Option<UtcSeconds>,
    /// Its attestation holds until then.
    pub attested_until: Option<UtcSeconds>,
    /// The life of its state that the newest grant was for.
    pub wid: Option<Instance>,
    /// `seq` of the first grant for that life.
    pub life_seq: u64,
    /// Of the newest grant; 0 before the first.
    pub seq: u64,
    /// Up to this payment number nothing is missing.
    pub seen: u64,
    /// Numbers above it that have come in already, rising.
    pub ahead: Vec<u64>,
    /// The newest grant.
    pub held: Option<Held>,
    /// What earlier grants may still turn into payments that nobody has shown.
    pub carried: Vec<Carried>,
}

/// The newest grant of a wallet, as far as it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its name.
    pub jti: TokenId,
    /// When it was made.
    pub iat: UtcSeconds,
    /// When a payment under it may settle last.
    pub settles_until: UtcSeconds,
    /// The most that it allows in total.
    pub limit: Money,
    /// Settled under it.
    pub settled: Money,
}

/// An allowance that may have become payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The grant that allowed it.
    pub jti: TokenId,
    /// After this instant nothing of it can settle.
    pub until: UtcSeconds,
    /// How much has not been shown.
    pub left: Money,
}

/// One payment that counts in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// When it was signed.
    pub at: UtcSeconds,
    /// How much.
    pub amount: Money,
}

impl Record for Account {
    const VERSION: u8 = 3;
}

impl Account {
    /// Where in its bytes the features begin: most of them, and the part that a sync without payments leaves alone.
    pub fn features_from(&self, bytes: &[u8]) -> usize {
        let length = postcard::experimental::serialized_size(&self.features);
        bytes.len() - length.expect("records hold only integers, text and lists")
    }

    /// The tier that counts at `at`; the first before any has begun.
    pub fn tier(&self, at: UtcSeconds) -> Tier {
        let begun = self.tiers.iter().rev().find(|t| t.from <= at);
        begun.or(self.tiers.first()).map_or_else(Tier::default, |t| t.tier)
    }

    /// What is in it, minor units; below zero is what its holder owes the issuer.
    pub const fn balance_minor(&self) -> i64 {
        self.features.balance_minor()
    }

    /// What its grants may still turn into payments at `now`.
    pub fn exposed(&self, now: UtcSeconds) -> Money {
        self.wallets.iter().map(|w| w.outstanding(now)).fold(Money::ZERO, Money::saturating_add)
    }

    /// After this instant nothing of that can settle; 0 when there is nothing.
    pub fn exposed_until(&self) -> UtcSeconds {
        let ends = |w: &Wallet| w.held.iter().map(|h| h.settles_until).chain(w.carried.iter().map(|c| c.until)).max();
        self.wallets.iter().filter_map(ends).max().unwrap_or(UtcSeconds(0))
    }

    /// The wallet of a key.
    pub fn wallet(&self, jkt: &Thumbprint) -> Option<&Wallet> {
        self.wallets.iter().find(|w| w.jkt == *jkt)
    }

    /// The same, to change.
    pub fn wallet_mut(&mut self, jkt: &Thumbprint) -> Option<&mut Wallet> {
        self.wallets.iter_mut().find(|w| w.jkt == *jkt)
    }
}

impl Wallet {
    /// What may have been promised elsewhere by this wallet at `now` and has not been shown.
    pub fn outstanding(&self, now: UtcSeconds) -> Money {
        let carried = self.carried.iter().filter(|c| c.until > now).map(|c| c.left);
        let held = self.held.iter().filter(|h| h.settles_until > now).map(|h| h.limit.saturating_sub(h.settled));
        carried.chain(held).fold(Money::ZERO, Money::saturating_add)
    }
}
