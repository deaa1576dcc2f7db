//! Accounts by the beginning of their name.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use super::page::{Frame, Problem, page};
use super::session::Session;
use super::{Console, words};
use crate::border::Role;
use crate::record::AccountId;

/// Accounts of one page.
const PAGE: usize = 25;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    starts: String,
    #[serde(default)]
    after: String,
}

#[derive(Template)]
#[template(path = "accounts.html")]
struct Accounts {
    frame: Frame,
    starts: String,
    found: Vec<Line>,
    /// Where the next page begins.
    next: Option<String>,
    paged: bool,
}

struct Line {
    id: String,
    tier: u8,
    balance: String,
    owes: bool,
    updated: String,
}

pub(super) async fn show(
    State(console): State<Console>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    session.who.admin(Role::Support)?;
    let service = console.service();
    let now = service.now();
    let starts = asked.starts.trim().to_owned();
    let after = AccountId::try_from(asked.after.as_str()).ok();
    let mut found = service.store.accounts(&starts, after.as_ref(), PAGE + 1).await?;
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let next = found.last().filter(|_| more).map(|last| last.id.to_string());
    let currency = service.models.for_everyone().policy().currency;
    let line = |a: crate::store::AccountLine| Line {
        id: a.id.to_string(),
        tier: a.tier,
        balance: words::minor(currency, a.balance_minor),
        owes: a.balance_minor < 0,
        updated: words::distance(a.updated_at, now),
    };
    page(&Accounts {
        frame: console.frame(&session, "accounts"),
        starts,
        found: found.into_iter().map(line).collect(),
        next,
        paged: after.is_some(),
    })
}
