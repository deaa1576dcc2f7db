//! `plimsoll importance`: which features a run's forest lives from.

use std::path::PathBuf;

use plimsoll_model::features::FEATURES;
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::effects::{shipped_level, sizes};
use plimsoll_train::importance::{Loss, gains, permutation, splits};
use plimsoll_train::run::{self, Run, TrainError};
use serde_json::json;

use super::exit::Usage;
use super::{Context, DataArgs, show};

#[derive(clap::Args)]
#[command(after_help = "Example: plimsoll importance --run runs/first --data wallets\n\
    gain: over the windows that taught; permutation and attribution: over those of the test split, which taught nothing.")]
pub(super) struct Args {
    /// A run directory.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Which quantile, in parts per million; one that ships when not given.
    #[arg(long, value_name = "PPM")]
    level: Option<u32>,
    /// Shuffles of each column.
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// Decides the shuffles.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let run = Run::load(&args.run)?;
    let bad = |reason: String| TrainError::BadRun { path: args.run.join("model.onnx"), reason };
    let forest = ModelFile::decode(&run.model).map_err(|e| bad(e.to_string()))?.forest;
    let level = match args.level {
        Some(ppm) => Ppm::new(ppm).map_err(|e| Usage(format!("--level: {e}")))?,
        None => shipped_level(&run.release.certificate.cells, &run.config.boost.levels),
    };
    let output = run.config.boost.levels.iter().position(|l| *l == level);
    let output =
        output.filter(|o| *o < forest.outputs().len()).ok_or_else(|| bad(format!("it has no level {level}")))?;
    if forest.features() != FEATURES.len() {
        return Err(bad(format!("it has {} columns, this build computes {}", forest.features(), FEATURES.len())).into());
    }
    let histories = args.data.read(context)?;
    let ages = &run.release.manifest.ages;
    let windows = run::windows(&histories, &run.config, &run.policy, ages, &context.bars)?;
    let loss = Loss::Pinball(level);
    let (taught, taught_targets) = run::examples(&windows.train, ages);
    let (unseen, unseen_targets) = run::examples(&windows.test, ages);
    let splits = splits(&forest, output);
    let gains = gains(&forest, output, taught.view(), &taught_targets, loss);
    let worse = permutation(&forest, output, unseen.view(), &unseen_targets, loss, args.seed, args.repeats);
    let attributed = sizes(&forest, output, &unseen);

    let gain_all: f64 = gains.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let mut order: Vec<usize> = (0..FEATURES.len()).collect();
    order.sort_by(|a, b| worse[*b].mean.total_cmp(&worse[*a].mean).then(splits[*b].cmp(&splits[*a])).then(a.cmp(b)));
    let answer: Vec<_> = order
        .iter()
        .map(|ix| {
            json!({
                "feature": FEATURES[*ix].name, "splits": splits[*ix], "gain": gains[*ix], "permutation": worse[*ix],
                "attribution": attributed[*ix],
            })
        })
        .collect();
    context.answer(&answer, || {
        let mut t = show::table(&["feature", "splits", "gain", "loss when shuffled ± sd", "mean attribution"], 1..5);
        for ix in order.iter().filter(|ix| splits[**ix] > 0) {
            t.add_row([
                FEATURES[*ix].name.to_owned(),
                splits[*ix].to_string(),
                format!("{:.1} %", 100.0 * gains[*ix] / gain_all),
                format!("{:+.2e} ± {:.0e}", worse[*ix].mean, worse[*ix].sd),
                format!("{:.2} % of balance", 100.0 * attributed[*ix]),
            ]);
        }
        let never = splits.iter().filter(|s| **s == 0).count();
        format!("{t}\n\nOf the {level} quantile, pinball loss; {never} features are never asked.")
    })
}
