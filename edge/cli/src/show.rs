//! Limits and states as text.

use std::fmt::Write as _;

use plimsoll_edge::device::Status;
use plimsoll_edge::wallet::{Allowance, Paid};
use plimsoll_model::{Age, Currency, Money};

use crate::app::App;

/// `sync now` as `Sync now.`; nothing as nothing.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// What remains, why not more, and what helps.
pub(crate) fn allowance(left: &Allowance, currency: Currency) -> String {
    let mut text = format!(
        "{} {currency} remain, at most {} in one payment, {} without proof of presence.\n",
        currency.show(left.remaining),
        currency.show(left.per_payment),
        currency.show(left.without_proof)
    );
    let _ =
        writeln!(text, "{}", format!("Why not more: {}. {}", left.bound.says(), sentence(left.advice.says())).trim());
    for reason in &left.reasons {
        let _ = writeln!(text, "  {:<16} {:>12}", reason.bound.name(), currency.show(reason.left));
    }
    text
}

/// What remains as the sync gets older.
pub(crate) fn curve(points: &[(Age, Money)], currency: Currency) -> String {
    let most = points.iter().map(|p| p.1.minor()).max().unwrap_or(0).max(1);
    let mut text = String::new();
    for (age, left) in points {
        let bar = "█".repeat(usize::try_from(left.minor() * 40 / most).unwrap_or(0));
        let _ = writeln!(text, "{:>8} {:>12} {bar}", age.to_string(), currency.show(*left));
    }
    text
}

/// Everything a holder may ask for.
pub(crate) fn status<'a>(app: &App, status: &Status, outbox: impl Iterator<Item = &'a Paid>) -> String {
    let currency = app.policy.currency;
    let mut text = format!("{} in programme {}\n", app.account, app.policy.programme);
    let _ = match (&status.models.model, &status.models.floor) {
        (_, Some(reason)) => writeln!(text, "model: none decides: {reason}"),
        (Some(model), None) => {
            let trial = if model.on_trial { ", on trial" } else { "" };
            writeln!(text, "model: {} version {}{trial}", model.model_id, model.model_version)
        }
        (None, None) => writeln!(text, "model: none"),
    };
    for event in &status.models.events {
        let _ = writeln!(text, "event {}: {} {}", event.number, event.code, event.detail);
    }
    let wallet = &status.wallet;
    let _ = writeln!(
        text,
        "wallet {}: grant {}, {} payments made, {} spent under the grant",
        wallet.wid,
        wallet.seq,
        wallet.number,
        currency.show(wallet.spent)
    );
    for paid in outbox {
        let (at, amount) = (paid.at.rfc3339(), currency.show(paid.amount));
        let _ = writeln!(text, "  payment {}: {amount} to {} at {at}, not settled", paid.number, paid.payee);
    }
    text.push_str(&allowance(&status.allowance, currency));
    text
}
