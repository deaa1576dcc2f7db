//! Why a payment is not taken.

use plimsoll_model::decision::Bound;
use plimsoll_model::grant::RefuseToken;
use plimsoll_model::{Money, UtcSeconds};

use crate::storage::StorageError;

/// Why a payment is not taken. Nothing was recorded; do not hand over the goods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusePayment {
    /// The grant does not verify or read.
    #[error("grant: {0}")]
    Grant(RefuseToken),
    /// The payment does not verify or read.
    #[error("payment: {0}")]
    Payment(RefuseToken),
    /// The payment is signed by another device than the grant is for.
    #[error("payment: signed by another device than the grant's cnf names")]
    OtherDevice,
    /// The payment names another grant, or the grant another account.
    #[error("payment: {claim} is not that of the grant")]
    OtherGrant {
        /// Which claim.
        claim: &'static str,
    },
    /// A grant of another programme.
    #[error("grant: aud is {found:?}, this payee takes {expected:?}")]
    Programme {
        /// The payee's.
        expected: String,
        /// The grant's.
        found: String,
    },
    /// Another currency than asked for.
    #[error("payment: cur is {found}, asked for {expected}")]
    Currency {
        /// Asked for.
        expected: String,
        /// Paid, or granted.
        found: String,
    },
    /// Another amount than asked for.
    #[error("payment: amt is {} minor units, asked for {}", found.minor(), expected.minor())]
    Amount {
        /// Asked for.
        expected: Money,
        /// Paid.
        found: Money,
    },
    /// Made out to somebody else.
    #[error("payment: aud is {found:?}, this payee is {expected:?}")]
    OtherPayee {
        /// Who asked.
        expected: String,
        /// Who is paid.
        found: String,
    },
    /// It answers no request of this payee that is still open.
    #[error("payment: jti is the nonce of no open request")]
    UnknownRequest,
    /// It was signed after its request had expired.
    #[error("payment: signed at {at:?}, after the request had expired: ask again")]
    RequestExpired {
        /// When it was signed.
        at: UtcSeconds,
    },
    /// Signed more than five minutes in the future.
    #[error("payment: signed at {at:?}, which is in the future")]
    FutureDated {
        /// When it says.
        at: UtcSeconds,
    },
    /// Signed more than five minutes before it was asked for: the payer's clock is behind, and its limit younger than
    /// it is.
    #[error("payment: signed at {at:?}, before it was asked for")]
    Backdated {
        /// When it says.
        at: UtcSeconds,
    },
    /// It may not settle any more.
    #[error("payment: expired at {at:?}")]
    Expired {
        /// When.
        at: UtcSeconds,
    },
    /// It was given a longer life than the grant allows.
    #[error("payment: valid for {seconds} s, the grant allows {max} s")]
    TooLong {
        /// How long.
        seconds: i64,
        /// What is allowed.
        max: u32,
    },
    /// More than the grant's caps allow in one payment.
    #[error("payment: {} minor units are above the grant's cap of {} ({})", amount.minor(), cap.minor(), bound.name())]
    OverCap {
        /// Which cap.
        bound: Bound,
        /// Its amount.
        cap: Money,
        /// Paid.
        amount: Money,
    },
    /// More was spent under the grant than it allows at that age.
    #[error("payment: {} minor units spent are above the limit of {} ({})", spent.minor(), limit.minor(), bound.name())]
    OverLimit {
        /// Which rule set the limit.
        bound: Bound,
        /// The limit.
        limit: Money,
        /// Spent, by the payer's count.
        spent: Money,
    },
    /// The forced-sync lottery chose it: the payer's device should have synced first.
    #[error("payment: the lottery asked for a sync first")]
    Lottery,
    /// This payee's tier may not be paid offline.
    #[error("this account may not be paid offline")]
    MayNotReceive,
    /// This payee would hold more unsettled payments than it may: settle first.
    #[error("{} minor units are unsettled, of at most {}: settle first", held.minor(), max.minor())]
    Exposure {
        /// What it may hold.
        max: Money,
        /// What it holds.
        held: Money,
    },
    /// No more payments can be remembered: settle first, or wait until the oldest expire.
    #[error("no more payments can be remembered: settle first")]
    Full,
    /// The very payment was taken before.
    #[error("payment: taken before, at {at:?}")]
    SeenBefore {
        /// When.
        at: UtcSeconds,
    },
    /// The same device gave two payments one number: its wallet was copied or set back.
    #[error("payment: number {number} of this device was used before")]
    NumberReused {
        /// Which.
        number: u64,
    },
    /// The payer's count of what it spent does not go up by what it paid here: its wallet was copied or set back.
    #[error("payment: spent does not add up with payment {number} of the same grant")]
    DoesNotAddUp {
        /// The payment it contradicts.
        number: u64,
    },
    /// This device's clock is behind a time the issuer signed: set it.
    #[error("this device's clock is before {signed:?}, which the issuer signed: set it")]
    Clock {
        /// The signed time.
        signed: UtcSeconds,
    },
    /// The state could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
