//! Areas between two lines.

use maud::{Markup, html};

use super::area::{Places, area, pieces};
use super::frame::{Frame, path};
use super::hover::Spread;
use super::{Figure, Hover, Ink};

/// A shaded area between two values for each x.
pub(crate) struct Ranges<'a> {
    pub(crate) title: &'a str,
    pub(crate) frame: Frame<'a>,
    pub(crate) series: Vec<RangeSeries>,
}

/// One area.
pub(crate) struct RangeSeries {
    pub(crate) name: String,
    pub(crate) ink: Ink,
    /// x, low and high, in the order of x. Where one of them is not finite, there is a gap.
    pub(crate) points: Vec<(f64, f64, f64)>,
}

impl Ranges<'_> {
    /// The drawing as a figure.
    pub(crate) fn draw(&self) -> Markup {
        let marks = html! {
            @for (index, series) in self.series.iter().enumerate() {
                @let rows: Vec<_> = series.points.iter().map(|&(x, low, high)| (x, vec![low, high])).collect();
                @let (class, style) = (series.ink.class(), series.ink.style());
                @for piece in pieces(&self.frame, &rows) {
                    path class={ "band " (class) } style=[style.as_ref()] data-line=(index) d=(area(&piece, 0, 1)) {}
                    @if piece.len() > 1 {
                        @for edge in 0..2 {
                            path class={ "line edge " (class) } style=[style.as_ref()] data-line=(index)
                                d=(along(&piece, edge)) {}
                        }
                    }
                }
            }
        };
        let spreads: Vec<Vec<(f64, Spread)>> = self.series.iter().map(spreads).collect();
        let named = self.series.iter().zip(&spreads).map(|(series, spreads)| (&*series.name, &spreads[..]));
        let hover = Hover::of_spreads(&self.frame, "", named);
        Figure { title: self.title, frame: self.frame, legend: Some(self.legend()), marks, hover }.draw()
    }

    fn legend(&self) -> Markup {
        html! {
            ul.legend {
                @for series in &self.series {
                    @let (class, style) = (series.ink.class(), series.ink.style());
                    li {
                        svg viewBox="0 0 28 10" aria-hidden="true" {
                            path class={ "band " (class) } style=[style.as_ref()] d="M1 0H27V10H1Z" {}
                            path class={ "line edge " (class) } style=[style.as_ref()] d="M1 .5H27M1 9.5H27" {}
                        }
                        (series.name)
                    }
                }
            }
        }
    }
}

/// One edge of an area.
fn along(piece: &[Places], edge: usize) -> String {
    path(&piece.iter().map(|(x, places)| (*x, places[edge])).collect::<Vec<_>>())
}

fn spreads(series: &RangeSeries) -> Vec<(f64, Spread)> {
    let spread = |low: f64, high: f64| match (high - low).is_finite() {
        true => Spread { low, middle: None, high, note: None },
        false => Spread::none(None),
    };
    let mut spreads: Vec<(f64, Spread)> =
        series.points.iter().map(|&(x, low, high)| (x, spread(low, high))).collect();
    spreads.sort_by(|a, b| a.0.total_cmp(&b.0));
    spreads
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Kind, Scale, Size};
    use super::*;

    fn ranges(points: Vec<(f64, f64, f64)>) -> String {
        let x = Scale::around(Kind::Linear, points.iter().map(|point| point.0));
        let y = Scale::around(Kind::Linear, points.iter().flat_map(|point| [point.1, point.2]));
        let (x, y) = (Axis { label: "training steps", scale: x }, Axis { label: "loss", scale: y });
        let frame = Frame { size: Size::Small, x, y };
        let series = vec![RangeSeries { name: "with".to_owned(), ink: Ink::BATCH_NORM, points }];
        Ranges { title: "along the gradient", frame, series }.draw().into_string()
    }

    #[test]
    fn a_range_is_an_area_with_two_edges() {
        let svg = ranges((0..20).map(|i| (f64::from(i), 1.0, 2.0 + f64::from(i))).collect());
        assert!(svg.contains("1 to 21"), "{svg}");
        let svg = svg.split("drawing").nth(1).unwrap();
        assert_eq!(svg.matches(r#"class="band batch-norm""#).count(), 1);
        assert_eq!(svg.matches(r#"class="line edge batch-norm""#).count(), 2);
    }

    #[test]
    fn what_is_not_finite_is_a_gap_and_nothing_is_drawn_of_it() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, -1e308];
        for value in odd {
            let svg = ranges(vec![(0.0, 1.0, 2.0), (1.0, value, 2.0), (2.0, 1.0, value), (value, 1.0, 2.0)]);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert!(!ranges(vec![]).contains("NaN"));
        let gap = (1.0, f64::NAN, 2.0);
        let svg = ranges(vec![(0.0, 1.0, 2.0), gap, (2.0, 1.0, 2.0), (3.0, 1.0, 2.0)]);
        // With the legend's sample.
        assert_eq!(svg.matches(r#"class="band batch-norm""#).count(), 3);
    }

    #[test]
    fn many_points_make_no_large_drawing() {
        let noise = |i: u32| f64::from(i.wrapping_mul(2_654_435_761) >> 8);
        let svg = ranges((0..50_000).map(|i| (f64::from(i), -noise(i), noise(i + 7))).collect());
        assert!(svg.len() < 40_000, "{}", svg.len());
    }
}
