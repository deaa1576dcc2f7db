//! How often does the promise fail, and how much limit does certainty cost? 500 certifications on accounts drawn from a
//! population whose truth is known: generated with an account effect the model does not see, or the accounts of a log; with
//! and without balance bands.
//!
//! `promise [RUNS] [calibration.csv …]`

use anyhow::Context;
use plimsoll_model::artifact::{Terms, TierTerms};
use plimsoll_model::calibration::Target;
use plimsoll_model::money::Money;
use plimsoll_model::quantile::Ppm;
use plimsoll_model::time::Age;
use plimsoll_model::transaction::Tier;
use plimsoll_train::study::{Findings, Population};

fn generated(alpha: Ppm, bands: u32) -> anyhow::Result<Population> {
    let tier = |(level, cap): (u8, u64)| -> anyhow::Result<TierTerms> {
        Ok(TierTerms { tier: Tier::new(level)?, cap: Some(Money::from_minor(cap)?), fallback: Money::ZERO })
    };
    let ages = [0, 1, 4, 12, 24, 48, 72].map(Age::hours).to_vec();
    let terms = Terms {
        levels: vec![Ppm::new(10_000)?],
        bands,
        // Caps that bind for most, for some, and for few.
        tiers: [(0, 5_000), (1, 15_000), (2, 50_000)].into_iter().map(tier).collect::<anyhow::Result<_>>()?,
        ..Terms::new(alpha, Ppm::new(50_000)?, Target::Strict, 72, ages)
    };
    Ok(Population::generated(terms, 20_000, 8, 1))
}

fn show(name: &str, alpha: Ppm, runs: u32, population: &Population, calibrate: usize) {
    for found in population.study(runs, 250, calibrate, &|_| {}) {
        let worst = |failed: &[u32]| failed.iter().copied().max().unwrap_or(0);
        eprintln!(
            "{name} α {alpha} tier {}: certified {}/{runs}, {} in bands, failures at the worst age α {} β {} (δ allows {:.0}, band {}), kept {:.3}, shipped {:?}",
            found.tier,
            found.certified,
            found.in_bands,
            worst(&found.failed_alpha),
            worst(&found.failed_beta),
            f64::from(runs) * 0.05,
            Findings::band(runs, 0.05),
            found.kept,
            found.shipped,
        );
    }
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let runs: u32 = args.next().map_or(Ok(500), |n| n.parse())?;
    let logs: Vec<String> = args.collect();
    for alpha in [10_000, 5_000] {
        let alpha = Ppm::new(alpha)?;
        if logs.is_empty() {
            show("generated", alpha, runs, &generated(alpha, 1)?, 900);
            // Bands need accounts enough each; the same accounts without them show what they cost.
            for bands in [1, 3] {
                show(&format!("generated, {bands} bands"), alpha, runs, &generated(alpha, bands)?, 3_000);
            }
        }
        for path in &logs {
            let bytes = std::fs::read(path).with_context(|| path.clone())?;
            let mut log = plimsoll_train::log::read(&bytes).map_err(anyhow::Error::msg)?;
            (log.terms.alpha, log.terms.beta) = (alpha, alpha);
            show(path, alpha, runs, &Population::of_log(log), 900);
        }
    }
    Ok(())
}
