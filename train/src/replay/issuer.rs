//! The issuer: signs grants, and judges the payments made under them. What `plimsoll-serve` does with a database, for one
//! account in memory, by the same rules: a payment its grant covers settles whole, beyond the grant nothing settles, and
//! what other live grants may still turn into payments is not granted again.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use plimsoll_edge::Evaluator;
use plimsoll_model::decision::Situation;
use plimsoll_model::features::FeatureVector;
use plimsoll_model::grant::{
    Bytes, CLOCK_SLACK_S, COUNT_MAX, Form, Grant, Instance, IssuerKeys, Model, Payment, Signer as _, Terms, Thumbprint,
    TokenId, Verified, issue,
};
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::{DAY, weekday};
use plimsoll_model::{Money, Tier, UtcSeconds};

use super::ReplayError;
use super::config::Bears;
use super::draw::Draw;

/// The issuer's name in grants.
const ISSUER: &str = "replay";
/// The name of its key.
const KID: &str = "replay-1";
/// Share of amount, count and age after which a wallet asks for a sync: 80 %.
const ASK_AT: u32 = 800_000;
/// How long settled payments are remembered for windows: the longest is a week.
const SPENT_DAYS: i64 = 8;

/// What is the same for every account.
pub(super) struct House<'a> {
    pub(super) evaluator: &'a Evaluator,
    pub(super) keys: IssuerKeys,
    pub(super) bears: Bears,
    signing: SigningKey,
    policy_sha256: Bytes<32>,
}

impl<'a> House<'a> {
    pub(super) fn new(evaluator: &'a Evaluator, bears: Bears, draw: Draw) -> Self {
        use sha2::Digest as _;
        let signing = SigningKey::from_bytes(&draw.bytes());
        let keys = IssuerKeys::new(ISSUER, [(KID.to_owned(), signing.public())]).expect("one key");
        let policy_sha256 = Bytes(sha2::Sha256::digest(evaluator.policy().to_json()).into());
        Self { evaluator, keys, bears, signing, policy_sha256 }
    }
}

/// What the issuer keeps of one account.
#[derive(Debug)]
pub(super) struct Record {
    name: String,
    tier: Tier,
    devices: Vec<Enrolled>,
    grants: BTreeMap<TokenId, (Grant, Money)>,
    judged: BTreeMap<TokenId, (Payment, Settled)>,
    /// Settled, by signing time.
    spent: Vec<(UtcSeconds, Money)>,
    /// Payments whose number had been used: two copies of one wallet.
    pub(super) numbers_reused: u32,
}

/// One device of the account.
#[derive(Debug)]
struct Enrolled {
    jkt: Thumbprint,
    wid: Option<Instance>,
    seq: u64,
    life_seq: u64,
    seen: u64,
    ahead: BTreeSet<u64>,
    /// Grants that may still turn into payments: name, until when, how much was granted.
    live: Vec<(TokenId, UtcSeconds, Money)>,
}

/// What a settled payment moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// To the payee.
    pub(super) credited: Money,
    /// From the payer's balance.
    pub(super) debited: Money,
    /// By the issuer.
    pub(super) overdraft: Money,
}

/// Why a payment does not settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsettled {
    UnknownKey,
    UnknownGrant,
    NonceReused,
    /// It was settled before: the same answer, no second time.
    Again,
    FutureDated,
    OutsideGrant,
    Expired,
    OverTokenCap,
    OverGrant,
    InsufficientFunds,
}

impl Unsettled {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::UnknownKey => "issuer: unknown key",
            Self::UnknownGrant => "issuer: unknown grant",
            Self::NonceReused => "issuer: nonce reused",
            Self::Again => "issuer: settled before",
            Self::FutureDated => "issuer: future-dated",
            Self::OutsideGrant => "issuer: outside the grant's time",
            Self::Expired => "issuer: payment expired",
            Self::OverTokenCap => "issuer: over the payment cap",
            Self::OverGrant => "issuer: over the grant",
            Self::InsufficientFunds => "issuer: balance does not cover it",
        }
    }
}

impl Record {
    pub(super) fn new(name: String, tier: Tier) -> Self {
        Self {
            name,
            tier,
            devices: Vec::new(),
            grants: BTreeMap::new(),
            judged: BTreeMap::new(),
            spent: Vec::new(),
            numbers_reused: 0,
        }
    }

    /// Enrols a device; it is not new any more when the replay begins.
    pub(super) fn enrol(&mut self, jkt: Thumbprint) {
        let (live, ahead) = (Vec::new(), BTreeSet::new());
        self.devices.push(Enrolled { jkt, wid: None, seq: 0, life_seq: 0, seen: 0, ahead, live });
    }

    /// What grants of other devices, and of a lost life of this one, may still turn into payments.
    fn pending(&self, jkt: Thumbprint, now: UtcSeconds) -> Money {
        let mut pending = Money::ZERO;
        for device in &self.devices {
            // The newest grant of this device's own present life is what the next one takes the place of: its payments
            // are in the wallet's counters.
            let own = if device.jkt == jkt { device.live.last().map(|l| l.0) } else { None };
            for (jti, _, limit) in device.live.iter().filter(|l| Some(l.0) != own && l.1 > now) {
                let settled = self.grants.get(jti).map_or(Money::ZERO, |g| g.1);
                pending = pending.saturating_add(limit.saturating_sub(settled));
            }
        }
        pending
    }

    /// A device comes back, its payments judged already: the next grant, signed, and what counted as pending.
    #[allow(clippy::too_many_arguments)] // what a service reads from its records at a sync
    pub(super) fn sync(
        &mut self,
        house: &House<'_>,
        jkt: Thumbprint,
        wid: Instance,
        balance: Money,
        features: &FeatureVector,
        lifetime_tx: u64,
        now: UtcSeconds,
        jti: TokenId,
    ) -> Result<(Vec<u8>, Money), ReplayError> {
        self.spent.retain(|s| now.since(s.0) < SPENT_DAYS * DAY);
        let place = self.devices.iter().position(|d| d.jkt == jkt).expect("devices are enrolled before they sync");
        let device = &mut self.devices[place];
        let lost = device.wid.is_some_and(|before| before != wid);
        if device.wid != Some(wid) {
            // Numbers begin beyond any that a lost life can have used.
            if lost {
                device.seen += u64::from(COUNT_MAX);
                device.ahead.clear();
            }
            device.wid = Some(wid);
            device.life_seq = device.seq + 1;
        }
        let mut pending = self.pending(jkt, now);
        if lost && let Some((jti, _, limit)) = self.devices[place].live.last().copied().filter(|l| l.1 > now) {
            let settled = self.grants.get(&jti).map_or(Money::ZERO, |g| g.1);
            pending = pending.saturating_add(limit.saturating_sub(settled));
        }
        let policy = house.evaluator.policy();
        let [spent_24h, spent_day, spent_week] = self.windows(house, now);
        let situation = Situation {
            pending,
            spent_24h,
            spent_day,
            spent_week,
            ..Situation::fresh(balance, self.tier, now, lifetime_tx)
        };
        let curve = house.evaluator.curve(features, &situation);
        let device = &mut self.devices[place];
        let mut terms = Terms::new(ISSUER, self.name.as_str(), jti, device.seq + 1, jkt, wid);
        terms.seen = device.seen;
        terms.ask_at = Ppm::new(ASK_AT).ok();
        terms.features = Some(features.clone());
        terms.model = Some(Model { v: house.evaluator.manifest().model_version, d: house.evaluator.digest() });
        terms.policy_sha256 = Some(house.policy_sha256);
        // An attested device: the replay has no other.
        let grant = issue(policy, &curve, &situation, &terms).map_err(|e| ReplayError::broken(&self.name, now, &e))?;
        device.seq = grant.seq;
        let limit = grant.limit.points().first().map_or(Money::ZERO, |p| p.1);
        // A lost life's grant stays until it cannot settle; one that the wallet replaced is in its counters.
        let replaced = if lost { None } else { device.live.last().map(|l| l.0) };
        device.live.retain(|l| l.1 > now && Some(l.0) != replaced);
        device.live.push((jti, grant.exp.plus(i64::from(grant.payment_valid_s)), limit));
        let bytes = grant.sign(Form::Cwt, KID, &house.signing).expect("a key in memory signs");
        self.grants.insert(jti, (grant, Money::ZERO));
        Ok((bytes, pending))
    }

    /// Judges a payment.
    ///
    /// * `funds`: what the balance holds.
    pub(super) fn judge(
        &mut self,
        house: &House<'_>,
        payment: &Verified<Payment>,
        funds: Money,
        now: UtcSeconds,
    ) -> Result<Settled, Unsettled> {
        if let Some((before, _)) = self.judged.get(&payment.nonce) {
            return Err(if before == payment.claims() { Unsettled::Again } else { Unsettled::NonceReused });
        }
        let jkt = payment.key().thumbprint();
        let device = self.devices.iter_mut().find(|d| d.jkt == jkt).ok_or(Unsettled::UnknownKey)?;
        let (grant, settled) = self.grants.get(&payment.grant).ok_or(Unsettled::UnknownGrant)?;
        if grant.cnf.jkt != jkt || grant.seq != payment.seq || grant.cur != payment.currency {
            return Err(Unsettled::UnknownGrant);
        }
        if payment.iat > now.plus(CLOCK_SLACK_S) {
            return Err(Unsettled::FutureDated);
        }
        // Whatever becomes of it, its number has come in: else its wallet would keep it, and in the end be full.
        let reused =
            payment.seq >= device.life_seq && (payment.number <= device.seen || !device.ahead.insert(payment.number));
        while device.ahead.remove(&(device.seen + 1)) {
            device.seen += 1;
        }
        self.numbers_reused += u32::from(reused);
        if payment.iat < grant.not_before() || payment.iat >= grant.exp {
            return Err(Unsettled::OutsideGrant);
        }
        let valid = payment.exp.since(payment.iat);
        if valid > i64::from(grant.payment_valid_s) || now > payment.exp.plus(CLOCK_SLACK_S) {
            return Err(Unsettled::Expired);
        }
        if grant.cap.token.is_some_and(|cap| payment.amount > cap) {
            return Err(Unsettled::OverTokenCap);
        }
        let covered = self.covered(house, grant, *settled, payment.iat);
        let partial = house.evaluator.policy().ceiling.as_ref().is_some_and(|c| c.partial_settlement);
        let most = match house.bears {
            Bears::Issuer => covered,
            Bears::Payee => covered.min(funds),
        };
        let credited = match most {
            whole if whole >= payment.amount => payment.amount,
            part if partial => part,
            _ if covered >= payment.amount => return Err(Unsettled::InsufficientFunds),
            _ => return Err(Unsettled::OverGrant),
        };
        let overdraft = credited.saturating_sub(funds);
        let outcome = Settled { credited, debited: credited.saturating_sub(overdraft), overdraft };
        let place = self.spent.partition_point(|s| s.0 <= payment.iat);
        self.spent.insert(place, (payment.iat, credited));
        if let Some((_, settled)) = self.grants.get_mut(&payment.grant) {
            *settled = settled.saturating_add(credited);
        }
        self.judged.insert(payment.nonce, (payment.claims().clone(), outcome));
        Ok(outcome)
    }

    /// How much of a payment signed at `at` its grant still covers: the ceiling then less what settled under it, and every
    /// 24 hours, day and week the payment would be in.
    fn covered(&self, house: &House<'_>, grant: &Grant, settled: Money, at: UtcSeconds) -> Money {
        let mut room = grant.ceiling(at).amount().saturating_sub(settled);
        if let Some(cap) = grant.cap.h24 {
            let ends = self.spent.iter().map(|s| s.0).filter(|end| (0..DAY).contains(&end.since(at)));
            for end in ends.chain([at]) {
                room = room.min(cap.saturating_sub(self.windows(house, end)[0]));
            }
        }
        let clock = house.evaluator.policy().utc_offset_min;
        let day = clock.day(at);
        let sunday = day + 6 - i64::from(weekday(day));
        let of_day = self.windows(house, clock.midnight(day + 1).plus(-1))[1];
        let of_week = self.windows(house, clock.midnight(sunday + 1).plus(-1))[2];
        for (cap, spent) in [(grant.cap.day, of_day), (grant.cap.week, of_week)] {
            if let Some(cap) = cap {
                room = room.min(cap.saturating_sub(spent));
            }
        }
        room
    }

    /// Settled in the 24 hours, the calendar day and the calendar week up to `at`, by signing time.
    fn windows(&self, house: &House<'_>, at: UtcSeconds) -> [Money; 3] {
        let clock = house.evaluator.policy().utc_offset_min;
        let today = clock.day(at);
        let monday = today - i64::from(weekday(today));
        [at.plus(-DAY), clock.midnight(today).plus(-1), clock.midnight(monday).plus(-1)].map(|from| {
            let within = self.spent.iter().filter(|s| s.0 > from && s.0 <= at);
            within.fold(Money::ZERO, |sum, s| sum.saturating_add(s.1))
        })
    }

    /// Everything that ever moved, for the books: credited, debited, paid by the issuer.
    pub(super) fn moved(&self) -> [u64; 3] {
        self.judged
            .values()
            .fold([0; 3], |[c, d, o], (_, s)| [c + s.credited.minor(), d + s.debited.minor(), o + s.overdraft.minor()])
    }

    /// Settled under a grant, and the most that it could cover: counted again from the payments themselves.
    pub(super) fn of_grants(&self) -> impl Iterator<Item = (Money, Money)> {
        self.grants.iter().map(|(jti, (grant, _))| {
            let under = self.judged.values().filter(|(payment, _)| payment.grant == *jti);
            let settled = under.fold(Money::ZERO, |sum, (_, s)| sum.saturating_add(s.credited));
            (settled, grant.ceiling(grant.iat).amount())
        })
    }
}
