//! What "momentum", "running variance" and "eps" mean: defined here, once.
//!
//! Libraries disagree about these words, and most bugs that users report come from that. So the meaning is
//! data: a [`BatchNormConfig`] says what it weighs and which variance it keeps, each library's convention is a
//! preset by name, and every other part of the system only passes the configuration on.

use std::fmt;

use crate::Error;

/// How a new batch enters the running statistics.
///
/// ```text
/// running <- w_old * running + w_new * batch,    w_old + w_new = 1
/// ```
///
/// PyTorch, Burn, Candle and cuDNN call `w_new` the momentum; Keras, Flax and ONNX call `w_old` so. The two
/// constructors say which one a number is:
///
/// ```
/// use batchnorm::Momentum;
///
/// let pytorch = Momentum::of_new(0.1);
/// let keras = Momentum::of_old(0.99);
/// assert_eq!(pytorch.weights(7), (0.9, 0.1));
/// assert_eq!(keras.weights(7).0, 0.99);
/// // The plain average over batches: the k-th batch weighs 1/k.
/// assert_eq!(Momentum::Cumulative.weights(4), (0.75, 0.25));
/// ```
///
/// Any finite weight computes as it does in PyTorch; outside \[0, 1\]
/// [`BatchNormConfig::warnings`] says so.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Momentum {
    /// The weight of the new batch (PyTorch's meaning). See [`Momentum::of_new`].
    OfNew(f64),
    /// The weight of the old value (Keras's, Flax's and ONNX's meaning). See [`Momentum::of_old`].
    OfOld(f64),
    /// The plain average over all batches so far: PyTorch's `momentum=None`.
    Cumulative,
}

impl Momentum {
    /// An exponential average in which the new batch weighs `weight`: PyTorch's `momentum=weight`.
    pub const fn of_new(weight: f64) -> Self {
        Self::OfNew(weight)
    }

    /// An exponential average in which the old value weighs `weight`: Keras's and ONNX's `momentum=weight`.
    pub const fn of_old(weight: f64) -> Self {
        Self::OfOld(weight)
    }

    /// `(w_old, w_new)` for the `batch`-th batch, counted from 1.
    pub fn weights(self, batch: u64) -> (f64, f64) {
        match self {
            Self::OfNew(new) => (1.0 - new, new),
            Self::OfOld(old) => (old, 1.0 - old),
            Self::Cumulative => {
                let new = 1.0 / batch.max(1) as f64;
                (1.0 - new, new)
            }
        }
    }
}

/// Which variance of a batch of n values per channel enters the running variance.
///
/// Normalization in training uses the biased one in every library; only what is *kept* differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RunningVariance {
    /// `M2 / (n - 1)`, Bessel's correction: PyTorch, TensorFlow's fused op, Candle, the paper.
    Unbiased,
    /// `M2 / n`: Keras, Flax, ONNX, Burn's stock layer.
    Biased,
}

/// What to do about an input that has no useful statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Policy {
    /// Return the typed error.
    Error,
    /// Go on as the field's documentation says.
    Allow,
}

/// The meaning of a batch-norm layer: everything about it but its numbers.
///
/// The default is PyTorch's convention. Change single values by the `with_` methods:
///
/// ```
/// use batchnorm::{BatchNormConfig, Momentum, RunningVariance};
///
/// let config = BatchNormConfig::pytorch()
///     .with_eps(1e-3)
///     .with_momentum(Momentum::of_old(0.99))
///     .with_shift(false);
/// assert_eq!(config.running_variance, RunningVariance::Unbiased);
/// config.validate()?;
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct BatchNormConfig {
    /// Added to the variance before the square root. Finite and >= 0; with 0, a variance of zero is
    /// [`Error::ZeroVariance`].
    pub eps: f64,
    /// How a new batch enters the running statistics.
    pub momentum: Momentum,
    /// Which variance of the batch the running variance keeps.
    pub running_variance: RunningVariance,
    /// Whether there is a learned scale, gamma. Without it gamma is 1.
    pub scale: bool,
    /// Whether there is a learned shift, beta. Without it beta is 0.
    pub shift: bool,
    /// Whether running statistics are kept. Without them, evaluation uses the batch's own statistics too.
    pub track_running_statistics: bool,
    /// Training on one value per channel. Allowed, the variance is 0, every output is beta, and 0 enters the
    /// running variance (Bessel's correction divides by `max(1, n - 1)`, as TensorFlow does).
    pub one_value: Policy,
    /// Training on no values at all. Allowed, the output is empty, parameter gradients are zero, and running
    /// statistics and the batch counter stay as they were.
    pub empty_batch: Policy,
    /// Batch statistics that are NaN or infinite. Allowed, NaN flows through the output of that channel, the
    /// running statistics of *all* channels and the counter stay as they were, and
    /// [`RunningUpdate::SkippedNonFinite`](crate::RunningUpdate::SkippedNonFinite) tells which channels.
    pub non_finite: Policy,
}

impl Default for BatchNormConfig {
    /// PyTorch's convention, [`BatchNormConfig::pytorch`].
    fn default() -> Self {
        Self::pytorch()
    }
}

impl BatchNormConfig {
    /// PyTorch's `nn.BatchNorm{1,2,3}d`: eps 1e-5, the new batch weighs 0.1, unbiased running variance, one
    /// value per channel is an error.
    pub const fn pytorch() -> Self {
        Self {
            eps: 1e-5,
            momentum: Momentum::of_new(0.1),
            running_variance: RunningVariance::Unbiased,
            scale: true,
            shift: true,
            track_running_statistics: true,
            one_value: Policy::Error,
            empty_batch: Policy::Allow,
            non_finite: Policy::Allow,
        }
    }

    /// Keras 3's `BatchNormalization`: eps 1e-3, the old value weighs 0.99, biased running variance.
    pub const fn keras() -> Self {
        Self { eps: 1e-3, ..Self::flax() }
    }

    /// Flax's `BatchNorm` (linen and nnx): eps 1e-5, the old value weighs 0.99, biased running variance.
    pub const fn flax() -> Self {
        Self {
            momentum: Momentum::of_old(0.99),
            running_variance: RunningVariance::Biased,
            one_value: Policy::Allow,
            ..Self::pytorch()
        }
    }

    /// ONNX's `BatchNormalization` (opset 15): eps 1e-5, the old value weighs 0.9, biased running variance.
    pub const fn onnx() -> Self {
        Self { momentum: Momentum::of_old(0.9), ..Self::flax() }
    }

    /// Burn 0.22's `nn::BatchNorm`: eps 1e-5, the new batch weighs 0.1, biased running variance.
    pub const fn burn() -> Self {
        Self { momentum: Momentum::of_new(0.1), ..Self::flax() }
    }

    /// The paper (Ioffe & Szegedy 2015): the plain average over batches of mean and unbiased variance, which
    /// is its Algorithm 2 run along with training. The paper names no eps; this is PyTorch's.
    pub const fn paper() -> Self {
        Self { momentum: Momentum::Cumulative, ..Self::pytorch() }
    }

    /// With another eps.
    pub const fn with_eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// With another momentum.
    pub const fn with_momentum(mut self, momentum: Momentum) -> Self {
        self.momentum = momentum;
        self
    }

    /// With another kind of running variance.
    pub const fn with_running_variance(mut self, running_variance: RunningVariance) -> Self {
        self.running_variance = running_variance;
        self
    }

    /// With or without a learned scale, gamma.
    pub const fn with_scale(mut self, scale: bool) -> Self {
        self.scale = scale;
        self
    }

    /// With or without a learned shift, beta.
    pub const fn with_shift(mut self, shift: bool) -> Self {
        self.shift = shift;
        self
    }

    /// With or without both scale and shift: PyTorch's `affine`.
    pub const fn with_affine(self, affine: bool) -> Self {
        self.with_scale(affine).with_shift(affine)
    }

    /// With or without running statistics: PyTorch's `track_running_stats`.
    pub const fn with_running_statistics(mut self, track: bool) -> Self {
        self.track_running_statistics = track;
        self
    }

    /// With another policy for one value per channel in training.
    pub const fn with_one_value(mut self, policy: Policy) -> Self {
        self.one_value = policy;
        self
    }

    /// With another policy for empty batches.
    pub const fn with_empty_batch(mut self, policy: Policy) -> Self {
        self.empty_batch = policy;
        self
    }

    /// With another policy for batch statistics that are NaN or infinite.
    pub const fn with_non_finite(mut self, policy: Policy) -> Self {
        self.non_finite = policy;
        self
    }

    /// Checks that every number is one that can be computed with.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEps`] if eps is negative or not finite, [`Error::InvalidMomentum`] if the momentum's
    /// weight is not finite.
    pub fn validate(&self) -> Result<(), Error> {
        if !(self.eps.is_finite() && self.eps >= 0.0) {
            return Err(Error::InvalidEps { found: self.eps });
        }
        match self.momentum {
            Momentum::OfNew(found) | Momentum::OfOld(found) if !found.is_finite() => {
                Err(Error::InvalidMomentum { found })
            }
            _ => Ok(()),
        }
    }

    /// What is allowed but rarely meant, in words to show a user.
    ///
    /// ```
    /// use batchnorm::{BatchNormConfig, Momentum};
    ///
    /// // Keras's number passed as PyTorch's.
    /// let config = BatchNormConfig::pytorch().with_momentum(Momentum::of_new(0.99));
    /// assert!(config.warnings()[0].to_string().contains("of_old"));
    /// assert!(BatchNormConfig::pytorch().warnings().is_empty());
    /// ```
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let (_, new) = self.momentum.weights(1);
        if self.momentum != Momentum::Cumulative && self.track_running_statistics {
            if !(0.0..=1.0).contains(&new) {
                warnings.push(Warning::MomentumOutsideUnitInterval { new });
            } else if new > 0.5 && new < 1.0 {
                warnings.push(Warning::MomentumLooksInverted { new });
            }
        }
        if self.eps == 0.0 {
            warnings.push(Warning::EpsIsZero);
        }
        warnings
    }
}

/// Something about a configuration that is allowed but rarely meant.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// The new batch's weight is outside \[0, 1\], so running statistics can diverge.
    MomentumOutsideUnitInterval {
        /// The weight of the new batch.
        new: f64,
    },
    /// The new batch weighs more than half: the other convention was probably meant.
    MomentumLooksInverted {
        /// The weight of the new batch.
        new: f64,
    },
    /// eps is 0, so a constant channel is an error.
    EpsIsZero,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MomentumOutsideUnitInterval { new } => write!(
                f,
                "the new batch weighs {new}, outside [0, 1]: running statistics are no average and can diverge"
            ),
            Self::MomentumLooksInverted { new } => write!(
                f,
                "the new batch weighs {new}, more than half: if {new} is Keras's, Flax's or ONNX's momentum (the \
                 weight of the old value), use `Momentum::of_old({new})`"
            ),
            Self::EpsIsZero => write!(f, "eps is 0: a channel whose values are all equal will be an error"),
        }
    }
}
