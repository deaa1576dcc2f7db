//! Signing in and out, roles, and what a page lets nobody do.

use serde_json::json;

use super::house::{House, NOW};

#[tokio::test]
async fn nobody_sees_a_page_without_signing_in_and_a_token_is_what_signs_in() {
    let house = House::tng().await;
    house.open("amina", 1, 5_000).await;
    for path in
        ["/console", "/console/accounts", "/console/accounts/amina", "/console/models", "/console/log", "/console/x"]
    {
        for cookie in ["", "plimsoll=", "plimsoll=AAAA", "plimsoll=a; plimsoll=b"] {
            let answer = house.page(cookie, path).await;
            assert_eq!(answer.status, 303, "{path} with {cookie:?}");
            assert!(answer.header("location").starts_with("/console/sign-in?next=%2Fconsole"), "{path}");
        }
    }
    let expired = house.token_for("asha", json!({ "aud": "desk", "role": "risk" }), -120);
    let holder = house.token_for("amina", json!({ "aud": "wallet" }), 600);
    let boss = house.token_for("asha", json!({ "aud": "desk", "role": "owner" }), 600);
    let good = house.token("asha", "risk");
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let forged = format!("{signed}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    for (token, says) in [
        (&*expired, "expired"),
        (&*holder, "wallet holder"),
        (&*boss, "does not count"),
        (&*forged, "does not count"),
        ("x", "does not count"),
    ] {
        let answer = house.form("", "/console/sign-in", &[("token", token)]).await;
        assert_eq!(answer.status, 401, "{says}");
        assert!(answer.text.contains(says) && answer.header("set-cookie").is_empty(), "{says}: {}", answer.text);
        assert!(!answer.text.contains(&token[..token.len().min(20)]) || token.len() < 20, "a token is not shown again");
    }
    let answer = house.form("", "/console/sign-in", &[("token", &good), ("next", "/console/accounts")]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/console/accounts"));
    let cookie = answer.header("set-cookie");
    for part in ["plimsoll=", "HttpOnly", "SameSite=Strict", "Path=/console", "Max-Age=3600"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&good), "the cookie is not the token");
    let page = house.page(&answer.cookie(), "/console/accounts").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("amina") && page.text.contains("<b>asha</b> · risk"));
}

#[tokio::test]
async fn a_session_ends_with_its_token_after_four_hours_or_on_signing_out() {
    let house = House::tng().await;
    let asha = house.sign_in("asha", "viewer").await;
    house.clock.set(NOW.plus(3_599));
    assert_eq!(house.page(&asha.cookie, "/console").await.status, 200);
    house.clock.set(NOW.plus(3_600));
    assert_eq!(house.page(&asha.cookie, "/console").await.status, 303, "with its token");

    let long = house.token_for("ben", json!({ "aud": "desk", "role": "viewer" }), 86_400);
    let ben = house.form("", "/console/sign-in", &[("token", &long)]).await.cookie();
    let begun = house.clock.now();
    house.clock.set(begun.plus(4 * 3_600 - 1));
    assert_eq!(house.page(&ben, "/console").await.status, 200);
    house.clock.set(begun.plus(4 * 3_600));
    assert_eq!(house.page(&ben, "/console").await.status, 303, "after four hours");

    let chi = house.sign_in("chi", "viewer").await;
    let left = house.act(&chi, "/console/sign-out", &[]).await;
    assert_eq!((left.status, left.header("location")), (303, "/console/sign-in"));
    assert!(left.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(house.page(&chi.cookie, "/console").await.status, 303, "a copy of the cookie does not count either");
}

#[tokio::test]
async fn over_https_the_cookie_goes_nowhere_else() {
    let house = House::of("tng", "https://limits.example").await;
    let token = house.token("asha", "viewer");
    let answer = house.form("", "/console/sign-in", &[("token", &token)]).await;
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-plimsoll=") && cookie.contains("; Secure") && cookie.contains("Path=/;"),
        "{cookie}"
    );
    assert_eq!(house.page(&answer.cookie(), "/console").await.status, 200);
}

#[tokio::test]
async fn every_answer_forbids_what_is_not_ours_and_is_kept_nowhere() {
    let house = House::tng().await;
    house.village().await;
    let asha = house.sign_in("asha", "admin").await;
    for path in [
        "/console",
        "/console/accounts",
        "/console/accounts/amina",
        "/console/accounts/nobody",
        "/console/accounts/amina/log",
        "/console/models",
        "/console/log",
        "/console/sign-in",
        "/console/nowhere",
        "/docs",
    ] {
        let answer = house.page(&asha.cookie, path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{path}: no script at all");
        if path != "/docs" {
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        }
        for foreign in ["http://", "https://", "<script", " style=", " onclick=", "//"] {
            assert!(!answer.text.contains(foreign), "{path} holds {foreign}");
        }
    }
}

#[tokio::test]
async fn what_people_write_is_shown_as_text() {
    let house = House::tng().await;
    house.village().await;
    let asha = house.sign_in("asha", "risk").await;
    let page = house.page(&asha.cookie, "/console/accounts/amina").await;
    assert!(page.text.contains("I was asleep &#60;script&#62;"), "{}", page.text);
    let found = house.page(&asha.cookie, "/console/accounts?starts=%22%3E%3Cb%3E").await;
    assert!(!found.text.contains("\"><b>") && found.text.contains("No account begins with"));
}

#[tokio::test]
async fn each_role_may_do_its_own_and_what_those_before_it_may() {
    let house = House::tng().await;
    house.village().await;
    let jkt = super::house::key(1);
    let jkt = plimsoll_model::grant::Signer::public(&jkt).thumbprint().to_string();
    let roles = ["viewer", "support", "risk", "admin"];
    let gets = [
        ("/console", 0),
        ("/console/models", 0),
        ("/console/log", 0),
        ("/console/accounts", 1),
        ("/console/accounts/amina", 1),
        ("/console/accounts/amina/log", 1),
    ];
    // Each of them would do nothing even where it is allowed: the role is looked at first.
    let nonce = plimsoll_model::grant::Bytes([77; 16]).to_string();
    type Fields<'a> = Vec<(&'a str, &'a str)>;
    let posts: [(&str, usize, u16, Fields<'_>); 7] = [
        ("/console/accounts/nobody/revoke", 1, 404, vec![("jkt", &jkt), ("reason", "lost")]),
        ("/console/accounts/nobody/signal", 2, 404, vec![("cause", "double_spend")]),
        ("/console/accounts/amina/resolve", 2, 404, vec![("nonce", &nonce), ("at_fault", "")]),
        ("/console/accounts/amina/propose", 2, 409, vec![("tier", "2"), ("reason", "r")]),
        ("/console/accounts/amina/confirm", 2, 409, vec![("tier", "1"), ("at", "1")]),
        ("/console/models/99/widen", 3, 404, vec![("percent", "10")]),
        ("/console/models/99/pull-back", 3, 404, vec![("reason", "r")]),
    ];
    for (rank, role) in roles.into_iter().enumerate() {
        let who = house.sign_in("p", role).await;
        for (path, least) in gets {
            let status = house.page(&who.cookie, path).await.status;
            assert_eq!(status, if rank >= least { 200 } else { 403 }, "{role} {path}");
        }
        for (path, least, done, fields) in &posts {
            let answer = house.act(&who, path, fields).await;
            assert_eq!(answer.status, if rank >= *least { *done } else { 403 }, "{role} {path}: {}", answer.text);
        }
        let page = house.page(&who.cookie, "/console").await;
        assert_eq!(page.text.contains("amina"), rank >= 1, "a viewer sees no account's name");
    }
}
