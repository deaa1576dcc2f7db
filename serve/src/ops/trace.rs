//! Logs: lines for people or JSON for machines, with the request's id; no account ids or amounts at `info`. And, where a
//! collector is named, a span of each request to it.

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use crate::config::{Log, LogFormat, RefuseConfig};

/// Logging that has begun.
#[must_use = "what waits for the collector is sent when it is stopped"]
#[derive(Debug)]
pub struct Tracing {
    #[cfg(feature = "otlp")]
    exported: Option<super::otlp::Exported>,
}

type Layer = Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync>;

/// Starts logging to standard error, once for a process. Call it on the runtime that sends to the collector.
///
/// # Errors
/// A level or an address that does not read, or a collector in a build that has none.
pub fn start(log: &Log) -> Result<Tracing, RefuseConfig> {
    let filter = EnvFilter::try_new(&log.level).map_err(|e| RefuseConfig::Named {
        key: "log.level".to_owned(),
        why: format!("{e}; write it like `info` or `info,plimsoll_serve=debug`"),
    })?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines: Layer = match log.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    let mut layers = vec![lines];
    let tracing = exported(log, &mut layers)?;
    // A second start in one process, as in tests, changes nothing.
    let _ = tracing_subscriber::registry().with(layers.with_filter(filter)).try_init();
    Ok(tracing)
}

#[cfg(feature = "otlp")]
fn exported(log: &Log, layers: &mut Vec<Layer>) -> Result<Tracing, RefuseConfig> {
    let Some(collector) = &log.otlp else { return Ok(Tracing { exported: None }) };
    let (exported, layer) =
        super::otlp::start(collector).map_err(|why| RefuseConfig::Named { key: "log.otlp".to_owned(), why })?;
    layers.push(layer);
    Ok(Tracing { exported: Some(exported) })
}

#[cfg(not(feature = "otlp"))]
fn exported(log: &Log, _: &mut Vec<Layer>) -> Result<Tracing, RefuseConfig> {
    match &log.otlp {
        None => Ok(Tracing {}),
        Some(_) => Err(RefuseConfig::Named {
            key: "log.otlp".to_owned(),
            why: "this build sends no spans: build it with `--features otlp`".to_owned(),
        }),
    }
}

impl Tracing {
    /// Sends what waits, and ends. Logging to standard error goes on.
    pub async fn stop(self) {
        #[cfg(feature = "otlp")]
        if let Some(exported) = self.exported {
            exported.stop().await;
        }
    }
}
