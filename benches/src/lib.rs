//! What the benches share: the same wallets, windows and trained run for every question.

use plimsoll_datasets::{Histories, synth};
use plimsoll_model::calibration::Target;
use plimsoll_model::policy::Policy;
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
