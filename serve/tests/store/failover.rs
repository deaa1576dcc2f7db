//! A primary that dies under load, and a standby that takes its place behind the same address.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::crash::{consistent, step};
use super::server::Server;
use super::world::*;
use plimsoll_serve::store::Store;
use plimsoll_serve::unit::Needs;
use sqlx::{Connection as _, Executor as _};
use tokio::net::{TcpListener, TcpStream};

const WRITERS: u64 = 6;

/// An address that leads to whichever server is the primary, as a balancer's does.
struct Address {
    port: u16,
    primary: Arc<AtomicU16>,
}

impl Address {
    async fn of(primary: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("has an address").port();
        let primary = Arc::new(AtomicU16::new(primary));
        let leads = primary.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let leads = leads.clone();
                tokio::spawn(async move {
                    // Nobody there: the client's connection ends as well.
                    let Ok(mut server) = TcpStream::connect(("127.0.0.1", leads.load(SeqCst))).await else { return };
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, primary }
    }
}

async fn sql(server: &Server, sql: &'static str) {
    let mut connection = sqlx::PgConnection::connect(&server.url("postgres")).await.expect("connects");
    connection.execute(sqlx::raw_sql(sql)).await.expect("is done");
}

/// Says how many standbys have every commit before it is answered.
async fn standbys(server: &Server) -> i64 {
    let mut connection = sqlx::PgConnection::connect(&server.url("postgres")).await.expect("connects");
    let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND state = 'streaming'";
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("reads")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_takes_over_mid_load_has_everything_that_was_answered_and_nothing_twice() {
    let (mut primary, standby) = tokio::task::spawn_blocking(|| {
        let primary = Server::start();
        primary.database("failover");
        let standby = primary.standby();
        (primary, standby)
    })
    .await
    .expect("both start");
    sql(&primary, "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
    sql(&primary, "SELECT pg_reload_conf()").await;
    while standbys(&primary).await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let address = Address::of(primary.port()).await;
    let url = format!("postgres://plimsoll@127.0.0.1:{}/failover", address.port);
    // Two replicas of the service.
    let stores = [Store::open(&url).await.expect("opens"), Store::open(&url).await.expect("opens")];
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|by| {
            let store = stores[by as usize % stores.len()].clone();
            let (done, answered) = (done.clone(), answered.clone());
            tokio::spawn(async move {
                let mut told = BTreeMap::new();
                for n in 0_u64.. {
                    // A request that got no answer is sent again, as it was: its reply tells whether it was done.
                    let version = loop {
                        let (needs, work) = step(n.wrapping_mul(7).wrapping_add(by), by, n);
                        if let Ok(version) = store.run(NOW, needs, work).await {
                            break version;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    };
                    told.insert((by, n), version);
                    answered.fetch_add(1, SeqCst);
                    if done.load(SeqCst) {
                        return told;
                    }
                }
                told
            })
        })
        .collect();
    let wait_for = async |count: u64| {
        while answered.load(SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    wait_for(300).await;
    tokio::task::block_in_place(|| primary.kill());
    let before = answered.load(SeqCst);
    sql(&standby, "SELECT pg_promote()").await;
    address.primary.store(standby.port(), SeqCst);
    wait_for(before + 300).await;
    done.store(true, SeqCst);
    let mut told: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for writer in writers {
        told.extend(writer.await.expect("goes on"));
    }
    // Most batches wait until the standby is there, and nobody who asked sees any of it.
    let tries: u64 = stores.iter().map(|store| store.metrics().retries.get()).sum();
    assert!(tries > 0, "it died under load");
    for store in &stores {
        store.close().await;
    }

    // As a service that is started with the new address.
    let store = Store::open(&standby.url("failover")).await.expect("opens");
    consistent(&store).await;
    let names: Vec<_> = told.keys().map(|(by, n)| key("client", &token(2, by << 32 | n).to_string())).collect();
    let unit = store.look(Needs { replies: names.iter().cloned().collect(), ..Needs::default() }).await.expect("reads");
    for (name, version) in names.iter().zip(told.values()) {
        assert_eq!(unit.replies.get(name).map(|r| r.body.clone()), Some(version.to_string().into_bytes()));
    }
    store.close().await;
}
