//! The API's description as JSON, and the same as a page to read: no script, nothing from elsewhere.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::Value;

use super::page;

/// `/openapi.json` and `/docs`: public.
///
/// * `document`: what the API's router says of itself.
///
/// # Errors
/// When the document is not one: a mistake of ours, told at the start.
pub fn router<S: Clone + Send + Sync + 'static>(document: &utoipa::openapi::OpenApi) -> Result<Router<S>, DocsError> {
    let value = serde_json::to_value(document)?;
    let json = Bytes::from(serde_json::to_vec(&value)?);
    let html = Bytes::from(Docs::of(&value).render()?);
    let served = move |kind: &'static str, bytes: &Arc<Bytes>| {
        let bytes = bytes.clone();
        get(move || async move {
            let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=300")];
            let answer: Response = (headers, Bytes::clone(&bytes)).into_response();
            answer
        })
    };
    Ok(Router::new()
        .route("/openapi.json", served("application/json", &Arc::new(json)))
        .route("/docs", served("text/html; charset=utf-8", &Arc::new(html)))
        .route("/docs/style.css", get(page::style))
        .route_layer(map_response(page::harden)))
}

/// Why the description cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("the API's description: {0}")]
pub struct DocsError(String);

impl From<serde_json::Error> for DocsError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<askama::Error> for DocsError {
    fn from(error: askama::Error) -> Self {
        Self(error.to_string())
    }
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Docs {
    title: String,
    version: String,
    description: String,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
}

struct Group {
    name: String,
    description: String,
    operations: Vec<Operation>,
}

struct Operation {
    anchor: String,
    method: String,
    path: String,
    summary: String,
    description: String,
    parameters: Vec<(String, String, String)>,
    request: Option<Type>,
    responses: Vec<(String, String, Option<Type>)>,
}

struct Schema {
    name: String,
    description: String,
    fields: Vec<Field>,
    kind: Option<Type>,
}

struct Field {
    name: String,
    required: bool,
    kind: Type,
    description: String,
}

/// A type in words, and the schema it leads to.
struct Type {
    text: String,
    schema: Option<String>,
}

impl Docs {
    fn of(document: &Value) -> Self {
        let info = &document["info"];
        let none = serde_json::Map::new();
        let paths = document["paths"].as_object().unwrap_or(&none);
        let operations: Vec<(String, Operation)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = ["get", "put", "post", "delete", "patch"];
                methods.into_iter().filter_map(move |method| item.get(method).map(|o| operation(method, path, o)))
            })
            .collect();
        let mut groups: Vec<Group> = document["tags"].as_array().map_or_else(Vec::new, |tags| {
            let group = |tag: &Value| Group {
                name: text(&tag["name"]),
                description: text(&tag["description"]),
                operations: Vec::new(),
            };
            tags.iter().map(group).collect()
        });
        for (tag, operation) in operations {
            match groups.iter_mut().find(|group| group.name == tag) {
                Some(group) => group.operations.push(operation),
                None => groups.push(Group { name: tag, description: String::new(), operations: vec![operation] }),
            }
        }
        groups.retain(|group| !group.operations.is_empty());
        let schemas = document["components"]["schemas"].as_object().unwrap_or(&none);
        Self {
            title: text(&info["title"]),
            version: text(&info["version"]),
            description: text(&info["description"]),
            groups,
            schemas: schemas.iter().map(|(name, schema)| Schema::of(name, schema)).collect(),
        }
    }
}

fn operation(method: &str, path: &str, value: &Value) -> (String, Operation) {
    let parameter = |p: &Value| (text(&p["name"]), text(&p["in"]), text(&p["description"]));
    let body = |holder: &Value| {
        let content = holder["content"].as_object()?.values().next()?;
        Some(Type::of(&content["schema"]))
    };
    let responses = value["responses"].as_object();
    let response = |(status, r): (&String, &Value)| (status.clone(), text(&r["description"]), body(r));
    let operation = Operation {
        anchor: format!("{method}{}", path.replace(['/', '{', '}'], "-")),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&value["summary"]),
        description: text(&value["description"]),
        parameters: value["parameters"].as_array().map_or_else(Vec::new, |all| all.iter().map(parameter).collect()),
        request: body(&value["requestBody"]),
        responses: responses.map_or_else(Vec::new, |all| all.iter().map(response).collect()),
    };
    (text(&value["tags"][0]), operation)
}

impl Schema {
    fn of(name: &str, schema: &Value) -> Self {
        let required: Vec<&str> =
            schema["required"].as_array().map_or_else(Vec::new, |all| all.iter().filter_map(Value::as_str).collect());
        let field = |(name, kind): (&String, &Value)| Field {
            name: name.clone(),
            required: required.contains(&name.as_str()),
            kind: Type::of(kind),
            description: text(&kind["description"]),
        };
        let properties = schema["properties"].as_object();
        Self {
            name: name.to_owned(),
            description: text(&schema["description"]),
            fields: properties.map_or_else(Vec::new, |all| all.iter().map(field).collect()),
            kind: properties.is_none().then(|| Type::of(schema)),
        }
    }
}

impl Type {
    fn of(schema: &Value) -> Self {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return Self { text: name.to_owned(), schema: Some(name.to_owned()) };
        }
        for key in ["oneOf", "anyOf", "allOf"] {
            if let Some(all) = schema[key].as_array() {
                let kinds: Vec<Self> = all.iter().map(Self::of).collect();
                let schema = kinds.iter().find_map(|kind| kind.schema.clone());
                return Self { text: kinds.iter().map(|k| k.text.as_str()).collect::<Vec<_>>().join(" or "), schema };
            }
        }
        if let Some(values) = schema["enum"].as_array() {
            let values: Vec<String> =
                values.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), ToOwned::to_owned)).collect();
            return Self { text: values.join(" | "), schema: None };
        }
        let names: Vec<&str> = match &schema["type"] {
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        if names.contains(&"array") {
            let of = Self::of(&schema["items"]);
            return Self { text: format!("list of {}", of.text), schema: of.schema };
        }
        let format = schema["format"].as_str().map_or_else(String::new, |format| format!(" ({format})"));
        let text = if names.is_empty() { "anything".to_owned() } else { format!("{}{format}", names.join(" or ")) };
        Self { text, schema: None }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
