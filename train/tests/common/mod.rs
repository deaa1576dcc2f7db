//! What several tests share: a history, a trained run, and the Python oracles.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use plimsoll_datasets::{Histories, synth};
use plimsoll_model::calibration::Target;
use plimsoll_model::policy::Policy;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::boost::BoostConfig;
use plimsoll_train::config::{CalibrationConfig, Config, SplitConfig};
use plimsoll_train::run::{Run, train};

/// Wallets enough to certify, few enough for a test.
pub(crate) fn history() -> Histories {
    synth::histories(&synth::Config { seed: 11, accounts: 3_000, days: 180, ..synth::Config::default() })
        .expect("a valid generator")
}

pub(crate) fn small_config() -> Config {
    Config {
        model_id: "test".into(),
        seed: 3,
        // The generator says which device started a payment.
        target: Target::Committed,
        // 2 %: a test's few accounts could not certify less.
        calibration: CalibrationConfig { alpha: Ppm::new(20_000).expect("2 %"), ..CalibrationConfig::default() },
        boost: BoostConfig { trees: 40, leaves: 16, ..BoostConfig::default() },
        split: SplitConfig { windows_per_account: 10, ..SplitConfig::default() },
        ..Config::default()
    }
}

/// One run for all tests of a binary.
pub(crate) fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let policy = Policy::preset("tng").expect("a preset");
        train(&history(), &small_config(), &policy, &()).expect("trains")
    })
}

/// Runs an oracle with the interpreter that `./test.sh` installs, and returns what it prints.
pub(crate) fn oracle(script: &str, args: &[&str]) -> String {
    let python = std::env::var("PLIMSOLL_PYTHON")
        .expect("PLIMSOLL_PYTHON is not set: run ./test.sh, which installs the Python oracles and sets it");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/oracles").join(script);
    let output = Command::new(python).arg(&path).args(args).output().expect("the interpreter starts");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

pub(crate) fn write_f32(path: &Path, values: impl IntoIterator<Item = f32>) {
    let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
    std::fs::write(path, bytes).expect("writes");
}

pub(crate) fn read_f32(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("reads");
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Numbers that are the same in every run.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// 0 to 1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / (1u32 << 24) as f32
    }
}
