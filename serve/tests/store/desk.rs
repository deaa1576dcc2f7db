//! Sums and what waits for somebody, as the operator's people ask for them.

use plimsoll_model::grant::Bytes;
use plimsoll_model::{Tier, UtcSeconds};
use plimsoll_serve::record::{Dispute, DisputeReason, Found, Held, Proposal, Wallet};
use plimsoll_serve::store::{Store, TierTotals};
use plimsoll_serve::unit::{Needs, Unit};

use super::Place;
use super::world::*;

fn wallet(limit: u64, settled: u64, settles_until: UtcSeconds) -> Wallet {
    let held = Held { jti: token(1, 1), iat: NOW, settles_until, limit: money(limit), settled: money(settled) };
    Wallet {
        jkt: Bytes([7; 32]),
        key: [7; 32],
        enrolled_at: NOW,
        revoked_at: None,
        attested_until: None,
        wid: None,
        life_seq: 1,
        seq: 1,
        seen: 0,
        ahead: Vec::new(),
        held: Some(held),
        carried: Vec::new(),
    }
}

fn disputed(number: u64, at: UtcSeconds, found: bool) -> plimsoll_serve::record::PaymentRecord {
    let found = found.then(|| Found { at_fault: None, by: "admin/rio".into(), at });
    let dispute = Dispute { by: id("ann"), reason: DisputeReason::Other, detail: String::new(), at, found };
    plimsoll_serve::record::PaymentRecord {
        dispute: Some(dispute),
        judged_at: NOW.plus(number as i64),
        ..payment(token(2, number), "ann", "bob", 100)
    }
}

/// All that is asked, as one value.
async fn told(store: &Store) -> (Vec<TierTotals>, Vec<u64>, Vec<u64>, Vec<String>) {
    let number = |p: &plimsoll_serve::record::PaymentRecord| u64::from_be_bytes(p.nonce.0[8..].try_into().expect("8"));
    let totals = store.totals(NOW).await.expect("reads");
    let newest = store.newest_payments(3).await.expect("reads").iter().map(number).collect();
    let open = store.open_disputes(10).await.expect("reads").iter().map(number).collect();
    let proposed = store.proposed_after(NOW.plus(-100), 10).await.expect("reads");
    (totals, newest, open, proposed.into_iter().map(|line| line.id.to_string()).collect())
}

pub(crate) async fn sums_and_what_waits_are_as_the_records_say(place: Place) {
    let store = place.open().await;
    assert_eq!(told(&store).await, (Vec::new(), Vec::new(), Vec::new(), Vec::new()), "an empty store");
    let needs = Needs { payments: (0..5).map(|n| token(2, n)).collect(), ..needs_accounts(["ann", "bob", "cy"]) };
    let fill = |unit: &mut Unit| {
        let tier = Tier::new(2).expect("exists");
        let proposal = |after| Proposal { was: tier, tier, reason: "r".into(), by: "p".into(), at: NOW.plus(after) };
        let mut ann = account("ann", 700);
        ann.wallets = vec![wallet(500, 120, NOW.plus(10)), wallet(50, 0, NOW.plus(5))];
        ann.proposed = Some(proposal(-10));
        let mut bob = account("bob", -40);
        bob.wallets = vec![wallet(900, 0, NOW)];
        bob.proposed = Some(proposal(-100));
        let mut cy = account("cy", 5);
        cy.tiers[0].tier = tier;
        cy.proposed = Some(proposal(-20));
        for account in [ann, bob, cy] {
            unit.accounts.put(account.id.clone(), account);
        }
        for n in 0..5_u64 {
            let record = disputed(n, NOW.plus(-(n as i64)), n == 3);
            unit.payments.put(record.nonce, record);
        }
    };
    store.run(NOW, needs.clone(), fill).await.expect("is answered");
    let line = |tier, accounts, held_minor, owed_minor, exposed_minor| TierTotals {
        tier,
        accounts,
        held_minor,
        owed_minor,
        exposed_minor,
    };
    let (totals, newest, open, proposed) = told(&store).await;
    assert_eq!(
        totals,
        [line(1, 2, 700, 40, 430), line(2, 1, 5, 0, 0)],
        "what had expired when it was written is not in it"
    );
    assert_eq!((newest, open), (vec![4, 3, 2], vec![4, 2, 1, 0]), "the oldest dispute first, without the closed one");
    assert_eq!(proposed, ["cy", "ann"], "bob's is a moment too old");
    assert_eq!(store.totals(NOW.plus(9)).await.expect("reads")[0].exposed_minor, 430, "an upper bound");
    assert_eq!(store.totals(NOW.plus(10)).await.expect("reads")[0].exposed_minor, 0);

    let path = tempfile::tempdir().expect("a temporary directory");
    let path = path.path().join("backup");
    store.backup(&path).await.expect("is made");
    let restored = Place::sqlite();
    let other = restored.open().await;
    other.restore(&path).await.expect("is restored");
    assert_eq!(told(&other).await, told(&store).await, "a backup keeps it");
    other.close().await;

    let decide = |unit: &mut Unit| {
        unit.accounts.change(&id("ann"), |account| account.proposed = None);
        unit.payments.put(token(2, 4), disputed(4, NOW, true));
    };
    store.run(NOW, needs, decide).await.expect("is answered");
    let (_, _, open, proposed) = told(&store).await;
    assert_eq!((open, proposed), (vec![2, 1, 0], vec!["cy".to_owned()]), "what was decided waits no more");
    store.close().await;
}
