//! A dot for each seed.

use std::cmp::Ordering;

use maud::{Markup, html};

use super::Ink;
use super::frame::{Axis, place};
use super::marked::words;
use super::rows::{Rows, arrow};

/// The height of a row's marks.
const MARKS: f64 = 30.0;
/// Seeds have at most so many heights in a row; there are hardly ever more seeds.
const LANES: usize = 15;

/// A dot for each seed, a bar for the mean; rows by name. The dot of a seed is at one height in all rows, so that pairs
/// of a seed are found by it.
pub(crate) struct Dots<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: Axis<'a>,
    pub(crate) rows: Vec<DotRow>,
}

/// The seeds of a row, in one order in all rows.
pub(crate) struct DotRow {
    pub(crate) name: String,
    pub(crate) ink: Ink,
    /// What is not finite is left out, and counted.
    pub(crate) values: Vec<f64>,
}

impl DotRow {
    fn finite(&self) -> Vec<f64> {
        self.values.iter().copied().filter(|value| value.is_finite()).collect()
    }

    fn mean(&self) -> Option<f64> {
        let finite = self.finite();
        let number = finite.len() as f64;
        // Divided first, as a sum of large values is beyond all numbers.
        (!finite.is_empty()).then(|| finite.iter().map(|value| value / number).sum())
    }

    /// The mean in words, and how many seeds have no value.
    fn says(&self) -> String {
        let missing = self.values.len() - self.finite().len();
        match (self.mean(), missing) {
            (None, 0) => "no seed".to_owned(),
            (None, _) => "no value".to_owned(),
            (Some(mean), 0) => format!("mean {}", words(mean)),
            (Some(mean), missing) => {
                format!("mean {}; {missing} of {} without", words(mean), self.values.len())
            }
        }
    }
}

impl Dots<'_> {
    /// The drawing as a figure.
    pub(crate) fn draw(&self) -> Markup {
        let texts = self.rows.iter().map(|row| (&*row.name, row.says()));
        let rows = Rows::new(self.title, self.x, &[], MARKS, texts);
        let seeds = self.rows.iter().map(|row| row.values.len()).max().unwrap_or(0);
        let lanes = seeds.clamp(1, LANES);
        let drawn = self.rows.iter().enumerate().map(|(index, row)| marks(&rows, row, rows.top(index), lanes));
        let drawn = drawn.collect();
        rows.draw(drawn)
    }
}

fn marks(rows: &Rows<'_>, row: &DotRow, top: f64, lanes: usize) -> Markup {
    let (class, style) = (row.ink.class(), row.ink.style());
    // Of many dots in one place, one is seen.
    let mut taken = std::collections::BTreeSet::new();
    let dots: Vec<_> = row
        .values
        .iter()
        .enumerate()
        .filter_map(|(seed, &value)| Some((seed, value, rows.spot(value).filter(|_| value.is_finite())?)))
        .filter(|(seed, _, spot)| taken.insert((seed % lanes, spot.x.round() as i64)))
        .collect();
    html! {
        g class=(class) style=[style] {
            @if let Some(mean) = row.mean().and_then(|mean| rows.spot(mean)) {
                @if mean.beyond == Ordering::Equal {
                    path class={ "mean " (class) } d={ "M" (place(mean.x)) " " (place(top)) "v" (place(MARKS)) } {}
                }
            }
            @for (seed, value, spot) in dots {
                @let y = top + (seed % lanes) as f64 * MARKS / lanes as f64 + MARKS / lanes as f64 / 2.0;
                g.mark {
                    title { (row.name) ", seed " (seed + 1) ": " (words(value)) }
                    @if spot.beyond == Ordering::Equal {
                        circle class={ "seed " (class) } cx=(place(spot.x)) cy=(place(y)) r="3.5" {}
                    } @else {
                        (arrow(spot, y, class))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Scale};
    use super::*;

    fn dots(rows: Vec<Vec<f64>>) -> String {
        let scale = Scale::around(Kind::Linear, rows.iter().flatten().copied());
        on(scale, rows)
    }

    fn on(scale: Scale, rows: Vec<Vec<f64>>) -> String {
        let row = |(index, values)| DotRow { name: format!("row <{index}>"), ink: Ink::nth(index), values };
        let rows = rows.into_iter().enumerate().map(row).collect();
        Dots { title: "seeds", x: Axis { label: "accuracy", scale }, rows }.draw().into_string()
    }

    fn heights(svg: &str, class: &str) -> Vec<String> {
        let circles =
            svg.split("<circle ").skip(1).filter(|circle| circle.contains(&format!("seed {class}\"")));
        circles
            .map(|circle| circle.split("cy=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_seed_is_at_one_height_in_all_rows() {
        let svg = dots(vec![vec![1.0, 2.0, 3.0], vec![f64::NAN, 5.0, 1.0]]);
        let (plain, with) = (heights(&svg, "plain"), heights(&svg, "batch-norm"));
        assert_eq!((plain.len(), with.len()), (3, 2));
        let number = |text: &String| text.parse::<f64>().unwrap();
        let between = |a: &String, b: &String| number(b) - number(a);
        assert!((between(&plain[1], &plain[2]) - between(&with[0], &with[1])).abs() < 0.11);
        assert_eq!(svg.matches("class=\"mean").count(), 2);
        for expected in ["mean 2", "mean 3; 1 of 3 without", "row &lt;0&gt;, seed 3: 3"] {
            assert!(svg.contains(expected), "{expected}: {svg}");
        }
    }

    #[test]
    fn a_dot_beyond_the_axis_is_an_arrow() {
        let svg = on(Scale::exactly(Kind::Linear, 0.0, 1.0), vec![vec![0.5, 3.0, -7.0]]);
        assert_eq!((svg.matches("<circle").count(), svg.matches("class=\"arrow").count()), (1, 2));
    }

    #[test]
    fn nothing_in_a_drawing_is_nan_or_infinite() {
        let odd = vec![f64::NAN, f64::INFINITY, 1e308, 1e308, -1e308, 0.0];
        for rows in [vec![], vec![vec![]], vec![vec![f64::NAN]], vec![odd, vec![1.0]], vec![vec![7.0]]] {
            let svg = dots(rows);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn many_dots_make_no_large_drawing() {
        let noise = |i: u32| f64::from(i.wrapping_mul(2_654_435_761) >> 8);
        let svg = dots(vec![(0..100_000).map(noise).collect()]);
        assert!(svg.len() < 1_200_000, "{}", svg.len());
    }
}
