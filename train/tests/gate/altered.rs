//! A certificate altered in any field, or a calibration log with one row changed, is refused: by `certificate verify` and by
//! the check before publishing.

use std::collections::BTreeMap;

use plimsoll_model::Tier;
use plimsoll_model::artifact::{Basis, Certificate, Terms, TierTerms};
use plimsoll_model::calibration::Target;
use plimsoll_model::forest::ONE;
use plimsoll_model::money::Money;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::{Age, UtcSeconds};
use plimsoll_train::calibrate::{Log, Scored, derive, verify};
use plimsoll_train::check::{CHECKS, Subject};
use plimsoll_train::log;
use serde_json::{Value, json};

fn money(minor: u64) -> Money {
    Money::from_minor(minor).expect("small")
}

/// Forty accounts in each of two tiers and in each part, two windows each: enough to certify 20 %.
fn small() -> Log {
    let ppm = |v| Ppm::new(v).expect("a level");
    let tier = |n| Tier::new(n).expect("a tier");
    let terms = Terms {
        levels: vec![ppm(10_000), ppm(50_000)],
        tiers: [0, 1].map(|n| TierTerms { tier: tier(n), cap: Some(money(5_000)), fallback: money(100) }).to_vec(),
        model_sha256: "ab".repeat(32),
        ..Terms::new(ppm(200_000), ppm(50_000), Target::Strict, 72, vec![Age(0), Age(1_440)])
    };
    let part = |part: u32| {
        let window = |ix: u32| {
            let (account, n) = (ix / 2, u64::from(ix) * 37 % 101);
            let balance = 2_000 + n * 30;
            Scored {
                account: part * 1_000 + account,
                tier: tier((account / 40) as u8),
                at: UtcSeconds(i64::from(part * 86_400 + ix % 2)),
                balance: money(balance),
                demand: money(n * 11),
                history: (ONE / 3) as i32,
                headroom: vec![money(balance * (60 + n % 40) / 100), money(balance * (50 + n % 40) / 100)],
                steps: [55, 45, 60, 50].map(|percent| (ONE * percent / 100) as i32).to_vec(),
            }
        };
        (0..160).map(window).collect::<Vec<_>>()
    };
    Log { terms, choose: part(0), calibrate: part(1), test: part(2) }
}

/// What the check of a run with these two files says of its certificate: how many numbers differ, or why it cannot say.
fn checked(certificate: &Value, log: &[u8]) -> Result<i64, String> {
    let run: Value = json!({ "manifest": manifest(), "certificate": certificate });
    let files = [("release.json", serde_json::to_vec(&run).expect("JSON")), ("calibration.csv", log.to_vec())];
    let subject =
        Subject::of(files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect::<BTreeMap<_, _>>());
    let check = CHECKS.iter().find(|c| c.name == "certificate").expect("there is one");
    (check.run)(&subject, &[]).map(|verdicts| {
        assert_eq!(verdicts[0].passed, verdicts[0].figure == 0);
        verdicts[0].figure
    })
}

fn manifest() -> Value {
    json!({
        "schema": 2, "model_id": "m", "model_version": 1, "rollback_index": 0, "programme": "tng", "currency": "MYR/2",
        "feature_schema": "", "features": [], "levels": [10_000], "ages": [0], "window_h": 72, "opset": 3, "engine_min": 1,
        "engine_max": 1, "policy_sha256": "", "golden_sha256": "", "hard_cap_by_tier": [], "issued_at": 0,
        "use_not_after": 0, "grace_days": 0, "monotone": []
    })
}

/// Every way to alter one field, one place at a time: what it is called, and the whole with it.
fn alterations(whole: &Value) -> Vec<(String, Value)> {
    fn paths(at: &str, value: &Value, found: &mut Vec<String>) {
        if !at.is_empty() {
            found.push(at.to_owned());
        }
        match value {
            Value::Object(members) => members.iter().for_each(|(name, v)| paths(&format!("{at}/{name}"), v, found)),
            Value::Array(items) => items.iter().enumerate().for_each(|(ix, v)| paths(&format!("{at}/{ix}"), v, found)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    paths("", whole, &mut all);
    let mut altered = Vec::new();
    for path in all {
        let mut with = |how: &str, change: &dyn Fn(&mut Value)| {
            let mut other = whole.clone();
            change(other.pointer_mut(&path).expect("it is there"));
            altered.push((format!("{path} {how}"), other));
        };
        match whole.pointer(&path).expect("it is there") {
            Value::Number(_) => {
                with("one more", &|v| *v = json!(v.as_i64().expect("whole") + 1));
                with("nothing", &|v| *v = Value::Null);
            }
            Value::String(_) => with("one letter more", &|v| *v = json!(format!("{}x", v.as_str().expect("text")))),
            Value::Null => with("a number", &|v| *v = json!(1)),
            Value::Bool(_) => with("turned", &|v| *v = json!(!v.as_bool().expect("a bool"))),
            Value::Array(items) if !items.is_empty() => {
                with("one fewer", &|v| drop(v.as_array_mut().expect("a list").pop()));
                with("the first twice", &|v| {
                    let items = v.as_array_mut().expect("a list");
                    items.insert(0, items[0].clone());
                });
            }
            Value::Array(_) => {}
            Value::Object(members) => {
                for name in members.keys() {
                    with(&format!("without {name}"), &|v| drop(v.as_object_mut().expect("an object").remove(name)));
                }
            }
        }
    }
    altered
}

#[test]
fn a_certificate_altered_in_any_field_is_refused() {
    let log = small();
    let bytes = log::write(&log);
    let honest = derive(&log);
    assert!(honest.cells.iter().all(|c| c.basis == Basis::Certified), "{:?}", honest.cells);
    let whole = serde_json::to_value(&honest).expect("plain data");
    assert_eq!((verify(&honest, &log), checked(&whole, &bytes)), (Vec::new(), Ok(0)));
    let altered = alterations(&whole);
    assert!(altered.len() > 300, "every field, every member and every item: {}", altered.len());
    let (mut unreadable, mut differing) = (0, 0);
    for (how, value) in altered {
        let Ok(read) = serde_json::from_value::<Certificate>(value.clone()) else {
            unreadable += 1;
            assert!(checked(&value, &bytes).is_err(), "{how}");
            continue;
        };
        if read == honest {
            // A member left out that has a default: it says the same, and is refused for how it is written.
            assert_ne!(log::canonical(&value), log::canonical(&read), "{how}");
            continue;
        }
        assert!(!verify(&read, &log).is_empty(), "{how} was accepted");
        assert!(checked(&value, &bytes).is_ok_and(|differences| differences > 0), "{how} passed the check");
        differing += 1;
    }
    assert!(unreadable > 50 && differing > 150, "{unreadable} {differing}");
}

#[test]
fn a_log_with_any_row_changed_is_refused() {
    let honest = derive(&small());
    let whole = serde_json::to_value(&honest).expect("plain data");
    let text = String::from_utf8(log::write(&small())).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 + 3 * 160);
    let refused = |how: &str, lines: &[String]| {
        let bytes = (lines.join("\n") + "\n").into_bytes();
        match log::read(&bytes) {
            Err(why) => assert!(!why.is_empty()),
            Ok(log) => assert!(!verify(&honest, &log).is_empty(), "{how} was accepted"),
        }
        bytes
    };
    let columns = lines[2].split(',').count();
    for row in 0..lines.len() {
        let mut changed: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        // Another column in each row, so that all are met many times.
        let column = row % columns;
        let mut cells: Vec<String> = changed[row].split(',').map(str::to_owned).collect();
        let column = column.min(cells.len() - 1);
        cells[column] =
            cells[column].parse::<i64>().map_or_else(|_| format!("{}x", cells[column]), |n| (n + 1).to_string());
        changed[row] = cells.join(",");
        let bytes = refused(&format!("line {}, column {}", row + 1, column + 1), &changed);
        if row % 40 == 0 {
            assert_ne!(checked(&whole, &bytes), Ok(0), "line {} passed the check", row + 1);
        }
    }
    for row in (2..lines.len()).step_by(11) {
        let all: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        let mut fewer = all.clone();
        fewer.remove(row);
        refused(&format!("without line {}", row + 1), &fewer);
        let mut twice = all.clone();
        twice.insert(row, all[row].clone());
        refused(&format!("line {} twice", row + 1), &twice);
        let mut turned = all;
        turned.swap(row, if row + 1 < lines.len() { row + 1 } else { row - 1 });
        refused(&format!("line {} and its neighbour turned", row + 1), &turned);
    }
}
