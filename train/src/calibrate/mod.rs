//! From scored windows to certified cells.
//!
//! ```text
//! accounts set aside ─► which rule serves best? ─┐
//! calibration accounts ─► how far may it go? ────┴─► cell: rule, evidence ─► what it did on the test accounts
//!                         α and β at every age, one fixed sequence from a limit of nothing
//! ```
//!
//! The rule is chosen on accounts that take no part in its test, so the test needs no correction for the choice and has
//! the whole δ. The simplest rule that serves as well wins: a fixed share of the balance, whose last step is
//! `min(balance, cap)`, comes before a model.

mod certify;
mod family;
mod group;
mod verify;

use plimsoll_model::artifact::Terms;
use plimsoll_model::forest::{Forest, ONE, uncross};
use plimsoll_model::money::Money;
use plimsoll_model::time::{Age, UtcSeconds};
use plimsoll_model::{Tier, features::Feature};
use rayon::prelude::*;

use crate::windows::Window;

pub(crate) use certify::cells;
pub use certify::{Feasible, candidate, derive, tested};
pub use family::{Candidate, Family};
pub(crate) use group::in_turn;
pub use group::{Glance, Group, Outcome};
pub use verify::{Difference, verify};

/// A window with what the forest says of it: one line of the calibration log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Index of the account; windows of one account are neighbours.
    pub account: u32,
    /// Its tier.
    pub tier: Tier,
    /// When the sync was.
    pub at: UtcSeconds,
    /// Balance then.
    pub balance: Money,
    /// What was paid on the spot.
    pub demand: Money,
    /// What the account's own history keeps: one less the 98th percentile of its 3-day falls, in steps; 0 without any.
    pub history: i32,
    /// At each age.
    pub headroom: Vec<Money>,
    /// The forest's answers, uncrossed: every age at the first level, then every age at the next.
    pub steps: Vec<i32>,
}

/// Everything a certificate is derived from: what was asked, and the windows of three parts that share no account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What was asked.
    pub terms: Terms,
    /// Chooses between rules.
    pub choose: Vec<Scored>,
    /// Certifies the chosen one.
    pub calibrate: Vec<Scored>,
    /// Shows what it does.
    pub test: Vec<Scored>,
}

/// Runs the forest over windows at every age.
pub fn score(forest: &Forest, windows: &[Window], ages: &[Age]) -> Vec<Scored> {
    let levels = forest.outputs().len();
    let score = |w: &Window| {
        let mut row = w.features;
        let mut steps = vec![0; levels * ages.len()];
        for (ix, age) in ages.iter().enumerate() {
            row[Feature::LastSyncAgeMin as usize] = age.0 as f32;
            let mut answers = forest.evaluate(&row);
            uncross(&mut answers);
            answers.iter().enumerate().for_each(|(level, answer)| steps[level * ages.len() + ix] = *answer);
        }
        let fall = w.features[Feature::Fall3dQ98Share as usize];
        Scored {
            account: w.account,
            tier: w.tier,
            at: w.at,
            balance: w.balance,
            demand: w.demand,
            history: if fall.is_nan() { 0 } else { ((1.0 - fall.clamp(0.0, 1.0)) * ONE as f32) as i32 },
            headroom: w.headroom.clone(),
            steps,
        }
    };
    windows.par_iter().map(score).collect()
}

#[cfg(test)]
mod tests;
