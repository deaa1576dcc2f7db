//! `plimsoll import`: a model trained elsewhere, as a forest that `plimsoll train --forest` certifies.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use plimsoll_model::artifact::{MODEL_BYTES_MAX, sha256_hex};
use plimsoll_model::features::schema_hash;
use plimsoll_model::monotone::{Enforced, enforce, prove};
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::import::{Imported, Joined, columns, reproduce};
use plimsoll_train::run::{LEVELS, MADE_BY, MONOTONE, SOURCE, monotone_columns};
use serde_json::json;

use super::exit::{Refused, Usage};
use super::{Context, show};

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  plimsoll data windows --data wallets --config limit.toml --missing top --out windows.csv\n  \
    (train on windows.csv, save the model, and write its rows with a column `prediction`)\n  \
    plimsoll import model.ubj --scores scores.csv --monotone --out forest.onnx\n  \
    plimsoll train --data wallets --config limit.toml --forest forest.onnx --out runs/imported"
)]
pub(super) struct Args {
    /// XGBoost JSON or UBJSON, or LightGBM text; several of one output each become levels of one forest.
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Rows and what the model predicts for them (CSV, features by name, `prediction`; with several outputs
    /// `prediction_<level in ppm>`): a model that says something else here is refused.
    #[arg(long, value_name = "FILE")]
    scores: PathBuf,
    /// The quantile that each output predicts, in parts per million, where the file does not say.
    #[arg(long, value_name = "PPM")]
    level: Vec<u32>,
    /// Make it monotone where a limit must be (older sync, account age, settlements): each tree becomes the middle of the
    /// nearest monotone trees above and below it.
    #[arg(long)]
    monotone: bool,
    /// File to make.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let mut models = Vec::new();
    let mut hashes = Vec::new();
    for path in &args.models {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        models.push(Imported::read(&bytes, &columns()).with_context(|| path.display().to_string())?);
        hashes.push(sha256_hex(&bytes));
    }
    name_levels(&mut models, &args.level)?;
    let made_by = models.iter().map(|m| m.made_by.as_str()).collect::<Vec<_>>().join(", ");
    let nodes_there: usize = models.iter().map(|m| m.nodes_there).sum();
    let rounding: Vec<f64> = models.iter().flat_map(|m| &m.outputs).map(|o| o.rounding_max).collect();
    let mut joined = Imported::join(models)?;

    let scores = std::fs::File::open(&args.scores).with_context(|| args.scores.display().to_string())?;
    let found = reproduce(&joined, &columns(), std::io::BufReader::new(scores))?;
    let mut enforced = None;
    if args.monotone {
        let (forest, done) = enforce(&joined.forest, &monotone_columns());
        joined.forest = forest;
        enforced = Some(done);
    }
    let mut proved = Vec::new();
    for (feature, direction) in MONOTONE {
        let proof = prove(&joined.forest, feature as usize, direction).map_err(|violation| {
            Refused(format!("not monotone in {}: {violation}; --monotone makes it so", feature.name()))
        })?;
        proved.push(json!({ "feature": feature.name(), "trees": proof.trees, "pairs": proof.pairs }));
    }

    let Joined { forest, levels, bounds } = joined;
    let list = |levels: &[Ppm]| levels.iter().map(|l| l.get().to_string()).collect::<Vec<_>>().join(",");
    let nodes = forest.node_count();
    let properties = BTreeMap::from([
        (LEVELS.to_owned(), list(&levels)),
        (MADE_BY.to_owned(), made_by.clone()),
        (SOURCE.to_owned(), hashes.join(",")),
        ("feature_schema".to_owned(), schema_hash()),
    ]);
    let bytes = ModelFile { forest, version: 1, properties }.encode();
    if bytes.len() as u64 > MODEL_BYTES_MAX {
        let why = format!(
            "{nodes} nodes ({nodes_there} in its own file) make {} bytes, and an artifact may have {MODEL_BYTES_MAX}: train fewer \
             or smaller trees, and fill missing values (`plimsoll data windows --missing top`) so that none is written twice",
            bytes.len()
        );
        return Err(Refused(why).into());
    }
    std::fs::write(&args.out, &bytes).with_context(|| args.out.display().to_string())?;

    let answer = json!({
        "made_by": made_by, "source_sha256": hashes, "levels": levels, "nodes_there": nodes_there, "nodes": nodes,
        "bytes": bytes.len(), "rounding_max": rounding, "bounds": bounds, "reproduced": found, "enforced": enforced,
        "monotone": proved, "out": args.out,
    });
    context.answer(&answer, || {
        let shown = levels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut t = show::table(&["", ""], 0..0);
        t.add_row(["made by".into(), made_by.clone()]);
        t.add_row(["predicts the quantile".into(), shown]);
        t.add_row(["nodes".into(), format!("{nodes}, of {nodes_there} there; {} bytes", bytes.len())]);
        let worst = rounding.iter().copied().fold(0.0, f64::max);
        t.add_row(["rounding its leaves".into(), format!("moves no prediction by more than {worst:.1e}")]);
        t.add_row([
            "scores".into(),
            format!(
                "{} rows reproduced within {:.1e}, {:.1e} allowed; they reach {} of {} leaves",
                found.rows, found.difference_max, found.bound, found.leaves_reached, found.leaves
            ),
        ]);
        t.add_row(["monotone".into(), says(enforced)]);
        let hint = if nodes > 2 * nodes_there {
            "\nMany tests send missing values low, and are written twice: fill them by `plimsoll data windows --missing top`."
        } else {
            ""
        };
        format!("{t}\n{hint}\nNext: plimsoll train --data … --config … --forest {} --out …", args.out.display())
    })
}

fn says(enforced: Option<Enforced>) -> String {
    match enforced {
        Some(Enforced { leaves_moved: 0, .. }) | None => "proved, as it came".into(),
        Some(Enforced { leaves_moved, moved_max }) => format!(
            "proved, after {leaves_moved} leaves were moved, none by more than {:.1e}",
            f64::from(moved_max) / f64::from(plimsoll_model::forest::ONE)
        ),
    }
}

/// Fills in the levels that the files do not say, in the order of the outputs.
fn name_levels(models: &mut [Imported], given: &[u32]) -> anyhow::Result<()> {
    let mut given_left = given.iter();
    for output in models.iter_mut().flat_map(|m| &mut m.outputs).filter(|o| o.level.is_none()) {
        if let Some(ppm) = given_left.next() {
            output.level = Some(Ppm::new(*ppm).map_err(|e| Usage(format!("--level: {e}")))?);
        }
    }
    match given_left.next() {
        Some(extra) => Err(Usage(format!("--level {extra}: every output has its level already")).into()),
        None => Ok(()),
    }
}
