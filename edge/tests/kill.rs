//! kill −9 at any moment, a thousand times during installs and a thousand during payments, on real files: what is there
//! afterwards is complete, and nothing that was released is lost.
//!
//! ```text
//! parent: start a child ─► wait until it works, and a moment more ─► SIGKILL ─► open the directory itself, check ─► again
//! child:  install and activate version after version, or pay request after request, until it is killed
//! ```
//!
//! A program of its own (`harness = false`), because the child is this same program. `PLIMSOLL_KILLS` sets how many.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll_edge::Slots;
use plimsoll_edge::slots::{FloorReason, Running, Settings, Trial};
use plimsoll_edge::storage::Files;
use plimsoll_edge::wallet::{Decision, Identity, NoAnchor, Presence, Wallet};
use plimsoll_model::grant::{Bytes, Curve, Form, Grant, IssuerKeys, PaymentRequest, Signer as _, TokenId};
use plimsoll_model::{Age, Currency};

#[path = "signer/mod.rs"]
#[allow(dead_code)] // the tests of `slots` use all of it
mod signer;

use ed25519_dalek::SigningKey;
use signer::{MODEL_ID, NOW, Order, Publisher, money, policy};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the child does, and where.
const CHILD: &str = "PLIMSOLL_KILL_CHILD";
const DIRECTORY: &str = "PLIMSOLL_KILL_DIRECTORY";
/// What one payment takes.
const AMOUNT_MINOR: u64 = 10;
/// Payments after which a new grant acknowledges them.
const PAYMENTS_A_GRANT: u32 = 100;

fn main() -> Result<()> {
    let kills = std::env::var("PLIMSOLL_KILLS").ok().map_or(Ok(1_000), |text| text.parse())?;
    let directory = std::env::var_os(DIRECTORY).unwrap_or_default();
    match std::env::var(CHILD).as_deref() {
        Ok("install") => install_on(Path::new(&directory)),
        Ok("pay") => pay_on(Path::new(&directory)),
        Ok(other) => Err(format!("{CHILD}={other}?").into()),
        Err(_) => {
            during_installs(kills)?;
            during_payments(kills)
        }
    }
}

fn during_installs(kills: u32) -> Result<()> {
    let mut seen = BTreeSet::new();
    let (mut cut, mut floor) = (0, 0);
    let seconds = kill("install", kills, |directory, _| {
        // A slot beside the two that are used: the child was about to activate it, or to remove it.
        let slots = ["slot-a", "slot-b", "slot-c"].map(|slot| directory.join(slot).exists());
        cut += u32::from(slots == [true; 3]);
        let slots = open_slots(directory)?;
        let report = slots.report(NOW);
        let running = match slots.running(NOW) {
            Running::Model(evaluator) => evaluator.manifest().model_version,
            Running::Floor { reason: FloorReason::NothingInstalled, .. } if seen.is_empty() => return Ok(()),
            Running::Floor { reason, .. } => return Err(format!("nothing runs: {reason}").into()),
        };
        ensure(report.events.is_empty(), "something was given up")?;
        ensure(report.floors.model_version >= floor, "the floor fell")?;
        ensure(running >= report.floors.model_version, "an older model runs")?;
        floor = report.floors.model_version;
        seen.insert(running);
        Ok(())
    })?;
    say(format_args!(
        "install: {kills} kills in {seconds:.1} s, {} versions ran, {cut} cut with three slots, 0 torn",
        seen.len()
    ))?;
    // Else the kills came too early or too late to mean anything.
    ensure(kills < 100 || (seen.len() > 20 && cut > 0), "the kills did not meet installs")
}

fn during_payments(kills: u32) -> Result<()> {
    let (mut released, mut unseen) = (0, 0);
    let seconds = kill("pay", kills, |directory, said| {
        let wallet = open_wallet(directory)?;
        let status = wallet.status();
        ensure(status.distrust.is_none(), "the wallet distrusts its state")?;
        // The child says a payment's number once its bytes are released.
        let last = said.rsplit(|byte| *byte == b'\n').nth(1).and_then(|line| std::str::from_utf8(line).ok());
        let last: u64 = last.filter(|line| !line.is_empty()).map_or(Ok(released), str::parse)?;
        ensure(status.number >= last.max(released), "a released payment is lost")?;
        unseen += u32::from(status.number > last);
        released = status.number;
        let outbox: Vec<u64> = wallet.outbox().map(|paid| paid.number).collect();
        ensure(outbox == (status.seen + 1..=status.number).collect::<Vec<_>>(), "the outbox has gaps")?;
        let spent = money(AMOUNT_MINOR * (status.number - status.seen));
        ensure(status.spent == spent, "what was spent is not what was paid")
    })?;
    say(format_args!(
        "pay: {kills} kills in {seconds:.1} s, {released} payments, {unseen} kept that nobody saw, 0 lost, 0 torn"
    ))?;
    ensure(kills < 100 || (released > u64::from(kills) && unseen > 0), "the kills did not meet payments")
}

/// Starts children and kills them; after each, `check` sees the directory and what the child said. Returns seconds.
fn kill(role: &str, kills: u32, mut check: impl FnMut(&Path, &[u8]) -> Result<()>) -> Result<f64> {
    // A disk in memory where there is one: that a power cut is survived is shown elsewhere, and it is no power cut.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = tempfile::tempdir_in(parent)?;
    let home = directory.path().join("device");
    let began = Instant::now();
    let mut random = 42_u64;
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe()?)
            .env(CHILD, role)
            .env(DIRECTORY, &home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdout = child.stdout.take().ok_or("the child has no output")?;
        let mut said = vec![0];
        // The first line comes when its work begins; from there on every moment is as good.
        let working = stdout.read_exact(&mut said).is_ok();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros((random >> 33) % 15_000));
        child.kill()?;
        stdout.read_to_end(&mut said)?;
        let ended = child.wait_with_output()?;
        if !working || ended.status.code().is_some() {
            let said = String::from_utf8_lossy(&ended.stderr);
            return Err(format!("{role}, kill {kill}: the child ended by itself: {said}").into());
        }
        check(&home, &said).map_err(|error| format!("{role}, kill {kill}: {error}"))?;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn ensure(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn say(line: impl std::fmt::Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn open_slots(directory: &Path) -> Result<Slots<Files>> {
    let settings = Settings::new(Publisher::new().root(), MODEL_ID, policy());
    // A child that was killed while it loaded is no sign against the model here.
    let settings = Settings { trial: Trial { evaluations: 2, loads: 1_000_000 }, ..settings };
    Ok(Slots::open(Files::open(directory)?, settings, NOW)?)
}

/// The child: installs version after version.
fn install_on(directory: &Path) -> Result<()> {
    let mut slots = open_slots(directory)?;
    loop {
        let next = slots.report(NOW).model.map_or(0, |model| model.model_version) + 1;
        // The versions of the metadata rise with the model's.
        let repo = Publisher::at(next - 1).release(&Order::version(next));
        say("")?;
        slots.install(&repo, NOW)?;
        slots.evaluated()?;
        slots.evaluated()?;
    }
}

fn issuer() -> SigningKey {
    SigningKey::from_bytes(&[21; 32])
}

fn device() -> SigningKey {
    SigningKey::from_bytes(&[22; 32])
}

fn currency() -> Result<Currency> {
    Ok(Currency::new("MYR", 2)?)
}

fn open_wallet(directory: &Path) -> Result<Wallet<Files, NoAnchor, SigningKey>> {
    let identity = Identity { account: "u-1".into(), programme: "tng".into(), currency: currency()? };
    let keys = IssuerKeys::new("issuer", [("k".to_owned(), issuer().public())])?;
    Ok(Wallet::open(Files::open(directory)?, NoAnchor, device(), identity, keys, [7; 16])?)
}

/// The child: pays request after request.
fn pay_on(directory: &Path) -> Result<()> {
    let mut wallet = open_wallet(directory)?;
    say("")?;
    loop {
        let status = wallet.status();
        // Ten seconds a payment, so that the requests behind acknowledged ones expire and their records go.
        let now = NOW.plus(10 * i64::try_from(status.number)?);
        if wallet.grant().is_none() || status.count >= PAYMENTS_A_GRANT {
            let curve = Curve::new(vec![(Age::hours(24), money(100_000))])?;
            let seq = status.seq + 1;
            let name = TokenId::default();
            let (iat, exp) = (now, now.plus(24 * 3_600));
            let thumbprint = device().public().thumbprint();
            let ours = Grant::plain(
                "issuer".into(),
                "tng".into(),
                "u-1".into(),
                name,
                (iat, exp),
                seq,
                thumbprint,
                status.wid,
                currency()?,
                money(100_000),
                curve,
            );
            let grant = Grant { seen: status.number, ..ours };
            wallet.accept(&grant.sign(Form::Cwt, "k", &issuer())?, now)?;
        }
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&wallet.status().number.to_le_bytes());
        let request = PaymentRequest {
            payee: "shop".into(),
            amount: money(AMOUNT_MINOR),
            currency: currency()?,
            nonce: Bytes(nonce),
            iat: now,
            exp: now.plus(300),
        };
        match wallet.authorise(&request, now, Presence::Proved, None, Form::Cwt)? {
            Decision::Approve { number, .. } => say(number)?,
            declined => return Err(format!("{declined:?}").into()),
        }
    }
}
