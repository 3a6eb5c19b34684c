//! What the norm layers learned and kept: over the steps of training, and after the last.

use maud::{Markup, html};

use super::by_depth::{ByDepth, Layer};
use crate::draw::{Axis, Frame, Histogram, Ribbon, Scale, Size, ribbon_legend};
use crate::report::naming::Naming;
use crate::train::{Arm, Metrics, NormFigures, NormPoint, NormValues, Run};

/// Layers that are shown without being asked for.
const SHOWN: usize = 3;

/// What a channel has: its name, its course, and its values after the last step. Not every layer has it.
#[derive(Clone, Copy)]
struct Quantity {
    name: &'static str,
    course: fn(&NormPoint) -> Option<[f64; 5]>,
    last: fn(&NormValues) -> Option<&[f32]>,
}

const QUANTITIES: [Quantity; 4] = [
    Quantity { name: "gamma", course: |point| Some(point.gamma), last: |values| Some(&values.gamma) },
    Quantity { name: "beta", course: |point| Some(point.beta), last: |values| Some(&values.beta) },
    Quantity {
        name: "running mean",
        course: |point| point.running_mean,
        last: |values| values.running_mean.as_deref(),
    },
    Quantity {
        name: "running variance",
        course: |point| point.running_var,
        last: |values| values.running_var.as_deref(),
    },
];

impl Quantity {
    fn is_of(&self, layer: &NormFigures) -> bool {
        layer.points.iter().any(|point| (self.course)(point).is_some())
            || layer.last.as_ref().is_some_and(|values| (self.last)(values).is_some())
    }
}

/// What a normalized arm has to show.
struct Shown<'a> {
    arm: Arm,
    class: &'static str,
    layers: Vec<&'a NormFigures>,
    quantities: Vec<Quantity>,
}

impl<'a> Shown<'a> {
    /// `None` where nothing was recorded.
    fn of(naming: &Naming, arm: Arm, run: &'a Run) -> Option<Self> {
        let there = |layer: &&NormFigures| layer.last.is_some() || !layer.points.is_empty();
        let layers: Vec<&NormFigures> = run.norms.iter().filter(there).collect();
        let first = *layers.first()?;
        let quantities = QUANTITIES.into_iter().filter(|quantity| quantity.is_of(first)).collect();
        Some(Self { arm, class: naming.class(arm), layers, quantities })
    }
}

pub(in super::super) fn norms(metrics: &Metrics, x: Axis<'_>) -> Markup {
    let naming = Naming::of(metrics);
    let arms: Vec<Shown<'_>> =
        metrics.runs.trained().filter_map(|(arm, run)| Shown::of(&naming, arm, run)).collect();
    let Some(first) = arms.first() else { return html! {} };
    html! {
        @if naming.is_list() {
            h2 { "Inside the normalizations" }
            p {
                "The learned scale gamma and shift beta, and running statistics where there are some, of the channels of                  every layer: over the steps of training, and how they are spread after the last step."
            }
            @for arm in &arms {
                details { summary { (naming.title(arm.arm)) } div { (of_arm(arm, x)) } }
            }
        } @else {
            h2 { "Inside " (first.arm.in_words()) }
            p {
                "The learned scale gamma and shift beta, "
                @if first.quantities.len() > 2 { "and the running statistics, " }
                "of the channels of every layer: over the steps of training, and how they are spread after the last step."
            }
            (of_arm(first, x))
        }
    }
}

/// Every layer of an arm, folded where there are many.
fn of_arm(arm: &Shown<'_>, x: Axis<'_>) -> Markup {
    let channels = ribbon_legend(arm.class, &["least to greatest", "15th to 85th percentile"], "median");
    html! {
        @if arm.layers.len() > SHOWN {
            p { "The median of every layer, and below, layer by layer, all channels:" }
            (medians(arm, x))
            (channels)
            @for layer in &arm.layers {
                details { summary { (name(layer)) } (drawings(arm, layer, x)) }
            }
        } @else {
            (channels)
            @for layer in &arm.layers {
                h3 { (name(layer)) }
                (drawings(arm, layer, x))
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
fn medians(arm: &Shown<'_>, x: Axis<'_>) -> Markup {
    let chart = |quantity: &Quantity| {
        let layer = |layer: &&NormFigures| -> Layer {
            let middle = |point| (quantity.course)(point).map(|spread| spread[2]);
            let points = layer.points.iter().map(|point| (point.step as f64, middle(point)));
            (layer.layer.clone(), points.collect())
        };
        let layers: Vec<Layer> = arm.layers.iter().map(layer).collect();
        let values = layers.iter().flat_map(|(_, points)| points).filter_map(|point| point.1);
        let y = Axis { label: quantity.name, scale: Scale::fitting(values) };
        (quantity.name.to_owned(), y, layers)
    };
    ByDepth { x, unit: "", charts: arm.quantities.iter().map(chart).collect() }.draw()
}

fn drawings(arm: &Shown<'_>, layer: &NormFigures, x: Axis<'_>) -> Markup {
    html! {
        div.smalls {
            @for quantity in &arm.quantities { (course(layer, quantity, arm.class, x)) }
            @if let Some(last) = &layer.last {
                @for quantity in &arm.quantities {
                    @if let Some(values) = (quantity.last)(last) { (spread(quantity.name, values, arm.class)) }
                }
            }
        }
    }
}

fn course(layer: &NormFigures, quantity: &Quantity, class: &'static str, x: Axis<'_>) -> Markup {
    let row = |point: &NormPoint| Some((point.step as f64, (quantity.course)(point)?.to_vec()));
    let rows: Vec<(f64, Vec<f64>)> = layer.points.iter().filter_map(row).collect();
    let scale = Scale::fitting(rows.iter().flat_map(|(_, values)| values.iter().copied()));
    Ribbon {
        title: quantity.name,
        frame: Frame { size: Size::Small, x, y: Axis { label: quantity.name, scale } },
        class,
        names: &["least", "15th", "median", "85th", "greatest"],
        rows,
        legend: None,
    }
    .draw()
}

fn spread(name: &str, values: &[f32], class: &'static str) -> Markup {
    Histogram {
        title: &format!("{name}, last step"),
        x_label: name,
        y_label: "channels",
        class,
        values: values.iter().map(|&value| f64::from(value)).collect(),
    }
    .draw()
}
