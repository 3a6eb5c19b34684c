//! Networks, written as a user of Burn and [`batchnorm_burn`] would write them.
//!
//! An [`Architecture`] says everything about a network but its weights, and builds a [`Model`]. The plain twin is the
//! same network without its norm layers, from the same weights. Reading order:
//!
//! 1. [`Architecture`] and [`Model`];
//! 2. `blocks`: what all networks are made of, and `pool`;
//! 3. the networks: [`Mlp`], [`Lenet`], [`Vgg`], [`Resnet20`], [`Inception`];
//! 4. [`Norm`]: how they are normalized;
//! 5. [`Watch`]: what goes along with a forward pass, to look at activations or for [`Dropout`];
//! 6. [`Init`]: initial weights;
//! 7. [`state`] and [`load_state`]: its tensors under PyTorch's names; [`to_onnx`]: all of it for other programs.
//!
//! To add a network: a file in this folder with a [`Classifier`], a variant of [`Network`] and of [`Model`], and its
//! arms in [`Architecture::build`].

mod architecture;
mod blocks;
mod dropout;
mod inception;
mod lenet;
mod mlp;
mod model;
mod norm;
mod onnx;
mod pool;
mod resnet20;
mod state;
mod vgg;
mod watch;
mod weights;

pub use architecture::{Architecture, ArchitectureError};
pub use dropout::Dropout;
pub use inception::Inception;
pub use lenet::Lenet;
pub use mlp::Mlp;
pub use model::Model;
pub use norm::{Norm, NormLayer};
pub use onnx::{Export, to_onnx};
pub use resnet20::Resnet20;
pub use state::{StateError, load_state, state};
pub use vgg::Vgg;
pub use watch::{Seen, Watch};
pub use weights::Init;

use batchnorm_burn::{BatchNorm, Error};
use batchnorm_model::onnx::Value;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::names::named;

named! {
    /// The networks there are.
    pub enum Network, "network" {
        /// Fully connected, the network of the paper's Figure 1.
        Mlp = "mlp",
        /// Two convolutions of 5x5 and three linear maps, after LeNet-5.
        Lenet = "lenet",
        /// Four convolutions of 3x3 and two linear maps, after VGG.
        Vgg = "vgg",
        /// Nine residual blocks of two convolutions, the ResNet for small images.
        Resnet20 = "resnet20",
        /// Three Inception modules, after the paper's variant with batch normalization.
        Inception = "inception",
    }
}

impl Network {
    /// The channels of the first stage with which a laptop trains the network on small images in minutes; 0 for
    /// [`Network::Mlp`], which has units by layer instead.
    pub const fn default_width(self) -> usize {
        match self {
            Self::Mlp => 0,
            Self::Lenet => 6,
            Self::Vgg => 8,
            Self::Resnet20 => 4,
            Self::Inception => 8,
        }
    }

    /// Whether it has linear maps but for the last.
    pub const fn has_hidden_linear_layers(self) -> bool {
        match self {
            Self::Mlp | Self::Lenet | Self::Vgg => true,
            Self::Resnet20 | Self::Inception => false,
        }
    }

    /// What follows each hidden layer unless another is asked for: the paper's sigmoid, or ReLU after convolutions.
    pub const fn default_activation(self) -> Activation {
        match self {
            Self::Mlp => Activation::Sigmoid,
            Self::Lenet | Self::Vgg | Self::Resnet20 | Self::Inception => Activation::Relu,
        }
    }

    /// How initial weights are drawn unless another way is asked for: the paper's small random numbers, or He's after
    /// convolutions.
    pub const fn default_init(self) -> Init {
        match self {
            Self::Mlp => Init::Normal,
            Self::Lenet | Self::Vgg | Self::Resnet20 | Self::Inception => Init::He,
        }
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
    /// Where the norm layers stand.
    pub enum Placement, "placement" {
        /// Between the linear map and the activation, as in the paper.
        BeforeActivation = "before-activation",
        /// After the activation.
        AfterActivation = "after-activation",
    }
}

/// A network that puts images into classes.
pub trait Classifier: Module {
    /// Its norm layers in the order of a forward pass, each by its name in the state: `layer1.0.bn1`.
    fn norms(&self) -> Vec<(String, &BatchNorm)>;

    /// The same layers, to be changed, in no particular order.
    fn norms_mut(&mut self) -> Vec<&mut BatchNorm>;

    /// Its last linear map, to the classes.
    fn output(&self) -> &Linear;

    /// Images `[batch, channels, height, width]` to logits `[batch, classes]`, before the softmax.
    ///
    /// # Errors
    ///
    /// If a norm layer refuses its input: a constant channel with eps 0, say.
    fn forward(&self, images: Tensor<4>, watch: &mut Watch) -> Result<Tensor<2>, Error>;

    /// Adds the nodes from images to logits to a graph; see [`to_onnx`].
    fn export(&self, export: &mut Export, images: Value) -> Value;
}
