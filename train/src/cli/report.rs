//! `plimsoll report`: what a risk officer reads and signs.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use plimsoll_train::gaps::Gaps;
use plimsoll_train::report;
use plimsoll_train::run::Run;
use serde_json::json;

use super::Context;
use super::exit::Refused;

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  plimsoll report runs/second\n  \
    plimsoll report runs/second --against runs/first --out second-against-first.html")]
pub(super) struct Args {
    /// A run directory.
    run: PathBuf,
    /// Another run, to be compared with on the windows that both were tested on.
    #[arg(long, value_name = "RUN")]
    against: Option<PathBuf>,
    /// The file to write; RUN/report.html when not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let run = Run::load(&args.run)?;
    let other = args.against.as_deref().map(Run::load).transpose()?;
    // Nobody signs numbers that do not follow from their log.
    run.recheck().map_err(Refused)?;
    let html = report::html(&run, other.as_ref());
    let out = args.out.clone().unwrap_or_else(|| args.run.join("report.html"));
    let say = || out.display().to_string();
    // Beside it first: a report is whole or the old one.
    let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(say)?;
    file.write_all(html.as_bytes()).and_then(|()| file.as_file().sync_all()).with_context(say)?;
    #[cfg(unix)]
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).with_context(say)?;
    file.persist(&out).map_err(|e| e.error).with_context(say)?;

    let gaps = Gaps::of(&run);
    let above: Vec<String> = gaps.above().map(|(by, g)| format!("{by}: {}", g.group)).collect();
    let ratio = other.as_ref().and_then(|other| report::ratio(&run, other).ok());
    let answer = json!({ "report": out, "gaps": gaps, "above": above, "against": ratio });
    context.answer(&answer, || {
        let mut text = format!("Report: {}", say());
        if !above.is_empty() {
            text += &format!("\nAbove the promise beyond doubt: {}", above.join(", "));
        }
        if let Some(r) = ratio {
            let [low, high] = r.limit_span;
            text += &format!(
                "\nMean limit {:.3} × the other's [{low:.3} – {high:.3}], {} accounts in both",
                r.limit, r.accounts
            );
        }
        text
    })
}
