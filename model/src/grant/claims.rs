//! The claims of a grant.

use serde::{Deserialize, Serialize};

use super::id::{Bytes, Instance, TokenId};
use super::key::{IssuerKeys, SignError, Signer, Thumbprint};
use super::lottery::Lottery;
use super::refuse::RefuseToken;
use super::token::{Claims, Form, Kid, Verified, sign, verify};
use super::{COUNT_MAX, CURVE_MAX, claims_cbor, frame};
use crate::decision::{Bound, certified_age};
use crate::features::{FEATURE_COUNT, FeatureVector};
use crate::money::{Currency, Money};
use crate::time::{Age, DAY, UtcOffset, UtcSeconds};
use crate::transaction::Tier;

/// Hours a payment is valid when a grant does not say, in seconds.
pub(super) const PAYMENT_VALID_S: u32 = 72 * 3_600;
/// Seconds a payment request is valid when a grant does not say.
pub(super) const REQUEST_VALID_S: u32 = 300;
/// Integers above this are not exact in every JSON reader.
pub(super) const JSON_INTEGER_MAX: u64 = 1 << 53;
/// Days from a sync to a grant's end, at most: longer windows are not certified.
const GRANT_DAYS_MAX: i64 = 8;

/// A limit with caps, for one account and one device key. What is default is left out of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who signed: the name its [`IssuerKeys`] are kept under.
    pub iss: String,
    /// For which programme.
    pub aud: String,
    /// For which account.
    pub sub: String,
    /// Its own name.
    pub jti: TokenId,
    /// The sync it was made at: ages count from here.
    pub iat: UtcSeconds,
    /// Not to be used before; the sync when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<UtcSeconds>,
    /// Nothing may be signed under it at or after this instant.
    pub exp: UtcSeconds,
    /// Rises strictly per wallet.
    pub seq: u64,
    /// Whose payments it covers: RFC 7800, with the device key's thumbprint.
    pub cnf: Cnf,
    /// For which life of the wallet's state: see [`Instance`].
    pub wid: Instance,
    /// The last payment number the issuer has counted: settled into the balance, or carried. What the wallet paid
    /// after it counts against this grant.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seen: u64,
    /// KYC tier on the issuer's record.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tier: Tier,
    /// What every amount counts in.
    pub cur: Currency,
    /// Balance at the sync.
    pub bal: Money,
    /// Offline payments counted by the issuer that have not settled; `limit` is net of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub carried: Money,
    /// What may be spent in total from this sync, by age.
    pub limit: Curve,
    /// Which rule had the last word on the curve.
    #[serde(default = "model", skip_serializing_if = "is_model")]
    pub why: Bound,
    /// Caps, which no computation may exceed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cap: Caps,
    /// When the holder must prove presence; never when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUpAt>,
    /// Cap of an account in reduced or suspended standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Money>,
    /// Cap of a device enrolled since the last sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_device: Option<Money>,
    /// What was loaded by hand, where the programme does not score so young a history: the model may not be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manual: Option<Money>,
    /// The device's attestation holds until then; not asked for when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested_until: Option<UtcSeconds>,
    /// Which payments need a sync first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lottery: Option<Lottery>,
    /// What becomes of the wallet's counters.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reset: Directive,
    /// The clock that calendar days and weeks follow.
    #[serde(default, skip_serializing_if = "is_default")]
    pub utc_offset_min: UtcOffset,
    /// Seconds from signing during which a payment may settle; 72 h when not given.
    #[serde(default = "payment_valid", skip_serializing_if = "is_payment_valid")]
    pub payment_valid_s: u32,
    /// Seconds a payment request is valid; 300 when not given.
    #[serde(default = "request_valid", skip_serializing_if = "is_request_valid")]
    pub request_valid_s: u32,
    /// The account's tier may not be paid offline.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_receive: bool,
    /// The model the limit was computed by, which the device should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mdl: Option<Model>,
    /// SHA-256 of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pol: Option<Bytes<32>>,
    /// The bits of the features at the sync, little-endian, for devices that keep no history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feat: Option<Bytes<{ 4 * FEATURE_COUNT }>>,
}

/// RFC 7800 confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cnf {
    /// RFC 7638 thumbprint of the device's Ed25519 key.
    pub jkt: Thumbprint,
}

/// Caps of one grant. A cap that is not given does not bind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Of a single payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Money>,
    /// Of any 24 hours, by signing time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub h24: Option<Money>,
    /// Of a calendar day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<Money>,
    /// Of a calendar week, Monday first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub week: Option<Money>,
    /// Of everything under the grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Level<Money>>,
    /// Of the number of payments under the grant; [`COUNT_MAX`] when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Level<u32>>,
    /// Of the minutes since the sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Level<Age>>,
}

/// A cap of two levels, as EMV's lower and upper consecutive offline limits: past `ask` the holder is asked to sync,
/// past `stop` nothing goes. Written `[stop]` or `[stop, ask]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "Vec<T>",
    into = "Vec<T>",
    bound(serialize = "T: Copy + Serialize", deserialize = "T: Copy + Ord + Deserialize<'de>")
)]
pub struct Level<T> {
    /// Upper: declines.
    pub stop: T,
    /// Lower: asks for a sync.
    pub ask: Option<T>,
}

impl<T: Copy + Ord> TryFrom<Vec<T>> for Level<T> {
    type Error = &'static str;
    fn try_from(levels: Vec<T>) -> Result<Self, &'static str> {
        match levels[..] {
            [stop] => Ok(Self { stop, ask: None }),
            [stop, ask] if ask <= stop => Ok(Self { stop, ask: Some(ask) }),
            _ => Err("a cap is [stop] or [stop, ask] with ask <= stop"),
        }
    }
}

impl<T: Copy> From<Level<T>> for Vec<T> {
    fn from(level: Level<T>) -> Self {
        [Some(level.stop), level.ask].into_iter().flatten().collect()
    }
}

/// When the holder must prove presence: above an amount, and when the payments made without a proof add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepUpAt {
    /// No proof at or below this amount.
    pub free_up_to: Money,
    /// Sum of executed payments without proof, above which one is asked for anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_total: Option<Money>,
}

/// A model, by version and digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its version.
    pub v: u64,
    /// SHA-256 of its file.
    pub d: Bytes<32>,
}

/// What becomes of the wallet's counters when it accepts a grant: the four of EMV's card status update, bound to the
/// grant's `seq`, so that none is applied twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Directive {
    /// Start again at zero. Payments the issuer has not seen still count.
    #[default]
    Reset,
    /// Go on counting from where they stand.
    Keep,
    /// Set to their upper limits: nothing more under this grant.
    Lock,
    /// Go on counting, and add an amount that was spent elsewhere.
    Add(Money),
}

/// What may be spent in total from a sync, by age. Ages rise, limits do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(Age, Money)>", into = "Vec<(Age, Money)>")]
pub struct Curve(Vec<(Age, Money)>);

impl Curve {
    /// A curve of 1 to [`CURVE_MAX`] points.
    ///
    /// # Errors
    /// `Claim` naming `limit` when ages do not rise or limits do.
    pub fn new(points: Vec<(Age, Money)>) -> Result<Self, RefuseToken> {
        let wrong = |why| Err(RefuseToken::claim("limit", why));
        if points.is_empty() || points.len() > CURVE_MAX {
            return wrong("a curve has 1 to 16 points");
        }
        if !points.is_sorted_by(|a, b| a.0 < b.0) {
            return wrong("ages must rise");
        }
        if !points.is_sorted_by(|a, b| a.1 >= b.1) {
            return wrong("a limit may not rise with age");
        }
        Ok(Self(points))
    }

    /// Its points.
    pub fn points(&self) -> &[(Age, Money)] {
        &self.0
    }

    /// The limit at `now` of a sync at `sync`, ages rounded up; zero past the last point and before the sync.
    pub fn at(&self, sync: UtcSeconds, now: UtcSeconds) -> Option<(Age, Money)> {
        let ages: [Age; CURVE_MAX] = std::array::from_fn(|i| self.0.get(i).map_or(Age(0), |p| p.0));
        let age = certified_age(&ages[..self.0.len()], sync, now)?;
        self.0.iter().copied().find(|p| p.0 == age)
    }
}

impl TryFrom<Vec<(Age, Money)>> for Curve {
    type Error = RefuseToken;
    fn try_from(points: Vec<(Age, Money)>) -> Result<Self, RefuseToken> {
        Self::new(points)
    }
}

impl From<Curve> for Vec<(Age, Money)> {
    fn from(curve: Curve) -> Self {
        curve.0
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn model() -> Bound {
    Bound::Model
}

fn is_model(bound: &Bound) -> bool {
    *bound == Bound::Model
}

const fn payment_valid() -> u32 {
    PAYMENT_VALID_S
}

fn is_payment_valid(seconds: &u32) -> bool {
    *seconds == PAYMENT_VALID_S
}

const fn request_valid() -> u32 {
    REQUEST_VALID_S
}

fn is_request_valid(seconds: &u32) -> bool {
    *seconds == REQUEST_VALID_S
}

impl Grant {
    /// A grant with nothing in it but who, when and how much; everything else as when left out of the bytes.
    #[allow(clippy::too_many_arguments)] // the claims without a default, in the order of the struct
    pub const fn plain(
        iss: String,
        aud: String,
        sub: String,
        jti: TokenId,
        (iat, exp): (UtcSeconds, UtcSeconds),
        seq: u64,
        jkt: Thumbprint,
        wid: Instance,
        cur: Currency,
        bal: Money,
        limit: Curve,
    ) -> Self {
        Self {
            iss,
            aud,
            sub,
            jti,
            iat,
            nbf: None,
            exp,
            seq,
            cnf: Cnf { jkt },
            wid,
            seen: 0,
            tier: match Tier::new(0) {
                Ok(tier) => tier,
                Err(_) => unreachable!(),
            },
            cur,
            bal,
            carried: Money::ZERO,
            limit,
            why: Bound::Model,
            cap: Caps { token: None, h24: None, day: None, week: None, total: None, count: None, age: None },
            step_up: None,
            standing: None,
            new_device: None,
            manual: None,
            attested_until: None,
            lottery: None,
            reset: Directive::Reset,
            utc_offset_min: UtcOffset(0),
            payment_valid_s: PAYMENT_VALID_S,
            request_valid_s: REQUEST_VALID_S,
            no_receive: false,
            mdl: None,
            pol: None,
            feat: None,
        }
    }

    /// Verifies the signature of a grant by one of the issuer's keys, then reads it. Time, account and device are
    /// judged where it is used.
    ///
    /// # Errors
    /// [`RefuseToken`]; nothing of the bytes was used.
    pub fn verify(bytes: &[u8], keys: &IssuerKeys) -> Result<Verified<Self>, RefuseToken> {
        let key_of = |_, kid: &[u8]| {
            let kid = std::str::from_utf8(kid).unwrap_or_default();
            keys.get(kid).cloned().ok_or_else(|| RefuseToken::UnknownKey { kid: kid.chars().take(64).collect() })
        };
        let grant = verify::<Self>(bytes, key_of)?;
        if grant.iss != keys.issuer() {
            return Err(RefuseToken::Issuer { expected: keys.issuer().to_owned(), found: grant.iss.clone() });
        }
        Ok(grant)
    }

    /// Signs the grant with the issuer's key `kid`.
    ///
    /// # Errors
    /// [`SignError`] of the key.
    ///
    /// # Panics
    /// When the claims contradict themselves: an issuer checks with [`Grant::check`] what it did not make by
    /// [`super::issue`].
    pub fn sign(&self, form: Form, kid: &str, signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
        assert_eq!(self.check(), Ok(()), "an issuer signs only what a device accepts");
        sign(self, form, &Kid::Name(kid), signer)
    }

    /// Whether the claims make sense together.
    ///
    /// # Errors
    /// `Claim` names the first that does not.
    pub fn check(&self) -> Result<(), RefuseToken> {
        <Self as Claims>::check(self)
    }

    /// When it may first be used.
    pub fn not_before(&self) -> UtcSeconds {
        self.nbf.unwrap_or(self.iat)
    }

    /// The most that may be spent in total at `now`, by curve, caps and standing, whatever was spent; and the rule that
    /// says so. This is what a payee can check from the grant alone.
    pub fn ceiling(&self, now: UtcSeconds) -> crate::decision::Limit {
        let mut limit = crate::decision::Limit::of_balance(self.bal);
        match self.limit.at(self.iat, now) {
            Some((_, amount)) => limit = limit.capped(amount, self.why),
            None => limit = limit.capped(Money::ZERO, Bound::Age),
        }
        if let Some(age) = &self.cap.age
            && Age::between(self.iat, now).is_none_or(|a| a > age.stop)
        {
            limit = limit.capped(Money::ZERO, Bound::Age);
        }
        for (cap, bound) in [
            (self.manual, Bound::ManualWallet),
            (self.new_device, Bound::NewDevice),
            (self.standing, Bound::Standing),
            (self.cap.total.map(|t| t.stop), Bound::TierCap),
        ] {
            if let Some(cap) = cap {
                limit = limit.capped(cap, bound);
            }
        }
        if self.attested_until.is_some_and(|until| now > until) {
            limit = limit.capped(Money::ZERO, Bound::Attestation);
        }
        if self.reset == Directive::Lock {
            limit = limit.capped(Money::ZERO, Bound::Locked);
        }
        if now >= self.exp || now < self.not_before() {
            limit = limit.capped(Money::ZERO, Bound::GrantExpired);
        }
        limit
    }

    /// The most payments under it.
    pub fn count_max(&self) -> u32 {
        self.cap.count.map_or(COUNT_MAX, |c| c.stop.min(COUNT_MAX))
    }

    /// The features at the sync, when it carries them.
    pub fn features(&self) -> Option<FeatureVector> {
        let bytes = self.feat?.0;
        Some(FeatureVector(std::array::from_fn(|i| f32::from_le_bytes(std::array::from_fn(|b| bytes[4 * i + b])))))
    }

    /// Puts features into it.
    pub fn set_features(&mut self, features: &FeatureVector) {
        let mut bytes = [0; 4 * FEATURE_COUNT];
        for (place, value) in bytes.chunks_exact_mut(4).zip(features.0) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        self.feat = Some(Bytes(bytes));
    }
}

impl Claims for Grant {
    const KIND: frame::Kind = frame::Kind { jws: "limit-grant+jwt", cwt: "limit-grant+cwt" };

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a grant holds only integers, text and lists")
    }

    fn from_json(bytes: &[u8]) -> Result<Self, RefuseToken> {
        serde_json::from_slice(bytes).map_err(RefuseToken::claims)
    }

    fn to_cbor(&self) -> Vec<u8> {
        claims_cbor::write(self)
    }

    fn from_cbor(bytes: &[u8]) -> Result<Self, RefuseToken> {
        claims_cbor::read(bytes).map_err(RefuseToken::claims)
    }

    fn check(&self) -> Result<(), RefuseToken> {
        let wrong = |claim, why| Err(RefuseToken::claim(claim, why));
        for (claim, name) in [("iss", &self.iss), ("aud", &self.aud), ("sub", &self.sub)] {
            check_name(claim, name)?;
        }
        for (claim, at) in [("iat", self.iat), ("nbf", self.not_before()), ("exp", self.exp)] {
            check_time(claim, at)?;
        }
        if self.exp <= self.iat || self.exp.since(self.iat) > GRANT_DAYS_MAX * DAY {
            return wrong("exp", "a grant ends after its sync, within 8 days");
        }
        if self.not_before() < self.iat || self.not_before() >= self.exp {
            return wrong("nbf", "lies outside iat to exp");
        }
        if self.seq == 0 || self.seq > JSON_INTEGER_MAX {
            return wrong("seq", "is not between 1 and 2^53");
        }
        if self.seen > JSON_INTEGER_MAX {
            return wrong("seen", "is above 2^53");
        }
        if self.utc_offset_min.0.unsigned_abs() > 14 * 60 {
            return wrong("utc_offset_min", "no clock is more than 14 hours from UTC");
        }
        if self.limit.points().iter().any(|p| p.1 > self.bal) {
            return wrong("limit", "is above the balance");
        }
        if self.cap.count.is_some_and(|c| c.stop > COUNT_MAX) {
            return wrong("cap.count", "is above 128");
        }
        if i64::from(self.payment_valid_s) > GRANT_DAYS_MAX * DAY || self.payment_valid_s == 0 {
            return wrong("payment_valid_s", "is not between 1 second and 8 days");
        }
        if self.request_valid_s == 0 || self.request_valid_s > 86_400 {
            return wrong("request_valid_s", "is not between 1 second and a day");
        }
        if self.mdl.is_some_and(|m| m.v > JSON_INTEGER_MAX) {
            return wrong("mdl", "version is above 2^53");
        }
        self.lottery.map_or(Ok(()), |l| l.check())
    }
}

/// 1 to 64 visible ASCII characters.
pub(super) fn check_name(claim: &'static str, name: &str) -> Result<(), RefuseToken> {
    let plain = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if plain { Ok(()) } else { Err(RefuseToken::claim(claim, "is not 1 to 64 visible ASCII characters")) }
}

/// 1970 to the year 36,812: far enough from the ends of `i64` that no sum overflows.
pub(super) fn check_time(claim: &'static str, at: UtcSeconds) -> Result<(), RefuseToken> {
    let sane = (0..=1 << 40).contains(&at.0);
    if sane { Ok(()) } else { Err(RefuseToken::claim(claim, "is no time")) }
}
