//! One account: what it may spend and why, what it was granted and what it did, and what can be done about it.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use plimsoll_model::decision::Decision;
use plimsoll_model::grant::TokenId;
use plimsoll_model::money::Currency;
use plimsoll_model::standing::{Cause, Party};
use plimsoll_model::time::Age;
use plimsoll_model::{Money, UtcSeconds};
use serde::Deserialize;

use super::chart::Chart;
use super::page::{Frame, Problem, page};
use super::session::Session;
use super::{Console, words};
use crate::api;
use crate::border::{ApiError, Role};
use crate::ledger::Rules;
use crate::record::{Account, AccountId, Dispute, DisputeReason, GrantRecord, Liable, PaymentRecord, Wallet};
use crate::store::PlacedRow;
use crate::unit::Needs;

/// Grants and payments that are shown.
const SHOWN: usize = 15;
/// Transactions that the balance is drawn over.
const DRAWN: usize = 200;

/// What somebody may enter about an account.
pub(super) const CAUSES: [Cause; 7] = [
    Cause::SignatureInvalid,
    Cause::DoubleSpend,
    Cause::GeographicAnomaly,
    Cause::SequenceAnomaly,
    Cause::DeviceChange,
    Cause::VelocityBreach,
    Cause::CeilingExhaustion,
];

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    done: String,
}

#[derive(Template)]
#[template(path = "account.html")]
struct View {
    frame: Frame,
    id: String,
    done: Option<&'static str>,
    tier: String,
    balance: String,
    owes: bool,
    exposed: String,
    opened: String,
    lifetime_tx: String,
    limit: Limit,
    proposal: Option<ProposalView>,
    /// The proposal, if there is one, may still be confirmed.
    waits: bool,
    tiers: Vec<(u8, String)>,
    choices: Vec<(u8, String)>,
    standing: StandingView,
    devices: Vec<Device>,
    disputes: Vec<DisputeView>,
    payments: Vec<Payment>,
    grants: Vec<GrantView>,
    history: Vec<Movement>,
    balances: Option<Chart>,
}

/// What a sync now would grant.
struct Limit {
    amount: String,
    says: &'static str,
    steps: Vec<Step>,
    per_payment: String,
    basis: String,
    curve: Vec<(String, String, &'static str)>,
    chart: Option<Chart>,
}

struct Step {
    says: &'static str,
    left: String,
    last: bool,
}

struct ProposalView {
    tier: u8,
    was: u8,
    at: i64,
    reason: String,
    by: String,
    when: String,
    expires: String,
    expired: bool,
    own: bool,
}

struct StandingView {
    kept: bool,
    says: &'static str,
    class: &'static str,
    score: String,
    thresholds: String,
    signals: Vec<SignalView>,
    causes: Vec<(&'static str, String, String)>,
}

struct SignalView {
    cause: String,
    when: String,
    party: &'static str,
}

struct Device {
    jkt: String,
    short: String,
    revoked: Option<String>,
    enrolled: String,
    attested: String,
    seq: u64,
    seen: u64,
    granted: String,
    outstanding: String,
}

struct DisputeView {
    nonce: String,
    payer: String,
    payee: String,
    amount: String,
    by: String,
    reason: &'static str,
    detail: String,
    when: String,
}

struct Payment {
    nonce: String,
    when: String,
    made: bool,
    other: String,
    amount: String,
    outcome: &'static str,
    class: &'static str,
    missing: String,
    dispute: &'static str,
}

struct GrantView {
    jti: String,
    short: String,
    when: String,
    seq: u64,
    device: String,
    limit: String,
    says: &'static str,
    settled: String,
    ends: String,
    model: String,
}

struct Movement {
    when: String,
    what: String,
    amount: String,
    debit: bool,
    balance: String,
}

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    session.who.admin(Role::Support)?;
    let service = console.service();
    let now = service.now();
    let id = AccountId::try_from(id).map_err(|_| ApiError::NotFound("account"))?;
    let unit = service.store.look(Needs { accounts: [id.clone()].into(), ..Needs::default() }).await?;
    let account = unit.accounts.get(&id).ok_or(ApiError::NotFound("account"))?;
    let grants = service.store.grants(&id, None, SHOWN).await?;
    let payments = service.store.payments(&id, None, SHOWN).await?;
    let rows = service.store.rows_before(&id, None, DRAWN).await?;

    let active = service.models.for_account(&id);
    let name = service.issuer();
    let rules = api::rules(&active, &name, service.overdraft, now);
    let policy = rules.policy;
    let currency = policy.currency;
    let tier = account.tier(now);
    let basis = active.evaluator().map_or_else(
        || format!("{} policy {}, no model", policy.programme, policy.version),
        |e| {
            format!(
                "{} policy {}, model {} version {}",
                policy.programme,
                policy.version,
                e.manifest().model_id,
                e.manifest().model_version
            )
        },
    );
    let (history, balances) = history(account, &rows, currency);
    let open = |p: &&PaymentRecord| p.dispute.as_ref().is_some_and(|d| d.found.is_none());
    page(&View {
        frame: console.frame(&session, "accounts"),
        id: id.to_string(),
        done: super::act::done(&asked.done),
        tier: words::tier(tier.level(), Some(&policy.tier(tier).class)),
        balance: words::minor(currency, account.balance_minor()),
        owes: account.balance_minor() < 0,
        exposed: words::money(currency, account.exposed(now)),
        opened: words::when(account.features.profile().opened_at),
        lifetime_tx: words::count(account.lifetime_tx),
        limit: limit(&rules, account, basis),
        waits: account.proposed.as_ref().is_some_and(|p| p.waits(now) && p.was == tier),
        proposal: account.proposed.as_ref().map(|p| ProposalView {
            tier: p.tier.level(),
            was: p.was.level(),
            at: p.at.0,
            reason: p.reason.clone(),
            by: p.by.clone(),
            when: words::distance(p.at, now),
            expires: words::distance(p.at.plus(crate::ledger::proposal::PROPOSAL_S), now),
            expired: !p.waits(now) || p.was != tier,
            own: p.by == session.who.key(),
        }),
        tiers: account.tiers.iter().rev().map(|t| (t.tier.level(), words::when(t.from))).collect(),
        choices: policy
            .tiers
            .iter()
            .filter(|t| t.tier != tier)
            .map(|t| (t.tier.level(), words::tier(t.tier.level(), Some(&t.class))))
            .collect(),
        standing: standing(&rules, account),
        devices: account.wallets.iter().rev().map(|w| device(w, currency, now)).collect(),
        disputes: payments
            .iter()
            .filter(open)
            .filter_map(|p| Some(dispute(p, p.dispute.as_ref()?, currency, now)))
            .collect(),
        payments: payments.iter().map(|p| payment(p, &id, currency)).collect(),
        grants: grants.iter().map(|g| grant(g, currency)).collect::<Result<_, _>>().map_err(ApiError::internal)?,
        history,
        balances,
    })
}

/// What a sync now would grant, were it to come from the newest of its devices with all of its payments.
fn limit(rules: &Rules<'_>, account: &Account, basis: String) -> Limit {
    let now = rules.now;
    let currency = rules.policy.currency;
    let live = account.wallets.iter().filter(|w| w.revoked_at.is_none());
    let newest = live.clone().map(|w| w.enrolled_at).max().unwrap_or(UtcSeconds(0));
    let pending = live.flat_map(|w| w.carried.iter()).filter(|c| c.until > now).map(|c| c.left);
    let situation = rules.situation(account, newest, pending.fold(Money::ZERO, Money::saturating_add));
    let mut state = account.features.clone();
    state.set_standing(
        situation.tier,
        account.wallets.iter().any(|w| w.attested_until.is_some_and(|until| until > now)),
    );
    let curve = rules.curve(&state.snapshot(now), &situation);
    let Some((_, fresh)) = curve.first() else {
        return Limit {
            amount: words::money(currency, Money::ZERO),
            says: "no rule computes a limit",
            steps: Vec::new(),
            per_payment: words::money(currency, Money::ZERO),
            basis,
            curve: Vec::new(),
            chart: None,
        };
    };
    let last = fresh.reasons.len();
    let step = |(place, r): (usize, &plimsoll_model::decision::Reason)| Step {
        says: r.bound.says(),
        left: words::money(currency, r.left),
        last: place + 1 == last,
    };
    let point = |(age, d): &(Age, Decision)| (age_words(*age), words::money(currency, d.limit), d.bound.says());
    Limit {
        amount: words::money(currency, fresh.limit),
        says: fresh.bound.says(),
        steps: fresh.reasons.iter().enumerate().map(step).collect(),
        per_payment: words::money(currency, fresh.per_payment),
        basis,
        curve: curve.iter().map(point).collect(),
        chart: limit_chart(&curve, currency),
    }
}

/// Between two certified ages the limit of the older one holds.
fn limit_chart(curve: &[(Age, Decision)], currency: Currency) -> Option<Chart> {
    let minor = |d: &Decision| d.limit.minor() as i64;
    let end = i64::from(curve.last()?.0.0);
    let mut steps = Vec::with_capacity(curve.len());
    for (place, (_, decision)) in curve.iter().enumerate().skip(1) {
        steps.push((i64::from(curve[place - 1].0.0), minor(decision)));
    }
    let top = curve.iter().map(|(_, d)| minor(d)).max()?;
    let mut chart = Chart::of(&steps, end, (0, top.max(1)))?;
    chart.says = "The limit by the time since the sync; the table below has the same numbers.".to_owned();
    chart.top = words::minor(currency, top);
    chart.bottom = "0".to_owned();
    let at = |part: i64| age_words(Age(u32::try_from(end * part / 3).unwrap_or(u32::MAX)));
    chart.along = (0..=3).map(at).collect();
    Some(chart)
}

fn age_words(age: Age) -> String {
    match age.0 {
        0 => "at the sync".to_owned(),
        m if m % 60 == 0 => format!("{} h", m / 60),
        m if m > 60 => format!("{} h {} min", m / 60, m % 60),
        m => format!("{m} min"),
    }
}

fn standing(rules: &Rules<'_>, account: &Account) -> StandingView {
    let score = rules.fraud_ppm(account);
    let signal = |s: &plimsoll_model::standing::Signal| SignalView {
        cause: words::spaced(s.cause.name()),
        when: words::when(s.at),
        party: match s.party {
            Party::Holder => "the holder's doing",
            Party::Other => "somebody else's doing: weighs nothing",
            Party::Unknown => "nobody has looked: weighs nothing",
        },
    };
    let kept = rules.policy.standing.as_ref();
    let (says, class) = match kept {
        None => ("Not kept", "plain"),
        Some(r) if score >= r.suspended_from.get() => ("Suspended", "bad"),
        Some(r) if score >= r.reduced_from.get() => ("Reduced", "warn"),
        Some(_) => ("Good", "good"),
    };
    let weight = |cause: Cause| {
        kept.map_or_else(String::new, |r| {
            let milli = cause.weight_milli(&r.weights_milli);
            format!("weighs {}.{}", milli / 1_000, milli % 1_000 / 100)
        })
    };
    StandingView {
        kept: kept.is_some(),
        says,
        class,
        score: words::percent(u64::from(score)),
        thresholds: kept.map_or_else(String::new, |r| {
            format!(
                "Reduced to {} from {}, suspended from {}; a signal weighs half after {} days.",
                words::money(rules.policy.currency, r.reduced_cap),
                words::percent(r.reduced_from.get().into()),
                words::percent(r.suspended_from.get().into()),
                r.half_life_days
            )
        }),
        signals: account.signals.iter().rev().map(signal).collect(),
        causes: CAUSES.into_iter().map(|c| (c.name(), words::spaced(c.name()), weight(c))).collect(),
    }
}

fn device(wallet: &Wallet, currency: Currency, now: UtcSeconds) -> Device {
    let jkt = wallet.jkt.to_string();
    Device {
        short: words::short(&jkt),
        jkt,
        revoked: wallet.revoked_at.map(words::when),
        enrolled: words::when(wallet.enrolled_at),
        attested: match wallet.attested_until {
            Some(until) if until > now => format!("until {}", words::when(until)),
            Some(_) => "no longer".to_owned(),
            None => "no".to_owned(),
        },
        seq: wallet.seq,
        seen: wallet.seen,
        granted: wallet.held.map_or_else(|| "nothing".to_owned(), |h| words::money(currency, h.limit)),
        outstanding: words::money(currency, wallet.outstanding(now)),
    }
}

fn dispute(p: &PaymentRecord, d: &Dispute, currency: Currency, now: UtcSeconds) -> DisputeView {
    DisputeView {
        nonce: p.nonce.to_string(),
        payer: p.payer.to_string(),
        payee: p.payee.to_string(),
        amount: words::money(currency, p.amount),
        by: d.by.to_string(),
        reason: reason(d.reason),
        detail: d.detail.clone(),
        when: words::distance(d.at, now),
    }
}

/// Why a payment is disputed, in words.
pub(super) const fn reason(reason: DisputeReason) -> &'static str {
    match reason {
        DisputeReason::Unauthorized => "the holder did not make it",
        DisputeReason::WrongAmount => "another amount was agreed",
        DisputeReason::NotReceived => "the goods did not come",
        DisputeReason::Other => "something else",
    }
}

fn payment(p: &PaymentRecord, of: &AccountId, currency: Currency) -> Payment {
    let made = p.payer == *of;
    let outcome = &p.outcome;
    let missing = outcome.overdraft.saturating_add(outcome.unpaid);
    let (says, class) = match (outcome.overdraft > Money::ZERO, outcome.unpaid > Money::ZERO) {
        (false, false) => ("settled", "good"),
        (true, _) => ("paid beyond the balance", "bad"),
        (false, true) if outcome.credited > Money::ZERO => ("paid in part", "warn"),
        (false, true) => ("not paid", "warn"),
    };
    let bearer = match outcome.liable {
        Some(Liable::Issuer) => ", borne by the issuer",
        Some(Liable::Payee) => ", borne by the payee",
        None => "",
    };
    Payment {
        nonce: p.nonce.to_string(),
        when: words::when(p.signed_at),
        made,
        other: if made { p.payee.to_string() } else { p.payer.to_string() },
        amount: words::money(currency, p.amount),
        outcome: says,
        class,
        missing: if missing > Money::ZERO {
            format!("{}{bearer}", words::money(currency, missing))
        } else {
            String::new()
        },
        dispute: match &p.dispute {
            None => "",
            Some(Dispute { found: None, .. }) => "disputed",
            Some(Dispute { found: Some(found), .. }) => match &found.at_fault {
                None => "dispute closed: nobody at fault",
                Some(at_fault) if *at_fault == p.payer => "dispute closed: payer at fault",
                Some(_) => "dispute closed: payee at fault",
            },
        },
    }
}

fn grant(record: &GrantRecord, currency: Currency) -> Result<GrantView, crate::record::BadRecord> {
    let claims = record.grant()?;
    let jti: TokenId = record.jti;
    let first = claims.limit.points().first().map_or(Money::ZERO, |p| p.1);
    Ok(GrantView {
        jti: jti.to_string(),
        short: words::short(&jti.to_string()),
        when: words::when(record.iat),
        seq: record.seq,
        device: words::short(&record.jkt.to_string()),
        limit: words::money(currency, first),
        says: claims.why.says(),
        settled: words::money(currency, record.settled),
        ends: words::when(claims.exp),
        model: claims.mdl.map_or_else(|| "floor".to_owned(), |m| format!("version {}", m.v)),
    })
}

/// The newest movements with the balance after each, and the balance over all that were read.
fn history(account: &Account, newest_first: &[PlacedRow], currency: Currency) -> (Vec<Movement>, Option<Chart>) {
    let mut balance = account.balance_minor();
    let mut movements = Vec::with_capacity(SHOWN);
    let mut steps = Vec::with_capacity(newest_first.len());
    for placed in newest_first {
        let t = &placed.row.transaction;
        steps.push((t.at.0, balance));
        if movements.len() < SHOWN {
            movements.push(Movement {
                when: words::when(t.at),
                what: words::spaced(t.kind.name()),
                amount: words::minor(currency, t.amount.minor()),
                debit: t.amount.is_debit(),
                balance: words::minor(currency, balance),
            });
        }
        balance = balance.saturating_sub(t.amount.minor());
    }
    steps.reverse();
    let low = steps.iter().map(|s| s.1).min().unwrap_or(0).min(0);
    let high = steps.iter().map(|s| s.1).max().unwrap_or(0);
    let (Some(from), Some(until)) = (steps.first().map(|s| s.0), steps.last().map(|s| s.0)) else {
        return (movements, None);
    };
    let chart = Chart::of(&steps, until, (low, high)).map(|mut chart| {
        chart.says = format!("The balance over the last {} movements; the table below has the newest.", steps.len());
        chart.top = words::minor(currency, high);
        chart.bottom = words::minor(currency, low);
        let day = |at: i64| words::when(UtcSeconds(at)).chars().take(10).collect::<String>();
        chart.along = vec![day(from), day(from + (until - from) / 2), day(until)];
        chart
    });
    (movements, chart)
}
