//! `plimsoll check` and `plimsoll override`: the gate before publishing.

use std::path::{Path, PathBuf};

use plimsoll_datasets::{Histories, OnBadRow};
use plimsoll_edge::{Kernel, Model, kernel};
use plimsoll_model::UtcSeconds;
use plimsoll_model::artifact::sha256_hex;
use plimsoll_train::check::{
    self, BadChecked, Bound, CHECK_FILE, CHECKS, Checked, Engine, REPLAY_FILE, Replayed, Steps, Subject, Verdict,
};
use plimsoll_train::directory;
use plimsoll_train::keys::SigningKey;
use plimsoll_train::publish::{OVERRIDE_FILE, Override};
use plimsoll_train::replay::{self, Ledger};
use plimsoll_train::run::{Progress as _, Run};

use super::exit::CheckFailed;
use super::{Context, DataArgs, show};

#[derive(clap::Args)]
#[command(after_help = "Example: plimsoll check runs/first --data wallets\n\
    With --data it plays the run over that ledger first, attacks included, and keeps the outcome in the run as replay.json; \
    later checks read it there.\n\
    Bounds are in the run's config.toml, under [check]. Writes check.json into the run: publishing asks for it.")]
pub(super) struct Args {
    /// Run directories.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// The ledger to play: the one the run was made from, of which only unseen accounts and days are played, or a newer one.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// What the columns of its table mean.
    #[arg(long, value_name = "FILE", requires = "data")]
    mapping: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(
    after_help = "Example: plimsoll override --run runs/first --key officer/targets-risk.pem --by \"A. Officer\" \\\n    \
    --because \"pilot of 200 staff accounts until March\"\n\
    The statement is published beside the model, and `plimsoll verify` shows it."
)]
pub(super) struct OverrideArgs {
    /// A run whose check did not pass.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The risk officer's private key: one that the repository's root names targets-risk….
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Who answers for it.
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Why it may be published all the same.
    #[arg(long, value_name = "TEXT")]
    because: String,
}

/// The engines that a published model will meet.
const ENGINES: [Engine; 2] = [Engine { name: "kernel", load: on_kernel }, Engine { name: "tract", load: on_tract }];

fn on_kernel(bytes: &[u8]) -> Result<Steps, String> {
    let file = kernel::File::read(bytes).map_err(|e| e.to_string())?;
    let fast = Kernel::new(&file.ensemble.forest).map_err(|e| e.to_string())?;
    let portable = fast.clone().portable();
    // Phones run the portable instructions and servers the fast ones; where they differ, neither answer is right.
    Ok(Box::new(move |row| {
        let steps = fast.steps(row);
        if portable.steps(row) == steps { steps } else { Vec::new() }
    }))
}

fn on_tract(bytes: &[u8]) -> Result<Steps, String> {
    let model = Model::from_bytes(bytes).map_err(|e| e.to_string())?;
    Ok(Box::new(move |row| model.steps(row)))
}

/// Checks a run and writes `check.json` into it.
pub(super) fn check_run(context: &Context, dir: &Path) -> anyhow::Result<Checked> {
    let checked = checked(context, dir)?;
    directory::add(dir, CHECK_FILE, &checked.to_json())?;
    Ok(checked)
}

/// Plays a run over a ledger and keeps the outcome in it.
pub(super) fn play(context: &Context, dir: &Path, run: &Run, histories: &Histories) -> anyhow::Result<()> {
    let manual = run.policy.manual_wallet.as_ref().map_or(0, |m| m.below_lifetime_tx);
    // As if nobody were too young for the model: it is the model that is tried.
    let config = replay::Config {
        accounts: run.config.check.replay_accounts,
        lifetime_before: manual,
        ..replay::Config::default()
    };
    let ends = histories.span().map_or(UtcSeconds(0), |s| s.1);
    let ledger = Ledger::unseen(histories, run, config.days);
    let outcome = replay::run(&super::replay::of_run(run, ends)?, &ledger, &config, &context.bars)?;
    let played = Replayed::of(&outcome, sha256_hex(&run.policy.to_json()), histories.sha256());
    Ok(directory::add(dir, REPLAY_FILE, &played.to_json())?)
}

fn checked(context: &Context, dir: &Path) -> anyhow::Result<Checked> {
    context.bars.stage("checking", CHECKS.len() as u64);
    let checked = check::check(&Subject::read(dir)?, &ENGINES, &|done, _| context.bars.at(done as u64));
    context.bars.clear();
    Ok(checked)
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let data = args.data.clone().map(|data| DataArgs {
        data,
        data_format: None,
        mapping: args.mapping.clone(),
        on_bad_row: OnBadRow::Stop,
    });
    let histories = data.map(|data| data.read(context)).transpose()?;
    let mut all = Vec::new();
    for dir in &args.runs {
        if let Some(histories) = &histories {
            play(context, dir, &Run::load(dir)?, histories)?;
        }
        all.push((dir, check_run(context, dir)?));
    }
    let answer: Vec<_> = all
        .iter()
        .map(|(dir, checked)| serde_json::json!({ "run": dir, "passed": checked.passed(), "check": checked }))
        .collect();
    context
        .answer(&answer, || all.iter().map(|(dir, checked)| table(dir, checked)).collect::<Vec<_>>().join("\n\n"))?;
    let failed: Vec<String> = all.iter().flat_map(|(_, c)| c.failed()).map(Verdict::name).collect();
    if failed.is_empty() { Ok(()) } else { Err(CheckFailed(failed.join(", ")).into()) }
}

/// Every verdict in a line.
fn table(dir: &Path, checked: &Checked) -> String {
    let mut t = show::table(&["check", "of", "", "figure", "bound", "unit", "says"], 3..5);
    for v in &checked.verdicts {
        let (sign, value) = match v.bound {
            Bound::AtMost(value) => ("≤", value),
            Bound::AtLeast(value) => ("≥", value),
            Bound::Exactly(value) => ("=", value),
        };
        t.add_row([
            v.check.clone(),
            v.of.clone(),
            if v.passed { "passed" } else { "FAILED" }.to_owned(),
            v.figure.to_string(),
            format!("{sign} {value}"),
            v.unit.clone(),
            v.says.clone(),
        ]);
    }
    let failed = checked.failed().len();
    let outcome = match failed {
        0 => "Passed: it may be published.".to_owned(),
        _ => format!("{failed} of {} did not pass: `plimsoll publish` refuses it.", checked.verdicts.len()),
    };
    format!("{}\n{t}\n\n{outcome} Written to {}", dir.display(), dir.join(CHECK_FILE).display())
}

pub(super) fn overrule(context: &Context, args: &OverrideArgs) -> anyhow::Result<()> {
    let Ground { check, .. } = ground(context, &args.run)?;
    let checked = Checked::from_json(&check)?;
    let key = SigningKey::load(&args.key)?;
    let signed = Override::sign(&check, &key, &args.by, &args.because, context.now)?;
    directory::add(&args.run, OVERRIDE_FILE, &signed)?;
    let failed: Vec<String> = checked.failed().into_iter().map(Verdict::name).collect();
    let answer = serde_json::json!({ "by": args.by, "because": args.because, "failed": failed, "key": key.name() });
    context.answer(&answer, || {
        format!(
            "{} answers for {}: {}.\nSigned with {} into {}; it holds for these files alone.",
            args.by,
            failed.join(", "),
            args.because,
            key.name(),
            args.run.join(OVERRIDE_FILE).display()
        )
    })
}

/// What a run may be published on.
pub(super) struct Ground {
    /// `check.json`.
    pub(super) check: Vec<u8>,
    /// `override.json`, if there is one.
    pub(super) overridden: Option<Vec<u8>>,
}

/// Reads it, and checks again: a `check.json` that was written by hand is no ground.
pub(super) fn ground(context: &Context, dir: &Path) -> anyhow::Result<Ground> {
    let read = |name: &str| match std::fs::read(dir.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(anyhow::Error::new(e).context(dir.join(name).display().to_string())),
    };
    let check = read(CHECK_FILE)?.ok_or_else(|| BadChecked::Missing { run: dir.display().to_string() })?;
    Checked::from_json(&check)?.require_same(&check::hashes(dir)?)?;
    if checked(context, dir)?.to_json() != check {
        return Err(BadChecked::Altered.into());
    }
    Ok(Ground { check, overridden: read(OVERRIDE_FILE)? })
}
