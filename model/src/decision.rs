//! The decision: a computed limit, lowered by rules, with the rule that had the last word.
//!
//! ```text
//! balance ─► certified rule ─► tier ─► signed ceiling ─► new device ─► standing ─► − pending ─► 24 h, day, week ─► limit
//! ```
//!
//! The clamp lemma: lowering a limit keeps `P(S < L) ≤ α`; raising one voids it. So a [`Limit`] has no way up.

use serde::{Deserialize, Serialize};

use crate::artifact::{Certificate, Manifest, Rule};
use crate::money::Money;
use crate::policy::{Policy, TierRules};
use crate::quantile::Ppm;
use crate::time::{Age, UtcSeconds};
use crate::transaction::Tier;

/// Which rule had the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The balance itself.
    Balance,
    /// The certified model.
    Model,
    /// No limit certifies for this tier: the programme's fallback.
    Fallback,
    /// The programme does not score so young a history: the wallet loaded by hand.
    ManualWallet,
    /// The ceiling signed with the model.
    SignedCeiling,
    /// The tier's cap on what is outstanding.
    TierCap,
    /// The tier may not pay offline.
    TierMayNotPay,
    /// A device enrolled since the last sync.
    NewDevice,
    /// Fraud standing.
    Standing,
    /// Payments made since the sync that are not settled.
    Pending,
    /// Payments of the last 24 hours.
    Rolling24h,
    /// Payments of the calendar day.
    Day,
    /// Payments of the calendar week.
    Week,
    /// The last sync is too long ago, or nobody knows when it was.
    Age,
    /// The model is past its last day of use.
    ModelExpired,
    /// The device's own model, on its own history.
    OwnModel,
    /// The wallet holds no grant.
    GrantMissing,
    /// The grant has ended, or has not begun.
    GrantExpired,
    /// The issuer set the counters to their upper limits.
    Locked,
    /// The device's attestation is no longer valid.
    Attestation,
    /// The cap on a single payment.
    PerPayment,
    /// The number of payments made under the grant.
    Count,
    /// The holder must prove presence.
    StepUp,
    /// The forced-sync lottery chose this payment.
    Lottery,
    /// The wall clock is behind a signed time.
    Clock,
    /// The wallet's counters cannot be read or cannot be trusted.
    State,
    /// Payment numbers do not follow each other.
    Sequence,
    /// Settlements were worse than promised: the issuer grants less until the model is renewed.
    Margin,
}

impl Bound {
    /// Every rule.
    pub const ALL: [Self; 28] = [
        Self::Balance,
        Self::Model,
        Self::Fallback,
        Self::ManualWallet,
        Self::SignedCeiling,
        Self::TierCap,
        Self::TierMayNotPay,
        Self::NewDevice,
        Self::Standing,
        Self::Pending,
        Self::Rolling24h,
        Self::Day,
        Self::Week,
        Self::Age,
        Self::ModelExpired,
        Self::OwnModel,
        Self::GrantMissing,
        Self::GrantExpired,
        Self::Locked,
        Self::Attestation,
        Self::PerPayment,
        Self::Count,
        Self::StepUp,
        Self::Lottery,
        Self::Clock,
        Self::State,
        Self::Sequence,
        Self::Margin,
    ];

    /// The rule of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bound| bound.name() == name)
    }

    /// The name in files and APIs, `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Model => "model",
            Self::Fallback => "fallback",
            Self::ManualWallet => "manual_wallet",
            Self::SignedCeiling => "signed_ceiling",
            Self::TierCap => "tier_cap",
            Self::TierMayNotPay => "tier_may_not_pay",
            Self::NewDevice => "new_device",
            Self::Standing => "standing",
            Self::Pending => "pending",
            Self::Rolling24h => "rolling_24h",
            Self::Day => "day",
            Self::Week => "week",
            Self::Age => "age",
            Self::ModelExpired => "model_expired",
            Self::OwnModel => "own_model",
            Self::GrantMissing => "grant_missing",
            Self::GrantExpired => "grant_expired",
            Self::Locked => "locked",
            Self::Attestation => "attestation",
            Self::PerPayment => "per_payment",
            Self::Count => "count",
            Self::StepUp => "step_up",
            Self::Lottery => "lottery",
            Self::Clock => "clock",
            Self::State => "state",
            Self::Sequence => "sequence",
            Self::Margin => "margin",
        }
    }

    /// What it means, for the holder.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Balance => "the whole balance is safe to spend",
            Self::Model => "what this account's own history keeps safe",
            Self::Fallback => "no limit could be certified for this tier yet",
            Self::ManualWallet => "too little history: only what was loaded by hand",
            Self::SignedCeiling => "the ceiling signed with the model",
            Self::TierCap => "the cap of this KYC tier",
            Self::TierMayNotPay => "this KYC tier may not pay offline",
            Self::NewDevice => "this device is new: sync it once",
            Self::Standing => "the account's standing is reduced",
            Self::Pending => "earlier offline payments have not settled",
            Self::Rolling24h => "the last 24 hours' payments used it up",
            Self::Day => "today's payments used it up",
            Self::Week => "this week's payments used it up",
            Self::Age => "the last sync is too long ago: sync now",
            Self::ModelExpired => "the model is past its last day of use: update it",
            Self::OwnModel => "what this device's own history keeps safe",
            Self::GrantMissing => "this wallet has no limit yet: sync once",
            Self::GrantExpired => "the limit has expired: sync now",
            Self::Locked => "the issuer has locked this wallet: sync, or ask the issuer",
            Self::Attestation => "this device must be checked again: sync now",
            Self::PerPayment => "a single payment may not be that large",
            Self::Count => "too many payments since the last sync: sync now",
            Self::StepUp => "confirm with fingerprint or PIN",
            Self::Lottery => "this payment needs a connection: sync, then pay",
            Self::Clock => "this device's clock is wrong: set it, then sync",
            Self::State => "this wallet's records are damaged or were restored: sync now",
            Self::Sequence => "this wallet's payments do not add up: sync now",
            Self::Margin => "settlements were worse than promised: less until the model is renewed",
        }
    }
}

/// One step down: the rule and what it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The rule.
    pub bound: Bound,
    /// What remained, minor units.
    pub left: Money,
}

/// An amount that only ever gets lower, and remembers why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    amount: Money,
    reasons: Vec<Reason>,
}

impl Limit {
    /// Starts at the balance: nothing can be spent that is not there.
    pub fn of_balance(balance: Money) -> Self {
        Self { amount: balance, reasons: vec![Reason { bound: Bound::Balance, left: balance }] }
    }

    /// Lowers to `cap`; nothing happens when it is lower already.
    #[must_use]
    pub fn capped(mut self, cap: Money, bound: Bound) -> Self {
        if cap < self.amount {
            self.amount = cap;
            self.reasons.push(Reason { bound, left: cap });
        }
        self
    }

    /// Lowers by `amount`.
    #[must_use]
    pub fn less(self, amount: Money, bound: Bound) -> Self {
        let left = self.amount.saturating_sub(amount);
        self.capped(left, bound)
    }

    /// What is left.
    pub const fn amount(&self) -> Money {
        self.amount
    }

    /// Every rule that lowered it, in order, after the balance it started from.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// The rule that had the last word.
    pub fn bound(&self) -> Bound {
        self.reasons.last().map_or(Bound::Balance, |r| r.bound)
    }
}

/// Everything a decision depends on besides the features; all of it from the server's record or the device's
/// own counters, never from a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Situation {
    /// Balance at the last sync.
    pub balance: Money,
    /// KYC tier on record.
    pub tier: Tier,
    /// When that sync was.
    pub synced_at: UtcSeconds,
    /// Offline payments since then that have not settled.
    pub pending: Money,
    /// Payments signed in the last 24 hours.
    pub spent_24h: Money,
    /// Payments signed this calendar day.
    pub spent_day: Money,
    /// Payments signed this calendar week.
    pub spent_week: Money,
    /// Transactions in the account's life.
    pub lifetime_tx: u64,
    /// What the holder loaded by hand, where the programme has such a wallet.
    pub manual_wallet: Money,
    /// Enrolled since the last sync.
    pub new_device: bool,
    /// Fraud score, parts per million.
    pub fraud_ppm: u32,
}

impl Situation {
    /// An account in good standing with nothing spent, synced at `synced_at`.
    pub const fn fresh(balance: Money, tier: Tier, synced_at: UtcSeconds, lifetime_tx: u64) -> Self {
        Self {
            balance,
            tier,
            synced_at,
            pending: Money::ZERO,
            spent_24h: Money::ZERO,
            spent_day: Money::ZERO,
            spent_week: Money::ZERO,
            lifetime_tx,
            manual_wallet: Money::ZERO,
            new_device: false,
            fraud_ppm: 0,
        }
    }
}

/// What may be spent offline, and why not more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// In total, from this sync, minor units.
    pub limit: Money,
    /// In one payment.
    pub per_payment: Money,
    /// The rule that had the last word on `limit`.
    pub bound: Bound,
    /// Every rule that lowered it, in order.
    pub reasons: Vec<Reason>,
    /// The certified age the limit was computed at; ages in between are rounded up to it.
    pub age: Age,
    /// After this instant the decision must be made again.
    pub valid_until: UtcSeconds,
}

impl Decision {
    fn of(limit: Limit, policy: &Policy, tier: &TierRules, age: Age, valid_until: UtcSeconds) -> Self {
        let amount = limit.amount();
        let per_payment = [tier.per_payment, policy.token.amount_max].into_iter().flatten().fold(amount, Money::min);
        Self { limit: amount, per_payment, bound: limit.bound(), reasons: limit.reasons, age, valid_until }
    }
}

/// The oldest certified age that still covers `now`: ages are rounded up, so that the headroom a limit was
/// certified against never reaches further than the one it meets. `None` when it is older than all of them, or
/// when `now` is before the sync.
pub fn certified_age(ages: &[Age], synced_at: UtcSeconds, now: UtcSeconds) -> Option<Age> {
    let age = Age::between(synced_at, now)?;
    ages.iter().copied().find(|certified| *certified >= age)
}

/// Applies a model's answer and a programme's rules to a situation.
///
/// * `steps`: the forest's uncrossed outputs at [`certified_age`], one for each of `manifest.levels`.
pub fn decide(
    manifest: &Manifest,
    certificate: &Certificate,
    policy: &Policy,
    situation: &Situation,
    steps: &[i32],
    now: UtcSeconds,
) -> Decision {
    let tier = policy.tier(situation.tier);
    let age = certified_age(&manifest.ages, situation.synced_at, now);
    let mut limit = Limit::of_balance(situation.balance);
    if age.is_none() {
        // First, as there is no model's answer then: the holder is told to sync, not that the model gives nothing.
        limit = limit.capped(Money::ZERO, Bound::Age);
    }

    let manual = is_manual(policy, situation);
    if manual {
        limit = limit.capped(situation.manual_wallet, Bound::ManualWallet);
    } else {
        limit = match certificate.cell(tier.tier).map(|cell| cell.rule) {
            None => limit.capped(tier.fallback, Bound::Fallback),
            Some(rule) => {
                let granted = rule.limit(situation.balance, &manifest.levels, steps);
                match rule {
                    Rule::Fallback { .. } => limit.capped(granted.min(tier.fallback), Bound::Fallback),
                    Rule::Balance | Rule::Share { .. } | Rule::Gap { .. } => limit.capped(granted, Bound::Model),
                }
            }
        };
    }
    // The ceiling is the same number when the policy is the one that was certified; this one is signed by other hands.
    let ceiling = (!manual).then(|| manifest.hard_cap(tier.tier));
    limit = lowered_by_policy(limit, policy, situation, ceiling);
    if !manual && now > manifest.usable_until() {
        limit = limit.capped(tier.fallback, Bound::ModelExpired);
    }
    let age = age.unwrap_or_else(|| manifest.ages.last().copied().unwrap_or_default());
    let valid_until = situation.synced_at.plus(age.seconds()).min(manifest.usable_until());
    Decision::of(limit, policy, tier, age, valid_until)
}

/// What may be spent where no model may decide: the programme's static floor (each tier's `fallback`), under the same
/// rules as any limit, for as long as the programme lets a device stay offline.
pub fn decide_floor(policy: &Policy, situation: &Situation, now: UtcSeconds) -> Decision {
    let tier = policy.tier(situation.tier);
    let oldest = Age::hours(policy.offline_h_max);
    let mut limit = Limit::of_balance(situation.balance);
    limit = if is_manual(policy, situation) {
        limit.capped(situation.manual_wallet, Bound::ManualWallet)
    } else {
        limit.capped(tier.fallback, Bound::Fallback)
    };
    limit = lowered_by_policy(limit, policy, situation, None);
    if certified_age(&[oldest], situation.synced_at, now).is_none() {
        limit = limit.capped(Money::ZERO, Bound::Age);
    }
    Decision::of(limit, policy, tier, oldest, situation.synced_at.plus(oldest.seconds()))
}

/// Whether the programme does not score so young a history.
fn is_manual(policy: &Policy, situation: &Situation) -> bool {
    policy.manual_wallet.as_ref().is_some_and(|m| situation.lifetime_tx < m.below_lifetime_tx)
}

/// What policy alone takes off.
///
/// * `ceiling`: signed with the model, where one decides.
fn lowered_by_policy(mut limit: Limit, policy: &Policy, situation: &Situation, ceiling: Option<Money>) -> Limit {
    let tier = policy.tier(situation.tier);
    if !tier.pay {
        limit = limit.capped(Money::ZERO, Bound::TierMayNotPay);
    }
    limit = limit.capped(tier.outstanding_cap(), Bound::TierCap);
    if let Some(ceiling) = ceiling {
        limit = limit.capped(ceiling, Bound::SignedCeiling);
    }
    if situation.new_device
        && let Some(cap) = policy.new_device_cap
    {
        limit = limit.capped(cap, Bound::NewDevice);
    }
    if let Some(rules) = &policy.standing {
        if situation.fraud_ppm >= rules.suspended_from.get() {
            limit = limit.capped(Money::ZERO, Bound::Standing);
        } else if situation.fraud_ppm >= rules.reduced_from.get() {
            limit = limit.capped(rules.reduced_cap, Bound::Standing);
        }
    }
    limit = limit.less(situation.pending, Bound::Pending);
    for (cap, spent, bound) in [
        (tier.rolling_24h, situation.spent_24h, Bound::Rolling24h),
        (tier.day, situation.spent_day, Bound::Day),
        (tier.week, situation.spent_week, Bound::Week),
    ] {
        if let Some(cap) = cap {
            limit = limit.capped(cap.saturating_sub(spent), bound);
        }
    }
    limit
}

/// One minus the certified miss rate of the cell a limit was computed in; 0 where nothing is certified.
pub fn confidence(certificate: &Certificate, tier: Tier) -> f64 {
    use crate::artifact::Basis;
    match certificate.cell(tier) {
        Some(cell) if cell.basis == Basis::Certified => 1.0 - Ppm::fraction(certificate.terms.alpha),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Basis, Cell, ENGINE, SCHEMA, Terms, TierCap};
    use crate::calibration::{GapScale, Target};
    use crate::forest::ONE;

    const SYNC: UtcSeconds = UtcSeconds(1_000_000);

    fn money(minor: u64) -> Money {
        Money::from_minor(minor).expect("small")
    }

    fn tier(level: u8) -> Tier {
        Tier::new(level).expect("a tier")
    }

    fn manifest() -> Manifest {
        let level = Ppm::new(10_000).expect("1 %");
        Manifest {
            schema: SCHEMA,
            model_id: "test".into(),
            model_version: 1,
            rollback_index: 0,
            programme: "tng".into(),
            currency: Policy::preset("tng").expect("tng").currency,
            feature_schema: String::new(),
            features: Vec::new(),
            levels: vec![level],
            ages: vec![Age(0), Age::hours(24), Age::hours(72)],
            window_h: 72,
            opset: 3,
            engine_min: ENGINE,
            engine_max: ENGINE,
            policy_sha256: String::new(),
            golden_sha256: String::new(),
            hard_cap_by_tier: (0..3).map(|t| TierCap { tier: tier(t), cap: money(50_000) }).collect(),
            issued_at: SYNC,
            use_not_after: SYNC.plus(30 * 86_400),
            grace_days: 0,
            monotone: Vec::new(),
        }
    }

    fn certificate() -> Certificate {
        let level = Ppm::new(10_000).expect("1 %");
        let cell = |t, rule, basis| Cell::new(tier(t), rule, basis);
        let (alpha, delta) = (Ppm::new(5_000).expect("0.5 %"), Ppm::new(50_000).expect("5 %"));
        Certificate {
            schema: SCHEMA,
            terms: Terms::new(alpha, delta, Target::Strict, 72, manifest().ages),
            calibration_root: String::new(),
            calibration_rows: 0,
            calibration_from: SYNC,
            calibration_to: SYNC,
            cells: vec![
                cell(0, Rule::Fallback { amount: money(0) }, Basis::Fallback),
                cell(1, Rule::Balance, Basis::Certified),
                cell(2, Rule::Gap { level, scale: GapScale::ONE }, Basis::Certified),
            ],
            limits_of_use: Vec::new(),
        }
    }

    /// An account of `tier` with `balance`, for which the forest keeps half.
    #[track_caller]
    fn check(
        level: u8,
        balance: u64,
        change: impl FnOnce(&mut Situation),
        after_s: i64,
        want: (u64, Bound),
    ) -> Decision {
        let policy = Policy::preset("tng").expect("tng");
        let mut situation = Situation::fresh(money(balance), tier(level), SYNC, 1_000);
        change(&mut situation);
        let half = [ONE as i32 / 2];
        let decision = decide(&manifest(), &certificate(), &policy, &situation, &half, SYNC.plus(after_s));
        assert_eq!((decision.limit.minor(), decision.bound), want);
        decision
    }

    #[test]
    fn the_model_has_its_word() {
        let decision = check(2, 40_000, |_| {}, 0, (20_000, Bound::Model));
        assert_eq!(decision.per_payment, money(20_000));
        assert_eq!(decision.reasons.len(), 2);
    }

    #[test]
    fn the_tier_cap_wins_over_a_generous_model() {
        let decision = check(2, 900_000, |_| {}, 0, (50_000, Bound::TierCap));
        assert_eq!(decision.per_payment, money(25_000), "one token is capped on its own");
        check(1, 900_000, |_| {}, 0, (15_000, Bound::TierCap));
    }

    #[test]
    fn the_ceiling_signed_with_the_model_holds_under_a_laxer_policy() {
        let mut policy = Policy::preset("tng").expect("tng");
        policy.tiers[2].rolling_24h = Some(money(80_000));
        let situation = Situation::fresh(money(900_000), tier(2), SYNC, 1_000);
        let d = decide(&manifest(), &certificate(), &policy, &situation, &[ONE as i32], SYNC);
        assert_eq!((d.limit.minor(), d.bound), (50_000, Bound::SignedCeiling));
    }

    #[test]
    fn the_simplest_rule_grants_the_whole_balance() {
        check(1, 9_000, |_| {}, 0, (9_000, Bound::Balance));
    }

    #[test]
    fn an_empty_wallet_gets_zero_not_an_error() {
        check(2, 0, |_| {}, 0, (0, Bound::Balance));
    }

    #[test]
    fn nothing_certified_means_the_fallback() {
        check(0, 9_000, |_| {}, 0, (0, Bound::Fallback));
    }

    #[test]
    fn a_young_history_gets_what_was_loaded_by_hand() {
        let young = |s: &mut Situation| (s.lifetime_tx, s.manual_wallet) = (599, money(1_200));
        check(2, 40_000, young, 0, (1_200, Bound::ManualWallet));
        check(2, 40_000, |s| (s.lifetime_tx, s.manual_wallet) = (600, money(1_200)), 0, (20_000, Bound::Model));
    }

    #[test]
    fn pending_payments_come_off() {
        check(2, 40_000, |s| s.pending = money(850), 0, (19_150, Bound::Pending));
        check(2, 40_000, |s| s.pending = money(99_999), 0, (0, Bound::Pending));
    }

    #[test]
    fn what_was_spent_in_24_hours_counts() {
        check(2, 90_000, |s| s.spent_24h = money(49_000), 0, (1_000, Bound::Rolling24h));
    }

    #[test]
    fn a_new_device_starts_small() {
        check(2, 40_000, |s| s.new_device = true, 0, (5_000, Bound::NewDevice));
    }

    #[test]
    fn age_is_rounded_up_and_ends() {
        assert_eq!(check(2, 40_000, |_| {}, 1, (20_000, Bound::Model)).age, Age::hours(24));
        assert_eq!(check(2, 40_000, |_| {}, 86_400, (20_000, Bound::Model)).age, Age::hours(24));
        assert_eq!(check(2, 40_000, |_| {}, 86_401, (20_000, Bound::Model)).age, Age::hours(72));
        check(2, 40_000, |_| {}, 72 * 3_600 + 1, (0, Bound::Age));
        check(2, 40_000, |_| {}, -1, (0, Bound::Age));
    }

    #[test]
    fn a_model_past_its_use_grants_nothing_of_its_own() {
        let policy = Policy::preset("tng").expect("tng");
        let mut old = manifest();
        old.use_not_after = SYNC.plus(-1);
        let situation = Situation::fresh(money(40_000), tier(2), SYNC, 1_000);
        let decision = decide(&old, &certificate(), &policy, &situation, &[ONE as i32], SYNC);
        assert_eq!((decision.limit, decision.bound), (Money::ZERO, Bound::ModelExpired));
    }

    #[test]
    fn without_a_model_the_static_floor_is_granted_under_the_same_caps() {
        let mut policy = Policy::preset("tng").expect("tng");
        policy.tiers[2].fallback = money(3_000);
        let at = |change: &dyn Fn(&mut Situation), after_s| {
            let mut s = Situation::fresh(money(40_000), tier(2), SYNC, 1_000);
            change(&mut s);
            let d = decide_floor(&policy, &s, SYNC.plus(after_s));
            (d.limit.minor(), d.bound)
        };
        assert_eq!(at(&|_| {}, 0), (3_000, Bound::Fallback));
        assert_eq!(at(&|s| s.pending = money(2_900), 0), (100, Bound::Pending));
        assert_eq!(at(&|s| s.spent_24h = money(50_000), 0), (0, Bound::Rolling24h));
        assert_eq!(at(&|s| (s.lifetime_tx, s.manual_wallet) = (1, money(70)), 0), (70, Bound::ManualWallet));
        assert_eq!(at(&|_| {}, 72 * 3_600), (3_000, Bound::Fallback));
        assert_eq!(at(&|_| {}, 72 * 3_600 + 1), (0, Bound::Age));
        assert_eq!(at(&|_| {}, -1), (0, Bound::Age), "a clock that went back");
    }

    #[test]
    fn a_suspended_account_gets_nothing_and_a_reduced_one_little() {
        let policy = Policy::preset("naira").expect("naira");
        let mut manifest = manifest();
        manifest.hard_cap_by_tier = vec![TierCap { tier: tier(2), cap: Money::MAX }];
        let at = |fraud_ppm| {
            let mut s = Situation::fresh(money(3_000_000), tier(2), SYNC, 1_000);
            s.fraud_ppm = fraud_ppm;
            let d = decide(&manifest, &certificate(), &policy, &s, &[ONE as i32], SYNC);
            (d.limit.minor(), d.bound)
        };
        assert_eq!(at(299_999).1, Bound::Model);
        assert_eq!(at(300_000), (500_000, Bound::Standing));
        assert_eq!(at(700_000), (0, Bound::Standing));
    }

    proptest::proptest! {
        #[test]
        fn the_limit_never_exceeds_balance_model_or_any_cap(
            level in 0u8..3, balance in 0u64..10_000_000, pending in 0u64..100_000, spent in 0u64..100_000,
            steps in -10i32..(ONE as i32 + 10), after in -100i64..400_000, tx in 0u64..2_000, wallet in 0u64..100_000,
        ) {
            let policy = Policy::preset("tng").expect("tng");
            let mut s = Situation::fresh(money(balance), tier(level), SYNC, tx);
            (s.pending, s.spent_24h, s.manual_wallet) = (money(pending), money(spent), money(wallet));
            let d = decide(&manifest(), &certificate(), &policy, &s, &[steps], SYNC.plus(after));
            let rules = policy.tier(s.tier);
            proptest::prop_assert!(d.limit.minor() <= balance);
            proptest::prop_assert!(d.limit <= rules.outstanding_cap().saturating_sub(s.spent_24h));
            proptest::prop_assert!(d.per_payment <= d.limit && d.per_payment.minor() <= 25_000);
            proptest::prop_assert!(d.reasons.windows(2).all(|w| w[1].left < w[0].left), "only ever lower");
            proptest::prop_assert_eq!(d.reasons.last().map(|r| (r.left, r.bound)), Some((d.limit, d.bound)));
            if level == 2 && tx >= 600 {
                proptest::prop_assert!(d.limit <= GapScale::ONE.limit(s.balance, steps));
            }
        }
    }
}
