//! Policy: one programme's rules, as data. Trees propose, policy disposes; a new cap touches no tree code.
//!
//! A policy is written in TOML (the presets: `tng`, `naira`, `p2p`, `card`) and published as JSON beside the model.
//! Amounts are integer minor units of the policy's currency.

use serde::{Deserialize, Serialize};

use crate::money::{Currency, Money};
use crate::quantile::Ppm;
use crate::time::UtcOffset;
use crate::transaction::Tier;

/// One deployment's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its name, e.g. `tng`.
    pub programme: String,
    /// Rises with every change.
    pub version: u32,
    /// What amounts count in.
    pub currency: Currency,
    /// The clock its calendar days follow, minutes from UTC.
    pub utc_offset_min: UtcOffset,
    /// What stands behind an offline payment.
    pub backing: Backing,
    /// Hours from a payment to the last instant it may settle (`H`).
    pub settle_within_h: u32,
    /// Hours after a sync during which offline payments may be made at all; the oldest certified age.
    pub offline_h_max: u32,
    /// Token and request rules.
    pub token: TokenRules,
    /// When the holder must prove presence again.
    pub step_up: Option<StepUp>,
    /// When the model may not be used and a wallet loaded by hand takes its place.
    pub manual_wallet: Option<ManualWallet>,
    /// Cap of a device enrolled since the last sync.
    pub new_device_cap: Option<Money>,
    /// Tiers, rising.
    pub tiers: Vec<TierRules>,
    /// Lien-backed ceilings.
    pub ceiling: Option<CeilingRules>,
    /// Fraud standing from decayed signals.
    pub standing: Option<StandingRules>,
    /// Rules for online transfers.
    pub online: Option<OnlineRules>,
    /// Value stored on a card.
    pub card: Option<CardRules>,
    /// Score refresh on sync.
    pub refresh: RefreshRules,
    /// How new models reach devices.
    pub rollout: RolloutRules,
}

/// What stands behind an offline payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// Nothing: an allowance on a cached balance.
    None,
    /// A lien on the main balance.
    Lien,
    /// Value stored on a card.
    Card,
}

/// Payment tokens and requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRules {
    /// Hours a payment token is valid.
    pub valid_h: u32,
    /// Seconds a payment request is valid.
    pub request_valid_s: u32,
    /// No single token above this, whatever the tier.
    pub amount_max: Option<Money>,
}

/// When the holder must prove presence again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    /// No proof at or below this amount.
    pub free_up_to: Money,
    /// Sum of such payments after which one is asked for anyway.
    pub free_total: Option<Money>,
}

/// The allowance of accounts the programme does not score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManualWallet {
    /// Fewer lifetime transactions than this: no model.
    pub below_lifetime_tx: u64,
}

/// Caps of one tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierRules {
    /// Which.
    pub tier: Tier,
    /// The name API clients see.
    pub class: String,
    /// May pay offline.
    pub pay: bool,
    /// May be paid offline.
    pub receive: bool,
    /// Single payment; none = unlimited.
    pub per_payment: Option<Money>,
    /// Sum of payments in any 24 hours, by signing time.
    pub rolling_24h: Option<Money>,
    /// Sum of payments in a calendar day.
    pub day: Option<Money>,
    /// Sum of payments in a calendar week, Monday first.
    pub week: Option<Money>,
    /// Everything outstanding from one sync.
    pub outstanding: Option<Money>,
    /// What is granted where no limit certifies.
    pub fallback: Money,
}

impl TierRules {
    /// The most that one sync can ever grant: the smallest of the sums over time.
    pub fn outstanding_cap(&self) -> Money {
        if !self.pay {
            return Money::ZERO;
        }
        [self.rolling_24h, self.day, self.week, self.outstanding].into_iter().flatten().min().unwrap_or(Money::MAX)
    }
}

/// Issuer-signed ceilings over a lien.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeilingRules {
    /// Hard maximum hours of a ceiling token; a client may ask for less, never for more.
    pub ttl_h_max: u32,
    /// Hours after which unclaimed payments settle by themselves.
    pub auto_settle_h: u32,
    /// Minutes of grace for clocks.
    pub grace_min: u32,
    /// A payment the ceiling no longer covers settles for what is left.
    pub partial_settlement: bool,
    /// Live ceilings per account.
    pub live_max: u32,
}

impl CeilingRules {
    /// When the lien of a lost device comes free: `max(expiry, now) + auto_settle + grace`.
    pub fn release_at(&self, expiry: crate::UtcSeconds, now: crate::UtcSeconds) -> crate::UtcSeconds {
        expiry.max(now).plus(i64::from(self.auto_settle_h) * 3_600 + i64::from(self.grace_min) * 60)
    }
}

/// Fraud standing: `1 − exp(−Σ weight · 2^(−age / half-life))`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandingRules {
    /// Days after which a signal weighs half.
    pub half_life_days: u32,
    /// Weights in thousandths.
    pub weights_milli: SignalWeights,
    /// From this score on: reduced.
    pub reduced_from: Ppm,
    /// Cap of a reduced account.
    pub reduced_cap: Money,
    /// From this score on: nothing.
    pub suspended_from: Ppm,
}

/// Weights of fraud signals, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the signals' own names
pub struct SignalWeights {
    pub signature_invalid: u32,
    pub double_spend: u32,
    pub geographic_anomaly: u32,
    pub sequence_anomaly: u32,
    pub device_change: u32,
    pub velocity_breach: u32,
    pub ceiling_exhaustion: u32,
}

/// Rules for transfers made online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlineRules {
    /// More than this in 60 s: block.
    pub per_minute_max: u32,
    /// More than this in an hour: block.
    pub per_hour_max: u32,
    /// Hours during which an account is new.
    pub new_account_h: u32,
    /// A new account above this: flag.
    pub new_account_above: Money,
    /// A first transfer to a payee above this: flag.
    pub new_payee_above: Money,
    /// More than this share of the day's cap: flag.
    pub day_share: Ppm,
}

/// Value stored on a card, and the sessions of terminals that may change it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardRules {
    /// No card may ever hold more.
    pub balance_max: Money,
    /// Recommended cap.
    pub balance_recommended: Money,
    /// Amounts are stored in this many bits.
    pub amount_bits: u32,
    /// Shortest session grant, hours.
    pub session_h_min: u32,
    /// Longest session grant, hours.
    pub session_h_max: u32,
    /// Budget of one session grant.
    pub grant_budget: Money,
    /// Budget of one terminal in a session.
    pub terminal_budget: Money,
    /// More debits than this on one card in an hour: flag.
    pub debits_per_card_hour: u32,
    /// Hours a batch may be late: flag beyond.
    pub late_h: u32,
    /// A balance above this share of the cap: flag.
    pub cap_share: Ppm,
    /// A gap in the card's counter above this: flag.
    pub counter_gap_max: u32,
}

/// Score refresh on sync.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshRules {
    /// Refreshes per identity and minute.
    pub per_minute: u32,
    /// Devices per account.
    pub devices_max: u32,
}

/// How new models reach devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutRules {
    /// First ring.
    pub first_ring: Ppm,
    /// Days the old model is kept for rollback.
    pub rollback_days: u32,
    /// Share of device and server disagreements that pulls a model back.
    pub mismatch_max: Ppm,
}

/// The presets' names.
pub const PRESETS: [&str; 4] = ["tng", "naira", "p2p", "card"];

impl Policy {
    /// A built-in programme, by name.
    pub fn preset(name: &str) -> Option<Self> {
        let text = Self::preset_toml(name)?;
        Some(Self::from_toml(text).expect("presets are read in the tests"))
    }

    /// The text of a preset, comments included.
    pub fn preset_toml(name: &str) -> Option<&'static str> {
        Some(match name {
            "tng" => include_str!("../../presets/tng.toml"),
            "naira" => include_str!("../../presets/naira.toml"),
            "p2p" => include_str!("../../presets/p2p.toml"),
            "card" => include_str!("../../presets/card.toml"),
            _ => return None,
        })
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`BadPolicy`] names the key.
    pub fn from_toml(text: &str) -> Result<Self, BadPolicy> {
        let policy: Self = toml::from_str(text).map_err(|e| BadPolicy::Syntax { reason: e.to_string() })?;
        policy.validated()
    }

    /// Reads a published policy.
    ///
    /// # Errors
    /// [`BadPolicy`] names the key.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BadPolicy> {
        let policy: Self = serde_json::from_slice(bytes).map_err(|e| BadPolicy::Syntax { reason: e.to_string() })?;
        policy.validated()
    }

    /// The bytes that are published.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a policy holds only integers, text and lists")
    }

    /// The rules of a tier; of the lowest tier when the programme does not know it.
    pub fn tier(&self, tier: Tier) -> &TierRules {
        let known = self.tiers.iter().find(|t| t.tier == tier);
        known.or(self.tiers.first()).expect("a policy has at least one tier")
    }

    fn validated(self) -> Result<Self, BadPolicy> {
        let wrong = |key: &str, why: &str| Err(BadPolicy::Value { key: key.into(), why: why.into() });
        if self.programme.is_empty()
            || !self.programme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return wrong("programme", "use lower-case letters, digits and dashes");
        }
        if self.tiers.is_empty() {
            return wrong("tiers", "a programme has at least one tier");
        }
        if !self.tiers.is_sorted_by(|a, b| a.tier < b.tier) {
            return wrong("tiers", "list tiers once each, rising");
        }
        if self.settle_within_h > 24 * 7 || self.offline_h_max > 24 * 7 {
            return wrong("settle_within_h", "windows longer than a week are not certified");
        }
        for t in &self.tiers {
            if t.fallback > t.outstanding_cap() {
                return wrong("tiers.fallback", "a fallback may not exceed the tier's own caps");
            }
        }
        if self.utc_offset_min.0.abs() > 14 * 60 {
            return wrong("utc_offset_min", "no clock is more than 14 hours from UTC");
        }
        if self.standing.as_ref().is_some_and(|s| s.reduced_from >= s.suspended_from) {
            return wrong("standing.reduced_from", "must lie below suspended_from");
        }
        if let Some(card) = &self.card
            && (card.amount_bits > 40 || card.balance_max.minor() >= 1 << card.amount_bits)
        {
            return wrong("card.balance_max", "does not fit amount_bits");
        }
        Ok(self)
    }
}

/// Why a policy file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// Not TOML or JSON, an unknown key, a missing one, a wrong type.
    #[error("{reason}")]
    Syntax {
        /// The parser's word, with line and key.
        reason: String,
    },
    /// A value that contradicts itself.
    #[error("{key}: {why}")]
    Value {
        /// Which key.
        key: String,
        /// What to do.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_reads_and_survives_publication() {
        for name in PRESETS {
            let policy = Policy::from_toml(Policy::preset_toml(name).expect("named")).expect(name);
            assert_eq!(policy.programme, name);
            assert_eq!(Policy::from_json(&policy.to_json()).as_ref(), Ok(&policy));
        }
        assert!(Policy::preset("unknown").is_none());
    }

    #[test]
    fn the_numbers_of_the_programmes_are_those_of_their_specifications() {
        let tng = Policy::preset("tng").expect("tng");
        let caps: Vec<_> =
            tng.tiers.iter().map(|t| (t.per_payment.map(Money::minor), t.rolling_24h.map(Money::minor))).collect();
        assert_eq!(caps, [(Some(2_000), Some(5_000)), (Some(5_000), Some(15_000)), (Some(25_000), Some(50_000))]);
        assert_eq!((tng.token.valid_h, tng.token.request_valid_s), (72, 300));
        assert_eq!(tng.token.amount_max.map(Money::minor), Some(25_000));
        assert_eq!(tng.manual_wallet.as_ref().map(|m| m.below_lifetime_tx), Some(600));
        assert_eq!((tng.rollout.first_ring.get(), tng.rollout.rollback_days, tng.refresh.per_minute), (10_000, 7, 10));

        let naira = Policy::preset("naira").expect("naira");
        let standing = naira.standing.as_ref().expect("naira has standing");
        assert_eq!((standing.reduced_from.get(), standing.suspended_from.get()), (300_000, 700_000));
        assert_eq!(standing.reduced_cap.minor(), 500_000);
        let ceiling = naira.ceiling.as_ref().expect("naira has ceilings");
        // Issued at 0 for 24 h, recovered at once: free 72 h 30 min after expiry.
        let day = crate::UtcSeconds(86_400);
        assert_eq!(ceiling.release_at(day, crate::UtcSeconds(0)), day.plus(72 * 3_600 + 1_800));

        let card = Policy::preset("card").expect("card");
        let rules = card.card.as_ref().expect("card rules");
        assert_eq!((rules.balance_max.minor(), rules.amount_bits), (16_000_000, 24));
        let tier = &card.tiers[0];
        assert_eq!(
            [tier.per_payment, tier.day, tier.week].map(|c| c.map(Money::minor)),
            [Some(1_000_000), Some(2_000_000), Some(5_000_000)]
        );
    }

    #[test]
    fn an_unknown_tier_gets_the_lowest_rules() {
        let tng = Policy::preset("tng").expect("tng");
        assert_eq!(tng.tier(Tier::new(3).expect("exists")).tier, Tier::default());
    }

    #[test]
    fn mistakes_name_their_key() {
        let tng = Policy::preset_toml("tng").expect("tng");
        let refused = |from: &str, to: &str| {
            assert!(tng.contains(from), "{from}");
            Policy::from_toml(&tng.replacen(from, to, 1)).expect_err(to).to_string()
        };
        assert!(refused("settle_within_h", "settle_within").contains("settle_within"));
        assert!(refused("utc_offset_min = 480", "utc_offset_min = 2000").contains("utc_offset_min"));
        assert!(refused("MYR/2", "ringgit").contains("ringgit"));
        assert!(refused("tier = 1", "tier = 2").contains("tiers"));
        assert!(refused("fallback = 0", "fallback = 999_999").contains("fallback"));
    }
}
