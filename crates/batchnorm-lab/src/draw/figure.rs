//! What every drawing stands in: its title, its legend, and a line for the values on hovering.

use maud::{Markup, html};

use super::frame::{Frame, Measures, Size};
use super::hover::Hover;

/// A drawing with all that belongs to it.
pub(crate) struct Figure<'a> {
    pub(crate) title: &'a str,
    pub(crate) frame: Frame<'a>,
    /// Nothing where several figures share one.
    pub(crate) legend: Option<Markup>,
    /// What is drawn inside the frame.
    pub(crate) marks: Markup,
    pub(crate) hover: Hover,
}

impl Figure<'_> {
    pub(crate) fn draw(&self) -> Markup {
        let Measures { width, height, top, bottom, .. } = self.frame.measures();
        let class = match self.frame.size {
            Size::Large => "chart",
            Size::Small => "chart small",
        };
        let label = format!("{}: {} against {}", self.title, self.frame.y.label, self.frame.x.label);
        html! {
            figure class=(class) data-hover=(self.hover.to_json()) {
                figcaption { (self.title) }
                @if let Some(legend) = &self.legend { (legend) }
                svg.drawing viewBox={ "0 0 " (width) " " (height) } role="img" tabindex="0" aria-label=(label) {
                    (self.frame.draw())
                    (self.marks)
                    path.guide d={ "M0 " (top) "V" (bottom) } {}
                }
                p.values {}
            }
        }
    }
}
