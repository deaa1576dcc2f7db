//! Certificates and decisions as text.

use comfy_table::{CellAlignment, Table, presets};
use plimsoll_model::artifact::{Certificate, Tested};
use plimsoll_model::time::Age;
use plimsoll_model::{Currency, decision::Decision};
use plimsoll_train::report::{basis_says, rule_says};

/// A plain table; columns from `numbers` on are aligned to the right.
pub(super) fn table(head: &[&str], numbers: std::ops::Range<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for ix in numbers {
        if let Some(column) = table.column_mut(ix) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn ppm(v: u32) -> String {
    format!("{:.3} %", f64::from(v) / 1e4)
}

/// What is promised, on what ground, and what else was tried.
pub(super) fn certificate(c: &Certificate, currency: Currency) -> String {
    let terms = &c.terms;
    let ages: Vec<String> = terms.ages.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "Certificate\n  With confidence {:.0} %, at each age ({}), at most {} of an account's windows\n  have less headroom than \
         its limit, and at most {} of the tier's cap is missing on average; payments settle within {} h.\n  Tested over accounts \
         the trees never saw; the rule was chosen on others.\n\n",
        100.0 - terms.delta.fraction() * 100.0,
        ages.join(", "),
        terms.alpha,
        terms.beta,
        terms.window_h,
    );
    let mut t =
        table(&["tier", "ground", "rule", "accounts", "violations", "e-value", "realised on test [95 %]"], 3..6);
    let realised = |test: Option<Tested>| {
        test.map_or("no test accounts".into(), |r| {
            format!("{} [{} – {}], n = {}", ppm(r.violation_ppm), ppm(r.low_ppm), ppm(r.high_ppm), r.accounts)
        })
    };
    let e_value = |milli: u64| format!("{:.1}", milli as f64 / 1e3);
    for cell in &c.cells {
        t.add_row([
            cell.tier.to_string(),
            basis_says(cell.basis).to_owned(),
            rule_says(cell, currency),
            cell.accounts.to_string(),
            ppm(cell.violation_ppm),
            e_value(cell.e_value_milli),
            realised(cell.test),
        ]);
        for band in &cell.bands {
            t.add_row([
                String::new(),
                String::new(),
                format!("on balances from {}", currency.show(band.from)),
                band.accounts.to_string(),
                ppm(band.violation_ppm),
                e_value(band.e_value_milli),
                realised(band.test),
            ]);
        }
    }
    text.push_str(&t.to_string());
    text.push_str("\n\n");
    let mut t =
        table(&["tier", "each rule, certified alone", "limit", "demand served", "useful", "zero", "promising"], 2..7);
    for cell in &c.cells {
        for (ix, tried) in cell.compared.iter().enumerate() {
            let share = |ppm: u32| format!("{:.1} %", f64::from(ppm) / 1e4);
            let figures = tried.test.map_or([(); 4].map(|()| "–".to_owned()), |e| {
                [currency.show(e.mean_limit), share(e.served_ppm), share(e.useful_ppm), share(e.zero_ppm)]
            });
            let first = if ix == 0 { cell.tier.to_string() } else { String::new() };
            let promising = format!("{:.3}", f64::from(tried.promising_milli) / 1e3);
            t.add_row([first, tried.name.clone()].into_iter().chain(figures).chain([promising]));
        }
    }
    text.push_str(&t.to_string());
    text
}

/// One account's decisions over ages.
pub(super) struct Curve {
    pub(super) account: String,
    pub(super) balance: plimsoll_model::Money,
    pub(super) tier: plimsoll_model::Tier,
    pub(super) decisions: Vec<(Age, Decision)>,
}

/// Limits of accounts at ages: balance, tier, age, limit, bound, reason.
pub(super) fn limits(curves: &[Curve], currency: Currency) -> String {
    let mut t = table(&["account", "balance", "tier", "age", "limit", "one payment", "bound", "reason"], 1..6);
    for curve in curves {
        for (ix, (age, d)) in curve.decisions.iter().enumerate() {
            let first = |text: String| if ix == 0 { text } else { String::new() };
            t.add_row([
                first(curve.account.clone()),
                first(currency.show(curve.balance)),
                first(curve.tier.to_string()),
                age.to_string(),
                currency.show(d.limit),
                currency.show(d.per_payment),
                d.bound.name().to_owned(),
                d.bound.says().to_owned(),
            ]);
        }
    }
    t.to_string()
}
