//! `backup` and `restore`: the whole store as one file, from either database and into either.

use std::path::PathBuf;

use plimsoll_model::grant::Bytes;
use plimsoll_serve::app;
use plimsoll_serve::store::{Saved, Store, StoreError};

use super::Context;

#[derive(clap::Args)]
#[command(after_help = "\
Example: plimsoll-serve --config /etc/plimsoll/serve.toml backup /backups/$(date +%F).plimsoll\n\
The service may go on meanwhile. The file holds accounts and keys of devices: keep it as you keep the database.")]
pub(super) struct BackupArgs {
    /// The file to write; it must not be there yet.
    file: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "\
Example: PLIMSOLL_SERVE__STORE__URL=postgres://… plimsoll-serve restore /backups/2026-11-21.plimsoll\n\
Into an empty store, whole or not at all. Afterwards `audit verify` follows the log.")]
pub(super) struct RestoreArgs {
    /// The file to read.
    file: PathBuf,
}

pub(super) fn backup(context: &Context, args: &BackupArgs) -> anyhow::Result<()> {
    with_store(context, async |store| store.backup(&args.file).await)
}

pub(super) fn restore(context: &Context, args: &RestoreArgs) -> anyhow::Result<()> {
    with_store(context, async |store| store.restore(&args.file).await)
}

fn with_store(context: &Context, work: impl AsyncFnOnce(&Store) -> Result<Saved, StoreError>) -> anyhow::Result<()> {
    let config = context.config()?;
    app::make_store_directory(&config)?;
    let saved = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let store = Store::open(&config.store_url()?).await?;
        let saved = work(&store).await;
        store.close().await;
        anyhow::Ok(saved?)
    })?;
    let Saved { accounts, rows, digest } = saved;
    super::print(&format!("{accounts} accounts, {rows} rows, {}", Bytes(digest)))
}
