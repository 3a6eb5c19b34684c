//! Line charts.

use maud::{Markup, html};

use super::frame::{Frame, path, place};
use super::{Figure, Hover, Ink, thin};

/// Lines in a frame.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) frame: Frame<'a>,
    /// What follows a value on hovering, " %" say.
    pub(crate) unit: &'static str,
    pub(crate) lines: Vec<Line>,
    /// Where the names of the lines are.
    pub(crate) legend: Legend,
}

/// Where the names of the lines are.
pub(crate) enum Legend {
    /// Listed above the drawing.
    Listed,
    /// Above the drawing, in another form than a list of all lines.
    Own(Markup),
    /// Elsewhere, with those of other charts.
    Shared,
}

/// Points in the order of x; one without a value is a gap.
pub(crate) type Points = Vec<(f64, Option<f64>)>;

/// One line.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) ink: Ink,
    pub(crate) points: Points,
}

impl Chart<'_> {
    /// The places of a line's points, in runs without a gap.
    fn pieces(&self, line: &Line) -> Vec<Vec<(f64, f64)>> {
        let mut pieces = vec![Vec::new()];
        for &(x, y) in &line.points {
            match (self.frame.across(x), y.and_then(|y| self.frame.down(y))) {
                (Some(x), Some(y)) => pieces.last_mut().expect("there is always a piece").push((x, y)),
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces.iter().map(|piece| thin::line(piece, |x| self.frame.column(x))).collect()
    }

    /// The chart as a figure.
    pub(crate) fn draw(&self) -> Markup {
        let marks = html! {
            @for (index, line) in self.lines.iter().enumerate() {
                @for piece in self.pieces(line) {
                    @if let [(x, y)] = piece[..] {
                        circle class={ "point " (line.ink.class()) } style=[line.ink.style()] data-line=(index)
                            cx=(place(x)) cy=(place(y)) r="3" {}
                    } @else {
                        path class={ "line " (line.ink.class()) } style=[line.ink.style()] data-line=(index)
                            d=(path(&piece)) {}
                    }
                }
            }
        };
        let points = self.lines.iter().map(|line| (&*line.name, &line.points[..]));
        let hover = Hover::of_lines(&self.frame, self.unit, points);
        let legend = match &self.legend {
            Legend::Listed => Some(legend(self.lines.iter().map(|line| (&*line.name, &line.ink)))),
            Legend::Own(own) => Some(own.clone()),
            Legend::Shared => None,
        };
        Figure { title: self.title, frame: self.frame, legend, marks, hover }.draw()
    }
}

/// A list of lines, each with a sample.
pub(crate) fn legend<'a>(lines: impl Iterator<Item = (&'a str, &'a Ink)>) -> Markup {
    html! {
        ul.legend {
            @for (name, ink) in lines {
                li {
                    svg viewBox="0 0 28 10" aria-hidden="true" {
                        path class={ "line " (ink.class()) } style=[ink.style()] d="M1 5H27" {}
                    }
                    (name)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Kind, Scale, Size};
    use super::*;

    fn chart(points: Vec<(f64, Option<f64>)>) -> String {
        let x = Scale::around(Kind::Log, points.iter().map(|point| point.0));
        let y = Scale::around(Kind::Linear, points.iter().filter_map(|point| point.1));
        let (x, y) = (Axis { label: "step", scale: x }, Axis { label: "loss", scale: y });
        let chart = Chart {
            title: "a < b",
            frame: Frame { size: Size::Large, x, y },
            unit: "",
            lines: vec![Line { name: "without".to_owned(), ink: Ink::Class("plain"), points }],
            legend: Legend::Listed,
        };
        chart.draw().into_string()
    }

    /// Line paths inside the drawing, without the legend's sample.
    fn lines(svg: &str) -> usize {
        svg.matches(r#"class="line plain""#).count() - 1
    }

    #[test]
    fn a_line_is_one_path() {
        let svg = chart(vec![(10.0, Some(1.0)), (20.0, Some(0.5)), (30.0, Some(0.25))]);
        assert_eq!(lines(&svg), 1);
        assert!(!svg.contains("<circle"));
    }

    #[test]
    fn a_missing_value_is_a_gap_and_a_lonely_point_a_dot() {
        let svg = chart(vec![(10.0, Some(1.0)), (20.0, Some(0.5)), (30.0, None), (40.0, Some(0.2))]);
        assert_eq!(lines(&svg), 1);
        assert_eq!(svg.matches("<circle").count(), 1);
    }

    #[test]
    fn nothing_in_a_drawing_is_nan_or_infinite() {
        let odd = [Some(f64::NAN), Some(f64::INFINITY), None, Some(1e300), Some(-1e300)];
        for points in [vec![], vec![(10.0, None)], vec![(10.0, Some(1.0))], odd.map(|y| (10.0, y)).to_vec()] {
            let svg = chart(points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn many_points_make_no_large_drawing() {
        let noise = |i: u32| f64::from(i.wrapping_mul(2_654_435_761) >> 8);
        let svg = chart((1..100_000).map(|i| (f64::from(i), Some(noise(i)))).collect());
        assert!(svg.len() < 40_000, "{}", svg.len());
    }

    #[test]
    fn text_is_escaped() {
        assert!(chart(vec![]).contains("a &lt; b"));
    }
}
