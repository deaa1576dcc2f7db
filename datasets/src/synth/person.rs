//! One wallet holder: drawn once, then only lived.

use plimsoll_model::transaction::{Place, name_hash};
use plimsoll_model::{Account, Tier, UtcSeconds};
use serde::{Deserialize, Serialize};

use super::archetype::{Archetype, Pay, Profile};
use super::config::{Config, Programme};
use super::random::Random;
use crate::groups::Groups;

/// What the generator knows of a wallet, and a model must find out.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Name, opening time, tier and opening balance.
    pub account: Account,
    /// The way of life.
    pub archetype: Archetype,
    /// Mean income a month, minor units, the part outside the wallet included.
    pub monthly_income_minor: i64,
    /// Home.
    pub centroid: Place,
    /// How many devices, 1 to 3.
    pub devices: u8,
    /// What kind of adversary, if one.
    pub adversary: Option<Adversary>,
}

impl User {
    /// Of users, none yet: by what reports compare them.
    pub(crate) fn groups() -> Groups {
        Groups::of(Self::GROUPS.map(str::to_owned).to_vec())
    }

    /// The columns of the users file that those are.
    pub(crate) const GROUPS: [&str; 2] = ["archetype", "monthly_income_minor"];

    /// Adds this one.
    pub(crate) fn join(&self, groups: &mut Groups) {
        groups.push([self.archetype.name(), self.monthly_income_minor.to_string().as_str()]);
    }
}

/// A way of cheating with offline payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adversary {
    /// Spends a token twice.
    DoubleSpend,
    /// Empties the wallet online from a second device while the first pays offline.
    SecondDevice,
    /// Holds tokens back until they have expired.
    Expired,
    /// Makes tokens up.
    Forged,
}

impl Adversary {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::DoubleSpend, Self::SecondDevice, Self::Expired, Self::Forged];

    /// The name used in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DoubleSpend => "double_spend",
            Self::SecondDevice => "second_device",
            Self::Expired => "expired",
            Self::Forged => "forged",
        }
    }
}

/// A debit on a day of the month.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recurring {
    pub(crate) day_of_month: u8,
    pub(crate) second: u32,
    pub(crate) minor: i64,
    pub(crate) loan: bool,
    pub(crate) payee: u64,
}

/// A holder's habits; money in minor units.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) user: User,
    pub(crate) payee: u64,
    pub(crate) cash: bool,
    pub(crate) sells: bool,
    /// Seconds since the start of the span at which the wallet is opened; negative when it is older.
    pub(crate) opens: i64,
    /// Spending through the wallet in a week.
    pub(crate) weekly: f64,
    pub(crate) purchases: f64,
    pub(crate) purchase_minor: f64,
    pub(crate) transfers: f64,
    pub(crate) week: [f64; 7],
    /// The balance the holder likes to have, and the one that makes them top up.
    pub(crate) target: f64,
    pub(crate) threshold: i64,
    /// Chance to top up when the balance is low, and when a payment does not go through.
    pub(crate) prompt: f64,
    pub(crate) insist: f64,
    pub(crate) reload_delay: f64,
    pub(crate) reload_step: i64,
    pub(crate) pay: Pay,
    pub(crate) into_wallet: bool,
    /// Pay per pay day, of which this much a month goes through the wallet.
    pub(crate) wallet_month: f64,
    /// Day of the month, or day of the week.
    pub(crate) pay_day: u8,
    pub(crate) pay_second: u32,
    pub(crate) bills: Vec<Recurring>,
    pub(crate) bills_top_up: bool,
    pub(crate) sweep_weekday: u8,
    pub(crate) sweeps: bool,
    /// Mean hours of a stretch without connection, and of one with it.
    pub(crate) gap_hours: f64,
    pub(crate) linked_hours: f64,
    /// The day of the span an adversary begins.
    pub(crate) turns_on: u32,
}

/// The bank that wallets are topped up from, as a payee.
pub(crate) const BANK: u64 = name_hash(b"bank");

fn degrees_e6(degrees: f64) -> i32 {
    (degrees * 1e6) as i32
}

/// `center`, moved by about `spread` degrees.
pub(crate) fn near(center: Place, spread: f64, random: &mut Random) -> Place {
    Place {
        latitude_e6: center.latitude_e6 + degrees_e6(spread * random.normal()),
        longitude_e6: center.longitude_e6 + degrees_e6(spread * random.normal()),
    }
}

/// `minor` on the programme's grid of prices, at least one step.
pub(crate) fn price(programme: Programme, minor: f64, random: &mut Random) -> i64 {
    let grid = programme.grid() * [1, 2, 10, 20][random.below(4) as usize];
    // A price is never moved by more than half of itself.
    let grid = if minor < 2.0 * grid as f64 { programme.grid() } else { grid };
    ((minor / grid as f64).round() as i64).max(1) * grid
}

impl Person {
    /// Draws the holder of account `index`, living around `village`.
    pub(crate) fn draw(config: &Config, index: u32, village: Place, random: &mut Random) -> Self {
        let programme = config.programme;
        let archetype = Archetype::ALL[random.weighted(&Archetype::mix(programme))];
        let profile = archetype.profile();
        let tier = Tier::new(random.weighted(&programme.tiers()) as u8).expect("four weights, four tiers");
        let name = format!("u{index:07}");
        let span = i64::from(config.days) * 86_400;
        let newcomer = random.below(1_000_000) < config.newcomer_ppm;
        let opens = if newcomer {
            // Someone opened in the last quarter would be mostly noise.
            (random.unit() * 0.75 * span as f64) as i64
        } else {
            -(random.between(30, 1_500) as i64) * 86_400 + i64::from(random.below(86_400))
        };
        let midnight = config.programme.offset().midnight(config.start.day_number());

        // Log-uniform between the archetype's bounds, in minor units.
        let (low, high) = (f64::from(profile.income.0), f64::from(profile.income.1));
        let income = low * libm::exp(random.unit() * libm::log(high / low)) * 100.0 * programme.scale();
        let wallet_month = income * random.uniform(profile.wallet_share.0, profile.wallet_share.1);
        // Some wallets are hardly used.
        let activity = if random.chance(0.06) { 0.12 } else { random.factor(0.35) };
        let weekly = wallet_month / 4.345 * if activity < 0.2 { 0.2 } else { 1.0 };

        let bills = draw_bills(config, &profile, index, wallet_month, random);
        let committed: i64 = bills.iter().map(|bill| bill.minor).sum();
        let purchases = profile.purchases_per_day * activity;
        let transfers = profile.transfers_per_day * activity;
        let restock = if archetype.sells() { 0.45 } else { 1.0 };
        // A transfer is worth about three purchases; the rest is for what nobody foresees.
        let free = (weekly * 0.9 - committed as f64 / 4.345).max(weekly * 0.3) * restock;
        let purchase_minor = free / (7.0 * (purchases + 3.0 * transfers));

        let style = match random.below(100) {
            0..25 => random.uniform(0.1, 0.4),
            25..75 => random.uniform(0.6, 2.5),
            _ => random.uniform(3.0, 7.0),
        };
        let (balance_cap, _) = programme.caps();
        let target = (weekly * style).min(balance_cap as f64 * 0.8);
        let threshold = (target.min(weekly) * random.uniform(0.1, 0.5)) as i64;
        let opening_minor = if newcomer { 0 } else { price(programme, target * random.uniform(0.15, 1.2), random) };

        let adversary = random.below(1_000_000) < config.adversary_ppm;
        let adversary = adversary.then(|| Adversary::ALL[random.below(4) as usize]);
        let gap_hours = random.uniform(1.0, 4.0) * random.uniform(1.0, 6.0);
        let busy = if adversary.is_some() { 1.8 } else { 1.0 };
        // 1.12: what is refused offline for want of cached balance is not paid, measured over all programmes.
        let gone = f64::from(config.offline_ppm) / 1e6 * profile.offline * busy * random.uniform(0.5, 1.5) * 1.12;
        let gone = gone.min(0.6);

        let into_wallet = random.chance(profile.paid_into_wallet);
        let pay_day = match profile.pay {
            Pay::Weekly => [0, 1, 4, 4, 5][random.below(5) as usize],
            _ => [1, 5, 15, 25, 25, 26, 27, 28, 28, 31][random.below(10) as usize],
        };
        let devices = [1, 1, 1, 1, 1, 1, 2, 2, 2, 3][random.below(10) as usize];
        Self {
            payee: name_hash(name.as_bytes()),
            user: User {
                account: Account { name, opened_at: Some(UtcSeconds(midnight.0 + opens)), tier, opening_minor },
                archetype,
                monthly_income_minor: income as i64,
                centroid: near(village, 0.03, random),
                devices: if adversary == Some(Adversary::SecondDevice) { devices.max(2) } else { devices },
                adversary,
            },
            cash: profile.cash,
            sells: archetype.sells(),
            opens,
            weekly,
            purchases,
            purchase_minor,
            transfers,
            week: profile.week,
            target,
            threshold,
            prompt: random.uniform(0.15, 0.95),
            insist: random.uniform(0.3, 0.95),
            reload_delay: random.uniform(0.2, 18.0) * 3_600.0,
            reload_step: programme.grid() * [200, 400, 1_000, 2_000][random.below(4) as usize],
            pay: profile.pay,
            into_wallet,
            wallet_month,
            pay_day,
            pay_second: random.between(1_800, 36_000),
            bills,
            bills_top_up: random.chance(0.5),
            sweep_weekday: random.below(7) as u8,
            sweeps: into_wallet || archetype.sells(),
            gap_hours,
            linked_hours: gap_hours * (1.0 - gone) / gone,
            turns_on: random.below(config.days.div_ceil(2)),
        }
    }
}

fn draw_bills(
    config: &Config,
    profile: &Profile,
    index: u32,
    wallet_month: f64,
    random: &mut Random,
) -> Vec<Recurring> {
    let count = random.between(profile.bills.0, profile.bills.1);
    let share = random.uniform(0.12, 0.4) / f64::from(count.max(1));
    (0..count)
        .map(|nth| Recurring {
            day_of_month: [1, 2, 3, 5, 7, 10, 12, 15, 18, 20, 22, 25, 28, 31][random.below(14) as usize],
            second: random.between(3_600, 11 * 3_600),
            minor: price(config.programme, wallet_month * share * random.factor(0.5), random),
            loan: nth == 0 && random.chance(0.15),
            payee: name_hash(format!("biller{}", (index / 64 * 7 + random.below(12)) % 997).as_bytes()),
        })
        .collect()
}
