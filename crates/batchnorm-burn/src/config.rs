//! The configuration, as Burn's layers have one.

use batchnorm::{BatchNormConfig as Settings, Momentum, Variant};
use burn::config::Config;
use burn::module::Initializer;
use burn::tensor::Device;

use crate::{Activation, BatchNorm, Error, Keep};

/// How to make a [`BatchNorm`]; written like [`burn::nn::BatchNormConfig`], and holding everything the engine offers.
///
/// The default is the engine's, PyTorch's convention: eps 1e-5, the new batch weighs 0.1, and the running variance
/// is unbiased. Burn's stock layer keeps the biased one; [`batchnorm::BatchNormConfig::burn`] is its convention.
///
/// ```
/// use batchnorm_burn::BatchNormConfig;
/// use burn::tensor::Device;
///
/// let device = Device::flex();
/// // As one writes it with Burn's own layer ...
/// let layer = BatchNormConfig::new(64).with_epsilon(1e-3).with_momentum(0.01).init(&device);
/// // ... with Burn's convention for the running variance ...
/// let stock = BatchNormConfig::new(64).with_settings(batchnorm::BatchNormConfig::burn()).init(&device);
/// // ... and for channels-last data, without a shift.
/// let last = BatchNormConfig::new(64)
///     .with_settings(batchnorm::BatchNormConfig::keras().with_shift(false))
///     .with_channel_axis(-1)
///     .try_init(&device)?;
/// assert!(last.gamma.is_some() && last.beta.is_none());
/// # Ok::<(), batchnorm_burn::Error>(())
/// ```
#[derive(Config, Debug)]
pub struct BatchNormConfig {
    /// The number of channels. At least one.
    pub num_features: usize,
    /// What the layer means: eps, momentum, which running variance, scale and shift, tracking, policies.
    #[config(default = "batchnorm::BatchNormConfig::default()")]
    pub settings: Settings,
    /// The channel axis; a negative one counts from the end. 1 is Burn's and PyTorch's, -1 is channels-last.
    #[config(default = 1)]
    pub channel_axis: isize,
    /// What is applied to the result, in the same sweep.
    #[config(default = "Activation::None")]
    pub activation: Activation,
    /// Which tensor is kept for the backward pass: x, or y alone.
    #[config(default = "Keep::Input")]
    pub keep: Keep,
    /// Which values are normalized together: the whole batch, unless another variant is asked for.
    #[config(default = "batchnorm::Variant::Batch")]
    pub variant: Variant,
}

impl BatchNormConfig {
    /// With another eps, the value added to the variance before the square root.
    pub fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.settings = self.settings.with_eps(epsilon);
        self
    }

    /// With another weight of the new batch in the running statistics: Burn's and PyTorch's "momentum".
    ///
    /// Keras, Flax and ONNX call the weight of the old value so; for theirs, and for a cumulative average, see
    /// [`with_settings`](Self::with_settings) and [`batchnorm::Momentum`].
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        self.settings = self.settings.with_momentum(Momentum::of_new(momentum));
        self
    }

    /// Makes the layer.
    ///
    /// # Panics
    ///
    /// With the message of [`try_init`](Self::try_init)'s error, as Burn's layers do.
    pub fn init(&self, device: &Device) -> BatchNorm {
        self.try_init(device).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes the layer: gamma is 1, beta 0, the running mean 0, the running variance 1.
    ///
    /// # Errors
    ///
    /// [`batchnorm::Error::NoChannels`], or what [`batchnorm::BatchNormConfig::validate`] finds; for [`Keep::Output`]
    /// [`batchnorm::Error::SlopeNotInvertible`] and [`batchnorm::Error::Incompatible`].
    pub fn try_init(&self, device: &Device) -> Result<BatchNorm, Error> {
        if self.num_features == 0 {
            return Err(batchnorm::Error::NoChannels.into());
        }
        self.settings.validate()?;
        self.variant.validate(self.num_features)?;
        self.check_keep()?;
        let channels = self.num_features;
        let settings = self.settings;
        let gamma = settings.scale.then(|| Initializer::Ones.init([channels], device));
        let beta = settings.shift.then(|| Initializer::Zeros.init([channels], device));
        Ok(BatchNorm::from_parts(self, gamma, beta, device.clone()))
    }

    /// Whether the gradient can be computed from what is kept.
    fn check_keep(&self) -> Result<(), batchnorm::Error> {
        let slope = self.activation.slope();
        let by_groups =
            self.variant.groups(self.num_features).is_some_and(|groups| groups != self.num_features);
        match self.keep {
            Keep::Input => Ok(()),
            Keep::Output if !(slope > 0.0 && slope.is_finite()) => {
                Err(batchnorm::Error::SlopeNotInvertible { found: slope })
            }
            Keep::Output if by_groups => Err(batchnorm::Error::Incompatible {
                first: "the gradient from the output",
                second: "normalization by groups of channels",
                reason: "its gradient takes xhat before gamma; keep the input",
            }),
            Keep::Output => Ok(()),
        }
    }
}
