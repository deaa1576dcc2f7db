//! What happened to an account: one row of history, in the words every loader translates into.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::money::{Flow, Money};
use crate::time::UtcSeconds;

/// KYC tier, 0 (least known) to 3. The server's record decides it, never the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Tier(u8);

impl Tier {
    /// Tiers 0..=3 exist.
    pub const COUNT: usize = 4;

    /// Tier `level`.
    ///
    /// # Errors
    /// `UnknownTier` above 3. Callers that must go on treat it as tier 0.
    pub const fn new(level: u8) -> Result<Self, UnknownTier> {
        if (level as usize) < Self::COUNT { Ok(Self(level)) } else { Err(UnknownTier { level }) }
    }

    /// 0..=3.
    pub const fn level(self) -> u8 {
        self.0
    }

    /// The tier below, if there is one.
    pub fn lower(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl TryFrom<u8> for Tier {
    type Error = UnknownTier;
    fn try_from(level: u8) -> Result<Self, UnknownTier> {
        Self::new(level)
    }
}

impl From<Tier> for u8 {
    fn from(tier: Tier) -> u8 {
        tier.0
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A tier number nobody defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("KYC tier {level} does not exist; tiers are 0, 1, 2 and 3")]
pub struct UnknownTier {
    /// What was given.
    pub level: u8,
}

/// What a movement was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Goods or services, paid by the holder at that moment.
    Purchase,
    /// To another person, by the holder at that moment.
    TransferOut,
    /// Cash taken out.
    CashOut,
    /// A recurring or standing obligation: rent, utilities, insurance, subscription.
    Bill,
    /// A loan instalment.
    Loan,
    /// A charge of the operator, penalty interest included.
    Fee,
    /// Money the holder loads into the wallet.
    Reload,
    /// From another person.
    TransferIn,
    /// Salary, pension, sales proceeds.
    Income,
    /// Cash paid in.
    CashIn,
    /// Interest received.
    Interest,
    /// A purchase given back.
    Refund,
}

impl Kind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 12] = [
        Self::Purchase,
        Self::TransferOut,
        Self::CashOut,
        Self::Bill,
        Self::Loan,
        Self::Fee,
        Self::Reload,
        Self::TransferIn,
        Self::Income,
        Self::CashIn,
        Self::Interest,
        Self::Refund,
    ];

    /// The name used in files, `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::TransferOut => "transfer_out",
            Self::CashOut => "cash_out",
            Self::Bill => "bill",
            Self::Loan => "loan",
            Self::Fee => "fee",
            Self::Reload => "reload",
            Self::TransferIn => "transfer_in",
            Self::Income => "income",
            Self::CashIn => "cash_in",
            Self::Interest => "interest",
            Self::Refund => "refund",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether this kind takes money out.
    pub const fn is_debit(self) -> bool {
        matches!(self, Self::Purchase | Self::TransferOut | Self::CashOut | Self::Bill | Self::Loan | Self::Fee)
    }

    /// Whether the holder started it on the spot: such a flow could have been an offline payment.
    pub const fn is_initiated(self) -> bool {
        matches!(self, Self::Purchase | Self::TransferOut | Self::CashOut)
    }

    /// Whether it leaves on its own, whatever the holder does that day.
    pub const fn is_committed(self) -> bool {
        matches!(self, Self::Bill | Self::Loan | Self::Fee)
    }
}

/// How an offline payment ended when it reached the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// Settled in full.
    Clean,
    /// Settled, but the balance did not cover it.
    Overdraft,
    /// The same token or counter seen before.
    DoubleSpend,
    /// Signed after its expiry.
    Expired,
    /// The signature did not verify.
    Forged,
}

impl Settlement {
    /// Every outcome, in the order of their codes.
    pub const ALL: [Self; 5] = [Self::Clean, Self::Overdraft, Self::DoubleSpend, Self::Expired, Self::Forged];

    /// The name used in files, `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Overdraft => "overdraft",
            Self::DoubleSpend => "double_spend",
            Self::Expired => "expired",
            Self::Forged => "forged",
        }
    }

    /// The outcome of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Whether money moved: rejected tokens leave the balance alone.
    pub const fn moves_money(self) -> bool {
        matches!(self, Self::Clean | Self::Overdraft)
    }
}

/// Whether the payer was connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Seen by the ledger as it happened.
    Online,
    /// Signed on a device, settled later.
    Offline(Settlement),
}

/// A place, in millionths of a degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// −90,000,000..=90,000,000.
    pub latitude_e6: i32,
    /// −180,000,000..=180,000,000.
    pub longitude_e6: i32,
}

/// One movement on one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// When the ledger saw it (an offline payment: when it settled). Date-only sources use the local midnight
    /// that begins the day, so that a window which touches a day includes it.
    pub at: UtcSeconds,
    /// Signed minor units. A rejected offline token keeps its amount but moves nothing: see [`Transaction::moved`].
    pub amount: Flow,
    /// What for.
    pub kind: Kind,
    /// The other side, as a 64-bit hash of whatever the source calls it; 0 when unknown.
    pub payee: u64,
    /// Connected or not.
    pub channel: Channel,
    /// Which of the holder's devices started it, 1 for the one that may hold a grant; 0 when none did or nobody knows.
    pub device: u8,
    /// Where, when known.
    pub place: Option<Place>,
    /// The source's own id of the row, as a 64-bit hash; 0 when it has none. Equal ids are duplicates.
    pub id: u64,
}

impl Transaction {
    /// What the balance changed by: nothing for a rejected token.
    pub const fn moved(&self) -> i64 {
        match self.channel {
            Channel::Offline(outcome) if !outcome.moves_money() => 0,
            _ => self.amount.minor(),
        }
    }
}

/// What is known of an account besides its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The source's name for it. Never published; reports and certificates count accounts, they do not name them.
    pub name: String,
    /// When it was opened; the first transaction's time when the source does not say.
    pub opened_at: Option<UtcSeconds>,
    /// Its KYC tier.
    pub tier: Tier,
    /// Balance before the first transaction, minor units; may be negative where the source allows overdrafts.
    pub opening_minor: i64,
}

impl Account {
    /// The opening balance as spendable money.
    pub const fn opening(&self) -> Money {
        Money::floor_at_zero(self.opening_minor)
    }
}

/// A 64-bit FNV-1a hash: how loaders turn a payee's or a row's name into a number.
/// Not keyed and not secret; distinctness is all that is asked of it. Never 0 for a non-empty name.
pub const fn name_hash(name: &[u8]) -> u64 {
    if name.is_empty() {
        return 0;
    }
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < name.len() {
        hash = (hash ^ name[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    if hash == 0 { 1 } else { hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert!(!(kind.is_initiated() && kind.is_committed()));
        }
        for outcome in Settlement::ALL {
            assert_eq!(Settlement::from_name(outcome.name()), Some(outcome));
        }
    }

    #[test]
    fn a_forged_token_moves_no_money() {
        let mut row = Transaction {
            at: UtcSeconds(0),
            amount: Flow::from_minor(-500).expect("small"),
            kind: Kind::Purchase,
            payee: 1,
            channel: Channel::Offline(Settlement::Forged),
            device: 1,
            place: None,
            id: 0,
        };
        assert_eq!(row.moved(), 0);
        row.channel = Channel::Offline(Settlement::Clean);
        assert_eq!(row.moved(), -500);
    }
}
