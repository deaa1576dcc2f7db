//! From a published repository to limits.

use std::collections::HashMap;
use std::sync::Arc;

use plimsoll_edge::trust::Bundle;
use plimsoll_edge::wire;
use plimsoll_model::decision::{Decision, Situation};
use plimsoll_model::features;
use plimsoll_model::transaction::{Kind, Settlement};
use plimsoll_model::{Age, Currency, Flow, Money, Tier, UtcSeconds};

use crate::refused::Refused;

/// A model whose signatures were verified and whose golden vectors passed.
#[derive(Debug, uniffi::Object)]
pub struct Evaluator {
    evaluator: plimsoll_edge::Evaluator,
    opened: wire::Opened,
}

/// What is known of an account besides its transactions.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Profile {
    /// When it was opened.
    pub opened_at: UtcSeconds,
    /// Its KYC tier on record.
    pub tier: Tier,
    /// Whether the device's attestation is valid.
    pub attested: bool,
    /// The clock its calendar days follow, minutes from UTC.
    pub offset_min: i16,
    /// What it counts in: `MYR/2`.
    pub currency: String,
}

/// A place, in millionths of a degree.
#[derive(Clone, Copy, Debug, uniffi::Record)]
pub struct Place {
    /// North is positive.
    pub latitude_e6: i32,
    /// East is positive.
    pub longitude_e6: i32,
}

/// One movement of an account.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Row {
    /// When the ledger saw it.
    pub at: UtcSeconds,
    /// Signed minor units: a debit is negative.
    pub amount_minor: i64,
    /// What for.
    pub kind: Kind,
    /// The other side, as a hash; 0 when unknown.
    pub payee: u64,
    /// How it ended, if it was an offline payment.
    pub offline: Option<Settlement>,
    /// Where, when known.
    pub place: Option<Place>,
}

/// An account's past, oldest first.
#[derive(Clone, Debug, uniffi::Record)]
pub struct History {
    /// Who.
    pub profile: Profile,
    /// Balance before the first row, signed minor units.
    pub opening_minor: i64,
    /// What happened.
    pub rows: Vec<Row>,
    /// When the features are taken: the sync.
    pub at: UtcSeconds,
}

/// What may be spent.
#[derive(Clone, Debug, uniffi::Record)]
pub struct Answer {
    /// Balance after the history, signed minor units.
    pub balance_minor: i64,
    /// Features at the sync, IEEE 754 binary32 bits; every NaN as 0x7fc00000.
    pub feature_bits: Vec<u32>,
    /// The decision at the moment asked for.
    pub decision: Decision,
    /// What its bound means, for the holder.
    pub says: String,
    /// The decision at every certified age, rising.
    pub curve: Vec<Point>,
}

/// One age of the curve.
#[derive(Clone, Debug, uniffi::Record)]
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

#[uniffi::export]
impl Evaluator {
    /// Verifies a repository, checks its model against this engine and runs the golden vectors.
    ///
    /// * `files`: by path in the repository; `root`: the pinned root's bytes; `now`: the wall clock.
    /// * `floors`: what `floors()` gave the last time; `model_id`: which line, where the repository has several.
    ///
    /// # Errors
    /// [`Refused`].
    #[uniffi::constructor]
    pub fn open(
        files: HashMap<String, Vec<u8>>,
        root: Vec<u8>,
        now: UtcSeconds,
        floors: Option<String>,
        model_id: Option<String>,
    ) -> Result<Arc<Self>, Refused> {
        let floors = floors.map(|text| wire::read("floors", text.as_bytes())).transpose()?.unwrap_or_default();
        let (evaluator, opened) = wire::open(&bundle(files)?, &root, &wire::Terms { now, floors, model_id })?;
        Ok(Arc::new(Self { evaluator, opened }))
    }

    /// The model line.
    pub fn model_id(&self) -> String {
        self.opened.release.manifest.model_id.clone()
    }

    /// Its version.
    pub fn model_version(&self) -> u64 {
        self.opened.release.manifest.model_version
    }

    /// The signed manifest and certificate, JSON.
    pub fn release(&self) -> String {
        text(wire::write(&self.opened.release))
    }

    /// What this device has seen, JSON: to be kept, and passed in the next time.
    pub fn floors(&self) -> String {
        text(wire::write(&self.opened.floors))
    }

    /// What an account may spend offline.
    ///
    /// * `situation`: when absent, in good standing, nothing spent, synced at `history.at`.
    /// * `now`: when the decision is made; `history.at` when absent.
    ///
    /// # Errors
    /// [`Refused`] when the history is out of order or out of range.
    pub fn evaluate(
        &self,
        history: History,
        situation: Option<Situation>,
        now: Option<UtcSeconds>,
    ) -> Result<Answer, Refused> {
        let question = wire::Question { history: history.read()?, situation, now };
        let answer = wire::answer(&self.evaluator, &question)?;
        let point = |p: wire::Point| Point { age: p.age, steps: p.steps, certified: p.certified, decision: p.decision };
        Ok(Answer {
            balance_minor: answer.balance_minor,
            feature_bits: answer.feature_bits,
            decision: answer.decision,
            says: answer.says.to_owned(),
            curve: answer.curve.into_iter().map(point).collect(),
        })
    }
}

impl History {
    fn read(self) -> Result<wire::History, Refused> {
        let row = |(ix, row): (usize, Row)| {
            Ok(wire::Row {
                at: row.at,
                amount_minor: flow(&format!("history.rows[{ix}].amount_minor"), row.amount_minor)?,
                kind: row.kind,
                payee: row.payee,
                offline: row.offline,
                place: row.place.map(|place| (place.latitude_e6, place.longitude_e6)),
            })
        };
        Ok(wire::History {
            profile: features::Profile {
                opened_at: self.profile.opened_at,
                tier: self.profile.tier,
                attested: self.profile.attested,
                offset: plimsoll_model::UtcOffset(self.profile.offset_min),
                currency: currency("history.profile.currency", self.profile.currency)?,
            },
            opening_minor: flow("history.opening_minor", self.opening_minor)?,
            rows: self.rows.into_iter().enumerate().map(row).collect::<Result<_, Refused>>()?,
            at: self.at,
        })
    }
}

fn flow(what: &str, minor: i64) -> Result<Flow, Refused> {
    Flow::from_minor(minor).map_err(|e| Refused::request(what, e))
}

pub(crate) fn currency(what: &str, text: String) -> Result<Currency, Refused> {
    Currency::try_from(text).map_err(|e| Refused::request(what, e))
}

pub(crate) fn bundle(files: HashMap<String, Vec<u8>>) -> Result<Bundle, Refused> {
    let mut bundle = Bundle::default();
    for (path, bytes) in files {
        bundle.add(&path, bytes).map_err(|e| Refused::request("files", e))?;
    }
    Ok(bundle)
}

pub(crate) fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).expect("JSON is UTF-8")
}
