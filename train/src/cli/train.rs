//! `plimsoll train` and `plimsoll config`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::policy::{PRESETS, Policy};
use plimsoll_train::config::{Config, ConfigError};
use plimsoll_train::run::{self, Run, TrainError};

use super::exit::Usage;
use super::{Context, DataArgs, interrupt, show};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  plimsoll train --data wallets --out runs/first\n  \
    plimsoll train --data berka/ --config train/configs/berka.toml --out runs/berka\n  \
    plimsoll train --data wallets --config limit.toml --forest forest.onnx --out runs/imported")]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// A configuration (see `plimsoll config`); defaults where it is silent.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrules the configuration's policy: a preset or a policy file.
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// Trees that `plimsoll import` wrote: nothing is grown, they are proved, calibrated and tested.
    #[arg(long, value_name = "FILE")]
    forest: Option<PathBuf>,
    /// Directory to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  plimsoll config > limit.toml\n  plimsoll config --policy naira > naira.toml")]
pub(super) struct ConfigArgs {
    /// Print this programme's policy instead: tng, naira, p2p or card.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
}

pub(super) fn config(context: &Context, args: &ConfigArgs) -> anyhow::Result<()> {
    match &args.policy {
        None => context.answer(&Config::default(), || Config::default_toml().to_owned()),
        Some(name) => {
            let toml = Policy::preset_toml(name)
                .ok_or_else(|| Usage(format!("no programme is called {name}; there are {}", PRESETS.join(", "))))?;
            context.answer(&Policy::preset(name), || toml.to_owned())
        }
    }
}

/// The configuration in a file, and the policy it names (a path is taken from the file's own directory).
pub(super) fn read_config(path: Option<&Path>, policy: Option<&str>) -> anyhow::Result<(Config, Policy)> {
    let mut config = match path {
        None => Config::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Config::from_toml(&text).with_context(|| path.display().to_string())?
        }
    };
    let base = if policy.is_some() { None } else { path.and_then(Path::parent) };
    if let Some(policy) = policy {
        policy.clone_into(&mut config.policy);
    }
    let found = match Policy::preset(&config.policy) {
        Some(preset) => preset,
        None => {
            let file = base.unwrap_or(Path::new("")).join(&config.policy);
            let text = std::fs::read_to_string(&file).with_context(|| {
                format!("policy {}: neither a preset ({}) nor a readable file", file.display(), PRESETS.join(", "))
            })?;
            Policy::from_toml(&text)
                .map_err(|source| ConfigError::Policy { name: file.display().to_string(), source })?
        }
    };
    Ok((config, found))
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let (config, policy) = read_config(args.config.as_deref(), args.policy.as_deref())?;
    // Before minutes of work: is there a place for the result?
    drop(plimsoll_datasets::write::Staging::new(&args.out)?);
    let forest = args.forest.as_deref().map(read_forest).transpose()?;
    let histories = args.data.read(context)?;
    let run = match &forest {
        None => run::train(&histories, &config, &policy, &context.bars)?,
        Some(file) => run::adopt(&histories, &config, &policy, file, &context.bars)?,
    };
    drop(histories);
    interrupt::writing(&args.out);
    run.save(&args.out)?;
    context.answer(&run.release.certificate, || summary(&run, &args.out))
}

fn read_forest(path: &Path) -> anyhow::Result<ModelFile> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let bad = |e| TrainError::BadForest { why: format!("{}: {e}; give what `plimsoll import` wrote", path.display()) };
    Ok(ModelFile::decode(&bytes).map_err(bad)?)
}

/// What a run promises and grants, in a screenful.
pub(super) fn summary(run: &Run, dir: &Path) -> String {
    let currency = run.policy.currency;
    let m = &run.metrics;
    let money = |v: f64| currency.show(plimsoll_model::Money::floor_at_zero(v.round() as i64));
    let percent = |v: f64| format!("{:.2} %", v * 100.0);
    let mut t = show::table(
        &[
            "on the test split",
            "violations [95 %]",
            "mean limit",
            "of balance",
            "demand served",
            "zero limits",
            "severity",
        ],
        1..7,
    );
    for (name, o) in [
        ("shipped", &m.overall.shipped),
        ("fixed share, same test", &m.overall.fraction),
        ("min(balance, cap), uncertified", &m.overall.plain),
    ] {
        t.add_row([
            name.to_owned(),
            format!("{:.3} % [{:.3} – {:.3}]", o.violation * 100.0, o.low * 100.0, o.high * 100.0),
            format!("{} {currency}", money(o.mean_limit)),
            percent(o.mean_share),
            percent(o.served),
            percent(o.zero_share),
            percent(o.severity),
        ]);
    }
    format!(
        "{}\n\n{t}\n\n{} accounts and {} windows taught, {} and {} calibrated, {} and {} tested.\n\
         Model: {} nodes, {} bytes, {} under zstd; monotone in {}.\nReport: {}",
        show::certificate(&run.release.certificate, currency),
        m.accounts[0],
        m.windows[0],
        m.accounts[1],
        m.windows[1],
        m.accounts[2],
        m.windows[2],
        m.nodes,
        m.model_bytes,
        m.model_bytes_zstd,
        run.release.manifest.monotone.iter().map(|c| c.feature.as_str()).collect::<Vec<_>>().join(", "),
        dir.join("report.html").display(),
    )
}
