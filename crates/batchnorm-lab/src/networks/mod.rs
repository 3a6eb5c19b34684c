//! Networks, written as a user of Burn and [`batchnorm_burn`] would write them.
//!
//! The plain twin is the same network without its norm layers. To add one: a file in this folder with a
//! [`Classifier`], and a variant of [`Network`] that builds it.

mod mlp;

pub use mlp::{Mlp, MlpConfig};

use batchnorm_burn::{BatchNorm, Error};
use burn::module::Module;
use burn::tensor::Tensor;

use crate::names::named;

named! {
    /// The networks there are.
    pub enum Network, "network" {
        /// Fully connected, the network of the paper's Figure 1.
        Mlp = "mlp",
    }
}

named! {
    /// What follows each hidden layer.
    pub enum Activation, "activation" {
        /// 1 / (1 + exp(-z)), the paper's.
        Sigmoid = "sigmoid",
        /// max(0, z).
        Relu = "relu",
        /// The hyperbolic tangent.
        Tanh = "tanh",
    }
}

impl Activation {
    /// Applies it to every element.
    pub fn forward<const D: usize>(self, z: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Sigmoid => burn::tensor::activation::sigmoid(z),
            Self::Relu => burn::tensor::activation::relu(z),
            Self::Tanh => burn::tensor::activation::tanh(z),
        }
    }
}

named! {
    /// Where batch normalization stands.
    pub enum Placement, "placement" {
        /// Between the linear map and the activation, as in the paper.
        BeforeActivation = "before-activation",
        /// After the activation.
        AfterActivation = "after-activation",
    }
}

/// What a network says of a batch of images.
#[derive(Clone, Debug)]
pub struct Observed {
    /// `[batch, classes]`, before the softmax.
    pub logits: Tensor<2>,
    /// `[batch, units]`: the input of the activation in the last hidden layer.
    pub last_inputs: Tensor<2>,
}

/// A network that puts images into classes.
pub trait Classifier: Module {
    /// Its batch-norm layers, from the input on.
    fn norms(&self) -> Vec<&BatchNorm>;

    /// `[batch, pixels]` to what the lab wants to see of it.
    ///
    /// # Errors
    ///
    /// If a batch-norm layer refuses its input: a constant channel with eps 0, say.
    fn observe(&self, images: Tensor<2>) -> Result<Observed, Error>;

    /// `[batch, pixels]` to logits `[batch, classes]`.
    ///
    /// # Errors
    ///
    /// As [`observe`](Self::observe).
    fn forward(&self, images: Tensor<2>) -> Result<Tensor<2>, Error> {
        Ok(self.observe(images)?.logits)
    }
}
