//! Rows of marks over one axis: each with its name and what it says in a line above its marks.

use std::cmp::Ordering;

use maud::{Markup, html};

use super::frame::{Axis, place, spaced};
use super::marked::{DIGIT, LETTER, Marked, WIDTH, fitted, width};
use super::scale::Scale;

/// The ends of the axis.
const LEFT: f64 = 14.0;
const RIGHT: f64 = WIDTH - 14.0;
/// A line of a row's name.
const LINE: f64 = 17.0;
/// Above a row.
const GAP: f64 = 6.0;
/// A line of thresholds' names.
const LANE: f64 = 17.0;
/// Below the rows: ticks and the axis's label.
const BELOW: f64 = 46.0;
/// The height of an arrow.
const ARROW: f64 = 5.0;

/// Rows over one axis.
pub(super) struct Rows<'a> {
    title: &'a str,
    x: Axis<'a>,
    thresholds: &'a [(f64, String)],
    /// The height of a row's marks.
    marks: f64,
    /// What stands above the marks of each row.
    texts: Vec<Text>,
}

/// The name of a row, in as many lines as it needs, and what the row says, on the right of the last of them.
struct Text {
    name: String,
    lines: Vec<String>,
    says: String,
}

/// Where a number is on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spot {
    pub(super) x: f64,
    /// Less and greater for numbers beyond the axis, whose place is its end.
    pub(super) beyond: Ordering,
}

impl<'a> Rows<'a> {
    /// Rows of marks of this height, each with its name and what it says.
    pub(super) fn new(
        title: &'a str,
        x: Axis<'a>,
        thresholds: &'a [(f64, String)],
        marks: f64,
        texts: impl Iterator<Item = (&'a str, String)>,
    ) -> Self {
        let text = |(name, says): (&str, String)| {
            let mut lines = wrapped(name, RIGHT - LEFT);
            // Beside the last line, or below it.
            let last = lines.last().map_or(0.0, |line| width(line));
            if last + width(&says) + 2.0 * LETTER > RIGHT - LEFT {
                lines.push(String::new());
            }
            Text { name: name.to_owned(), lines, says }
        };
        Self { title, x, thresholds, marks, texts: texts.map(text).collect() }
    }

    /// The place of a number, or the end of the axis that it lies beyond; `None` if it has none.
    pub(super) fn spot(&self, value: f64) -> Option<Spot> {
        spot(&self.x.scale, LEFT, RIGHT, value)
    }

    /// The upper edge of the marks of a row, or of what is below the rows.
    pub(super) fn top(&self, row: usize) -> f64 {
        let above: usize = self.texts.iter().take(row + 1).map(|text| text.lines.len()).sum();
        self.lanes() + above as f64 * LINE + (row as f64 + 1.0) * GAP + row as f64 * self.marks
    }

    /// The height of the thresholds' names.
    fn lanes(&self) -> f64 {
        let lanes = self.thresholds().iter().map(|(_, _, lane)| lane + 1).max().unwrap_or(0);
        4.0 + lanes as f64 * LANE
    }

    /// The thresholds on the axis: their places, names, and the lane that has room for the name.
    fn thresholds(&self) -> Vec<(f64, &str, usize)> {
        let mut found: Vec<(f64, &str)> = self
            .thresholds
            .iter()
            .filter_map(|(value, name)| {
                let spot = self.spot(*value).filter(|spot| spot.beyond == Ordering::Equal)?;
                Some((spot.x, name.as_str()))
            })
            .collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut ends: Vec<f64> = Vec::new();
        let mut placed = Vec::new();
        for (x, name) in found {
            let start = centre(x, name) - width(name) / 2.0;
            let lane = ends.iter().position(|&end| end < start).unwrap_or(ends.len());
            ends.resize(ends.len().max(lane + 1), f64::NEG_INFINITY);
            ends[lane] = start + width(name) + LETTER;
            placed.push((x, name, lane));
        }
        placed
    }

    /// The drawing as a figure.
    pub(super) fn draw(&self, marks: Vec<Markup>) -> Markup {
        let (above, bottom) = (self.lanes(), self.top(self.texts.len()));
        let said: Vec<String> = self.texts.iter().map(|text| format!("{} {}", text.name, text.says)).collect();
        let label = format!("{}: {}, {}", self.title, self.x.label, said.join("; "));
        let across = |tick| self.spot(tick).map(|spot| spot.x);
        let marks = html! {
            @for (x, label) in spaced(&self.x.scale, 7, DIGIT, across) {
                path.grid d={ "M" (place(x)) " " (place(above)) "V" (place(bottom)) } {}
                @if let Some(label) = label {
                    @let half = label.len() as f64 * DIGIT / 2.0;
                    text.tick.x x=(place(x.clamp(half, WIDTH - half))) y=(place(bottom + 17.0)) { (label) }
                }
            }
            @for (x, name, lane) in self.thresholds() {
                @let y = 14.0 + lane as f64 * LANE;
                path.threshold d={ "M" (place(x)) " " (place(y + 3.0)) "V" (place(bottom)) } {}
                text.threshold-name x=(place(centre(x, name))) y=(place(y)) { (fitted(name, WIDTH)) }
            }
            path.axis d={ "M" (place(LEFT)) " " (place(bottom)) "H" (place(RIGHT)) } {}
            text.axis-label x=(place(WIDTH / 2.0)) y=(place(bottom + BELOW - 8.0)) { (self.x.label) }
            @for (index, (text, marks)) in self.texts.iter().zip(&marks).enumerate() {
                @let last = self.top(index) - 4.0;
                @for (line, name) in text.lines.iter().rev().enumerate() {
                    text.name x=(place(LEFT)) y=(place(last - line as f64 * LINE)) { (name) }
                }
                text.name.says x=(place(RIGHT)) y=(place(last)) { (text.says) }
                (marks)
            }
        };
        Marked { title: self.title, label, legend: None, height: bottom + BELOW, across: 1, marks }.draw()
    }
}

/// A text in lines of at most so many SVG units; a word that is longer is cut.
fn wrapped(text: &str, most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = fitted(word, most);
        match lines.last_mut() {
            Some(line) if width(line) + width(&word) + LETTER <= most => *line += &format!(" {word}"),
            _ => lines.push(word),
        }
    }
    lines
}

/// The middle of a name at a place, within the drawing.
fn centre(x: f64, name: &str) -> f64 {
    let half = (width(name) / 2.0).min(WIDTH / 2.0);
    x.clamp(half, WIDTH - half)
}

/// The place of a number between two ends, or the end that it lies beyond.
pub(super) fn spot(scale: &Scale, left: f64, right: f64, value: f64) -> Option<Spot> {
    let at = |share: f64, beyond| Some(Spot { x: left + share * (right - left), beyond });
    match scale.place(value) {
        Some(share) => at(share, Ordering::Equal),
        None if value < scale.low() => at(0.0, Ordering::Less),
        None if value > scale.high() => at(1.0, Ordering::Greater),
        None => None,
    }
}

/// A head that points to where a number is, beyond the end of the axis; nothing for one on the axis.
pub(super) fn arrow(spot: Spot, y: f64, class: &str) -> Markup {
    let out = match spot.beyond {
        Ordering::Less => -1.0,
        Ordering::Greater => 1.0,
        Ordering::Equal => return html! {},
    };
    let (tip, back) = (spot.x + out * 8.0, spot.x - out);
    html! {
        path class={ "arrow " (class) }
            d={ "M" (place(tip)) " " (place(y)) "L" (place(back)) " " (place(y - ARROW)) "V" (place(y + ARROW)) "Z" } {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn what_is_beyond_the_axis_is_at_its_end() {
        let scale = Scale::exactly(Kind::Log, 1.0, 100.0);
        let found = |value| spot(&scale, 0.0, 100.0, value).map(|spot| (spot.x, spot.beyond));
        assert_eq!(found(10.0), Some((50.0, Ordering::Equal)));
        for low in [-3.0, 0.0, 0.5, f64::NEG_INFINITY] {
            assert_eq!(found(low), Some((0.0, Ordering::Less)));
        }
        for high in [101.0, f64::INFINITY] {
            assert_eq!(found(high), Some((100.0, Ordering::Greater)));
        }
        assert_eq!(found(f64::NAN), None);
    }

    #[test]
    fn a_long_name_has_several_lines_and_its_row_more_room() {
        assert_eq!(wrapped("one two three", 8.0 * LETTER), ["one two", "three"]);
        assert_eq!(wrapped("indivisible", 4.0 * LETTER), ["ind…"]);
        assert!(wrapped("", 100.0).is_empty());
        let x = Axis { label: "ratio", scale: Scale::exactly(Kind::Linear, 0.0, 10.0) };
        let long = "a name that goes on ".repeat(5);
        let rows = Rows::new(
            "",
            x,
            &[],
            20.0,
            [("short", "1"), (&*long, "2")].map(|(a, b)| (a, b.to_owned())).into_iter(),
        );
        assert_eq!(rows.texts[0].lines.len(), 1);
        assert!(rows.texts[1].lines.len() >= 2);
        assert!(rows.top(1) - rows.top(0) > 20.0 + 2.0 * LINE);
    }

    #[test]
    fn names_of_thresholds_that_are_near_are_one_above_the_other() {
        let thresholds = [1.0, 1.1, 9.0, 50.0, f64::NAN].map(|value| (value, "supported from".to_owned()));
        let x = Axis { label: "ratio", scale: Scale::exactly(Kind::Linear, 0.0, 10.0) };
        let rows = Rows::new("", x, &thresholds, 20.0, std::iter::empty());
        let lanes: Vec<usize> = rows.thresholds().iter().map(|threshold| threshold.2).collect();
        assert_eq!(lanes, [0, 1, 0]);
    }
}
