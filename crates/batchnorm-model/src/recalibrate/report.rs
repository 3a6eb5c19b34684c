//! What a recalibration says about itself.

use serde::Serialize;

use super::{Accuracy, Method, Shift};

/// Something noticed about a layer or about the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A name that stays the same from version to version, for programs.
    pub code: &'static str,
    /// The layer; empty where it is about the run.
    pub layer: String,
    /// What was noticed, as the end of a sentence that the layer begins.
    pub message: String,
}

/// What became of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerReport {
    /// Its name.
    pub name: String,
    /// Its channels.
    pub channels: usize,
    /// The pass that measured it, from 1 on.
    pub pass: usize,
    /// The values per channel that the statistics are of.
    pub values: u64,
    /// How far the statistics that it now keeps are from those it had.
    pub shift: Shift,
}

/// What became of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How the statistics were estimated.
    pub method: Method,
    /// The samples that the old statistics stand for, where they were blended in.
    pub blend: Option<f64>,
    /// The samples that the statistics are of.
    pub samples: u64,
    /// Samples in a batch.
    pub batch_size: usize,
    /// The layers, in the model's order.
    pub layers: Vec<LayerReport>,
    /// What was noticed.
    pub findings: Vec<Finding>,
    /// The output that the accuracy is of.
    pub logits: Option<String>,
    /// The accuracy with the old statistics.
    pub before: Option<Accuracy>,
    /// The accuracy with the new ones.
    pub after: Option<Accuracy>,
}

/// What a recalibration will take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The layers to be recalibrated.
    pub layers: usize,
    /// Passes over the data, most of them through a part of the model.
    pub passes: usize,
    /// Samples in each.
    pub samples: u64,
    /// Samples in a batch.
    pub batch_size: usize,
    /// About as many whole passes would take as long.
    pub whole_passes: f64,
}

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The accuracy with the old statistics.
    Before,
    /// Statistics of so many layers.
    Layers(usize),
    /// The accuracy with the new statistics.
    After,
}

/// How far a recalibration is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The pass under way, from 1 on.
    pub pass: usize,
    /// All passes.
    pub passes: usize,
    /// What the pass is for.
    pub purpose: Purpose,
    /// The samples it has seen.
    pub seen: u64,
    /// The samples it will see.
    pub samples: u64,
    /// The share of all work that is done, from 0 to 1.
    pub share: f64,
}
