//! The report of a run: one HTML file that opens anywhere, offline.

use minijinja::{Environment, context};
use plimsoll_model::Money;
use plimsoll_model::artifact::{Basis, Cell, Rule};
use plimsoll_model::calibration::Target;
use plimsoll_model::forest::ONE;

use crate::calibrate::Outcome;
use crate::plot::{Axis, Plot, Series};
use crate::run::Run;

/// A cell's rule in words.
pub fn rule_says(cell: &Cell, run_currency: plimsoll_model::Currency) -> String {
    match cell.rule {
        Rule::Balance => "min(balance, cap)".into(),
        Rule::Share { steps } => format!("{:.2} % of the balance", f64::from(steps) / f64::from(ONE) * 100.0),
        Rule::Gap { level, scale } => format!("gap of the {level} quantile × {:.3}", f64::from(scale.0) / 65_536.0),
        Rule::Fallback { amount } => format!("fallback {} {run_currency}", run_currency.show(amount)),
    }
}

/// A cell's ground in words.
pub const fn basis_says(basis: Basis) -> &'static str {
    match basis {
        Basis::Certified => "certified",
        Basis::Borrowed => "borrowed (no promise of its own)",
        Basis::Fallback => "nothing certifies",
    }
}

/// The report of a run.
pub fn html(run: &Run) -> String {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
    environment.add_template("report", include_str!("report.html.j2")).expect("the template is read in the tests");
    let certificate = &run.release.certificate;
    let currency = run.policy.currency;
    let percent = |v: f64| format!("{:.3} %", v * 100.0);
    let money = |v: f64| currency.show(Money::floor_at_zero(v.round() as i64));
    let outcome = |name: String, o: &Outcome| {
        context! {
            name,
            violation => percent(o.violation),
            interval => format!("{} – {}", percent(o.low), percent(o.high)),
            accounts => o.accounts,
            windows => o.windows,
            limit => money(o.mean_limit),
            share => percent(o.mean_share),
            served => percent(o.served),
            zero => percent(o.zero_share),
            severity => percent(o.severity),
        }
    };
    let m = &run.metrics;
    let mut rows = vec![
        outcome("all tiers · shipped".into(), &m.overall.shipped),
        outcome("all tiers · fixed share, same test".into(), &m.overall.fraction),
        outcome("all tiers · min(balance, cap), uncertified".into(), &m.overall.plain),
    ];
    for (tier, c) in &m.tiers {
        rows.push(outcome(format!("tier {tier} · shipped"), &c.shipped));
        let share = c.fraction_400ths.map_or(String::new(), |f| format!(" {:.2} %", f64::from(f) / 4.0));
        rows.push(outcome(format!("tier {tier} · fixed share{share}"), &c.fraction));
    }
    let cells: Vec<_> = certificate
        .cells
        .iter()
        .map(|cell| {
            context! {
                tier => cell.tier.level(),
                rule => rule_says(cell, currency),
                basis => basis_says(cell.basis),
                accounts => cell.accounts,
                windows => cell.windows,
                violation => percent(f64::from(cell.violation_ppm) / 1e6),
                evidence => format!("{:.1}", cell.e_value_milli as f64 / 1e3),
                test => cell.test.map(|t| format!(
                    "{} [{} – {}], {} accounts",
                    percent(f64::from(t.violation_ppm) / 1e6),
                    percent(f64::from(t.low_ppm) / 1e6),
                    percent(f64::from(t.high_ppm) / 1e6),
                    t.accounts
                )),
            }
        })
        .collect();
    let template = environment.get_template("report").expect("added above");
    template
        .render(context! {
            model_id => run.release.manifest.model_id.clone(),
            model_version => run.release.manifest.model_version,
            programme => run.policy.programme.clone(),
            currency => currency.code().to_owned(),
            alpha => certificate.terms.alpha.to_string(),
            delta => certificate.terms.delta.to_string(),
            confidence => format!("{} %", 100.0 - certificate.terms.delta.fraction() * 100.0),
            target => match certificate.terms.target { Target::Strict => "strict", Target::Committed => "committed" },
            window_h => certificate.terms.window_h,
            ages => certificate.terms.ages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            needed => run.config.calibration.accounts_needed(),
            cells,
            rows,
            windows => m.windows.to_vec(),
            accounts => m.accounts.to_vec(),
            skipped_short => m.skipped.short_history,
            skipped_empty => m.skipped.no_positive_balance,
            nodes => m.nodes,
            bytes => m.model_bytes,
            bytes_zstd => m.model_bytes_zstd,
            pinball => m.pinball.iter().map(|p| context! {
                level => p.level.to_string(),
                loss => format!("{:.6}", p.loss),
                constant => format!("{:.6}", p.constant),
                ratio => format!("{:.3}", p.loss / p.constant),
            }).collect::<Vec<_>>(),
            monotone => run.release.manifest.monotone.iter().map(|c| context! {
                feature => c.feature.clone(),
                direction => if c.increasing { "never falls" } else { "never rises" },
                pairs => c.pairs,
            }).collect::<Vec<_>>(),
            splits => m.splits.iter().filter(|s| s.1 > 0).take(20).cloned().collect::<Vec<_>>(),
            data_sha256 => certificate.terms.data_sha256.clone(),
            calibration_root => certificate.calibration_root.clone(),
            reliability_svg => reliability(run).svg(),
            curve_svg => curve(run).svg(),
            frontier_svg => frontier(run).svg(),
            config => run.config.to_toml(),
        })
        .expect("every value of the template is given")
}

/// How often headroom fell below a predicted quantile, against how often it should.
pub fn reliability(run: &Run) -> Plot {
    let levels = run.metrics.pinball.iter().map(|p| p.level.fraction() * 100.0);
    let diagonal = Series::line("as predicted", levels.clone().map(|l| (l, l)).collect());
    let ages = run.release.manifest.ages.iter().map(|age| {
        let points = run.metrics.reliability.iter().filter(|r| r.age == *age);
        Series::marks(format!("age {age}"), points.map(|r| (r.level.fraction() * 100.0, r.observed * 100.0)).collect())
    });
    Plot {
        title: "Reliability of the raw quantiles on the test split".into(),
        x_label: "predicted: headroom below, % of windows".into(),
        y_label: "observed, %".into(),
        x_axis: Axis::Log,
        y_axis: Axis::Log,
        series: std::iter::once(diagonal).chain(ages).collect(),
        rules: Vec::new(),
    }
}

/// Mean limit of each tier as the sync ages.
pub fn curve(run: &Run) -> Plot {
    let per = run.policy.currency.minor_per_major() as f64;
    let series = |(tier, c): &(plimsoll_model::Tier, crate::metrics::Comparison)| {
        let points = run.release.manifest.ages.iter().zip(&c.shipped.mean_limit_by_age);
        Series::staircase(format!("tier {tier}"), points.map(|(a, l)| (f64::from(a.0) / 60.0, l / per)).collect())
    };
    Plot {
        title: "Mean limit against the age of the last sync, test split".into(),
        x_label: "hours since the last sync".into(),
        y_label: format!("mean limit, {}", run.policy.currency),
        x_axis: Axis::Linear,
        y_axis: Axis::Linear,
        series: run.metrics.tiers.iter().filter(|(_, c)| c.shipped.windows > 0).map(series).collect(),
        rules: Vec::new(),
    }
}

/// Mean limit against realised risk, for the model and for a fixed share.
pub fn frontier(run: &Run) -> Plot {
    let per = run.policy.currency.minor_per_major() as f64;
    let scale = |points: &[(f64, f64)]| points.iter().map(|(v, l)| (v * 100.0, l / per)).collect();
    let shipped = &run.metrics.overall.shipped;
    let fixed = &run.metrics.overall.fraction;
    Plot {
        title: "Frontier: mean limit against realised risk, test split".into(),
        x_label: "violations at the worst age, % (mean over accounts)".into(),
        y_label: format!("mean limit, {}", run.policy.currency),
        x_axis: Axis::Log,
        y_axis: Axis::Linear,
        series: vec![
            Series::line("model", scale(&run.metrics.frontier_model)),
            Series::line("fixed share of the balance", scale(&run.metrics.frontier_fraction)),
            Series::marks("shipped", scale(&[(shipped.violation, shipped.mean_limit)])),
            Series::marks("fixed share, same test", scale(&[(fixed.violation, fixed.mean_limit)])),
        ],
        rules: vec![(run.release.certificate.terms.alpha.fraction() * 100.0, "α".into())],
    }
}
