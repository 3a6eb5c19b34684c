//! What can be wrong with a layer's numbers: looked for in plain slices, told by stable codes and in words.
//!
//! A layer is examined as it stands in memory or in a file: running statistics, parameters, eps, counter. What is found
//! names the channels.
//!
//! ```
//! use batchnorm::BatchNormConfig;
//! use batchnorm::health::{Finding, Numbers, examine};
//!
//! let numbers = Numbers {
//!     batches: Some(500),
//!     gamma: Some(&[1.0f32, 0.0, 0.5]),
//!     ..Numbers::new(&[0.0, 0.1, 0.0], &[1.0, 2.0, -1.0], BatchNormConfig::pytorch().eps)
//! };
//! let findings = examine(&numbers);
//! assert_eq!(findings[0], Finding::NegativeVariance { channels: vec![2] });
//! assert_eq!(findings[1].code(), "dead-channels");
//! assert!(findings[1].to_string().contains("1 channel (1)"));
//! ```

use std::fmt;

use crate::Real;

/// How many eps a running variance must have before eps no longer shapes the output: below, y is scaled down by more than
/// 4.6 % (1 - `sqrt(10 / 11)`), and by how much depends on the library's eps.
const EPS_TO_CLEAR: f64 = 10.0;

/// A gamma this much smaller than the layer's largest is as good as 0: what the channel adds drowns in the rounding of f32
/// (2^-24) of what the others add.
const DEAD: f64 = 1.0 / (1u32 << 20) as f64;

/// From here on `|mean| / sigma` takes half of the 24 bits that an f32 input has: 2^12.
const LARGE_MEAN: f64 = (1u32 << 12) as f64;

/// A batch-norm layer's numbers, borrowed from wherever they are kept.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a, P> {
    /// The running mean of each channel.
    pub mean: &'a [P],
    /// The running variance of each channel.
    pub variance: &'a [P],
    /// The scale of each channel; `None` where the layer has none.
    pub gamma: Option<&'a [P]>,
    /// The shift of each channel; `None` where the layer has none.
    pub beta: Option<&'a [P]>,
    /// What is added to the variance.
    pub eps: f64,
    /// How many batches entered the statistics; `None` where nobody counted.
    pub batches: Option<u64>,
    /// Whether the latest batch was kept out of the statistics.
    pub last_update_skipped: bool,
}

impl<'a, P> Numbers<'a, P> {
    /// Statistics alone: no parameters, no counter.
    pub const fn new(mean: &'a [P], variance: &'a [P], eps: f64) -> Self {
        Self { mean, variance, gamma: None, beta: None, eps, batches: None, last_update_skipped: false }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Severity {
    /// Rarely meant, but it computes.
    Warning,
    /// The layer's output at inference is wrong or not a number.
    Error,
}

/// Something wrong, or rarely right, about a layer's numbers. Channels are in rising order.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case", tag = "code"))]
#[non_exhaustive]
pub enum Finding {
    /// The running statistics are the initial ones: no batch entered.
    NeverUpdated,
    /// A running mean or variance is NaN or infinite.
    NonFiniteStatistics {
        /// The channels concerned.
        channels: Vec<usize>,
    },
    /// A gamma or beta is NaN or infinite.
    NonFiniteParameters {
        /// The channels concerned.
        channels: Vec<usize>,
    },
    /// A running variance is below 0.
    NegativeVariance {
        /// The channels concerned.
        channels: Vec<usize>,
    },
    /// A running variance is exactly 0: the channel was constant.
    ZeroVariance {
        /// The channels concerned.
        channels: Vec<usize>,
    },
    /// A running variance is above 0 and below ten times eps, so that eps shapes the output.
    VarianceNearEps {
        /// The channels concerned.
        channels: Vec<usize>,
    },
    /// gamma is 0, or less than a millionth (2^-20) of the layer's largest.
    DeadChannels {
        /// The channels concerned.
        channels: Vec<usize>,
    },
    /// `|mean| / sqrt(variance + eps)` is 4096 or more: an f32 input has half of its digits left for what varies.
    LargeMean {
        /// The channels concerned.
        channels: Vec<usize>,
    },
    /// The latest batch was kept out of the running statistics: it was empty, or some statistic was not finite.
    UpdateSkipped,
}

impl Finding {
    /// A name that stays the same from version to version, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NeverUpdated => "never-updated",
            Self::NonFiniteStatistics { .. } => "non-finite-statistics",
            Self::NonFiniteParameters { .. } => "non-finite-parameters",
            Self::NegativeVariance { .. } => "negative-variance",
            Self::ZeroVariance { .. } => "zero-variance",
            Self::VarianceNearEps { .. } => "variance-near-eps",
            Self::DeadChannels { .. } => "dead-channels",
            Self::LargeMean { .. } => "large-mean",
            Self::UpdateSkipped => "update-skipped",
        }
    }

    /// How bad it is.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::NonFiniteStatistics { .. }
            | Self::NonFiniteParameters { .. }
            | Self::NegativeVariance { .. } => Severity::Error,
            _ => Severity::Warning,
        }
    }

    /// The channels concerned, in rising order; none where it is about the layer as a whole.
    pub fn channels(&self) -> &[usize] {
        match self {
            Self::NonFiniteStatistics { channels }
            | Self::NonFiniteParameters { channels }
            | Self::NegativeVariance { channels }
            | Self::ZeroVariance { channels }
            | Self::VarianceNearEps { channels }
            | Self::DeadChannels { channels }
            | Self::LargeMean { channels } => channels,
            Self::NeverUpdated | Self::UpdateSkipped => &[],
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::NeverUpdated => {
                "no batch entered the running statistics, so inference normalizes with mean 0 and variance 1: train, or \
                 estimate the statistics on data"
            }
            Self::NonFiniteStatistics { .. } => {
                "running mean or variance is NaN or infinite: estimate the statistics anew on data"
            }
            Self::NonFiniteParameters { .. } => "gamma or beta is NaN or infinite: training diverged",
            Self::NegativeVariance { .. } => {
                "the running variance is below 0, which no variance is: estimate the statistics anew on data"
            }
            Self::ZeroVariance { .. } => {
                "the running variance is 0: the channel was constant, and 1 / sqrt(eps) scales whatever comes"
            }
            Self::VarianceNearEps { .. } => {
                "the running variance is below ten times eps, so that the output depends on eps: keep eps with the weights"
            }
            Self::DeadChannels { .. } => "gamma is 0, or as good as: the channel's output is beta alone",
            Self::LargeMean { .. } => {
                "the mean is thousands of standard deviations from 0: an f32 input has few digits left for what varies; \
                 centre the data before"
            }
            Self::UpdateSkipped => {
                "the latest batch was kept out of the running statistics: it was empty, or held NaN or infinity"
            }
        };
        if self.channels().is_empty() {
            return f.write_str(words);
        }
        write!(f, "{}: {words}", Channels(self.channels()))
    }
}

/// How many channels, and the first few of them.
pub(crate) struct Channels<'a>(pub(crate) &'a [usize]);

impl fmt::Display for Channels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let Self(channels) = self;
        let noun = if channels.len() == 1 { "channel" } else { "channels" };
        let first: Vec<String> = channels.iter().take(SHOWN).map(usize::to_string).collect();
        let more = if channels.len() > SHOWN { ", ..." } else { "" };
        write!(f, "{} {noun} ({}{more})", channels.len(), first.join(", "))
    }
}

/// What is wrong with a layer's numbers, worst first; empty for a healthy layer.
///
/// A channel whose statistics are NaN is told once, not as everything else that a NaN might be. Slices of different
/// lengths are compared as far as the shorter one goes.
pub fn examine<P: Real>(numbers: &Numbers<'_, P>) -> Vec<Finding> {
    let value = |values: &[P], channel: usize| values[channel].to_f64();
    let channels = numbers.mean.len().min(numbers.variance.len());
    let those = |bad: &dyn Fn(f64, f64) -> bool| -> Vec<usize> {
        (0..channels)
            .filter(|&channel| bad(value(numbers.mean, channel), value(numbers.variance, channel)))
            .collect()
    };
    let finite = |mean: f64, variance: f64| mean.is_finite() && variance.is_finite();
    let near = EPS_TO_CLEAR * numbers.eps;
    let large = |mean: f64, variance: f64| {
        let sigma = (variance + numbers.eps).sqrt();
        finite(mean, variance) && sigma > 0.0 && mean.abs() >= LARGE_MEAN * sigma
    };

    let mut findings = Vec::new();
    let mut find = |channels: Vec<usize>, finding: fn(Vec<usize>) -> Finding| {
        if !channels.is_empty() {
            findings.push(finding(channels));
        }
    };
    find(those(&|mean, variance| !finite(mean, variance)), |channels| Finding::NonFiniteStatistics {
        channels,
    });
    find(non_finite(&[numbers.gamma, numbers.beta]), |channels| Finding::NonFiniteParameters { channels });
    find(those(&|_, variance| variance.is_finite() && variance < 0.0), |channels| Finding::NegativeVariance {
        channels,
    });
    find(those(&|_, variance| variance == 0.0), |channels| Finding::ZeroVariance { channels });
    find(those(&|_, variance| variance > 0.0 && variance < near), |channels| Finding::VarianceNearEps {
        channels,
    });
    find(dead(numbers.gamma), |channels| Finding::DeadChannels { channels });
    find(those(&large), |channels| Finding::LargeMean { channels });
    if numbers.batches == Some(0) {
        findings.push(Finding::NeverUpdated);
    }
    if numbers.last_update_skipped {
        findings.push(Finding::UpdateSkipped);
    }
    findings
}

/// The channels in which one of the parameters is NaN or infinite.
fn non_finite<P: Real>(parameters: &[Option<&[P]>]) -> Vec<usize> {
    let given = || parameters.iter().flatten();
    let channels = given().map(|values| values.len()).max().unwrap_or(0);
    (0..channels)
        .filter(|&channel| given().any(|values| values.get(channel).is_some_and(|value| !value.is_finite())))
        .collect()
}

fn dead<P: Real>(gamma: Option<&[P]>) -> Vec<usize> {
    let gamma = gamma.unwrap_or_default();
    let size = |gamma: &P| gamma.to_f64().abs();
    let largest = gamma.iter().map(size).filter(|size| size.is_finite()).fold(0.0, f64::max);
    // At most, for where all of them are 0.
    (0..gamma.len()).filter(|&channel| size(&gamma[channel]) <= DEAD * largest).collect()
}

/// The smallest and the largest value, NaN aside; `None` where there is no other.
///
/// ```
/// use batchnorm::health::range;
///
/// assert_eq!(range(&[2.0f32, f32::NAN, -1.0]), Some((-1.0, 2.0)));
/// assert_eq!(range::<f32>(&[]), None);
/// ```
pub fn range<P: Real>(values: &[P]) -> Option<(f64, f64)> {
    let mut numbers = values.iter().map(|value| value.to_f64()).filter(|value| !value.is_nan());
    let first = numbers.next()?;
    Some(numbers.fold((first, first), |(low, high), value| (low.min(value), high.max(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPS: f64 = 1e-5;

    fn codes(numbers: &Numbers<'_, f32>) -> Vec<(&'static str, Vec<usize>)> {
        examine(numbers).iter().map(|finding| (finding.code(), finding.channels().to_vec())).collect()
    }

    #[test]
    fn a_trained_layer_is_healthy() {
        let numbers = Numbers {
            gamma: Some(&[1.0, -0.3]),
            beta: Some(&[0.0, 2.0]),
            batches: Some(100),
            ..Numbers::new(&[0.5, -3.0], &[1.0, 0.2], EPS)
        };
        assert_eq!(examine(&numbers), []);
    }

    #[test]
    fn a_fresh_layer_was_never_updated_unless_nobody_counted() {
        let fresh = Numbers::<f32>::new(&[0.0], &[1.0], EPS);
        assert_eq!(codes(&fresh), []);
        assert_eq!(codes(&Numbers { batches: Some(0), ..fresh }), [("never-updated", vec![])]);
    }

    #[test]
    fn every_variance_that_is_none_is_told_once() {
        let variance = [f32::NAN, f32::INFINITY, -1e-6, 0.0, 9.9e-5, 1.1e-4];
        let found = codes(&Numbers::new(&[0.0; 6], &variance, EPS));
        let expected = [
            ("non-finite-statistics", vec![0, 1]),
            ("negative-variance", vec![2]),
            ("zero-variance", vec![3]),
            ("variance-near-eps", vec![4]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn without_eps_no_variance_is_near_it() {
        assert_eq!(codes(&Numbers::new(&[0.0], &[1e-30], 0.0)), []);
    }

    #[test]
    fn a_gamma_dies_against_the_largest_and_all_zeros_are_dead() {
        let numbers = Numbers::new(&[0.0; 3], &[1.0; 3], EPS);
        // Small throughout is no death: the next layer's weights make up for it.
        assert_eq!(codes(&Numbers { gamma: Some(&[1e-8, 2e-8, -1e-8]), ..numbers }), []);
        let found = codes(&Numbers { gamma: Some(&[2.0, 1e-6, -0.0]), ..numbers });
        assert_eq!(found, [("dead-channels", vec![1, 2])]);
        assert_eq!(codes(&Numbers { gamma: Some(&[0.0; 3]), ..numbers }), [("dead-channels", vec![0, 1, 2])]);
    }

    #[test]
    fn parameters_that_are_no_numbers_are_broken() {
        let numbers = Numbers {
            gamma: Some(&[f32::INFINITY, 1.0, 1.0]),
            beta: Some(&[0.0, 0.0, f32::NAN]),
            ..Numbers::new(&[0.0; 3], &[1.0; 3], EPS)
        };
        let findings = examine(&numbers);
        assert_eq!(findings, [Finding::NonFiniteParameters { channels: vec![0, 2] }]);
        assert_eq!(findings[0].severity(), Severity::Error);
    }

    #[test]
    fn a_mean_is_large_by_the_deviation_and_not_by_itself() {
        // 1e6 is nothing beside a deviation of 1e6, and much beside one of 1; -5 beside one of 1e-3.
        let found = codes(&Numbers::new(&[1e6, 1e6, -5.0], &[1e12, 1.0, 1e-6], 0.0));
        assert_eq!(found, [("large-mean", vec![1, 2])]);
    }

    #[test]
    fn a_skipped_update_is_told() {
        let numbers = Numbers { last_update_skipped: true, ..Numbers::<f32>::new(&[0.0], &[1.0], EPS) };
        assert_eq!(codes(&numbers), [("update-skipped", vec![])]);
    }

    #[test]
    fn words_name_the_first_channels() {
        let finding = Finding::ZeroVariance { channels: (0..12).collect() };
        assert!(finding.to_string().starts_with("12 channels (0, 1, 2, 3, 4, 5, 6, 7, ...): "), "{finding}");
    }

    #[test]
    fn slices_of_different_lengths_do_no_harm() {
        assert_eq!(codes(&Numbers { gamma: Some(&[1.0]), ..Numbers::new(&[0.0; 3], &[1.0; 2], EPS) }), []);
    }
}
