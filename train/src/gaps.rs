//! Group gaps: does the promise hold for the rural merchant as for the clerk, and who gets less?
//!
//! ```text
//! test windows + what is known of their accounts ─► groups (tier, tenure, income, balance, the source's own columns)
//!                                                     └─► each: violations, limit, demand served, zero limits [95 %]
//! ```
//!
//! The certificate promises α for a tier, not for a group inside it: a group above α is no breach, but whoever signs
//! should know. **Accounts stay whole**: an account belongs to one group of each kind, intervals resample or bet over
//! accounts, never windows. Which groups are *above* is asked of all of them at once, so it is asked at `δ` over the
//! number of groups and ages: with probability `1 − δ` none is named wrongly.

use std::collections::{BTreeMap, HashMap};

use plimsoll_model::artifact::{Cell, Terms};
use plimsoll_model::calibration::mean_interval;
use plimsoll_model::money::Money;
use plimsoll_model::{Currency, Tier};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::accounts::{Accounts, Known};
use crate::calibrate::{Candidate, Group, Outcome, Scored, candidate};
use crate::run::Run;

/// How each group fared under the shipped rules, on accounts and days that took no part in anything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gaps {
    /// The promise, as a share.
    pub alpha: f64,
    /// One per way of grouping: tier, tenure, income, balance, then the source's own columns.
    pub by: Vec<Gap>,
}

/// The groups of one way of grouping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// By what: `tier`, `tenure`, `monthly inflow`, `balance`, `archetype`.
    pub by: String,
    /// In their natural order.
    pub groups: Vec<Fared>,
}

/// How one group fared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fared {
    /// Which.
    pub group: String,
    /// Violations (mean over accounts, worst age), limits, demand served, zero limits, with 95 % intervals over accounts.
    pub outcome: Outcome,
    /// Its violations are above the promise beyond doubt, whichever groups were looked at.
    pub above: bool,
}

impl Gaps {
    /// Of a run, on its test part.
    pub fn of(run: &Run) -> Self {
        Self::among(&run.log.test, &run.accounts, &run.log.terms, &run.release.certificate.cells, run.policy.currency)
    }

    /// Of any windows, under the rules of these cells.
    pub fn among(windows: &[Scored], accounts: &Accounts, terms: &Terms, cells: &[Cell], currency: Currency) -> Self {
        let of_account: Vec<&[Scored]> = windows.chunk_by(|a, b| a.account == b.account).collect();
        let rules: BTreeMap<Tier, Candidate> = cells.iter().map(|c| (c.tier, candidate(c.rule, terms))).collect();
        let ways = ways(windows, accounts, currency);
        let looks = ways.iter().map(|way| way.names.len()).sum::<usize>() * terms.ages.len();
        let each = terms.delta.fraction() / looks.max(1) as f64;
        let fared = |way: &Grouping, ix: usize| {
            let members = of_account.iter().zip(&way.of).filter(|(_, of)| **of == Some(ix));
            let group = Group::among(members.flat_map(|(w, _)| w.iter()), terms);
            let rule = |tier: Tier| rules.get(&tier).copied().unwrap_or(Candidate::Flat(Money::ZERO));
            let outcome = group.outcome(&rule);
            let above = outcome.low > terms.alpha.fraction()
                && group.violations(&rule).iter().any(|age| {
                    let shares: Vec<f64> = age.iter().map(|v| v.share()).collect();
                    // One side of an interval has half of its level.
                    mean_interval(&shares, 2.0 * each).0 > terms.alpha.fraction()
                });
            Fared { group: way.names[ix].clone(), outcome, above }
        };
        let gap = |way: &Grouping| Gap {
            by: way.by.clone(),
            groups: (0..way.names.len()).into_par_iter().map(|ix| fared(way, ix)).collect(),
        };
        Self { alpha: terms.alpha.fraction(), by: ways.iter().map(gap).collect() }
    }

    /// Groups whose violations are above the promise beyond doubt: by what, and how they fared.
    pub fn above(&self) -> impl Iterator<Item = (&str, &Fared)> {
        self.by.iter().flat_map(|gap| gap.groups.iter().filter(|g| g.above).map(|g| (gap.by.as_str(), g)))
    }
}

/// A way of putting accounts in groups.
pub(crate) struct Grouping {
    /// By what.
    pub(crate) by: String,
    /// Of the groups.
    pub(crate) names: Vec<String>,
    /// Of each account, in the order of the windows; none where nothing is known.
    pub(crate) of: Vec<Option<usize>>,
}

/// Every way of putting the accounts of these windows in groups.
pub(crate) fn ways(windows: &[Scored], accounts: &Accounts, currency: Currency) -> Vec<Grouping> {
    let known: HashMap<u32, &Known> = accounts.known.iter().map(|k| (k.account, k)).collect();
    let of_account: Vec<&[Scored]> = windows.chunk_by(|a, b| a.account == b.account).collect();
    let money = |minor: f64| currency.show(Money::floor_at_zero(minor as i64));
    let mean_balance = |w: &&[Scored]| w.iter().map(|w| w.balance.minor() as f64).sum::<f64>() / w.len() as f64;
    let tenure = of_account.iter().map(|w| known.get(&w[0].account).map(|k| tenure_band(k.tenure_days)));
    let inflow = of_account.iter().map(|w| known.get(&w[0].account).map(|k| k.inflow_minor as f64));
    let mut ways = vec![
        Grouping::named("tier", of_account.iter().map(|w| Some(format!("tier {}", w[0].tier)))),
        Grouping::banded("tenure", tenure, &TENURES.map(|(_, name)| name)),
        Grouping::fifths("monthly inflow", inflow, money),
        Grouping::fifths("balance", of_account.iter().map(|w| Some(mean_balance(w))), money),
    ];
    for (column, name) in accounts.columns.iter().enumerate() {
        let word =
            |w: &&[Scored]| known.get(&w[0].account).and_then(|k| k.words.get(column)).map_or("", String::as_str);
        ways.push(Grouping::of_words(name, &of_account.iter().map(word).collect::<Vec<_>>(), currency));
    }
    // One group alone compares nothing; that of the tiers is the promise itself.
    ways.retain(|way| way.names.len() > 1 || way.by == "tier");
    ways
}

/// Up to so many days, and what it is called.
const TENURES: [(u32, &str); 5] = [
    (90, "under 90 days"),
    (180, "90 to 179 days"),
    (365, "180 to 364 days"),
    (1_096, "1 to 3 years"),
    (u32::MAX, "3 years or more"),
];

const fn tenure_band(days: u32) -> usize {
    let mut band = 0;
    while band + 1 < TENURES.len() && days >= TENURES[band].0 {
        band += 1;
    }
    band
}

/// Words a column may have before the rarest are taken together.
const WORDS_MAX: usize = 12;

impl Grouping {
    /// By name, in the order of names.
    fn named(by: &str, names: impl Iterator<Item = Option<String>>) -> Self {
        let of: Vec<Option<String>> = names.collect();
        let mut all: Vec<String> = of.iter().flatten().cloned().collect();
        all.sort_unstable();
        all.dedup();
        let place = |name: &Option<String>| name.as_ref().and_then(|n| all.binary_search(n).ok());
        Self { by: by.into(), of: of.iter().map(place).collect(), names: all }
    }

    /// By bands that have names; empty ones are left out.
    fn banded(by: &str, bands: impl Iterator<Item = Option<usize>>, names: &[&str]) -> Self {
        let of: Vec<Option<usize>> = bands.collect();
        let used: Vec<usize> = (0..names.len()).filter(|band| of.contains(&Some(*band))).collect();
        let place = |band: &Option<usize>| band.and_then(|b| used.binary_search(&b).ok());
        Self {
            by: by.into(),
            of: of.iter().map(place).collect(),
            names: used.iter().map(|band| names[*band].to_owned()).collect(),
        }
    }

    /// By fifths of the accounts; equal values stay together.
    fn fifths(by: &str, values: impl Iterator<Item = Option<f64>>, show: impl Fn(f64) -> String) -> Self {
        let of: Vec<Option<f64>> = values.map(|v| v.filter(|v| v.is_finite())).collect();
        let mut sorted: Vec<f64> = of.iter().flatten().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut edges: Vec<f64> = (1..5).filter_map(|k| sorted.get(k * sorted.len() / 5).copied()).collect();
        edges.dedup();
        let bands = of.iter().map(|v| v.map(|v| edges.partition_point(|edge| *edge <= v)));
        let name = |band: usize| match (band.checked_sub(1).map(|b| edges[b]), edges.get(band)) {
            (None, Some(to)) => format!("below {}", show(*to)),
            (Some(from), Some(to)) => format!("{} to {}", show(from), show(*to)),
            (Some(from), None) => format!("{} or more", show(from)),
            (None, None) => "all".into(),
        };
        let names: Vec<String> = (0..=edges.len()).map(name).collect();
        Self::banded(by, bands, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// By a source's own words; numbers of many values are cut in fifths, and a name ending in `_minor` is money.
    fn of_words(name: &str, words: &[&str], currency: Currency) -> Self {
        let known: Vec<&str> = words.iter().copied().filter(|w| !w.is_empty()).collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        known.iter().for_each(|w| *counts.entry(w).or_default() += 1);
        let numbers: Option<Vec<f64>> = known.iter().map(|w| w.parse().ok()).collect();
        if counts.len() > WORDS_MAX && numbers.is_some() {
            let values = words.iter().map(|w| w.parse().ok());
            let by = name.trim_end_matches("_minor").replace('_', " ");
            return if name.ends_with("_minor") {
                Self::fifths(&by, values, |v| currency.show(Money::floor_at_zero(v as i64)))
            } else {
                Self::fifths(&by, values, |v| v.to_string())
            };
        }
        let mut often: Vec<(&str, usize)> = counts.into_iter().collect();
        often.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        often.truncate(WORDS_MAX);
        let group = |word: &&str| match *word {
            "" => None,
            w if often.iter().any(|(o, _)| *o == w) => Some(w.replace('_', " ")),
            _ => Some("others".into()),
        };
        Self::named(&name.replace('_', " "), words.iter().map(group))
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_model::artifact::{Basis, Rule, TierTerms};
    use plimsoll_model::calibration::Target;
    use plimsoll_model::quantile::Ppm;
    use plimsoll_model::time::{Age, UtcSeconds};

    use super::*;

    /// Accounts of ten windows with a balance of 100 and a limit of 50; `violated` of them have less headroom.
    fn account(ix: u32, violated: usize, word: &str) -> (Vec<Scored>, Known) {
        let money = |m| Money::from_minor(m).expect("small");
        let window = |w: usize| Scored {
            account: ix,
            tier: Tier::default(),
            at: UtcSeconds(w as i64),
            balance: money(10_000),
            demand: money(1_000),
            history: 0,
            headroom: vec![money(if w < violated { 0 } else { 9_000 })],
            steps: vec![],
        };
        let known = Known { account: ix, tenure_days: ix, inflow_minor: u64::from(ix) * 100, words: vec![word.into()] };
        ((0..10).map(window).collect(), known)
    }

    fn gaps(all: impl Iterator<Item = (Vec<Scored>, Known)>) -> Gaps {
        let (windows, known): (Vec<_>, Vec<_>) = all.unzip();
        let ppm = |v| Ppm::new(v).expect("a level");
        let tier = TierTerms { tier: Tier::default(), cap: None, fallback: Money::ZERO };
        let terms =
            Terms { tiers: vec![tier], ..Terms::new(ppm(20_000), ppm(50_000), Target::Strict, 72, vec![Age(0)]) };
        let half = Cell::new(Tier::default(), Rule::Share { steps: 1 << 19 }, Basis::Certified);
        let accounts = Accounts { columns: vec!["region".into()], known };
        Gaps::among(&windows.concat(), &accounts, &terms, &[half], Currency::new("MYR", 2).expect("a currency"))
    }

    #[test]
    fn the_group_that_breaks_the_promise_is_named_and_no_other() {
        let word = |n| if n % 4 == 0 { "by_the_sea" } else { "inland" };
        // Every second account by the sea loses half of its windows; inland one in fifty loses one.
        let violated = |n| if n % 4 == 0 { 5 * (n as usize / 4 % 2) } else { usize::from(n % 50 == 1) };
        let gaps = gaps((0..400).map(|n| account(n, violated(n), word(n))));
        assert_eq!(
            gaps.by.iter().map(|g| g.by.as_str()).collect::<Vec<_>>(),
            ["tier", "tenure", "monthly inflow", "region"]
        );
        let named: Vec<(&str, &str)> = gaps.above().map(|(by, g)| (by, g.group.as_str())).collect();
        assert!(named.contains(&("region", "by the sea")), "{named:?}");
        assert!(!named.contains(&("region", "inland")), "{named:?}");
        let region = &gaps.by.last().expect("region").groups;
        assert_eq!(region.iter().map(|g| g.outcome.accounts).collect::<Vec<_>>(), [100, 300]);
        assert!((region[0].outcome.violation - 0.25).abs() < 1e-12 && region[0].outcome.low > 0.02);
    }

    #[test]
    fn two_bad_accounts_are_no_evidence_however_many_windows_they_have() {
        let gaps = gaps((0..200).map(|n| account(n, if n < 2 { 10 } else { 0 }, if n < 4 { "few" } else { "many" })));
        let few = gaps.by.last().expect("region").groups.first().expect("few");
        assert!(few.outcome.violation > 0.4 && !few.above, "{few:?}");
        assert_eq!(gaps.above().count(), 0);
    }

    #[test]
    fn fifths_are_of_accounts_and_equal_values_stay_together() {
        let values = [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, f64::NAN];
        let cut = Grouping::fifths("x", values.iter().map(|v| Some(*v)), |v| v.to_string());
        assert_eq!(cut.of[..4], [Some(0); 4]);
        assert_eq!(cut.of[9], None);
        assert!(cut.of[4..9].is_sorted(), "{:?} {:?}", cut.of, cut.names);
    }

    #[test]
    fn tenure_bands_have_their_bounds() {
        assert_eq!([0, 89, 90, 364, 365, 1_095, 1_096, u32::MAX].map(tenure_band), [0, 0, 1, 2, 3, 3, 4, 4]);
    }

    #[test]
    fn rare_words_are_taken_together_and_unknown_ones_belong_nowhere() {
        let words: Vec<String> = (0..200).map(|n| format!("w{}", n % 100 % 30)).chain(["".into()]).collect();
        let cut = Grouping::of_words(
            "word",
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
            Currency::new("MYR", 2).expect("a currency"),
        );
        assert_eq!((cut.names.len(), cut.of[200]), (WORDS_MAX + 1, None));
    }
}
