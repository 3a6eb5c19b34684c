//! One line for each layer, coloured by its depth: charts that share a legend.

use maud::{Markup, html};

use crate::draw::{Axis, Chart, Frame, Ink, Legend, Line, Points, Size, legend};
use crate::report::naming::Naming;
use crate::train::Arm;

/// More layers than these have a legend of one line, which opens.
const NAMED: usize = 8;

/// A layer, and its value at each recorded step.
pub(super) type Layer = (String, Points);

/// What is measured of every layer.
pub(super) struct ByDepth<'a> {
    pub(super) x: Axis<'a>,
    /// What follows a value on hovering.
    pub(super) unit: &'static str,
    /// The charts: each one's title, its y axis and its layers.
    pub(super) charts: Vec<(String, Axis<'a>, Vec<Layer>)>,
}

/// A chart for each arm, with the same axes.
pub(super) fn arms<'a>(
    x: Axis<'a>,
    y: Axis<'a>,
    unit: &'static str,
    naming: &Naming,
    arms: Vec<(Arm, Vec<Layer>)>,
) -> Markup {
    let charts = arms.into_iter().map(|(arm, layers)| (naming.title(arm), y, layers));
    ByDepth { x, unit, charts: charts.collect() }.draw()
}

impl ByDepth<'_> {
    pub(super) fn draw(self) -> Markup {
        let longest = self.charts.iter().map(|(_, _, layers)| layers).max_by_key(|layers| layers.len());
        let names: Vec<String> = longest.into_iter().flatten().map(|(name, _)| name.clone()).collect();
        let charts = self.charts.into_iter().map(|(title, y, layers)| {
            let line = |(index, (name, points))| Line { name, ink: Ink::of_layer(index, names.len()), points };
            Chart {
                title: &title,
                frame: Frame { size: Size::Large, x: self.x, y },
                unit: self.unit,
                lines: layers.into_iter().enumerate().map(line).collect(),
                legend: Legend::Shared,
            }
            .draw()
        });
        html! {
            (by_depth(&names))
            div.charts { @for chart in charts { (chart) } }
        }
    }
}

fn by_depth(names: &[String]) -> Markup {
    let inks: Vec<Ink> = (0..names.len()).map(|index| Ink::of_layer(index, names.len())).collect();
    let all = legend(names.iter().map(String::as_str).zip(&inks));
    let [first, .., last] = names else { return all };
    if names.len() <= NAMED {
        return all;
    }
    html! {
        details.depths {
            summary {
                (first) " "
                span.ramp aria-hidden="true" { @for ink in &inks { i.depth style=[ink.style()] {} } }
                " " (last) span.faint { " (" (names.len()) " layers)" }
            }
            (all)
        }
    }
}
