//! `audit`: is the log whole, and does every decision in it come out again?

use std::path::PathBuf;

use anyhow::Context as _;
use plimsoll_edge::trust::TrustedRoot;
use plimsoll_model::grant::Bytes;
use plimsoll_serve::audit::chain::Head;
use plimsoll_serve::audit::replay::replay;
use plimsoll_serve::audit::walk::walk;
use plimsoll_serve::models::Archived;
use plimsoll_serve::store::Store;

use super::exit::Refused;
use super::{Context, print};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Follow the chains of the log, and print their heads: keep those elsewhere, and hand them in the next time.
    Verify {
        /// A head that was kept, as this command printed it; may be repeated.
        #[arg(long, value_name = "CHAIN:NUMBER:HASH", value_parser = head)]
        head: Vec<Head>,
    },
    /// Decide every grant in the log again, and hold it against the log and against what was signed. Follows the chains
    /// too.
    Replay {
        /// A head that was kept; may be repeated.
        #[arg(long, value_name = "CHAIN:NUMBER:HASH", value_parser = head)]
        head: Vec<Head>,
        /// The archive of another replica, beside `programme.archive`; may be repeated.
        #[arg(long, value_name = "DIRECTORY")]
        archive: Vec<PathBuf>,
    },
}

pub(super) fn run(context: &Context, command: &Command) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(inner(context, command))
}

async fn inner(context: &Context, command: &Command) -> anyhow::Result<()> {
    let config = context.config()?;
    let store = Store::open(&config.store_url()?).await?;
    match command {
        Command::Verify { head } => {
            let (heads, entries) = walk(&store, head, async |_| Ok(())).await?.map_err(|b| Refused(b.to_string()))?;
            let heads = heads.iter().map(|h| format!("{}:{}:{}\n", h.chain, h.number, h.hash)).collect::<String>();
            print(&format!("{heads}{entries} entries, every chain holds"))
        }
        Command::Replay { head, archive } => {
            let root = match &config.programme.trust_root {
                None => None,
                Some(file) => {
                    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
                    Some(TrustedRoot::from_bytes(&bytes).context("programme.trust_root")?)
                }
            };
            let directories = std::iter::once(&config.programme.archive).chain(archive);
            let archives = directories.map(|directory| Archived::open(directory, root.clone()));
            let report = replay(&store, head, archives.collect::<Result<_, _>>()?).await?;
            print(&serde_json::to_string_pretty(&report)?)?;
            if report.is_clean() {
                return Ok(());
            }
            let differ = report.grants - report.same;
            let broken = report.broken.unwrap_or_else(|| "every chain holds".to_owned());
            Err(Refused(format!("{differ} of {} grants differ; {broken}", report.grants)).into())
        }
    }
}

fn head(text: &str) -> Result<Head, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let wrong = || "a head is what `audit verify` prints: CHAIN:NUMBER:HASH".to_owned();
    let [chain, number, hash] = parts[..] else { return Err(wrong()) };
    let chain = Bytes::try_from(chain.to_owned()).map_err(|_| wrong())?;
    let hash = Bytes::try_from(hash.to_owned()).map_err(|_| wrong())?;
    Ok(Head { chain, number: number.parse().map_err(|_| wrong())?, hash })
}
