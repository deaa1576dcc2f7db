//! What the store must say after a run, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_serve::audit::chain::{BrokenChain, Head, Link, Verifier};
use plimsoll_serve::record::{AccountId, GrantRecord, PaymentRecord};
use plimsoll_serve::store::{PlacedRow, Store};
use plimsoll_serve::unit::{Needs, Unit};

use super::client::{OUTSIDE, Town};
use super::history::{History, Paid};

/// Everything there is.
struct Stored {
    unit: Unit,
    ids: Vec<AccountId>,
    rows: BTreeMap<String, Vec<PlacedRow>>,
    grants: Vec<GrantRecord>,
    payments: Vec<PaymentRecord>,
    log: Vec<Link>,
}

/// Looks at everything.
///
/// * `end`: ends the replicas, the hard way: what they answered is on the disk already.
pub(crate) async fn check(url: &str, town: &Town, end: impl FnOnce(), broken: &mut Vec<String>) {
    let store = Store::open(url).await.expect("opens");
    let seen = store.heads().await.expect("reads");
    end();
    // As whoever starts next.
    store.close().await;
    let store = Store::open(url).await.expect("opens again");
    match chains(&store, &seen).await {
        Err(why) => broken.push(format!("the log: {why}")),
        Ok(log) => {
            let stored = load(&store, town, log).await;
            let history = town.history();
            money(&stored, &history, broken);
            sequences(&stored, broken);
            logged(&stored, broken);
            promises(&stored, &history, broken);
        }
    }
    store.close().await;
}

/// Follows every chain, and what was seen of it before the end.
async fn chains(store: &Store, seen: &[Head]) -> Result<Vec<Link>, BrokenChain> {
    let heads = store.heads().await.expect("reads");
    let mut verifier = Verifier::default();
    for head in heads.iter().chain(seen) {
        verifier.expect(*head)?;
    }
    for head in &heads {
        for first in store.log(head.chain, 0, 1).await.expect("reads") {
            verifier.expect_named(&first)?;
        }
    }
    let mut log = Vec::new();
    for head in &heads {
        let mut next = 0;
        loop {
            let page = store.log(head.chain, next, 500).await.expect("reads");
            let Some(last) = page.last() else { break };
            next = last.number + 1;
            for link in &page {
                verifier.follow(link)?;
            }
            log.extend(page);
        }
    }
    verifier.finish()?;
    Ok(log)
}

async fn load(store: &Store, town: &Town, log: Vec<Link>) -> Stored {
    let ids: Vec<AccountId> =
        town.accounts.iter().map(|name| AccountId::try_from(name.as_str()).expect("a name")).collect();
    let needs = Needs { accounts: ids.iter().cloned().collect(), ..Needs::default() };
    let unit = store.look(needs).await.expect("reads");
    let (mut rows, mut grants, mut payments) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    let outside = AccountId::try_from(OUTSIDE).expect("a name");
    for id in ids.iter().chain([&outside]) {
        let of = store.rows_after(id, 0, 1_000).await.expect("reads");
        assert!(of.len() < 1_000, "a page holds a run");
        rows.insert(id.to_string(), of);
        grants.extend(store.grants(id, None, 1_000).await.expect("reads"));
        for payment in store.payments(id, None, 1_000).await.expect("reads") {
            payments.insert((payment.nonce, payment.payer.to_string()), payment);
        }
    }
    Stored { unit, ids, rows, grants, payments: payments.into_values().collect(), log }
}

/// Money comes from openings and movements, and only moves by payments.
fn money(stored: &Stored, history: &History, broken: &mut Vec<String>) {
    for id in &stored.ids {
        let Some(account) = stored.unit.accounts.get(id) else {
            broken.push(format!("{id} was opened and is not there"));
            continue;
        };
        let opened = history.opened.get(id.as_str()).copied().unwrap_or(0);
        let rows = &stored.rows[id.as_str()];
        let sum: i64 = rows.iter().map(|r| r.row.transaction.amount.minor()).sum();
        if account.balance_minor() != opened + sum {
            broken.push(format!("{id}: balance {} is not {opened} and {sum}", account.balance_minor()));
        }
        if account.version != rows.len() as u64 || !rows.iter().zip(1..).all(|(row, place)| row.place == place) {
            broken.push(format!("{id}: {} changes of the balance, {} rows", account.version, rows.len()));
        }
        // Each row is a movement that was told, or a side of a payment.
        for row in rows {
            let (name, amount) = (&row.row.name, row.row.transaction.amount.minor());
            let expected = match name.strip_prefix("offline:") {
                None => history.told.get(&(id.to_string(), name.clone())).copied(),
                Some(side) => {
                    let (nonce, side) = side.split_once(':').unwrap_or((side, ""));
                    let payment = stored.payments.iter().find(|p| p.nonce.to_string() == nonce);
                    payment.and_then(|p| {
                        let credited = p.outcome.credited.minor() as i64;
                        match side {
                            "out" => (p.payer == *id).then_some(-credited),
                            _ => (p.payee == *id).then_some(credited),
                        }
                    })
                }
            };
            if expected != Some(amount) {
                broken.push(format!("{id}: row {name} of {amount}, expected {expected:?}"));
            }
        }
    }
    for p in &stored.payments {
        let o = &p.outcome;
        let adds_up =
            o.debited.saturating_add(o.overdraft) == o.credited && o.credited.saturating_add(o.unpaid) == p.amount;
        let sides = [(&p.payer, "out"), (&p.payee, "in")].iter().all(|(id, side)| {
            let Some(rows) = stored.rows.get(id.as_str()) else { return false };
            let name = format!("offline:{}:{side}", p.nonce);
            let found = rows.iter().filter(|r| r.row.name == name).count();
            id.as_str() == OUTSIDE || found == 1
        });
        if !adds_up || !sides {
            broken.push(format!("payment {} does not add up: {o:?}", p.nonce));
        }
    }
    for grant in &stored.grants {
        let under = stored.payments.iter().filter(|p| p.grant == grant.jti);
        let settled: u64 = under.map(|p| p.outcome.credited.minor()).sum();
        let claims = grant.grant().expect("reads");
        let limit = claims.limit.points().first().map_or(0, |p| p.1.minor());
        if settled != grant.settled.minor() || settled > limit {
            broken.push(format!("grant {}: {settled} settled, {:?} counted, of {limit}", grant.jti, grant.settled));
        }
    }
}

/// `seq` rises by one from 1, and the wallet knows the last.
fn sequences(stored: &Stored, broken: &mut Vec<String>) {
    let mut seqs: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for grant in &stored.grants {
        seqs.entry((grant.account.clone(), grant.jkt)).or_default().push(grant.seq);
    }
    for ((id, jkt), seqs) in &mut seqs {
        seqs.sort_unstable();
        let known = stored.unit.accounts.get(id).and_then(|a| a.wallet(jkt)).map_or(0, |w| w.seq);
        if !seqs.iter().copied().eq(1..=known) {
            broken.push(format!("{id}: seq {known}, and its grants are {seqs:?}"));
        }
    }
}

/// No grant and no settlement without its entry, no entry without them, none twice.
fn logged(stored: &Stored, broken: &mut Vec<String>) {
    let (mut grants, mut settlements) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    for link in &stored.log {
        let Ok(body) = serde_json::from_slice::<serde_json::Value>(&link.body) else {
            broken.push(format!("entry {} of {} is no JSON", link.number, link.chain));
            continue;
        };
        match link.kind.as_str() {
            "grant" => *grants.entry(body["jti"].as_str().unwrap_or_default().to_owned()).or_default() += 1,
            "settlement" => {
                let nonce = body["payment"]["nonce"].as_str().unwrap_or_default().to_owned();
                let record = stored.payments.iter().find(|p| p.nonce.to_string() == nonce);
                // As it was decided: what was said against it afterwards has entries of its own.
                let same = record.is_some_and(|p| {
                    let decided = PaymentRecord { dispute: None, ..p.clone() };
                    serde_json::to_value(&decided).is_ok_and(|p| p == body["payment"])
                });
                if !same {
                    broken.push(format!("payment {nonce} is logged otherwise than it is stored"));
                }
                *settlements.entry(nonce).or_default() += 1;
            }
            _ => {}
        }
    }
    let of_grants: BTreeMap<String, u64> = stored.grants.iter().map(|g| (g.jti.to_string(), 1)).collect();
    let of_payments: BTreeMap<String, u64> = stored.payments.iter().map(|p| (p.nonce.to_string(), 1)).collect();
    for (what, stored, logged) in [("grant", of_grants, grants), ("settlement", of_payments, settlements)] {
        if stored != logged {
            let names: BTreeSet<_> = stored.keys().chain(logged.keys()).collect();
            let odd: Vec<_> = names.into_iter().filter(|name| stored.get(*name) != logged.get(*name)).collect();
            broken.push(format!("each {what} has one entry, but not {odd:?}"));
        }
    }
}

/// Every answer that was given is still true.
fn promises(stored: &Stored, history: &History, broken: &mut Vec<String>) {
    for (jti, claims) in &history.grants {
        let found = stored.grants.iter().find(|g| g.jti.to_string() == *jti);
        let same =
            found.is_some_and(|g| serde_json::from_slice(&g.claims).is_ok_and(|c: serde_json::Value| c == *claims));
        if !same {
            broken.push(format!("grant {jti} was answered, and is not what is stored"));
        }
    }
    for (nonce, paid) in &history.paid {
        let found = stored.payments.iter().find(|p| p.nonce.to_string() == *nonce).map(|p| Paid {
            credited: p.outcome.credited.minor(),
            overdraft: p.outcome.overdraft.minor(),
            unpaid: p.outcome.unpaid.minor(),
        });
        if found != Some(*paid) {
            broken.push(format!("settlement {nonce} was answered as {paid:?}, and is stored as {found:?}"));
        }
    }
    for (account, name) in &history.taken {
        if !stored.rows[account].iter().any(|r| r.row.name == *name) {
            broken.push(format!("movement {name} of {account} was answered, and is not there"));
        }
    }
    for nonce in &history.disputed {
        if !stored.payments.iter().any(|p| p.nonce.to_string() == *nonce && p.dispute.is_some()) {
            broken.push(format!("the dispute of {nonce} was answered, and is not there"));
        }
    }
}
