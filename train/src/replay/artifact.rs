//! A run that was not published yet, as a device would get it: published with keys of no value into a directory that is
//! gone a moment later, verified from there by the edge, bounds-checked, golden vectors run. What is replayed is what
//! would be shipped.

use std::path::Path;

use plimsoll_edge::Evaluator;
use plimsoll_edge::trust::{Directory, Floors, TrustedRoot, verify};
use plimsoll_model::UtcSeconds;
use plimsoll_model::time::DAY;

use super::ReplayError;
use crate::check::{Subject, check};
use crate::keys::{Holders, NAMES, SigningKey};
use crate::publish::{Files, Override, Terms, init_root, release};
use crate::run::{Run, stamp};

/// Days for which such a release may be used: any ledger's.
const VALID_DAYS: u32 = 365 * 100;

/// Makes a run's model ready.
///
/// * `scratch`: a directory that is not there yet; it is made, and removed again.
/// * `at`: the ledger's time.
///
/// # Errors
/// [`ReplayError::Artifact`] when the edge refuses what would be published.
pub fn evaluator(run: &Run, scratch: &Path, at: UtcSeconds) -> Result<Evaluator, ReplayError> {
    let made = publish(run, scratch, at);
    // Whatever came of it; a directory that was never made is not there to be removed.
    let _ = std::fs::remove_dir_all(scratch);
    made
}

fn publish(run: &Run, scratch: &Path, at: UtcSeconds) -> Result<Evaluator, ReplayError> {
    let refused = |why: &dyn std::fmt::Display| ReplayError::Artifact { why: why.to_string() };
    std::fs::create_dir_all(scratch).map_err(|e| refused(&format!("{}: {e}", scratch.display())))?;
    // Nobody trusts these: they live as long as this call, and sign nothing that leaves it.
    let signing: Vec<SigningKey> =
        NAMES.iter().enumerate().map(|(n, name)| SigningKey::from_seed(*name, [n as u8 + 1; 32])).collect();
    let of = |role: &str| signing.iter().filter(|k| k.name().starts_with(role)).map(SigningKey::public).collect();
    let holders = Holders { root: of("root"), targets: of("targets"), online: of("online") };
    let now = UtcSeconds(at.0 / DAY * DAY);
    let root = init_root(scratch, &holders, &signing, now, &Terms::default()).map_err(|e| refused(&e))?;
    let (policy, stamped) = (run.policy.to_json(), stamp(run.release.clone(), now, VALID_DAYS));
    // Not checked yet, maybe: what is published here nobody will ever read, and it says so.
    let checked = check(&Subject::published(&stamped, &run.model, &policy, &run.golden), &[], &|_, _| {}).to_json();
    let officer = signing.iter().find(|k| k.name() == "targets-risk").expect("one of NAMES");
    let because = "played from a directory that is gone a moment later";
    let overridden = Override::sign(&checked, officer, "plimsoll replay", because, now).map_err(|e| refused(&e))?;
    let (model, golden, overridden) = (&run.model, &run.golden, Some(overridden.as_slice()));
    let files = Files { model, policy: &policy, golden, check: &checked, overridden };
    release(scratch, &signing, &stamped, files, now, &Terms::default()).map_err(|e| refused(&e))?;
    let root = TrustedRoot::from_bytes(&root).map_err(|e| refused(&e))?;
    let verified = verify(&Directory::new(scratch), &root, &Floors::default(), now, None).map_err(|e| refused(&e))?;
    Evaluator::new(&verified).map_err(|e| refused(&e))
}
