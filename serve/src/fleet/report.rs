//! What came of it: everything is looked up in the store again, and held against the wallets' own books.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use plimsoll_model::Tier;
use plimsoll_model::calibration::mean_interval;
use plimsoll_model::grant::TokenId;
use plimsoll_model::monitor::Watch;

use super::attack::Attack;
use super::house::House;
use super::phone::Phone;
use super::street::Street;
use super::{FleetError, Plan};
use crate::audit::walk::walk;
use crate::record::{AccountId, PaymentRecord};
use crate::unit::Needs;

/// Lines of what is wrong that are kept.
const BROKEN_MAX: usize = 20;

/// One promise, and whether it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// In words.
    pub promise: &'static str,
    /// What was counted.
    pub counted: String,
    /// It held.
    pub held: bool,
}

/// How an attack ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub attack: Attack,
    /// Tried.
    pub tried: u64,
    /// Ended as specified.
    pub as_specified: u64,
    /// How one ended that did not.
    pub otherwise: Option<String>,
}

/// What became of the certificate in one tier.
#[derive(Clone, Debug, PartialEq)]
pub struct TierReport {
    /// Its level.
    pub tier: u8,
    /// Wallets with a window.
    pub wallets: u64,
    /// Windows with a limit above nothing that ended.
    pub windows: u64,
    /// Mean over wallets of the share of windows in which the issuer paid, parts per million, with its 95 % interval.
    pub overdrawn_ppm: [f64; 3],
    /// The same for windows in which the balance fell below the limit by other flows, paid out or not.
    pub short_ppm: [f64; 3],
    /// Certified, parts per million.
    pub alpha_ppm: f64,
    /// Minor units that the issuer paid.
    pub overdraft: i64,
    /// What the service itself has seen of the promise.
    pub watch: Watch,
    /// Its evidence against the promise.
    pub e_value: f64,
}

/// The end of a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was played, in one line.
    pub played: String,
    /// Promises.
    pub checked: Vec<Checked>,
    /// Tiers.
    pub tiers: Vec<TierReport>,
    /// Attacks.
    pub attacks: Vec<Ended>,
    /// What is wrong, the first of it.
    pub broken: Vec<String>,
}

impl Report {
    /// Whether every promise held and every attack ended as specified.
    pub fn held(&self) -> bool {
        self.checked.iter().all(|c| c.held)
            && self.attacks.iter().all(|a| a.tried > 0 && a.as_specified == a.tried)
            && self.broken.is_empty()
    }
}

pub(super) async fn check(plan: &Plan, house: &House, streets: &mut [Street]) -> Result<Report, FleetError> {
    let now = house.now();
    let mut broken: Vec<String> = Vec::new();
    let mut stored = Stored::default();
    for street in streets.iter_mut() {
        broken.extend(street.book.broken.iter().cloned());
        street.phones.iter_mut().for_each(|phone| phone.close_windows(now, true));
        let phones: Vec<&Phone> = street.phones.iter().chain(street.crimes.iter().flat_map(|c| c.phones())).collect();
        stored.load(house, &phones, &mut broken).await?;
        for (nonce, sent) in &street.handed {
            let credited = stored.payments.get(nonce).map(|p| p.outcome.credited.minor() as i64);
            if credited != sent.settled {
                broken.push(format!("{nonce}: told {:?}, stored {credited:?}", sent.settled));
            }
        }
    }
    let (came_in, left) = streets.iter().fold((0, 0), |sum, s| (sum.0 + s.book.came_in, sum.1 + s.book.left));
    let syncs: u64 = streets.iter().flat_map(|s| &s.phones).map(|p| p.seen.syncs).sum();
    let paid: u64 = streets.iter().flat_map(|s| &s.phones).map(|p| p.seen.paid).sum();
    let declined: u64 = streets.iter().flat_map(|s| &s.phones).map(|p| p.seen.declined).sum();
    let unequal: u64 = streets.iter().map(|s| s.book.unequal).sum();
    let settled: u64 = streets.iter().map(|s| s.book.settled).sum();
    let (grants, overspent) = stored.grants();
    let tiers = tiers(house, streets);
    let (ended, distinct) = windows(house).await?;
    let counted: u64 = tiers.iter().map(|t| t.watch.windows).sum();
    let alarms: u32 = tiers.iter().map(|t| t.watch.alarms).sum();
    let checked = vec![
        Checked {
            promise: "money is conserved",
            counted: format!("{came_in} came in, {left} left, {} is held", stored.held),
            held: came_in - left == stored.held && stored.unequal == 0,
        },
        Checked {
            promise: "every balance is the one in its wallet's own book",
            counted: format!("{} accounts, {} differ", stored.accounts, stored.unequal),
            held: stored.accounts > 0 && stored.unequal == 0,
        },
        Checked {
            promise: "no nonce settles twice",
            counted: format!("{} payments stored, {settled} told by honest wallets", stored.payments.len()),
            held: stored.twice == 0 && settled > 0,
        },
        Checked {
            promise: "no grant is overspent",
            counted: format!("{grants} grants, {overspent} overspent"),
            held: grants > 0 && overspent == 0,
        },
        Checked {
            promise: "device and service limits are equal to the bit",
            counted: format!("{syncs} syncs, {unequal} unequal"),
            held: syncs > 0 && unequal == 0,
        },
        Checked {
            promise: "each watched window ends once and counts once",
            counted: format!("{ended} ended, {distinct} of them different, {counted} counted since {alarms} alarms"),
            // What came before an alarm is not counted any more.
            held: ended > 0 && ended == distinct && if alarms == 0 { counted == ended } else { counted < ended },
        },
        Checked {
            promise: "realised overdraft is not above the certificate",
            counted: "lower ends of the intervals below".to_owned(),
            held: tiers.iter().all(|t| t.overdrawn_ppm[1] <= t.alpha_ppm),
        },
    ];
    broken.truncate(BROKEN_MAX);
    let active = house.app.models.for_everyone();
    let model = active
        .evaluator()
        .map_or_else(String::new, |e| format!("{} {}", e.manifest().model_id, e.manifest().model_version));
    let played = format!(
        "{} wallets x {} days, seed {}, model {model}: {paid} payments offline, {declined} declined",
        plan.wallets, plan.days, plan.seed
    );
    Ok(Report { played, checked, tiers, attacks: attacks(streets), broken })
}

/// What the store says.
#[derive(Default)]
struct Stored {
    accounts: u64,
    held: i64,
    unequal: u64,
    twice: u64,
    payments: HashMap<String, PaymentRecord>,
    /// Settled under a grant, and its limit.
    under: BTreeMap<TokenId, (u64, Option<u64>)>,
}

impl Stored {
    async fn load(&mut self, house: &House, phones: &[&Phone], broken: &mut Vec<String>) -> Result<(), FleetError> {
        let failed = |e: crate::store::StoreError| FleetError::Service(e.to_string());
        let store = &house.app.store;
        let ids: Vec<AccountId> =
            phones.iter().map(|p| AccountId::try_from(p.account.as_str()).expect("made by us")).collect();
        let needs = Needs { accounts: ids.iter().cloned().collect(), ..Needs::default() };
        let unit = store.look(needs).await.map_err(failed)?;
        for (id, phone) in ids.iter().zip(phones) {
            let balance = unit.accounts.get(id).map(crate::record::Account::balance_minor);
            self.accounts += 1;
            self.held += balance.unwrap_or(0);
            if balance != Some(phone.book) {
                self.unequal += 1;
                broken.push(format!("{id}: the service has {balance:?}, its book {}", phone.book));
            }
            let mut before = None;
            loop {
                let page = store.grants(id, before, 500).await.map_err(failed)?;
                let Some(last) = page.last() else { break };
                before = Some((last.iat, last.jti));
                for grant in &page {
                    let claims = grant.grant().map_err(|e| FleetError::Service(e.to_string()))?;
                    let limit = claims.limit.points().first().map_or(0, |p| p.1.minor());
                    self.under.entry(grant.jti).or_default().1 = Some(limit);
                }
            }
            let mut before = None;
            loop {
                let page = store.payments(id, before, 500).await.map_err(failed)?;
                let Some(last) = page.last() else { break };
                before = Some((last.judged_at, last.nonce));
                // Each payment once: with its payer.
                for payment in page.into_iter().filter(|p| p.payer == *id) {
                    let o = &payment.outcome;
                    if o.debited.saturating_add(o.overdraft) != o.credited {
                        broken.push(format!("payment {} does not add up: {o:?}", payment.nonce));
                    }
                    self.under.entry(payment.grant).or_default().0 += o.credited.minor();
                    self.twice += u64::from(self.payments.insert(payment.nonce.to_string(), payment).is_some());
                }
            }
        }
        Ok(())
    }

    /// How many there are, and how many were overspent.
    fn grants(&self) -> (u64, u64) {
        let over = self.under.values().filter(|(settled, limit)| limit.is_none_or(|limit| *settled > limit)).count();
        (self.under.len() as u64, over as u64)
    }
}

fn tiers(house: &House, streets: &[Street]) -> Vec<TierReport> {
    let active = house.app.models.for_everyone();
    let Some(evaluator) = active.evaluator() else { return Vec::new() };
    let certificate = evaluator.certificate();
    let monitor = house.app.models.monitor(&evaluator.digest());
    let of = |tier: Tier| {
        let level = tier.level();
        let phones = || {
            let all = streets.iter().flat_map(|s| &s.phones);
            all.filter(move |p| p.tier.level() == level && p.seen.windows > 0)
        };
        let share = |count: fn(&Phone) -> u64| {
            let shares: Vec<f64> = phones().map(|p| count(p) as f64 / p.seen.windows as f64).collect();
            let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
            let (low, high) = mean_interval(&shares, 0.05);
            [mean * 1e6, low * 1e6, high * 1e6]
        };
        TierReport {
            tier: level,
            wallets: phones().count() as u64,
            windows: phones().map(|p| p.seen.windows).sum(),
            overdrawn_ppm: share(|p| p.seen.overdrawn),
            short_ppm: share(|p| p.seen.short),
            alpha_ppm: f64::from(certificate.terms.alpha.get()),
            overdraft: phones().map(|p| p.seen.overdraft).sum(),
            watch: monitor.as_ref().map_or_else(Watch::default, |m| *m.watch(tier)),
            e_value: monitor.as_ref().map_or(1.0, |m| m.e_value(tier)),
        }
    };
    certificate.cells.iter().map(|cell| of(cell.tier)).collect()
}

/// Windows that ended, by the log, and how many of them are different.
async fn windows(house: &House) -> Result<(u64, u64), FleetError> {
    let mut names = Vec::new();
    let read = walk(&house.app.store, &[], async |links| {
        for link in links.iter().filter(|link| link.kind == "window") {
            let body: serde_json::Value = serde_json::from_slice(&link.body).unwrap_or_default();
            names.push(body["window"]["promise"]["jti"].to_string());
        }
        Ok(())
    });
    let broken = |e: &dyn fmt::Display| FleetError::Service(format!("the log: {e}"));
    read.await.map_err(|e| broken(&e))?.map_err(|e| broken(&e))?;
    let ended = names.len() as u64;
    names.sort_unstable();
    names.dedup();
    Ok((ended, names.len() as u64))
}

fn attacks(streets: &[Street]) -> Vec<Ended> {
    let all = Attack::ALL.iter().map(|attack| {
        let crimes: Vec<_> = streets.iter().flat_map(|s| &s.crimes).filter(|c| c.attack == *attack).collect();
        let otherwise = crimes.iter().find_map(|c| match &c.ended {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(why.clone()),
            None => Some("not ended: it needs more days".to_owned()),
        });
        let as_specified = crimes.iter().filter(|c| c.ended == Some(Ok(()))).count() as u64;
        Ended { attack: *attack, tried: crimes.len() as u64, as_specified, otherwise }
    });
    all.collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.played)?;
        for c in &self.checked {
            writeln!(f, "{}  {}: {}", if c.held { "held  " } else { "BROKEN" }, c.promise, c.counted)?;
        }
        writeln!(
            f,
            "\ntier  wallets  windows  issuer paid, ppm [95 %]      below the limit, ppm [95 %]  certified  overdraft  \
             watched  lost  e-value  alarms"
        )?;
        for t in &self.tiers {
            let show = |[mean, low, high]: [f64; 3]| format!("{mean:.0} [{low:.0}, {high:.0}]");
            let (paid, short) = (show(t.overdrawn_ppm), show(t.short_ppm));
            writeln!(
                f,
                "{:<5} {:>7} {:>8}  {paid:<27}  {short:<27} {:>9.0} {:>10}  {:>7}  {:>4}  {:>7.2}  {:>6}",
                t.tier,
                t.wallets,
                t.windows,
                t.alpha_ppm,
                t.overdraft,
                t.watch.windows,
                t.watch.loss_ppm / 1_000_000,
                t.e_value,
                t.watch.alarms
            )?;
        }
        writeln!(f, "\nattack                          tried  as specified")?;
        for a in &self.attacks {
            writeln!(f, "{:<31} {:>5}  {:>12}", a.attack.name(), a.tried, a.as_specified)?;
            if let Some(why) = &a.otherwise {
                writeln!(f, "    one ended otherwise: {why}")?;
            }
        }
        for why in &self.broken {
            writeln!(f, "broken: {why}")?;
        }
        Ok(())
    }
}
