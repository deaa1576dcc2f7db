//! Whether promises hold: each account has at most one window at a time, and each window ends once.
//!
//! ```text
//! sync ─► a window, if none is open ─► rows come in: how low? ─► its end has passed ─► Ended ─► counted, see models::promise
//! ```
//!
//! A window opens at a sync that a certified rule decided, and is about one of the ages that were promised, drawn by the
//! grant's name. So nothing that happens later has a say in what is watched, as the evidence demands, and grants that
//! overlap are one window. It ends by the clock: overdraft or not, whether or not the wallet ever comes back.

use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::Rule;
use plimsoll_model::decision::{Bound, Decision, Situation};
use plimsoll_model::grant::{Grant, Model};
use plimsoll_model::{Age, Money};
use serde_json::json;

use super::{Basis, Rules};
use crate::record::{Account, AccountId, Promise, Window};
use crate::store::{Store, StoreError};
use crate::unit::{Entry, Needs, Unit};

/// Seconds after the end of a window in which rows that tell of it may still come in.
pub const LATE_S: i64 = 3_600;

/// Accounts of one request.
const ACCOUNTS_MAX: usize = 100;

/// Ends every window whose time is over.
///
/// * returns how many it ended.
///
/// # Errors
/// [`StoreError`]; those that were ended stay so, and the rest is for the next time.
pub async fn end_all(store: &Store, now: UtcSeconds) -> Result<usize, StoreError> {
    let mut all = 0;
    loop {
        let over = store.windows_over(now.plus(-LATE_S - 1), ACCOUNTS_MAX).await?;
        let last = over.len() < ACCOUNTS_MAX;
        let needs = Needs { accounts: over.iter().cloned().collect(), ..Needs::default() };
        let work = move |unit: &mut Unit| over.iter().filter(|id| end(unit, id, now)).count();
        let ended = if needs.accounts.is_empty() { 0 } else { store.run(now, needs, work).await? };
        all += ended;
        // None of a page: others were faster, or their clocks are ahead of ours.
        if last || ended == 0 {
            return Ok(all);
        }
    }
}

/// Ends an account's window if its time is over.
///
/// * returns whether it did.
pub fn end(unit: &mut Unit, id: &AccountId, now: UtcSeconds) -> bool {
    let window = unit.accounts.get(id).and_then(|account| account.window);
    let Some(window) = window.filter(|w| now > w.until.plus(LATE_S)) else { return false };
    unit.accounts.change(id, |account| account.window = None);
    let ended = window.end();
    let body = json!({ "window": window, "lost": ended.lost });
    unit.entries.push(Entry::new("window", id.clone(), &body));
    unit.ended.push(ended);
    true
}

/// Opens a window with a grant, where none is open and something is promised.
pub(super) fn open(
    account: &mut Account,
    rules: &Rules<'_>,
    grant: &Grant,
    (curve, situation): (&[(Age, Decision)], &Situation),
) {
    let Basis::Model(evaluator) = rules.basis else { return };
    let (manifest, certificate) = (evaluator.manifest(), evaluator.certificate());
    let points = grant.limit.points();
    let Some(((age, limit), (_, decision))) = pick(&grant.jti.0, points).zip(pick(&grant.jti.0, curve)) else { return };
    let promised = certificate.cell(situation.tier).is_some_and(|cell| !matches!(cell.rule, Rule::Fallback { .. }));
    let by_hand = decision.reasons.iter().any(|r| r.bound == Bound::ManualWallet);
    // As in calibration: without money there is no window.
    if account.window.is_some() || !promised || by_hand || situation.balance == Money::ZERO {
        return;
    }
    let promise = Promise {
        jti: grant.jti,
        model: Model { v: manifest.model_version, d: evaluator.digest() },
        alpha: certificate.terms.alpha,
        delta: certificate.terms.delta,
        tier: situation.tier,
        age: *age,
        granted_ppm: rules.granted_ppm(situation.tier),
    };
    // The model answered for all of it before what is pending was taken off. A limit of nothing is always kept.
    let limit = if *limit == Money::ZERO { Money::ZERO } else { limit.saturating_add(situation.pending) };
    account.window = Some(Window {
        promise,
        from: grant.iat,
        until: grant.iat.plus(age.seconds() + i64::from(certificate.terms.window_h) * 3_600),
        target: certificate.terms.target,
        limit,
        aside: 0,
        low: account.balance_minor(),
    });
}

/// Drawn with the end of the grant's name, whose beginning is the time: each age is watched in its turn.
fn pick<'a, T>(name: &[u8; 16], of: &'a [T]) -> Option<&'a T> {
    let drawn = u64::from_le_bytes(std::array::from_fn(|i| name[8 + i]));
    of.get(usize::try_from(drawn % of.len().max(1) as u64).ok()?)
}
