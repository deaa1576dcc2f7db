//! What is counted, each metric a typed field: a label can take only the values that its type has.
//!
//! `prometheus-client` and not the `metrics` facade: the registry belongs to one [`Metrics`] and not to the process, so
//! that tests count for themselves; names carry units; and it is three crates instead of fourteen.
//!
//! No metric is by account, device or amount.

use std::sync::atomic::AtomicU64;

use plimsoll_model::monitor::WHOLE;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use crate::models::Models;

/// Everything that is counted, and the registry it is shown from.
#[derive(Debug)]
pub struct Metrics {
    /// Requests and connections.
    pub http: HttpMetrics,
    /// Credentials and limits.
    pub border: BorderMetrics,
    /// Group commit.
    pub store: StoreMetrics,
    /// Whether promises hold.
    pub promise: PromiseMetrics,
    /// Grant-signing keys that are published.
    pub issuer_keys: Gauge,
    registry: Registry,
}

/// Requests and connections.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    /// From the last byte of the head to the answer's head.
    pub duration_s: Family<Request, Histogram, RequestBuckets>,
    /// Requests being worked on.
    pub in_flight: Gauge,
    /// Open connections.
    pub connections: Gauge,
    /// Requests turned away because too many were in flight.
    pub shed: Counter,
}

/// A kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The route's template: `/v1/accounts/{id}/kyc`, or `unmatched`.
    pub route: String,
    /// GET, POST …, or `other`.
    pub method: &'static str,
    /// Of the answer's status, the first digit.
    pub status: StatusClass,
}

/// The first digit of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum StatusClass {
    Informational,
    Success,
    Redirect,
    Caller,
    Ours,
}

impl From<axum::http::StatusCode> for StatusClass {
    fn from(status: axum::http::StatusCode) -> Self {
        match status.as_u16() / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirect,
            4 => Self::Caller,
            _ => Self::Ours,
        }
    }
}

impl EncodeLabelValue for StatusClass {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::Caller => "4xx",
            Self::Ours => "5xx",
        };
        text.encode(encoder)
    }
}

/// 0.5 ms to 16 s, doubling.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestBuckets;

impl MetricConstructor<Histogram> for RequestBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.0005, 2.0, 16))
    }
}

/// Credentials and limits.
#[derive(Clone, Debug)]
pub struct BorderMetrics {
    /// Credentials refused, by why.
    pub refused: Family<Refused, Counter>,
    /// Requests turned away by a rate limit.
    pub rate_limited: Family<RateLimited, Counter>,
    /// Attempts to read or fetch a key set.
    pub key_sets: Family<KeySet, Counter>,
}

/// Why a credential was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Refused {
    /// One word.
    pub reason: &'static str,
}

/// Whose limit it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RateLimited {
    /// `identity`, `refresh` or `peer`.
    pub by: &'static str,
}

/// What became of a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KeySet {
    /// `read`, `failed` or `stale`.
    pub outcome: &'static str,
}

/// Whether promises hold: the same on every replica, seconds apart.
#[derive(Clone, Debug, Default)]
pub struct PromiseMetrics {
    /// Evidence against a promise: 1 says nothing, 1/δ is an alarm.
    pub evidence: Family<Promised, Measured>,
    /// Windows that were counted since the last alarm.
    pub windows: Family<Promised, Gauge>,
    /// Of those, windows with less headroom than their limit.
    pub lost: Family<Promised, Gauge>,
    /// Alarms so far.
    pub alarms: Family<Promised, Gauge>,
    /// Of every limit, the share that is granted.
    pub granted: Family<Promised, Measured>,
    /// Of every limit, the share that the margin leaves.
    pub margin: Family<Promised, Measured>,
}

/// A promise: of a release, in a tier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Promised {
    /// Version of the model.
    pub model: u64,
    /// The tier's level.
    pub tier: u32,
}

impl PromiseMetrics {
    /// Shows what is known of the releases that decide.
    pub fn show(&self, models: &Models) {
        let Self { evidence, windows, lost, alarms, granted, margin } = self;
        [evidence, granted, margin].iter().for_each(|shares| shares.clear());
        [windows, lost, alarms].iter().for_each(|counts| counts.clear());
        for active in models.deciding() {
            let Some(evaluator) = active.evaluator() else { continue };
            let Some(monitor) = models.monitor(&evaluator.digest()) else { continue };
            for cell in &evaluator.certificate().cells {
                let (tier, watch) = (cell.tier, monitor.watch(cell.tier));
                let of = Promised { model: monitor.model_version(), tier: tier.level().into() };
                let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
                evidence.get_or_create(&of).set(monitor.e_value(tier));
                windows.get_or_create(&of).set(count(watch.windows));
                lost.get_or_create(&of).set(count(watch.loss_ppm / u64::from(WHOLE)));
                alarms.get_or_create(&of).set(watch.alarms.into());
                granted.get_or_create(&of).set(f64::from(active.granted_ppm(tier)) / f64::from(WHOLE));
                margin.get_or_create(&of).set(f64::from(active.margin_ppm(tier)) / f64::from(WHOLE));
            }
        }
    }
}

/// Group commit: the store sets these.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Pieces of work waiting for a transaction.
    pub queued: Gauge,
    /// From the first try of a batch to its commit.
    pub commit_s: Histogram,
    /// Pieces of work in one transaction.
    pub batch: Histogram,
    /// Tries that failed: a conflict, a lost connection, a full disk.
    pub retries: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            queued: Gauge::default(),
            commit_s: Histogram::new(exponential_buckets(0.0001, 2.0, 16)),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            retries: Counter::default(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(StoreMetrics::default())
    }
}

impl Metrics {
    /// All at zero, but for what the store has counted since it was opened.
    pub fn new(store: StoreMetrics) -> Self {
        let mut registry = Registry::with_prefix("plimsoll");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs here", build);

        let r = registry.sub_registry_with_prefix("http");
        let http = HttpMetrics {
            duration_s: Family::new_with_constructor(RequestBuckets),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            shed: Counter::default(),
        };
        let help = "Time from the request's head to the answer's";
        r.register_with_unit("request_duration", help, Unit::Seconds, http.duration_s.clone());
        r.register("requests_in_flight", "Requests being worked on", http.in_flight.clone());
        r.register("connections", "Open connections", http.connections.clone());
        r.register("shed", "Requests turned away because too many were in flight", http.shed.clone());

        let r = registry.sub_registry_with_prefix("border");
        let border =
            BorderMetrics { refused: Family::default(), rate_limited: Family::default(), key_sets: Family::default() };
        r.register("refused", "Credentials refused, by why", border.refused.clone());
        r.register("rate_limited", "Requests turned away by a rate limit", border.rate_limited.clone());
        r.register("key_set_reads", "Attempts to read or fetch a key set", border.key_sets.clone());

        let r = registry.sub_registry_with_prefix("store");
        r.register("queued", "Pieces of work waiting for a transaction", store.queued.clone());
        let help = "Time from a batch's first try to its commit";
        r.register_with_unit("commit_duration", help, Unit::Seconds, store.commit_s.clone());
        r.register("batch_size", "Pieces of work in one transaction", store.batch.clone());
        r.register("failed_tries", "Tries of a batch that failed", store.retries.clone());

        let promise = PromiseMetrics::default();
        let r = registry.sub_registry_with_prefix("promise");
        let help = "Evidence against the promise: 1 says nothing, 1/delta is an alarm";
        r.register("e_value", help, promise.evidence.clone());
        r.register("windows", "Windows counted since the last alarm", promise.windows.clone());
        r.register("windows_lost", "Of those, windows with less headroom than their limit", promise.lost.clone());
        r.register("alarms", "Alarms so far", promise.alarms.clone());
        let help = "Of every limit, the share that is granted";
        r.register_with_unit("granted", help, Unit::Ratios, promise.granted.clone());
        let help = "Of every limit, the share that the margin leaves";
        r.register_with_unit("margin", help, Unit::Ratios, promise.margin.clone());
        let issuer_keys = Gauge::default();
        registry.register("issuer_keys", "Grant-signing keys that are published", issuer_keys.clone());
        registry.register_collector(Box::new(Process));
        Self { http, border, store, promise, issuer_keys, registry }
    }

    /// For others to count what is theirs: registered before anything is served.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The OpenMetrics text.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// What [`Metrics::render`] is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A float gauge.
pub type Measured = Gauge<f64, AtomicU64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown_with_its_unit() {
        let metrics = Metrics::default();
        let request =
            Request { route: "/v1/sync".into(), method: "POST", status: axum::http::StatusCode::CREATED.into() };
        metrics.http.duration_s.get_or_create(&request).observe(0.003);
        metrics.border.refused.get_or_create(&Refused { reason: "expired" }).inc();
        metrics.store.queued.set(3);
        let text = metrics.render().expect("renders");
        for line in [
            r#"plimsoll_http_request_duration_seconds_bucket{le="0.004",route="/v1/sync",method="POST",status="2xx"} 1"#,
            r#"plimsoll_border_refused_total{reason="expired"} 1"#,
            "plimsoll_store_queued 3",
            "# UNIT plimsoll_process_resident_memory_bytes bytes",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
