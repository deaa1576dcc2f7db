//! What the benches share: the same wallets, windows and trained run for every question.

use plimsoll_datasets::{Histories, synth};
use plimsoll_model::calibration::Target;
use plimsoll_model::features::{FeatureState, Profile};
use plimsoll_model::policy::Policy;
use plimsoll_model::{Account, Transaction};
use plimsoll_train::config::Config;
use plimsoll_train::run::{Run, train};

/// Generated wallets, 270 days.
pub fn wallets(accounts: u32) -> Histories {
    synth::histories(&synth::Config { seed: 42, accounts, days: 270, ..synth::Config::default() })
        .expect("a valid generator")
}

/// A run at the default settings.
pub fn run(histories: &Histories) -> Run {
    let config = Config { target: Target::Committed, ..Config::default() };
    train(histories, &config, &Policy::preset("tng").expect("a preset"), &()).expect("trains")
}

/// The state of an account before its first row.
pub fn state(histories: &Histories, account: &Account, rows: &[Transaction]) -> Option<FeatureState> {
    let first = rows.first()?;
    let profile = Profile {
        opened_at: account.opened_at.unwrap_or(first.at),
        tier: account.tier,
        attested: true,
        offset: histories.offset,
        currency: histories.currency,
    };
    Some(FeatureState::new(profile, account.opening_minor, first.at))
}
