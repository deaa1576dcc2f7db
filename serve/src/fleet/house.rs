//! The service that the fleet talks to: the whole of it, border and all, in this process and under a clock of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};
use http_body_util::BodyExt as _;
use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::{IssuerKeys, Signer as _, Thumbprint};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use super::{FleetError, Plan};
use crate::app::App;
use crate::border::{self, layered};
use crate::clock::Clock;
use crate::config::{self, Algorithm, Bridge, Config, Limits, TokenIssuer};
use crate::issuer::kid;

/// `iss` of the tokens that wallets show.
const WALLETS: &str = "fleet-app";
const AUDIENCE: &str = "plimsoll";
/// The bridge's key id.
const BRIDGE: &str = "ledger";
/// What a bridge's signature covers as the beginning of `@target-uri`.
const ORIGIN: &str = "http://fleet.invalid";
/// Where tokens are handed in.
pub(super) const SETTLE: &str = "/v1/tokens/settle";
/// How often a wallet asks again, and after what pause.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_secs(1);

/// The service, and the keys to ask it with.
pub(super) struct House {
    pub(super) app: App,
    router: Router,
    tokens: SigningKey,
    bridge: SigningKey,
    nonces: AtomicU64,
    /// When it began.
    pub(super) begun: UtcSeconds,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum By<'a> {
    /// A device, by its account and key.
    Device(&'a str, &'a Thumbprint),
    /// The wallet's own ledger.
    Bridge,
}

/// A signed request before it is sent: what an attacker on the way has in hand.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl House {
    /// Opens a service in `home`.
    pub(super) async fn open(plan: &Plan, begun: UtcSeconds) -> Result<Self, FleetError> {
        let keys = |purpose: u8| {
            SigningKey::from_bytes(&Sha256::digest([&plan.seed.to_be_bytes()[..], &[purpose]].concat()).into())
        };
        let (tokens, bridge, grants) = (keys(1), keys(2), keys(3));
        let config = write(plan, &tokens, &bridge, &grants)?;
        let clock = Clock::standing_at(begun);
        let app = App::open(config, clock).await.map_err(|e| FleetError::Service(e.to_string()))?;
        // Simulated days pass in seconds: how often a device refreshes in a minute of ours says nothing.
        app.border.set_refresh_per_minute(0);
        app.border.warm().await;
        let (guarded, _) = crate::api::router().split_for_parts();
        let router = layered(Router::new(), guarded.with_state(app.service()), &app.border);
        Ok(Self { app, router, tokens, bridge, nonces: AtomicU64::new(0), begun })
    }

    pub(super) fn now(&self) -> UtcSeconds {
        self.app.clock.now()
    }

    pub(super) fn issuer_keys(&self) -> Arc<IssuerKeys> {
        self.app.keys.published().expect("the service has keys")
    }

    /// What the service does beside requests: ends windows that are over, and counts those that have ended.
    pub(super) async fn watch(&self, now: UtcSeconds) -> Result<(), FleetError> {
        let failed = |e: crate::store::StoreError| FleetError::Service(e.to_string());
        crate::ledger::watch::end_all(&self.app.store, now).await.map_err(failed)?;
        self.app.models.watch(&self.app.store, now).await.map(drop).map_err(failed)
    }

    /// Asks, and reads the answer. Asks again, as wallets do, while the service says that it is to be asked later: a disk
    /// may be busy for seconds.
    pub(super) async fn ask(&self, by: By<'_>, method: Method, path: &str, body: &Value) -> (u16, Value) {
        // What was done though nobody heard of it is answered as if it were done now: verdicts are counted once.
        let judged = [SETTLE, "/v1/sync"].contains(&path);
        let key = judged.then(|| format!("fleet-{:016x}", self.nonces.fetch_add(1, Ordering::Relaxed)));
        for _ in 0..TRIES {
            let message = self.keyed(by, method.clone(), path, body, key.as_deref());
            let (status, told) = self.deliver(message).await;
            if status != 503 || told["error"]["code"] != "UNAVAILABLE" {
                return (status, told);
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.deliver(self.keyed(by, method, path, body, key.as_deref())).await
    }

    /// A request that must be answered with success.
    pub(super) async fn must(&self, by: By<'_>, method: Method, path: &str, body: &Value) -> Result<Value, FleetError> {
        match self.ask(by, method, path, body).await {
            (status, told) if (200..300).contains(&status) => Ok(told),
            (status, told) => Err(FleetError::Answer { path: path.to_owned(), status, told: told.to_string() }),
        }
    }

    /// A request as it goes out.
    pub(super) fn message(&self, by: By<'_>, method: Method, path: &str, body: &Value) -> Message {
        self.keyed(by, method, path, body, None)
    }

    fn keyed(&self, by: By<'_>, method: Method, path: &str, body: &Value, key: Option<&str>) -> Message {
        let mut message = Message {
            method,
            path: path.to_owned(),
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        };
        message.headers.extend(key.map(|key| ("idempotency-key", key.to_owned())));
        match by {
            By::Device(account, jkt) => {
                message.headers.push(("authorization", format!("Bearer {}", self.bearer(account, jkt))));
            }
            By::Bridge => self.sign(&mut message, &self.bridge),
        }
        message
    }

    /// Signs a message as a bridge does (RFC 9421).
    pub(super) fn sign(&self, message: &mut Message, key: &SigningKey) {
        let digest = format!("sha-256=:{}:", Base64::encode_string(&Sha256::digest(&message.body)));
        let (created, nonce) = (self.now().0, self.nonces.fetch_add(1, Ordering::Relaxed));
        let once = message.headers.iter().find(|(name, _)| *name == "idempotency-key").map(|(_, once)| once);
        let (covered, line) =
            once.map_or_else(Default::default, |of| (r#" "idempotency-key""#, format!("\"idempotency-key\": {of}\n")));
        let parameters = format!(
            r#"("@method" "@target-uri" "content-digest" "content-type"{covered});created={created};expires={};nonce="{nonce:016x}";keyid="{BRIDGE}";tag="{}""#,
            created + 60,
            border::TAG,
        );
        let base = format!(
            "\"@method\": {}\n\"@target-uri\": {ORIGIN}{}\n\"content-digest\": {digest}\n\"content-type\": application/json\n{line}\"@signature-params\": {parameters}",
            message.method, message.path,
        );
        let signature = ed25519_dalek::Signer::sign(key, base.as_bytes());
        message.headers.push(("content-digest", digest));
        message.headers.push(("signature-input", format!("sig={parameters}")));
        message.headers.push(("signature", format!("sig=:{}:", Base64::encode_string(&signature.to_bytes()))));
    }

    /// Sends a message as it is.
    pub(super) async fn deliver(&self, message: Message) -> (u16, Value) {
        let mut request = Request::builder().method(message.method).uri(&message.path);
        for (name, value) in &message.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(message.body)).expect("headers and path are visible ASCII");
        let answer = match self.router.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    fn bearer(&self, account: &str, jkt: &Thumbprint) -> String {
        let now = self.now().0;
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid(&self.tokens.public()) });
        let claims = json!({
            "iss": WALLETS, "aud": AUDIENCE, "sub": account, "iat": now, "exp": now + 300, "cnf": { "jkt": jkt },
        });
        let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = ed25519_dalek::Signer::sign(&self.tokens, signed.as_bytes());
        format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature.to_bytes()))
    }
}

/// Writes the keys that a configuration names, and makes the configuration.
fn write(plan: &Plan, tokens: &SigningKey, bridge: &SigningKey, grants: &SigningKey) -> Result<Config, FleetError> {
    let home = &plan.home;
    let put = |path: PathBuf, bytes: &[u8]| {
        std::fs::write(&path, bytes).map_err(|e| FleetError::file(&path, &e)).map(|()| path)
    };
    let keys = home.join("grants");
    std::fs::create_dir_all(&keys).map_err(|e| FleetError::file(&keys, &e))?;
    let pem = grants.to_pkcs8_pem(LineEnding::LF).expect("a key encodes");
    put(keys.join("issuer.pem"), pem.as_bytes())?;
    let pem = bridge.verifying_key().to_public_key_pem(LineEnding::LF).expect("a key encodes");
    let bridge = put(home.join("bridge.pub.pem"), pem.as_bytes())?;
    let public = tokens.public();
    let set = IssuerKeys::new(WALLETS, [(kid(&public), public)]).expect("one key");
    let jwks = put(home.join("jwks.json"), &set.to_jwks())?;

    let mut config = Config::default();
    config.server.public_url = Some(ORIGIN.to_owned());
    config.server.in_flight_max = 100_000;
    config.server.request_s = 600;
    config.store.url = plan.store.clone().unwrap_or_else(|| format!("sqlite:{}", text(&home.join("fleet.db"))));
    config.programme.repository = Some(plan.repository.clone());
    config.programme.trust_root = Some(plan.root.clone());
    config.programme.archive = home.join("archive");
    config.issuer = config::Issuer { name: "fleet".to_owned(), keys: Some(keys), ..config::Issuer::default() };
    config.limits =
        Limits { holder_per_minute: 0, bridge_per_minute: 0, admin_per_minute: 0, peer_per_minute: 0, ..config.limits };
    config.auth.bridges.insert(BRIDGE.to_owned(), Bridge::Ed25519 { public_key: bridge });
    let issuer = TokenIssuer {
        iss: WALLETS.to_owned(),
        aud: AUDIENCE.to_owned(),
        jwks: text(&jwks),
        algorithms: vec![Algorithm::EdDsa],
        typ: vec!["JWT".to_owned()],
        account_claim: "sub".to_owned(),
        admins: false,
    };
    config.auth.issuers.insert("wallets".to_owned(), issuer);
    Ok(config)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
