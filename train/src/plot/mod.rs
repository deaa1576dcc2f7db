//! Plots as self-contained SVG: no script, no font, no network. Drawn 480 units wide with letters of 14, so that two stand
//! side by side on paper and one fills a phone; told apart by shape and dash before colour; each says in words what it
//! shows (`<title>`, `<desc>`).
//!
//! ```text
//! lines: y against x     rows: a value per name, with its interval     bars: how often each value came
//! ```

pub mod bars;

pub mod lines;

pub mod rows;

use std::fmt::Write;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Evenly, zero included.
    Linear,
    /// Evenly, from the lowest value to the highest.
    Span,
    /// By powers of ten, six of them at most; what is lower is drawn at the edge, and the edge says so.
    Log,
}

/// Width of every picture.
const WIDTH: f64 = 480.0;
/// Letters of titles and legends, and of ticks.
const LETTER: f64 = 14.0;
const SMALL: f64 = 13.0;
/// Black on white is said in ink; colours come second. Source: Okabe and Ito 2008, darkened to stand on white.
const COLOURS: [&str; 10] =
    ["#0060a0", "#b84a00", "#00785a", "#a04878", "#7a5c00", "#2a7fb0", "#333333", "#6a3d9a", "#8a1c1c", "#4a6a00"];
const DASHES: [&str; 10] = ["none", "7 4", "2 3", "10 3 2 3", "1 4", "12 5", "4 2", "14 3 2 3 2 3", "6 2 1 2", "3 6"];
const INK: &str = "#1a1a1a";
const GRID: &str = "#dcdcdc";
const RULE: &str = "#b00020";

/// A picture being drawn, from the top down.
struct Canvas {
    body: String,
    title: String,
    about: String,
    /// How far down it is filled.
    y: f64,
}

impl Canvas {
    fn new(title: &str, about: &str) -> Self {
        let mut canvas = Self { body: String::new(), title: title.into(), about: about.into(), y: 4.0 };
        for line in wrapped(title, (WIDTH / (LETTER * 0.62)) as usize) {
            canvas.y += 18.0;
            let y = canvas.y;
            canvas.put(format_args!("<text x=\"8\" y=\"{y:.1}\" font-weight=\"600\">{}</text>", escape(&line)));
        }
        canvas.y += 6.0;
        canvas
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("writing to a String cannot fail");
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        let text = escape(text);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{SMALL}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// The frame that marks stand in.
    fn frame(&mut self, frame: &Frame) {
        let Frame { left, top, right, bottom } = frame;
        self.put(format_args!(
            "<rect class=\"frame\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#888\"/>",
            right - left,
            bottom - top
        ));
    }

    /// Ticks of the x axis, its grid and its label.
    fn x_axis(&mut self, scale: &Scale, frame: &Frame, label: &str) {
        let ticks = scale.ticks();
        let widest = ticks.iter().map(|(_, says)| breadth(says, SMALL)).fold(0.0, f64::max) + 10.0;
        let mut free = f64::NEG_INFINITY;
        for (share, says) in ticks {
            let x = frame.left + share * (frame.right - frame.left);
            self.put(format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{GRID}\"/>",
                frame.top, frame.bottom
            ));
            if x - widest / 2.0 >= free {
                // A label at the frame's end may not leave the picture.
                let at = x.clamp(widest / 2.0, WIDTH - widest / 2.0);
                self.text(at, frame.bottom + 17.0, "middle", &says);
                free = x + widest / 2.0;
            }
        }
        self.text(f64::midpoint(frame.left, frame.right), frame.bottom + 37.0, "middle", label);
        self.y = frame.bottom + 46.0;
    }

    /// Vertical lines, and then what they say, one under another.
    fn rules<'a>(&mut self, rules: impl Iterator<Item = (f64, &'a str)> + Clone, frame: &Frame) {
        let Frame { top, right, bottom, .. } = *frame;
        for (x, _) in rules.clone() {
            self.put(format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" stroke=\"{RULE}\" stroke-width=\"1.5\" \
                 stroke-dasharray=\"5 3\"/>"
            ));
        }
        for (row, (x, says)) in rules.enumerate() {
            let y = top + 14.0 + 16.0 * row as f64;
            let fits = x + 5.0 + breadth(says, SMALL) < right;
            let (at, anchor) = if fits { (x + 4.0, "start") } else { (x - 4.0, "end") };
            let says = escape(says);
            self.put(format_args!(
                "<text x=\"{at:.1}\" y=\"{y:.1}\" font-size=\"{SMALL}\" text-anchor=\"{anchor}\" fill=\"{RULE}\" stroke=\"#fff\" \
                 stroke-width=\"4\" paint-order=\"stroke\">{says}</text>"
            ));
        }
    }

    /// What names the series, in as many lines as it takes.
    fn legend(&mut self, names: impl Iterator<Item = (usize, String, Sample)>) {
        let (mut x, mut first) = (8.0, true);
        for (style, name, sample) in names {
            let breadth = 34.0 + breadth(&name, SMALL);
            if first || x + breadth > WIDTH - 4.0 {
                (x, first) = (8.0, false);
                self.y += 18.0;
            }
            let y = self.y;
            if sample != Sample::Mark {
                self.put(format_args!("<path d=\"M{x:.1},{:.1}h24\" {}/>", y - 4.0, stroke(style)));
            }
            if sample != Sample::Line {
                self.put(format_args!("{}", marker(style, x + 12.0, y - 4.0, "")));
            }
            self.text(x + 29.0, y, "start", &name);
            x += breadth + 12.0;
        }
        self.y += 8.0;
    }

    fn finish(self) -> String {
        let Self { body, title, about, y } = self;
        let slug: String =
            title.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" role=\"img\" \
             aria-labelledby=\"t-{slug} d-{slug}\" font-family=\"system-ui, sans-serif\" font-size=\"{LETTER}\" fill=\"{INK}\">\n\
             <title id=\"t-{slug}\">{}</title>\n<desc id=\"d-{slug}\">{}</desc>\n\
             <rect width=\"{WIDTH}\" height=\"{y:.0}\" fill=\"#fff\"/>\n{body}</svg>\n",
            escape(&title),
            escape(&about)
        )
    }
}

/// How a series looks in the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sample {
    Line,
    Mark,
    Both,
}

/// Where marks may stand.
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

fn stroke(style: usize) -> String {
    let (colour, dash) = (COLOURS[style % COLOURS.len()], DASHES[style % DASHES.len()]);
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"")
}

/// A shape of its own for each style.
fn marker(style: usize, x: f64, y: f64, class: &str) -> String {
    let colour = COLOURS[style % COLOURS.len()];
    let path = match style % 7 {
        0 => format!("M{:.1},{y:.1}a4,4 0 1 0 8,0a4,4 0 1 0 -8,0z", x - 4.0),
        1 => format!("M{:.1},{:.1}h7v7h-7z", x - 3.5, y - 3.5),
        2 => format!("M{x:.1},{:.1}l4.6,8h-9.2z", y - 5.0),
        3 => format!("M{x:.1},{:.1}l5,5l-5,5l-5,-5z", y - 5.0),
        4 => format!("M{x:.1},{:.1}l-4.6,-8h9.2z", y + 5.0),
        5 => format!("M{:.1},{:.1}h3v3h3v3h-3v3h-3v-3h-3v-3h3z", x - 1.5, y - 4.5),
        _ => format!("M{:.1},{:.1}h10v4h-10z", x - 5.0, y - 2.0),
    };
    format!("<path{class} d=\"{path}\" fill=\"{colour}\" stroke=\"#fff\" stroke-width=\".7\"/>")
}

struct Scale {
    axis: Axis,
    low: f64,
    high: f64,
    /// Values were drawn at the edge, for a logarithm has no place for them.
    cut: bool,
}

impl Scale {
    fn over(axis: Axis, values: impl Iterator<Item = f64>) -> Self {
        let all: Vec<f64> = values.filter(|v| v.is_finite()).collect();
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in all.iter().filter(|v| axis != Axis::Log || **v > 0.0) {
            (low, high) = (low.min(*v), high.max(*v));
        }
        if low > high {
            (low, high) = (0.1, 1.0);
        }
        match axis {
            Axis::Linear | Axis::Span => {
                if axis == Axis::Linear {
                    (low, high) = (low.min(0.0), high.max(0.0));
                }
                if high <= low {
                    high = low + 1.0;
                }
                let room = (high - low) * 0.05;
                high += room;
                if low < 0.0 || axis == Axis::Span {
                    low -= room;
                }
            }
            Axis::Log => {
                // Half a step of room, so that nothing of interest stands on the edge.
                (low, high) = (10f64.powf((low * 0.8).log10().floor()), 10f64.powf((high * 1.2).log10().ceil()));
                low = low.max(high * 1e-6);
            }
        }
        let cut = axis == Axis::Log && all.iter().any(|v| *v < low);
        Self { axis, low, high, cut }
    }

    /// 0 to 1.
    fn at(&self, v: f64) -> f64 {
        let share = match self.axis {
            Axis::Linear | Axis::Span => (v - self.low) / (self.high - self.low),
            Axis::Log => (v.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        share.clamp(0.0, 1.0)
    }

    /// Where, and what it says.
    fn ticks(&self) -> Vec<(f64, String)> {
        let ticks: Vec<f64> = match self.axis {
            Axis::Log => {
                let (from, to) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
                let within: &[f64] = if to - from <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let all = (from..=to).flat_map(|e| within.iter().map(move |m| m * 10f64.powi(e)));
                all.filter(|t| *t <= self.high * 1.001).collect()
            }
            Axis::Linear | Axis::Span => {
                let rough = (self.high - self.low) / 5.0;
                let unit = 10f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * unit).into_iter().find(|s| *s >= rough).unwrap_or(unit);
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step).floor() as i64;
                (first..=last).map(|k| k as f64 * step).collect()
            }
        };
        let says = |(ix, t): (usize, &f64)| {
            let edge = if ix == 0 && self.cut { "≤ " } else { "" };
            (self.at(*t), format!("{edge}{}", number(*t)))
        };
        ticks.iter().enumerate().map(says).collect()
    }
}

/// `12,500`, `0.05`.
pub(crate) fn number(v: f64) -> String {
    let text = if v == 0.0 || v.abs() >= 1.0 { format!("{}", (v * 1e3).round() / 1e3) } else { format!("{v:.6}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(w, r)| (w, Some(r)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("−", digits));
    let mut grouped = String::from(sign);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(c);
    }
    rest.map_or(grouped.clone(), |r| format!("{grouped}.{r}"))
}

/// What a text takes at most, near enough to place it: fonts differ.
fn breadth(text: &str, letter: f64) -> f64 {
    text.chars().count() as f64 * letter * 0.6
}

/// As much of a text as fits.
fn fitted(text: &str, room: f64) -> String {
    let most = (room / (SMALL * 0.6)) as usize;
    if text.chars().count() <= most {
        text.into()
    } else {
        text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    }
}

fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => *line = format!("{line} {word}"),
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// As it stands in HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        for (v, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (1_250_000.0, "1,250,000"),
            (2.5, "2.5"),
            (-1_000.0, "−1,000"),
            (-250.5, "−250.5"),
        ] {
            assert_eq!(number(v), text);
        }
    }

    #[test]
    fn a_logarithmic_edge_says_that_something_lies_below() {
        let first = |values: &[f64]| Scale::over(Axis::Log, values.iter().copied()).ticks().remove(0).1;
        assert_eq!(first(&[0.02, 0.5]), "0.01");
        assert_eq!(first(&[0.0, 0.02, 0.5]), "≤ 0.01");
        assert_eq!(first(&[1e-12, 1.0]), "≤ 0.00001");
        assert_eq!(first(&[]), "0.01");
    }

    #[test]
    fn long_titles_break_between_words_and_long_names_are_cut() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(fitted("abcdefghij", 5.0 * SMALL * 0.6), "abcd…");
    }
}
