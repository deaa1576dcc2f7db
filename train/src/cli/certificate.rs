//! `plimsoll certificate`: what is promised, and whether it follows from the calibration log.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_model::artifact::Certificate;
use plimsoll_train::calibrate::verify;
use plimsoll_train::log;

use super::Context;
use super::exit::{BadFile, Refused};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Derive every number of a certificate again from the calibration log alone; fail on any difference.
    #[command(after_help = "Examples:\n  plimsoll certificate verify runs/first\n  \
        plimsoll certificate verify --certificate certificate.json --log calibration.csv")]
    Verify(Args),
}

#[derive(clap::Args)]
pub(super) struct Args {
    /// A run directory: its certificate.json and calibration.csv.
    #[arg(required_unless_present = "certificate")]
    run: Option<PathBuf>,
    /// A certificate on its own.
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    certificate: Option<PathBuf>,
    /// The calibration log it names.
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    log: Option<PathBuf>,
}

impl Args {
    fn certificate(&self) -> PathBuf {
        let of_run = || self.run.as_deref().unwrap_or(Path::new("")).join("certificate.json");
        self.certificate.clone().unwrap_or_else(of_run)
    }

    fn log(&self) -> PathBuf {
        let beside = || self.certificate().with_file_name("calibration.csv");
        self.log.clone().unwrap_or_else(beside)
    }

    fn read(&self) -> anyhow::Result<Certificate> {
        let path = self.certificate();
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let read = serde_json::from_slice(&bytes).map_err(|e| BadFile { path: path.clone(), reason: e.to_string() })?;
        // Its one way of writing: a member that this build does not know would be read over.
        if log::canonical(&read).as_bytes() != bytes {
            let reason = "it is not written as `plimsoll train` writes it: something was added or moved".into();
            return Err(BadFile { path, reason }.into());
        }
        Ok(read)
    }
}

pub(super) fn run(context: &Context, command: &Command) -> anyhow::Result<()> {
    let Command::Verify(args) = command;
    check(context, args)
}

fn check(context: &Context, args: &Args) -> anyhow::Result<()> {
    let stated = args.read()?;
    let path = args.log();
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let log = log::read(&bytes).map_err(|reason| BadFile { path, reason })?;
    let differences = verify(&stated, &log);
    if !differences.is_empty() {
        let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
        return Err(Refused(format!("the certificate does not follow from its log\n  {}", lines.join("\n  "))).into());
    }
    let answer = serde_json::json!({
        "verified": true,
        "calibration_root": stated.calibration_root,
        "rows": stated.calibration_rows,
        "tiers": stated.cells.len(),
    });
    context.answer(&answer, || {
        format!(
            "Verified: every number follows from the {} rows of the log, Merkle root {}.\n\
             What the log cannot show is that the model, the policy and the history are those it names: \
             `plimsoll inspect RUN --recheck` hashes the first two.",
            stated.calibration_rows, stated.calibration_root
        )
    })
}
