//! What a method granted and lost on the test rows, with accounts resampled for the intervals.

use plimsoll_model::Money;
use plimsoll_model::artifact::Terms;
use plimsoll_model::margin::Margin;
use plimsoll_model::monitor::WHOLE;
use plimsoll_model::quantile::Ppm;
use rayon::prelude::*;

use super::{Asked, Findings, Fold, Method, Row, at_rate, certified, first_violated};
use crate::calibrate::Candidate;
use crate::windows::mix;

/// One reading of one method.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Measured {
    /// The method.
    pub method: String,
    /// `static`, `certified`, `same rate …`, or `–` for those without a scalar.
    pub reading: String,
    /// Share of test windows violated at the worst age.
    pub violation: f64,
    /// Its 95 % interval, accounts resampled.
    pub interval: [f64; 2],
    /// Mean limit, minor units.
    pub mean_limit: f64,
    /// Mean of limit over balance.
    pub mean_share: f64,
    /// Mean of min(limit, cap), minor units, where a cap was given.
    pub capped: Option<f64>,
    /// Share of demand under the limit.
    pub served: f64,
    /// Share of limits that are zero.
    pub zero: f64,
    /// `Σ (L − S)⁺ / Σ L`.
    pub severity: f64,
    /// The worst tier's share of violated windows.
    pub worst_tier: f64,
}

/// Our mean limit over another's.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Ratio {
    /// Ours.
    pub ours: String,
    /// Against.
    pub theirs: String,
    /// Which reading.
    pub reading: String,
    /// Of the mean limits.
    pub limit: f64,
    /// 95 %, accounts resampled together.
    pub interval: [f64; 2],
    /// Demand served, ours less theirs.
    pub served: f64,
}

/// Resamples of accounts.
const RESAMPLES: usize = 1_000;

/// Sums of one account.
#[derive(Clone, Default)]
struct Sums {
    violated: Vec<f64>,
    windows: f64,
    granted: f64,
    shares: f64,
    capped: f64,
    missing: f64,
    met: f64,
    asked: f64,
    zero: f64,
    tier: u8,
}

pub(super) fn read(folds: &[Fold], terms: &Terms, methods: &[Method], asked: &Asked<'_>) -> Findings {
    let (ages, cap) = (terms.ages.len(), asked.cap);
    let alpha = terms.alpha.fraction();
    let accounts = |rows: &[Row]| rows.chunk_by(|a, b| a.scored.account == b.scored.account).count();
    let usual = usual(terms, terms.alpha);
    let mut all: Vec<(Measured, Vec<Sums>)> = Vec::new();
    for method in methods {
        if method.is_fixed() {
            let sums = sums(folds, ages, cap, &|fold, row, age| method.limit(0, &folds[fold].test[row], age));
            all.push((measured(method.name(), "–", &sums, cap), sums));
            continue;
        }
        let n = method.candidates();
        let on_calibration: Vec<_> = folds.par_iter().map(|f| first_violated(&f.calibrate, method, ages)).collect();
        let chosen = |pick: &(dyn Fn(&Fold, &[Vec<u32>]) -> u32 + Sync)| -> Vec<u32> {
            folds.par_iter().zip(&on_calibration).map(|(fold, firsts)| pick(fold, firsts)).collect()
        };
        let empirical = chosen(&|_, firsts| at_rate(firsts, n, alpha));
        let proven =
            chosen(&|fold, firsts| certified(&fold.calibrate, firsts, n, alpha, terms.delta_each()).unwrap_or(0));
        let on_test: Vec<Vec<Vec<u32>>> = folds.par_iter().map(|f| first_violated(&f.test, method, ages)).collect();
        let pooled: Vec<Vec<u32>> =
            (0..ages).map(|age| on_test.iter().flat_map(|f| f[age].iter().copied()).collect()).collect();
        let same = |rate: &Ppm| (same_rate(*rate), vec![at_rate(&pooled, n, rate.fraction()); folds.len()]);
        let deployed = [("static".to_owned(), empirical), ("certified".to_owned(), proven)];
        for (reading, steps) in deployed.into_iter().chain(asked.rates.iter().map(same)) {
            let sums = sums(folds, ages, cap, &|fold, row, age| method.limit(steps[fold], &folds[fold].test[row], age));
            all.push((measured(method.name(), &reading, &sums, cap), sums));
            if reading == "static" && method.name() == usual {
                let limits = adapted(folds, terms, &|fold, row, age| method.limit(steps[fold], row, age));
                let sums = self::sums(folds, ages, cap, &|fold, row, age| limits[fold][row][age]);
                all.push((measured(&format!("{usual}, adaptive"), &reading, &sums, cap), sums));
            }
        }
    }
    let shipped = |fold: usize, row: &Row, age: usize| {
        let rule = folds[fold].shipped.iter().find(|(tier, _)| *tier == row.scored.tier).map(|(_, c)| *c);
        rule.unwrap_or(Candidate::Flat(Money::ZERO)).limit(&row.scored, age, Money::MAX)
    };
    let sums = self::sums(folds, ages, cap, &|fold, row, age| shipped(fold, &folds[fold].test[row], age));
    all.push((measured("ours, as shipped", "certified", &sums, cap), sums));
    let limits = adapted(folds, terms, &shipped);
    let sums = self::sums(folds, ages, cap, &|fold, row, age| limits[fold][row][age]);
    all.push((measured("ours, as shipped, adaptive", "certified", &sums, cap), sums));
    let ratios = ratios(&all, terms, &asked.rates);
    Findings {
        accounts: folds.iter().map(|f| accounts(&f.test)).sum(),
        windows: folds.iter().map(|f| f.test.len()).sum(),
        teaching: folds.iter().map(|f| f.teachers).collect(),
        calibrating: folds.iter().map(|f| accounts(&f.calibrate)).collect(),
        alpha_ppm: terms.alpha.get(),
        measured: all.into_iter().map(|(m, _)| m).collect(),
        ratios,
    }
}

fn sums(
    folds: &[Fold],
    ages: usize,
    cap: Option<Money>,
    limit: &(dyn Fn(usize, usize, usize) -> Money + Sync),
) -> Vec<Sums> {
    let of_account = |fold: usize, first: usize, rows: &[Row]| {
        let mut sums = Sums { violated: vec![0.0; ages], tier: rows[0].scored.tier.level(), ..Sums::default() };
        for (ix, row) in rows.iter().enumerate() {
            let w = &row.scored;
            sums.windows += 1.0;
            for age in 0..ages {
                let limit = limit(fold, first + ix, age);
                sums.violated[age] += f64::from(u8::from(limit > w.headroom[age]));
                sums.granted += limit.minor() as f64;
                sums.shares += limit.minor() as f64 / w.balance.minor() as f64;
                sums.capped += limit.min(cap.unwrap_or(Money::MAX)).minor() as f64;
                sums.missing += limit.saturating_sub(w.headroom[age]).minor() as f64;
                sums.met += limit.min(w.demand).minor() as f64;
                sums.asked += w.demand.minor() as f64;
                sums.zero += f64::from(u8::from(limit == Money::ZERO));
            }
        }
        sums
    };
    let of_fold = |(fold, rows): (usize, &Fold)| {
        let mut first = 0;
        let mut accounts = Vec::new();
        for account in rows.test.chunk_by(|a, b| a.scored.account == b.scored.account) {
            accounts.push(of_account(fold, first, account));
            first += account.len();
        }
        accounts
    };
    folds.par_iter().enumerate().flat_map_iter(of_fold).collect()
}

fn worst(sums: &[&Sums]) -> f64 {
    let windows: f64 = sums.iter().map(|s| s.windows).sum();
    let ages = sums.first().map_or(0, |s| s.violated.len());
    (0..ages).map(|age| sums.iter().map(|s| s.violated[age]).sum::<f64>() / windows.max(1.0)).fold(0.0, f64::max)
}

fn measured(method: &str, reading: &str, sums: &[Sums], cap: Option<Money>) -> Measured {
    let all: Vec<&Sums> = sums.iter().collect();
    let total = |f: fn(&Sums) -> f64| sums.iter().map(f).sum::<f64>();
    let ages = sums.first().map_or(1, |s| s.violated.len()) as f64;
    let points = (total(|s| s.windows) * ages).max(1.0);
    let tiers: std::collections::BTreeSet<u8> = sums.iter().map(|s| s.tier).collect();
    let of_tier = |tier: &u8| worst(&sums.iter().filter(|s| s.tier == *tier).collect::<Vec<_>>());
    Measured {
        method: method.into(),
        reading: reading.into(),
        violation: worst(&all),
        interval: interval(sums.len(), |drawn| worst(&drawn.iter().map(|ix| &sums[*ix]).collect::<Vec<_>>())),
        mean_limit: total(|s| s.granted) / points,
        mean_share: total(|s| s.shares) / points,
        capped: cap.map(|_| total(|s| s.capped) / points),
        served: total(|s| s.met) / total(|s| s.asked).max(1.0),
        zero: total(|s| s.zero) / points,
        severity: total(|s| s.missing) / total(|s| s.granted).max(1.0),
        worst_tier: tiers.iter().map(of_tier).fold(0.0, f64::max),
    }
}

/// The 95 % interval of a figure, accounts drawn with replacement from a fixed list of draws.
fn interval(n: usize, figure: impl Fn(&[usize]) -> f64 + Sync) -> [f64; 2] {
    if n == 0 {
        return [0.0; 2];
    }
    let sample = |s: usize| {
        let draw = |k: usize| ((u128::from(mix((s as u64) << 32 ^ k as u64)) * n as u128) >> 64) as usize;
        figure(&(0..n).map(draw).collect::<Vec<usize>>())
    };
    let mut values: Vec<f64> = (0..RESAMPLES).into_par_iter().map(sample).collect();
    values.sort_unstable_by(f64::total_cmp);
    [values[RESAMPLES / 40], values[RESAMPLES - 1 - RESAMPLES / 40]]
}

/// Which of our levels stands for us at a rate, fixed beforehand: the one nearest to twice the rate (on teaching days of
/// the panel the best at each).
fn usual(terms: &Terms, rate: Ppm) -> String {
    let nearest = terms.levels.iter().min_by_key(|l| l.get().abs_diff(2 * rate.get()));
    nearest.map_or(String::new(), |l| format!("ours, gap {l}"))
}

/// The name of the reading at a rate.
fn same_rate(rate: Ppm) -> String {
    format!("same rate {rate}")
}

/// What one lost window takes from a tier's limits, parts per million.
const GAIN: u32 = 20_000;

/// Limits that follow settlements as they come in: `[fold][row][age]`. A window counts from when its last payment could
/// settle, and each fold is a deployment of its own.
fn adapted(
    folds: &[Fold],
    terms: &Terms,
    limit: &(dyn Fn(usize, &Row, usize) -> Money + Sync),
) -> Vec<Vec<Vec<Money>>> {
    let gain = Ppm::new(GAIN).expect("2 %");
    let of_fold = |(fold, rows): (usize, &Fold)| {
        let mut limits = vec![vec![Money::ZERO; terms.ages.len()]; rows.test.len()];
        let mut order: Vec<usize> = (0..rows.test.len()).collect();
        order.sort_by_key(|ix| rows.test[*ix].scored.at);
        for (age, minutes) in terms.ages.iter().enumerate() {
            let mut margin = Margin::new(terms.alpha, gain);
            let settles = i64::from(terms.window_h) * 3_600 + minutes.seconds();
            let mut settled = 0;
            for ix in &order {
                let now = rows.test[*ix].scored.at;
                while let Some(old) = order.get(settled).filter(|o| rows.test[**o].scored.at.plus(settles) < now) {
                    let w = &rows.test[*old].scored;
                    margin.settled(w.tier, WHOLE * u32::from(limits[*old][age] > w.headroom[age]));
                    settled += 1;
                }
                let row = &rows.test[*ix];
                let kept = u128::from(limit(fold, row, age).minor()) * u128::from(margin.granted_ppm(row.scored.tier));
                limits[*ix][age] = Money::floor_at_zero((kept / u128::from(WHOLE)) as i64);
            }
        }
        limits
    };
    folds.par_iter().enumerate().map(of_fold).collect()
}

/// Ours against every other method, at the same rates and certified. A certificate of α is kept with less than α of
/// violations, so there the level nearest to α stands for us.
fn ratios(all: &[(Measured, Vec<Sums>)], terms: &Terms, rates: &[Ppm]) -> Vec<Ratio> {
    let certified = "certified".to_owned();
    let half = Ppm::new(terms.alpha.get().div_ceil(2)).expect("half of a level is a level");
    let find = |method: &str, reading: &str| all.iter().find(|(m, _)| m.method == method && m.reading == reading);
    let mut found = Vec::new();
    let of_rate = |rate: &Ppm| [usual(terms, *rate), "ours, ladder".into()].map(|ours| (ours, same_rate(*rate)));
    let deployed =
        [usual(terms, half), "ours, ladder".into(), "ours, as shipped".into()].map(|ours| (ours, certified.clone()));
    for (method, reading) in rates.iter().flat_map(of_rate).chain(deployed) {
        let Some((ours, our_sums)) = find(&method, &reading) else { continue };
        for (theirs, their_sums) in all.iter().filter(|(m, _)| m.reading == reading && !m.method.starts_with("ours")) {
            let ratio = |drawn: &[usize]| {
                let total = |sums: &[Sums]| drawn.iter().map(|ix| sums[*ix].granted).sum::<f64>();
                total(our_sums) / total(their_sums).max(1.0)
            };
            let everyone: Vec<usize> = (0..our_sums.len()).collect();
            found.push(Ratio {
                ours: ours.method.clone(),
                theirs: theirs.method.clone(),
                reading: reading.clone(),
                limit: ratio(&everyone),
                interval: interval(our_sums.len(), ratio),
                served: ours.served - theirs.served,
            });
        }
    }
    found
}
