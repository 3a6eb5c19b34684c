//! The layer: parameters, running statistics, the forward pass.

use std::sync::Arc;

use batchnorm::{BatchNormConfig as Settings, Population, RunningUpdate, Shape};
use burn::backend::Dispatch;
use burn::module::{Flag, Param};
use burn::tensor::{Device, Tensor};

use crate::ops::{Affine, BatchNormOps, Outcome, Pass, Source};
use crate::running::{Running, Statistics, tensor};
use crate::{BatchNormConfig, Error};

/// Batch normalization over a tensor of any rank from 2 on, computed by the `batchnorm` engine.
///
/// ```text
/// y = gamma (x - mean) / sqrt(variance + eps) + beta            per channel
/// ```
///
/// In training `mean` and `variance` (the biased one) are the batch's, and they enter the running statistics; in
/// evaluation they are the running statistics. As in Burn's stock layer, training is a matter of the device and the
/// layer: the input is on an autodiff device and [`training`](Self::training) is enabled, which
/// [`freeze`](burn::module::Module::freeze) and [`valid`](burn::module::Module::valid) turn off.
///
/// Forward and backward pass are one node of the graph. Made by [`BatchNormConfig`].
///
/// ```
/// use batchnorm_burn::BatchNormConfig;
/// use burn::module::Module;
/// use burn::tensor::{Device, Distribution, Tensor};
///
/// let device = Device::flex().autodiff();
/// let layer = BatchNormConfig::new(3).init(&device);
/// let x = Tensor::<4>::random([8, 3, 4, 4], Distribution::Normal(5.0, 2.0), &device);
/// let y = layer.forward(x.clone());
/// assert!(y.mean().into_scalar::<f32>().abs() < 1e-5);
/// assert_eq!(layer.num_batches_tracked(), 1);
///
/// // The layer for evaluation, on a device without autodiff.
/// let y = layer.valid().forward(x.inner());
/// # assert_eq!(y.dims(), [8, 3, 4, 4]);
/// ```
///
/// # Clones
///
/// Clones share their running statistics, as those of Burn's layer do, so that data-parallel workers write to one
/// state; here every forward pass in training is one update, seen at once by all of them.
/// [`with_own_statistics`](Self::with_own_statistics) separates a clone; [`valid`](burn::module::Module::valid) and
/// [`train`](burn::module::Module::train) return a layer with a copy of its own.
///
/// # Records
///
/// `gamma`, `beta`, `running_mean`, `running_var`, and `num_batches_tracked` of shape \[1\]; what the settings leave
/// out is not there. A record of Burn's stock layer has no counter: load it with `allow_partial(true)`. Files under
/// PyTorch's names: see the module `pytorch` (feature `store`).
///
/// Source: Ioffe & Szegedy 2015, arXiv 1502.03167.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// The learned scale, of shape \[channels\]; `None` for 1.
    pub gamma: Option<Param<Tensor<1>>>,
    /// The learned shift, of shape \[channels\]; `None` for 0.
    pub beta: Option<Param<Tensor<1>>>,
    /// Whether training behaviour is enabled for this layer.
    pub training: Param<Flag>,
    pub(crate) config: BatchNormConfig,
    pub(crate) frozen_statistics: bool,
    pub(crate) running: Running,
    /// Where the buffers appear when the module tree is walked.
    pub(crate) device: Device,
}

impl BatchNorm {
    pub(crate) fn from_parts(
        config: &BatchNormConfig,
        gamma: Option<Param<Tensor<1>>>,
        beta: Option<Param<Tensor<1>>>,
        device: Device,
    ) -> Self {
        let dtype = device.settings().float_dtype.into();
        Self {
            gamma,
            beta,
            training: Param::from_bool(true),
            running: Running::new(Statistics::new(config.num_features, dtype)),
            config: config.clone(),
            frozen_statistics: false,
            device,
        }
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.config.num_features
    }

    /// What the layer means: eps, momentum, which running variance, policies.
    pub fn settings(&self) -> &Settings {
        &self.config.settings
    }

    /// The channel axis; a negative one counts from the end.
    pub fn channel_axis(&self) -> isize {
        self.config.channel_axis
    }

    /// Applies the layer; x and y are of the same shape, with [`channels`](Self::channels) entries along the
    /// [`channel_axis`](Self::channel_axis).
    ///
    /// # Panics
    ///
    /// With the message of [`try_forward`](Self::try_forward)'s error, as Burn's layers do.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.try_forward(x).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Applies the layer, as [`forward`](Self::forward) does.
    ///
    /// A tensor whose elements lie in row-major order is read where it lies; another is copied into that order first.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`] if the shape is not the layer's or the batch has no statistics that the settings allow
    /// (one value per channel, say), [`Error::ElementType`] if x is neither f32 nor f64. The running statistics are
    /// then as they were.
    pub fn try_forward<const D: usize>(&self, x: Tensor<D>) -> Result<Tensor<D>, Error> {
        let shape = Shape::of(&x.dims(), self.config.channel_axis)?;
        if shape.channels() != self.config.num_features {
            return Err(batchnorm::Error::ChannelMismatch {
                expected: self.config.num_features,
                found: shape.channels(),
                shape,
            }
            .into());
        }
        let training = x.device().is_autodiff() && self.training.is_enabled();
        let collecting = self.running.is_collecting();
        let tracking = self.config.settings.track_running_statistics;
        let updating = tracking && training && !self.frozen_statistics;
        let of_batch = updating || collecting || !tracking;
        let pass = Pass {
            config: self.config.settings,
            axis: self.config.channel_axis,
            source: match of_batch {
                true => Source::Batch,
                false => Source::Fixed(self.running.statistics()),
            },
            activation: self.config.activation,
            outcome: Outcome::default(),
        };
        let parameter = |param: &Param<Tensor<1>>| param.val().into_dispatch();
        let affine =
            Affine::<Dispatch>::new(self.gamma.as_ref().map(parameter), self.beta.as_ref().map(parameter));
        let y = Dispatch::normalize_batch(x.into_dispatch(), affine, pass.clone());
        let saved = pass.outcome.get()?;
        if let Some(moments) = saved.batch_moments()
            && (collecting || updating)
        {
            self.running.take_in(&self.config.settings, moments);
        }
        Ok(Tensor::from_dispatch(y))
    }

    /// With fixed statistics in training, too (or no longer so): the layer normalizes with its running statistics
    /// and leaves them alone, while gradients still flow to x, gamma and beta.
    ///
    /// Burn's [`freeze`](burn::module::Module::freeze) fixes the statistics and stops the parameters' gradients.
    pub fn with_frozen_statistics(mut self, frozen: bool) -> Self {
        self.frozen_statistics = frozen;
        self
    }

    /// Whether the statistics are fixed in training.
    pub fn has_frozen_statistics(&self) -> bool {
        self.frozen_statistics
    }

    /// With a copy of the running statistics that no other clone shares.
    pub fn with_own_statistics(mut self) -> Self {
        self.running = self.running.separate();
        self
    }

    /// The running statistics as they are now: an immutable snapshot.
    pub fn running_statistics(&self) -> Arc<Statistics> {
        self.running.statistics()
    }

    /// The running mean, of shape \[channels\], as it is now.
    pub fn running_mean(&self) -> Tensor<1> {
        let [mean, _] = self.running.statistics().data();
        tensor(mean, &self.device)
    }

    /// The running variance, of shape \[channels\], as it is now.
    pub fn running_var(&self) -> Tensor<1> {
        let [_, variance] = self.running.statistics().data();
        tensor(variance, &self.device)
    }

    /// The number of batches that have entered the running statistics.
    pub fn num_batches_tracked(&self) -> u64 {
        self.running.statistics().batches()
    }

    /// Begins the running statistics anew: mean 0, variance 1, no batches; for all clones that share them.
    pub fn reset_running_statistics(&self) {
        self.running.reset();
    }

    /// What became of the latest batch in training: taken in, or skipped because its statistics were not finite, or
    /// because it was empty. `None` before the first.
    pub fn last_update(&self) -> Option<RunningUpdate> {
        self.running.last_update()
    }

    /// Begins to collect population statistics (Algorithm 2 of the paper, steps 7 to 12).
    ///
    /// Until [`finish_population`](Self::finish_population), every forward pass, on whatever device, normalizes with
    /// the batch's own statistics and enters them into the population; the running statistics stay as they are. So
    /// the training batches can run through `model.valid()`, where dropout is off and no graph is kept.
    ///
    /// ```
    /// use batchnorm_burn::BatchNormConfig;
    /// use burn::tensor::{Device, Tensor};
    ///
    /// let device = Device::flex();
    /// let layer = BatchNormConfig::new(1).init(&device);
    /// layer.begin_population()?;
    /// for batch in [[[1.0f32], [3.0]], [[5.0], [5.0]]] {
    ///     layer.forward(Tensor::<2>::from_data(batch, &device));
    /// }
    /// layer.finish_population()?;
    /// // The mean of the batch means, and of the unbiased batch variances 2 and 0.
    /// assert_eq!(layer.running_mean().into_scalar::<f32>(), 3.5);
    /// assert_eq!(layer.running_var().into_scalar::<f32>(), 1.0);
    /// # Ok::<(), batchnorm_burn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`batchnorm::Error::NotTracked`] if the layer has no running statistics.
    pub fn begin_population(&self) -> Result<(), Error> {
        if !self.config.settings.track_running_statistics {
            return Err(batchnorm::Error::NotTracked {
                what: "there is nothing for population statistics to replace",
            }
            .into());
        }
        self.running.set_population(Some(Population::new()));
        Ok(())
    }

    /// Ends the collection and puts the estimate in the place of running mean and variance; the batch counter stays.
    /// Returns what was collected, which says how many batches entered and how many were skipped.
    ///
    /// # Errors
    ///
    /// [`batchnorm::Error::NoBatches`] if no batch entered; the collection ends, the running statistics stay.
    pub fn finish_population(&self) -> Result<Population, Error> {
        Ok(self.running.install_population()?)
    }
}
