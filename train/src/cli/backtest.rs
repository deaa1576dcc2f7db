//! `plimsoll backtest`: what each way of setting limits would have granted, and lost.

use std::path::PathBuf;

use plimsoll_model::calibration::Target;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::backtest::{Asked, Findings, Peers, backtest};
use plimsoll_train::windows::Teachers;

use super::exit::Usage;
use super::{Context, DataArgs, show, train};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  plimsoll backtest --data wallets\n  \
    plimsoll backtest --data berka/ --config train/configs/berka.toml --ages 0 --window-h 72 --cap 5000\n\
    With peers, whose predictions come from outside:\n  plimsoll backtest … --export rows\n  \
    python benches/oracles/backtest_peers.py rows\n  plimsoll backtest … --peers rows --peer lightgbm --peer xgboost")]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// A training configuration; the test share of its split is replaced by folds.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrules the configuration's policy: a preset or a policy file.
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// Every account is tested in one of so many folds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=20))]
    folds: u32,
    /// Whose windows teach: `by-account`, those of accounts that do nothing else, as everything that ships is made; or
    /// `by-time`, the earlier windows of accounts that choose and calibrate, too, which guarantees nothing.
    #[arg(long, default_value = "by-account", value_name = "WHO")]
    teachers: String,
    /// Overrules how many hours after a payment it may settle.
    #[arg(long, value_name = "HOURS")]
    window_h: Option<u32>,
    /// Overrules the oldest age, hours: 0 tests at the sync only.
    #[arg(long, value_name = "HOURS")]
    ages: Option<u32>,
    /// Overrules the target: strict or committed.
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Overrules the risk, parts per million.
    #[arg(long, value_name = "PPM")]
    alpha: Option<u32>,
    /// Overrules `calibration.spare_milli`, thousandths of the balance.
    #[arg(long, value_name = "MILLI")]
    spare: Option<u32>,
    /// Compares methods where each violates this share of test windows, parts per million: may be given several times.
    /// The risk, when not given.
    #[arg(long, value_name = "PPM")]
    rate: Vec<u32>,
    /// Compares the ladder head, too: one forest of the risk of every share of the balance. It takes some minutes.
    #[arg(long)]
    ladder: bool,
    /// Also shows the mean of min(limit, this), in major units.
    #[arg(long, value_name = "AMOUNT")]
    cap: Option<String>,
    /// Writes the rows of each fold for peers to learn from and to answer, and stops.
    #[arg(long, value_name = "DIR", conflicts_with = "peers")]
    export: Option<PathBuf>,
    /// Where peers wrote their answers.
    #[arg(long, value_name = "DIR", requires = "peer")]
    peers: Option<PathBuf>,
    /// Name of a peer.
    #[arg(long, value_name = "NAME", requires = "peers")]
    peer: Vec<String>,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let (mut config, mut policy) = train::read_config(args.config.as_deref(), args.policy.as_deref())?;
    if let Some(hours) = args.window_h {
        policy.settle_within_h = hours;
    }
    if let Some(hours) = args.ages {
        policy.offline_h_max = hours;
        config.ages_min.clear();
    }
    if let Some(milli) = args.spare {
        config.calibration.spare_milli = milli;
    }
    if let Some(alpha) = args.alpha {
        config.calibration.alpha = Ppm::new(alpha).map_err(|e| Usage(format!("--alpha: {e}")))?;
    }
    config.target = match args.target.as_deref() {
        None => config.target,
        Some("strict") => Target::Strict,
        Some("committed") => Target::Committed,
        Some(other) => return Err(Usage(format!("--target {other}: strict or committed")).into()),
    };
    let teachers = match args.teachers.as_str() {
        "by-account" => Teachers::ByAccount,
        "by-time" => Teachers::ByTime,
        other => return Err(Usage(format!("--teachers {other}: by-account or by-time")).into()),
    };
    let cap = args.cap.as_deref().map(|text| policy.currency.parse(text)).transpose();
    let cap = cap.map_err(|e| Usage(format!("--cap: {e}")))?.map(|flow| flow.size());
    let histories = args.data.read(context)?;
    if let Some(dir) = &args.export {
        std::fs::create_dir_all(dir)?;
    }
    let peers = match (&args.export, &args.peers) {
        (Some(dir), _) => Peers::Export(dir),
        (None, Some(dir)) => Peers::Read(dir, &args.peer),
        (None, None) => Peers::None,
    };
    let rate = |ppm: &u32| Ppm::new(*ppm).map_err(|e| Usage(format!("--rate: {e}")));
    let mut rates = args.rate.iter().map(rate).collect::<Result<Vec<Ppm>, Usage>>()?;
    if rates.is_empty() {
        rates.push(config.calibration.alpha);
    }
    let asked = Asked { folds: args.folds, teachers, rates, cap, ladder: args.ladder, peers };
    match backtest(&histories, &config, &policy, &asked, &context.bars)? {
        Some(findings) => context.answer(&findings, || text(&findings, policy.currency)),
        None => context.answer(&serde_json::json!({ "exported": args.export }), || "Rows are written.".to_owned()),
    }
}

fn text(found: &Findings, currency: plimsoll_model::Currency) -> String {
    let percent = |v: f64| format!("{:.2} %", v * 100.0);
    let money = |v: f64| currency.show(plimsoll_model::Money::floor_at_zero(v.round() as i64));
    let head = [
        "method",
        "reading",
        "violations [95 %]",
        "mean limit",
        "L/B",
        "capped",
        "served",
        "zero",
        "severity",
        "worst tier",
    ];
    let mut table = show::table(&head, 2..10);
    for m in &found.measured {
        table.add_row([
            m.method.clone(),
            m.reading.clone(),
            format!("{:.3} % [{:.3} – {:.3}]", m.violation * 100.0, m.interval[0] * 100.0, m.interval[1] * 100.0),
            money(m.mean_limit),
            format!("{:.3}", m.mean_share),
            m.capped.map_or("–".into(), money),
            percent(m.served),
            percent(m.zero),
            format!("{:.3} %", m.severity * 100.0),
            percent(m.worst_tier),
        ]);
    }
    let mut ratios =
        show::table(&["ours", "against", "reading", "mean limits, ratio [95 %]", "served, difference"], 3..5);
    for r in &found.ratios {
        ratios.add_row([
            r.ours.clone(),
            r.theirs.clone(),
            r.reading.clone(),
            format!("{:.3} [{:.3} – {:.3}]", r.limit, r.interval[0], r.interval[1]),
            format!("{:+.2} %", r.served * 100.0),
        ]);
    }
    let list = |counts: &[usize]| counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!(
        "{} accounts and {} windows tested, each account once; {} accounts taught and {} calibrated each fold; α = {} %.\n\n{table}\n\n{ratios}",
        found.accounts,
        found.windows,
        list(&found.teaching),
        list(&found.calibrating),
        f64::from(found.alpha_ppm) / 1e4,
    )
}
