//! Synthetic wallets whose truth is known: archetypes with paydays, bills, top-ups and neighbours, sync gaps,
//! offline payments and a few adversaries.
//!
//! ```text
//! Config ─► Generator ─► Block 0, 1, 2 … (a village of 128 wallets each)
//!               block = f(seed, index): any order, any thread, any size, the same bytes
//! ```
//!
//! Every flow is covered by the balance when it happens online; only a settled offline payment can overdraw.
//! A payment that is not covered is declined and leaves no row. Rejected tokens leave a row and move nothing.

pub mod archetype;

pub mod config;

pub mod person;

pub mod random;

mod season;

mod village;

use std::path::Path;

use plimsoll_model::{Account, Currency, Transaction, UtcOffset, UtcSeconds};

pub use archetype::Archetype;
pub use config::{Config, Drift, Programme};
pub use person::{Adversary, User};

use crate::chain::Balance;
use crate::error::LoadError;
use crate::groups::Groups;
use crate::history::Histories;
use crate::source::{Resolution, Row, Source};
use village::Village;

/// Wallets in a block: those that can pay one another.
pub const VILLAGE: u32 = 128;

/// One generated row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The movement.
    pub transaction: Transaction,
    /// When the payer made it: before `transaction.at` when it was offline.
    pub made_at: UtcSeconds,
    /// The ledger's balance after the row, minor units.
    pub balance_after_minor: i64,
}

/// A village's users and rows, reused from block to block.
#[derive(Clone, Debug, Default)]
pub struct Block {
    users: Vec<User>,
    rows: Vec<Vec<Record>>,
}

impl Block {
    /// An empty block.
    pub fn new() -> Self {
        Self::default()
    }

    /// The wallets, in the order of their names.
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// Every wallet and its rows, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&User, &[Record])> {
        self.users.iter().zip(self.rows.iter().map(Vec::as_slice))
    }

    /// How many rows.
    pub fn transactions(&self) -> usize {
        self.rows[..self.users.len()].iter().map(Vec::len).sum()
    }
}

/// 256 draws of an hour, so that one random byte is one look-up.
pub(crate) struct Hours {
    /// Working days, weekends.
    pub(crate) of_day: [[u8; 256]; 2],
}

/// Makes blocks.
pub struct Generator {
    config: Config,
    hours: [Hours; 8],
}

impl Generator {
    /// A generator of a checked configuration.
    ///
    /// # Errors
    /// `BadConfig` naming the key.
    pub fn new(config: &Config) -> Result<Self, LoadError> {
        config.validate()?;
        let hours = Archetype::ALL.map(|archetype| Hours { of_day: archetype.profile().hours.map(|w| spread(&w)) });
        Ok(Self { config: config.clone(), hours })
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// How many blocks there are.
    pub const fn blocks(&self) -> u32 {
        self.config.accounts.div_ceil(VILLAGE)
    }

    /// Makes block `index`; what `out` held is gone, its memory is reused.
    ///
    /// # Panics
    /// When there is no such block.
    pub fn block(&self, index: u32, out: &mut Block) {
        assert!(index < self.blocks(), "block {index} of {}", self.blocks());
        let first = index * VILLAGE;
        let people = VILLAGE.min(self.config.accounts - first);
        out.users.clear();
        out.rows.resize_with(people as usize, Vec::new);
        out.rows.iter_mut().for_each(Vec::clear);
        Village::settle(&self.config, &self.hours, index, first, people).live(out);
    }
}

/// Weights of 24 hours as 256 equally likely hours, largest remainders rounded by the running sum.
fn spread(weights: &[u8; 24]) -> [u8; 256] {
    let total: u32 = weights.iter().map(|&w| u32::from(w)).sum();
    let mut table = [0; 256];
    let (mut from, mut sum) = (0, 0);
    for (hour, &weight) in weights.iter().enumerate() {
        sum += u32::from(weight);
        let to = (sum * 256 / total) as usize;
        table[from..to].fill(hour as u8);
        from = to;
    }
    table
}

/// A whole data set in memory, without a file: for tests and demonstrations.
///
/// # Errors
/// `BadConfig` naming the key.
pub fn histories(config: &Config) -> Result<Histories, LoadError> {
    let generator = Generator::new(config)?;
    let mut groups = User::groups();
    let parts = (0..generator.blocks()).flat_map(|index| {
        let mut block = Block::new();
        generator.block(index, &mut block);
        block.users.iter().for_each(|user| user.join(&mut groups));
        block.users.into_iter().zip(block.rows).map(|(user, rows)| {
            let rows: Box<dyn Iterator<Item = Transaction>> = Box::new(rows.into_iter().map(|r| r.transaction));
            (user.account, rows)
        })
    });
    let mut histories = Histories::from_sorted(config.programme.currency(), config.programme.offset(), parts);
    histories.groups = groups;
    Ok(histories)
}

/// The generator as a source: rows account by account, a block in memory at a time.
pub struct Stream {
    generator: Generator,
    block: Block,
    next_block: u32,
    /// Account within the block, row within the account.
    at: (usize, usize),
    base: usize,
    accounts: Vec<Account>,
    groups: Groups,
    line: u64,
}

impl Stream {
    /// A stream of a checked configuration.
    ///
    /// # Errors
    /// `BadConfig` naming the key.
    pub fn new(config: &Config) -> Result<Self, LoadError> {
        let generator = Generator::new(config)?;
        Ok(Self {
            generator,
            block: Block::new(),
            next_block: 0,
            at: (0, 0),
            base: 0,
            accounts: Vec::new(),
            groups: User::groups(),
            line: 0,
        })
    }
}

impl Source for Stream {
    fn next_row(&mut self) -> Option<Result<Row, LoadError>> {
        loop {
            let (account, row) = self.at;
            if account >= self.block.users.len() {
                if self.next_block == self.generator.blocks() {
                    return None;
                }
                self.base = self.accounts.len();
                self.generator.block(self.next_block, &mut self.block);
                self.next_block += 1;
                for user in &self.block.users {
                    self.accounts.push(user.account.clone());
                    user.join(&mut self.groups);
                }
                self.at = (0, 0);
                continue;
            }
            let Some(record) = self.block.rows[account].get(row) else {
                self.at = (account + 1, 0);
                continue;
            };
            self.at.1 += 1;
            self.line += 1;
            return Some(Ok(Row {
                account: (self.base + account) as u32,
                transaction: record.transaction,
                made_at: record.made_at,
                balance: Some(Balance::after(record.balance_after_minor, record.transaction.moved())),
                line: self.line,
            }));
        }
    }
    fn accounts(&self) -> &[Account] {
        &self.accounts
    }
    fn groups(&self) -> Groups {
        self.groups.clone()
    }
    fn knows_openings(&self) -> bool {
        true
    }
    fn currency(&self) -> Currency {
        self.generator.config.programme.currency()
    }
    fn offset(&self) -> UtcOffset {
        self.generator.config.programme.offset()
    }
    fn resolution(&self) -> Resolution {
        Resolution::Instant
    }
    fn path(&self) -> &Path {
        Path::new("generator")
    }
    fn position(&self) -> (u64, u64) {
        let done = self.base + self.at.0;
        (done as u64, u64::from(self.generator.config.accounts))
    }
}
