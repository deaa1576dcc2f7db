//! The console in a browser: serves it on a socket, and leaves the rest to `browser.test.js`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use plimsoll_serve::ops::metrics::{Metrics, StoreMetrics};
use plimsoll_serve::ops::server;

use super::house::House;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Chromium and playwright-core: serve/console-test.sh installs them and runs this"]
async fn people_work_with_it_in_a_browser() {
    let house = House::tng().await;
    house.village().await;
    for n in 0..40 {
        house.open(&format!("merchant-{n:03}"), 1, 12_300 + n * 17).await;
    }
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("bound"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (router, config, metrics) =
        (house.router.clone(), house.config.clone(), Arc::new(Metrics::new(StoreMetrics::default())));
    let serving = tokio::spawn(async move {
        let stopped = async move { drop(stopped.await) };
        server::serve(listener, router, &config.server, &metrics, stopped).await
    });
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console");
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec", "browser.test.js"]).current_dir(here).env("CONSOLE", &origin);
    for (name, role) in [("vic", "viewer"), ("sue", "support"), ("asha", "risk"), ("ben", "risk"), ("ada", "admin")] {
        node.env(format!("TOKEN_{}", name.to_uppercase()), house.token(name, role));
    }
    let ran = tokio::task::spawn_blocking(move || node.stdin(Stdio::null()).status());
    let status = ran.await.expect("ends").expect("node starts: run serve/console-test.sh");
    assert!(status.success(), "browser.test.js failed, see above");
    drop(stop);
    serving.await.expect("ends").expect("served");
}
