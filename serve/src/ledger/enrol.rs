//! Accounts, tiers and devices: what only the issuer's own people and systems may change.

use plimsoll_model::features::{FeatureState, Profile};
use plimsoll_model::grant::{PublicKey, RefuseToken, Thumbprint};
use plimsoll_model::{Money, Tier, UtcSeconds};
use serde_json::json;

use super::Rules;
use crate::record::{Account, AccountId, TierFrom, Wallet};
use crate::unit::{Entry, Unit};

/// Tiers that an account remembers.
const TIERS_MAX: usize = 64;
/// Devices that an account remembers, revoked ones included.
const WALLETS_MAX: usize = 16;

/// Why something about an account is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseEnrolment {
    /// No such account.
    #[error("there is no such account")]
    UnknownAccount,
    /// It is there, and is another one.
    #[error("there is an account of that name, opened otherwise")]
    Exists,
    /// Not a tier of the programme.
    #[error("the programme has no tier {level}")]
    UnknownTier {
        /// Which.
        level: u8,
    },
    /// Too many devices.
    #[error("the account has {max} devices: revoke one first")]
    DeviceLimit {
        /// How many it may have.
        max: u32,
    },
    /// The key cannot sign payments.
    #[error("the device's key: {0}")]
    Key(#[from] RefuseToken),
    /// Another account has it.
    #[error("no such device is enrolled")]
    UnknownDevice,
    /// It was revoked, and a revoked key never comes back.
    #[error("the device was revoked: it needs a new key")]
    Revoked,
    /// More tiers than an account remembers.
    #[error("the account's tier changed too often")]
    TooManyChanges,
}

/// A new account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// When it was opened.
    pub opened_at: UtcSeconds,
    /// Its KYC tier.
    pub tier: Tier,
    /// In it when we begin to count, minor units.
    pub balance: i64,
    /// Transactions before we begin to count.
    pub lifetime_tx: u64,
    /// Loaded by hand, where the programme has such a wallet.
    pub manual_wallet: Money,
}

/// Opens an account. The same opening again changes nothing.
///
/// # Errors
/// `Exists`, `UnknownTier`.
pub fn open(unit: &mut Unit, rules: &Rules<'_>, id: &AccountId, opening: &Opening) -> Result<bool, RefuseEnrolment> {
    known_tier(rules, opening.tier)?;
    let from = opening.opened_at;
    if let Some(there) = unit.accounts.get(id) {
        let same =
            there.features.profile().opened_at == from && there.tiers.first().map(|t| t.tier) == Some(opening.tier);
        return if same { Ok(false) } else { Err(RefuseEnrolment::Exists) };
    }
    let profile = Profile {
        opened_at: from,
        tier: opening.tier,
        attested: false,
        offset: rules.policy.utc_offset_min,
        currency: rules.policy.currency,
    };
    let account = Account {
        id: id.clone(),
        tiers: vec![TierFrom { tier: opening.tier, from }],
        features: FeatureState::new(profile, opening.balance, rules.now.min(from.max(UtcSeconds(0)))),
        version: 0,
        lifetime_tx: opening.lifetime_tx,
        manual_wallet: opening.manual_wallet,
        wallets: Vec::new(),
        spent: Vec::new(),
        transfers: Vec::new(),
        payees: Vec::new(),
        signals: Vec::new(),
        proposed: None,
        window: None,
    };
    unit.accounts.put(id.clone(), account);
    let body = json!({ "opened_at": from, "tier": opening.tier, "balance": opening.balance });
    unit.entries.push(Entry::new("account", id.clone(), &body));
    Ok(true)
}

/// Changes a tier from an instant on; later changes that were planned are dropped.
///
/// # Errors
/// `UnknownAccount`, `UnknownTier`, `TooManyChanges`.
pub fn set_tier(
    unit: &mut Unit,
    rules: &Rules<'_>,
    id: &AccountId,
    to: TierFrom,
    by: &str,
    reason: &str,
) -> Result<(), RefuseEnrolment> {
    known_tier(rules, to.tier)?;
    let account = unit.accounts.get(id).ok_or(RefuseEnrolment::UnknownAccount)?;
    if account.tiers.len() >= TIERS_MAX {
        return Err(RefuseEnrolment::TooManyChanges);
    }
    // What was decided stays decided: a tier never begins in the past.
    let from = to.from.max(rules.now);
    unit.accounts.change(id, |account| {
        account.tiers.retain(|t| t.from < from);
        account.tiers.push(TierFrom { from, ..to });
    });
    let body = json!({ "tier": to.tier, "from": from, "by": by, "reason": reason });
    unit.entries.push(Entry::new("tier", id.clone(), &body));
    Ok(())
}

pub(super) fn known_tier(rules: &Rules<'_>, tier: Tier) -> Result<(), RefuseEnrolment> {
    let known = rules.policy.tiers.iter().any(|t| t.tier == tier);
    if known { Ok(()) } else { Err(RefuseEnrolment::UnknownTier { level: tier.level() }) }
}

/// Enrols a device's key. Small-order keys, under which one signature fits every message, are refused. The same key
/// again changes only its attestation.
///
/// # Errors
/// `UnknownAccount`, `Key`, `DeviceLimit`, `Revoked`.
pub fn enrol(
    unit: &mut Unit,
    rules: &Rules<'_>,
    id: &AccountId,
    key: &[u8; 32],
    attested_until: Option<UtcSeconds>,
) -> Result<Thumbprint, RefuseEnrolment> {
    let jkt = PublicKey::new(key)?.thumbprint();
    let account = unit.accounts.get(id).ok_or(RefuseEnrolment::UnknownAccount)?;
    if let Some(wallet) = account.wallet(&jkt) {
        if wallet.revoked_at.is_some() {
            return Err(RefuseEnrolment::Revoked);
        }
        if wallet.attested_until != attested_until {
            unit.accounts.change(id, |a| a.wallet_mut(&jkt).expect("was there").attested_until = attested_until);
        }
        return Ok(jkt);
    }
    let max = rules.policy.refresh.devices_max;
    let live = account.wallets.iter().filter(|w| w.revoked_at.is_none()).count();
    if live >= max as usize || account.wallets.len() >= WALLETS_MAX {
        return Err(RefuseEnrolment::DeviceLimit { max });
    }
    let wallet = Wallet {
        jkt,
        key: *key,
        enrolled_at: rules.now,
        revoked_at: None,
        attested_until,
        wid: None,
        life_seq: 1,
        seq: 0,
        seen: 0,
        ahead: Vec::new(),
        held: None,
        carried: Vec::new(),
    };
    unit.accounts.change(id, |account| account.wallets.push(wallet));
    unit.entries.push(Entry::new("device", id.clone(), &json!({ "enrolled": jkt })));
    Ok(jkt)
}

/// Revokes a device from now on: what it signed before still settles.
///
/// # Errors
/// `UnknownAccount`, `UnknownDevice`.
pub fn revoke(
    unit: &mut Unit,
    rules: &Rules<'_>,
    id: &AccountId,
    jkt: &Thumbprint,
    by: &str,
    reason: &str,
) -> Result<(), RefuseEnrolment> {
    let account = unit.accounts.get(id).ok_or(RefuseEnrolment::UnknownAccount)?;
    let wallet = account.wallet(jkt).ok_or(RefuseEnrolment::UnknownDevice)?;
    if wallet.revoked_at.is_some() {
        return Ok(());
    }
    unit.accounts.change(id, |a| a.wallet_mut(jkt).expect("was there").revoked_at = Some(rules.now));
    let body = json!({ "revoked": jkt, "by": by, "reason": reason });
    unit.entries.push(Entry::new("device", id.clone(), &body));
    Ok(())
}
