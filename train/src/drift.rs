//! Drift between the days that taught, calibrated and tested: a hint from the features, a test from the losses.
//!
//! ```text
//! features ─► population stability index of each, part against part: where to look
//! test windows, as they settled ─► the alarm of [`plimsoll_model::monitor`], tier by tier: whether it matters
//! ```
//!
//! The index has no distribution to be judged by (rows of an account repeat one another, and 61 are looked at): by custom
//! 0.1 is worth a look and 0.25 a lot. The alarm is a test: while the promise holds it sounds in a tier with a
//! probability of at most δ, however often one looks.

use std::collections::HashMap;

use plimsoll_model::Tier;
use plimsoll_model::artifact::Certificate;
use plimsoll_model::features::{FEATURES, Feature};
use plimsoll_model::money::Money;
use plimsoll_model::monitor::{Monitor, WHOLE};
use plimsoll_model::time::{Age, DAY};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibrate::{Log, Scored, candidate};
use crate::windows::{Window, Windows};

/// How far a feature moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// Its name.
    pub feature: String,
    /// Population stability index of the test windows against those that taught.
    pub from_teach: f64,
    /// Against those that calibrated: on these the promise rests.
    pub from_calibrate: f64,
    /// It counts days, so that other days move it whatever people do.
    pub calendar: bool,
}

/// What the calendar moves.
const CALENDAR: [Feature; 6] = [
    Feature::AccountAgeDays,
    Feature::DayOfMonth,
    Feature::DaysLeftInMonth,
    Feature::Weekday,
    Feature::HourOfDay,
    Feature::HistoryDays,
];

/// Every feature, the most moved since calibration first.
pub fn shifts(windows: &Windows) -> Vec<Shift> {
    let shift = |column: usize| {
        let of = |part: &[Window]| part.iter().map(|w| w.features[column]).collect::<Vec<f32>>();
        let test = of(&windows.test);
        Shift {
            feature: FEATURES[column].name.into(),
            from_teach: stability(&of(&windows.train), &test),
            from_calibrate: stability(&of(&windows.calibrate), &test),
            calendar: CALENDAR.iter().any(|f| *f as usize == column),
        }
    };
    let mut all: Vec<Shift> = (0..FEATURES.len()).into_par_iter().map(shift).collect();
    all.sort_by(|a, b| b.from_calibrate.total_cmp(&a.from_calibrate).then(a.feature.cmp(&b.feature)));
    all
}

/// `Σ (p − q) ln(p / q)` over tenths of the reference, with one more for missing; half a row stands in an empty one.
fn stability(reference: &[f32], now: &[f32]) -> f64 {
    let mut sorted: Vec<f32> = reference.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let mut edges: Vec<f32> = (1..10).filter_map(|k| sorted.get(sorted.len() * k / 10).copied()).collect();
    edges.dedup();
    let counts = |values: &[f32]| {
        let mut counts = vec![0.0f64; edges.len() + 2];
        for v in values {
            let bin = if v.is_nan() { edges.len() + 1 } else { edges.partition_point(|edge| edge <= v) };
            counts[bin] += 1.0;
        }
        counts
    };
    let (before, after) = (counts(reference), counts(now));
    let share = |count: f64, n: usize| count.max(0.5) / n.max(1) as f64;
    let terms = before.iter().zip(&after).filter(|(b, a)| **b > 0.0 || **a > 0.0).map(|(b, a)| {
        let (p, q) = (share(*b, reference.len()), share(*a, now.len()));
        (q - p) * libm::log(q / p)
    });
    terms.sum()
}

/// A tier's alarm, replayed over the test windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The tier.
    pub tier: Tier,
    /// At each age of the certificate.
    pub ages: Vec<Replayed>,
}

/// One replay: every window evaluated at this age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// Which age.
    pub age: Age,
    /// Windows, at most one of an account at a time.
    pub windows: u32,
    /// Of them, those with less headroom than the limit.
    pub lost: u32,
    /// The largest evidence against the promise.
    pub e_value_max: f64,
    /// Alarms.
    pub alarms: u32,
    /// `(days since the first test sync, evidence)` as windows settled.
    pub path: Vec<(f64, f64)>,
}

impl Watched {
    /// The age with the most evidence against the promise.
    pub fn worst(&self) -> Option<&Replayed> {
        self.ages.iter().max_by(|a, b| a.e_value_max.total_cmp(&b.e_value_max))
    }
}

/// What the alarm would have said on the test days, tier by tier: limits are tightened after an alarm, as in service.
pub fn replay(log: &Log, certificate: &Certificate) -> Vec<Watched> {
    let of_cell = |cell: &plimsoll_model::artifact::Cell| {
        let windows: Vec<&Scored> = log.test.iter().filter(|w| w.tier == cell.tier).collect();
        let cap = log.terms.tiers.iter().find(|t| t.tier == cell.tier).and_then(|t| t.cap).unwrap_or(Money::MAX);
        let rule = candidate(cell.rule, &log.terms);
        let ages = (0..log.terms.ages.len()).into_par_iter();
        let replayed = ages.map(|age| replay_age(log, certificate, &windows, age, |w| rule.limit(w, age, cap)));
        Watched { tier: cell.tier, ages: replayed.collect() }
    };
    certificate.cells.iter().map(of_cell).collect()
}

fn replay_age(
    log: &Log,
    certificate: &Certificate,
    windows: &[&Scored],
    age: usize,
    limit: impl Fn(&Scored) -> Money,
) -> Replayed {
    let terms = &log.terms;
    let reach = i64::from(terms.window_h) * 3_600 + terms.ages[age].seconds();
    let mut free: HashMap<u32, i64> = HashMap::new();
    // Two windows of one account that overlap are one event seen twice.
    let mut alone: Vec<&Scored> = windows
        .iter()
        .copied()
        .filter(|w| {
            let first = free.get(&w.account).is_none_or(|until| w.at.0 > *until);
            if first {
                free.insert(w.account, w.at.0 + reach);
            }
            first
        })
        .collect();
    alone.sort_by_key(|w| (w.at, w.account));
    let mut monitor = Monitor::new(1, certificate.terms.alpha, certificate.terms.delta);
    let mut seen = Replayed {
        age: terms.ages[age],
        windows: alone.len() as u32,
        lost: 0,
        e_value_max: 0.0,
        alarms: 0,
        path: vec![(0.0, 1.0)],
    };
    let mut sounded = false;
    let began = log.test.iter().map(|w| w.at.0).min().unwrap_or(0);
    for w in alone {
        let granted = u128::from(limit(w).minor()) * u128::from(monitor.granted_ppm(w.tier)) / u128::from(WHOLE);
        let lost = granted > u128::from(w.headroom[age].minor());
        seen.lost += u32::from(lost);
        let alarm = monitor.settled(w.tier, if lost { WHOLE } else { 0 });
        let e_value = alarm.map_or_else(|| monitor.e_value(w.tier), |a| a.e_value);
        seen.alarms += u32::from(alarm.is_some());
        seen.e_value_max = seen.e_value_max.max(e_value);
        let day = ((w.at.0 + reach - began) / DAY) as f64;
        // One point a day is enough to see; an alarm keeps its own.
        match seen.path.last_mut() {
            Some(last) if last.0 == day && alarm.is_none() && !sounded => last.1 = e_value,
            _ => seen.path.push((day, e_value)),
        }
        sounded = alarm.is_some();
    }
    seen
}

#[cfg(test)]
mod tests {
    use plimsoll_model::artifact::{Basis, Cell, Rule, Terms, TierTerms};
    use plimsoll_model::calibration::Target;
    use plimsoll_model::quantile::Ppm;
    use plimsoll_model::time::UtcSeconds;

    use super::*;

    #[test]
    fn what_stays_has_no_index_and_what_moves_has_a_large_one() {
        let of = |from: u32, missing: u32| -> Vec<f32> {
            (from..from + 1_000).map(|v| if v % 100 < missing { f32::NAN } else { v as f32 }).collect()
        };
        assert!(stability(&of(0, 0), &of(0, 0)).abs() < 1e-12);
        assert!(stability(&of(0, 0), &of(50, 0)) > 0.005);
        assert!(stability(&of(0, 0), &of(500, 0)) > 1.0);
        assert!(stability(&of(0, 0), &of(0, 20)) > 0.25, "missing is a value too");
        assert!(stability(&[], &of(0, 0)).is_finite() && stability(&of(0, 0), &[]).is_finite());
        assert!(stability(&[1.0; 50], &[1.0; 50]).abs() < 1e-12, "a constant");
    }

    fn watched(lost_every: u32, days_apart: i64) -> Replayed {
        let ppm = |v| Ppm::new(v).expect("a level");
        let money = |m| Money::from_minor(m).expect("small");
        let tier = TierTerms { tier: Tier::default(), cap: None, fallback: Money::ZERO };
        let terms =
            Terms { tiers: vec![tier], ..Terms::new(ppm(10_000), ppm(50_000), Target::Strict, 24, vec![Age(0)]) };
        let window = |n: u32| Scored {
            account: n % 50,
            tier: Tier::default(),
            at: UtcSeconds(i64::from(n / 50) * days_apart * DAY),
            balance: money(100),
            demand: money(0),
            history: 0,
            headroom: vec![money(if n.is_multiple_of(lost_every) { 10 } else { 90 })],
            steps: vec![],
        };
        let mut test: Vec<Scored> = (0..1_000).map(window).collect();
        test.sort_by_key(|w| w.account);
        let log = Log { terms: terms.clone(), choose: vec![], calibrate: vec![], test };
        let mut certificate = crate::calibrate::derive(&log);
        certificate.cells = vec![Cell::new(Tier::default(), Rule::Share { steps: 1 << 19 }, Basis::Certified)];
        replay(&log, &certificate).remove(0).worst().expect("one age").clone()
    }

    #[test]
    fn a_promise_that_is_kept_sounds_no_alarm_and_a_broken_one_does() {
        let kept = watched(250, 2);
        assert_eq!((kept.windows, kept.lost, kept.alarms), (1_000, 4, 0), "{kept:?}");
        assert!(kept.path.is_sorted_by(|a, b| a.0 <= b.0) && kept.path.len() == 21, "{}", kept.path.len());
        let broken = watched(7, 2);
        assert!(broken.alarms > 0 && broken.e_value_max >= 20.0, "{broken:?}");
        assert!(broken.path.iter().any(|(_, e)| *e >= 20.0), "the alarm is seen in the path");
    }

    #[test]
    fn windows_of_an_account_that_overlap_count_once() {
        assert_eq!(watched(250, 1).windows, 500, "a window of 24 h ends in the second the next day's begins");
    }
}
