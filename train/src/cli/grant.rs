//! `plimsoll grant`: a grant by hand, for trying a device before there is a service.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_model::Money;
use plimsoll_model::grant::{Bytes, Form, Instance, Lottery, Model, Terms, Thumbprint, TokenId, issue};
use plimsoll_model::quantile::Ppm;
use plimsoll_train::keys::{KeyError, SigningKey};
use serde::Deserialize;
use serde_json::json;
use sha2::Digest as _;

use super::exit::Usage;
use super::{Context, DataArgs, score};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    plimsoll grant --repo plimsoll-demo/repository --root plimsoll-demo/keys/root.json --data plimsoll-demo/data \\\n    \
    --sync sync.json --key plimsoll-demo/issuer/issuer.pem --out grant.jwt\n\n\
    sync.json comes from `plimsoll-edge status --sync sync.json` on the device.\n\
    There is no ledger behind this command: payments the wallet made go on counting against the new grant.")]
pub(super) struct Args {
    #[command(flatten)]
    published: score::PublishedArgs,
    #[command(flatten)]
    data: DataArgs,
    /// What the device says of itself (`plimsoll-edge status --sync FILE`).
    #[arg(long, value_name = "FILE")]
    sync: PathBuf,
    /// The issuer's private key (see `plimsoll issuer-key`).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The issuer's name.
    #[arg(long, default_value = "plimsoll")]
    issuer: String,
    /// Text for links and headers, or bytes for QR and NFC.
    #[arg(long, value_enum, default_value = "jws")]
    form: FormArg,
    /// Share of payments that must sync first, in percent; larger amounts more often, up to ten times.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    lottery: u32,
    /// File to make.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FormArg {
    Jws,
    Cwt,
}

/// What a device says of itself when it asks for a grant. Only what names it is believed.
#[derive(Deserialize)]
struct Sync {
    account: String,
    programme: String,
    jkt: Thumbprint,
    wid: Instance,
    seq: u64,
    seen: u64,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let text = std::fs::read(&args.sync).with_context(|| args.sync.display().to_string())?;
    let sync: Sync = serde_json::from_slice(&text)
        .map_err(|e| Usage(format!("{}: {e}: make it with plimsoll-edge status --sync FILE", args.sync.display())))?;
    let key = SigningKey::load(&args.key)?;
    let verified = args.published.verified(context.now)?;
    let evaluator = plimsoll_edge::Evaluator::new(&verified)?;
    let policy = evaluator.policy();
    if sync.programme != policy.programme {
        let why =
            format!("{} is for programme {}, the model for {}", args.sync.display(), sync.programme, policy.programme);
        return Err(Usage(why).into());
    }
    let histories = args.data.read(context)?;
    let found = histories.iter().position(|(account, _)| account.name == sync.account);
    let ix = found.ok_or_else(|| Usage(format!("the history has no account called {}", sync.account)))?;
    let (features, situation) = score::synced(&histories, ix, context.now)
        .ok_or_else(|| Usage(format!("{} has no transactions to compute features from", sync.account)))?;

    let curve = evaluator.curve(&features, &situation);
    let mut terms = Terms::new(&args.issuer, sync.account, drawn()?, sync.seq + 1, sync.jkt, sync.wid);
    terms.seen = sync.seen;
    terms.ask_at = Ppm::new(800_000).ok();
    terms.features = Some(features);
    let digest = sha2::Sha256::digest(verified.model());
    terms.model = Some(Model { v: evaluator.manifest().model_version, d: Bytes(digest.into()) });
    if args.lottery > 0 {
        let base = args.lottery * 10_000;
        let (from, full_at) = (Money::ZERO, situation.balance);
        terms.lottery = Some(Lottery { seed: drawn()?, base, full: (base * 10).min(1_000_000), from, full_at });
    }
    let grant = issue(policy, &curve, &situation, &terms)?;
    let form = match args.form {
        FormArg::Jws => Form::Jws,
        FormArg::Cwt => Form::Cwt,
    };
    let bytes = grant.sign(form, &key.kid(), &key)?;
    write_out(&args.out, &bytes)?;

    let answer = json!({
        "grant": args.out, "bytes": bytes.len(), "claims": &grant,
    });
    context.answer(&answer, || {
        let most = grant.limit.points().first().map_or(Money::ZERO, |p| p.1);
        format!(
            "{}: grant {} for {}: up to {} until {}, {} bytes",
            args.out.display(),
            grant.seq,
            grant.sub,
            grant.cur.show(most),
            grant.exp.rfc3339(),
            bytes.len(),
        )
    })
}

fn drawn() -> Result<TokenId, KeyError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(KeyError::Randomness)?;
    Ok(Bytes(bytes))
}

/// Makes a file or replaces it, whole.
fn write_out(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| path.display().to_string())
}
