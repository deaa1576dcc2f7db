//! A log of real grants by a published model, and every way to lie in it that we could think of.

use plimsoll_edge::trust::TrustedRoot;
use plimsoll_model::grant::PublicKey;
use plimsoll_model::policy::Policy;
use plimsoll_model::transaction::Kind;
use plimsoll_model::{Flow, Tier, UtcSeconds};
use serde_json::Value;

use super::*;
use crate::ledger::enrol::{Opening, enrol, open};
use crate::ledger::history::{Movement, take};
use crate::ledger::sync::{Sync, sync};
use crate::models::{Models, Rollout, Settings, Source};
use crate::record::AccountId;
use crate::unit::Unit;

const NOW: UtcSeconds = UtcSeconds(1_795_219_200 + 86_400);

/// A service's archive and what it has logged.
struct Service {
    directory: tempfile::TempDir,
    links: Vec<Link>,
    grants: BTreeMap<TokenId, GrantRecord>,
}

fn fixture(part: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/tests/fixtures/published").join(part)
}

fn root() -> TrustedRoot {
    TrustedRoot::from_bytes(&std::fs::read(fixture("root.json")).expect("reads")).expect("a root")
}

fn key(seed: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[seed; 32])
}

fn thumbprint(key: &ed25519_dalek::SigningKey) -> Thumbprint {
    PublicKey::new(key.verifying_key().as_bytes()).expect("sound").thumbprint()
}

impl Service {
    /// Several accounts that sync several times, by the model or by the floor.
    fn run(with_model: bool) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let source = Source { directory: fixture("first"), root: root(), model_id: None };
        let settings = Settings {
            source: with_model.then_some(source),
            archive: directory.path().to_owned(),
            policy: Policy::preset("tng").expect("a preset"),
            ring_seed: String::new(),
            replica: "one".into(),
            margin_gain: None,
        };
        let models = Models::open(settings, &Rollout::default(), NOW).expect("opens");
        let mut service = Self { directory, links: Vec::new(), grants: BTreeMap::new() };
        service.links.push(Link::first(Bytes([7; 16]), NOW, &[]));
        for i in 0..4_u8 {
            service.account(&models, i);
        }
        service
    }

    fn account(&mut self, models: &Models, i: u8) {
        let id = AccountId::try_from(format!("account-{i}")).expect("a name");
        let active = models.for_account(&id);
        let device = key(i + 1);
        let mut unit = Unit::default();
        unit.accounts.load(id.clone(), None);
        let rules = |at: i64, granted_ppm| Rules {
            issuer: "tng.example",
            policy: active.policy(),
            policy_sha256: None,
            basis: active.basis(),
            granted_ppm: [granted_ppm; Tier::COUNT],
            overdraft: Overdraft::Issuer,
            now: NOW.plus(at),
        };
        let opening = Opening {
            opened_at: NOW.plus(-400 * 86_400),
            tier: Tier::new(i % 3).expect("a tier"),
            balance: 40_000,
            lifetime_tx: if i == 3 { 10 } else { 5_000 },
            manual_wallet: Money::from_minor(1_234).expect("small"),
        };
        open(&mut unit, &rules(-90 * 86_400, 1_000_000), &id, &opening).expect("opens");
        let public = device.verifying_key();
        enrol(&mut unit, &rules(-90 * 86_400, 1_000_000), &id, public.as_bytes(), None).expect("enrols");
        for day in 0..60_i64 {
            let (minor, kind) = if day % 7 == 0 { (20_000, Kind::Reload) } else { (-2_500, Kind::Purchase) };
            let movement = Movement {
                name: format!("row-{day}"),
                at: NOW.plus((day - 61) * 86_400 + i64::from(i) * 600),
                amount: Flow::from_minor(minor).expect("small"),
                kind,
                payee: format!("shop-{}", day % 5),
                place: None,
            };
            take(&mut unit, &rules(-3_600, 1_000_000), &id, &[movement]).expect("is taken");
        }
        unit.entries.clear();
        for round in 0..3_u8 {
            let request =
                Sync { account: id.clone(), jkt: thumbprint(&device), wid: Bytes([1; 8]), payments: Vec::new() };
            let jti = Bytes([i * 16 + round; 16]);
            unit.grants.load(jti, None);
            let at = i64::from(round) * 7_200;
            let granted_ppm = 1_000_000 - 100_000 * u32::from(round);
            sync(&mut unit, &rules(at, granted_ppm), &request, jti).expect("syncs");
            self.grants.insert(jti, unit.grants.get(&jti).expect("was issued").clone());
            for entry in unit.entries.drain(..) {
                let head = self.links.last().expect("there is a first").head();
                self.links.push(Link::after(&head, NOW.plus(at), entry.kind, entry.account.as_str(), entry.body));
            }
        }
    }

    fn archives(&self) -> Vec<Archived> {
        vec![Archived::open(self.directory.path(), Some(root())).expect("opens")]
    }

    fn replayed(&self) -> Report {
        let mut replay = Replay::new(self.archives());
        for link in &self.links {
            let record = Replay::grant_of(link).and_then(|jti| self.grants.get(&jti));
            replay.take(link, record);
        }
        replay.report()
    }

    /// The log with one entry's body changed.
    #[track_caller]
    fn lied(&self, change: impl FnOnce(&mut Value)) -> Differs {
        let mut links = self.links.clone();
        let at = links.len() - 1;
        let mut body: Value = serde_json::from_slice(&links[at].body).expect("JSON");
        change(&mut body);
        links[at].body = serde_json::to_vec(&body).expect("JSON");
        let lied = Self { directory: tempfile::tempdir().expect("a directory"), links, grants: self.grants.clone() };
        let mut replay = Replay::new(self.archives());
        for link in &lied.links {
            let record = Replay::grant_of(link).and_then(|jti| lied.grants.get(&jti));
            replay.take(link, record);
        }
        let report = replay.report();
        assert_eq!((report.grants, report.same), (12, 11), "one entry differs and no other");
        assert_eq!(report.differences[0].number, at as u64);
        report.differences[0].what.clone()
    }
}

#[test]
fn what_was_decided_is_decided_again_by_model_and_by_floor() {
    for with_model in [true, false] {
        let report = Service::run(with_model).replayed();
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((report.entries, report.grants, report.same), (13, 12, 12));
        assert_eq!(report.others.get("chain"), Some(&1));
    }
}

#[test]
fn the_log_holds_limits_of_many_kinds() {
    let service = Service::run(true);
    let bounds: std::collections::BTreeSet<String> = service
        .links
        .iter()
        .filter_map(|link| serde_json::from_slice::<Logged>(&link.body).ok())
        .map(|logged| logged.decided.curve[0].1.bound.name().to_owned())
        .collect();
    assert!(bounds.len() >= 3, "{bounds:?}: or the tests below would show little");
}

#[test]
fn one_flipped_bit_of_a_logged_feature_is_found_wherever_it_is() {
    let service = Service::run(true);
    let count = plimsoll_model::features::FEATURE_COUNT;
    for feature in 0..count {
        for bit in [0, 7, 15, 22, 23, 30, 31] {
            let differs = service.lied(|body| {
                let bits = &mut body["decided"]["features"][feature];
                *bits = (bits.as_u64().expect("bits") ^ (1 << bit)).into();
            });
            let expected =
                matches!(differs, Differs::Claim { claim: "feat" } | Differs::Limit { .. } | Differs::Decision);
            assert!(expected, "feature {feature} bit {bit}: {differs:?}");
        }
    }
}

#[test]
fn one_flipped_bit_of_a_logged_limit_is_found_and_told_with_both_limits() {
    let service = Service::run(true);
    let points = {
        let last = service.links.last().expect("entries");
        let logged: Logged = serde_json::from_slice(&last.body).expect("reads");
        logged.decided.curve.len()
    };
    for point in 0..points {
        for bit in [0, 1, 5, 12] {
            let (mut before, mut after) = (0, 0);
            let differs = service.lied(|body| {
                let limit = &mut body["decided"]["curve"][point][1]["limit"];
                before = limit.as_u64().expect("an amount");
                after = before ^ (1 << bit);
                *limit = after.into();
            });
            assert!(
                matches!(differs, Differs::Limit { logged, again, .. } if (logged, again) == (after, before)),
                "{differs:?}"
            );
        }
    }
}

#[test]
fn a_lie_about_anything_else_is_found_by_the_model_or_by_the_grant() {
    let service = Service::run(true);
    let decided = |path: &'static [&'static str], value: Value| {
        service.lied(|body| {
            let at = path.iter().fold(&mut body["decided"], |at, key| &mut at[*key]);
            assert_ne!(*at, value);
            *at = value;
        })
    };
    let moved = decided(&["situation", "synced_at"], (NOW.0 + 60).into());
    assert!(matches!(moved, Differs::Decision | Differs::Claim { claim: "iat" }), "{moved:?}");
    for (path, value) in [
        (&["situation", "balance"][..], 41_000.into()),
        (&["situation", "pending"], 1.into()),
        (&["situation", "tier"], 1.into()),
        (&["granted_ppm"], 700_000.into()),
    ] {
        let differs = decided(path, value);
        assert!(
            matches!(differs, Differs::Limit { .. } | Differs::Decision | Differs::Claim { .. }),
            "{path:?}: {differs:?}"
        );
    }
    let unknown = Bytes([3; 32]).to_string();
    assert!(matches!(decided(&["policy"], unknown.clone().into()), Differs::Basis(_)));
    assert!(matches!(decided(&["model", "d"], unknown.into()), Differs::Basis(_)));
    assert!(matches!(decided(&["model", "v"], 2.into()), Differs::Basis(_)));
    assert!(matches!(
        decided(&["model"], Value::Null),
        Differs::Limit { .. } | Differs::Decision | Differs::Claim { .. } | Differs::Basis(_)
    ));
    assert!(matches!(decided(&["curve"], Value::Array(Vec::new())), Differs::Decision));
    assert!(matches!(decided(&["features"], Value::Array(Vec::new())), Differs::Unreadable(_)));
    assert_eq!(service.lied(|body| body["seq"] = 99.into()), Differs::Claim { claim: "seq" });
    assert_eq!(service.lied(|body| body["jkt"] = Bytes([1; 32]).to_string().into()), Differs::Claim { claim: "cnf" });
    assert_eq!(service.lied(|body| body["jti"] = Bytes([0xee; 16]).to_string().into()), Differs::NoGrant);
    assert!(matches!(service.lied(|body| *body = Value::Null), Differs::Unreadable(_)));
}

#[test]
fn a_grant_that_says_something_else_than_its_entry_is_found() {
    let mut service = Service::run(true);
    let jti = *service.grants.keys().next().expect("grants");
    let record = service.grants.get_mut(&jti).expect("is there");
    let mut claims: Value = serde_json::from_slice(&record.claims).expect("JSON");
    claims["bal"] = (claims["bal"].as_u64().expect("an amount") + 1).into();
    record.claims = serde_json::to_vec(&claims).expect("JSON");
    let report = service.replayed();
    assert_eq!((report.grants - report.same, &report.differences[0].what), (1, &Differs::Claim { claim: "bal" }));
    service.grants.clear();
    let report = service.replayed();
    assert_eq!((report.same, &report.differences[0].what), (0, &Differs::NoGrant));
}

#[test]
fn without_the_archive_nothing_is_called_the_same() {
    let service = Service::run(true);
    let mut replay = Replay::new(Vec::new());
    service.links.iter().for_each(|link| replay.take(link, None));
    let report = replay.report();
    assert_eq!((report.grants, report.same, report.differences.len()), (12, 0, 12));
    assert!(report.differences.iter().all(|d| matches!(d.what, Differs::Basis(_))));
    assert!(!report.is_clean());
}

#[test]
fn differences_are_counted_beyond_those_that_are_told() {
    let service = Service::run(true);
    let mut replay = Replay::new(service.archives());
    for _ in 0..3 {
        service.links.iter().for_each(|link| replay.take(link, None));
    }
    let report = replay.report();
    assert_eq!((report.grants - report.same, report.differences.len()), (36, TOLD_MAX));
}

/// The same through a store, whose log somebody edits behind its back.
#[tokio::test]
async fn the_log_of_a_store_is_replayed_and_an_edit_in_its_file_is_found() {
    let memory = Service::run(true);
    let file = memory.directory.path().join("store.db");
    let url = format!("sqlite:{}", file.display());
    let store = Store::open(&url).await.expect("opens");
    for link in memory.links.iter().filter(|link| link.kind == "grant") {
        let jti = Replay::grant_of(link).expect("a grant");
        let (record, account) =
            (memory.grants[&jti].clone(), AccountId::try_from(link.account.as_str()).expect("a name"));
        let body: Value = serde_json::from_slice(&link.body).expect("JSON");
        let needs = Needs { grants: [jti].into(), ..Needs::default() };
        let work = move |unit: &mut Unit| {
            unit.entries.push(crate::unit::Entry::new("grant", account.clone(), &body));
            unit.grants.put(jti, record.clone());
        };
        store.run(link.at, needs, work).await.expect("commits");
    }
    let report = replay(&store, &[], memory.archives()).await.expect("reads");
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.grants, report.same), (12, 12));
    let (heads, entries) = walk(&store, &[], async |_| Ok(())).await.expect("reads").expect("holds");
    assert_eq!((heads.len(), entries), (1, report.entries));
    store.close().await;

    // One digit of one limit, in the last entry, where no entry after it holds its hash.
    let pool = sqlx::SqlitePool::connect(&url).await.expect("opens");
    let (number, body): (i64, Vec<u8>) = sqlx::query_as("SELECT number, body FROM log ORDER BY number DESC LIMIT 1")
        .fetch_one(&pool)
        .await
        .expect("reads");
    let mut edited: Value = serde_json::from_slice(&body).expect("JSON");
    let limit = &mut edited["decided"]["curve"][0][1]["limit"];
    *limit = (limit.as_u64().expect("an amount") ^ 1).into();
    let edited = serde_json::to_vec(&edited).expect("JSON");
    for trigger in sqlx::query_scalar::<_, String>("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        .fetch_all(&pool)
        .await
        .expect("reads")
    {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TRIGGER {trigger}"))).execute(&pool).await.expect("drops");
    }
    let update = sqlx::query("UPDATE log SET body = $1 WHERE number = $2").bind(edited).bind(number);
    assert_eq!(update.execute(&pool).await.expect("writes").rows_affected(), 1);
    pool.close().await;
    let store = Store::open(&url).await.expect("opens");
    let report = replay(&store, &[], memory.archives()).await.expect("reads");
    assert!(report.broken.as_ref().is_some_and(|broken| broken.contains("was changed")), "{report:?}");
    assert!(matches!(report.differences[0].what, Differs::Limit { .. }), "{report:?}");
    assert_eq!(report.grants - report.same, 1);
    store.close().await;
}
