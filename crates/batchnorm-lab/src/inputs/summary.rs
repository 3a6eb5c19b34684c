//! What the numbers of a batch look like, channel for channel: nobody knows the range of their inputs.

use batchnorm::Moments;

use super::NamedArray;

/// A channel of an input in a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelSummary {
    /// The input's name.
    pub input: String,
    /// The channel; `None` if the values are not told apart by channels.
    pub channel: Option<usize>,
    /// How many values there are, those that are no numbers included.
    pub count: u64,
    /// How many of them are NaN or infinite; they are in none of the figures below.
    pub not_finite: u64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, with the divisor n.
    pub std: f64,
    /// Whether all values are whole numbers.
    pub whole: bool,
}

impl ChannelSummary {
    /// The channels of an array along an axis, or the whole of it.
    ///
    /// ```
    /// use batchnorm_lab::inputs::{ChannelSummary, NamedArray};
    ///
    /// let x = NamedArray { name: "x".to_owned(), dims: vec![2, 2], values: vec![1.0, 10.0, 3.0, 30.0] };
    /// let channels = ChannelSummary::of(&x, Some(1));
    /// assert_eq!((channels[0].mean, channels[1].max), (2.0, 30.0));
    /// assert_eq!(ChannelSummary::of(&x, None).len(), 1);
    /// ```
    pub fn of(array: &NamedArray, axis: Option<usize>) -> Vec<Self> {
        let axis = axis.filter(|&axis| axis < array.dims.len());
        let channels = axis.map_or(1, |axis| array.dims[axis]).max(1);
        let inner = axis.map_or(array.values.len(), |axis| array.dims[axis + 1..].iter().product()).max(1);
        let empty = |channel| Self {
            input: array.name.clone(),
            channel: axis.map(|_| channel),
            count: 0,
            not_finite: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            mean: 0.0,
            std: 0.0,
            whole: true,
        };
        let mut summaries: Vec<Self> = (0..channels).map(empty).collect();
        let mut moments = vec![Moments::default(); channels];
        for (run, values) in array.values.chunks(inner).enumerate() {
            let channel = run % channels;
            let summary = &mut summaries[channel];
            for &value in values {
                summary.count += 1;
                if !value.is_finite() {
                    summary.not_finite += 1;
                    continue;
                }
                let value = f64::from(value);
                summary.min = summary.min.min(value);
                summary.max = summary.max.max(value);
                summary.whole &= value.fract() == 0.0;
                moments[channel].push(value);
            }
        }
        for (summary, moments) in summaries.iter_mut().zip(moments) {
            if moments.count == 0 {
                [summary.min, summary.max] = [f64::NAN; 2];
            }
            summary.mean = moments.mean;
            summary.std = moments.biased_variance().sqrt();
        }
        summaries
    }

    /// Which channel it is, in words.
    pub(super) fn in_words(&self) -> String {
        match self.channel {
            Some(channel) => format!("input `{}`, channel {channel}", self.input),
            None => format!("input `{}`", self.input),
        }
    }
}

/// What was asked for, which the numbers should agree with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected {
    /// Means or deviations of images were given.
    pub(super) standardized: bool,
    /// Pixels from 0 to 255 were asked for.
    pub(super) bytes: bool,
    /// The input takes whole numbers.
    pub(super) whole: bool,
}

/// Values of raw pixels reach so far in nearly every batch of images.
const BRIGHT: f64 = 128.0;
/// Standardized channels of a batch have means nearer to 0 than this, and deviations within this factor of 1.
const FAR_MEAN: f64 = 1.0;
const FAR_STD: f64 = 3.0;

/// What looks wrong about a channel, in words.
pub(super) fn warnings(summary: &ChannelSummary, expected: Expected) -> Vec<String> {
    let mut warnings = Vec::new();
    let who = summary.in_words();
    let ChannelSummary { count, not_finite, min, max, mean, std, whole, .. } = *summary;
    if not_finite > 0 {
        warnings.push(format!(
            "{who}: {not_finite} of {count} values are NaN or infinite; statistics of them mean nothing"
        ));
    }
    if count <= not_finite || expected.whole {
        return warnings;
    }
    if min == 0.0 && max == 0.0 {
        warnings.push(format!("{who} is 0 everywhere: are these the right data?"));
    } else if min == max && count > 1 {
        warnings
            .push(format!("{who} is {min:.4} everywhere: its variance is 0 and tells nothing of other data"));
    } else if whole && min >= 0.0 && (BRIGHT..=255.0).contains(&max) && !expected.bytes {
        warnings.push(format!(
            "{who} has whole numbers from {min} to {max}, as raw pixels have; most models take 0 to 1, or pixels less a mean \
             in units of a deviation: if this one does, bring them to it first"
        ));
    } else if expected.standardized && (mean.abs() > FAR_MEAN || !(1.0 / FAR_STD..=FAR_STD).contains(&std)) {
        warnings.push(format!(
            "{who} has the mean {mean:.3} and the standard deviation {std:.3}, far from 0 and 1 although means or deviations \
             were given: they may be those of other data, or of another range of pixels"
        ));
    }
    warnings
}
