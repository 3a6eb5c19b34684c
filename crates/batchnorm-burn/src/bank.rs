//! Layers with banks: statistics by domain or by part of the batch, parameters by domain or by class.

use std::sync::Arc;

use batchnorm::{BatchNormConfig as Settings, Exchange};
use burn::backend::Dispatch;
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

use crate::ops::{Affine, Assigned, Cut, Outcome, Pass, Source};
use crate::pass::apply;
use crate::{Activation, BatchNorm, BatchNormConfig, Error, Keep};

/// How to make a [`BatchNormBank`].
#[derive(Config, Debug)]
pub struct BatchNormBankConfig {
    /// The number of channels. At least one.
    pub num_features: usize,
    /// The number of banks: domains, classes or parts.
    pub banks: usize,
    /// What each bank means: eps, momentum, policies.
    #[config(default = "batchnorm::BatchNormConfig::default()")]
    pub settings: Settings,
    /// The channel axis; a negative one counts from the end. The examples lie along the first axis.
    #[config(default = 1)]
    pub channel_axis: isize,
    /// Whether there is one bank of statistics for all examples.
    #[config(default = false)]
    pub shared_statistics: bool,
    /// Whether there is one bank of gamma and beta for all examples.
    #[config(default = false)]
    pub shared_affine: bool,
}

impl BatchNormBankConfig {
    /// Conditional batch normalization: one set of statistics, gamma and beta by class (de Vries et al. 2017,
    /// arXiv 1707.00683; Dumoulin et al. 2017, arXiv 1610.07629).
    pub fn conditional(num_features: usize, classes: usize) -> Self {
        Self::new(num_features, classes).with_shared_statistics(true)
    }

    /// Makes the layer.
    ///
    /// # Panics
    ///
    /// With the message of [`try_init`](Self::try_init)'s error, as Burn's layers do.
    pub fn init(&self, device: &Device) -> BatchNormBank {
        self.try_init(device).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes the layer: every gamma is 1, every beta 0, every running mean 0, every running variance 1.
    ///
    /// # Errors
    ///
    /// [`Error::NoBanks`] for none; else as [`BatchNormConfig::try_init`].
    pub fn try_init(&self, device: &Device) -> Result<BatchNormBank, Error> {
        if self.banks == 0 {
            return Err(Error::NoBanks);
        }
        let count = |shared: bool| if shared { 1 } else { self.banks };
        let of_bank = BatchNormConfig::new(self.num_features)
            .with_settings(self.settings.with_affine(false))
            .with_channel_axis(self.channel_axis);
        let statistics = (0..count(self.shared_statistics)).map(|_| of_bank.try_init(device));
        let dims = [count(self.shared_affine), self.num_features];
        Ok(BatchNormBank {
            statistics: statistics.collect::<Result<_, _>>()?,
            gamma: self.settings.scale.then(|| Initializer::Ones.init(dims, device)),
            beta: self.settings.shift.then(|| Initializer::Zeros.init(dims, device)),
            banks: self.banks,
        })
    }
}

/// Batch normalization whose examples belong to banks: each with statistics, gamma and beta of its own, or sharing one of
/// them.
///
/// ```text
/// y = gamma_b (x - mean_b) / sqrt(variance_b + eps) + beta_b            for an example of bank b
/// ```
///
/// | | statistics | gamma, beta |
/// |---|---|---|
/// | domain-specific (Chang et al. 2019, arXiv 1906.03950) | by domain | by domain |
/// | split, "auxiliary" (Xie et al. 2020, arXiv 1911.09665) | by part of the batch: clean, adversarial | by part |
/// | conditional | shared ([`with_shared_statistics`](BatchNormBankConfig::with_shared_statistics)) | by class |
/// | statistics by domain alone (Li et al. 2016, arXiv 1603.04779) | by domain | shared ([`with_shared_affine`](BatchNormBankConfig::with_shared_affine)) |
///
/// Examples of a domain need not lie together. A domain without an example in a batch keeps its running statistics.
///
/// When to use: training data of several sources whose statistics differ (weather, scanners, clean and augmented images),
/// or a network that a class label is to steer.
///
/// ```
/// use batchnorm_burn::BatchNormBankConfig;
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::flex().autodiff();
/// let layer = BatchNormBankConfig::new(1, 2).init(&device);
/// // Two domains, a hundred apart, mixed in one batch.
/// let x = Tensor::<2>::from_data([[1.0f32], [103.0], [3.0], [101.0]], &device);
/// let y = layer.try_forward(x.clone(), &[0, 1, 0, 1])?.into_data().try_into_vec::<f32>().unwrap();
/// assert!(y.iter().zip([-1.0, 1.0, 1.0, -1.0]).all(|(y, expected)| (y - expected).abs() < 1e-4));
/// let error = layer.try_forward(x, &[0, 1, 0, 2]).unwrap_err();
/// assert!(error.to_string().contains("example 3 asks for bank 2 of statistics, and there are 2"));
/// # Ok::<(), batchnorm_burn::Error>(())
/// ```
///
/// # Records
///
/// `gamma` and `beta` of shape \[banks, channels\]; `statistics.B.running_mean` and so on for each bank B of statistics.
#[derive(Module, Debug)]
pub struct BatchNormBank {
    /// The scale of each bank, of shape \[banks, channels\]; `None` for 1.
    pub gamma: Option<Param<Tensor<2>>>,
    /// The shift of each bank, of shape \[banks, channels\]; `None` for 0.
    pub beta: Option<Param<Tensor<2>>>,
    /// The running statistics of each bank: layers without gamma and beta.
    pub statistics: Vec<BatchNorm>,
    banks: usize,
}

impl BatchNormBank {
    /// The number of banks.
    pub fn banks(&self) -> usize {
        self.banks
    }

    /// Applies the layer; `of` is the bank of each example, from 0 on.
    ///
    /// # Panics
    ///
    /// With the message of [`try_forward`](Self::try_forward)'s error, as Burn's layers do.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, of: &[usize]) -> Tensor<D> {
        self.try_forward(x, of).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Applies the layer; `of` is the bank of each example, from 0 on.
    ///
    /// # Errors
    ///
    /// [`batchnorm::Error::UnknownBank`] for a bank that does not exist, [`batchnorm::Error::BanksMismatch`] if there is
    /// not one for each example; [`Error::MixedModes`] if some banks are frozen and others not; else as
    /// [`BatchNorm::try_forward`].
    pub fn try_forward<const D: usize>(&self, x: Tensor<D>, of: &[usize]) -> Result<Tensor<D>, Error> {
        let first = &self.statistics[0];
        let checked = self.check(&x, of);
        if checked.is_err() {
            first.tell_failure(&x);
        }
        let (by_batch, as_in_training, taking_in) = checked?;
        let of: Arc<[usize]> = of.into();
        let assigned = |count: usize| -> Option<Assigned> { (count > 1).then(|| (Arc::clone(&of), count)) };
        let affine_banks = [&self.gamma, &self.beta].into_iter().flatten().map(|param| param.dims()[0]).max();
        let cut = Cut::Banks {
            statistics: assigned(self.statistics.len()),
            parameters: assigned(affine_banks.unwrap_or(1)),
        };
        let running = || self.statistics.iter().map(|bank| bank.running.statistics()).collect();
        let pass = Pass {
            config: first.config.settings,
            axis: first.config.channel_axis,
            cut,
            source: if by_batch { Source::Batch } else { Source::Fixed(running()) },
            mask: None,
            exchange: first.exchange.clone().filter(|_| as_in_training),
            activation: Activation::None,
            keep: Keep::Input,
            outcome: Outcome::default(),
        };
        let parameter = |param: &Param<Tensor<2>>| param.val().into_dispatch();
        let affine =
            Affine::<Dispatch>::new(self.gamma.as_ref().map(parameter), self.beta.as_ref().map(parameter));
        let y = apply(x, None, affine, &pass)?;
        let saved = pass.outcome.get()?;
        if taking_in && let Some(moments) = saved.batch_moments() {
            for (bank, moments) in self.statistics.iter().zip(moments.chunks(first.channels())) {
                if moments.iter().any(|moments| moments.count > 0) {
                    bank.running.take_in(&bank.config.settings, bank.tracked(), std::iter::once(moments))?;
                }
            }
        }
        Ok(y)
    }

    /// The same layer with statistics synchronized over ranks; see [`BatchNorm::with_exchange`].
    #[must_use]
    pub fn with_exchange(mut self, exchange: Option<Arc<dyn Exchange>>) -> Self {
        self.statistics =
            self.statistics.into_iter().map(|bank| bank.with_exchange(exchange.clone())).collect();
        self
    }

    /// The mode of all banks, if the examples are what the layer takes.
    fn check<const D: usize>(&self, x: &Tensor<D>, of: &[usize]) -> Result<(bool, bool, bool), Error> {
        self.statistics[0].check_channels(x)?;
        let what = if self.statistics.len() > 1 { "statistics" } else { "parameters" };
        if of.len() != x.dims()[0] {
            let (expected, found) = (x.dims()[0], of.len());
            return Err(batchnorm::Error::BanksMismatch { what, expected, found }.into());
        }
        if let Some(example) = of.iter().position(|&bank| bank >= self.banks) {
            let (found, banks) = (of[example], self.banks);
            return Err(batchnorm::Error::UnknownBank { what, example, found, banks }.into());
        }
        self.mode(x)
    }

    /// What all banks are doing: [`Role::mode`](crate::pass::Role::mode).
    fn mode<const D: usize>(&self, x: &Tensor<D>) -> Result<(bool, bool, bool), Error> {
        let modes: Vec<_> = self.statistics.iter().map(|bank| bank.role(x).mode()).collect();
        match modes.iter().position(|mode| *mode != modes[0]) {
            None => Ok(modes[0]),
            Some(other) => Err(Error::MixedModes { other }),
        }
    }
}

/// The parts of a batch as banks: `parts` equal ones, in order, for a batch of clean and augmented examples one after the
/// other.
///
/// ```
/// assert_eq!(batchnorm_burn::parts(4, 2), [0, 0, 1, 1]);
/// ```
pub fn parts(examples: usize, parts: usize) -> Vec<usize> {
    let size = examples.div_ceil(parts.max(1)).max(1);
    (0..examples).map(|example| example / size).collect()
}
