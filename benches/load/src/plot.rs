//! One curve as SVG. A few lines are all that it takes; a library of plots would be the largest
//! dependency of the program.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Marks of an axis that is not logarithmic.
const MARKS: i32 = 5;
/// Orders of magnitude that an axis shows at most.
const DECADES_MAX: i32 = 12;

/// What there is to draw.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    /// Above it.
    pub(crate) title: String,
    /// What x is, with its unit.
    pub(crate) x: String,
    /// What y is, with its unit.
    pub(crate) y: String,
    /// Whether both axes are logarithmic.
    pub(crate) is_log: bool,
    /// From left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

/// One axis: values from `from` to `to` lie `at` to `at + length`.
struct Axis {
    from: f64,
    to: f64,
    at: f64,
    length: f64,
    is_log: bool,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, at: f64, length: f64, is_log: bool) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            let value = if is_log {
                value.max(f64::MIN_POSITIVE).log10()
            } else {
                value
            };
            (from, to) = (from.min(value), to.max(value));
        }
        if is_log {
            (from, to) = (from.floor(), to.ceil());
        } else {
            from = from.min(0.0);
        }
        if to <= from || !from.is_finite() {
            (from, to) = (0.0, 1.0);
        }
        Self {
            from,
            to,
            at,
            length,
            is_log,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let value = if self.is_log {
            value.max(f64::MIN_POSITIVE).log10()
        } else {
            value
        };
        self.at + (value - self.from) / (self.to - self.from) * self.length
    }

    fn marks(&self) -> Vec<f64> {
        if self.is_log {
            let decades = (self.to - self.from).clamp(1.0, f64::from(DECADES_MAX)) as i32;
            return (0..=decades)
                .map(|n| 10f64.powf(self.from + f64::from(n)))
                .collect();
        }
        let share = |n| self.from + (self.to - self.from) * f64::from(n) / f64::from(MARKS);
        (0..=MARKS).map(share).collect()
    }
}

/// The picture.
pub(crate) fn svg(curve: &Curve) -> String {
    let x = Axis::new(
        curve.points.iter().map(|(x, _)| *x),
        LEFT,
        WIDTH - LEFT - RIGHT,
        curve.is_log,
    );
    // y grows upwards.
    let y = Axis::new(
        curve.points.iter().map(|(_, y)| *y),
        HEIGHT - BOTTOM,
        TOP + BOTTOM - HEIGHT,
        curve.is_log,
    );
    let mut out = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' \
         font-family='sans-serif' font-size='12' text-anchor='middle'>\n\
         <rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>\n"
    );
    let mut add = |line: String| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{line}");
    };
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for mark in x.marks() {
        let at = x.place(mark);
        add(format!("<path d='M{at:.1} {TOP}V{bottom}' stroke='#ddd'/>"));
        add(format!(
            "<text x='{at:.1}' y='{}'>{}</text>",
            bottom + 16.0,
            told(mark)
        ));
    }
    for mark in y.marks() {
        let at = y.place(mark);
        add(format!("<path d='M{LEFT} {at:.1}H{right}' stroke='#ddd'/>"));
        let text = told(mark);
        add(format!(
            "<text x='{}' y='{:.1}' text-anchor='end'>{text}</text>",
            LEFT - 6.0,
            at + 4.0
        ));
    }
    let points = curve
        .points
        .iter()
        .map(|(a, b)| format!("{:.1},{:.1}", x.place(*a), y.place(*b)));
    let points = points.collect::<Vec<_>>().join(" ");
    add(format!(
        "<polyline points='{points}' fill='none' stroke='#c33' stroke-width='2'/>"
    ));
    let middle = WIDTH / 2.0;
    add(format!(
        "<text x='{middle}' y='20' font-size='14'>{}</text>",
        escaped(&curve.title)
    ));
    add(format!(
        "<text x='{middle}' y='{}'>{}</text>",
        HEIGHT - 12.0,
        escaped(&curve.x)
    ));
    add(format!(
        "<text x='20' y='{}'>{}</text>",
        TOP - 12.0,
        escaped(&curve.y)
    ));
    out.push_str("</svg>\n");
    out
}

fn told(mark: f64) -> String {
    let mut text = format!("{mark:.3}");
    while text.contains('.') && text.ends_with(['0', '.']) {
        text.pop();
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)], is_log: bool) -> Curve {
        Curve {
            title: "a < b & c".to_owned(),
            x: "x".to_owned(),
            y: "y".to_owned(),
            is_log,
            points: points.to_vec(),
        }
    }

    #[test]
    fn every_point_is_inside_the_picture() {
        let all = [(1.0, 0.05), (10.0, 0.3), (1000.0, 17.0)];
        for picture in [svg(&curve(&all, true)), svg(&curve(&all, false))] {
            let points = picture
                .split("points='")
                .nth(1)
                .and_then(|p| p.split('\'').next());
            let pairs = points
                .expect("a line")
                .split(' ')
                .filter_map(|p| p.split_once(','));
            let pairs: Vec<(f64, f64)> = pairs
                .filter_map(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)))
                .collect();
            assert_eq!(pairs.len(), 3);
            assert!(
                pairs
                    .iter()
                    .all(|(x, y)| (LEFT..=WIDTH).contains(x) && (TOP..=HEIGHT).contains(y))
            );
            assert!(picture.contains("a &lt; b &amp; c"));
        }
    }

    #[test]
    fn nothing_to_draw_is_an_empty_picture() {
        for points in [&[][..], &[(0.0, 0.0)]] {
            assert!(svg(&curve(points, true)).ends_with("</svg>\n"));
            assert!(!svg(&curve(points, false)).contains("NaN"));
        }
    }
}
