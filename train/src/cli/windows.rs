//! `plimsoll data windows`: the rows that teach, for whoever trains elsewhere.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use plimsoll_model::features::FEATURES;
use plimsoll_model::forest::ONE;
use plimsoll_train::run;
use serde_json::json;

use super::{Context, DataArgs, train};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// The configuration that `plimsoll train` will be given: its seed and split decide who teaches.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrules the configuration's policy: a preset or a policy file.
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// How missing values are written: `empty`, or `top`, the largest number, which every engine orders as ours does.
    #[arg(long, default_value = "empty", value_parser = ["empty", "top"])]
    missing: String,
    /// File to make: a column for each feature, `target` (the share of the balance that stayed) and `account` (a number,
    /// to keep an account's windows together in cross-validation).
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let (config, policy) = train::read_config(args.config.as_deref(), args.policy.as_deref())?;
    let histories = args.data.read(context)?;
    let ages = config.ages(&policy)?;
    let windows = run::windows(&histories, &config, &policy, &ages, &context.bars)?;
    drop(histories);
    let (rows, targets) = run::examples(&windows.train, &ages);

    let say = || args.out.display().to_string();
    let beside = args.out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    // Beside its place first, then renamed: the file is whole or not there.
    let file = tempfile::NamedTempFile::new_in(beside).with_context(say)?;
    let mut out = std::io::BufWriter::new(&file);
    let mut line: String = FEATURES.iter().map(|f| format!("{},", f.name)).collect();
    line.push_str("target,account\n");
    out.write_all(line.as_bytes()).with_context(say)?;
    for ((row, target), window) in rows.outer_iter().zip(&targets).zip(&windows.train) {
        line.clear();
        let fine = "writing to a String cannot fail";
        for x in row {
            match x {
                x if !x.is_nan() => write!(line, "{x}").expect(fine),
                _ if args.missing == "top" => write!(line, "{}", f32::MAX).expect(fine),
                _ => {}
            }
            line.push(',');
        }
        // A whole number of steps: exact in as many digits as it takes.
        writeln!(line, "{},{}", f64::from(*target) / f64::from(ONE), window.account).expect(fine);
        out.write_all(line.as_bytes()).with_context(say)?;
    }
    out.flush().with_context(say)?;
    drop(out);
    file.persist(&args.out).map_err(|e| e.error).with_context(say)?;
    let answer = json!({ "rows": targets.len(), "features": FEATURES.len(), "out": args.out });
    context.answer(&answer, || format!("{} rows of {} features in {}", targets.len(), FEATURES.len(), say()))
}
