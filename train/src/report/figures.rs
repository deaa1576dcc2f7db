//! The pictures of the report, each with the table it was drawn from.

use minijinja::Value;
use plimsoll_model::Tier;
use plimsoll_model::calibration::mean_interval;
use plimsoll_model::features::FEATURES;
use plimsoll_model::forest::ONE;
use plimsoll_model::money::Money;

use super::challenge::cap;
use super::percent;
use crate::calibrate::{Candidate, Group, Scored, candidate};
use crate::drift::Watched;
use crate::effects::shipped_level;
use crate::gaps::{Gaps, ways};
use crate::plot::Axis;
use crate::plot::bars::Bars;
use crate::plot::lines::{Plot, Series};
use crate::plot::rows::{Row, Rows};
use crate::plot::{escape, number};
use crate::run::Run;

/// A picture and its table, for the template.
fn figure<const N: usize>(svg: String, head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Value {
    table(svg, head.map(str::to_owned).to_vec(), rows.into_iter().map(Vec::from).collect())
}

fn table(svg: String, head: Vec<String>, rows: Vec<Vec<String>>) -> Value {
    let head: String = head.iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name))).collect();
    let cells = |row: &Vec<String>| row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect::<String>();
    let body: String = rows.iter().map(|row| format!("<tr>{}</tr>\n", cells(row))).collect();
    Value::from_safe_string(format!(
        "<figure>\n{svg}<details><summary>The numbers of this plot</summary><div class=\"wide\" tabindex=\"0\"><table>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div></details>\n</figure>\n"
    ))
}

fn per_major(run: &Run) -> f64 {
    run.policy.currency.minor_per_major() as f64
}

/// The shipped rule of a tier.
fn shipped(run: &Run, tier: Tier) -> Candidate {
    let cell = run.release.certificate.cell(tier);
    cell.map_or(Candidate::Flat(Money::ZERO), |cell| candidate(cell.rule, &run.log.terms))
}

/// Tiers that were tested.
fn tiers(run: &Run) -> impl Iterator<Item = Tier> + '_ {
    let tested = |tier: &Tier| run.log.test.iter().any(|w| w.tier == *tier);
    run.log.terms.tiers.iter().map(|t| t.tier).filter(tested)
}

/// Every way of setting limits against realised risk: mean limit, and demand served.
pub(super) fn frontier(run: &Run) -> Vec<Value> {
    let alpha = run.log.terms.alpha.fraction();
    let per = per_major(run);
    let o = &run.metrics.overall;
    let limit = |(_, limit, _): (f64, f64, f64)| limit / per;
    let served = |(_, _, served): (f64, f64, f64)| served * 100.0;
    let drawn = |title: &str, y_label: String, about: String, y: &dyn Fn((f64, f64, f64)) -> f64| {
        let point = |v: f64, l: f64, s: f64| (v * 100.0, y((v, l, s)));
        let line = |f: &crate::metrics::Frontier| {
            // From where there is a limit at all.
            let points = f.points.iter().filter(|p| p.mean_limit > 0.0);
            Series::line(f.name.clone(), points.map(|p| point(p.violation, p.mean_limit, p.served)).collect())
        };
        let plain = &o.plain;
        let marks = [
            ("shipped, as certified", &o.shipped),
            ("fixed share, same test", &o.fraction),
            ("min(balance, cap)", plain),
        ];
        let marks = marks.into_iter().filter(|(_, m)| m.mean_limit > 0.0).map(|(name, m)| Series {
            spans: vec![(m.low * 100.0, m.high * 100.0)],
            ..Series::marks(name, vec![point(m.violation, m.mean_limit, m.served)])
        });
        let plot = Plot {
            title: title.into(),
            about,
            x_label: "violations at the worst age, % (mean over accounts)".into(),
            y_label,
            x_axis: Axis::Log,
            y_axis: Axis::Linear,
            series: marks.chain(run.metrics.frontier.iter().map(line)).collect(),
            rules: vec![(alpha * 100.0, format!("α = {}", run.log.terms.alpha))],
            levels: Vec::new(),
        };
        let at_alpha = |f: &crate::metrics::Frontier| {
            let kept = f.points.iter().take_while(|p| p.violation <= alpha).last();
            let figures = kept.map_or([0.0; 3], |p| [p.violation, p.mean_limit, p.served]);
            [
                f.name.clone(),
                percent(figures[0]),
                number((figures[1] / per * 100.0).round() / 100.0),
                percent(figures[2]),
            ]
        };
        figure(
            plot.svg(),
            ["boldest of each way within α on the test split", "violations", "mean limit", "demand served"],
            run.metrics.frontier.iter().map(at_alpha),
        )
    };
    let about = |what: &str| {
        format!(
            "{what} against the share of violated windows on the test split, for every way of setting limits as its scalar \
             rises; the vertical line is the promise. The shipped point has its 95 % interval. Further up and to the left \
             is better."
        )
    };
    vec![
        drawn(
            "Frontier: mean limit against risk",
            format!("mean limit, {}", run.policy.currency),
            about("Mean limit"),
            &limit,
        ),
        drawn(
            "Frontier: demand served against risk",
            "demand served, %".into(),
            about("Share of demand served"),
            &served,
        ),
    ]
}

/// Mean limit of each tier as the sync ages.
pub(super) fn curve_plot(run: &Run) -> Plot {
    let per = per_major(run);
    let series = |(tier, c): &(Tier, crate::metrics::Comparison)| {
        let points = run.release.manifest.ages.iter().zip(&c.shipped.mean_limit_by_age);
        Series::staircase(format!("tier {tier}"), points.map(|(a, l)| (f64::from(a.0) / 60.0, l / per)).collect())
    };
    Plot {
        title: "Mean limit against the age of the last sync".into(),
        about: "Mean limit of each tier on the test split; it never rises with age.".into(),
        x_label: "hours since the last sync".into(),
        y_label: format!("mean limit, {}", run.policy.currency),
        x_axis: Axis::Linear,
        y_axis: Axis::Linear,
        series: run.metrics.tiers.iter().filter(|(_, c)| c.shipped.windows > 0).map(series).collect(),
        rules: Vec::new(),
        levels: Vec::new(),
    }
}

pub(super) fn curve(run: &Run) -> Value {
    let tested: Vec<_> = run.metrics.tiers.iter().filter(|(_, c)| c.shipped.windows > 0).collect();
    let money = |v: f64| run.policy.currency.show(Money::floor_at_zero(v.round() as i64));
    let row = |(ix, age): (usize, &plimsoll_model::time::Age)| {
        let limits =
            tested.iter().map(|(_, c)| c.shipped.mean_limit_by_age.get(ix).map_or("–".into(), |l| money(*l)));
        std::iter::once(age.to_string()).chain(limits).collect()
    };
    let head = std::iter::once("age".to_owned()).chain(tested.iter().map(|(tier, _)| format!("tier {tier}"))).collect();
    table(curve_plot(run).svg(), head, run.release.manifest.ages.iter().enumerate().map(row).collect())
}

/// How often the promise failed at each age, tier by tier.
pub(super) fn kept(run: &Run) -> Value {
    let terms = &run.log.terms;
    let mut series = Vec::new();
    let mut rows = Vec::new();
    for tier in tiers(run) {
        let rule = shipped(run, tier);
        let by_age = Group::of(&run.log.test, Some(tier), terms).violations(&|_| rule);
        let mut points = Vec::new();
        for (age, accounts) in terms.ages.iter().zip(&by_age) {
            let shares: Vec<f64> = accounts.iter().map(|v| v.share()).collect();
            let mean = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
            let (low, high) = mean_interval(&shares, 0.05);
            points.push((f64::from(age.0) / 60.0, mean * 100.0));
            rows.push([
                format!("tier {tier}"),
                age.to_string(),
                percent(mean),
                format!("{} – {}", percent(low), percent(high)),
            ]);
        }
        series.push(Series::line(format!("tier {tier}"), points));
    }
    let alpha = terms.alpha.fraction() * 100.0;
    let plot = Plot {
        title: "The promise: violations at each age".into(),
        about: "Mean over test accounts of the share of windows with less headroom than the limit, for each tier and age of \
                the last sync; the horizontal line is the promise, and all should lie below it."
            .into(),
        x_label: "hours since the last sync".into(),
        y_label: "violations, %".into(),
        x_axis: Axis::Linear,
        y_axis: Axis::Linear,
        series,
        rules: Vec::new(),
        levels: vec![(alpha, format!("promised: at most {}", terms.alpha))],
    };
    figure(plot.svg(), ["tier", "age", "violations", "95 %"], rows)
}

/// How large limits are, as a share of what could be granted: one picture for each tier.
pub(super) fn distribution(run: &Run) -> Vec<Value> {
    let terms = &run.log.terms;
    let of_tier = |tier: Tier| {
        let (rule, most) = (shipped(run, tier), cap(terms, tier));
        let mut counts = [0u64; 12];
        for w in run.log.test.iter().filter(|w| w.tier == tier) {
            for age in 0..terms.ages.len() {
                let limit = rule.limit(w, age, most).minor();
                let grantable = w.balance.min(most).minor().max(1);
                let bin = match (limit, u128::from(limit) * 10 / u128::from(grantable)) {
                    (0, _) => 0,
                    (_, tenth) if limit < grantable => 1 + tenth.min(9) as usize,
                    _ => 11,
                };
                counts[bin] += 1;
            }
        }
        let all = counts.iter().sum::<u64>().max(1) as f64;
        let name = |bin: usize| match bin {
            0 => "0".to_owned(),
            11 => "all".to_owned(),
            bin => format!("{}–{}", bin * 10 - 10, bin * 10),
        };
        let short = |bin: usize| if (1..11).contains(&bin) { (bin * 10).to_string() } else { name(bin) };
        let shares: Vec<f64> = counts.iter().map(|c| *c as f64 / all).collect();
        let plot = Bars {
            title: format!("Limits in tier {tier}"),
            about: "Share of test windows and ages by how much of min(balance, cap) is granted: nothing, up to each tenth, \
                    all of it."
                .into(),
            x_label: "limit, % of min(balance, cap), up to".into(),
            y_label: "windows, %".into(),
            bars: shares.iter().enumerate().map(|(bin, share)| (short(bin), share * 100.0)).collect(),
        };
        figure(
            plot.svg(),
            ["limit, % of min(balance, cap)", "windows"],
            shares.iter().enumerate().map(|(bin, share)| [name(bin), percent(*share)]),
        )
    };
    tiers(run).map(of_tier).collect()
}

/// Groups by a figure of their outcome.
fn by_group(gaps: &Gaps, value: impl Fn(&crate::calibrate::Outcome) -> (f64, [f64; 2])) -> Vec<(String, Vec<Row>)> {
    let row = |g: &crate::gaps::Fared| {
        let (value, span) = value(&g.outcome);
        Row {
            name: g.group.clone(),
            value: value * 100.0,
            span: Some((span[0] * 100.0, span[1] * 100.0)),
            says: percent(value),
        }
    };
    gaps.by.iter().map(|gap| (gap.by.clone(), gap.groups.iter().map(row).collect())).collect()
}

/// Who gets nothing.
pub(super) fn excluded(gaps: &Gaps) -> Value {
    let plot = Rows {
        title: "Who gets nothing: zero limits".into(),
        about: "Share of limits that are zero in each group, with its 95 % interval over accounts.".into(),
        x_label: "limits that are zero, %".into(),
        x_axis: Axis::Linear,
        groups: by_group(gaps, |o| (o.zero_share, o.spans[3])),
        rules: Vec::new(),
        bars: false,
    };
    let rows = gaps.by.iter().flat_map(|gap| {
        gap.groups.iter().map(|g| {
            let o = &g.outcome;
            let span = |s: [f64; 2]| format!("{} – {}", percent(s[0]), percent(s[1]));
            [
                gap.by.clone(),
                g.group.clone(),
                percent(o.zero_share),
                span(o.spans[3]),
                percent(o.useful),
                span(o.spans[2]),
            ]
        })
    });
    figure(plot.svg(), ["by", "group", "zero limits", "95 %", "useful limits", "95 %"], rows.collect::<Vec<_>>())
}

/// Whose promise fails more often.
pub(super) fn gap(gaps: &Gaps) -> Value {
    let plot = Rows {
        title: "Group gaps: violations".into(),
        about:
            "Violations in each group at its worst age, with the 95 % interval over accounts; the vertical line is the \
                promise to a tier."
                .into(),
        x_label: "violations at the worst age, %".into(),
        x_axis: Axis::Linear,
        groups: by_group(gaps, |o| (o.violation, [o.low, o.high])),
        rules: vec![(gaps.alpha * 100.0, format!("α = {} %", number(gaps.alpha * 100.0)))],
        bars: false,
    };
    let rows = gaps.by.iter().flat_map(|gap| {
        gap.groups.iter().map(|g| {
            let o = &g.outcome;
            [
                gap.by.clone(),
                g.group.clone(),
                o.accounts.to_string(),
                percent(o.violation),
                format!("{} – {}", percent(o.low), percent(o.high)),
            ]
        })
    });
    figure(plot.svg(), ["by", "group", "accounts", "violations", "95 %"], rows.collect::<Vec<_>>())
}

/// Whether headroom was below a window's predicted quantile, as a mean over ages.
fn below(w: &Scored, level: usize) -> f64 {
    let ages = w.headroom.len();
    let kept =
        |age: usize| (u128::from(w.headroom[age].minor()) * u128::from(ONE) / u128::from(w.balance.minor())) as i32;
    (0..ages).filter(|age| kept(*age) < w.steps[level * ages + age]).count() as f64 / ages.max(1) as f64
}

fn mean_below(accounts: &[&[Scored]], level: usize) -> (f64, (f64, f64)) {
    let of = |account: &&[Scored]| account.iter().map(|w| below(w, level)).sum::<f64>() / account.len() as f64;
    let shares: Vec<f64> = accounts.iter().map(of).collect();
    (shares.iter().sum::<f64>() / shares.len().max(1) as f64, mean_interval(&shares, 0.05))
}

/// How often headroom fell below a predicted quantile, against how often it should: by tier, and by segment.
pub(super) fn reliability(run: &Run) -> Vec<Value> {
    let levels = &run.log.terms.levels;
    let accounts: Vec<&[Scored]> = run.log.test.chunk_by(|a, b| a.account == b.account).collect();
    let diagonal =
        Series::line("as predicted", levels.iter().map(|l| (l.fraction() * 100.0, l.fraction() * 100.0)).collect());
    let mut series = vec![diagonal];
    let mut rows = Vec::new();
    for tier in tiers(run) {
        let of_tier: Vec<&[Scored]> = accounts.iter().copied().filter(|a| a[0].tier == tier).collect();
        let mut points = Vec::new();
        for (ix, level) in levels.iter().enumerate() {
            let (mean, (low, high)) = mean_below(&of_tier, ix);
            // Side by side, for they may say the same.
            let aside = 1.08f64.powi(series.len() as i32 - 2);
            points.push((level.fraction() * 100.0 * aside, mean * 100.0));
            rows.push([
                format!("tier {tier}"),
                level.to_string(),
                percent(mean),
                format!("{} – {}", percent(low), percent(high)),
            ]);
        }
        series.push(Series::marks(format!("tier {tier}"), points));
    }
    let by_tier = Plot {
        title: "Reliability of the raw quantiles, by tier".into(),
        about: "How often headroom was below each predicted quantile on the test split, against how often it should be, before \
                calibration; on the line is as predicted, above it the forest promises too much."
            .into(),
        x_label: "predicted: headroom below, %".into(),
        y_label: "observed, %".into(),
        x_axis: Axis::Log,
        y_axis: Axis::Log,
        series,
        rules: Vec::new(),
        levels: Vec::new(),
    };
    let level = shipped_level(&run.release.certificate.cells, levels);
    let ix = levels.iter().position(|l| *l == level).expect("the shipped level is one of them");
    let groups = ways(&run.log.test, &run.accounts, run.policy.currency).into_iter().map(|way| {
        let row = |(group, name): (usize, &String)| {
            let members = accounts.iter().zip(&way.of).filter(|(_, of)| **of == Some(group));
            let (mean, span) = mean_below(&members.map(|(a, _)| *a).collect::<Vec<_>>(), ix);
            Row {
                name: name.clone(),
                value: mean * 100.0,
                span: Some((span.0 * 100.0, span.1 * 100.0)),
                says: percent(mean),
            }
        };
        (way.by.clone(), way.names.iter().enumerate().map(row).collect::<Vec<Row>>())
    });
    let by_segment = Rows {
        title: format!("Reliability of the {level} quantile, by segment"),
        about: "How often headroom was below the predicted quantile in each group, before calibration, with its 95 % interval \
                over accounts; the vertical line is as predicted."
            .into(),
        x_label: "headroom below the quantile, %".into(),
        x_axis: Axis::Linear,
        groups: groups.collect(),
        rules: vec![(level.fraction() * 100.0, format!("predicted: {level}"))],
        bars: false,
    };
    let of_segment = by_segment.groups.iter().flat_map(|(by, rows)| {
        rows.iter().map(move |r| {
            let (low, high) = r.span.unwrap_or_default();
            [
                by.clone(),
                r.name.clone(),
                r.says.clone(),
                format!("{} – {}", percent(low / 100.0), percent(high / 100.0)),
            ]
        })
    });
    let of_segment: Vec<_> = of_segment.collect();
    vec![
        figure(by_tier.svg(), ["tier", "predicted", "observed", "95 %"], rows),
        figure(by_segment.svg(), ["by", "group", "observed", "95 %"], of_segment),
    ]
}

/// The alarm of each tier over the test windows, at the age with the most evidence.
pub(super) fn alarms(run: &Run, watched: &[Watched]) -> Value {
    let delta = run.log.terms.delta.fraction();
    let seen = || watched.iter().filter_map(|w| Some((w.tier, w.worst().filter(|r| r.windows > 0)?)));
    let plot = Plot {
        title: "The alarm: evidence against the promise".into(),
        about: "The e-process of each tier as its test windows settled, at the age with the most evidence: 1 says nothing, \
                the horizontal line is an alarm."
            .into(),
        x_label: "days since the first test sync".into(),
        y_label: "e-value".into(),
        x_axis: Axis::Linear,
        y_axis: Axis::Log,
        series: seen().map(|(tier, r)| Series::line(format!("tier {tier}"), r.path.clone())).collect(),
        rules: Vec::new(),
        levels: vec![(1.0 / delta, format!("alarm at 1/δ = {}", number(1.0 / delta)))],
    };
    let rows = watched.iter().flat_map(|w| {
        w.ages.iter().map(|r| {
            let rate = percent(f64::from(r.lost) / f64::from(r.windows.max(1)));
            [
                format!("tier {}", w.tier),
                r.age.to_string(),
                r.windows.to_string(),
                rate,
                format!("{:.2}", r.e_value_max),
                r.alarms.to_string(),
            ]
        })
    });
    figure(plot.svg(), ["tier", "age", "windows", "lost", "largest e-value", "alarms"], rows.collect::<Vec<_>>())
}

/// Features that moved.
pub(super) fn shifts(run: &Run) -> Value {
    let shifts = &run.metrics.shifts;
    let row = |s: &crate::drift::Shift| Row {
        name: s.feature.clone(),
        value: s.from_calibrate,
        span: None,
        says: format!("{:.3}", s.from_calibrate),
    };
    let plot = Rows {
        title: "Features that moved: stability index".into(),
        about: "Population stability index of the twelve features that moved most between the calibration and the test days, \
                those that count days left out; by \
                custom 0.1 is worth a look and 0.25 is a lot."
            .into(),
        x_label: "population stability index".into(),
        x_axis: Axis::Linear,
        groups: vec![(String::new(), shifts.iter().filter(|s| !s.calendar).take(12).map(row).collect())],
        rules: vec![(0.1, "0.1: worth a look".into()), (0.25, "0.25: a lot".into())],
        bars: true,
    };
    let rows =
        shifts.iter().map(|s| [s.feature.clone(), format!("{:.3}", s.from_calibrate), format!("{:.3}", s.from_teach)]);
    figure(plot.svg(), ["feature", "since calibration", "since teaching"], rows.collect::<Vec<_>>())
}

/// What the forest lives from.
pub(super) fn effects(run: &Run) -> Option<Value> {
    let effects = &run.metrics.effects;
    let row = |e: &crate::effects::Effect| Row {
        name: e.feature.clone(),
        value: e.size * 100.0,
        span: None,
        says: format!("{:.2} %", e.size * 100.0),
    };
    let plot = Rows {
        title: format!("What moves the {} quantile", effects.level),
        about: "Mean absolute Shapley value of the twelve features that move the prediction most, as a share of the balance.".into(),
        x_label: "mean |Shapley value|, % of the balance".into(),
        x_axis: Axis::Linear,
        groups: vec![(String::new(), effects.features.iter().take(12).map(row).collect())],
        rules: Vec::new(),
        bars: true,
    };
    let about = |name: &str| FEATURES.iter().find(|f| f.name == name).map_or(String::new(), |f| f.about.to_owned());
    let rows = effects
        .features
        .iter()
        .map(|e| [e.feature.clone(), about(&e.feature), format!("{:.3} %", e.size * 100.0), percent(e.missing)]);
    (!effects.features.is_empty())
        .then(|| figure(plot.svg(), ["feature", "what it is", "mean |Shapley|", "missing"], rows.collect::<Vec<_>>()))
}

/// Which way the largest go.
pub(super) fn curves(run: &Run) -> Vec<Value> {
    let of_feature = |e: &crate::effects::Effect| {
        let spec = FEATURES.iter().find(|f| f.name == e.feature);
        let (low, high) = (e.curve[0].0, e.curve[e.curve.len() - 1].0);
        let missing = if e.missing > 0.0 { format!(" Missing in {}.", percent(e.missing)) } else { String::new() };
        let plot = Plot {
            title: e.feature.clone(),
            about: format!(
                "Accumulated local effect on the predicted quantile: what a higher value adds, everything else as it is.{missing}"
            ),
            x_label: spec.map_or(e.feature.clone(), |f| format!("{}, {}", f.unit, f.window)),
            y_label: "effect, % of the balance".into(),
            // Amounts reach over orders of magnitude.
            x_axis: if low > 0.0 && high / low > 50.0 { Axis::Log } else { Axis::Span },
            y_axis: Axis::Linear,
            series: vec![Series::line("effect", e.curve.iter().map(|(x, y)| (*x, y * 100.0)).collect())],
            rules: Vec::new(),
            levels: Vec::new(),
        };
        let rows = e.curve.iter().map(|(x, y)| [number(*x), format!("{:+.2} %", y * 100.0)]);
        figure(plot.svg(), ["value", "effect"], rows.collect::<Vec<_>>())
    };
    run.metrics.effects.features.iter().filter(|e| e.curve.len() > 1).map(of_feature).collect()
}
