//! Lines and marks in a frame.

use super::{Axis, Canvas, Frame, GRID, RULE, SMALL, Sample, Scale, WIDTH, breadth, escape, marker, stroke};

/// One line, or one set of marks.
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
    /// Of each point, from where to where on the x axis it may lie; as many as points, or none.
    pub spans: Vec<(f64, f64)>,
}

impl Series {
    /// A line through `points`.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marks: false, steps: false, spans: Vec::new() }
    }

    /// Marks at `points`.
    pub fn marks(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { marks: true, ..Self::line(name, points) }
    }

    /// A staircase through `points`, each value holding from the point before up to its own.
    pub fn staircase(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { steps: true, ..Self::line(name, points) }
    }

    fn drawn(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.points.iter().filter(|(a, b)| !a.is_nan() && !b.is_nan())
    }
}

/// A plot with its axes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above it.
    pub title: String,
    /// What it shows, for whom does not see it.
    pub about: String,
    /// Under it.
    pub x_label: String,
    /// Over its y axis.
    pub y_label: String,
    /// Division of the x axis.
    pub x_axis: Axis,
    /// Division of the y axis.
    pub y_axis: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// Vertical lines, with what they say.
    pub rules: Vec<(f64, String)>,
    /// Horizontal lines, with what they say.
    pub levels: Vec<(f64, String)>,
}

/// Height of the frame.
const HEIGHT: f64 = 210.0;
/// Lines of so few points show each of them.
const MARKED: usize = 14;

impl Plot {
    /// The picture. A point that is no number is left out.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|s| s.points.iter());
        let spans = self.series.iter().flat_map(|s| s.spans.iter().flat_map(|(a, b)| [*a, *b]));
        let rules = self.rules.iter().map(|r| r.0);
        let x = Scale::over(self.x_axis, points().map(|p| p.0).chain(spans).chain(rules));
        let y = Scale::over(self.y_axis, points().map(|p| p.1).chain(self.levels.iter().map(|l| l.0)));
        let mut canvas = Canvas::new(&self.title, &self.about);
        // All lines of a plot or none, for a mark here and none there would seem to mean something.
        let marked = self.series.iter().filter(|s| !s.marks).all(|s| s.points.len() <= MARKED);
        let sample = |s: &Series| match (s.marks, marked) {
            (true, _) => Sample::Mark,
            (false, true) => Sample::Both,
            (false, false) => Sample::Line,
        };
        if self.series.len() > 1 {
            canvas.legend(self.series.iter().enumerate().map(|(ix, s)| (ix, s.name.clone(), sample(s))));
        }
        canvas.y += 16.0;
        let label_at = canvas.y;
        canvas.text(8.0, label_at, "start", &self.y_label);

        let y_ticks = y.ticks();
        let left = 14.0 + y_ticks.iter().map(|(_, says)| breadth(says, SMALL)).fold(0.0, f64::max);
        let frame = Frame { left, top: label_at + 10.0, right: WIDTH - 16.0, bottom: label_at + 10.0 + HEIGHT };
        let px = |v: f64| frame.left + x.at(v) * (frame.right - frame.left);
        let py = |v: f64| frame.bottom - y.at(v) * (frame.bottom - frame.top);
        for (share, says) in y_ticks {
            let at = frame.bottom - share * (frame.bottom - frame.top);
            canvas.put(format_args!(
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{GRID}\"/>",
                frame.left, frame.right
            ));
            canvas.text(frame.left - 6.0, at + 4.5, "end", &says);
        }
        canvas.x_axis(&x, &frame, &self.x_label);
        canvas.frame(&frame);
        for (ix, series) in self.series.iter().enumerate() {
            draw(&mut canvas, ix, series, marked, &px, &py);
        }
        canvas.rules(self.rules.iter().map(|(at, says)| (px(*at), says.as_str())), &frame);
        for (at, says) in &self.levels {
            let at = py(*at);
            canvas.put(format_args!(
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{RULE}\" stroke-width=\"1.5\" \
                 stroke-dasharray=\"5 3\"/><text x=\"{:.1}\" y=\"{:.1}\" font-size=\"{SMALL}\" text-anchor=\"end\" fill=\"{RULE}\" \
                 stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
                frame.left,
                frame.right,
                frame.right - 6.0,
                if at > frame.top + 20.0 { at - 5.0 } else { at + 15.0 },
                escape(says)
            ));
        }
        canvas.finish()
    }
}

fn draw(
    canvas: &mut Canvas,
    ix: usize,
    series: &Series,
    marked: bool,
    px: &dyn Fn(f64) -> f64,
    py: &dyn Fn(f64) -> f64,
) {
    if !series.marks {
        let mut path = String::new();
        let mut before = None;
        for (a, b) in series.drawn() {
            if let (true, Some(from)) = (series.steps, before) {
                path += &format!("L{:.1},{:.1}", px(from), py(*b));
            }
            let pen = if path.is_empty() { 'M' } else { 'L' };
            path += &format!("{pen}{:.1},{:.1}", px(*a), py(*b));
            before = Some(*a);
        }
        if series.points.len() > 1 {
            canvas.put(format_args!("<path class=\"mark\" d=\"{path}\" {}/>", stroke(ix)));
        }
    }
    for ((low, high), (_, b)) in series.spans.iter().zip(&series.points) {
        canvas.put(format_args!(
            "<path class=\"mark\" d=\"M{:.1},{b:.1}v-4v8v-4H{:.1}v-4v8\" fill=\"none\" stroke=\"#1a1a1a\"/>",
            px(*low),
            px(*high),
            b = py(*b)
        ));
    }
    if series.marks || marked {
        for (a, b) in series.drawn() {
            canvas.put(format_args!("{}", marker(ix, px(*a), py(*b), " class=\"mark\"")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_lands_inside_the_picture() {
        for axis in [Axis::Linear, Axis::Span, Axis::Log] {
            let plot = Plot {
                title: "a < b & c".into(),
                about: "\"everything\"".into(),
                x_label: "x".into(),
                y_label: "y".into(),
                x_axis: axis,
                y_axis: axis,
                series: vec![
                    Series::line("line", vec![(0.0, 0.0), (1e-6, 5.0), (1e6, 1e12), (f64::NAN, f64::INFINITY)]),
                    Series::marks("none", vec![]),
                ],
                rules: vec![(0.01, "alpha".into())],
                levels: vec![(0.0, "nothing".into())],
            };
            let svg = plot.svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("a &lt; b &amp; c") && svg.contains("&quot;everything&quot;"));
        }
    }
}
