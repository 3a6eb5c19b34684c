//! Accuracy and loss of a network on images with labels.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::{Unscored, Watcher};
use crate::feed::Feed;
use crate::networks::{Classifier, Seen, Watch};

/// Images that go through a network at once where nothing else decides it: their activations fit a cache or nearly so.
pub const CHUNK: usize = 250;

/// How well a network does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The share of images put into their class; `None` if an output is not finite.
    pub accuracy: Option<f64>,
    /// Mean softmax cross-entropy; `None` if an output is not finite.
    pub loss: Option<f64>,
}

/// Scores a network, as it is, on the first so many images, in batches of a size.
///
/// `see` is given what the activations saw of each batch, if there is one.
///
/// # Errors
///
/// [`Unscored::Refused`] if a batch-norm layer refuses its input, [`Unscored::Stopped`] if the watcher wants it.
pub fn score<N: Classifier>(
    network: &N,
    feed: Feed<'_>,
    images: usize,
    batch_size: usize,
    mut see: Option<&mut dyn FnMut(Vec<Seen>)>,
    watcher: &mut dyn Watcher,
) -> Result<Score, Unscored> {
    let device = Device::flex();
    let mut tally = Tally::default();
    let places: Vec<usize> = (0..images.min(feed.len())).collect();
    for places in places.chunks(batch_size) {
        let batch = feed.batch(places);
        let mut watch = if see.is_some() { Watch::activations() } else { Watch::nothing() };
        let logits = network.forward(batch.images(&device), &mut watch)?;
        if let Some(see) = &mut see {
            see(watch.into_seen());
        }
        let [_, classes] = logits.dims();
        let logits: Vec<f32> = logits.into_data().try_into_vec().expect("networks compute in f32");
        tally.add(&logits, classes, batch.labels());
        watcher.done(places.len());
        if watcher.wants_to_stop() {
            return Err(Unscored::Stopped);
        }
    }
    Ok(tally.score())
}

/// Adds up a score, batch after batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    images: usize,
    right: usize,
    loss: f64,
    infinite: bool,
}

impl Tally {
    /// Adds a batch: a row of logits and a label for each image.
    pub fn add(&mut self, logits: &[f32], classes: usize, labels: &[u16]) {
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            self.images += 1;
            self.infinite |= row.iter().any(|logit| !logit.is_finite());
            self.right += usize::from(largest(row) == usize::from(label));
            self.loss += log_sum_exp(row) - f64::from(row[usize::from(label)]);
        }
    }

    /// The score of what was added; nothing has no score.
    pub fn score(&self) -> Score {
        if self.infinite || self.images == 0 {
            return Score::default();
        }
        let images = self.images as f64;
        Score { accuracy: Some(self.right as f64 / images), loss: Some(self.loss / images) }
    }
}

/// `exp(logit) / sum of exp(logits)`, for one image.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let total = log_sum_exp(logits);
    logits.iter().map(|&logit| (f64::from(logit) - total).exp()).collect()
}

/// The logarithm of the sum of exponentials, without overflow.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let most = logits.iter().map(|&logit| f64::from(logit)).fold(f64::NEG_INFINITY, f64::max);
    most + logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum::<f64>().ln()
}

/// The place of the first largest value.
pub fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = place;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_goes_to_the_first_class() {
        assert_eq!(largest(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(largest(&[0.0, 0.0]), 0);
    }

    #[test]
    fn loss_is_the_mean_negative_log_probability_of_the_right_class() {
        let mut tally = Tally::default();
        tally.add(&[0.0, 0.0, 1e4, 0.0], 2, &[0, 0]);
        let Score { accuracy, loss } = tally.score();
        assert_eq!(accuracy, Some(1.0));
        assert!((loss.unwrap() - 2.0_f64.ln() / 2.0).abs() < 1e-12);
    }

    #[test]
    fn outputs_that_are_not_finite_have_no_score() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut tally = Tally::default();
            tally.add(&[0.0, bad], 2, &[0]);
            assert_eq!(tally.score(), Score::default());
        }
        assert_eq!(Tally::default().score(), Score::default());
    }

    #[test]
    fn probabilities_add_up_to_one() {
        let probabilities = softmax(&[1000.0, 999.0, -1000.0]);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((probabilities[0] / probabilities[1] - 1.0_f64.exp()).abs() < 1e-9);
    }
}
