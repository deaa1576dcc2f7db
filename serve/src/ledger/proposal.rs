//! A change of tier by the operator's people: one proposes it, another confirms it, within a day.

use plimsoll_model::time::DAY;
use plimsoll_model::{Tier, UtcSeconds};
use serde_json::json;

use super::Rules;
use super::enrol::{self, RefuseEnrolment};
use crate::record::{AccountId, Proposal, TierFrom};
use crate::unit::{Entry, Unit};

/// How long a proposal waits for a second pair of eyes.
pub const PROPOSAL_S: i64 = DAY;
/// Characters of a reason.
pub const REASON_MAX: usize = 200;

/// Why a proposal, or what became of it, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseProposal {
    /// The account or the tier.
    #[error(transparent)]
    Enrolment(#[from] RefuseEnrolment),
    /// Without a reason nobody can confirm it.
    #[error("a change of tier needs a reason of 1 to {REASON_MAX} characters")]
    Reason,
    /// The account is there already.
    #[error("the account is in tier {level} already")]
    Same {
        /// Which.
        level: u8,
    },
    /// One at a time.
    #[error("{by} has proposed a change that waits: confirm or withdraw it first")]
    Waiting {
        /// Who.
        by: String,
    },
    /// There is none, or not the one that was looked at.
    #[error("this proposal does not wait any more: look again")]
    Gone,
    /// Nobody confirmed it in time, or the tier was changed meanwhile.
    #[error("the proposal has expired: propose it again")]
    Expired,
    /// Two people, not one.
    #[error("somebody else than {by} has to confirm it")]
    SamePerson {
        /// Who proposed it.
        by: String,
    },
}

impl Proposal {
    /// Whether it still waits at `now`.
    pub fn waits(&self, now: UtcSeconds) -> bool {
        now.since(self.at) < PROPOSAL_S
    }
}

/// Proposes a change of tier. It changes nothing until somebody else confirms it.
///
/// # Errors
/// `Enrolment`, `Reason`, `Same`, `Waiting`.
pub fn propose(
    unit: &mut Unit,
    rules: &Rules<'_>,
    id: &AccountId,
    tier: Tier,
    by: &str,
    reason: &str,
) -> Result<(), RefuseProposal> {
    let account = unit.accounts.get(id).ok_or(RefuseEnrolment::UnknownAccount)?;
    enrol::known_tier(rules, tier)?;
    let reason = reason.trim();
    if !(1..=REASON_MAX).contains(&reason.chars().count()) {
        return Err(RefuseProposal::Reason);
    }
    let was = account.tier(rules.now);
    if was == tier {
        return Err(RefuseProposal::Same { level: tier.level() });
    }
    if let Some(other) = account.proposed.as_ref().filter(|p| p.waits(rules.now) && p.was == was) {
        return Err(RefuseProposal::Waiting { by: other.by.clone() });
    }
    let proposal = Proposal { was, tier, reason: reason.to_owned(), by: by.to_owned(), at: rules.now };
    let body = json!({ "proposed": proposal });
    unit.accounts.change(id, |account| account.proposed = Some(proposal));
    unit.entries.push(Entry::new("proposal", id.clone(), &body));
    Ok(())
}

/// Confirms a proposal: the tier changes now.
///
/// * `seen`: the proposal as it was looked at; another one is not confirmed by mistake.
///
/// # Errors
/// `Gone`, `SamePerson`, `Expired`, `Enrolment`.
pub fn confirm(
    unit: &mut Unit,
    rules: &Rules<'_>,
    id: &AccountId,
    seen: (Tier, UtcSeconds),
    by: &str,
) -> Result<(), RefuseProposal> {
    let proposal = waiting(unit, id, seen)?;
    if proposal.by == by {
        return Err(RefuseProposal::SamePerson { by: by.to_owned() });
    }
    let account = unit.accounts.get(id).expect("was there");
    if !proposal.waits(rules.now) || account.tier(rules.now) != proposal.was {
        return Err(RefuseProposal::Expired);
    }
    let to = TierFrom { tier: proposal.tier, from: rules.now };
    let both = format!("{}, confirmed by {by}", proposal.by);
    enrol::set_tier(unit, rules, id, to, &both, &proposal.reason)?;
    unit.accounts.change(id, |account| account.proposed = None);
    let body = json!({ "confirmed": proposal, "by": by });
    unit.entries.push(Entry::new("proposal", id.clone(), &body));
    Ok(())
}

/// Takes a proposal back: whoever made it, and whoever could confirm it.
///
/// # Errors
/// `Gone`, `Enrolment`.
pub fn withdraw(unit: &mut Unit, id: &AccountId, seen: (Tier, UtcSeconds), by: &str) -> Result<(), RefuseProposal> {
    let proposal = waiting(unit, id, seen)?;
    unit.accounts.change(id, |account| account.proposed = None);
    let body = json!({ "withdrawn": proposal, "by": by });
    unit.entries.push(Entry::new("proposal", id.clone(), &body));
    Ok(())
}

fn waiting(unit: &Unit, id: &AccountId, (tier, at): (Tier, UtcSeconds)) -> Result<Proposal, RefuseProposal> {
    let account = unit.accounts.get(id).ok_or(RefuseEnrolment::UnknownAccount)?;
    account.proposed.clone().filter(|p| p.tier == tier && p.at == at).ok_or(RefuseProposal::Gone)
}

#[cfg(test)]
mod tests {
    use plimsoll_model::Money;
    use plimsoll_model::policy::Policy;

    use super::*;
    use crate::ledger::enrol::Opening;
    use crate::ledger::{Basis, Overdraft};

    const NOW: UtcSeconds = UtcSeconds(1_795_305_600);

    fn tier(level: u8) -> Tier {
        Tier::new(level).expect("exists")
    }

    /// An account in tier 0, and what `work` did to it.
    fn with<T>(after_s: i64, unit: &mut Unit, work: impl FnOnce(&mut Unit, &Rules<'_>, &AccountId) -> T) -> T {
        let policy = Policy::preset("tng").expect("a preset");
        let rules = Rules {
            issuer: "test",
            policy: &policy,
            policy_sha256: None,
            basis: Basis::Floor,
            granted_ppm: [1_000_000; Tier::COUNT],
            overdraft: Overdraft::Issuer,
            now: NOW.plus(after_s),
        };
        let id = AccountId::try_from("a").expect("a name");
        work(unit, &rules, &id)
    }

    fn opened() -> Unit {
        let mut unit = Unit::default();
        with(0, &mut unit, |unit, rules, id| {
            unit.accounts.load(id.clone(), None);
            let opening =
                Opening { opened_at: NOW, tier: tier(0), balance: 0, lifetime_tx: 0, manual_wallet: Money::ZERO };
            enrol::open(unit, rules, id, &opening).expect("opens");
            propose(unit, rules, id, tier(2), "asha", " saw the passport ").expect("proposes");
        });
        unit
    }

    fn now_in(unit: &mut Unit, after_s: i64) -> Tier {
        with(after_s, unit, |unit, rules, id| unit.accounts.get(id).expect("there").tier(rules.now))
    }

    #[test]
    fn two_people_change_a_tier_and_both_are_in_the_log() {
        let mut unit = opened();
        assert_eq!(now_in(&mut unit, 1), tier(0), "a proposal alone changes nothing");
        let seen = (tier(2), NOW);
        let alone = with(1, &mut unit, |unit, rules, id| confirm(unit, rules, id, seen, "asha"));
        assert_eq!(alone, Err(RefuseProposal::SamePerson { by: "asha".into() }));
        with(1, &mut unit, |unit, rules, id| confirm(unit, rules, id, seen, "ben")).expect("confirms");
        assert_eq!(now_in(&mut unit, 1), tier(2));
        let change = unit.entries.iter().find(|e| e.kind == "tier").expect("logged").told();
        assert_eq!(change["by"], "asha, confirmed by ben");
        assert_eq!(change["reason"], "saw the passport");
        let again = with(1, &mut unit, |unit, rules, id| confirm(unit, rules, id, seen, "ben"));
        assert_eq!(again, Err(RefuseProposal::Gone));
    }

    #[test]
    fn a_proposal_expires_after_a_day_and_when_the_tier_moved() {
        let seen = (tier(2), NOW);
        let at = |after_s| with(after_s, &mut opened(), |unit, rules, id| confirm(unit, rules, id, seen, "ben"));
        assert_eq!(at(PROPOSAL_S - 1), Ok(()));
        assert_eq!(at(PROPOSAL_S), Err(RefuseProposal::Expired));

        let mut unit = opened();
        let moved = with(5, &mut unit, |unit, rules, id| {
            let to = TierFrom { tier: tier(1), from: rules.now };
            enrol::set_tier(unit, rules, id, to, "bridge/kyc", "documents").expect("changes");
            confirm(unit, rules, id, seen, "ben")
        });
        assert_eq!(moved, Err(RefuseProposal::Expired));
        assert_eq!(now_in(&mut unit, 5), tier(1));
    }

    #[test]
    fn one_proposal_waits_at_a_time_and_another_than_the_one_seen_is_not_confirmed() {
        let mut unit = opened();
        let second = with(1, &mut unit, |unit, rules, id| propose(unit, rules, id, tier(1), "ben", "no"));
        assert_eq!(second, Err(RefuseProposal::Waiting { by: "asha".into() }));
        with(1, &mut unit, |unit, _, id| withdraw(unit, id, (tier(2), NOW), "ben")).expect("withdraws");
        with(1, &mut unit, |unit, rules, id| propose(unit, rules, id, tier(1), "ben", "half")).expect("proposes");
        let old = with(2, &mut unit, |unit, rules, id| confirm(unit, rules, id, (tier(2), NOW), "asha"));
        assert_eq!(old, Err(RefuseProposal::Gone));
        for (level, reason, want) in [
            (1, "  ", RefuseProposal::Reason),
            (1, &*"x".repeat(REASON_MAX + 1), RefuseProposal::Reason),
            (0, "why", RefuseProposal::Same { level: 0 }),
        ] {
            let refused = with(2, &mut unit, |unit, rules, id| propose(unit, rules, id, tier(level), "c", reason));
            assert_eq!(refused, Err(want));
        }
    }
}
