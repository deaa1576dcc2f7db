//! The log: what was decided about an account, or about none, newest first, with what it was decided from.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use plimsoll_model::UtcSeconds;
use serde::Deserialize;

use super::page::{Frame, Problem, page};
use super::session::Session;
use super::{Console, words};
use crate::audit::chain::{ChainId, EntryHash, Link};
use crate::border::{ApiError, Role};
use crate::record::AccountId;

/// Entries of one page.
const PAGE: usize = 25;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// `time.number.chain` of the last entry of the page before.
    #[serde(default)]
    before: String,
}

#[derive(Template)]
#[template(path = "log.html")]
struct View {
    frame: Frame,
    id: String,
    entries: Vec<Line>,
    older: Option<String>,
    paged: bool,
}

struct Line {
    when: String,
    kind: String,
    by: String,
    body: String,
    place: String,
    hash: String,
}

pub(super) async fn of_account(
    State(console): State<Console>,
    session: Session,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    session.who.admin(Role::Support)?;
    let id = AccountId::try_from(id).map_err(|_| ApiError::NotFound("account"))?;
    show(&console, &session, &id, "accounts", &asked).await
}

pub(super) async fn of_no_account(
    State(console): State<Console>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    session.who.admin(Role::Viewer)?;
    show(&console, &session, &AccountId::none(), "log", &asked).await
}

async fn show(
    console: &Console,
    session: &Session,
    id: &AccountId,
    section: &'static str,
    asked: &Asked,
) -> Result<Response, Problem> {
    let before = place_of(&asked.before);
    let mut links = console.service().store.log_of(id, before.as_ref(), PAGE + 1).await?;
    let more = links.len() > PAGE;
    links.truncate(PAGE);
    let older = links.last().filter(|_| more).map(|l| format!("{}.{}.{}", l.at.0, l.number, l.chain));
    page(&View {
        frame: console.frame(session, section),
        id: id.to_string(),
        entries: links.iter().map(line).collect(),
        older,
        paged: before.is_some(),
    })
}

/// Where a page begins; the rest of the entry does not matter for that.
fn place_of(text: &str) -> Option<Link> {
    let mut parts = text.splitn(3, '.');
    let at = UtcSeconds(parts.next()?.parse().ok()?);
    let number = parts.next()?.parse().ok().filter(|n| i64::try_from(*n).is_ok())?;
    let chain = ChainId::try_from(parts.next()?.to_owned()).ok()?;
    let (previous, hash) = (EntryHash::default(), EntryHash::default());
    Some(Link { chain, number, previous, at, kind: String::new(), account: String::new(), body: Vec::new(), hash })
}

fn line(link: &Link) -> Line {
    let body: serde_json::Value = serde_json::from_slice(&link.body).unwrap_or_default();
    let by = ["/by", "/found/by", "/proposed/by"].iter().find_map(|path| body.pointer(path)?.as_str());
    Line {
        when: words::when(link.at),
        kind: words::spaced(&link.kind),
        by: by.unwrap_or_default().to_owned(),
        body: serde_json::to_string_pretty(&body).unwrap_or_default(),
        place: format!("{} of chain {}", link.number, words::short(&link.chain.to_string())),
        hash: link.hash.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_log_is_read_or_left_out_and_never_ends_the_process() {
        let chain = ChainId::default();
        let place = place_of(&format!("17.4.{chain}")).expect("reads");
        assert_eq!((place.at, place.number, place.chain), (UtcSeconds(17), 4, chain));
        for wrong in ["", "17", "17.4.", "17.-4.x", "17.18446744073709551615.AAAAAAAAAAAAAAAAAAAAAA", "x.y.z"] {
            assert!(place_of(wrong).is_none(), "{wrong}");
        }
    }
}
