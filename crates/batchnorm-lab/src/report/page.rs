//! The page `report.html`: self-contained, offline, light and dark.

use maud::{DOCTYPE, PreEscaped, html};

use super::headline::headline;
use super::sections;
use crate::train::Metrics;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The report of a training run, as a page that needs nothing but itself.
pub fn page(metrics: &Metrics) -> String {
    let settings = &metrics.settings;
    let title = sections::headline_title(metrics);
    let steps = sections::steps(metrics);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) ": " (settings.network) " on " (settings.data) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
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
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}
