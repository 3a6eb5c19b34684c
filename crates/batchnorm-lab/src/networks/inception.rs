//! A small Inception, of the paper's modules: its variant has 5x5 convolutions as two of 3x3 (appendix, Figure 5).

use batchnorm_burn::{BatchNorm, Error};
use batchnorm_model::onnx::Value;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

use super::blocks::{Builder, ConvBlock};
use super::pool::{Kind, Pool, export_global_average, global_average};
use super::weights::Convolution;
use super::{Architecture, Classifier, Export, NormLayer, Watch};

/// A convolution, the paper's modules 3a, 3c and 4a, the mean of every map, and a linear map to the classes.
///
/// The modules have w/128 of the paper's maps; w are those of the first convolution. Module 3c halves height and width;
/// images of 16x16 and more are halved before the modules, too.
#[derive(Module, Debug)]
pub struct Inception {
    conv1: ConvBlock,
    inception3a: Unit,
    inception3c: Unit,
    inception4a: Unit,
    fc: Linear,
}

/// A module: branches side by side, their maps one behind the other.
///
/// ```text
/// branch1   conv 1x1
/// branch2   conv 1x1    conv 3x3
/// branch3   conv 1x1    conv 3x3    conv 3x3
/// branch4   pool 3x3    conv 1x1
/// ```
///
/// A module that halves has stride 2 in its last 3x3 convolutions and its pool, no branch 1 and no convolution behind
/// the pool.
#[derive(Module, Debug)]
struct Unit {
    branch1: Option<ConvBlock>,
    branch2: Vec<ConvBlock>,
    branch3: Vec<ConvBlock>,
    branch4: (Pool, Option<ConvBlock>),
}

/// The maps of a module's convolutions, in units of 32 of the paper's.
struct Maps {
    branch1: usize,
    branch2: [usize; 2],
    branch3: [usize; 2],
    branch4: usize,
    pool: Kind,
}

impl Maps {
    /// The paper's module 3a.
    const INCEPTION_3A: Self =
        Self { branch1: 2, branch2: [2, 2], branch3: [2, 3], branch4: 1, pool: Kind::Average };
    /// 3c, which halves height and width.
    const INCEPTION_3C: Self =
        Self { branch1: 0, branch2: [4, 5], branch3: [2, 3], branch4: 0, pool: Kind::Max };
    /// 4a.
    const INCEPTION_4A: Self =
        Self { branch1: 7, branch2: [2, 3], branch3: [3, 4], branch4: 4, pool: Kind::Average };
}

impl Inception {
    /// Images of this height and width and more are halved before the modules.
    const LARGE: usize = 16;

    pub(super) fn norm_layers(architecture: &Architecture) -> Vec<NormLayer> {
        let [_, height, width] = architecture.dims;
        let (mut size, unit) = ([height, width], architecture.width.div_ceil(4));
        let mut layers = vec![NormLayer::new("conv1.bn".to_owned(), architecture.width, size)];
        if height.min(width) >= Self::LARGE {
            size = size.map(|side| side.div_ceil(2));
        }
        let modules = [
            ("inception3a", Maps::INCEPTION_3A),
            ("inception3c", Maps::INCEPTION_3C),
            ("inception4a", Maps::INCEPTION_4A),
        ];
        for (name, maps) in modules {
            let halves = maps.branch1 == 0;
            let halved = if halves { size.map(|side| side.div_ceil(2)) } else { size };
            let [first, last] = maps.branch2;
            let [double_first, double_last] = maps.branch3;
            let branches = [
                ("branch1", maps.branch1, size),
                ("branch2.0", first, size),
                ("branch2.1", last, halved),
                ("branch3.0", double_first, size),
                ("branch3.1", double_last, size),
                ("branch3.2", double_last, halved),
                ("branch4.1", maps.branch4, size),
            ];
            let there = branches.into_iter().filter(|(_, maps, _)| *maps > 0);
            layers.extend(
                there.map(|(branch, maps, size)| {
                    NormLayer::new(format!("{name}.{branch}.bn"), maps * unit, size)
                }),
            );
            size = halved;
        }
        layers
    }

    pub(super) fn build(architecture: &Architecture, builder: &mut Builder<'_>) -> Self {
        let [channels, height, width] = architecture.dims;
        let maps = architecture.width;
        let unit = maps.div_ceil(4);
        let large = height.min(width) >= Self::LARGE;
        let conv1 = builder
            .conv_block("conv1", Convolution::new([channels, maps], 3))
            .with_pool(large.then(|| Pool::around(Kind::Max, 2)));
        let (inception3a, maps) = Unit::build("inception3a", maps, unit, &Maps::INCEPTION_3A, builder);
        let (inception3c, maps) = Unit::build("inception3c", maps, unit, &Maps::INCEPTION_3C, builder);
        let (inception4a, maps) = Unit::build("inception4a", maps, unit, &Maps::INCEPTION_4A, builder);
        let fc = builder.output([maps, architecture.classes]);
        Self { conv1, inception3a, inception3c, inception4a, fc }
    }

    fn modules(&self) -> [&Unit; 3] {
        [&self.inception3a, &self.inception3c, &self.inception4a]
    }
}

impl Unit {
    /// The module, and the number of maps that it returns.
    fn build(name: &str, inputs: usize, unit: usize, maps: &Maps, builder: &mut Builder<'_>) -> (Self, usize) {
        let halves = maps.branch1 == 0;
        let stride = if halves { 2 } else { 1 };
        let mut conv = |branch: &str, from: usize, to: usize, kernel, stride| {
            let conv = Convolution::new([from, to], kernel).with_stride(stride);
            builder.conv_block(&format!("{name}.{branch}"), conv)
        };
        let [first, last] = maps.branch2.map(|maps| maps * unit);
        let [double_first, double_last] = maps.branch3.map(|maps| maps * unit);
        let [single, behind_pool] = [maps.branch1, maps.branch4].map(|maps| maps * unit);
        let module = Self {
            branch1: (!halves).then(|| conv("branch1", inputs, single, 1, 1)),
            branch2: vec![conv("branch2.0", inputs, first, 1, 1), conv("branch2.1", first, last, 3, stride)],
            branch3: vec![
                conv("branch3.0", inputs, double_first, 1, 1),
                conv("branch3.1", double_first, double_last, 3, 1),
                conv("branch3.2", double_last, double_last, 3, stride),
            ],
            branch4: (
                Pool::around(maps.pool, stride),
                (!halves).then(|| conv("branch4.1", inputs, behind_pool, 1, 1)),
            ),
        };
        let pooled = if halves { inputs } else { behind_pool };
        (module, single + last + double_last + pooled)
    }

    fn forward(&self, x: Tensor<4>, watch: &mut Watch) -> Result<Tensor<4>, Error> {
        let mut branches = Vec::with_capacity(4);
        if let Some(conv) = &self.branch1 {
            branches.push(conv.forward(x.clone(), watch)?);
        }
        for branch in [&self.branch2, &self.branch3] {
            let mut y = x.clone();
            for conv in branch {
                y = conv.forward(y, watch)?;
            }
            branches.push(y);
        }
        let (pool, conv) = &self.branch4;
        let pooled = pool.forward(x);
        branches.push(match conv {
            Some(conv) => conv.forward(pooled, watch)?,
            None => pooled,
        });
        Ok(Tensor::cat(branches, 1))
    }

    fn export(&self, export: &mut Export, name: &str, x: &Value) -> Value {
        let mut branches: Vec<Value> = self.branch1.iter().map(|conv| conv.export(export, x)).collect();
        for branch in [&self.branch2, &self.branch3] {
            branches.push(branch.iter().fold(x.clone(), |x, conv| conv.export(export, &x)));
        }
        let (pool, conv) = &self.branch4;
        let pooled = pool.export(export, &format!("{name}.branch4.0"), x);
        branches.push(match conv {
            Some(conv) => conv.export(export, &pooled),
            None => pooled,
        });
        export.graph().concat(name, &branches.iter().collect::<Vec<_>>(), 1)
    }

    fn convs_mut(&mut self) -> impl Iterator<Item = &mut ConvBlock> {
        let branches = self.branch1.iter_mut().chain(&mut self.branch2).chain(&mut self.branch3);
        branches.chain(&mut self.branch4.1)
    }

    /// Its convolutions in the order of a forward pass.
    fn convs(&self) -> impl Iterator<Item = &ConvBlock> {
        self.branch1.iter().chain(&self.branch2).chain(&self.branch3).chain(&self.branch4.1)
    }
}

impl Classifier for Inception {
    fn norms(&self) -> Vec<(String, &BatchNorm)> {
        let modules = self.modules().into_iter().flat_map(Unit::convs);
        std::iter::once(&self.conv1).chain(modules).filter_map(ConvBlock::norm).collect()
    }

    fn norms_mut(&mut self) -> Vec<&mut BatchNorm> {
        let modules = [&mut self.inception3a, &mut self.inception3c, &mut self.inception4a];
        let convs = modules.into_iter().flat_map(Unit::convs_mut);
        std::iter::once(&mut self.conv1).chain(convs).filter_map(ConvBlock::norm_mut).collect()
    }

    fn output(&self) -> &Linear {
        &self.fc
    }

    fn forward(&self, images: Tensor<4>, watch: &mut Watch) -> Result<Tensor<2>, Error> {
        let mut x = self.conv1.forward(images, watch)?;
        for module in self.modules() {
            x = module.forward(x, watch)?;
        }
        Ok(self.fc.forward(global_average(x)))
    }

    fn export(&self, export: &mut Export, images: Value) -> Value {
        let mut x = self.conv1.export(export, &images);
        for (name, module) in ["inception3a", "inception3c", "inception4a"].into_iter().zip(self.modules()) {
            x = module.export(export, name, &x);
        }
        let x = export_global_average(export, &x);
        export.linear("fc", &x)
    }
}
