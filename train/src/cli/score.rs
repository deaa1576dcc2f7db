//! `plimsoll score`: a published model, evaluated as a device would, on accounts of a history.

use std::path::{Path, PathBuf};

use plimsoll_datasets::Histories;
use plimsoll_edge::Evaluator;
use plimsoll_edge::trust::{self, Directory, Floors, Verified};
use plimsoll_model::decision::Situation;
use plimsoll_model::features::FeatureVector;
use plimsoll_model::time::Age;
use plimsoll_model::{Money, UtcSeconds};
use serde_json::json;

use super::exit::Usage;
use super::show::Curve;
use super::{Context, DataArgs, release, show};

/// A published model, as a device finds it.
#[derive(clap::Args)]
pub(super) struct PublishedArgs {
    /// The repository.
    #[arg(long, value_name = "DIR")]
    repo: PathBuf,
    /// The root that devices pin.
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// Which model line, where the repository has several.
    #[arg(long, value_name = "ID")]
    model: Option<String>,
}

impl PublishedArgs {
    /// Verifies it as a device does.
    pub(super) fn verified(&self, now: UtcSeconds) -> anyhow::Result<Verified> {
        verified(&self.repo, &self.root, self.model.as_deref(), now)
    }
}

#[derive(clap::Args)]
#[command(
    after_help = "Example: plimsoll score --repo repository --root keys/root.json --data wallets --account u0000017"
)]
pub(super) struct Args {
    #[command(flatten)]
    published: PublishedArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Account name, as often as needed; the first five when not given.
    #[arg(long, value_name = "NAME")]
    account: Vec<String>,
    /// Age of the sync in minutes, as often as needed; all certified ages when not given.
    #[arg(long, value_name = "MINUTES")]
    age: Vec<u32>,
}

/// Verifies a repository as a device does.
pub(super) fn verified(repo: &Path, root: &Path, model: Option<&str>, now: UtcSeconds) -> anyhow::Result<Verified> {
    let root = release::trusted_root(root)?;
    Ok(trust::verify(&Directory::new(repo.to_owned()), &root, &Floors::default(), now, model)?)
}

/// The same, and makes its model ready.
pub(super) fn evaluator(repo: &Path, root: &Path, model: Option<&str>, now: UtcSeconds) -> anyhow::Result<Evaluator> {
    Ok(Evaluator::new(&verified(repo, root, model, now)?)?)
}

/// Features and situation of one account that synced at `now`, right after its last transaction.
pub(super) fn synced(histories: &Histories, ix: usize, now: UtcSeconds) -> Option<(FeatureVector, Situation)> {
    let (account, rows) = histories.get(ix)?;
    let last = rows.last()?;
    let mut state = histories.state_before(ix)?;
    for row in rows {
        state.push(row).expect("histories are sorted by time");
    }
    let balance = Money::floor_at_zero(state.balance_minor());
    // The history ends in its own time; the sync is one second later, and the model is run as if that were now.
    let features = state.snapshot(last.at.plus(1));
    Some((features, Situation::fresh(balance, account.tier, now, rows.len() as u64)))
}

/// Its limits.
pub(super) fn curve(
    evaluator: &Evaluator,
    histories: &Histories,
    ix: usize,
    ages: &[Age],
    now: UtcSeconds,
) -> Option<Curve> {
    let (features, situation) = synced(histories, ix, now)?;
    let decisions =
        ages.iter().map(|age| (*age, evaluator.decide(&features, &situation, now.plus(age.seconds())))).collect();
    let account = histories.get(ix)?.0.name.clone();
    Some(Curve { account, balance: situation.balance, tier: situation.tier, decisions })
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let evaluator = Evaluator::new(&args.published.verified(context.now)?)?;
    let histories = args.data.read(context)?;
    let manifest = evaluator.manifest();
    if histories.currency != manifest.currency {
        let (history, model) = (histories.currency, manifest.currency);
        return Err(Usage(format!("the history counts in {history:?}, the model in {model:?}")).into());
    }
    let ages: Vec<Age> =
        if args.age.is_empty() { manifest.ages.clone() } else { args.age.iter().map(|a| Age(*a)).collect() };
    let wanted: Vec<usize> = if args.account.is_empty() {
        (0..histories.len().min(5)).collect()
    } else {
        let find = |name: &String| {
            let found = histories.iter().position(|(account, _)| account.name == *name);
            found.ok_or_else(|| Usage(format!("the history has no account called {name}")))
        };
        args.account.iter().map(find).collect::<Result<_, _>>()?
    };
    let curves: Vec<Curve> =
        wanted.iter().filter_map(|ix| curve(&evaluator, &histories, *ix, &ages, context.now)).collect();
    let answer: Vec<_> = curves
        .iter()
        .map(|c| json!({ "account": c.account, "balance": c.balance, "tier": c.tier, "decisions": c.decisions }))
        .collect();
    context.answer(&answer, || show::limits(&curves, manifest.currency))
}
