//! Models that LightGBM and XGBoost trained, imported: every row goes the way it went there, and what the two say of their
//! own predictions (attributions, gains) is what we say of the imported forest.

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use common::oracle;
use plimsoll_model::attribution::{Attributor, Covers};
use plimsoll_model::forest::ONE;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::import::{Column, ImportError, Imported, Joined, Reproduced, columns, reproduce};
use plimsoll_train::importance::{Loss, gains};

/// Two that are never missing, and others.
const NAMES: [&str; 7] = [
    "tx_count_30d",
    "kyc_tier",
    "avg_tx_amount_30d",
    "reload_amount_avg",
    "low_7d_share",
    "fall_3d_q90_share",
    "in_gap_cv",
];

/// What the oracle wrote, by file name.
fn written() -> &'static HashMap<String, Vec<u8>> {
    static WRITTEN: OnceLock<HashMap<String, Vec<u8>>> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut args = vec![dir.path().to_str().expect("a plain path")];
        args.extend(NAMES);
        oracle("foreign_models.py", &args);
        let files = std::fs::read_dir(dir.path()).expect("lists").map(|e| e.expect("an entry").path());
        let name = |path: &Path| path.file_name().expect("a file").to_string_lossy().into_owned();
        files.map(|path| (name(&path), std::fs::read(&path).expect("reads"))).collect()
    })
}

fn file(case: &str, what: &str) -> &'static [u8] {
    written().get(&format!("{case}.{what}")).unwrap_or_else(|| panic!("the oracle wrote no {case}.{what}"))
}

fn cases(prefix: &str) -> Vec<&'static str> {
    let mut cases: Vec<&str> = written().keys().filter_map(|f| f.strip_suffix(".model")).collect();
    cases.retain(|case| case.starts_with(prefix));
    cases.sort_unstable();
    assert!(!cases.is_empty(), "{prefix}");
    cases
}

fn imported(case: &str) -> Joined {
    let mut model = Imported::read(file(case, "model"), &columns()).unwrap_or_else(|e| panic!("{case}: {e}"));
    let (rounding, trees) = (model.outputs[0].rounding_max, model.outputs[0].trees.len());
    assert!(rounding <= trees as f64 / 2.0 / f64::from(ONE), "{case}: half a step for each tree");
    if model.outputs.len() == 1 {
        // A model for the mean says no level.
        model.outputs[0].level.get_or_insert(Ppm::new(50_000).expect("5 %"));
    }
    Imported::join(vec![model]).unwrap_or_else(|e| panic!("{case}: {e}"))
}

fn scored(case: &str, model: &Joined) -> Result<Reproduced, ImportError> {
    reproduce(model, &columns(), file(case, "csv"))
}

/// Rows as our columns, and the cells of the CSV in which they stand.
fn rows(case: &str) -> Vec<Vec<f32>> {
    let place: Vec<usize> =
        NAMES.iter().map(|n| columns().iter().position(|c| c.name == *n).expect("a feature")).collect();
    let text = std::str::from_utf8(file(case, "csv")).expect("text");
    let row = |line: &str| {
        let mut row = vec![f32::NAN; columns().len()];
        for (cell, at) in line.split(',').zip(&place) {
            row[*at] = if cell.is_empty() { f32::NAN } else { cell.parse().expect("a number") };
        }
        row
    };
    text.lines().skip(1).map(row).collect()
}

fn doubles(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight"))).collect()
}

#[test]
fn scores_stored_beside_a_model_are_reproduced_within_rounding() {
    for case in cases("light").into_iter().chain(cases("boosted")) {
        let model = imported(case);
        let found = scored(case, &model).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(found.rows, 3_000);
        assert!(found.bound < 2e-4, "{case}: a bound that says something: {found:?}");
        assert!(found.difference_max < 2e-5, "{case}: {found:?}");
        assert!(found.leaves_reached > 500, "{case}: {found:?}");
    }
    assert_eq!(imported("boosted-levels").levels.iter().map(|l| l.get()).collect::<Vec<_>>(), [50_000, 500_000]);
    assert_eq!(
        Imported::read(file("light-holes", "model"), &columns()).expect("reads").outputs[0].level,
        Ppm::new(50_000).ok()
    );
}

#[test]
fn json_and_ubjson_of_one_model_give_one_forest() {
    assert_eq!(imported("boosted-holes").forest, imported("boosted-binary").forest);
}

#[test]
fn scores_of_another_model_are_refused() {
    let model = imported("light-holes");
    let other = scored("light-unseen", &model).expect_err("other scores");
    assert!(matches!(other, ImportError::NotReproduced { row: 2, .. }), "{other}");
    // One score off by 10⁻⁴, in the last row.
    let text = std::str::from_utf8(file("light-holes", "csv")).expect("text");
    let (all, last) = text.trim_end().rsplit_once(',').expect("a cell");
    let off = format!("{all},{}\n", last.trim().parse::<f64>().expect("a score") + 1e-4);
    let other = reproduce(&model, &columns(), off.as_bytes()).expect_err("one score off");
    assert!(matches!(other, ImportError::NotReproduced { row: 3_001, .. }), "{other}");
    // A model that lost its last tree.
    let mut cut = model.clone();
    let trees = cut.forest.outputs()[0].clone();
    cut.forest = plimsoll_model::forest::Forest::new(columns().len(), vec![trees[..40].to_vec()]).expect("a forest");
    assert!(scored("light-holes", &cut).is_err());
}

#[test]
fn what_our_trees_cannot_say_is_refused_by_name() {
    let refused = |case: &str, word: &str| match Imported::read(file(case, "model"), &columns()) {
        Err(ImportError::Unsupported { what, .. }) => assert!(what.contains(word), "{case}: {what}"),
        other => panic!("{case}: {other:?}"),
    };
    refused("no-category", "categorical");
    refused("no-linear", "linear");
    refused("no-average", "average");
    refused("no-link", "poisson");
    refused("no-dart", "dart");
    refused("no-logistic", "binary:logistic");
    refused("no-vector", "vectors");
    let others: Vec<Column<'_>> = columns().into_iter().filter(|c| c.name != NAMES[3]).collect();
    let unknown = Imported::read(file("light-holes", "model"), &others).expect_err("a feature is not there");
    assert!(matches!(&unknown, ImportError::UnknownColumn { name } if name == NAMES[3]), "{unknown}");
}

#[test]
fn attributions_are_those_of_lightgbm_and_xgboost() {
    for case in ["light-whole", "light-mean", "boosted-whole", "boosted-mean"] {
        let model = imported(case);
        let rows = rows(case);
        let covers = Covers::of(&model.forest, rows.iter().map(Vec::as_slice)).expect("rows");
        let attributor = Attributor::new(&model.forest, &covers);
        let theirs = doubles(file(case, "contrib"));
        assert_eq!(theirs.len(), rows.len() * (NAMES.len() + 1));
        // Rounded leaves, a rounded part, and XGBoost's sums in float32.
        let near = 2e-5;
        let share = |steps: i32| f64::from(steps) / f64::from(ONE);
        let mut largest = 0.0f64;
        for (row, theirs) in rows.iter().zip(theirs.chunks_exact(NAMES.len() + 1)).take(600) {
            let ours = attributor.attribute(0, row);
            assert_eq!(ours.prediction(), model.forest.evaluate(row)[0], "{case}: additive to the step");
            assert!((share(ours.expected) - theirs[NAMES.len()]).abs() < near, "{case}: expected value");
            for (column, there) in columns().iter().zip(&ours.features) {
                match NAMES.iter().position(|n| *n == column.name) {
                    Some(at) => {
                        largest = largest.max(theirs[at].abs());
                        assert!((share(*there) - theirs[at]).abs() < near, "{case}, {}: {there}", column.name);
                    }
                    None => assert_eq!(*there, 0, "{case}, {}", column.name),
                }
            }
        }
        assert!(largest > 100.0 * near, "{case}: there is something to attribute: {largest}");
    }
}

#[test]
fn gains_recomputed_from_rows_are_those_lightgbm_counted_as_it_grew() {
    for (case, loss) in
        [("light-mean", Loss::Squared), ("light-quantile-gain", Loss::Pinball(Ppm::new(50_000).expect("5 %")))]
    {
        let model = imported(case);
        let rows = rows(case);
        let table = ndarray::Array2::from_shape_fn((rows.len(), columns().len()), |(r, c)| rows[r][c]);
        let targets: Vec<i32> =
            doubles(file("whole", "targets")).iter().map(|y| (y * f64::from(ONE)).round() as i32).collect();
        let ours = gains(&model.forest, 0, table.view(), &targets, loss);
        let theirs = doubles(file(case, "gain"));
        let all: f64 = theirs.iter().sum();
        for (name, theirs) in NAMES.iter().zip(&theirs) {
            let column = columns().iter().position(|c| c.name == *name).expect("a feature");
            // They sum float32 gradients, and their leaves are not rounded.
            assert!((ours[column] - theirs).abs() < 2e-3 * all, "{case}, {name}: {} against {theirs}", ours[column]);
        }
        assert!((ours.iter().sum::<f64>() / all - 1.0).abs() < 2e-3, "{case}");
    }
}

/// The whole way on the command line: rows out, a model trained on them by XGBoost and by LightGBM, certified here,
/// published, and its limits explained.
#[test]
fn a_model_trained_elsewhere_becomes_an_artifact_whose_limits_are_explained() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path();
    let run = |args: &[&str]| {
        let binary = env!("CARGO_BIN_EXE_plimsoll");
        std::process::Command::new(binary).current_dir(at).args(args).output().expect("the binary starts")
    };
    let works = |args: &[&str]| {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let refuses = |args: &[&str], code: i32, word: &str| {
        let output = run(args);
        let says = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {says}");
        assert!(says.contains(word) && !says.contains("panicked"), "{args:?}: {says}");
    };
    let json = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&works(&[args, &["--json"]].concat())).expect("JSON")
    };
    // So few accounts certify little, and a simpler rule would do: what is tried here is the forest's.
    let config = "target = \"committed\"\n[calibration]\nalpha = 150_000\n[calibration.objective]\nsimpler_within_milli = 0\n\
        [split]\nchoose_milli = 250\ncalibrate_milli = 300\nwindows_per_account = 6\n";
    std::fs::write(at.join("limit.toml"), config).expect("writes");
    works(&["data", "synth", "--accounts", "900", "--days", "150", "--seed", "4", "--out", "wallets"]);
    let data = ["--data", "wallets", "--config", "limit.toml"];
    let text = |name: &str| at.join(name).to_str().expect("a plain path").to_owned();
    works(&["keys", "keys"]);
    for (version, engine, missing) in [(1, "xgboost", "top"), (2, "lightgbm", "empty")] {
        let name = |end: &str| format!("{engine}.{end}");
        let (rows, model, scores, forest, out) =
            (name("csv"), name("model"), name("scores"), name("onnx"), format!("runs/{engine}"));
        works(&[&["data", "windows", "--missing", missing, "--out", &rows][..], &data].concat());
        let model = if engine == "xgboost" { "xgboost.ubj".to_owned() } else { model };
        oracle("train_elsewhere.py", &[&text(&rows), &text(&model), &text(&scores), engine, "0.01"]);

        let import = ["import", &model, "--scores", &scores, "--out", &forest];
        // What these learned of an older sync, or account, is not what a limit may do.
        refuses(&import, 6, "--monotone");
        assert!(!at.join(&forest).exists(), "what is refused leaves no file");
        let said = json(&[&import[..], &["--monotone"]].concat());
        let count = |key: &str| said[key].as_u64().expect("a count");
        assert!(said["enforced"]["leaves_moved"].as_u64() > Some(0), "{said}");
        let twice = count("nodes") > count("nodes_there") + 1;
        assert_eq!(twice, missing == "empty", "with missing values at the top nothing is written twice: {said}");
        assert_eq!((&said["levels"], &said["reproduced"]["rows"]), (&serde_json::json!([10_000]), &500.into()));

        std::fs::write(at.join("this.toml"), format!("model_id = \"there\"\nmodel_version = {version}\n{config}"))
            .expect("writes");
        let train = ["train", "--data", "wallets", "--config", "this.toml", "--forest", &forest, "--out", &out];
        assert!(works(&train).contains("Certificate"));
        assert!(works(&["inspect", &out, "--recheck"]).contains("the trees are monotone"));
        works(&["check", &out, "--data", "wallets"]);
        works(&["publish", "--run", &out, "--keys", "keys", "--repo", "repository"]);
        let release = std::fs::read(at.join(&out).join("model.onnx")).expect("reads");
        let made_by = plimsoll_model::onnx::ModelFile::decode(&release).expect("reads").properties["made_by"].clone();
        assert!(made_by.to_lowercase().starts_with(engine), "{made_by}");
    }
    works(&["verify", "repository", "--root", "keys/root.json"]);
    let important = json(&["importance", "--run", "runs/xgboost", "--data", "wallets"]);
    assert!(important[0]["permutation"]["mean"].as_f64() > Some(0.0), "{}", important[0]);

    // What is no imported forest, and scores of another model.
    let own = std::fs::read(at.join("runs/xgboost/model.onnx")).expect("reads");
    std::fs::write(at.join("own.onnx"), own).expect("writes");
    for (forest, word) in [("limit.toml", "plimsoll import"), ("own.onnx", "levels_ppm")] {
        refuses(&["train", "--data", "wallets", "--config", "limit.toml", "--forest", forest, "--out", "no"], 3, word);
    }
    refuses(&["import", "xgboost.ubj", "--scores", "lightgbm.scores", "--out", "no"], 6, "the imported trees say");
    refuses(&["import", "limit.toml", "--scores", "lightgbm.scores", "--out", "no"], 3, "limit.toml");

    let explain = ["explain", "--repo", "repository", "--root", "keys/root.json", "--data", "wallets"];
    let names: Vec<String> = (0..30).map(|n| format!("u{n:07}")).collect();
    let accounts: Vec<&str> = names.iter().flat_map(|name| ["--account", name]).collect();
    let situation = ["--age", "0", "--age", "4000", "--pending", "150", "--spent-24h", "200"];
    let explained = json(&[&explain[..], &accounts, &situation].concat());
    let explained = explained.as_array().expect("a list");
    assert_eq!(explained.len(), 60);
    let mut featured = 0;
    for one in explained {
        let sum: i64 =
            one["parts"].as_array().expect("parts").iter().map(|p| p["amount"].as_i64().expect("minor")).sum();
        let limit = one["decision"]["limit"].as_i64().expect("minor");
        assert_eq!(sum, limit, "{one}");
        featured += usize::from(one["parts"].as_array().expect("parts").iter().any(|p| p["cause"] == "feature"));
        for better in one["raised_by"].as_array().expect("advice") {
            assert!(better["limit"].as_i64() > Some(limit), "{better}");
        }
    }
    assert!(featured > 0, "no limit was the model's");
    let said = works(&[&explain[..], &["--age", "4000", "--spent-24h", "200"]].concat());
    assert!(said.contains("= the limit"), "{said}");
}
