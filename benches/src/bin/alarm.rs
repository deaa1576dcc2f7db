//! How often does the alarm sound without a reason, and how late with one, beside who knew the rate beforehand?
//!
//! `alarm [STREAMS]`

use anyhow::Context;
use plimsoll_model::quantile::Ppm;
use plimsoll_train::vigil::{delay, false_alarms, looked_at};

fn main() -> anyhow::Result<()> {
    let streams: u64 = std::env::args().nth(1).map_or(Ok(1_000), |n| n.parse()).context("alarm [STREAMS]")?;
    let delta = Ppm::new(50_000)?;
    for alpha in [10_000, 5_000, 1_000] {
        let alpha = Ppm::new(alpha)?;
        eprintln!(
            "α {alpha}: {} false alarms in {streams} streams of {} windows (δ allows {:.0})",
            false_alarms(alpha, delta, streams),
            looked_at(alpha),
            streams as f64 * delta.fraction()
        );
        for times in [2, 4, 5, 10] {
            let d = delay(alpha, delta, times, streams);
            eprintln!(
                "  {times} α: mean {:.0} windows, half within {}, 95 % within {}; optimum {:.0}, ratio {:.2}",
                d.mean,
                d.half,
                d.late,
                d.optimum,
                d.mean / d.optimum
            );
        }
    }
    Ok(())
}
