//! `plimsoll exposure`: ceiling × time to live × sync frequency within a loss budget, and the smallest reserve.

use std::path::PathBuf;

use plimsoll_model::artifact::Certificate;
use plimsoll_model::{Currency, Money, Tier};
use plimsoll_train::calibrate::Log;
use plimsoll_train::exposure::{At, Exposure, Granted, Plan, Promised, Reserve, exposure, fit, mean_loss, reserves};
use plimsoll_train::run::Run;
use serde::Serialize;

use super::exit::Usage;
use super::{Context, score, show};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  plimsoll exposure --run runs/first --accounts 0=200000 --accounts 1=50000 --budget 25000\n  \
    plimsoll exposure --repo repository --root keys/root.json --accounts 2=10000 --budget 5000 --worst 1000000 --ttl 24\n\
    What is expected is the most that the certificate allows; what it was on the test split is beside it, and the smallest \
    reserve, where a run is given: they need its calibration log."
)]
pub(super) struct Args {
    /// A run directory.
    #[arg(long, value_name = "DIR", required_unless_present = "repo", conflicts_with = "repo")]
    run: Option<PathBuf>,
    /// A repository, for the certificate of a published model.
    #[arg(long, value_name = "DIR", requires = "root")]
    repo: Option<PathBuf>,
    /// The root that devices pin.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// Which model line, where the repository has several.
    #[arg(long, value_name = "ID")]
    model: Option<String>,
    /// Accounts of a tier, as often as there are tiers.
    #[arg(long, value_name = "TIER=N", required = true)]
    accounts: Vec<String>,
    /// What may be lost in the period, in expectation.
    #[arg(long, value_name = "AMOUNT")]
    budget: String,
    /// What may be outstanding at once when everybody spends everything; no bound when not given.
    #[arg(long, value_name = "AMOUNT")]
    worst: Option<String>,
    /// Days of the period.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// The most that a tier's limits are to be; its cap when not given.
    #[arg(long, value_name = "TIER=AMOUNT")]
    ceiling: Vec<String>,
    /// Hours a grant can be spent, as often as wanted; the certified ages when not given.
    #[arg(long, value_name = "HOURS")]
    ttl: Vec<u32>,
    /// Hours between syncs, as often as wanted; 6, 24 and 72 when not given.
    #[arg(long, value_name = "HOURS")]
    sync: Vec<u32>,
    /// Grants add up: what is unsettled is not carried into the next one.
    #[arg(long)]
    stacked: bool,
}

/// One way of granting that fits.
#[derive(Serialize)]
struct Fitted {
    #[serde(flatten)]
    exposure: Exposure,
    /// Lost in the period as on the test split, minor units; none without a run.
    measured: Option<f64>,
}

#[derive(Serialize)]
struct Answer {
    /// With every tier's full cap, at the longest time to live and the rarest sync.
    full: Exposure,
    /// The largest ceilings that fit, by time to live and sync.
    fitted: Vec<Fitted>,
    reserves: Vec<Reserve>,
}

pub(super) fn run(context: &Context, args: &Args) -> anyhow::Result<()> {
    let (certificate, currency, log) = match (&args.run, &args.repo, &args.root) {
        (Some(dir), _, _) => {
            let run = Run::load(dir)?;
            (run.release.certificate, run.policy.currency, Some(run.log))
        }
        (None, Some(repo), Some(root)) => {
            let verified = score::verified(repo, root, args.model.as_deref(), context.now)?;
            let release = verified.release();
            (release.certificate.clone(), release.manifest.currency, None)
        }
        _ => return Err(Usage("give --run, or --repo and --root".into()).into()),
    };
    let asked = Asked::read(args, &certificate, currency)?;
    let answer = asked.answer(&certificate, log.as_ref());
    context.answer(&answer, || text(&answer, currency))
}

/// The command line, read against a certificate.
struct Asked {
    tiers: Vec<Promised>,
    ceilings: Vec<(Tier, Money)>,
    budget: u128,
    worst: Option<u128>,
    plans: Vec<Plan>,
}

impl Asked {
    fn read(args: &Args, certificate: &Certificate, currency: Currency) -> Result<Self, Usage> {
        let amount = |text: &str| match currency.parse(text) {
            Ok(flow) if !flow.is_debit() => Ok(flow.size()),
            Ok(_) => Err(Usage(format!("{text} is below zero"))),
            Err(e) => Err(Usage(e.to_string())),
        };
        let of_tier = |text: &str| {
            let (tier, value) = text.split_once('=').unwrap_or((text, ""));
            let known = certificate.cells.iter().map(|c| c.tier).find(|t| t.to_string() == tier);
            let names: Vec<String> = certificate.cells.iter().map(|c| c.tier.to_string()).collect();
            let unknown = || Usage(format!("{text}: write TIER=…; there are tiers {}", names.join(", ")));
            known.map(|tier| (tier, value.to_owned())).ok_or_else(unknown)
        };
        let mut ceilings = Vec::new();
        for text in &args.ceiling {
            let (tier, value) = of_tier(text)?;
            ceilings.push((tier, amount(&value)?));
        }
        let ceiling = |tier: Tier| ceilings.iter().find(|(t, _)| *t == tier).map(|(_, c)| *c);
        let mut tiers: Vec<Promised> = Vec::new();
        for text in &args.accounts {
            let (tier, value) = of_tier(text)?;
            let accounts = value.parse::<u32>().map_err(|_| Usage(format!("{text}: write a number of accounts")))?;
            if tiers.iter().any(|t| t.tier == tier) {
                return Err(Usage(format!("tier {tier} is there twice")));
            }
            let cell = certificate.cell(tier).expect("of_tier knows the cells' tiers");
            let promised = Promised::of(certificate, cell, u64::from(accounts), ceiling(tier));
            tiers.push(promised.ok_or_else(|| Usage(format!("tier {tier} has no cap: give --ceiling {tier}=AMOUNT")))?);
        }
        let certified: Vec<u32> = certificate.terms.ages.iter().map(|a| a.0 / 60).filter(|h| *h > 0).collect();
        let last = certified.last().copied().unwrap_or(0);
        let chosen = |given: &[u32], otherwise: Vec<u32>| if given.is_empty() { otherwise } else { given.to_vec() };
        let (ttl, sync) = (chosen(&args.ttl, certified), chosen(&args.sync, vec![6, 24, 72]));
        if let Some(h) = ttl.iter().find(|h| **h == 0 || **h > last) {
            return Err(Usage(format!(
                "a time to live of {h} h: nothing is promised later than {last} h after a sync"
            )));
        }
        if sync.contains(&0) || !(1..=3_660).contains(&args.days) {
            return Err(Usage("hours between syncs start at 1, days are 1 to 3,660".into()));
        }
        let plan = |ttl_h, sync_h| Plan { ttl_h, sync_h, days: args.days, carried: !args.stacked };
        Ok(Self {
            budget: u128::from(amount(&args.budget)?.minor()),
            worst: args.worst.as_deref().map(amount).transpose()?.map(|m| u128::from(m.minor())),
            plans: ttl.iter().flat_map(|t| sync.iter().map(|s| plan(*t, *s))).collect(),
            tiers,
            ceilings,
        })
    }

    fn answer(&self, certificate: &Certificate, log: Option<&Log>) -> Answer {
        let measured = |found: &Exposure| {
            let log = log?;
            let of = |t: &plimsoll_train::exposure::TierExposure| {
                let one = mean_loss(log, certificate, t.tier, t.ceiling, found.plan.ttl_h);
                t.accounts as f64 * found.plan.grants() as f64 * one
            };
            Some(found.tiers.iter().map(of).sum())
        };
        // Nothing is lost with a ceiling of nothing, so something always fits.
        let fitted = |plan: &Plan| fit(&self.tiers, *plan, self.budget, self.worst);
        let fitted = self.plans.iter().filter_map(fitted);
        let longest = self.plans.iter().max_by_key(|p| (p.ttl_h, p.sync_h)).expect("clap asks for none or some");
        let ceiling = |tier: Tier| self.ceilings.iter().find(|(t, _)| *t == tier).map(|(_, c)| *c);
        let mine = |r: &Reserve| self.tiers.iter().any(|t| t.tier == r.tier);
        Answer {
            full: exposure(&self.tiers, *longest, At::FULL),
            fitted: fitted.map(|exposure| Fitted { measured: measured(&exposure), exposure }).collect(),
            reserves: log
                .map_or_else(Vec::new, |log| reserves(log, certificate, &ceiling).into_iter().filter(mine).collect()),
        }
    }
}

fn text(answer: &Answer, currency: Currency) -> String {
    let total = |minor: u128| currency.format(i64::try_from(minor).unwrap_or(i64::MAX));
    let mean = |minor: f64| format!("{:.4}", minor / currency.minor_per_major() as f64);
    let full = &answer.full;
    let mut text = format!(
        "With every cap granted, {} h to spend and a sync every {} h: {} {currency} outstanding at worst, at most {} lost in \
         {} days, in expectation.\n\nThe largest ceilings within the budget\n",
        full.plan.ttl_h,
        full.plan.sync_h,
        total(full.worst),
        total(full.expected),
        full.plan.days
    );
    let mut t = show::table(
        &["TTL", "sync every", "ceilings by tier", "worst case", "expected ≤", "on test", "accounts hit ≤"],
        0..7,
    );
    for f in &answer.fitted {
        let e = &f.exposure;
        let ceilings: Vec<String> =
            e.tiers.iter().map(|t| format!("{}: {}", t.tier, currency.show(t.ceiling))).collect();
        t.add_row([
            format!("{} h", e.plan.ttl_h),
            format!("{} h", e.plan.sync_h),
            ceilings.join(", "),
            total(e.worst),
            total(e.expected),
            f.measured.map_or("–".into(), |m| currency.format(m.ceil() as i64)),
            e.tiers.iter().map(|t| t.touched).sum::<u64>().to_string(),
        ]);
    }
    text.push_str(&t.to_string());
    if !answer.reserves.is_empty() {
        text.push_str("\n\nThe smallest share of each limit to hold back, so that what can be lost keeps β\n");
        let mut t =
            show::table(&["tier", "granted", "up to", "β a grant", "reserve", "lost with it", "without", "held"], 2..8);
        for r in &answer.reserves {
            let granted = match r.granted {
                Granted::Shipped => "what ships",
                Granted::Balance => "min(balance, ceiling)",
            };
            t.add_row([
                r.tier.to_string(),
                granted.to_owned(),
                currency.show(r.ceiling),
                currency.show(r.beta),
                r.percent.map_or("too few accounts".into(), |p| format!("{p} %")),
                mean(r.residual),
                mean(r.unreserved),
                mean(r.held),
            ]);
        }
        text.push_str(&t.to_string());
    }
    text
}
