//! A span of each request to an OpenTelemetry collector: OTLP over HTTP, protobuf, in batches off the request's way.
//!
//! A request that comes with a `traceparent` (W3C Trace Context) continues that trace. How many are sampled is said where
//! every OpenTelemetry SDK looks for it: `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`; headers for the collector under
//! `OTEL_EXPORTER_OTLP_HEADERS`. A collector that does not answer costs spans, never a request.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use hyper::{Request, Response, Uri};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer as _, Registry};

use crate::border::send;

/// Bytes of a collector's answer.
const ANSWER_MAX: usize = 64 * 1024;
/// How long a batch is tried.
const PATIENCE: Duration = Duration::from_secs(10);

/// What sends spans.
#[derive(Debug)]
pub(super) struct Exported(SdkTracerProvider);

/// Sends the spans of a program's life to a collector, e.g. `http://127.0.0.1:4318`.
pub(super) fn start(
    collector: &str,
) -> Result<(Exported, Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync>), String> {
    let bad = || format!("{collector}: write an address like http://127.0.0.1:4318");
    let address: Uri = format!("{}/v1/traces", collector.trim_end_matches('/')).parse().map_err(|_| bad())?;
    if !matches!(address.scheme_str(), Some("http" | "https")) {
        return Err(bad());
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client(Handle::current()))
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address.to_string())
        .with_timeout(PATIENCE)
        .build()
        .map_err(|e| e.to_string())?;
    let resource = Resource::builder().with_service_name("plimsoll-serve").build();
    let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("plimsoll-serve")).boxed();
    Ok((Exported(provider), layer))
}

impl Exported {
    pub(super) async fn stop(self) {
        // It waits for the exporter, which needs this runtime.
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown()).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Says of a request's span what OpenTelemetry calls these things, and whose trace it is part of.
pub(crate) fn describe(span: &Span, headers: &HeaderMap, method: &'static str, route: &str) {
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // Refused for a span that nobody records.
    let _ = span.set_parent(parent);
    span.record("otel.name", format!("{method} {route}"));
    span.record("otel.kind", "server");
    span.set_attribute("http.request.method", method);
    span.set_attribute("http.route", route.to_owned());
}

/// Says how a request ended.
pub(crate) fn ended(span: &Span, status: u16) {
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Sends on the service's runtime: batches come from a thread of the SDK.
#[derive(Debug)]
struct Client(Handle);

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Sent<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move { Ok(self.0.spawn(send(request, ANSWER_MAX, PATIENCE)).await??) })
    }
}
