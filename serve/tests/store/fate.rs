//! Commits whose answer is lost, and connections that are cut anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::crash::{consistent, step};
use super::server::Server;
use super::world::*;
use plimsoll_serve::store::{Store, StoreError};
use plimsoll_serve::unit::{Needs, Unit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the wire does with the next COMMIT.
const PASS: u8 = 0;
const LOSE_THE_ANSWER: u8 = 1;
const LOSE_THE_COMMIT: u8 = 2;
/// Added to either: and then nobody gets through any more.
const AND_STAY_AWAY: u8 = 4;

/// A wire to the server that loses what it is told to lose, once.
struct Wire {
    port: u16,
    next: Arc<AtomicU8>,
    away: Arc<AtomicBool>,
}

impl Wire {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let here = listener.local_addr().expect("has an address").port();
        let next = Arc::new(AtomicU8::new(PASS));
        let away = Arc::new(AtomicBool::new(false));
        let (loses, cut) = (next.clone(), away.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if cut.load(SeqCst) {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", port)).await.expect("is there");
                tokio::spawn(carry(client, server, loses.clone(), cut.clone()));
            }
        });
        Self { port: here, next, away }
    }
}

async fn carry(client: TcpStream, server: TcpStream, next: Arc<AtomicU8>, away: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
        if away.load(SeqCst) {
            break;
        }
        let commits = bytes[..length].windows(6).any(|w| w == b"COMMIT");
        let fate = if commits { next.swap(PASS, SeqCst) } else { PASS };
        if fate >= AND_STAY_AWAY {
            away.store(true, SeqCst);
        }
        match fate % AND_STAY_AWAY {
            LOSE_THE_COMMIT => break,
            LOSE_THE_ANSWER => {
                back.abort();
                let _cut = to_server.write_all(&bytes[..length]).await;
                // Long enough for the server to commit, which has its bytes.
                tokio::time::sleep(Duration::from_millis(300)).await;
                break;
            }
            _ => {
                if to_server.write_all(&bytes[..length]).await.is_err() {
                    break;
                }
            }
        }
    }
    back.abort();
}

/// Counts how often its work ran.
async fn add(store: &Store, ran: &Arc<AtomicU64>) -> Result<u64, StoreError> {
    let ran = ran.clone();
    let work = move |unit: &mut Unit| {
        ran.fetch_add(1, SeqCst);
        let mut one = unit.accounts.get(&id("alice")).cloned().unwrap_or_else(|| account("alice", 0));
        one.version += 1;
        let version = one.version;
        unit.accounts.put(id("alice"), one);
        unit.entries.push(entry("alice", version));
        version
    };
    store.run(NOW, needs_accounts(["alice"]), work).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_looked_up_and_not_done_again() {
    let server = super::shared();
    server.database("fate");
    let wire = Wire::to(server.port()).await;
    let store = Store::open(&format!("postgres://plimsoll@127.0.0.1:{}/fate", wire.port)).await.expect("opens");
    let ran = Arc::new(AtomicU64::new(0));
    let mut version = 0;
    // A writer's chain begins with a commit of its own: first both begin.
    while store.heads().await.expect("reads").len() < 2 {
        let (one, two) = tokio::join!(add(&store, &ran), add(&store, &ran));
        version = one.expect("is answered").max(two.expect("is answered"));
    }
    for (fate, runs) in [(PASS, 1), (LOSE_THE_ANSWER, 1), (LOSE_THE_COMMIT, 2)].repeat(6) {
        ran.store(0, SeqCst);
        wire.next.store(fate, SeqCst);
        version += 1;
        assert_eq!(add(&store, &ran).await, Ok(version), "fate {fate}");
        assert_eq!(wire.next.load(SeqCst), PASS, "the wire saw a commit");
        assert_eq!(ran.load(SeqCst), runs, "fate {fate}");
    }
    let log = store.log_of(&id("alice"), None, 1_000).await.expect("reads");
    assert_eq!(log.len() as u64, version, "each of them once");
    super::chains::verified(&store).await.expect("whole");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_told_that_nobody_knows_finds_out_by_asking_again() {
    let server = super::shared();
    server.database("unknown");
    let wire = Wire::to(server.port()).await;
    let store = Store::open(&format!("postgres://plimsoll@127.0.0.1:{}/unknown", wire.port)).await.expect("opens");
    let ran = Arc::new(AtomicU64::new(0));
    let mut version = 0;
    while store.heads().await.expect("reads").len() < 2 {
        let (one, two) = tokio::join!(add(&store, &ran), add(&store, &ran));
        version = one.expect("is answered").max(two.expect("is answered"));
    }
    for (fate, done) in [(LOSE_THE_ANSWER, 1), (LOSE_THE_COMMIT, 0)] {
        wire.next.store(fate + AND_STAY_AWAY, SeqCst);
        assert_eq!(add(&store, &ran).await, Err(StoreError::Unknown));
        let told = add(&store, &ran).await;
        assert!(matches!(told, Err(StoreError::Unavailable { .. })), "this one never began: {told:?}");
        wire.away.store(false, SeqCst);
        version += done;
        // Each writer takes part, the one with the open question as well: nobody is given its answer.
        for _ in 0..6 {
            version += 1;
            assert_eq!(add(&store, &ran).await, Ok(version), "fate {fate}");
        }
    }
    let log = store.log_of(&id("alice"), None, 1_000).await.expect("reads");
    assert_eq!(log.len() as u64, version, "each of them once");
    super::chains::verified(&store).await.expect("whole");
    store.close().await;
}

/// Works on a store that is disturbed, and counts what it was told.
async fn work(store: Store, by: u64, steps: u64) -> Vec<(u64, Result<u64, StoreError>)> {
    let mut told = Vec::new();
    for n in 0..steps {
        let (needs, work) = step(by + n, by, n);
        told.push((n, store.run(NOW, needs, work).await));
    }
    told
}

/// What was answered is there, what was refused is not, and what nobody could know is there once or not at all.
async fn accounted(store: &Store, told: Vec<Vec<(u64, Result<u64, StoreError>)>>) {
    let versions = consistent(store).await;
    let mut done = 0;
    let mut unknown = 0;
    for (by, told) in (0_u64..).zip(told) {
        let name = |n: u64| key("client", &token(2, by << 32 | n).to_string());
        let needs = Needs { replies: told.iter().map(|(n, _)| name(*n)).collect(), ..Needs::default() };
        let unit = store.look(needs).await.expect("reads");
        for (n, told) in told {
            let there = unit.replies.get(&name(n)).map(|reply| String::from_utf8_lossy(&reply.body).into_owned());
            match told {
                Ok(version) => {
                    assert_eq!(there, Some(version.to_string()));
                    done += 1;
                }
                Err(StoreError::Unavailable { why }) => assert_eq!(there, None, "{why}"),
                Err(StoreError::Unknown) => unknown += u64::from(there.is_some()),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(versions.values().sum::<u64>(), done + unknown);
    assert!(done > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_anywhere_lose_nothing_and_do_nothing_twice() {
    let server = super::shared();
    let url = server.database("cut");
    let replicas = [Store::open(&url).await.expect("opens"), Store::open(&url).await.expect("opens")];
    let tasks: Vec<_> = (0..8).map(|by| tokio::spawn(work(replicas[by as usize % 2].clone(), by, 25))).collect();
    let place = super::Place { url: server.url("postgres"), _home: None };
    let mut cuts = 0;
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut'";
        place.sql(sql).await.expect("cuts");
        cuts += 1;
    }
    assert!(cuts > 5, "it was over before it was disturbed");
    let mut told = Vec::new();
    for task in tasks {
        told.push(task.await.expect("ends"));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    accounted(&replicas[0], told).await;
    for store in replicas {
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_takes_back_nothing_that_was_answered() {
    let mut server = tokio::task::spawn_blocking(Server::start).await.expect("starts");
    let url = server.database("killed");
    let store = Store::open(&url).await.expect("opens");
    let mut told: Vec<Vec<_>> = (0..8).map(|_| Vec::new()).collect();
    for round in 0..4_u64 {
        let tasks: Vec<_> = (0..8_u64)
            .map(|by| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut told = Vec::new();
                    for n in round * 1_000..round * 1_000 + 150 {
                        let (needs, work) = step(by + n, by, n);
                        let answer = store.run(NOW, needs, work).await;
                        let away = answer.is_err();
                        told.push((n, answer));
                        if away {
                            break;
                        }
                    }
                    told
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(40 + 35 * round)).await;
        tokio::task::block_in_place(|| {
            server.kill();
            server.up();
        });
        for (by, task) in tasks.into_iter().enumerate() {
            told[by].extend(task.await.expect("ends"));
        }
    }
    accounted(&store, told).await;
    store.close().await;
}
