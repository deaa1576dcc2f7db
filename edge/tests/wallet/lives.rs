//! 10,000 simulated lives of a wallet: payments, syncs whose reports and replies are lost, doubled and reordered, power
//! cuts inside every kind of write, disks that fail, clocks that jump, files that are restored, damaged or deleted.
//!
//! What must hold is judged by [`Truth`], which knows only bytes that left the wallet and grants that were signed, and
//! shares no code with the wallet: nothing beyond a grant, nothing beyond the account's balance whatever was lost, no
//! number twice, no approved payment lost.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_edge::storage::crash::{CrashDisk, Fault, Image};
use plimsoll_edge::wallet::{Accepted, Decision, Presence, WalletError};
use plimsoll_model::decision::Bound;
use plimsoll_model::grant::{
    Caps, Curve, Directive, Form, Grant, Instance, Level, Lottery, Payment, PaymentRequest, StepUpAt, TokenId,
};
use plimsoll_model::{Age, UtcSeconds};

use crate::bank::*;

const LIVES: u64 = 10_000;
const BALANCE: u64 = 100_000;

/// SplitMix64 (Steele, Lea, Flood 2014): one life is one seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What left the wallet, and what was signed for it.
#[derive(Default)]
struct Truth {
    grants: BTreeMap<u64, Grant>,
    /// The grants that were accepted, and after which number, and with how much, their counters began.
    accepted: BTreeMap<u64, (u64, u64)>,
    released: BTreeMap<TokenId, (Payment, Vec<u8>)>,
    /// Released payments by life of the state.
    lives: BTreeMap<Instance, Vec<Payment>>,
    numbers: BTreeSet<u64>,
    /// Tokens that a state which nobody tampered with must still hold, by number.
    kept: BTreeMap<u64, Vec<u8>>,
}

impl Truth {
    /// The wallet shows the grant it holds.
    fn holds(&mut self, seq: u64) {
        let last = self.accepted.last_key_value().map(|(seq, counters)| (*seq, *counters));
        if last.is_some_and(|(last, _)| seq <= last) {
            return;
        }
        let grant = &self.grants[&seq];
        let counters = match (grant.reset, last) {
            (Directive::Keep, Some((_, before))) => before,
            (Directive::Add(amount), Some((_, (after, added)))) => (after, added + amount.minor()),
            _ => (grant.seen, 0),
        };
        let seen = grant.seen;
        self.kept.retain(|number, _| *number > seen);
        self.accepted.insert(seq, counters);
    }

    /// A token came out of the wallet, for the first time or again.
    fn released(&mut self, asked: &PaymentRequest, token: Vec<u8>, wall: UtcSeconds, anchored: bool) {
        let payment = Payment::verify(&token).unwrap().claims().clone();
        assert_eq!((payment.nonce, payment.amount, &payment.payee), (asked.nonce, asked.amount, &asked.payee));
        if let Some((_, before)) = self.released.get(&asked.nonce) {
            assert_eq!(before, &token, "one request, one payment");
            return;
        }
        let grant = &self.grants[&payment.seq];
        assert_eq!(grant.jti, payment.grant);
        let life = self.lives.entry(grant.wid).or_default();
        life.push(payment.clone());
        // Approved in an act that was cut off, a payment may come out after later ones.
        let until_now = || life.iter().filter(|p| p.number <= payment.number);

        let (after, added) = self.accepted[&payment.seq];
        let counted = || until_now().filter(|p| p.number > after);
        let spent = counted().map(|p| p.amount.minor()).sum::<u64>() + added;
        let seconds = payment.iat.0 - grant.iat.0;
        let point = grant.limit.points().iter().find(|(age, _)| i64::from(age.0) * 60 >= seconds);
        let limit = point.map_or(0, |(_, limit)| limit.minor());
        assert!(seconds >= 0 && spent <= limit, "{spent} of {limit} after {seconds} s");
        assert!(payment.spent.minor() >= spent, "a payee sees no less than was spent");
        assert!(grant.reset != Directive::Lock && payment.iat < grant.exp);
        assert!(counted().count() <= grant.cap.count.unwrap().stop as usize);
        assert!(payment.amount <= grant.cap.token.unwrap());
        let of_the_day = until_now().filter(|p| p.iat.0 > payment.iat.0 - 86_400);
        let day: u64 = of_the_day.map(|p| p.amount.minor()).sum();
        assert!(day <= grant.cap.h24.unwrap().minor(), "{day} in 24 hours");
        assert!(payment.iat.0 >= wall.0 && payment.iat.0 <= wall.0 + 300, "signed by a clock that can be believed");
        assert!(!grant.lottery.is_some_and(|l| l.selects(payment.number, payment.amount)));
        if anchored {
            assert!(self.numbers.insert(payment.number), "number {} used twice", payment.number);
        }

        self.kept.insert(payment.number, token.clone());
        self.released.insert(asked.nonce, (payment, token));
        let total: u64 = self.released.values().map(|(p, _)| p.amount.minor()).sum();
        assert!(total <= BALANCE, "{total} left an account of {BALANCE}");
    }
}

/// One wallet life as the issuer knows it.
#[derive(Clone, Copy, Default)]
struct Known {
    reported: u64,
    /// The most that this life can ever have spent under all the grants that were made for it.
    bound: u64,
    seen: u64,
    base: u64,
    limit: u64,
}

/// An issuer that grants what is left of the balance after everything that any life of the wallet may have spent.
#[derive(Default)]
struct Issuer {
    seq: u64,
    lives: BTreeMap<Instance, Known>,
    nonces: BTreeSet<TokenId>,
}

struct Report {
    wid: Instance,
    number: u64,
    outbox: Vec<(TokenId, u64)>,
}

impl Issuer {
    fn sync(&mut self, report: &Report, at: UtcSeconds, dice: &mut Dice) -> Grant {
        let new: u64 = report.outbox.iter().filter(|(nonce, _)| self.nonces.insert(*nonce)).map(|(_, m)| m).sum();
        let elsewhere: u64 = self
            .lives
            .iter()
            .filter(|(wid, _)| **wid != report.wid)
            .map(|(_, known)| known.bound.max(known.reported))
            .sum();
        let known = self.lives.entry(report.wid).or_default();
        // Payments that an older life made and this one carries on are in that one's bound already.
        known.reported += new;
        known.seen = known.seen.max(report.number);
        self.seq += 1;
        let left = BALANCE.saturating_sub(elsewhere + known.reported);
        let mut limit = left * (1 + dice.below(3)) / 8;
        let reset = match dice.below(12) {
            0 if known.limit > 0 => Directive::Keep,
            1 if known.limit > 0 => Directive::Add(money(dice.below(500))),
            2 => Directive::Lock,
            _ => Directive::Reset,
        };
        if matches!(reset, Directive::Keep | Directive::Add(_)) {
            limit = known.limit.min(limit);
        } else {
            known.base = known.reported;
        }
        known.limit = limit;
        known.bound = known.bound.max(known.base + limit);
        let mut grant = grant(report.wid, self.seq, limit);
        let hours = if dice.one_in(3) { 20 } else { 48 };
        (grant.iat, grant.exp, grant.seen, grant.reset) = (at, at.plus(hours * 3_600), known.seen, reset);
        let later = [(Age(60), limit), (Age::hours(24), limit * 3 / 4), (Age::hours(48), limit / 2)];
        grant.limit = Curve::new(later.map(|(age, limit)| (age, money(limit))).to_vec()).unwrap();
        grant.cap = Caps {
            token: Some(money(8_000)),
            h24: Some(money(25_000)),
            count: Some(Level { stop: 8, ask: Some(5) }),
            ..Caps::default()
        };
        grant.step_up = dice.one_in(3).then(|| StepUpAt { free_up_to: money(500), free_total: Some(money(1_500)) });
        grant.lottery = dice.one_in(4).then(|| Lottery {
            seed: id(dice.roll()),
            base: 50_000,
            full: 500_000,
            from: money(500),
            full_at: money(8_000),
        });
        grant
    }
}

/// What happened in all lives, so that a test that did nothing is not one that passed.
#[derive(Debug, Default)]
struct Tally {
    released: u64,
    repeated: u64,
    declined: BTreeMap<&'static str, u64>,
    step_ups: u64,
    grants: u64,
    grants_refused: u64,
    cuts: u64,
    faults: u64,
    tampered: u64,
    device_errors: u64,
}

struct Life {
    dice: Dice,
    truth: Truth,
    issuer: Issuer,
    tally: Tally,
    anchor: Counter,
    anchored: bool,
    /// True time; the device's clock is `skew` away from it.
    at: UtcSeconds,
    skew: i64,
    nonce: u64,
    last_request: Option<PaymentRequest>,
    reports: Vec<Report>,
    replies: Vec<Grant>,
    backup: Option<(Image, BTreeMap<u64, Vec<u8>>)>,
    boots: u8,
}

impl Life {
    fn wall(&self) -> UtcSeconds {
        self.at.plus(self.skew)
    }

    fn run(seed: u64) -> Tally {
        let anchor = Counter { absent: seed.is_multiple_of(5), ..Counter::default() };
        let mut life = Self {
            dice: Dice(seed),
            truth: Truth::default(),
            issuer: Issuer::default(),
            tally: Tally::default(),
            anchored: !anchor.absent,
            anchor,
            at: SYNC,
            skew: 0,
            nonce: 0,
            last_request: None,
            reports: Vec::new(),
            replies: Vec::new(),
            backup: None,
            boots: 0,
        };
        let mut image = Image::new();
        for _ in 0..4 + life.dice.below(5) {
            image = life.boot(image);
            image = life.tamper(image);
        }
        // The end: a last look at what must not have been lost.
        let disk = CrashDisk::of(image);
        let anchor = std::mem::take(&mut life.anchor);
        life.nothing_lost(&open_life(&disk, &anchor, 255));
        life.tally
    }

    /// From start to stop or power cut: the disk that is left.
    fn boot(&mut self, image: Image) -> Image {
        let anchor = std::mem::take(&mut self.anchor);
        self.boots += 1;
        let left = self.boot_with(image, &anchor);
        self.anchor = anchor;
        left
    }

    fn boot_with(&mut self, image: Image, anchor: &Counter) -> Image {
        let before = anchor.value.get();
        let disk = CrashDisk::of(image);
        let mut wallet = open_life(&disk, anchor, self.boots);
        if self.dice.one_in(8) {
            return self.cut(&disk, 0, before, anchor);
        }
        self.nothing_lost(&wallet);
        self.look(&mut wallet);
        if !self.dice.one_in(4) {
            // A device that is online when it starts.
            self.skew = 0;
            self.report(&wallet);
            self.look(&mut wallet);
            self.deliver(&mut wallet);
            self.look(&mut wallet);
        }
        for _ in 0..6 + self.dice.below(12) {
            if self.dice.one_in(12) {
                let fault = if self.dice.one_in(2) { Fault::Broken } else { Fault::Full };
                let from = disk.calls() + self.dice.below(6) as usize;
                disk.fail(from..from + 1 + self.dice.below(3) as usize, fault);
                self.tally.faults += 1;
            }
            self.act(&mut wallet);
            self.look(&mut wallet);
        }
        if !self.dice.one_in(3) {
            return disk.image();
        }
        // One more act, in the middle of which the power goes: nothing of its answer is known outside. What was done
        // before is on the disk for good, which is what the next boot will tell.
        drop(wallet);
        let disk = CrashDisk::of(disk.image());
        let mut wallet = open_life(&disk, anchor, self.boots);
        let (begun, before) = (disk.calls(), anchor.value.get());
        let wall = self.wall();
        if self.dice.one_in(3)
            && let Some(grant) = self.pick_reply()
        {
            // Whether it was accepted shows at the next boot, when it is delivered again.
            let _cut_off = wallet.accept(&sign(&grant), wall);
            self.replies.push(grant);
        } else {
            let request = self.request();
            let _cut_off = wallet.authorise(&request, wall, Presence::Proved, None, Form::Cwt);
            self.last_request = Some(request);
        }
        self.cut(&disk, begun, before, anchor)
    }

    /// A disk as a power cut after call `begun` can leave it. The counter is raised after the last of the calls.
    fn cut(&mut self, disk: &CrashDisk, begun: usize, before: u64, anchor: &Counter) -> Image {
        let crashes = disk.crashes();
        let possible: Vec<_> = crashes.iter().filter(|crash| crash.after >= begun).collect();
        let crash = possible[self.dice.below(possible.len() as u64) as usize];
        if crash.after < disk.calls() || self.dice.one_in(2) {
            anchor.value.set(before);
        }
        self.tally.cuts += 1;
        crash.image.clone()
    }

    /// Somebody else's hands on the files.
    fn tamper(&mut self, image: Image) -> Image {
        let mut image = image;
        let before = self.tally.tampered;
        match self.dice.below(24) {
            0 => self.backup = Some((image.clone(), self.truth.kept.clone())),
            1 | 2 if self.anchored && self.backup.is_some() => {
                let (old, kept) = self.backup.clone().unwrap();
                if old.get("wallet") != image.get("wallet") {
                    self.tally.tampered += 1;
                    // What the backup does not hold is gone, and what it holds stays.
                    self.truth.kept.retain(|number, _| kept.contains_key(number));
                }
                image = old;
            }
            3 => {
                if image.remove("wallet").is_some() {
                    self.tally.tampered += 1;
                }
                self.truth.kept.clear();
            }
            4 if image.contains_key("wallet") => {
                let mut bytes = image["wallet"].to_vec();
                let at = self.dice.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.dice.below(8);
                image.insert("wallet".into(), bytes.into());
                self.truth.kept.clear();
                self.tally.tampered += 1;
            }
            _ => {}
        }
        if self.tally.tampered > before {
            // A state that forgot a request answers it again; payees and issuer know it by its nonce.
            self.last_request = None;
        }
        image
    }

    /// Takes note of the grant the wallet holds, once its state is known to be on the disk.
    fn look(&mut self, wallet: &mut TestWallet<'_>) {
        if wallet.limit(self.wall(), None).is_ok()
            && let Some(grant) = wallet.grant()
        {
            self.truth.holds(grant.seq);
        }
    }

    fn nothing_lost(&self, wallet: &TestWallet<'_>) {
        let seen = wallet.status().seen;
        for (number, token) in &self.truth.kept {
            let held = wallet.outbox().any(|paid| paid.number == *number && paid.token == *token);
            assert!(held || *number <= seen, "payment {number} is lost");
        }
    }

    fn act(&mut self, wallet: &mut TestWallet<'_>) {
        match self.dice.below(20) {
            0..=9 => self.pay(wallet),
            10 => self.report(wallet),
            11 => self.answer_a_report(),
            12..=15 => self.deliver(wallet),
            16 | 17 => self.at = self.at.plus(self.dice.below(6 * 3_600) as i64),
            18 => self.at = self.at.plus(self.dice.below(30 * 3_600) as i64),
            _ => self.skew = [0, 200, -200, 3_600, -3_600, 90_000][self.dice.below(6) as usize],
        }
    }

    /// Reports; some reports are answered later, or again, or never.
    fn report(&mut self, wallet: &TestWallet<'_>) {
        let status = wallet.status();
        let outbox = wallet.outbox().map(|p| (p.nonce, p.amount.minor())).collect();
        self.reports.push(Report { wid: status.wid, number: status.number, outbox });
        self.answer_a_report();
    }

    fn answer_a_report(&mut self) {
        if self.reports.is_empty() {
            return;
        }
        let newest = self.reports.len() - 1;
        let which = if self.dice.one_in(3) { self.dice.below(newest as u64 + 1) as usize } else { newest };
        let grant = self.issuer.sync(&self.reports[which], self.at, &mut self.dice);
        if self.dice.one_in(4) {
            self.reports.clear();
        }
        self.truth.grants.insert(grant.seq, grant.clone());
        if !self.dice.one_in(8) {
            self.replies.push(grant);
        }
    }

    fn pick_reply(&mut self) -> Option<Grant> {
        let n = self.replies.len() as u64;
        let which = self.dice.below(n.max(1)) as usize;
        let which = if self.dice.one_in(2) { n.saturating_sub(1) as usize } else { which };
        self.replies.get(which).cloned()
    }

    fn deliver(&mut self, wallet: &mut TestWallet<'_>) {
        let Some(grant) = self.pick_reply() else { return };
        match wallet.accept(&sign(&grant), self.wall()) {
            Ok(Accepted::New) => self.tally.grants += 1,
            // It was accepted in an act whose answer got lost.
            Ok(Accepted::Already) => {}
            Err(WalletError::Grant(_)) => self.tally.grants_refused += 1,
            Err(_) => self.tally.device_errors += 1,
        }
    }

    fn request(&mut self) -> PaymentRequest {
        match &self.last_request {
            Some(last) if self.dice.one_in(6) => last.clone(),
            _ => {
                self.nonce += 1;
                let amount = if self.dice.one_in(2) { 1 + self.dice.below(600) } else { 1 + self.dice.below(9_000) };
                request(self.nonce, amount, self.wall())
            }
        }
    }

    fn pay(&mut self, wallet: &mut TestWallet<'_>) {
        let asked = self.request();
        let presence = if self.dice.one_in(2) { Presence::Proved } else { Presence::Unproved };
        let form = if self.dice.one_in(6) { Form::Jws } else { Form::Cwt };
        let wall = self.wall();
        match wallet.authorise(&asked, wall, presence, None, form) {
            Ok(Decision::Approve { token, repeated, .. }) => {
                self.look(wallet);
                let known = self.truth.released.contains_key(&asked.nonce);
                assert!(repeated || !known);
                if repeated && !known {
                    // Approved in an act that was cut off; it comes out only now, and was judged at its own time.
                    let at = Payment::verify(&token).unwrap().iat;
                    self.truth.released(&asked, token, at, self.anchored);
                } else {
                    self.truth.released(&asked, token, wall, self.anchored);
                }
                if repeated { self.tally.repeated += 1 } else { self.tally.released += 1 }
            }
            Ok(Decision::StepUp { .. }) => {
                assert_eq!(presence, Presence::Unproved);
                self.tally.step_ups += 1;
            }
            Ok(Decision::Decline { bound, .. }) => *self.tally.declined.entry(bound.name()).or_default() += 1,
            Err(WalletError::Request(_)) => {}
            Err(_) => self.tally.device_errors += 1,
        }
        self.last_request = Some(asked);
    }
}

fn open_life<'a>(disk: &'a CrashDisk, anchor: &'a Counter, boot: u8) -> TestWallet<'a> {
    plimsoll_edge::Wallet::open(disk, anchor, device_key(), identity(), keys(), [boot; 16]).unwrap()
}

#[test]
fn ten_thousand_lives_never_spend_above_the_grant_and_never_lose_an_approved_payment() {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut all = Tally::default();
    std::thread::scope(|scope| {
        let share = |first| move || (first..LIVES).step_by(threads as usize).map(named).collect::<Vec<_>>();
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(share(first))).collect();
        for tally in workers.into_iter().flat_map(|worker| worker.join().unwrap()) {
            all.add(&tally);
        }
    });
    // Each of these happened often enough to mean something.
    for (what, count, least) in [
        ("released", all.released, 50_000),
        ("repeated", all.repeated, 2_000),
        ("step-ups", all.step_ups, 500),
        ("grants", all.grants, 20_000),
        ("grants refused", all.grants_refused, 5_000),
        ("power cuts", all.cuts, 10_000),
        ("faults", all.faults, 10_000),
        ("device errors", all.device_errors, 5_000),
        ("tampered", all.tampered, 3_000),
    ] {
        assert!(count >= least, "{what}: only {count}");
    }
    assert_eq!(
        all.declined.get(Bound::Sequence.name()),
        None,
        "the issuer is told only of payments that were approved"
    );
    for bound in [
        Bound::Pending,
        Bound::Model,
        Bound::Rolling24h,
        Bound::PerPayment,
        Bound::Count,
        Bound::Lottery,
        Bound::Clock,
        Bound::State,
        Bound::Locked,
        Bound::GrantExpired,
        Bound::GrantMissing,
    ] {
        let count = all.declined.get(bound.name()).copied().unwrap_or(0);
        assert!(count >= 100, "declined by {}: only {count}", bound.name());
    }
}

/// A life whose seed is named when it ends badly.
fn named(seed: u64) -> Tally {
    struct Name(u64);
    impl Drop for Name {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this was life {}", self.0);
            }
        }
    }
    let _name = Name(seed);
    Life::run(seed)
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.released += other.released;
        self.repeated += other.repeated;
        self.step_ups += other.step_ups;
        self.grants += other.grants;
        self.grants_refused += other.grants_refused;
        self.cuts += other.cuts;
        self.faults += other.faults;
        self.tampered += other.tampered;
        self.device_errors += other.device_errors;
        for (bound, count) in &other.declined {
            *self.declined.entry(bound).or_default() += count;
        }
    }
}
