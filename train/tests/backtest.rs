//! The backtest tests every account once, on days nothing was tuned on, and its three readings mean what they say.

mod common;

use common::small_config;
use plimsoll_datasets::synth;
use plimsoll_model::policy::Policy;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::backtest::{Asked, Findings, Peers, backtest};
use plimsoll_train::boost::BoostConfig;
use plimsoll_train::config::Config;
use plimsoll_train::run::TrainError;
use plimsoll_train::windows::Teachers;

fn ppm(parts: u32) -> Ppm {
    Ppm::new(parts).expect("between 0 and 1")
}

fn run(peers: Peers<'_>) -> Result<Option<Findings>, TrainError> {
    taught(Teachers::ByAccount, peers)
}

fn taught(teachers: Teachers, peers: Peers<'_>) -> Result<Option<Findings>, TrainError> {
    let wallets = synth::Config { seed: 3, accounts: 1_200, days: 150, ..synth::Config::default() };
    let history = synth::histories(&wallets).expect("generates");
    let mut config = Config { boost: BoostConfig { trees: 15, leaves: 8, ..BoostConfig::default() }, ..small_config() };
    config.split.windows_per_account = 6;
    config.calibration.alpha = ppm(50_000);
    let asked = Asked {
        folds: 2,
        teachers,
        rates: vec![config.calibration.alpha, ppm(10_000)],
        cap: None,
        ladder: teachers == Teachers::ByAccount && matches!(peers, Peers::None),
        peers,
    };
    backtest(&history, &config, &Policy::preset("tng").expect("a preset"), &asked, &())
}

#[test]
fn methods_are_read_three_ways_on_accounts_that_are_each_tested_once() {
    let found = run(Peers::None).expect("runs").expect("nothing was exported");
    assert!((1_000..=1_200).contains(&found.accounts), "{}", found.accounts);
    let of = |method: &str, reading: &str| {
        let one = found.measured.iter().find(|m| m.method == method && m.reading == reading);
        one.unwrap_or_else(|| panic!("{method}, {reading}"))
    };
    let (oracle, full) = (of("oracle", "–"), of("full balance", "–"));
    assert_eq!((oracle.violation, oracle.severity), (0.0, 0.0), "hindsight loses nothing");
    assert!(full.violation > 0.05 && full.mean_limit > oracle.mean_limit);
    for method in [
        "flat cap",
        "fixed fraction",
        "account history",
        "the seed's formula",
        "ours, gap 1 %",
        "ours, gap 5 %",
        "ours, ladder",
    ] {
        let [fixed, certified, same, rarer] =
            ["static", "certified", "same rate 5 %", "same rate 1 %"].map(|reading| of(method, reading));
        assert!(same.violation <= 0.05, "{method}: the same rate is at most α: {same:?}");
        assert!(rarer.violation <= 0.01 && rarer.mean_limit <= same.mean_limit, "{method}: {rarer:?} {same:?}");
        assert!(certified.mean_limit <= fixed.mean_limit, "{method}: a promise costs limit");
        assert!(certified.violation <= 0.05, "{method}: {certified:?}");
        assert!(certified.interval[0] <= certified.violation && certified.violation <= certified.interval[1]);
    }
    let ahead =
        found.ratios.iter().find(|r| r.theirs == "fixed fraction" && r.reading == "same rate 5 %").expect("compared");
    assert!(ahead.limit > 1.0 && ahead.interval[0] <= ahead.limit, "{ahead:?}");

    // Taught by time, accounts that calibrate teach, too; what is tested is the same.
    let by_time = taught(Teachers::ByTime, Peers::None).expect("runs").expect("nothing was exported");
    assert_eq!((by_time.accounts, by_time.windows), (found.accounts, found.windows));
    for fold in 0..2 {
        assert!(by_time.teaching[fold] > found.teaching[fold], "{by_time:?}");
        assert!(by_time.calibrating[fold] > found.calibrating[fold], "{by_time:?}");
        assert!(by_time.teaching[fold] < 800, "those it tests do not teach: {by_time:?}");
    }
}

/// A peer whose answers do not fit the rows is refused.
#[test]
fn peers_answer_the_rows_that_were_written() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(run(Peers::Export(dir.path())).expect("exports"), None);
    let names = ["timid".to_owned()];
    for fold in 0..2 {
        let asked = std::fs::metadata(dir.path().join(format!("fold{fold}.ask.f32"))).expect("was written").len();
        let rows = asked / 4 / plimsoll_model::features::FEATURE_COUNT as u64;
        common::write_f32(&dir.path().join(format!("fold{fold}.timid.f32")), (0..rows).map(|_| 0.25));
    }
    let found = run(Peers::Read(dir.path(), &names)).expect("runs").expect("findings");
    let of = |method: &str| {
        let one = found.measured.iter().find(|m| m.method == method && m.reading == "certified").expect("measured");
        one.mean_limit
    };
    // The same answer for everyone, shifted, is a share of the balance.
    assert!((of("timid, split conformal") / of("fixed fraction") - 1.0).abs() < 0.05);
    common::write_f32(&dir.path().join("fold1.timid.f32"), [0.25]);
    assert!(matches!(run(Peers::Read(dir.path(), &names)), Err(TrainError::BadRun { .. })));
}
