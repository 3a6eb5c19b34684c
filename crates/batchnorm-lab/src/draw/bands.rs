//! Lines over seeds.

use maud::{Markup, html};

use super::area::{area, pieces};
use super::frame::{Frame, path, place};
use super::hover::Spread;
use super::{Figure, Hover, Ink, legend};

/// Lines of at most so many points have a dot at each of them.
const DOTTED: usize = 16;

/// Lines over seeds: the mean as a line, from the least to the largest value as a band.
pub(crate) struct Bands<'a> {
    pub(crate) title: &'a str,
    pub(crate) frame: Frame<'a>,
    /// What follows a value on hovering, " %" say.
    pub(crate) unit: &'static str,
    pub(crate) series: Vec<Series>,
}

/// One line, and what it is the mean of.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) ink: Ink,
    /// x, and the value of each seed. What is not finite is left out; where none is left, there is a gap.
    pub(crate) points: Vec<(f64, Vec<f64>)>,
}

impl Series {
    /// The points in the order of x.
    fn spreads(&self) -> Vec<(f64, Spread)> {
        let mut spreads: Vec<(f64, Spread)> =
            self.points.iter().map(|(x, values)| (*x, spread(values))).collect();
        spreads.sort_by(|a, b| a.0.total_cmp(&b.0));
        spreads
    }
}

/// The mean of what is finite, between the least and the greatest.
fn spread(values: &[f64]) -> Spread {
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let missing = finite.len() < values.len();
    let note = missing.then(|| format!("{} of {} seeds", finite.len(), values.len()));
    if finite.is_empty() {
        return Spread::none(note);
    }
    let number = finite.len() as f64;
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Divided first, as a sum of large values is beyond all numbers.
    let middle = finite.iter().map(|value| value / number).sum::<f64>().clamp(low, high);
    Spread { low, middle: Some(middle), high, note }
}

impl Bands<'_> {
    /// The drawing as a figure.
    pub(crate) fn draw(&self) -> Markup {
        let spreads: Vec<Vec<(f64, Spread)>> = self.series.iter().map(Series::spreads).collect();
        let marks = html! {
            @for (index, (series, spreads)) in self.series.iter().zip(&spreads).enumerate() {
                (self.marks(index, &series.ink, spreads))
            }
        };
        let named = self.series.iter().zip(&spreads).map(|(series, spreads)| (&*series.name, &spreads[..]));
        let hover = Hover::of_spreads(&self.frame, self.unit, named);
        let legend = legend(self.series.iter().map(|series| (&*series.name, &series.ink)));
        Figure { title: self.title, frame: self.frame, legend: Some(legend), marks, hover }.draw()
    }

    fn marks(&self, index: usize, ink: &Ink, spreads: &[(f64, Spread)]) -> Markup {
        let rows: Vec<(f64, Vec<f64>)> = spreads
            .iter()
            .map(|(x, spread)| (*x, vec![spread.low, spread.middle.unwrap_or(f64::NAN), spread.high]))
            .collect();
        let few = rows.len() <= DOTTED;
        html! {
            @for piece in pieces(&self.frame, &rows) {
                path class={ "band " (ink.class()) } style=[ink.style()] data-line=(index) d=(area(&piece, 0, 2)) {}
                @let line: Vec<(f64, f64)> = piece.iter().map(|(x, places)| (*x, places[1])).collect();
                @if line.len() > 1 {
                    path class={ "line " (ink.class()) } style=[ink.style()] data-line=(index) d=(path(&line)) {}
                }
                @if few || line.len() == 1 {
                    @for (x, y) in line {
                        circle class={ "point " (ink.class()) } style=[ink.style()] data-line=(index)
                            cx=(place(x)) cy=(place(y)) r="3" {}
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Kind, Scale, Size};
    use super::*;

    fn bands(label: &str, points: Vec<(f64, Vec<f64>)>) -> String {
        let x = Scale::around(Kind::Log, points.iter().map(|point| point.0));
        let y = Scale::around(Kind::Linear, points.iter().flat_map(|point| point.1.clone()));
        let (x, y) = (Axis { label, scale: x }, Axis { label: "accuracy", scale: y });
        let frame = Frame { size: Size::Large, x, y };
        let series = vec![Series { name: "without".to_owned(), ink: Ink::PLAIN, points }];
        Bands { title: "a < b", frame, unit: " %", series }.draw().into_string()
    }

    #[test]
    fn a_series_is_a_band_and_the_line_of_its_mean() {
        let svg = bands("batch size", vec![(1.0, vec![1.0, 2.0, 6.0]), (10.0, vec![3.0, 3.0])]);
        assert_eq!(svg.matches(r#"class="band plain""#).count(), 1);
        // With the legend's sample.
        assert_eq!(svg.matches(r#"class="line plain""#).count(), 2);
        for expected in ["3 (1 to 6)", "batch size 10", "a &lt; b", "&quot;unit&quot;:&quot; %&quot;"] {
            assert!(svg.contains(expected), "{expected}: {svg}");
        }
    }

    #[test]
    fn seeds_that_diverged_are_left_out_and_counted_and_none_left_is_a_gap() {
        let nan = f64::NAN;
        let svg = bands(
            "training steps",
            vec![
                (1.0, vec![1.0, 2.0]),
                (2.0, vec![1.0, 2.0]),
                (3.0, vec![nan, f64::INFINITY]),
                (4.0, vec![]),
                (5.0, vec![nan, 4.0]),
            ],
        );
        assert_eq!(svg.matches(r#"class="band plain""#).count(), 2);
        assert!(svg.contains("4, 1 of 2 seeds") && svg.contains("0 of 2 seeds"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn nothing_in_a_drawing_is_nan_or_infinite() {
        let odd = vec![f64::NAN, f64::INFINITY, 1e308, 1e308, -1e308];
        for points in [
            vec![],
            vec![(10.0, vec![])],
            vec![(f64::NAN, vec![1.0])],
            vec![(-1.0, vec![1.0])],
            vec![(10.0, odd.clone()), (20.0, odd)],
        ] {
            let svg = bands("step", points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn many_points_make_no_large_drawing() {
        let noise = |i: u32| f64::from(i.wrapping_mul(2_654_435_761) >> 8);
        let point = |i: u32| (f64::from(i), vec![noise(i), noise(i + 7), noise(i + 99)]);
        let svg = bands("training steps", (1..50_000).map(point).collect());
        assert!(svg.len() < 60_000, "{}", svg.len());
    }

    #[test]
    fn more_lines_than_are_shown_at_once_have_numbers_to_be_found_by() {
        let series = |n: usize| Series {
            name: format!("rate {n}"),
            ink: Ink::nth(n),
            points: vec![(1.0, vec![n as f64, n as f64 + 1.0])],
        };
        let scale = Scale::exactly(Kind::Linear, 0.0, 10.0);
        let axis = Axis { label: "epochs", scale };
        let frame = Frame { size: Size::Large, x: axis, y: axis };
        let bands = Bands { title: "rates", frame, unit: "", series: (0..7).map(series).collect() };
        let svg = bands.draw().into_string();
        assert!(svg.contains("&quot;values&quot;:[2.5]") && !svg.contains(" to "), "{svg}");
    }
}
