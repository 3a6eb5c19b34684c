//! What was trained, and the table of results.

use maud::{Markup, html};

use super::title;
use crate::report::rows::{columns, rows};
use crate::train::{Arm, Arms, Metrics, Optimizer};

/// The page's title, in words.
pub(in super::super) fn headline_title(metrics: &Metrics) -> &'static str {
    match metrics.settings.arms {
        Arms::Both => "With and without batch normalization",
        Arms::Plain => title(Arm::Plain),
        Arms::BatchNorm => title(Arm::BatchNorm),
    }
}

/// What was trained, in a line.
pub(in super::super) fn facts(metrics: &Metrics) -> String {
    let settings = &metrics.settings;
    let layers: Vec<String> = settings.layers.iter().map(ToString::to_string).collect();
    let network = match layers.is_empty() {
        true => format!("{} of width {}", settings.network, settings.width),
        false => format!("{} {}", settings.network, layers.join("-")),
    };
    let optimizer = match settings.optimizer {
        Optimizer::Sgd if settings.sgd_momentum > 0.0 => format!("sgd, momentum {}", settings.sgd_momentum),
        other => other.to_string(),
    };
    format!(
        "{network} ({}) on {}: {} steps of {} images, {optimizer}, learning rate {}",
        settings.activation, metrics.data.title, settings.steps, settings.batch_size, settings.learning_rate
    )
}

pub(in super::super) fn results(metrics: &Metrics) -> Markup {
    html! {
        table.results {
            thead { tr { td {} @for column in columns(metrics) { th scope="col" { (column) } } } }
            tbody {
                @for row in rows(metrics) {
                    tr { th scope="row" { (row.measure) } @for value in row.values { td { (value) } } }
                }
            }
        }
    }
}
