//! The year: festivals of the moon and of the sun, and what they do to spending.

use plimsoll_model::time::CivilDate;

use super::config::Programme;

/// 2024-04-10, a feast of the end of the fast; the lunar year that brings the next is 354 days and 11 thirtieths.
const FEAST: i64 = 19_823;

/// How much livelier a local day is than an ordinary one: 1.0, more before a feast, less right after it.
pub(crate) fn factor(programme: Programme, day: i64) -> f64 {
    let lunar: f64 = match to_feast(day) {
        1..=7 => 1.55,
        8..=20 => 1.2,
        -2..=0 => 1.3,
        -9..=-3 => 0.75,
        _ => 1.0,
    };
    let date = CivilDate::of_day(day);
    let christmas = match (date.month, date.day) {
        (12, 12..=24) => 1.35,
        (12, 25..=31) => 1.15,
        (1, 2..=14) => 0.8,
        _ => 1.0,
    };
    match programme {
        Programme::Naira => lunar.clamp(1.0, 1.2) * christmas,
        Programme::P2p => match (date.month, date.day) {
            // The weeks before the festival of lights, in a calendar kept simple.
            (10, 15..=31) | (11, 1..=8) => 1.4,
            _ => 1.0,
        },
        Programme::Tng | Programme::Card => lunar * if christmas > 1.0 { 1.1 } else { 1.0 },
    }
}

/// Days until the nearest feast: positive before it, negative after.
fn to_feast(day: i64) -> i64 {
    // Lunar years since FEAST, rounded to the nearest: 30 of them are 10,631 days.
    let years = ((day - FEAST) * 60 + 10_631).div_euclid(2 * 10_631);
    FEAST + (years * 10_631).div_euclid(30) - day
}

/// Whether the feast bonus is paid with the pay of this day.
pub(crate) fn bonus(programme: Programme, day: i64) -> bool {
    match programme {
        Programme::Tng | Programme::Card => (10..=40).contains(&to_feast(day)),
        Programme::Naira | Programme::P2p => CivilDate::of_day(day).month == 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feast_moves_through_the_year() {
        let day = |y, m, d| CivilDate::new(y, m, d).expect("a date").day_number();
        assert_eq!(to_feast(day(2024, 4, 10)), 0);
        // Within a day of the calendar as it was.
        assert!(to_feast(day(2025, 3, 31)).abs() <= 1);
        assert!(to_feast(day(2023, 4, 22)).abs() <= 1);
        assert!(to_feast(day(2020, 5, 24)).abs() <= 2);
        assert!(factor(Programme::Tng, day(2024, 4, 5)) > 1.5);
        assert!(factor(Programme::Tng, day(2024, 4, 15)) < 1.0);
    }
}
