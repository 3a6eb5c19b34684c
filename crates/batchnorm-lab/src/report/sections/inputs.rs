//! Figure 1 (b, c) of the paper, for every layer: what reaches the activations.

use maud::{Markup, html};

use crate::draw::{Axis, Frame, Kind, Ribbon, Scale, Size, ribbon_legend};
use crate::networks::Activation;
use crate::report::naming::Naming;
use crate::train::{Arm, Band, Inputs, Metrics};

/// Layers that are shown without being asked for, beside the last.
const SHOWN: usize = 3;
/// Arms whose values are so many times further apart do not share an axis: the one would be a line at 0.
const FAR_APART: f64 = 50.0;
/// Inputs so many times larger than usual are beyond the axis.
const EXPLODED: f64 = 20.0;

pub(in super::super) fn inputs(metrics: &Metrics, x: Axis<'_>) -> Markup {
    let naming = Naming::of(metrics);
    let arms: Vec<(Arm, &[Inputs])> = metrics.runs.trained().map(|(arm, run)| (arm, &*run.inputs)).collect();
    let layers = arms.iter().map(|(_, inputs)| inputs.len()).max().unwrap_or(0);
    // The layers of which something was recorded, each with its arms.
    let recorded: Vec<Vec<(Arm, &Inputs)>> = (0..layers)
        .map(|index| arms.iter().filter_map(|&(arm, inputs)| Some((arm, inputs.get(index)?))).collect())
        .filter(|arms: &Vec<(Arm, &Inputs)>| arms.iter().any(|(_, inputs)| !inputs.points.is_empty()))
        .collect();
    let Some((last, others)) = recorded.split_last() else {
        return html! {};
    };
    let small = html! {
        @if naming.is_list() {
            @for layer in others { div.smalls { (drawings(layer, &naming, Size::Small, x)) } }
        } @else {
            div.smalls { @for layer in others { (drawings(layer, &naming, Size::Small, x)) } }
        }
    };
    html! {
        h2 { "What reaches the activations" }
        p {
            "The 15th, 50th and 85th percentile, over the test images, of the input of the "
            (activation(metrics.settings.activation)) " of one typical unit of a layer. First the last hidden layer, as in Figure 1 \
             of the paper. Where the ribbon stays in place, the layers above are fed the same distribution all along."
            @if last.len() > 1 {
                " The " (if last.len() == 2 { "two " } else { "" }) "drawings of a layer have the same axes"
                @if recorded.iter().any(|layer| far_apart(layer)) { ", unless the inputs are of very different size" }
                "."
            }
        }
        div.charts { (drawings(last, &naming, Size::Large, x)) }
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

/// A layer, a drawing for each arm.
fn drawings(arms: &[(Arm, &Inputs)], naming: &Naming, size: Size, x: Axis<'_>) -> Markup {
    let apart = far_apart(arms);
    let around = |arms: &[(Arm, &Inputs)]| {
        let usual = arms.iter().filter_map(|(_, inputs)| usual(inputs)).fold(0.0, f64::max);
        let most = if usual > 0.0 { EXPLODED * usual } else { f64::INFINITY };
        let bands = arms.iter().flat_map(|(_, inputs)| &inputs.points);
        let values = bands.flat_map(|band| [band.p15, band.p50, band.p85]);
        Scale::around(Kind::Linear, values.map(|value| value.clamp(-most, most)))
    };
    html! {
        @for each in arms {
            @let (arm, inputs) = each;
            @let class = naming.class(*arm);
            @let scale = if apart { around(&[*each]) } else { around(arms) };
            @let title = caption(naming, *arm, inputs, size);
            (Ribbon {
                title: &title,
                frame: Frame { size, x, y: Axis { label: "input", scale } },
                class,
                names: &["15th", "median", "85th"],
                rows: inputs.points.iter().map(row).collect(),
                legend: (size == Size::Large).then(|| ribbon_legend(class, &["15th to 85th percentile"], "median")),
            }
            .draw())
        }
    }
}

fn caption(naming: &Naming, arm: Arm, inputs: &Inputs, size: Size) -> String {
    let Inputs { layer, units, typical_unit, .. } = inputs;
    match size {
        Size::Large => format!("{}: {layer}, unit {typical_unit} of {units}", naming.title(arm)),
        Size::Small => format!("{layer}, {}", naming.short(arm)),
    }
}

fn row(band: &Band) -> (f64, Vec<f64>) {
    (band.step as f64, vec![band.p15, band.p50, band.p85])
}

fn far_apart(arms: &[(Arm, &Inputs)]) -> bool {
    let sizes = arms.iter().filter_map(|(_, inputs)| usual(inputs)).filter(|size| *size > 0.0);
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
