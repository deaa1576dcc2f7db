//! A small fleet against the whole service, every attack included.

use std::path::Path;

use plimsoll_serve::fleet::{Attack, Plan, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_wallets_for_a_week_keep_every_promise_and_no_attack_works() {
    let home = tempfile::tempdir().expect("a directory");
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/tests/fixtures/published");
    let plan = Plan {
        wallets: 100,
        days: 7,
        seed: 1,
        home: home.path().to_owned(),
        repository: published.join("first"),
        root: published.join("root.json"),
        store: None,
    };
    let report = run(&plan, |_| {}).await.expect("comes to its end");
    assert!(report.held(), "{report}");
    assert_eq!(report.attacks.len(), Attack::ALL.len());
    let windows: u64 = report.tiers.iter().map(|t| t.windows).sum();
    assert!(windows > 100, "there were limits to hold: {report}");
}
