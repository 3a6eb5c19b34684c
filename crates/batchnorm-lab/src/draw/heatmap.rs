//! Tables of colours.

use maud::{Markup, html};

use super::frame::place;
use super::marked::{DIGIT, DIGITS, LETTER, Marked, WIDTH, fitted, width};
use super::palette::{is_light, viridis};
use super::scale::significant;

/// The right edge of the cells.
const RIGHT: f64 = WIDTH - 8.0;
const TOP: f64 = 6.0;
/// Above it, where the names of rows end and of columns are slanted, they are cut.
const NAME: f64 = 150.0;
/// The y axis's label.
const BESIDE: f64 = 24.0;
/// How high the cells are together, if that makes none too low or too high.
const CELLS: f64 = 280.0;
/// How far slanted names go down, of their length.
const SLANT: f64 = 0.65;
/// Between the lines that hatch a cell.
const HATCH: f64 = 8.0;
/// Colours of the legend's bar.
const COLOURS: usize = 32;

/// A table of colours: `values[row][column]`. One that is not there, or not finite, is hatched.
pub(crate) struct Heatmap<'a> {
    pub(crate) title: &'a str,
    /// What the columns are, and the name of each.
    pub(crate) x: (&'a str, Vec<String>),
    /// What the rows are, and the name of each, from the top.
    pub(crate) y: (&'a str, Vec<String>),
    pub(crate) values: Vec<Vec<Option<f64>>>,
    /// The values at the ends of the colours; those beyond have the colours of the ends.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// What follows a value, " %" say.
    pub(crate) unit: &'static str,
}

/// Where the cells are.
struct Grid {
    left: f64,
    width: f64,
    height: f64,
    bottom: f64,
    slanted: bool,
}

impl Heatmap<'_> {
    fn value(&self, row: usize, column: usize) -> Option<f64> {
        self.values.get(row)?.get(column).copied().flatten().filter(|value| value.is_finite())
    }

    /// The place of a value among the colours.
    fn share(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        if share.is_nan() { 0.5 } else { share.clamp(0.0, 1.0) }
    }

    fn grid(&self) -> Grid {
        let (columns, rows) = (self.x.1.len().max(1) as f64, self.y.1.len().max(1) as f64);
        let longest = |names: &[String]| names.iter().map(|name| width(name)).fold(0.0, f64::max).min(NAME);
        let left = BESIDE + longest(&self.y.1) + LETTER;
        let cell = (RIGHT - left) / columns;
        let height = (CELLS / rows).clamp(19.0, 44.0);
        let slanted = longest(&self.x.1) + LETTER > cell;
        Grid { left, width: cell, height, bottom: TOP + rows * height, slanted }
    }

    /// The drawing as a figure.
    pub(crate) fn draw(&self) -> Markup {
        let grid = self.grid();
        let longest = self.x.1.iter().map(|name| width(name)).fold(0.0, f64::max).min(NAME);
        let names = if grid.slanted { 12.0 + longest * SLANT } else { 18.0 };
        let height = grid.bottom + names + 26.0;
        let marks = html! {
            @for (row, name) in self.y.1.iter().enumerate() {
                @let y = TOP + (row as f64 + 0.5) * grid.height;
                text.tick.y x=(place(grid.left - 6.0)) y=(place(y)) { (fitted(name, NAME)) }
            }
            @for (column, name) in self.x.1.iter().enumerate() { (self.column(&grid, column, name)) }
            @for row in 0..self.y.1.len() {
                @for column in 0..self.x.1.len() { (self.cell(&grid, row, column)) }
            }
            text.axis-label x=(place((grid.left + RIGHT) / 2.0)) y=(place(height - 7.0)) { (self.x.0) }
            text.axis-label x="0" y="0" transform={ "translate(14 " (place((TOP + grid.bottom) / 2.0)) ") rotate(-90)" } {
                (self.y.0)
            }
        };
        let label = format!("{}: {} against {}", self.title, self.y.0, self.x.0);
        let across = self.x.1.len();
        Marked { title: self.title, label, legend: Some(self.legend()), height, across, marks }.draw()
    }

    fn column(&self, grid: &Grid, column: usize, name: &str) -> Markup {
        let x = grid.left + (column as f64 + 0.5) * grid.width;
        html! {
            @if grid.slanted {
                text.tick.slanted x="0" y="0"
                    transform={ "translate(" (place(x + 4.0)) " " (place(grid.bottom + 13.0)) ") rotate(-40)" } {
                    (fitted(name, NAME))
                }
            } @else {
                text.tick.x x=(place(x)) y=(place(grid.bottom + 17.0)) { (name) }
            }
        }
    }

    fn cell(&self, grid: &Grid, row: usize, column: usize) -> Markup {
        let [x, y] = [grid.left + column as f64 * grid.width, TOP + row as f64 * grid.height];
        let value = self.value(row, column);
        let number = value.and_then(|value| significant(value, DIGITS));
        let said = match &number {
            Some(number) => format!("{number}{}", self.unit),
            None => "diverged".to_owned(),
        };
        // Names of axes without what is said of them in brackets.
        let [across, down] = [self.x.0, self.y.0].map(|label| label.split(" (").next().unwrap_or_default());
        html! {
            g.mark {
                title { (down) " " (self.y.1[row]) ", " (across) " " (self.x.1[column]) ": " (said) }
                @if let (Some(value), Some(number)) = (value, number) {
                    @let share = self.share(value);
                    rect.cell x=(place(x)) y=(place(y)) width=(place(grid.width)) height=(place(grid.height))
                        fill=(viridis(share)) {}
                    @if number.len() as f64 * DIGIT <= grid.width {
                        text class={ "number " (if is_light(share) { "dark" } else { "light" }) }
                            x=(place(x + grid.width / 2.0)) y=(place(y + grid.height / 2.0)) { (number) }
                    }
                } @else {
                    rect.cell.diverged x=(place(x)) y=(place(y)) width=(place(grid.width)) height=(place(grid.height)) {}
                    path.hatch d=(hatch(x + 1.0, y + 1.0, grid.width - 2.0, grid.height - 2.0)) {}
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        let end = |value: f64| significant(value, DIGITS).map(|number| format!("{number}{}", self.unit));
        let missing =
            (0..self.y.1.len()).any(|row| (0..self.x.1.len()).any(|column| self.value(row, column).is_none()));
        html! {
            ul.legend {
                @if let (Some(low), Some(high)) = (end(self.low), end(self.high)) {
                    li {
                        (low)
                        svg.scale viewBox="0 0 128 10" preserveAspectRatio="none" aria-hidden="true" {
                            @for index in 0..COLOURS {
                                rect x=(index * 128 / COLOURS) y="0" width="4.5" height="10"
                                    fill=(viridis(index as f64 / (COLOURS - 1) as f64)) {}
                            }
                        }
                        (high)
                    }
                }
                @if missing {
                    li {
                        svg viewBox="0 0 28 10" aria-hidden="true" {
                            rect.diverged x="0" y="0" width="28" height="10" {}
                            path.hatch d=(hatch(0.0, 0.0, 28.0, 10.0)) {}
                        }
                        "diverged"
                    }
                }
            }
        }
    }
}

/// Slanted lines within a rectangle.
fn hatch(x: f64, y: f64, width: f64, height: f64) -> String {
    let mut path = String::new();
    let mut along = HATCH / 2.0;
    while along < width + height {
        // From the upper or right edge down to the left or lower one.
        let (from, to) = (along.min(width), along.min(height));
        let start = (x + from, y + along - from);
        let end = (x + along - to, y + to);
        path.push_str(&format!("M{} {}L{} {}", place(start.0), place(start.1), place(end.0), place(end.1)));
        along += HATCH;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|index| format!("{prefix}{index}")).collect()
    }

    fn heatmap(values: Vec<Vec<Option<f64>>>, columns: usize, low: f64, high: f64) -> String {
        let y = ("width", names("w<", values.len()));
        let x = ("rate (logarithmic)", names("r", columns));
        Heatmap { title: "best", x, y, values, low, high, unit: " %" }.draw().into_string()
    }

    #[test]
    fn every_cell_has_its_colour_its_number_and_says_what_it_is() {
        let svg = heatmap(vec![vec![Some(0.0), Some(50.0)], vec![Some(100.0), None]], 2, 0.0, 100.0);
        for expected in ["#440154", "#fde725", ">50</text>", "width w&lt;0, rate r1: 50 %", "rate r1: diverged"]
        {
            assert!(svg.contains(expected), "{expected}: {svg}");
        }
        assert_eq!(svg.matches("class=\"mark\"").count(), 4);
        // The cell and the legend.
        assert_eq!(svg.matches("class=\"hatch\"").count(), 2);
    }

    #[test]
    fn a_table_without_gaps_has_no_legend_of_them() {
        assert!(!heatmap(vec![vec![Some(1.0)]], 1, 0.0, 1.0).contains("hatch"));
    }

    #[test]
    fn nothing_in_a_drawing_is_nan_or_infinite() {
        let odd = vec![Some(f64::NAN), Some(f64::INFINITY), None, Some(1e308), Some(-1e308)];
        for (values, low, high) in [
            (vec![], 0.0, 1.0),
            (vec![vec![], vec![Some(1.0)]], 0.0, 1.0),
            (vec![odd.clone()], 1.0, 1.0),
            (vec![odd.clone()], f64::NAN, f64::INFINITY),
            (vec![odd], -1e308, 1e308),
        ] {
            for columns in [0, 1, 5, 9] {
                let svg = heatmap(values.clone(), columns, low, high);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }

    #[test]
    fn numbers_that_do_not_fit_and_long_names_are_left_out_and_slanted() {
        let svg = heatmap(vec![vec![Some(0.123); 40]; 40], 40, 0.0, 1.0);
        assert!(!svg.contains("class=\"number") && svg.contains("slanted"));
        assert!(svg.len() < 400_000, "{}", svg.len());
    }

    #[test]
    fn the_lines_of_a_hatch_stay_in_their_cell() {
        for (width, height) in [(100.0, 20.0), (20.0, 100.0), (3.0, 3.0)] {
            let path = hatch(10.0, 20.0, width, height);
            for point in path.split(['M', 'L']).filter(|point| !point.is_empty()) {
                let (x, y) = point.split_once(' ').unwrap();
                let [x, y]: [f64; 2] = [x, y].map(|number| number.parse().unwrap());
                assert!((10.0..=10.0 + width).contains(&x) && (20.0..=20.0 + height).contains(&y), "{path}");
            }
        }
    }
}
