//! What people read: amounts, times and shares.

use plimsoll_model::money::Currency;
use plimsoll_model::{Money, UtcSeconds};

use crate::border::Role;

/// `MYR 1,234.50`.
pub(super) fn money(currency: Currency, amount: Money) -> String {
    minor(currency, amount.minor() as i64)
}

/// The same for an amount that may be below zero.
pub(super) fn minor(currency: Currency, minor: i64) -> String {
    let plain = currency.format(minor);
    let (sign, digits) = plain.strip_prefix('-').map_or(("", plain.as_str()), |rest| ("−", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = grouped(whole);
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}\u{a0}{whole}{point}{fraction}", currency.code())
}

fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `2026-11-21 10:18`, UTC.
pub(super) fn when(at: UtcSeconds) -> String {
    let text = at.rfc3339();
    text.get(..16).map_or(text.clone(), |minutes| minutes.replace('T', "\u{a0}"))
}

/// How long ago or ahead, in the largest unit that fits: `3 h ago`, `in 2 d`.
pub(super) fn distance(at: UtcSeconds, now: UtcSeconds) -> String {
    let ago = now.since(at);
    let size = ago.unsigned_abs();
    let span = match size {
        0..60 => return "just now".to_owned(),
        60..3_600 => format!("{} min", size / 60),
        3_600..172_800 => format!("{} h", size / 3_600),
        _ => format!("{} d", size / 86_400),
    };
    if ago > 0 { format!("{span} ago") } else { format!("in {span}") }
}

/// Parts per million as a percentage, with the decimals that it has: `1 %`, `0.5 %`.
pub(super) fn percent(ppm: u64) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{}\u{a0}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `1,234`.
pub(super) fn count(count: u64) -> String {
    grouped(&count.to_string())
}

/// A tier with what API clients call it.
pub(super) fn tier(level: u8, class: Option<&str>) -> String {
    match class {
        Some(class) => format!("Tier {level} · {}", spaced(class.strip_prefix("tier_").unwrap_or(class))),
        None => format!("Tier {level}"),
    }
}

/// The first letters of a long name.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(10) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `snake_case` as words.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ").to_lowercase()
}

pub(super) const fn role(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Support => "support",
        Role::Risk => "risk",
        Role::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_times_and_shares_read_as_people_write_them() {
        let myr = Currency::new("MYR", 2).expect("a currency");
        let idr = Currency::new("IDR", 0).expect("a currency");
        assert_eq!(minor(myr, 123_456_789), "MYR\u{a0}1,234,567.89");
        assert_eq!(minor(myr, -5), "−MYR\u{a0}0.05");
        assert_eq!(minor(idr, 100_000), "IDR\u{a0}100,000");
        assert_eq!(when(UtcSeconds(1_795_256_305)), "2026-11-21\u{a0}10:18");
        let now = UtcSeconds(1_000_000);
        assert_eq!(distance(now.plus(-7_200), now), "2 h ago");
        assert_eq!(distance(now.plus(86_400 * 3), now), "in 3 d");
        assert_eq!(
            [0, 5_000, 10_000, 1_000_000, 1].map(percent),
            ["0\u{a0}%", "0.5\u{a0}%", "1\u{a0}%", "100\u{a0}%", "0.0001\u{a0}%"]
        );
        assert_eq!(short("häuser-häuser"), "häuser-häu…");
    }
}
