//! The report of a run: one HTML file that opens anywhere without a network, prints well, and is what a risk officer signs.
//!
//! ```text
//! run directory ─► Run ─┬─► certificate, outcomes, log ─► gaps, drift, figures ─┬─► report.html.j2 ─► one file
//!           another run ┴─► challenge ──────────────────────────────────────────┘
//! ```
//!
//! `plimsoll train` and `plimsoll report` write the same bytes for the same run. Nothing in it depends on the clock.

mod challenge;

mod figures;

use minijinja::{Environment, Value, context};
use plimsoll_model::artifact::{Basis, Cell, Compared, Expected, Rule};
use plimsoll_model::calibration::Target;
use plimsoll_model::forest::ONE;
use plimsoll_model::money::Money;
use plimsoll_model::time::{DAY, UtcSeconds};
use plimsoll_model::{Currency, time::CivilDate};

pub use challenge::{Incomparable, Ratio, ratio};

use crate::calibrate::Outcome;
use crate::drift::{Watched, replay};
use crate::gaps::Gaps;
use crate::plot::lines::Plot;
use crate::run::Run;

/// A cell's rule in words.
pub fn rule_says(cell: &Cell, run_currency: Currency) -> String {
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

/// Mean limit of each tier as the sync ages.
pub fn curve(run: &Run) -> Plot {
    figures::curve_plot(run)
}

/// The report of a run, beside another where one is given.
pub fn html(run: &Run, against: Option<&Run>) -> String {
    let gaps = Gaps::of(run);
    let watched = replay(&run.log, &run.release.certificate);
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
    environment.add_template("report", include_str!("report.html.j2")).expect("the template is read in the tests");
    let template = environment.get_template("report").expect("added above");
    let m = &run.metrics;
    let rendered = template.render(context! {
        head => head(run),
        findings => findings(run, &gaps, &watched),
        cells => run.release.certificate.cells.iter().map(|cell| cell_context(run, cell)).collect::<Vec<_>>(),
        outcomes => outcomes(run),
        frontier => figures::frontier(run),
        kept => figures::kept(run),
        curve => figures::curve(run),
        distribution => figures::distribution(run),
        excluded => figures::excluded(&gaps),
        reliability => figures::reliability(run),
        gap_figure => figures::gap(&gaps),
        gaps => gap_rows(run, &gaps),
        alarms => figures::alarms(run, &watched),
        shifts => figures::shifts(run),
        effects => figures::effects(run),
        curves => figures::curves(run),
        compared => compared(run),
        against => against.map(|other| challenger(run, other)),
        pinball => m.pinball.iter().map(|p| context! {
            level => p.level.to_string(),
            loss => format!("{:.6}", p.loss),
            constant => format!("{:.6}", p.constant),
            ratio => format!("{:.3}", p.loss / p.constant.max(f64::MIN_POSITIVE)),
        }).collect::<Vec<_>>(),
        monotone => run.release.manifest.monotone.iter().map(|c| context! {
            feature => c.feature.clone(),
            says => if c.increasing { "a higher value never lowers the prediction" } else { "a higher value never raises the prediction" },
            pairs => c.pairs,
        }).collect::<Vec<_>>(),
        metrics => context! {
            windows => m.windows.to_vec(), accounts => m.accounts.to_vec(), choosers => m.choosers,
            skipped_short => m.skipped.short_history, skipped_empty => m.skipped.no_positive_balance,
            nodes => m.nodes, bytes => m.model_bytes, bytes_zstd => m.model_bytes_zstd,
        },
        config => run.config.to_toml(),
    });
    rendered.expect("every value of the template is given")
}

/// `0.172 %`, `7.63 %`, `40.1 %`: three digits are enough.
fn percent(share: f64) -> String {
    format!("{}\u{a0}%", digits(share))
}

fn digits(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0".into(),
        p if p < 1.0 => format!("{p:.3}"),
        p if p < 10.0 => format!("{p:.2}"),
        p => format!("{p:.1}"),
    }
}

/// `0.172 % [0.031 – 0.622]`; the interval does not break.
fn spanned(share: f64, [low, high]: [f64; 2]) -> String {
    format!("{} [{}\u{a0}–\u{a0}{}]", percent(share), digits(low), digits(high))
}

fn ppm(v: u32) -> String {
    percent(f64::from(v) / 1e6)
}

fn day(at: UtcSeconds) -> String {
    CivilDate::of_day(at.0.div_euclid(DAY)).to_string()
}

fn money(run: &Run, minor: f64) -> String {
    run.policy.currency.show(Money::floor_at_zero(minor.round() as i64))
}

/// What is promised, of what.
fn head(run: &Run) -> Value {
    let (manifest, certificate) = (&run.release.manifest, &run.release.certificate);
    let terms = &certificate.terms;
    let tests = || run.log.test.iter().map(|w| w.at);
    context! {
        model_id => manifest.model_id.clone(),
        model_version => manifest.model_version,
        programme => run.policy.programme.clone(),
        currency => run.policy.currency.code().to_owned(),
        alpha => terms.alpha.to_string(),
        beta => terms.beta.to_string(),
        delta => terms.delta.to_string(),
        confidence => format!("{} %", 100.0 - terms.delta.fraction() * 100.0),
        tries => terms.tries,
        evidence => format!("{:.0}", 1.0 / terms.delta_each()),
        target => match terms.target {
            Target::Strict => "strict: everything observed counts against the limit",
            Target::Committed => "committed: what the holder starts on the granted device would have been an offline payment; all else counts",
        },
        window_h => terms.window_h,
        ages => terms.ages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        needed => run.config.calibration.accounts_needed(),
        calibrated => format!("{} to {}", day(certificate.calibration_from), day(certificate.calibration_to)),
        tested => tests().min().zip(tests().max()).map(|(from, to)| format!("{} to {}", day(from), day(to))),
        hashes => [
            ("model.onnx", &terms.model_sha256),
            ("policy.json", &terms.policy_sha256),
            ("list of features", &terms.feature_schema),
            ("history", &terms.data_sha256),
            ("calibration log, Merkle root", &certificate.calibration_root),
        ].map(|(name, hash)| context! { name, hash => hash.clone() }).to_vec(),
        rows => certificate.calibration_rows,
        limits_of_use => certificate.limits_of_use.clone(),
    }
}

/// What a reader should know first, each with a word for whether it is as it should be.
fn findings(run: &Run, gaps: &Gaps, watched: &[Watched]) -> Vec<Value> {
    let certificate = &run.release.certificate;
    let alpha = certificate.terms.alpha.fraction();
    let mut all = Vec::new();
    let mut say = |good: bool, what: &str, how: String| {
        all.push(context! { state => if good { "holds" } else { "look" }, what, how })
    };
    let mut facts = Vec::new();
    let mut fact = |what: &str, how: String| facts.push(context! { state => "", what, how });
    let list = |names: Vec<String>| names.join(", ");
    let granting: Vec<&Cell> =
        certificate.cells.iter().filter(|c| c.rule != Rule::Fallback { amount: Money::ZERO }).collect();
    let of = |basis: Basis| {
        list(certificate.cells.iter().filter(|c| c.basis == basis).map(|c| c.tier.to_string()).collect())
    };
    let (certified, borrowed, fallback) = (of(Basis::Certified), of(Basis::Borrowed), of(Basis::Fallback));
    let mut how =
        if certified.is_empty() { "no tier is certified".into() } else { format!("tier {certified} certified") };
    for (tiers, says) in
        [(borrowed, "borrowed, without a promise of its own"), (fallback, "nothing certifies, fallback")]
    {
        if !tiers.is_empty() {
            how += &format!("; tier {tiers}: {says}");
        }
    }
    say(granting.iter().all(|c| c.basis == Basis::Certified) && !granting.is_empty(), "Promise", how);

    let tested: Vec<_> = certificate.cells.iter().filter_map(|c| Some((c.tier, c.test?))).collect();
    let over = |v: u32| f64::from(v) / 1e6 > alpha;
    let above: Vec<String> = tested
        .iter()
        .filter(|(_, t)| over(t.violation_ppm))
        .map(|(tier, t)| {
            let sure = if over(t.low_ppm) { "beyond its interval" } else { "within its interval" };
            format!("tier {tier} {} is above {}, {sure}", ppm(t.violation_ppm), certificate.terms.alpha)
        })
        .collect();
    let worst = tested.iter().map(|(_, t)| t.violation_ppm).max().unwrap_or(0);
    let how = match (tested.is_empty(), above.is_empty()) {
        (true, _) => "no account of any tier was tested".into(),
        (_, true) => format!("at most {} violations in any tier, on accounts and days that took no part", ppm(worst)),
        _ => list(above.clone()),
    };
    say(above.is_empty() && !tested.is_empty(), "Realised", how);

    let o = &run.metrics.overall;
    fact(
        "Grants",
        format!(
            "{} {} on average, {} of the balance; {} of demand served, {} of limits are zero",
            money(run, o.shipped.mean_limit),
            run.policy.currency,
            percent(o.shipped.mean_share),
            percent(o.shipped.served),
            percent(o.shipped.zero_share)
        ),
    );
    let plain: Vec<String> = certificate
        .cells
        .iter()
        .filter(|c| c.basis == Basis::Certified && matches!(c.rule, Rule::Balance | Rule::Share { .. }))
        .map(|c| c.tier.to_string())
        .collect();
    fact(
        "Rule",
        if plain.is_empty() {
            format!(
                "the model ships; a fixed share of the balance under the same test grants {} {}",
                money(run, o.fraction.mean_limit),
                run.policy.currency
            )
        } else {
            format!("a plain rule is enough in tier {}", list(plain))
        },
    );

    let groups = || gaps.by.iter().flat_map(|gap| gap.groups.iter().map(move |g| (gap.by.as_str(), g)));
    let most = groups().max_by(|a, b| a.1.outcome.zero_share.total_cmp(&b.1.outcome.zero_share));
    if let Some((by, g)) = most.filter(|(_, g)| g.outcome.spans[3][0] > o.shipped.zero_share) {
        let (theirs, all) = (percent(g.outcome.zero_share), percent(o.shipped.zero_share));
        fact("Excluded", format!("most of all by {by}: {}, where {theirs} of limits are zero; {all} overall", g.group));
    }

    let named: Vec<String> = gaps.above().map(|(by, g)| format!("{by}: {}", g.group)).collect();
    let groups = groups().count();
    say(
        named.is_empty(),
        "Group gaps",
        if named.is_empty() {
            format!("none of {groups} groups is above the promise beyond doubt")
        } else {
            format!("above the promise beyond doubt: {}", list(named))
        },
    );

    let alarmed: Vec<String> =
        watched.iter().filter(|w| w.ages.iter().any(|r| r.alarms > 0)).map(|w| w.tier.to_string()).collect();
    let most = watched.iter().filter_map(|w| w.worst()).map(|r| r.e_value_max).fold(0.0, f64::max);
    let moved = run.metrics.shifts.iter().find(|s| !s.calendar).map_or(String::new(), |s| {
        format!("; most moved feature {} (index {:.2}, a hint only)", s.feature, s.from_calibrate)
    });
    say(
        alarmed.is_empty(),
        "Drift",
        if alarmed.is_empty() {
            format!(
                "no alarm on the test days: largest e-value {most:.1}, an alarm is {:.0}{moved}",
                1.0 / certificate.terms.delta.fraction()
            )
        } else {
            format!("the alarm sounds on the test days in tier {}{moved}", list(alarmed))
        },
    );
    let proved = list(run.release.manifest.monotone.iter().map(|c| c.feature.clone()).collect());
    say(!proved.is_empty(), "Monotone", format!("proved on the exported file in {proved}"));
    all.extend(facts);
    all
}

fn cell_context(run: &Run, cell: &Cell) -> Value {
    let milli = |v: u64| format!("{:.1}", v as f64 / 1e3);
    let currency = run.policy.currency;
    let interval = |of: fn(&Expected) -> u32, t: &plimsoll_model::artifact::Tested| {
        let share = |e: &Expected| f64::from(of(e)) / 1e6;
        spanned(share(&t.expected), [share(&t.intervals.low), share(&t.intervals.high)])
    };
    let realised = |t: &plimsoll_model::artifact::Tested| {
        spanned(f64::from(t.violation_ppm) / 1e6, [f64::from(t.low_ppm) / 1e6, f64::from(t.high_ppm) / 1e6])
    };
    context! {
        tier => cell.tier.level(),
        rule => rule_says(cell, currency),
        basis => basis_says(cell.basis),
        accounts => cell.accounts,
        needed => cell.accounts_needed,
        windows => cell.windows,
        violation => ppm(cell.violation_ppm),
        evidence => milli(cell.e_value_milli),
        beta => cell.beta.map(|b| currency.show(b)),
        missing => money_milli(currency, cell.missing_milli),
        money_evidence => cell.money_e_value_milli.map(milli),
        tightest => ppm(cell.alpha_min_ppm),
        stake => format!("{}\u{a0}%", f64::from(cell.stake_milli.milli()) / 10.0),
        bands => cell.bands.iter().map(|band| context! {
            from => currency.show(band.from),
            accounts => band.accounts,
            windows => band.windows,
            violation => ppm(band.violation_ppm),
            evidence => milli(band.e_value_milli),
            missing => money_milli(currency, band.missing_milli),
            money_evidence => band.money_e_value_milli.map(milli),
            test => band.test.map(|t| realised(&t)),
            test_accounts => band.test.map(|t| t.accounts),
        }).collect::<Vec<_>>(),
        test => cell.test.map(|t| context! {
            accounts => t.accounts,
            violation => realised(&t),
            limit => format!(
                "{} [{}\u{a0}–\u{a0}{}]",
                currency.show(t.expected.mean_limit),
                currency.show(t.intervals.low.mean_limit),
                currency.show(t.intervals.high.mean_limit)
            ),
            served => interval(|e| e.served_ppm, &t),
            useful => interval(|e| e.useful_ppm, &t),
            zero => interval(|e| e.zero_ppm, &t),
            missing => money_milli(currency, t.expected.missing_milli),
        }),
    }
}

/// Thousandths of a minor unit, in major units.
fn money_milli(currency: Currency, milli: u64) -> String {
    format!("{:.4}", milli as f64 / 1e3 / currency.minor_per_major() as f64)
}

fn outcomes(run: &Run) -> Vec<Value> {
    let outcome = |name: String, o: &Outcome| {
        context! {
            name,
            violation => spanned(o.violation, [o.low, o.high]),
            accounts => o.accounts,
            limit => money(run, o.mean_limit),
            share => percent(o.mean_share),
            served => percent(o.served),
            useful => percent(o.useful),
            zero => percent(o.zero_share),
            severity => percent(o.severity),
        }
    };
    let m = &run.metrics;
    let mut rows = vec![
        outcome("all tiers: shipped".into(), &m.overall.shipped),
        outcome("all tiers: fixed share, same test".into(), &m.overall.fraction),
        outcome("all tiers: min(balance, cap), uncertified".into(), &m.overall.plain),
    ];
    for (tier, c) in m.tiers.iter().filter(|(_, c)| c.shipped.windows > 0) {
        rows.push(outcome(format!("tier {tier}: shipped"), &c.shipped));
        let share = c.fraction_400ths.map_or(String::new(), |f| format!(" {:.2} %", f64::from(f) / 4.0));
        rows.push(outcome(format!("tier {tier}: fixed share{share}"), &c.fraction));
    }
    rows
}

fn gap_rows(run: &Run, gaps: &Gaps) -> Vec<Value> {
    let rows = gaps.by.iter().flat_map(|gap| gap.groups.iter().enumerate().map(move |(ix, g)| (gap, ix, g)));
    let row = |(gap, ix, g): (&crate::gaps::Gap, usize, &crate::gaps::Fared)| {
        let o = &g.outcome;
        context! {
            by => if ix == 0 { gap.by.as_str() } else { "" },
            group => g.group.clone(),
            accounts => o.accounts,
            violation => spanned(o.violation, [o.low, o.high]),
            above => g.above,
            limit => format!(
                "{} [{}\u{a0}–\u{a0}{}]",
                money(run, o.mean_limit),
                money(run, o.spans[0][0]),
                money(run, o.spans[0][1])
            ),
            share => percent(o.of_grantable),
            served => spanned(o.served, o.spans[1]),
            zero => spanned(o.zero_share, o.spans[3]),
        }
    };
    rows.map(row).collect()
}

fn compared(run: &Run) -> Vec<Value> {
    let cells = &run.release.certificate.cells;
    let row = |cell: &Cell, ix: usize, tried: &Compared| {
        let name = match cell.rule {
            Rule::Gap { level, .. } => format!("gap {level}"),
            Rule::Share { .. } => "share".into(),
            Rule::Balance | Rule::Fallback { .. } => String::new(),
        };
        context! {
            tier => if ix == 0 { cell.tier.to_string() } else { String::new() },
            name => tried.name.clone(),
            ships => tried.name == name,
            reached => tried.reached.map_or("does not certify".into(), |r| format!("{r} of {}", tried.of)),
            promising => format!("{:.3}", f64::from(tried.promising_milli) / 1e3),
            test => tried.test.map(|e| context! {
                limit => run.policy.currency.show(e.mean_limit),
                served => ppm(e.served_ppm), useful => ppm(e.useful_ppm), zero => ppm(e.zero_ppm),
            }),
        }
    };
    cells
        .iter()
        .flat_map(|cell| cell.compared.iter().enumerate().map(move |(ix, tried)| row(cell, ix, tried)))
        .collect()
}

fn challenger(run: &Run, other: &Run) -> Value {
    let side = |run: &Run, cell: Option<&Cell>| {
        cell.map(|cell| {
            context! {
                rule => rule_says(cell, run.policy.currency),
                basis => basis_says(cell.basis),
                test => cell.test.map(|t| context! {
                    violation => ppm(t.violation_ppm), limit => run.policy.currency.show(t.expected.mean_limit),
                    served => ppm(t.expected.served_ppm), zero => ppm(t.expected.zero_ppm),
                }),
            }
        })
    };
    let (ours, theirs) = (&run.release.certificate, &other.release.certificate);
    let paired = match ratio(run, other) {
        Ok(r) => context! { says => format!(
            "On the {} windows of {} accounts that both were tested on, this run's mean limit is {:.3} × the other's [{:.3} – {:.3}], and \
             demand served {:+.2} points [{:+.2} – {:+.2}].",
            r.windows, r.accounts, r.limit, r.limit_span[0], r.limit_span[1], r.served * 100.0, r.served_span[0] * 100.0, r.served_span[1] * 100.0
        ) },
        Err(why) => {
            context! { says => format!("They cannot be compared window by window: {why}. Each stands on its own test.") }
        }
    };
    context! {
        name => format!("{} {}", other.release.manifest.model_id, other.release.manifest.model_version),
        same => [
            ("history", ours.terms.data_sha256 == theirs.terms.data_sha256),
            ("policy", ours.terms.policy_sha256 == theirs.terms.policy_sha256),
            ("features", ours.terms.feature_schema == theirs.terms.feature_schema),
            ("model", ours.terms.model_sha256 == theirs.terms.model_sha256),
        ].map(|(what, same)| format!("{what} {}", if same { "the same" } else { "another" })).join(", "),
        promise => format!("α {}, β {}, δ {}", theirs.terms.alpha, theirs.terms.beta, theirs.terms.delta),
        paired,
        tiers => ours.cells.iter().map(|cell| context! {
            tier => cell.tier.level(), this => side(run, Some(cell)), other => side(other, theirs.cell(cell.tier)),
        }).collect::<Vec<_>>(),
    }
}
