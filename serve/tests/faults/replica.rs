//! A replica: a process of its own, so that it can be killed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use axum::middleware::Next;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use plimsoll_model::grant::Thumbprint;
use plimsoll_model::policy::Policy;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::{Money, UtcSeconds};
use plimsoll_serve::api::{self, Service};
use plimsoll_serve::border::Identity;
use plimsoll_serve::clock::Clock;
use plimsoll_serve::config::Issuer;
use plimsoll_serve::issuer::GrantKeys;
use plimsoll_serve::ledger::Overdraft;
use plimsoll_serve::models::{Models, Rollout, Settings};
use plimsoll_serve::record::AccountId;
use plimsoll_serve::store::Store;

use super::wire::WHO;

pub(crate) const COMMAND: &str = "replica";
/// What everybody is granted, minor units: the static floor, as no model decides here.
pub(crate) const FLOOR: u64 = 20_000;

/// The parent's handle on one.
#[derive(Debug)]
pub(crate) struct Replica {
    process: Child,
    pub(crate) port: u16,
}

impl Replica {
    /// Starts one; `None` when it does not come up, because its database is away, say.
    pub(crate) fn start(url: &str, home: &Path, skew_s: i64) -> Option<Self> {
        let program = std::env::current_exe().expect("this test");
        let mut command = Command::new(program);
        command.arg(COMMAND).arg(url).arg(home).arg(skew_s.to_string());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
        let out = process.stdout.take().expect("piped");
        let mut line = String::new();
        let read = BufReader::new(out).read_line(&mut line);
        match (read, line.trim().parse()) {
            (Ok(_), Ok(port)) => Some(Self { process, port }),
            _ => {
                let _ended = process.kill();
                process.wait().expect("ends");
                None
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`.
    ///
    /// * returns how it had ended before that by itself, if it had: it panicked.
    pub(crate) fn kill(&mut self) -> Option<String> {
        let before = self.process.try_wait().expect("may be asked");
        let _ended_before = self.process.kill();
        self.process.wait().expect("ends");
        before.map(|status| format!("a replica ended by itself: {status}"))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The key that signs grants.
pub(crate) fn write_key(home: &Path) {
    let keys = home.join("keys");
    std::fs::create_dir_all(&keys).expect("a directory");
    let pem = SigningKey::from_bytes(&[9; 32]).to_pkcs8_pem(LineEnding::LF).expect("a key");
    std::fs::write(keys.join("one.pem"), pem.as_bytes()).expect("writes");
}

/// The rules: as `tng`, with a floor that grants something and no cap on new devices.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::preset("tng").expect("a preset");
    policy.new_device_cap = None;
    for tier in &mut policy.tiers {
        tier.fallback = Money::from_minor(FLOOR).expect("small").min(tier.outstanding_cap());
    }
    policy
}

/// The time of day here.
pub(crate) fn now() -> UtcSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    UtcSeconds(i64::try_from(since.as_secs()).expect("in range"))
}

/// The child: serves until its parent is gone or kills it.
pub(crate) fn serve(args: &[String]) {
    let [url, home, skew_s] = args else { panic!("replica URL HOME SKEW") };
    let (home, skew_s) = (Path::new(home), skew_s.parse::<i64>().expect("seconds"));
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _closed = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
    // Nothing may panic, whatever strikes; whoever started this process finds out.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("faults: a replica: {panic}");
        std::process::exit(101);
    }));
    let clock = Clock::standing_at(now().plus(skew_s));
    let ticking = clock.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(100));
            ticking.set(now().plus(skew_s));
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("starts");
    runtime.block_on(async {
        let issuer = Issuer { name: "faults".into(), keys: Some(home.join("keys")), ..Issuer::default() };
        let settings = Settings {
            source: None,
            archive: home.join(format!("archive-{}", std::process::id())),
            policy: policy(),
            ring_seed: "faults".into(),
            replica: std::process::id().to_string(),
            margin_gain: Ppm::new(20_000).ok(),
        };
        let Ok(store) = Store::open(url).await else { std::process::exit(1) };
        let Ok(models) = Models::open(settings, &Rollout::default(), clock.now()) else { std::process::exit(1) };
        let service = Service {
            store,
            models,
            keys: GrantKeys::open(&issuer, clock.clone()).expect("a key"),
            clock,
            overdraft: Overdraft::Issuer,
            in_flight: api::InFlight::default(),
        };
        let (router, _) = api::router().split_for_parts();
        let router = router.layer(axum::middleware::from_fn(identify)).with_state(service);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        // The parent reads it.
        println!("{}", listener.local_addr().expect("bound").port());
        axum::serve(listener, router).await.expect("serves");
    });
}

async fn identify(mut request: Request, next: Next) -> axum::response::Response {
    let said = request.headers().get(WHO).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let who = match said.split_once('/') {
        Some((account, jkt)) => Identity::Holder {
            account: AccountId::try_from(account).expect("a name"),
            jkt: Some(Thumbprint::try_from(jkt.to_owned()).expect("a thumbprint")),
        },
        None => Identity::Bridge { key_id: said },
    };
    request.extensions_mut().insert(who);
    next.run(request).await
}
