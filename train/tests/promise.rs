//! The promise fails no more often than it says, on populations whose truth is known, and costs little.
//! `cargo run --release -p plimsoll-benches --bin promise` is the same with 500 seeds.

use plimsoll_model::artifact::{Terms, TierTerms};
use plimsoll_model::calibration::Target;
use plimsoll_model::money::Money;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::Age;
use plimsoll_model::transaction::Tier;
use plimsoll_train::study::{Findings, Population};
use plimsoll_train::vigil::{delay, false_alarms};

fn terms(alpha: u32) -> Terms {
    let ppm = |v| Ppm::new(v).expect("a level");
    let money = |v| Money::from_minor(v).expect("small");
    let tier =
        |t: u8| TierTerms { tier: Tier::new(t).expect("a tier"), cap: Some(money(50_000)), fallback: Money::ZERO };
    Terms {
        levels: vec![ppm(10_000)],
        tiers: vec![tier(0), tier(1)],
        ..Terms::new(ppm(alpha), ppm(50_000), Target::Strict, 72, vec![Age(0), Age::hours(24), Age::hours(72)])
    }
}

#[test]
fn the_promise_fails_no_more_often_than_it_says_and_keeps_most_of_the_limit() {
    let runs = 60;
    let population = Population::generated(terms(10_000), 4_000, 6, 1);
    for found in population.study(runs, 200, 900, &|_| {}) {
        let most = Findings::band(runs, 0.05);
        for failed in found.failed_alpha.iter().chain(&found.failed_beta) {
            assert!(*failed <= most, "{found:?}");
        }
        assert!(found.certified >= runs - most, "{found:?}");
        // What 900 accounts are enough for here: benches/README.md has other populations.
        assert!(found.kept >= 0.75, "{found:?}");
    }
}

#[test]
fn in_balance_bands_it_holds_in_each() {
    let runs = 30;
    let population = Population::generated(Terms { bands: 2, ..terms(10_000) }, 6_000, 4, 3);
    for found in population.study(runs, 400, 2_000, &|_| {}) {
        let most = Findings::band(runs, 0.05);
        // A failure is one in the worst band.
        for failed in found.failed_alpha.iter().chain(&found.failed_beta) {
            assert!(*failed <= most, "{found:?}");
        }
        assert!(found.certified >= runs - most && found.in_bands == found.certified, "{found:?}");
        assert!(found.kept >= 0.6, "{found:?}");
    }
}

#[test]
fn a_study_of_too_few_accounts_certifies_nothing() {
    let population = Population::generated(terms(5_000), 1_000, 4, 2);
    for found in population.study(5, 100, 500, &|_| {}) {
        assert_eq!((found.certified, found.kept), (0, 0.0), "601 accounts are needed: {found:?}");
    }
}

/// `cargo run --release -p plimsoll-benches --bin alarm` is the same with 1,000 streams and more rates.
#[test]
fn the_alarm_is_as_rare_as_said_and_not_much_later_than_who_knew_the_rate() {
    let ppm = |v| Ppm::new(v).expect("a level");
    let (alpha, delta, streams) = (ppm(5_000), ppm(50_000), 300);
    let sounded = false_alarms(alpha, delta, streams);
    assert!(sounded <= Findings::band(streams as u32, 0.05) as usize, "{sounded} of {streams}");
    assert!(sounded > 0, "it looks away");
    for (times, optimum, ratio_max) in [(2, 1_541.0, 1.5), (4, 233.3, 1.6)] {
        let found = delay(alpha, delta, times, streams);
        // ln 20 / KL, worked out apart.
        assert!((found.optimum - optimum).abs() < 0.5, "{found:?}");
        assert!(found.mean < ratio_max * found.optimum && found.mean > 0.8 * found.optimum, "{found:?}");
    }
}
