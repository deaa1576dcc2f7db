//! The engine's own words, given to other languages as they are. UniFFI needs their variants and fields written again; a
//! difference does not compile.

use plimsoll_model::decision::{Bound, Decision, Reason, Situation};
use plimsoll_model::transaction::{Kind, Settlement};
use plimsoll_model::{Age, Money, Tier, UtcSeconds};

uniffi::custom_type!(Money, u64, { remote, lower: |money| money.minor(), try_lift: |minor| Ok(Money::from_minor(minor)?) });
uniffi::custom_type!(UtcSeconds, i64, { remote, lower: |at| at.0, try_lift: |at| Ok(UtcSeconds(at)) });
uniffi::custom_type!(Age, u32, { remote, lower: |age| age.0, try_lift: |age| Ok(Age(age)) });
uniffi::custom_type!(Tier, u8, { remote, lower: |tier| tier.level(), try_lift: |level| Ok(Tier::new(level)?) });

#[uniffi::remote(Enum)]
pub enum Kind {
    Purchase,
    TransferOut,
    CashOut,
    Bill,
    Loan,
    Fee,
    Reload,
    TransferIn,
    Income,
    CashIn,
    Interest,
    Refund,
}

#[uniffi::remote(Enum)]
pub enum Settlement {
    Clean,
    Overdraft,
    DoubleSpend,
    Expired,
    Forged,
}

#[uniffi::remote(Enum)]
pub enum Bound {
    Balance,
    Model,
    Fallback,
    ManualWallet,
    SignedCeiling,
    TierCap,
    TierMayNotPay,
    NewDevice,
    Standing,
    Pending,
    Rolling24h,
    Day,
    Week,
    Age,
    ModelExpired,
    OwnModel,
    GrantMissing,
    GrantExpired,
    Locked,
    Attestation,
    PerPayment,
    Count,
    StepUp,
    Lottery,
    Clock,
    State,
    Sequence,
    Margin,
}

#[uniffi::remote(Record)]
pub struct Reason {
    pub bound: Bound,
    pub left: Money,
}

#[uniffi::remote(Record)]
pub struct Decision {
    pub limit: Money,
    pub per_payment: Money,
    pub bound: Bound,
    pub reasons: Vec<Reason>,
    pub age: Age,
    pub valid_until: UtcSeconds,
}

#[uniffi::remote(Record)]
pub struct Situation {
    pub balance: Money,
    pub tier: Tier,
    pub synced_at: UtcSeconds,
    pub pending: Money,
    pub spent_24h: Money,
    pub spent_day: Money,
    pub spent_week: Money,
    pub lifetime_tx: u64,
    pub manual_wallet: Money,
    pub new_device: bool,
    pub fraud_ppm: u32,
}
