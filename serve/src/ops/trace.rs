//! Logs: lines for people or JSON for machines, with the request's id; no account ids or amounts at `info`.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, RefuseConfig};

/// Starts logging to standard error, once for a process.
///
/// # Errors
/// A level that does not read.
pub fn start(log: &Log) -> Result<(), RefuseConfig> {
    let filter = EnvFilter::try_new(&log.level).map_err(|e| RefuseConfig::Named {
        key: "log.level".to_owned(),
        why: format!("{e}; write it like `info` or `info,plimsoll_serve=debug`"),
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process, as in tests, changes nothing.
    let _ = match log.format {
        LogFormat::Text => subscriber.with_target(false).try_init(),
        LogFormat::Json => {
            subscriber.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    Ok(())
}
