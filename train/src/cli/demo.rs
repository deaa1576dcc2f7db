//! `plimsoll demo`: the whole chain on generated wallets.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use plimsoll_datasets::{Histories, Input, OnBadRow, open, synth, write};
use plimsoll_model::calibration::Target;
use plimsoll_model::policy::Policy;
use plimsoll_model::time::Age;
use plimsoll_train::check::{Checked, Verdict};
use plimsoll_train::config::Config;
use plimsoll_train::keys::SigningKey;
use plimsoll_train::publish::{OVERRIDE_FILE, Override};
use plimsoll_train::run::Progress as _;
use plimsoll_train::{directory, keys, report, run};
use serde_json::json;

use super::check::Ground;
use super::exit::Usage;
use super::show::Curve;
use super::{Context, check, interrupt, release, score, show, train};

#[derive(clap::Args)]
#[command(after_help = "Example: plimsoll demo --dir /tmp/demo --seed 7")]
pub(super) struct Args {
    /// Directory to make; an earlier demo in it is replaced.
    #[arg(long, value_name = "DIR", default_value = "plimsoll-demo")]
    dir: PathBuf,
    /// Wallets to generate.
    #[arg(long, default_value_t = 10_000)]
    accounts: u32,
    /// Local days to generate.
    #[arg(long, default_value_t = 270)]
    days: u32,
    /// Same seed, same data and model.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

const PARTS: [&str; 5] = ["data", "run", "keys", "issuer", "repository"];

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let began = Instant::now();
    clear(&args.dir)?;
    let at = |part: &str| args.dir.join(part);
    let step = |says: String| {
        context.bars.clear();
        eprintln!("{:>6.1} s  {says}", began.elapsed().as_secs_f64());
    };

    let wallets =
        synth::Config { seed: args.seed, accounts: args.accounts, days: args.days, ..synth::Config::default() };
    interrupt::writing(&at("data"));
    let written = write::write_generated(
        &at("data"),
        write::FileFormat::Parquet,
        &wallets,
        &mut context.bars.counting("generating"),
    )?;
    step(format!("generated {} transactions of {} wallets", written.transactions, written.accounts));

    let source = open(&Input::at(at("data")))?;
    let histories = Histories::read(source, OnBadRow::Stop, &mut context.bars.counting("reading"))?;
    step("read and sorted them".into());

    // The generator says which device started a payment, so what the granted one started would have been offline.
    let target = Target::Committed;
    let config = Config { model_id: "tng-demo".into(), seed: args.seed, target, ..Config::default() };
    let policy = Policy::preset(&config.policy).expect("the default policy is a preset");
    let trained = run::train(&histories, &config, &policy, &context.bars)?;
    interrupt::writing(&at("run"));
    trained.save(&at("run"))?;
    step(format!("trained, proved monotone, calibrated: {} nodes", trained.metrics.nodes));

    check::play(context, &at("run"), &trained, &histories)?;
    step("played it over accounts and days that took no part, six attacks included".into());
    let checked = check::check_run(context, &at("run"))?;
    step(format!("checked: {} of {} passed", checked.verdicts.len() - checked.failed().len(), checked.verdicts.len()));
    let signing = keys::generate(&at("keys"))?;
    keys::generate_issuer(&at("issuer"), "plimsoll")?;
    let overridden = if checked.passed() { None } else { Some(overrule(context, &checked, &signing, &at("run"))?) };
    let ground = Ground { check: checked.to_json(), overridden };
    release::publish_run(context, &trained, &ground, &signing, &at("keys"), &at("repository"))?;
    step("signed by two of three roots, owner and risk officer, and the online key; published".into());

    let evaluator = score::evaluator(&at("repository"), &at("keys").join("root.json"), None, context.now)?;
    step("verified on the edge: signatures, hashes, bounds, golden vectors".into());

    let ages = [0, 4, 24, 72].map(Age::hours);
    let shown = choose(&histories);
    let curves: Vec<Curve> =
        shown.iter().filter_map(|ix| score::curve(&evaluator, &histories, *ix, &ages, context.now)).collect();
    let picture = at("run").join("limit-curve.svg");
    std::fs::write(&picture, report::curve(&trained).svg()).with_context(|| picture.display().to_string())?;

    let answer = json!({
        "seconds": began.elapsed().as_secs_f64(),
        "certificate": trained.release.certificate,
        "report": at("run").join("report.html"),
        "limits": curves.iter().map(|c| json!({
            "account": c.account, "balance": c.balance, "tier": c.tier, "decisions": c.decisions,
        })).collect::<Vec<_>>(),
    });
    context.answer(&answer, || {
        format!(
            "\n{}\n\nLimits on the edge ({}; RM 20/50/250 a payment and RM 50/150/500 in 24 h by tier)\n\n{}\n\nTry next: plimsoll \
             verify {} --root {}",
            train::summary(&trained, &at("run")),
            policy.currency,
            show::limits(&curves, policy.currency),
            at("repository").display(),
            at("keys").join("root.json").display(),
        )
    })
}

/// Few wallets may certify nothing, and then there is no ground for publishing: the demo's own risk officer signs for it,
/// and whoever verifies the repository reads that.
fn overrule(context: &Context, checked: &Checked, keys: &[SigningKey], dir: &Path) -> anyhow::Result<Vec<u8>> {
    let failed: Vec<String> = checked.failed().into_iter().map(Verdict::name).collect();
    context.bars.note(&format!("the check did not pass ({}): the demo signs an override", failed.join(", ")));
    let officer = keys.iter().find(|key| key.name() == "targets-risk").expect("`keys::generate` makes all six");
    let because = "a demo on generated wallets: nobody spends by it";
    let signed = Override::sign(&checked.to_json(), officer, "plimsoll demo", because, context.now)?;
    directory::add(dir, OVERRIDE_FILE, &signed)?;
    Ok(signed)
}

/// Removes an earlier demo; anything else in the way is left alone and refused.
fn clear(dir: &Path) -> anyhow::Result<()> {
    let say = || dir.display().to_string();
    if dir.exists() {
        for entry in std::fs::read_dir(dir).with_context(say)? {
            let name = entry.with_context(say)?.file_name();
            if !PARTS.iter().any(|p| name == *p) {
                return Err(Usage(format!("{} holds {name:?}, which no demo made; choose another --dir", say())).into());
            }
        }
        std::fs::remove_dir_all(dir).with_context(say)?;
    }
    std::fs::create_dir_all(dir).with_context(say)
}

/// A few wallets worth looking at: in each tier an old one with a middling and with a fat balance, and a young one.
fn choose(histories: &Histories) -> Vec<usize> {
    let mut chosen = Vec::new();
    let balance = |ix: usize| {
        histories.get(ix).map_or(0, |(a, rows)| a.opening_minor + rows.iter().map(|r| r.moved()).sum::<i64>())
    };
    for level in 0..3u8 {
        let mut old: Vec<(i64, usize)> = histories
            .iter()
            .enumerate()
            .filter(|(_, (account, rows))| account.tier.level() == level && rows.len() >= 600)
            .map(|(ix, _)| (balance(ix), ix))
            .filter(|(balance, _)| *balance > 0)
            .collect();
        old.sort_unstable();
        chosen.extend([old.len() / 3, old.len() * 9 / 10].iter().filter_map(|at| old.get(*at)).map(|(_, ix)| *ix));
    }
    let young = histories.iter().position(|(_, rows)| (100..500).contains(&rows.len()));
    chosen.extend(young);
    chosen.dedup();
    chosen
}
