//! Anyone's table, CSV or Parquet, read through a mapping; also the directories this crate writes.
//!
//! ```text
//! accounts file (optional) ─► accounts ─┐
//! transactions file ─► cells ─► mapping ┴─► Row
//! ```

pub mod cells;

pub mod clock;

pub mod lines;

pub mod slices;

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use plimsoll_model::transaction::Place;
use plimsoll_model::{Account, Channel, Currency, Flow, Kind, Settlement, Tier, Transaction, UtcOffset};

use crate::chain::Balance;
use crate::error::{LoadError, Reason};
use crate::groups::Groups;
use crate::mapping::{Accounts, Convention, Mapping};
use crate::source::{Resolution, Row, Source};
use crate::table::cells::Cells;
use crate::table::clock::Clock;
use crate::table::slices::Value;

/// A table being read.
pub struct Table {
    cells: Cells,
    at: At,
    mapping: Mapping,
    clock: Clock,
    resolution: Resolution,
    default_tier: Tier,
    accounts: Vec<Account>,
    index: HashMap<Box<str>, u32>,
    groups: Groups,
    knows_openings: bool,
    /// Refused rows of the accounts file, handed out before the first transaction.
    refused: VecDeque<LoadError>,
}

/// Where the mapped columns stand.
struct At {
    account: usize,
    time: usize,
    amount: usize,
    kind: Option<usize>,
    payee: Option<usize>,
    id: Option<usize>,
    balance: Option<usize>,
    currency: Option<usize>,
    channel: Option<usize>,
    outcome: Option<usize>,
    made_at: Option<usize>,
    device: Option<usize>,
    latitude: Option<usize>,
    longitude: Option<usize>,
    sign: Option<usize>,
}

impl Table {
    /// Opens `transactions`, or the file the mapping names.
    ///
    /// # Errors
    /// `Io`, `Empty`, `MissingColumn`, `ColumnType`; `BadMapping` when neither names a file.
    pub fn open(transactions: Option<&Path>, mapping: Mapping) -> Result<Self, LoadError> {
        let bad = |message: String| LoadError::BadMapping { path: mapping.file.clone(), message };
        let path = match (transactions, &mapping.transactions) {
            (Some(path), _) => path.to_owned(),
            (None, Some(path)) => mapping.beside(path),
            (None, None) => return Err(bad("transactions: name the file, here or with --data".into())),
        };
        let clock = mapping.clock().map_err(bad)?;
        // Mapping::check admits ASCII only.
        let mut cells = Cells::open(&path, mapping.delimiter as u8)?;
        let at = At::find(&mut cells, &mapping)?;
        let mut table = Self {
            at,
            cells,
            clock,
            resolution: mapping.resolution(),
            default_tier: mapping.accounts.as_ref().map_or(Tier::default(), |a| a.default_tier),
            accounts: Vec::new(),
            index: HashMap::new(),
            groups: Groups::default(),
            knows_openings: mapping.accounts.as_ref().is_some_and(|a| a.opening.is_some()),
            refused: VecDeque::new(),
            mapping,
        };
        if let Some(accounts) = table.mapping.accounts.clone() {
            table.read_accounts(&accounts)?;
        }
        Ok(table)
    }

    fn read_accounts(&mut self, columns: &Accounts) -> Result<(), LoadError> {
        let path = self.mapping.beside(&columns.path);
        let mut cells = Cells::open(&path, self.mapping.delimiter as u8)?;
        let name = cells.column(&columns.name)?;
        let opened = cells.maybe(columns.opened.as_deref())?;
        let tier = cells.maybe(columns.tier.as_deref())?;
        let opening = cells.maybe(columns.opening.as_deref())?;
        let grouped: Vec<usize> = columns.groups.iter().map(|name| cells.column(name)).collect::<Result<_, _>>()?;
        self.groups = Groups::of(columns.groups.clone());
        loop {
            match cells.advance() {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(bad @ LoadError::BadRow(_)) => {
                    self.refused.push_back(bad);
                    continue;
                }
                Err(error) => return Err(error),
            }
            let words = || -> Result<Vec<String>, LoadError> {
                grouped.iter().map(|column| cells.read(*column, |v| Ok(v.with_text(str::to_owned)))).collect()
            };
            let read = self.read_account(&cells, name, opened, tier, opening);
            match read.and_then(|account| Ok((account, words()?))) {
                Ok((account, words)) => {
                    self.groups.push(words.iter().map(String::as_str));
                    self.index.insert(account.name.as_str().into(), self.accounts.len() as u32);
                    self.accounts.push(account);
                }
                Err(bad) => self.refused.push_back(bad),
            }
        }
    }

    fn read_account(
        &self,
        cells: &Cells,
        name: usize,
        opened: Option<usize>,
        tier: Option<usize>,
        opening: Option<usize>,
    ) -> Result<Account, LoadError> {
        let (currency, unit) = (self.mapping.units.currency, self.mapping.units.amount);
        let account = cells.read(name, |v| {
            v.with_text(|text| match text {
                "" => Err(Reason::Missing),
                text if self.index.contains_key(text) => Err(Reason::AccountTwice { account: text.into() }),
                text => Ok(text.to_owned()),
            })
        })?;
        let opened_at = cells.read_maybe(opened, |v| v.maybe_time(&self.clock))?;
        let tier = cells.read_maybe(tier, |v| match v {
            Value::Null => Ok(self.default_tier),
            v => v.with_text(|text| {
                let level = text.parse::<u8>().ok();
                level.and_then(|l| Tier::new(l).ok()).ok_or_else(|| Reason::Tier { text: text.into() })
            }),
        })?;
        let opening_minor = match opening {
            Some(column) => cells.read(column, |v| v.amount(currency, unit))?.minor(),
            None => 0,
        };
        Ok(Account { name: account, opened_at, tier, opening_minor })
    }

    fn account_index(&mut self) -> Result<u32, LoadError> {
        let (index, accounts, tier) = (&mut self.index, &mut self.accounts, self.default_tier);
        self.cells.read(self.at.account, |v| {
            v.with_text(|name| {
                if name.is_empty() {
                    return Err(Reason::Missing);
                }
                if let Some(&known) = index.get(name) {
                    return Ok(known);
                }
                let new = accounts.len() as u32;
                index.insert(name.into(), new);
                accounts.push(Account { name: name.into(), opened_at: None, tier, opening_minor: 0 });
                Ok(new)
            })
        })
    }

    /// The signed amount, from its size and whatever tells the direction; `kind` when the kind tells.
    fn amount(&self, kind: Option<Kind>) -> Result<Flow, LoadError> {
        let (cells, sign) = (&self.cells, &self.mapping.sign);
        let (currency, unit) = (self.mapping.units.currency, self.mapping.units.amount);
        let written = cells.read(self.at.amount, |v| v.amount(currency, unit))?;
        let unsigned = |debit: bool| {
            if written.is_debit() {
                let text = cells.read(self.at.amount, |v| Ok(v.with_text(str::to_owned)))?;
                return Err(cells.bad(Some(self.at.amount), Reason::NegativeSize { text }));
            }
            Ok(if debit { Flow::debit(written.size()) } else { written })
        };
        match (sign.convention, self.at.sign, kind) {
            (Convention::Signed, ..) => Ok(written),
            (Convention::DebitPositive, ..) => {
                Ok(if written.is_debit() { Flow::credit(written.size()) } else { Flow::debit(written.size()) })
            }
            (Convention::Column, Some(column), _) => unsigned(cells.read(column, |v| {
                v.with_text(|text| {
                    if sign.debit.iter().any(|word| word == text) {
                        Ok(true)
                    } else if sign.credit.iter().any(|word| word == text) {
                        Ok(false)
                    } else {
                        Err(Reason::UnknownSign { text: text.into() })
                    }
                })
            })?),
            (Convention::ByKind, _, Some(kind)) => unsigned(kind.is_debit()),
            // The kind has no direction of its own: its text is not mapped.
            (Convention::ByKind | Convention::Column, ..) => {
                let text = cells.read_maybe(self.at.kind, |v| Ok(v.with_text(str::to_owned)))?;
                Err(cells.bad(self.at.kind, Reason::UnknownKind { text }))
            }
        }
    }

    /// The kind its own text says.
    fn kind(&self) -> Result<Option<Kind>, LoadError> {
        let kinds = &self.mapping.kinds;
        self.cells.read_maybe(self.at.kind, |v| {
            Ok(v.with_text(|text| kinds.text.get(text).copied().or_else(|| Kind::from_name(text))))
        })
    }

    /// The kind of an amount whose text said none.
    fn default_kind(&self, amount: Flow) -> Result<Kind, LoadError> {
        let kinds = &self.mapping.kinds;
        let (said, otherwise) =
            if amount.is_debit() { (kinds.debit, Kind::Purchase) } else { (kinds.credit, Kind::Income) };
        match (said, self.at.kind) {
            (Some(kind), _) => Ok(kind),
            (None, None) => Ok(otherwise),
            (None, Some(column)) => {
                let text = self.cells.read(column, |v| Ok(v.with_text(str::to_owned)))?;
                Err(self.cells.bad(Some(column), Reason::UnknownKind { text }))
            }
        }
    }

    fn channel(&self) -> Result<Channel, LoadError> {
        let offline = self.cells.read_maybe(self.at.channel, |v| {
            v.with_text(|text| match text {
                "" | "online" => Ok(false),
                "offline" => Ok(true),
                other => Err(Reason::UnknownChannel { text: other.into() }),
            })
        })?;
        self.cells.read_maybe(self.at.outcome, |v| {
            v.with_text(|text| match (offline, text) {
                (false, "") => Ok(Channel::Online),
                (true, "") => Ok(Channel::Offline(Settlement::Clean)),
                (true, text) => Settlement::from_name(text)
                    .map(Channel::Offline)
                    .ok_or_else(|| Reason::UnknownOutcome { text: text.into() }),
                (false, text) => Err(Reason::UnknownOutcome { text: text.into() }),
            })
        })
    }

    fn place(&self) -> Result<Option<Place>, LoadError> {
        let unit = self.mapping.units.place;
        let latitude = self.cells.read_maybe(self.at.latitude, |v| v.coordinate(unit, 90))?;
        let longitude = self.cells.read_maybe(self.at.longitude, |v| v.coordinate(unit, 180))?;
        match (latitude, longitude) {
            (Some(latitude_e6), Some(longitude_e6)) => Ok(Some(Place { latitude_e6, longitude_e6 })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.cells.bad(self.at.longitude, Reason::Missing)),
            (None, Some(_)) => Err(self.cells.bad(self.at.latitude, Reason::Missing)),
        }
    }

    fn row(&mut self) -> Result<Row, LoadError> {
        let (cells, units) = (&self.cells, &self.mapping.units);
        cells.read_maybe(self.at.currency, |v| {
            v.with_text(|found| {
                if found == units.currency.code() || self.at.currency.is_none() {
                    Ok(())
                } else {
                    let expected = units.currency.code().to_owned();
                    Err(Reason::OtherCurrency { found: found.into(), expected })
                }
            })
        })?;
        let at = cells.read(self.at.time, |v| v.time(&self.clock))?;
        let said = self.kind()?;
        let amount = self.amount(said)?;
        let kind = match said {
            Some(kind) => kind,
            None => self.default_kind(amount)?,
        };
        if amount.minor() != 0 && amount.is_debit() != kind.is_debit() {
            let reason = Reason::SignContradictsKind { kind: kind.name(), credit: !amount.is_debit() };
            return Err(cells.bad(Some(self.at.amount), reason));
        }
        let transaction = Transaction {
            at,
            amount,
            kind,
            payee: cells.read_maybe(self.at.payee, |v| v.id(units.ids))?,
            channel: self.channel()?,
            device: cells.read_maybe(self.at.device, |v| v.small())?,
            place: self.place()?,
            id: cells.read_maybe(self.at.id, |v| v.id(units.ids))?,
        };
        let balance = cells.read_maybe(self.at.balance, |v| match v {
            Value::Null => Ok(None),
            v => v.amount(units.currency, units.amount).map(|after| Some(after.minor())),
        })?;
        let made_at = cells.read_maybe(self.at.made_at, |v| v.maybe_time(&self.clock))?;
        let line = cells.line();
        Ok(Row {
            // Last, so that a refused row does not bring an account into being.
            account: self.account_index()?,
            transaction,
            made_at: made_at.unwrap_or(at),
            balance: balance.map(|after| Balance::after(after, transaction.moved())),
            line,
        })
    }
}

impl At {
    fn find(cells: &mut Cells, mapping: &Mapping) -> Result<Self, LoadError> {
        let columns = &mapping.columns;
        Ok(Self {
            account: cells.column(&columns.account)?,
            time: cells.column(&columns.time)?,
            amount: cells.column(&columns.amount)?,
            kind: cells.maybe(columns.kind.as_deref())?,
            payee: cells.maybe(columns.payee.as_deref())?,
            id: cells.maybe(columns.id.as_deref())?,
            balance: cells.maybe(columns.balance.as_deref())?,
            currency: cells.maybe(columns.currency.as_deref())?,
            channel: cells.maybe(columns.channel.as_deref())?,
            outcome: cells.maybe(columns.outcome.as_deref())?,
            made_at: cells.maybe(columns.made_at.as_deref())?,
            device: cells.maybe(columns.device.as_deref())?,
            latitude: cells.maybe(columns.latitude.as_deref())?,
            longitude: cells.maybe(columns.longitude.as_deref())?,
            sign: match mapping.sign.convention {
                Convention::Column => cells.maybe(mapping.sign.column.as_deref())?,
                _ => None,
            },
        })
    }
}

impl Source for Table {
    fn next_row(&mut self) -> Option<Result<Row, LoadError>> {
        if let Some(refused) = self.refused.pop_front() {
            return Some(Err(refused));
        }
        match self.cells.advance() {
            Ok(true) => Some(self.row()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
    fn accounts(&self) -> &[Account] {
        &self.accounts
    }
    fn groups(&self) -> Groups {
        self.groups.clone()
    }
    fn knows_openings(&self) -> bool {
        self.knows_openings
    }
    fn currency(&self) -> Currency {
        self.mapping.units.currency
    }
    fn offset(&self) -> UtcOffset {
        UtcOffset(self.mapping.time.zone_minutes)
    }
    fn resolution(&self) -> Resolution {
        self.resolution
    }
    fn path(&self) -> &Path {
        self.cells.path()
    }
    fn position(&self) -> (u64, u64) {
        self.cells.position()
    }
}
