//! What is written reads back the same, whatever the format; what is interrupted was never there.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use plimsoll_datasets::synth::{self, Config, Programme};
use plimsoll_datasets::write::{FileFormat, write_berka, write_dataset, write_generated};
use plimsoll_datasets::{Histories, Input, LoadError, OnBadRow, Resolution, open};
use plimsoll_model::Kind;

fn config() -> Config {
    Config { accounts: 200, days: 90, ..Config::default() }
}

fn read(path: &Path) -> Histories {
    let source = open(&Input::at(path)).expect("opens");
    Histories::read(source, OnBadRow::Stop, &mut |_, _| ControlFlow::Continue(())).expect("reads")
}

fn go(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn csv_and_parquet_read_back_as_what_was_generated() {
    let dir = tempfile::tempdir().expect("a directory");
    for programme in Programme::ALL {
        // The first is larger than one slice of a Parquet file.
        let accounts = if programme == Programme::Tng { 600 } else { 100 };
        let config = Config { programme, accounts, ..config() };
        let want = synth::histories(&config).expect("good");
        for format in [FileFormat::Csv, FileFormat::Parquet] {
            let out = dir.path().join(format!("{programme:?}-{format:?}"));
            let made = write_generated(&out, format, &config, &mut go).expect("writes");
            assert_eq!(made.transactions, want.transactions() as u64);
            let got = read(&out);
            assert_eq!(got.sha256(), want.sha256(), "{programme:?} {format:?}");
            assert_eq!(got.report.balance_mismatched, 0);
            assert!(got.report.balance_checked > 0);
            assert_eq!((got.report.out_of_order, got.report.duplicates), (0, 0));
        }
    }
}

#[test]
fn a_village_larger_than_a_slice_was_among_them() {
    let config = Config { accounts: 600, ..config() };
    assert!(synth::histories(&config).expect("good").transactions() > 1 << 17);
}

#[test]
fn a_configuration_file_is_a_source_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("wallets.toml");
    fs::write(&path, toml::to_string(&config()).expect("serialises")).expect("writes");
    let got = read(&path);
    assert_eq!(got.sha256(), synth::histories(&config()).expect("good").sha256());
    assert_eq!(got.report.balance_mismatched, 0);
}

#[test]
fn a_conversion_keeps_everything_that_histories_hold() {
    let dir = tempfile::tempdir().expect("a directory");
    let berka = dir.path().join("berka");
    write_berka(&berka, &config(), &mut go).expect("writes");
    let want = read(&berka);
    for format in [FileFormat::Csv, FileFormat::Parquet] {
        let out = dir.path().join(format!("converted-{format:?}"));
        let mut source = open(&Input::at(&berka)).expect("opens");
        let report = write_dataset(&out, format, &mut *source, OnBadRow::Stop, &mut go).expect("converts");
        assert_eq!(report.rows_kept, want.transactions() as u64);
        let got = read(&out);
        assert_eq!(got.resolution, Resolution::Day);
        assert_eq!(got.sha256(), want.sha256(), "{format:?}");
    }
}

#[test]
fn the_banks_format_keeps_days_amounts_and_balances() {
    let dir = tempfile::tempdir().expect("a directory");
    let berka = dir.path().join("berka");
    let config = Config { adversary_ppm: 100_000, ..config() };
    write_berka(&berka, &config, &mut go).expect("writes");
    let head = fs::read_to_string(berka.join("trans.asc")).expect("reads");
    assert!(head.starts_with("\"trans_id\";\"account_id\";\"date\";\"type\";\"operation\";\"amount\";"));
    assert!(head.contains(";;\r\n"));
    let (want, got) = (synth::histories(&config).expect("good"), read(&berka));
    assert_eq!((got.currency.code(), got.resolution), ("CZK", Resolution::Day));
    assert_eq!(got.report.balance_mismatched, 0);
    let by_name: BTreeMap<String, Vec<_>> = got
        .iter()
        .map(|(account, rows)| {
            let days = rows.iter().map(|r| (got.offset.day(r.at), r.amount.minor(), r.kind)).collect();
            (account.name.clone(), days)
        })
        .collect();
    let mut compared = 0;
    for (i, (account, rows)) in want.iter().enumerate() {
        let moved: Vec<_> = rows
            .iter()
            .filter(|r| r.moved() != 0)
            .map(|r| {
                let kind = match r.kind {
                    Kind::TransferOut => Kind::Bill,
                    Kind::Reload => Kind::CashIn,
                    Kind::Refund => Kind::TransferIn,
                    other => other,
                };
                (want.offset.day(r.at), r.amount.minor(), kind)
            })
            .collect();
        let got_rows = by_name.get(&(i + 1).to_string()).cloned().unwrap_or_default();
        assert_eq!(got_rows, moved, "{}", account.name);
        compared += moved.len();
        if let Some((read, _)) = got.iter().find(|(a, _)| a.name == (i + 1).to_string()) {
            assert_eq!(read.opening_minor, account.opening_minor, "{}", account.name);
            assert_eq!(read.opened_at.map(|at| got.offset.day(at)), account.opened_at.map(|at| want.offset.day(at)));
        }
    }
    assert!(compared > 10_000);
}

#[test]
fn an_interruption_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    for format in [FileFormat::Csv, FileFormat::Parquet] {
        let mut calls = 0;
        let mut stop = |_, _| {
            calls += 1;
            if calls > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let out = dir.path().join("out");
        let result = write_generated(&out, format, &config(), &mut stop);
        assert!(matches!(result, Err(LoadError::Interrupted)), "{result:?}");
        let left: Vec<_> = fs::read_dir(dir.path()).expect("reads").collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let mut stop = |_, _| ControlFlow::Break(());
    let result = write_berka(&dir.path().join("out"), &config(), &mut stop);
    assert!(matches!(result, Err(LoadError::Interrupted)));
    let mut source = synth::Stream::new(&config()).expect("good");
    let out = dir.path().join("out");
    let result = write_dataset(&out, FileFormat::Csv, &mut source, OnBadRow::Stop, &mut stop);
    assert!(matches!(result, Err(LoadError::Interrupted)));
    assert_eq!(fs::read_dir(dir.path()).expect("reads").count(), 0);
    let source = Box::new(synth::Stream::new(&config()).expect("good"));
    let result = Histories::read(source, OnBadRow::Stop, &mut stop);
    assert!(matches!(result, Err(LoadError::Interrupted)));
}

#[test]
fn what_is_there_is_never_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("precious"), "data").expect("writes");
    let error = write_generated(dir.path(), FileFormat::Csv, &config(), &mut go).expect_err("occupied");
    assert!(matches!(error, LoadError::Exists { .. }) && error.is_io());
    assert!(error.to_string().contains("already exists and is not empty"), "{error}");
    let file = dir.path().join("precious");
    assert!(matches!(write_berka(&file, &config(), &mut go), Err(LoadError::Exists { .. })));
    assert_eq!(fs::read_to_string(&file).expect("reads"), "data");
    // An empty directory is a place like any other.
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).expect("makes");
    write_generated(&empty, FileFormat::Csv, &config(), &mut go).expect("writes");
    // Parents are made; a file in their place is named.
    let deep = dir.path().join("not/yet/there");
    write_generated(&deep, FileFormat::Csv, &config(), &mut go).expect("writes");
    let error = write_generated(&file.join("below"), FileFormat::Csv, &config(), &mut go).expect_err("a file");
    assert!(error.is_io() && error.to_string().contains("precious"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    use plimsoll_datasets::write::sheet::Rows;
    for format in [FileFormat::Csv, FileFormat::Parquet] {
        let path = Path::new("/dev/full");
        let histories = synth::histories(&config()).expect("good");
        let result = (|| {
            let mut rows = Rows::create(path, format)?;
            for (account, transactions) in histories.iter() {
                for row in transactions {
                    rows.push(&account.name, row, row.at, None)?;
                }
            }
            rows.finish()
        })();
        let error = result.expect_err("the disk is full");
        assert!(error.is_io(), "{error:?}");
        assert!(error.to_string().starts_with("/dev/full: "), "{error}");
        assert!(error.to_string().to_lowercase().contains("space"), "{error}");
    }
}
