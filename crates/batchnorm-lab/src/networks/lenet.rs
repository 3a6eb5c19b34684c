//! After LeNet-5 (LeCun et al. 1998): two convolutions of 5x5 with average pools, three linear maps.

use batchnorm_burn::{BatchNorm, Error};
use batchnorm_model::onnx::Value;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::blocks::{Builder, ConvBlock, LinearBlock};
use super::pool::{Kind, Pool};
use super::weights::Convolution;
use super::{Architecture, Classifier, Export, NormLayer, Watch};

/// LeNet-5 with full connections between maps: of width 6, it has maps of 6 and 16, then 120 and 84 units.
///
/// ```text
/// conv 5x5 (padded by 2), w maps    average pool 2x2
/// conv 5x5, 8/3 w maps              average pool 2x2
/// linear 120    linear 84    linear to the classes
/// ```
#[derive(Module, Debug)]
pub struct Lenet {
    features: Vec<ConvBlock>,
    hidden: Vec<LinearBlock>,
    output: Linear,
}

impl Lenet {
    /// The smallest height and width that leave a pixel behind the second pool.
    pub(super) const SMALLEST: usize = 12;
    /// The units of the hidden linear layers.
    pub(super) const HIDDEN: [usize; 2] = [120, 84];

    /// The values behind the second pool.
    pub(super) fn flat(architecture: &Architecture) -> [usize; 3] {
        let [_, height, width] = architecture.dims;
        let side = |side: usize| (side / 2 - 4) / 2;
        [(architecture.width * 8).div_ceil(3), side(height), side(width)]
    }

    pub(super) fn norm_layers(architecture: &Architecture) -> Vec<NormLayer> {
        let [_, height, width] = architecture.dims;
        let [second, ..] = Self::flat(architecture);
        let [wide, narrow] = Self::HIDDEN;
        vec![
            NormLayer::new("features.0.bn".to_owned(), architecture.width, [height, width]),
            NormLayer::new("features.1.bn".to_owned(), second, [height / 2 - 4, width / 2 - 4]),
            NormLayer::new("hidden.0.bn".to_owned(), wide, [1, 1]),
            NormLayer::new("hidden.1.bn".to_owned(), narrow, [1, 1]),
        ]
    }

    pub(super) fn build(architecture: &Architecture, builder: &mut Builder<'_>) -> Self {
        let [channels, ..] = architecture.dims;
        let first = architecture.width;
        let flat = Self::flat(architecture);
        let pool = || Some(Pool::halving(Kind::Average));
        let features = vec![
            builder.conv_block("features.0", Convolution::new([channels, first], 5)).with_pool(pool()),
            builder
                .conv_block("features.1", Convolution::new([first, flat[0]], 5).with_padding(0))
                .with_pool(pool()),
        ];
        let [wide, narrow] = Self::HIDDEN;
        let hidden = vec![
            builder.linear_block("hidden.0", [flat.iter().product(), wide]),
            builder.linear_block("hidden.1", [wide, narrow]),
        ];
        Self { features, hidden, output: builder.output([narrow, architecture.classes]) }
    }
}

impl Classifier for Lenet {
    fn norms(&self) -> Vec<(String, &BatchNorm)> {
        let features = self.features.iter().filter_map(ConvBlock::norm);
        features.chain(self.hidden.iter().filter_map(LinearBlock::norm)).collect()
    }

    fn norms_mut(&mut self) -> Vec<&mut BatchNorm> {
        let features = self.features.iter_mut().filter_map(ConvBlock::norm_mut);
        features.chain(self.hidden.iter_mut().filter_map(LinearBlock::norm_mut)).collect()
    }

    fn output(&self) -> &Linear {
        &self.output
    }

    fn forward(&self, images: Tensor<4>, watch: &mut Watch) -> Result<Tensor<2>, Error> {
        let mut x = images;
        for layer in &self.features {
            x = layer.forward(x, watch)?;
        }
        let mut x = x.flatten(1, 3);
        for layer in &self.hidden {
            x = layer.forward(x, watch)?;
        }
        Ok(self.output.forward(x))
    }

    fn export(&self, export: &mut Export, images: Value) -> Value {
        let maps = self.features.iter().fold(images, |x, layer| layer.export(export, &x));
        let flat = export.graph().flatten("flatten", &maps);
        let x = self.hidden.iter().fold(flat, |x, layer| layer.export(export, &x));
        export.linear("output", &x)
    }
}
