//! What is known of the accounts that tested a run: by this reports compare how they fared. Accounts are the numbers of the
//! calibration log; like it, the file stays with the issuer and is never published.
//!
//! | column | of an account |
//! |---|---|
//! | `account` | its number in the log |
//! | `tenure_days` | whole days from its opening to its first test window |
//! | `inflow_minor` | credits but refunds in a month, from the 90 days before that window |
//! | the source's own | its word in each column that the mapping names under `groups`; empty when unknown |

use plimsoll_datasets::Histories;
use plimsoll_model::Kind;
use plimsoll_model::time::DAY;

use crate::windows::Window;

/// Of every account with a test window, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// What the source's own columns are called.
    pub columns: Vec<String>,
    /// One per account.
    pub known: Vec<Known>,
}

/// What is known of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub account: u32,
    /// Days since it was opened.
    pub tenure_days: u32,
    /// Credits in a month, minor units.
    pub inflow_minor: u64,
    /// The source's own words, one for each column.
    pub words: Vec<String>,
}

const HEAD: [&str; 3] = ["account", "tenure_days", "inflow_minor"];
/// Days that say what a month brings.
const LOOK_BACK: i64 = 90;

impl Accounts {
    /// Of the accounts of these windows, as of the first window of each.
    pub fn of(histories: &Histories, windows: &[Window]) -> Self {
        let first = |of_account: &[Window]| {
            let Window { account, at, .. } = of_account[0];
            let (known, rows) = histories.get(account as usize).expect("windows are taken of the histories");
            let before = &rows[..rows.partition_point(|row| row.at < at)];
            let opened = before.first().map_or(at, |row| known.opened_at.unwrap_or(row.at).min(row.at));
            let from = at.plus(-LOOK_BACK * DAY);
            let credits = before.iter().filter(|row| row.at >= from && row.moved() > 0 && row.kind != Kind::Refund);
            let inflow = credits.map(|row| row.moved().unsigned_abs()).sum::<u64>();
            let seen = before.first().map_or(0, |row| at.0 - row.at.0).clamp(DAY, LOOK_BACK * DAY) as u64;
            Known {
                account,
                tenure_days: u32::try_from((at.0 - opened.0).max(0) / DAY).unwrap_or(u32::MAX),
                inflow_minor: (u128::from(inflow) * 30 * DAY as u128 / u128::from(seen)) as u64,
                words: histories.groups.words(account as usize).map(str::to_owned).collect(),
            }
        };
        Self {
            columns: histories.groups.names().to_vec(),
            known: windows.chunk_by(|a, b| a.account == b.account).map(first).collect(),
        }
    }

    /// As CSV.
    pub fn write(&self) -> Vec<u8> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let fine = "writing to memory cannot fail";
        csv.write_record(HEAD.into_iter().chain(self.columns.iter().map(String::as_str))).expect(fine);
        for k in &self.known {
            let numbers = [k.account.to_string(), k.tenure_days.to_string(), k.inflow_minor.to_string()];
            csv.write_record(numbers.iter().chain(&k.words)).expect(fine);
        }
        csv.into_inner().expect(fine)
    }

    /// Reads what [`Accounts::write`] wrote.
    ///
    /// # Errors
    /// The line and what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut csv = csv::Reader::from_reader(bytes);
        let head = csv.headers().map_err(|e| e.to_string())?.clone();
        if head.iter().take(HEAD.len()).ne(HEAD) {
            return Err(format!("line 1 must begin with {}", HEAD.join(",")));
        }
        let mut all = Self { columns: head.iter().skip(HEAD.len()).map(str::to_owned).collect(), known: Vec::new() };
        for (ix, record) in csv.records().enumerate() {
            let record = record.map_err(|e| e.to_string())?;
            let number = |column: usize| record.get(column).and_then(|text| text.parse::<u64>().ok());
            let small = |column| number(column).and_then(|v| u32::try_from(v).ok());
            let known = (|| {
                let words = record.iter().skip(HEAD.len()).map(str::to_owned).collect();
                Some(Known { account: small(0)?, tenure_days: small(1)?, inflow_minor: number(2)?, words })
            })();
            all.known.push(known.ok_or_else(|| format!("line {}: {record:?} is not three whole numbers", ix + 2))?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_a_damaged_line_is_named() {
        let known = |account, word: &str| Known { account, tenure_days: 7, inflow_minor: 12, words: vec![word.into()] };
        let all = Accounts { columns: vec!["region".into()], known: vec![known(3, "north, by the sea"), known(9, "")] };
        let bytes = all.write();
        assert_eq!(Accounts::read(&bytes), Ok(all));
        let text = String::from_utf8(bytes).expect("text");
        let refused = |from, to| Accounts::read(text.replacen(from, to, 1).as_bytes()).expect_err(to);
        assert!(refused("tenure", "sinecure").contains("line 1"));
        assert!(refused("3,7", "3,-7").contains("line 2"));
        assert!(refused("9,7,12,", "9,7").contains("record 2"), "{}", refused("9,7,12,", "9,7"));
    }
}
