//! `run`: from a configuration to a service, until it is told to stop.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use plimsoll_serve::app::App;
use plimsoll_serve::border::layered;
use plimsoll_serve::clock::Clock;
use plimsoll_serve::config::{Config, Server};
use plimsoll_serve::console::{self, Console};
use plimsoll_serve::models::delivery;
use plimsoll_serve::ops::{self, server, trace};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::exit::Cut;
use super::{Context, dev};

#[derive(clap::Args)]
#[command(after_help = "Example: plimsoll-serve run --dev --set server.listen=127.0.0.1:8090")]
pub(super) struct Args {
    /// Make a developer's keys under ./plimsoll-serve/dev and accept tokens by them (see `token`); only on loopback.
    #[arg(long)]
    dev: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let mut config = context.config()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let tracing = {
        let _on = runtime.enter();
        trace::start(&config.log)?
    };
    if args.dev {
        dev::prepare(&mut config)?;
    }
    let served = runtime.block_on(serve(config));
    runtime.block_on(tracing.stop());
    served
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Before anything is opened: a signal during the start stops it afterwards, and cleanly.
    let stop = server::stop_signal()?;
    let asked = Arc::new(Notify::new());
    hang_ups(Arc::clone(&asked))?;

    let app = App::open(config, Clock::system()).await?;
    app.border.warm().await;
    say_what_is_missing(&app).await;
    app.upkeep(&asked);

    let listen = app.config.server.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("server.listen: {listen}"))?;
    let mut public = ops::health_routes(&app);
    let (guarded, document) = plimsoll_serve::api::router().split_for_parts();
    let published = {
        let keys = app.keys.clone();
        Arc::new(move || keys.published())
    };
    let console = Console::new(app.service(), Arc::clone(&app.border), app.config.server.public_origin());
    public = public.merge(delivery::public(app.models.clone(), published));
    public = public.merge(console::router(console)).merge(console::docs(&document)?);
    let guarded = guarded.with_state(app.service()).merge(delivery::guarded(app.models.clone()));
    let (stopped, stops) = tokio::sync::watch::channel(());
    let mut apart = None;
    match app.config.server.ops_listen {
        None => public = public.merge(ops::metrics_routes(&app)),
        Some(address) => {
            let listener = TcpListener::bind(address).await.with_context(|| format!("server.ops_listen: {address}"))?;
            let router = layered(ops::health_routes(&app).merge(ops::metrics_routes(&app)), Router::new(), &app.border);
            apart = Some((listener, router, stops));
        }
    }
    let router = layered(public, guarded, &app.border);
    tracing::info!(address = %listener.local_addr()?, "serving");

    let apart = apart.map(|(listener, router, mut stops)| {
        let app = app.clone();
        tokio::spawn(async move {
            let stop = async move { drop(stops.changed().await) };
            // For who balances and watches, on a network of its own.
            let plain = Server { tls: None, ..app.config.server.clone() };
            server::serve(listener, router, &plain, &app.metrics, stop).await
        })
    });
    let cut = server::serve(listener, router, &app.config.server, &app.metrics, stop).await?;
    drop(stopped);
    if let Some(apart) = apart {
        apart.await??;
    }
    // After the last request: what it wrote is committed, and what it queued is written.
    app.store.close().await;
    tracing::info!("stopped");
    if cut > 0 { Err(Cut(cut).into()) } else { Ok(()) }
}

/// What a first start has not got yet, and what to do about it.
async fn say_what_is_missing(app: &App) {
    if app.config.auth.issuers.is_empty() && app.config.auth.bridges.is_empty() {
        tracing::warn!("nobody can sign in: configure auth.issuers or auth.bridges, or try `run --dev`");
    }
    for (part, state) in app.readiness().await {
        if let ops::health::Part::Reduced(why) | ops::health::Part::Down(why) = state {
            tracing::warn!(part, why, "not all there");
        }
    }
}

/// SIGHUP reads the keys again.
#[cfg(unix)]
fn hang_ups(asked: Arc<Notify>) -> std::io::Result<()> {
    let mut hang_up = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            asked.notify_waiters();
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn hang_ups(_: Arc<Notify>) -> std::io::Result<()> {
    Ok(())
}
