//! The adversarial replay: a model and its policy over a ledger, day by day, through the code that ships.
//!
//! ```text
//! ledger ─► features, folded as rows come ─► Evaluator ─► grant, Ed25519 ─► Wallet ─► payee ─► settles later ─► who lost?
//!                                             edge        model, issue      edge      edge     by the grant's rules
//!    └─► clean │ drained │ slow │ outage: every account, window after window ────► rates and intervals beside α and β
//!    └─► split │ clock │ restored │ copied │ devices │ collude: some accounts, once ─► what they got, beside a bound
//! ```
//!
//! [`Scenario`] says what is played; `life` and `attack` how. The service itself is not part of it: `issuer` keeps the
//! books of one account by the same rules, and every account's books are checked after it was played. Accounts do not meet,
//! so any number of threads gives the same bytes. Two models over one ledger meet the same syncs, payees and attackers, so
//! [`differences`] compares them account by account.
//!
//! This is the one module of the library that calls `plimsoll_edge`: a replay through other code than what ships would show
//! nothing. What trains, calibrates and publishes still knows only artifact bytes.

mod config;

mod draw;

mod artifact;

mod issuer;

mod phone;

mod life;

mod attack;

mod measure;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use plimsoll_datasets::Histories;
use plimsoll_edge::Evaluator;
use plimsoll_model::{Kind, Transaction, UtcSeconds};
use rayon::prelude::*;
use serde::Serialize;

use crate::run::{Progress, Run, sampling};
use crate::windows::{Part, Period};

pub use artifact::evaluator;
pub use config::{Bears, Config, Scenario, Spread};
pub use measure::{AttackPlayed, Difference, Figure, Played, Verdict};

use attack::{Attacked, Scene};
use draw::Draw;
use issuer::House;
use life::{Life, Lived};

/// Why a replay ended without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The configuration.
    #[error("replay configuration: {0}")]
    Config(String),
    /// The edge refuses what would be published.
    #[error("the run does not become an artifact that a device accepts: {why}")]
    Artifact {
        /// Its word.
        why: String,
    },
    /// Ledger and model count in different money.
    #[error("the ledger counts in {ledger}, the model in {model}: give a ledger of that currency")]
    Currency {
        /// Of the ledger.
        ledger: String,
        /// Of the model.
        model: String,
    },
    /// The model is past its last day of use before the ledger's days end.
    #[error(
        "the model may be used until {until}, the ledger's days end at {ends}: replay earlier days, or a newer model"
    )]
    Expired {
        /// Last instant of use.
        until: String,
        /// Of the ledger's period.
        ends: String,
    },
    /// No account has a window in the days that are played.
    #[error(
        "no account of {accounts} has a window: from the first sync of the days that are played it takes {reach_h} hours of \
         ledger, and {history_days} days of history before it"
    )]
    NoWindows {
        /// Accounts.
        accounts: usize,
        /// Longest age and settlement window.
        reach_h: i64,
        /// `history_days_min`.
        history_days: u32,
    },
    /// Something that must hold at every moment does not: a bug.
    #[error("account {account} at {at:?}: {why}")]
    Broken {
        /// Its place in the ledger.
        account: String,
        /// When.
        at: UtcSeconds,
        /// What.
        why: String,
    },
}

impl ReplayError {
    fn broken(account: &str, at: UtcSeconds, why: &dyn fmt::Display) -> Self {
        Self::Broken { account: account.to_owned(), at, why: why.to_string() }
    }
}

/// Which accounts and days of a history are played.
#[derive(Clone, Debug)]
pub struct Ledger<'a> {
    histories: &'a Histories,
    accounts: Vec<usize>,
    period: Period,
    unseen: bool,
}

impl<'a> Ledger<'a> {
    /// All accounts, the last `days` local days.
    pub fn last_days(histories: &'a Histories, days: u32) -> Self {
        let (first, last) = histories.span().unwrap_or((UtcSeconds(0), UtcSeconds(0)));
        let offset = histories.offset;
        let from = offset.midnight(offset.day(last) + 1 - i64::from(days)).max(first);
        let period = Period { from, until: offset.midnight(offset.day(last) + 1).plus(-1) };
        Self { histories, accounts: (0..histories.len()).collect(), period, unseen: false }
    }

    /// Of the history that a run was made from, the accounts and days that took no part in training or calibration. Of
    /// another history all accounts and the last `days` days, as [`Ledger::last_days`].
    pub fn unseen(histories: &'a Histories, run: &Run, days: u32) -> Self {
        let all = Self::last_days(histories, days);
        let terms = &run.release.certificate.terms;
        if histories.sha256() != terms.data_sha256 {
            return all;
        }
        let sampling = sampling(histories, &run.config, &run.policy, &terms.ages);
        let test = |ix: &usize| histories.get(*ix).is_some_and(|(a, _)| sampling.part(a) == Part::Test);
        let accounts = (0..histories.len()).filter(test).collect();
        let [_, _, days_of_test] = sampling.periods;
        let from = days_of_test.from.max(all.period.from);
        Self { accounts, period: Period { from, until: days_of_test.until }, unseen: true, ..all }
    }

    /// Whether neither accounts nor days took part in the model.
    pub const fn is_unseen(&self) -> bool {
        self.unseen
    }

    /// So many of them, evenly picked.
    fn pick(&self, most: u32) -> Vec<usize> {
        let (n, k) = (self.accounts.len(), (most as usize).min(self.accounts.len()));
        (0..k).map(|i| self.accounts[i * n / k]).collect()
    }

    /// The first instant at which an account may sync.
    fn begins(&self, rows: &[Transaction], config: &Config) -> UtcSeconds {
        let offset = self.histories.offset;
        let first = rows.first().map_or(UtcSeconds(i64::MAX / 4), |r| r.at);
        offset.midnight(offset.day(first) + i64::from(config.history_days_min)).max(self.period.from)
    }

    /// The local midnight before the busiest payday that leaves room for an outage and everything after it.
    fn payday(&self, accounts: &[usize], config: &Config, reach: i64) -> UtcSeconds {
        let offset = self.histories.offset;
        let room = i64::from(config.outage_h) * 3_600;
        let (from, until) = (offset.day(self.period.from) + 4, offset.day(self.period.until.plus(-room - reach)));
        let mut paid = std::collections::BTreeMap::<i64, i64>::new();
        for row in accounts.iter().filter_map(|ix| self.histories.get(*ix)).flat_map(|(_, rows)| rows) {
            if row.kind == Kind::Income && (from..=until).contains(&offset.day(row.at)) {
                *paid.entry(offset.day(row.at)).or_default() += row.moved();
            }
        }
        let busiest = paid.into_iter().max_by_key(|(day, sum)| (*sum, -day)).map_or(from, |(day, _)| day);
        offset.midnight(busiest)
    }
}

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The model.
    pub model_id: String,
    /// Its version.
    pub model_version: u64,
    /// SHA-256 of its file, lower-case hex.
    pub model_sha256: String,
    /// How it was played.
    pub config: Config,
    /// Accounts that were played.
    pub accounts: usize,
    /// First and last instant.
    pub from: UtcSeconds,
    /// See `from`.
    pub until: UtcSeconds,
    /// Whether neither accounts nor days took part in the model.
    pub unseen: bool,
    /// The certificate's risk, its risk in money and its chance of luck, parts per million.
    pub promised_ppm: [u32; 3],
    /// First second of the mass outage.
    pub outage: UtcSeconds,
    /// Scenarios: all tiers together, then each.
    pub played: Vec<Played>,
    /// Attacks.
    pub attacks: Vec<AttackPlayed>,
    #[serde(skip)]
    each: Vec<(Scenario, Each)>,
}

/// What every account did.
#[derive(Clone, Debug, PartialEq)]
enum Each {
    Lived(Vec<Option<Lived>>),
    /// Those that attack.
    Attacked(Vec<Option<Attacked>>),
}

impl Outcome {
    /// The verdict on a scenario, all tiers together; none when it was not played.
    pub fn verdict(&self, scenario: Scenario) -> Option<Verdict> {
        self.played.iter().find(|p| p.scenario == scenario && p.tier.is_none()).map(|p| p.verdict)
    }

    /// Whether nothing that was played lies beyond the certificate, and no attack got more than its bound.
    pub fn is_sound(&self) -> bool {
        self.played.iter().all(|p| p.verdict != Verdict::BeyondCertificate)
            && self.attacks.iter().all(|a| a.beyond_bound == 0)
    }
}

/// Plays.
///
/// # Errors
/// [`ReplayError`]; nothing is written here.
pub fn run(
    evaluator: &Evaluator,
    ledger: &Ledger<'_>,
    config: &Config,
    progress: &dyn Progress,
) -> Result<Outcome, ReplayError> {
    config.validate().map_err(ReplayError::Config)?;
    let (manifest, certificate, histories) = (evaluator.manifest(), evaluator.certificate(), ledger.histories);
    if histories.currency != manifest.currency {
        let (ledger, model) = (histories.currency.to_string(), manifest.currency.to_string());
        return Err(ReplayError::Currency { ledger, model });
    }
    if ledger.period.until > manifest.usable_until() {
        let (until, ends) = (manifest.usable_until().rfc3339(), ledger.period.until.rfc3339());
        return Err(ReplayError::Expired { until, ends });
    }
    let reach = manifest.ages.last().map_or(0, |a| a.seconds()) + i64::from(manifest.window_h) * 3_600;
    let (accounts, root) = (ledger.pick(config.accounts), Draw::new(config.seed));
    let house = House::new(evaluator, config.overdraft, root.of(0));
    let outage = ledger.payday(&accounts, config, reach);
    let attacks = |ix: &&usize| root.of(2).of(**ix as u64).below(1_000) < u64::from(config.attackers_milli);
    let attackers: Vec<usize> = accounts.iter().filter(attacks).copied().collect();

    let done = AtomicU64::new(0);
    let tell = || {
        let n = done.fetch_add(1, Ordering::Relaxed) + 1;
        if n.is_multiple_of(16) {
            progress.at(n);
        }
    };
    let (mut played, mut attacked, mut each) = (Vec::new(), Vec::new(), Vec::new());
    let mut scenarios = config.scenarios.clone();
    scenarios.sort_unstable();
    scenarios.dedup();
    for scenario in scenarios {
        done.store(0, Ordering::Relaxed);
        let of = |ix: usize| root.of(1).of(ix as u64);
        if scenario.is_life() {
            progress.stage(scenario.name(), accounts.len() as u64);
            let live = |ix: &usize| {
                let life = Life::open(&house, ledger, config, scenario, outage, *ix, of(*ix))?;
                tell();
                life.map(Life::live).transpose()
            };
            let lives: Vec<Option<Lived>> = accounts.par_iter().map(live).collect::<Result<_, _>>()?;
            // Under an outage some accounts had no sync before it; elsewhere nobody has a window, or somebody does.
            if scenario != Scenario::Outage && lives.iter().flatten().all(|l| l.windows == 0) {
                let (reach_h, history_days) = (reach / 3_600, config.history_days_min);
                return Err(ReplayError::NoWindows { accounts: accounts.len(), reach_h, history_days });
            }
            played.extend(Played::all(scenario, &lives, certificate));
            each.push((scenario, Each::Lived(lives)));
        } else {
            progress.stage(scenario.name(), attackers.len() as u64);
            let attack = |ix: &usize| {
                let scene = Scene::open(&house, ledger, config, *ix, of(*ix))?;
                tell();
                scene.map(|s| s.play(scenario)).transpose()
            };
            let tried: Vec<Option<Attacked>> = attackers.par_iter().map(attack).collect::<Result<_, _>>()?;
            attacked.push(AttackPlayed::of(scenario, &tried, accounts.len()));
            each.push((scenario, Each::Attacked(tried)));
        }
    }
    let terms = &certificate.terms;
    Ok(Outcome {
        model_id: manifest.model_id.clone(),
        model_version: manifest.model_version,
        model_sha256: terms.model_sha256.clone(),
        config: config.clone(),
        accounts: accounts.len(),
        from: ledger.period.from,
        until: ledger.period.until,
        unseen: ledger.unseen,
        promised_ppm: [terms.alpha, terms.beta, terms.delta].map(plimsoll_model::quantile::Ppm::get),
        outage,
        played,
        attacks: attacked,
        each,
    })
}

/// Ours less theirs, account by account: both were played over the same ledger with the same configuration. Empty
/// otherwise.
pub fn differences(ours: &Outcome, theirs: &Outcome) -> Vec<Difference> {
    let same = |o: &Outcome| (o.config.clone(), o.accounts, o.from, o.until);
    if same(ours) != same(theirs) {
        return Vec::new();
    }
    let pairs = ours.each.iter().zip(&theirs.each);
    let of = |(a, b): (&(Scenario, Each), &(Scenario, Each))| match (&a.1, &b.1) {
        (Each::Lived(ours), Each::Lived(theirs)) => measure::differences(a.0, ours, theirs),
        (Each::Attacked(ours), Each::Attacked(theirs)) => measure::attack_differences(a.0, ours, theirs),
        _ => Vec::new(),
    };
    pairs.flat_map(of).collect()
}
