//! Fills a store with accounts that have a history and a device each, for measuring:
//!
//! ```sh
//! cargo run --release -p plimsoll-serve --example seed -- STORE_URL ACCOUNTS TOKEN_KEY_PEM OUT_DIRECTORY
//! ```
//!
//! OUT_DIRECTORY gets `tokens.txt`, a bearer token a line, by the key of `plimsoll-serve run --dev`, and `features.f32`, the
//! features of every account as the model reads them.

use std::io::Write as _;
use std::path::Path;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use plimsoll_model::grant::Signer as _;
use plimsoll_model::policy::Policy;
use plimsoll_model::transaction::Kind;
use plimsoll_model::{Flow, Money, Tier, UtcSeconds};
use plimsoll_serve::clock::Clock;
use plimsoll_serve::issuer::kid;
use plimsoll_serve::ledger::enrol::{Opening, enrol, open};
use plimsoll_serve::ledger::history::{Movement, needs, take};
use plimsoll_serve::ledger::{Basis, Overdraft, Rules};
use plimsoll_serve::record::AccountId;
use plimsoll_serve::store::Store;
use serde_json::json;

/// Movements of each account.
const MOVEMENTS: i64 = 60;
/// Accounts in flight at a time.
const TOGETHER: usize = 256;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, accounts, key, out] = args.as_slice() else {
        anyhow::bail!("usage: seed STORE_URL ACCOUNTS TOKEN_KEY_PEM OUT_DIRECTORY");
    };
    let (accounts, out) = (accounts.parse::<u64>()?, Path::new(out));
    let key = SigningKey::from_pkcs8_pem(&std::fs::read_to_string(key)?)?;
    let store = Store::open(url).await?;
    let policy = std::sync::Arc::new(Policy::preset("tng").expect("a preset"));
    let now = Clock::system().now();

    let mut tokens = std::io::BufWriter::new(std::fs::File::create(out.join("tokens.txt"))?);
    let mut features = std::io::BufWriter::new(std::fs::File::create(out.join("features.f32"))?);
    let mut running = tokio::task::JoinSet::new();
    for n in 0..accounts {
        if running.len() == TOGETHER {
            write_row(&mut features, running.join_next().await.expect("some run")??)?;
        }
        let (store, policy) = (store.clone(), policy.clone());
        let device = device(n);
        running.spawn(async move { account(&store, &policy, n, &device, now).await });
        writeln!(tokens, "{}", token(&key, n, now))?;
    }
    while let Some(row) = running.join_next().await {
        write_row(&mut features, row??)?;
    }
    tokens.flush()?;
    features.flush()?;
    store.close().await;
    Ok(())
}

fn write_row(features: &mut impl std::io::Write, row: Vec<f32>) -> std::io::Result<()> {
    row.iter().try_for_each(|x| features.write_all(&x.to_le_bytes()))
}

fn device(n: u64) -> SigningKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    SigningKey::from_bytes(&seed)
}

fn name(n: u64) -> String {
    format!("u{n:08}")
}

/// Opens an account, gives it a history and a device, and answers its features.
async fn account(
    store: &Store,
    policy: &std::sync::Arc<Policy>,
    n: u64,
    device: &SigningKey,
    now: UtcSeconds,
) -> anyhow::Result<Vec<f32>> {
    let id = AccountId::try_from(name(n))?;
    let movements: Vec<Movement> = (0..MOVEMENTS)
        .map(|i| {
            let pay_day = i % 20 == 0;
            let minor =
                if pay_day { 200_000 + (n as i64 % 97) * 1_000 } else { -(500 + (n as i64 * 31 + i * 17) % 9_000) };
            Movement {
                name: format!("m{i}"),
                at: now.plus(-86_400 * (90 - i * 3 / 2)),
                amount: Flow::from_minor(minor).expect("small"),
                kind: if pay_day { Kind::Income } else { Kind::Purchase },
                payee: format!("p{}", (n as i64 + i) % 23),
                place: None,
            }
        })
        .collect();
    let opening = Opening {
        opened_at: now.plus(-86_400 * (120 + n as i64 % 900)),
        tier: Tier::new((n % 3) as u8)?,
        balance: 0,
        lifetime_tx: 1_000,
        manual_wallet: Money::ZERO,
    };
    let (wanted, public, policy) = (needs(&id, &movements), *device.public().as_bytes(), policy.clone());
    let told = store
        .run(now, wanted, move |unit| {
            unit.attempt(|unit| {
                let (issuer, basis) = ("plimsoll", Basis::Floor);
                let overdraft = Overdraft::Issuer;
                let rules = Rules {
                    issuer,
                    policy: &policy,
                    policy_sha256: None,
                    basis,
                    granted_ppm: [1_000_000; plimsoll_model::Tier::COUNT],
                    overdraft,
                    now: now.plus(-86_400 * 2),
                };
                open(unit, &rules, &id, &opening).map_err(|e| e.to_string())?;
                enrol(unit, &rules, &id, &public, None).map_err(|e| e.to_string())?;
                take(unit, &rules, &id, &movements).map_err(|e| e.to_string())?;
                let account = unit.accounts.get(&id).expect("was opened");
                Ok::<_, String>(account.features.clone().snapshot(now).0.to_vec())
            })
        })
        .await?;
    told.map_err(anyhow::Error::msg)
}

/// A bearer token for the holder, bound to its device.
fn token(key: &SigningKey, n: u64, now: UtcSeconds) -> String {
    let public = key.public();
    let jkt = device(n).public().thumbprint();
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid(&public) });
    let claims = json!({
        "iss": "plimsoll-dev", "aud": "plimsoll", "sub": name(n), "iat": now.0, "exp": now.0 + 86_400,
        "cnf": { "jkt": jkt },
    });
    let part = |value: &serde_json::Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = key.sign(signed.as_bytes()).expect("a key in memory signs");
    format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature))
}
