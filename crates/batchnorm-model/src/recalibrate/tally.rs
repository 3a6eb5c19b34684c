//! Statistics collected batch by batch.

use batchnorm::{Cpu, Element, Kernels, Moments, Shape, View};

use super::RecalibrateError;
use super::selection::Layer;
use super::statistics::Estimate;
use crate::runtime::{Array, ArrayValues};

type Result<T, E = RecalibrateError> = std::result::Result<T, E>;

/// What is known of a layer's channels in the middle of a pass.
///
/// Pooled: the moments of all values. Of batches: those of the batches' means and of the batches' unbiased variances,
/// whose means are Algorithm 2's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) values: Vec<Moments>,
    pub(super) batch_means: Vec<Moments>,
    pub(super) batch_variances: Vec<Moments>,
}

impl Tally {
    /// Whether it is of so many channels, or of nothing yet.
    pub(super) fn is_of(&self, channels: usize) -> bool {
        let rows = [&self.values, &self.batch_means, &self.batch_variances];
        rows.iter().all(|row| row.is_empty() || row.len() == channels)
    }

    /// Lets a batch in, pooled with those before.
    pub(super) fn pool(&mut self, batch: &[Moments]) {
        self.values.resize(batch.len(), Moments::EMPTY);
        for (all, moments) in self.values.iter_mut().zip(batch) {
            *all = all.merge(*moments);
        }
    }

    /// Lets a batch in as one of many that weigh alike.
    pub(super) fn average(&mut self, batch: &[Moments]) {
        self.pool(batch);
        self.batch_means.resize(batch.len(), Moments::EMPTY);
        self.batch_variances.resize(batch.len(), Moments::EMPTY);
        for (channel, moments) in batch.iter().enumerate() {
            self.batch_means[channel].push(moments.mean);
            self.batch_variances[channel].push(moments.unbiased_variance());
        }
    }

    /// The population's statistics by what was collected.
    pub(super) fn estimate(&self, layer: &Layer) -> Result<Estimate> {
        let count = self.values.first().map_or(0, |moments| moments.count);
        if count < 2 && layer.channels > 0 {
            return Err(RecalibrateError::OneValue {
                layer: layer.name.clone(),
                found: count,
                in_batch: false,
            });
        }
        let means = |moments: &[Moments]| moments.iter().map(|moments| moments.mean).collect();
        Ok(if self.batch_means.is_empty() {
            let variance = self.values.iter().map(Moments::biased_variance).collect();
            Estimate { count, mean: means(&self.values), variance }
        } else {
            Estimate { count, mean: means(&self.batch_means), variance: means(&self.batch_variances) }
        })
    }
}

/// The moments of each channel of the first `rows` entries along the first axis of what comes into a layer.
pub(super) fn moments(
    layer: &Layer,
    array: &Array,
    rows: usize,
    first: u64,
    count: u64,
) -> Result<Vec<Moments>> {
    let found = array.dims.get(1).copied().filter(|&channels| channels == layer.channels);
    let (Some(channels), Some(&all)) = (found, array.dims.first()) else {
        return Err(RecalibrateError::Channels {
            layer: layer.name.clone(),
            what: "statistics",
            channels: layer.channels,
            found: format!("an input of the shape {:?}", array.dims),
        });
    };
    let row = array.values.len() / all.max(1);
    let (rows, inner) = (rows.min(all), row / channels.max(1));
    let mut moments = vec![Moments::EMPTY; channels];
    let folded = match &array.values {
        ArrayValues::F32(values) => fold(rows, inner, &values[..rows * row], &mut moments),
        ArrayValues::F64(values) => fold(rows, inner, &values[..rows * row], &mut moments),
        ArrayValues::F16(values) => fold(rows, inner, &values[..rows * row], &mut moments),
        ArrayValues::Bf16(values) => fold(rows, inner, &values[..rows * row], &mut moments),
        _ => None,
    };
    folded.ok_or_else(|| RecalibrateError::Element {
        layer: layer.name.clone(),
        found: array.values.element().to_string(),
    })?;
    check_finite(layer, &moments, first, count)?;
    Ok(moments)
}

fn fold<E: Element>(outer: usize, inner: usize, values: &[E], moments: &mut [Moments]) -> Option<()>
where
    Cpu: Kernels<E>,
{
    let shape = Shape::new(outer, moments.len(), inner).ok()?;
    Cpu.moments(View::new("x", shape, values).ok()?, moments);
    Some(())
}

/// The moments of a batch by its mean and its biased variance, as a model computed them.
pub(super) fn of_batch(
    layer: &Layer,
    [mean, variance]: [&Array; 2],
    positions: u64,
    first: u64,
    count: u64,
) -> Result<Vec<Moments>> {
    let (means, variances) = (mean.to_f64(), variance.to_f64());
    for found in [&means, &variances] {
        if found.len() != layer.channels {
            return Err(RecalibrateError::Channels {
                layer: layer.name.clone(),
                what: "statistics",
                channels: layer.channels,
                found: format!("an input of {}", found.len()),
            });
        }
    }
    let moments = means.iter().zip(&variances).map(|(&mean, &variance)| Moments {
        count: positions,
        mean,
        m2: variance * positions as f64,
    });
    let moments: Vec<Moments> = moments.collect();
    check_finite(layer, &moments, first, count)?;
    Ok(moments)
}

fn check_finite(layer: &Layer, moments: &[Moments], first: u64, count: u64) -> Result<()> {
    match moments.iter().position(|moments| !moments.is_finite()) {
        Some(channel) => Err(RecalibrateError::NotFinite { layer: layer.name.clone(), channel, first, count }),
        None => Ok(()),
    }
}
