//! `plimsoll keys`, `publish` and `verify`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_edge::Evaluator;
use plimsoll_edge::trust::{Directory, Floors, TrustedRoot, audit};
use plimsoll_model::onnx::ModelFile;
use plimsoll_train::keys::{self, Holders, SigningKey};
use plimsoll_train::publish::{self, Files, Override, Published, Terms};
use plimsoll_train::run::{self, Run};
use serde_json::json;

use super::check::Ground;
use super::exit::{Refused, Usage};
use super::{Context, check, show};

#[derive(clap::Args)]
#[command(
    after_help = "Example: plimsoll keys keys\nRoot and targets keys belong to different people, offline; only online.pem stays with the service."
)]
pub(super) struct KeysArgs {
    /// Directory to make: root-1..3, targets-owner, targets-risk, online.
    dir: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "Example: plimsoll publish --run runs/first --keys keys --repo repository\n\
    The run must have passed `plimsoll check`, or hold the risk officer's `plimsoll override`.\n\
    The first time it also makes the repository's root and writes it to keys/root.json: pin that in the app.")]
pub(super) struct PublishArgs {
    /// A run directory.
    #[arg(long, value_name = "DIR", required_unless_present = "refresh")]
    run: Option<PathBuf>,
    /// Directory with the signing keys.
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// The repository: made if it is not there.
    #[arg(long, value_name = "DIR")]
    repo: PathBuf,
    /// Only sign snapshot and timestamp again, before they expire.
    #[arg(long, conflicts_with = "run")]
    refresh: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Example: plimsoll verify repository --root keys/root.json")]
pub(super) struct VerifyArgs {
    /// The repository.
    repo: PathBuf,
    /// The root that devices pin.
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "Example: plimsoll issuer-key issuer --issuer wallet.example")]
pub(super) struct IssuerKeyArgs {
    /// Directory to make: issuer.pem, its public half, and issuer.jwks.json for devices.
    dir: PathBuf,
    /// The issuer's name, `iss` in its grants.
    #[arg(long, default_value = "plimsoll")]
    issuer: String,
}

pub(super) fn issuer_key(context: &Context, args: &IssuerKeyArgs) -> anyhow::Result<()> {
    let key = keys::generate_issuer(&args.dir, &args.issuer)?;
    context.answer(&json!({ "issuer": args.issuer, "kid": key.kid() }), || {
        format!("Key {} of issuer {} written to {}, readable by you alone.", key.kid(), args.issuer, args.dir.display())
    })
}

pub(super) fn keys(context: &Context, args: &KeysArgs) -> anyhow::Result<()> {
    let made = keys::generate(&args.dir)?;
    let names: Vec<_> = made.iter().map(|k| json!({ "name": k.name(), "keyid": k.public().key_id() })).collect();
    context.answer(&names, || {
        let mut t = show::table(&["key", "keyid"], 0..0);
        for k in &made {
            t.add_row([k.name().to_owned(), k.public().key_id()]);
        }
        format!("{t}\n\nWritten to {}, readable by you alone. Give each to its holder.", args.dir.display())
    })
}

pub(super) fn publish(context: &Context, args: &PublishArgs) -> anyhow::Result<()> {
    let keys = keys::load(&args.keys)?;
    let published = match &args.run {
        Some(dir) => {
            let ground = check::ground(context, dir)?;
            publish_run(context, &Run::load(dir)?, &ground, &keys, &args.keys, &args.repo)?
        }
        None => publish::refresh_timestamp(&args.repo, &keys, context.now, &Terms::default())?,
    };
    let root = args.keys.join("root.json");
    let roles: Vec<_> = published
        .roles
        .iter()
        .map(|r| json!({ "role": r.role.name(), "version": r.version, "expires": r.expires }))
        .collect();
    context.answer(&json!({ "roles": roles, "files": published.files }), || {
        let mut t = show::table(&["role", "version", "expires"], 1..2);
        for r in &published.roles {
            t.add_row([r.role.name().to_owned(), r.version.to_string(), r.expires.clone()]);
        }
        format!("{t}\n\nPublished to {}. Check: plimsoll verify {0} --root {}", args.repo.display(), root.display())
    })
}

/// Publishes a run that passed its check; makes the repository's root first where there is none.
pub(super) fn publish_run(
    context: &Context,
    run: &Run,
    ground: &Ground,
    keys: &[SigningKey],
    key_dir: &Path,
    repo: &Path,
) -> anyhow::Result<Published> {
    let terms = Terms::default();
    if !repo.join("metadata/1.root.json").exists() {
        let path = key_dir.join("root.json");
        // Devices pin it: another repository's is not to be replaced.
        if path.exists() {
            let (path, repo) = (path.display(), repo.display());
            return Err(Usage(format!(
                "{path} is the root of another repository, and {repo} has none: name that repository, or move {path} away"
            ))
            .into());
        }
        let root = publish::init_root(repo, &Holders::load(key_dir)?, keys, context.now, &terms)?;
        std::fs::write(&path, root).with_context(|| path.display().to_string())?;
    }
    let release = run::stamp(run.release.clone(), context.now, run.config.artifact.valid_days);
    let policy = run.policy.to_json();
    let files = Files {
        model: &run.model,
        policy: &policy,
        golden: &run.golden,
        check: &ground.check,
        overridden: ground.overridden.as_deref(),
    };
    Ok(publish::release(repo, keys, &release, files, context.now, &terms)?)
}

/// The trusted root in a file.
pub(super) fn trusted_root(path: &Path) -> anyhow::Result<TrustedRoot> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    TrustedRoot::from_bytes(&bytes).with_context(|| path.display().to_string())
}

pub(super) fn verify(context: &Context, args: &VerifyArgs) -> anyhow::Result<()> {
    let root = trusted_root(&args.root)?;
    let audited = audit(&Directory::new(args.repo.clone()), &root, &Floors::default(), context.now)?;
    let mut found = Vec::new();
    for verified in &audited.releases {
        let evaluator = Evaluator::new(verified)?;
        let manifest = evaluator.manifest();
        let file = ModelFile::decode(verified.model()).context("the model file")?;
        for claim in &manifest.monotone {
            check_claim(&file, claim)?;
        }
        let overridden = publish::overridden(&args.repo, &manifest.model_id)?;
        found.push((evaluator, overridden));
    }
    let answer: Vec<_> = audited.releases.iter().map(plimsoll_edge::trust::Verified::release).collect();
    let overrides: Vec<_> = found
        .iter()
        .filter_map(|(e, o)| o.as_ref().map(|o| json!({ "model_id": e.manifest().model_id, "override": o })))
        .collect();
    let answer = json!({ "releases": answer, "superseded": audited.superseded, "overrides": overrides });
    context.answer(&answer, || {
        let mut text = String::new();
        for ((evaluator, overridden), verified) in found.iter().zip(&audited.releases) {
            let m = evaluator.manifest();
            text += &format!(
                "{} {} for programme {}: verified, golden vectors run, monotone proved\n  sha256 {}\n  use until {}, \
                 install until {}\n{}\n{}\n\n",
                m.model_id,
                m.model_version,
                m.programme,
                verified.model_sha256(),
                m.use_not_after.rfc3339(),
                verified.install_until().rfc3339(),
                overridden.as_ref().map_or_else(String::new, says),
                show::certificate(evaluator.certificate(), m.currency),
            );
        }
        text
    })
}

/// That a model was published although its check did not pass.
fn says(o: &Override) -> String {
    let failed: String = o.failed.iter().map(|f| format!("    {f}\n")).collect();
    format!("  NOT PASSED, published by {} on {}: {}\n{failed}", o.by, o.at.rfc3339(), o.because)
}

fn check_claim(file: &ModelFile, claim: &plimsoll_model::artifact::MonotoneClaim) -> anyhow::Result<()> {
    use plimsoll_model::features::Feature;
    use plimsoll_model::monotone::{Direction, prove};
    let column =
        Feature::column(&claim.feature).ok_or_else(|| Refused(format!("no feature is called {}", claim.feature)))?;
    let direction = if claim.increasing { Direction::Increasing } else { Direction::Decreasing };
    let proof = prove(&file.forest, column, direction).map_err(|v| Refused(format!("{}: {v}", claim.feature)))?;
    if proof.pairs == claim.pairs {
        Ok(())
    } else {
        Err(Refused(format!(
            "{}: the proof compares {} pairs, the manifest says {}",
            claim.feature, proof.pairs, claim.pairs
        ))
        .into())
    }
}
