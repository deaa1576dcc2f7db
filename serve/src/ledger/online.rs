//! A transfer is about to happen online: block, flag or allow.

use plimsoll_model::online::{Rule, Transfer, Verdict, rules_met, verdict};
use plimsoll_model::time::DAY;
use plimsoll_model::transaction::name_hash;
use plimsoll_model::{Money, UtcSeconds};
use serde_json::json;

use super::Rules;
use crate::record::{Account, AccountId, PAYEES_MAX, Spent, TRANSFERS_MAX};
use crate::unit::{Entry, Unit};

/// Why a transfer is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefuseTransfer {
    /// No such account.
    #[error("there is no such account")]
    UnknownAccount,
    /// The programme has none.
    #[error("the programme has no rules for online transfers")]
    NoRules,
}

/// Judges a transfer. What is let through counts from now on, so that two at once cannot both be the last one allowed.
///
/// # Errors
/// [`RefuseTransfer`].
pub fn check(
    unit: &mut Unit,
    rules: &Rules<'_>,
    id: &AccountId,
    payee: &str,
    amount: Money,
) -> Result<(Verdict, Vec<Rule>), RefuseTransfer> {
    let account = unit.accounts.get(id).ok_or(RefuseTransfer::UnknownAccount)?;
    let online = rules.policy.online.as_ref().ok_or(RefuseTransfer::NoRules)?;
    let within = |seconds: i64| {
        let count = account.transfers.iter().filter(|t| rules.now.since(t.at) < seconds).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    let transfer = Transfer {
        amount,
        last_minute: within(60),
        last_hour: within(3_600),
        account_age_s: Some(rules.now.since(account.features.profile().opened_at)),
        known_payee: account.payees.contains(&name_hash(payee.as_bytes())),
        today: today(account, rules),
    };
    let met = rules_met(online, rules.policy.tier(account.tier(rules.now)), &transfer);
    let verdict = verdict(&met);
    if verdict != Verdict::Block {
        unit.accounts.change(id, |account| {
            rules.forget(account);
            if account.transfers.len() == TRANSFERS_MAX {
                account.transfers.remove(0);
            }
            account.transfers.push(Spent { at: rules.now, amount });
            know(account, payee);
        });
    }
    if verdict != Verdict::Allow {
        let body = json!({ "verdict": verdict, "rules": met, "amount": amount });
        unit.entries.push(Entry::new("transfer", id.clone(), &body));
    }
    Ok((verdict, met))
}

fn today(account: &Account, rules: &Rules<'_>) -> Money {
    let clock = rules.policy.utc_offset_min;
    let midnight: UtcSeconds = clock.midnight(clock.day(rules.now));
    debug_assert!(rules.now.since(midnight) < DAY);
    let of_today = account.transfers.iter().filter(|t| t.at >= midnight);
    of_today.fold(Money::ZERO, |sum, t| sum.saturating_add(t.amount))
}

/// Remembers a payee.
pub(super) fn know(account: &mut Account, payee: &str) {
    let hash = name_hash(payee.as_bytes());
    if !account.payees.contains(&hash) {
        if account.payees.len() == PAYEES_MAX {
            account.payees.remove(0);
        }
        account.payees.push(hash);
    }
}
