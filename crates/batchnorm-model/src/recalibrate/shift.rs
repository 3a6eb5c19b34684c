//! How far new statistics are from old ones.

use serde::Serialize;

use super::selection::Layer;
use super::statistics::Estimate;

/// What changed about a layer, over its channels. `v` is a variance with the layer's eps added, as the layer divides by
/// its root; a figure is `None` where the old statistics are not finite or a `v` is not above zero.
///
/// ```text
/// shift = |mean' - mean| / sqrt(v)    ratio = v' / v
/// KL(new || old) = 1/2 (v' / v - 1 - ln(v' / v) + (mean' - mean)^2 / v)        of normal distributions
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shift {
    /// The mean over channels of the shift of the mean, in the old standard deviations.
    pub mean_sigmas: Option<f64>,
    /// The largest shift of a mean.
    pub max_sigmas: Option<f64>,
    /// The channel with the largest shift.
    pub max_channel: Option<usize>,
    /// The least ratio of the new variance to the old one.
    pub min_ratio: Option<f64>,
    /// The geometric mean of the ratios.
    pub mean_ratio: Option<f64>,
    /// The largest ratio.
    pub max_ratio: Option<f64>,
    /// The mean over channels of the divergence KL(new || old), in nats.
    pub mean_kl: Option<f64>,
    /// The sum over channels of the divergence.
    pub sum_kl: Option<f64>,
    /// Channels whose old statistics could not be compared with.
    pub incomparable: usize,
}

impl Shift {
    pub(super) fn of(layer: &Layer, new: &Estimate) -> Self {
        let (mut sigmas, mut ratios, mut divergences) = (Vec::new(), Vec::new(), Vec::new());
        let mut channels = Vec::new();
        for channel in 0..layer.channels {
            let old = layer.old_variance[channel] + layer.eps;
            let now = new.variance[channel] + layer.eps;
            let delta = new.mean[channel] - layer.old_mean[channel];
            let comparable = delta.is_finite() && old.is_finite() && old > 0.0 && now > 0.0;
            if !comparable {
                continue;
            }
            let ratio = now / old;
            channels.push(channel);
            sigmas.push(delta.abs() / old.sqrt());
            ratios.push(ratio);
            // ln_1p keeps what is left where the two are near each other.
            divergences.push(0.5 * ((ratio - 1.0) - (ratio - 1.0).ln_1p() + delta * delta / old));
        }
        let some = |value: f64| (!channels.is_empty()).then_some(value);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
        let max = sigmas.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        Self {
            mean_sigmas: some(mean(&sigmas)),
            max_sigmas: max.map(|(_, &sigmas)| sigmas),
            max_channel: max.map(|(index, _)| channels[index]),
            min_ratio: ratios.iter().copied().min_by(f64::total_cmp),
            mean_ratio: some(mean(&logs).exp()),
            max_ratio: ratios.iter().copied().max_by(f64::total_cmp),
            mean_kl: some(mean(&divergences)),
            sum_kl: some(divergences.iter().sum()),
            incomparable: layer.channels - channels.len(),
        }
    }
}
