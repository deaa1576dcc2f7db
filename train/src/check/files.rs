//! Is the artifact small, does it belong together, and are its trees what the manifest claims?

use plimsoll_model::artifact::sha256_hex;
use plimsoll_model::features::schema_hash;
use plimsoll_model::monotone::{Direction, prove};

use super::{Bound, Engine, Subject, Verdict};
use crate::log;
use crate::run::MONOTONE;

/// Bytes of the model, and of all that a device downloads with it.
pub(super) fn size(subject: &Subject, _: &[Engine]) -> Result<Vec<Verdict>, String> {
    let bounds = &subject.config()?.check;
    let model = subject.bytes("model.onnx")?.len() as u64;
    let facts = log::canonical(subject.release()?).len() as u64;
    let artifact = model + facts + (subject.bytes("policy.json")?.len() + subject.bytes("golden.json")?.len()) as u64;
    let judge = |of: &str, bytes: u64, max: u64, says: String| {
        Verdict::new(of, bytes, Bound::AtMost(i64::try_from(max).unwrap_or(i64::MAX)), "bytes", says)
    };
    Ok(vec![
        judge("model.onnx", model, bounds.model_bytes_max, format!("the model file has {model} bytes")),
        judge(
            "artifact",
            artifact,
            bounds.artifact_bytes_max,
            format!("{artifact} bytes with policy, golden vectors, manifest and certificate"),
        ),
    ])
}

/// Manifest, certificate, policy, vectors and model name each other as they are.
pub(super) fn named(subject: &Subject, _: &[Engine]) -> Result<Vec<Verdict>, String> {
    let release = subject.release()?;
    let (manifest, terms) = (&release.manifest, &release.certificate.terms);
    let hash = |name: &str| subject.bytes(name).map(sha256_hex);
    let schema = schema_hash();
    let config = subject.config()?;
    let model = subject.model()?;
    let property = |name: &str| model.properties.get(name).cloned().unwrap_or_default();
    let certificate = String::from_utf8_lossy(subject.bytes("certificate.json")?).into_owned();
    let pairs = [
        ("model.onnx, in the certificate", hash("model.onnx")?, terms.model_sha256.clone()),
        ("policy.json, in the certificate", hash("policy.json")?, terms.policy_sha256.clone()),
        ("policy.json, in the manifest", hash("policy.json")?, manifest.policy_sha256.clone()),
        ("golden.json, in the manifest", hash("golden.json")?, manifest.golden_sha256.clone()),
        ("the features, in the certificate", schema.clone(), terms.feature_schema.clone()),
        ("the features, in the manifest", schema.clone(), manifest.feature_schema.clone()),
        ("the features, in the model file", schema, property("feature_schema")),
        ("the model's name, in its file", property("model_id"), manifest.model_id.clone()),
        ("the model's version, in its file", model.version.to_string(), manifest.model_version.to_string()),
        ("the model's name, in the configuration", config.model_id.clone(), manifest.model_id.clone()),
        ("the programme, in the manifest", subject.policy()?.programme.clone(), manifest.programme.clone()),
        ("certificate.json, in release.json", certificate, log::canonical(&release.certificate)),
    ];
    let wrong: Vec<&str> =
        pairs.iter().filter(|(_, found, stated)| found != stated).map(|(name, _, _)| *name).collect();
    let says = match wrong.as_slice() {
        [] => format!("{} hashes and names agree", pairs.len()),
        wrong => format!("not as stated: {}", wrong.join("; ")),
    };
    Ok(vec![Verdict::new("release.json", wrong.len() as u64, Bound::AtMost(0), "differences", says)])
}

/// The proof again, on the file.
pub(super) fn monotone(subject: &Subject, _: &[Engine]) -> Result<Vec<Verdict>, String> {
    let forest = &subject.model()?.forest;
    let claims = &subject.release()?.manifest.monotone;
    let judge = |(feature, direction): (plimsoll_model::features::Feature, Direction)| {
        let name = feature.name();
        let claim = claims.iter().find(|c| c.feature == name && c.increasing == (direction == Direction::Increasing));
        let Some(claim) = claim else { return Verdict::impossible(name, "the manifest does not claim it".into()) };
        match prove(forest, feature as usize, direction) {
            Err(violation) => Verdict::impossible(name, violation.to_string()),
            Ok(proof) => {
                let way = if claim.increasing { "falls" } else { "rises" };
                let says = format!(
                    "no output {way} as it grows: {} pairs of leaves compared, the manifest says {}",
                    proof.pairs, claim.pairs
                );
                let bound = Bound::Exactly(i64::try_from(claim.pairs).unwrap_or(i64::MAX));
                Verdict::new(name, proof.pairs, bound, "pairs", says)
            }
        }
    };
    Ok(MONOTONE.into_iter().map(judge).collect())
}
