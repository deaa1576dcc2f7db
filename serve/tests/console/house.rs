//! A service with its console behind the border, a store in a file, the published model, and people with real tokens.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use base64ct::{Base64UrlUnpadded, Encoding as _};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use http_body_util::BodyExt as _;
use plimsoll_edge::trust::TrustedRoot;
use plimsoll_model::grant::{Bytes, Form, Grant, Payment, Signer as _};
use plimsoll_model::policy::Policy;
use plimsoll_model::{Money, UtcSeconds};
use plimsoll_serve::api::{self, Service};
use plimsoll_serve::border::{Border, Identity, layered};
use plimsoll_serve::clock::Clock;
use plimsoll_serve::config::{Algorithm, Config, Issuer, TokenIssuer};
use plimsoll_serve::console::{self, Console};
use plimsoll_serve::issuer::GrantKeys;
use plimsoll_serve::ledger::Overdraft;
use plimsoll_serve::models::{Models, Rollout, Settings, Source};
use plimsoll_serve::ops::metrics::{Metrics, StoreMetrics};
use plimsoll_serve::record::AccountId;
use plimsoll_serve::store::Store;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A day after the fixture was published.
pub(crate) const NOW: UtcSeconds = UtcSeconds(1_795_219_200 + 86_400);

pub(crate) struct House {
    pub(crate) service: Service,
    pub(crate) clock: Clock,
    pub(crate) router: Router,
    pub(crate) config: Config,
    /// Goes with it.
    _dir: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The cookie that it set, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    }

    /// The CSRF token of its forms.
    pub(crate) fn csrf(&self) -> String {
        let rest = self.text.split(r#"name="csrf" value=""#).nth(1).unwrap_or_else(|| panic!("no form: {}", self.text));
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

fn published(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/tests/fixtures/published").join(part)
}

impl House {
    pub(crate) async fn tng() -> Self {
        Self::of("tng", "http://console.test").await
    }

    /// * `programme`: the model decides in `tng`; the others run on their floor.
    pub(crate) async fn of(programme: &str, origin: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("keys")).expect("a directory");
        let pem = SigningKey::from_bytes(&[9; 32]).to_pkcs8_pem(LineEnding::LF).expect("a key");
        std::fs::write(at("keys/one.pem"), pem.as_bytes()).expect("writes");
        let x = Base64UrlUnpadded::encode_string(provider().verifying_key().as_bytes());
        let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "p", "x": x }] });
        std::fs::write(at("jwks.json"), jwks.to_string()).expect("writes");

        let clock = Clock::standing_at(NOW);
        let mut config = Config::default();
        for (name, aud, admins) in [("people", "desk", true), ("holders", "wallet", false)] {
            let issuer = TokenIssuer {
                iss: "https://id.test".into(),
                aud: aud.into(),
                jwks: at("jwks.json").display().to_string(),
                algorithms: vec![Algorithm::EdDsa],
                typ: vec!["JWT".into()],
                account_claim: "sub".into(),
                admins,
            };
            config.auth.issuers.insert(name.into(), issuer);
        }
        config.limits.peer_per_minute = 0;
        config.server.public_url = Some(origin.to_owned());
        config.issuer = Issuer { name: "tng.example".into(), keys: Some(at("keys")), ..Issuer::default() };
        let root = std::fs::read(published("root.json")).expect("reads");
        let source = Source {
            directory: published("first"),
            root: TrustedRoot::from_bytes(&root).expect("a root"),
            model_id: None,
        };
        let settings = Settings {
            source: (programme == "tng").then_some(source),
            archive: at("archive"),
            policy: Policy::preset(programme).expect("a preset"),
            ring_seed: "test".into(),
            replica: "one".into(),
            margin_gain: None,
        };
        let url = format!("sqlite:{}", at("plimsoll.db").display());
        let service = Service {
            store: Store::open(&url).await.expect("opens"),
            models: Models::open(settings, &Rollout::default(), NOW).expect("opens"),
            keys: GrantKeys::open(&config.issuer, clock.clone()).expect("keys"),
            clock: clock.clone(),
            overdraft: Overdraft::Issuer,
            in_flight: api::InFlight::default(),
        };
        let border = Border::new(&config, clock.clone(), Arc::new(Metrics::new(StoreMetrics::default())), None)
            .expect("keys read");
        let border = Arc::new(border);
        border.warm().await;
        let console = Console::new(service.clone(), Arc::clone(&border), config.server.public_origin());
        let (_, document) = api::router().split_for_parts();
        let public = console::router(console).merge(console::docs(&document).expect("renders"));
        let router = layered(public, Router::new(), &border);
        Self { service, clock, router, config, _dir: dir }
    }

    /// A token of one of the operator's people.
    pub(crate) fn token(&self, name: &str, role: &str) -> String {
        self.token_for(name, json!({ "aud": "desk", "role": role }), 3_600)
    }

    pub(crate) fn token_for(&self, sub: &str, more: Value, ttl_s: i64) -> String {
        let now = self.clock.now().0;
        let mut claims = json!({ "iss": "https://id.test", "sub": sub, "iat": now, "exp": now + ttl_s });
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&json!({ "alg": "EdDSA", "typ": "JWT", "kid": "p" })), part(&claims));
        let signature = ed25519_dalek::Signer::sign(&provider(), signed.as_bytes()).to_bytes();
        format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature))
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.router.clone().oneshot(request).await.expect("answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
        Answer { status, headers, text: String::from_utf8(bytes.to_vec()).expect("text") }
    }

    /// A page, as somebody sees it; as a stranger with an empty cookie.
    pub(crate) async fn page(&self, cookie: &str, path: &str) -> Answer {
        let request = Request::get(path).header("cookie", cookie).body(Body::empty()).expect("a request");
        self.send(request).await
    }

    /// A form, from whatever page.
    pub(crate) async fn form(&self, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(form(path, fields).header("cookie", cookie).body(encoded(fields)).expect("a request")).await
    }

    /// A form as one of our pages sends it.
    pub(crate) async fn act(&self, who: &Person, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        fields.push(("csrf", &who.csrf));
        self.form(&who.cookie, path, &fields).await
    }

    pub(crate) async fn sign_in(&self, name: &str, role: &str) -> Person {
        let token = self.token(name, role);
        let answer = self.form("", "/console/sign-in", &[("token", &token), ("next", "")]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/console"), "{}", answer.text);
        let cookie = answer.cookie();
        let csrf = self.page(&cookie, "/console").await.csrf();
        Person { cookie, csrf }
    }

    /// What a device or the operator's systems ask of the API.
    pub(crate) async fn ask(&self, who: &Identity, method: Method, path: &str, body: &Value) -> Value {
        let (router, _) = api::router().split_for_parts();
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let mut request = request.body(Body::from(body.to_string())).expect("a request");
        request.extensions_mut().insert(who.clone());
        let answer = router.with_state(self.service.clone()).oneshot(request).await.expect("answers");
        let status = answer.status();
        let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).expect("JSON")
    }

    pub(crate) async fn open(&self, name: &str, tier: u8, balance: i64) {
        let open = json!({ "opened_at": NOW.0 - 400 * 86_400, "tier": tier, "balance": balance, "lifetime_tx": 1_000 });
        self.ask(&bridge(), Method::PUT, &format!("/v1/accounts/{name}"), &open).await;
    }

    /// An account with half a year behind it and a device.
    pub(crate) async fn holder(&self, name: &str, seed: u8) -> Identity {
        self.open(name, 2, 0).await;
        let rows: Vec<Value> = (0..180)
            .map(|day| {
                let (amount, kind) = match day % 30 {
                    0 => (250_000, "income"),
                    5 => (-90_000, "bill"),
                    _ => (-1_000 - day * 7 % 4_000, "purchase"),
                };
                let at = NOW.0 - (180 - day) * 86_400;
                json!({ "id": format!("r{day}"), "at": at, "amount": amount, "kind": kind, "payee": "p" })
            })
            .collect();
        let path = format!("/v1/accounts/{name}/transactions");
        self.ask(&bridge(), Method::POST, &path, &json!({ "transactions": rows })).await;
        let enrol = json!({ "account": name, "public_key": Bytes(*key(seed).public().as_bytes()) });
        self.ask(&bridge(), Method::POST, "/v1/devices", &enrol).await;
        let account = AccountId::try_from(name).expect("a name");
        Identity::Holder { account, jkt: Some(key(seed).public().thumbprint()) }
    }

    pub(crate) async fn sync(&self, who: &Identity, payments: &[String]) -> Grant {
        let body = json!({ "wid": Bytes([1; 8]), "payments": payments });
        let answer = self.ask(who, Method::POST, "/v1/sync", &body).await;
        let jws = answer["grant"]["jws"].as_str().expect("a grant");
        Grant::verify(jws.as_bytes(), &self.service.keys.published().expect("keys")).expect("verifies").claims().clone()
    }

    /// Two accounts that know each other, three payments, and a dispute about the first.
    pub(crate) async fn village(&self) {
        let amina = self.holder("amina", 1).await;
        let shop = self.holder("shop", 2).await;
        self.clock.set(NOW.plus(25 * 3_600));
        let grant = self.sync(&amina, &[]).await;
        self.sync(&shop, &[]).await;
        let amounts = [(1, 450), (2, 1_250), (3, 780)];
        let payments: Vec<String> = amounts.iter().map(|(n, amount)| pay(&grant, 1, "shop", *n, *amount)).collect();
        self.clock.set(NOW.plus(27 * 3_600));
        self.sync(&amina, &payments).await;
        let detail = "I was asleep <script>alert(1)</script>";
        let dispute = json!({ "nonce": Bytes([1; 16]), "reason_code": "UNAUTHORIZED", "detail": detail });
        self.ask(&amina, Method::POST, "/v1/tokens/dispute", &dispute).await;
    }
}

/// A form's head: to be sent with [`encoded`].
pub(crate) fn form(path: &str, _: &[(&str, &str)]) -> axum::http::request::Builder {
    Request::post(path).header("content-type", "application/x-www-form-urlencoded").header("host", "console.test")
}

pub(crate) fn encoded(fields: &[(&str, &str)]) -> Body {
    Body::from(serde_urlencoded::to_string(fields).expect("encodes"))
}

fn provider() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn bridge() -> Identity {
    Identity::Bridge { key_id: "ledger".into() }
}

fn pay(grant: &Grant, seed: u8, payee: &str, number: u8, amount: u64) -> String {
    let amount = Money::from_minor(amount).expect("small");
    let payment = Payment {
        payer: grant.sub.clone(),
        payee: payee.into(),
        nonce: Bytes([number; 16]),
        iat: grant.iat.plus(i64::from(number) * 600),
        exp: grant.iat.plus(i64::from(number) * 600 + i64::from(grant.payment_valid_s)),
        grant: grant.jti,
        seq: grant.seq,
        number: number.into(),
        amount,
        currency: grant.cur,
        spent: amount,
    };
    String::from_utf8(payment.sign(Form::Jws, &key(seed)).expect("signs")).expect("text")
}
