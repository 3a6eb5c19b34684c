//! The share of saturated activations of every layer over the steps of training.

use maud::{Markup, html};

use super::by_depth::{self, Layer};
use crate::draw::{Axis, Kind, Scale};
use crate::networks::Activation;
use crate::report::naming::Naming;
use crate::train::{Arm, Inputs, Metrics};

pub(in super::super) fn saturation(metrics: &Metrics, x: Axis<'_>) -> Markup {
    let layer = |inputs: &Inputs| -> Layer {
        let points =
            inputs.points.iter().map(|band| (band.step as f64, Some(band.saturated * 100.0))).collect();
        (inputs.layer.clone(), points)
    };
    let arms: Vec<(Arm, Vec<Layer>)> =
        metrics.runs.trained().map(|(arm, run)| (arm, run.inputs.iter().map(layer).collect())).collect();
    if arms.iter().all(|(_, layers)| layers.iter().all(|(_, points)| points.is_empty())) {
        return html! {};
    }
    let values = arms.iter().flat_map(|(_, layers)| layers).flat_map(|(_, points)| points);
    let values = values.filter_map(|point| point.1).chain([0.0, 5.0]);
    let y = Axis { label: "saturated inputs (%)", scale: Scale::around(Kind::Linear, values) };
    html! {
        h2 { "Saturation" }
        p {
            "The share of inputs, over test images and units, at which "
            (match metrics.settings.activation {
                Activation::Sigmoid => "the sigmoid is above 0.95 or below 0.05 and hardly passes a gradient on.",
                Activation::Tanh => "the hyperbolic tangent is beyond 0.95 in size and hardly passes a gradient on.",
                Activation::Relu => "the ReLU is 0 and passes no gradient on.",
            })
        }
        (by_depth::arms(x, y, " %", &Naming::of(metrics), arms))
    }
}
