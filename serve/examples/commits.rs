//! How many requests a second the store commits, by how many ask at a time.
//!
//! ```sh
//! cargo run --release -p plimsoll-serve --example commits -- sqlite:/tmp/commits.db 1 8 64 256
//! ```
//!
//! Each request is a sync's worth of writing: its account (4 KB), a row of its history, a grant, a payment, a reply, an event
//! and an entry of the log. With one client every request is a transaction of its own; what more clients reach together
//! is what they gain from sharing commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use plimsoll_model::features::{FeatureState, Profile};
use plimsoll_model::grant::Bytes;
use plimsoll_model::money::Currency;
use plimsoll_model::time::UtcOffset;
use plimsoll_model::transaction::{Channel, Kind, Transaction};
use plimsoll_model::{Flow, Money, Tier, UtcSeconds};
use plimsoll_serve::record::{Account, AccountId, GrantRecord, Outcome, PaymentRecord, TierFrom};
use plimsoll_serve::store::Store;
use plimsoll_serve::unit::{Entry, Event, Needs, Reply, Row, Unit};
use serde_json::json;

const NOW: UtcSeconds = UtcSeconds(1_795_305_600);
const ACCOUNTS: u64 = 10_000;
/// What is known of each account before the measurement.
const HISTORY: i64 = 200;
const SECONDS: u64 = 5;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("usage: commits URL CLIENTS...")?;
    let clients = arguments.map(|n| n.parse().context("a number of clients")).collect::<Result<Vec<u64>, _>>()?;
    tokio::runtime::Runtime::new()?.block_on(measure(&url, &clients))
}

#[expect(clippy::print_stdout, reason = "the result")]
async fn measure(url: &str, clients: &[u64]) -> anyhow::Result<()> {
    let store = Store::open(url).await?;
    let blank = blank()?;
    for from in (0..ACCOUNTS).step_by(250) {
        let names: Vec<AccountId> = (from..from + 250).map(name).collect::<Result<_, _>>()?;
        let needs = Needs { accounts: names.iter().cloned().collect(), ..Needs::default() };
        let blank = blank.clone();
        let fill = move |unit: &mut Unit| {
            for name in &names {
                let account = Account { id: name.clone(), ..blank.clone() };
                unit.accounts.put(name.clone(), account);
            }
        };
        store.run(NOW, needs, fill).await?;
    }
    // Names that no earlier run on the same store has used.
    let mut salt = [0; 8];
    getrandom::fill(&mut salt)?;
    let serial = Arc::new(AtomicU64::new(u64::from_be_bytes(salt) >> 1));
    for &clients in clients {
        let begun = Instant::now();
        let end = begun + Duration::from_secs(SECONDS);
        let tasks: Vec<_> = (0..clients)
            .map(|_| {
                let (store, serial) = (store.clone(), serial.clone());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while Instant::now() < end {
                        let asked = Instant::now();
                        let (needs, work) = sync(serial.fetch_add(1, Ordering::Relaxed))?;
                        store.run(NOW, needs, work).await?;
                        times.push(asked.elapsed());
                    }
                    anyhow::Ok(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await??);
        }
        times.sort_unstable();
        let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!("{clients:4} clients  {rate:7.0} /s  p50 {:6.2} ms  p99 {:6.2} ms", at(0.5), at(0.99));
    }
    store.close().await;
    Ok(())
}

/// One request.
fn sync(n: u64) -> anyhow::Result<(Needs, impl FnMut(&mut Unit) + Send + 'static)> {
    let of = name(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ACCOUNTS)?;
    let mut token = Bytes([0; 16]);
    token.0[..8].copy_from_slice(&n.to_be_bytes());
    let replied = ("client".to_owned(), n.to_string());
    let row = format!("row {n}");
    let mut needs = Needs::default();
    needs.accounts.insert(of.clone());
    needs.payments.insert(token);
    needs.replies.insert(replied.clone());
    needs.rows.insert((of.clone(), row.clone()));
    let work = move |unit: &mut Unit| {
        let spent = transaction(-1, NOW);
        let seq = unit.accounts.change(&of, |account| {
            account.features.push(&spent).expect("in order");
            account.version += 1;
            account.version
        });
        unit.rows.push(Row { account: of.clone(), name: row.clone(), transaction: spent });
        let mut jkt = Bytes([0; 32]);
        jkt.0[..8].copy_from_slice(&n.to_be_bytes());
        let (account, amount) = (of.clone(), Money::ZERO);
        let claims = vec![b'c'; 600];
        unit.grants.put(
            token,
            GrantRecord { jti: token, account, jkt, seq, iat: NOW, granted_ppm: 1_000_000, claims, settled: amount },
        );
        let outcome = Outcome { debited: amount, credited: amount, overdraft: amount, unpaid: amount, liable: None };
        unit.payments.put(
            token,
            PaymentRecord {
                nonce: token,
                digest: [1; 32],
                payer: of.clone(),
                jkt,
                grant: token,
                number: seq,
                payee: of.clone(),
                amount,
                signed_at: NOW,
                judged_at: NOW,
                outcome,
                dispute: None,
            },
        );
        unit.replies.put(replied.clone(), Reply { fingerprint: [1; 32], status: 200, body: vec![b'r'; 900], at: NOW });
        unit.events.push(Event { topic: "grant.issued", body: json!({ "account": of, "seq": seq }) });
        let body = json!({ "jti": token, "features": vec![0_u32; 24], "inputs": "i".repeat(400) });
        unit.entries.push(Entry::new("grant", of.clone(), &body));
    };
    Ok((needs, work))
}

fn name(n: u64) -> anyhow::Result<AccountId> {
    Ok(AccountId::try_from(format!("wallet-{n}"))?)
}

fn blank() -> anyhow::Result<Account> {
    let tier = Tier::default();
    let from = NOW.plus(-86_400 * HISTORY);
    let currency = Currency::new("MYR", 2)?;
    let profile = Profile { opened_at: from, tier, attested: true, offset: UtcOffset(480), currency };
    let mut features = FeatureState::new(profile, 0, from);
    for day in 0..HISTORY {
        features.push(&transaction(if day % 7 == 0 { 50_000 } else { -3_000 - day }, from.plus(day * 86_400)))?;
    }
    Ok(Account {
        id: name(0)?,
        tiers: vec![TierFrom { tier, from }],
        features,
        version: 0,
        lifetime_tx: 0,
        manual_wallet: Money::ZERO,
        wallets: Vec::new(),
        spent: Vec::new(),
        signals: Vec::new(),
        transfers: Vec::new(),
        payees: Vec::new(),
        proposed: None,
        window: None,
    })
}

fn transaction(minor: i64, at: UtcSeconds) -> Transaction {
    let kind = if minor < 0 { Kind::Purchase } else { Kind::Reload };
    let amount = Flow::from_minor(minor).expect("small");
    Transaction {
        at,
        amount,
        kind,
        payee: minor.unsigned_abs(),
        channel: Channel::Online,
        device: 1,
        place: None,
        id: 0,
    }
}
