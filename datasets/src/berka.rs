//! The Berka bank (PKDD'99) in its original `.asc` format: dates without a time of day, CZK with two decimals.
//!
//! ```text
//! account.asc ─► opened_at ─┐
//! trans.asc ─► type, operation, k_symbol ─► kind, sign ─► Row (at = local midnight that begins the day)
//! ```
//!
//! Cash and card withdrawals without a symbol are the holder's own; household payments, insurance, loans,
//! standing orders and fees are committed. Other files of the set (card, client, disp, district, loan,
//! order) are not read.

use std::collections::HashMap;
use std::path::Path;

use plimsoll_model::transaction::name_hash;
use plimsoll_model::{Account, Channel, Currency, Flow, Kind, Tier, Transaction, UtcOffset, UtcSeconds};

use crate::chain::{Balance, Opening};
use crate::error::{LoadError, Reason};
use crate::source::{Resolution, Row, Source};
use crate::table::clock::Clock;
use crate::table::lines::Lines;

/// Central European time, without its summers: the file has dates only.
pub const OFFSET: UtcOffset = UtcOffset(60);

/// The columns of `trans.asc`.
pub const TRANS_COLUMNS: [&str; 10] =
    ["trans_id", "account_id", "date", "type", "operation", "amount", "balance", "k_symbol", "bank", "account"];

/// The columns of `account.asc`.
pub const ACCOUNT_COLUMNS: [&str; 4] = ["account_id", "district_id", "frequency", "date"];

/// The bank being read.
pub struct Berka {
    trans: Lines,
    at: [usize; 10],
    clock: Clock,
    currency: Currency,
    opened: HashMap<Box<[u8]>, UtcSeconds>,
    refused: Vec<LoadError>,
    index: HashMap<Box<[u8]>, u32>,
    accounts: Vec<Account>,
    openings: Vec<Opening>,
}

impl Berka {
    /// Opens `account.asc` and `trans.asc` of a directory; reads the first whole and the header of the second.
    ///
    /// # Errors
    /// `Io`, `Empty`, `NoRows`, `MissingColumn`.
    pub fn open(dir: &Path) -> Result<Self, LoadError> {
        let clock = Clock::new("%y%m%d", OFFSET).expect("a pattern with year, month and day");
        let mut refused = Vec::new();
        let opened = read_opened(&dir.join("account.asc"), &clock, &mut refused)?;
        // Handed out from the back.
        refused.reverse();
        let trans = Lines::open(&dir.join("trans.asc"), b';')?;
        let mut at = [0; 10];
        for (place, name) in at.iter_mut().zip(TRANS_COLUMNS) {
            *place = trans.column(name)?;
        }
        Ok(Self {
            trans,
            at,
            clock,
            currency: Currency::new("CZK", 2).expect("a currency"),
            opened,
            refused,
            index: HashMap::new(),
            accounts: Vec::new(),
            openings: Vec::new(),
        })
    }

    fn row(&mut self) -> Result<Row, LoadError> {
        let [trans_id, account_id, date, kind, operation, amount, balance, k_symbol, bank, other] = self.at;
        let trans = &self.trans;
        let bad = |column: usize| move |reason: Reason| trans.bad(Some(column), reason);
        let at = trans.text(date).and_then(|text| self.clock.read(text)).map_err(bad(date))?;
        let money = |column: usize| {
            let parsed = trans.text(column).and_then(|text| Ok(self.currency.parse(text)?));
            parsed.map_err(bad(column))
        };
        let size = money(amount)?;
        if size.is_debit() {
            let text = String::from_utf8_lossy(trans.bytes(amount)).into_owned();
            return Err(bad(amount)(Reason::NegativeSize { text }));
        }
        let words = [trans.text(kind), trans.text(operation), trans.text(k_symbol)];
        let [word, operation_word, symbol] = words;
        let (word, operation_word, symbol) =
            (word.map_err(bad(kind))?, operation_word.map_err(bad(operation))?, symbol.map_err(bad(k_symbol))?);
        let kind = translate(word, operation_word, symbol).map_err(|column| {
            let (column, text) = match column {
                "type" => (kind, word),
                "operation" => (operation, operation_word),
                _ => (k_symbol, symbol),
            };
            bad(column)(Reason::UnknownKind { text: text.into() })
        })?;
        let amount = if kind.is_debit() { Flow::debit(size.size()) } else { size };
        let after = money(balance)?.minor();
        let payee = [trans.bytes(bank), trans.bytes(other)].concat();
        let transaction = Transaction {
            at,
            amount,
            kind,
            payee: name_hash(&payee),
            channel: Channel::Online,
            device: 0,
            place: None,
            id: name_hash(trans.bytes(trans_id)),
        };
        let name = trans.bytes(account_id);
        let account = match self.index.get(name) {
            Some(&known) => known,
            None => {
                let text = trans.text(account_id).map_err(bad(account_id))?.to_owned();
                let Some(&opened_at) = self.opened.get(name) else {
                    return Err(bad(account_id)(Reason::UnknownAccount { account: text }));
                };
                let new = self.accounts.len() as u32;
                self.index.insert(name.into(), new);
                let tier = Tier::new(1).expect("tier 1 exists");
                self.accounts.push(Account { name: text, opened_at: Some(opened_at), tier, opening_minor: 0 });
                self.openings.push(Opening::default());
                new
            }
        };
        let line = trans.line();
        let balance = Balance::after(after, amount.minor());
        // The opening is known as far as the rows so far tell; `Histories::read` and `write` use the whole chain.
        let opening = &mut self.openings[account as usize];
        opening.see(at.0, balance);
        self.accounts[account as usize].opening_minor = opening.minor().unwrap_or(0);
        Ok(Row { account, transaction, made_at: at, balance: Some(balance), line })
    }
}

/// Our kind of a Berka row, or the name of the column whose word is unknown.
fn translate(kind: &str, operation: &str, symbol: &str) -> Result<Kind, &'static str> {
    match (kind, operation, symbol) {
        ("PRIJEM", _, "UROK") => Ok(Kind::Interest),
        ("PRIJEM", "VKLAD", _) => Ok(Kind::CashIn),
        ("PRIJEM", "PREVOD Z UCTU", "DUCHOD") => Ok(Kind::Income),
        ("PRIJEM", "PREVOD Z UCTU", "") => Ok(Kind::TransferIn),
        ("VYDAJ" | "VYBER", _, "SIPO" | "POJISTNE") => Ok(Kind::Bill),
        ("VYDAJ" | "VYBER", _, "UVER") => Ok(Kind::Loan),
        ("VYDAJ" | "VYBER", _, "SLUZBY" | "SANKC. UROK") => Ok(Kind::Fee),
        ("VYDAJ" | "VYBER", "VYBER", "") | ("VYBER", "", "") => Ok(Kind::CashOut),
        ("VYDAJ" | "VYBER", "VYBER KARTOU", "") => Ok(Kind::Purchase),
        ("VYDAJ" | "VYBER", "PREVOD NA UCET", "") => Ok(Kind::Bill),
        ("PRIJEM", "PREVOD Z UCTU", _) => Err("k_symbol"),
        ("VYDAJ" | "VYBER", _, symbol) if !symbol.is_empty() => Err("k_symbol"),
        ("PRIJEM" | "VYDAJ" | "VYBER", ..) => Err("operation"),
        _ => Err("type"),
    }
}

fn read_opened(
    path: &Path,
    clock: &Clock,
    refused: &mut Vec<LoadError>,
) -> Result<HashMap<Box<[u8]>, UtcSeconds>, LoadError> {
    let mut lines = Lines::open(path, b';')?;
    let (id, date) = (lines.column("account_id")?, lines.column("date")?);
    let mut opened = HashMap::new();
    loop {
        match lines.advance() {
            Ok(false) => return Ok(opened),
            Ok(true) => match lines.text(date).and_then(|text| clock.read(text)) {
                Ok(at) => {
                    opened.insert(lines.bytes(id).into(), at);
                }
                Err(reason) => refused.push(lines.bad(Some(date), reason)),
            },
            Err(bad @ LoadError::BadRow(_)) => refused.push(bad),
            Err(error) => return Err(error),
        }
    }
}

impl Source for Berka {
    fn next_row(&mut self) -> Option<Result<Row, LoadError>> {
        if let Some(refused) = self.refused.pop() {
            return Some(Err(refused));
        }
        match self.trans.advance() {
            Ok(true) => Some(self.row()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
    fn accounts(&self) -> &[Account] {
        &self.accounts
    }
    fn knows_openings(&self) -> bool {
        false
    }
    fn currency(&self) -> Currency {
        self.currency
    }
    fn offset(&self) -> UtcOffset {
        OFFSET
    }
    fn resolution(&self) -> Resolution {
        Resolution::Day
    }
    fn path(&self) -> &Path {
        self.trans.path()
    }
    fn position(&self) -> (u64, u64) {
        self.trans.position()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banks_words_become_ours() {
        assert_eq!(translate("VYDAJ", "VYBER", ""), Ok(Kind::CashOut));
        assert_eq!(translate("VYBER", "VYBER", ""), Ok(Kind::CashOut));
        assert_eq!(translate("VYDAJ", "VYBER KARTOU", ""), Ok(Kind::Purchase));
        assert_eq!(translate("VYDAJ", "VYBER", "SIPO"), Ok(Kind::Bill));
        assert_eq!(translate("VYDAJ", "PREVOD NA UCET", ""), Ok(Kind::Bill));
        assert_eq!(translate("VYDAJ", "PREVOD NA UCET", "UVER"), Ok(Kind::Loan));
        assert_eq!(translate("VYDAJ", "VYBER", "SANKC. UROK"), Ok(Kind::Fee));
        assert_eq!(translate("PRIJEM", "", "UROK"), Ok(Kind::Interest));
        assert_eq!(translate("PRIJEM", "PREVOD Z UCTU", "DUCHOD"), Ok(Kind::Income));
        assert_eq!(translate("PRIJEM", "PREVOD Z UCTU", ""), Ok(Kind::TransferIn));
        assert_eq!(translate("NECO", "", ""), Err("type"));
        assert_eq!(translate("VYDAJ", "NECO", ""), Err("operation"));
        assert_eq!(translate("VYDAJ", "VYBER", "NECO"), Err("k_symbol"));
    }
}
