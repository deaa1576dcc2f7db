//! What handlers share: handed to every one of them, cheap to clone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_edge::trust::{RefuseRelease, TrustedRoot};
use plimsoll_model::policy::{BadPolicy, Policy};
use plimsoll_model::quantile::Ppm;

use crate::api::{InFlight, Service};
use crate::border::Border;
use crate::clock::Clock;
use crate::config::{Config, Programme, RefuseConfig};
use crate::issuer::{GrantKeys, RefuseGrantKeys};
use crate::ledger::watch;
use crate::models::{ArchiveError, Models, Settings, Source, replicas};
use crate::ops::health::Part;
use crate::ops::metrics::Metrics;
use crate::store::{Store, StoreError};

/// How often windows that are over are looked for.
const END_WINDOWS: Duration = Duration::from_secs(30);
/// How often ended windows are counted, and what other replicas counted is heeded: after an alarm, the time for which another
/// replica may still grant by the share before it.
const WATCH_PROMISES: Duration = Duration::from_secs(2);

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
    /// What is remembered.
    pub store: Store,
    /// What decides.
    pub models: Models,
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
    /// The store.
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
    /// The directory of verified releases.
    #[error("programme.archive: {0}")]
    Archive(#[from] ArchiveError),
    /// The root that is trusted.
    #[error("programme.trust_root: {0}")]
    TrustRoot(RefuseRelease),
    /// The policy file.
    #[error("programme.policy: {0}")]
    Policy(#[from] BadPolicy),
}

impl App {
    /// By configuration: reads the keys and the policy it names, opens the store, and takes the repository in.
    ///
    /// # Errors
    /// [`RefuseStart`].
    pub async fn open(config: Config, clock: Clock) -> Result<Self, RefuseStart> {
        let settings = settings(&config.programme)?;
        let keys = GrantKeys::open(&config.issuer, clock.clone())?;
        make_store_directory(&config)?;
        let url = config.store_url()?;
        // What the store refuses is told without the URL, which may hold a password.
        let store = Store::open(&url).await?;
        let models = Models::open(settings, &replicas::known(&store).await?, clock.now())?;
        // Before the first grant: what other replicas know of promises.
        models.watch(&store, clock.now()).await?;
        let metrics = Arc::new(Metrics::new(store.metrics().clone()));
        let border = Border::new(&config, clock.clone(), Arc::clone(&metrics), Some(store.clone()))?;
        let app = Self { config: Arc::new(config), clock, metrics, border: Arc::new(border), keys, store, models };
        app.follow_policy();
        Ok(app)
    }

    /// What the handlers of the API get.
    pub fn service(&self) -> Service {
        Service {
            store: self.store.clone(),
            models: self.models.clone(),
            keys: self.keys.clone(),
            clock: self.clock.clone(),
            overdraft: self.config.programme.overdraft,
            in_flight: InFlight::default(),
        }
    }

    /// What works and what does not, for `/readyz`.
    pub async fn readiness(&self) -> BTreeMap<&'static str, Part> {
        let store = match self.store.health().await {
            Ok(_) => Part::Ready,
            Err(error) => Part::Down(error.to_string()),
        };
        let model = match self.models.for_everyone().version() {
            Some(_) => Part::Ready,
            None => Part::Reduced("no model decides: every limit is the static floor of its tier".to_owned()),
        };
        let keys = match self.keys.signing() {
            Some(_) => Part::Ready,
            None => Part::Reduced("no key signs grants: issuer.keys is not set".to_owned()),
        };
        BTreeMap::from([("store", store), ("model", model), ("keys", keys)])
    }

    /// What runs beside the requests, until the process stops: repository, keys, forgetting, and what is measured.
    ///
    /// * `asked`: told on SIGHUP.
    pub fn upkeep(&self, asked: &Arc<tokio::sync::Notify>) {
        tokio::spawn(self.keys.clone().watch(Arc::clone(&self.metrics), Arc::clone(asked)));
        tokio::spawn(self.clone().watch_repository());
        tokio::spawn(self.clone().sweep());
        tokio::spawn(self.clone().end_windows());
        tokio::spawn(self.clone().watch_promises());
        let (app, asked) = (self.clone(), Arc::clone(asked));
        tokio::spawn(async move {
            loop {
                asked.notified().await;
                match app.border.reload(&app.config) {
                    Ok(()) => tracing::info!("bridge keys read"),
                    Err(refused) => tracing::error!(%refused, "bridge keys not read: those read before stay"),
                }
            }
        });
    }

    async fn watch_repository(self) {
        let mut every = tokio::time::interval(Duration::from_secs(self.config.programme.watch_s.max(1)));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let (models, now) = (self.models.clone(), self.clock.now());
            // Files and signatures: off the async threads. A refusal is logged there.
            let _ = tokio::task::spawn_blocking(move || models.look(now)).await;
            if let Err(error) = self.models.share(&self.store).await {
                tracing::warn!(%error, "how far releases have come is not shared with other replicas yet");
            }
            self.follow_policy();
        }
    }

    async fn sweep(self) {
        let mut every = tokio::time::interval(Duration::from_secs(300));
        loop {
            every.tick().await;
            if let Err(error) = self.store.sweep(self.clock.now()).await {
                tracing::warn!(%error, "the store was not swept");
            }
        }
    }

    /// Ends windows whose accounts nobody asks about: a wallet that never comes back counts like any other.
    async fn end_windows(self) {
        let mut every = tokio::time::interval(END_WINDOWS);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Err(error) = watch::end_all(&self.store, self.clock.now()).await {
                tracing::warn!(%error, "windows that are over wait for the next time");
            }
        }
    }

    async fn watch_promises(self) {
        let mut every = tokio::time::interval(WATCH_PROMISES);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if let Err(error) = self.models.watch(&self.store, self.clock.now()).await {
                tracing::warn!(%error, "windows that have ended are counted later");
            }
            self.metrics.promise.show(&self.models);
        }
    }

    /// The policy that decides for everyone also says how often a limit may be refreshed.
    fn follow_policy(&self) {
        self.border.set_refresh_per_minute(self.models.for_everyone().policy().refresh.per_minute);
    }
}

fn settings(programme: &Programme) -> Result<Settings, RefuseStart> {
    let policy = match Policy::preset(&programme.policy) {
        Some(policy) => policy,
        None => {
            let text = std::fs::read_to_string(&programme.policy).map_err(|e| RefuseConfig::Named {
                key: "programme.policy".to_owned(),
                why: format!("{}: {e}; name a preset (tng, naira, p2p, card) or a file", programme.policy),
            })?;
            Policy::from_toml(&text)?
        }
    };
    let source = match (&programme.repository, &programme.trust_root) {
        (Some(directory), Some(root)) => {
            let bytes = std::fs::read(root).map_err(|e| RefuseConfig::Named {
                key: "programme.trust_root".to_owned(),
                why: format!("{}: {e}", root.display()),
            })?;
            let root = TrustedRoot::from_bytes(&bytes).map_err(RefuseStart::TrustRoot)?;
            Some(Source { directory: directory.clone(), root, model_id: programme.model_id.clone() })
        }
        _ => None,
    };
    Ok(Settings {
        source,
        archive: programme.archive.clone(),
        policy,
        ring_seed: programme.ring_seed.clone(),
        replica: programme.replica.clone(),
        margin_gain: match programme.margin_gain_ppm {
            0 => None,
            gain => Some(Ppm::new(gain).map_err(|e| RefuseConfig::Named {
                key: "programme.margin_gain_ppm".to_owned(),
                why: e.to_string(),
            })?),
        },
    })
}

/// Makes the directory that a SQLite file is to be in.
///
/// # Errors
/// `Named` when it cannot be made.
pub fn make_store_directory(config: &Config) -> Result<(), RefuseConfig> {
    let Some(file) = config.store.url.strip_prefix("sqlite:") else { return Ok(()) };
    let path = std::path::Path::new(file.split('?').next().unwrap_or(file));
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(parent)
        .map_err(|e| RefuseConfig::Named { key: "store.url".to_owned(), why: format!("{}: {e}", parent.display()) })
}
