//! `plimsoll data`: generate, describe, convert.

use std::path::PathBuf;

use plimsoll_datasets::{Format, Histories, Input, OnBadRow, open, synth, write};

use super::exit::Usage;
use super::{Context, DataArgs, interrupt, show};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Generate wallet histories with known truth.
    #[command(after_help = "Example: plimsoll data synth --accounts 10000 --days 270 --out wallets")]
    Synth(SynthArgs),
    /// Say what a history holds.
    #[command(after_help = "Example: plimsoll data describe --data wallets")]
    Describe(DataArgs),
    /// Write any history as Parquet or CSV with our columns.
    #[command(after_help = "Example: plimsoll data convert --data berka/ --on-bad-row skip --out berka-parquet")]
    Convert(ConvertArgs),
    /// Write the rows that teach, to train a model elsewhere: features, target, account.
    #[command(after_help = "Example: plimsoll data windows --data wallets --config limit.toml --out windows.csv\n\
        Only accounts and days that `plimsoll train` would teach with: those that calibrate and test must stay unseen.")]
    Windows(super::windows::Args),
}

#[derive(clap::Args)]
pub(super) struct SynthArgs {
    /// Directory to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A generator configuration (TOML); the options below overrule it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Wallets.
    #[arg(long)]
    accounts: Option<u32>,
    /// Local days.
    #[arg(long)]
    days: Option<u32>,
    /// Same seed, same bytes.
    #[arg(long)]
    seed: Option<u64>,
    /// Which deployment the wallets are like: tng, naira, p2p, card.
    #[arg(long, value_parser = programme)]
    programme: Option<synth::Programme>,
    /// parquet, csv, or berka (the bank's .asc layout).
    #[arg(long, default_value = "parquet", value_parser = ["parquet", "csv", "berka"])]
    format: String,
}

#[derive(clap::Args)]
pub(super) struct ConvertArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Directory to make.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// parquet or csv.
    #[arg(long, default_value = "parquet", value_parser = ["parquet", "csv"])]
    format: String,
}

pub(super) fn format(name: &str) -> Result<Format, String> {
    match name {
        "berka" => Ok(Format::Berka),
        "paysim" => Ok(Format::Paysim),
        "table" => Ok(Format::Table),
        "synth" => Ok(Format::Synth),
        _ => Err("use berka, paysim, table or synth".into()),
    }
}

pub(super) fn on_bad_row(name: &str) -> Result<OnBadRow, String> {
    match name {
        "stop" => Ok(OnBadRow::Stop),
        "skip" => Ok(OnBadRow::Skip),
        _ => Err("use stop or skip".into()),
    }
}

fn programme(name: &str) -> Result<synth::Programme, String> {
    let wanted = serde_json::Value::String(name.into());
    serde_json::from_value(wanted).map_err(|_| "use tng, naira, p2p or card".into())
}

fn file_format(name: &str) -> write::FileFormat {
    if name == "csv" { write::FileFormat::Csv } else { write::FileFormat::Parquet }
}

impl DataArgs {
    pub(super) fn input(&self) -> Input {
        Input {
            path: self.data.clone(),
            format: self.data_format,
            mapping: self.mapping.clone(),
            on_bad_row: self.on_bad_row,
        }
    }

    /// Reads the whole history, and says what was skipped.
    pub(super) fn read(&self, context: &Context) -> anyhow::Result<Histories> {
        let input = self.input();
        let histories = Histories::read(open(&input)?, input.on_bad_row, &mut context.bars.counting("reading"))?;
        context.bars.clear();
        let report = &histories.report;
        if report.skipped_total() > 0 {
            eprintln!("plimsoll: skipped {} of {} rows:", report.skipped_total(), report.rows_read);
            for (reason, rows) in &report.skipped {
                eprintln!("  {rows:>8}  {reason}");
            }
            for sample in &report.samples {
                eprintln!("  e.g. {sample}");
            }
        }
        Ok(histories)
    }
}

pub(super) fn run(context: &Context, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Synth(args) => synth(context, &args),
        Command::Describe(args) => describe(context, &args),
        Command::Convert(args) => convert(context, &args),
        Command::Windows(args) => super::windows::run(context, &args),
    }
}

fn synth(context: &Context, args: &SynthArgs) -> anyhow::Result<()> {
    let mut config = match &args.config {
        Some(path) => synth::Config::from_file(path)?,
        None => synth::Config::default(),
    };
    config.accounts = args.accounts.unwrap_or(config.accounts);
    config.days = args.days.unwrap_or(config.days);
    config.seed = args.seed.unwrap_or(config.seed);
    config.programme = args.programme.unwrap_or(config.programme);
    config.validate()?;
    interrupt::writing(&args.out);
    let mut progress = context.bars.counting("generating");
    let written = if args.format == "berka" {
        write::write_berka(&args.out, &config, &mut progress)?
    } else {
        write::write_generated(&args.out, file_format(&args.format), &config, &mut progress)?
    };
    context.answer(&written, || {
        format!("{} transactions of {} accounts in {}", written.transactions, written.accounts, args.out.display())
    })
}

fn convert(context: &Context, args: &ConvertArgs) -> anyhow::Result<()> {
    let input = args.data.input();
    if input.path == args.out {
        return Err(Usage("--out is the input itself".into()).into());
    }
    interrupt::writing(&args.out);
    let mut progress = context.bars.counting("converting");
    let written = write::write_dataset(
        &args.out,
        file_format(&args.format),
        open(&input)?.as_mut(),
        input.on_bad_row,
        &mut progress,
    )?;
    context.answer(&written, || {
        format!("{} transactions of {} accounts in {}", written.rows_kept, written.accounts, args.out.display())
    })
}

fn describe(context: &Context, args: &DataArgs) -> anyhow::Result<()> {
    let histories = args.read(context)?;
    let d = histories.describe();
    let answer = serde_json::json!({ "history": d, "reading": histories.report, "sha256": histories.sha256() });
    context.answer(&answer, || {
        let money = |minor: i64| format!("{} {}", d.currency.format(minor), d.currency);
        let when = |at: Option<plimsoll_model::UtcSeconds>| at.map_or("–".into(), |a| a.rfc3339());
        let mut t = show::table(&["", ""], 0..0);
        for (name, value) in [
            ("accounts", format!("{} ({} without rows)", d.accounts, d.accounts_without_rows)),
            ("transactions", d.transactions.to_string()),
            ("from", when(d.first)),
            ("to", when(d.last)),
            ("days", d.days.to_string()),
            (
                "rows per account, p5 / p50 / p95",
                format!("{} / {} / {}", d.rows_per_account.p5, d.rows_per_account.p50, d.rows_per_account.p95),
            ),
            (
                "balance, p5 / p50 / p95",
                format!("{} / {} / {}", money(d.balance.p5), money(d.balance.p50), money(d.balance.p95)),
            ),
            ("negative balances", format!("{} rows, {} accounts", d.negative_rows, d.negative_accounts)),
            ("never positive", format!("{} accounts", d.never_positive_accounts)),
            ("offline share of spends", format!("{:.2} %", d.offline_share * 100.0)),
            ("accounts per tier", d.tiers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" / ")),
            ("skipped rows", histories.report.skipped_total().to_string()),
            ("duplicates, out of order", format!("{}, {}", histories.report.duplicates, histories.report.out_of_order)),
            (
                "end-of-day balances off the chain",
                format!("{} of {}", histories.report.balance_mismatched, histories.report.balance_checked),
            ),
            ("sha256", histories.sha256()),
        ] {
            t.add_row([name.to_owned(), value]);
        }
        let mut kinds = show::table(&["kind", "rows", "moved"], 1..3);
        for (kind, total) in &d.kinds {
            kinds.add_row([
                (*kind).to_owned(),
                total.rows.to_string(),
                money(total.moved_minor.clamp(i64::MIN.into(), i64::MAX.into()) as i64),
            ]);
        }
        format!("{t}\n\n{kinds}")
    })
}
