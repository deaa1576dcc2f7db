//! Was it played over a ledger, attacks included, and did it stand? A run's replay is kept in it as `replay.json`, so that
//! the check needs no ledger; whoever has the ledger plays it again with the same seed and gets the same bytes.

use plimsoll_model::artifact::sha256_hex;
use serde::{Deserialize, Serialize};

use super::{Bound, Engine, Subject, Verdict};
use crate::replay::{self, Outcome, Scenario};

/// Where a run directory keeps its replay.
pub const REPLAY_FILE: &str = "replay.json";

/// What a replay came to, in whole numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replayed {
    /// SHA-256 of the model that was played.
    pub model_sha256: String,
    /// Of its policy.
    pub policy_sha256: String,
    /// Of the ledger.
    pub ledger_sha256: String,
    /// Whether neither its accounts nor its days took part in the model.
    pub unseen: bool,
    /// Decides syncs, delays, attackers.
    pub seed: u64,
    /// Accounts played.
    pub accounts: u64,
    /// What was played.
    pub scenarios: Vec<Scene>,
}

/// One scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// Its name.
    pub name: String,
    /// Tiers beyond the certificate, or attackers that got more than the bound of their attack.
    pub beyond: u64,
    /// Accounts with a window, or attackers.
    pub played: u64,
    /// In words.
    pub says: String,
}

impl Replayed {
    /// The gist of an outcome.
    pub fn of(outcome: &Outcome, policy_sha256: String, ledger_sha256: String) -> Self {
        let lives = Scenario::ALL.into_iter().filter(|s| s.is_promised()).filter_map(|scenario| {
            let of = || outcome.played.iter().filter(move |p| p.scenario == scenario);
            let all = of().find(|p| p.tier.is_none())?;
            let beyond = of().filter(|p| p.tier.is_some() && p.verdict == replay::Verdict::BeyondCertificate).count();
            let says = format!(
                "less headroom than the limit in {:.3} % [{:.3} – {:.3}] of an account's windows; {} tiers beyond the certificate",
                all.short.value * 100.0,
                all.short.low * 100.0,
                all.short.high * 100.0,
                beyond
            );
            let (name, played) = (scenario.name().to_owned(), all.accounts as u64);
            Some(Scene { name, beyond: beyond as u64, played, says })
        });
        let attacks = outcome.attacks.iter().map(|a| Scene {
            name: a.attack.name().to_owned(),
            beyond: a.beyond_bound as u64,
            played: a.attackers as u64,
            says: format!(
                "{} attackers got {:.0} minor units each, an honest wallet could spend {:.0}; {} above the bound",
                a.attackers, a.got.value, a.honest, a.beyond_bound
            ),
        });
        Self {
            model_sha256: outcome.model_sha256.clone(),
            policy_sha256,
            ledger_sha256,
            unseen: outcome.unseen,
            seed: outcome.config.seed,
            accounts: outcome.accounts as u64,
            scenarios: lives.chain(attacks).collect(),
        }
    }

    /// The bytes of `replay.json`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("whole numbers and text");
        bytes.push(b'\n');
        bytes
    }
}

/// The promised life within the certificate, and no attack beyond its bound.
pub(super) fn replay(subject: &Subject, _: &[Engine]) -> Result<Vec<Verdict>, String> {
    let bytes = subject.bytes(REPLAY_FILE).map_err(|_| "it was not played: run `plimsoll check RUN --data LEDGER`")?;
    let played: Replayed = serde_json::from_slice(bytes).map_err(|e| format!("{REPLAY_FILE}: {e}"))?;
    for (file, stated) in [("model.onnx", &played.model_sha256), ("policy.json", &played.policy_sha256)] {
        if sha256_hex(subject.bytes(file)?) != *stated {
            return Err(format!("another {file} was played: run `plimsoll check RUN --data LEDGER`"));
        }
    }
    let asked = Scenario::ALL.into_iter().filter(|s| s.is_promised() || !s.is_life());
    Ok(asked
        .map(|scenario| match played.scenarios.iter().find(|s| s.name == scenario.name()) {
            None => Verdict::impossible(scenario.name(), "it was not played".into()),
            Some(s) if s.played == 0 && scenario.is_life() => {
                Verdict::impossible(&s.name, "nobody had a window".into())
            }
            Some(s) => Verdict::new(&s.name, s.beyond, Bound::AtMost(0), "beyond", s.says.clone()),
        })
        .collect())
}
