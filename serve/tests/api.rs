//! The API over a real store, the published model and real signatures. Who asks is given; the border has its own tests.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
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
use plimsoll_serve::border::{Identity, Role};
use plimsoll_serve::clock::Clock;
use plimsoll_serve::config::Issuer;
use plimsoll_serve::issuer::GrantKeys;
use plimsoll_serve::ledger::Overdraft;
use plimsoll_serve::models::{Models, Rollout, Settings, Source, replicas};
use plimsoll_serve::record::AccountId;
use plimsoll_serve::store::Store;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A day after the fixture was published.
const NOW: UtcSeconds = UtcSeconds(1_795_219_200 + 86_400);

fn published(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/tests/fixtures/published").join(part)
}

/// A service in a directory of its own.
struct House {
    dir: tempfile::TempDir,
    service: Service,
    clock: Clock,
}

impl House {
    async fn tng() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = dir.path().join("keys");
        std::fs::create_dir(&keys).expect("a directory");
        let pem = issuer_key().to_pkcs8_pem(LineEnding::LF).expect("a key");
        std::fs::write(keys.join("one.pem"), pem.as_bytes()).expect("writes");
        let clock = Clock::standing_at(NOW);
        let issuer = Issuer { name: "tng.example".into(), keys: Some(keys), ..Issuer::default() };
        let root = std::fs::read(published("root.json")).expect("reads");
        let settings = Settings {
            source: Some(Source {
                directory: published("first"),
                root: TrustedRoot::from_bytes(&root).expect("a root"),
                model_id: None,
            }),
            archive: dir.path().join("archive"),
            policy: Policy::preset("tng").expect("a preset"),
            ring_seed: "test".into(),
            replica: "one".into(),
            margin_gain: None,
        };
        let url = format!("sqlite:{}", dir.path().join("plimsoll.db").display());
        let service = Service {
            store: Store::open(&url).await.expect("opens"),
            models: Models::open(settings, &Rollout::default(), NOW).expect("opens"),
            keys: GrantKeys::open(&issuer, clock.clone()).expect("keys"),
            clock: clock.clone(),
            overdraft: Overdraft::Issuer,
            in_flight: api::InFlight::default(),
        };
        Self { dir, service, clock }
    }

    fn router(&self) -> Router {
        let (router, _) = api::router().split_for_parts();
        router.with_state(self.service.clone())
    }

    async fn send(&self, who: &Identity, method: Method, path: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let mut request = request.body(Body::from(body.to_string())).expect("a request");
        request.extensions_mut().insert(who.clone());
        let answer = self.router().oneshot(request).await.expect("answers");
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn post(&self, who: &Identity, path: &str, body: Value) -> (u16, Value) {
        self.send(who, Method::POST, path, None, &body).await
    }

    #[track_caller]
    fn ok((status, body): (u16, Value)) -> Value {
        assert!((200..300).contains(&status), "{status} {body}");
        body
    }

    /// An account with a year behind it and a device that is no longer new.
    async fn holder(&self, name: &str, seed: u8) -> Identity {
        let open = json!({ "opened_at": NOW.0 - 400 * 86_400, "tier": 2, "balance": 0, "lifetime_tx": 1_000 });
        Self::ok(self.send(&bridge(), Method::PUT, &format!("/v1/accounts/{name}"), None, &open).await);
        let rows: Vec<Value> = (0..180)
            .map(|day| {
                let at = NOW.0 - (180 - day) * 86_400;
                let (amount, kind) = if day % 30 == 0 { (250_000, "income") } else { (-1_000, "purchase") };
                json!({ "id": format!("r{day}"), "at": at, "amount": amount, "kind": kind, "payee": "p" })
            })
            .collect();
        let taken = Self::ok(
            self.post(&bridge(), &format!("/v1/accounts/{name}/transactions"), json!({ "transactions": rows })).await,
        );
        assert_eq!((taken["new"].as_u64(), taken["late"].as_u64()), (Some(180), Some(0)));
        let enrol = json!({ "account": name, "public_key": Bytes(*key(seed).public().as_bytes()) });
        Self::ok(self.post(&bridge(), "/v1/devices", enrol).await);
        device(name, seed)
    }

    async fn sync(&self, who: &Identity, payments: &[String]) -> (Grant, Value) {
        let body = json!({ "wid": Bytes([1; 8]), "payments": payments });
        let answer = Self::ok(self.post(who, "/v1/sync", body).await);
        let jws = answer["grant"]["jws"].as_str().expect("a grant");
        let keys = self.service.keys.published().expect("keys");
        let grant = Grant::verify(jws.as_bytes(), &keys).expect("verifies");
        (grant.claims().clone(), answer)
    }
}

fn issuer_key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn bridge() -> Identity {
    Identity::Bridge { key_id: "ledger".into() }
}

fn admin(role: Role) -> Identity {
    Identity::Admin { name: "asha".into(), role }
}

fn device(name: &str, seed: u8) -> Identity {
    let account = AccountId::try_from(name).expect("a name");
    Identity::Holder { account, jkt: Some(key(seed).public().thumbprint()) }
}

fn pay(grant: &Grant, seed: u8, payee: &str, nonce: u8, number: u64, amount: u64, at: UtcSeconds) -> String {
    let amount = Money::from_minor(amount).expect("small");
    let payment = Payment {
        payer: grant.sub.clone(),
        payee: payee.into(),
        nonce: Bytes([nonce; 16]),
        iat: at,
        exp: at.plus(i64::from(grant.payment_valid_s)),
        grant: grant.jti,
        seq: grant.seq,
        number,
        amount,
        currency: grant.cur,
        spent: amount,
    };
    String::from_utf8(payment.sign(Form::Jws, &key(seed)).expect("signs")).expect("text")
}

#[tokio::test]
async fn a_device_syncs_pays_and_its_payee_is_paid_once() {
    let house = House::tng().await;
    let payer = house.holder("payer", 1).await;
    let shop = house.holder("shop", 2).await;
    house.clock.set(NOW.plus(25 * 3_600));
    let (grant, answer) = house.sync(&payer, &[]).await;
    assert_eq!((grant.seq, grant.tier.level()), (1, 2));
    assert!(grant.limit.points()[0].1 > Money::ZERO, "{answer}");
    assert!(answer["tuf_timestamp"]["signed"]["version"].is_u64(), "the newest metadata comes with it");

    let token = pay(&grant, 1, "shop", 1, 1, 500, grant.iat);
    for again in [false, true] {
        let settled = House::ok(house.post(&shop, "/v1/tokens/settle", json!({ "tokens": [token] })).await);
        let result = &settled["results"][0];
        assert_eq!((result["status"].as_str(), result["credited"].as_u64()), (Some("settled"), Some(500)));
        assert_eq!(result["again"].as_bool(), Some(again));
    }
    let (second, answer) = house.sync(&payer, &[token]).await;
    assert_eq!((second.seq, second.seen), (2, 1));
    assert_eq!(answer["payments"][0]["again"].as_bool(), Some(true));
    let explained =
        House::ok(house.send(&payer, Method::GET, &format!("/v1/explain/{}", grant.jti), None, &Value::Null).await);
    assert_eq!(explained["settled"].as_u64(), Some(500));
    assert_eq!(explained["features"].as_array().map(Vec::len), Some(61));
}

#[tokio::test]
async fn one_idempotency_key_is_one_request() {
    let house = House::tng().await;
    let payer = house.holder("payer", 1).await;
    let sync = json!({ "wid": Bytes([1; 8]) });
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(House::ok(house.send(&payer, Method::POST, "/v1/sync", Some("k"), &sync).await));
    }
    assert_eq!(answers[0], answers[1], "the same grant, to the bit");
    let other = json!({ "wid": Bytes([2; 8]) });
    let (status, told) = house.send(&payer, Method::POST, "/v1/sync", Some("k"), &other).await;
    assert_eq!((status, told["error"]["code"].as_str()), (422, Some("IDEMPOTENCY_KEY_REUSED")));
    let (grant, _) = house.sync(&payer, &[]).await;
    assert_eq!(grant.seq, 2, "without the key it is another request");
}

#[tokio::test]
async fn nobody_acts_for_another() {
    let house = House::tng().await;
    let payer = house.holder("payer", 1).await;
    let thief = house.holder("thief", 2).await;
    let (grant, _) = house.sync(&payer, &[]).await;
    let token = pay(&grant, 1, "shop", 1, 1, 500, grant.iat);
    let stolen = House::ok(house.post(&thief, "/v1/tokens/settle", json!({ "tokens": [token] })).await);
    assert_eq!(stolen["results"][0]["code"].as_str(), Some("RECEIVER_MISMATCH"));
    let other = Identity::Holder {
        account: AccountId::try_from("payer").expect("a name"),
        jkt: Some(key(2).public().thumbprint()),
    };
    for (who, method, path, body, want) in [
        (&thief, Method::GET, "/v1/accounts/payer".to_owned(), Value::Null, 403),
        (&thief, Method::GET, format!("/v1/explain/{}", grant.jti), Value::Null, 404),
        (&thief, Method::POST, "/v1/score/refresh".into(), json!({ "user_id": "payer" }), 403),
        (
            &thief,
            Method::POST,
            "/v1/devices".into(),
            json!({ "account": "payer", "public_key": Bytes(*key(3).public().as_bytes()) }),
            403,
        ),
        (&thief, Method::PUT, "/v1/accounts/payer/kyc".into(), json!({ "tier": 2, "reason": "please" }), 403),
        (
            &thief,
            Method::POST,
            "/v1/accounts/thief/transactions".into(),
            json!({ "transactions": [{ "id": "x", "at": 1, "amount": 100, "kind": "income" }] }),
            403,
        ),
        (
            &thief,
            Method::POST,
            "/v1/signals".into(),
            json!({ "account": "payer", "cause": "double_spend", "at": 1, "party": "holder" }),
            403,
        ),
        (&other, Method::POST, "/v1/sync".into(), json!({ "wid": Bytes([1; 8]) }), 403),
        (&bridge(), Method::POST, "/v1/sync".into(), json!({ "wid": Bytes([1; 8]) }), 403),
        (
            &admin(Role::Support),
            Method::POST,
            "/v1/admin/disputes/resolve".into(),
            json!({ "nonce": Bytes([1; 16]) }),
            403,
        ),
    ] {
        let (status, told) = house.send(who, method, &path, None, &body).await;
        assert_eq!(status, want, "{path}: {told}");
    }
}

#[tokio::test]
async fn a_refresh_answers_the_older_clients_words_and_believes_none_of_theirs() {
    let house = House::tng().await;
    let payer = house.holder("payer", 1).await;
    house.clock.set(NOW.plus(25 * 3_600));
    let honest = House::ok(house.post(&payer, "/v1/score/refresh", json!({})).await);
    let limit = honest["limit"].as_u64().expect("a limit");
    assert_eq!(honest["safe_offline_balance"], json!(format!("{}.{:02}", limit / 100, limit % 100)));
    assert_eq!(honest["policy_class"], json!("tier_trusted"));
    assert!(honest["policy_version"].as_str().is_some_and(|v| v.starts_with("tng.v")));

    let boast = json!({
        "user_id": "payer", "policy_version": "v3", "cached_balance_myr": "99999.00", "lifetime_tx_count": 9_999,
        "features": { "kyc_tier": 0, "account_age_days": 9_999, "last_sync_age_min": 0, "of_their_own": 1 },
    });
    let told = House::ok(house.post(&payer, "/v1/score/refresh", boast).await);
    assert_eq!(told["limit"], honest["limit"]);
    assert_eq!(told["parity"]["compared"], json!(2), "the age is theirs to know, and the last is not a feature");
    assert_eq!(told["parity"]["unequal"], json!(["account_age_days", "kyc_tier"]));
}

#[tokio::test]
async fn rows_are_scored_like_the_account_they_come_from_and_for_the_operators_systems_only() {
    let house = House::tng().await;
    let payer = house.holder("payer", 1).await;
    house.clock.set(NOW.plus(25 * 3_600));
    let (grant, _) = house.sync(&payer, &[]).await;
    let features: Vec<Option<f32>> =
        grant.features().expect("in the grant").0.iter().map(|x| (!x.is_nan()).then_some(*x)).collect();
    let body = json!({ "rows": [{ "features": features, "balance": grant.bal, "tier": 2 }] });
    let told = House::ok(house.post(&bridge(), "/v1/score", body.clone()).await);
    assert_eq!(told["limits"][0].as_u64(), Some(grant.limit.points()[0].1.minor()));
    assert_eq!(house.post(&payer, "/v1/score", body).await.0, 403);
    let short = json!({ "rows": [{ "features": [1.0], "balance": 1, "tier": 2 }] });
    assert_eq!(house.post(&bridge(), "/v1/score", short).await.0, 400);
}

#[tokio::test]
async fn a_dispute_speaks_against_nobody_until_somebody_has_looked() {
    let house = House::tng().await;
    let payer = house.holder("payer", 1).await;
    let _shop = house.holder("shop", 2).await;
    house.clock.set(NOW.plus(25 * 3_600));
    let (grant, _) = house.sync(&payer, &[]).await;
    house.sync(&payer, &[pay(&grant, 1, "shop", 1, 1, 500, grant.iat)]).await;
    let dispute = json!({ "nonce": Bytes([1; 16]), "reason_code": "UNAUTHORIZED", "detail": "not me" });
    House::ok(house.post(&payer, "/v1/tokens/dispute", dispute.clone()).await);
    assert_eq!(house.post(&payer, "/v1/tokens/dispute", dispute).await.0, 409);
    let ppm = async || {
        let told = house.send(&payer, Method::GET, "/v1/accounts/payer", None, &Value::Null).await;
        House::ok(told)["fraud_ppm"].as_u64()
    };
    assert_eq!(ppm().await, Some(0));
    let found = json!({ "nonce": Bytes([1; 16]), "at_fault": "shop" });
    House::ok(house.post(&admin(Role::Risk), "/v1/admin/disputes/resolve", found.clone()).await);
    assert_eq!(house.post(&admin(Role::Risk), "/v1/admin/disputes/resolve", found).await.0, 409);
    assert_eq!(ppm().await, Some(0), "the payer was right");
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let house = House::tng().await;
    let payer = house.holder("payer", 1).await;
    for (path, body, names) in [
        ("/v1/sync", json!({}), "wid"),
        ("/v1/sync", json!({ "wid": "AAAA" }), "wid"),
        ("/v1/sync", json!({ "wid": Bytes([1; 8]), "tier": 2 }), "tier"),
        ("/v1/sync", json!({ "wid": Bytes([1; 8]), "form": "pdf" }), "form"),
        ("/v1/tokens/settle", json!({ "tokens": [] }), "tokens"),
        ("/v1/tokens/settle", json!({ "tokens": vec!["a.b.c"; 51] }), "tokens"),
        ("/v1/tokens/dispute", json!({ "nonce": Bytes([1; 16]), "reason_code": "BORED" }), "reason_code"),
        ("/v1/devices", json!({ "public_key": Bytes([0; 32]) }), "public_key"),
    ] {
        let (status, told) = house.post(&payer, path, body.clone()).await;
        assert_eq!((status, told["error"]["code"].as_str()), (400, Some("BAD_REQUEST")), "{path} {body}: {told}");
        let message = told["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(names), "{path} {body}: {message}");
    }
    let garbage = House::ok(house.post(&payer, "/v1/tokens/settle", json!({ "tokens": ["a.b.c", "!", ""] })).await);
    for result in garbage["results"].as_array().expect("results") {
        assert_eq!((result["status"].as_str(), result["code"].as_str()), (Some("refused"), Some("BAD_REQUEST")));
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let house = House::tng().await;
    let payer = house.holder("payer", 1).await;
    let (grant, _) = house.sync(&payer, &[]).await;
    house.service.store.close().await;
    let url = format!("sqlite:{}", house.dir.path().join("plimsoll.db").display());
    let service = Service { store: Store::open(&url).await.expect("opens again"), ..house.service.clone() };
    let house = House { service, ..house };
    let (next, _) = house.sync(&payer, &[]).await;
    assert_eq!((next.seq, next.bal), (grant.seq + 1, grant.bal));
}

#[tokio::test]
async fn the_description_names_every_route_and_every_schema_it_uses() {
    let (_, document) = api::router().split_for_parts();
    let document = serde_json::to_value(&document).expect("JSON");
    assert_eq!(document["openapi"].as_str().map(|v| &v[..3]), Some("3.1"));
    let paths = document["paths"].as_object().expect("paths");
    for path in
        ["/v1/sync", "/v1/score/refresh", "/v1/tokens/settle", "/v1/accounts/{id}/kyc", "/v1/explain/{decision}"]
    {
        assert!(paths.contains_key(path), "{path}");
    }
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap_or_default();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

/// Two types of one name would be described by the schema of whichever came last.
#[test]
fn every_answer_is_described_by_its_own_type() {
    let (_, document) = api::router().split_for_parts();
    let document = serde_json::to_value(&document).expect("JSON");
    let schema = |path: &str, of: &str| {
        let operation = &document["paths"][path]["post"];
        let at = if of == "asked" { &operation["requestBody"] } else { &operation["responses"]["200"] };
        let name = at["content"]["application/json"]["schema"]["$ref"].as_str().expect("named").to_owned();
        let name = name.rsplit('/').next().expect("a name").to_owned();
        document["components"]["schemas"][name]["properties"].as_object().expect("an object").clone()
    };
    for (path, asked, answered) in [
        ("/v1/sync", "wid", "grant"),
        ("/v1/tokens/settle", "tokens", "results"),
        ("/v1/score/refresh", "features", "safe_offline_balance"),
        ("/v1/tokens/dispute", "reason_code", "dispute"),
        ("/v1/signals", "cause", "fraud_ppm"),
    ] {
        assert!(schema(path, "asked").contains_key(asked), "{path} takes {asked}");
        assert!(schema(path, "answered").contains_key(answered), "{path} answers {answered}");
    }
}

#[tokio::test]
async fn a_repeated_request_under_one_key_gets_the_same_bytes_at_any_time() {
    let house = House::tng().await;
    let alice = house.holder("alice", 1).await;
    let body = json!({ "wid": Bytes([1; 8]) });
    let first = House::ok(house.send(&alice, Method::POST, "/v1/sync", Some("once"), &body).await);
    house.clock.set(NOW.plus(1_800));
    assert_eq!(house.send(&alice, Method::POST, "/v1/sync", Some("once"), &body).await, (200, first));
}

#[tokio::test]
async fn a_device_gets_its_grant_in_the_form_it_asks_for() {
    let house = House::tng().await;
    let alice = house.holder("alice", 1).await;
    let keys = house.service.keys.published().expect("keys");
    for (form, other) in [("jws", "cwt"), ("cwt", "jws")] {
        let answer = House::ok(house.post(&alice, "/v1/sync", json!({ "wid": Bytes([1; 8]), "form": form })).await);
        assert_eq!(answer["grant"].get(other), None);
        let token = answer["grant"][form].as_str().expect("a grant");
        let bytes = if form == "cwt" { Base64UrlUnpadded::decode_vec(token).expect("base64") } else { token.into() };
        let grant = Grant::verify(&bytes, &keys).expect("verifies");
        assert_eq!(serde_json::to_value(grant.claims()).expect("plain data"), answer["claims"]);
    }
    let (_, both) = house.sync(&alice, &[]).await;
    assert!(both["grant"]["jws"].is_string() && both["grant"]["cwt"].is_string());
}

#[tokio::test]
async fn a_device_that_knows_nothing_of_alarms_and_margins_disagrees_with_nobody() {
    let house = House::tng().await;
    let alice = house.holder("alice", 1).await;
    let release = house.service.models.for_everyone().digest().expect("a model");
    let at = |grant: &Grant| grant.limit.points()[0];
    let (whole, _) = house.sync(&alice, &[]).await;
    house.service.models.lower(&release, whole.tier, 500_000);
    let (half, _) = house.sync(&alice, &[]).await;
    let (age, own) = (at(&half).0, at(&whole).1.minor());
    assert!(at(&half).1.minor() > 0 && at(&half).1.minor() <= own / 2, "{own}");
    for (limit, unequal) in [(own, 0), (own + 2, 1)] {
        let computed = json!({ "grant": half.jti, "age_min": age, "limit": limit });
        let body = json!({ "wid": Bytes([1; 8]), "payments": [], "computed": computed });
        House::ok(house.post(&alice, "/v1/sync", body).await);
        let compared = house.service.models.status().releases[0].compared;
        assert_eq!((compared.accounts, compared.unequal), (1, unequal), "{limit}");
    }
}

#[tokio::test]
async fn releases_are_widened_and_pulled_back_by_admins_with_a_reason_that_is_on_the_record() {
    let house = House::tng().await;
    let version = house.service.models.for_everyone().version().expect("a model");
    let list = async |who: &Identity| house.send(who, Method::GET, "/v1/admin/models", None, &Value::Null).await;
    let told = House::ok(list(&admin(Role::Viewer)).await);
    assert_eq!((&told["releases"][0]["version"], &told["releases"][0]["deciding"]), (&version.into(), &true.into()));
    assert_eq!(told["releases"][0]["promises"][0]["granted_ppm"], 1_000_000);
    assert_eq!(list(&bridge()).await.0, 403);

    let order = async |who: Role, what: &str, key: Option<&str>, body: Value| {
        let path = format!("/v1/admin/models/{what}");
        house.send(&admin(who), Method::POST, &path, key, &body).await
    };
    let (widen, back) = (format!("{version}/widen"), format!("{version}/pull-back"));
    let why = json!({ "reason": "phones disagree" });
    assert_eq!(order(Role::Risk, &back, None, why.clone()).await.0, 403);
    assert_eq!(order(Role::Admin, &back, None, json!({ "reason": " " })).await.0, 400);
    assert_eq!(order(Role::Admin, "999/pull-back", None, why.clone()).await.0, 404);
    assert_eq!(order(Role::Admin, "x/pull-back", None, why.clone()).await.0, 400);
    let narrower = json!({ "share_ppm": 1, "reason": "too many" });
    assert_eq!(order(Role::Admin, &widen, None, narrower).await.0, 409, "a ring only widens");
    let wide = json!({ "share_ppm": 1_000_000, "reason": "a week without a mismatch" });
    House::ok(order(Role::Admin, &widen, None, wide.clone()).await);
    assert_eq!(order(Role::Admin, &widen, None, json!({ "share_ppm": 1_000_001, "reason": "more" })).await.0, 400);

    let first = House::ok(order(Role::Admin, &back, Some("once"), why.clone()).await);
    assert_eq!(house.service.models.for_everyone().version(), None, "at once: the floor decides");
    assert_eq!(order(Role::Admin, &back, Some("once"), why).await, (200, first));
    assert_eq!(order(Role::Admin, &widen, None, wide).await.0, 409, "it was pulled back");
    let log = house.service.store.log_of(&AccountId::none(), None, 10).await.expect("reads");
    let orders = log.iter().filter(|link| link.kind == "model");
    let orders: Vec<Value> = orders.map(|link| serde_json::from_slice(&link.body).expect("JSON")).collect();
    let said: Vec<_> = orders.iter().map(|o| (&o["ordered"], &o["by"], &o["reason"], &o["version"])).collect();
    let by = Value::from("admin/asha");
    let (back, wider) = (Value::from("pull_back"), Value::from("widen"));
    let reasons = [Value::from("phones disagree"), Value::from("a week without a mismatch")];
    let version = Value::from(version);
    assert_eq!(said, [(&back, &by, &reasons[0], &version), (&wider, &by, &reasons[1], &version)], "each once");
    let pulled = House::ok(list(&admin(Role::Viewer)).await);
    assert_eq!(pulled["releases"][0]["pulled_back"], "phones disagree");

    // Another replica on the store follows.
    assert!(replicas::known(&house.service.store).await.expect("reads").rings().all(|(_, ring)| ring.pulled.is_some()));
}
