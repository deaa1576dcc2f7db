//! What handlers share: handed to every one of them, cheap to clone.

use std::sync::Arc;

use crate::border::Border;
use crate::clock::Clock;
use crate::config::{Config, RefuseConfig};
use crate::issuer::{GrantKeys, RefuseGrantKeys};
use crate::ops::metrics::Metrics;

/// What handlers share.
#[derive(Clone, Debug)]
pub struct App {
    /// As it was read at the start.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Credentials and limits; the layers have it too.
    pub border: Arc<Border>,
    /// Who signs grants.
    pub keys: GrantKeys,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseStart {
    /// The configuration, or a file that it names.
    #[error(transparent)]
    Config(#[from] RefuseConfig),
    /// The keys that sign grants.
    #[error(transparent)]
    Keys(#[from] RefuseGrantKeys),
}

impl App {
    /// By configuration: reads the keys it names.
    ///
    /// # Errors
    /// [`RefuseStart`].
    pub fn new(config: Config, clock: Clock) -> Result<Self, RefuseStart> {
        let metrics = Arc::new(Metrics::new());
        let border = Arc::new(Border::new(&config, clock.clone(), Arc::clone(&metrics))?);
        let keys = GrantKeys::open(&config.issuer, clock.clone())?;
        Ok(Self { config: Arc::new(config), clock, metrics, border, keys })
    }
}
