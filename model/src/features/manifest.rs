//! The list of features: name, unit, window, value when missing. Its hash travels in every artifact.

use std::fmt::Write;

/// What a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureSpec {
    /// Its name, in files and in the API.
    pub name: &'static str,
    /// What it counts in.
    pub unit: &'static str,
    /// How far it looks, in local calendar days.
    pub window: &'static str,
    /// Its value when there is nothing to compute it from.
    pub missing: &'static str,
    /// What it says.
    pub about: &'static str,
}

/// Rises when a definition changes without its text changing.
const DEFINITION_VERSION: u32 = 1;

macro_rules! features {
    ($($variant:ident $name:literal $unit:literal $window:literal $missing:literal $about:literal)*) => {
        /// The features, as columns.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum Feature {
            $(#[doc = concat!($about, "; ", $unit, "; ", $window, ".")] $variant,)*
        }

        /// How many there are.
        pub const FEATURE_COUNT: usize = [$(Feature::$variant),*].len();

        /// Name, unit, window and missing value of each, in column order.
        pub const FEATURES: [FeatureSpec; FEATURE_COUNT] = [
            $(FeatureSpec { name: $name, unit: $unit, window: $window, missing: $missing, about: $about },)*
        ];
    };
}

features! {
    TxCount30d "tx_count_30d" "count" "30 d" "0" "Spends"
    TxCount90d "tx_count_90d" "count" "90 d" "0" "Spends"
    AvgTxAmount30d "avg_tx_amount_30d" "major units" "30 d" "NaN" "Mean spend"
    MedianTxAmount30d "median_tx_amount_30d" "major units" "30 d, newest 256" "NaN" "Median spend, nearest rank"
    TxAmountP9530d "tx_amount_p95_30d" "major units" "30 d, newest 256" "NaN" "95th percentile of spends, nearest rank"
    UniquePayees30d "unique_payees_30d" "count" "30 d, newest 256" "0" "Distinct payees"
    UniquePayees90d "unique_payees_90d" "count" "90 d, newest 256" "0" "Distinct payees"
    PayeeDiversityIdx "payee_diversity_idx" "nats" "90 d, newest 256" "0" "Shannon entropy of payees, natural logarithm"
    ReloadFreq30d "reload_freq_30d" "count" "30 d" "0" "Reloads"
    ReloadAmountAvg "reload_amount_avg" "major units" "90 d" "NaN" "Mean reload"
    DaysSinceLastReload "days_since_last_reload" "days" "all" "NaN" "Whole local days since the last reload"
    TimeOfDayPrimary "time_of_day_primary" "hour" "90 d, newest 256" "NaN" "Most frequent local hour of spends, the earliest of equals"
    WeekdayShare "weekday_share" "share" "90 d, newest 256" "NaN" "Spends from Monday to Friday"
    GeoDispersionKm "geo_dispersion_km" "km" "90 d, newest 256" "NaN" "111 × √(var latitude + var longitude) in degrees"
    PriorOfflineCount "prior_offline_count" "count" "all" "0" "Offline payments that reached the ledger"
    PriorOfflineSettleRate "prior_offline_settle_rate" "share" "all" "1" "Of those, settled clean"
    AccountAgeDays "account_age_days" "days" "all" "0" "Whole days since opening"
    KycTier "kyc_tier" "tier" "now" "0" "KYC tier on record"
    LastSyncAgeMin "last_sync_age_min" "minutes" "now" "0" "Minutes since the last sync"
    DeviceAttestOk "device_attest_ok" "0 or 1" "now" "0" "Device attestation is valid"
    BalanceLog2 "balance_log2" "log2 major units" "now" "NaN" "log2(1 + balance)"
    DayOfMonth "day_of_month" "day" "now" "-" "Local day of the month, 1–31"
    DaysLeftInMonth "days_left_in_month" "days" "now" "-" "Local days until the month's last day"
    Weekday "weekday" "0–6" "now" "-" "Local weekday, Monday is 0"
    HourOfDay "hour_of_day" "hour" "now" "-" "Local hour"
    Low7dShare "low_7d_share" "share of balance" "7 d" "NaN" "Lowest balance"
    Low30dShare "low_30d_share" "share of balance" "30 d" "NaN" "Lowest balance"
    Low90dShare "low_90d_share" "share of balance" "90 d" "NaN" "Lowest balance"
    Out1dShare "out_1d_share" "share of balance" "1 d" "NaN" "Sum of debits today"
    Out7dShare "out_7d_share" "share of balance" "7 d" "NaN" "Sum of debits"
    Out30dShare "out_30d_share" "share of balance" "30 d" "NaN" "Sum of debits"
    OutDayMax30dShare "out_day_max_30d_share" "share of balance" "30 d" "NaN" "Largest debits of one day"
    OutMax90dShare "out_max_90d_share" "share of balance" "90 d" "NaN" "Largest single debit"
    Committed30dShare "committed_30d_share" "share of balance" "30 d" "NaN" "Sum of committed debits"
    In7dShare "in_7d_share" "share of balance" "7 d" "NaN" "Sum of credits"
    In30dShare "in_30d_share" "share of balance" "30 d" "NaN" "Sum of credits"
    NetSd30dShare "net_sd_30d_share" "share of balance" "30 d" "NaN" "Standard deviation of daily net flow"
    Lag1Fall3dShare "lag1_fall_3d_share" "share of balance" "3 d, 1 month ago" "NaN" "Fall in the calendar-aligned window"
    Lag1Fall7dShare "lag1_fall_7d_share" "share of balance" "7 d, 1 month ago" "NaN" "Fall in the calendar-aligned window"
    Lag2Fall7dShare "lag2_fall_7d_share" "share of balance" "7 d, 2 months ago" "NaN" "Fall in the calendar-aligned window"
    Lag3Fall7dShare "lag3_fall_7d_share" "share of balance" "7 d, 3 months ago" "NaN" "Fall in the calendar-aligned window"
    LagCommitted7dShare "lag_committed_7d_share" "share of balance" "7 d, 1–3 months ago" "NaN" "Largest sum of committed debits in the aligned windows"
    LagIn7dShare "lag_in_7d_share" "share of balance" "7 d, 1–3 months ago" "NaN" "Smallest sum of credits in the aligned windows"
    Fall3dQ50Share "fall_3d_q50_share" "share of balance" "90 d" "NaN" "Median of the account's own 3-day falls"
    Fall3dQ90Share "fall_3d_q90_share" "share of balance" "90 d" "NaN" "90th percentile of 3-day falls"
    Fall3dQ98Share "fall_3d_q98_share" "share of balance" "90 d" "NaN" "98th percentile of 3-day falls"
    Fall7dQ90Share "fall_7d_q90_share" "share of balance" "90 d" "NaN" "90th percentile of 7-day falls"
    Fall7dMaxShare "fall_7d_max_share" "share of balance" "90 d" "NaN" "Largest 7-day fall"
    Fall3dOverHalf "fall_3d_over_half" "share" "90 d" "NaN" "3-day falls of at least half the present balance"
    Fall7dOverBalance "fall_7d_over_balance" "share" "90 d" "NaN" "7-day falls of at least the present balance"
    Depletion1d "depletion_1d" "share" "90 d" "NaN" "1-day windows that lost at least half of their own starting balance"
    Depletion3d "depletion_3d" "share" "90 d" "NaN" "3-day windows that lost at least half"
    Depletion7d "depletion_7d" "share" "90 d" "NaN" "7-day windows that lost at least half"
    Due3dShare "due_3d_share" "share of balance" "next 3 d" "NaN" "Recurring debits expected"
    Due7dShare "due_7d_share" "share of balance" "next 7 d" "NaN" "Recurring debits expected"
    DueNextDays "due_next_days" "days" "future" "NaN" "Days to the next recurring debit"
    DueNextShare "due_next_share" "share of balance" "future" "NaN" "Amount of the next recurring debit"
    InNextDays "in_next_days" "days" "future" "NaN" "Days to the next recurring credit"
    InLastDays "in_last_days" "days" "all" "NaN" "Days since the last credit"
    InGapCv "in_gap_cv" "ratio" "last 8 gaps" "NaN" "Coefficient of variation of the days between credits"
    HistoryDays "history_days" "days" "128 d" "0" "Days of history in the state, at most 128"
}

impl Feature {
    /// The column of that name.
    pub fn column(name: &str) -> Option<usize> {
        FEATURES.iter().position(|f| f.name == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        FEATURES[self as usize].name
    }
}

/// Lower-case hex SHA-256 of the list: an evaluator refuses a model made for another one.
pub fn schema_hash() -> String {
    let mut text = format!("plimsoll features {DEFINITION_VERSION}\n");
    for f in &FEATURES {
        writeln!(text, "{}\t{}\t{}\t{}\t{}", f.name, f.unit, f.window, f.missing, f.about)
            .expect("writing to a String cannot fail");
    }
    crate::artifact::sha256_hex(text.as_bytes())
}
