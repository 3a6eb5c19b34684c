//! After VGG (Simonyan and Zisserman 2014, arXiv 1409.1556), for small images: convolutions of 3x3 in pairs.

use batchnorm_burn::{BatchNorm, Error};
use batchnorm_model::onnx::Value;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::blocks::{Builder, ConvBlock, LinearBlock};
use super::pool::{Kind, Pool};
use super::weights::Convolution;
use super::{Architecture, Classifier, Export, NormLayer, Watch};

/// A small VGG of width w:
///
/// ```text
/// conv 3x3, w maps     conv 3x3, w maps     max pool 2x2
/// conv 3x3, 2w maps    conv 3x3, 2w maps    max pool 2x2
/// linear 8w    linear to the classes
/// ```
///
/// Convolutions keep height and width. An image too small to be halved is not.
#[derive(Module, Debug)]
pub struct Vgg {
    features: Vec<ConvBlock>,
    hidden: LinearBlock,
    output: Linear,
}

impl Vgg {
    /// The values behind the second pool.
    pub(super) fn flat(architecture: &Architecture) -> [usize; 3] {
        let [_, mut height, mut width] = architecture.dims;
        for _ in 0..2 {
            if can_be_halved(height, width) {
                (height, width) = (height / 2, width / 2);
            }
        }
        [2 * architecture.width, height, width]
    }

    /// The units of the hidden linear layer.
    pub(super) fn hidden(architecture: &Architecture) -> usize {
        8 * architecture.width
    }

    pub(super) fn norm_layers(architecture: &Architecture) -> Vec<NormLayer> {
        let [_, height, width] = architecture.dims;
        let first = architecture.width;
        let halved = if can_be_halved(height, width) { [height / 2, width / 2] } else { [height, width] };
        let maps = [(first, [height, width]), (2 * first, halved)];
        let features = maps.into_iter().flat_map(|maps| [maps; 2]).enumerate();
        features
            .map(|(index, (maps, size))| NormLayer::new(format!("features.{index}.bn"), maps, size))
            .chain([NormLayer::new("hidden.bn".to_owned(), Self::hidden(architecture), [1, 1])])
            .collect()
    }

    pub(super) fn build(architecture: &Architecture, builder: &mut Builder<'_>) -> Self {
        let [channels, mut height, mut width] = architecture.dims;
        let first = architecture.width;
        let second = 2 * first;
        let mut features = Vec::new();
        for (inputs, outputs) in [(channels, first), (first, second)] {
            let mut conv = |channels| {
                let name = format!("features.{}", features.len());
                features.push(builder.conv_block(&name, Convolution::new(channels, 3)));
            };
            conv([inputs, outputs]);
            conv([outputs, outputs]);
            if can_be_halved(height, width) {
                (height, width) = (height / 2, width / 2);
                let last = features.pop().expect("two were pushed");
                features.push(last.with_pool(Some(Pool::halving(Kind::Max))));
            }
        }
        let units = Self::hidden(architecture);
        let hidden = builder.linear_block("hidden", [second * height * width, units]);
        Self { features, hidden, output: builder.output([units, architecture.classes]) }
    }
}

fn can_be_halved(height: usize, width: usize) -> bool {
    height.min(width) >= 2
}

impl Classifier for Vgg {
    fn norms(&self) -> Vec<(String, &BatchNorm)> {
        self.features.iter().filter_map(ConvBlock::norm).chain(self.hidden.norm()).collect()
    }

    fn norms_mut(&mut self) -> Vec<&mut BatchNorm> {
        let features = self.features.iter_mut().filter_map(ConvBlock::norm_mut);
        features.chain(self.hidden.norm_mut()).collect()
    }

    fn output(&self) -> &Linear {
        &self.output
    }

    fn forward(&self, images: Tensor<4>, watch: &mut Watch) -> Result<Tensor<2>, Error> {
        let mut x = images;
        for layer in &self.features {
            x = layer.forward(x, watch)?;
        }
        let x = self.hidden.forward(x.flatten(1, 3), watch)?;
        Ok(self.output.forward(x))
    }

    fn export(&self, export: &mut Export, images: Value) -> Value {
        let maps = self.features.iter().fold(images, |x, layer| layer.export(export, &x));
        let flat = export.graph().flatten("flatten", &maps);
        let x = self.hidden.export(export, &flat);
        export.linear("output", &x)
    }
}
