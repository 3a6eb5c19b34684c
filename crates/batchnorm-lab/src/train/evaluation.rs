//! What a network does on the test set.

use batchnorm_burn::Error;
use burn::tensor::{Device, Tensor};

use super::Band;
use super::batches::Batch;
use crate::data::Dataset;
use crate::networks::Classifier;

/// The test set, ready to be evaluated on.
pub(super) struct Evaluation<'a> {
    images: Tensor<2>,
    labels: &'a [u8],
    typical_unit: usize,
}

/// One evaluation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// The share of images put into their class; `None` if an output is not finite.
    pub(super) accuracy: Option<f64>,
    /// The typical unit's inputs; `None` if one is not finite.
    pub(super) inputs: Option<[f64; 3]>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(data: &'a Dataset, typical_unit: usize) -> Self {
        Self { images: test_images(data), labels: data.test.labels(), typical_unit }
    }

    /// Evaluates a network that is in evaluation mode.
    pub(super) fn of<N: Classifier>(&self, network: &N) -> Result<Outcome, Error> {
        let observed = network.observe(self.images.clone())?;
        let (logits, classes) = rows(observed.logits);
        let accuracy = logits.iter().all(|logit| logit.is_finite()).then(|| {
            let right = logits
                .chunks(classes)
                .zip(self.labels)
                .filter(|(logits, label)| largest(logits) == usize::from(**label))
                .count();
            right as f64 / self.labels.len() as f64
        });
        let (inputs, units) = rows(observed.last_inputs);
        let mut unit: Vec<f64> = column(&inputs, units, self.typical_unit);
        let inputs = unit.iter().all(|z| z.is_finite()).then(|| {
            unit.sort_by(f64::total_cmp);
            [0.15, 0.50, 0.85].map(|share| percentile(&unit, share))
        });
        Ok(Outcome { accuracy, inputs })
    }
}

impl Outcome {
    pub(super) fn band(&self, step: usize) -> Option<Band> {
        self.inputs.map(|[p15, p50, p85]| Band { step, p15, p50, p85 })
    }
}

/// The unit of the last hidden layer whose input has the median standard deviation over the test set.
///
/// The network is the plain twin, which has no layer that could refuse an input.
pub(super) fn typical_unit<N: Classifier>(network: &N, data: &Dataset) -> usize {
    let observed = network.observe(test_images(data)).expect("the plain twin refuses nothing");
    let (inputs, units) = rows(observed.last_inputs);
    let deviation = |unit: usize| {
        let values = column(&inputs, units, unit);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>()
    };
    let mut by_deviation: Vec<(f64, usize)> = (0..units).map(|unit| (deviation(unit), unit)).collect();
    by_deviation.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    by_deviation[units / 2].1
}

fn test_images(data: &Dataset) -> Tensor<2> {
    let all: Vec<usize> = (0..data.test.len()).collect();
    Batch::of(&data.test, &all).images(&Device::flex())
}

/// A matrix's elements, row after row, and the length of a row.
fn rows(matrix: Tensor<2>) -> (Vec<f32>, usize) {
    let [_, width] = matrix.dims();
    (matrix.into_data().try_into_vec().expect("networks compute in f32"), width)
}

fn column(rows: &[f32], width: usize, index: usize) -> Vec<f64> {
    rows.iter().skip(index).step_by(width).map(|&value| f64::from(value)).collect()
}

/// The place of the first largest value.
fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = place;
        }
    }
    best
}

/// A percentile of sorted values, linear between neighbours.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = place.ceil() as usize;
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_neighbours() {
        let sorted = [0.0, 1.0, 2.0, 3.0, 10.0];
        assert_eq!(percentile(&sorted, 0.5), 2.0);
        assert_eq!(percentile(&sorted, 0.0), 0.0);
        assert_eq!(percentile(&sorted, 1.0), 10.0);
        assert!((percentile(&sorted, 0.15) - 0.6).abs() < 1e-12);
        assert_eq!(percentile(&[4.0], 0.85), 4.0);
    }

    #[test]
    fn a_tie_goes_to_the_first_class() {
        assert_eq!(largest(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(largest(&[0.0, 0.0]), 0);
    }
}
