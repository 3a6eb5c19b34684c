//! A fully connected network, with batch normalization or without.

use batchnorm_burn::{BatchNorm, BatchNormConfig, Error};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use super::{Activation, Classifier, Observed, Placement};
use crate::streams::{Purpose, Stream};

/// How to build an [`Mlp`].
#[derive(Clone, Debug, PartialEq)]
pub struct MlpConfig {
    /// Values per image.
    pub inputs: usize,
    /// Units of each hidden layer.
    pub layers: Vec<usize>,
    /// The number of classes.
    pub classes: usize,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// The standard deviation of the normally distributed initial weights; biases begin at 0.
    pub init_std: f64,
    /// The seed of the initial weights.
    pub seed: u64,
    /// Batch normalization and where it stands; the plain twin has none.
    pub norm: Option<(Placement, batchnorm::BatchNormConfig)>,
}

/// A fully connected network: hidden layers, each linear map, activation and perhaps batch normalization, then a
/// linear map to the classes.
#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Vec<Hidden>,
    output: Linear,
}

/// One hidden layer.
#[derive(Module, Debug)]
struct Hidden {
    linear: Linear,
    norm: Option<BatchNorm>,
    #[module(skip)]
    placement: Placement,
    #[module(skip)]
    activation: Activation,
}

impl MlpConfig {
    /// Builds the network. Twins that differ in `norm` alone begin with the same weights.
    pub fn init(&self, device: &Device) -> Mlp {
        let mut weights = Stream::new(self.seed, Purpose::Weights);
        let mut inputs = self.inputs;
        let hidden = self
            .layers
            .iter()
            .map(|&units| {
                // A bias before batch normalization would be subtracted again: beta takes its place.
                let bias = !matches!(self.norm, Some((Placement::BeforeActivation, _)));
                let linear = self.linear(&mut weights, [inputs, units], bias, device);
                inputs = units;
                Hidden {
                    linear,
                    norm: self
                        .norm
                        .map(|(_, config)| BatchNormConfig::new(units).with_settings(config).init(device)),
                    placement: self.norm.map_or(Placement::BeforeActivation, |(placement, _)| placement),
                    activation: self.activation,
                }
            })
            .collect();
        let output = self.linear(&mut weights, [inputs, self.classes], true, device);
        Mlp { hidden, output }
    }

    fn linear(&self, stream: &mut Stream, shape: [usize; 2], bias: bool, device: &Device) -> Linear {
        let weight: Vec<f32> =
            (0..shape[0] * shape[1]).map(|_| (self.init_std * stream.normal()) as f32).collect();
        Linear {
            weight: Param::from_tensor(Tensor::from_data(TensorData::new(weight, shape), device)),
            bias: bias.then(|| Param::from_tensor(Tensor::zeros([shape[1]], device))),
        }
    }
}

impl Hidden {
    /// The input of the activation, and the layer's output.
    fn forward(&self, x: Tensor<2>) -> Result<(Tensor<2>, Tensor<2>), Error> {
        let z = self.linear.forward(x);
        Ok(match (&self.norm, self.placement) {
            (None, _) => (z.clone(), self.activation.forward(z)),
            (Some(norm), Placement::BeforeActivation) => {
                let z = norm.try_forward(z)?;
                (z.clone(), self.activation.forward(z))
            }
            (Some(norm), Placement::AfterActivation) => {
                (z.clone(), norm.try_forward(self.activation.forward(z))?)
            }
        })
    }
}

impl Classifier for Mlp {
    fn norms(&self) -> Vec<&BatchNorm> {
        self.hidden.iter().filter_map(|layer| layer.norm.as_ref()).collect()
    }

    fn observe(&self, images: Tensor<2>) -> Result<Observed, Error> {
        let mut x = images;
        let mut last_inputs = x.clone();
        for layer in &self.hidden {
            (last_inputs, x) = layer.forward(x)?;
        }
        Ok(Observed { logits: self.output.forward(x), last_inputs })
    }
}
