//! Parts of answers that several routes share.

use plimsoll_model::Money;
use plimsoll_model::decision::Decision;
use plimsoll_model::time::Age;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ledger::judge::{Judged, RefuseSettlement};
use crate::record::Liable;

/// A limit at one age, and why not more.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Point {
    /// Minutes since the sync.
    pub(super) age_min: u32,
    /// What may be spent offline in total, minor units.
    #[schema(value_type = u64)]
    pub(super) limit: Money,
    /// In one payment, minor units.
    #[schema(value_type = u64)]
    pub(super) per_payment: Money,
    /// The rule that had the last word.
    pub(super) bound: String,
    /// Every rule that lowered it, in order.
    pub(super) reasons: Vec<Step>,
}

/// One step down.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Step {
    /// The rule.
    pub(super) bound: String,
    /// In words, for the holder.
    pub(super) says: String,
    /// What it left, minor units.
    #[schema(value_type = u64)]
    pub(super) left: Money,
}

impl Point {
    pub(super) fn of((age, decision): &(Age, Decision)) -> Self {
        let step = |r: &plimsoll_model::decision::Reason| Step {
            bound: r.bound.name().into(),
            says: r.bound.says().into(),
            left: r.left,
        };
        Self {
            age_min: age.0,
            limit: decision.limit,
            per_payment: decision.per_payment,
            bound: decision.bound.name().into(),
            reasons: decision.reasons.iter().map(step).collect(),
        }
    }
}

/// What became of a payment.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Verdict {
    /// The payment's nonce, base64url; none when the token does not read.
    pub(super) nonce: Option<String>,
    /// `settled`, `partial` or `refused`.
    pub(super) status: String,
    /// Why not whole, e.g. `NONCE_REUSED`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) code: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) message: Option<String>,
    /// Given to the payee, minor units.
    #[schema(value_type = u64)]
    pub(super) credited: Money,
    /// Of that, paid by the issuer because the payer had less, minor units.
    #[schema(value_type = u64)]
    pub(super) overdraft: Money,
    /// Of the signed amount, paid by nobody, minor units.
    #[schema(value_type = u64)]
    pub(super) unpaid: Money,
    /// Who bears what is missing: `issuer` or `payee`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub(super) liable: Option<Liable>,
    /// It had been judged before, and got the same answer again.
    pub(super) again: bool,
}

impl Verdict {
    pub(super) fn of(nonce: String, judged: &Result<Judged, RefuseSettlement>) -> Self {
        match judged {
            Ok(judged) => {
                let outcome = &judged.record.outcome;
                let partial = outcome.unpaid > Money::ZERO;
                Self {
                    nonce: Some(nonce),
                    status: if partial { "partial" } else { "settled" }.into(),
                    code: None,
                    message: None,
                    credited: outcome.credited,
                    overdraft: outcome.overdraft,
                    unpaid: outcome.unpaid,
                    liable: outcome.liable,
                    again: judged.again,
                }
            }
            Err(why) => Self { nonce: Some(nonce), ..Self::refused(why.code(), why.to_string()) },
        }
    }

    /// A token that was not even judged.
    pub(super) fn refused(code: impl Into<String>, message: String) -> Self {
        Self {
            nonce: None,
            status: "refused".into(),
            code: Some(code.into()),
            message: Some(message),
            credited: Money::ZERO,
            overdraft: Money::ZERO,
            unpaid: Money::ZERO,
            liable: None,
            again: false,
        }
    }
}

/// The words of the vocabulary as the description has them; `model` knows nothing of descriptions. A test holds them
/// against it.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $($word:ident)*;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        #[allow(dead_code, missing_docs, reason = "described, never made")]
        pub(super) enum $name { $($word),* }
    )*};
}

words! {
    /// What a transaction is for.
    KindName: Purchase TransferOut CashOut Bill Loan Fee Reload TransferIn Income CashIn Interest Refund;
    /// What was noticed.
    CauseName: SignatureInvalid DoubleSpend GeographicAnomaly SequenceAnomaly DeviceChange VelocityBreach CeilingExhaustion;
    /// Whose doing it was: only `holder` weighs.
    PartyName: Holder Other Unknown;
    /// Whether a transfer goes.
    VerdictName: Allow Flag Block;
}

/// Why a payment is disputed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(dead_code, missing_docs, reason = "described, never made")]
pub(super) enum DisputeName {
    Unauthorized,
    WrongAmount,
    NotReceived,
    Other,
}

#[cfg(test)]
mod tests {
    use plimsoll_model::online::Verdict;
    use plimsoll_model::standing::{Cause, Party};
    use plimsoll_model::transaction::Kind;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::record::DisputeReason;

    /// Every described word reads as one of the type's, and there are no more than these.
    fn check<Described: utoipa::PartialSchema, Of: DeserializeOwned + Serialize>(count: usize) {
        let schema = serde_json::to_value(Described::schema()).expect("JSON");
        let words = schema["enum"].as_array().expect("an enum").clone();
        assert_eq!(words.len(), count, "{words:?}");
        for word in words {
            let read: Result<Of, _> = serde_json::from_value(word.clone());
            assert!(read.is_ok_and(|read| serde_json::to_value(read).ok() == Some(word.clone())), "{word}");
        }
    }

    #[test]
    fn described_words_are_those_of_the_vocabulary() {
        check::<KindName, Kind>(Kind::ALL.len());
        check::<CauseName, Cause>(7);
        check::<PartyName, Party>(3);
        check::<VerdictName, Verdict>(3);
        check::<DisputeName, DisputeReason>(4);
    }
}
