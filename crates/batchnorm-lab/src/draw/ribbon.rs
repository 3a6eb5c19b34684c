//! Ribbons: a median with the percentiles around it.

use maud::{Markup, html};

use super::area::{area, pieces};
use super::frame::{Frame, path, place};
use super::{Figure, Hover, Points};

/// Percentiles along the steps of training.
pub(crate) struct Ribbon<'a> {
    pub(crate) title: &'a str,
    pub(crate) frame: Frame<'a>,
    /// The CSS class that gives it its colour.
    pub(crate) class: &'static str,
    /// What the percentiles are called, from the lowest to the highest; the one in the middle is the line.
    pub(crate) names: &'a [&'a str],
    /// The step and the percentiles.
    pub(crate) rows: Vec<(f64, Vec<f64>)>,
    pub(crate) legend: Option<Markup>,
}

impl Ribbon<'_> {
    pub(crate) fn draw(&self) -> Markup {
        let middle = self.names.len() / 2;
        let marks = html! {
            @for piece in pieces(&self.frame, &self.rows) {
                @for low in 0..middle {
                    path class={ "band " (self.class) } d=(area(&piece, low, self.names.len() - 1 - low)) {}
                }
                @let line: Vec<(f64, f64)> = piece.iter().map(|(x, places)| (*x, places[middle])).collect();
                @if let [(x, y)] = line[..] {
                    circle class={ "point " (self.class) } cx=(place(x)) cy=(place(y)) r="2.5" {}
                } @else {
                    path class={ "line " (self.class) } d=(path(&line)) {}
                }
            }
        };
        let lines: Vec<(&str, Points)> = self
            .names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                (*name, self.rows.iter().map(|(x, values)| (*x, Some(values[index]))).collect())
            })
            .collect();
        let hover = Hover::of_lines(&self.frame, "", lines.iter().map(|(name, points)| (*name, &points[..])));
        Figure { title: self.title, frame: self.frame, legend: self.legend.clone(), marks, hover }.draw()
    }
}

/// What the areas and the line of a ribbon are.
pub(crate) fn legend(class: &str, areas: &[&str], line: &str) -> Markup {
    html! {
        ul.legend {
            @for (index, area) in areas.iter().enumerate() {
                li {
                    svg viewBox="0 0 28 10" aria-hidden="true" {
                        // An area within another is seen through both.
                        @for _ in 0..=index { path class={ "band " (class) } d="M1 0H27V10H1Z" {} }
                    }
                    (area)
                }
            }
            li {
                svg viewBox="0 0 28 10" aria-hidden="true" { path class={ "line " (class) } d="M1 5H27" {} }
                (line)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Kind, Scale, Size};
    use super::*;

    fn ribbon(rows: Vec<(f64, Vec<f64>)>) -> String {
        let x = Scale::around(Kind::Log, rows.iter().map(|row| row.0));
        let y = Scale::around(Kind::Linear, rows.iter().flat_map(|row| row.1.clone()));
        let (x, y) = (Axis { label: "step", scale: x }, Axis { label: "input", scale: y });
        let frame = Frame { size: Size::Small, x, y };
        let ribbon = Ribbon {
            title: "hidden.0",
            frame,
            class: "plain",
            names: &["p15", "median", "p85"],
            rows,
            legend: None,
        };
        ribbon.draw().into_string()
    }

    #[test]
    fn a_ribbon_is_an_area_and_a_line() {
        let svg = ribbon((1..50).map(|i| (f64::from(i), vec![-1.0, 0.0, 1.0])).collect());
        assert_eq!(svg.matches(r#"class="band plain""#).count(), 1);
        assert_eq!(svg.matches(r#"class="line plain""#).count(), 1);
    }

    #[test]
    fn what_is_not_finite_is_a_gap_and_a_single_row_a_bar() {
        let row = |x: f64, size: f64| (x, vec![-size, 0.0, size]);
        let svg = ribbon(vec![row(1.0, 1.0), row(2.0, f64::NAN), row(3.0, 1.0), row(4.0, 2.0)]);
        assert_eq!(svg.matches(r#"class="band plain""#).count(), 2);
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn the_rows_of_one_column_are_as_wide_as_the_widest() {
        let rows =
            (0..10_000).map(|i| (1e6 + f64::from(i), vec![-1.0, 0.0, if i == 5000 { 9.0 } else { 1.0 }]));
        let svg = ribbon(rows.collect());
        assert!(svg.len() < 40_000, "{}", svg.len());
        // From the top of the area, where it is widest, to the bottom.
        let area = svg.split("class=\"band plain\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(area.contains('-') && area.matches(' ').count() < 1000, "{area}");
    }
}
