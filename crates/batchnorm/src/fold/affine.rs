//! What a layer is at inference, `y = s x + t`, and what it makes of a bias.

use super::FoldError;
use super::error::check_length;
use crate::health::Numbers;
use crate::{Coefficients, Real};

/// The roundings that a runtime makes, at most, on each of the terms `s z`, `s mean` and `beta` of a batch-norm layer. See
/// [`Rounding`](super::Rounding), which counts them.
const BATCH_NORM_ROUNDINGS: usize = 9;
/// Those of a multiplication and an addition.
const SCALE_AND_SHIFT_ROUNDINGS: usize = 2;

/// `y = s x + t` per channel: what a batch-norm layer is at inference, in f64.
///
/// ```text
/// s = gamma / sqrt(variance + eps),    t = beta - mean s
/// ```
///
/// All of its numbers are finite.
///
/// ```
/// use batchnorm::fold::Affine;
/// use batchnorm::health::Numbers;
///
/// let layer = Affine::new(&Numbers::new(&[3.0f32], &[4.0], 0.0))?;
/// assert_eq!((layer.scale(), layer.shift()), (&[0.5][..], &[-1.5][..]));
///
/// // y = 2 (0.5 x - 1.5) + 1
/// let both = layer.then(&Affine::of(vec![2.0], vec![1.0])?)?;
/// assert_eq!((both.scale(), both.shift()), (&[1.0][..], &[-2.0][..]));
/// # Ok::<(), batchnorm::fold::FoldError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
    magnitude: Vec<f64>,
    roundings: usize,
}

impl Affine {
    /// What the layer with these numbers is. A missing gamma is 1, a missing beta 0.
    ///
    /// # Errors
    ///
    /// Those of [`FoldError`] about a layer's numbers, each with its channels: statistics or parameters that are NaN or
    /// infinite, a variance below 0, variance + eps = 0, a scale or shift beyond f64, slices of different lengths, an invalid
    /// eps.
    pub fn new<P: Real>(numbers: &Numbers<'_, P>) -> Result<Self, FoldError> {
        let Numbers { mean, variance, gamma, beta, eps, .. } = *numbers;
        let channels = mean.len();
        check_length("variance", channels, variance.len())?;
        check_length("gamma", channels, gamma.map_or(channels, <[P]>::len))?;
        check_length("beta", channels, beta.map_or(channels, <[P]>::len))?;
        if !(eps.is_finite() && eps >= 0.0) {
            return Err(FoldError::InvalidEps { found: eps });
        }
        let given = [
            ("running mean", Some(mean)),
            ("running variance", Some(variance)),
            ("gamma", gamma),
            ("beta", beta),
        ];
        for (what, values) in given {
            check_finite(what, values.unwrap_or_default().iter().map(|value| value.to_f64()))?;
        }
        let those = |bad: &dyn Fn(f64) -> bool| -> Vec<usize> {
            (0..channels).filter(|&channel| bad(variance[channel].to_f64())).collect()
        };
        let negative = those(&|variance| variance < 0.0);
        if !negative.is_empty() {
            return Err(FoldError::NegativeVariance { channels: negative });
        }
        let zero = those(&|variance| variance + eps == 0.0);
        if !zero.is_empty() {
            return Err(FoldError::ZeroVariance { channels: zero });
        }
        let coefficients = (0..channels).map(|channel| {
            let gamma = gamma.map_or(1.0, |gamma| gamma[channel].to_f64());
            let beta = beta.map_or(0.0, |beta| beta[channel].to_f64());
            Coefficients::new(mean[channel].to_f64(), variance[channel].to_f64(), eps, (gamma, beta))
        });
        let mut affine = Self { roundings: BATCH_NORM_ROUNDINGS, ..Self::identity(0) };
        for of in coefficients {
            let of_mean = of.mean * of.scale();
            affine.scale.push(of.scale());
            affine.shift.push(of.beta - of_mean);
            affine.magnitude.push(of.beta.abs() + of_mean.abs());
        }
        affine.checked()
    }

    /// A scale and a shift that somebody gave, such as a multiplication by and an addition of constants.
    ///
    /// # Errors
    ///
    /// [`FoldError::LengthMismatch`] and [`FoldError::NonFinite`].
    pub fn of(scale: Vec<f64>, shift: Vec<f64>) -> Result<Self, FoldError> {
        check_length("shift", scale.len(), shift.len())?;
        let magnitude = shift.iter().map(|shift| shift.abs()).collect();
        Self { scale, shift, magnitude, roundings: SCALE_AND_SHIFT_ROUNDINGS }.checked()
    }

    /// y = x.
    pub fn identity(channels: usize) -> Self {
        Self {
            scale: vec![1.0; channels],
            shift: vec![0.0; channels],
            magnitude: vec![0.0; channels],
            roundings: 0,
        }
    }

    /// The number of channels.
    pub fn channels(&self) -> usize {
        self.scale.len()
    }

    /// s of each channel.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// t of each channel.
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }

    /// The sum of the sizes of what t is added up from, `|beta| + |mean s|`, of each channel: where they cancel, t is small
    /// and what a runtime rounds is not.
    pub fn magnitude(&self) -> &[f64] {
        &self.magnitude
    }

    /// How many roundings a runtime makes on a term, at most, that computes this layer by layer: 9 for a batch norm, 2 for a
    /// multiplication and an addition.
    pub fn roundings(&self) -> usize {
        self.roundings
    }

    /// `next` applied to what this one gives: `s' (s x + t) + t'`.
    ///
    /// # Errors
    ///
    /// [`FoldError::LengthMismatch`] where the channels differ, [`FoldError::NonFinite`] beyond f64.
    pub fn then(&self, next: &Self) -> Result<Self, FoldError> {
        check_length("the next layer", self.channels(), next.channels())?;
        let scaled = |values: &[f64], add: &[f64], by: &dyn Fn(f64) -> f64| -> Vec<f64> {
            let terms = values.iter().zip(&next.scale).zip(add);
            terms.map(|((value, &scale), add)| value * by(scale) + add).collect()
        };
        Self {
            scale: self.scale.iter().zip(&next.scale).map(|(a, b)| a * b).collect(),
            shift: scaled(&self.shift, &next.shift, &|scale| scale),
            magnitude: scaled(&self.magnitude, &next.magnitude, &f64::abs),
            roundings: self.roundings + next.roundings,
        }
        .checked()
    }

    /// Each channel `times` times in a row: what the layer is behind a flattening of (C, H, W), for `times` = H W.
    #[must_use]
    pub fn repeat(&self, times: usize) -> Self {
        let repeated = |values: &[f64]| -> Vec<f64> {
            values.iter().flat_map(|&value| std::iter::repeat_n(value, times)).collect()
        };
        self.each(repeated)
    }

    /// The layer before a flattening, if each run of `times` neighbouring channels has one scale and one shift: what
    /// [`repeat`](Self::repeat) repeats. `None` where they differ, or `times` does not divide the channels.
    ///
    /// ```
    /// use batchnorm::fold::Affine;
    ///
    /// let flat = Affine::of(vec![2.0, 2.0, 3.0, 3.0], vec![0.0, 0.0, 1.0, 1.0])?;
    /// assert_eq!(flat.compress(2), Some(Affine::of(vec![2.0, 3.0], vec![0.0, 1.0])?));
    /// assert_eq!(flat.compress(4), None);
    /// # Ok::<(), batchnorm::fold::FoldError>(())
    /// ```
    pub fn compress(&self, times: usize) -> Option<Self> {
        if times == 0 || !self.channels().is_multiple_of(times) {
            return None;
        }
        let constant =
            |values: &[f64]| values.chunks(times).all(|run| run.iter().all(|value| *value == run[0]));
        // The magnitudes may differ where mean and beta do and t does not: the largest holds for all.
        let largest = |run: &[f64]| run.iter().copied().fold(0.0, f64::max);
        (constant(&self.scale) && constant(&self.shift)).then(|| Self {
            magnitude: self.magnitude.chunks(times).map(largest).collect(),
            ..self.each(|values| values.iter().copied().step_by(times).collect())
        })
    }

    /// The channels `range`, such as those that one input of a concatenation has. `None` beyond the last channel.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Option<Self> {
        self.scale.get(range.clone())?;
        Some(self.each(|values| values[range.clone()].to_vec()))
    }

    /// These channels, in this order, each as often as it is named. `None` beyond the last channel.
    ///
    /// ```
    /// use batchnorm::fold::Affine;
    ///
    /// let layer = Affine::of(vec![1.0, 2.0], vec![0.0, 3.0])?;
    /// assert_eq!(layer.select(&[1, 0, 1]).unwrap().shift(), [3.0, 0.0, 3.0]);
    /// assert_eq!(layer.select(&[2]), None);
    /// # Ok::<(), batchnorm::fold::FoldError>(())
    /// ```
    pub fn select(&self, channels: &[usize]) -> Option<Self> {
        let known = channels.iter().all(|&channel| channel < self.channels());
        known.then(|| self.each(|values| channels.iter().map(|&channel| values[channel]).collect()))
    }

    /// Whether t = 0 in all channels: such a layer goes through padding with zeros.
    pub fn is_pure_scale(&self) -> bool {
        self.shift.iter().all(|&shift| shift == 0.0)
    }

    /// Whether s >= 0 in all channels: such a layer goes through a maximum.
    pub fn keeps_order(&self) -> bool {
        self.scale.iter().all(|&scale| scale >= 0.0)
    }

    fn each(&self, change: impl Fn(&[f64]) -> Vec<f64>) -> Self {
        Self {
            scale: change(&self.scale),
            shift: change(&self.shift),
            magnitude: change(&self.magnitude),
            roundings: self.roundings,
        }
    }

    fn checked(self) -> Result<Self, FoldError> {
        check_finite("scale gamma / sqrt(variance + eps)", self.scale.iter().copied())?;
        check_finite("shift beta - mean scale", self.magnitude.iter().copied())?;
        // NaN shifts have NaN magnitudes.
        Ok(self)
    }
}

/// The bias of a linear map, one value for each of its outputs, and the size of what it is added up from.
///
/// ```text
/// after:   b' = s b + t                magnitude  |s b| + |beta| + |mean s|
/// before:  b' = b + W t                magnitude  |b| + |W| (|beta| + |mean s|)
/// ```
///
/// [`Bias::then`] is the first; for the second, `values` takes [`shift_through`](super::WeightLayout::shift_through) and
/// `magnitude` takes [`abs_sums`](super::WeightLayout::abs_sums), both chunk by chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Bias {
    /// The bias of each output.
    pub values: Vec<f64>,
    /// The sum of the sizes of its terms, before they cancel.
    pub magnitude: Vec<f64>,
}

impl Bias {
    /// A map's own bias; zeros where it has none.
    ///
    /// # Errors
    ///
    /// [`FoldError::LengthMismatch`] where there is not one for each output.
    pub fn new(values: Option<&[f64]>, outputs: usize) -> Result<Self, FoldError> {
        let values = values.map_or_else(|| vec![0.0; outputs], <[f64]>::to_vec);
        check_length("bias", outputs, values.len())?;
        let magnitude = values.iter().map(|value| value.abs()).collect();
        Ok(Self { values, magnitude })
    }

    /// The bias of the map with `affine` folded in after it.
    ///
    /// # Errors
    ///
    /// [`FoldError::LengthMismatch`] where the channels are not the outputs.
    pub fn then(&self, affine: &Affine) -> Result<Self, FoldError> {
        check_length("the layer", self.values.len(), affine.channels())?;
        let outputs = 0..self.values.len();
        Ok(Self {
            values: outputs.clone().map(|o| affine.scale[o] * self.values[o] + affine.shift[o]).collect(),
            magnitude: outputs
                .map(|o| affine.scale[o].abs() * self.magnitude[o] + affine.magnitude[o])
                .collect(),
        })
    }
}

fn check_finite(what: &'static str, values: impl Iterator<Item = f64>) -> Result<(), FoldError> {
    let bad: Vec<usize> = values.enumerate().filter(|(_, value)| !value.is_finite()).map(|(i, _)| i).collect();
    if bad.is_empty() { Ok(()) } else { Err(FoldError::NonFinite { what, channels: bad }) }
}
