//! The fully connected network.

use batchnorm_burn::{BatchNorm, Error};
use batchnorm_model::onnx::Value;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::blocks::{Builder, LinearBlock};
use super::{Architecture, Classifier, Export, NormLayer, Watch};

/// A fully connected network: hidden layers, then a linear map to the classes. With three layers of 100 sigmoids it is
/// that of the paper's Figure 1.
///
/// With skips, a hidden layer that is as wide as its input is added to it: `y = x + activation(norm(linear(x)))`.
#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Vec<LinearBlock>,
    output: Linear,
}

impl Mlp {
    pub(super) fn norm_layers(architecture: &Architecture) -> Vec<NormLayer> {
        let layer = |(index, &units)| NormLayer::new(format!("hidden.{index}.bn"), units, [1, 1]);
        architecture.layers.iter().enumerate().map(layer).collect()
    }

    /// Whether a hidden layer is as wide as its input.
    pub(super) fn has_skips(architecture: &Architecture) -> bool {
        let inputs =
            std::iter::once(architecture.dims.iter().product()).chain(architecture.layers.iter().copied());
        inputs.zip(&architecture.layers).any(|(inputs, &units)| inputs == units)
    }

    pub(super) fn build(architecture: &Architecture, builder: &mut Builder<'_>) -> Self {
        let mut units = architecture.dims.iter().product();
        let mut hidden = Vec::new();
        for (index, &next) in architecture.layers.iter().enumerate() {
            let layer = builder.linear_block(&format!("hidden.{index}"), [units, next]);
            hidden.push(layer.with_skip(architecture.skips && units == next));
            units = next;
        }
        Self { hidden, output: builder.output([units, architecture.classes]) }
    }
}

impl Classifier for Mlp {
    fn norms(&self) -> Vec<(String, &BatchNorm)> {
        self.hidden.iter().filter_map(LinearBlock::norm).collect()
    }

    fn norms_mut(&mut self) -> Vec<&mut BatchNorm> {
        self.hidden.iter_mut().filter_map(LinearBlock::norm_mut).collect()
    }

    fn output(&self) -> &Linear {
        &self.output
    }

    fn forward(&self, images: Tensor<4>, watch: &mut Watch) -> Result<Tensor<2>, Error> {
        let mut x = images.flatten(1, 3);
        for layer in &self.hidden {
            x = layer.forward(x, watch)?;
        }
        Ok(self.output.forward(x))
    }

    fn export(&self, export: &mut Export, images: Value) -> Value {
        let flat = export.graph().flatten("flatten", &images);
        let x = self.hidden.iter().fold(flat, |x, layer| layer.export(export, &x));
        export.linear("output", &x)
    }
}
