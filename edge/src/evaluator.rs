//! From a verified release to decisions: checked, self-tested, then evaluated.

use plimsoll_model::artifact::{Certificate, Manifest, sha256_hex};
use plimsoll_model::decision::{Decision, Situation, certified_age, decide};
use plimsoll_model::features::{FEATURES, FeatureVector, schema_hash};
use plimsoll_model::forest::uncross;
use plimsoll_model::golden::{Golden, GoldenMismatch};
use plimsoll_model::grant::Bytes;
use plimsoll_model::policy::{BadPolicy, Policy};
use plimsoll_model::time::{Age, UtcSeconds};
use sha2::Digest as _;

use crate::model::{Model, RefuseModel};
use crate::trust::Verified;

/// A model that may decide: its signatures were verified, its file bounds-checked, its golden vectors run.
#[derive(Clone, Debug)]
pub struct Evaluator {
    manifest: Manifest,
    certificate: Certificate,
    policy: Policy,
    model: Model,
    digest: Bytes<32>,
}

/// Why a verified release does not run on this engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseArtifact {
    /// Its trees read other features than this build computes.
    #[error("the model reads feature schema {found}, this build computes {expected}: update the app or the model")]
    FeatureSchema {
        /// Of this build.
        expected: String,
        /// Of the model.
        found: String,
    },
    /// The file says something else about itself than the signed manifest.
    #[error("the model file says {property} is {found:?}, the signed manifest {expected:?}")]
    Property {
        /// Which.
        property: &'static str,
        /// Manifest.
        expected: String,
        /// File.
        found: String,
    },
    /// Manifest, certificate and policy do not belong together.
    #[error("the release contradicts itself: {what}")]
    Inconsistent {
        /// How.
        what: &'static str,
    },
    /// The file does not run.
    #[error(transparent)]
    Model(#[from] RefuseModel),
    /// The policy cannot be read.
    #[error("policy: {0}")]
    Policy(#[from] BadPolicy),
    /// This engine computes something else than the one that made the model.
    #[error(transparent)]
    Golden(#[from] GoldenMismatch),
}

impl RefuseArtifact {
    /// A stable name of the cause, `snake_case`, for callers in other languages.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::FeatureSchema { .. } => "feature_schema",
            Self::Property { .. } => "property",
            Self::Inconsistent { .. } => "inconsistent",
            Self::Model(_) => "model",
            Self::Policy(_) => "policy",
            Self::Golden(_) => "golden",
        }
    }
}

impl Evaluator {
    /// Checks a verified release against this engine and makes it ready.
    ///
    /// # Errors
    /// [`RefuseArtifact`]. The caller keeps what it has.
    pub fn new(verified: &Verified) -> Result<Self, RefuseArtifact> {
        let release = verified.release();
        let (manifest, certificate) = (&release.manifest, &release.certificate);
        let expected = schema_hash();
        if manifest.feature_schema != expected {
            return Err(RefuseArtifact::FeatureSchema { expected, found: manifest.feature_schema.clone() });
        }
        let inconsistent = |what| Err(RefuseArtifact::Inconsistent { what });
        if !manifest.features.iter().map(String::as_str).eq(FEATURES.iter().map(|f| f.name)) {
            return inconsistent("the manifest's features are not those of its schema");
        }
        if sha256_hex(verified.policy()) != manifest.policy_sha256 {
            return inconsistent("the policy is not the one the model was certified under");
        }
        if sha256_hex(verified.golden()) != manifest.golden_sha256 {
            return inconsistent("the golden vectors are not the manifest's");
        }
        if certificate.terms.ages != manifest.ages
            || certificate.terms.window_h != manifest.window_h
            || manifest.ages.is_empty()
        {
            return inconsistent("certificate and manifest name other ages or windows");
        }
        let policy = Policy::from_json(verified.policy())?;
        if policy.programme != manifest.programme || policy.currency != manifest.currency {
            return inconsistent("policy and manifest name another programme or currency");
        }

        let model = Model::from_bytes(verified.model())?;
        for (property, expected) in properties(manifest) {
            let found = match property {
                "model_version" => model.version().to_string(),
                _ => model.property(property).unwrap_or_default().to_owned(),
            };
            if found != expected {
                return Err(RefuseArtifact::Property { property, expected, found });
            }
        }
        if model.features() != FEATURES.len() || model.outputs() != manifest.levels.len() {
            return inconsistent("the model has other columns or levels than the manifest");
        }
        let golden = Golden::from_json(verified.golden())?;
        golden.check(&manifest.levels, certificate, |row| model.steps(row))?;
        let digest = Bytes(sha2::Sha256::digest(verified.model()).into());
        Ok(Self { manifest: manifest.clone(), certificate: certificate.clone(), policy, model, digest })
    }

    /// What the model is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of its file: what a grant names it by.
    pub const fn digest(&self) -> Bytes<32> {
        self.digest
    }

    /// What is promised of it.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The rules it runs under.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What may be spent offline at `now`, and why not more.
    ///
    /// * `features`: as taken at the sync; the age is set here.
    pub fn decide(&self, features: &FeatureVector, situation: &Situation, now: UtcSeconds) -> Decision {
        let age = certified_age(&self.manifest.ages, situation.synced_at, now);
        let steps = age.map_or_else(|| vec![0; self.manifest.levels.len()], |age| self.steps_at(features, age));
        decide(&self.manifest, &self.certificate, &self.policy, situation, &steps, now)
    }

    /// The decision at every certified age: the curve an issuer signs as outer bound.
    pub fn curve(&self, features: &FeatureVector, situation: &Situation) -> Vec<(Age, Decision)> {
        let at = |age: &Age| (*age, self.decide(features, situation, situation.synced_at.plus(age.seconds())));
        self.manifest.ages.iter().map(at).collect()
    }

    /// The model's answer at one age, before uncrossing: what golden vectors pin.
    pub fn outputs_at(&self, features: &FeatureVector, age: Age) -> Vec<i32> {
        self.model.steps(&features.clone().with_age(age).0)
    }

    /// The model's uncrossed answer at one age, in steps of the balance, one for each level.
    pub fn steps_at(&self, features: &FeatureVector, age: Age) -> Vec<i32> {
        let mut steps = self.outputs_at(features, age);
        uncross(&mut steps);
        steps
    }
}

/// What a model file repeats of its manifest, so that a file met alone can be told apart.
pub fn properties(manifest: &Manifest) -> [(&'static str, String); 4] {
    [
        ("model_id", manifest.model_id.clone()),
        ("model_version", manifest.model_version.to_string()),
        ("programme", manifest.programme.clone()),
        ("feature_schema", manifest.feature_schema.clone()),
    ]
}
