//! A device comes back: it hands in what it did, and gets a grant for what it may do next.
//!
//! ```text
//! payments ─► judged, in order ─► what may still be out there ─► features, now ─► curve ─► grant, seq + 1
//!                                  other wallets' grants,          from records only
//!                                  a lost life's rest
//! ```
//!
//! Repeating a sync is safe: payments get the answers they had, and the next grant takes the place of one that was lost
//! on the way. Nothing that the device says about tier, balance or features is asked for.

use plimsoll_model::decision::{Decision, Situation};
use plimsoll_model::features::FeatureVector;
use plimsoll_model::grant::{
    COUNT_MAX, Grant, Instance, Model, Payment, RefuseToken, Terms, Thumbprint, TokenId, Verified, issue,
};
use plimsoll_model::quantile::Ppm;
use plimsoll_model::{Age, Money, Tier, UtcSeconds};
use serde::{Deserialize, Serialize};

use super::judge::{self, By, Judged, RefuseSettlement};
use super::{Basis, Rules, watch};
use crate::record::{AccountId, BadRecord, Carried, GrantRecord, Held};
use crate::unit::{Entry, Needs, Unit};

/// Share of amount, count and age after which a wallet asks for a sync: 80 %.
const ASK_AT: u32 = 800_000;

/// What a device says when it comes back.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Whose.
    pub account: AccountId,
    /// Its key; the border has checked that it speaks.
    pub jkt: Thumbprint,
    /// The life of its state.
    pub wid: Instance,
    /// Every payment it has kept, verified, in order of number.
    pub payments: Vec<Verified<Payment>>,
}

/// What it gets.
#[derive(Clone, Debug)]
pub struct Synced {
    /// To sign.
    pub grant: Grant,
    /// The decision at every age.
    pub curve: Vec<(Age, Decision)>,
    /// What became of its payments, in the order they came.
    pub payments: Vec<Result<Judged, RefuseSettlement>>,
    /// Balance, minor units, and its version.
    pub balance: (i64, u64),
}

/// Why there is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseSync {
    /// No such account.
    #[error("there is no such account")]
    UnknownAccount,
    /// Not a device of it.
    #[error("the device is not enrolled for the account")]
    UnknownDevice,
    /// It was revoked.
    #[error("the device was revoked")]
    Revoked,
    /// More than a wallet may keep.
    #[error("a wallet keeps at most {COUNT_MAX} payments")]
    TooMany,
    /// Curve and policy make no grant.
    #[error("no grant can be made: {0}")]
    Grant(#[from] RefuseToken),
    /// The store is damaged.
    #[error(transparent)]
    Record(#[from] BadRecord),
}

/// What a grant was decided from: logged, and enough to decide it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Bits of the features.
    pub features: Vec<u32>,
    /// Everything else.
    pub situation: Situation,
    /// Version and digest of the model; none when the floor decided.
    pub model: Option<Model>,
    /// SHA-256 of the policy.
    pub policy: String,
    /// Share granted.
    pub granted_ppm: u32,
    /// What came out.
    pub curve: Vec<(Age, Decision)>,
}

/// The log's entry of a grant.
#[derive(Serialize)]
struct Granted {
    jti: TokenId,
    seq: u64,
    jkt: Thumbprint,
    decided: Decided,
}

/// What a sync reads.
pub fn needs(sync: &Sync) -> Needs {
    let mut needs = Needs::default();
    needs.accounts.insert(sync.account.clone());
    sync.payments.iter().fold(needs, |needs, payment| needs.and(&judge::needs(payment)))
}

/// Settles, decides, and makes the next grant.
///
/// * `jti`: drawn for the grant.
///
/// # Errors
/// [`RefuseSync`]: nothing was changed, if the caller takes the unit's changes back.
pub fn sync(unit: &mut Unit, rules: &Rules<'_>, sync: &Sync, jti: TokenId) -> Result<Synced, RefuseSync> {
    let id = &sync.account;
    let wallet = unit.accounts.get(id).ok_or(RefuseSync::UnknownAccount)?.wallet(&sync.jkt);
    let wallet = wallet.ok_or(RefuseSync::UnknownDevice)?;
    if sync.payments.len() > COUNT_MAX as usize {
        return Err(RefuseSync::TooMany);
    }
    let revoked = wallet.revoked_at.is_some();
    let mut judged = Vec::with_capacity(sync.payments.len());
    for payment in &sync.payments {
        judged.push(judge::judge(unit, rules, payment, &By::Payer)?);
    }
    if revoked {
        return Err(RefuseSync::Revoked);
    }
    watch::end(unit, id, rules.now);

    unit.accounts.change(id, |account| {
        rules.forget(account);
        let wallet = account.wallet_mut(&sync.jkt).expect("was there");
        if wallet.wid != Some(sync.wid) {
            // Its counters are gone, and with them what it paid and did not show: the rest of its grant may be out
            // there until it cannot settle any more. Numbers begin beyond any that the lost life can have used.
            if wallet.wid.is_some() {
                carry(wallet, rules.now);
                wallet.seen += u64::from(COUNT_MAX);
                wallet.ahead.clear();
            }
            wallet.wid = Some(sync.wid);
            wallet.life_seq = wallet.seq + 1;
        }
        let tier = account.tier(rules.now);
        let attested =
            account.wallet(&sync.jkt).is_some_and(|w| w.attested_until.is_some_and(|until| until > rules.now));
        account.features.set_standing(tier, attested);
    });
    let account = unit.accounts.get(id).expect("was there");
    let wallet = account.wallet(&sync.jkt).expect("was there");
    let others = account.wallets.iter().filter(|w| w.jkt != sync.jkt).map(|w| w.outstanding(rules.now));
    let carried = wallet.carried.iter().map(|c| c.left);
    let pending = others.chain(carried).fold(Money::ZERO, Money::saturating_add);

    let situation = rules.situation(account, wallet.enrolled_at, pending);
    let (features, version) = (account.features.clone().snapshot(rules.now), account.version);
    let curve = rules.curve(&features, &situation);
    let mut terms = Terms::new(rules.issuer, id.as_str(), jti, wallet.seq + 1, sync.jkt, sync.wid);
    terms.seen = wallet.seen;
    terms.attested_until = wallet.attested_until;
    terms.ask_at = Ppm::new(ASK_AT).ok();
    terms.features = Some(features.clone());
    terms.model = model(rules);
    terms.policy_sha256 = rules.policy_sha256;
    let grant = issue(rules.policy, &curve, &situation, &terms)?;

    let record = GrantRecord {
        jti,
        account: id.clone(),
        jkt: sync.jkt,
        seq: grant.seq,
        iat: grant.iat,
        granted_ppm: rules.granted_ppm(situation.tier),
        claims: serde_json::to_vec(&grant).expect("claims hold only integers and text"),
        settled: Money::ZERO,
    };
    let held = Held {
        jti,
        iat: grant.iat,
        settles_until: grant.exp.plus(i64::from(grant.payment_valid_s)),
        limit: grant.limit.points().first().map_or(Money::ZERO, |p| p.1),
        settled: Money::ZERO,
    };
    let balance = unit.accounts.change(id, |account| {
        let wallet = account.wallet_mut(&sync.jkt).expect("was there");
        wallet.seq = grant.seq;
        wallet.held = Some(held);
        watch::open(account, rules, &grant, (&curve, &situation));
        account.balance_minor()
    });
    let decided = Decided {
        features: features.0.iter().map(|x| x.to_bits()).collect(),
        granted_ppm: rules.granted_ppm(situation.tier),
        situation,
        model: terms.model,
        policy: grant.pol.map(|p| p.to_string()).unwrap_or_default(),
        curve: curve.clone(),
    };
    let told = Granted { jti, seq: grant.seq, jkt: sync.jkt, decided };
    unit.entries.push(Entry::new("grant", id.clone(), &told));
    unit.grants.put(jti, record);
    Ok(Synced { grant, curve, payments: judged, balance: (balance, version) })
}

/// The rest of a wallet's newest grant may be out there.
fn carry(wallet: &mut crate::record::Wallet, now: UtcSeconds) {
    if let Some(held) = wallet.held.take().filter(|h| h.settles_until > now) {
        let left = held.limit.saturating_sub(held.settled);
        wallet.carried.push(Carried { jti: held.jti, until: held.settles_until, left });
    }
}

fn model(rules: &Rules<'_>) -> Option<Model> {
    match rules.basis {
        Basis::Floor => None,
        Basis::Model(evaluator) => Some(Model { v: evaluator.manifest().model_version, d: evaluator.digest() }),
    }
}

/// Decides again from what was logged.
///
/// * returns the curve as it comes out now; equal to `decided.curve` when nothing was tampered with.
pub fn decide_again(rules: &Rules<'_>, decided: &Decided) -> Option<Vec<(Age, Decision)>> {
    let mut features = FeatureVector([0.0; plimsoll_model::features::FEATURE_COUNT]);
    if decided.features.len() != features.0.len() {
        return None;
    }
    for (x, bits) in features.0.iter_mut().zip(&decided.features) {
        *x = f32::from_bits(*bits);
    }
    let rules = Rules { granted_ppm: [decided.granted_ppm; Tier::COUNT], now: decided.situation.synced_at, ..*rules };
    Some(rules.curve(&features, &decided.situation))
}
