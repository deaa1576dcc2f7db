//! Records to store.

use plimsoll_model::calibration::Target;
use plimsoll_model::features::{FeatureState, Profile};
use plimsoll_model::grant::{Bytes, Model, TokenId};
use plimsoll_model::money::Currency;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::UtcOffset;
use plimsoll_model::transaction::{Channel, Kind, Place, Transaction};
use plimsoll_model::{Age, Flow, Money, Tier, UtcSeconds};
use plimsoll_serve::record::{
    Account, AccountId, Ended, GrantRecord, Outcome, PaymentRecord, Promise, TierFrom, Window,
};
use plimsoll_serve::unit::{Entry, Event, Needs, Reply, ReplyKey, Row, Unit};
use serde_json::json;

pub(crate) const NOW: UtcSeconds = UtcSeconds(1_795_305_600);

pub(crate) fn id(name: &str) -> AccountId {
    name.try_into().expect("a name")
}

pub(crate) fn money(minor: u64) -> Money {
    Money::from_minor(minor).expect("small")
}

pub(crate) fn account(name: &str, balance: i64) -> Account {
    let tier = Tier::new(1).expect("exists");
    let profile = Profile {
        opened_at: NOW.plus(-86_400),
        tier,
        attested: true,
        offset: UtcOffset(480),
        currency: Currency::new("MYR", 2).expect("a currency"),
    };
    Account {
        id: id(name),
        tiers: vec![TierFrom { tier, from: NOW.plus(-86_400) }],
        features: FeatureState::new(profile, balance, NOW.plus(-86_400)),
        version: 0,
        lifetime_tx: 0,
        manual_wallet: Money::ZERO,
        wallets: Vec::new(),
        spent: Vec::new(),
        signals: Vec::new(),
        payees: Vec::new(),
        transfers: Vec::new(),
        proposed: None,
        window: None,
    }
}

/// A token that is another one for every kind and number.
pub(crate) fn token(kind: u8, number: u64) -> TokenId {
    let mut bytes = [kind; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Bytes(bytes)
}

pub(crate) fn grant(of: &str, jti: TokenId, seq: u64) -> GrantRecord {
    GrantRecord {
        jti,
        account: id(of),
        jkt: Bytes([7; 32]),
        seq,
        iat: NOW,
        granted_ppm: 1_000_000,
        claims: b"{}".to_vec(),
        settled: Money::ZERO,
    }
}

pub(crate) fn payment(nonce: TokenId, payer: &str, payee: &str, amount: u64) -> PaymentRecord {
    let amount = money(amount);
    PaymentRecord {
        nonce,
        digest: [1; 32],
        payer: id(payer),
        jkt: Bytes([7; 32]),
        grant: token(1, 1),
        number: 1,
        payee: id(payee),
        amount,
        signed_at: NOW,
        judged_at: NOW,
        dispute: None,
        outcome: Outcome {
            debited: amount,
            credited: amount,
            overdraft: Money::ZERO,
            unpaid: Money::ZERO,
            liable: None,
        },
    }
}

/// A window that opens now and ends with `until`.
pub(crate) fn window(jti: TokenId, until: UtcSeconds) -> Window {
    let level = |ppm| Ppm::new(ppm).expect("a level");
    let promise = Promise {
        jti,
        model: Model { v: 1, d: Bytes([3; 32]) },
        alpha: level(5_000),
        delta: level(50_000),
        tier: Tier::new(1).expect("exists"),
        age: Age(0),
        granted_ppm: 1_000_000,
    };
    Window { promise, from: NOW, until, target: Target::Strict, limit: money(60), aside: 0, low: 100 }
}

/// A window that has ended.
pub(crate) fn ended(jti: TokenId) -> Ended {
    window(jti, NOW).end()
}

pub(crate) fn reply(status: u16, body: &str) -> Reply {
    Reply { fingerprint: [9; 32], status, body: body.as_bytes().to_vec(), at: NOW }
}

pub(crate) fn key(client: &str, name: &str) -> ReplyKey {
    (client.to_owned(), name.to_owned())
}

pub(crate) fn entry(of: &str, number: u64) -> Entry {
    Entry::new("test", id(of), &json!({ "number": number }))
}

pub(crate) fn event(number: u64) -> Event {
    Event { topic: "test", body: json!({ "number": number }) }
}

pub(crate) fn transaction(minor: i64, at: UtcSeconds) -> Transaction {
    Transaction {
        at,
        amount: Flow::from_minor(minor).expect("small"),
        kind: if minor < 0 { Kind::Purchase } else { Kind::Reload },
        payee: 11,
        channel: Channel::Online,
        device: 1,
        place: Some(Place { latitude_e6: 3_139_000, longitude_e6: 101_686_900 }),
        id: 5,
    }
}

/// Folds a transaction into an account and its history, as the ledger does.
pub(crate) fn fold(unit: &mut Unit, of: &str, name: &str, minor: i64) {
    let row = transaction(minor, NOW);
    unit.accounts.change(&id(of), |account| {
        account.features.push(&row).expect("in order");
        account.version += 1;
    });
    unit.known_rows.insert((id(of), name.to_owned()));
    unit.rows.push(Row { account: id(of), name: name.to_owned(), transaction: row });
}

pub(crate) fn needs_accounts<'a>(names: impl IntoIterator<Item = &'a str>) -> Needs {
    Needs { accounts: names.into_iter().map(id).collect(), ..Needs::default() }
}
