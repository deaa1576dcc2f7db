//! How often each value came.

use super::{Axis, COLOURS, Canvas, Frame, GRID, SMALL, Scale, WIDTH, breadth};

/// A plot of bars side by side.
#[derive(Clone, Debug)]
pub struct Bars {
    /// Above it.
    pub title: String,
    /// What it shows, for whom does not see it.
    pub about: String,
    /// Under it.
    pub x_label: String,
    /// Over its y axis.
    pub y_label: String,
    /// Name and height of each.
    pub bars: Vec<(String, f64)>,
}

const HEIGHT: f64 = 150.0;

impl Bars {
    /// The picture.
    pub fn svg(&self) -> String {
        let y = Scale::over(Axis::Linear, self.bars.iter().map(|b| b.1));
        let mut canvas = Canvas::new(&self.title, &self.about);
        canvas.y += 14.0;
        let label_at = canvas.y;
        canvas.text(8.0, label_at, "start", &self.y_label);
        let ticks = y.ticks();
        let left = 14.0 + ticks.iter().map(|(_, says)| breadth(says, SMALL)).fold(0.0, f64::max);
        let frame = Frame { left, top: label_at + 10.0, right: WIDTH - 10.0, bottom: label_at + 10.0 + HEIGHT };
        for (share, says) in ticks {
            let at = frame.bottom - share * HEIGHT;
            canvas.put(format_args!(
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{GRID}\"/>",
                frame.left, frame.right
            ));
            canvas.text(frame.left - 6.0, at + 4.5, "end", &says);
        }
        canvas.frame(&frame);
        let step = (frame.right - frame.left) / self.bars.len().max(1) as f64;
        let mut free = f64::NEG_INFINITY;
        for (ix, (name, height)) in self.bars.iter().enumerate() {
            let (x, tall) = (frame.left + step * (ix as f64 + 0.5), y.at(*height) * HEIGHT);
            canvas.put(format_args!(
                "<rect class=\"mark\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{}\"/>",
                x - step * 0.4,
                frame.bottom - tall,
                step * 0.8,
                COLOURS[0]
            ));
            let half = breadth(name, SMALL) / 2.0 + 2.0;
            if x - half >= free {
                canvas.text(x.clamp(half, WIDTH - half), frame.bottom + 17.0, "middle", name);
                free = x + half;
            }
        }
        canvas.text(f64::midpoint(frame.left, frame.right), frame.bottom + 37.0, "middle", &self.x_label);
        canvas.y = frame.bottom + 46.0;
        canvas.finish()
    }
}
