//! Replicas that are killed in the middle of their commits.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Place;
use super::chains::verified;
use super::ended::{count_all, counted};
use super::world::*;
use plimsoll_serve::record::AccountId;
use plimsoll_serve::store::Store;
use plimsoll_serve::unit::{Needs, Unit};

/// Accounts that everyone works on.
pub(crate) const ACCOUNTS: u64 = 4;

/// Does one of everything for an account, in one transaction: a row, a grant of the next `seq`, a payment under a nonce of
/// its own, a reply, an event, a log entry, the end of a window, a new version.
///
/// * `by`: who asks; with `n` it makes the names.
/// * returns the new version.
pub(crate) fn step(which: u64, by: u64, n: u64) -> (Needs, impl FnMut(&mut Unit) -> u64 + Send + 'static) {
    let name = format!("a{}", which % ACCOUNTS);
    let nonce = token(2, by << 32 | n);
    let replied = key("client", &nonce.to_string());
    let mut needs = needs_accounts([name.as_str()]);
    needs.payments.insert(nonce);
    needs.replies.insert(replied.clone());
    let work = move |unit: &mut Unit| {
        let mut one = unit.accounts.get(&id(&name)).cloned().unwrap_or_else(|| account(&name, 0));
        if let Some(before) = unit.replies.get(&replied) {
            return String::from_utf8_lossy(&before.body).parse().expect("a number");
        }
        assert!(unit.payments.get(&nonce).is_none(), "a payment without its reply");
        let next = one.version + 1;
        one.lifetime_tx = next;
        unit.accounts.put(id(&name), one);
        fold(unit, &name, &format!("row {nonce}"), 1);
        let mut made = grant(&name, nonce, next);
        made.jkt.0[0] = name.as_bytes()[1];
        unit.grants.put(nonce, made);
        unit.payments.put(nonce, payment(nonce, &name, "bob", 1));
        unit.replies.put(replied.clone(), reply(200, &next.to_string()));
        unit.entries.push(entry(&name, next));
        unit.events.push(event(next));
        unit.ended.push(ended(nonce));
        next
    };
    (needs, work)
}

/// Nothing half-written: of each account as many of everything as its version says, and the log whole.
///
/// * returns the versions.
pub(crate) async fn consistent(store: &Store) -> BTreeMap<AccountId, u64> {
    let mut versions = BTreeMap::new();
    let mut windows = Vec::new();
    for which in 0..ACCOUNTS {
        let of = id(&format!("a{which}"));
        let unit = store.look(needs_accounts([of.as_str()])).await.expect("reads");
        let Some(one) = unit.accounts.get(&of) else { continue };
        let version = one.version;
        assert_eq!((one.balance_minor(), one.lifetime_tx), (version as i64, version));
        let all: Vec<u64> = (1..=version).collect();

        let mut places = Vec::new();
        loop {
            let page = store.rows_after(&of, places.len() as u64, 1_000).await.expect("reads");
            if page.is_empty() {
                break;
            }
            places.extend(page.iter().map(|row| row.place));
        }
        assert_eq!(places, all, "rows of {of}");

        let mut seqs = Vec::new();
        let mut before = None;
        loop {
            let page = store.grants(&of, before, 1_000).await.expect("reads");
            let Some(last) = page.last() else { break };
            before = Some((last.iat, last.jti));
            seqs.extend(page.iter().map(|grant| grant.seq));
        }
        seqs.sort_unstable();
        assert_eq!(seqs, all, "grants of {of}");

        let mut nonces = Vec::new();
        while nonces.len() < all.len() {
            let page = store.payments(&of, nonces.last().copied(), 1_000).await.expect("reads");
            assert!(!page.is_empty(), "payments of {of}: {} of {version}", nonces.len());
            nonces.extend(page.iter().map(|payment| (payment.judged_at, payment.nonce)));
        }
        assert_eq!(nonces.len() as u64, version, "payments of {of}");
        windows.extend(nonces.iter().map(|(_, nonce)| nonce.to_string()));
        let mut needs = Needs::default();
        needs.replies.extend(nonces.iter().map(|(_, nonce)| key("client", &nonce.to_string())));
        let unit = store.look(needs.clone()).await.expect("reads");
        let mut told: Vec<u64> = needs
            .replies
            .iter()
            .map(|key| {
                let reply = unit.replies.get(key).expect("a payment has its reply");
                String::from_utf8_lossy(&reply.body).parse().expect("a number")
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, all, "replies of {of}");

        let mut logged: Vec<u64> = Vec::new();
        let mut last = None;
        loop {
            let page = store.log_of(&of, last.as_ref(), 1_000).await.expect("reads");
            logged.extend(page.iter().map(|link| {
                let body: serde_json::Value = serde_json::from_slice(&link.body).expect("JSON");
                body["number"].as_u64().expect("a number")
            }));
            let Some(end) = page.last() else { break };
            last = Some(end.clone());
        }
        logged.sort_unstable();
        assert_eq!(logged, all, "log of {of}");
        versions.insert(of, version);
    }
    let total: u64 = versions.values().sum();
    let (heads, entries) = verified(store).await.expect("the log is whole");
    assert_eq!(entries, total + heads.len() as u64);
    let mut events = 0;
    let mut at = 0;
    loop {
        let page = store.events(at, 1_000).await.expect("reads");
        let Some(last) = page.last() else { break };
        at = last.number;
        events += page.len() as u64;
    }
    assert_eq!(events, total, "events");
    count_all(store).await;
    let mut counted = counted(store).await;
    counted.sort_unstable();
    windows.sort_unstable();
    assert_eq!(counted, windows, "each window counts once");
    versions
}

const URL: &str = "PLIMSOLL_TEST_CRASH_URL";
const ROUND: &str = "PLIMSOLL_TEST_CRASH_ROUND";

/// The replica that is killed: works without end, and says what it was answered.
#[test]
#[ignore = "started by the test that kills it"]
fn replica() {
    let url = std::env::var(URL).expect("the test that kills it says where the store is");
    let round: u64 = std::env::var(ROUND).expect("says which round").parse().expect("a number");
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    runtime.block_on(async {
        let store = Store::open(&url).await.expect("opens");
        let tasks: Vec<_> = (0..8_u64)
            .map(|task| {
                let store = store.clone();
                tokio::spawn(async move {
                    let by = round << 8 | task;
                    for n in 0_u64.. {
                        let (needs, work) = step(n.wrapping_mul(7).wrapping_add(task), by, n);
                        let version = store.run(NOW, needs, work).await.expect("is answered");
                        // One write, so that a line is whole or not there.
                        let line = format!("{by} {n} {version}\n");
                        std::io::stderr().write_all(line.as_bytes()).expect("is read");
                    }
                })
            })
            .collect();
        // And counts windows all the while.
        loop {
            count_all(&store).await;
            if tasks.iter().any(tokio::task::JoinHandle::is_finished) {
                break;
            }
        }
        for task in tasks {
            task.await.expect("runs until it is killed");
        }
    });
}

pub(crate) async fn a_replica_that_is_killed_takes_back_nothing_that_it_answered(place: Place) {
    const ROUNDS: u64 = 8;
    let mut answered: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut replica = Command::new(std::env::current_exe().expect("has a path"))
            .args(["--exact", "crash::replica", "--ignored", "--nocapture"])
            .env(URL, &place.url)
            .env(ROUND, round.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let told = replica.stderr.take().expect("is piped");
        let lines = tokio::task::spawn_blocking(move || BufReader::new(told).lines().map_while(Result::ok).collect());
        // Killed at another moment in each round: while it opens, with the first commits, under full load.
        tokio::time::sleep(Duration::from_millis(30 + 97 * round)).await;
        replica.kill().expect("is killed");
        replica.wait().expect("ends");
        let lines: Vec<String> = lines.await.expect("are read");
        for line in lines {
            let numbers: Vec<u64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
            let &[by, n, version] = &numbers[..] else { panic!("the replica said: {line}") };
            answered.insert((by, n), version);
        }
        place.left_alone().await;
        // The next comes up on what the last one left, and finds all of it.
        let store = place.open().await;
        consistent(&store).await;
        let names: Vec<_> = answered.keys().map(|(by, n)| key("client", &token(2, by << 32 | n).to_string())).collect();
        let needs = Needs { replies: names.iter().cloned().collect(), ..Needs::default() };
        let unit = store.look(needs).await.expect("reads");
        for (name, version) in names.iter().zip(answered.values()) {
            assert_eq!(unit.replies.get(name).map(|r| r.body.clone()), Some(version.to_string().into_bytes()));
        }
        store.close().await;
    }
    assert!(answered.len() > 100, "the replicas did little before they were killed: {} answers", answered.len());
}
