//! How often does the alarm of [`plimsoll_model::monitor`] sound without a reason, and how late with one? Counted on streams
//! of windows that are lost at a known rate; [`crate::study`] asks the same of the certificate.
//!
//! Nobody can be quicker on average, at the same δ, than `ln(1/δ) / KL(rate ‖ α)` windows: what a gambler takes who knew the
//! rate beforehand and staked on it. The alarm has to find the rate out.

use plimsoll_model::monitor::{Monitor, WHOLE};
use plimsoll_model::quantile::Ppm;
use plimsoll_model::transaction::Tier;
use rayon::prelude::*;

use crate::windows::mix;

/// Windows until the alarm.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Delay {
    /// On average.
    pub mean: f64,
    /// Half of the streams take at most so many.
    pub half: u64,
    /// 95 % of them do.
    pub late: u64,
    /// Of the gambler who knew.
    pub optimum: f64,
}

/// Windows of a stream on which false alarms are counted: a hundred expected losses.
pub const fn looked_at(alpha: Ppm) -> u64 {
    100_000_000 / alpha.get() as u64
}

/// Streams at exactly the promised rate, looked at after every window: how many alarm at all.
pub fn false_alarms(alpha: Ppm, delta: Ppm, streams: u64) -> usize {
    let sounds = |stream: &u64| first(alpha, delta, alpha.get(), looked_at(alpha), *stream).is_some();
    (0..streams).into_par_iter().filter(sounds).count()
}

/// Streams at so many times the promised rate: how long until the alarm.
///
/// # Panics
/// Without a stream, or when a stream of a thousand times [`looked_at`] windows raises no alarm: nothing was broken.
pub fn delay(alpha: Ppm, delta: Ppm, times: u32, streams: u64) -> Delay {
    let rate = alpha.get() * times;
    let most = 1_000 * looked_at(alpha);
    let until = |stream| first(alpha, delta, rate, most, stream).expect("a promise broken for so long is found");
    let mut found: Vec<u64> = (0..streams).into_par_iter().map(until).collect();
    found.sort_unstable();
    let at = |percent: usize| found[found.len() * percent / 100];
    let (q, p) = (f64::from(rate) / 1e6, alpha.fraction());
    let divergence = q * libm::log(q / p) + (1.0 - q) * libm::log((1.0 - q) / (1.0 - p));
    Delay {
        mean: found.iter().sum::<u64>() as f64 / found.len() as f64,
        half: at(50),
        late: at(95),
        optimum: -libm::log(delta.fraction()) / divergence,
    }
}

/// Windows until the first alarm, of at most so many.
fn first(alpha: Ppm, delta: Ppm, rate: u32, most: u64, stream: u64) -> Option<u64> {
    let mut monitor = Monitor::new(1, alpha, delta);
    let seed = mix(u64::from(alpha.get()) << 32 | u64::from(rate)) ^ mix(stream);
    (0..most).find_map(|window| {
        let lost = (u128::from(mix(seed.wrapping_add(window))) * 1_000_000) >> 64 < u128::from(rate);
        monitor.settled(Tier::default(), if lost { WHOLE } else { 0 }).map(|alarm| alarm.windows)
    })
}
