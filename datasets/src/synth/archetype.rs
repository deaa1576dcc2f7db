//! Kinds of people: what they earn, how often they pay, when in the day and the week.

use serde::{Deserialize, Serialize};

use super::config::Programme;

/// A way of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Archetype {
    /// Sells in a village: many small sales, a weekly restock, cash out, poor coverage.
    RuralMerchant,
    /// Drives or delivers: weekly payouts that vary, frequent small spending.
    GigWorker,
    /// Lives on an allowance, near zero at its end.
    Student,
    /// Salaried, tops up from a bank, bills on fixed days.
    UrbanOffice,
    /// A pension on a fixed day, few payments, steady balance.
    Pensioner,
    /// Market trader: high turnover, large swings.
    Trader,
    /// A household living on remittances that come when they come.
    Remittee,
    /// Pays fares and canteens with a card topped up in cash.
    Commuter,
}

/// How money comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pay {
    /// Once a month, on a day of one's own, moved before weekends.
    Monthly,
    /// Once a week, varying.
    Weekly,
    /// With every sale.
    Sales,
    /// Without a calendar, about twice a month.
    Irregular,
}

/// The numbers of an archetype. Money in ringgit a month; other programmes scale it.
pub(crate) struct Profile {
    pub(crate) income: (u32, u32),
    pub(crate) purchases_per_day: f64,
    pub(crate) transfers_per_day: f64,
    /// Share of the income that passes through the wallet.
    pub(crate) wallet_share: (f64, f64),
    pub(crate) pay: Pay,
    /// Chance that pay goes into the wallet itself, rather than to a bank it is topped up from.
    pub(crate) paid_into_wallet: f64,
    pub(crate) bills: (u32, u32),
    /// Time without a connection, relative to the average wallet.
    pub(crate) offline: f64,
    /// Tops up over a counter rather than from a bank.
    pub(crate) cash: bool,
    /// Relative spending by weekday, Monday first.
    pub(crate) week: [f64; 7],
    /// Relative spending by local hour, working days and weekends.
    pub(crate) hours: [[u8; 24]; 2],
}

const DAY_SHIFT: [u8; 24] = [0, 0, 0, 0, 0, 1, 3, 6, 7, 5, 5, 7, 10, 9, 6, 5, 6, 8, 8, 6, 4, 3, 1, 0];
const OFFICE: [u8; 24] = [0, 0, 0, 0, 0, 0, 2, 8, 9, 4, 3, 5, 14, 12, 4, 3, 4, 7, 11, 11, 8, 5, 2, 1];
const NIGHT_OWL: [u8; 24] = [3, 2, 1, 0, 0, 0, 1, 2, 4, 5, 5, 6, 9, 8, 6, 6, 7, 7, 8, 9, 10, 10, 8, 5];
const MORNING: [u8; 24] = [0, 0, 0, 0, 0, 2, 7, 11, 12, 11, 9, 7, 6, 4, 3, 4, 5, 5, 4, 2, 1, 0, 0, 0];
const COMMUTE: [u8; 24] = [0, 0, 0, 0, 1, 6, 16, 18, 8, 2, 1, 3, 8, 5, 2, 3, 7, 17, 14, 7, 4, 2, 1, 0];
const LEISURE: [u8; 24] = [1, 1, 0, 0, 0, 0, 1, 2, 4, 7, 9, 10, 11, 10, 9, 9, 9, 10, 11, 12, 11, 8, 5, 2];

impl Archetype {
    /// Every archetype.
    pub const ALL: [Self; 8] = [
        Self::RuralMerchant,
        Self::GigWorker,
        Self::Student,
        Self::UrbanOffice,
        Self::Pensioner,
        Self::Trader,
        Self::Remittee,
        Self::Commuter,
    ];

    /// The name used in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RuralMerchant => "rural_merchant",
            Self::GigWorker => "gig_worker",
            Self::Student => "student",
            Self::UrbanOffice => "urban_office",
            Self::Pensioner => "pensioner",
            Self::Trader => "trader",
            Self::Remittee => "remittee",
            Self::Commuter => "commuter",
        }
    }

    /// Whether neighbours pay here.
    pub const fn sells(self) -> bool {
        matches!(self, Self::RuralMerchant | Self::Trader)
    }

    /// Weights of the archetypes in a programme, in the order of [`Archetype::ALL`].
    pub(crate) const fn mix(programme: Programme) -> [u32; 8] {
        match programme {
            Programme::Tng => [18, 31, 23, 22, 6, 0, 0, 0],
            Programme::Naira => [10, 20, 15, 14, 4, 22, 15, 0],
            Programme::P2p => [28, 20, 18, 10, 7, 5, 12, 0],
            Programme::Card => [8, 7, 30, 12, 3, 0, 0, 40],
        }
    }

    pub(crate) const fn profile(self) -> Profile {
        match self {
            Self::RuralMerchant => Profile {
                income: (2_000, 5_000),
                purchases_per_day: 0.9,
                transfers_per_day: 0.25,
                wallet_share: (0.45, 0.8),
                pay: Pay::Sales,
                paid_into_wallet: 1.0,
                bills: (1, 3),
                offline: 1.6,
                cash: true,
                week: [0.9, 0.9, 1.0, 1.0, 1.2, 1.2, 0.8],
                hours: [MORNING, MORNING],
            },
            Self::GigWorker => Profile {
                income: (1_800, 6_000),
                purchases_per_day: 2.6,
                transfers_per_day: 0.3,
                wallet_share: (0.4, 0.8),
                pay: Pay::Weekly,
                paid_into_wallet: 0.65,
                bills: (1, 4),
                offline: 1.15,
                cash: false,
                week: [1.0, 0.9, 0.9, 1.0, 1.2, 1.2, 0.8],
                hours: [NIGHT_OWL, NIGHT_OWL],
            },
            Self::Student => Profile {
                income: (500, 1_800),
                purchases_per_day: 2.1,
                transfers_per_day: 0.35,
                wallet_share: (0.5, 0.95),
                pay: Pay::Irregular,
                paid_into_wallet: 0.55,
                bills: (0, 2),
                offline: 0.95,
                cash: false,
                week: [1.1, 1.1, 1.1, 1.0, 1.0, 0.9, 0.8],
                hours: [NIGHT_OWL, LEISURE],
            },
            Self::UrbanOffice => Profile {
                income: (3_500, 12_000),
                purchases_per_day: 2.4,
                transfers_per_day: 0.25,
                wallet_share: (0.15, 0.45),
                pay: Pay::Monthly,
                paid_into_wallet: 0.15,
                bills: (2, 5),
                offline: 0.7,
                cash: false,
                week: [1.0, 1.0, 1.0, 1.0, 1.2, 1.3, 0.9],
                hours: [OFFICE, LEISURE],
            },
            Self::Pensioner => Profile {
                income: (900, 2_500),
                purchases_per_day: 0.7,
                transfers_per_day: 0.1,
                wallet_share: (0.4, 0.9),
                pay: Pay::Monthly,
                paid_into_wallet: 0.8,
                bills: (2, 4),
                offline: 0.9,
                cash: true,
                week: [1.1, 1.1, 1.0, 1.0, 1.1, 0.9, 0.7],
                hours: [MORNING, MORNING],
            },
            Self::Trader => Profile {
                income: (2_500, 9_000),
                purchases_per_day: 1.5,
                transfers_per_day: 0.6,
                wallet_share: (0.6, 0.95),
                pay: Pay::Sales,
                paid_into_wallet: 1.0,
                bills: (1, 3),
                offline: 1.2,
                cash: true,
                week: [1.0, 1.0, 1.0, 1.1, 1.2, 1.4, 0.4],
                hours: [DAY_SHIFT, DAY_SHIFT],
            },
            Self::Remittee => Profile {
                income: (700, 2_200),
                purchases_per_day: 1.4,
                transfers_per_day: 0.25,
                wallet_share: (0.7, 1.0),
                pay: Pay::Irregular,
                paid_into_wallet: 1.0,
                bills: (1, 3),
                offline: 1.2,
                cash: true,
                week: [0.9, 0.9, 1.0, 1.0, 1.2, 1.2, 1.0],
                hours: [DAY_SHIFT, LEISURE],
            },
            Self::Commuter => Profile {
                income: (1_200, 4_500),
                purchases_per_day: 3.0,
                transfers_per_day: 0.05,
                wallet_share: (0.12, 0.3),
                pay: Pay::Monthly,
                paid_into_wallet: 0.0,
                bills: (0, 1),
                offline: 1.0,
                cash: true,
                week: [1.2, 1.2, 1.2, 1.2, 1.2, 0.6, 0.4],
                hours: [COMMUTE, LEISURE],
            },
        }
    }
}
