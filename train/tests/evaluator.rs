//! From a verified release to a decision: what the edge refuses, and that it decides as the rules say.

mod common;

use std::path::Path;

use common::{history, run};
use plimsoll_edge::trust::{Directory, Floors, TrustedRoot, Verified, verify};
use plimsoll_edge::{Evaluator, RefuseArtifact};
use plimsoll_model::artifact::{Release, sha256_hex};
use plimsoll_model::decision::{Situation, decide};
use plimsoll_model::forest::uncross;
use plimsoll_model::golden::{Golden, GoldenMismatch};
use plimsoll_model::onnx::ModelFile;
use plimsoll_model::{Money, UtcSeconds};
use plimsoll_train::check::{Subject, check};
use plimsoll_train::keys::{self, Holders};
use plimsoll_train::publish::{Files, Override, Terms, init_root, release};
use plimsoll_train::run::stamp;

const NOW: UtcSeconds = UtcSeconds(1_800_000_000);

/// Publishes the run after `change`, verifies it, and hands it to the edge: signatures are always good here.
fn publish(dir: &Path, change: impl FnOnce(&mut Release, &mut Vec<u8>, &mut Vec<u8>, &mut Vec<u8>)) -> Verified {
    let signing = keys::generate(&dir.join("keys")).expect("makes keys");
    let holders = Holders::load(&dir.join("keys")).expect("loads keys");
    let repo = dir.join("repository");
    let root = init_root(&repo, &holders, &signing, NOW, &Terms::default()).expect("makes a root");
    let run = run();
    let (mut model, mut policy, mut golden) = (run.model.clone(), run.policy.to_json(), run.golden.clone());
    let mut stamped = stamp(run.release.clone(), NOW, 90);
    change(&mut stamped, &mut model, &mut policy, &mut golden);
    stamped.manifest.policy_sha256 = sha256_hex(&policy);
    stamped.manifest.golden_sha256 = sha256_hex(&golden);
    // What was changed passes no check, so the risk officer answers for it.
    let check = check(&Subject::published(&stamped, &model, &policy, &golden), &[], &|_, _| {}).to_json();
    let officer = signing.iter().find(|key| key.name() == "targets-risk").expect("a risk officer");
    let signed = Override::sign(&check, officer, "R. Officer", "a test of what devices refuse", NOW).expect("signs");
    let files = Files { model: &model, policy: &policy, golden: &golden, check: &check, overridden: Some(&signed) };
    release(&repo, &signing, &stamped, files, NOW, &Terms::default()).expect("publishes");
    let root = TrustedRoot::from_bytes(&root).expect("a root");
    verify(&Directory::new(repo), &root, &Floors::default(), NOW, None).expect("verifies")
}

fn refused(change: impl FnOnce(&mut Release, &mut Vec<u8>, &mut Vec<u8>, &mut Vec<u8>)) -> RefuseArtifact {
    let dir = tempfile::tempdir().expect("a directory");
    Evaluator::new(&publish(dir.path(), change)).expect_err("refused")
}

#[test]
fn the_edge_decides_as_the_reference_walk_and_the_rules_say() {
    let dir = tempfile::tempdir().expect("a directory");
    let evaluator = Evaluator::new(&publish(dir.path(), |_, _, _, _| {})).expect("runs");
    let (run, history) = (run(), history());
    let forest = ModelFile::decode(&run.model).expect("reads").forest;
    let mut positive = 0;
    for (ix, (account, rows)) in history.iter().enumerate().take(200) {
        let (Some(mut state), Some(last)) = (history.state_before(ix), rows.last()) else { continue };
        rows.iter().for_each(|row| state.push(row).expect("sorted"));
        let features = state.snapshot(last.at.plus(1));
        let balance = Money::floor_at_zero(state.balance_minor());
        let situation = Situation::fresh(balance, account.tier, NOW, 1_000);
        let mut before = balance;
        for (age, decision) in evaluator.curve(&features, &situation) {
            let mut steps = forest.evaluate(&features.clone().with_age(age).0);
            uncross(&mut steps);
            let manifest = evaluator.manifest();
            let certificate = &run.release.certificate;
            let now = NOW.plus(age.seconds());
            assert_eq!(decision, decide(manifest, certificate, &run.policy, &situation, &steps, now));
            assert!(decision.limit <= before, "a limit never rises with age");
            before = decision.limit;
            positive += u32::from(decision.limit > Money::ZERO);
        }
    }
    assert!(positive > 100, "limits are not all zero: {positive}");
}

#[test]
fn a_model_for_other_features_is_refused() {
    let other = refused(|r, _, _, _| r.manifest.feature_schema = "0".repeat(64));
    assert!(matches!(other, RefuseArtifact::FeatureSchema { .. }), "{other}");
    let renamed = refused(|r, _, _, _| r.manifest.features.swap(0, 1));
    assert!(matches!(renamed, RefuseArtifact::Inconsistent { .. }), "{renamed}");
}

#[test]
fn a_file_that_names_another_model_is_refused() {
    let other = refused(|r, _, _, _| r.manifest.model_version += 1);
    assert!(matches!(other, RefuseArtifact::Property { property: "model_version", .. }), "{other}");
    let other = refused(|_, model, _, _| {
        let mut file = ModelFile::decode(model).expect("reads");
        file.properties.insert("programme".into(), "naira".into());
        *model = file.encode();
    });
    assert!(matches!(other, RefuseArtifact::Property { property: "programme", .. }), "{other}");
}

#[test]
fn a_file_cut_before_its_properties_is_refused() {
    let cut = refused(|_, model, _, _| {
        let mut file = ModelFile::decode(model).expect("reads");
        file.properties.clear();
        *model = file.encode();
    });
    assert!(matches!(cut, RefuseArtifact::Property { .. }), "{cut}");
}

#[test]
fn signed_bytes_that_are_no_model_are_refused_all_the_same() {
    let junk = refused(|_, model, _, _| *model = b"signed, and no model".to_vec());
    assert!(matches!(junk, RefuseArtifact::Model(_)), "{junk}");
}

#[test]
fn a_policy_of_another_programme_or_currency_is_refused() {
    let other = refused(|_, _, policy, _| {
        *policy = plimsoll_model::policy::Policy::preset("naira").expect("a preset").to_json();
    });
    assert!(matches!(other, RefuseArtifact::Inconsistent { .. }), "{other}");
}

#[test]
fn an_engine_that_computes_one_bit_differently_is_refused() {
    let feature = refused(|_, _, _, golden| {
        let mut g = Golden::from_json(golden).expect("reads");
        g.cases[2].feature_bits[5] ^= 1;
        *golden = g.to_json();
    });
    assert_eq!(feature, RefuseArtifact::Golden(GoldenMismatch::Feature { case: 2, column: 5 }));
    let output = refused(|_, _, _, golden| {
        let mut g = Golden::from_json(golden).expect("reads");
        g.cases[1].outputs[0].1[0] += 1;
        *golden = g.to_json();
    });
    assert!(matches!(output, RefuseArtifact::Golden(GoldenMismatch::Output { case: 1, .. })), "{output}");
}

#[test]
fn certificate_and_manifest_must_name_the_same_ages() {
    let ages = refused(|r, _, _, _| {
        r.certificate.terms.ages.pop();
    });
    assert!(matches!(ages, RefuseArtifact::Inconsistent { .. }), "{ages}");
}
