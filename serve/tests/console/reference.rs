//! Pages that show what is there: lists, sums and the API's description.

use plimsoll_serve::api;

use super::house::House;

#[tokio::test]
async fn every_account_is_on_one_page_of_the_list_and_one_only() {
    let house = House::tng().await;
    for n in 0..60 {
        house.open(&format!("u{n:03}"), 1, 100).await;
    }
    house.open("other", 1, 100).await;
    let sue = house.sign_in("sue", "support").await;
    let mut seen = Vec::new();
    let mut path = "/console/accounts?starts=u".to_owned();
    loop {
        let page = house.page(&sue.cookie, &path).await;
        let names = page.text.split(r#"<a href="/console/accounts/"#).skip(1);
        seen.extend(names.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()));
        let Some(next) = page.text.split(r#"href="/console/accounts?starts=u&amp;after="#).nth(1) else { break };
        path = format!("/console/accounts?starts=u&after={}", next.split('"').next().unwrap_or_default());
    }
    assert_eq!(seen, (0..60).map(|n| format!("u{n:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_entry_is_on_one_page_of_the_log_and_one_only() {
    let house = House::tng().await;
    house.open("amina", 1, 100).await;
    let rio = house.sign_in("rio", "risk").await;
    for _ in 0..60 {
        house.act(&rio, "/console/accounts/amina/signal", &[("cause", "velocity_breach")]).await;
    }
    let (mut path, mut entries, mut pages) = ("/console/accounts/amina/log".to_owned(), 0, 0);
    loop {
        let page = house.page(&rio.cookie, &path).await;
        entries += page.text.matches("<li class=\"card\">").count();
        pages += 1;
        let Some(older) = page.text.split(r#"href="?before="#).nth(1) else { break };
        path = format!("/console/accounts/amina/log?before={}", older.split('"').next().unwrap_or_default());
    }
    assert_eq!((entries, pages), (61, 3), "sixty signals and the opening");
}

#[tokio::test]
async fn the_front_page_adds_up_what_is_out_there() {
    let house = House::tng().await;
    house.village().await;
    house.open("poor", 1, -700).await;
    let asha = house.sign_in("asha", "viewer").await;
    let page = house.page(&asha.cookie, "/console").await;
    assert!(page.text.contains("Of the newest 3 payments"), "{}", page.text);
    let now = house.clock.now();
    let totals = house.service.store.totals(now).await.expect("reads");
    assert_eq!(totals.iter().map(|t| (t.tier, t.accounts, t.owed_minor)).collect::<Vec<_>>(), [(1, 1, 700), (2, 2, 0)]);
    let mut exposed = 0;
    for name in ["amina", "shop"] {
        let id = plimsoll_serve::record::AccountId::try_from(name).expect("a name");
        let needs = plimsoll_serve::unit::Needs { accounts: [id.clone()].into(), ..Default::default() };
        let unit = house.service.store.look(needs).await.expect("reads");
        exposed += unit.accounts.get(&id).expect("there").exposed(now).minor() as i64;
    }
    assert!(exposed > 0);
    assert_eq!(totals.iter().map(|t| t.exposed_minor).sum::<i64>(), exposed);
    assert_eq!(house.service.store.totals(now.plus(30 * 86_400)).await.expect("reads")[1].exposed_minor, 0);
}

#[tokio::test]
async fn the_description_is_served_and_the_reference_names_everything_in_it() {
    let house = House::tng().await;
    let (_, document) = api::router().split_for_parts();
    let document = serde_json::to_value(&document).expect("JSON");
    let served = house.page("", "/openapi.json").await;
    assert_eq!((served.status, served.header("content-type")), (200, "application/json"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&served.text).expect("JSON"), document);
    let docs = house.page("", "/docs").await;
    assert_eq!(docs.status, 200);
    for path in document["paths"].as_object().expect("paths").keys() {
        assert!(docs.text.contains(&format!("<code>{path}</code>")), "{path}");
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        assert!(docs.text.contains(&format!(r#"id="schema-{name}""#)), "{name}");
        for field in schema["properties"].as_object().into_iter().flat_map(|p| p.keys()) {
            assert!(docs.text.contains(&format!("<code>{field}</code>")), "{name}.{field}");
        }
    }
    for link in docs.text.split(r##"href="#"##).skip(1) {
        let anchor = link.split('"').next().unwrap_or_default();
        assert!(docs.text.contains(&format!(r#"id="{anchor}""#)), "#{anchor} leads nowhere");
    }
}
