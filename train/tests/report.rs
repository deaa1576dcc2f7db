//! The report in a browser: made here from small runs, read by `report/browser.test.js`.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use plimsoll_datasets::{Histories, synth};
use plimsoll_model::policy::Policy;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::config::{CalibrationConfig, Config};
use plimsoll_train::report;
use plimsoll_train::run::{Run, train};

fn trained(history: &Histories, config: &Config) -> Run {
    train(history, config, &Policy::preset("tng").expect("a preset"), &()).expect("trains")
}

#[test]
#[ignore = "needs Chromium and playwright-core: train/report-test.sh installs them and runs this"]
fn every_plot_is_read_on_a_desk_on_a_phone_and_on_paper() {
    let run = common::run();
    let smaller = Config {
        boost: plimsoll_train::boost::BoostConfig { trees: 15, ..common::small_config().boost },
        ..common::small_config()
    };
    let other = trained(&common::history(), &smaller);
    // So few accounts that nothing certifies: much of the report has nothing to show, and must say so.
    let few = synth::Config { seed: 5, accounts: 300, days: 150, ..synth::Config::default() };
    let asks = CalibrationConfig { alpha: Ppm::new(1_000).expect("0.1 %"), ..CalibrationConfig::default() };
    let nothing = Config { calibration: asks, ..smaller };
    let nothing = trained(&synth::histories(&few).expect("a valid generator"), &nothing);

    let dir = tempfile::tempdir().expect("a directory");
    let pages = [
        ("certified", report::html(run, None)),
        ("against", report::html(run, Some(&other))),
        ("nothing-certifies", report::html(&nothing, Some(run))),
    ];
    let paths = pages.map(|(name, html)| {
        let path = dir.path().join(format!("{name}.html"));
        std::fs::write(&path, html).expect("writes");
        path.to_str().expect("a temporary path is text").to_owned()
    });
    let ran = Command::new("node")
        .args(["--test", "--test-reporter=spec", "browser.test.js"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report"))
        .env("REPORTS", paths.join(":"))
        .stdin(Stdio::null())
        .status()
        .expect("node starts: run train/report-test.sh");
    assert!(ran.success(), "browser.test.js failed, see above");
}
