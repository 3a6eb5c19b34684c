//! Drawings of marks that are asked one by one, at the pointer or by the arrow keys.

use maud::{Markup, html};

use super::scale::significant;

/// What these drawings need beside the look of every page.
pub(crate) const MARKED_STYLE: &str = include_str!("marked.css");
/// Shows what a mark says.
pub(crate) const MARKED_SCRIPT: &str = include_str!("marked.js");

/// Digits of a value that say something.
pub(super) const DIGITS: usize = 3;
/// The width of every such drawing, in SVG units.
pub(super) const WIDTH: f64 = 520.0;
/// The width of a letter on a narrow page, where letters are larger, mostly.
pub(super) const LETTER: f64 = 8.5;
/// The width of a digit in a tick's label, at most.
pub(super) const DIGIT: f64 = 9.0;

/// A drawing whose elements of the class `mark` each have a title.
pub(crate) struct Marked<'a> {
    pub(crate) title: &'a str,
    /// What is seen, for those who do not see it.
    pub(crate) label: String,
    pub(crate) legend: Option<Markup>,
    pub(crate) height: f64,
    /// How many marks are side by side in a row, where they are a table.
    pub(crate) across: usize,
    pub(crate) marks: Markup,
}

impl Marked<'_> {
    /// The drawing as a figure.
    pub(crate) fn draw(&self) -> Markup {
        html! {
            figure.marked {
                figcaption { (self.title) }
                @if let Some(legend) = &self.legend { (legend) }
                svg.drawing viewBox={ "0 0 " (WIDTH) " " (self.height.round()) } role="img" tabindex="0"
                    aria-label=(self.label) data-across=(self.across) {
                    (self.marks)
                }
                p.values {}
            }
        }
    }
}

/// A text that is no wider than so many SVG units.
pub(super) fn fitted(text: &str, width: f64) -> String {
    let room = (width / LETTER).max(1.0) as usize;
    match text.chars().count() > room {
        true => text.chars().take(room - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// The width of a text.
pub(super) fn width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

/// A value in words.
pub(super) fn words(value: f64) -> String {
    significant(value, DIGITS).unwrap_or_else(|| "diverged".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_ends_in_dots() {
        assert_eq!(fitted("as it is", 100.0), "as it is");
        assert_eq!(fitted("größer als alles", 5.0 * LETTER), "größ…");
        assert_eq!(fitted("none", 0.0), "…");
    }
}
