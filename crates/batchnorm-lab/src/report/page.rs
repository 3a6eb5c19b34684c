//! The page `report.html`: self-contained, offline, light and dark.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{Chart, Line};
use super::command::words;
use super::headline::headline;
use super::rows::{columns, name, rows};
use super::scale::{Kind, Scale};
use crate::train::{Arm, Band, Inputs, Metrics, Point, Settings};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

const X_LABEL: &str = "training steps (logarithmic)";

/// The report of a training run, as a page that needs nothing but itself.
pub fn page(metrics: &Metrics) -> String {
    let settings = &metrics.settings;
    let about = &metrics.data;
    let title = format!("{} on {}, with and without batch normalization", settings.network, settings.data);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "With and without batch normalization" }
                    p.headline { (headline(metrics)) }
                    (results(metrics))
                    h2 { "Training" }
                    div.charts { (accuracy(metrics)) (loss(metrics)) }
                    h2 { "What reaches the last hidden layer" }
                    p {
                        "The 15th, 50th and 85th percentile, over the test images, of the input of the "
                        (settings.activation) " of one typical unit of the last hidden layer. Of all units it is the \
                         one whose input has the median standard deviation under the initial weights, before training."
                    }
                    div.charts { (percentiles(metrics)) }
                    h2 { "Settings" }
                    p { "The same command gives the same numbers on the same machine, times aside:" }
                    pre { code { (repeat(settings)) } }
                    (settings_table(metrics))
                    h2 { "Method" }
                    p {
                        "Both twins begin with the same weights and see the same batches, one step of the one after one \
                         step of the other; every epoch is a new random order, of which the images left over after the \
                         last full batch are dropped. Loss is the mean softmax cross-entropy over the batches since the \
                         evaluation before. Accuracy is on all test images, in evaluation mode, with running averages; \
                         the steps to an accuracy are those to the first evaluation that reached it. Time per step \
                         leaves evaluations out."
                    }
                    p {
                        "Data: " (about.title) ": " (about.description) ". Source: " (about.source) ". Licence: "
                        (about.licence) ". The experiment is Figure 1 of Ioffe and Szegedy, Batch Normalization: \
                         Accelerating Deep Network Training by Reducing Internal Covariate Shift, 2015, \
                         arXiv 1502.03167."
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn results(metrics: &Metrics) -> Markup {
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

/// The command, its options kept in one piece each where lines break.
fn repeat(settings: &Settings) -> Markup {
    html! {
        @for (place, word) in words(settings).iter().enumerate() {
            @if place > 0 { " " }
            span { (word) }
        }
    }
}

fn settings_table(metrics: &Metrics) -> Markup {
    let settings = serde_json::to_value(&metrics.settings).expect("settings have a JSON form");
    let entries = settings.as_object().into_iter().flatten();
    html! {
        dl.settings {
            @for (name, value) in entries {
                div {
                    dt { (name.replace('_', " ")) }
                    dd { (shown(value)) }
                }
            }
        }
    }
}

/// A setting as one would say it: text without quotes, lists without brackets.
fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn class(arm: Arm) -> &'static str {
    match arm {
        Arm::Plain => "plain",
        Arm::BatchNorm => "batch-norm",
    }
}

fn steps(metrics: &Metrics) -> Scale {
    let curves = metrics.runs.trained().flat_map(|(_, run)| &run.curve);
    Scale::around(Kind::Log, curves.map(|point| point.step as f64))
}

fn curves(metrics: &Metrics, value: impl Fn(&Point) -> Option<f64>) -> Vec<Line> {
    let line = |(arm, run): (Arm, &crate::train::Run)| {
        let points = run.curve.iter().map(|point| (point.step as f64, value(point))).collect();
        Line { name: name(arm), class: class(arm), points }
    };
    metrics.runs.trained().map(line).collect()
}

fn accuracy(metrics: &Metrics) -> Markup {
    let chart = Chart {
        title: "Test accuracy",
        x_label: X_LABEL,
        y_label: "test accuracy (%)",
        x: steps(metrics),
        y: Scale::exactly(Kind::Linear, 0.0, 100.0),
        unit: " %",
        decimals: 2,
        lines: curves(metrics, |point| point.test_accuracy.map(|accuracy| accuracy * 100.0)),
    };
    chart.draw()
}

fn loss(metrics: &Metrics) -> Markup {
    let lines = curves(metrics, |point| point.train_loss);
    let chart = Chart {
        title: "Training loss",
        x_label: X_LABEL,
        y_label: "cross-entropy (logarithmic)",
        x: steps(metrics),
        y: Scale::around(Kind::Log, values(&lines)),
        unit: "",
        decimals: 4,
        lines,
    };
    chart.draw()
}

fn percentiles(metrics: &Metrics) -> Markup {
    let last = |inputs: &[Inputs]| inputs.last().map_or(Vec::new(), |layer| layer.points.clone());
    let lines: Vec<_> =
        metrics.runs.trained().map(|(arm, run)| (name(arm), band(&last(&run.inputs), class(arm)))).collect();
    let y = Scale::around(Kind::Linear, lines.iter().flat_map(|(_, lines)| values(lines)));
    let draw = |title: String, lines| {
        let (title, unit) = (&*title, "");
        Chart { title, x_label: X_LABEL, y_label: "input", x: steps(metrics), y, unit, decimals: 2, lines }
            .draw()
    };
    html! {
        @for (name, lines) in lines { (draw(format!("Input {name}"), lines)) }
    }
}

fn band(bands: &[Band], class: &'static str) -> Vec<Line> {
    let edge = match class {
        "plain" => "plain edge",
        _ => "batch-norm edge",
    };
    let line = |name, class, value: fn(&Band) -> f64| Line {
        name,
        class,
        points: bands.iter().map(|band| (band.step as f64, Some(value(band)))).collect(),
    };
    vec![
        line("85th percentile", edge, |band| band.p85),
        line("median", class, |band| band.p50),
        line("15th percentile", edge, |band| band.p15),
    ]
}

fn values(lines: &[Line]) -> impl Iterator<Item = f64> {
    lines.iter().flat_map(|line| &line.points).filter_map(|point| point.1)
}
