//! What is true of every route, said once in the description: who may ask, what a path's names look like, and how requests
//! are refused.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder};
use utoipa::openapi::{HeaderBuilder, ObjectBuilder, Schema, Type};

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct Refused {
    error: Why,
}

/// What clients branch on, and what people read.
#[derive(Debug, Serialize, ToSchema)]
struct Why {
    /// One word, e.g. `NOT_FOUND`.
    code: String,
    /// In words; names the field, the header or the path.
    message: String,
    /// What the log has it under.
    #[schema(required = false)]
    request_id: Option<String>,
}

const BEARER: &str = "bearer";
const BRIDGE: &str = "bridge";

/// Patterns of what paths name.
const NAMES: [(&str, &str); 4] = [
    ("id", "^[A-Za-z0-9._:-]{1,64}$"),
    ("jkt", "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"),
    ("decision", "^[A-Za-z0-9_-]{21}[AQgw]$"),
    ("version", "^(0|[1-9][0-9]{0,18})$"),
];

/// Completes a description.
pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(
        "A token of an issuer that the operator configured, for a holder or one of the operator's people.",
    ));
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    let signed =
        "A backend's signature over the message (RFC 9421) with its content digest, see `plimsoll-serve sign`.";
    let signed = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Signature", signed)));
    components.add_security_scheme(BRIDGE, signed);
    for (path, item) in &mut document.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post];
        for operation in operations.into_iter().flatten() {
            let public = operation.security.as_ref().is_some_and(|by| by.contains(&SecurityRequirement::default()));
            if !public {
                let by = |scheme| SecurityRequirement::new::<_, [&str; 0], &str>(scheme, []);
                operation.security = Some(vec![by(BEARER), by(BRIDGE)]);
            }
            name(operation);
            refuse(operation, path, public);
        }
    }
}

/// What names in paths look like, and the key that makes a request one.
fn name(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let found = NAMES.iter().find(|(name, _)| *name == parameter.name);
        if let Some((_, pattern)) = found.filter(|_| parameter.parameter_in == ParameterIn::Path) {
            parameter.schema = Some(text(|of| of.pattern(Some(*pattern))));
        }
    }
    if operation.request_body.is_some() {
        let key: Parameter = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("Makes it one request however often it comes: its answer is kept for 24 hours."))
            .schema(Some(text(|of| of.pattern(Some("^[!-~]{1,128}$")))))
            .build();
        operation.parameters.get_or_insert_default().push(RefOr::T(key));
    }
}

/// How requests are refused besides what the route itself says.
fn refuse(operation: &mut Operation, path: &str, public: bool) {
    let has_body = operation.request_body.is_some();
    let mut more = vec![
        ("429", "Too many requests"),
        ("500", "A mistake of ours"),
        ("503", "Try again: nothing was done, or it is safe"),
    ];
    if has_body || !public || path.contains('{') {
        more.push(("400", "A field, a header or the path is wrong"));
    }
    if has_body {
        more.extend([
            ("408", "The body did not arrive in time"),
            ("409", "It contradicts what is there, or the same request is being worked on"),
            ("413", "The body is too long"),
            ("415", "The body is not JSON"),
            ("422", "The idempotency key was used for another request"),
        ]);
    }
    if !public {
        more.extend([("401", "No valid credential"), ("403", "Not with this credential")]);
    }
    let refused = || Content::new(Some(RefOr::Ref(Ref::from_schema_name("Error"))));
    for (status, description) in more {
        let mut response = ResponseBuilder::new().description(description);
        if matches!(status, "429" | "503") {
            let seconds = HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::Integer)));
            response = response.header("Retry-After", seconds.description(Some("Seconds")).build());
        }
        let there = operation.responses.responses.entry(status.to_owned());
        there.or_insert_with(|| RefOr::T(response.build()));
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(Response { content, .. }) = response
            && status.starts_with(['4', '5'])
            && content.is_empty()
        {
            content.insert("application/json".to_owned(), RefOr::T(refused()));
        }
    }
}

fn text(with: impl FnOnce(ObjectBuilder) -> ObjectBuilder) -> RefOr<Schema> {
    RefOr::T(Schema::Object(with(ObjectBuilder::new().schema_type(Type::String)).build()))
}
