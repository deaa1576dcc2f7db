//! `models`: how far releases have come, and orders that every replica follows; with the store alone, service or no service.

use plimsoll_serve::clock::Clock;
use plimsoll_serve::models::replicas::{self, Order};
use plimsoll_serve::models::{EVERYONE, Pulled};
use plimsoll_serve::record::AccountId;
use plimsoll_serve::store::Store;
use plimsoll_serve::unit::{Entry, Needs, Unit};
use serde_json::json;

use super::exit::{Refused, Usage};
use super::{Context, print};

#[derive(clap::Subcommand)]
#[command(
    after_help = "Example: plimsoll-serve models widen 7 --percent 10 --by asha --reason \"a week without a mismatch\""
)]
pub(super) enum Command {
    /// Every release that was ever served.
    List,
    /// Give a release to more accounts; a ring never narrows.
    Widen {
        /// Of the release.
        version: u64,
        /// Share of the accounts.
        #[arg(long, value_name = "PERCENT")]
        percent: f64,
        #[command(flatten)]
        why: Why,
    },
    /// Take a release back, for good: the one before it decides again, or the static floor.
    PullBack {
        /// Of the release.
        version: u64,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(clap::Args)]
pub(super) struct Why {
    /// Why, for the audit trail.
    #[arg(long)]
    reason: String,
    /// Who orders it, for the audit trail.
    #[arg(long, value_name = "NAME")]
    by: String,
}

pub(super) fn run(context: &Context, command: &Command) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(inner(context, command))
}

async fn inner(context: &Context, command: &Command) -> anyhow::Result<()> {
    let config = context.config()?;
    let store = Store::open(&config.store_url()?).await?;
    let now = Clock::system().now();
    let told = match command {
        Command::List => list(&store).await,
        Command::Widen { version, percent, why } => {
            if !(0.0..=100.0).contains(percent) {
                return Err(Usage("--percent: 0 to 100".to_owned()).into());
            }
            // Within 0 to 1,000,000, so nothing is lost.
            let order = Order::Widen((percent * 10_000.0).round() as u32);
            give(&store, *version, &order, why, json!({ "ordered": "widen", "percent": percent.to_string() })).await
        }
        Command::PullBack { version, why } => {
            let order = Order::PullBack(Pulled { at: now, why: why.reason.clone() });
            give(&store, *version, &order, why, json!({ "ordered": "pull_back" })).await
        }
    };
    store.close().await;
    print(&told?)
}

async fn list(store: &Store) -> anyhow::Result<String> {
    let rollout = replicas::known(store).await?;
    let mut rings: Vec<_> = rollout.rings().collect();
    rings.sort_by_key(|(_, ring)| std::cmp::Reverse(ring.model_version));
    let line = |(digest, ring): &(_, &plimsoll_serve::models::Ring)| {
        let share = f64::from(ring.share_ppm) * 100.0 / f64::from(EVERYONE);
        let state = ring.pulled.as_ref().map_or_else(String::new, |p| format!("  pulled back: {}", p.why));
        let (version, id, since) = (ring.model_version, &ring.model_id, ring.since.rfc3339());
        format!("{version:<8} {share:>8.4} %  since {since}  {id}  {digest}{state}\n")
    };
    let lines: String = rings.iter().map(line).collect();
    Ok(if lines.is_empty() { "no release was ever served".to_owned() } else { lines })
}

async fn give(
    store: &Store,
    version: u64,
    order: &Order,
    why: &Why,
    mut entry: serde_json::Value,
) -> anyhow::Result<String> {
    if why.reason.trim().is_empty() || why.by.trim().is_empty() {
        return Err(Usage("--reason and --by: the log needs both".to_owned()).into());
    }
    order.follow(&mut replicas::known(store).await?, version).map_err(|e| Refused(e.to_string()))?;
    entry["version"] = version.into();
    entry["by"] = format!("cli/{}", why.by).into();
    entry["reason"] = why.reason.as_str().into();
    // The log has it before anybody follows.
    let log = move |unit: &mut Unit| {
        unit.entries.push(Entry::new("model", AccountId::none(), &entry));
    };
    store.run(Clock::system().now(), Needs::default(), log).await?;
    replicas::order(store, version, order).await?.map_err(|e| Refused(e.to_string()))?;
    Ok("ordered: every replica follows within programme.watch_s".to_owned())
}
