//! What is at stake, against brute force: every hour of a schedule, every distribution of losses, every share, every reserve.

use plimsoll_model::Tier;
use plimsoll_model::artifact::{Basis, Cell, Certificate, Rule, Terms, TierTerms};
use plimsoll_model::calibration::{Stake, Target, bet, turn};
use plimsoll_model::money::Money;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::{Age, UtcSeconds};
use plimsoll_train::calibrate::{Log, Scored, derive};
use plimsoll_train::exposure::{At, Granted, Plan, Promised, Reserve, exposure, fit, mean_loss, reserves};

fn money(minor: u64) -> Money {
    Money::from_minor(minor).expect("small")
}

fn tiers() -> Vec<Promised> {
    let tier = |n| Tier::new(n).expect("a tier");
    vec![
        Promised { tier: tier(0), accounts: 3, most: money(50), promise: None },
        Promised { tier: tier(1), accounts: 7, most: money(1_000), promise: Some((5_000, Some(money(3)))) },
        Promised { tier: tier(2), accounts: 2, most: money(4_000), promise: Some((20_000, None)) },
    ]
}

/// Every outcome of every account's every grant, counted: nothing exceeds the worst case, and it is reached.
#[test]
fn the_worst_case_is_the_most_that_any_spending_can_leave_open() {
    for (ttl_h, sync_h, carried) in [(72, 24, false), (24, 24, false), (10, 24, false), (72, 24, true), (73, 24, false)]
    {
        let plan = Plan { ttl_h, sync_h, days: 10, carried };
        // Hour by hour: a grant is made at each sync, spent whole at the last moment, and open until its TTL is over.
        let most_open = (0..240)
            .map(|hour| {
                let made = (0..=hour).step_by(sync_h as usize);
                let open = made.filter(|at| hour < at + ttl_h as i32).count() as u128;
                if carried { open.min(1) } else { open }
            })
            .max()
            .expect("hours");
        assert_eq!(plan.open(), most_open, "{plan:?}");
        let one = [Promised { tier: Tier::default(), accounts: 5, most: money(70), promise: None }];
        assert_eq!(exposure(&one, plan, At::FULL).worst, 5 * 70 * most_open);
    }
}

/// Among all ways in which the losses of a grant can be spread that keep both promises, none loses more.
#[test]
fn no_distribution_that_keeps_the_promise_loses_more_than_expected() {
    // Losses of 0, C/4, … C with chances in hundredths: every such distribution that keeps P ≤ α and E ≤ β.
    let (alpha, c) = (60_000u32, 400u64);
    for beta in [None, Some(3), Some(12), Some(30)] {
        let tier =
            Promised { tier: Tier::default(), accounts: 1, most: money(c), promise: Some((alpha, beta.map(money))) };
        let mut worst = 0u64; // of E × 100
        for a in 0..=6u64 {
            for b in 0..=6u64.saturating_sub(a) {
                for d in 0..=6u64.saturating_sub(a + b) {
                    for e in 0..=6u64.saturating_sub(a + b + d) {
                        let mean = a * c / 4 + b * c / 2 + d * 3 * c / 4 + e * c;
                        if beta.is_none_or(|beta| mean <= beta * 100) {
                            worst = worst.max(mean);
                        }
                    }
                }
            }
        }
        // One grant to each of a thousand accounts: thousandths of a minor unit.
        let once = Plan { ttl_h: 24, sync_h: 24, days: 1, carried: true };
        let bound = exposure(&[Promised { accounts: 1_000, ..tier }], once, At::FULL).expected;
        assert!(u128::from(worst) * 10 <= bound, "{beta:?}: {worst} hundredths, bound {bound} thousandths");
        // And it is no idle bound: some distribution comes within a step of it.
        assert!(u128::from(worst + 100) * 10 > bound, "{beta:?}: {worst} hundredths, bound {bound} thousandths");
    }
}

#[test]
fn the_fitted_ceilings_are_those_of_trying_every_share() {
    let tiers = tiers();
    for (ttl_h, sync_h, carried) in [(72, 12, false), (24, 24, true), (24, 72, false)] {
        let plan = Plan { ttl_h, sync_h, days: 3, carried };
        for (budget, worst) in [(0, None), (100, None), (1_300, None), (1_300, Some(9_000)), (1_000_000, Some(40_000))]
        {
            let tried = (0..=1_000_000u32).step_by(97).chain([1_000_000]).filter(|share_ppm| {
                let found = exposure(&tiers, plan, At { share_ppm: *share_ppm });
                found.expected <= budget && worst.is_none_or(|w| found.worst <= w)
            });
            let best = tried.max().map(|share_ppm| exposure(&tiers, plan, At { share_ppm }));
            let fitted = fit(&tiers, plan, budget, worst);
            let (best, fitted) = (best.expect("nothing costs nothing"), fitted.expect("as here"));
            for (a, b) in fitted.tiers.iter().zip(&best.tiers) {
                // Trying goes in steps of 97 millionths.
                let step = a.ceiling.minor().saturating_sub(b.ceiling.minor());
                assert!(a.ceiling >= b.ceiling && step <= 1, "{a:?} {b:?}");
            }
            assert!(fitted.expected <= budget && worst.is_none_or(|w| fitted.worst <= w));
        }
    }
}

#[test]
fn what_is_expected_sums_over_accounts_and_grants() {
    let plan = Plan { ttl_h: 24, sync_h: 12, days: 30, carried: true };
    let found = exposure(&tiers(), plan, At::FULL);
    assert_eq!(plan.grants(), 60);
    // Nothing promised: all of it; β where it is less than α × ceiling = 5; α × ceiling where there is no β.
    let expected = [3 * 60 * 50, 7 * 60 * 3, 2 * 60 * 80];
    assert_eq!(found.tiers.iter().map(|t| t.expected).collect::<Vec<_>>(), expected);
    assert_eq!(found.expected, expected.iter().sum::<u128>());
    assert_eq!(found.tiers.iter().map(|t| t.touched).collect::<Vec<_>>(), [3, 3, 2], "60 × 0.5 % of 7, rounded up");
    let nothing = exposure(&tiers(), plan, At { share_ppm: 0 });
    assert_eq!((nothing.expected, nothing.worst, nothing.tiers[0].touched), (0, 0, 0));
}

fn ppm(value: u32) -> Ppm {
    Ppm::new(value).expect("a level")
}

/// One tier, cap 1,000, β 1 % of it; balance 1,000; one account in `one_in` keeps only `left` of it.
fn log(accounts: u32, one_in: u32, left: u64) -> Log {
    let tier = TierTerms { tier: Tier::default(), cap: Some(money(1_000)), fallback: Money::ZERO };
    let terms = Terms { tiers: vec![tier], ..Terms::new(ppm(10_000), ppm(50_000), Target::Strict, 72, vec![Age(0)]) };
    let window = |account: u32| Scored {
        account,
        tier: Tier::default(),
        at: UtcSeconds(0),
        balance: money(1_000),
        demand: Money::ZERO,
        history: 0,
        headroom: vec![if account.is_multiple_of(one_in) { money(left) } else { money(1_000) }],
        steps: Vec::new(),
    };
    let part = |from: u32| (from..from + accounts).map(window).collect();
    Log { terms, choose: Vec::new(), calibrate: part(0), test: part(accounts) }
}

fn certificate(log: &Log, rule: Rule) -> Certificate {
    let mut certificate = derive(log);
    certificate.cells = vec![Cell::new(Tier::default(), rule, Basis::Certified)];
    certificate
}

fn balance(log: &Log) -> Reserve {
    let all = reserves(log, &certificate(log, Rule::Balance), &|_| None);
    *all.iter().find(|r| r.granted == Granted::Balance).expect("both are asked")
}

#[test]
fn the_smallest_reserve_is_that_of_trying_every_one() {
    for (one_in, left) in [(10, 400), (10, 0), (50, 100), (3, 900), (1_000, 0)] {
        let log = log(2_000, one_in, left);
        let mut in_turn: Vec<u32> = (0..2_000).collect();
        in_turn.sort_by_key(|account| turn(*account));
        // By hand: the test at each share, from all to nothing, ends at the first that fails.
        let stands = |percent: u64| {
            let loss = |a: u32| if a.is_multiple_of(one_in) { 1_000 - left.max(percent * 10) } else { 0 };
            bet(Stake::MOST, 0.01, in_turn.iter().map(|a| loss(*a) as f64 / 1_000.0)).most >= 20.0
        };
        let want = (0..=100u64).rev().take_while(|p| stands(*p)).last().map(|p| p as u32);
        let found = balance(&log);
        assert_eq!(found.percent, want, "one in {one_in} keeps {left}");
        assert!(found.residual <= 10.0 && want.is_some());
        let hit = (2_000..4_000).filter(|a| a % one_in == 0).count();
        assert!((found.unreserved - (1_000 - left) as f64 * hit as f64 / 2_000.0).abs() < 1e-9, "{one_in}: {found:?}");
    }
}

#[test]
fn what_a_grant_loses_is_what_is_missing_under_the_ceiling() {
    let log = log(100, 2, 250);
    let certificate = certificate(&log, Rule::Balance);
    let at = |ceiling: u64| mean_loss(&log, &certificate, Tier::default(), money(ceiling), 0);
    assert_eq!([at(1_000), at(600), at(250), at(0)], [375.0, 175.0, 0.0, 0.0]);
    // Half of the accounts lose 750 of 1,000: too many for any reserve but one that leaves β, 10, on average.
    let all = reserves(&self::log(2_000, 2, 250), &certificate, &|_| None);
    let found = all.iter().find(|r| r.granted == Granted::Balance).expect("asked");
    let percent = found.percent.expect("enough accounts");
    assert!(percent > 98 && found.residual == 5.0 * f64::from(100 - percent), "{found:?}");
    assert_eq!(found.held, f64::from(percent) * 10.0);
}

#[test]
fn too_few_accounts_certify_no_reserve() {
    assert_eq!(balance(&log(100, 1_000, 1_000)).percent, None);
}

#[test]
fn a_smaller_ceiling_needs_no_larger_reserve() {
    let log = log(2_000, 10, 400);
    let certificate = certificate(&log, Rule::Share { steps: 1 << 18 });
    let at = |ceiling: u64| reserves(&log, &certificate, &|_| Some(money(ceiling)));
    let of = |ceiling: u64, granted| at(ceiling).into_iter().find(|r| r.granted == granted).expect("asked").percent;
    assert!(of(1_000, Granted::Balance) > of(500, Granted::Balance));
    assert_eq!(of(400, Granted::Balance), Some(0), "what everybody has left needs none");
    assert_eq!(of(1_000, Granted::Shipped), Some(0), "a quarter of the balance is there in any case");
}
