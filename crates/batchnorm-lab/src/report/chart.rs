//! Line charts as inline SVG.

use maud::{Markup, html};
use serde::Serialize;

use super::scale::{Kind, Scale, label};

/// The size of the drawing and the place that its axes take, in SVG units.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 48.0;

/// A line chart with one x axis and one y axis.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) x_label: &'a str,
    pub(super) y_label: &'a str,
    pub(super) x: Scale,
    pub(super) y: Scale,
    /// What follows a value on hovering, " %" say.
    pub(super) unit: &'a str,
    /// Digits after the point on hovering.
    pub(super) decimals: usize,
    pub(super) lines: Vec<Line>,
}

/// One line: points in the order of x; a point without a value is a gap.
pub(super) struct Line {
    pub(super) name: &'static str,
    /// The CSS class that gives it its colour and stroke.
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// What the page's script needs to show values on hovering.
#[derive(Serialize)]
struct Hover<'a> {
    log: bool,
    low: f64,
    high: f64,
    left: f64,
    right: f64,
    unit: &'a str,
    decimals: usize,
    lines: Vec<HoverLine<'a>>,
}

#[derive(Serialize)]
struct HoverLine<'a> {
    name: &'a str,
    points: &'a [(f64, Option<f64>)],
}

impl Chart<'_> {
    fn across(&self, x: f64) -> Option<f64> {
        self.x.place(x).map(|place| LEFT + place * (WIDTH - LEFT - RIGHT))
    }

    fn down(&self, y: f64) -> Option<f64> {
        self.y.place(y).map(|place| HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM))
    }

    /// The places of a line's points, in runs without a gap.
    fn pieces(&self, line: &Line) -> Vec<Vec<(f64, f64)>> {
        let mut pieces = vec![Vec::new()];
        for &(x, y) in &line.points {
            match (self.across(x), y.and_then(|y| self.down(y))) {
                (Some(x), Some(y)) => pieces.last_mut().expect("there is always a piece").push((x, y)),
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    fn hover(&self) -> String {
        let hover = Hover {
            log: self.x.kind() == Kind::Log,
            low: self.x.low(),
            high: self.x.high(),
            left: LEFT / WIDTH,
            right: 1.0 - RIGHT / WIDTH,
            unit: self.unit,
            decimals: self.decimals,
            lines: self.lines.iter().map(|line| HoverLine { name: line.name, points: &line.points }).collect(),
        };
        serde_json::to_string(&hover).expect("numbers and names have a JSON form")
    }

    /// The chart as a figure: title, legend, drawing, and a line for the values on hovering.
    pub(super) fn draw(&self) -> Markup {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let middle = (TOP + bottom) / 2.0;
        html! {
            figure.chart data-hover=(self.hover()) {
                figcaption { (self.title) }
                ul.legend {
                    @for line in &self.lines {
                        li {
                            svg viewBox="0 0 28 10" aria-hidden="true" { path class={ "line " (line.class) } d="M1 5H27" {} }
                            (line.name)
                        }
                    }
                }
                svg.drawing viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (self.title) ": " (self.y_label) " against " (self.x_label) } {
                    @for tick in self.y.ticks() {
                        @if let Some(y) = self.down(tick) {
                            path.grid d={ "M" (LEFT) " " (place(y)) "H" (right) } {}
                            text.tick.y x=(LEFT - 7.0) y=(place(y)) { (label(tick)) }
                        }
                    }
                    @for tick in self.x.ticks() {
                        @if let Some(x) = self.across(tick) {
                            path.grid d={ "M" (place(x)) " " (TOP) "V" (bottom) } {}
                            text.tick.x x=(place(x)) y=(bottom + 18.0) { (label(tick)) }
                        }
                    }
                    path.axis d={ "M" (LEFT) " " (TOP) "V" (bottom) "H" (right) } {}
                    text.axis-label x=((LEFT + right) / 2.0) y=(HEIGHT - 8.0) { (self.x_label) }
                    text.axis-label x="0" y="0" transform={ "translate(16 " (middle) ") rotate(-90)" } { (self.y_label) }
                    @for line in &self.lines {
                        @for piece in self.pieces(line) {
                            @if let [(x, y)] = piece[..] {
                                circle class={ "point " (line.class) } cx=(place(x)) cy=(place(y)) r="3" {}
                            } @else {
                                path class={ "line " (line.class) } d=(path(&piece)) {}
                            }
                        }
                    }
                    path.guide d={ "M0 " (TOP) "V" (bottom) } {}
                }
                p.values aria-live="off" {}
            }
        }
    }
}

/// A tenth of a unit is finer than a pixel.
fn place(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        path.push(if index == 0 { 'M' } else { 'L' });
        path.push_str(&place(x));
        path.push(' ');
        path.push_str(&place(y));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, Option<f64>)>) -> String {
        let values = points.iter().filter_map(|point| point.1);
        let chart = Chart {
            title: "a < b",
            x_label: "step",
            y_label: "loss",
            x: Scale::around(Kind::Log, points.iter().map(|point| point.0)),
            y: Scale::around(Kind::Linear, values),
            unit: "",
            decimals: 2,
            lines: vec![Line { name: "without", class: "plain", points: points.clone() }],
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
            let svg =
                svg.split("data-hover").next().unwrap().to_owned() + svg.split("<figcaption").nth(1).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn text_is_escaped() {
        assert!(chart(vec![]).contains("a &lt; b"));
    }
}
