//! The sections of the page, in files of their own; a section of which nothing was measured is left out.

mod by_depth;
mod gap;
mod gradients;
mod inputs;
mod method;
mod norms;
mod results;
mod saturation;
mod settings;
mod training;

pub(super) use gap::gap;
pub(super) use gradients::gradients;
pub(super) use inputs::inputs;
pub(super) use method::{data, method};
pub(super) use norms::norms;
pub(super) use results::{facts, headline_title, results};
pub(super) use saturation::saturation;
pub(super) use settings::settings;
pub(super) use training::training;

use super::draw::{Axis, Kind, Scale};
use crate::train::{Arm, Metrics};

/// The x axis of all that happens in training.
pub(super) fn steps(metrics: &Metrics) -> Axis<'static> {
    let evaluated = metrics.runs.trained().flat_map(|(_, run)| {
        let recorded = run.gradients.iter().flat_map(|gradient| gradient.points.iter().map(|point| point.step));
        run.curve.iter().map(|point| point.step).chain(recorded)
    });
    Axis {
        label: "training steps (logarithmic)",
        scale: Scale::around(Kind::Log, evaluated.map(|step| step as f64)),
    }
}

/// The classes of the style sheet that give a twin its colour.
fn class(arm: Arm) -> &'static str {
    match arm {
        Arm::Plain => "plain",
        Arm::BatchNorm => "batch-norm",
    }
}

/// What a drawing of one twin is called.
fn title(arm: Arm) -> &'static str {
    match arm {
        Arm::Plain => "Without batch normalization",
        Arm::BatchNorm => "With batch normalization",
    }
}
