//! The gap between training and inference.

use maud::{Markup, html};

use crate::evaluate::Score;
use crate::report::rows::{loss, percent};
use crate::train::{Arm, Gap, Metrics, Statistics};

pub(in super::super) fn gap(metrics: &Metrics) -> Markup {
    let Some(gap) = metrics.runs.of(Arm::BatchNorm).and_then(|run| run.statistics) else {
        return html! {};
    };
    html! {
        h2 { "From training to inference" }
        p {
            "In training, batch normalization uses the statistics of the batch; at inference there may be no batch. The \
             same network after the last step, on all test images, under three kinds of statistics"
            @if let Some(distance) = distance(&gap) { ": they lie " (distance) " apart" }
            "."
        }
        table.results {
            thead { tr { th scope="col" { "statistics" } th scope="col" { "test accuracy" } th scope="col" { "test loss" } } }
            tbody {
                @for (name, what, score, used) in rows(metrics, &gap) {
                    tr {
                        th scope="row" {
                            (name) @if used { " (used above)" }
                            br;
                            span.faint { (what) }
                        }
                        td { (percent(score.accuracy)) }
                        td { (loss(score.loss)) }
                    }
                }
            }
        }
    }
}

type Row = (&'static str, String, Score, bool);

fn rows(metrics: &Metrics, gap: &Gap) -> [Row; 3] {
    let settings = &metrics.settings;
    let used = |statistics| settings.statistics == statistics;
    [
        ("running", "averages kept in training".to_owned(), gap.running, used(Statistics::Running)),
        ("batch", format!("of each test batch of {}", settings.batch_size), gap.batch, false),
        (
            "population",
            "over training batches, after training (Algorithm 2)".to_owned(),
            gap.population,
            used(Statistics::Population),
        ),
    ]
}

/// How far the accuracies lie apart.
fn distance(gap: &Gap) -> Option<String> {
    let all = [gap.running.accuracy?, gap.batch.accuracy?, gap.population.accuracy?];
    let (low, high) = (all.iter().copied().fold(1.0, f64::min), all.iter().copied().fold(0.0, f64::max));
    Some(format!("{:.2} percentage points", (high - low) * 100.0))
}
