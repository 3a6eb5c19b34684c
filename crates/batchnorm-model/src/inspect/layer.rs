//! What is known of one layer.

use std::fmt;

use batchnorm::Coefficients;
use batchnorm::health::range;

use super::finding::{Finding, Severity, Verdict};
use crate::onnx::layers::Mode;

/// What a value comes from or goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// A node.
    Node {
        /// Its operator.
        op: String,
        /// Its name, or that of its first output where it has none.
        name: String,
    },
    /// An input of the graph, of this name.
    Input(String),
    /// An output of the graph, of this name.
    Output(String),
    /// A stored tensor, of this name.
    Tensor(String),
    /// The map of a checkpoint that comes before it, by the names: nobody knows.
    Guess(String),
}

impl Neighbour {
    /// The operator, or what it is instead of a node.
    pub fn kind(&self) -> &str {
        match self {
            Self::Node { op, .. } => op,
            Self::Input(_) => "input",
            Self::Output(_) => "output",
            Self::Tensor(_) => "tensor",
            Self::Guess(_) => "guess",
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Node { name, .. }
            | Self::Input(name)
            | Self::Output(name)
            | Self::Tensor(name)
            | Self::Guess(name) => name,
        }
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guess(name) => write!(f, "{name}?"),
            _ => write!(f, "{} {}", self.kind(), self.name()),
        }
    }
}

/// The numbers of a layer, one for each channel; `None` where they are left out or not known before the model runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    /// The learned scale.
    pub gamma: Option<Vec<f64>>,
    /// The learned shift.
    pub beta: Option<Vec<f64>>,
    /// The running mean.
    pub mean: Option<Vec<f64>>,
    /// The running variance.
    pub variance: Option<Vec<f64>>,
}

impl Values {
    /// What the layer multiplies by at inference and what it then adds,
    /// `s = gamma / sqrt(variance + eps)` and `t = beta - mean s`; `None` unless mean and variance are known, and gamma and
    /// beta have as many channels where they are there.
    pub fn affine(&self, eps: f64) -> Option<(Vec<f64>, Vec<f64>)> {
        let (mean, variance) = (self.mean.as_ref()?, self.variance.as_ref()?);
        let fits = |values: &Option<Vec<f64>>| values.as_ref().is_none_or(|values| values.len() == mean.len());
        if variance.len() != mean.len() || !fits(&self.gamma) || !fits(&self.beta) {
            return None;
        }
        let or = |values: &Option<Vec<f64>>, channel: usize, other| {
            values.as_ref().map_or(other, |values| values[channel])
        };
        let both = (0..mean.len()).map(|channel| {
            let parameters = (or(&self.gamma, channel, 1.0), or(&self.beta, channel, 0.0));
            let of = Coefficients::new(mean[channel], variance[channel], eps, parameters);
            (of.scale(), of.beta - of.mean * of.scale())
        });
        Some(both.unzip())
    }

    /// The largest `|mean| / sqrt(variance + eps)` of the channels in which that is a number.
    pub fn mean_in_sigmas(&self, eps: f64) -> Option<f64> {
        let (mean, variance) = (self.mean.as_ref()?, self.variance.as_ref()?);
        let of = |(mean, variance): (&f64, &f64)| mean.abs() / (variance + eps).sqrt();
        mean.iter().zip(variance).map(of).filter(|value| value.is_finite()).reduce(f64::max)
    }
}

/// A batch-norm layer of a model, and what is remarkable about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name, or that of its output.
    pub name: String,
    /// The graph it is in: `None` for the model's own, else the way to the branch, body or function.
    pub inside: Option<String>,
    /// The number of channels, where it is known.
    pub channels: Option<usize>,
    /// What makes the value that it normalizes.
    pub producer: Option<Neighbour>,
    /// What takes the value that it makes.
    pub consumers: Vec<Neighbour>,
    /// Whose statistics it takes; a checkpoint does not say.
    pub mode: Option<Mode>,
    /// What is added to the variance; a checkpoint rarely says it.
    pub eps: Option<f64>,
    /// Whether the file says eps: if not, the format's default holds.
    pub eps_given: bool,
    /// The weight of the old statistics in an update; a checkpoint does not say.
    pub momentum: Option<f64>,
    /// How many batches entered the statistics, where somebody counted.
    pub batches: Option<u64>,
    /// Its numbers.
    pub values: Values,
    /// What it multiplies by at inference: `gamma / sqrt(variance + eps)` of each channel.
    pub scale: Option<Vec<f64>>,
    /// The largest of the weights that belong to each channel, after folding: the convolution or product before it, times
    /// the scale.
    pub folded_weights: Option<Vec<f64>>,
    /// The largest `|mean| / sqrt(variance + eps)`.
    pub mean_in_sigmas: Option<f64>,
    /// What is remarkable, worst first.
    pub findings: Vec<Finding>,
    /// Whether it can be folded; `None` where nobody asked.
    pub fold: Option<Verdict>,
}

impl Layer {
    /// How bad the worst finding is.
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// The smallest and the largest number of a row of numbers, NaN aside.
    pub fn range(values: &Option<Vec<f64>>) -> Option<(f64, f64)> {
        range(values.as_ref()?)
    }

    /// Worst first; in the order in which they were found where they are as bad.
    pub(super) fn sort_findings(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    }
}
