//! `GET /v1/score/policy`: the policy in force, under the names of the wallet API that this replaces, and under ours.
//!
//! Its older clients read `hard_cap_per_tier` as the most a limit may be; three of its own documents disagree on that
//! number. Here it is the ceiling that is signed with the model.

use std::collections::BTreeMap;

use plimsoll_model::artifact::hex;
use plimsoll_model::policy::{Policy, TierRules};
use plimsoll_model::{Currency, Money, Tier, UtcSeconds};
use serde::{Deserialize, Serialize};

use super::Active;

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScorePolicy {
    /// Programme, version and model.
    pub policy_version: String,
    /// When the model was made, RFC 3339; the policy itself has no date.
    pub released_at: Option<String>,
    /// The model; none while the static floor decides.
    pub model: Option<ModelFile>,
    /// In major units, as text.
    pub limits: Limits,
    /// The programme.
    pub programme: String,
    /// What it counts in, e.g. `MYR/2`.
    pub currency: Currency,
    /// The repository: what a device verifies a model from. The address and hash above are for display.
    pub tuf: String,
    /// By tier, in minor units.
    pub tiers: Vec<TierPolicy>,
}

/// Where the model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// `onnx`.
    pub format: String,
    /// Its path on this service.
    pub url: String,
    /// Lower-case hex.
    pub sha256: String,
    /// The model line.
    pub model_id: String,
    /// Rises with every release.
    pub model_version: u64,
    /// Seconds; after that the static floor decides.
    pub usable_until: UtcSeconds,
}

/// Caps, in major units, as text: `"150.00"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The most that may be granted, by tier.
    pub hard_cap_per_tier: BTreeMap<String, String>,
    /// The most in one token, by tier; tiers without such a cap are not there.
    pub token_cap_per_tier: BTreeMap<String, String>,
    /// The most in one token, whatever the tier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub global_cap_per_token: Option<String>,
    /// The same, under the name that clients of the e-wallet read; for amounts in ringgit only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub global_cap_per_token_myr: Option<String>,
    /// Hours a token is valid.
    pub max_token_validity_hours: u32,
}

/// What a tier may do, amounts in minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierPolicy {
    /// Which.
    pub tier: Tier,
    /// The name that clients see.
    pub policy_class: String,
    /// May pay offline.
    pub pay: bool,
    /// May be paid offline.
    pub receive: bool,
    /// The most that may be granted.
    pub hard_cap: Money,
    /// In one payment.
    pub per_payment: Option<Money>,
    /// In any 24 hours, by signing time.
    pub rolling_24h: Option<Money>,
    /// In a calendar day.
    pub day: Option<Money>,
    /// In a calendar week.
    pub week: Option<Money>,
}

impl ScorePolicy {
    /// Of what decides.
    pub fn of(active: &Active) -> Self {
        let policy = active.policy();
        let manifest = active.evaluator().map(plimsoll_edge::Evaluator::manifest);
        let shown = |amount: Money| policy.currency.format(amount.minor() as i64);
        let hard_cap = |tier: &TierRules| {
            let cap = tier.outstanding_cap();
            manifest.map_or(cap, |manifest| cap.min(manifest.hard_cap(tier.tier)))
        };
        let named = |tier: &TierRules, amount: Money| (tier.tier.level().to_string(), shown(amount));
        let per_token = |tier: &TierRules| token_cap(policy, tier).map(|amount| named(tier, amount));
        let global = policy.token.amount_max.map(shown);
        let model = active.released().zip(manifest).map(|(released, manifest)| ModelFile {
            format: "onnx".to_owned(),
            url: format!("/v1/tuf/{}", released.model_file()),
            sha256: active.digest().map(|digest| hex(&digest.0)).unwrap_or_default(),
            model_id: manifest.model_id.clone(),
            model_version: manifest.model_version,
            usable_until: manifest.usable_until(),
        });
        Self {
            policy_version: active.policy_version(),
            released_at: manifest.map(|manifest| manifest.issued_at.rfc3339()),
            model,
            limits: Limits {
                // A tier without any cap has none to show.
                hard_cap_per_tier: policy
                    .tiers
                    .iter()
                    .filter(|tier| hard_cap(tier) < Money::MAX)
                    .map(|tier| named(tier, hard_cap(tier)))
                    .collect(),
                token_cap_per_tier: policy.tiers.iter().filter_map(per_token).collect(),
                global_cap_per_token_myr: global.clone().filter(|_| policy.currency.code() == "MYR"),
                global_cap_per_token: global,
                max_token_validity_hours: policy.token.valid_h,
            },
            programme: policy.programme.clone(),
            currency: policy.currency,
            tuf: "/v1/tuf".to_owned(),
            tiers: policy
                .tiers
                .iter()
                .map(|tier| TierPolicy {
                    tier: tier.tier,
                    policy_class: tier.class.clone(),
                    pay: tier.pay,
                    receive: tier.receive,
                    hard_cap: hard_cap(tier),
                    per_payment: token_cap(policy, tier),
                    rolling_24h: tier.rolling_24h,
                    day: tier.day,
                    week: tier.week,
                })
                .collect(),
        }
    }
}

/// The most of one token: the tier's cap under the programme's.
fn token_cap(policy: &Policy, tier: &TierRules) -> Option<Money> {
    [tier.per_payment, policy.token.amount_max].into_iter().flatten().min()
}
