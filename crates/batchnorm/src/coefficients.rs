//! From configuration and moments to the coefficients of the two maps: all the arithmetic on C numbers that
//! the passes share.

use crate::{Element, Error, Moments, Real};

/// The learned parameters of a layer: gamma and beta, each optional, one value per channel.
///
/// A missing gamma is 1, a missing beta is 0.
#[derive(Debug)]
pub struct Parameters<'a, P> {
    /// The scale, or `None` for 1.
    pub gamma: Option<&'a [P]>,
    /// The shift, or `None` for 0.
    pub beta: Option<&'a [P]>,
}

impl<P> Clone for Parameters<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Parameters<'_, P> {}

impl<P> Default for Parameters<'_, P> {
    fn default() -> Self {
        Self { gamma: None, beta: None }
    }
}

impl<'a, P: Real> Parameters<'a, P> {
    /// Checks that there is one value per channel.
    ///
    /// # Errors
    ///
    /// [`Error::PerChannelMismatch`] naming gamma or beta.
    pub fn check(&self, channels: usize) -> Result<(), Error> {
        check_per_channel("gamma", channels, self.gamma)?;
        check_per_channel("beta", channels, self.beta)
    }

    /// Channel `channel`'s gamma and beta in f64.
    ///
    /// # Panics
    ///
    /// If the channel is beyond a slice: [`Parameters::check`] comes first.
    pub fn of(&self, channel: usize) -> (f64, f64) {
        let gamma = self.gamma.map_or(1.0, |gamma| gamma[channel].to_f64());
        let beta = self.beta.map_or(0.0, |beta| beta[channel].to_f64());
        (gamma, beta)
    }
}

pub(crate) fn check_per_channel<P>(
    what: &'static str,
    expected: usize,
    values: Option<&[P]>,
) -> Result<(), Error> {
    match values {
        Some(values) if values.len() != expected => {
            Err(Error::PerChannelMismatch { what, expected, found: values.len() })
        }
        _ => Ok(()),
    }
}

/// What the maps need to know of one channel.
///
/// ```text
/// xhat = rstd (x - mean),    rstd = 1 / sqrt(variance + eps)
/// y    = gamma xhat + beta
/// ```
///
/// The map is centred: computed as `a x + b` it would lose `|mean| / sigma` in precision. Kernels narrow these
/// to the tensor's type themselves; in f32 the mean is a float and a rest.
///
/// ```
/// use batchnorm::Coefficients;
///
/// let coefficients = Coefficients::new(10.0, 3.0, 1.0, (4.0, 0.5));
/// assert_eq!((coefficients.rstd, coefficients.scale()), (0.5, 2.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// The mean that is subtracted: the batch's in training, the running one in evaluation.
    pub mean: f64,
    /// `1 / sqrt(variance + eps)`.
    pub rstd: f64,
    /// The scale.
    pub gamma: f64,
    /// The shift.
    pub beta: f64,
}

impl Coefficients {
    /// The coefficients that change nothing.
    pub(crate) const IDENTITY: Self = Self { mean: 0.0, rstd: 1.0, gamma: 1.0, beta: 0.0 };

    /// From a mean and a variance.
    pub fn new(mean: f64, variance: f64, eps: f64, (gamma, beta): (f64, f64)) -> Self {
        Self { mean, rstd: 1.0 / (variance + eps).sqrt(), gamma, beta }
    }

    /// From a batch's moments, whose biased variance training normalizes with. A statistic that is not finite
    /// makes everything NaN: an infinite variance would turn every output into beta unseen.
    pub fn of_batch(moments: &Moments, eps: f64, parameters: (f64, f64)) -> Self {
        let variance = if moments.is_finite() { moments.biased_variance() } else { f64::NAN };
        Self::new(moments.mean, variance, eps, parameters)
    }

    /// The coefficients by which `xhat` is that of `z = gamma xhat + beta`: `mean' = beta`, `rstd' = 1 / gamma`, and a
    /// gamma' with which [`scale`](Self::scale) stays what it is, so that gradients with regard to x come out.
    ///
    /// Negative gammas are as good as others. Of `z` rounded to a relative u, xhat is off by `u |z / gamma|`, which is
    /// `u (|xhat| + |beta / gamma|)`: what is small beside beta cannot be read out of z.
    ///
    /// # Errors
    ///
    /// [`Error::NotInvertible`] where that is one standard deviation or more: for gamma = 0, and where `|gamma| <= u |beta|`.
    ///
    /// ```
    /// use batchnorm::Coefficients;
    ///
    /// let coefficients = Coefficients { mean: 10.0, rstd: 0.5, gamma: -4.0, beta: 1.0 };
    /// let of_output = coefficients.of_output::<f32>(0)?;
    /// assert_eq!(of_output.rstd * (-3.0 - of_output.mean), 1.0); // z = -3 has xhat 1
    /// assert_eq!(of_output.scale(), coefficients.scale());
    /// assert!(Coefficients { gamma: 0.0, ..coefficients }.of_output::<f32>(0).is_err());
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn of_output<E: Element>(&self, channel: usize) -> Result<Self, Error> {
        let Self { rstd, gamma, beta, .. } = *self;
        let inverse = 1.0 / gamma;
        // NaN and infinite parameters make NaN and infinite gradients, as they do from x.
        let lost = gamma.abs() <= E::roundoff() * beta.abs() && gamma.is_finite() && beta.is_finite();
        if gamma == 0.0 || lost || E::Parameter::from_f64(inverse).to_f64().is_infinite() {
            return Err(Error::NotInvertible { channel, gamma, beta });
        }
        Ok(Self { mean: beta, rstd: inverse, gamma: gamma * gamma * rstd, beta })
    }

    /// `gamma * rstd`, the slope of y in x.
    pub fn scale(&self) -> f64 {
        self.gamma * self.rstd
    }
}

/// The two sums that the backward pass folds out of (x, dy), for one channel.
///
/// They are the parameters' gradients (Ioffe & Szegedy 2015, section 3):
///
/// ```text
/// d beta = sum(dy),    d gamma = sum(dy xhat)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GradientSums {
    /// `sum(dy)`, the gradient of beta.
    pub dy: f64,
    /// `sum(dy xhat)`, the gradient of gamma; 0 when x was not given.
    pub dy_xhat: f64,
}

impl GradientSums {
    /// Both sums divided by the number of values per channel, as the gradient of x needs them; zero for no
    /// values.
    pub fn means(&self, count: u64) -> GradientMeans {
        let count = count.max(1) as f64;
        GradientMeans { dy: self.dy / count, dy_xhat: self.dy_xhat / count }
    }

    /// The sums over both sets of values together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { dy: self.dy + other.dy, dy_xhat: self.dy_xhat + other.dy_xhat }
    }
}

/// [`GradientSums`] divided by the number of values per channel, over which the statistics were taken.
///
/// They carry the dependence of the statistics on x back to x. With fixed statistics there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GradientMeans {
    /// `mean(dy)`.
    pub dy: f64,
    /// `mean(dy xhat)`.
    pub dy_xhat: f64,
}

/// Coefficients of every channel from a batch's moments.
pub(crate) fn fill_of_batch<P: Real>(
    moments: &[Moments],
    eps: f64,
    parameters: &Parameters<'_, P>,
    coefficients: &mut [Coefficients],
) {
    for (channel, (coefficients, moments)) in coefficients.iter_mut().zip(moments).enumerate() {
        *coefficients = Coefficients::of_batch(moments, eps, parameters.of(channel));
    }
}

/// Coefficients of every channel from a given mean and variance, appended to `coefficients`.
///
/// # Errors
///
/// [`Error::InvalidStatistics`] if they are not numbers to normalize with.
pub(crate) fn of_statistics<P: Real>(
    mean: &[P],
    variance: &[P],
    eps: f64,
    parameters: &Parameters<'_, P>,
    coefficients: &mut Vec<Coefficients>,
) -> Result<(), Error> {
    coefficients.reserve(mean.len());
    for (channel, (mean, variance)) in mean.iter().zip(variance).enumerate() {
        coefficients.push(checked(channel, mean.to_f64(), variance.to_f64(), eps, parameters.of(channel))?);
    }
    Ok(())
}

/// Coefficients of a channel from a mean and a variance that somebody gave.
///
/// # Errors
///
/// [`Error::InvalidStatistics`] if they are not numbers to normalize with.
pub(crate) fn checked(
    channel: usize,
    mean: f64,
    variance: f64,
    eps: f64,
    parameters: (f64, f64),
) -> Result<Coefficients, Error> {
    if mean.is_finite() && variance.is_finite() && variance + eps > 0.0 {
        Ok(Coefficients::new(mean, variance, eps, parameters))
    } else {
        Err(Error::InvalidStatistics { channel, mean, variance, eps })
    }
}

/// Checks that every scale fits the type that maps compute in.
///
/// # Errors
///
/// [`Error::ScaleOverflow`] where a finite gamma and a finite variance make one that does not.
pub(crate) fn check_scales<P: Real>(coefficients: &[Coefficients]) -> Result<(), Error> {
    for (channel, coefficients) in coefficients.iter().enumerate() {
        let scale = coefficients.scale();
        let fits = P::from_f64(scale).is_finite() && P::from_f64(coefficients.rstd).is_finite();
        if !fits && coefficients.gamma.is_finite() && !coefficients.rstd.is_nan() {
            return Err(Error::ScaleOverflow { channel, scale });
        }
    }
    Ok(())
}
