//! `plimsoll inspect`: what a run promises, and whether it follows from its log.

use std::path::PathBuf;

use plimsoll_train::run::Run;

use super::exit::Refused;
use super::{Context, train};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  plimsoll inspect runs/first\n  plimsoll inspect runs/first --recheck")]
pub(super) struct Args {
    /// A run directory.
    run: PathBuf,
    /// Derive the certificate again from calibration.csv, and prove the trees monotone again.
    #[arg(long)]
    recheck: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let run = Run::load(&args.run)?;
    if args.recheck {
        run.recheck().map_err(Refused)?;
    }
    let answer = serde_json::json!({ "release": run.release, "metrics": run.metrics, "rechecked": args.recheck });
    context.answer(&answer, || {
        let mut text = train::summary(&run, &args.run);
        if args.recheck {
            text.push_str("\nRechecked: the certificate follows from calibration.csv, and the trees are monotone.");
        }
        text
    })
}
