//! Do all engines that will run the model say the same, to the bit?
//!
//! The reference walk is here. The engines that ship are the edge's, which this library does not know: whoever calls
//! hands them in.

use plimsoll_model::features::FEATURE_COUNT;
use plimsoll_model::golden::Golden;

use super::{Bound, Subject, Verdict};
use crate::windows::mix;

/// The engines that a published model will meet.
pub const ENGINES: [&str; 2] = ["kernel", "tract"];

/// A row in, steps out, before uncrossing.
pub type Steps = Box<dyn Fn(&[f32]) -> Vec<i32>>;

/// An engine that runs model files.
#[derive(Clone, Copy)]
pub struct Engine {
    /// One of [`ENGINES`].
    pub name: &'static str,
    /// The bytes of a model file made ready, or why they do not run.
    pub load: fn(&[u8]) -> Result<Steps, String>,
}

/// An engine's name, and the model in it or why it does not run.
type Loaded = (&'static str, Result<Steps, String>);

/// Each of [`ENGINES`] with the model in it.
fn loaded(subject: &Subject, engines: &[Engine]) -> Result<Vec<Loaded>, String> {
    let bytes = subject.bytes("model.onnx")?;
    let load = |name: &'static str| {
        let engine = engines.iter().find(|e| e.name == name);
        (name, engine.map_or_else(|| Err("this engine was not given to the check".into()), |e| (e.load)(bytes)))
    };
    Ok(ENGINES.into_iter().map(load).collect())
}

/// Golden vectors under the reference walk and under every engine.
pub(super) fn golden(subject: &Subject, engines: &[Engine]) -> Result<Vec<Verdict>, String> {
    let golden = Golden::from_json(subject.bytes("golden.json")?).map_err(|e| e.to_string())?;
    let release = subject.release()?;
    let forest = &subject.model()?.forest;
    let all = golden.cases.iter().map(|c| c.outputs.len()).sum::<usize>();
    let run = |name: &str, steps: &dyn Fn(&[f32]) -> Vec<i32>| {
        // Every tier and age must have been asked, or answers could be missing unnoticed.
        let asked =
            golden.cases.iter().all(|c| c.outputs.iter().map(|o| o.0).eq(release.manifest.ages.iter().copied()));
        let agreed = golden.check(&release.manifest.levels, &release.certificate, steps);
        let (figure, says) = match agreed {
            Ok(_) if !asked => (0, "the vectors do not answer at every certified age".to_owned()),
            Ok(agreed) => {
                (agreed, format!("{agreed} answers of {} histories, features and limits too", golden.cases.len()))
            }
            Err(mismatch) => (0, mismatch.to_string()),
        };
        Verdict::new(name, figure as u64, Bound::Exactly(all.max(1) as i64), "answers", says)
    };
    let mut verdicts = vec![run("reference walk", &|row| forest.evaluate(row))];
    for (name, steps) in loaded(subject, engines)? {
        verdicts.push(match steps {
            Ok(steps) => run(name, &steps),
            Err(why) => Verdict::impossible(name, why),
        });
    }
    Ok(verdicts)
}

/// Rows drawn around the thresholds: the reference walk's bits under every engine.
pub(super) fn parity(subject: &Subject, engines: &[Engine]) -> Result<Vec<Verdict>, String> {
    let config = subject.config()?;
    let forest = &subject.model()?.forest;
    if forest.features() != FEATURE_COUNT {
        return Err(format!("the model reads {} columns, there are {FEATURE_COUNT} features", forest.features()));
    }
    let rows = rows(
        &(0..FEATURE_COUNT).map(|c| forest.thresholds(c)).collect::<Vec<_>>(),
        config.check.parity_rows,
        config.seed,
    );
    let reference: Vec<Vec<i32>> = rows.iter().map(|row| forest.evaluate(row)).collect();
    let judge = |(name, steps): Loaded| match steps {
        Err(why) => Verdict::impossible(name, why),
        Ok(steps) => {
            let differ = rows.iter().zip(&reference).filter(|(row, steps_of)| steps(row) != **steps_of).count();
            let says = format!("{differ} of {} rows around the thresholds differ from the reference walk", rows.len());
            Verdict::new(name, differ as u64, Bound::AtMost(0), "rows", says)
        }
    };
    Ok(loaded(subject, engines)?.into_iter().map(judge).collect())
}

/// Rows whose values lie on a threshold, one float beside it, near it, or are missing or infinite.
fn rows(thresholds: &[Vec<f32>], count: u32, seed: u64) -> Vec<Vec<f32>> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(state)
    };
    let mut value = |thresholds: &Vec<f32>| {
        let (kind, pick, share) = (next() % 16, next() as usize, (next() >> 40) as f32 / (1u64 << 24) as f32);
        let Some(near) = (!thresholds.is_empty()).then(|| thresholds[pick % thresholds.len()]) else {
            return share * 100.0;
        };
        match kind {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            3 => near.next_up(),
            4 => near.next_down(),
            5..=8 => near,
            _ => near * (0.5 + share),
        }
    };
    (0..count).map(|_| thresholds.iter().map(&mut value).collect()).collect()
}
