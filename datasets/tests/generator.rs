//! What the generator promises: the same bytes for ever, balances that add up, and the mix it was asked for.

use std::collections::HashMap;

use plimsoll_datasets::Histories;
use plimsoll_datasets::synth::{self, Adversary, Archetype, Block, Config, Drift, Generator, Programme};
use plimsoll_model::transaction::name_hash;
use plimsoll_model::{Channel, Kind, Settlement};
use proptest::prelude::*;

fn config(programme: Programme, accounts: u32, days: u32) -> Config {
    Config { programme, accounts, days, ..Config::default() }
}

fn blocks(config: &Config) -> Vec<Block> {
    let generator = Generator::new(config).expect("a good configuration");
    (0..generator.blocks())
        .map(|index| {
            let mut block = Block::new();
            generator.block(index, &mut block);
            block
        })
        .collect()
}

#[test]
fn a_seed_means_the_same_history_for_ever() {
    // To record anew, after a change that is meant to change histories: run, and copy what the failure shows.
    let want = [
        "337d221162fa0312c0b343a51ddf73ae66e86acba1a502d4b4d87f8d085bd443",
        "4b7a4dfea3a21aa42449c813749141a2f4d33c4ed565b23156d50b9327a1fa71",
        "364ef1aa686e29feffceba51c955279358d29d791f043dff2813e3527bd1aa26",
        "aaff4272a9b949d59e2672a5a1125e6dac0f59612b3db20c2111a50c2d9325fb",
    ];
    let got = Programme::ALL
        .map(|programme| synth::histories(&config(programme, 150, 120)).expect("a good configuration").sha256());
    assert_eq!(got, want);
}

#[test]
fn another_seed_is_another_history() {
    let one = synth::histories(&config(Programme::Tng, 20, 60)).expect("good").sha256();
    let two = synth::histories(&Config { seed: 2, ..config(Programme::Tng, 20, 60) }).expect("good").sha256();
    assert_ne!(one, two);
}

#[test]
fn a_block_does_not_depend_on_the_order_it_is_made_in() {
    let config = config(Programme::P2p, 400, 60);
    let generator = Generator::new(&config).expect("good");
    let forwards = blocks(&config);
    let mut block = Block::new();
    for index in (0..generator.blocks()).rev() {
        generator.block(index, &mut block);
        let want: Vec<_> = forwards[index as usize].iter().map(|(u, r)| (u.clone(), r.to_vec())).collect();
        let got: Vec<_> = block.iter().map(|(u, r)| (u.clone(), r.to_vec())).collect();
        assert_eq!(got, want, "block {index}");
    }
    assert_eq!(forwards.iter().map(|b| b.users().len()).sum::<usize>(), 400);
}

#[test]
fn rows_are_in_order_and_balances_are_the_sum_of_the_flows() {
    for programme in Programme::ALL {
        for block in blocks(&config(programme, 200, 200)) {
            for (user, rows) in block.iter() {
                check_wallet(user, rows);
            }
        }
    }
}

fn check_wallet(user: &synth::User, rows: &[synth::Record]) {
    let mut balance = user.account.opening_minor;
    let mut last = i64::MIN;
    let mut ids = std::collections::HashSet::new();
    for row in rows {
        let tx = &row.transaction;
        let before = balance;
        balance += tx.moved();
        assert_eq!(balance, row.balance_after_minor, "{} {tx:?}", user.account.name);
        assert!(tx.at.0 >= last, "{} goes back in time", user.account.name);
        last = tx.at.0;
        assert!(Some(tx.at) >= user.account.opened_at, "{} moves before it is opened", user.account.name);
        assert!(tx.id != 0 && ids.insert(tx.id));
        assert_eq!(tx.amount.is_debit(), tx.kind.is_debit(), "{tx:?}");
        assert_ne!(tx.amount.minor(), 0);
        match tx.channel {
            Channel::Online => {
                assert_eq!(row.made_at, tx.at);
                assert!(tx.moved() > 0 || before >= -tx.moved(), "{}: online overdraft {tx:?}", user.account.name);
            }
            Channel::Offline(outcome) => {
                assert!(row.made_at < tx.at && tx.kind.is_initiated());
                let covered = before >= tx.amount.size().minor() as i64;
                match outcome {
                    Settlement::Clean => assert!(covered),
                    Settlement::Overdraft => assert!(!covered),
                    _ => {
                        assert!(user.adversary.is_some(), "an honest wallet never has a token rejected");
                        assert_eq!(balance, before);
                    }
                }
                let held = tx.at.since(row.made_at);
                assert_eq!(held > 72 * 3_600, outcome == Settlement::Expired, "{held} s, {outcome:?}");
            }
        }
    }
}

#[test]
fn every_transfer_between_neighbours_has_two_sides() {
    for block in blocks(&config(Programme::Naira, 128, 120)) {
        let names: HashMap<u64, usize> =
            block.users().iter().enumerate().map(|(i, user)| (name_hash(user.account.name.as_bytes()), i)).collect();
        let mut out = HashMap::new();
        let mut into = HashMap::new();
        for (i, (_, rows)) in block.iter().enumerate() {
            for row in rows.iter().map(|r| r.transaction).filter(|t| t.moved() != 0) {
                let Some(&other) = names.get(&row.payee) else { continue };
                match row.kind {
                    Kind::TransferOut | Kind::Purchase => {
                        *out.entry((i, other, row.at, row.amount.size())).or_insert(0) += 1;
                    }
                    Kind::TransferIn | Kind::Income => {
                        *into.entry((other, i, row.at, row.amount.size())).or_insert(0) += 1;
                    }
                    _ => {}
                }
            }
        }
        assert!(out.len() > 1_000, "only {} flows between neighbours", out.len());
        assert!(out == into, "a flow has one side only");
    }
}

#[test]
fn the_mix_is_the_one_asked_for() {
    for programme in Programme::ALL {
        let config = config(programme, 3_000, 120);
        let (mut users, mut adversaries, mut active_days, mut rows) = (0_u32, 0_u32, 0_i64, 0_usize);
        let mut kinds = std::collections::BTreeSet::new();
        let mut archetypes = std::collections::BTreeSet::new();
        for block in blocks(&config) {
            for (user, records) in block.iter() {
                users += 1;
                archetypes.insert(user.archetype);
                adversaries += u32::from(user.adversary.is_some());
                kinds.extend(user.adversary);
                if let (Some(first), Some(last)) = (records.first(), records.last()) {
                    active_days += last.transaction.at.since(first.transaction.at) / 86_400 + 1;
                }
                rows += records.len();
            }
        }
        assert_eq!(users, 3_000);
        // 1 % of 3,000, five standard deviations of a binomial either way.
        assert!((3..=57).contains(&adversaries), "{programme:?}: {adversaries} adversaries");
        assert!(archetypes.len() >= 5 && archetypes.len() <= Archetype::ALL.len());
        assert!(kinds.len() == Adversary::ALL.len(), "{programme:?}: {kinds:?}");
        let per_day = rows as f64 / active_days as f64;
        assert!((1.5..4.5).contains(&per_day), "{programme:?}: {per_day} rows an account-day");
        let histories = synth::histories(&config).expect("good");
        let described = histories.describe();
        let share = described.offline_share;
        assert!((0.05..=0.15).contains(&share), "{programme:?}: {share} offline");
        for outcome in Settlement::ALL {
            assert!(described.outcomes.contains_key(outcome.name()), "{programme:?}: no {outcome:?}");
        }
        check_tiers(programme, described.tiers);
    }
}

fn check_tiers(programme: Programme, tiers: [u64; 4]) {
    let share = |n: u64| n as f64 / 3_000.0;
    if programme == Programme::Tng {
        assert!((share(tiers[0]) - 0.30).abs() < 0.05, "{tiers:?}");
        assert!((share(tiers[1]) - 0.45).abs() < 0.05, "{tiers:?}");
        assert!((share(tiers[2]) - 0.25).abs() < 0.05, "{tiers:?}");
    }
}

#[test]
fn wallets_hold_weeks_of_spending_and_rarely_less_than_nothing() {
    for programme in Programme::ALL {
        let described = synth::histories(&config(programme, 1_000, 200)).expect("good").describe();
        assert!(described.balance.p50 > 0 && described.balance.p95 > 5 * described.balance.p25);
        let negative = described.negative_rows as f64 / described.transactions as f64;
        assert!(negative < 0.01, "{programme:?}: {negative}");
        assert!(described.negative_rows > 0, "{programme:?}: an offline overdraft is possible and must occur");
        assert_eq!(described.accounts, 1_000);
        if programme == Programme::Card {
            assert!(described.balance.max <= 5_000_000, "{}", described.balance.max);
        }
    }
}

#[test]
fn paydays_and_bills_follow_the_calendar() {
    // The same payee takes the same bill on one day of the month, give or take the retries.
    let histories = synth::histories(&Config { days: 366, ..config(Programme::Tng, 128, 366) }).expect("good");
    let (mut on_day, mut all) = (0, 0);
    for (_, rows) in histories.iter() {
        let mut days: HashMap<u64, Vec<u8>> = HashMap::new();
        for row in rows.iter().filter(|r| r.kind == Kind::Loan) {
            let date = plimsoll_model::time::CivilDate::of_day(histories.offset.day(row.at));
            days.entry(row.payee).or_default().push(date.day);
        }
        for days in days.values().filter(|d| d.len() >= 6) {
            let mut counts = [0; 32];
            days.iter().for_each(|&d| counts[usize::from(d)] += 1);
            on_day += counts.iter().max().copied().unwrap_or(0);
            all += days.len();
        }
    }
    assert!(all > 50 && f64::from(on_day) > 0.6 * all as f64, "{on_day} of {all}");
}

#[test]
fn drift_changes_what_comes_after_it_and_nothing_before() {
    let base = config(Programme::Tng, 400, 240);
    let drift = Drift { start_day: 120, ramp_days: 0, spend_percent: 200, income_percent: 100, offline_percent: 100 };
    let drifted = Config { drift: Some(drift), ..base.clone() };
    let purchases = |histories: &Histories, late: bool| {
        let cut = histories.offset.midnight(base.start.day_number() + 120);
        let amounts: Vec<u64> = histories
            .iter()
            .flat_map(|(_, rows)| rows)
            .filter(|r| r.kind == Kind::Purchase && (r.at >= cut) == late)
            .map(|r| r.amount.size().minor())
            .collect();
        amounts.iter().sum::<u64>() as f64 / amounts.len() as f64
    };
    let (plain, changed) = (synth::histories(&base).expect("good"), synth::histories(&drifted).expect("good"));
    assert_eq!(purchases(&plain, false), purchases(&changed, false));
    let ratio = purchases(&changed, true) / purchases(&plain, true);
    assert!(ratio > 1.3, "{ratio}");
}

#[test]
fn one_account_for_one_day_is_enough() {
    let histories = synth::histories(&config(Programme::Tng, 1, 1)).expect("good");
    assert_eq!(histories.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_small_configuration_keeps_its_books(
        seed in any::<u64>(),
        accounts in 1_u32..40,
        days in 1_u32..70,
        programme in 0_usize..4,
        adversary_ppm in prop::sample::select(vec![0_u32, 10_000, 200_000]),
        offline_ppm in prop::sample::select(vec![10_000_u32, 90_000, 300_000]),
    ) {
        let programme = Programme::ALL[programme];
        let config = Config { seed, adversary_ppm, offline_ppm, ..config(programme, accounts, days) };
        for block in blocks(&config) {
            for (user, rows) in block.iter() {
                check_wallet(user, rows);
            }
        }
    }
}
