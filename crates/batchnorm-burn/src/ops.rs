//! The fused operation: one node of Burn's graph, whatever the backend.
//!
//! [`BatchNormOps`] is what Burn's dispatch calls, implemented for [`Flex`](burn::backend::Flex) by the engine and
//! for `Autodiff<B>` as one node with one differentiable output. What else the forward pass yields, the f64 batch
//! statistics or an error, comes back through the [`Outcome`] that the caller hands in.

use std::sync::{Arc, OnceLock};

use batchnorm::{Banks, BatchNormConfig, Blend, Exchange, Partition, RenormLimits, Saved, Shape};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, backend_extension};
use burn::tensor::DType;

use crate::running::Statistics;
use crate::{Activation, Error, Keep};

/// The learned parameters that a layer has; each of them is of shape \[channels\], or \[banks, channels\].
#[derive(ExtensionType)]
pub enum Affine<B: Backend> {
    /// gamma is 1 and beta is 0.
    Neither,
    /// gamma alone.
    Gamma(FloatTensor<B>),
    /// beta alone.
    Beta(FloatTensor<B>),
    /// gamma and beta.
    Both(FloatTensor<B>, FloatTensor<B>),
}

impl<B: Backend> Affine<B> {
    /// From the two options.
    pub fn new(gamma: Option<FloatTensor<B>>, beta: Option<FloatTensor<B>>) -> Self {
        match (gamma, beta) {
            (None, None) => Self::Neither,
            (Some(gamma), None) => Self::Gamma(gamma),
            (None, Some(beta)) => Self::Beta(beta),
            (Some(gamma), Some(beta)) => Self::Both(gamma, beta),
        }
    }

    /// The two options, borrowed: `(gamma, beta)`.
    pub fn parts(&self) -> (Option<&FloatTensor<B>>, Option<&FloatTensor<B>>) {
        match self {
            Self::Neither => (None, None),
            Self::Gamma(gamma) => (Some(gamma), None),
            Self::Beta(beta) => (None, Some(beta)),
            Self::Both(gamma, beta) => (Some(gamma), Some(beta)),
        }
    }
}

/// What a forward pass normalizes with.
#[derive(Clone, Debug)]
pub enum Source {
    /// The batch's own statistics.
    Batch,
    /// Given statistics: evaluation, frozen layers; one for all, or one for each statistics set.
    Fixed(Vec<Arc<Statistics>>),
    /// The batch's own, corrected towards given ones: batch renormalization.
    Renormalized(RenormLimits, Vec<Arc<Statistics>>),
    /// Given ones blended with the batch's own, at inference.
    Blended(Blend, Vec<Arc<Statistics>>),
}

/// What a forward pass normalizes together; the examples lie along the first axis.
#[derive(Clone, Debug)]
pub enum Cut {
    /// The whole batch.
    Whole,
    /// So many examples each.
    Ghosts(usize),
    /// The channels of each example, in so many groups.
    Groups(usize),
    /// Examples by banks of statistics and of parameters; `None` is one bank.
    Banks {
        /// The bank of statistics of each example.
        statistics: Option<Assigned>,
        /// The bank of parameters of each example.
        parameters: Option<Assigned>,
    },
}

/// The bank of each example, and how many banks there are.
pub type Assigned = (Arc<[usize]>, usize);

impl Cut {
    /// The engine's partition of tensors of `shape`, of so many examples.
    pub(crate) fn partition(&self, shape: Shape, examples: usize) -> Result<Partition, batchnorm::Error> {
        fn banks(assigned: &Option<Assigned>) -> Option<Banks<'_>> {
            assigned.as_ref().map(|(of, count)| Banks { of, count: *count })
        }
        match self {
            Self::Whole => Ok(Partition::whole(shape)),
            Self::Ghosts(size) => Partition::ghost(shape, examples, *size),
            Self::Groups(groups) => Partition::grouped(shape, examples, *groups),
            Self::Banks { statistics, parameters } => {
                Partition::banked(shape, banks(statistics), banks(parameters))
            }
        }
    }
}

/// Everything about a forward pass but its tensors.
#[derive(Clone, Debug)]
pub struct Pass {
    /// The engine's configuration.
    pub config: BatchNormConfig,
    /// The channel axis; a negative one counts from the end.
    pub axis: isize,
    /// What is normalized together.
    pub cut: Cut,
    /// What is normalized with.
    pub source: Source,
    /// Which positions count, in row-major order; `None` for all.
    pub mask: Option<Arc<[bool]>>,
    /// The ranks among which every batch is divided.
    pub exchange: Option<Arc<dyn Exchange>>,
    /// What is applied to the result.
    pub activation: Activation,
    /// What is kept for the backward pass.
    pub keep: Keep,
    /// Where the backend puts what it kept for the backward pass, or why it failed.
    pub outcome: Outcome,
}

/// The second result of a forward pass; set once, by the backend that computes.
#[derive(Clone, Debug, Default)]
pub struct Outcome(Arc<OnceLock<Result<Arc<Saved>, Error>>>);

impl Outcome {
    /// Puts the result there; a second call changes nothing.
    pub fn set(&self, result: Result<Saved, Error>) {
        let _ = self.0.set(result.map(Arc::new));
    }

    /// What the backend kept for the backward pass; `None` after an error.
    pub fn saved(&self) -> Option<&Arc<Saved>> {
        self.0.get()?.as_ref().ok()
    }

    /// What the backend kept for the backward pass.
    ///
    /// # Errors
    ///
    /// The backend's.
    ///
    /// # Panics
    ///
    /// If no backend has set it: that is a defect of the backend.
    pub fn get(&self) -> Result<Arc<Saved>, Error> {
        self.0.get().expect("the backend sets the outcome of every forward pass").clone()
    }
}

/// Batch normalization as Burn's dispatch sees it.
///
/// ```text
/// y = gamma (x - mean) / sqrt(variance + eps) + beta
/// ```
///
/// Source: Ioffe & Szegedy 2015, arXiv 1502.03167, Algorithm 1 (batch statistics) and equation 11 of Algorithm 2
/// (given ones).
#[backend_extension(Flex, Autodiff)]
pub trait BatchNormOps: Backend {
    /// y, of x's shape and type; on an error, which `pass.outcome` then holds, any tensor.
    fn normalize_batch(
        x: FloatTensor<Self>,
        #[extension_type] affine: Affine<Self>,
        pass: Pass,
    ) -> FloatTensor<Self>;

    /// `y = max(z + addend, 0)`, with z as [`normalize_batch`](Self::normalize_batch) has it before an activation;
    /// `pass.activation` is not applied. `addend` is of x's shape and type.
    fn normalize_add_relu(
        x: FloatTensor<Self>,
        addend: FloatTensor<Self>,
        #[extension_type] affine: Affine<Self>,
        pass: Pass,
    ) -> FloatTensor<Self>;
}

/// Which gradients a backward pass is asked for, and the types and shapes of the parameters'.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whether the gradient of x is asked for.
    pub x: bool,
    /// Whether the gradient of the addend is asked for.
    pub addend: bool,
    /// gamma's type and shape, if its gradient is asked for.
    pub gamma: Option<(DType, burn::tensor::Shape)>,
    /// beta's type and shape, if its gradient is asked for.
    pub beta: Option<(DType, burn::tensor::Shape)>,
}

/// The gradients asked for.
#[derive(Debug)]
pub struct Gradients<B: Backend> {
    /// dL/dx, of x's shape.
    pub x: Option<FloatTensor<B>>,
    /// The gradient of the addend, of x's shape.
    pub addend: Option<FloatTensor<B>>,
    /// dL/dgamma, of gamma's shape.
    pub gamma: Option<FloatTensor<B>>,
    /// dL/dbeta, of beta's shape.
    pub beta: Option<FloatTensor<B>>,
}

/// What a backward pass needs to know of its forward pass.
#[derive(Clone, Debug)]
pub struct Forward {
    /// The f64 statistics and coefficients of each channel.
    pub saved: Arc<Saved>,
    /// The channel axis.
    pub axis: isize,
    /// What was applied to the result.
    pub activation: Activation,
    /// Whether a tensor was added and a ReLU applied to the sum, in place of the activation.
    pub adds: bool,
    /// Whether y is kept in the place of x.
    pub keeps_output: bool,
    /// Which positions counted.
    pub mask: Option<Arc<[bool]>>,
    /// The ranks among which the batch was divided.
    pub exchange: Option<Arc<dyn Exchange>>,
}

impl Forward {
    /// Whether the backward pass reads x (or y in its place): for x's gradient only through the batch's statistics, for
    /// gamma's and through an activation always.
    pub fn needs_input(&self, x_is_tracked: bool, gamma_is_tracked: bool) -> bool {
        gamma_is_tracked
            || self.adds
            || self.activation != Activation::None
            || (x_is_tracked && self.saved.batch_moments().is_some())
            || self.saved.is_synchronized()
    }
}

/// The backward pass on a backend's own tensors; the autodiff node calls it.
pub trait BatchNormGradients: Backend {
    /// The gradients asked for, from the gradient of y; `x` is passed if [`Forward::needs_input`], and is y if
    /// [`Forward::keeps_output`]; `addend` if [`Forward::adds`].
    ///
    /// # Errors
    ///
    /// If the tensors do not have the shapes of the forward pass.
    fn batch_gradients(
        forward: &Forward,
        x: Option<FloatTensor<Self>>,
        addend: Option<FloatTensor<Self>>,
        dy: FloatTensor<Self>,
        asked: Asked,
    ) -> Result<Gradients<Self>, Error>;
}
