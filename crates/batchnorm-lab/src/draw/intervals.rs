//! Values with intervals.

use std::cmp::Ordering;

use maud::{Markup, html};

use super::Ink;
use super::frame::{Axis, place};
use super::marked::DIGITS;
use super::rows::{Rows, Spot, arrow, spot};
use super::scale::{Scale, significant};

/// The height of a row's marks.
const MARKS: f64 = 18.0;
/// How large the dot of a value is, and how large in a strip.
const DOT: f64 = 5.0;
const SMALL_DOT: f64 = 3.5;
/// The size of a strip.
const STRIP: [f64; 2] = [136.0, 20.0];

/// Values with intervals, one row each; thresholds as vertical lines.
pub(crate) struct Intervals<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: Axis<'a>,
    pub(crate) rows: Vec<IntervalRow>,
    /// Numbers and what they are.
    pub(crate) thresholds: Vec<(f64, String)>,
}

/// One value with its interval, which may leave the axis, or have no end.
pub(crate) struct IntervalRow {
    pub(crate) name: String,
    pub(crate) ink: Ink,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl IntervalRow {
    /// The numbers in words.
    fn says(&self) -> String {
        let Some(value) = significant(self.value, DIGITS) else { return "no value".to_owned() };
        match (significant(self.low, DIGITS), significant(self.high, DIGITS)) {
            (Some(low), Some(high)) => format!("{value} ({low} to {high})"),
            (Some(low), None) => format!("{value} ({low} or more)"),
            (None, Some(high)) => format!("{value} ({high} or less)"),
            (None, None) => format!("{value} (no interval)"),
        }
    }
}

impl Intervals<'_> {
    /// The drawing as a figure.
    pub(crate) fn draw(&self) -> Markup {
        let texts = self.rows.iter().map(|row| (&*row.name, row.says()));
        let rows = Rows::new(self.title, self.x, &self.thresholds, MARKS, texts);
        let drawn = self.rows.iter().enumerate().map(|(index, row)| {
            let y = rows.top(index) + MARKS / 2.0;
            html! {
                g.mark {
                    title { (row.name) ": " (row.says()) }
                    // What is hit is larger than what is seen.
                    rect.hit x="0" y=(place(y - MARKS / 2.0)) width="520" height=(place(MARKS)) {}
                    (marks(row, y, DOT, |value| rows.spot(value)))
                }
            }
        });
        let drawn = drawn.collect();
        rows.draw(drawn)
    }
}

/// The interval with its ends, and the value on it.
fn marks(row: &IntervalRow, y: f64, dot: f64, spot: impl Fn(f64) -> Option<Spot>) -> Markup {
    let (class, style) = (row.ink.class(), row.ink.style());
    let ends = spot(row.low).zip(spot(row.high));
    html! {
        g class=(class) style=[style] {
            @if let Some((low, high)) = ends {
                path class={ "interval " (class) } d={ "M" (place(low.x)) " " (place(y)) "H" (place(high.x)) } {}
                @for end in [low, high] {
                    @if end.beyond == Ordering::Equal {
                        path class={ "interval " (class) } d={ "M" (place(end.x)) " " (place(y - 5.0)) "v10" } {}
                    }
                    (arrow(end, y, class))
                }
            }
            @if let Some(at) = spot(row.value) {
                @if at.beyond == Ordering::Equal {
                    circle class={ "point " (class) } cx=(place(at.x)) cy=(place(y)) r=(place(dot)) {}
                } @else {
                    (arrow(at, y, class))
                }
            }
        }
    }
}

/// A value with its interval, so small that it stands in a line of a table.
pub(crate) struct Strip {
    /// What is seen, for those who do not see it.
    pub(crate) label: String,
    pub(crate) scale: Scale,
    pub(crate) row: IntervalRow,
    pub(crate) thresholds: Vec<f64>,
}

impl Strip {
    /// The drawing, without a figure around it.
    pub(crate) fn draw(&self) -> Markup {
        let [width, height] = STRIP;
        let (left, right, y) = (9.0, width - 9.0, height / 2.0);
        let spot = |value| spot(&self.scale, left, right, value);
        html! {
            svg.strip viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(self.label) {
                path.grid d={ "M" (place(left)) " " (place(y)) "H" (place(right)) } {}
                @for threshold in &self.thresholds {
                    @if let Some(at) = spot(*threshold).filter(|at| at.beyond == Ordering::Equal) {
                        path.threshold d={ "M" (place(at.x)) " 0V" (place(height)) } {}
                    }
                }
                (marks(&self.row, y, SMALL_DOT, spot))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::marked::words;
    use super::*;

    fn row(value: f64, low: f64, high: f64) -> IntervalRow {
        IntervalRow { name: "steps to 90 % <".to_owned(), ink: Ink::BATCH_NORM, value, low, high }
    }

    fn intervals(rows: Vec<IntervalRow>) -> String {
        let x = Axis { label: "ratio", scale: Scale::exactly(Kind::Log, 0.5, 50.0) };
        let thresholds = vec![(1.0, "no effect".to_owned()), (2.0, "supported from 2".to_owned())];
        Intervals { title: "parts", x, rows, thresholds }.draw().into_string()
    }

    #[test]
    fn an_interval_has_two_ends_a_value_and_the_thresholds() {
        let svg = intervals(vec![row(3.0, 2.0, 4.5)]);
        assert_eq!(svg.matches("class=\"interval batch-norm\"").count(), 3);
        assert_eq!((svg.matches("<circle").count(), svg.matches("arrow").count()), (1, 0));
        assert_eq!(svg.matches("class=\"threshold\"").count(), 2);
        assert!(svg.contains("3 (2 to 4.5)") && svg.contains("90 % &lt;"), "{svg}");
    }

    #[test]
    fn what_leaves_the_axis_has_an_arrow() {
        let svg = intervals(vec![row(3.0, 0.1, 400.0), row(100.0, 80.0, f64::INFINITY)]);
        // Both ends of the first; both ends and the value of the second.
        assert_eq!((svg.matches("class=\"arrow").count(), svg.matches("<circle").count()), (5, 1));
        assert!(svg.contains("100 (80 or more)"), "{svg}");
    }

    #[test]
    fn nothing_in_a_drawing_is_nan_or_infinite() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1e308, 1e308];
        for value in odd {
            for end in odd {
                let svg = intervals(vec![row(value, end, 1.0), row(1.0, end, value), row(value, value, end)]);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                let scale = Scale::around(Kind::Linear, [value, end].into_iter());
                let (label, thresholds) = (String::new(), vec![value, end]);
                let strip = Strip { label, scale, row: row(value, end, value), thresholds };
                let svg = strip.draw().into_string();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
        assert!(!intervals(vec![]).contains("NaN"));
        assert_eq!(words(f64::NAN), "diverged");
    }

    #[test]
    fn many_rows_make_no_large_drawing() {
        let svg = intervals((0..200).map(|i| row(f64::from(i), 1.0, 3.0)).collect());
        assert!(svg.len() < 200 * 1200, "{}", svg.len());
    }
}
