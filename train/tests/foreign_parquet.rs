//! Parquet as other tools write it: decimals, integers, timestamps with and without a zone, dates.

mod common;

use std::ops::ControlFlow;
use std::path::Path;

use common::oracle;
use plimsoll_datasets::{Histories, Input, open};

/// Reads a file with the mapping below and returns `(account, UTC seconds, minor units, device)`.
fn read(dir: &Path, file: &str, time: &str) -> Vec<(String, i64, i64, u8)> {
    let mapping = dir.join(format!("{file}.toml"));
    let text = format!(
        "transactions = \"{file}.parquet\"\n[columns]\naccount = \"who\"\ntime = \"when\"\namount = \"how_much\"\ndevice = \"device\"\n\
         [units]\ncurrency = \"MYR/2\"\namount = \"major\"\n[time]\nformat = \"{time}\"\nzone_minutes = 480\n\
         [sign]\nconvention = \"signed\"\n[kinds]\ndebit = \"purchase\"\ncredit = \"income\"\n"
    );
    std::fs::write(&mapping, text).expect("writes");
    let input = Input { mapping: Some(mapping), ..Input::at(dir.join(format!("{file}.parquet"))) };
    let source = open(&input).expect("opens");
    let histories = Histories::read(source, input.on_bad_row, &mut |_, _| ControlFlow::Continue(())).expect("reads");
    let rows = histories
        .iter()
        .flat_map(|(account, rows)| rows.iter().map(|r| (account.name.clone(), r.at.0, r.amount.minor(), r.device)));
    rows.collect()
}

#[test]
fn decimals_integers_and_times_are_read_exactly() {
    let dir = tempfile::tempdir().expect("a directory");
    oracle("parquet_types.py", &[dir.path().to_str().expect("a plain path")]);
    let expected = |times: [i64; 3]| {
        let [a, b, c] = times;
        vec![("a".to_owned(), a, 10_000, 1), ("a".to_owned(), b, -1_250, 2), ("b".to_owned(), c, 7, 0)]
    };
    let utc = [1_767_259_800, 1_767_373_201, 1_767_398_400];
    assert_eq!(read(dir.path(), "zoned", "rfc3339"), expected(utc));
    // Without a zone: the mapping's own, eight hours ahead of UTC.
    assert_eq!(read(dir.path(), "local", "rfc3339"), expected(utc.map(|t| t - 8 * 3_600)));
    let midnights = [1_767_225_600, 1_767_312_000, 1_767_398_400];
    assert_eq!(read(dir.path(), "dates", "date"), expected(midnights.map(|t| t - 8 * 3_600)));
}
