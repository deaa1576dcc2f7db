//! `plimsoll replay`: a model over a ledger, with attacks.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_datasets::Histories;
use plimsoll_datasets::write::partial_path;
use plimsoll_edge::Evaluator;
use plimsoll_model::{Currency, Money, UtcSeconds};
use plimsoll_train::replay::{
    AttackPlayed, Config, Difference, Figure, Ledger, Outcome, Played, ReplayError, Scenario, differences, evaluator,
    run,
};
use plimsoll_train::run::Run;
use serde_json::json;

use super::exit::{Refused, Usage};
use super::{Context, DataArgs, interrupt, score, show};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  plimsoll replay --run runs/first --data wallets\n  \
    plimsoll replay --repo repository --root keys/root.json --data wallets --scenario clean --scenario copied\n  \
    plimsoll replay --run runs/second --against runs/first --data wallets --out difference.csv\n\
Over the history that a run was made from, only accounts and days are played that took no part in it.\n\
What is played: clean, drained, slow, outage; split, clock, restored, copied, devices, collude.")]
pub(super) struct Args {
    /// A run directory: played as it would be published.
    #[arg(long, value_name = "DIR", required_unless_present = "repo", conflicts_with_all = ["repo", "model"])]
    run: Option<PathBuf>,
    /// A repository, with --root.
    #[arg(long, value_name = "DIR", requires = "root")]
    repo: Option<PathBuf>,
    /// The root that devices pin.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Which model line, where the repository has several.
    #[arg(long, value_name = "ID")]
    model: Option<String>,
    /// Another run directory or repository: the same ledger and luck, and what differs, account by account.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// The root of a repository named by --against; --root when not given.
    #[arg(long, value_name = "FILE", requires = "against")]
    against_root: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// How syncs, settlement and attacks go (TOML); the options below overrule it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is played, as often as needed; everything when not given.
    #[arg(long, value_name = "NAME", value_parser = scenario)]
    scenario: Vec<Scenario>,
    /// Accounts at most.
    #[arg(long, value_name = "N")]
    accounts: Option<u32>,
    /// Days: the ledger's last.
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// Same seed, same bytes.
    #[arg(long)]
    seed: Option<u64>,
    /// Share of accounts that attack, thousandths.
    #[arg(long, value_name = "THOUSANDTHS")]
    attackers: Option<u32>,
    /// Transactions an account made before the ledger begins.
    #[arg(long, value_name = "N")]
    lifetime_before: Option<u64>,
    /// Writes every figure, as .csv or .json; replaced when it is there.
    #[arg(long, value_name = "FILE", value_parser = table_file)]
    out: Option<PathBuf>,
}

fn scenario(name: &str) -> Result<Scenario, String> {
    let names = || Scenario::ALL.map(Scenario::name).join(", ");
    Scenario::from_name(name).ok_or_else(|| format!("use one of {}", names()))
}

fn table_file(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    match path.extension().and_then(|e| e.to_str()) {
        Some("csv" | "json") => Ok(path),
        _ => Err("name a file that ends in .csv or .json".into()),
    }
}

pub(super) fn run_command(context: &Context, args: &Args) -> anyhow::Result<()> {
    let config = read_config(args)?;
    let trained = args.run.as_deref().map(Run::load).transpose()?;
    let histories = args.data.read(context)?;
    let ends = histories.span().map_or(UtcSeconds(0), |s| s.1);
    let ours = match (&trained, &args.repo, &args.root) {
        (Some(run), _, _) => of_run(run, ends)?,
        (None, Some(repo), Some(root)) => score::evaluator(repo, root, args.model.as_deref(), context.now)?,
        _ => return Err(Usage("give --run, or --repo and --root".into()).into()),
    };
    let theirs = args.against.as_deref().map(|dir| other(dir, args, context, ends)).transpose()?;
    let ledger = match &trained {
        Some(run) => Ledger::unseen(&histories, run, config.days),
        None => Ledger::last_days(&histories, config.days),
    };
    let outcome = run(&ours, &ledger, &config, &context.bars)?;
    let compared = theirs.map(|theirs| run(&theirs, &ledger, &config, &context.bars)).transpose()?;
    context.bars.clear();
    let differ = compared.as_ref().map(|theirs| differences(&outcome, theirs));
    let answer = match &differ {
        None => json!(outcome),
        Some(differ) => json!({ "replay": outcome, "against": compared, "differences": differ }),
    };
    if let Some(path) = &args.out {
        write_out(path, &outcome, differ.as_deref(), &answer)?;
    }
    context.answer(&answer, || text(&outcome, compared.as_ref(), differ.as_deref(), &ours, &histories))?;
    // The report is out; whoever only looks at the exit code shall not miss it.
    match outcome.attacks.iter().find(|a| a.beyond_bound > 0) {
        Some(a) => {
            Err(Refused(format!("{}: {} attackers got more than its bound", a.attack.name(), a.beyond_bound)).into())
        }
        None => Ok(()),
    }
}

fn read_config(args: &Args) -> anyhow::Result<Config> {
    let mut config = match &args.config {
        None => Config::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Config::from_toml(&text).map_err(ReplayError::Config).with_context(|| path.display().to_string())?
        }
    };
    if !args.scenario.is_empty() {
        config.scenarios.clone_from(&args.scenario);
    }
    config.accounts = args.accounts.unwrap_or(config.accounts);
    config.days = args.days.unwrap_or(config.days);
    config.seed = args.seed.unwrap_or(config.seed);
    config.attackers_milli = args.attackers.unwrap_or(config.attackers_milli);
    config.lifetime_before = args.lifetime_before.unwrap_or(config.lifetime_before);
    config.validate().map_err(ReplayError::Config)?;
    Ok(config)
}

/// What a device would evaluate of a run that was not published yet.
pub(super) fn of_run(run: &Run, ends: UtcSeconds) -> anyhow::Result<Evaluator> {
    let place = std::env::temp_dir().join(format!("plimsoll-replay-{}", std::process::id()));
    interrupt::writing(&place);
    Ok(evaluator(run, &partial_path(&place), ends)?)
}

fn other(dir: &Path, args: &Args, context: &Context, ends: UtcSeconds) -> anyhow::Result<Evaluator> {
    if dir.join("release.json").exists() {
        return of_run(&Run::load(dir)?, ends);
    }
    match args.against_root.as_ref().or(args.root.as_ref()) {
        Some(root) => score::evaluator(dir, root, args.model.as_deref(), context.now),
        None => {
            Err(Usage(format!("{} is no run directory; of a repository give --against-root", dir.display())).into())
        }
    }
}

/// Makes a file or replaces it, whole.
fn write_out(
    path: &Path,
    outcome: &Outcome,
    differ: Option<&[Difference]>,
    answer: &serde_json::Value,
) -> anyhow::Result<()> {
    let bytes = if path.extension().is_some_and(|e| e == "json") {
        serde_json::to_vec_pretty(answer)?
    } else {
        csv(outcome, differ)?
    };
    interrupt::writing(path);
    let partial = partial_path(path);
    let write = || std::fs::write(&partial, &bytes).and_then(|()| std::fs::rename(&partial, path));
    write().inspect_err(|_| drop(std::fs::remove_file(&partial))).with_context(|| path.display().to_string())
}

/// One line for each figure; amounts in minor units, shares of one.
fn csv(outcome: &Outcome, differ: Option<&[Difference]>) -> anyhow::Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["scenario", "tier", "figure", "value", "low", "high"])?;
    let mut line = |scenario: Scenario, tier: &str, figure: &str, f: Figure, spread: bool| {
        let ends = if spread { [f.low, f.high].map(|v| v.to_string()) } else { [String::new(), String::new()] };
        let [low, high] = ends;
        out.write_record([scenario.name(), tier, figure, &f.value.to_string(), &low, &high])
    };
    let plain = |value: f64| Figure { value, ..Figure::default() };
    for p in &outcome.played {
        let tier = p.tier.map_or("all".to_owned(), |t| t.to_string());
        for (name, f) in [
            ("mean_limit", p.mean_limit),
            ("utilisation", p.utilisation),
            ("demand_served", p.served),
            ("declines", p.declines),
            ("lost_windows", p.lost),
            ("below_limit", p.short),
            ("issuer_lost_a_window", p.issuer_lost_a_window),
        ] {
            line(p.scenario, &tier, name, f, true)?;
        }
        for (name, v) in [
            ("accounts", p.accounts as f64),
            ("windows", p.windows as f64),
            ("zero_limits", p.zero),
            ("tried", p.tried as f64),
            ("declined", p.declined as f64),
            ("missing_when_all_is_spent", p.missing),
            ("credited", p.credited as f64),
            ("debited", p.debited as f64),
            ("issuer_lost", p.issuer_lost as f64),
            ("payee_lost", p.payee_lost as f64),
            ("unsettled", p.unsettled as f64),
        ] {
            line(p.scenario, &tier, name, plain(v), false)?;
        }
        for (bound, n) in &p.by_bound {
            line(p.scenario, &tier, &format!("declined: {bound}"), plain(*n as f64), false)?;
        }
    }
    for a in &outcome.attacks {
        for (name, f) in
            [("got", a.got), ("got_over_honest", a.over), ("issuer_lost", a.issuer_lost), ("payee_lost", a.payee_lost)]
        {
            line(a.attack, "all", name, f, true)?;
        }
        for (name, v) in [
            ("attackers", a.attackers as f64),
            ("passed_over", a.passed_over as f64),
            ("honest", a.honest),
            ("bound", a.bound),
            ("beyond_bound", a.beyond_bound as f64),
            ("lost_an_account", a.lost_an_account),
        ] {
            line(a.attack, "all", name, plain(v), false)?;
        }
        for (what, n) in &a.stopped {
            line(a.attack, "all", &format!("stopped: {what}"), plain(*n as f64), false)?;
        }
    }
    for d in differ.unwrap_or_default() {
        let tier = d.tier.map_or("all".to_owned(), |t| t.to_string());
        line(d.scenario, &tier, &format!("difference: {}", d.figure), d.difference, true)?;
    }
    out.into_inner().map_err(|e| anyhow::anyhow!("{e}"))
}

fn percent(v: f64) -> String {
    format!("{:.2} %", v * 100.0)
}

fn percent_in(f: Figure) -> String {
    format!("{:.3} % [{:.3} – {:.3}]", f.value * 100.0, f.low * 100.0, f.high * 100.0)
}

fn text(
    outcome: &Outcome,
    against: Option<&Outcome>,
    differ: Option<&[Difference]>,
    ours: &Evaluator,
    histories: &Histories,
) -> String {
    let currency = histories.currency;
    let days = |at: UtcSeconds| at.rfc3339().chars().take(10).collect::<String>();
    let seen = if outcome.unseen {
        "accounts and days that took no part in the model"
    } else if histories.sha256() == ours.certificate().terms.data_sha256 {
        "the history the model was made from: with --run only what took no part in it is played"
    } else {
        "another history than the model's"
    };
    let [alpha, beta, _] = outcome.promised_ppm.map(|p| percent(f64::from(p) / 1e6));
    let mut all = format!(
        "{} {} over {} accounts, {} to {} ({seen}); seed {}; amounts in {currency}.\nPromised: at most {alpha} of an account's \
         windows below the limit, at most {beta} of the tier's cap missing.\n\n{}",
        outcome.model_id,
        outcome.model_version,
        outcome.accounts,
        days(outcome.from),
        days(outcome.until),
        outcome.config.seed,
        lives(&outcome.played, currency),
    );
    for p in outcome.played.iter().filter(|p| p.tier.is_none() && !p.by_bound.is_empty()) {
        let bounds: Vec<String> = p.by_bound.iter().map(|(bound, n)| format!("{bound} {n}")).collect();
        all +=
            &format!("\n {}: {} of {} spends declined: {}", p.scenario.name(), p.declined, p.tried, bounds.join(", "));
    }
    if !outcome.attacks.is_empty() {
        all += &format!("\n\n{}", attacks(&outcome.attacks, currency));
    }
    if let (Some(theirs), Some(differ)) = (against, differ) {
        all += &format!("\n\n{}", difference_table(outcome, theirs, differ, currency));
    }
    all
}

fn lives(played: &[Played], currency: Currency) -> String {
    let money = |v: f64| currency.show(Money::floor_at_zero(v.round() as i64));
    let mut t = show::table(
        &[
            "scenario",
            "tier",
            "windows",
            "limit",
            "used",
            "served",
            "windows with a loss [95 %]",
            "below the limit [95 %]",
            "issuer lost",
            "payees lost",
            "beside α and β",
        ],
        2..10,
    );
    for p in played {
        t.add_row([
            p.tier.map_or(p.scenario.name().to_owned(), |_| String::new()),
            p.tier.map_or("all".to_owned(), |tier| tier.to_string()),
            p.windows.to_string(),
            money(p.mean_limit.value),
            format!("{:.1} %", p.utilisation.value * 100.0),
            format!("{:.1} %", p.served.value * 100.0),
            percent_in(p.lost),
            percent_in(p.short),
            money(p.issuer_lost as f64),
            money(p.payee_lost as f64),
            p.verdict.says().to_owned(),
        ]);
    }
    t.to_string()
}

fn attacks(played: &[AttackPlayed], currency: Currency) -> String {
    let money = |v: f64| currency.show(Money::floor_at_zero(v.round() as i64));
    let signed = |v: f64| if v < 0.0 { format!("−{}", money(-v)) } else { money(v) };
    let head = [
        "an attacker, mean",
        "tried",
        "not worth it",
        "honest",
        "got",
        "over",
        "at most",
        "issuer lost",
        "payees lost",
    ];
    let mut t = show::table(&head, 1..9);
    for a in played {
        let bound = if a.beyond_bound > 0 {
            format!("{} BROKEN by {}", money(a.bound), a.beyond_bound)
        } else {
            money(a.bound)
        };
        t.add_row([
            a.attack.name().to_owned(),
            a.attackers.to_string(),
            a.passed_over.to_string(),
            money(a.honest),
            money(a.got.value),
            signed(a.over.value),
            bound,
            money(a.issuer_lost.value),
            money(a.payee_lost.value),
        ]);
    }
    let mut text = format!("{t}\n What said no, and to how many where not to all:");
    for a in played {
        let said = a.stopped.iter().map(|(what, n)| match *n == a.attackers as u64 {
            true => what.clone(),
            false => format!("{what} ({n})"),
        });
        text += &format!("\n {}: {}", a.attack.name(), said.collect::<Vec<_>>().join("; "));
    }
    text
}

fn difference_table(ours: &Outcome, theirs: &Outcome, differ: &[Difference], currency: Currency) -> String {
    let name = |o: &Outcome| {
        let (hash, [alpha, ..]) = (o.model_sha256.get(..8).unwrap_or_default(), o.promised_ppm);
        format!("{} {} ({hash}, α {})", o.model_id, o.model_version, percent(f64::from(alpha) / 1e6))
    };
    let mut t = show::table(&["scenario", "tier", "figure", "ours", "theirs", "difference [95 %]"], 3..6);
    for d in differ {
        let share = matches!(d.figure, "demand served" | "declines" | "utilisation" | "lost windows");
        let scale = if share { 100.0 } else { 1.0 / currency.minor_per_major() as f64 };
        let show = |v: f64| format!("{:.2}{}", v * scale, if share { " %" } else { "" });
        let f = d.difference;
        t.add_row([
            d.scenario.name().to_owned(),
            d.tier.map_or("all".to_owned(), |tier| tier.to_string()),
            d.figure.to_owned(),
            show(d.ours),
            show(d.theirs),
            format!("{:+.3} [{:+.3}, {:+.3}]", f.value * scale, f.low * scale, f.high * scale),
        ]);
    }
    format!("{} less {}, account by account, the same syncs and the same luck:\n{t}", name(ours), name(theirs))
}
