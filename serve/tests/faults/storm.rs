//! One run: a service comes up, clients work, faults strike, everything is well again, and the store is looked at.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plimsoll_serve::fleet::Draw;
use tempfile::TempDir;

use super::check;
use super::client::{Client, Town, millis};
use super::replica::{self, Replica};
use super::server::Server;

const ACCOUNTS: usize = 4;
const STEPS: usize = 10;
/// What replicas' clocks may be off by, seconds: less than the slack that the rules give to clocks.
const SKEWS: [i64; 5] = [0, 20, -20, 90, -90];

/// Where a run's store is.
pub(crate) enum On {
    Sqlite,
    Postgres(Server),
}

/// What happened in all runs.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (what, n) in &other.0 {
            *self.0.entry(what).or_default() += n;
        }
    }

    /// Whether every kind of fault and of work was there.
    pub(crate) fn is_busy(&self, postgres: bool) -> bool {
        let of_store: &[&str] = if postgres { &["database stopped", "database crashed"] } else { &["disk full"] };
        let always = ["replica killed", "hung up", "twice", "late", "grants", "settled", "settled again", "refused"];
        of_store.iter().chain(&always).all(|what| self.0.get(what).is_some_and(|n| *n > 0))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(what, n)| format!("{n} {what}")).collect();
        f.write_str(&parts.join(", "))
    }
}

/// A run.
///
/// * returns what it counted, and every promise that was broken.
pub(crate) fn run(on: &mut On, seed: u64) -> (Tally, Vec<String>) {
    let mut draw = Draw::new(seed, 0);
    let home = Home::new(matches!(on, On::Sqlite));
    replica::write_key(home.path());
    let url = match on {
        On::Sqlite => format!("sqlite:{}", home.path().join("plimsoll.db").display()),
        On::Postgres(server) => server.database(&format!("run_{seed}")),
    };
    let count = if matches!(on, On::Sqlite) { 1 } else { 2 };
    let mut replicas: Vec<Option<Replica>> =
        (0..count).map(|_| Replica::start(&url, home.path(), *draw.of(&SKEWS))).collect();
    let town = Town { accounts: (0..ACCOUNTS).map(|i| format!("a{i}")).collect(), ..Town::default() };
    publish(&town, &replicas);
    let mut clients: Vec<Client<'_>> =
        town.accounts.iter().zip(1..).map(|(name, i)| Client::new(&town, name, Draw::new(seed, i))).collect();
    clients.iter_mut().for_each(Client::open);

    let working = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(move || (0..STEPS).for_each(|_| client.step(scope)))).collect();
        let (town, working, replicas) = (&town, &working, &mut replicas);
        let (home, url, draw) = (&home, &url, &mut draw);
        let storm = scope.spawn(move || {
            let mut faults = 1 + draw.below(3);
            while faults > 0 && working.load(Ordering::Relaxed) {
                std::thread::sleep(millis(draw, 250));
                strike(on, home, url, town, replicas, draw);
                faults -= 1;
            }
        });
        for worker in workers {
            worker.join().expect("a client does not panic");
        }
        working.store(false, Ordering::Relaxed);
        storm.join().expect("faults do not panic");
    });

    let mut broken = Vec::new();
    for client in &mut clients {
        broken.extend(client.finish().err());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    let end = || {
        for mut replica in replicas.drain(..).flatten() {
            town.history().broken.extend(replica.kill());
        }
    };
    runtime.block_on(check::check(&url, &town, end, &mut broken));
    if url.starts_with("postgres:") {
        runtime.block_on(drop_database(&url));
    }
    broken.append(&mut town.history().broken);
    let counts = town.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (Tally(counts), broken)
}

/// One fault, and its end.
fn strike(on: &mut On, home: &Home, url: &str, town: &Town, replicas: &mut [Option<Replica>], draw: &mut Draw) {
    // Now and then longer than the store's own patience with a database that is away.
    let lasts = if draw.one_in(16) { Duration::from_millis(6_500) } else { millis(draw, 400) };
    match (draw.below(4), on) {
        (0, On::Postgres(server)) => {
            town.count("database stopped");
            server.down();
            std::thread::sleep(lasts);
            server.up();
        }
        (1, On::Postgres(server)) => {
            town.count("database crashed");
            server.kill();
            std::thread::sleep(lasts);
            server.up();
        }
        (0 | 1, On::Sqlite) => {
            town.count("disk full");
            let Some(replica) = &replicas[0] else { return };
            home.fill(replica.id());
            std::thread::sleep(lasts);
            home.free(replica.id());
        }
        (_, on) => {
            town.count("replica killed");
            let which = usize::try_from(draw.below(replicas.len() as u64)).expect("an index");
            town.ports.lock().unwrap_or_else(PoisonError::into_inner)[which] = None;
            if let Some(mut replica) = replicas[which].take() {
                town.history().broken.extend(replica.kill());
            }
            // Now and then its database goes with it.
            if let On::Postgres(server) = on
                && draw.one_in(4)
            {
                town.count("database crashed");
                server.kill();
                server.up();
            }
            std::thread::sleep(lasts / 4);
            let begun = Instant::now();
            while replicas[which].is_none() {
                replicas[which] = Replica::start(url, home.path(), *draw.of(&SKEWS));
                assert!(begun.elapsed() < Duration::from_secs(30), "a replica does not come up again");
            }
            publish(town, replicas);
        }
    }
}

fn publish(town: &Town, replicas: &[Option<Replica>]) {
    *town.ports.lock().unwrap_or_else(PoisonError::into_inner) =
        replicas.iter().map(|r| r.as_ref().map(|r| r.port)).collect();
}

async fn drop_database(url: &str) {
    use sqlx::{Connection as _, Executor as _};
    let (server, name) = url.rsplit_once('/').expect("a database");
    let mut connection = sqlx::PgConnection::connect(&format!("{server}/postgres")).await.expect("connects");
    let sql = sqlx::AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"));
    connection.execute(sqlx::raw_sql(sql)).await.expect("drops");
}

/// A run's directory. For SQLite it is a disk of its own that can be filled: a small file system where we may mount one,
/// and a limit on the size of the process's files where we may not.
#[derive(Debug)]
struct Home {
    dir: TempDir,
    mounted: bool,
}

/// Bytes of a run's disk while it is not full.
const DISK: u64 = 256 << 20;

impl Home {
    fn new(disk: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("plimsoll-faults-").tempdir().expect("a temporary directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={DISK}"), "plimsoll-faults"]).arg(dir.path());
        let mounted = disk && mount.output().is_ok_and(|out| out.status.success());
        Self { dir, mounted }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// No byte more.
    fn fill(&self, process: u32) {
        if self.mounted {
            let used = said(Command::new("df").args(["-B1", "--output=used"]).arg(self.path()));
            let used = used.lines().last().and_then(|n| n.trim().parse::<u64>().ok()).expect("df counts bytes");
            // Pages may come between the two: then there is no room left to take, and the disk is full all the same.
            self.resize(used.max(4_096));
        } else {
            let longest = std::fs::read_dir(self.path()).expect("reads").flatten();
            let longest: u64 = longest.filter_map(|f| f.metadata().ok()).map(|m| m.len()).max().unwrap_or(0);
            limit(process, &longest.to_string());
        }
    }

    fn free(&self, process: u32) {
        if self.mounted {
            self.resize(DISK);
        } else {
            limit(process, "unlimited");
        }
    }

    fn resize(&self, bytes: u64) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={bytes}")]).arg(self.path());
        let _too_small_by_now = mount.output().expect("mount runs");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.mounted {
            let gone = Command::new("umount").arg("-l").arg(self.path()).status();
            assert!(gone.is_ok_and(|s| s.success()) || std::thread::panicking(), "not unmounted");
        }
    }
}

/// Of the files that a process writes.
fn limit(process: u32, bytes: &str) {
    let of = format!("--fsize={bytes}:unlimited");
    said(Command::new("prlimit").args(["--pid", &process.to_string(), &of]));
}

fn said(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
