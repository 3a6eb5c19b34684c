//! What the batch-norm layers learned and kept: over the steps of training, and after the last.

use maud::{Markup, html};

use super::by_depth::{ByDepth, Layer};
use super::class;
use crate::report::draw::{Axis, Frame, Histogram, Ribbon, Scale, Size, ribbon_legend};
use crate::train::{Arm, Metrics, NormFigures, NormPoint, NormValues};

/// Layers that are shown without being asked for.
const SHOWN: usize = 3;

/// What a channel has: its name, its course, and its values after the last step.
type Quantity = (&'static str, fn(&NormPoint) -> &[f64; 5], fn(&NormValues) -> &[f32]);

const QUANTITIES: [Quantity; 4] = [
    ("gamma", |point| &point.gamma, |values| &values.gamma),
    ("beta", |point| &point.beta, |values| &values.beta),
    ("running mean", |point| &point.running_mean, |values| &values.running_mean),
    ("running variance", |point| &point.running_var, |values| &values.running_var),
];

pub(in super::super) fn norms(metrics: &Metrics, x: Axis<'_>) -> Markup {
    let layers = metrics.runs.of(Arm::BatchNorm).map(|run| &run.norms[..]).unwrap_or_default();
    let layers: Vec<&NormFigures> =
        layers.iter().filter(|layer| layer.last.is_some() || !layer.points.is_empty()).collect();
    if layers.is_empty() {
        return html! {};
    }
    let folded = layers.len() > SHOWN;
    let channels =
        ribbon_legend(class(Arm::BatchNorm), &["least to greatest", "15th to 85th percentile"], "median");
    html! {
        h2 { "Inside batch normalization" }
        p {
            "The learned scale gamma and shift beta, and the running statistics, of the channels of every layer: over \
             the steps of training, and how they are spread after the last step."
        }
        @if folded {
            p { "The median of every layer, and below, layer by layer, all channels:" }
            (medians(&layers, x))
            (channels)
            @for layer in layers {
                details { summary { (name(layer)) } (drawings(layer, x)) }
            }
        } @else {
            (channels)
            @for layer in layers {
                h3 { (name(layer)) }
                (drawings(layer, x))
            }
        }
    }
}

fn name(layer: &NormFigures) -> String {
    match &layer.last {
        Some(values) => format!("{} ({} channels)", layer.layer, values.gamma.len()),
        None => layer.layer.clone(),
    }
}

/// The middle of every layer's channels, layers side by side.
fn medians(layers: &[&NormFigures], x: Axis<'_>) -> Markup {
    let chart = |(title, of, _): Quantity| {
        let layer = |layer: &&NormFigures| -> Layer {
            let points = layer.points.iter().map(|point| (point.step as f64, Some(of(point)[2])));
            (layer.layer.clone(), points.collect())
        };
        let layers: Vec<Layer> = layers.iter().map(layer).collect();
        let values = layers.iter().flat_map(|(_, points)| points).filter_map(|point| point.1);
        (title, Axis { label: title, scale: Scale::fitting(values) }, layers)
    };
    ByDepth { x, unit: "", charts: QUANTITIES.map(chart).into() }.draw()
}

fn drawings(layer: &NormFigures, x: Axis<'_>) -> Markup {
    html! {
        div.smalls {
            @for quantity in QUANTITIES { (course(layer, quantity, x)) }
            @if let Some(last) = &layer.last {
                @for (name, _, of) in QUANTITIES { (spread(name, of(last))) }
            }
        }
    }
}

fn course(layer: &NormFigures, (name, of, _): Quantity, x: Axis<'_>) -> Markup {
    let rows: Vec<(f64, Vec<f64>)> =
        layer.points.iter().map(|point| (point.step as f64, of(point).to_vec())).collect();
    let scale = Scale::fitting(rows.iter().flat_map(|(_, values)| values.iter().copied()));
    Ribbon {
        title: name,
        frame: Frame { size: Size::Small, x, y: Axis { label: name, scale } },
        class: class(Arm::BatchNorm),
        names: &["least", "15th", "median", "85th", "greatest"],
        rows,
        legend: None,
    }
    .draw()
}

fn spread(name: &str, values: &[f32]) -> Markup {
    Histogram {
        title: &format!("{name}, last step"),
        x_label: name,
        y_label: "channels",
        class: class(Arm::BatchNorm),
        values: values.iter().map(|&value| f64::from(value)).collect(),
    }
    .draw()
}
