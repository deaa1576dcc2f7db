//! A stepped line as inline SVG: no script draws it. Text stands beside it as HTML, so that it keeps its size on a phone.

use askama::Template;

/// Units of the drawing; it is stretched to the space there is.
const WIDTH: i64 = 1_000;
const HEIGHT: i64 = 300;

/// A stepped line over a range.
#[derive(Clone, Debug, Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    /// What it shows, for those who cannot see it.
    pub(super) says: String,
    /// The value at the top.
    pub(super) top: String,
    /// The value at the bottom.
    pub(super) bottom: String,
    /// Below the axis, evenly spaced.
    pub(super) along: Vec<String>,
    line: String,
    area: String,
}

impl Chart {
    /// * `steps`: where each step begins and its height; the last reaches to `end`;
    /// * `range`: the values at bottom and top.
    ///
    /// `None` when there is nothing to draw.
    pub(super) fn of(steps: &[(i64, i64)], end: i64, range: (i64, i64)) -> Option<Self> {
        let (first, _) = *steps.first()?;
        let (bottom, top) = range;
        if end <= first || top <= bottom {
            return None;
        }
        let scaled = |value: i64, from: i64, to: i64, size: i64| {
            let share = i128::from(value.clamp(from, to) - from) * i128::from(size) / i128::from(to - from);
            i64::try_from(share).unwrap_or(size)
        };
        let x = |at: i64| scaled(at, first, end, WIDTH);
        let y = |value: i64| HEIGHT - scaled(value, bottom, top, HEIGHT);
        let mut line = String::new();
        for (place, (at, value)) in steps.iter().enumerate() {
            let until = steps.get(place + 1).map_or(end, |next| next.0);
            let command = if place == 0 { 'M' } else { 'L' };
            line.push_str(&format!("{command}{} {}H{}", x(*at), y(*value), x(until)));
        }
        let area = format!("{line}V{}H0Z", y(0.clamp(bottom, top)));
        let blank = String::new();
        Some(Self { says: blank.clone(), top: blank.clone(), bottom: blank, along: Vec::new(), line, area })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_lasts_until_the_next_and_the_last_until_the_end() {
        let chart = Chart::of(&[(0, 100), (50, 40)], 100, (0, 100)).expect("draws");
        assert_eq!(chart.line, "M0 0H500L500 180H1000");
        assert_eq!(chart.area, "M0 0H500L500 180H1000V300H0Z");
        assert!(Chart::of(&[], 1, (0, 1)).is_none() && Chart::of(&[(0, 0)], 1, (0, 0)).is_none());
        let extreme = Chart::of(&[(i64::MIN / 4, i64::MAX / 4)], i64::MAX / 4, (0, i64::MAX / 4)).expect("draws");
        assert_eq!(extreme.line, "M0 0H1000");
    }
}
