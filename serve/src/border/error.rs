//! Every refusal of the service, by what the caller can do about it. Nothing else knows HTTP statuses.
//!
//! The answer is one envelope, `{"error": {"code", "message", "request_id"}}`. The client gets the summary; the log gets
//! the cause, once, where the request ends ([`super::envelope`]).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// Change the request: a field, a header or the path is wrong. The message names it.
    #[error("{0}")]
    BadRequest(String),
    /// Sign in: there is no credential, or one that does not count. Why is for the log, not for who tries.
    #[error("a valid credential is needed")]
    Unauthenticated,
    /// Get a new credential: this one was good and has expired.
    #[error("the credential has expired: get a new one")]
    ExpiredToken,
    /// Sign again, with the right key over the right bytes.
    #[error("the signature does not match what it covers")]
    BadSignature,
    /// Sign under a key that is registered here.
    #[error("the key id is unknown: register the key, or use another")]
    UnknownKid,
    /// Draw a new nonce.
    #[error("the nonce was used before")]
    NonceReused,
    /// Ask somebody with more rights.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Ask for something that is there.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Use another method.
    #[error("this path has other methods")]
    MethodNotAllowed,
    /// Look at the state first: the request contradicts it.
    #[error("{0}")]
    Conflict(String),
    /// Revoke a device first.
    #[error("{0}")]
    DeviceLimit(String),
    /// Wait: the same request is being worked on.
    #[error("a request with this idempotency key is in flight")]
    InFlight,
    /// Draw a new idempotency key: this one was used for something else.
    #[error("this idempotency key was used for another request")]
    KeyReused,
    /// Send less.
    #[error("the body is longer than {max} bytes")]
    TooLarge {
        /// What the route takes.
        max: usize,
    },
    /// Send JSON.
    #[error("the content type must be application/json")]
    NotJson,
    /// Wait that long.
    #[error("too many requests: wait {retry_after_s} s")]
    RateLimited {
        /// Seconds.
        retry_after_s: u32,
    },
    /// Send faster: the request did not arrive in time.
    #[error("the request did not arrive within {limit_s} s")]
    TooSlow {
        /// Seconds.
        limit_s: u64,
    },
    /// Try again: nothing was done, or the same request may safely be sent again.
    #[error("{why}: try again in {retry_after_s} s")]
    Unavailable {
        /// What is missing.
        why: &'static str,
        /// Seconds.
        retry_after_s: u32,
    },
    /// Tell us: the request may be right, and the mistake is ours. The cause goes to the log only.
    #[error("something went wrong here; the log has it under this request id")]
    Internal {
        /// For the log.
        cause: String,
    },
}

/// What the envelope is made from; a response carries it to where the request id is known.
#[derive(Clone, Debug)]
pub(super) struct Refusal(pub(super) ApiError);

impl ApiError {
    /// A mistake of ours.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal { cause: cause.to_string() }
    }

    /// The word that clients branch on.
    pub const fn code(&self) -> &'static str {
        self.shape().1
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.shape().0
    }

    const fn shape(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            Self::ExpiredToken => (StatusCode::UNAUTHORIZED, "EXPIRED_TOKEN"),
            Self::BadSignature => (StatusCode::UNAUTHORIZED, "BAD_SIGNATURE"),
            Self::UnknownKid => (StatusCode::UNAUTHORIZED, "UNKNOWN_KID"),
            Self::NonceReused => (StatusCode::UNAUTHORIZED, "NONCE_REUSED"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "FORBIDDEN"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "CONFLICT"),
            Self::DeviceLimit(_) => (StatusCode::CONFLICT, "DEVICE_LIMIT_REACHED"),
            Self::InFlight => (StatusCode::CONFLICT, "IN_FLIGHT"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "TOO_LARGE"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_JSON"),
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED"),
            Self::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "TOO_SLOW"),
            Self::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            Self::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        }
    }

    const fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::RateLimited { retry_after_s } | Self::Unavailable { retry_after_s, .. } => Some(*retry_after_s),
            Self::InFlight => Some(1),
            _ => None,
        }
    }

    /// The envelope. Without a request id when nobody gave the request one.
    pub fn envelope(&self, request_id: Option<&str>) -> Vec<u8> {
        #[derive(serde::Serialize)]
        struct Envelope<'a> {
            error: Body<'a>,
        }
        #[derive(serde::Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            request_id: Option<&'a str>,
        }
        let error = Body { code: self.code(), message: self.to_string(), request_id };
        serde_json::to_vec(&Envelope { error }).expect("an envelope holds only text")
    }
}

impl From<crate::store::StoreError> for ApiError {
    fn from(error: crate::store::StoreError) -> Self {
        use crate::store::StoreError;
        match error {
            StoreError::Unavailable { why } => {
                tracing::warn!(%why, "the store is not available");
                Self::Unavailable { why: "the store is not available; nothing was done", retry_after_s: 2 }
            }
            StoreError::Unknown => Self::Unavailable {
                why: "the store was lost while it committed; the same request under the same idempotency key is safe",
                retry_after_s: 2,
            },
            damaged => Self::internal(damaged),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.envelope(None)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Refusal(self));
        response
    }
}
