//! Bodies: read whole, within a size and a time, before anybody works on them.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// Reads a body.
///
/// # Errors
/// `TooLarge` before anything is read when the head says so; `TooSlow`; `BadRequest` when the connection broke.
pub(super) async fn read(body: Body, headers: &HeaderMap, max: usize, within: Duration) -> Result<Bytes, ApiError> {
    let said = headers.get(header::CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|n| n > max as u64) {
        return Err(ApiError::TooLarge { max });
    }
    match tokio::time::timeout(within, Limited::new(body, max).collect()).await {
        Err(_) => Err(ApiError::TooSlow { limit_s: within.as_secs() }),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => Err(ApiError::TooLarge { max }),
        Ok(Err(_)) => Err(ApiError::BadRequest("the body did not arrive whole".to_owned())),
    }
}

/// A JSON body: the content type says so, no unknown field where the type denies them, and the message names the field
/// that is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        is_json(request.headers())?;
        let bytes = Bytes::from_request(request, state).await.map_err(ApiError::internal)?;
        from_json(&bytes).map(Self)
    }
}

/// Whether a body says that it is JSON.
///
/// # Errors
/// `NotJson`.
pub fn is_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(ApiError::NotJson) }
}

/// Reads JSON of a client.
///
/// # Errors
/// `BadRequest`, naming the field.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Following the path costs as much as reading, so only a body that is refused is read that way.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|refused| {
        let path = refused.path().to_string();
        let why = refused.into_inner().to_string();
        ApiError::BadRequest(if path == "." { format!("body: {why}") } else { format!("{path}: {why}") })
    })?;
    reader.end().map_err(|e| ApiError::BadRequest(format!("body: {e}")))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Token {
        items: Vec<u8>,
    }

    #[test]
    fn a_bad_body_is_told_where_it_is_wrong() {
        assert_eq!(from_json::<Token>(br#"{"items":[1,2]}"#), Ok(Token { items: vec![1, 2] }));
        for (body, told) in [
            (r#"{"items":[1,300]}"#, "items[1]: "),
            (r#"{"items":[],"extra":1}"#, "extra: unknown field"),
            (r#"{"items":[]} x"#, "body: "),
            ("", "body: EOF"),
        ] {
            let Err(ApiError::BadRequest(message)) = from_json::<Token>(body.as_bytes()) else { panic!("{body}") };
            assert!(message.starts_with(told), "{body}: {message}");
        }
        let deep = "[".repeat(100_000);
        assert!(from_json::<serde_json::Value>(deep.as_bytes()).is_err(), "and depth does not end the process");
    }
}
