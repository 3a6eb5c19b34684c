//! Ribbons: a median with the percentiles around it.

use maud::{Markup, html};

use super::frame::{Frame, path, place};
use super::{Figure, Hover, Points};

/// Percentiles along the steps of training.
pub(in super::super) struct Ribbon<'a> {
    pub(in super::super) title: &'a str,
    pub(in super::super) frame: Frame<'a>,
    /// The CSS class that gives it its colour.
    pub(in super::super) class: &'static str,
    /// What the percentiles are called, from the lowest to the highest; the one in the middle is the line.
    pub(in super::super) names: &'a [&'a str],
    /// The step and the percentiles.
    pub(in super::super) rows: Vec<(f64, Vec<f64>)>,
    pub(in super::super) legend: Option<Markup>,
}

/// The places of a row: of its step, and of its percentiles.
type Places = (f64, Vec<f64>);

impl Ribbon<'_> {
    /// The places of the rows, in runs without a row that has no place; the rows of one column are one.
    fn pieces(&self) -> Vec<Vec<Places>> {
        let mut pieces: Vec<Vec<Places>> = vec![Vec::new()];
        for (x, values) in &self.rows {
            let places: Option<Vec<f64>> = values.iter().map(|&value| self.frame.down(value)).collect();
            let piece = pieces.last_mut().expect("there is always a piece");
            match (self.frame.across(*x), places) {
                (Some(x), Some(places)) => match piece.last_mut() {
                    Some((at, before)) if self.frame.column(*at) == self.frame.column(x) => {
                        widen(before, &places)
                    }
                    _ => piece.push((x, places)),
                },
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    pub(in super::super) fn draw(&self) -> Markup {
        let middle = self.names.len() / 2;
        let marks = html! {
            @for piece in self.pieces() {
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

/// Takes the outermost of two rows' percentiles; of the medians, the later.
fn widen(before: &mut [f64], after: &[f64]) {
    let middle = before.len() / 2;
    for (index, (before, &after)) in before.iter_mut().zip(after).enumerate() {
        // The place of a low percentile is further down, and so a larger number.
        *before = match index.cmp(&middle) {
            std::cmp::Ordering::Less => before.max(after),
            std::cmp::Ordering::Equal => after,
            std::cmp::Ordering::Greater => before.min(after),
        };
    }
}

/// The area between two percentiles: along the one and back along the other.
fn area(piece: &[Places], low: usize, high: usize) -> String {
    if let [(x, places)] = piece {
        // A single row is a bar.
        let [bottom, top] = [places[low], places[high]];
        return path(&[(x - 2.0, bottom), (x + 2.0, bottom), (x + 2.0, top), (x - 2.0, top)]) + "Z";
    }
    let there = piece.iter().map(|(x, places)| (*x, places[high]));
    let back = piece.iter().rev().map(|(x, places)| (*x, places[low]));
    path(&there.chain(back).collect::<Vec<_>>()) + "Z"
}

/// What the areas and the line of a ribbon are.
pub(in super::super) fn legend(class: &str, areas: &[&str], line: &str) -> Markup {
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
