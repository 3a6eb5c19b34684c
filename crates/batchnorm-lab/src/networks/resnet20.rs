//! The ResNet of 20 layers for small images (He et al. 2015, arXiv 1512.03385, section 4.2), under torchvision's names.

use batchnorm_burn::{BatchNorm, Error};
use batchnorm_model::onnx::Value;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

use super::blocks::{Builder, Surroundings, normalized};
use super::pool::{export_global_average, global_average};
use super::weights::Convolution;
use super::{Activation, Architecture, Classifier, Export, NormLayer, Watch};

/// A convolution, three stages of three residual blocks each, of w, 2w and 4w maps, the mean of every map, and a linear
/// map to the classes. The second and third stage halve height and width.
///
/// ```text
/// block, norm before:   y = act(bn2(conv2(act(bn1(conv1(x))))) + shortcut(x))
/// block, norm after:    y = bn2(act(conv2(bn1(act(conv1(x)))) + shortcut(x)))
/// block, plain:         y = act(conv2(act(conv1(x))) + shortcut(x))
/// ```
///
/// The shortcut is x itself or, where the shape changes, a convolution of 1x1 and its norm. With `zero_gamma` the last
/// norm of each block begins with gamma 0, so that the block begins as its shortcut (Goyal et al. 2017).
#[derive(Module, Debug)]
pub struct Resnet20 {
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    fc: Linear,
    #[module(skip)]
    around: Surroundings,
}

/// A residual block.
#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    conv2: Conv2d,
    bn2: Option<BatchNorm>,
    /// torchvision's `downsample.0` and `downsample.1`.
    downsample: Option<(Conv2d, Option<BatchNorm>)>,
    #[module(skip)]
    name: String,
    #[module(skip)]
    first: Surroundings,
    #[module(skip)]
    second: Surroundings,
}

impl Resnet20 {
    const BLOCKS: usize = 3;

    pub(super) fn norm_layers(architecture: &Architecture) -> Vec<NormLayer> {
        let [_, mut height, mut width] = architecture.dims;
        let mut maps = architecture.width;
        let mut layers = vec![NormLayer::new("bn1".to_owned(), maps, [height, width])];
        for stage in 1..=3 {
            if stage > 1 {
                (maps, height, width) = (2 * maps, height.div_ceil(2), width.div_ceil(2));
            }
            for block in 0..Self::BLOCKS {
                // Where the maps change, the shortcut has a norm of its own.
                let shortcut = (stage > 1 && block == 0).then_some("downsample.1");
                let names = ["bn1"].into_iter().chain(shortcut).chain(["bn2"]);
                layers.extend(
                    names.map(|name| {
                        NormLayer::new(format!("layer{stage}.{block}.{name}"), maps, [height, width])
                    }),
                );
            }
        }
        layers
    }

    pub(super) fn build(architecture: &Architecture, builder: &mut Builder<'_>) -> Self {
        let [channels, ..] = architecture.dims;
        let width = architecture.width;
        let conv1 = builder.conv(Convolution::new([channels, width], 3));
        let bn1 = builder.norm(width);
        let mut stage = |name: &str, [inputs, outputs]: [usize; 2], stride| {
            (0..Self::BLOCKS)
                .map(|index| {
                    let (inputs, stride) = if index == 0 { (inputs, stride) } else { (outputs, 1) };
                    let conv = Convolution::new([inputs, outputs], 3).with_stride(stride);
                    Block::build(format!("{name}.{index}"), conv, architecture.zero_gamma, builder)
                })
                .collect()
        };
        Self {
            conv1,
            bn1,
            layer1: stage("layer1", [width, width], 1),
            layer2: stage("layer2", [width, 2 * width], 2),
            layer3: stage("layer3", [2 * width, 4 * width], 2),
            fc: builder.output([4 * width, architecture.classes]),
            around: builder.surroundings("conv1".to_owned(), "bn1".to_owned()),
        }
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.layer1.iter().chain(&self.layer2).chain(&self.layer3)
    }
}

impl Block {
    fn build(name: String, conv: Convolution, zero_gamma: bool, builder: &mut Builder<'_>) -> Self {
        let Convolution { channels: [inputs, outputs], stride, .. } = conv;
        let conv1 = builder.conv(conv);
        let conv2 = builder.conv(Convolution::new([outputs; 2], 3));
        let shortcut = Convolution::new([inputs, outputs], 1).with_stride(stride);
        let downsample = (inputs != outputs || stride != 1).then(|| builder.projection(shortcut));
        let mut bn2 = builder.norm(outputs);
        if let Some(norm) = &mut bn2
            && zero_gamma
        {
            norm.gamma = Some(Param::from_tensor(Tensor::zeros([outputs], builder.device())));
        }
        Self {
            conv1,
            bn1: builder.norm(outputs),
            conv2,
            bn2,
            downsample,
            first: builder.surroundings(format!("{name}.conv1"), format!("{name}.bn1")),
            second: builder.surroundings(format!("{name}.conv2"), format!("{name}.bn2")),
            name,
        }
    }

    fn forward(&self, x: Tensor<4>, watch: &mut Watch) -> Result<Tensor<4>, Error> {
        let z = self.first.forward(self.conv1.forward(x.clone()), self.bn1.as_ref(), watch)?;
        let z = self.conv2.forward(z);
        let shortcut = match &self.downsample {
            Some((conv, norm)) => normalized(conv.forward(x), norm.as_ref())?,
            None => x,
        };
        match self.second.placed(self.bn2.as_ref()) {
            // Norm, sum and ReLU in one sweep, to the same bits; nobody asks for what goes into the ReLU.
            (Some(norm), _) if self.second.activation() == Activation::Relu && !watch.looks() => {
                norm.try_forward_add_relu(z, shortcut)
            }
            (before, after) => {
                let z = normalized(z, before)? + shortcut;
                watch.see(self.second.map(), &z);
                normalized(self.second.activation().forward(z), after)
            }
        }
    }

    fn export(&self, export: &mut Export, x: &Value) -> Value {
        let z = export.conv(self.first.map(), &self.conv1, x);
        let z = self.first.export(export, z, &self.bn1);
        let z = export.conv(self.second.map(), &self.conv2, &z);
        let (before, after) = self.second.placed(self.second.named(&self.bn2));
        let shortcut = match &self.downsample {
            Some((conv, _)) => {
                let z = export.conv(&format!("{}.downsample.0", self.name), conv, x);
                export.norm(self.shortcut_norm(), z)
            }
            None => x.clone(),
        };
        let z = export.norm(before, z);
        let z = export.graph().add(&format!("{}.sum", self.name), &z, &shortcut);
        let y = export.activation(self.second.map(), self.second.activation(), &z);
        export.norm(after, y)
    }

    /// In the order of [`forward`](Self::forward).
    fn norms(&self) -> impl Iterator<Item = (String, &BatchNorm)> {
        let first = self.first.named(&self.bn1).into_iter();
        first.chain(self.shortcut_norm()).chain(self.second.named(&self.bn2))
    }

    fn norms_mut(&mut self) -> impl Iterator<Item = &mut BatchNorm> {
        let shortcut = self.downsample.iter_mut().filter_map(|(_, norm)| norm.as_mut());
        self.bn1.iter_mut().chain(shortcut).chain(&mut self.bn2)
    }

    fn shortcut_norm(&self) -> Option<(String, &BatchNorm)> {
        let (_, norm) = self.downsample.as_ref()?;
        norm.as_ref().map(|norm| (format!("{}.downsample.1", self.name), norm))
    }
}

impl Classifier for Resnet20 {
    fn norms(&self) -> Vec<(String, &BatchNorm)> {
        self.around.named(&self.bn1).into_iter().chain(self.blocks().flat_map(Block::norms)).collect()
    }

    fn norms_mut(&mut self) -> Vec<&mut BatchNorm> {
        let blocks = self.layer1.iter_mut().chain(&mut self.layer2).chain(&mut self.layer3);
        self.bn1.iter_mut().chain(blocks.flat_map(Block::norms_mut)).collect()
    }

    fn output(&self) -> &Linear {
        &self.fc
    }

    fn forward(&self, images: Tensor<4>, watch: &mut Watch) -> Result<Tensor<2>, Error> {
        let mut x = self.around.forward(self.conv1.forward(images), self.bn1.as_ref(), watch)?;
        for block in self.blocks() {
            x = block.forward(x, watch)?;
        }
        Ok(self.fc.forward(global_average(x)))
    }

    fn export(&self, export: &mut Export, images: Value) -> Value {
        let z = export.conv("conv1", &self.conv1, &images);
        let x = self.around.export(export, z, &self.bn1);
        let x = self.blocks().fold(x, |x, block| block.export(export, &x));
        let x = export_global_average(export, &x);
        export.linear("fc", &x)
    }
}
