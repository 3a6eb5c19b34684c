//! The frame that every drawing has: two axes with ticks and labels, and from numbers to places between them.

use maud::{Markup, html};

use super::scale::{Scale, label};

/// How large a drawing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// One of two side by side.
    Large,
    /// One of many.
    Small,
}

/// The size of a drawing and the place that its axes take, in SVG units.
#[derive(Clone, Copy)]
pub(super) struct Measures {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    /// How far from the axis its ticks' labels are.
    below: f64,
    /// Where the y axis's label is.
    beside: f64,
    ticks: [usize; 2],
    /// The width of a column: two things in one column are hardly seen apart.
    column: f64,
    /// The width of a letter of a label, at most.
    letter: f64,
    /// Digits of a value that say something, on hovering.
    pub(super) digits: usize,
}

const LARGE: Measures = Measures {
    width: 520.0,
    height: 320.0,
    left: 70.0,
    right: 494.0,
    top: 10.0,
    bottom: 272.0,
    below: 18.0,
    beside: 14.0,
    ticks: [7, 7],
    column: 1.0,
    letter: 9.0,
    digits: 4,
};
const SMALL: Measures = Measures {
    width: 280.0,
    height: 170.0,
    left: 58.0,
    right: 264.0,
    top: 7.0,
    bottom: 132.0,
    below: 14.0,
    beside: 10.0,
    ticks: [4, 5],
    column: 2.0,
    letter: 6.5,
    digits: 3,
};

/// An axis with what it measures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis<'a> {
    pub(crate) label: &'a str,
    pub(crate) scale: Scale,
}

/// Two axes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) size: Size,
    pub(crate) x: Axis<'a>,
    pub(crate) y: Axis<'a>,
}

impl Frame<'_> {
    pub(super) fn measures(&self) -> Measures {
        match self.size {
            Size::Large => LARGE,
            Size::Small => SMALL,
        }
    }

    /// The place of a number on the x axis, from the drawing's left edge; `None` if it has none.
    pub(super) fn across(&self, x: f64) -> Option<f64> {
        let Measures { left, right, .. } = self.measures();
        self.x.scale.place(x).map(|place| left + place * (right - left))
    }

    /// The place of a number on the y axis, from the drawing's top edge, or the edge that it lies beyond; `None` if it
    /// has none.
    pub(super) fn down(&self, y: f64) -> Option<f64> {
        let Measures { top, bottom, .. } = self.measures();
        self.y.scale.place_or_edge(y).map(|place| bottom - place * (bottom - top))
    }

    /// The column that a place from the left edge is in.
    pub(super) fn column(&self, across: f64) -> i64 {
        (across / self.measures().column) as i64
    }

    /// The places of the x axis's ticks, and their labels where there is room.
    fn across_ticks(&self, about: usize) -> Vec<(f64, Option<String>)> {
        spaced(&self.x.scale, about, self.measures().letter, |tick| self.across(tick))
    }

    /// Grid, ticks, axes and their labels.
    pub(super) fn draw(&self) -> Markup {
        let Measures { height, left, right, top, bottom, below, beside, ticks: [x_ticks, y_ticks], .. } =
            self.measures();
        html! {
            @for tick in self.y.scale.ticks(y_ticks) {
                @if let Some(y) = self.down(tick) {
                    path.grid d={ "M" (left) " " (place(y)) "H" (right) } {}
                    text.tick.y x=(left - 6.0) y=(place(y)) { (label(tick)) }
                }
            }
            @for (x, label) in self.across_ticks(x_ticks) {
                path.grid d={ "M" (place(x)) " " (top) "V" (bottom) } {}
                @if let Some(label) = label { text.tick.x x=(place(x)) y=(bottom + below) { (label) } }
            }
            path.axis d={ "M" (left) " " (top) "V" (bottom) "H" (right) } {}
            text.axis-label x=((left + right) / 2.0) y=(height - 6.0) { (self.x.label) }
            text.axis-label x="0" y="0" transform={ "translate(" (beside) " " ((top + bottom) / 2.0) ") rotate(-90)" } {
                (self.y.label)
            }
        }
    }
}

/// The places of ticks, and their labels where these do not run into the one before.
pub(super) fn spaced(
    scale: &Scale,
    about: usize,
    letter: f64,
    across: impl Fn(f64) -> Option<f64>,
) -> Vec<(f64, Option<String>)> {
    let mut end = f64::NEG_INFINITY;
    let mut ticks = Vec::new();
    for tick in scale.ticks(about) {
        let Some(x) = across(tick) else { continue };
        let text = label(tick);
        let half = text.len() as f64 * letter / 2.0;
        let free = x - half > end;
        if free {
            end = x + half + letter / 2.0;
        }
        ticks.push((x, free.then_some(text)));
    }
    ticks
}

/// A tenth of a unit is finer than a pixel.
pub(super) fn place(number: f64) -> String {
    tenths((number * 10.0).round() as i64)
}

/// A path through places, from the first to the last: after the first, each from the one before, which is shorter.
pub(super) fn path(places: &[(f64, f64)]) -> String {
    let mut path = String::new();
    let mut before = [0, 0];
    for (index, &(x, y)) in places.iter().enumerate() {
        let here = [x, y].map(|number| (number * 10.0).round() as i64);
        path.push_str(match index {
            0 => "M",
            1 => "l",
            _ => " ",
        });
        let [across, down] = [here[0] - before[0], here[1] - before[1]];
        path.push_str(&tenths(across));
        path.push_str(if down < 0 { "" } else { " " });
        path.push_str(&tenths(down));
        before = here;
    }
    path
}

/// A number of tenths, without zeros that say nothing.
fn tenths(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    match (number.abs() / 10, number.abs() % 10) {
        (whole, 0) => format!("{sign}{whole}"),
        (0, tenth) => format!("{sign}.{tenth}"),
        (whole, tenth) => format!("{sign}{whole}.{tenth}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn labels_do_not_run_into_each_other() {
        let scale = Scale::around(Kind::Log, [1000.0, 30_000.0].into_iter());
        let axis = Axis { label: "step", scale };
        for size in [Size::Large, Size::Small] {
            let frame = Frame { size, x: axis, y: axis };
            let ticks = frame.across_ticks(7);
            let labelled: Vec<f64> = ticks.iter().filter(|tick| tick.1.is_some()).map(|tick| tick.0).collect();
            assert!(labelled.len() > 2 && labelled.len() < ticks.len(), "{ticks:?}");
            let width = 4.0 * frame.measures().letter;
            assert!(labelled.windows(2).all(|pair| pair[1] - pair[0] > width), "{ticks:?}");
        }
    }

    #[test]
    fn paths_are_short_and_end_where_they_should() {
        assert_eq!(path(&[(10.04, 20.0), (10.55, 19.96), (30.0, 0.04)]), "M10 20l.6 0 19.4-20");
        assert_eq!(path(&[(1.0, 2.0)]), "M1 2");
        assert_eq!([0.0, -0.04, 12.34, -0.5, 7.99].map(place), ["0", "0", "12.3", "-.5", "8"]);
    }
}
