//! What is shipped beside the program fits the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use plimsoll_serve::config::Load;
use plimsoll_serve::ops::metrics::{KeySet, Metrics, RateLimited, Refused, Request, StatusClass, StoreMetrics};

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// The metrics' names, each with a sample.
fn shown() -> String {
    let metrics = Metrics::new(StoreMetrics::default());
    let request = Request { route: "/v1/sync".into(), method: "POST", status: StatusClass::Success };
    metrics.http.duration_s.get_or_create(&request).observe(0.001);
    metrics.border.refused.get_or_create(&Refused { reason: "expired" }).inc();
    metrics.border.rate_limited.get_or_create(&RateLimited { by: "peer" }).inc();
    metrics.border.key_sets.get_or_create(&KeySet { outcome: "read" }).inc();
    metrics.render().expect("renders")
}

fn names(text: &str) -> BTreeSet<&str> {
    let name = |at: usize| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
        &rest[..end.unwrap_or(rest.len())]
    };
    text.match_indices("plimsoll_").map(|(at, _)| name(at)).collect()
}

#[test]
fn every_metric_of_the_dashboard_is_one_that_the_service_shows() {
    let dashboard = std::fs::read_to_string(deploy("grafana.json")).expect("there");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    let text = shown();
    let (there, mut asked) = (names(&text), 0);
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            for name in names(target["expr"].as_str().expect("an expression")) {
                assert!(there.contains(name), "{}: there is no {name} in\n{text}", panel["title"]);
                asked += 1;
            }
        }
    }
    assert!(asked >= 15, "{asked}");
    // And the other way round: what is counted is looked at.
    let all: String = dashboard["panels"].to_string();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let family = line.split(' ').next().expect("a name");
        assert!(all.contains(family) || family == "plimsoll_build", "no panel shows {family}");
    }
}

#[test]
fn the_example_configuration_is_read_and_every_commented_key_exists() {
    let file = deploy("serve.toml");
    let config = Load { file: Some(file.clone()), ..Load::default() }.config().expect("reads");
    assert!(config.auth.issuers["desk"].admins && !config.auth.issuers["holders"].admins);

    let text = std::fs::read_to_string(&file).expect("there");
    let uncommented: String = text
        .lines()
        .map(|line| {
            let key = line.strip_prefix("# ").filter(|rest| {
                rest.starts_with('[')
                    || rest
                        .split_once(" = ")
                        .is_some_and(|(k, _)| k.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
            });
            format!("{}\n", key.unwrap_or(line))
        })
        .collect();
    assert_ne!(uncommented, text);
    let directory = tempfile::tempdir().expect("a directory");
    let all = directory.path().join("all.toml");
    std::fs::write(&all, uncommented).expect("writes");
    let config = Load { file: Some(all), ..Load::default() }.config().expect("reads");
    assert!(config.store.password.is_some() && config.issuer.keys.is_some() && config.programme.repository.is_some());
    assert_eq!(config.auth.bridges.len(), 1);
}

#[test]
fn the_unit_stops_later_than_the_service_does_by_itself() {
    let unit = std::fs::read_to_string(deploy("plimsoll-serve.service")).expect("there");
    let stop: u64 =
        unit.lines().find_map(|l| l.strip_prefix("TimeoutStopSec=")).expect("set").parse().expect("seconds");
    let config = Load::default().config().expect("defaults");
    assert!(stop > config.server.shutdown_s);
}
