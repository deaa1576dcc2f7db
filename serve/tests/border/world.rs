//! A border with an identity provider, two bridges and a router behind it that says who asked.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use hmac::{KeyInit as _, Mac as _};
use http_body_util::BodyExt as _;
use plimsoll_model::UtcSeconds;
use plimsoll_serve::border::{Border, Identity, Json, TAG, layered};
use plimsoll_serve::clock::Clock;
use plimsoll_serve::config::{Algorithm, Bridge, Config, SecretFrom, TokenIssuer};
use plimsoll_serve::ops::metrics::Metrics;
use plimsoll_serve::store::Store;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ISS: &str = "https://id.example";
pub(crate) const AUD: &str = "plimsoll";
pub(crate) const ADMINS: &str = "plimsoll-desk";
pub(crate) const SECRET: &[u8] = b"a shared secret of 32 bytes, no less";
const RSA_PEM: &str = include_str!("rsa.pem");

/// What signs a token.
pub(crate) enum Signer {
    Ed25519(SigningKey),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    pub(crate) fn ed25519(seed: u8) -> Self {
        Self::Ed25519(SigningKey::from_bytes(&[seed; 32]))
    }

    pub(crate) fn p256() -> Self {
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("makes a key");
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &SystemRandom::new()).expect("reads it"))
    }

    pub(crate) fn rsa() -> Self {
        let base64: String = RSA_PEM.lines().skip(2).filter(|line| !line.starts_with('-')).collect();
        Self::Rsa(RsaKeyPair::from_pkcs8(&Base64::decode_vec(&base64).expect("base64")).expect("a key"))
    }

    pub(crate) fn alg(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let b64 = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
        match self {
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(key.verifying_key().as_bytes()), "use": "sig"})
            }
            Self::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(&point[1..33]), "y": b64(&point[33..])})
            }
            Self::Rsa(pair) => {
                let public: signature::RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "kid": kid, "n": b64(&public.n), "e": b64(&public.e), "alg": "RS256"})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signer::sign(key, message).to_bytes().to_vec(),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).expect("signs").as_ref().to_vec(),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding = &signature::RSA_PKCS1_SHA256;
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).expect("signs");
                signature
            }
        }
    }

    /// A token with exactly this header and these claims.
    pub(crate) fn seal(&self, header: &Value, claims: &Value) -> String {
        self.seal_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn seal_text(&self, header: &str, claims: &str) -> String {
        let b64 = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
        let signed = format!("{}.{}", b64(header.as_bytes()), b64(claims.as_bytes()));
        let signature = b64(&self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A token of the ordinary kind.
    pub(crate) fn token(&self, kid: &str, claims: &Value) -> String {
        self.seal(&json!({"alg": self.alg(), "typ": "JWT", "kid": kid}), claims)
    }
}

/// Claims of a holder that count now.
pub(crate) fn holder(account: &str) -> Value {
    json!({"iss": ISS, "aud": AUD, "sub": account, "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 600})
}

/// A border and a router behind it.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) border: Arc<Border>,
    pub(crate) router: Router,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other settings. Nobody is slowed down unless they say so.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(None, change)
    }

    /// A replica on a store that it shares.
    pub(crate) fn on(store: Option<Store>, change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        write_jwks(&at("jwks.json"), &[Signer::ed25519(1).jwk("ed")]);
        std::fs::write(at("secret"), [SECRET, b"\n"].concat()).expect("writes");
        let public = SigningKey::from_bytes(&[7; 32]).verifying_key();
        std::fs::write(at("bridge.pub.pem"), public.to_public_key_pem(Default::default()).expect("encodes"))
            .expect("writes");

        let mut config = Config::default();
        let issuer = |aud: &str, admins| TokenIssuer {
            iss: ISS.to_owned(),
            aud: aud.to_owned(),
            jwks: at("jwks.json").display().to_string(),
            algorithms: vec![Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256],
            typ: vec!["JWT".to_owned()],
            account_claim: "sub".to_owned(),
            admins,
        };
        config.auth.issuers.insert("holders".to_owned(), issuer(AUD, false));
        config.auth.issuers.insert("desk".to_owned(), issuer(ADMINS, true));
        config.auth.bridges.insert("core".to_owned(), Bridge::Ed25519 { public_key: at("bridge.pub.pem") });
        let secret = SecretFrom::File(at("secret"));
        config.auth.bridges.insert("ledger".to_owned(), Bridge::HmacSha256 { secret });
        config.server.public_url = Some("https://limits.example".to_owned());
        config.limits.holder_per_minute = 0;
        config.limits.bridge_per_minute = 0;
        config.limits.peer_per_minute = 0;
        change(&mut config);

        let clock = Clock::standing_at(UtcSeconds(NOW));
        let metrics = Arc::new(Metrics::default());
        let border = Border::new(&config, clock.clone(), Arc::clone(&metrics), store).expect("keys read");
        let border = Arc::new(border);
        let guarded = Router::new()
            .route("/v1/who", get(who).post(echo).put(echo))
            .route("/v1/whom", post(echo))
            .route("/v1/score/refresh", post(echo))
            .route("/v1/sync", post(echo))
            .route("/v1/accounts/{id}/kyc", post(read_json))
            .route("/v1/panic", get(panics));
        let public = Router::new().route("/v1/keys", get(|| async { "keys" }));
        let router = layered(public, guarded, &border);
        Self { directory, clock, config, metrics, border, router }
    }

    /// Publishes these keys as the provider's.
    pub(crate) fn publish(&self, keys: &[Value]) {
        write_jwks(&self.directory.path().join("jwks.json"), keys);
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the router always answers");
        Answer::of(response).await
    }

    /// A GET with a bearer token.
    pub(crate) async fn bearer(&self, token: &str) -> Answer {
        self.send(bearer(token)).await
    }
}

pub(crate) fn bearer(token: &str) -> Request<Body> {
    let request = Request::get("/v1/who").header("authorization", format!("Bearer {token}"));
    request.body(Body::empty()).expect("a request")
}

fn write_jwks(path: &Path, keys: &[Value]) {
    std::fs::write(path, json!({ "keys": keys }).to_string()).expect("writes");
}

async fn who(identity: Identity) -> String {
    identity.key()
}

async fn echo(identity: Identity, body: Bytes) -> String {
    format!("{} {}", identity.key(), body.len())
}

async fn read_json(_: Identity, Json(body): Json<Value>) -> String {
    body.to_string()
}

async fn panics(_: Identity) -> &'static str {
    panic!("of the test: a handler broke")
}

/// An answer, its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body in memory").to_bytes();
        Self { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).expect("text") }
    }

    /// The code of the envelope; every refusal has one, with the request's id.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let envelope: Value = serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no envelope: {self:?}"));
        assert_eq!(envelope["error"]["request_id"], self.headers["x-request-id"].to_str().expect("text"), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/json");
        envelope["error"]["code"].as_str().unwrap_or_else(|| panic!("no code: {self:?}")).to_owned()
    }
}

/// A message as a bridge signs it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) components: Vec<&'static str>,
    pub(crate) parameters: String,
}

impl Message {
    /// A POST that covers what it should.
    pub(crate) fn new(nonce: &str, key_id: &str) -> Self {
        let body = br#"{"amount":1200}"#.to_vec();
        let digest = format!("sha-256=:{}:", Base64::encode_string(&Sha256::digest(&body)));
        let headers = [
            ("content-type", "application/json"),
            ("content-digest", digest.as_str()),
            ("idempotency-key", "4f1d8a52-0001"),
        ];
        Self {
            method: "POST".to_owned(),
            target: "/v1/who?dry=1".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body,
            components: vec!["@method", "@target-uri", "content-digest", "content-type", "idempotency-key"],
            parameters: parameters(NOW, NOW + 300, nonce, key_id, TAG),
        }
    }

    fn base(&self, input: &str) -> String {
        let mut base = String::new();
        for component in &self.components {
            let value = match *component {
                "@method" => self.method.clone(),
                "@target-uri" => format!("https://limits.example{}", self.target),
                name => self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default(),
            };
            base += &format!("\"{component}\": {value}\n");
        }
        base + &format!("\"@signature-params\": {input}")
    }

    /// With the two headers that sign it.
    pub(crate) fn sign(mut self, key: &MessageKey) -> Self {
        let list: Vec<_> = self.components.iter().map(|c| format!("\"{c}\"")).collect();
        let input = format!("({}){}", list.join(" "), self.parameters);
        let signature = key.sign(self.base(&input).as_bytes());
        self.headers.push(("signature-input".to_owned(), format!("sig={input}")));
        self.headers.push(("signature".to_owned(), format!("sig=:{}:", Base64::encode_string(&signature))));
        self
    }

    /// The request, if these are bytes that HTTP can carry.
    pub(crate) fn request(&self) -> Option<Request<Body>> {
        let mut request = Request::builder().method(self.method.as_str()).uri(self.target.as_str());
        for (name, value) in &self.headers {
            request = request.header(name.as_str(), value.as_bytes());
        }
        request.body(Body::from(self.body.clone())).ok()
    }
}

pub(crate) fn parameters(created: i64, expires: i64, nonce: &str, key_id: &str, tag: &str) -> String {
    format!(r#";created={created};expires={expires};nonce="{nonce}";keyid="{key_id}";tag="{tag}""#)
}

/// What signs a message.
pub(crate) enum MessageKey {
    Ed25519(SigningKey),
    Hmac(Vec<u8>),
}

impl MessageKey {
    /// Registered as `core`.
    pub(crate) fn core() -> Self {
        Self::Ed25519(SigningKey::from_bytes(&[7; 32]))
    }

    /// Registered as `ledger`.
    pub(crate) fn ledger() -> Self {
        Self::Hmac(SECRET.to_vec())
    }

    fn sign(&self, base: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signer::sign(key, base).to_bytes().to_vec(),
            Self::Hmac(secret) => {
                let mac = hmac::Hmac::<Sha256>::new_from_slice(secret).expect("any length");
                mac.chain_update(base).finalize().into_bytes().to_vec()
            }
        }
    }
}
