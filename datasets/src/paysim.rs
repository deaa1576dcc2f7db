//! PaySim, the mobile-money simulation, in the Kaggle column layout. One line moves money of its origin and,
//! when the destination is a customer (`C…`), of its destination: two rows.
//!
//! ```text
//! step,type,amount,nameOrig,… ─► Row of nameOrig
//!                             └► Row of nameDest, when it is a customer
//! ```
//!
//! Time is a step of an hour; steps are counted from a start the file does not say. `isFraud` is not kept:
//! it is the simulation's knowledge, not a ledger's.

use std::collections::HashMap;
use std::path::Path;

use plimsoll_model::transaction::name_hash;
use plimsoll_model::{Account, Channel, Currency, Flow, Kind, Money, Tier, Transaction, UtcOffset, UtcSeconds};

use crate::chain::Balance;
use crate::error::{LoadError, Reason};
use crate::source::{Resolution, Row, Source};
use crate::table::lines::Lines;

/// 2016-01-01T00:00:00Z: when step 0 begins, unless the caller says otherwise.
pub const START: UtcSeconds = UtcSeconds(1_451_606_400);

/// The columns of the Kaggle file.
pub const COLUMNS: [&str; 11] = [
    "step",
    "type",
    "amount",
    "nameOrig",
    "oldbalanceOrg",
    "newbalanceOrig",
    "nameDest",
    "oldbalanceDest",
    "newbalanceDest",
    "isFraud",
    "isFlaggedFraud",
];

/// Whether a first line is PaySim's.
pub fn is_header(line: &str) -> bool {
    line.split(',').map(str::trim).eq(COLUMNS)
}

/// The simulation being read.
pub struct Paysim {
    lines: Lines,
    at: [usize; 11],
    start: UtcSeconds,
    currency: Currency,
    index: HashMap<Box<str>, u32>,
    accounts: Vec<Account>,
    /// The destination's half of the last line.
    second: Option<Row>,
}

/// One side of a line: its account, its columns and what it moved.
struct Side {
    name: String,
    other: u64,
    kind: Kind,
    old: i64,
    new: i64,
}

impl Paysim {
    /// Opens a file; step 0 begins at `start`.
    ///
    /// # Errors
    /// `Io`, `Empty`, `MissingColumn`.
    pub fn open(path: &Path, start: UtcSeconds) -> Result<Self, LoadError> {
        let lines = Lines::open(path, b',')?;
        let mut at = [0; 11];
        for (place, name) in at.iter_mut().zip(COLUMNS) {
            *place = lines.column(name)?;
        }
        // The simulation's currency has no name; XXX is ISO 4217 for "none".
        let currency = Currency::new("XXX", 2).expect("a currency");
        Ok(Self { lines, at, start, currency, index: HashMap::new(), accounts: Vec::new(), second: None })
    }

    fn row(&mut self) -> Result<Row, LoadError> {
        let [step, kind, amount, orig, old_orig, new_orig, dest, old_dest, new_dest, _, flagged] = self.at;
        let lines = &self.lines;
        let bad = |column: usize| move |reason: Reason| lines.bad(Some(column), reason);
        let text = |column: usize| match lines.text(column) {
            Ok("") => Err(bad(column)(Reason::Missing)),
            Ok(text) => Ok(text),
            Err(reason) => Err(bad(column)(reason)),
        };
        let money = |column: usize| {
            let size = self.currency.parse(text(column)?).map_err(|e| bad(column)(e.into()))?;
            if size.is_debit() {
                return Err(bad(column)(Reason::NegativeSize { text: text(column)?.into() }));
            }
            Ok(size.size())
        };
        let steps = text(step)?;
        // 100 years of hours; beyond that the column is something else.
        let hours = steps.parse::<u32>().ok().filter(|&s| s <= 876_600);
        let hours = hours.ok_or_else(|| bad(step)(Reason::NotWhole { text: steps.into() }))?;
        let at = self.start.plus(i64::from(hours) * 3_600);
        let size = money(amount)?;
        let word = text(kind)?;
        let (from, to) = match word {
            "PAYMENT" => (Kind::Purchase, Kind::Income),
            "TRANSFER" | "DEBIT" => (Kind::TransferOut, Kind::TransferIn),
            "CASH_OUT" => (Kind::CashOut, Kind::CashIn),
            "CASH_IN" => (Kind::CashIn, Kind::CashOut),
            other => return Err(bad(kind)(Reason::UnknownKind { text: other.into() })),
        };
        if text(flagged)? == "1" {
            return Err(bad(flagged)(Reason::NotExecuted));
        }
        let (orig_name, dest_name) = (text(orig)?.to_owned(), text(dest)?.to_owned());
        let (old, new) = (money(old_orig)?.minor() as i64, money(new_orig)?.minor() as i64);
        let other = name_hash(dest_name.as_bytes());
        let first = Side { name: orig_name, other, kind: from, old, new };
        let second = if dest_name.starts_with('C') {
            let (old, new) = (money(old_dest)?.minor() as i64, money(new_dest)?.minor() as i64);
            let other = name_hash(first.name.as_bytes());
            Some(Side { name: dest_name, other, kind: to, old, new })
        } else {
            None
        };
        let line = lines.line();
        let row = self.side(first, at, size, line);
        self.second = second.map(|side| self.side(side, at, size, line));
        Ok(row)
    }

    fn side(&mut self, side: Side, at: UtcSeconds, size: Money, line: u64) -> Row {
        let account = match self.index.get(side.name.as_str()) {
            Some(&known) => known,
            None => {
                let new = self.accounts.len() as u32;
                self.index.insert(side.name.as_str().into(), new);
                let tier = Tier::new(1).expect("tier 1 exists");
                self.accounts.push(Account { name: side.name, opened_at: None, tier, opening_minor: side.old });
                new
            }
        };
        let transaction = Transaction {
            at,
            amount: if side.kind.is_debit() { Flow::debit(size) } else { Flow::credit(size) },
            kind: side.kind,
            payee: side.other,
            channel: Channel::Online,
            device: 0,
            place: None,
            id: 0,
        };
        let balance = Some(Balance { before: side.old, after: side.new });
        Row { account, transaction, made_at: at, balance, line }
    }
}

impl Source for Paysim {
    fn next_row(&mut self) -> Option<Result<Row, LoadError>> {
        if let Some(second) = self.second.take() {
            return Some(Ok(second));
        }
        match self.lines.advance() {
            Ok(true) => Some(self.row()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
    fn accounts(&self) -> &[Account] {
        &self.accounts
    }
    fn knows_openings(&self) -> bool {
        // The balance at first sight, and the file is in order of time.
        true
    }
    fn currency(&self) -> Currency {
        self.currency
    }
    fn offset(&self) -> UtcOffset {
        UtcOffset(0)
    }
    fn resolution(&self) -> Resolution {
        Resolution::Instant
    }
    fn path(&self) -> &Path {
        self.lines.path()
    }
    fn position(&self) -> (u64, u64) {
        self.lines.position()
    }
}
