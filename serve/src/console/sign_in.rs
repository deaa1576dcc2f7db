//! In by a token of the operator's identity provider, and out.

use askama::Template;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::Console;
use super::page::{Problem, page, render, see};
use super::session::{self, Posted};
use crate::border::{ApiError, Identity};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    next: String,
    wrong: Option<String>,
}

/// Where somebody was going.
#[derive(Deserialize)]
pub(super) struct Going {
    #[serde(default)]
    next: String,
}

/// The form.
pub(super) async fn show(Query(going): Query<Going>) -> Result<Response, Problem> {
    page(&SignIn { next: going.next, wrong: None })
}

#[derive(Deserialize)]
struct Entry {
    token: String,
    #[serde(default)]
    next: String,
}

/// A token becomes a session.
pub(super) async fn enter(State(console): State<Console>, request: Request) -> Result<Response, Problem> {
    if !console.is_ours(request.headers()) {
        // Otherwise somebody could be signed in as another without noticing.
        return Err(ApiError::Forbidden("sign in from the page of this console").into());
    }
    let entry: Entry = session::read(&session::form_bytes(request).await?)?;
    let token = entry.token.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let wrong = match console.0.border.identify_bearer(token).await {
        Ok((Identity::Admin { name, role }, until)) => {
            let cookie = console.begin(&name, role, until).await?;
            tracing::info!(role = super::words::role(role), "signed in to the console");
            let mut response = see(own(&entry.next));
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            return Ok(response);
        }
        Ok(_) => "This token is a wallet holder's. The console is for the operator's people.".to_owned(),
        Err(refused) => {
            tracing::info!(why = %refused, "not signed in to the console");
            match ApiError::from(refused) {
                ApiError::ExpiredToken => "This token has expired: get a new one.".to_owned(),
                ApiError::Unavailable { .. } => "Tokens cannot be checked just now: try again.".to_owned(),
                _ => "This token does not count here.".to_owned(),
            }
        }
    };
    render(StatusCode::UNAUTHORIZED, &SignIn { next: entry.next, wrong: Some(wrong) })
}

/// No fields but the token of the form.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// The session ends, whoever has a copy of its cookie.
pub(super) async fn leave(State(console): State<Console>, posted: Posted<Nothing>) -> Result<Response, Problem> {
    let cookie = console.end(&posted.session).await?;
    Ok(([(header::SET_COOKIE, cookie)], see("/console/sign-in")).into_response())
}

/// A path of the console; anything else leads to its front page, not out of it.
fn own(next: &str) -> &str {
    let inside = next == "/console" || next.starts_with("/console/") || next.starts_with("/console?");
    let plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if inside && plain { next } else { "/console" }
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn signing_in_leads_nowhere_else() {
        for inside in ["/console", "/console/accounts/a?x=1"] {
            assert_eq!(own(inside), inside);
        }
        for outside in
            ["", "//evil.example", "https://evil.example/console", "/console\\..\\", "/consoles", "/console/\n"]
        {
            assert_eq!(own(outside), "/console", "{outside:?}");
        }
    }
}
