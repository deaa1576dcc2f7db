//! What all pages have: the frame, the headers, and how a refusal looks.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::session::Session;
use super::{Console, words};
use crate::border::{ApiError, Role};
use crate::store::StoreError;

/// Nothing from elsewhere, no script at all, no frame around us, forms only to us.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The frame around a page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) csrf: String,
    /// Which of the sections it is in.
    pub(super) section: &'static str,
    pub(super) now: String,
    /// May look at accounts.
    pub(super) support: bool,
    /// May decide about them.
    pub(super) risk: bool,
    /// May decide about models.
    pub(super) admin: bool,
}

impl Console {
    pub(super) fn frame(&self, session: &Session, section: &'static str) -> Frame {
        let may = |least| session.role >= least;
        Frame {
            name: session.name.clone(),
            role: words::role(session.role),
            csrf: session.csrf.clone(),
            section,
            now: words::when(self.service().now()),
            support: may(Role::Support),
            risk: may(Role::Risk),
            admin: may(Role::Admin),
        }
    }
}

/// A page that renders.
pub(super) fn page(template: &impl Template) -> Result<Response, Problem> {
    render(StatusCode::OK, template)
}

pub(super) fn render(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    let html = template.render().map_err(ApiError::internal)?;
    Ok((status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response())
}

/// Back to a page after a form, so that loading it again does not send the form again.
pub(super) fn see(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Problem {
    /// Nobody is signed in.
    SignIn {
        /// Where they were going.
        next: String,
    },
    /// It is refused.
    Refused {
        error: ApiError,
        /// The page to go back to.
        back: Option<String>,
    },
}

impl Problem {
    /// Refused on the way from a page.
    pub(super) fn on(back: String) -> impl Fn(ApiError) -> Self {
        move |error| Self::Refused { error, back: Some(back.clone()) }
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self::Refused { error, back: None }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        ApiError::from(error).into()
    }
}

#[derive(Template)]
#[template(path = "refused.html")]
struct Refused {
    title: &'static str,
    message: String,
    back: Option<String>,
    sign_in: bool,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (error, back) = match self {
            Self::SignIn { next } => {
                let next = serde_urlencoded::to_string([("next", next)]).unwrap_or_default();
                return see(&format!("/console/sign-in?{next}"));
            }
            Self::Refused { error, back } => (error, back),
        };
        if let ApiError::Internal { cause } = &error {
            tracing::error!(%cause, "a page of the console failed");
        }
        let status = error.status();
        let title = match status {
            StatusCode::UNAUTHORIZED => "Sign in first",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::CONFLICT => "Not done",
            StatusCode::BAD_REQUEST => "Something is missing",
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "Not now",
            _ => "Something went wrong",
        };
        let sign_in = status == StatusCode::UNAUTHORIZED;
        let message = if sign_in { "Your session has ended.".to_owned() } else { sentence(&error.to_string()) };
        let page = Refused { title, message, back, sign_in };
        // A template of three fields that does not render would be a mistake of ours, and is still an answer.
        render(status, &page).unwrap_or_else(|_| status.into_response())
    }
}

/// A refusal's words as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map_or_else(String::new, |first| first.to_uppercase().collect());
    format!("{first}{}.", letters.as_str())
}

/// On every answer of ours.
pub(super) async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The one style sheet.
pub(super) async fn style() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")];
    (headers, include_str!("console.css"))
}

/// A path under ours that is none.
pub(super) async fn unknown(State(_): State<Console>, _: Session) -> Problem {
    ApiError::NotFound("page").into()
}
