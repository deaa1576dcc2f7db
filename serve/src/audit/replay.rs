//! Every grant that was decided is decided again, from what was logged.
//!
//! ```text
//! log ─► chain holds? ─► features, situation ─► release or floor of the archive ─► curve: the one that was logged?
//!                                └────────────────── and the one that was signed? ◄── claims of the grant
//! ```
//!
//! Three witnesses that are kept apart: the chain says that an entry is as it was written, the archive that the model
//! decides so, and the grant's claims, which a device holds under the issuer's signature, that this is what was given.
//! A lie has to agree with all of them.

use std::collections::BTreeMap;
use std::rc::Rc;

use plimsoll_model::decision::Decision;
use plimsoll_model::grant::{Bytes, Grant, Thumbprint, TokenId};
use plimsoll_model::{Age, Money, Tier};
use serde::{Deserialize, Serialize};

use super::chain::{ChainId, Head, Link};
use super::walk::walk;
use crate::ledger::sync::{Decided, decide_again};
use crate::ledger::{Overdraft, Rules};
use crate::models::{Active, Archived, Digest};
use crate::record::GrantRecord;
use crate::store::{Store, StoreError};
use crate::unit::Needs;

/// Differences that are told one by one; more are counted.
const TOLD_MAX: usize = 20;

/// What deciding again has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Entries of the log.
    pub entries: u64,
    /// Of those, grants.
    pub grants: u64,
    /// Of those, decided again with the very same outcome.
    pub same: u64,
    /// The first differences; [`Report::grants`] less [`Report::same`] is how many grants have one.
    pub differences: Vec<Difference>,
    /// Entries of other kinds, which are covered by the chain alone.
    pub others: BTreeMap<String, u64>,
    /// Where the chain breaks, if it does.
    pub broken: Option<String>,
}

/// A grant that does not come out again as it was logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which chain of the log.
    pub chain: ChainId,
    /// Which entry of it.
    pub number: u64,
    /// What differs.
    pub what: Differs,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Differs {
    /// The entry is no decision.
    #[error("the entry does not read: {0}")]
    Unreadable(String),
    /// What it was decided by cannot be had.
    #[error("what it was decided by cannot be had: {0}")]
    Basis(String),
    /// The model and the rules say something else.
    #[error("at age {} min the log says {logged} minor units, and deciding again {again}", age.0)]
    Limit {
        /// Where the curves part.
        age: Age,
        /// In the log.
        logged: u64,
        /// Now.
        again: u64,
    },
    /// The limits are the same, and something else of the decision is not.
    #[error("the decision differs in more than limits: reasons, bounds, ages or times")]
    Decision,
    /// The store has no such grant.
    #[error("the store has no grant of that name")]
    NoGrant,
    /// The grant says something else.
    #[error("the grant's claim {claim} is not what the log says")]
    Claim {
        /// Which.
        claim: &'static str,
    },
}

impl Report {
    /// Whether everything came out as it was logged, and the chain holds.
    pub fn is_clean(&self) -> bool {
        self.same == self.grants && self.broken.is_none()
    }
}

/// The entry of a grant.
#[derive(Deserialize)]
struct Logged {
    jti: TokenId,
    seq: u64,
    jkt: Thumbprint,
    decided: Decided,
}

/// Decides again, entry by entry.
#[derive(Debug)]
pub struct Replay {
    archives: Vec<Archived>,
    /// Releases, and floors by their policy, that were looked for.
    found: BTreeMap<(Option<Digest>, Digest), Result<Rc<Active>, String>>,
    report: Report,
}

impl Replay {
    /// With the archives of every replica that may have decided.
    pub fn new(archives: Vec<Archived>) -> Self {
        Self { archives, found: BTreeMap::new(), report: Report::default() }
    }

    /// The grant whose record an entry is to be held against.
    pub fn grant_of(link: &Link) -> Option<TokenId> {
        let logged = || serde_json::from_slice::<Logged>(&link.body).ok();
        if link.kind == "grant" { logged().map(|logged| logged.jti) } else { None }
    }

    /// Decides an entry again.
    ///
    /// * `record`: of [`Replay::grant_of`].
    pub fn take(&mut self, link: &Link, record: Option<&GrantRecord>) {
        self.report.entries += 1;
        if link.kind != "grant" {
            *self.report.others.entry(link.kind.clone()).or_default() += 1;
            return;
        }
        self.report.grants += 1;
        match self.decide(link, record) {
            Ok(()) => self.report.same += 1,
            Err(what) if self.report.differences.len() < TOLD_MAX => {
                self.report.differences.push(Difference { chain: link.chain, number: link.number, what });
            }
            Err(_) => {}
        }
    }

    /// What has come out.
    pub fn report(self) -> Report {
        self.report
    }

    fn decide(&mut self, link: &Link, record: Option<&GrantRecord>) -> Result<(), Differs> {
        let unreadable = |e: serde_json::Error| Differs::Unreadable(e.to_string());
        let logged: Logged = serde_json::from_slice(&link.body).map_err(unreadable)?;
        let decided = &logged.decided;
        let policy = Bytes::<32>::try_from(decided.policy.clone());
        let policy = policy.map_err(|e| Differs::Unreadable(format!("policy: {e}")))?;
        let active = self.basis(decided.model.map(|model| model.d), policy).map_err(Differs::Basis)?;
        let (version, named) = (active.version(), decided.model.map(|model| model.v));
        if version != named || active.policy_sha256() != policy {
            let what = format!("the release of that hash is version {version:?} of policy {}", active.policy_sha256());
            return Err(Differs::Basis(what));
        }
        let rules = Rules {
            issuer: "",
            policy: active.policy(),
            policy_sha256: None,
            basis: active.basis(),
            granted_ppm: [decided.granted_ppm; Tier::COUNT],
            // Neither it nor the issuer's name has a say in a curve.
            overdraft: Overdraft::Issuer,
            now: decided.situation.synced_at,
        };
        let wrong_count = || Differs::Unreadable(format!("{} features", decided.features.len()));
        let again = decide_again(&rules, decided).ok_or_else(wrong_count)?;
        same_curve(&decided.curve, &again)?;
        let grant = record.ok_or(Differs::NoGrant)?.grant();
        let grant = grant.map_err(|e| Differs::Unreadable(e.to_string()))?;
        same_claims(&grant, link, &logged, policy, &rules)
    }

    fn basis(&mut self, model: Option<Digest>, policy: Digest) -> Result<Rc<Active>, String> {
        let archives = &self.archives;
        let find = || {
            let mut refused = "there is no archive".to_owned();
            for archive in archives {
                let found = match &model {
                    Some(model) => archive.release(model),
                    None => archive.floor(&policy),
                };
                match found {
                    Ok(active) => return Ok(Rc::new(active)),
                    Err(error) => refused = error.to_string(),
                }
            }
            Err(refused)
        };
        self.found.entry((model, policy)).or_insert_with(find).clone()
    }
}

fn same_curve(logged: &[(Age, Decision)], again: &[(Age, Decision)]) -> Result<(), Differs> {
    if logged == again {
        return Ok(());
    }
    let parted = logged.iter().zip(again).find(|(a, b)| a.0 != b.0 || a.1.limit != b.1.limit);
    Err(match parted {
        Some((logged, again)) if logged.0 == again.0 => {
            Differs::Limit { age: logged.0, logged: logged.1.limit.minor(), again: again.1.limit.minor() }
        }
        _ => Differs::Decision,
    })
}

/// Holds what was logged against what was signed.
fn same_claims(grant: &Grant, link: &Link, logged: &Logged, policy: Digest, rules: &Rules<'_>) -> Result<(), Differs> {
    let decided = &logged.decided;
    let situation = &decided.situation;
    let bits = |grant: &Grant| grant.features().map(|features| features.0.map(f32::to_bits).to_vec());
    let mut lowest = situation.balance;
    let curve = decided.curve.iter().map(|(age, decision)| {
        lowest = lowest.min(decision.limit);
        (*age, lowest)
    });
    let curve: Vec<(Age, Money)> = curve.collect();
    let claims = [
        ("jti", grant.jti == logged.jti),
        ("seq", grant.seq == logged.seq),
        ("cnf", grant.cnf.jkt == logged.jkt),
        ("sub", grant.sub == link.account),
        ("iat", grant.iat == situation.synced_at),
        ("bal", grant.bal == situation.balance),
        ("carried", grant.carried == situation.pending),
        ("tier", grant.tier == rules.policy.tier(situation.tier).tier),
        ("mdl", grant.mdl == decided.model),
        ("pol", grant.pol == Some(policy)),
        ("feat", bits(grant).as_ref() == Some(&decided.features)),
        ("limit", grant.limit.points() == curve),
    ];
    match claims.into_iter().find(|(_, same)| !same) {
        Some((claim, _)) => Err(Differs::Claim { claim }),
        None => Ok(()),
    }
}

/// Reads the whole log, follows its chains, and decides every grant again.
///
/// * `kept`: heads that were kept elsewhere.
///
/// # Errors
/// [`StoreError`]. What the log shows is in the report.
pub async fn replay(store: &Store, kept: &[Head], archives: Vec<Archived>) -> Result<Report, StoreError> {
    let mut replay = Replay::new(archives);
    let followed = walk(store, kept, async |links: &[Link]| {
        let needs = Needs { grants: links.iter().filter_map(Replay::grant_of).collect(), ..Needs::default() };
        let unit = store.look(needs).await?;
        for link in links {
            let record = Replay::grant_of(link).and_then(|jti| unit.grants.get(&jti));
            replay.take(link, record);
        }
        Ok(())
    })
    .await?;
    let mut report = replay.report();
    report.broken = followed.err().map(|broken| broken.to_string());
    Ok(report)
}

#[cfg(test)]
mod tests;
