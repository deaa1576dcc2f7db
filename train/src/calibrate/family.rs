//! Families of limits: each a fixed sequence of candidates from a limit of nothing to the whole balance, which one
//! calibrated scalar moves along.

use plimsoll_model::artifact::{Rule, Terms};
use plimsoll_model::calibration::GapScale;
use plimsoll_model::forest::ONE;
use plimsoll_model::money::Money;

use super::Scored;

/// A family of limits with one scalar, simplest first. Limits rise along each family, window by window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A share of the balance: what a careful operator types by hand. Its end is min(balance, cap).
    Share,
    /// The account's own history of falls, scaled: no model. It is compared and does not ship, for the artifact has no
    /// way to say it.
    History,
    /// The model's gap at one of its levels, scaled.
    Gap {
        /// Which level, by index.
        level: usize,
    },
}

/// Steps from nothing to the whole balance in [`Family::Share`].
const SHARES: u32 = 400;

/// One member of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// `min(balance, cap)`.
    Plain,
    /// A share of the balance, in steps of 2⁻²⁰.
    Share(u32),
    /// The account's own falls at this scale.
    History(GapScale),
    /// The model's gap at this scale.
    Gap {
        /// Which level, by index.
        level: usize,
        /// The scalar.
        scale: GapScale,
    },
    /// A fixed amount.
    Flat(Money),
}

impl Family {
    /// All of a model with so many levels, simplest first.
    pub fn all(levels: usize) -> Vec<Self> {
        [Self::Share, Self::History].into_iter().chain((0..levels).map(|level| Self::Gap { level })).collect()
    }

    /// Its name, for people.
    pub fn name(self, terms: &Terms) -> String {
        match self {
            Self::Share => "share".into(),
            Self::History => "history".into(),
            Self::Gap { level } => terms.levels.get(level).map_or("gap".into(), |l| format!("gap {l}")),
        }
    }

    /// Whether a cell can hold it.
    pub const fn ships(self) -> bool {
        !matches!(self, Self::History)
    }

    /// Its members, in the order of the test.
    pub fn candidates(self) -> Vec<Candidate> {
        let scales = || GapScale::sequence().into_iter();
        match self {
            Self::Share => (0..=SHARES)
                .map(|n| Candidate::Share((u64::from(n) * u64::from(ONE) / u64::from(SHARES)) as u32))
                .collect(),
            Self::History => scales().map(Candidate::History).collect(),
            Self::Gap { level } => scales().map(|scale| Candidate::Gap { level, scale }).collect(),
        }
    }
}

impl Candidate {
    /// The limit for a window at an age, under the tier's cap.
    pub fn limit(self, window: &Scored, age: usize, cap: Money) -> Money {
        let raw = match self {
            Self::Plain => window.balance,
            Self::Share(steps) => window.balance.scale_steps(steps),
            Self::History(scale) => scale.limit(window.balance, window.history),
            Self::Gap { level, scale } => {
                scale.limit(window.balance, window.steps[level * window.headroom.len() + age])
            }
            Self::Flat(amount) => amount.min(window.balance),
        };
        raw.min(cap)
    }

    /// Whether nobody is granted anything.
    pub fn is_nothing(self) -> bool {
        match self {
            Self::Share(steps) => steps == 0,
            Self::History(scale) | Self::Gap { scale, .. } => scale.limit_steps(ONE as i32) == 0,
            Self::Flat(amount) => amount == Money::ZERO,
            Self::Plain => false,
        }
    }

    /// How a device computes it; none when it cannot.
    pub fn rule(self, terms: &Terms) -> Option<Rule> {
        match self {
            Self::Plain | Self::Share(ONE..) | Self::Gap { scale: GapScale(0), .. } => Some(Rule::Balance),
            Self::Share(steps) => Some(Rule::Share { steps }),
            Self::History(_) => None,
            Self::Gap { level, scale } => terms.levels.get(level).map(|level| Rule::Gap { level: *level, scale }),
            Self::Flat(amount) => Some(Rule::Fallback { amount }),
        }
    }
}
