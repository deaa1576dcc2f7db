//! Who may come in, and what of theirs: from bytes on a socket to a request with an [`Identity`], or to one envelope.
//!
//! ```text
//! Authorization: Bearer …   ─► jose ─► bearer ─┐
//! Signature, Signature-Input ─► message ───────┴─► Identity ─► rates ─► body ─► handler
//! ```
//!
//! TLS, mutual or not, is a matter of the socket ([`crate::config::Tls`]) or of what stands in front of it, and gives
//! nobody an identity here: bridges sign their messages, which also survives a proxy.

mod admit;

mod bearer;

mod body;

pub mod error;

mod fetch;

pub mod identity;

mod jose;

mod known;

mod message;

mod nonce;

mod observe;

mod rate;

mod refuse;

mod route;

mod source;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use hyper::body::Body as _;
use plimsoll_model::UtcSeconds;
use tokio::sync::Semaphore;

pub use admit::layered;
pub use body::{Json, from_json, is_json};
pub use error::ApiError;
#[cfg(feature = "otlp")]
pub(crate) use fetch::send;
pub use identity::{Identity, Role};
pub use message::TAG;
pub use observe::RequestId;
pub use refuse::RefuseCredential;

use crate::clock::Clock;
use crate::config::{Bridge, Config, Limits, RefuseConfig, Server};
use crate::ops::metrics::Metrics;
use crate::ops::server::peer_of;
use crate::store::Store;
use bearer::Bearers;
use message::{BridgeKey, Head, Signed};
use nonce::Nonces;
use rate::Rate;

/// What stands between the socket and the handlers.
#[derive(Debug)]
pub struct Border {
    server: Server,
    limits: Limits,
    skew_s: u32,
    bridge_window_s: u32,
    origin: String,
    clock: Clock,
    metrics: Arc<Metrics>,
    bearers: Bearers,
    bridges: RwLock<Arc<BTreeMap<String, BridgeKey>>>,
    nonces: Nonces,
    /// Where nonces are remembered for other replicas and the next start.
    store: Option<Store>,
    peers: Rate<IpAddr>,
    identities: Rate<String>,
    refreshes: Rate<String>,
    refresh_per_minute: AtomicU32,
    places: Semaphore,
}

impl Border {
    /// By configuration; reads the bridges' keys.
    ///
    /// * `store`: where nonces are remembered for other replicas and the next start; without one, only here.
    ///
    /// # Errors
    /// A key that does not read, by its key in the configuration.
    pub fn new(
        config: &Config,
        clock: Clock,
        metrics: Arc<Metrics>,
        store: Option<Store>,
    ) -> Result<Self, RefuseConfig> {
        let bearers = Bearers::new(&config.auth, &metrics.border)
            .map_err(|why| RefuseConfig::Named { key: "auth.issuers".to_owned(), why })?;
        let now = Instant::now();
        let remembered = config.limits.remembered;
        Ok(Self {
            server: config.server.clone(),
            limits: config.limits.clone(),
            skew_s: config.auth.skew_s,
            bridge_window_s: config.auth.bridge_window_s,
            origin: config.server.public_origin(),
            clock,
            metrics,
            bearers,
            bridges: RwLock::new(Arc::new(bridge_keys(config)?)),
            nonces: Nonces::default(),
            store,
            peers: Rate::new(remembered, now),
            identities: Rate::new(remembered, now),
            refreshes: Rate::new(remembered, now),
            // Every preset's, until a policy says another.
            refresh_per_minute: AtomicU32::new(10),
            places: Semaphore::new(config.server.in_flight_max),
        })
    }

    /// Reads every key set, so that the first request need not wait.
    pub async fn warm(&self) {
        self.bearers.warm().await;
    }

    /// The policy's `refresh.per_minute`.
    pub fn set_refresh_per_minute(&self, per_minute: u32) {
        self.refresh_per_minute.store(per_minute, Ordering::Relaxed);
    }

    /// Reads the bridges' keys again.
    ///
    /// # Errors
    /// A key that does not read; the old ones then stay.
    pub fn reload(&self, config: &Config) -> Result<(), RefuseConfig> {
        let keys = Arc::new(bridge_keys(config)?);
        *self.bridges.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Who has this bearer token, and when it expires: for those who take one elsewhere than in a header, as the console
    /// does.
    ///
    /// # Errors
    /// [`RefuseCredential`].
    pub async fn identify_bearer(&self, token: &str) -> Result<(Identity, UtcSeconds), RefuseCredential> {
        self.bearers.identify(token, self.clock.now()).await
    }

    /// A request with its identity and its body in memory.
    async fn admit(&self, request: Request) -> Result<Request, ApiError> {
        let peer = peer_of(&request, &self.server.trusted_proxies);
        let limit = self.limits.peer_per_minute;
        // Only those that fail spend the address's allowance: many wallets share one.
        self.peers.look(peer, limit, Instant::now()).map_err(|wait| self.rate_limited("peer", wait))?;
        let admitted = self.identified(request).await;
        admitted.map_err(|refused| match refused {
            Refused::Credential(refused) => {
                if !matches!(refused, RefuseCredential::NoKeys | RefuseCredential::TooManyNonces) {
                    // Looked at before, so this can only fail in a race, and then nobody gets in either.
                    let _ = self.peers.take(peer, limit, Instant::now());
                }
                self.metrics.border.refused.get_or_create(&refused.label()).inc();
                tracing::info!(why = %refused, "credential refused");
                refused.into()
            }
            Refused::Request(refused) => refused,
        })
    }

    async fn identified(&self, request: Request) -> Result<Request, Refused> {
        let (mut parts, body) = request.into_parts();
        let template = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
        let max = route::body_bytes_max(&self.server, &template);
        let within = Duration::from_secs(self.server.body_s);
        let now = self.clock.now();
        let (identity, bytes) = match Credential::of(&parts.headers)? {
            Credential::Bearer(token) => {
                let (identity, _) = self.bearers.identify(token, now).await?;
                self.pace(&identity, &template)?;
                (identity, body::read(body, &parts.headers, max, within).await?)
            }
            Credential::Signature => {
                let (identity, until) = self.signed_head(&parts, !body.is_end_stream(), now)?;
                self.pace(&identity, &template)?;
                let bytes = body::read(body, &parts.headers, max, within).await?;
                message::check_digest(&parts.headers, &bytes)?;
                // Last, so that a body that never arrived does not use the nonce up.
                let signed = Signed::read(&parts.headers)?;
                self.nonces.once(signed.key_id, signed.nonce, until, now)?;
                if let Some(store) = &self.store {
                    nonce::once_anywhere(store, signed.key_id, signed.nonce, now).await?;
                }
                (identity, bytes)
            }
        };
        parts.extensions.insert(identity);
        Ok(Request::from_parts(parts, Body::from(bytes)))
    }

    fn signed_head(
        &self,
        parts: &Parts,
        has_body: bool,
        now: UtcSeconds,
    ) -> Result<(Identity, UtcSeconds), RefuseCredential> {
        let signed = Signed::read(&parts.headers)?;
        let bridges = Arc::clone(&self.bridges.read().unwrap_or_else(PoisonError::into_inner));
        let key = bridges.get(signed.key_id).ok_or(RefuseCredential::UnknownKey)?;
        let head = Head { method: &parts.method, uri: &parts.uri, headers: &parts.headers, origin: &self.origin };
        let until = signed.verify(&head, key, has_body, (self.bridge_window_s, self.skew_s), now)?;
        Ok((Identity::Bridge { key_id: signed.key_id.to_owned() }, until))
    }
}

/// Why a request is not admitted: only the first kind counts against the address.
enum Refused {
    Credential(RefuseCredential),
    Request(ApiError),
}

impl From<RefuseCredential> for Refused {
    fn from(refused: RefuseCredential) -> Self {
        Self::Credential(refused)
    }
}

impl From<ApiError> for Refused {
    fn from(refused: ApiError) -> Self {
        Self::Request(refused)
    }
}

/// The one credential of a request.
enum Credential<'a> {
    Bearer(&'a str),
    Signature,
}

impl<'a> Credential<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, RefuseCredential> {
        let mut authorization = headers.get_all(header::AUTHORIZATION).iter();
        let signed = headers.contains_key("signature") || headers.contains_key("signature-input");
        match (authorization.next(), authorization.next(), signed) {
            (None, _, false) => Err(RefuseCredential::Missing),
            (None, _, true) => Ok(Self::Signature),
            (Some(value), None, false) => {
                let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
                token.map(Self::Bearer).ok_or(RefuseCredential::Malformed("Authorization is not `Bearer TOKEN`"))
            }
            _ => Err(RefuseCredential::Ambiguous),
        }
    }
}

fn bridge_keys(config: &Config) -> Result<BTreeMap<String, BridgeKey>, RefuseConfig> {
    use ed25519_dalek::pkcs8::DecodePublicKey as _;
    let mut keys = BTreeMap::new();
    for (key_id, bridge) in &config.auth.bridges {
        let (field, key) = match bridge {
            Bridge::Ed25519 { public_key } => {
                let text = std::fs::read_to_string(public_key).map_err(|e| e.to_string());
                let key = text.and_then(|text| {
                    let key = ed25519_dalek::VerifyingKey::from_public_key_pem(&text).map_err(|e| e.to_string())?;
                    if key.is_weak() {
                        return Err("it has small order, so anyone can sign with it".to_owned());
                    }
                    Ok(BridgeKey::Ed25519(key))
                });
                ("public_key", key.map_err(|why| format!("{}: {why}", public_key.display())))
            }
            Bridge::HmacSha256 { secret } => {
                let secret = secret.read(&format!("auth.bridges.{key_id}.secret"))?;
                ("secret", BridgeKey::hmac(secret.expose()).map_err(str::to_owned))
            }
        };
        let refuse = |why| RefuseConfig::Named { key: format!("auth.bridges.{key_id}.{field}"), why };
        keys.insert(key_id.clone(), key.map_err(refuse)?);
    }
    Ok(keys)
}
