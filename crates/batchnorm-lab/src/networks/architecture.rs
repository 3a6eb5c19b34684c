//! Everything that fixes a network but its weights.

use batchnorm::{BatchNormConfig, Variant};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::blocks::Builder;
use super::weights::numbered;
use super::{Activation, Inception, Init, Lenet, Mlp, Model, Network, Norm, Placement, Resnet20, Vgg};

/// Everything that fixes a network but its weights. It goes into saved models.
///
/// ```
/// use batchnorm_lab::networks::{Architecture, Classifier, Network, Norm, Watch};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex().autodiff();
/// let plain = Architecture::new(Network::Resnet20, [3, 32, 32], 10);
/// let twin = Architecture { norm: Some(Norm::default()), ..plain.clone() };
/// let network = twin.build(Network::Resnet20.default_init(), 0.0, 1, &device)?;
/// let logits = network.forward(Tensor::ones([2, 3, 32, 32], &device), &mut Watch::nothing())?;
/// assert_eq!(logits.dims(), [2, 10]);
/// assert_eq!(network.norms()[1].0, "layer1.0.bn1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Which network.
    pub network: Network,
    /// Units of each hidden layer of [`Network::Mlp`]; empty for the others.
    pub layers: Vec<usize>,
    /// Channels of the first stage; 0 for [`Network::Mlp`].
    pub width: usize,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// Where the norm layers stand, if there are any.
    pub placement: Placement,
    /// The number of classes.
    pub classes: usize,
    /// Channels, height and width of an image.
    pub dims: [usize; 3],
    /// How it is normalized; the plain twin is not.
    pub norm: Option<Norm>,
    /// Whether the last norm of each residual block begins with gamma 0; means nothing to the plain twin.
    pub zero_gamma: bool,
    /// Whether hidden layers of [`Network::Mlp`] that are as wide as their input are added to it:
    /// `y = x + activation(norm(linear(x)))`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skips: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Architecture {
    /// A plain network of default size for images of `dims`, with three layers of 100 if it is fully connected.
    pub fn new(network: Network, dims: [usize; 3], classes: usize) -> Self {
        Self {
            network,
            layers: if network == Network::Mlp { vec![100, 100, 100] } else { Vec::new() },
            width: network.default_width(),
            activation: network.default_activation(),
            placement: Placement::BeforeActivation,
            classes,
            dims,
            norm: None,
            zero_gamma: false,
            skips: false,
        }
    }

    /// Checks that there is such a network.
    ///
    /// # Errors
    ///
    /// What is wrong first, in the order of [`ArchitectureError`].
    pub fn validate(&self) -> Result<(), ArchitectureError> {
        use ArchitectureError as E;
        let network = self.network;
        if self.dims.contains(&0) {
            return Err(E::EmptyImages { found: self.dims });
        }
        if self.classes < 2 {
            return Err(E::Classes { found: self.classes });
        }
        if network == Network::Mlp {
            if self.layers.is_empty() || self.layers.contains(&0) {
                return Err(E::Layers { found: self.layers.clone() });
            }
            if self.width != 0 {
                return Err(E::WidthOfMlp { found: self.width });
            }
        } else {
            if !self.layers.is_empty() {
                return Err(E::LayersOf { network, found: self.layers.clone() });
            }
            if self.width == 0 || self.width > MOST_WIDTH {
                return Err(E::Width { network, found: self.width });
            }
        }
        let [_, height, width] = self.dims;
        if network == Network::Lenet && height.min(width) < Lenet::SMALLEST {
            return Err(E::SmallImages { network, smallest: Lenet::SMALLEST, found: [height, width] });
        }
        self.validate_size()?;
        if self.zero_gamma && network != Network::Resnet20 {
            return Err(E::ZeroGamma { network });
        }
        if self.zero_gamma && self.placement == Placement::AfterActivation {
            return Err(E::ZeroGammaAfterActivation);
        }
        if self.skips && network != Network::Mlp {
            return Err(E::Skips { network });
        }
        if self.skips && !Mlp::has_skips(self) {
            return Err(E::NothingToSkip { inputs: self.dims.iter().product(), layers: self.layers.clone() });
        }
        if let Some(norm) = self.norm {
            self.validate_norm(norm)?;
        }
        Ok(())
    }

    /// Checks that the linear maps, which hold nearly all weights, fit the memory of a usual machine.
    fn validate_size(&self) -> Result<(), ArchitectureError> {
        let product =
            |sizes: &[usize]| sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let maps = match self.network {
            Network::Mlp => {
                let ends = (product(&self.dims), self.classes);
                let inputs = std::iter::once(ends.0).chain(self.layers.iter().map(|&units| Some(units)));
                let outputs = self.layers.iter().copied().chain([ends.1]);
                inputs.zip(outputs).collect()
            }
            Network::Lenet => vec![(product(&Lenet::flat(self)), Lenet::HIDDEN[0])],
            Network::Vgg => vec![(product(&Vgg::flat(self)), Vgg::hidden(self))],
            Network::Resnet20 | Network::Inception => Vec::new(),
        };
        let weights = maps
            .into_iter()
            .try_fold(0usize, |sum, (inputs, outputs)| sum.checked_add(inputs?.checked_mul(outputs)?));
        // Of the convolutions, the first may have any number of inputs; the others follow from the width.
        let first = self.dims[0].checked_mul(self.width).and_then(|maps| maps.checked_mul(KERNEL));
        let images = product(&self.dims).is_none_or(|pixels| pixels > MOST_PIXELS);
        let too_large = images
            || first.is_none_or(|weights| weights > MOST_WEIGHTS)
            || self.layers.len() > MOST_LAYERS
            || self.classes > MOST_UNITS;
        let widest = self.layers.iter().copied().max().unwrap_or_default().max(self.classes);
        if too_large || widest > MOST_UNITS || weights.is_none_or(|weights| weights > MOST_WEIGHTS) {
            return Err(ArchitectureError::TooManyWeights {
                network: self.network,
                layers: self.layers.clone(),
                width: self.width,
                dims: self.dims,
            });
        }
        Ok(())
    }

    /// Builds the network with weights from the seed; `init_std` is the standard deviation of [`Init::Normal`].
    ///
    /// Twins that differ in `norm`, `placement`, `zero_gamma` or `skips` alone begin with the same weights. Parameters have
    /// the same ids whenever the same architecture is built, so that a saved optimizer goes on with a rebuilt network.
    ///
    /// # Errors
    ///
    /// If [`validate`](Self::validate) fails, or `init_std` is no standard deviation.
    pub fn build(
        &self,
        init: Init,
        init_std: f64,
        seed: u64,
        device: &Device,
    ) -> Result<Model, ArchitectureError> {
        let config = self.norm.unwrap_or_default().config();
        self.build_with(config, init, init_std, seed, device)
    }

    /// Builds the network as [`build`](Self::build) does, with norm layers of another configuration than
    /// [`norm`](Self::norm) says: one that allows a batch of one image, say. The plain twin has no norm layers.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and if the engine refuses the configuration, or it keeps no running statistics for
    /// layers that need them at inference.
    pub fn build_with(
        &self,
        config: BatchNormConfig,
        init: Init,
        init_std: f64,
        seed: u64,
        device: &Device,
    ) -> Result<Model, ArchitectureError> {
        self.validate()?;
        config.validate()?;
        let variant = self.norm.map(|norm| norm.variant).unwrap_or_default();
        if variant.normalizes_by_batch() && !config.track_running_statistics {
            let what = "a network could not be evaluated or saved";
            return Err(batchnorm::Error::NotTracked { what }.into());
        }
        if init == Init::Normal && !(init_std.is_finite() && init_std >= 0.0) {
            return Err(ArchitectureError::InitStd { found: init_std });
        }
        // The others have no use for them.
        let config = config.with_running_statistics(variant.normalizes_by_batch());
        let norm = self.norm.map(|_| (config, variant));
        let mut builder = Builder::new(self, norm, (init, init_std, seed), device);
        Ok(numbered(match self.network {
            Network::Mlp => Model::Mlp(Mlp::build(self, &mut builder)),
            Network::Lenet => Model::Lenet(Lenet::build(self, &mut builder)),
            Network::Vgg => Model::Vgg(Vgg::build(self, &mut builder)),
            Network::Resnet20 => Model::Resnet20(Resnet20::build(self, &mut builder)),
            Network::Inception => Model::Inception(Inception::build(self, &mut builder)),
        }))
    }
}

/// The most units of a layer, and weights of linear maps: 1 GiB of f32, with as much for each gradient.
const MOST_UNITS: usize = 1 << 16;
const MOST_WEIGHTS: usize = 1 << 28;
/// The most values of an image, and the most hidden layers.
const MOST_PIXELS: usize = 1 << 24;
const MOST_LAYERS: usize = 1 << 12;
/// The largest kernel of a first convolution.
const KERNEL: usize = 25;
/// The most channels of a first stage: ResNet-20 then has about as many weights.
const MOST_WIDTH: usize = 1 << 9;

/// An architecture of which there is no network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchitectureError {
    /// Images without a pixel.
    #[error("expected images of at least 1 channel and 1x1 pixels, found channels, height and width {found:?}")]
    EmptyImages {
        /// Channels, height and width.
        found: [usize; 3],
    },
    /// Fewer classes than two.
    #[error("expected at least 2 classes, found {found}: there is nothing to tell apart")]
    Classes {
        /// The number of classes.
        found: usize,
    },
    /// No hidden layers, or one without units.
    #[error(
        "expected at least one hidden layer of at least one unit each, found {found:?}; for example 100,100,100"
    )]
    Layers {
        /// The layers asked for.
        found: Vec<usize>,
    },
    /// A width for a network that has none.
    #[error("`mlp` has hidden layers and no width, found width {found}; leave it out")]
    WidthOfMlp {
        /// The width asked for.
        found: usize,
    },
    /// Hidden layers for a network whose layers are given.
    #[error("the layers of `{network}` follow from its width, found hidden layers {found:?}; leave them out")]
    LayersOf {
        /// The network.
        network: Network,
        /// The layers asked for.
        found: Vec<usize>,
    },
    /// No channels, or more than any machine trains.
    #[error(
        "expected 1 to {MOST_WIDTH} channels in the first stage of `{network}`, found {found}; its default is {}",
        network.default_width()
    )]
    Width {
        /// The network.
        network: Network,
        /// The width asked for.
        found: usize,
    },
    /// Images of which nothing would be left.
    #[error(
        "`{network}` takes images of at least {smallest}x{smallest} pixels, found {}x{}; vgg, resnet20, \
         inception and mlp take smaller ones",
        found[0],
        found[1]
    )]
    SmallImages {
        /// The network.
        network: Network,
        /// The smallest height and width.
        smallest: usize,
        /// Height and width.
        found: [usize; 2],
    },
    /// A network that no memory of a usual machine holds.
    #[error(
        "expected layers of at most {MOST_UNITS} units each, and {MOST_WEIGHTS} weights between them, found {}",
        asked(*network, layers, *width, *dims)
    )]
    TooManyWeights {
        /// The network.
        network: Network,
        /// The hidden layers asked for.
        layers: Vec<usize>,
        /// The width asked for.
        width: usize,
        /// Channels, height and width of an image.
        dims: [usize; 3],
    },
    /// Residual start of a network without residual blocks.
    #[error(
        "`{network}` has no residual blocks whose last gamma could begin at 0; leave it out or use resnet20"
    )]
    ZeroGamma {
        /// The network.
        network: Network,
    },
    /// Residual start where the last norm stands behind the sum.
    #[error(
        "with batch normalization after the activation, gamma 0 at the end of a residual block would shut its \
         shortcut too; leave it out or put batch normalization before the activation"
    )]
    ZeroGammaAfterActivation,
    /// Skips in a network that has no place for them.
    #[error("hidden layers can be added to their inputs in `mlp` alone, found `{network}`; leave skips out{}", residual(*network))]
    Skips {
        /// The network.
        network: Network,
    },
    /// Skips where every layer has another width than its input.
    #[error(
        "expected a hidden layer that is as wide as its input, which skips could add it to, found {inputs} values per \
         image and hidden layers {layers:?}; for example 100,100, or leave skips out"
    )]
    NothingToSkip {
        /// Values of an image.
        inputs: usize,
        /// The layers asked for.
        layers: Vec<usize>,
    },
    /// A standard deviation that is none.
    #[error("the standard deviation of the initial weights must be a finite number >= 0, found {found}")]
    InitStd {
        /// The deviation asked for.
        found: f64,
    },
    /// Groups that do not divide the channels.
    #[error(
        "expected groups that divide the channels of every layer: `{layer}` has {channels} channels, found {groups} \
         groups; {}",
        others(fitting)
    )]
    Groups {
        /// The first layer that cannot be cut so.
        layer: String,
        /// Its channels.
        channels: usize,
        /// The groups asked for.
        groups: usize,
        /// The numbers of groups that every layer can have.
        fitting: Vec<usize>,
    },
    /// Values that would each be normalized alone.
    #[error(
        "`{variant}` would normalize every value of `{layer}` alone, and one value has no variance: all outputs would be \
         beta; use {}",
        together(*variant)
    )]
    OneValue {
        /// How the network is normalized.
        variant: Variant,
        /// The first layer of which this is true.
        layer: String,
    },
    /// What the engine refuses.
    #[error(transparent)]
    BatchNorm(#[from] batchnorm::Error),
}

fn residual(network: Network) -> &'static str {
    match network {
        Network::Resnet20 => ", its blocks have their own",
        _ => "",
    }
}

fn others(fitting: &[usize]) -> String {
    let all: Vec<String> = fitting.iter().map(ToString::to_string).collect();
    match all.is_empty() {
        true => "no other number does, so leave it unnormalized or normalize by the batch".to_owned(),
        false => format!("the numbers that do are {}", all.join(", ")),
    }
}

/// What normalizes more values together.
fn together(variant: Variant) -> &'static str {
    match variant {
        Variant::Ghost { .. } => "ghost batches of 2 images or more",
        Variant::Group { .. } | Variant::Instance => {
            "fewer groups (`group:GROUPS`, `layer`), or a network without hidden linear layers (resnet20, inception)"
        }
        Variant::Batch | Variant::Renorm { .. } | Variant::Layer => "more channels, or `batch`",
    }
}

fn asked(network: Network, layers: &[usize], width: usize, [channels, height, rows]: [usize; 3]) -> String {
    let size = match network {
        Network::Mlp => format!("layers {layers:?}"),
        _ => format!("width {width}"),
    };
    format!("`{network}` with {size} on images of {channels}x{height}x{rows}")
}
