//! Over the repositories that `plimsoll publish` made for the edge's tests: two releases of one line.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use plimsoll_edge::trust::{RefuseRelease, Role, TrustedRoot};
use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::TokenId;
use plimsoll_model::policy::Policy;

use super::signer::{Order, Publisher};
use super::*;
use crate::record::{Ended, Promise};
use crate::unit::Needs;

/// A day after the first release, and one after the second.
pub(super) const FIRST: UtcSeconds = UtcSeconds(1_795_219_200 + 86_400);
pub(super) const SECOND: UtcSeconds = UtcSeconds(1_795_824_000 + 86_400);

fn published(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/tests/fixtures/published").join(part)
}

pub(super) fn root() -> TrustedRoot {
    TrustedRoot::from_bytes(&fs::read(published("root.json")).expect("the fixture's root")).expect("sound")
}

pub(super) fn account(i: usize) -> AccountId {
    AccountId::try_from(format!("account-{i}")).expect("a name")
}

fn by(at: UtcSeconds, why: &str) -> Pulled {
    Pulled { at, why: why.to_owned() }
}

/// A service's directories: the repository it is given, and its archive.
pub(super) struct House(tempfile::TempDir);

impl House {
    pub(super) fn with(part: &str) -> Self {
        let house = Self(tempfile::tempdir().expect("a directory"));
        house.publish(part);
        house
    }

    /// Copies a repository over what is there, timestamp last, as publishers do.
    pub(super) fn publish(&self, part: &str) {
        let from = published(part);
        copy(&from.join("targets"), &self.repository().join("targets"));
        copy(&from.join("metadata"), &self.repository().join("metadata"));
    }

    pub(super) fn repository(&self) -> PathBuf {
        self.0.path().join("repository")
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            source: Some(Source { directory: self.repository(), root: root(), model_id: None }),
            archive: self.0.path().join("archive"),
            policy: Policy::preset("tng").expect("a preset"),
            ring_seed: "test".into(),
            replica: "one".into(),
            margin_gain: None,
        }
    }

    pub(super) fn open(&self, now: UtcSeconds) -> Models {
        Models::open(self.settings(), &Rollout::default(), now).expect("opens")
    }
}

/// A service over releases that are made here, by a publisher that can be told to do anything.
struct Press {
    publisher: Publisher,
    house: House,
}

impl Press {
    fn new() -> Self {
        Self { publisher: Publisher::new(), house: House(tempfile::tempdir().expect("a directory")) }
    }

    fn print(&mut self, order: &Order) {
        for (path, bytes) in self.publisher.release(order) {
            let path = self.house.repository().join(path);
            fs::create_dir_all(path.parent().expect("has a parent")).expect("a directory");
            fs::write(path, bytes).expect("writes");
        }
    }

    fn open(&self) -> Models {
        let mut settings = self.house.settings();
        settings.source.as_mut().expect("has one").root = self.publisher.root();
        Models::open(settings, &Rollout::default(), FIRST).expect("opens")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// Accounts, of so many, for whom a version decides.
fn held(models: &Models, version: u64, of: usize) -> Vec<usize> {
    (0..of).filter(|i| models.for_account(&account(*i)).version() == Some(version)).collect()
}

#[test]
fn the_first_release_decides_for_everyone() {
    let house = House::with("first");
    let models = house.open(FIRST);
    assert_eq!(held(&models, 1, 200).len(), 200);
    let status = models.status();
    assert_eq!((status.checked_at, status.refused), (Some(FIRST), None));
    assert_eq!(models.look(FIRST), Ok(None), "nothing has changed since");
}

#[test]
fn a_service_without_a_repository_decides_by_the_floor() {
    let house = House(tempfile::tempdir().expect("a directory"));
    let models =
        Models::open(Settings { source: None, ..house.settings() }, &Rollout::default(), FIRST).expect("opens");
    let active = models.for_account(&account(1));
    assert_eq!((active.version(), active.policy().programme.as_str()), (None, "tng"));
    assert_eq!(models.reload(FIRST), Err(RefuseReload::NoSource));
}

#[test]
fn a_new_release_starts_with_one_in_a_hundred_and_widening_only_adds_accounts() {
    let house = House::with("first");
    let models = house.open(FIRST);
    house.publish("second");
    assert_eq!(models.look(SECOND), Ok(Some(Reloaded::Admitted { model_version: 2, share_ppm: 10_000 })));
    let of = 20_000;
    let mut before = held(&models, 2, of);
    let band = 4.0 * (of as f64 * 0.01 * 0.99).sqrt();
    assert!((before.len() as f64 - 200.0).abs() < band, "{} of {of}", before.len());
    assert_eq!(before, held(&models, 2, of), "membership is stable");
    for share_ppm in [50_000, 200_000, 500_000, EVERYONE] {
        models.widen(2, share_ppm).expect("wider");
        let now = held(&models, 2, of);
        assert!(before.iter().all(|i| now.binary_search(i).is_ok()), "nobody loses it");
        let mean = of as f64 * f64::from(share_ppm) / 1e6;
        assert!((now.len() as f64 - mean).abs() <= 4.0 * (mean * (1.0 - mean / of as f64)).sqrt(), "{}", now.len());
        before = now;
    }
    assert_eq!(before.len(), of);
}

#[test]
fn rings_and_pull_backs_outlive_the_process() {
    let house = House::with("first");
    let before = {
        let models = house.open(FIRST);
        house.publish("second");
        models.reload(SECOND).expect("comes in");
        models.widen(2, 300_000).expect("wider");
        held(&models, 2, 1_000)
    };
    let models = house.open(SECOND);
    assert_eq!(held(&models, 2, 1_000), before);
    assert_eq!(held(&models, 1, 1_000).len(), 1_000 - before.len(), "the others have the one before, from the archive");
    models.pull_back(2, by(SECOND, "ordered")).expect("is there");
    assert_eq!(held(&models, 1, 1_000).len(), 1_000);
    drop(models);
    let models = house.open(SECOND);
    assert_eq!(held(&models, 1, 1_000).len(), 1_000, "it does not come in again");
    assert_eq!(models.status().releases[0].ring.pulled, Some(by(SECOND, "ordered")));
}

#[test]
fn readers_never_wait_for_a_release_and_keep_the_one_they_have() {
    let house = House::with("first");
    let models = house.open(FIRST);
    house.publish("second");
    let done = AtomicBool::new(false);
    let old = models.for_account(&account(0));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|t| {
                let (models, done) = (&models, &done);
                scope.spawn(move || {
                    let (mut seen, mut reads) = ([0_u64; 2], 0_u64);
                    while !done.load(Ordering::Relaxed) || reads < 100 {
                        let active = models.for_account(&account((reads as usize) % 500 + t));
                        let version = active.version().expect("there is always a model");
                        let evaluator = active.evaluator().expect("it is a model");
                        assert_eq!(evaluator.manifest().model_version, version, "never half of each");
                        seen[version as usize - 1] += 1;
                        reads += 1;
                    }
                    seen
                })
            })
            .collect();
        models.look(SECOND).expect("comes in");
        models.widen(2, EVERYONE).expect("wider");
        let after = models.for_account(&account(0)).version();
        done.store(true, Ordering::Relaxed);
        assert_eq!(after, Some(2));
        for reader in readers {
            let seen = reader.join().expect("no reader panics");
            assert!(seen[0] + seen[1] >= 100, "{seen:?}");
        }
    });
    assert_eq!(old.version(), Some(1), "what a request took stays what it took");
}

#[test]
fn an_older_repository_is_refused_and_the_newer_release_goes_on() {
    let house = House::with("second");
    let models = house.open(SECOND);
    assert_eq!(held(&models, 2, 10).len(), 10);
    fs::remove_dir_all(house.repository()).expect("removes");
    house.publish("first");
    let refused = models.look(SECOND).expect_err("it is older");
    assert!(matches!(refused, RefuseReload::Release(_)), "{refused}");
    assert_eq!(held(&models, 2, 10).len(), 10);
    assert_eq!(models.status().refused, Some(refused.to_string()));
    drop(models);
    // Also by a service that was started anew: the floors are on disk.
    let models = house.open(FIRST);
    let refused = models.reload(FIRST).expect_err("it is older");
    let rollback = RefuseRelease::Rollback { role: Role::Timestamp, trusted: 2, offered: 1 };
    assert_eq!(refused, RefuseReload::Release(rollback));
    assert_eq!(held(&models, 2, 10).len(), 10);
}

#[test]
fn one_changed_byte_in_any_file_refuses_the_repository_and_what_was_served_goes_on() {
    let house = House::with("first");
    let models = house.open(FIRST);
    house.publish("second");
    let files: Vec<PathBuf> = ["metadata", "targets/models"]
        .iter()
        .flat_map(|part| fs::read_dir(house.repository().join(part)).expect("a directory"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(files.len(), 11);
    for file in &files {
        let good = fs::read(file).expect("reads");
        let mut bad = good.clone();
        let at = bad.len() / 2;
        bad[at] ^= 1;
        fs::write(file, &bad).expect("writes");
        let refused = models.look(SECOND);
        assert!(refused.is_err(), "{}", file.display());
        assert_eq!(held(&models, 1, 50).len(), 50, "{}", file.display());
        assert_eq!(models.status().releases.len(), 1);
        fs::write(file, &good).expect("writes");
    }
    assert_eq!(models.look(SECOND), Ok(Some(Reloaded::Admitted { model_version: 2, share_ppm: 10_000 })));
    assert_eq!(models.status().refused, None);
}

#[test]
fn a_repository_that_is_still_being_copied_comes_in_once_it_is_whole() {
    let house = House::with("first");
    let models = house.open(FIRST);
    let models_of = |part| {
        let files = fs::read_dir(published(part).join("targets/models")).expect("a directory");
        files.map(|file| file.expect("reads").file_name().into_string().expect("a name")).collect::<Vec<_>>()
    };
    let before = models_of("first");
    let model = models_of("second").into_iter().find(|name| name.ends_with(".onnx") && !before.contains(name));
    let model = Path::new("targets/models").join(model.expect("a new model"));
    house.publish("second");
    fs::remove_file(house.repository().join(&model)).expect("removes");
    assert!(models.look(SECOND).is_err());
    fs::copy(published("second").join(&model), house.repository().join(&model)).expect("copies");
    assert!(
        matches!(models.look(SECOND), Ok(Some(Reloaded::Admitted { model_version: 2, .. }))),
        "the timestamp is the same"
    );
}

#[test]
fn a_release_past_its_use_or_for_another_programme_does_not_come_in() {
    let house = House::with("first");
    let late = UtcSeconds(1_802_995_200 + 15 * 86_400);
    let models = house.open(late);
    assert_eq!(models.for_account(&account(1)).version(), None);
    assert!(models.status().refused.is_some_and(|why| why.contains("expired")), "expired metadata installs nothing");
    drop(models);

    let house = House::with("first");
    let settings = Settings { policy: Policy::preset("naira").expect("a preset"), ..house.settings() };
    let models = Models::open(settings, &Rollout::default(), FIRST).expect("opens");
    let refused = models.reload(FIRST).expect_err("another programme");
    assert_eq!(refused, RefuseReload::Programme { expected: "naira".into(), found: "tng".into() });
}

#[test]
fn devices_that_disagree_pull_a_release_back_above_the_threshold_and_not_at_it() {
    let house = House::with("first");
    let models = house.open(FIRST);
    house.publish("second");
    models.look(SECOND).expect("comes in");
    models.widen(2, EVERYONE).expect("wider");
    let release = models.for_account(&account(0)).digest().expect("a model");
    for i in 0..100 {
        assert_eq!(models.compared(&account(i), &release, i >= 5, SECOND), None, "5 of 100 is the 5 % of the policy");
    }
    // One account that says it again and again is one account.
    for _ in 0..50 {
        assert_eq!(models.compared(&account(0), &release, false, SECOND), None);
    }
    assert_eq!(models.status().releases[0].compared, Compared { accounts: 100, unequal: 5 });
    assert_eq!(held(&models, 2, 100).len(), 100);
    // One that agreed before and does not any more: 6 of 100.
    let pulled = models.compared(&account(50), &release, false, SECOND).expect("pulled back");
    assert_eq!(pulled, by(SECOND, "6 of 100 accounts' devices computed another limit"));
    assert_eq!(held(&models, 1, 100).len(), 100, "no new decision by it");
    assert_eq!(models.by_digest(&release).map(|a| a.version()), Ok(Some(2)), "what it decided can be decided again");
}

#[test]
fn the_only_release_is_not_pulled_back_by_devices() {
    let house = House::with("first");
    let models = house.open(FIRST);
    let release = models.for_account(&account(0)).digest().expect("a model");
    for i in 0..300 {
        assert_eq!(models.compared(&account(i), &release, false, FIRST), None);
    }
    assert_eq!(held(&models, 1, 10).len(), 10, "the floor would be worse, and signed curves bound what devices do");
    assert_eq!(
        models.status().releases[0].compared,
        Compared { accounts: 300, unequal: 300 },
        "but everybody can see it"
    );
}

#[test]
fn a_pulled_back_only_release_leaves_the_floor() {
    let house = House::with("first");
    let models = house.open(FIRST);
    models.pull_back(1, by(FIRST, "ordered")).expect("is there");
    let active = models.for_account(&account(0));
    assert!(active.version().is_none() && active.evaluator().is_none());
    assert!(matches!(models.pull_back(7, by(FIRST, "ordered")), Err(RefuseMove::Unknown { model_version: 7 })));
}

#[test]
fn a_replica_that_comes_later_follows_the_rings_of_the_others() {
    let first = House::with("first");
    let one = first.open(FIRST);
    first.publish("second");
    one.look(SECOND).expect("comes in");

    // It meets the second release first, and must not take it for the first there ever was.
    let second = House::with("second");
    let two = Models::open(second.settings(), &one.rollout(), SECOND).expect("opens");
    assert_eq!(two.rollout().of_version(2).map(|(_, ring)| ring.share_ppm), Some(10_000));
    let status = two.status();
    assert!(status.releases[1].unavailable.as_ref().is_some_and(|why| why.contains("copy it there")), "{status:?}");
    assert_eq!(two.for_account(&account(0)).version(), None, "outside the ring: the floor, not a release on trial");

    one.widen(2, EVERYONE).expect("wider");
    let merged = two.merge(&one.rollout());
    assert_eq!(merged, one.merge(&merged));
    assert_eq!(two.for_account(&account(0)).version(), Some(2));
    one.pull_back(2, by(SECOND, "ordered")).expect("is there");
    two.merge(&one.rollout());
    assert_eq!(two.for_account(&account(0)).version(), None);
}

#[test]
fn an_archive_without_its_floors_does_not_open() {
    let house = House::with("second");
    drop(house.open(SECOND));
    let floors = house.0.path().join("archive/floors");
    let good = fs::read(&floors).expect("reads");
    fs::remove_file(&floors).expect("removes");
    let open = || Models::open(house.settings(), &Rollout::default(), SECOND).map(|_| ());
    assert!(matches!(open(), Err(ArchiveError::Damaged { name, .. }) if name == "floors"));
    fs::write(&floors, &good[..good.len() / 2]).expect("writes");
    assert!(matches!(open(), Err(ArchiveError::Damaged { name, .. }) if name == "floors"));
    fs::write(&floors, &good).expect("writes");
    assert_eq!(open(), Ok(()));
}

#[test]
fn an_archived_release_with_a_changed_byte_does_not_decide() {
    let house = House::with("first");
    let digest = {
        let models = house.open(FIRST);
        models.for_account(&account(0)).digest().expect("a model")
    };
    fs::remove_dir_all(house.repository()).expect("the repository is away, only the archive is left");
    let file = house.0.path().join("archive").join(format!("release-{}", plimsoll_model::artifact::hex(&digest.0)));
    let good = fs::read(&file).expect("reads");
    assert_eq!(house.open(FIRST).for_account(&account(0)).version(), Some(1), "from the archive");
    for at in [0, 20, good.len() / 3, good.len() / 2, good.len() - 2] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        fs::write(&file, &bad).expect("writes");
        let models = house.open(FIRST);
        assert_eq!(models.for_account(&account(0)).version(), None, "byte {at}");
        assert!(models.status().releases[0].unavailable.is_some(), "byte {at}");
    }
}

#[test]
fn two_services_do_not_share_an_archive() {
    let house = House::with("first");
    let models = house.open(FIRST);
    let again = Models::open(house.settings(), &Rollout::default(), FIRST);
    assert!(matches!(again, Err(ArchiveError::Storage(_))));
    let archived = Archived::open(&house.settings().archive, Some(root())).expect("but it can be read meanwhile");
    let active = models.for_account(&account(0));
    let digest = active.digest().expect("a model");
    assert_eq!(archived.release(&digest).map(|a| a.model()), Ok(active.model()));
    let floor = models.floor();
    assert_eq!(archived.floor(&floor.policy_sha256()).map(|a| a.policy().clone()), Ok(floor.policy().clone()));
    assert!(matches!(archived.release(&Default::default()), Err(ArchiveError::Missing { .. })));
}

/// A window of everybody's release that has ended.
fn ended(active: &Active, n: u64, tier: plimsoll_model::Tier, lost: bool) -> Ended {
    let certificate = active.evaluator().expect("a model").certificate();
    let mut jti = TokenId::default();
    jti.0[..8].copy_from_slice(&n.to_le_bytes());
    let promise = Promise {
        jti,
        model: active.model().expect("a model"),
        alpha: certificate.terms.alpha,
        delta: certificate.terms.delta,
        tier,
        age: plimsoll_model::Age(0),
        granted_ppm: active.granted_ppm(tier),
    };
    Ended { promise, at: FIRST, lost }
}

#[tokio::test]
async fn windows_that_were_lost_lower_what_is_granted_on_every_replica() {
    let (first, second) = (House::with("first"), House::with("first"));
    let url = format!("sqlite:{}", first.0.path().join("store.db").display());
    let store = crate::store::Store::open(&url).await.expect("opens");
    let (one, two) = (first.open(FIRST), second.open(FIRST));
    let tiers = [0, 1, 2].map(|level| plimsoll_model::Tier::new(level).expect("exists"));
    let granted = |models: &Models| tiers.map(|tier| models.for_account(&account(0)).granted_ppm(tier));
    let held = one.for_account(&account(0));
    let end = async |from: u64, to: u64, lost: bool| {
        let windows: Vec<Ended> = (from..to).map(|n| ended(&one.for_everyone(), n, tiers[1], lost)).collect();
        let work = move |unit: &mut crate::unit::Unit| unit.ended.extend(&windows);
        store.run(FIRST, Needs::default(), work).await.expect("commits");
    };
    end(0, 50, false).await;
    assert_eq!(one.watch(&store, FIRST).await, Ok(50));
    assert_eq!((granted(&one), granted(&two)), ([EVERYONE; 3], [EVERYONE; 3]));
    end(50, 60, true).await;
    assert_eq!(two.watch(&store, FIRST).await, Ok(10), "whoever comes first");
    assert_eq!(one.watch(&store, FIRST).await, Ok(0), "and nobody after it");
    let release = held.digest().expect("a model");
    let watch = *one.monitor(&release).expect("in use").watch(tiers[1]);
    assert_eq!((watch.alarms, two.monitor(&release)), (1, one.monitor(&release)));
    let lowered = [EVERYONE, 500_000, EVERYONE];
    assert_eq!((granted(&one), granted(&two)), (lowered, lowered));
    assert_eq!(held.granted_ppm(tiers[1]), 500_000, "a request that has it already sees it too");
    let told = store.events(0, 10).await.expect("reads");
    assert_eq!(told.iter().map(|event| event.topic.as_str()).collect::<Vec<_>>(), ["promise.broken"]);

    // What was granted before the alarm is not held against what is granted after it.
    let mut before = ended(&held, 70, tiers[1], true);
    before.promise.granted_ppm = EVERYONE;
    store.run(FIRST, Needs::default(), move |unit| unit.ended.push(before)).await.expect("commits");
    assert_eq!(one.watch(&store, FIRST).await, Ok(1));
    assert_eq!(*one.monitor(&release).expect("in use").watch(tiers[1]), watch);
    end(80, 81, false).await;
    assert_eq!(one.watch(&store, FIRST).await, Ok(1));
    assert_eq!(one.monitor(&release).expect("in use").watch(tiers[1]).windows, watch.windows + 1);

    // A new replica, and one that begins again without its archive, know it before they grant.
    drop(two);
    let third = House::with("first");
    let three = third.open(FIRST);
    three.watch(&store, FIRST).await.expect("reads");
    assert_eq!((granted(&three), three.promises()), (lowered, one.promises()));
    store.close().await;
}

#[tokio::test]
async fn the_margin_takes_for_a_lost_window_and_gives_back_on_every_replica() {
    let (first, second) = (House::with("first"), House::with("first"));
    let url = format!("sqlite:{}", first.0.path().join("store.db").display());
    let store = crate::store::Store::open(&url).await.expect("opens");
    let open = |house: &House, margin_gain| {
        Models::open(Settings { margin_gain, ..house.settings() }, &Rollout::default(), FIRST).expect("opens")
    };
    let gain = Ppm::new(20_000).ok();
    let (one, two) = (open(&first, gain), open(&second, gain));
    let tier = plimsoll_model::Tier::default();
    let granted = |models: &Models| models.for_account(&account(0)).granted_ppm(tier);
    let held = one.for_account(&account(0));
    let end = async |from: u64, to: u64, lost: bool| {
        let windows: Vec<Ended> = (from..to).map(|n| ended(&held, n, tier, lost)).collect();
        store.run(FIRST, Needs::default(), move |unit| unit.ended.extend(&windows)).await.expect("commits");
    };
    end(0, 10, false).await;
    one.watch(&store, FIRST).await.expect("counts");
    assert_eq!(granted(&one), EVERYONE, "never beyond what is certified");

    end(10, 11, true).await;
    one.watch(&store, FIRST).await.expect("counts");
    two.watch(&store, FIRST).await.expect("reads");
    let alpha = held.evaluator().expect("a model").certificate().terms.alpha.get();
    let after_one = EVERYONE - (u64::from(EVERYONE - alpha) * 20_000 / u64::from(EVERYONE)) as u32;
    assert_eq!((granted(&one), granted(&two)), (after_one, after_one));
    assert_eq!(held.granted_ppm(tier), after_one, "a request that has it already sees it too");
    assert_eq!(held.watched_ppm(tier), EVERYONE, "one window is no alarm");

    let back = u64::from(EVERYONE.div_ceil(alpha));
    end(11, 11 + back, false).await;
    two.watch(&store, FIRST).await.expect("counts");
    one.watch(&store, FIRST).await.expect("reads");
    assert_eq!((granted(&one), granted(&two)), (EVERYONE, EVERYONE), "the promised rate costs nothing");

    // A replica that begins again knows it before it grants; a service without a margin does not heed it.
    end(5_000, 5_001, true).await;
    two.watch(&store, FIRST).await.expect("counts");
    drop((one, two));
    let (again, without) = (open(&first, gain), open(&second, None));
    again.watch(&store, FIRST).await.expect("reads");
    assert_eq!(granted(&again), after_one);
    end(5_001, 5_002, true).await;
    without.watch(&store, FIRST).await.expect("counts");
    assert_eq!((granted(&without), without.margin(&held.digest().expect("a model"))), (EVERYONE, None));
    store.close().await;
}

#[test]
fn a_new_release_grants_whole_limits_again() {
    let house = House::with("first");
    let models = house.open(FIRST);
    let tier = plimsoll_model::Tier::default();
    let release = models.for_everyone().digest().expect("a model");
    models.lower(&release, tier, 100_000);
    house.publish("second");
    models.look(SECOND).expect("comes in");
    let of_version = |version| {
        let i = held(&models, version, 5_000)[0];
        models.for_account(&account(i)).granted_ppm(tier)
    };
    assert_eq!((of_version(1), of_version(2)), (100_000, EVERYONE));
}

#[tokio::test]
async fn replicas_over_one_store_widen_pull_back_and_lower_together() {
    let (first, second) = (House::with("first"), House::with("second"));
    let url = format!("sqlite:{}", first.0.path().join("store.db").display());
    let store = crate::store::Store::open(&url).await.expect("opens");
    let tier = plimsoll_model::Tier::default();
    assert_eq!(replicas::known(&store).await, Ok(Rollout::default()));
    let one = first.open(FIRST);
    one.share(&store).await.expect("is told");
    first.publish("second");
    one.look(SECOND).expect("comes in");
    one.share(&store).await.expect("is told");

    let known = replicas::known(&store).await.expect("reads");
    let settings = Settings { replica: "two".into(), ..second.settings() };
    let two = Models::open(settings, &known, SECOND).expect("opens");
    let release = two.rollout().of_version(2).map(|(digest, ring)| (*digest, ring.share_ppm)).expect("is known");
    assert_eq!(release.1, 10_000, "on trial, and not the first there ever was");
    two.widen(2, EVERYONE).expect("wider");
    two.lower(&release.0, tier, 250_000);
    assert_eq!(two.compared(&account(1), &release.0, false, SECOND), None);
    two.share(&store).await.expect("is told");
    one.share(&store).await.expect("is heard");
    let active = one.for_account(&account(0));
    assert_eq!((active.version(), active.granted_ppm(tier)), (Some(2), 250_000));
    assert_eq!(one.status().releases[0].compared, Compared { accounts: 1, unequal: 1 });

    one.pull_back(2, by(SECOND, "ordered")).expect("is there");
    one.share(&store).await.expect("is told");
    two.share(&store).await.expect("is heard");
    assert_eq!(two.for_account(&account(0)).version(), None, "its own archive never had the first");
    assert_eq!(one.rollout(), two.rollout());
    let before = store.note("rollout").await.expect("reads");
    one.share(&store).await.expect("has nothing new");
    assert_eq!(store.note("rollout").await.expect("reads"), before);
    store.close().await;
}

#[test]
fn a_release_that_its_signers_withdrew_never_decides_again() {
    for (rollback_index, after) in [(1, Some(1)), (2, None)] {
        let mut press = Press::new();
        press.print(&Order::version(1));
        let models = press.open();
        assert_eq!(held(&models, 1, 50).len(), 50);
        press.print(&Order { rollback_index, ..Order::version(2) });
        let share_ppm = if rollback_index == 1 { 10_000 } else { EVERYONE };
        assert_eq!(models.look(FIRST), Ok(Some(Reloaded::Admitted { model_version: 2, share_ppm })));
        assert_eq!(models.status().releases[1].withdrawn, rollback_index == 2);
        models.pull_back(2, by(FIRST, "ordered")).expect("is there");
        assert_eq!(models.for_account(&account(0)).version(), after);
        drop(models);
        assert_eq!(press.open().for_account(&account(0)).version(), after, "after a restart");
    }
}

#[test]
fn a_release_that_does_not_run_here_is_refused_and_the_one_after_it_comes_in() {
    let mut press = Press::new();
    press.print(&Order::version(1));
    let models = press.open();
    for broken in [Order { wrong_golden: true, ..Order::version(2) }, Order { no_model: true, ..Order::version(3) }] {
        press.print(&broken);
        let refused = models.look(FIRST).expect_err("does not run");
        assert!(matches!(refused, RefuseReload::Artifact(_)), "{refused}");
        assert_eq!(held(&models, 1, 50).len(), 50);
        assert_eq!(models.status().releases.len(), 1);
    }
    press.print(&Order::version(4));
    assert!(matches!(models.look(FIRST), Ok(Some(Reloaded::Admitted { model_version: 4, .. }))));
}

#[test]
fn metadata_that_is_signed_again_reaches_devices_without_a_new_release() {
    let mut press = Press::new();
    press.print(&Order::version(1));
    let models = press.open();
    let before = models.for_everyone();
    press.print(&Order::version(1));
    assert_eq!(models.look(FIRST), Ok(Some(Reloaded::Current { model_version: 1 })));
    let after = models.for_everyone();
    let of = |active: &Active| active.released().map(Released::timestamp_version);
    assert_eq!((of(&before), of(&after)), (Some(1), Some(2)));
    assert_eq!(models.rollout().rings().count(), 1);
}

#[test]
fn a_release_under_another_ones_name_in_the_archive_does_not_decide() {
    let house = House::with("first");
    let models = house.open(FIRST);
    house.publish("second");
    models.look(SECOND).expect("comes in");
    let file = |version| {
        let rollout = models.rollout();
        let (digest, _) = rollout.of_version(version).expect("is known");
        house.0.path().join("archive").join(format!("release-{}", plimsoll_model::artifact::hex(&digest.0)))
    };
    let (one, two) = (file(1), file(2));
    fs::copy(two, one).expect("copies");
    drop(models);
    let models = house.open(SECOND);
    assert_eq!(held(&models, 1, 500).len(), 0);
    let status = models.status();
    assert!(status.releases[1].unavailable.as_ref().is_some_and(|why| why.contains("another model")), "{status:?}");
}
