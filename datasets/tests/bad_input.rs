//! Every way a file can be wrong: a clear error with file, line and column, or a counted skip.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use plimsoll_datasets::{Histories, Input, LoadError, OnBadRow, open};
use plimsoll_model::{Kind, UtcSeconds};
use tempfile::TempDir;

const MAPPING: &str = r#"
[columns]
account = "who"
time = "when"
amount = "sum"
kind = "what"
id = "ref"
currency = "ccy"
[units]
currency = "MYR/2"
amount = "major"
[time]
format = "%Y-%m-%d %H:%M"
zone_minutes = 480
[kinds]
debit = "purchase"
credit = "income"
"#;

const HEADER: &str = "ref,who,when,sum,ccy,what\n";
const GOOD: &str = "1,ann,2024-03-01 09:00,100.00,MYR,income\n2,ann,2024-03-01 10:00,-12.50,MYR,\n";

struct Case {
    dir: TempDir,
    mapping: String,
}

impl Case {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), mapping: MAPPING.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn load(&self, csv: impl AsRef<[u8]>, on_bad: OnBadRow) -> Result<Histories, LoadError> {
        fs::write(self.path("t.csv"), csv).expect("writes");
        fs::write(self.path("m.toml"), &self.mapping).expect("writes");
        let mut input = Input::at(self.path("t.csv"));
        input.mapping = Some(self.path("m.toml"));
        Histories::read(open(&input)?, on_bad, &mut |_, _| ControlFlow::Continue(()))
    }

    /// The third row is bad: stopping says where and why, skipping counts it and keeps the rest.
    #[track_caller]
    fn row(&self, row: impl AsRef<[u8]>, column: Option<&str>, message: &str, reason: &str) {
        let mut csv = format!("{HEADER}{GOOD}").into_bytes();
        csv.extend(row.as_ref());
        csv.extend(b"\n4,ann,2024-03-02 10:00,-1,MYR,bill\n");
        let error = self.load(&csv, OnBadRow::Stop).expect_err("must stop").to_string();
        let place = match column {
            Some(column) => format!("{}, line 4, column {column:?}: ", self.path("t.csv").display()),
            None => format!("{}, line 4: ", self.path("t.csv").display()),
        };
        assert_eq!(error, format!("{place}{message}"));
        let histories = self.load(&csv, OnBadRow::Skip).expect("skips");
        assert_eq!((histories.report.rows_read, histories.report.rows_kept), (4, 3));
        assert_eq!(histories.report.skipped.get(reason), Some(&1), "{:?}", histories.report);
        assert_eq!(histories.report.samples, [error]);
    }
}

#[test]
fn line_ends_and_blank_lines_do_not_move_the_line_number() {
    let case = Case::new();
    let bad = format!("{HEADER}{GOOD}\n\"3\",ann,never,\"1\",MYR,\"a\nb\"\n4,ann,never,1,MYR,");
    for csv in [bad.clone(), bad.replace('\n', "\r\n"), format!("\u{feff}{bad}")] {
        let histories = case.load(csv, OnBadRow::Skip).expect("skips");
        let lines: Vec<bool> =
            histories.report.samples.iter().zip([5, 7]).map(|(s, n)| s.contains(&format!(", line {n}, "))).collect();
        assert_eq!(lines, [true, true], "{:?}", histories.report.samples);
    }
}

#[test]
fn a_good_table_reads_in_the_programmes_own_zone() {
    let histories = Case::new().load(format!("{HEADER}{GOOD}"), OnBadRow::Stop).expect("good");
    let (account, rows) = histories.get(0).expect("one account");
    assert_eq!((account.name.as_str(), rows.len()), ("ann", 2));
    assert_eq!(rows[0].at.rfc3339(), "2024-03-01T01:00:00Z");
    assert_eq!((rows[1].kind, rows[1].amount.minor()), (Kind::Purchase, -1_250));
}

#[test]
fn amounts_that_are_no_exact_money_are_refused() {
    let case = Case::new();
    let row = |sum: &str| format!("3,ann,2024-03-01 11:00,{sum},MYR,");
    let sum = Some("sum");
    case.row(row("12.345"), sum, "\"12.345\" has more decimals than the currency's 2", "too many decimals");
    case.row(row("NaN"), sum, "\"NaN\" is not a decimal number", "amount is not a number");
    case.row(row("1e3"), sum, "\"1e3\" is not a decimal number", "amount is not a number");
    let huge = "\"99999999999999999999\" is larger than 1000000000000000 minor units";
    case.row(row("99999999999999999999"), sum, huge, "amount too large");
    case.row(row(""), sum, "empty", "empty cell");
    case.row(b"3,ann,2024-03-01 11:00,\xff,MYR,", sum, "not UTF-8 text", "not UTF-8");
}

#[test]
fn times_kinds_and_currencies_nobody_knows_are_refused() {
    let case = Case::new();
    let format = "is not a time written as %Y-%m-%d %H:%M";
    case.row("3,ann,2024-02-30 11:00,1,MYR,", Some("when"), &format!("\"2024-02-30 11:00\" {format}"), "bad time");
    case.row("3,ann,yesterday,1,MYR,", Some("when"), &format!("\"yesterday\" {format}"), "bad time");
    let early = "\"1024-03-01 11:00\" is outside the years 1900 to 2200";
    case.row("3,ann,1024-03-01 11:00,1,MYR,", Some("when"), early, "time out of range");
    let mixed = "currency \"USD\", but this data set is in MYR: mixed currencies";
    case.row("3,ann,2024-03-01 11:00,1,USD,", Some("ccy"), mixed, "mixed currencies");
    let wrong_way = "a bill cannot bring money in; map it to another kind";
    case.row("3,ann,2024-03-01 11:00,1,MYR,bill", Some("sum"), wrong_way, "sign contradicts kind");
    case.row("3,,2024-03-01 11:00,1,MYR,", Some("who"), "empty", "empty cell");
    case.row("3,ann,2024-03-01 11:00,1", None, "4 cells, the header has 6", "wrong number of cells");
    let strict = Case { mapping: MAPPING.replace("credit = \"income\"", ""), ..Case::new() };
    let unknown = "\"LUNCH\" is mapped to no kind of movement";
    strict.row("3,ann,2024-03-01 11:00,1,MYR,LUNCH", Some("what"), unknown, "unknown kind");
}

#[test]
fn a_repeated_id_is_a_duplicate_and_another_accounts_is_not() {
    let case = Case::new();
    case.row("2,ann,2024-03-01 11:00,5,MYR,", None, "same id as an earlier row of the account", "duplicate");
    let csv = format!(
        "{HEADER}{GOOD}2,bob,2024-03-01 11:00,5,MYR,\n,bob,2024-03-01 11:00,5,MYR,\n,bob,2024-03-01 11:00,5,MYR,\n"
    );
    let histories = case.load(csv, OnBadRow::Stop).expect("no duplicates here");
    assert_eq!(histories.transactions(), 5);
    assert_eq!(histories.report.duplicates, 0);
}

#[test]
fn rows_out_of_order_are_sorted_and_counted_and_ties_keep_their_order() {
    let csv = format!(
        "{HEADER}1,ann,2024-03-02 09:00,1,MYR,\n2,ann,2024-03-01 09:00,2,MYR,\n3,ann,2024-03-02 09:00,3,MYR,\n4,ann,2024-03-01 09:00,4,MYR,\n"
    );
    let histories = Case::new().load(csv, OnBadRow::Stop).expect("good");
    let amounts: Vec<i64> = histories.get(0).expect("ann").1.iter().map(|r| r.amount.minor()).collect();
    assert_eq!(amounts, [200, 400, 100, 300]);
    assert_eq!(histories.report.out_of_order, 2);
}

#[test]
fn files_without_rows_are_told_apart() {
    let case = Case::new();
    let show = |csv: &str| case.load(csv, OnBadRow::Skip).expect_err("nothing to read").to_string();
    let path = case.path("t.csv");
    assert_eq!(show(""), format!("{} is empty", path.display()));
    assert_eq!(show("\n\n"), format!("{} is empty", path.display()));
    assert_eq!(show(HEADER), format!("{} has a header and no rows", path.display()));
    let renamed = HEADER.replace("sum", "total");
    let missing = "has no column \"sum\"; it has ref, who, when, total, ccy, what";
    assert_eq!(show(&renamed), format!("{} {missing}", path.display()));
    let all_bad = show(&format!("{HEADER}1,ann,never,1,MYR,\n2,ann,never,1,MYR,\n"));
    assert!(all_bad.contains("all 2 rows were refused, the first because: "), "{all_bad}");
    assert!(all_bad.contains("line 2, column \"when\""), "{all_bad}");
}

#[test]
fn files_that_are_not_there_or_not_ours_say_so() {
    let case = Case::new();
    let error = open(&Input::at(case.path("nowhere.csv"))).err().expect("missing");
    assert!(error.is_io() && error.to_string().contains("nowhere.csv"), "{error}");
    let error = open(&Input::at(case.dir.path())).err().expect("nothing we know");
    assert!(matches!(error, LoadError::UnknownFormat { .. }), "{error}");
    fs::write(case.path("x.csv"), "a,b\n1,2\n").expect("writes");
    let error = open(&Input::at(case.path("x.csv"))).err().expect("no mapping");
    assert!(error.to_string().contains("say what its columns mean with a mapping file"), "{error}");
    fs::write(case.path("x.parquet"), "PAR1 this is no parquet file PAR1").expect("writes");
    let mut input = Input::at(case.path("x.parquet"));
    fs::write(case.path("m.toml"), MAPPING).expect("writes");
    input.mapping = Some(case.path("m.toml"));
    let error = open(&input).err().expect("corrupt");
    assert!(error.to_string().contains("x.parquet: "), "{error}");
    input.mapping = Some(case.path("none.toml"));
    assert!(open(&input).err().expect("no mapping file").is_io());
}

#[test]
fn one_account_a_short_history_and_no_positive_balance_are_data_not_errors() {
    let csv = format!("{HEADER}1,ann,2024-03-01 09:00,-5,MYR,\n");
    let histories = Case::new().load(csv, OnBadRow::Stop).expect("readable");
    let described = histories.describe();
    assert_eq!((described.accounts, described.transactions, described.days), (1, 1, 1));
    assert_eq!((described.never_positive_accounts, described.negative_accounts), (1, 1));
}

#[test]
fn signs_follow_the_convention_of_the_table() {
    let load = |sign: &str, row: &str| {
        let mapping = format!("{MAPPING}\n[sign]\n{sign}");
        Case { mapping, ..Case::new() }.load(format!("{HEADER}{row}\n"), OnBadRow::Stop)
    };
    let amount = |sign: &str, row: &str| load(sign, row).expect("good").get(0).expect("ann").1[0].amount.minor();
    let row = |sum: &str, what: &str| format!("1,ann,2024-03-01 09:00,{sum},MYR,{what}");
    assert_eq!(amount("convention = \"debit_positive\"", &row("5", "")), -500);
    assert_eq!(amount("convention = \"debit_positive\"", &row("-5", "")), 500);
    assert_eq!(amount("convention = \"by_kind\"", &row("5", "bill")), -500);
    assert_eq!(amount("convention = \"by_kind\"", &row("5", "refund")), 500);
    let column = "convention = \"column\"\ncolumn = \"what\"\ndebit = [\"D\"]\ncredit = [\"C\"]";
    assert_eq!(amount(column, &row("5", "D")), -500);
    assert_eq!(amount(column, &row("5", "C")), 500);
    let error = load(column, &row("5", "X")).expect_err("neither").to_string();
    assert!(error.contains("column \"what\": \"X\" is listed neither as debit nor as credit"), "{error}");
    let error = load("convention = \"by_kind\"", &row("-5", "bill")).expect_err("a sign").to_string();
    assert!(error.contains("\"-5\" is negative, but the sign comes from another column"), "{error}");
}

#[test]
fn the_balance_column_gives_the_opening_and_is_checked() {
    let mapping = MAPPING.replace("currency = \"ccy\"", "balance = \"ccy\"");
    let case = Case { mapping, ..Case::new() };
    let csv = format!(
        "{HEADER}2,ann,2024-03-01 10:00,-30,70,\n1,ann,2024-03-01 09:00,60,100,\n3,ann,2024-03-01 11:00,-1,99,\n"
    );
    let histories = case.load(csv, OnBadRow::Stop).expect("good");
    assert_eq!(histories.get(0).expect("ann").0.opening_minor, 4_000);
    assert_eq!((histories.report.balance_checked, histories.report.balance_mismatched), (3, 1));
}

#[test]
fn the_accounts_file_is_read_with_the_same_care() {
    let accounts =
        "[accounts]\npath = \"a.csv\"\nname = \"who\"\nopened = \"since\"\ntier = \"kyc\"\nopening = \"start\"\n";
    let case = Case { mapping: format!("{MAPPING}\n{accounts}"), ..Case::new() };
    let csv = format!("{HEADER}{GOOD}");
    fs::write(case.path("a.csv"), "who,since,kyc,start\nann,2023-01-01 00:00,2,40\nbob,,7,0\nann,,1,0\nzoe,,,-5.5\n")
        .expect("writes");
    let error = case.load(&csv, OnBadRow::Stop).expect_err("bob's tier").to_string();
    assert!(error.ends_with("a.csv, line 3, column \"kyc\": \"7\" is not a KYC tier (0, 1, 2 or 3)"), "{error}");
    let histories = case.load(&csv, OnBadRow::Skip).expect("skips");
    let skipped: Vec<_> = histories.report.skipped.iter().map(|(k, v)| (*k, *v)).collect();
    assert_eq!(skipped, [("account listed twice", 1), ("bad tier", 1)]);
    let (ann, _) = histories.get(0).expect("ann");
    assert_eq!((ann.tier.level(), ann.opening_minor), (2, 4_000));
    assert_eq!(ann.opened_at, Some(UtcSeconds(1_672_502_400)));
    assert_eq!(histories.get(1).expect("zoe").0.opening_minor, -550);
    assert_eq!((histories.report.accounts, histories.report.accounts_with_rows), (2, 1));
}

#[test]
fn a_bad_row_of_the_bank_is_named_as_the_bank_names_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let accounts = "\"account_id\";\"district_id\";\"frequency\";\"date\"\r\n7;1;\"POPLATEK MESICNE\";930101\r\n";
    let header = "\"trans_id\";\"account_id\";\"date\";\"type\";\"operation\";\"amount\";\"balance\";\"k_symbol\";\"bank\";\"account\"\r\n";
    let load = |row: &str| {
        fs::write(dir.path().join("account.asc"), accounts).expect("writes");
        fs::write(dir.path().join("trans.asc"), format!("{header}{row}\r\n")).expect("writes");
        Histories::read(open(&Input::at(dir.path()))?, OnBadRow::Stop, &mut |_, _| ControlFlow::Continue(()))
    };
    let error =
        |row: &str| load(row).expect_err("bad").to_string().split_once("trans.asc, ").expect("the file").1.to_owned();
    let row = |date: &str, kind: &str, amount: &str, account: &str| {
        format!("1;{account};{date};\"{kind}\";\"VYBER\";{amount};100.00;\"\";;")
    };
    assert_eq!(
        error(&row("930101", "VYDAJ", "12.345", "7")),
        "line 2, column \"amount\": \"12.345\" has more decimals than the currency's 2"
    );
    assert_eq!(
        error(&row("930231", "VYDAJ", "1", "7")),
        "line 2, column \"date\": \"930231\" is not a time written as %y%m%d"
    );
    assert_eq!(
        error(&row("930101", "CO", "1", "7")),
        "line 2, column \"type\": \"CO\" is mapped to no kind of movement"
    );
    assert_eq!(
        error(&row("930101", "VYDAJ", "1", "8")),
        "line 2, column \"account_id\": account \"8\" is not in the accounts file"
    );
    assert_eq!(
        error(&row("930101", "VYDAJ", "-1", "7")),
        "line 2, column \"amount\": \"-1\" is negative, but the sign comes from another column"
    );
    let histories = load(&row("930101", "VYBER", "1", "7")).expect("good");
    assert_eq!(histories.get(0).expect("7").0.opening_minor, 10_100);
    fs::remove_file(dir.path().join("account.asc")).expect("removes");
    assert!(open(&Input::at(dir.path())).err().expect("no accounts").is_io());
}

#[test]
fn the_worked_example_of_the_readme_works() {
    let readme = include_str!("../README.md");
    let block = |start: &str| {
        let from = readme.find(start).expect("the block") + start.len();
        readme[from..].split("```").next().expect("its end").to_owned()
    };
    let case = Case::new();
    fs::write(case.path("history.csv"), block("```text\n")).expect("writes");
    fs::write(case.path("history.toml"), block("```toml\n")).expect("writes");
    let mut input = Input::at(case.dir.path());
    input.mapping = Some(case.path("history.toml"));
    let source = open(&input).expect("opens");
    let histories = Histories::read(source, OnBadRow::Stop, &mut |_, _| ControlFlow::Continue(())).expect("reads");
    let (account, rows) = histories.get(0).expect("9001");
    assert_eq!(account.opening_minor, 1_020);
    let kinds: Vec<Kind> = rows.iter().map(|r| r.kind).collect();
    assert_eq!(kinds, [Kind::Income, Kind::Purchase, Kind::Bill]);
    assert_eq!(histories.report.balance_mismatched, 0);
}

/// A Parquet table of one account with the given amounts.
fn parquet(case: &Case, amounts: polars::prelude::Series, on_bad: OnBadRow) -> Result<Histories, LoadError> {
    use polars::prelude::{Column, DataFrame, ParquetWriter};
    let n = amounts.len();
    let text = |name: &str, value: &str| Column::new(name.into(), vec![value; n]);
    let when: Vec<i64> = (0..n as i64).map(|i| 1_709_254_800 + i).collect();
    let columns = vec![text("who", "ann"), Column::new("when".into(), when), amounts.into()];
    let mut frame = DataFrame::new_infer_height(columns).expect("a frame");
    let file = fs::File::create(case.path("t.parquet")).expect("creates");
    ParquetWriter::new(file).finish(&mut frame).expect("writes");
    let mapping = "[columns]\naccount = \"who\"\ntime = \"when\"\namount = \"sum\"\n[units]\ncurrency = \"MYR/2\"\namount = \"major\"\n[time]\nformat = \"unix_s\"\n";
    fs::write(case.path("p.toml"), mapping).expect("writes");
    let mut input = Input::at(case.path("t.parquet"));
    input.mapping = Some(case.path("p.toml"));
    Histories::read(open(&input)?, on_bad, &mut |_, _| ControlFlow::Continue(()))
}

#[test]
fn a_nan_in_a_parquet_column_is_named_by_its_row() {
    use polars::prelude::{NamedFrom, Series};
    let case = Case::new();
    let sums =
        Series::new("sum".into(), vec![Some(1.5), Some(f64::NAN), None, Some(0.1 + 0.2), Some(1e-3), Some(-2.0)]);
    let error = parquet(&case, sums.clone(), OnBadRow::Stop).expect_err("not a number").to_string();
    let path = case.path("t.parquet");
    assert_eq!(error, format!("{}, line 2, column \"sum\": NaN is not a finite number", path.display()));
    let histories = parquet(&case, sums, OnBadRow::Skip).expect("skips");
    let amounts: Vec<i64> = histories.get(0).expect("ann").1.iter().map(|r| r.amount.minor()).collect();
    assert_eq!(amounts, [150, 30, -200]);
    let skipped: Vec<_> = histories.report.skipped.iter().map(|(k, v)| (*k, *v)).collect();
    assert_eq!(skipped, [("empty cell", 1), ("not a finite number", 1), ("too many decimals", 1)]);
}

#[test]
fn parquet_columns_of_the_wrong_name_or_type_and_files_without_rows_are_told_apart() {
    use polars::prelude::{NamedFrom, Series};
    let case = Case::new();
    let error = parquet(&case, Series::new("total".into(), vec![1.0]), OnBadRow::Skip).expect_err("no column");
    assert!(error.to_string().contains("has no column \"sum\"; it has who, when, total"), "{error}");
    let error = parquet(&case, Series::new("sum".into(), vec![true]), OnBadRow::Skip).expect_err("no amount");
    assert!(error.to_string().contains("column \"sum\" is of type Boolean"), "{error}");
    let error = parquet(&case, Series::new("sum".into(), Vec::<f64>::new()), OnBadRow::Skip).expect_err("no rows");
    assert!(matches!(error, LoadError::NoRows { .. }), "{error}");
}

const PAYSIM: &str = "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,isFlaggedFraud\n";

fn paysim(dir: &Path, rows: &str, on_bad: OnBadRow) -> Result<Histories, LoadError> {
    let path = dir.join("paysim.csv");
    fs::write(&path, format!("{PAYSIM}{rows}")).expect("writes");
    Histories::read(open(&Input::at(path))?, on_bad, &mut |_, _| ControlFlow::Continue(()))
}

#[test]
fn a_line_of_paysim_moves_both_customers() {
    let dir = tempfile::tempdir().expect("a directory");
    let rows = "1,PAYMENT,98.64,C1,170.00,71.36,M1,0.0,0.0,0,0\n\
                1,TRANSFER,50.00,C1,71.36,21.36,C2,10.0,60.0,1,0\n\
                2,CASH_IN,20.00,C2,60.00,80.00,C3,500.0,480.0,0,0\n\
                3,TRANSFER,9000.00,C3,480.00,480.00,C1,21.36,21.36,1,1\n";
    let histories = paysim(dir.path(), rows, OnBadRow::Stop).expect("a flagged transfer is no reason to stop");
    let kinds = |i: usize| {
        let (account, rows) = histories.get(i).expect("an account");
        (account.opening_minor, rows.iter().map(|r| (r.kind, r.amount.minor())).collect::<Vec<_>>())
    };
    assert_eq!(kinds(0), (17_000, vec![(Kind::Purchase, -9_864), (Kind::TransferOut, -5_000)]));
    assert_eq!(kinds(1), (1_000, vec![(Kind::TransferIn, 5_000), (Kind::CashIn, 2_000)]));
    assert_eq!(kinds(2), (50_000, vec![(Kind::CashOut, -2_000)]));
    assert_eq!(histories.get(0).expect("C1").1[0].at.rfc3339(), "2016-01-01T01:00:00Z");
    assert_eq!(histories.report.skipped.get("not executed"), Some(&1));
    assert_eq!((histories.report.rows_read, histories.report.rows_kept), (6, 5));
    assert_eq!(histories.report.balance_mismatched, 0);
}

#[test]
fn a_bad_row_of_paysim_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = |row: &str| {
        let error = paysim(dir.path(), row, OnBadRow::Stop).expect_err("bad").to_string();
        error.split_once("paysim.csv, ").expect("the file").1.to_owned()
    };
    assert_eq!(
        error("1,BARTER,1,C1,0,0,M1,0,0,0,0\n"),
        "line 2, column \"type\": \"BARTER\" is mapped to no kind of movement"
    );
    assert_eq!(
        error("x,PAYMENT,1,C1,0,0,M1,0,0,0,0\n"),
        "line 2, column \"step\": \"x\" is not a whole number in range"
    );
    assert_eq!(
        error("1,PAYMENT,1.001,C1,0,0,M1,0,0,0,0\n"),
        "line 2, column \"amount\": \"1.001\" has more decimals than the currency's 2"
    );
    assert_eq!(error("1,PAYMENT,1,,0,0,M1,0,0,0,0\n"), "line 2, column \"nameOrig\": empty");
}
