//! The front page: what is out there, what came of it, what waits for somebody, and how the service is.

use std::sync::PoisonError;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use plimsoll_model::money::Currency;
use plimsoll_model::{Money, UtcSeconds};

use super::page::{Frame, Problem, page};
use super::session::Session;
use super::{Console, words};
use crate::border::Role;
use crate::ledger::proposal::PROPOSAL_S;
use crate::models::{Active, EVERYONE, Models};
use crate::record::PaymentRecord;
use crate::store::TierTotals;

/// How old the sums over all accounts may be: they read every account.
const TOTALS_S: i64 = 60;
/// Payments that outcomes are counted over.
const NEWEST: usize = 1_000;
/// What waits is listed up to this many.
const WAITING: usize = 20;

/// Sums over all accounts, and when they were taken.
#[derive(Clone, Debug)]
pub(super) struct Totals {
    at: UtcSeconds,
    tiers: Vec<TierTotals>,
}

impl Console {
    async fn totals(&self, now: UtcSeconds) -> Result<Totals, Problem> {
        let kept = self.0.totals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| (0..TOTALS_S).contains(&now.since(kept.at))) {
            return Ok(kept);
        }
        let totals = Totals { at: now, tiers: self.service().store.totals(now).await? };
        *self.0.totals.lock().unwrap_or_else(PoisonError::into_inner) = Some(totals.clone());
        Ok(totals)
    }
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    tiers: Vec<TierLine>,
    accounts: String,
    exposed: String,
    totals_at: String,
    outcomes: Option<Outcomes>,
    waiting: Option<Waiting>,
    health: Vec<Part>,
    promise: Option<Promise>,
}

/// Whether the promise of the release that decides for everyone holds.
struct Promise {
    version: u64,
    says: String,
    tiers: Vec<Watched>,
}

/// What settled windows say about one tier.
struct Watched {
    tier: u8,
    windows: String,
    loss: String,
    evidence: String,
    class: &'static str,
    margin: String,
    granted: String,
    alarms: u32,
}

struct TierLine {
    name: String,
    accounts: String,
    held: String,
    owed: String,
    exposed: String,
}

/// What came of the newest payments.
struct Outcomes {
    count: usize,
    since: String,
    kinds: Vec<Kind>,
    overdraft: String,
    unpaid: String,
}

struct Kind {
    name: &'static str,
    class: &'static str,
    count: usize,
    share: String,
}

struct Waiting {
    proposals: Vec<(String, String)>,
    disputes: Vec<Disputed>,
}

struct Disputed {
    payer: String,
    payee: String,
    amount: String,
    reason: String,
    since: String,
}

struct Part {
    name: &'static str,
    good: bool,
    says: String,
}

pub(super) async fn show(State(console): State<Console>, session: Session) -> Result<Response, Problem> {
    session.who.admin(Role::Viewer)?;
    let service = console.service();
    let now = service.now();
    let active = service.models.for_everyone();
    let currency = active.policy().currency;
    let totals = console.totals(now).await?;
    let sum = |of: fn(&TierTotals) -> i64| totals.tiers.iter().map(of).fold(0, i64::saturating_add);
    let line = |t: &TierTotals| {
        let class = active.policy().tiers.iter().find(|rules| rules.tier.level() == t.tier).map(|rules| &rules.class);
        TierLine {
            name: words::tier(t.tier, class.map(String::as_str)),
            accounts: words::count(t.accounts),
            held: words::minor(currency, t.held_minor),
            owed: words::minor(currency, t.owed_minor),
            exposed: words::minor(currency, t.exposed_minor),
        }
    };
    let waiting =
        if session.who.admin(Role::Support).is_ok() { Some(waiting(&console, currency, now).await?) } else { None };
    page(&Overview {
        frame: console.frame(&session, "overview"),
        tiers: totals.tiers.iter().map(line).collect(),
        accounts: words::count(totals.tiers.iter().map(|t| t.accounts).sum()),
        exposed: words::minor(currency, sum(|t| t.exposed_minor)),
        totals_at: words::when(totals.at),
        outcomes: outcomes(&service.store.newest_payments(NEWEST).await?, currency),
        waiting,
        health: health(&console, now).await,
        promise: promise(&service.models, &active),
    })
}

fn outcomes(payments: &[PaymentRecord], currency: Currency) -> Option<Outcomes> {
    let since = payments.iter().map(|p| p.judged_at).min()?;
    let sum = |of: fn(&PaymentRecord) -> Money| {
        words::money(currency, payments.iter().map(of).fold(Money::ZERO, Money::saturating_add))
    };
    let overdrawn = payments.iter().filter(|p| p.outcome.overdraft > Money::ZERO).count();
    let short = payments.iter().filter(|p| p.outcome.unpaid > Money::ZERO).count();
    let clean = payments.iter().filter(|p| p.outcome.overdraft.max(p.outcome.unpaid) == Money::ZERO).count();
    let kind = |name, class, count: usize| Kind {
        name,
        class: if count == 0 { "plain" } else { class },
        count,
        share: words::percent((count * 1_000_000 / payments.len()) as u64),
    };
    Some(Outcomes {
        count: payments.len(),
        since: words::when(since),
        kinds: vec![
            kind("settled whole", "good", clean),
            kind("paid beyond the balance", "bad", overdrawn),
            kind("not paid whole", "warn", short),
        ],
        overdraft: sum(|p| p.outcome.overdraft),
        unpaid: sum(|p| p.outcome.unpaid),
    })
}

async fn waiting(console: &Console, currency: Currency, now: UtcSeconds) -> Result<Waiting, Problem> {
    let store = &console.service().store;
    let proposals = store.proposed_after(now.plus(-PROPOSAL_S), WAITING).await?;
    let disputes = store.open_disputes(WAITING).await?;
    let disputed = |p: &PaymentRecord| Disputed {
        payer: p.payer.to_string(),
        payee: p.payee.to_string(),
        amount: words::money(currency, p.amount),
        reason: p.dispute.as_ref().map_or_else(String::new, |d| super::account::reason(d.reason).to_owned()),
        since: p.dispute.as_ref().map_or_else(String::new, |d| words::distance(d.at, now)),
    };
    Ok(Waiting {
        proposals: proposals.iter().map(|a| (a.id.to_string(), format!("from tier {}", a.tier))).collect(),
        disputes: disputes.iter().map(disputed).collect(),
    })
}

fn promise(models: &Models, active: &Active) -> Option<Promise> {
    let certificate = active.evaluator()?.certificate();
    let monitor = models.monitor(&active.digest()?)?;
    let alarm_at = 1.0 / certificate.terms.delta.fraction();
    let watched = |cell: &plimsoll_model::artifact::Cell| {
        let watch = monitor.watch(cell.tier);
        let evidence = monitor.e_value(cell.tier);
        let (watched, granted) = (active.watched_ppm(cell.tier), active.granted_ppm(cell.tier));
        Watched {
            tier: cell.tier.level(),
            windows: words::count(watch.windows),
            loss: watch.loss_ppm.checked_div(watch.windows).map_or_else(|| "–".to_owned(), words::percent),
            evidence: format!("{evidence:.2}"),
            class: match (watch.alarms > 0 || watched < EVERYONE, evidence > alarm_at.sqrt()) {
                (true, _) => "bad",
                (false, true) => "warn",
                (false, false) => "good",
            },
            margin: words::percent(active.margin_ppm(cell.tier).into()),
            granted: words::percent(granted.into()),
            alarms: watch.alarms,
        }
    };
    Some(Promise {
        version: monitor.model_version(),
        says: format!(
            "Promised: a mean loss of at most {}. Evidence of 1 says nothing, {alarm_at:.0} is an alarm: the share that is \
             granted then halves by itself. The margin follows what was lost, both ways; the smaller share is granted. \
             Counted once for all replicas.",
            words::percent(certificate.terms.alpha.get().into())
        ),
        tiers: certificate.cells.iter().map(watched).collect(),
    })
}

async fn health(console: &Console, now: UtcSeconds) -> Vec<Part> {
    let service = console.service();
    let store = match service.store.health().await {
        Ok(health) => {
            let kind = if service.store.is_sqlite() { "SQLite" } else { "PostgreSQL" };
            let says = format!("{kind} answers in {} ms; {} requests wait", health.took.as_millis(), health.waiting);
            Part { name: "Store", good: true, says }
        }
        Err(error) => Part { name: "Store", good: false, says: error.to_string() },
    };
    let active = service.models.for_everyone();
    let model = match active.evaluator() {
        Some(evaluator) => {
            let manifest = evaluator.manifest();
            let until = manifest.use_not_after;
            let says = format!(
                "{} version {} decides; to be used until {} ({})",
                manifest.model_id,
                manifest.model_version,
                words::when(until),
                words::distance(until, now)
            );
            Part { name: "Model", good: until > now, says }
        }
        None => {
            Part { name: "Model", good: false, says: "none decides: every limit is its tier's static floor".to_owned() }
        }
    };
    let status = service.models.status();
    let repository = match (&status.refused, status.checked_at) {
        (Some(why), _) => Part { name: "Repository", good: false, says: format!("refused: {why}") },
        (None, Some(at)) => {
            Part { name: "Repository", good: true, says: format!("looked at {}", words::distance(at, now)) }
        }
        (None, None) => Part { name: "Repository", good: false, says: "none is configured".to_owned() },
    };
    let keys = match service.keys.signing() {
        Some(_) => Part { name: "Grant key", good: true, says: format!("{} signs grants", service.issuer()) },
        None => Part { name: "Grant key", good: false, says: "no key signs grants: issuer.keys is not set".to_owned() },
    };
    vec![store, model, repository, keys]
}
