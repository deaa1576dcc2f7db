//! An offline payment that was judged: one row for each nonce, for ever the same answer.

use plimsoll_model::grant::{Thumbprint, TokenId};
use plimsoll_model::{Money, UtcSeconds};
use serde::{Deserialize, Serialize};

use super::{AccountId, Record};

/// One judged payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRecord {
    /// Its name: the nonce of the request it answers.
    pub nonce: TokenId,
    /// SHA-256 of the signed claims: another payment under the same nonce is a double spend, not a repetition.
    pub digest: [u8; 32],
    /// Who pays.
    pub payer: AccountId,
    /// From which wallet.
    pub jkt: Thumbprint,
    /// Under which grant.
    pub grant: TokenId,
    /// Of the wallet's payments.
    pub number: u64,
    /// Who is paid.
    pub payee: AccountId,
    /// What was signed.
    pub amount: Money,
    /// When it was signed.
    pub signed_at: UtcSeconds,
    /// When it was judged.
    pub judged_at: UtcSeconds,
    /// What came of it.
    pub outcome: Outcome,
    /// What one of the two says against it.
    pub dispute: Option<Dispute>,
}

/// What one of the two says against a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    /// Who.
    pub by: AccountId,
    /// Why.
    pub reason: DisputeReason,
    /// In their words.
    pub detail: String,
    /// When.
    pub at: UtcSeconds,
    /// What was found, once somebody has looked.
    pub found: Option<Found>,
}

/// Why a payment is disputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DisputeReason {
    /// The holder did not make it.
    Unauthorized,
    /// Another amount was agreed.
    WrongAmount,
    /// The goods did not come.
    NotReceived,
    /// Something else.
    Other,
}

/// What somebody found who looked at a dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Whose doing it was.
    pub at_fault: Option<AccountId>,
    /// Who looked.
    pub by: String,
    /// When.
    pub at: UtcSeconds,
}

/// What came of a payment. `debited + overdraft == credited`, always: no money is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Taken from the payer.
    pub debited: Money,
    /// Given to the payee.
    pub credited: Money,
    /// Paid by the issuer, because the payer had less than its grant promised.
    pub overdraft: Money,
    /// Of the signed amount, what nobody paid.
    pub unpaid: Money,
    /// Who bears what is missing.
    pub liable: Option<Liable>,
}

/// Who bears a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liable {
    /// The issuer promised more than there was: its model was wrong, and the payer owes it.
    Issuer,
    /// The payment went beyond its grant: the payee took what the grant did not cover.
    Payee,
}

impl Record for PaymentRecord {
    const VERSION: u8 = 1;
}
