//! `plimsoll explain`: why accounts have the limits they have, and what would raise them.

use anyhow::Context as _;
use plimsoll_datasets::Histories;
use plimsoll_edge::Evaluator;
use plimsoll_model::attribution::{Attributor, Covers};
use plimsoll_model::decision::{Decision, Situation};
use plimsoll_model::explain::{Answer, Cause, Counterfactual, Part, counterfactuals, parts};
use plimsoll_model::features::{FEATURES, FeatureVector};
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::time::Age;
use plimsoll_model::{Currency, Money};
use serde::Serialize;

use super::exit::Usage;
use super::{Context, DataArgs, score, show};

/// Accounts of the history that a limit is compared with.
const BACKGROUND: usize = 2_000;
/// Features shown one by one.
const SHOWN: usize = 8;

#[derive(clap::Args)]
#[command(after_help = "Example: plimsoll explain --repo repository --root keys/root.json --data wallets \
    --account u0000017 --age 1440\nThe parts sum to the limit. Each feature's is Shapley's, against the mean of up to 2,000 \
    accounts of the history; what would raise the limit was asked of the engine.")]
pub(super) struct Args {
    #[command(flatten)]
    published: score::PublishedArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Account name, as often as needed; the first when not given.
    #[arg(long, value_name = "NAME")]
    account: Vec<String>,
    /// Age of the sync in minutes, as often as needed; right after the sync when not given.
    #[arg(long, value_name = "MINUTES")]
    age: Vec<u32>,
    /// Of earlier offline payments not settled yet, minor units.
    #[arg(long, value_name = "MINOR", default_value_t = 0)]
    pending: u64,
    /// Paid offline in the last 24 hours, minor units.
    #[arg(long, value_name = "MINOR", default_value_t = 0)]
    spent_24h: u64,
}

/// One limit and why.
#[derive(Serialize)]
struct Explained {
    account: String,
    age: Age,
    situation: Situation,
    decision: Decision,
    /// They sum to the limit.
    parts: Vec<Part>,
    raised_by: Vec<Counterfactual>,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let verified = args.published.verified(context.now)?;
    let evaluator = Evaluator::new(&verified)?;
    let forest = ModelFile::decode(verified.model()).context("the model file")?.forest;
    let histories = args.data.read(context)?;
    let manifest = evaluator.manifest();
    if histories.currency != manifest.currency {
        let (history, model) = (histories.currency, manifest.currency);
        return Err(Usage(format!("the history counts in {history:?}, the model in {model:?}")).into());
    }
    let rows = background(&histories, &manifest.ages, context);
    let covers = Covers::of(&forest, rows.iter().map(|row| row.0.as_slice()));
    let covers = covers.ok_or_else(|| Usage("the history has no account with transactions".into()))?;
    let attributor = Attributor::new(&forest, &covers);

    let wanted: Vec<usize> = if args.account.is_empty() {
        vec![0]
    } else {
        let find = |name: &String| {
            let found = histories.iter().position(|(account, _)| account.name == *name);
            found.ok_or_else(|| Usage(format!("the history has no account called {name}")))
        };
        args.account.iter().map(find).collect::<Result<_, _>>()?
    };
    let ages: Vec<Age> = if args.age.is_empty() { vec![Age(0)] } else { args.age.iter().map(|a| Age(*a)).collect() };
    let minor = |name: &str, minor| Money::from_minor(minor).map_err(|e| Usage(format!("--{name}: {e}")));
    let (pending, spent) = (minor("pending", args.pending)?, minor("spent-24h", args.spent_24h)?);

    let mut explained = Vec::new();
    for ix in wanted {
        let Some((features, mut situation)) = score::synced(&histories, ix, context.now) else { continue };
        let account = histories.get(ix).map(|(account, _)| account.name.clone()).unwrap_or_default();
        (situation.pending, situation.spent_24h, situation.spent_day, situation.spent_week) =
            (pending, spent, spent, spent);
        for age in &ages {
            explained.push(explain(&evaluator, &attributor, &account, &features, &situation, *age));
        }
    }
    let currency = manifest.currency;
    context.answer(&explained, || {
        let one = |e: &Explained| text(e, currency, covers.rows());
        explained.iter().map(one).collect::<Vec<_>>().join("\n\n")
    })
}

/// What is known of accounts at their last transaction, at every certified age in turn.
fn background(histories: &Histories, ages: &[Age], context: &Context) -> Vec<FeatureVector> {
    let every = histories.len().div_ceil(BACKGROUND).max(1);
    let synced = (0..histories.len()).step_by(every).filter_map(|ix| score::synced(histories, ix, context.now));
    synced.zip(ages.iter().cycle()).map(|((features, _), age)| features.with_age(*age)).collect()
}

fn explain(
    evaluator: &Evaluator,
    attributor: &Attributor,
    account: &str,
    features: &FeatureVector,
    situation: &Situation,
    age: Age,
) -> Explained {
    let now = situation.synced_at.plus(age.seconds());
    let decision = evaluator.decide(features, situation, now);
    // As the engine does: the decision's age is the certified one that it was made at.
    let row = features.clone().with_age(decision.age);
    let outputs = evaluator.outputs_at(features, decision.age);
    let tier = evaluator.policy().tier(situation.tier).tier;
    let answer = evaluator.certificate().cell(tier).map(|cell| Answer {
        rule: cell.rule,
        levels: &evaluator.manifest().levels,
        outputs: &outputs,
        row: &row,
        attributor,
    });
    let ask = |f: &FeatureVector, s: &Situation, at| evaluator.decide(f, s, at);
    Explained {
        account: account.to_owned(),
        age,
        situation: situation.clone(),
        parts: parts(&decision, situation.balance, answer.as_ref()),
        raised_by: counterfactuals(evaluator.policy(), features, situation, now, ask),
        decision,
    }
}

fn text(e: &Explained, currency: Currency, background: u32) -> String {
    let signed = |amount: i64| {
        let size = currency.show(Money::floor_at_zero(amount.saturating_abs()));
        if amount < 0 { format!("−{size}") } else { size }
    };
    let mut t = show::table(&["", "", ""], 0..1);
    let (features, others): (Vec<&Part>, Vec<&Part>) =
        e.parts.iter().partition(|part| matches!(part.cause, Cause::Feature { .. }));
    let start = others.iter().take_while(|p| matches!(p.cause, Cause::Background | Cause::Balance)).count();
    let mut row = |amount: i64, cause: &Cause| {
        let (what, about) = says(cause, background);
        t.add_row([signed(amount), what, about]);
    };
    others[..start].iter().for_each(|part| row(part.amount, &part.cause));
    features.iter().take(SHOWN).for_each(|part| row(part.amount, &part.cause));
    let rest: i64 = features.iter().skip(SHOWN).map(|part| part.amount).sum();
    if features.len() > SHOWN {
        t.add_row([signed(rest), format!("{} more features", features.len() - SHOWN), String::new()]);
    }
    for part in &others[start..] {
        let (what, about) = says(&part.cause, background);
        t.add_row([signed(part.amount), what, about]);
    }
    t.add_row([currency.show(e.decision.limit), "= the limit".into(), e.decision.bound.says().into()]);
    let mut text = format!(
        "{}, tier {}, balance {} {currency}, synced {} ago: limit {} {currency} ({})\n{t}",
        e.account,
        e.situation.tier,
        currency.show(e.situation.balance),
        e.age,
        currency.show(e.decision.limit),
        e.decision.bound.name(),
    );
    for c in &e.raised_by {
        text += &format!("\n  {}: {} {currency}", c.advice.says(), currency.show(c.limit));
    }
    if e.raised_by.is_empty() {
        text += "\n  Nothing that is known here would raise it.";
    }
    text
}

/// A part, and what it is.
fn says(cause: &Cause, background: u32) -> (String, String) {
    match cause {
        Cause::Background => ("background".into(), format!("what the model says of {background} accounts, on average")),
        Cause::Balance => ("balance".into(), String::new()),
        Cause::Range => ("range".into(), "a share of the balance is 0 to 1".into()),
        Cause::Calibration => ("calibration".into(), "the margin that makes the promise hold".into()),
        Cause::Rule { bound } => (bound.name().into(), bound.says().into()),
        Cause::Feature { feature, value } => {
            let spec = FEATURES.iter().find(|f| f.name == feature);
            let value = value.map_or("missing".into(), |v| v.to_string());
            (format!("{feature} = {value}"), spec.map(|f| format!("{}, {}", f.about, f.window)).unwrap_or_default())
        }
    }
}
