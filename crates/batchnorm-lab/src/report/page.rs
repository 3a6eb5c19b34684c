//! The page `report.html`: self-contained, offline, light and dark.

use maud::html;

use super::headline::headline;
use super::sections;
use crate::draw::{Document, SCRIPT, STYLE};
use crate::train::Metrics;

/// The report of a training run, as a page that needs nothing but itself.
pub fn page(metrics: &Metrics) -> String {
    let settings = &metrics.settings;
    let title = sections::headline_title(metrics);
    let steps = sections::steps(metrics);
    let main = html! {
        h1 { (title) }
        p.faint { (sections::facts(metrics)) }
        // A number and its percent sign stay on one line.
        p.headline { (headline(metrics).replace(" %", "\u{a0}%")) }
        (sections::results(metrics))
        (sections::training(metrics, steps))
        (sections::inputs(metrics, steps))
        (sections::saturation(metrics, steps))
        (sections::gradients(metrics, steps))
        (sections::gap(metrics))
        (sections::norms(metrics, steps))
        (sections::settings(metrics))
        (sections::method(metrics))
        (sections::data(metrics))
    };
    let title = html! { (title) ": " (settings.network) " on " (settings.data) };
    Document { title, styles: &[STYLE], scripts: &[SCRIPT], main }.into_string()
}
