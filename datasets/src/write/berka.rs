//! The generator's history in the Berka bank's own `.asc` layout: quotes, semicolons, CRLF, YYMMDD.
//! Made so that the loader is tested without a row of the real file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use plimsoll_model::time::CivilDate;
use plimsoll_model::{Currency, Kind, UtcOffset, UtcSeconds};

use super::staging::Staging;
use super::{Generated, go_on};
use crate::Progress;
use crate::berka::{ACCOUNT_COLUMNS, TRANS_COLUMNS};
use crate::error::LoadError;
use crate::synth::{Block, Config, Generator};

/// Writes `account.asc` and `trans.asc` into the new directory `dir`: amounts as CZK, one crown for each major
/// unit, dates of the programme's own days. Rejected tokens have no place in a bank's file and are left out.
///
/// What the layout cannot say comes back changed: a transfer out reads as a standing order (`Bill`), a
/// reload as `CashIn`, a refund as `TransferIn`.
///
/// # Errors
/// `BadConfig` (also for years the layout cannot write: 1969 to 2068 it can); `Exists`; `Io`; `Interrupted`.
pub fn write_berka(dir: &Path, config: &Config, progress: &mut Progress<'_>) -> Result<Generated, LoadError> {
    let generator = Generator::new(config)?;
    let last = CivilDate::of_day(config.start.day_number() + i64::from(config.days));
    if last.year > 2068 {
        return Err(LoadError::BadConfig { message: format!("start: {last} does not fit a year of two digits") });
    }
    let staging = Staging::new(dir)?;
    let path = |name: &str| staging.path().join(name);
    let (trans_path, account_path) = (path("trans.asc"), path("account.asc"));
    let create =
        |path: &Path| File::create(path).map(|f| BufWriter::with_capacity(1 << 18, f)).map_err(LoadError::io(path));
    let (mut trans, mut account) = (create(&trans_path)?, create(&account_path)?);
    header(&mut trans, &TRANS_COLUMNS).map_err(LoadError::io(&trans_path))?;
    header(&mut account, &ACCOUNT_COLUMNS).map_err(LoadError::io(&account_path))?;
    let offset = config.programme.offset();
    let crowns = Crowns::new(config.programme.currency());
    let mut made = Generated { accounts: 0, transactions: 0 };
    let mut block = Block::new();
    for index in 0..generator.blocks() {
        go_on(progress(made.accounts, u64::from(config.accounts)))?;
        generator.block(index, &mut block);
        for (user, records) in block.iter() {
            made.accounts += 1;
            let id = made.accounts;
            let opened = user.account.opened_at.unwrap_or_default();
            let opened = opened.max(UtcSeconds(0)); // 1970: before it two digits mean another century.
            write!(account, "{id};1;\"POPLATEK MESICNE\";{}\r\n", yymmdd(offset, opened))
                .map_err(LoadError::io(&account_path))?;
            for record in records.iter().filter(|r| r.transaction.moved() != 0) {
                made.transactions += 1;
                let row = &record.transaction;
                let (kind, operation, symbol) = words(row.kind);
                write!(
                    trans,
                    "{};{id};{};\"{kind}\";\"{operation}\";{};{};\"{symbol}\";;\r\n",
                    made.transactions,
                    yymmdd(offset, row.at),
                    crowns.show(row.amount.minor().abs()),
                    crowns.show(record.balance_after_minor),
                )
                .map_err(LoadError::io(&trans_path))?;
            }
        }
    }
    go_on(progress(made.accounts, u64::from(config.accounts)))?;
    trans.flush().map_err(LoadError::io(&trans_path))?;
    account.flush().map_err(LoadError::io(&account_path))?;
    drop((trans, account));
    staging.commit()?;
    Ok(made)
}

fn header(out: &mut impl Write, columns: &[&str]) -> std::io::Result<()> {
    let quoted: Vec<String> = columns.iter().map(|name| format!("\"{name}\"")).collect();
    write!(out, "{}\r\n", quoted.join(";"))
}

/// Minor units of some currency, written with the crown's two decimals.
struct Crowns {
    czk: Currency,
    /// Hellers in a minor unit of the source, for currencies of fewer decimals.
    hellers: i64,
}

impl Crowns {
    fn new(currency: Currency) -> Self {
        let czk = Currency::new("CZK", 2).expect("a currency");
        Self { czk, hellers: (czk.minor_per_major() / currency.minor_per_major()) as i64 }
    }

    fn show(&self, minor: i64) -> String {
        self.czk.format(minor * self.hellers)
    }
}

fn yymmdd(offset: UtcOffset, at: UtcSeconds) -> String {
    let date = CivilDate::of_day(offset.day(at));
    format!("{:02}{:02}{:02}", date.year % 100, date.month, date.day)
}

/// The bank's words for our kinds.
const fn words(kind: Kind) -> (&'static str, &'static str, &'static str) {
    match kind {
        Kind::Purchase => ("VYDAJ", "VYBER KARTOU", ""),
        Kind::TransferOut => ("VYDAJ", "PREVOD NA UCET", " "),
        Kind::CashOut => ("VYBER", "VYBER", ""),
        Kind::Bill => ("VYDAJ", "PREVOD NA UCET", "SIPO"),
        Kind::Loan => ("VYDAJ", "PREVOD NA UCET", "UVER"),
        Kind::Fee => ("VYDAJ", "VYBER", "SLUZBY"),
        Kind::Reload | Kind::CashIn => ("PRIJEM", "VKLAD", ""),
        Kind::TransferIn | Kind::Refund => ("PRIJEM", "PREVOD Z UCTU", ""),
        Kind::Income => ("PRIJEM", "PREVOD Z UCTU", "DUCHOD"),
        Kind::Interest => ("PRIJEM", "", "UROK"),
    }
}
