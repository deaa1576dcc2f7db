//! The certificate, derived from a calibration log and nothing else.

use std::ops::RangeInclusive;

use plimsoll_model::Tier;
use plimsoll_model::artifact::{Band, Basis, Cell, Certificate, Compared, Rule, SCHEMA, Terms, Tested, TierTerms, hex};
use plimsoll_model::calibration::{GapScale, Stake, Target, Verdict, accounts_needed, alpha_min};
use plimsoll_model::merkle;
use plimsoll_model::money::Money;
use plimsoll_model::time::UtcSeconds;
use rayon::prelude::*;

use super::{Candidate, Family, Group, Log, Outcome, Scored};
use crate::log;

/// Accounts below which a tier leaves the choice of its rule to all tiers together.
const CHOOSERS_MIN: usize = 50;
/// Accounts of a band for each that certifying takes when none violates, thousandths. With just enough, one violation
/// would cost the whole tier its limit; with half as many again, 0.89 of the best limit was kept (`study`).
const BAND_ACCOUNTS_MILLI: u64 = 1_500;

/// Derives the certificate of a log.
pub fn derive(log: &Log) -> Certificate {
    let bytes = log::write(log);
    let root = merkle::root(bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()));
    let times = || log.calibrate.iter().map(|w| w.at);
    let cells = cells(log);
    Certificate {
        schema: SCHEMA,
        calibration_root: hex(&root),
        calibration_rows: (log.choose.len() + log.calibrate.len() + log.test.len()) as u32,
        calibration_from: times().min().unwrap_or_default(),
        calibration_to: times().max().unwrap_or_default(),
        limits_of_use: limits_of_use(&log.terms, &cells, times().min()..=times().max()),
        cells,
        terms: log.terms.clone(),
    }
}

/// What a family promises on the accounts set aside for choosing.
#[derive(Clone, Copy)]
struct Choice {
    family: Family,
    /// At which it would get furthest.
    stake: Stake,
    /// How it would serve.
    utility: f64,
}

/// What each family came to in one group.
struct Tried {
    choice: Choice,
    /// By its own test at the whole δ.
    found: Option<(u32, Candidate, Verdict)>,
    steps: u32,
}

/// The operating point of every tier.
pub(crate) fn cells(log: &Log) -> Vec<Cell> {
    let terms = &log.terms;
    let everyone = Group::of(&log.calibrate, None, terms);
    let pooled_choice = promising(&Group::of(&log.choose, None, terms), &everyone, terms);
    let pooled_best = best(&pooled_choice, terms);
    let pooled_family = pooled_best.family;
    let pooled = everyone.search(pooled_family, pooled_best.stake, terms.delta_each());
    // The next lower tier's point in the pooled family: points of one family can be compared.
    let mut below: Option<u32> = None;
    let mut cells = Vec::new();
    for rules in &terms.tiers {
        let group = Group::of(&log.calibrate, Some(rules.tier), terms);
        let choosers = Group::of(&log.choose, Some(rules.tier), terms);
        let from = bands(&choosers, &log.calibrate, rules.tier, terms);
        let (group, choosers) = (group.in_bands(from.clone()), choosers.in_bands(from.clone()));
        let choice = if choosers.accounts() < CHOOSERS_MIN {
            pooled_choice.clone()
        } else {
            promising(&choosers, &group, terms)
        };
        let tried = try_all(&group, &choice, terms);
        let mut cell = certified(&group, rules, &tried, best(&choice, terms), terms);
        let point = tried.iter().find(|t| t.choice.family == pooled_family).and_then(|t| t.found).map(|(ix, _, _)| ix);
        let few = (group.accounts() as u64) < u64::from(cell.accounts_needed);
        if cell.basis == Basis::Fallback
            && few
            && let Some((pooled_ix, _, _)) = pooled
        {
            let ix = below.map_or(pooled_ix, |b| b.min(pooled_ix));
            let candidate = pooled_family.candidates()[ix as usize];
            if let (false, Some(rule)) = (candidate.is_nothing(), candidate.rule(terms)) {
                (cell.rule, cell.basis, cell.stake_milli) = (rule, Basis::Borrowed, pooled_best.stake);
                evidence(&mut cell, &group.judge(candidate, pooled_best.stake), group.is_empty());
            }
        }
        let test = Group::of(&log.test, Some(rules.tier), terms).in_bands(from);
        let shipped = candidate(cell.rule, terms);
        cell.test = tested(&test.outcome(&|_| shipped));
        if cell.basis == Basis::Certified {
            cell.bands = evidence_in_bands(&group, &test, shipped, cell.stake_milli);
        }
        cell.compared = tried.iter().map(|t| compared(t, &test, terms)).collect();
        below = point.or(below);
        cells.push(cell);
    }
    cells
}

/// Where the balance bands of a tier begin: as many as are wanted, if each has accounts enough, or fewer; none when the
/// tier stays whole. They hold equally many windows of the choosers, who take no part in the test.
fn bands(choosers: &Group<'_>, calibrate: &[Scored], tier: Tier, terms: &Terms) -> Vec<Money> {
    let needed = u64::from(needed(terms)) * BAND_ACCOUNTS_MILLI / 1_000;
    let suffice = |from: &Vec<Money>| {
        let group = Group::of(calibrate, Some(tier), terms).in_bands(from.clone());
        from.len() > 1 && group.bands().all(|(_, band)| band.accounts() as u64 >= needed)
    };
    let wanted = if choosers.accounts() < CHOOSERS_MIN { 1 } else { terms.bands };
    (2..=wanted).rev().map(|n| choosers.even_bands(n)).find(suffice).unwrap_or_default()
}

fn evidence_in_bands(group: &Group<'_>, test: &Group<'_>, shipped: Candidate, stake: Stake) -> Vec<Band> {
    let of = |((from, band), (_, test)): ((Money, Group<'_>), (Money, Group<'_>))| {
        let verdict = band.judge(shipped, stake);
        Band {
            from,
            accounts: band.accounts() as u32,
            windows: band.len() as u32,
            violation_ppm: ppm_up(verdict.violation),
            e_value_milli: milli_down(verdict.e_value),
            missing_milli: milli_up(verdict.missing),
            money_e_value_milli: verdict.money_e_value.map(milli_down),
            test: tested(&test.outcome(&|_| shipped)),
        }
    };
    group.bands().zip(test.bands()).map(of).collect()
}

/// How much each family promises: how it would serve if the calibration accounts were like those set aside, by the same
/// test, with the evidence that so many of them would give.
fn promising(choosers: &Group<'_>, calibrating: &Group<'_>, terms: &Terms) -> Vec<Choice> {
    let times = calibrating.accounts() as f64 / choosers.accounts().max(1) as f64;
    let choice = |family: Family| match choosers.forecast(family, times, terms.delta_each()) {
        Some((stake, found)) => Choice { family, stake, utility: choosers.outcome(&|_| found).utility(terms) },
        None => Choice { family, stake: Stake::MOST, utility: 0.0 },
    };
    Family::all(terms.levels.len()).into_par_iter().map(choice).collect()
}

/// The simplest family that ships and comes close enough to the best.
fn best(choices: &[Choice], terms: &Terms) -> Choice {
    let shipping = || choices.iter().filter(|c| c.family.ships());
    let most = shipping().map(|c| c.utility).fold(0.0, f64::max);
    let within = f64::from(terms.objective.simpler_within_milli) / 1e3;
    *shipping().find(|c| c.utility >= most - within).expect("a share of the balance ships")
}

fn try_all(group: &Group<'_>, choices: &[Choice], terms: &Terms) -> Vec<Tried> {
    let attempt = |choice: &Choice| Tried {
        choice: *choice,
        found: group.search(choice.family, choice.stake, terms.delta_each()),
        steps: choice.family.candidates().len() as u32,
    };
    choices.par_iter().map(attempt).collect()
}

fn certified(group: &Group<'_>, tier: &TierTerms, tried: &[Tried], chosen: Choice, terms: &Terms) -> Cell {
    let fallback = Cell::new(tier.tier, Rule::Fallback { amount: tier.fallback }, Basis::Fallback);
    let mut cell = Cell {
        accounts: group.accounts() as u32,
        windows: group.len() as u32,
        alpha_min_ppm: (alpha_min(group.accounts() as u64, terms.delta_each()) * 1e6).ceil() as u32,
        accounts_needed: needed(terms),
        beta: tier.beta(terms.beta),
        stake_milli: chosen.stake,
        ..fallback
    };
    let found = tried.iter().find(|t| t.choice.family == chosen.family).and_then(|t| t.found);
    // A scale that grants nobody anything certifies trivially and is no limit; it is the fallback.
    if let Some((_, candidate, verdict)) = found.filter(|(_, c, _)| !group.is_empty() && !c.is_nothing())
        && let Some(rule) = candidate.rule(terms)
    {
        (cell.rule, cell.basis) = (rule, Basis::Certified);
        evidence(&mut cell, &verdict, false);
    }
    cell
}

/// Accounts that certifying takes when none violates.
pub(crate) fn needed(terms: &Terms) -> u32 {
    let strictest = terms.alpha.fraction().min(terms.beta.fraction());
    u32::try_from(accounts_needed(strictest, terms.delta_each())).unwrap_or(u32::MAX)
}

fn evidence(cell: &mut Cell, verdict: &Verdict, empty: bool) {
    let of = |value: f64| if empty { 0.0 } else { value };
    cell.violation_ppm = ppm_up(of(verdict.violation));
    cell.e_value_milli = milli_down(of(verdict.e_value));
    cell.missing_milli = milli_up(of(verdict.missing));
    cell.money_e_value_milli = verdict.money_e_value.map(|e| milli_down(of(e)));
}

// Rounded against us: what was lost up, the evidence down.

fn ppm_up(share: f64) -> u32 {
    (share * 1e6).ceil() as u32
}

fn milli_up(lost: f64) -> u64 {
    (lost * 1e3).ceil() as u64
}

fn milli_down(evidence: f64) -> u64 {
    (evidence * 1e3).min(1e15) as u64
}

fn compared(tried: &Tried, test: &Group<'_>, terms: &Terms) -> Compared {
    let found = tried.found.filter(|_| !test.is_empty());
    Compared {
        name: tried.choice.family.name(terms),
        reached: tried.found.map(|(ix, _, _)| ix),
        of: tried.steps,
        promising_milli: (tried.choice.utility * 1e3) as u32,
        test: found.map(|(_, candidate, _)| test.outcome(&|_| candidate).expected()),
    }
}

/// The candidate a cell's rule is.
pub fn candidate(rule: Rule, terms: &Terms) -> Candidate {
    match rule {
        Rule::Balance => Candidate::Plain,
        Rule::Share { steps } => Candidate::Share(steps),
        Rule::Gap { level, scale } => match terms.levels.iter().position(|l| *l == level) {
            Some(level) => Candidate::Gap { level, scale },
            None => Candidate::Gap { level: 0, scale: GapScale::NOTHING },
        },
        Rule::Fallback { amount } => Candidate::Flat(amount),
    }
}

/// The test of one cell's promise on windows that took no part in anything.
pub fn tested(outcome: &Outcome) -> Option<Tested> {
    (outcome.accounts > 0).then(|| Tested {
        accounts: outcome.accounts,
        windows: outcome.windows,
        violation_ppm: (outcome.violation * 1e6).ceil() as u32,
        low_ppm: (outcome.low * 1e6).floor() as u32,
        high_ppm: (outcome.high * 1e6).ceil() as u32,
        expected: outcome.expected(),
        intervals: outcome.intervals(),
    })
}

/// What the promise does not cover, in words that follow from the rest.
fn limits_of_use(terms: &Terms, cells: &[Cell], times: RangeInclusive<Option<UtcSeconds>>) -> Vec<String> {
    let last = terms.ages.last().map_or_else(|| "0 min".into(), ToString::to_string);
    let mut all = vec![
        "the promise is a mean over the accounts of a tier; single accounts may do worse".to_owned(),
        format!(
            "no limit is promised later than {last} after a sync, or for payments that settle later than {} h after they were made",
            terms.window_h
        ),
        match terms.target {
            Target::Strict => "everything observed counts against the limit".to_owned(),
            Target::Committed => {
                "what the holder starts on the granted device is taken to be an offline payment, under the grant"
                    .to_owned()
            }
        },
    ];
    if let (Some(from), Some(to)) = times.into_inner() {
        all.push(format!(
            "it holds while accounts behave as between {} and {} (UTC seconds); the alarm per tier watches that",
            from.0, to.0
        ));
    }
    let whole = |c: &Cell| c.basis == Basis::Certified && c.bands.is_empty();
    let tiers = |wanted: &dyn Fn(&Cell) -> bool| {
        let names: Vec<String> = cells.iter().filter(|c| wanted(c)).map(|c| c.tier.to_string()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = tiers(&|c| c.basis == Basis::Borrowed) {
        all.push(format!("tier {names}: too few accounts; the limit is borrowed and has no promise of its own"));
    }
    if let Some(names) = tiers(&|c| c.basis == Basis::Fallback) {
        all.push(format!("tier {names}: nothing is certified; the programme's fallback applies"));
    }
    if let (2.., Some(names)) = (terms.bands, tiers(&whole)) {
        all.push(format!("tier {names}: too few accounts for balance bands; the promise is a mean over all balances"));
    }
    if let Some(names) = tiers(&|c| c.beta.is_none()) {
        all.push(format!("tier {names}: the programme has no cap, so nothing is promised in money"));
    }
    if terms.tries > 1 {
        all.push(format!(
            "the calibration accounts may serve {} certifications in all; each has that share of delta",
            terms.tries
        ));
    }
    all
}

/// What can be certified, said before anything is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Feasible {
    /// The tier.
    pub tier: Tier,
    /// Its calibration accounts.
    pub accounts: u32,
    /// Accounts that α and β take when none of them violates.
    pub needed: u32,
    /// What was asked: the smaller of α and β, parts per million.
    pub asked_ppm: u32,
    /// The tightest that so many accounts can certify, parts per million, rounded up.
    pub tightest_ppm: u32,
}

impl Feasible {
    /// Each tier, from how many calibration accounts it has.
    pub fn of(terms: &Terms, accounts: impl Fn(Tier) -> usize) -> Vec<Self> {
        let of = |tier: &TierTerms| {
            let accounts = accounts(tier.tier);
            Self {
                tier: tier.tier,
                accounts: accounts as u32,
                needed: needed(terms),
                asked_ppm: terms.alpha.get().min(terms.beta.get()),
                tightest_ppm: (alpha_min(accounts as u64, terms.delta_each()) * 1e6).ceil() as u32,
            }
        };
        terms.tiers.iter().filter(|t| t.cap != Some(Money::ZERO)).map(of).collect()
    }

    /// Whether there are accounts enough.
    pub const fn suffices(&self) -> bool {
        self.accounts >= self.needed
    }
}

impl std::fmt::Display for Feasible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |ppm: u32| f64::from(ppm) / 1e4;
        let Self { tier, accounts, needed, asked_ppm, tightest_ppm } = self;
        write!(f, "tier {tier} needs {needed} accounts to certify {} %; you have {accounts}", percent(*asked_ppm))?;
        match (self.suffices(), accounts) {
            (true, _) => Ok(()),
            (false, 0) => write!(f, ": it borrows from other tiers or gets the programme's fallback"),
            (false, _) => write!(
                f,
                ": the tightest you can certify is {:.2} %",
                (f64::from(*tightest_ppm) / 100.0).ceil() / 100.0
            ),
        }
    }
}
