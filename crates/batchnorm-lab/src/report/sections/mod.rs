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

use crate::draw::{Axis, Kind, Scale};
use crate::train::Metrics;

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
