//! A network of any kind.

use batchnorm_burn::{BatchNorm, Error};
use batchnorm_model::onnx::Value;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::{Classifier, Export, Inception, Lenet, Mlp, Resnet20, Vgg, Watch};

/// A network of any kind; [`Architecture::build`](super::Architecture::build) makes it.
// A program holds a handful of models; their size on the stack does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Model {
    /// Fully connected.
    Mlp(Mlp),
    /// After LeNet-5.
    Lenet(Lenet),
    /// After VGG.
    Vgg(Vgg),
    /// The ResNet for small images.
    Resnet20(Resnet20),
    /// After the paper's Inception.
    Inception(Inception),
}

/// Evaluates `$body` with the network of any kind bound to `$network`.
macro_rules! any {
    ($model:expr, $network:ident => $body:expr) => {
        match $model {
            Model::Mlp($network) => $body,
            Model::Lenet($network) => $body,
            Model::Vgg($network) => $body,
            Model::Resnet20($network) => $body,
            Model::Inception($network) => $body,
        }
    };
}

impl Classifier for Model {
    fn norms(&self) -> Vec<(String, &BatchNorm)> {
        any!(self, network => network.norms())
    }

    fn norms_mut(&mut self) -> Vec<&mut BatchNorm> {
        any!(self, network => network.norms_mut())
    }

    fn output(&self) -> &Linear {
        any!(self, network => network.output())
    }

    fn forward(&self, images: Tensor<4>, watch: &mut Watch) -> Result<Tensor<2>, Error> {
        any!(self, network => network.forward(images, watch))
    }

    fn export(&self, export: &mut Export, images: Value) -> Value {
        any!(self, network => network.export(export, images))
    }
}
