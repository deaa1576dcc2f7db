//! The command line that the tuf-conformance suite drives (its CLIENT-CLI.md): `init`, `refresh`, `download`.
//!
//! ```text
//! suite ─► this program ─► sigstore_tuf::Updater ─► TrustedMetadataSet ─► StrictEd25519 (the device's) or P-256
//!   └────── HTTP on localhost ◄──┘                  └── what `trust::verify` drives on devices ──┘
//! ```
//!
//! A device is stricter than TUF (canonical bytes, every signature good, no delegations, Ed25519 alone) and would refuse
//! most of the suite's repositories before the rule that a test is about. So the suite tests what the strictness stands
//! on: the state machine and the cryptography. The strictness itself has its own tests, in `train/tests`.

mod http;

mod provider;

mod store;

use std::error::Error;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;
use sigstore_tuf::{TargetFile, Updater};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the suite asked for.
#[derive(Default)]
struct Asked {
    command: String,
    trusted_root: Option<PathBuf>,
    metadata_dir: PathBuf,
    metadata_url: String,
    target_names: Vec<String>,
    target_base_url: String,
    target_dir: PathBuf,
}

impl Asked {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut asked = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--metadata-dir" => asked.metadata_dir = value()?.into(),
                "--metadata-url" => asked.metadata_url = value()?,
                "--target-name" => asked.target_names.push(value()?),
                "--target-base-url" => asked.target_base_url = value()?,
                "--target-dir" => asked.target_dir = value()?.into(),
                _ if asked.command.is_empty() => asked.command = arg,
                _ => asked.trusted_root = Some(arg.into()),
            }
        }
        Ok(asked)
    }
}

fn main() -> ExitCode {
    provider::install();
    match Asked::read(std::env::args().skip(1)).and_then(|asked| run(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn Error> = Some(error.as_ref());
            while let Some(error) = cause {
                eprintln!("{error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(asked: &Asked) -> Result<()> {
    match asked.command.as_str() {
        "init" => {
            let root = asked.trusted_root.as_ref().ok_or("init needs a root")?;
            fs::copy(root, asked.metadata_dir.join("root.json"))?;
            Ok(())
        }
        "refresh" => updater(asked).and_then(|mut updater| refresh(&mut updater)),
        "download" => download(asked),
        other => Err(format!("{other:?} is no command").into()),
    }
}

fn updater(asked: &Asked) -> Result<Updater> {
    let root = fs::read(asked.metadata_dir.join("root.json"))?;
    let repo = http::Http::new(&asked.metadata_url, &asked.target_base_url);
    Ok(Updater::new(repo, &root)?.with_store(store::Plain(asked.metadata_dir.clone())))
}

fn refresh(updater: &mut Updater) -> Result<()> {
    Ok(ready(updater.refresh(Timestamp::now()))??)
}

fn download(asked: &Asked) -> Result<()> {
    let mut updater = updater(asked)?;
    refresh(&mut updater)?;
    for name in &asked.target_names {
        let found = ready(updater.get_target_info(name, Timestamp::now()))??;
        let target = found.ok_or_else(|| format!("no role names {name}"))?;
        let path = asked.target_dir.join(store::file_name(name));
        if !is_there(&path, &target) {
            fs::write(path, ready(updater.download_target(&target, name))??)?;
        }
    }
    Ok(())
}

/// Whether the target was downloaded before, to the byte.
fn is_there(path: &Path, target: &TargetFile) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    let matches = |(algorithm, hash): (&String, &String)| match algorithm.as_str() {
        "sha256" => sigstore_crypto::sha256(&bytes).to_hex() == *hash,
        "sha512" => sigstore_crypto::sha512(&bytes).to_hex() == *hash,
        _ => false,
    };
    bytes.len() as u64 == target.length && !target.hashes.is_empty() && target.hashes.iter().all(matches)
}

/// The result of a future that waits for nothing: every fetch here blocks.
fn ready<T>(future: impl Future<Output = T>) -> Result<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err("the client waits for something other than the repository".into()),
    }
}
