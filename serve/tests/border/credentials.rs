//! What counts as a credential, claim by claim and parameter by parameter.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use plimsoll_serve::border::TAG;
use serde_json::{Value, json};

use crate::world::{ADMINS, AUD, ISS, Message, MessageKey, NOW, Signer, World, bearer, holder, parameters};

/// One token of the published key with these claims, and what becomes of it.
#[track_caller]
fn check(world: &World, claims: &Value, want: Result<&str, &str>) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    let request = bearer(&Signer::ed25519(1).token("ed", claims));
    let (claims, want) = (claims.clone(), want.map(str::to_owned).map_err(str::to_owned));
    let sent = world.router.clone();
    async move {
        use http_body_util::BodyExt as _;
        use tower::ServiceExt as _;
        let response = sent.oneshot(request).await.expect("answers");
        let ok = response.status() == StatusCode::OK;
        let text = response.into_body().collect().await.expect("in memory").to_bytes();
        let text = String::from_utf8(text.to_vec()).expect("text");
        let code = || serde_json::from_str::<Value>(&text).expect("an envelope")["error"]["code"].clone();
        let got = if ok { Ok(text.clone()) } else { Err(code().as_str().expect("text").to_owned()) };
        assert_eq!(got, want, "{claims} at {at}");
    }
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = holder("alice");
    change(&mut claims);
    claims
}

#[tokio::test]
async fn every_claim_of_a_token_is_checked() {
    let world = World::new();
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    check(&world, &holder("alice"), Ok("holder/alice")).await;
    check(&world, &with(|c| c["aud"] = json!(["other", AUD])), Ok("holder/alice")).await;
    check(&world, &with(|c| c["cnf"] = json!({ "jkt": jkt })), Ok("holder/alice")).await;
    check(&world, &with(|c| c["extra"] = json!([1, 2])), Ok("holder/alice")).await;

    let refused = Err("UNAUTHENTICATED");
    for name in ["iss", "aud", "sub", "exp"] {
        check(&world, &with(|c| drop(c.as_object_mut().expect("an object").remove(name))), refused).await;
        check(&world, &with(|c| c[name] = json!(null)), refused).await;
        check(&world, &with(|c| c[name] = json!({})), refused).await;
    }
    check(&world, &with(|c| c["iss"] = json!("https://id.example/")), refused).await;
    check(&world, &with(|c| c["iss"] = json!([ISS])), refused).await;
    check(&world, &with(|c| c["aud"] = json!("plimsol")), refused).await;
    check(&world, &with(|c| c["aud"] = json!([])), refused).await;
    check(&world, &with(|c| c["aud"] = json!([[AUD]])), refused).await;
    check(&world, &with(|c| c["sub"] = json!("")), refused).await;
    check(&world, &with(|c| c["sub"] = json!("a".repeat(65))), refused).await;
    check(&world, &with(|c| c["sub"] = json!("../../etc")), refused).await;
    check(&world, &with(|c| c["sub"] = json!("alice\n")), refused).await;
    check(&world, &with(|c| c["exp"] = json!((NOW + 600).to_string())), refused).await;
    check(&world, &with(|c| c["exp"] = json!((NOW + 600) as f64)), refused).await;
    check(&world, &with(|c| c["exp"] = json!(1e300)), refused).await;
    check(&world, &with(|c| c["nbf"] = json!("0")), refused).await;
    check(&world, &with(|c| c["cnf"] = json!({ "jkt": "short" })), refused).await;
    check(&world, &with(|c| c["cnf"] = json!(jkt)), refused).await;

    // A claim said twice: which one counts would be the reader's choice.
    let twice = holder("alice").to_string().replacen('{', r#"{"sub":"bob","#, 1);
    let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "ed"}).to_string();
    assert_eq!(world.bearer(&Signer::ed25519(1).seal_text(&header, &twice)).await.code(), "UNAUTHENTICATED");
    for text in ["", "[]", "null", "{", "\u{feff}{}"] {
        assert_eq!(
            world.bearer(&Signer::ed25519(1).seal_text(&header, text)).await.code(),
            "UNAUTHENTICATED",
            "{text}"
        );
    }
    // Well signed, and with a header that says more than it should.
    for more in
        [json!({"crit": ["exp"]}), json!({"jku": "https://evil.example"}), json!({"b64": false}), json!({"x": 1})]
    {
        let mut header = json!({"alg": "EdDSA", "typ": "JWT", "kid": "ed"});
        header.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let answer = world.bearer(&Signer::ed25519(1).seal(&header, &holder("alice"))).await;
        assert_eq!(answer.code(), "UNAUTHENTICATED", "{header}");
    }
    for typ in ["jwt", "at+jwt", "limit-grant+jwt", ""] {
        let header = json!({"alg": "EdDSA", "typ": typ, "kid": "ed"});
        let answer = world.bearer(&Signer::ed25519(1).seal(&header, &holder("alice"))).await;
        assert_eq!(answer.code(), "UNAUTHENTICATED", "{typ}");
    }
}

#[tokio::test]
async fn a_token_that_was_let_in_before_ends_when_it_says() {
    let world = World::new();
    let token = Signer::ed25519(1).token("ed", &holder("alice"));
    let skew = i64::from(world.config.auth.skew_s);
    assert_eq!(world.bearer(&token).await.status, StatusCode::OK);
    world.clock.set(plimsoll_model::UtcSeconds(NOW + 600 + skew - 1));
    assert_eq!(world.bearer(&token).await.status, StatusCode::OK);
    world.clock.set(plimsoll_model::UtcSeconds(NOW + 600 + skew));
    assert_eq!(world.bearer(&token).await.code(), "EXPIRED_TOKEN");
    world.clock.set(plimsoll_model::UtcSeconds(NOW - 11 - skew));
    assert_eq!(world.bearer(&token).await.status, StatusCode::UNAUTHORIZED, "nor before it begins");
}

#[tokio::test]
async fn clocks_may_differ_by_the_skew_and_not_by_more() {
    let world = World::new();
    let times = |iat: i64, nbf: i64, exp: i64| {
        with(|c| {
            c["iat"] = json!(iat);
            c["nbf"] = json!(nbf);
            c["exp"] = json!(exp);
        })
    };
    check(&world, &times(NOW, NOW, NOW - 59), Ok("holder/alice")).await;
    check(&world, &times(NOW, NOW, NOW - 60), Err("EXPIRED_TOKEN")).await;
    check(&world, &times(NOW, NOW + 60, NOW + 600), Ok("holder/alice")).await;
    check(&world, &times(NOW, NOW + 61, NOW + 600), Err("UNAUTHENTICATED")).await;
    check(&world, &times(NOW + 61, NOW, NOW + 600), Err("UNAUTHENTICATED")).await;
    check(&world, &times(i64::MIN, i64::MIN, i64::MAX), Ok("holder/alice")).await;
    check(&world, &times(i64::MAX, NOW, NOW + 600), Err("UNAUTHENTICATED")).await;
    check(&world, &times(NOW, NOW, i64::MIN), Err("EXPIRED_TOKEN")).await;
}

#[tokio::test]
async fn a_role_counts_only_for_the_audience_of_the_operators_people() {
    let world = World::new();
    check(&world, &with(|c| c["role"] = json!("admin")), Ok("holder/alice")).await;
    let desk = |role: Value| {
        with(|c| {
            c["aud"] = json!(ADMINS);
            c["role"] = role;
        })
    };
    for role in ["viewer", "support", "risk", "admin"] {
        check(&world, &desk(json!(role)), Ok("admin/alice")).await;
    }
    for role in [json!("root"), json!("Admin"), json!(["admin"]), json!(null), json!("")] {
        check(&world, &desk(role), Err("UNAUTHENTICATED")).await;
    }
    check(&world, &with(|c| c["aud"] = json!(ADMINS)), Err("UNAUTHENTICATED")).await;
}

#[tokio::test]
async fn an_algorithm_counts_only_where_it_is_configured_and_only_for_its_own_key() {
    let world = World::with(|config| {
        for issuer in config.auth.issuers.values_mut() {
            issuer.algorithms = vec![plimsoll_serve::config::Algorithm::Es256];
        }
    });
    let (ed, ec) = (Signer::ed25519(1), Signer::p256());
    world.publish(&[ed.jwk("ed"), ec.jwk("ec")]);
    assert_eq!(world.bearer(&ec.token("ec", &holder("alice"))).await.status, StatusCode::OK);
    assert_eq!(world.bearer(&ed.token("ed", &holder("alice"))).await.code(), "UNAUTHENTICATED");
    // One key's name, another's signature.
    assert_eq!(world.bearer(&ec.token("ed", &holder("alice"))).await.code(), "UNAUTHENTICATED");
    assert_eq!(world.bearer(&Signer::p256().token("ec", &holder("alice"))).await.code(), "BAD_SIGNATURE");
    assert_eq!(world.bearer(&ec.token("nobody", &holder("alice"))).await.code(), "UNKNOWN_KID");

    // The classic: HMAC under the public key's own bytes.
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "ec"});
    let forged = Signer::ed25519(1).seal(&header, &holder("alice"));
    assert_eq!(world.bearer(&forged).await.code(), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_request_has_one_credential_in_one_place() {
    let world = World::new();
    let token = Signer::ed25519(1).token("ed", &holder("alice"));
    let get = |headers: &[(&str, String)]| {
        let mut request = Request::get("/v1/who");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.body(Body::empty()).expect("a request")
    };
    let authorization = |value: &str| ("authorization", value.to_owned());
    assert_eq!(world.send(get(&[])).await.code(), "UNAUTHENTICATED");
    for value in
        [token.clone(), format!("bearer {token}"), format!("Basic {token}"), "Bearer ".to_owned(), String::new()]
    {
        assert_eq!(world.send(get(&[authorization(&value)])).await.code(), "UNAUTHENTICATED", "{value}");
    }
    let good = authorization(&format!("Bearer {token}"));
    assert_eq!(world.send(get(std::slice::from_ref(&good))).await.text, "holder/alice");
    assert_eq!(world.send(get(&[good.clone(), good.clone()])).await.code(), "BAD_REQUEST");
    assert_eq!(world.send(get(&[good, ("signature", "sig=:AAAA:".to_owned())])).await.code(), "BAD_REQUEST");
    let refused = world.send(get(&[])).await;
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    let shown = world.metrics.render().expect("renders");
    assert!(shown.contains(r#"plimsoll_border_refused_total{reason="ambiguous"} 2"#), "{shown}");
}

#[tokio::test]
async fn a_message_covers_what_decides_and_says_when_and_by_whom() {
    let world = World::new();
    let (core, mut drawn) = (MessageKey::core(), 0);
    let mut message = |change: &dyn Fn(&mut Message)| {
        drawn += 1;
        let mut message = Message::new(&format!("nonce-{drawn:016}"), "core");
        change(&mut message);
        message.sign(&core)
    };
    let sent = |message: Message| world.send(message.request().expect("a request"));
    let p = |created: i64, expires: i64, tag: &str| {
        let parameters = parameters(created, expires, "nonce-of-its-own", "core", tag);
        move |m: &mut Message| m.parameters.clone_from(&parameters)
    };
    assert_eq!(sent(message(&|_| {})).await.text, "bridge/core 15");
    for component in ["@method", "@target-uri", "content-digest", "content-type", "idempotency-key"] {
        let without = message(&|m| m.components.retain(|c| *c != component));
        assert_eq!(sent(without).await.code(), "UNAUTHENTICATED", "{component}");
    }
    // A header that is covered and not there; a body without a digest.
    let gone = message(&|m| m.headers.retain(|(name, _)| name != "idempotency-key"));
    assert_eq!(sent(gone).await.code(), "UNAUTHENTICATED");
    let bare = message(&|m| {
        m.headers.retain(|(name, _)| name == "content-type");
        m.components.retain(|c| !matches!(*c, "content-digest" | "idempotency-key"));
    });
    assert_eq!(sent(bare).await.code(), "UNAUTHENTICATED");
    // Without a body, none is needed.
    let get = message(&|m| {
        m.method = "GET".to_owned();
        m.headers.clear();
        m.body.clear();
        m.components.truncate(2);
    });
    assert_eq!(sent(get).await.text, "bridge/core");

    assert_eq!(
        sent(message(&p(NOW, NOW + 301, TAG))).await.code(),
        "UNAUTHENTICATED",
        "a longer window than configured"
    );
    assert_eq!(sent(message(&p(NOW, NOW, TAG))).await.code(), "UNAUTHENTICATED");
    assert_eq!(sent(message(&p(NOW + 61, NOW + 100, TAG))).await.code(), "UNAUTHENTICATED");
    assert_eq!(sent(message(&p(NOW - 300, NOW - 60, TAG))).await.code(), "EXPIRED_TOKEN");
    assert_eq!(sent(message(&p(NOW, NOW + 100, "another-service"))).await.code(), "UNAUTHENTICATED");
    assert_eq!(sent(message(&p(NOW - 300, NOW - 59, TAG))).await.text, "bridge/core 15");
    assert_eq!(sent(message(&p(NOW, NOW + 100, TAG))).await.code(), "NONCE_REUSED");

    let unknown = message(&|m| m.parameters = m.parameters.replace("\"core\"", "\"cores\""));
    assert_eq!(sent(unknown).await.code(), "UNKNOWN_KID");
    let anothers = message(&|m| m.parameters = m.parameters.replace("\"core\"", "\"ledger\""));
    assert_eq!(sent(anothers).await.code(), "BAD_SIGNATURE");
    let downgraded = message(&|m| m.parameters += ";alg=\"hmac-sha256\"");
    assert_eq!(sent(downgraded).await.code(), "UNAUTHENTICATED");
    let named = message(&|m| m.parameters += ";alg=\"ed25519\"");
    assert_eq!(sent(named).await.text, "bridge/core 15");
}

#[tokio::test]
async fn a_message_whose_body_was_exchanged_uses_up_no_nonce() {
    let world = World::new();
    let good = Message::new("nonce-0000000001", "ledger").sign(&MessageKey::ledger());
    let mut exchanged = good.clone();
    exchanged.body = br#"{"amount":9900}"#.to_vec();
    assert_eq!(world.send(exchanged.request().expect("a request")).await.code(), "BAD_SIGNATURE");
    assert_eq!(world.send(good.request().expect("a request")).await.text, "bridge/ledger 15");
    assert_eq!(world.send(good.request().expect("a request")).await.code(), "NONCE_REUSED");
    world.clock.set(plimsoll_model::UtcSeconds(NOW + 359));
    assert_eq!(world.send(good.request().expect("a request")).await.code(), "NONCE_REUSED");
    world.clock.set(plimsoll_model::UtcSeconds(NOW + 360));
    assert_eq!(world.send(good.request().expect("a request")).await.code(), "EXPIRED_TOKEN");
}

#[tokio::test]
async fn of_a_hundred_that_come_at_once_with_one_nonce_one_enters() {
    let world = std::sync::Arc::new(World::new());
    let good = Message::new("nonce-0000000001", "core").sign(&MessageKey::core());
    let all: Vec<_> = (0..100)
        .map(|_| {
            let (world, request) = (std::sync::Arc::clone(&world), good.request().expect("a request"));
            tokio::spawn(async move { world.send(request).await.status })
        })
        .collect();
    let mut entered = 0;
    for one in all {
        entered += usize::from(one.await.expect("ends") == StatusCode::OK);
    }
    assert_eq!(entered, 1);
}

#[tokio::test]
async fn a_nonce_counts_once_on_all_replicas_and_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", directory.path().join("shared.db").display());
    let open = async || plimsoll_serve::store::Store::open(&url).await.expect("opens");
    let good = Message::new("nonce-0000000001", "core").sign(&MessageKey::core());
    let sent = async |world: &World| world.send(good.request().expect("a request")).await;

    let (store, beside) = (open().await, open().await);
    let (one, other) = (World::on(Some(store.clone()), |_| {}), World::on(Some(beside.clone()), |_| {}));
    assert_eq!(sent(&one).await.text, "bridge/core 15");
    assert_eq!(sent(&other).await.code(), "NONCE_REUSED", "another replica, which never saw it");
    store.close().await;
    beside.close().await;
    let again = World::on(Some(open().await), |_| {});
    assert_eq!(sent(&again).await.code(), "NONCE_REUSED", "the next start");

    // When nobody can tell whether it was used, it does not count.
    let another = Message::new("nonce-0000000002", "core").sign(&MessageKey::core());
    let answer = one.send(another.request().expect("a request")).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
}
