//! A village lived day by day: 128 wallets whose flows meet, in the order of their seconds.
//!
//! ```text
//! habits ─► the day's wishes, sorted by second ─┐
//!                                               ├─► merged in time ─► wallet ─► Record
//! what earlier wishes set off (settlements,     │
//! reloads, retries, refunds) ─► heap by time ───┘
//! ```
//!
//! A payment made without a connection is only a promise until the next sync: it waits on the heap, and the
//! ledger's balance moves when it settles.

mod ledger;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use plimsoll_model::Kind;
use plimsoll_model::time::{CivilDate, DAY, days_in_month, weekday};
use plimsoll_model::transaction::{Place, name_hash};

use super::archetype::Pay;
use super::config::Config;
use super::person::{BANK, Person, near, price};
use super::random::Random;
use super::{Block, Hours, season};

/// Shops of a village that have no wallet of ours.
const SHOPS: usize = 24;
/// A stretch without connection ends before honest tokens expire.
const GAP_MAX_HOURS: f64 = 70.0;

/// Something a holder's habits bring up on a day. The order of the variants is their order within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Open,
    Pay,
    Bill,
    Sale,
    Purchase,
    Transfer,
    Expense,
    Restock,
    Sweep,
    Interest,
}

const WISHES: [Wish; 10] = [
    Wish::Open,
    Wish::Pay,
    Wish::Bill,
    Wish::Sale,
    Wish::Purchase,
    Wish::Transfer,
    Wish::Expense,
    Wish::Restock,
    Wish::Sweep,
    Wish::Interest,
];

/// Something set off earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Settle { made_at: i64, outcome: Option<u8>, device: u8, kind: u8, minor: i64, to: Payee },
    Reload { at_least: i64 },
    Retry { kind: u8, minor: i64, to: Payee },
    Bill { nth: u8, tries: u8 },
    Refund { minor: i64, payee: u64 },
}

/// The other side of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Payee {
    Shop(u8),
    Neighbour(u8),
    Outside(u64),
}

/// A wallet's moving parts.
#[derive(Clone, Debug, Default)]
struct Wallet {
    balance: i64,
    /// What is at the bank to top up from.
    bank: i64,
    rows: u32,
    open: bool,
    gap_start: i64,
    gap_end: i64,
    /// The balance the offline device believes in, less what it has promised.
    cached: i64,
    seen_gap: bool,
    promised: u32,
    drained: bool,
    reload_due: bool,
    last_pay: i64,
    sold: i64,
    interest_at: i64,
}

/// The village of one block.
pub(super) struct Village<'a> {
    config: &'a Config,
    hours: &'a [Hours; 8],
    first: u32,
    random: Random,
    people: Vec<Person>,
    wallets: Vec<Wallet>,
    shops: Vec<(u64, Place)>,
    sellers: Vec<u8>,
    due: BinaryHeap<Reverse<(i64, u32, u8, Due)>>,
    dues: u32,
    wishes: Vec<u64>,
    spend: f64,
    income: f64,
    offline: f64,
}

impl<'a> Village<'a> {
    pub(super) fn settle(config: &'a Config, hours: &'a [Hours; 8], block: u32, first: u32, people: u32) -> Self {
        let mut random = Random::new(config.seed, u64::from(block));
        let (latitude, longitude) = config.programme.country();
        let country = Place { latitude_e6: (latitude * 1e6) as i32, longitude_e6: (longitude * 1e6) as i32 };
        let home = near(country, 0.7, &mut random);
        let shops = (0..SHOPS)
            .map(|shop| {
                let name = name_hash(format!("shop{block}.{shop}").as_bytes());
                (name, near(home, 0.04, &mut random))
            })
            .collect();
        let people: Vec<Person> = (0..people).map(|i| Person::draw(config, first + i, home, &mut random)).collect();
        let sellers = (0..people.len() as u8).filter(|&i| people[usize::from(i)].sells).collect();
        let wallets = people
            .iter()
            .map(|person| Wallet {
                balance: person.user.account.opening_minor,
                bank: (person.wallet_month * random.uniform(0.1, 0.9)) as i64,
                open: person.opens < 0,
                gap_start: (random.waiting(person.linked_hours) * 3_600.0) as i64,
                last_pay: -i64::from(random.below(28)),
                ..Wallet::default()
            })
            .collect();
        let mut village = Self {
            config,
            hours,
            first,
            random,
            people,
            wallets,
            shops,
            sellers,
            due: BinaryHeap::new(),
            dues: 0,
            wishes: Vec::new(),
            spend: 1.0,
            income: 1.0,
            offline: 1.0,
        };
        for i in 0..village.people.len() {
            village.wallets[i].gap_end = village.wallets[i].gap_start + village.gap_length(i);
        }
        village
    }

    /// Lives all days; writes the rows into `out`, whose accounts are empty.
    pub(super) fn live(mut self, out: &mut Block) {
        for day in 0..self.config.days {
            if let Some(drift) = &self.config.drift {
                (self.spend, self.income, self.offline) = drift.factors(day);
            }
            self.wish(day);
            let mut wishes = std::mem::take(&mut self.wishes);
            wishes.sort_unstable();
            let midnight = i64::from(day) * DAY;
            for &wish in &wishes {
                let (second, i) = ((wish >> 32) as i64, (wish >> 16 & 0xffff) as usize);
                self.catch_up(midnight + second, out);
                self.grant(midnight + second, i, WISHES[(wish >> 8 & 0xff) as usize], (wish & 0xff) as u8, out);
            }
            self.catch_up(midnight + DAY - 1, out);
            wishes.clear();
            self.wishes = wishes;
        }
        out.users.extend(self.people.into_iter().map(|person| person.user));
    }

    /// Fills `wishes` with what habits bring up on a day.
    fn wish(&mut self, day: u32) {
        let local = self.config.start.day_number() + i64::from(day);
        let date = CivilDate::of_day(local);
        let week_day = usize::from(weekday(local));
        let season = season::factor(self.config.programme, local);
        let weekend = usize::from(week_day >= 5);
        let random = &mut self.random;
        for (i, person) in self.people.iter().enumerate() {
            let wallet = &self.wallets[i];
            let opens_today = person.opens >= 0 && person.opens / DAY == i64::from(day);
            if !wallet.open && !opens_today {
                continue;
            }
            let mut wish = |second: u32, what: Wish, nth: u8| {
                self.wishes.push(u64::from(second) << 32 | (i as u64) << 16 | (what as u64) << 8 | u64::from(nth))
            };
            if opens_today {
                wish((person.opens % DAY) as u32, Wish::Open, 0);
            }
            let hours = &self.hours[person.user.archetype as usize].of_day[weekend];
            let hour = |random: &mut Random| {
                let bits = random.bits();
                u32::from(hours[(bits & 0xff) as usize]) * 3_600 + (((bits >> 8 & 0xffff_ffff) * 3_600) >> 32) as u32
            };
            // Fresh pay is spent faster, and a fat purse more freely than a thin one.
            let since_pay = i64::from(day) - wallet.last_pay;
            let mood = match since_pay {
                _ if person.pay == Pay::Sales => 1.0,
                0..=3 => 1.35,
                4..=7 => 1.1,
                8..=18 => 1.0,
                _ => 0.85,
            };
            let purse = if wallet.balance as f64 > person.target { 1.15 } else { 1.0 };
            let rate = person.week[week_day] * season * mood * purse;
            for _ in 0..random.poisson(person.purchases * rate) {
                wish(hour(random), Wish::Purchase, 0);
            }
            if random.chance(person.transfers * season) {
                wish(hour(random), Wish::Transfer, 0);
            }
            if random.chance(1.0 / 42.0) {
                wish(hour(random), Wish::Expense, 0);
            }
            for (nth, bill) in person.bills.iter().enumerate() {
                if is_day_of_month(date, bill.day_of_month) {
                    wish(bill.second, Wish::Bill, nth as u8);
                }
            }
            let paid = match person.pay {
                Pay::Monthly => is_pay_day(local, person.pay_day) ^ (random.chance(0.004)),
                Pay::Weekly => week_day == usize::from(person.pay_day) && !random.chance(0.06),
                Pay::Irregular => since_pay > 5 && random.chance(if since_pay > 24 { 0.35 } else { 0.065 }),
                Pay::Sales => {
                    for _ in 0..random.poisson(1.6 * person.week[week_day] * season) {
                        wish(hour(random), Wish::Sale, 0);
                    }
                    if week_day == usize::from(person.sweep_weekday) {
                        wish(random.between(5 * 3_600, 10 * 3_600), Wish::Restock, 0);
                    }
                    false
                }
            };
            if paid {
                wish((person.pay_second + random.below(5_400)).min(86_399), Wish::Pay, 0);
            }
            if person.sweeps && week_day == usize::from((person.sweep_weekday + 2) % 7) {
                wish(hour(random), Wish::Sweep, 0);
            }
            if date.day == 1 && person.target > 3.0 * person.weekly {
                wish(1_200 + i as u32, Wish::Interest, 0);
            }
        }
    }

    fn grant(&mut self, at: i64, i: usize, wish: Wish, nth: u8, out: &mut Block) {
        if !self.wallets[i].open && wish != Wish::Open {
            return;
        }
        let programme = self.config.programme;
        match wish {
            Wish::Open => {
                self.wallets[i].open = true;
                let want = (self.people[i].target * self.random.uniform(0.2, 0.9)) as i64;
                self.reload(at, i, want.max(1), out);
            }
            Wish::Pay => self.pay(at, i, out),
            Wish::Bill => self.bill(at, i, nth, 0, out),
            Wish::Sale => {
                let person = &self.people[i];
                let mean = person.wallet_month / (1.6 * 30.4) * 0.75 * self.income;
                let minor = price(programme, mean * 0.72 * self.random.factor(0.8), &mut self.random);
                let payer = self.random.bits() | 1;
                let place = Some(self.people[i].user.centroid);
                self.wallets[i].sold += minor;
                self.credit(at, i, Kind::Income, minor, payer, place, out);
            }
            Wish::Purchase => {
                let to = self.shop(i);
                let median = self.people[i].purchase_minor * 0.8 * self.spend;
                let minor = price(programme, median * self.random.factor(0.66), &mut self.random);
                self.spend_on(at, i, Kind::Purchase, minor, to, out);
            }
            Wish::Transfer => {
                let to = self.friend(i);
                let median = self.people[i].purchase_minor * 2.2 * self.spend;
                let minor = price(programme, median * self.random.factor(0.75), &mut self.random);
                self.spend_on(at, i, Kind::TransferOut, minor, to, out);
            }
            Wish::Expense => {
                let minor = self.people[i].weekly * 0.8 * self.random.factor(0.6) * self.spend;
                let minor = price(programme, minor, &mut self.random);
                let payee = Payee::Outside(name_hash(&self.random.below(100_000).to_le_bytes()));
                let kind = [Kind::Purchase, Kind::TransferOut, Kind::CashOut][self.random.below(3) as usize];
                self.spend_on(at, i, kind, minor, payee, out);
            }
            Wish::Restock => {
                let share = self.random.uniform(0.5, 0.8);
                let wallet = &mut self.wallets[i];
                let minor = (wallet.sold as f64 * share) as i64;
                wallet.sold = 0;
                if minor > 0 {
                    let minor = price(programme, minor as f64, &mut self.random).min(self.wallets[i].balance);
                    let supplier = name_hash(format!("supplier{}", self.first + i as u32 % 9).as_bytes());
                    self.debit(at, i, Kind::Bill, minor, supplier, None, out);
                }
            }
            Wish::Sweep => {
                let spare = self.wallets[i].balance - (self.people[i].target * 1.6) as i64;
                if spare > (self.people[i].weekly * 0.4) as i64 && self.random.chance(0.85) {
                    let share = self.random.uniform(0.6, 1.0);
                    let minor = price(programme, spare as f64 * share, &mut self.random).min(spare);
                    let kind = if self.people[i].cash { Kind::CashOut } else { Kind::TransferOut };
                    self.debit(at, i, kind, minor, BANK, None, out);
                    self.wallets[i].bank += minor / 2;
                }
            }
            Wish::Interest => {
                let minor = self.wallets[i].balance / 400;
                if minor > 0 && self.wallets[i].interest_at != at {
                    self.wallets[i].interest_at = at;
                    self.credit(at, i, Kind::Interest, minor, BANK, None, out);
                }
            }
        }
    }

    /// Does what is due up to and including `now`.
    fn catch_up(&mut self, now: i64, out: &mut Block) {
        while let Some(&Reverse((at, ..))) = self.due.peek() {
            if at > now {
                return;
            }
            let Some(Reverse((at, _, i, due))) = self.due.pop() else { return };
            let i = usize::from(i);
            match due {
                Due::Settle { made_at, outcome, device, kind, minor, to } => {
                    self.settle_payment(at, i, made_at, outcome, device, Kind::ALL[usize::from(kind)], minor, to, out);
                }
                Due::Reload { at_least } => {
                    self.wallets[i].reload_due = false;
                    self.reload(at, i, at_least, out);
                }
                Due::Retry { kind, minor, to } => {
                    if self.wallets[i].balance >= minor {
                        self.online(at, i, Kind::ALL[usize::from(kind)], minor, to, 1, out);
                    }
                }
                Due::Bill { nth, tries } => self.bill(at, i, nth, tries, out),
                Due::Refund { minor, payee } => self.credit(at, i, Kind::Refund, minor, payee, None, out),
            }
        }
    }

    fn later(&mut self, at: i64, i: usize, due: Due) {
        self.dues += 1;
        self.due.push(Reverse((at, self.dues, i as u8, due)));
    }

    fn gap_length(&mut self, i: usize) -> i64 {
        let hours = self.random.waiting(self.people[i].gap_hours).clamp(0.2, GAP_MAX_HOURS);
        (hours * 3_600.0) as i64
    }

    /// Whether the wallet's first device is without connection; notes the balance it last saw.
    fn in_gap(&mut self, at: i64, i: usize) -> bool {
        while at >= self.wallets[i].gap_end {
            let linked = self.people[i].linked_hours / self.offline.max(0.01);
            let start = self.wallets[i].gap_end + (self.random.waiting(linked) * 3_600.0) as i64 + 60;
            let end = start + self.gap_length(i);
            let wallet = &mut self.wallets[i];
            (wallet.gap_start, wallet.gap_end) = (start, end);
            (wallet.seen_gap, wallet.promised, wallet.drained) = (false, 0, false);
        }
        let wallet = &mut self.wallets[i];
        if at < wallet.gap_start {
            return false;
        }
        if !wallet.seen_gap {
            // Nothing has moved since the gap began: every movement asks here first.
            wallet.seen_gap = true;
            wallet.cached = wallet.balance;
        }
        true
    }

    fn shop(&mut self, i: usize) -> Payee {
        let favourite = self.random.below(8).min(self.random.below(8));
        if !self.sellers.is_empty() && self.random.chance(0.22) {
            let seller = self.sellers[(i * 5 + favourite as usize % 3) % self.sellers.len()];
            if usize::from(seller) != i && self.wallets[usize::from(seller)].open {
                return Payee::Neighbour(seller);
            }
        }
        if self.random.chance(0.08) {
            return Payee::Outside(name_hash(&self.random.below(50_000).to_le_bytes()));
        }
        Payee::Shop(((i * 7 + favourite as usize * 5) % SHOPS) as u8)
    }

    fn friend(&mut self, i: usize) -> Payee {
        let n = self.people.len();
        let step = [1, 2, 3, 5, 8, 13][self.random.below(6).min(self.random.below(6)) as usize];
        let friend = (i ^ step) % n;
        if friend == i || !self.wallets[friend].open {
            return Payee::Outside(name_hash(&[i as u8, step as u8]));
        }
        Payee::Neighbour(friend as u8)
    }

    fn payee(&self, to: Payee) -> (u64, Option<Place>) {
        match to {
            Payee::Shop(shop) => {
                let (payee, place) = self.shops[usize::from(shop)];
                (payee, Some(place))
            }
            Payee::Neighbour(j) => {
                let person = &self.people[usize::from(j)];
                (person.payee, person.sells.then_some(person.user.centroid))
            }
            Payee::Outside(payee) => (payee, None),
        }
    }

    fn pay(&mut self, at: i64, i: usize, out: &mut Block) {
        let person = &self.people[i];
        let local = self.config.start.day_number() + at / DAY;
        let base = match person.pay {
            Pay::Monthly => person.wallet_month * self.random.uniform(0.97, 1.03),
            Pay::Weekly => person.wallet_month / 4.345 * self.random.factor(0.3),
            Pay::Irregular => person.wallet_month / 2.0 * self.random.factor(0.4),
            Pay::Sales => return,
        };
        let bonus = if season::bonus(self.config.programme, local) { 1.35 } else { 1.0 };
        let minor = price(self.config.programme, base * bonus * self.income, &mut self.random);
        let employer = name_hash(format!("employer{}", (self.first as usize + i) % 211).as_bytes());
        let kind = if person.pay == Pay::Irregular { Kind::TransferIn } else { Kind::Income };
        let (into_wallet, month) = (person.into_wallet, person.wallet_month);
        let wallet = &mut self.wallets[i];
        wallet.last_pay = at / DAY;
        if into_wallet {
            // A little is kept in hand for top-ups when the wallet runs dry.
            wallet.bank = (wallet.bank + minor / 12).min(month as i64);
            let minor = minor.min(self.config.programme.caps().0 - wallet.balance).max(1);
            self.credit(at, i, kind, minor, employer, None, out);
        } else {
            wallet.bank = (wallet.bank + minor).min((month * 1.6) as i64);
            if self.random.chance(0.4) {
                self.reload(at, i, 1, out);
            }
        }
    }

    fn bill(&mut self, at: i64, i: usize, nth: u8, tries: u8, out: &mut Block) {
        let bill = self.people[i].bills[usize::from(nth)];
        let minor = if bill.loan {
            bill.minor
        } else {
            (bill.minor as f64 * self.spend * self.random.uniform(0.94, 1.06)) as i64
        };
        let grid = self.config.programme.grid();
        let minor = (minor / grid).max(1) * grid;
        if self.wallets[i].balance < minor && self.people[i].bills_top_up {
            let missing = minor - self.wallets[i].balance;
            self.reload(at, i, missing, out);
        }
        if self.wallets[i].balance >= minor {
            let kind = if bill.loan { Kind::Loan } else { Kind::Bill };
            self.debit(at, i, kind, minor, bill.payee, None, out);
        } else if tries < 3 {
            self.later(at + DAY, i, Due::Bill { nth, tries: tries + 1 });
        } else if self.wallets[i].balance >= 20 * grid {
            self.debit(at, i, Kind::Fee, 20 * grid, bill.payee, None, out);
        }
    }
}

/// Whether `date` is the given day of its month, or its last when the month has none.
fn is_day_of_month(date: CivilDate, day: u8) -> bool {
    date.day == day.min(days_in_month(date.year, date.month))
}

/// Whether pay of day-of-month `pay_day` is paid on a local day: on the day itself, or on the Friday
/// before when that is at a weekend.
fn is_pay_day(local: i64, pay_day: u8) -> bool {
    let falls = |ahead: i64| is_day_of_month(CivilDate::of_day(local + ahead), pay_day);
    match weekday(local) {
        5 | 6 => false,
        4 => falls(0) || falls(1) || falls(2),
        _ => falls(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pay_never_falls_on_a_weekend_and_comes_every_month() {
        let start = CivilDate::new(2023, 1, 1).expect("a date").day_number();
        for pay_day in [1, 15, 28, 31] {
            // A Sunday the 1st is paid on the Friday before, so 2023-01-01 falls outside.
            let days: Vec<i64> = (start..start + 365).filter(|&d| is_pay_day(d, pay_day)).collect();
            assert!((11..=12).contains(&days.len()), "day {pay_day}: {}", days.len());
            assert!(days.iter().all(|&d| weekday(d) < 5));
        }
    }

    #[test]
    fn wishes_are_numbered_by_their_place() {
        for (i, wish) in WISHES.iter().enumerate() {
            assert_eq!(*wish as usize, i);
        }
    }
}
