//! The replay keeps its promises: the certificate holds where it speaks, every attack ends as specified, no scenario makes
//! money, and the same seed gives the same bytes.

use std::sync::OnceLock;

use plimsoll_datasets::{Histories, synth};
use plimsoll_edge::Evaluator;
use plimsoll_model::artifact::{Rule, sha256_hex};
use plimsoll_model::calibration::Target;
use plimsoll_model::golden::Golden;
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::policy::Policy;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::boost::BoostConfig;
use plimsoll_train::config::{CalibrationConfig, Config, SplitConfig};
use plimsoll_train::replay::{self, Bears, Ledger, Outcome, ReplayError, Scenario, Spread, Verdict, differences};
use plimsoll_train::run::{Run, train};

fn history() -> &'static Histories {
    static HISTORY: OnceLock<Histories> = OnceLock::new();
    HISTORY.get_or_init(|| {
        synth::histories(&synth::Config { seed: 21, accounts: 1_200, days: 150, ..synth::Config::default() })
            .expect("a valid generator")
    })
}

fn trained() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let config = Config {
            model_id: "replayed".into(),
            target: Target::Committed,
            // 5 %: so few accounts could not certify less.
            calibration: CalibrationConfig { alpha: Ppm::new(50_000).expect("5 %"), ..CalibrationConfig::default() },
            boost: BoostConfig { trees: 20, leaves: 8, ..BoostConfig::default() },
            split: SplitConfig { windows_per_account: 8, ..SplitConfig::default() },
            ..Config::default()
        };
        train(history(), &config, &Policy::preset("tng").expect("a preset"), &()).expect("trains")
    })
}

fn ready(run: &Run) -> Evaluator {
    let dir = tempfile::tempdir().expect("a directory");
    let ends = history().span().expect("rows").1;
    let scratch = dir.path().join("scratch");
    let evaluator = replay::evaluator(run, &scratch, ends).expect("an artifact that a device accepts");
    assert!(!scratch.exists(), "nothing is left behind");
    evaluator
}

fn evaluator() -> &'static Evaluator {
    static EVALUATOR: OnceLock<Evaluator> = OnceLock::new();
    EVALUATOR.get_or_init(|| ready(trained()))
}

/// A run whose certificate says of every tier that its whole balance is safe.
fn reckless() -> Evaluator {
    let run = trained();
    let mut release = run.release.clone();
    release.certificate.cells.iter_mut().for_each(|cell| cell.rule = Rule::Balance);
    let forest = ModelFile::decode(&run.model).expect("reads").forest;
    let (levels, policy) = (&run.config.boost.levels, &run.policy);
    let golden =
        Golden::record(&forest, levels, &release.certificate, policy.currency, policy.utc_offset_min).to_json();
    release.manifest.golden_sha256 = sha256_hex(&golden);
    ready(&Run {
        accounts: run.accounts.clone(),
        config: run.config.clone(),
        policy: run.policy.clone(),
        model: run.model.clone(),
        golden,
        release,
        log: run.log.clone(),
        metrics: run.metrics.clone(),
    })
}

fn config(accounts: u32, scenarios: &[Scenario]) -> replay::Config {
    replay::Config {
        accounts,
        scenarios: scenarios.to_vec(),
        attackers_milli: 1_000,
        // The programme does not score young histories; here everybody is scored.
        lifetime_before: 600,
        ..replay::Config::default()
    }
}

fn play(evaluator: &Evaluator, config: &replay::Config) -> Outcome {
    let ledger = Ledger::unseen(history(), trained(), config.days);
    assert!(ledger.is_unseen(), "the ledger is the run's own");
    replay::run(evaluator, &ledger, config, &()).expect("plays")
}

#[test]
fn honest_wallets_stay_within_the_certificate_even_when_they_spend_all_they_may() {
    let outcome = play(evaluator(), &config(200, &[Scenario::Clean, Scenario::Drained, Scenario::Slow]));
    for scenario in [Scenario::Clean, Scenario::Drained, Scenario::Slow] {
        assert_eq!(outcome.verdict(scenario), Some(Verdict::WithinCertificate), "{:?}", outcome.played);
    }
    assert!(outcome.is_sound());
    let of = |s| outcome.played.iter().find(|p| p.scenario == s && p.tier.is_none()).expect("played");
    let (clean, drained, slow) = (of(Scenario::Clean), of(Scenario::Drained), of(Scenario::Slow));
    assert!(clean.windows > 1_500 && clean.mean_limit.value > 1_000.0, "{clean:?}");
    assert!(clean.served.value > 0.1 && clean.declined > 0 && clean.declined < clean.tried, "{clean:?}");
    assert_eq!(clean.declined, clean.by_bound.values().sum::<u64>());
    assert_eq!((clean.issuer_lost, clean.payee_lost), (0, 0), "spends of a ledger that had the money");
    assert!(drained.utilisation.value > 0.7 && drained.utilisation.value > clean.utilisation.value, "{drained:?}");
    // The last instant is the worst: what settles earlier meets a balance that has not fallen yet.
    assert!(slow.unsettled > 0 && slow.payee_lost > 0, "some payees come too late: {slow:?}");
    for p in &outcome.played {
        assert!(p.lost.value <= p.short.value + 1e-12, "a loss needs a window below its limit: {p:?}");
        assert_eq!(p.credited, p.debited + p.issuer_lost, "no money is made: {p:?}");
    }
}

#[test]
fn a_rule_that_grants_everything_is_found_beyond_its_certificate() {
    let all = config(200, &[Scenario::Drained]);
    let (ours, theirs) = (play(evaluator(), &all), play(&reckless(), &all));
    assert_eq!(theirs.verdict(Scenario::Drained), Some(Verdict::BeyondCertificate), "{:?}", theirs.played);
    assert!(!theirs.is_sound());
    assert!(theirs.played[0].issuer_lost > 10 * ours.played[0].issuer_lost.max(100), "{:?}", theirs.played[0]);
    let differ = differences(&ours, &theirs);
    let of =
        |figure: &str| differ.iter().find(|d| d.figure == figure && d.tier.is_none()).expect("compared").difference;
    assert!(of("mean limit").high < 0.0, "ours grants less: {differ:?}");
    assert!(of("lost windows").high < 0.0 && of("issuer's loss a window").high < 0.0, "and loses less: {differ:?}");
}

#[test]
fn every_attack_ends_as_specified_and_gets_no_more_than_its_bound() {
    let attacks: Vec<Scenario> = Scenario::ALL.into_iter().filter(|s| !s.is_life()).collect();
    let outcome = play(evaluator(), &config(60, &attacks));
    assert_eq!(outcome.attacks.len(), 6);
    for a in &outcome.attacks {
        assert!(a.attackers >= 25 && a.honest > 100.0, "enough to show something: {a:?}");
        assert_eq!(a.beyond_bound, 0, "{a:?}");
        let everybody = |what: &str| assert_eq!(a.stopped.get(what), Some(&(a.attackers as u64)), "{what}: {a:?}");
        let somebody = |what: &str| assert!(a.stopped.get(what).is_some_and(|n| *n > 0), "{what}: {a:?}");
        // Attacks on one limit: never more than one honest wallet could have spent.
        if a.attack != Scenario::Copied {
            assert!(a.over.high <= 0.0 && a.bound <= a.honest + 1e-9, "{a:?}");
        }
        match a.attack {
            Scenario::Split => {
                somebody("payee: over the payment cap");
                somebody("wallet: per_payment");
                somebody("wallet: step_up");
                assert!(a.got.value > 0.5 * a.honest, "the holder may split: {a:?}");
            }
            Scenario::Clock => {
                everybody("wallet: clock");
                everybody("wallet: request from the future");
                somebody("payee: future-dated");
                somebody("issuer: future-dated");
                somebody("issuer: payment expired");
            }
            Scenario::Restored => {
                everybody("wallet: state");
                somebody("issuer: pending");
            }
            Scenario::Copied => {
                everybody("issuer: over the grant");
                everybody("issuer: payment number used twice");
                everybody("wallet: sequence");
                // Not stopped off line: each copy pays. The payees of the later ones bear it.
                assert!(a.got.value > 2.0 * a.honest && a.bound > 2.9 * a.honest, "{a:?}");
                assert!(a.payee_lost.value > 0.6 * a.got.value, "{a:?}");
            }
            Scenario::Devices => somebody("issuer: pending"),
            Scenario::Collude => {
                for what in ["settled before", "over the payment cap", "over the grant", "outside the grant's time"] {
                    everybody(&format!("issuer: {what}"));
                }
                for what in ["future-dated", "nonce reused", "unknown key"] {
                    everybody(&format!("issuer: {what}"));
                }
                // Its money was moved elsewhere: all of one limit is the issuer's loss, and no more.
                assert_eq!((a.issuer_lost, a.payee_lost.value), (a.got, 0.0), "{a:?}");
            }
            Scenario::Clean | Scenario::Drained | Scenario::Slow | Scenario::Outage => unreachable!("no attack"),
        }
    }
}

#[test]
fn where_payees_bear_it_the_issuer_pays_nothing() {
    let scenarios = [Scenario::Drained, Scenario::Collude];
    let config = replay::Config { overdraft: Bears::Payee, ..config(60, &scenarios) };
    let outcome = play(&reckless(), &config);
    for p in &outcome.played {
        assert_eq!((p.issuer_lost, p.credited), (0, p.debited), "{p:?}");
    }
    assert!(outcome.played[0].payee_lost > 0 && outcome.played[0].lost.value > 0.0, "{:?}", outcome.played[0]);
    assert_eq!((outcome.attacks[0].issuer_lost.value, outcome.attacks[0].got.value), (0.0, 0.0));
}

#[test]
fn an_outage_on_payday_stops_syncs_and_settlement() {
    let outage = |hours| {
        let config = replay::Config { outage_h: hours, ..config(150, &[Scenario::Outage]) };
        let outcome = play(evaluator(), &config);
        (outcome.outage, outcome.played.into_iter().next().expect("all tiers"))
    };
    let (begins, two_days) = outage(48);
    assert_eq!(history().offset.second_of_day(begins), 0, "a local midnight");
    assert_eq!(two_days.verdict, Verdict::NotPromised, "the day was picked");
    assert!(two_days.windows > 100 && two_days.windows <= 150, "one window each: {two_days:?}");
    assert!(!two_days.by_bound.contains_key("age") || two_days.by_bound["age"] < two_days.declined, "{two_days:?}");
    let (_, long) = outage(120);
    assert!(long.by_bound["age"] > 0, "past 72 hours nothing goes: {long:?}");
    assert!(long.served.value < two_days.served.value, "{long:?}");
}

#[test]
fn one_thread_or_two_the_same_bytes_and_a_model_differs_from_itself_by_nothing() {
    let config = config(40, &Scenario::ALL);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| play(evaluator(), &config))
    };
    let (one, two) = (with(1), with(2));
    assert_eq!(serde_json::to_vec(&one).expect("JSON"), serde_json::to_vec(&two).expect("JSON"));
    let differ = differences(&one, &two);
    assert!(differ.len() > 50, "{}", differ.len());
    for d in &differ {
        assert_eq!([d.difference.value, d.difference.low, d.difference.high], [0.0; 3], "{d:?}");
    }
    let other = play(evaluator(), &replay::Config { seed: 2, ..config.clone() });
    assert_ne!(one, other, "another seed is another replay");
    assert!(differences(&one, &other).is_empty(), "and not to be compared");
}

#[test]
fn what_cannot_be_played_is_refused_with_what_to_do() {
    let refuse = |ledger: &Ledger<'_>, config: &replay::Config| {
        replay::run(evaluator(), ledger, config, &()).expect_err("refused").to_string()
    };
    let clean = config(10, &[Scenario::Clean]);
    let ledger = Ledger::last_days(history(), 4);
    assert!(!ledger.is_unseen());
    let says = refuse(&ledger, &clean);
    assert!(says.contains("144 hours of ledger"), "{says}");
    let naira = synth::Config { accounts: 4, days: 60, programme: synth::Programme::Naira, ..synth::Config::default() };
    let naira = synth::histories(&naira).expect("a valid generator");
    let says = refuse(&Ledger::last_days(&naira, 30), &clean);
    assert!(says.contains("NGN") && says.contains("MYR"), "{says}");
    let never = replay::Config { sync: Spread::Fixed { h: 0 }, ..clean };
    let says = refuse(&Ledger::last_days(history(), 30), &never);
    assert!(says.contains("sync"), "{says}");
    let torn = Run {
        accounts: trained().accounts.clone(),
        model: b"no model".to_vec(),
        config: trained().config.clone(),
        policy: trained().policy.clone(),
        golden: trained().golden.clone(),
        release: trained().release.clone(),
        log: trained().log.clone(),
        metrics: trained().metrics.clone(),
    };
    let dir = tempfile::tempdir().expect("a directory");
    let refused = replay::evaluator(&torn, &dir.path().join("scratch"), history().span().expect("rows").1);
    assert!(matches!(refused, Err(ReplayError::Artifact { .. })), "{refused:?}");
}
