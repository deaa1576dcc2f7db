//! A value for each name, under one another, with its interval: what is largest and what is doubtful, at a glance.

use super::{Axis, Canvas, Frame, INK, Scale, WIDTH, breadth, escape, fitted, marker};

/// A plot of rows.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Above it.
    pub title: String,
    /// What it shows, for whom does not see it.
    pub about: String,
    /// Under it.
    pub x_label: String,
    /// Division of the x axis.
    pub x_axis: Axis,
    /// Headings, each with its rows; an empty heading takes no room.
    pub groups: Vec<(String, Vec<Row>)>,
    /// Vertical lines, with what they say.
    pub rules: Vec<(f64, String)>,
    /// Bars from zero instead of marks.
    pub bars: bool,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// To the left.
    pub name: String,
    /// Where the mark is.
    pub value: f64,
    /// From where to where it may be.
    pub span: Option<(f64, f64)>,
    /// To the right.
    pub says: String,
}

const STEP: f64 = 21.0;

impl Rows {
    /// The picture.
    pub fn svg(&self) -> String {
        let rows = || self.groups.iter().flat_map(|(_, rows)| rows);
        let spans = rows().filter_map(|r| r.span).flat_map(|(a, b)| [a, b]);
        let x = Scale::over(self.x_axis, rows().map(|r| r.value).chain(spans).chain(self.rules.iter().map(|r| r.0)));
        let mut canvas = Canvas::new(&self.title, &self.about);
        let widest = |f: fn(&Row) -> &str| rows().map(|r| breadth(f(r), super::SMALL)).fold(0.0, f64::max);
        let room = widest(|r| &r.name).min(200.0);
        let lines: usize = self.groups.iter().map(|(head, rows)| usize::from(!head.is_empty()) + rows.len()).sum();
        // What the vertical lines say stands above the first row.
        let top = canvas.y + 6.0;
        let first = top + 8.0 + 16.0 * self.rules.len() as f64;
        let frame = Frame {
            left: 16.0 + room,
            top,
            right: WIDTH - 14.0 - widest(|r| &r.says),
            bottom: first + STEP * lines as f64 + 4.0,
        };
        let px = |v: f64| frame.left + x.at(v) * (frame.right - frame.left);
        canvas.x_axis(&x, &frame, &self.x_label);
        canvas.frame(&frame);
        canvas.rules(self.rules.iter().map(|(at, says)| (px(*at), says.as_str())), &frame);
        let mut y = first - 5.0;
        for (head, rows) in &self.groups {
            if !head.is_empty() {
                y += STEP;
                canvas.put(format_args!(
                    "<text x=\"8\" y=\"{y:.1}\" font-size=\"{}\" font-weight=\"600\">{}</text>",
                    super::SMALL,
                    escape(&fitted(head, frame.left - 16.0))
                ));
            }
            for row in rows {
                y += STEP;
                canvas.text(8.0, y, "start", &fitted(&row.name, room + 1.0));
                canvas.text(WIDTH - 6.0, y, "end", &row.says);
                let (at, middle) = (px(row.value), y - 4.5);
                if let Some((low, high)) = row.span {
                    let (low, high) = (px(low), px(high));
                    canvas.put(format_args!(
                        "<path class=\"mark\" d=\"M{low:.1},{middle:.1}v-4v8v-4H{high:.1}v-4v8\" fill=\"none\" stroke=\"{INK}\"/>"
                    ));
                }
                if self.bars {
                    let zero = px(0.0);
                    let (from, breadth) = (zero.min(at), (at - zero).abs());
                    canvas.put(format_args!(
                        "<rect class=\"mark\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{breadth:.1}\" height=\"12\" fill=\"{}\"/>",
                        middle - 6.0,
                        super::COLOURS[0]
                    ));
                } else {
                    canvas.put(format_args!("{}", marker(0, at, middle, " class=\"mark\"")));
                }
            }
        }
        canvas.finish()
    }
}
