//! The gradient of every layer over the steps of training.

use maud::{Markup, html};

use super::by_depth::{self, Layer};
use crate::draw::{Axis, Kind, Scale};
use crate::report::naming::Naming;
use crate::train::{Arm, Gradient, Metrics};

pub(in super::super) fn gradients(metrics: &Metrics, x: Axis<'_>) -> Markup {
    let layer = |gradient: &Gradient| -> Layer {
        let points = gradient.points.iter().map(|point| (point.step as f64, point.norm)).collect();
        (gradient.parameter.clone(), points)
    };
    let arms: Vec<(Arm, Vec<Layer>)> =
        metrics.runs.trained().map(|(arm, run)| (arm, run.gradients.iter().map(layer).collect())).collect();
    let values: Vec<f64> = arms
        .iter()
        .flat_map(|(_, layers)| layers)
        .flat_map(|(_, points)| points)
        .filter_map(|point| point.1)
        .collect();
    if values.is_empty() {
        return html! {};
    }
    let y = Axis { label: "gradient norm (logarithmic)", scale: Scale::around(Kind::Log, values.into_iter()) };
    html! {
        h2 { "Gradients" }
        p {
            "The Euclidean norm of the gradient of every weight matrix or kernel, at the batch of the step. Lines that \
             stay together are layers that learn at one pace; a fan is a gradient that vanishes or explodes on its way \
             back. A gradient of 0 has no place here."
        }
        (by_depth::arms(x, y, "", &Naming::of(metrics), arms))
    }
}
