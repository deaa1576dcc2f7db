//! The commands: files in, one call of the library, files and text out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_edge::slots::Installed;
use plimsoll_edge::trust::Directory;
use plimsoll_edge::wallet::{Accepted, Decision, Presence};
use plimsoll_model::Money;
use plimsoll_model::grant::{Form, PaymentRequest};
use plimsoll_model::policy::{PRESETS, Policy};
use serde_json::json;

use crate::app::{App, drawn, write};
use crate::exit::{Declined, ProvePresence, Usage};
use crate::{Context, show};

#[derive(clap::Args)]
#[command(after_help = "Example, the first time:\n  \
    plimsoll-edge install plimsoll-demo/repository --root plimsoll-demo/keys/root.json \\\n    \
    --issuer-keys plimsoll-demo/issuer/issuer.jwks.json --account u0000017 --programme tng --model tng-demo\n\
    Later: plimsoll-edge install plimsoll-demo/repository")]
pub(crate) struct Install {
    /// The repository: a directory, as it was published.
    repo: PathBuf,
    /// The root to trust from now on.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The issuer's keys.
    #[arg(long, value_name = "JWKS")]
    issuer_keys: Option<PathBuf>,
    /// The issuer's name.
    #[arg(long, default_value = "plimsoll")]
    issuer: String,
    /// Whose device this is.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Its programme: a preset, or a policy file in TOML.
    #[arg(long, value_name = "NAME|FILE")]
    programme: Option<String>,
    /// The model line.
    #[arg(long, value_name = "ID")]
    model: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct Status {
    /// Write what the issuer needs for a grant.
    #[arg(long, value_name = "FILE")]
    sync: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Accept {
    /// The grant.
    grant: PathBuf,
    /// The issuer's keys, when they changed.
    #[arg(long, value_name = "JWKS")]
    issuer_keys: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Ask {
    /// How much, in units of the programme's currency.
    amount: String,
    /// File to make.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Bytes for QR and NFC instead of JSON.
    #[arg(long)]
    cbor: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  plimsoll-edge pay request.json --out payment.jwt\n  \
    plimsoll-edge pay --to \"Mak Cik's stall\" --amount 12.50 --out payment.jwt")]
pub(crate) struct Pay {
    /// The payee's request.
    #[arg(required_unless_present = "to")]
    request: Option<PathBuf>,
    /// Without a request: whom to pay.
    #[arg(long, value_name = "NAME", requires = "amount", conflicts_with = "request")]
    to: Option<String>,
    /// Without a request: how much.
    #[arg(long, requires = "to")]
    amount: Option<String>,
    /// The holder proved presence.
    #[arg(long)]
    proved: bool,
    /// Bytes for QR and NFC instead of text.
    #[arg(long)]
    cwt: bool,
    /// File to make; the grant goes beside it with `.grant` appended.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "Example: plimsoll-edge verify payment.jwt --grant payment.jwt.grant")]
pub(crate) struct Verify {
    /// The payment, which answers a request of this device.
    payment: PathBuf,
    /// The payer's grant.
    #[arg(long, value_name = "FILE")]
    grant: PathBuf,
}

pub(crate) fn install(context: &Context, args: &Install) -> anyhow::Result<()> {
    let app = match App::load(&context.dir) {
        Ok(app) => app,
        Err(error) if error.is::<Usage>() => begin(context, args)?,
        Err(error) => return Err(error),
    };
    let mut device = app.open(context)?;
    let installed = device.install(&Directory::new(args.repo.clone()), context.now)?;
    let (what, version) = match installed {
        Installed::Activated { model_version } => ("activated", model_version),
        Installed::Current { model_version } => ("current", model_version),
    };
    let answer = json!({ "what": what, "model_id": app.model_id, "model_version": version });
    context.answer(&answer, || format!("{} version {version}: {what}", app.model_id))
}

/// The first install also says whose device it is.
fn begin(context: &Context, args: &Install) -> anyhow::Result<App> {
    let (Some(root), Some(keys), Some(account), Some(programme), Some(model)) =
        (&args.root, &args.issuer_keys, &args.account, &args.programme, &args.model)
    else {
        let why = format!(
            "{} is no device yet: give --root, --issuer-keys, --account, --programme and --model",
            context.dir.display()
        );
        return Err(Usage(why).into());
    };
    let policy = if PRESETS.contains(&programme.as_str()) {
        Policy::preset(programme).context("a preset")?
    } else {
        let text = fs::read_to_string(programme).with_context(|| {
            format!("{programme} is no preset ({}) and cannot be read as a file", PRESETS.join(", "))
        })?;
        Policy::from_toml(&text).with_context(|| programme.clone())?
    };
    let app = App { account: account.clone(), model_id: model.clone(), issuer: args.issuer.clone(), policy };
    let root_bytes = fs::read(root).with_context(|| root.display().to_string())?;
    plimsoll_edge::trust::TrustedRoot::from_bytes(&root_bytes).with_context(|| root.display().to_string())?;
    fs::create_dir_all(&context.dir).with_context(|| context.dir.display().to_string())?;
    app.set_issuer_keys(&context.dir, keys)?;
    app.begin(&context.dir, &root_bytes)?;
    Ok(app)
}

pub(crate) fn status(context: &Context, args: &Status) -> anyhow::Result<()> {
    let app = App::load(&context.dir)?;
    let mut device = app.open(context)?;
    let status = device.status(context.now)?;
    let wallet = device.wallet();
    if let Some(path) = &args.sync {
        let sync = json!({
            "account": app.account,
            "programme": app.policy.programme,
            "jkt": wallet.thumbprint(),
            "wid": status.wallet.wid,
            "seq": status.wallet.seq,
            "seen": status.wallet.seen,
        });
        write(path, &serde_json::to_vec_pretty(&sync)?)?;
    }
    let outbox: Vec<_> = wallet
        .outbox()
        .map(|p| json!({ "number": p.number, "payee": p.payee, "amount": p.amount, "at": p.at }))
        .collect();
    let answer = json!({ "account": app.account, "status": status, "outbox": outbox });
    context.answer(&answer, || show::status(&app, &status, wallet.outbox()))
}

pub(crate) fn accept(context: &Context, args: &Accept) -> anyhow::Result<()> {
    let app = App::load(&context.dir)?;
    if let Some(keys) = &args.issuer_keys {
        app.set_issuer_keys(&context.dir, keys)?;
    }
    let bytes = fs::read(&args.grant).with_context(|| args.grant.display().to_string())?;
    let mut device = app.open(context)?;
    let accepted = device.accept(&bytes, context.now)?;
    let allowance = device.limit(context.now)?;
    let what = match accepted {
        Accepted::New => "accepted",
        Accepted::Already => "already held",
    };
    let answer = json!({ "what": what, "allowance": allowance });
    context.answer(&answer, || format!("Grant {what}.\n{}", show::allowance(&allowance, app.policy.currency)))
}

pub(crate) fn limit(context: &Context) -> anyhow::Result<()> {
    let app = App::load(&context.dir)?;
    let mut device = app.open(context)?;
    let allowance = device.limit(context.now)?;
    let curve = device.curve()?;
    let answer = json!({ "allowance": allowance, "curve": curve });
    context.answer(&answer, || {
        let currency = app.policy.currency;
        format!("{}{}", show::allowance(&allowance, currency), show::curve(&curve, currency))
    })
}

pub(crate) fn ask(context: &Context, args: &Ask) -> anyhow::Result<()> {
    let app = App::load(&context.dir)?;
    let request = app.payee(context)?.ask(amount(&app, &args.amount)?, drawn()?, context.now)?;
    write(&args.out, &request.to_bytes(if args.cbor { Form::Cwt } else { Form::Jws }))?;
    context.answer(&request, || {
        let (currency, exp) = (request.currency, request.exp.rfc3339());
        format!(
            "{}: {} {} to {}, until {exp}",
            args.out.display(),
            currency.show(request.amount),
            currency,
            request.payee
        )
    })
}

pub(crate) fn pay(context: &Context, args: &Pay) -> anyhow::Result<()> {
    let app = App::load(&context.dir)?;
    let request = match (&args.request, &args.to, &args.amount) {
        (Some(path), ..) => {
            let bytes = fs::read(path).with_context(|| path.display().to_string())?;
            PaymentRequest::from_bytes(&bytes).with_context(|| path.display().to_string())?
        }
        (None, Some(to), Some(sum)) => PaymentRequest {
            payee: to.clone(),
            amount: amount(&app, sum)?,
            currency: app.policy.currency,
            nonce: drawn()?,
            iat: context.now,
            exp: context.now.plus(i64::from(app.policy.token.request_valid_s)),
        },
        _ => return Err(Usage("give a request, or --to and --amount".into()).into()),
    };
    let presence = if args.proved { Presence::Proved } else { Presence::Unproved };
    let form = if args.cwt { Form::Cwt } else { Form::Jws };
    let mut device = app.open(context)?;
    let currency = app.policy.currency;
    match device.authorise(&request, context.now, presence, form)? {
        Decision::Approve { token, number, repeated, left } => {
            let grant = device.wallet().grant().context("an approved payment has a grant")?.bytes().to_vec();
            let beside = grant_path(&args.out);
            write(&args.out, &token)?;
            write(&beside, &grant)?;
            let answer = json!({
                "decision": "approve", "number": number, "repeated": repeated, "payment": args.out, "grant": beside,
                "left": left,
            });
            context.answer(&answer, || {
                let again = if repeated { " (paid before: the same payment)" } else { "" };
                format!(
                    "Paid {} {currency} to {}, payment {number}{again}: {}, {}\n{}",
                    currency.show(request.amount),
                    request.payee,
                    args.out.display(),
                    beside.display(),
                    show::allowance(&left, currency)
                )
            })
        }
        Decision::StepUp { left } => {
            context.answer(&json!({ "decision": "step_up", "left": left }), || {
                format!(
                    "Prove presence: fingerprint or PIN, then pay again with --proved.\n{}",
                    show::allowance(&left, currency)
                )
            })?;
            Err(ProvePresence.into())
        }
        Decision::Decline { bound, advice, left } => {
            let answer = json!({ "decision": "decline", "bound": bound, "advice": advice, "left": left });
            context.answer(&answer, || {
                format!(
                    "Declined: {}. {}\n{}",
                    bound.says(),
                    show::sentence(advice.says()),
                    show::allowance(&left, currency)
                )
            })?;
            Err(Declined.into())
        }
    }
}

pub(crate) fn verify(context: &Context, args: &Verify) -> anyhow::Result<()> {
    let app = App::load(&context.dir)?;
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let (grant, payment) = (read(&args.grant)?, read(&args.payment)?);
    let mut payee = app.payee(context)?;
    let received = payee.take(&grant, &payment, context.now)?;
    let (currency, exposure) = (app.policy.currency, payee.exposure());
    let answer = json!({
        "amount": received.amount, "number": received.number, "exp": received.exp, "unsettled": exposure,
    });
    context.answer(&answer, || {
        format!(
            "Taken: {} {currency}, hand it in before {}. Unsettled in all: {} {currency}.",
            currency.show(received.amount),
            received.exp.rfc3339(),
            currency.show(exposure)
        )
    })
}

fn amount(app: &App, text: &str) -> anyhow::Result<Money> {
    let flow = app.policy.currency.parse(text).map_err(|e| Usage(e.to_string()))?;
    if flow.minor() <= 0 {
        return Err(Usage(format!("{text} is no amount to pay")).into());
    }
    Ok(flow.size())
}

fn grant_path(payment: &Path) -> PathBuf {
    let mut path = payment.as_os_str().to_owned();
    path.push(".grant");
    path.into()
}
