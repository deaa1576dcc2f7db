use proptest::prelude::*;

use super::*;

const COLUMNS: [Column<'static>; 2] =
    [Column { name: "a", may_be_missing: true }, Column { name: "b", may_be_missing: false }];

/// `a ≤ 0.5` low: `b ≤ 2` low 0.125, high 0.25; high −0.0625.
fn light() -> String {
    "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nobjective=quantile\nfeature_names=a b\n\nTree=0\nnum_leaves=3\n\
     num_cat=0\nsplit_feature=0 1\nthreshold=0.5 2\ndecision_type=8 8\nleft_child=1 -1\nright_child=-2 -3\n\
     leaf_value=0.125 -0.0625 0.25\nis_linear=0\nshrinkage=1\n\n\nend of trees\n\nparameters:\n[alpha: 0.01]\nend of parameters\n"
        .to_owned()
}

/// The same with `<`, so that 0.5 and 2 themselves go high.
fn boosted() -> String {
    r#"{"learner":{"feature_names":["a","b"],"gradient_booster":{"name":"gbtree","model":{"tree_info":[0],"trees":[{
        "left_children":[1,3,-1,-1,-1],"right_children":[2,4,-1,-1,-1],"split_indices":[0,1,0,0,0],
        "split_conditions":[5E-1,2E0,-6.25E-2,1.25E-1,2.5E-1],"default_left":[0,1,0,0,0],"split_type":[0,0,0,0,0],
        "tree_param":{"size_leaf_vector":"1"}}]}},"learner_model_param":{"base_score":"[5E-1]","num_class":"0",
        "num_feature":"2","num_target":"1"},"objective":{"name":"reg:quantileerror","quantile_loss_param":
        {"quantile_alpha":"[1E-2]"}}},"version":[3,2,0]}"#
        .to_owned()
}

/// JSON as UBJSON, numbers as XGBoost writes them.
fn binary(value: &serde_json::Value, out: &mut Vec<u8>) {
    let text = |text: &str, out: &mut Vec<u8>| {
        out.push(b'L');
        out.extend((text.len() as i64).to_be_bytes());
        out.extend(text.as_bytes());
    };
    match value {
        serde_json::Value::Object(map) => {
            out.push(b'{');
            for (key, value) in map {
                text(key, out);
                binary(value, out);
            }
            out.push(b'}');
        }
        serde_json::Value::Array(list) => {
            out.extend(b"[#L");
            out.extend((list.len() as i64).to_be_bytes());
            list.iter().for_each(|item| binary(item, out));
        }
        serde_json::Value::String(s) => {
            out.push(b'S');
            text(s, out);
        }
        serde_json::Value::Number(n) if n.is_i64() => {
            out.push(b'l');
            out.extend((n.as_i64().expect("an integer") as i32).to_be_bytes());
        }
        serde_json::Value::Number(n) => {
            out.push(b'd');
            out.extend((n.as_f64().expect("a float") as f32).to_be_bytes());
        }
        _ => out.push(b'Z'),
    }
}

fn boosted_binary() -> Vec<u8> {
    let mut out = Vec::new();
    binary(&serde_json::from_str(&boosted()).expect("JSON"), &mut out);
    out
}

fn read(bytes: &[u8]) -> Result<Joined, ImportError> {
    Imported::join(vec![Imported::read(bytes, &COLUMNS)?])
}

#[track_caller]
fn answers(model: &Joined, row: [f32; 2], want: f64) {
    let found = f64::from(model.forest.evaluate(&row)[0]) / f64::from(plimsoll_model::forest::ONE);
    assert_eq!(found, want, "{row:?}");
}

#[test]
fn equal_goes_low_in_lightgbm_and_high_in_xgboost() {
    let model = read(light().as_bytes()).expect("reads");
    assert_eq!((model.levels[0].get(), model.bounds[0] < 1e-15), (10_000, true), "leaves are whole steps");
    answers(&model, [0.5, 2.0], 0.125);
    answers(&model, [0.5f32.next_up(), 2.0], -0.0625);
    answers(&model, [0.5, 2.0f32.next_up()], 0.25);
    answers(&model, [f32::NAN, 0.0], -0.0625);
    for bytes in [boosted().into_bytes(), boosted_binary()] {
        let model = read(&bytes).expect("reads");
        answers(&model, [0.5f32.next_down(), 2.0f32.next_down()], 0.625);
        answers(&model, [0.5f32.next_down(), 2.0], 0.75);
        answers(&model, [0.5, 0.0], 0.4375);
        answers(&model, [f32::NAN, 0.0], 0.4375);
    }
}

#[test]
fn missing_low_is_written_out_where_it_can_happen() {
    let left = boosted().replace("\"default_left\":[0,1", "\"default_left\":[1,1");
    let model = read(left.as_bytes()).expect("reads");
    answers(&model, [f32::NAN, 0.0], 0.625);
    answers(&model, [f32::NAN, 2.0], 0.75);
    answers(&model, [f32::MAX, 0.0], 0.4375);
    assert_eq!(model.forest.outputs()[0][1].nodes().len(), 9, "the low side twice; the second default costs nothing");
    // Below the copy for missing values no further test of that column remains; below the other none can be missing.
    let nested = left.replace("\"split_indices\":[0,1", "\"split_indices\":[0,0").replace("5E-1,2E0", "5E-1,2E-1");
    let nested = read(nested.as_bytes()).expect("reads");
    answers(&nested, [f32::NAN, 0.0], 0.625);
    assert_eq!(nested.forest.outputs()[0][1].nodes().len(), 7, "one test of the three splits in two");
    // Without missing values in training LightGBM takes them for 0, which is low here.
    let zero = light().replace("decision_type=8 8", "decision_type=0 8");
    answers(&read(zero.as_bytes()).expect("reads"), [f32::NAN, 0.0], 0.125);
}

#[test]
fn a_small_file_cannot_make_a_large_forest() {
    // Each test asks another column and sends missing low: each doubles what lies below it.
    let names: Vec<String> = (0..40).map(|c| format!("c{c}")).collect();
    let columns: Vec<Column<'_>> = names.iter().map(|name| Column { name, may_be_missing: true }).collect();
    let each = |f: &dyn Fn(usize) -> String| (0..40).map(f).collect::<Vec<_>>().join(" ");
    let tree = format!(
        "num_leaves=41\nnum_cat=0\nsplit_feature={}\nthreshold={}\ndecision_type={}\nleft_child={}\nright_child={}\n\
         leaf_value={} 0.5\nis_linear=0\n",
        each(&|n| n.to_string()),
        each(&|_| "1".into()),
        each(&|_| "10".into()),
        each(&|n| if n < 39 { (n + 1).to_string() } else { "-41".into() }),
        each(&|n| (-(n as i64) - 1).to_string()),
        each(&|_| "0.01".into()),
    );
    let text = light().replace("feature_names=a b", &format!("feature_names={}", names.join(" ")));
    let (head, rest) = text.split_once("num_leaves").expect("a tree");
    let text = format!("{head}{tree}\nend of trees{}", rest.split_once("end of trees").expect("an end").1);
    let said = Imported::read(text.as_bytes(), &columns).expect_err("2⁴⁰ nodes").to_string();
    assert!(said.contains("more than 8192 nodes in it, or 400000 in all") && said.contains("--missing top"), "{said}");
}

#[test]
fn damage_names_its_tree_and_node() {
    let refused = |from: &str, to: &str, words: &[&str]| {
        for text in [light(), boosted()] {
            if text.contains(from) {
                let said = read(text.replace(from, to).as_bytes()).expect_err(to).to_string();
                assert!(words.iter().all(|w| said.contains(w)), "{from} → {to}: {said}");
            }
        }
    };
    refused("left_child=1 -1", "left_child=0 -1", &["tree 0", "node 0", "loop"]);
    refused("left_child=1 -1", "left_child=7 -1", &["tree 0", "node 7", "no such node"]);
    refused("left_child=1 -1", "left_child=1 -9", &["tree 0", "no such node"]);
    refused("split_feature=0 1", "split_feature=0 5", &["tree 0", "node 1", "no feature 5"]);
    refused("threshold=0.5 2", "threshold=nan 2", &["tree 0", "node 0", "not a number"]);
    refused("threshold=0.5 2", "threshold=0.5", &["threshold has 1 entries", "2 expected"]);
    refused("leaf_value=0.125", "leaf_value=125", &["tree 0", "fraction"]);
    refused("num_leaves=3", "num_leaves=99999999999", &["tree 0", "leaf_value"]);
    refused("num_leaves=3", "num_leaves=0", &["tree 0"]);
    refused("decision_type=8 8", "decision_type=12 8", &["decision_type 12"]);
    refused("end of trees", "", &["cut"]);
    refused("[1,3,-1,-1,-1]", "[0,3,-1,-1,-1]", &["tree 0", "loop"]);
    refused("[1,3,-1,-1,-1]", "[1,-1,-1,-1,-1]", &["tree 0", "node 1", "child is missing"]);
    refused("[1,3,-1,-1,-1]", "[1,3,-1,-1]", &["tree 0", "do not belong together"]);
    refused("\"split_indices\":[0,1", "\"split_indices\":[0,9", &["tree 0", "node 1", "no feature 9"]);
    refused("5E-1,2E0", "1E39,2E0", &["tree 0", "node 0", "no float32"]);
    refused("\"tree_info\":[0]", "\"tree_info\":[1]", &["tree 0", "target 1"]);
    refused("[5E-1]\"", "[5E2]\"", &["base score", "fraction"]);
    refused("\"num_target\":\"1\"", "\"num_target\":\"99999999\"", &["targets"]);
    refused("\"split_type\":[0", "\"split_type\":[1", &["categorical", "tree 0", "node 0"]);
}

#[test]
fn a_feature_that_no_tree_asks_may_be_unknown_here() {
    let extra = light().replace("feature_names=a b", "feature_names=a b their_own");
    assert!(read(extra.as_bytes()).is_ok());
    let asked = extra.replace("split_feature=0 1", "split_feature=0 2");
    assert_eq!(read(asked.as_bytes()), Err(ImportError::UnknownColumn { name: "their_own".into() }));
}

#[test]
fn models_of_one_level_each_become_one_forest_and_the_same_level_twice_none() {
    let one = |text: String| Imported::read(text.as_bytes(), &COLUMNS).expect("reads");
    let high = light().replace("[alpha: 0.01]", "[alpha: 0.5]");
    let joined = Imported::join(vec![one(high), one(boosted())]).expect("two levels");
    assert_eq!(joined.levels.iter().map(|l| l.get()).collect::<Vec<_>>(), [10_000, 500_000]);
    assert!(joined.bounds[0] > joined.bounds[1], "XGBoost adds in float32");
    let same = Imported::join(vec![one(light()), one(boosted())]).expect_err("1 % twice");
    assert!(same.to_string().contains("1 %"), "{same}");
    let none = Imported::join(vec![one(light().replace("[alpha: 0.01]", ""))]).expect_err("no level");
    assert!(none.to_string().contains("--level"), "{none}");
}

#[test]
fn scores_need_their_columns_and_rows_enough() {
    let model = read(light().as_bytes()).expect("reads");
    let said = |csv: &str| reproduce(&model, &COLUMNS, csv.as_bytes()).expect_err(csv).to_string();
    assert!(said("a,prediction\n1,0.125\n").contains("no column b"));
    assert!(said("a,b\n1,0.125\n").contains("no column prediction"));
    assert!(said("a,b,prediction\n0,0,0.125\n").contains("too few"));
    assert!(said("a,b,prediction\nx,0,0.125\n").contains("row 2: a is"));
    assert!(said("a,b,prediction\n0,,0.125\n").contains("missing"));
    assert!(
        said("a,b,prediction\n0,0,0.12500001\n")
            .contains("row 2: prediction is 0.12500001, the imported trees say 0.125")
    );
    assert!(said("a,b,prediction\n0,0,nan\n").contains("row 2"));
    let fine = format!("their_own,b,a,prediction\n{}", "9,0,,-0.0625\n9,2,0.5,0.125\n9,2.5,0.5,0.25\n".repeat(7));
    let found = reproduce(&model, &COLUMNS, fine.as_bytes()).expect("reproduced");
    assert_eq!((found.rows, found.difference_max, found.leaves_reached, found.leaves), (21, 0.0, 4, 4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Neither a panic nor more memory than the bytes account for: the readers see cuts, flips and foreign bytes.
    #[test]
    fn hostile_bytes_are_refused_or_become_a_forest(
        which in 0usize..3,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
        digits in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"0123456789-.eE,nN".to_vec())), 0..6),
    ) {
        let mut bytes = [light().into_bytes(), boosted().into_bytes(), boosted_binary()][which].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Numbers into other numbers, so that the readers get further.
        for (at, digit) in digits {
            let places: Vec<usize> = (0..bytes.len()).filter(|ix| bytes[*ix].is_ascii_digit()).collect();
            if !places.is_empty() {
                bytes[places[at.index(places.len())]] = digit;
            }
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(model) = read(&bytes) {
            for row in [[0.0, 0.0], [f32::NAN, 1.0], [f32::MAX, -3.0]] {
                prop_assert!(model.forest.evaluate(&row)[0].unsigned_abs() < 1 << 24);
            }
        }
    }
}
