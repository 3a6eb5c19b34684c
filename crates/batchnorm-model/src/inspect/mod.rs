//! Inspection: every batch-norm layer of a trained model, and what is wrong with it.
//!
//! Batch normalization is where deployed networks go wrong quietly. An [`Inspection`] looks at all of it that a file holds:
//! what a layer stands between, its mode, eps and numbers; and tells what is remarkable by codes that stay the same from
//! version to version.
//!
//! | code | severity | what was found |
//! |---|---|---|
//! | `non-finite-statistics`, `non-finite-parameters` | error | NaN or infinity among the numbers |
//! | `negative-variance` | error | a running variance below 0 |
//! | `missing-parameters`, `parameter-shapes` | error | parameters that are not there, or not one number a channel |
//! | `zero-variance` | warning; with eps 0 an error | a running variance of 0 |
//! | `subnormal-variance` | warning | a running variance below the normal numbers of its type |
//! | `variance-near-eps` | warning | a running variance below ten times eps |
//! | `dead-channels` | warning | gamma is 0, or as good as |
//! | `large-mean` | warning | a mean of thousands of standard deviations |
//! | `never-trained` | warning | the statistics are the initial ones |
//! | `training-mode` | warning | the layer takes the statistics of the batch |
//! | `suspicious-eps` | warning; below 0 an error | eps is 0, or far from what libraries have |
//! | `not-spatial` | warning | statistics for each position, or MXNet's way of writing |
//! | `fp16-overflow` | warning | folded weights or biases beyond half precision |
//! | `not-read` | warning | more numbers than are looked at |
//! | `suspicious-momentum` | note; in training a warning | ONNX's momentum in PyTorch's meaning, 0, 1 or no weight at all |
//! | `redundant-bias` | note | a bias before the layer, which its mean takes out |
//! | `shared-parameters` | note | one stored tensor for several layers |
//! | `overridable-parameters` | note | a caller may give other parameters |
//! | `runtime-parameters` | note | parameters that are computed |
//! | `wide-scales`, `fp16-underflow` | note | folded weights that differ much among channels: a risk for int8 and f16 |
//! | `no-counter` | note | a checkpoint that does not count batches |
//!
//! ```
//! use batchnorm::Momentum;
//! use batchnorm_model::inspect::Inspection;
//! use batchnorm_model::onnx::{Dim, Graph, Normalization, document::Document};
//!
//! let mut graph = Graph::new("net");
//! let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(2)]);
//! let [gamma, beta] = ["gamma", "beta"].map(|name| graph.tensor(name, &[2], &[1.0, 0.5]));
//! let mean = graph.tensor("mean", &[2], &[0.1, -3.0]);
//! let variance = graph.tensor("variance", &[2], &[1.0, -1.0]);
//! let layer = Normalization {
//!     gamma: &gamma,
//!     beta: &beta,
//!     mean: &mean,
//!     variance: &variance,
//!     eps: 1e-5,
//!     momentum: Momentum::of_old(0.9),
//! };
//! let y = graph.batch_normalization("bn", &x, &layer);
//! graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(2)]);
//!
//! let inspection = Inspection::of(&Document::from_bytes(graph.to_bytes()?)?)?;
//! let finding = &inspection.layers[0].findings[0];
//! assert_eq!((finding.code, &finding.channels[..]), ("negative-variance", &[1][..]));
//! assert!(inspection.is_wrong());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading order: [`Inspection`], [`Layer`], [`Finding`], [`Verdict`].

mod absence;
mod checkpoint;
mod filter;
mod finding;
mod graph;
mod group;
mod json;
mod layer;
mod map;
mod numbers;
mod open;
mod summary;
mod verdict;

pub use absence::Absence;
pub use finding::{Finding, Severity, Verdict};
pub use group::Group;
pub use layer::{Layer, Neighbour, Values};
pub use open::InspectError;
pub use summary::Summary;

use crate::onnx::document::{Document, DocumentError};

/// The kind of file that a model is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelFormat {
    /// An ONNX model.
    Onnx,
    /// A safetensors file.
    Safetensors,
    /// Several safetensors files with an index.
    Sharded,
    /// A file by `torch.save`.
    PyTorch,
}

impl ModelFormat {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Safetensors => "safetensors",
            Self::Sharded => "safetensors-sharded",
            Self::PyTorch => "pytorch",
        }
    }
}

/// The batch-norm layers of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The kind of file.
    pub format: ModelFormat,
    /// The version of ONNX's operators.
    pub opset: Option<i64>,
    /// The version of ONNX's format.
    pub ir_version: Option<i64>,
    /// The layers, in the order of the file.
    pub layers: Vec<Layer>,
    /// Why there are none, where there are none.
    pub absence: Option<Absence>,
}

impl Inspection {
    /// Looks at all batch-norm layers of an ONNX model, those in branches, bodies and functions too; in the order of
    /// [`layers::find`](crate::onnx::layers::find).
    ///
    /// Parameters are read, and the weights of the convolutions and products right before them.
    ///
    /// # Errors
    ///
    /// If a stored tensor is damaged, or must not be read.
    pub fn of(document: &Document) -> Result<Self, DocumentError> {
        let layers = graph::layers(document)?;
        Ok(Self {
            format: ModelFormat::Onnx,
            opset: Some(document.opset()),
            ir_version: Some(document.ir_version()),
            absence: layers.is_empty().then(|| Absence::of(document)),
            layers,
        })
    }

    /// With what folding says of each layer of the model that was inspected. Nothing of it is changed.
    ///
    /// # Errors
    ///
    /// If a stored tensor is damaged, or must not be read.
    pub fn judged(self, document: &Document) -> Result<Self, DocumentError> {
        Ok(self.with_verdicts(verdict::of(document)?))
    }

    /// With these verdicts, in the order of the layers.
    #[must_use]
    pub fn with_verdicts(mut self, verdicts: Vec<Verdict>) -> Self {
        for (layer, verdict) in self.layers.iter_mut().zip(verdicts) {
            layer.fold = Some(verdict);
        }
        self
    }

    /// Whether there is an error or a warning.
    pub fn is_wrong(&self) -> bool {
        self.layers.iter().any(|layer| layer.severity() >= Some(Severity::Warning))
    }

    /// How many there are of everything.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.layers)
    }

    /// The inspection as a JSON document, in one line: `{"schema":1,"layers":[...],"summary":{...}}`. Numbers that are NaN or
    /// infinite are null.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&json::Document::of(self)).expect("numbers, texts and lists have a JSON form")
    }
}

/// A number as the report has it: three digits that say something.
pub fn short(value: f64) -> String {
    numbers::short(value)
}

/// The name of a mode.
pub fn mode_name(mode: crate::onnx::layers::Mode) -> &'static str {
    json::mode(mode)
}
