//! What forms do, and who may not be made to send them.

use plimsoll_model::Tier;
use plimsoll_model::grant::{Bytes, Signer as _};
use plimsoll_serve::record::{AccountId, Ended, Promise};
use plimsoll_serve::unit::Needs;
use serde_json::Value;

use super::house::{House, Person, encoded, form, key};

impl House {
    async fn account(&self, name: &str) -> plimsoll_serve::record::Account {
        let id = AccountId::try_from(name).expect("a name");
        let unit = self.service.store.look(Needs { accounts: [id.clone()].into(), ..Needs::default() }).await;
        unit.expect("reads").accounts.get(&id).expect("there").clone()
    }

    async fn tier(&self, name: &str) -> u8 {
        self.account(name).await.tier(self.clock.now()).level()
    }

    /// The newest entries about an account: kind and body.
    async fn entries(&self, name: &str) -> Vec<(String, Value)> {
        let id = AccountId::try_from(name).unwrap_or(AccountId::none());
        let links = self.service.store.log_of(&id, None, 20).await.expect("reads");
        links.into_iter().map(|l| (l.kind, serde_json::from_slice(&l.body).expect("JSON"))).collect()
    }

    async fn propose(&self, who: &Person, tier: &str) -> String {
        let fields = [("tier", tier), ("reason", "saw the passport")];
        let answer = self.act(who, "/console/accounts/amina/propose", &fields).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/console/accounts/amina?done=proposed"),
            "{}",
            answer.text
        );
        self.account("amina").await.proposed.expect("waits").at.0.to_string()
    }
}

#[tokio::test]
async fn a_form_that_no_page_of_ours_sent_is_refused_and_changes_nothing() {
    let house = House::tng().await;
    house.open("amina", 1, 5_000).await;
    let asha = house.sign_in("asha", "risk").await;
    let ben = house.sign_in("ben", "risk").await;
    let path = "/console/accounts/amina/signal";
    for csrf in [None, Some(""), Some("x"), Some(&*ben.csrf)] {
        let mut fields = vec![("cause", "double_spend")];
        fields.extend(csrf.map(|csrf| ("csrf", csrf)));
        let answer = house.form(&asha.cookie, path, &fields).await;
        assert_eq!(answer.status, 403, "{csrf:?}");
    }
    let fields = [("cause", "double_spend"), ("csrf", &*asha.csrf)];
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.test"),
        ("origin", "null"),
    ] {
        let request = form(path, &fields).header("cookie", &asha.cookie).header(name, value);
        let answer = house.send(request.body(encoded(&fields)).expect("a request")).await;
        assert_eq!(answer.status, 403, "{name}: {value}");
        let token = house.token("eve", "risk");
        let fields = [("token", &*token)];
        let request = form("/console/sign-in", &fields).header(name, value);
        let answer = house.send(request.body(encoded(&fields)).expect("a request")).await;
        assert_eq!(answer.status, 403, "nobody is signed in from elsewhere: {name}: {value}");
    }
    let strange = house.form("", path, &fields).await;
    assert_eq!(strange.status, 401, "nobody is signed in");
    assert!(house.account("amina").await.signals.is_empty());
    assert_eq!(house.form("", "/console/sign-out", &[]).await.status, 401);

    for (name, value) in [("sec-fetch-site", "same-origin"), ("origin", "http://console.test")] {
        let request = form(path, &fields).header("cookie", &asha.cookie).header(name, value);
        let answer = house.send(request.body(encoded(&fields)).expect("a request")).await;
        assert_eq!(answer.status, 303, "{name}: {value}");
    }
    assert_eq!(house.account("amina").await.signals.len(), 2);
}

#[tokio::test]
async fn two_people_change_a_tier_and_one_does_not() {
    let house = House::tng().await;
    house.open("amina", 1, 5_000).await;
    let asha = house.sign_in("asha", "risk").await;
    let ben = house.sign_in("ben", "risk").await;
    let sue = house.sign_in("sue", "support").await;
    let confirm = "/console/accounts/amina/confirm";

    let at = house.propose(&asha, "2").await;
    let seen = [("tier", "2"), ("at", &*at)];
    assert_eq!(house.tier("amina").await, 1, "a proposal alone changes nothing");
    assert_eq!(house.act(&asha, confirm, &seen).await.status, 403, "the same person");
    let again = house.sign_in("asha", "admin").await;
    assert_eq!(house.act(&again, confirm, &seen).await.status, 403, "the same person with another role");
    assert_eq!(house.act(&sue, confirm, &seen).await.status, 403, "a lower role");
    assert_eq!(house.tier("amina").await, 1);
    let own = house.page(&asha.cookie, "/console/accounts/amina").await;
    assert!(own.text.contains("Somebody else has to confirm it") && !own.text.contains("Confirm tier 2"));
    let front = house.page(&ben.cookie, "/console").await;
    assert!(front.text.contains("Changes of tier to confirm") && front.text.contains("/console/accounts/amina#tier"));

    let done = house.act(&ben, confirm, &seen).await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/console/accounts/amina?done=confirmed"),
        "{}",
        done.text
    );
    assert_eq!(house.tier("amina").await, 2);
    let entries = house.entries("amina").await;
    let (_, change) = entries.iter().find(|(kind, _)| kind == "tier").expect("logged");
    assert_eq!(change["by"], "admin/asha, confirmed by admin/ben");
    assert_eq!(change["reason"], "saw the passport");
    let log = house.page(&sue.cookie, "/console/accounts/amina/log").await;
    assert!(log.text.contains("by admin/asha, confirmed by admin/ben"), "{}", log.text);
    assert!(!house.page(&ben.cookie, "/console").await.text.contains("Changes of tier to confirm"));
}

#[tokio::test]
async fn a_proposal_waits_for_a_day() {
    let house = House::tng().await;
    house.open("amina", 1, 5_000).await;
    let at = house.propose(&house.sign_in("asha", "risk").await, "2").await;
    house.clock.set(house.clock.now().plus(86_400));
    let ben = house.sign_in("ben", "admin").await;
    let late = house.act(&ben, "/console/accounts/amina/confirm", &[("tier", "2"), ("at", &at)]).await;
    assert_eq!(late.status, 409, "{}", late.text);
    assert_eq!(house.tier("amina").await, 1);
    assert!(!house.page(&ben.cookie, "/console").await.text.contains("Changes of tier to confirm"));
    let withdrawn = house.act(&ben, "/console/accounts/amina/withdraw", &[("tier", "2"), ("at", &at)]).await;
    assert_eq!(withdrawn.status, 303);
    house.propose(&ben, "0").await;
}

#[tokio::test]
async fn a_device_is_revoked_and_a_dispute_closed_and_the_log_says_by_whom() {
    let house = House::tng().await;
    house.village().await;
    let sue = house.sign_in("sue", "support").await;
    let rio = house.sign_in("rio", "risk").await;
    let jkt = key(1).public().thumbprint().to_string();
    let revoke = "/console/accounts/amina/revoke";
    for reason in ["", "  ", &"x".repeat(201)] {
        let answer = house.act(&sue, revoke, &[("jkt", &jkt), ("reason", reason)]).await;
        assert_eq!(answer.status, 400, "{reason:?}");
    }
    assert_eq!(house.account("amina").await.wallets[0].revoked_at, None);
    let answer = house.act(&sue, revoke, &[("jkt", &jkt), ("reason", "lost in a taxi")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(house.account("amina").await.wallets[0].revoked_at, Some(house.clock.now()));
    let (kind, body) = house.entries("amina").await.remove(0);
    assert_eq!((&*kind, &body["by"], &body["reason"]), ("device", &"admin/sue".into(), &"lost in a taxi".into()));
    let page = house.page(&sue.cookie, "/console/accounts/amina?done=revoked").await;
    assert!(page.text.contains("The device is revoked") && page.text.contains("revoked 2026-"));

    assert!(house.page(&rio.cookie, "/console").await.text.contains("amina paid shop"));
    let nonce = Bytes([1; 16]).to_string();
    let resolve = "/console/accounts/amina/resolve";
    let stranger = house.act(&rio, resolve, &[("nonce", &nonce), ("at_fault", "somebody")]).await;
    assert_eq!(stranger.status, 400, "neither payer nor payee");
    let answer = house.act(&rio, resolve, &[("nonce", &nonce), ("at_fault", "shop")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(house.act(&rio, resolve, &[("nonce", &nonce), ("at_fault", "")]).await.status, 409, "once");
    let found = house.entries("amina").await.remove(0).1;
    assert_eq!((&found["found"]["by"], &found["found"]["at_fault"]), (&"admin/rio".into(), &"shop".into()));
    let front = house.page(&rio.cookie, "/console").await;
    assert!(!front.text.contains("amina paid shop") && front.text.contains("Nothing: no dispute is open"));
}

#[tokio::test]
async fn a_signal_suspends_where_the_programme_keeps_standing_and_says_so_where_not() {
    let naira = House::of("naira", "http://console.test").await;
    naira.open("amina", 2, 5_000_000).await;
    let rio = naira.sign_in("rio", "risk").await;
    let path = "/console/accounts/amina/signal";
    assert!(naira.page(&rio.cookie, "/console/accounts/amina").await.text.contains("Standing: Good"));
    for cause in ["signature_invalid", "double_spend"] {
        assert_eq!(naira.act(&rio, path, &[("cause", cause)]).await.status, 303);
    }
    assert_eq!(naira.act(&rio, path, &[("cause", "bad_mood")]).await.status, 400);
    let page = naira.page(&rio.cookie, "/console/accounts/amina").await;
    assert!(page.text.contains("Score 69.8") && page.text.contains("Standing: Reduced"), "{}", page.text);
    assert_eq!(naira.act(&rio, path, &[("cause", "double_spend")]).await.status, 303);
    let page = naira.page(&rio.cookie, "/console/accounts/amina").await;
    assert!(page.text.contains("Standing: Suspended"), "{}", page.text);
    assert_eq!(naira.entries("amina").await[0].1["by"], "admin/rio");

    let tng = House::tng().await;
    tng.open("amina", 2, 5_000).await;
    let rio = tng.sign_in("rio", "risk").await;
    assert!(tng.page(&rio.cookie, "/console/accounts/amina").await.text.contains("keeps no standing"));
}

#[tokio::test]
async fn a_release_is_pulled_back_by_an_admin_and_the_log_says_why() {
    let house = House::tng().await;
    let ada = house.sign_in("ada", "admin").await;
    let page = house.page(&ada.cookie, "/console/models").await;
    assert!(page.text.contains("decides for everyone"), "{}", page.text);
    let version = house.service.models.for_everyone().version().expect("a model");
    let narrower = house.act(&ada, &format!("/console/models/{version}/widen"), &[("percent", "1")]).await;
    assert_eq!(narrower.status, 409, "a ring only widens");
    for percent in ["-1", "101", "NaN", "x"] {
        let answer = house.act(&ada, &format!("/console/models/{version}/widen"), &[("percent", percent)]).await;
        assert_eq!(answer.status, 400, "{percent}");
    }
    let answer =
        house.act(&ada, &format!("/console/models/{version}/pull-back"), &[("reason", "phones disagree")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(house.service.models.for_everyone().version(), None, "the floor decides");
    let page = house.page(&ada.cookie, "/console/models").await;
    assert!(page.text.contains("pulled back") && page.text.contains("phones disagree"));
    let (kind, body) = house.entries("").await.remove(0);
    assert_eq!((&*kind, &body["by"], &body["reason"]), ("model", &"admin/ada".into(), &"phones disagree".into()));
    assert!(house.page(&ada.cookie, "/console/log").await.text.contains("by admin/ada"));
}

#[tokio::test]
async fn the_front_page_tells_of_a_broken_promise() {
    let house = House::tng().await;
    let vic = house.sign_in("vic", "viewer").await;
    let front = async || house.page(&vic.cookie, "/console").await.text;
    let before = front().await;
    assert!(before.contains(r#"<span class="badge good">1.00</span>"#) && !before.contains("50\u{a0}%"), "{before}");
    let active = house.service.models.for_everyone();
    let certificate = active.evaluator().expect("a model").certificate();
    let lost = |n: u8| Ended {
        promise: Promise {
            jti: Bytes([n; 16]),
            model: active.model().expect("a model"),
            alpha: certificate.terms.alpha,
            delta: certificate.terms.delta,
            tier: Tier::new(1).expect("exists"),
            age: certificate.terms.ages[0],
            granted_ppm: 1_000_000,
        },
        at: house.clock.now(),
        lost: true,
    };
    let windows: Vec<Ended> = (0..20).map(lost).collect();
    let store = &house.service.store;
    store.run(house.clock.now(), Needs::default(), move |unit| unit.ended.extend(&windows)).await.expect("commits");
    assert_eq!(house.service.models.watch(store, house.clock.now()).await, Ok(20), "window after window is lost");
    let after = front().await;
    assert!(after.contains(r#"<span class="badge bad">"#) && after.contains("50\u{a0}%"), "{after}");
}
