//! What a run did, measured on accounts and times that took no part in it: for the report and for machines.

use plimsoll_model::Tier;
use plimsoll_model::artifact::Cell;
use plimsoll_model::features::Feature;
use plimsoll_model::forest::{Forest, ONE, uncross};
use plimsoll_model::money::Money;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::Age;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::boost::pinball;
use crate::calibrate::{Candidate, Family, Glance, Group, Log, Outcome, candidate};
use crate::config::Config;
use crate::drift::{Shift, shifts};
use crate::effects::{Effects, shipped_level};
use crate::importance::splits;
use crate::run::examples;
use crate::windows::{Skipped, Windows};

/// Points of a frontier.
const POINTS: usize = 60;

/// What the report shows beyond the log. Amounts in minor units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Windows that taught, calibrated, tested.
    pub windows: [usize; 3],
    /// Accounts that did.
    pub accounts: [usize; 3],
    /// Accounts that chose between rules.
    pub choosers: usize,
    /// Accounts that gave no window.
    pub skipped: Skipped,
    /// Nodes of all trees.
    pub nodes: usize,
    /// Bytes of the ONNX file.
    pub model_bytes: usize,
    /// Bytes of it under zstd at level 19.
    pub model_bytes_zstd: usize,
    /// Per level: mean pinball loss on the test split, and that of the best constant.
    pub pinball: Vec<LevelLoss>,
    /// Per level and age: how often headroom was below the predicted quantile.
    pub reliability: Vec<Reliability>,
    /// All tiers together.
    pub overall: Comparison,
    /// Each tier.
    pub tiers: Vec<(Tier, Comparison)>,
    /// Each way of setting limits as its scalar moves, on the test split.
    pub frontier: Vec<Frontier>,
    /// What the forest's lowest shipped level answers to.
    pub effects: Effects,
    /// How far features moved until the test days, most first.
    pub shifts: Vec<Shift>,
    /// Split gain is not kept; this is how often each feature is split on, most first.
    pub splits: Vec<(String, usize)>,
}

/// One way of setting limits, from nothing to everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frontier {
    /// Its name.
    pub name: String,
    /// As its scalar rises.
    pub points: Vec<Glance>,
}

/// Loss of one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelLoss {
    /// Which.
    pub level: Ppm,
    /// Of the forest.
    pub loss: f64,
    /// Of the test split's own quantile, a constant.
    pub constant: f64,
}

/// Coverage of one level at one age.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Which.
    pub level: Ppm,
    /// At this age.
    pub age: Age,
    /// Share of test windows below the predicted quantile.
    pub observed: f64,
}

/// The shipped rule beside the rules it has to beat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What ships.
    pub shipped: Outcome,
    /// The largest share of the balance that passes the same test at the same α.
    pub fraction: Outcome,
    /// That share, in 400ths; none when tiers differ.
    pub fraction_400ths: Option<u32>,
    /// `min(balance, cap)`, uncertified.
    pub plain: Outcome,
}

impl Metrics {
    /// Measures.
    pub fn of(forest: &Forest, windows: &Windows, log: &Log, cells: &[Cell], config: &Config, model: &[u8]) -> Self {
        let terms = &log.terms;
        let fraction_of = |tier: Tier| {
            let compared = cells.iter().find(|cell| cell.tier == tier).map_or(&[][..], |cell| &cell.compared);
            let share = compared.iter().find(|c| c.name == Family::Share.name(terms));
            let reached = share.and_then(|share| share.reached);
            reached.map_or(Candidate::Share(0), |ix| Family::Share.candidates()[ix as usize])
        };
        let fractions: Vec<(Tier, Candidate)> = terms.tiers.iter().map(|t| (t.tier, fraction_of(t.tier))).collect();
        let rule_in = |table: &[(Tier, Candidate)], tier: Tier| {
            table.iter().find(|(t, _)| *t == tier).map_or(Candidate::Share(0), |(_, c)| *c)
        };
        let shipped: Vec<(Tier, Candidate)> = cells.iter().map(|c| (c.tier, candidate(c.rule, terms))).collect();
        let compare = |tier: Option<Tier>| {
            let group = Group::of(&log.test, tier, terms);
            let fraction = tier.map(|t| rule_in(&fractions, t));
            Comparison {
                shipped: group.outcome(&|t| rule_in(&shipped, t)),
                fraction: group.outcome(&|t| rule_in(&fractions, t)),
                fraction_400ths: match fraction {
                    Some(Candidate::Share(steps)) => Some((u64::from(steps) * 400).div_ceil(u64::from(ONE)) as u32),
                    _ => None,
                },
                plain: group.outcome(&|_| Candidate::Plain),
            }
        };
        let everyone = Group::of(&log.test, None, terms);
        let frontier = |name: String, all: &[Candidate]| {
            let step = (all.len() / POINTS).max(1);
            let chosen: Vec<Candidate> = all.iter().rev().step_by(step).rev().copied().collect();
            Frontier { name, points: chosen.par_iter().map(|c| everyone.glance(&|_| *c)).collect() }
        };
        let largest = log.test.iter().map(|w| w.balance).max().unwrap_or(Money::ZERO);
        let cap = terms.tiers.iter().filter_map(|t| t.cap).max().unwrap_or(largest).min(largest);
        let amount = |k: usize| Candidate::Flat(Money::floor_at_zero((cap.minor() * k as u64 / POINTS as u64) as i64));
        let families = Family::all(terms.levels.len());
        let frontiers = std::iter::once(frontier("flat amount".into(), &(0..=POINTS).map(amount).collect::<Vec<_>>()))
            .chain(families.iter().map(|family| frontier(family.name(terms), &family.candidates())))
            .collect();
        let level = shipped_level(cells, &config.boost.levels);
        let (unseen, _) = examples(&windows.test, &terms.ages);
        let (pinball, reliability) = coverage(forest, windows, &terms.ages, config);
        let accounts = |w: &[crate::windows::Window]| w.chunk_by(|a, b| a.account == b.account).count();
        let mut split_on: Vec<(String, usize)> =
            plimsoll_model::features::FEATURES.iter().map(|f| f.name.to_owned()).zip(split_counts(forest)).collect();
        split_on.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        Self {
            windows: [windows.train.len(), windows.calibrate.len(), windows.test.len()],
            accounts: [accounts(&windows.train), accounts(&windows.calibrate), accounts(&windows.test)],
            choosers: accounts(&windows.choose),
            skipped: windows.skipped,
            nodes: forest.node_count(),
            model_bytes: model.len(),
            model_bytes_zstd: zstd::bulk::compress(model, 19).map_or(0, |z| z.len()),
            pinball,
            reliability,
            overall: compare(None),
            tiers: terms.tiers.iter().map(|t| (t.tier, compare(Some(t.tier)))).collect(),
            frontier: frontiers,
            effects: Effects::of(forest, &config.boost.levels, level, &unseen),
            shifts: shifts(windows),
            splits: split_on,
        }
    }
}

/// In all outputs together.
fn split_counts(forest: &Forest) -> Vec<usize> {
    let of = |output| splits(forest, output);
    let by_output: Vec<Vec<u64>> = (0..forest.outputs().len()).map(of).collect();
    (0..forest.features()).map(|column| by_output.iter().map(|counts| counts[column] as usize).sum()).collect()
}
fn coverage(forest: &Forest, windows: &Windows, ages: &[Age], config: &Config) -> (Vec<LevelLoss>, Vec<Reliability>) {
    // `[age][window][level]`
    let predicted: Vec<Vec<Vec<i32>>> = ages
        .iter()
        .map(|age| {
            let row = |w: &crate::windows::Window| {
                let mut row = w.features;
                row[Feature::LastSyncAgeMin as usize] = age.0 as f32;
                let mut steps = forest.evaluate(&row);
                uncross(&mut steps);
                // The quantiles themselves, without what they were lowered by.
                steps.iter_mut().for_each(|s| *s += config.calibration.spare_steps());
                steps
            };
            windows.test.par_iter().map(row).collect()
        })
        .collect();
    let truth: Vec<Vec<i32>> =
        (0..ages.len()).map(|ix| windows.test.iter().map(|w| w.fraction_steps(ix)).collect()).collect();
    let all: Vec<i32> = truth.concat();
    let (mut losses, mut reliability) = (Vec::new(), Vec::new());
    for (l, level) in config.boost.levels.iter().enumerate() {
        let of_level: Vec<i32> = predicted.iter().flatten().map(|s| s[l]).collect();
        let constant = plimsoll_model::quantile::lower_quantile(&mut all.clone(), level.fraction());
        losses.push(LevelLoss {
            level: *level,
            loss: pinball(&all, &of_level, *level),
            constant: pinball(&all, &vec![constant; all.len()], *level),
        });
        for (ix, age) in ages.iter().enumerate() {
            let below = truth[ix].iter().zip(&predicted[ix]).filter(|(y, p)| **y < p[l]).count();
            let observed = below as f64 / truth[ix].len().max(1) as f64;
            reliability.push(Reliability { level: *level, age: *age, observed });
        }
    }
    (losses, reliability)
}
