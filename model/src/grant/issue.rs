//! From a curve of decisions to a grant: what the issuer signs.

use super::claims::{Caps, Curve, Directive, Grant, Level, Model, StepUpAt};
use super::id::{Bytes, Instance, TokenId};
use super::key::Thumbprint;
use super::lottery::Lottery;
use super::refuse::RefuseToken;
use super::{COUNT_MAX, CURVE_MAX};
use crate::decision::{Bound, Decision, Situation};
use crate::features::FeatureVector;
use crate::money::Money;
use crate::policy::Policy;
use crate::quantile::Ppm;
use crate::time::{Age, UtcSeconds};

/// For whom a grant is, and what the issuer's record says about that wallet. `Terms::new` leaves everything optional
/// out.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The issuer's name.
    pub iss: String,
    /// The account.
    pub sub: String,
    /// Drawn for this grant.
    pub jti: TokenId,
    /// Above every earlier one of this wallet.
    pub seq: u64,
    /// The device's key.
    pub jkt: Thumbprint,
    /// What the wallet reported at this sync. When it differs from the last sync's, the wallet lost its counters: the
    /// issuer carries everything the earlier grant still allowed as pending.
    pub wid: Instance,
    /// The last payment number that is settled into the balance or counted as pending.
    pub seen: u64,
    /// What becomes of the wallet's counters.
    pub reset: Directive,
    /// A shorter life than the programme allows, in hours.
    pub hours_max: Option<u32>,
    /// Until when the device's attestation holds, where the programme asks for one.
    pub attested_until: Option<UtcSeconds>,
    /// Which payments need a sync first.
    pub lottery: Option<Lottery>,
    /// Payments under the grant, at most.
    pub count_max: Option<u32>,
    /// Share of amount, count and age after which the wallet asks for a sync.
    pub ask_at: Option<Ppm>,
    /// The model the curve was computed by.
    pub model: Option<Model>,
    /// For a device that keeps no history: the features at the sync.
    pub features: Option<FeatureVector>,
    /// SHA-256 of the policy's JSON, where the caller has it already.
    pub policy_sha256: Option<Bytes<32>>,
}

impl Terms {
    /// Terms without options.
    pub fn new(
        iss: impl Into<String>,
        sub: impl Into<String>,
        jti: TokenId,
        seq: u64,
        jkt: Thumbprint,
        wid: Instance,
    ) -> Self {
        Self {
            iss: iss.into(),
            sub: sub.into(),
            jti,
            seq,
            jkt,
            wid,
            seen: 0,
            reset: Directive::Reset,
            hours_max: None,
            attested_until: None,
            lottery: None,
            count_max: None,
            ask_at: None,
            model: None,
            features: None,
            policy_sha256: None,
        }
    }
}

/// Makes the claims of a grant.
///
/// * `curve`: the decision at every certified age, as an evaluator computes it from `situation`; net of what is pending.
/// * `situation`: the account at the sync; its `synced_at` becomes the grant's `iat`. Its `pending` holds every offline
///   payment known and unsettled, and what other live grants on the account still allow.
///
/// # Errors
/// `Claim` when the curve, the terms or the policy do not make a grant.
pub fn issue(
    policy: &Policy,
    curve: &[(Age, Decision)],
    situation: &Situation,
    terms: &Terms,
) -> Result<Grant, RefuseToken> {
    let tier = policy.tier(situation.tier);
    let hours = [
        Some(policy.offline_h_max),
        policy.ceiling.as_ref().map(|c| c.ttl_h_max),
        policy.card.as_ref().map(|c| c.session_h_max),
        terms.hours_max,
    ];
    let hours = hours.into_iter().flatten().fold(u32::MAX, u32::min);
    let iat = situation.synced_at;

    // The model's curve does not rise with age; rules on top of it may only lower, and so may this.
    let mut lowest = situation.balance;
    let mut points = Vec::with_capacity(curve.len());
    for (age, decision) in curve {
        lowest = lowest.min(decision.limit);
        points.push((*age, lowest));
    }
    if points.len() > CURVE_MAX {
        return Err(RefuseToken::claim("limit", "a curve has 1 to 16 points"));
    }
    let oldest = points.last().map_or(Age(0), |p| p.0).min(Age::hours(hours));
    let ask = |stop: u64| terms.ask_at.map(|share| (u128::from(stop) * u128::from(share.get()) / 1_000_000) as u64);
    let ask_count = |stop: u32| ask(u64::from(stop)).and_then(|n| u32::try_from(n).ok());

    let single = [
        tier.per_payment,
        policy.token.amount_max,
        policy.card.as_ref().and_then(|c| Money::from_minor((1 << c.amount_bits) - 1).ok()),
    ];
    let total = [Some(tier.outstanding_cap()), policy.card.as_ref().map(|c| c.grant_budget)];
    let total = total.into_iter().flatten().fold(Money::MAX, Money::min);
    let count = terms.count_max.unwrap_or(COUNT_MAX).min(COUNT_MAX);
    let standing = policy.standing.as_ref().and_then(|rules| match situation.fraud_ppm {
        score if score >= rules.suspended_from.get() => Some(Money::ZERO),
        score if score >= rules.reduced_from.get() => Some(rules.reduced_cap),
        _ => None,
    });
    let manual = policy.manual_wallet.as_ref().is_some_and(|m| situation.lifetime_tx < m.below_lifetime_tx);
    let policy_sha256 = terms.policy_sha256.unwrap_or_else(|| {
        use sha2::Digest as _;
        Bytes(sha2::Sha256::digest(policy.to_json()).into())
    });

    let mut grant = Grant::plain(
        terms.iss.clone(),
        policy.programme.clone(),
        terms.sub.clone(),
        terms.jti,
        (iat, iat.plus(i64::from(hours) * 3_600)),
        terms.seq,
        terms.jkt,
        terms.wid,
        policy.currency,
        situation.balance,
        Curve::new(points)?,
    );
    grant.seen = terms.seen;
    grant.tier = tier.tier;
    grant.carried = situation.pending;
    grant.why = curve.first().map_or(Bound::Model, |(_, d)| d.bound);
    grant.cap = Caps {
        token: single.into_iter().flatten().min(),
        h24: tier.rolling_24h,
        day: tier.day,
        week: tier.week,
        total: (total < Money::MAX)
            .then(|| Level { stop: total, ask: ask(total.minor()).and_then(|m| Money::from_minor(m).ok()) }),
        count: (count < COUNT_MAX || terms.ask_at.is_some()).then(|| Level { stop: count, ask: ask_count(count) }),
        age: Some(Level { stop: oldest, ask: ask_count(oldest.0).map(Age) }),
    };
    grant.step_up = policy.step_up.as_ref().map(|s| StepUpAt { free_up_to: s.free_up_to, free_total: s.free_total });
    grant.standing = standing;
    grant.new_device = policy.new_device_cap.filter(|_| situation.new_device);
    grant.manual = manual.then_some(situation.manual_wallet);
    grant.attested_until = terms.attested_until;
    grant.lottery = terms.lottery;
    grant.reset = terms.reset;
    grant.utc_offset_min = policy.utc_offset_min;
    grant.payment_valid_s = policy.token.valid_h.saturating_mul(3_600);
    grant.request_valid_s = policy.token.request_valid_s;
    grant.no_receive = !tier.receive;
    grant.mdl = terms.model;
    grant.pol = Some(policy_sha256);
    if let Some(features) = &terms.features {
        grant.set_features(features);
    }
    grant.check()?;
    Ok(grant)
}
