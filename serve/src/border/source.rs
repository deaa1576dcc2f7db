//! Where a key set comes from: a file that is read again when it changed, or an address that is fetched again.
//!
//! One fetch at a time; while it runs or fails, what was fetched before still counts, for a day. A key id nobody knows
//! causes a fetch, but not one a request.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use super::fetch;
use super::jose::{JWKS_BYTES_MAX, Key, KeySet};
use super::refuse::RefuseCredential;
use crate::ops::metrics::{BorderMetrics, KeySet as Outcome};

/// How long what counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    /// After this, it is read again.
    pub(super) fresh: Duration,
    /// After this, it no longer counts, however often reading failed.
    pub(super) stale: Duration,
    /// Between two attempts.
    pub(super) apart: Duration,
}

const OF_FILES: Ages =
    Ages { fresh: Duration::from_secs(5), stale: Duration::from_secs(24 * 3_600), apart: Duration::from_secs(1) };
const OF_ADDRESSES: Ages =
    Ages { fresh: Duration::from_secs(300), stale: Duration::from_secs(24 * 3_600), apart: Duration::from_secs(10) };

/// A key set that keeps itself fresh.
#[derive(Debug)]
pub(super) struct Source {
    from: Place,
    ages: Ages,
    held: RwLock<Held>,
    /// Whoever holds it is fetching.
    fetching: tokio::sync::Mutex<()>,
    metrics: BorderMetrics,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Address(hyper::Uri),
}

#[derive(Clone, Debug, Default)]
struct Held {
    keys: Arc<KeySet>,
    /// When what is held was last known to be what the source has.
    read: Option<Instant>,
    tried: Option<Instant>,
    /// Of a file: when it changed and how long it is.
    stamp: Option<(SystemTime, u64)>,
}

impl Source {
    /// Of a configured place; nothing is read yet.
    ///
    /// # Errors
    /// An address that does not read.
    pub(super) fn new(place: &str, metrics: BorderMetrics) -> Result<Arc<Self>, String> {
        if place.starts_with("http://") || place.starts_with("https://") {
            let address: hyper::Uri = place.parse().map_err(|e| format!("{place}: {e}"))?;
            Ok(Self::with(Place::Address(address), OF_ADDRESSES, metrics))
        } else {
            Ok(Self::with(Place::File(PathBuf::from(place)), OF_FILES, metrics))
        }
    }

    fn with(from: Place, ages: Ages, metrics: BorderMetrics) -> Arc<Self> {
        Arc::new(Self { from, ages, held: RwLock::default(), fetching: tokio::sync::Mutex::default(), metrics })
    }

    /// The key of this id, if the source has it.
    ///
    /// # Errors
    /// `NoKeys` when nothing that counts could be read.
    pub(super) async fn key(self: &Arc<Self>, kid: &str) -> Result<Option<Key>, RefuseCredential> {
        let held = self.held();
        let age = held.read.map(|read| read.elapsed());
        match (held.keys.get(kid), age) {
            (Some(key), Some(age)) if age < self.ages.fresh => return Ok(Some(key.clone())),
            (Some(key), Some(age)) if age < self.ages.stale && matches!(self.from, Place::Address(_)) => {
                // The request does not wait for a fetch that it can do without.
                if self.is_due(&held) && self.fetching.try_lock().is_ok() {
                    let source = Arc::clone(self);
                    tokio::spawn(async move { source.refresh().await });
                }
                return Ok(Some(key.clone()));
            }
            _ => self.refresh().await,
        }
        let held = self.held();
        match held.read {
            Some(read) if read.elapsed() < self.ages.stale => Ok(held.keys.get(kid).cloned()),
            _ => {
                self.metrics.key_sets.get_or_create(&Outcome { outcome: "stale" }).inc();
                Err(RefuseCredential::NoKeys)
            }
        }
    }

    /// Reads it now, unless somebody just did.
    pub(super) async fn refresh(&self) {
        let asked = Instant::now();
        let _one = self.fetching.lock().await;
        let held = self.held();
        // Whoever held the lock before may have done it.
        if held.tried.is_some_and(|tried| tried >= asked) || !self.is_due(&held) {
            return;
        }
        let before = held.read.is_some().then(|| Arc::clone(&held.keys));
        let outcome = match self.read(&held).await {
            Ok(Some((keys, stamp))) => {
                if before.is_none_or(|before| before.len() != keys.len()) {
                    tracing::info!(keys = keys.len(), from = %self.from, "key set read");
                }
                let now = Instant::now();
                self.hold(Held { keys: Arc::new(keys), read: Some(now), tried: Some(now), stamp });
                "read"
            }
            Ok(None) => {
                let now = Instant::now();
                self.hold(Held { read: Some(now), tried: Some(now), ..held });
                return;
            }
            Err(why) => {
                tracing::warn!(why, from = %self.from, "key set not read: what was read before counts");
                self.hold(Held { tried: Some(Instant::now()), ..held });
                "failed"
            }
        };
        self.metrics.key_sets.get_or_create(&Outcome { outcome }).inc();
    }

    /// What the source has now; `None` when it has not changed.
    async fn read(&self, held: &Held) -> Result<Option<(KeySet, Option<(SystemTime, u64)>)>, String> {
        match &self.from {
            Place::Address(address) => {
                let bytes = fetch::get(address, JWKS_BYTES_MAX, Duration::from_secs(5)).await?;
                Ok(Some((KeySet::read(&bytes)?, None)))
            }
            Place::File(path) => {
                let told = |e: std::io::Error| e.to_string();
                let metadata = std::fs::metadata(path).map_err(told)?;
                let stamp = (metadata.modified().map_err(told)?, metadata.len());
                if held.stamp == Some(stamp) {
                    return Ok(None);
                }
                if metadata.len() > JWKS_BYTES_MAX as u64 {
                    return Err(format!("longer than {JWKS_BYTES_MAX} bytes"));
                }
                let bytes = std::fs::read(path).map_err(told)?;
                Ok(Some((KeySet::read(&bytes)?, Some(stamp))))
            }
        }
    }

    fn is_due(&self, held: &Held) -> bool {
        held.tried.is_none_or(|tried| tried.elapsed() >= self.ages.apart)
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, held: Held) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;

    use super::*;
    use crate::ops::metrics::Metrics;

    const AGES: Ages = Ages {
        fresh: Duration::from_millis(600),
        stale: Duration::from_millis(2_700),
        apart: Duration::from_millis(300),
    };

    fn set(kids: &[&str]) -> String {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = |kid: &&str| serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x});
        serde_json::json!({ "keys": kids.iter().map(key).collect::<Vec<_>>() }).to_string()
    }

    #[tokio::test]
    async fn an_address_is_fetched_again_in_its_time_and_counts_a_while_when_it_fails() {
        let (shown, asked) = (Arc::new(RwLock::new(set(&["a"]))), Arc::new(AtomicUsize::new(0)));
        let (text, count) = (Arc::clone(&shown), Arc::clone(&asked));
        let router = axum::Router::new().route(
            "/",
            get(move || async move {
                count.fetch_add(1, Ordering::SeqCst);
                text.read().expect("no panic").clone()
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = format!("http://{}/", listener.local_addr().expect("bound")).parse().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });

        let source = Source::with(Place::Address(address), AGES, Metrics::default().border.clone());
        let has = async |kid: &str| source.key(kid).await.map(|key| key.is_some());
        let pause = async |ms| tokio::time::sleep(Duration::from_millis(ms)).await;
        assert_eq!(has("a").await, Ok(true));
        // A new key is found as soon as another attempt is allowed, and not by asking often.
        *shown.write().expect("no panic") = set(&["a", "b"]);
        assert_eq!((has("b").await, asked.load(Ordering::SeqCst)), (Ok(false), 1));
        pause(360).await;
        assert_eq!((has("b").await, asked.load(Ordering::SeqCst)), (Ok(true), 2));

        // One that was taken back counts until the set is fresh again: the request that finds it old does not wait.
        *shown.write().expect("no panic") = set(&["b"]);
        pause(750).await;
        assert_eq!(has("a").await, Ok(true));
        pause(150).await;
        assert_eq!((has("a").await, asked.load(Ordering::SeqCst)), (Ok(false), 3));

        // Failures leave what was read, for as long as it may be stale.
        *shown.write().expect("no panic") = "out of order".to_owned();
        pause(1_200).await;
        assert_eq!(has("b").await, Ok(true));
        pause(1_800).await;
        assert_eq!(has("b").await, Err(RefuseCredential::NoKeys));
        *shown.write().expect("no panic") = set(&["b"]);
        pause(360).await;
        assert_eq!(has("b").await, Ok(true));
    }
}
