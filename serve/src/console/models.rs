//! Releases: for whom each decides, whether devices agree with it, and what its certificate promised.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use plimsoll_model::artifact::{Basis, Certificate};
use serde::Deserialize;
use serde_json::{Value, json};

use super::page::{Frame, Problem, page, see};
use super::session::{Posted, Session};
use super::{Console, words};
use crate::border::{ApiError, Role};
use crate::models::{Pulled, RefuseMove, ReleaseStatus};
use crate::record::AccountId;
use crate::unit::{Entry, Needs};

const BACK: &str = "/console/models";

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    done: String,
}

#[derive(Template)]
#[template(path = "models.html")]
struct View {
    frame: Frame,
    done: Option<&'static str>,
    checked: String,
    refused: Option<String>,
    releases: Vec<Release>,
    promise: Option<Promise>,
}

struct Release {
    version: u64,
    id: String,
    digest: String,
    since: String,
    share: String,
    /// Percent, for the form.
    percent: String,
    compared: u64,
    unequal: u64,
    mismatch: String,
    state: &'static str,
    class: &'static str,
    why: Option<String>,
    widens: bool,
    stops: bool,
}

/// What the certificate of the release that decides for everyone says.
struct Promise {
    version: u64,
    says: String,
    cells: Vec<Cell>,
}

struct Cell {
    tier: u8,
    basis: &'static str,
    accounts: u32,
    windows: u32,
    violation: String,
    test: String,
}

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    session.who.admin(Role::Viewer)?;
    let service = console.service();
    let now = service.now();
    let status = service.models.status();
    let active = service.models.for_everyone();
    page(&View {
        frame: console.frame(&session, "models"),
        done: match asked.done.as_str() {
            "widened" => Some("The release decides for more accounts now."),
            "pulled" => Some("The release is pulled back: the one before it decides again."),
            _ => None,
        },
        checked: status.checked_at.map_or_else(|| "never".to_owned(), |at| words::distance(at, now)),
        refused: status.refused,
        releases: status.releases.iter().map(release).collect(),
        promise: active.evaluator().map(|e| promise(e.manifest().model_version, e.certificate())),
    })
}

fn release(r: &ReleaseStatus) -> Release {
    let everyone = r.ring.share_ppm >= crate::models::EVERYONE;
    let (state, class, why) = match (&r.ring.pulled, r.withdrawn, &r.unavailable) {
        (Some(pulled), _, _) => ("pulled back", "bad", Some(format!("{}: {}", words::when(pulled.at), pulled.why))),
        (None, true, _) => ("withdrawn by its signers", "bad", None),
        (None, false, Some(why)) => ("cannot be used here", "bad", Some(why.clone())),
        (None, false, None) if r.deciding && everyone => ("decides for everyone", "good", None),
        (None, false, None) if r.deciding => ("being tried", "warn", None),
        (None, false, None) => ("replaced", "plain", None),
    };
    let stands = r.ring.pulled.is_none() && !r.withdrawn;
    let unequal = r.compared.unequal * 1_000_000;
    Release {
        version: r.ring.model_version,
        id: r.ring.model_id.clone(),
        digest: words::short(&r.digest.to_string()),
        since: words::when(r.ring.since),
        share: words::percent(r.ring.share_ppm.into()),
        percent: words::percent(r.ring.share_ppm.into()).replace("\u{a0}%", ""),
        compared: r.compared.accounts,
        unequal: r.compared.unequal,
        mismatch: unequal.checked_div(r.compared.accounts).map_or_else(|| "–".to_owned(), words::percent),
        state,
        class,
        why,
        widens: stands && !everyone,
        stops: stands && r.deciding,
    }
}

fn promise(version: u64, certificate: &Certificate) -> Promise {
    let cell = |c: &plimsoll_model::artifact::Cell| Cell {
        tier: c.tier.level(),
        basis: match c.basis {
            Basis::Certified => "certified on its own accounts",
            Basis::Borrowed => "borrowed: too few accounts of its own",
            Basis::Fallback => "the programme's fallback",
        },
        accounts: c.accounts,
        windows: c.windows,
        violation: words::percent(c.violation_ppm.into()),
        test: c.test.map_or_else(
            || "–".to_owned(),
            |t| {
                let [at, low, high] = [t.violation_ppm, t.low_ppm, t.high_ppm].map(|ppm| words::percent(ppm.into()));
                format!("{at} [{low}, {high}]")
            },
        ),
    };
    Promise {
        version,
        says: format!(
            "Where a tier is certified on its own accounts: at most {} of windows of {} h have less headroom than the limit, with confidence {}. The other tiers have no promise of their own.",
            words::percent(certificate.terms.alpha.get().into()),
            certificate.terms.window_h,
            words::percent(u64::from(1_000_000 - certificate.terms.delta.get())),
        ),
        cells: certificate.cells.iter().map(cell).collect(),
    }
}

#[derive(Deserialize)]
pub(super) struct Widen {
    percent: f64,
}

/// Gives a release to more accounts.
pub(super) async fn widen(
    State(console): State<Console>,
    Path(version): Path<u64>,
    posted: Posted<Widen>,
) -> Result<Response, Problem> {
    let refused = Problem::on(BACK.to_owned());
    posted.session.who.admin(Role::Admin).map_err(&refused)?;
    let percent = posted.form.percent;
    if !(0.0..=100.0).contains(&percent) {
        return Err(refused(ApiError::BadRequest("a share is 0 to 100 percent".to_owned())));
    }
    // Within 0 to 1,000,000, so nothing is lost.
    let share_ppm = (percent * 10_000.0).round() as u32;
    console.service().models.widen(version, share_ppm).map_err(|e| refused(e.into()))?;
    console.log(&posted.session, json!({ "widened": version, "share_ppm": share_ppm })).await?;
    Ok(see(&format!("{BACK}?done=widened")))
}

#[derive(Deserialize)]
pub(super) struct PullBack {
    reason: String,
}

/// Takes a release back.
pub(super) async fn pull_back(
    State(console): State<Console>,
    Path(version): Path<u64>,
    posted: Posted<PullBack>,
) -> Result<Response, Problem> {
    let refused = Problem::on(BACK.to_owned());
    posted.session.who.admin(Role::Admin).map_err(&refused)?;
    let why = super::act::reason(&posted.form.reason).map_err(&refused)?;
    let pulled = Pulled { at: console.service().now(), why: why.clone() };
    console.service().models.pull_back(version, pulled).map_err(|e| refused(e.into()))?;
    console.log(&posted.session, json!({ "pulled_back": version, "reason": why })).await?;
    Ok(see(&format!("{BACK}?done=pulled")))
}

impl Console {
    /// An entry about no account.
    async fn log(&self, session: &Session, mut body: Value) -> Result<(), Problem> {
        body["by"] = session.who.key().into();
        let now = self.service().now();
        let logged = self.service().store.run(now, Needs::default(), move |unit| {
            unit.entries.push(Entry::new("model", AccountId::none(), &body));
        });
        Ok(logged.await?)
    }
}

impl From<RefuseMove> for ApiError {
    fn from(refused: RefuseMove) -> Self {
        match refused {
            RefuseMove::Unknown { .. } => Self::NotFound("release"),
            RefuseMove::Share { .. } => Self::BadRequest(refused.to_string()),
            RefuseMove::Pulled { .. } | RefuseMove::Narrower { .. } => Self::Conflict(refused.to_string()),
        }
    }
}
