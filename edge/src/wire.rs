//! The edge for callers in other languages: bytes and JSON in, JSON out. The C ABI, WASM and UniFFI stand on this.
//!
//! ```text
//! Bundle + root + Terms ─► open ─► Evaluator, Opened        History + situation ─► answer ─► Answer
//! ```
//!
//! Amounts are integer minor units of the manifest's currency, times are UTC seconds, ages are minutes. Every number
//! fits a float's 53 bits, except a payee's hash: a caller whose numbers are floats keeps it below 2⁵³.

use plimsoll_model::artifact::Release;
use plimsoll_model::decision::{Decision, Situation};
use plimsoll_model::features::{FeatureState, FeatureVector, Profile};
use plimsoll_model::forest::uncross;
use plimsoll_model::golden::canonical_bits;
use plimsoll_model::policy::Policy;
use plimsoll_model::time::{Age, UtcSeconds};
use plimsoll_model::transaction::{Channel, Kind, Place, Settlement, Transaction};
use plimsoll_model::{Flow, Money};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::evaluator::{Evaluator, RefuseArtifact};
use crate::slots::RefuseInstall;
use crate::trust::{Bundle, Floors, RefuseRelease, TrustedRoot, verify};
use crate::wallet::WalletError;

mod device;

pub use device::{
    At, Command, Decided, Device, InstalledModel, Paid, Remaining, Setup, StateIn, Token, TokenForm, Told,
};

/// The first and last second of the years 1 to 9999: no calendar here reaches further.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Everything a history may move together, minor units: a thousand of the largest amounts.
const TURNOVER_MAX: u64 = Money::MAX.minor() * 1_000;

/// What a release is opened under.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The wall clock.
    pub now: UtcSeconds,
    /// What this device has seen, as an earlier [`Opened`] said; nothing when absent.
    #[serde(default)]
    pub floors: Floors,
    /// Which model line; may be absent where the repository has only one.
    #[serde(default)]
    pub model_id: Option<String>,
}

/// A release that was verified, and passed its golden vectors on this engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Manifest and certificate.
    pub release: Release,
    /// The rules it runs under.
    pub policy: Policy,
    /// Lower-case hex SHA-256 of the ONNX file.
    pub model_sha256: String,
    /// From then on the same repository is refused, until fresher metadata is fetched.
    pub install_until: UtcSeconds,
    /// To be kept by the caller, and passed in the next time.
    pub floors: Floors,
}

/// An account's past, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Who.
    pub profile: Profile,
    /// Balance before the first row, signed minor units.
    pub opening_minor: Flow,
    /// What happened.
    pub rows: Vec<Row>,
    /// When the features are taken: the sync.
    pub at: UtcSeconds,
}

/// One movement; see [`Transaction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// When the ledger saw it.
    pub at: UtcSeconds,
    /// Signed: a debit is negative.
    pub amount_minor: Flow,
    /// What for.
    pub kind: Kind,
    /// The other side, as a hash; 0 when unknown.
    #[serde(default)]
    pub payee: u64,
    /// How it ended, if it was an offline payment.
    #[serde(default)]
    pub offline: Option<Settlement>,
    /// Latitude and longitude in millionths of a degree.
    #[serde(default)]
    pub place: Option<(i32, i32)>,
}

/// What is asked: how much may this account spend offline?
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Of whom.
    pub history: History,
    /// What the server and the counters say. When absent: in good standing, nothing spent, synced at `history.at` with
    /// the balance and the number of transactions that the history ends with.
    #[serde(default)]
    pub situation: Option<Situation>,
    /// When the decision is made; `history.at` when absent.
    #[serde(default)]
    pub now: Option<UtcSeconds>,
}

/// What may be spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Balance after the history, signed minor units.
    pub balance_minor: i64,
    /// Features at the sync, IEEE 754 binary32 bits; every NaN as 0x7fc00000.
    pub feature_bits: Vec<u32>,
    /// The decision at the moment asked for.
    pub decision: Decision,
    /// What its bound means, for the holder.
    pub says: &'static str,
    /// The decision at every certified age, rising.
    pub curve: Vec<Point>,
}

/// One age of the curve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Minutes since the sync.
    pub age: Age,
    /// The forest's outputs in steps of 2⁻²⁰ of the balance, one for each level, before uncrossing.
    pub steps: Vec<i32>,
    /// What the certified rule of the tier gives on the balance, before caps.
    pub certified: Money,
    /// After caps.
    pub decision: Decision,
}

/// Verifies a release and makes it ready.
///
/// * `root`: the pinned root, bytes of its file.
///
/// # Errors
/// [`Refused`]; nothing was opened.
pub fn open(bundle: &Bundle, root: &[u8], terms: &Terms) -> Result<(Evaluator, Opened), Refused> {
    known_time("now", terms.now)?;
    let root = TrustedRoot::from_bytes(root)?;
    let verified = verify(bundle, &root, &terms.floors, terms.now, terms.model_id.as_deref())?;
    let evaluator = Evaluator::new(&verified)?;
    let opened = Opened {
        release: verified.release().clone(),
        policy: evaluator.policy().clone(),
        model_sha256: verified.model_sha256().to_owned(),
        install_until: verified.install_until(),
        floors: verified.floors().clone(),
    };
    Ok((evaluator, opened))
}

/// Answers a question.
///
/// # Errors
/// [`Refused::Request`] when the history is out of order or out of range.
pub fn answer(evaluator: &Evaluator, question: &Question) -> Result<Answer, Refused> {
    let profile = &question.history.profile;
    let counted_in = evaluator.manifest().currency;
    if profile.currency != counted_in {
        let reason = format!("the account counts in {}, the model in {counted_in}", profile.currency);
        return Err(Refused::Request { what: "history.profile.currency".to_owned(), reason });
    }
    let (features, balance_minor) = question.history.replay()?;
    let at = question.history.at;
    let situation = question.situation.clone().unwrap_or_else(|| {
        let lifetime_tx = question.history.rows.len() as u64;
        Situation::fresh(Money::floor_at_zero(balance_minor), profile.tier, at, lifetime_tx)
    });
    known_time("situation.synced_at", situation.synced_at)?;
    let now = question.now.unwrap_or(at);
    known_time("now", now)?;
    let (levels, cell) = (&evaluator.manifest().levels, evaluator.certificate().cell(situation.tier));
    let point = |(age, decision)| {
        let steps = evaluator.outputs_at(&features, age);
        let mut uncrossed = steps.clone();
        uncross(&mut uncrossed);
        let certified = cell.map_or(Money::ZERO, |cell| cell.rule.limit(situation.balance, levels, &uncrossed));
        Point { age, steps, certified, decision }
    };
    let curve = evaluator.curve(&features, &situation).into_iter().map(point).collect();
    let decision = evaluator.decide(&features, &situation, now);
    Ok(Answer {
        balance_minor,
        feature_bits: features.0.iter().map(|v| canonical_bits(*v)).collect(),
        says: decision.bound.says(),
        decision,
        curve,
    })
}

impl History {
    /// The features at `at`, and the balance that the rows end with.
    fn replay(&self) -> Result<(FeatureVector, i64), Refused> {
        let refuse =
            |what: String, reason: &dyn std::fmt::Display| Refused::Request { what, reason: reason.to_string() };
        if self.profile.offset.0.unsigned_abs() > 14 * 60 {
            return Err(refuse("history.profile.offset".into(), &"no clock is more than 14 hours from UTC"));
        }
        known_time("history.profile.opened_at", self.profile.opened_at)?;
        known_time("history.at", self.at)?;
        let mut turnover = 0;
        let from = self.rows.first().map_or(self.at, |row| row.at);
        let mut state = FeatureState::new(self.profile, self.opening_minor.minor(), from);
        for (ix, row) in self.rows.iter().enumerate() {
            known_time(&format!("history.rows[{ix}].at"), row.at)?;
            turnover += row.amount_minor.size().minor();
            if turnover > TURNOVER_MAX {
                return Err(refuse(format!("history.rows[{ix}]"), &"the history moves more than can be added up"));
            }
            state.push(&row.transaction()).map_err(|e| refuse(format!("history.rows[{ix}]"), &e))?;
        }
        let balance = state.balance_minor();
        Ok((state.snapshot(self.at), balance))
    }
}

impl Row {
    fn transaction(&self) -> Transaction {
        Transaction {
            at: self.at,
            amount: self.amount_minor,
            kind: self.kind,
            payee: self.payee,
            channel: self.offline.map_or(Channel::Online, Channel::Offline),
            device: 1,
            place: self.place.map(|(latitude_e6, longitude_e6)| Place { latitude_e6, longitude_e6 }),
            id: 0,
        }
    }
}

fn known_time(what: &str, at: UtcSeconds) -> Result<(), Refused> {
    if TIMES.contains(&at.0) {
        return Ok(());
    }
    Err(Refused::Request {
        what: what.to_owned(),
        reason: format!("{} is not UTC seconds of the years 1 to 9999", at.0),
    })
}

/// Reads a request.
///
/// * `what`: its name in the refusal.
///
/// # Errors
/// [`Refused::Request`] for anything but that JSON object, unknown members included.
pub fn read<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(json).map_err(|e| Refused::Request { what: what.to_owned(), reason: e.to_string() })
}

/// Writes an answer.
pub fn write<T: Serialize>(answer: &T) -> Vec<u8> {
    serde_json::to_vec(answer).expect("answers hold only integers, text and lists")
}

/// Why nothing was answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The repository is not to be trusted, or not now.
    #[error(transparent)]
    Release(#[from] RefuseRelease),
    /// It is signed, and does not run here.
    #[error(transparent)]
    Artifact(#[from] RefuseArtifact),
    /// It is not installed.
    #[error(transparent)]
    Install(#[from] RefuseInstall),
    /// The wallet does not do what it was asked.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// The caller's own request cannot be read.
    #[error("{what}: {reason}")]
    Request {
        /// Which part.
        what: String,
        /// Why.
        reason: String,
    },
}

impl Refused {
    /// A stable name of the cause, `snake_case`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Release(refused) => refused.code(),
            Self::Artifact(refused) => refused.code(),
            Self::Install(RefuseInstall::Release(refused)) => refused.code(),
            Self::Install(RefuseInstall::Artifact(refused)) => refused.code(),
            Self::Install(RefuseInstall::PastUse { .. }) => "past_use",
            Self::Install(RefuseInstall::PulledBefore { .. }) => "pulled_before",
            Self::Install(RefuseInstall::VersionReused { .. }) => "version_reused",
            Self::Install(RefuseInstall::TooLarge { .. }) => "release_too_large",
            Self::Install(RefuseInstall::Storage(_)) | Self::Wallet(WalletError::Storage(_)) => "storage",
            Self::Wallet(WalletError::Anchor(_)) => "anchor",
            Self::Wallet(WalletError::Sign(_)) => "sign",
            Self::Wallet(WalletError::Request(_)) => "payment_request",
            Self::Wallet(WalletError::Grant(_)) => "grant",
            Self::Request { .. } => "request",
        }
    }

    /// `{"code": …, "message": …}`.
    pub fn to_json(&self) -> Vec<u8> {
        write(&serde_json::json!({ "code": self.code(), "message": self.to_string() }))
    }
}
