//! Features on the device are the server's, to the bit.

use plimsoll_edge::history::{History, RefuseRows};
use plimsoll_edge::storage::crash::{CrashDisk, Fault};
use plimsoll_model::features::{FeatureState, Profile};
use plimsoll_model::grant::Bytes;
use plimsoll_model::time::UtcOffset;
use plimsoll_model::transaction::{Place, Settlement};
use plimsoll_model::{Channel, Flow, Kind, Tier, Transaction, UtcSeconds};

use crate::bank::{SYNC, grant, myr};

const BEGIN: UtcSeconds = UtcSeconds(SYNC.0 - 200 * 86_400);

fn profile() -> Profile {
    Profile { opened_at: BEGIN, tier: Tier::new(2).unwrap(), attested: true, offset: UtcOffset(480), currency: myr() }
}

/// 200 days of a life: salary, rent, reloads, purchases in many places, offline payments that settle and fail.
fn rows() -> Vec<Transaction> {
    let mut rows = Vec::new();
    let mut at = BEGIN;
    for n in 0..1_500_i64 {
        at = at.plus(7_919 + 613 * (n % 7));
        let kind = Kind::ALL[(n * n % 12) as usize];
        let amount = 100 + n * 7_919 % 9_000;
        rows.push(Transaction {
            at,
            amount: Flow::from_minor(if kind.is_debit() { -amount } else { amount }).unwrap(),
            kind,
            payee: 1 + (n * 31 % 17) as u64,
            channel: match n % 5 {
                0 => Channel::Offline(Settlement::ALL[(n / 5 % 5) as usize]),
                _ => Channel::Online,
            },
            device: 1,
            place: (n % 3 == 0).then(|| Place { latitude_e6: 3_100_000 + 97 * n as i32, longitude_e6: 101_600_000 }),
            id: n as u64 + 1,
        });
    }
    rows.retain(|row| row.at < SYNC);
    rows
}

fn server(rows: &[Transaction]) -> [u32; plimsoll_model::features::FEATURE_COUNT] {
    let mut state = FeatureState::new(profile(), 100_000, BEGIN);
    rows.iter().for_each(|row| state.push(row).unwrap());
    state.snapshot(SYNC).0.map(f32::to_bits)
}

fn begun(disk: &CrashDisk) -> History<&CrashDisk> {
    let mut history = History::open(disk).unwrap();
    history.begin(profile(), 100_000, BEGIN).unwrap();
    history
}

#[test]
fn the_same_rows_give_the_servers_features_to_the_bit_however_they_arrive() {
    let (rows, disk) = (rows(), CrashDisk::default());
    assert_eq!(rows.len(), 1_500, "longer than what is remembered one by one");
    begun(&disk);
    let mut sent = 0;
    for batch in rows.chunks(97) {
        // Opened anew for every sync; each batch comes twice, and the second time with the one before it.
        let mut history = History::open(&disk).unwrap();
        assert_eq!(history.append(sent as u64, batch), Ok((sent + batch.len()) as u64));
        let from = sent.saturating_sub(97);
        assert_eq!(history.append(from as u64, &rows[from..sent + batch.len()]), Ok((sent + batch.len()) as u64));
        sent += batch.len();
        let snapshot = history.snapshot(SYNC).unwrap().0.map(f32::to_bits);
        assert_eq!(snapshot, server(&rows[..sent]), "after {sent} rows");
    }
    assert!(disk.image()["history"].len() < 128 * 1024, "{}", disk.image()["history"].len());
}

#[test]
fn a_device_can_tell_whether_its_history_is_the_issuers() {
    let (rows, disk) = (rows(), CrashDisk::default());
    let mut history = begun(&disk);
    history.append(0, &rows).unwrap();
    let mut signed = grant(Bytes([1; 8]), 1, 100);
    assert_eq!(history.agrees(&signed), None);
    assert_eq!(history.features(&signed).unwrap().0.map(f32::to_bits), server(&rows), "of its own");
    let mut state = FeatureState::new(profile(), 100_000, BEGIN);
    rows[..rows.len() - 1].iter().for_each(|row| state.push(row).unwrap());
    signed.set_features(&state.clone().snapshot(SYNC));
    assert_eq!(history.agrees(&signed), Some(false), "one row is missing at the issuer");
    assert_eq!(
        history.features(&signed).unwrap().0.map(f32::to_bits),
        state.clone().snapshot(SYNC).0.map(f32::to_bits)
    );
    state.push(&rows[rows.len() - 1]).unwrap();
    signed.set_features(&state.clone().snapshot(SYNC));
    assert_eq!(history.agrees(&signed), Some(true));
}

#[test]
fn rows_that_are_missing_or_out_of_order_change_nothing() {
    let (rows, disk) = (rows(), CrashDisk::default());
    assert_eq!(History::open(&disk).unwrap().append(0, &rows), Err(RefuseRows::Nothing));
    let mut history = begun(&disk);
    history.append(0, &rows[..100]).unwrap();
    let before = history.snapshot(SYNC).unwrap().0.map(f32::to_bits);
    assert_eq!(history.append(101, &rows[101..]), Err(RefuseRows::Missing { have: 100, offered: 101 }));
    let backwards: Vec<_> = rows[100..].iter().rev().copied().collect();
    assert!(matches!(history.append(100, &backwards), Err(RefuseRows::OutOfOrder(_))));
    disk.fail(disk.calls()..disk.calls() + 1, Fault::Full);
    assert!(matches!(history.append(100, &rows[100..]), Err(RefuseRows::Storage(_))));
    assert_eq!(history.version(), Some(100));
    assert_eq!(history.snapshot(SYNC).unwrap().0.map(f32::to_bits), before);
    history.append(100, &rows[100..]).unwrap();
}

#[test]
fn a_power_cut_leaves_the_rows_before_or_after() {
    let (rows, disk) = (rows(), CrashDisk::default());
    begun(&disk).append(0, &rows[..50]).unwrap();
    let disk = CrashDisk::of(disk.image());
    History::open(&disk).unwrap().append(50, &rows[50..60]).unwrap();
    for crash in disk.crashes() {
        let left = CrashDisk::of(crash.image);
        let version = History::open(&left).unwrap().version();
        assert!(version == Some(60) || (version == Some(50) && crash.after < disk.calls()), "{version:?}");
    }
}

#[test]
fn a_damaged_history_is_none() {
    let disk = CrashDisk::default();
    begun(&disk);
    let good = disk.image()["history"].to_vec();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let disk = CrashDisk::of([("history".to_owned(), bad.into())].into());
        assert_eq!(History::open(&disk).unwrap().version(), None, "byte {at}");
    }
}

#[test]
fn a_history_that_nobody_can_have_lived_is_none_even_with_a_good_digest() {
    use sha2::Digest as _;
    let disk = CrashDisk::default();
    begun(&disk).append(0, &rows()).unwrap();
    let text = String::from_utf8(disk.image()["history"][32..].to_vec()).unwrap();
    let reads = |text: &str| {
        let bytes = [&sha2::Sha256::digest(text)[..], text.as_bytes()].concat();
        let disk = CrashDisk::of([("history".to_owned(), bytes.into())].into());
        let history = History::open(&disk).unwrap();
        history.snapshot(SYNC); // must not panic, whatever was read
        history.version().is_some()
    };
    assert!(reads(&text), "the control");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let state = value["state"].as_object().unwrap();
    for (key, absurd) in [
        ("balance", serde_json::json!(i64::MAX)),
        ("balance", serde_json::json!(i64::MIN)),
        ("day", serde_json::json!(i64::MIN)),
        ("tiles", serde_json::json!([])),
        ("last", serde_json::json!(i64::MAX)),
        ("last", serde_json::json!(i64::MIN)),
        ("reload_day", serde_json::json!(i64::MIN)),
        ("offline", serde_json::json!(u64::MAX)),
        ("credit_days", serde_json::json!([i32::MIN, 5])),
    ] {
        assert!(state.contains_key(key), "{key} of {:?}", state.keys().collect::<Vec<_>>());
        let mut changed = value.clone();
        changed["state"][key] = absurd;
        assert!(!reads(&changed.to_string()), "{key}");
    }
    let mut hour = value.clone();
    hour["state"]["spends"][0]["hour"] = serde_json::json!(24);
    assert!(!reads(&hour.to_string()));
    let mut flow = value;
    flow["state"]["tiles"][0]["out"] = serde_json::json!(i64::MAX);
    assert!(!reads(&flow.to_string()));
}
