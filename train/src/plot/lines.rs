//! A line plot as self-contained SVG: no script, no font, no network.

use std::fmt::Write;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Evenly.
    Linear,
    /// By powers of ten; values at or below zero are drawn at the left or bottom edge.
    Log,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// `(x, y)`, in order.
    pub points: Vec<(f64, f64)>,
    /// A mark at each point and no line between them.
    pub marks: bool,
    /// Steps instead of slopes: the value at a point holds up to it from the one before.
    pub steps: bool,
}

impl Series {
    /// A line through `points`.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marks: false, steps: false }
    }

    /// Marks at `points`.
    pub fn marks(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marks: true, steps: false }
    }

    /// A staircase through `points`, each value holding from the point before up to its own.
    pub fn staircase(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marks: false, steps: true }
    }
}

/// A plot with its axes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above it.
    pub title: String,
    /// Under it.
    pub x_label: String,
    /// Beside it.
    pub y_label: String,
    /// Division of the x axis.
    pub x_axis: Axis,
    /// Division of the y axis.
    pub y_axis: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// Vertical lines, with what they say.
    pub rules: Vec<(f64, String)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 52.0;
/// Distinguishable without colour vision. Source: Okabe and Ito 2008.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444"];

struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
}

impl Scale {
    fn over(axis: Axis, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.filter(|v| v.is_finite() && (axis == Axis::Linear || *v > 0.0)) {
            (low, high) = (low.min(v), high.max(v));
        }
        if low > high {
            (low, high) = (0.1, 1.0);
        }
        match axis {
            Axis::Linear => {
                low = low.min(0.0);
                if high <= low {
                    high = low + 1.0;
                }
                high += (high - low) * 0.04;
            }
            Axis::Log => {
                (low, high) = (10f64.powf(low.log10().floor()), 10f64.powf(high.log10().ceil()));
                if high <= low {
                    high = low * 10.0;
                }
            }
        }
        Self { axis, low, high }
    }

    /// 0 to 1.
    fn at(&self, v: f64) -> f64 {
        let share = match self.axis {
            Axis::Linear => (v - self.low) / (self.high - self.low),
            Axis::Log => (v.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.axis {
            Axis::Log => {
                let (from, to) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
                (from..=to).map(|e| 10f64.powi(e)).collect()
            }
            Axis::Linear => {
                let rough = (self.high - self.low) / 5.0;
                let unit = 10f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * unit).into_iter().find(|s| *s >= rough).unwrap_or(unit);
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step).floor() as i64;
                (first..=last).map(|k| k as f64 * step).collect()
            }
        }
    }
}

/// `12,500`, `0.05`.
fn number(v: f64) -> String {
    let text = if v == 0.0 || v.abs() >= 1.0 { format!("{}", (v * 1e3).round() / 1e3) } else { format!("{v:.6}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(w, r)| (w, Some(r)));
    let mut grouped = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && whole.as_bytes()[i - 1] != b'-' {
            grouped.push(',');
        }
        grouped.push(c);
    }
    rest.map_or(grouped.clone(), |r| format!("{grouped}.{r}"))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Plot {
    /// The picture.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|s| s.points.iter());
        let x = Scale::over(self.x_axis, points().map(|p| p.0).chain(self.rules.iter().map(|r| r.0)));
        let y = Scale::over(self.y_axis, points().map(|p| p.1));
        let px = |v: f64| LEFT + x.at(v) * (WIDTH - LEFT - RIGHT);
        let py = |v: f64| HEIGHT - BOTTOM - y.at(v) * (HEIGHT - TOP - BOTTOM);
        let mut s = String::new();
        let mut put = |text: String| {
            s.push_str(&text);
            s.push('\n');
        };
        put(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{0}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"600\" fill=\"#222\">{0}</text>",
            escape(&self.title)
        ));
        for t in x.ticks() {
            let at = px(t);
            put(format!(
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"#e6e6e6\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 17.0,
                number(t)
            ));
        }
        for t in y.ticks() {
            let at = py(t);
            put(format!(
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e6e6e6\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 7.0,
                at + 4.0,
                number(t)
            ));
        }
        for (at, says) in &self.rules {
            let at = px(*at);
            put(format!(
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"#c00\" stroke-dasharray=\"4 4\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#c00\">{}</text>",
                HEIGHT - BOTTOM,
                at + 4.0,
                TOP + 12.0,
                escape(says)
            ));
        }
        for (ix, series) in self.series.iter().enumerate() {
            let colour = COLOURS[ix % COLOURS.len()];
            if series.marks {
                for (a, b) in &series.points {
                    put(format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4.5\" fill=\"{colour}\"/>", px(*a), py(*b)));
                }
                continue;
            }
            let mut path = String::new();
            let mut before = None;
            for (a, b) in &series.points {
                if let (true, Some(from)) = (series.steps, before) {
                    write!(path, "L{:.1},{:.1}", px(from), py(*b)).expect("writing to a String cannot fail");
                }
                let pen = if path.is_empty() { 'M' } else { 'L' };
                write!(path, "{pen}{:.1},{:.1}", px(*a), py(*b)).expect("writing to a String cannot fail");
                before = Some(*a);
            }
            put(format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        }
        put(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#222\">{}</text>\
             <text transform=\"translate(16,{:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#222\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 14.0,
            escape(&self.x_label),
            (TOP + HEIGHT - BOTTOM) / 2.0,
            escape(&self.y_label)
        ));
        for (ix, series) in self.series.iter().enumerate() {
            let at = TOP + 16.0 + 17.0 * ix as f64;
            put(format!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#222\" stroke=\"#fff\" stroke-width=\"3\" \
                 paint-order=\"stroke\">{}</text>",
                WIDTH - RIGHT - 18.0,
                at - 6.0,
                COLOURS[ix % COLOURS.len()],
                WIDTH - RIGHT - 24.0,
                at,
                escape(&series.name)
            ));
        }
        s.push_str("</svg>\n");
        s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        for (v, text) in [(0.0, "0"), (0.05, "0.05"), (1_250_000.0, "1,250,000"), (2.5, "2.5"), (-1_000.0, "-1,000")] {
            assert_eq!(number(v), text);
        }
    }

    #[test]
    fn every_point_lands_inside_the_picture() {
        for axis in [Axis::Linear, Axis::Log] {
            let plot = Plot {
                title: "a < b & c".into(),
                x_label: "x".into(),
                y_label: "y".into(),
                x_axis: axis,
                y_axis: axis,
                series: vec![
                    Series::line("line", vec![(0.0, 0.0), (1e-6, 5.0), (1e6, 1e12)]),
                    Series::marks("none", vec![]),
                ],
                rules: vec![(0.01, "alpha".into())],
            };
            let svg = plot.svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("a &lt; b &amp; c"));
        }
    }
}
