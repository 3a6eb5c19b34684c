//! Figure 1 (b, c) of the paper, for every layer: what reaches the activations.

use maud::{Markup, html};

use super::{class, title};
use crate::networks::Activation;
use crate::report::draw::{Axis, Frame, Kind, Ribbon, Scale, Size, ribbon_legend};
use crate::train::{Arm, Band, Inputs, Metrics};

/// Layers that are shown without being asked for, beside the last.
const SHOWN: usize = 3;
/// Twins whose values are so many times further apart do not share an axis: the one would be a line at 0.
const FAR_APART: f64 = 50.0;
/// Inputs so many times larger than usual are beyond the axis.
const EXPLODED: f64 = 20.0;

pub(in super::super) fn inputs(metrics: &Metrics, x: Axis<'_>) -> Markup {
    let twins: Vec<(Arm, &[Inputs])> = metrics.runs.trained().map(|(arm, run)| (arm, &*run.inputs)).collect();
    let layers = twins.iter().map(|(_, inputs)| inputs.len()).max().unwrap_or(0);
    // The layers of which something was recorded, each with its twins.
    let recorded: Vec<Vec<(Arm, &Inputs)>> = (0..layers)
        .map(|index| twins.iter().filter_map(|&(arm, inputs)| Some((arm, inputs.get(index)?))).collect())
        .filter(|twins: &Vec<(Arm, &Inputs)>| twins.iter().any(|(_, inputs)| !inputs.points.is_empty()))
        .collect();
    let Some((last, others)) = recorded.split_last() else {
        return html! {};
    };
    let small = html! {
        div.smalls { @for layer in others { (drawings(layer, Size::Small, x)) } }
    };
    html! {
        h2 { "What reaches the activations" }
        p {
            "The 15th, 50th and 85th percentile, over the test images, of the input of the "
            (activation(metrics.settings.activation)) " of one typical unit of a layer. First the last hidden layer, as in Figure 1 \
             of the paper. Where the ribbon stays in place, the layers above are fed the same distribution all along."
            @if last.len() > 1 {
                " The two drawings of a layer have the same axes"
                @if recorded.iter().any(|layer| far_apart(layer)) { ", unless the inputs are of very different size" }
                "."
            }
        }
        div.charts { (drawings(last, Size::Large, x)) }
        @if !others.is_empty() {
            @if others.len() <= SHOWN {
                h3 { "The layers before" }
                (small)
            } @else {
                details { summary { "The " (others.len()) " layers before" } (small) }
            }
        }
    }
}

/// An activation in words.
fn activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Sigmoid => "sigmoid",
        Activation::Relu => "ReLU",
        Activation::Tanh => "hyperbolic tangent",
    }
}

/// A layer, a drawing for each twin.
fn drawings(twins: &[(Arm, &Inputs)], size: Size, x: Axis<'_>) -> Markup {
    let apart = far_apart(twins);
    let around = |twins: &[(Arm, &Inputs)]| {
        let usual = twins.iter().filter_map(|(_, inputs)| usual(inputs)).fold(0.0, f64::max);
        let most = if usual > 0.0 { EXPLODED * usual } else { f64::INFINITY };
        let bands = twins.iter().flat_map(|(_, inputs)| &inputs.points);
        let values = bands.flat_map(|band| [band.p15, band.p50, band.p85]);
        Scale::around(Kind::Linear, values.map(|value| value.clamp(-most, most)))
    };
    html! {
        @for twin in twins {
            @let (arm, inputs) = twin;
            @let scale = if apart { around(&[*twin]) } else { around(twins) };
            @let title = caption(*arm, inputs, size);
            (Ribbon {
                title: &title,
                frame: Frame { size, x, y: Axis { label: "input", scale } },
                class: class(*arm),
                names: &["15th", "median", "85th"],
                rows: inputs.points.iter().map(row).collect(),
                legend: (size == Size::Large).then(|| {
                    ribbon_legend(class(*arm), &["15th to 85th percentile"], "median")
                }),
            }
            .draw())
        }
    }
}

fn caption(arm: Arm, inputs: &Inputs, size: Size) -> String {
    let Inputs { layer, units, typical_unit, .. } = inputs;
    match (size, arm) {
        (Size::Large, _) => format!("{}: {layer}, unit {typical_unit} of {units}", title(arm)),
        (Size::Small, Arm::Plain) => format!("{layer}, without"),
        (Size::Small, Arm::BatchNorm) => format!("{layer}, with"),
    }
}

fn row(band: &Band) -> (f64, Vec<f64>) {
    (band.step as f64, vec![band.p15, band.p50, band.p85])
}

fn far_apart(twins: &[(Arm, &Inputs)]) -> bool {
    let sizes = twins.iter().filter_map(|(_, inputs)| usual(inputs)).filter(|size| *size > 0.0);
    let (low, high) = sizes.fold((f64::INFINITY, 0.0_f64), |(low, high), size| (low.min(size), high.max(size)));
    high > FAR_APART * low
}

/// The size of the larger inputs of a layer, most of the time.
fn usual(inputs: &Inputs) -> Option<f64> {
    let size = |band: &Band| band.p15.abs().max(band.p85.abs());
    let mut sizes: Vec<f64> = inputs.points.iter().map(size).filter(|size| size.is_finite()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    sizes.get(sizes.len() * 3 / 4).copied()
}
