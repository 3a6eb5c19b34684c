//! Random numbers: one ChaCha stream for each purpose, derived from one seed.
//!
//! Nothing here depends on a framework, on the number of threads or on how much another purpose has drawn: twin
//! networks get the same weights and the same batches because each asks for the same stream.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Splitting a data set into training and test part.
    Split,
    /// Initial weights.
    Weights,
    /// The order of the training images.
    Batches,
    /// The training images that population statistics are taken over.
    Population,
    /// The values that dropout sets to 0.
    Dropout {
        /// The training step, the first being 1.
        step: usize,
        /// The layer's place among those with dropout, below 2^16.
        layer: usize,
    },
    /// A tensor that a benchmark works on.
    Operand {
        /// Which tensor.
        which: u8,
        /// Which part of it.
        chunk: usize,
    },
    /// A problem that kernels are checked on.
    Problem {
        /// The problem's number.
        number: u64,
    },
    /// The tensors of such a problem.
    ProblemData {
        /// The problem's number.
        number: u64,
    },
    /// A random sample for a model.
    Sample {
        /// The sample's number, below 2^40.
        number: u64,
        /// The model's input, below 2^16.
        input: usize,
    },
    /// The order of a model's samples.
    SampleOrder,
    /// Noise on a sample.
    SampleNoise {
        /// The sample's number.
        number: u64,
    },
}

/// A stream of random numbers that depends on a seed and a purpose alone.
#[derive(Clone, Debug)]
pub struct Stream {
    generator: ChaCha8Rng,
}

impl Stream {
    /// The stream of one purpose under a seed.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(match purpose {
            Purpose::Split => 1,
            Purpose::Weights => 2,
            Purpose::Batches => 3,
            Purpose::Population => 4,
            // Every step and layer has a stream of its own: nothing to save, and nothing to replay.
            Purpose::Dropout { step, layer } => 5 | (layer as u64) << 8 | (step as u64) << 24,
            Purpose::Operand { which, chunk } => 6 | u64::from(which) << 8 | (chunk as u64) << 16,
            Purpose::Problem { number } => 7 | number << 8,
            Purpose::ProblemData { number } => 8 | number << 8,
            Purpose::Sample { number, input } => 9 | (input as u64) << 8 | number << 24,
            Purpose::SampleOrder => 10,
            Purpose::SampleNoise { number } => 11 | number << 8,
        });
        Self { generator }
    }

    /// A whole number in `0..bound`, every one as likely as the next to within 2^-32.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.generator.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Whether something of a probability happens, to within 2^-32.
    pub fn happens(&mut self, probability: f64) -> bool {
        f64::from(self.generator.next_u32()) < probability * (1_u64 << 32) as f64
    }

    /// A number in (0, 1].
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.generator.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// A standard normal number (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// About a standard normal number, the sum of four uniform ones: a fraction of the work, for whole tensors.
    pub(crate) fn roughly_normal(&mut self) -> f64 {
        let drawn = self.generator.next_u64();
        let sum: u64 = (0..4).map(|part| drawn >> (16 * part) & 0xffff).sum();
        // Four times the variance of a whole number below 2^16 is 2^32 / 3, but for a ten-billionth.
        (sum as f64 - 4.0 * 32767.5) / (65536.0 / 3f64.sqrt())
    }

    /// Puts `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_purpose_alone() {
        let draw = |seed, purpose| Stream::new(seed, purpose).below(1 << 40);
        assert_eq!(draw(1, Purpose::Weights), draw(1, Purpose::Weights));
        assert_ne!(draw(1, Purpose::Weights), draw(2, Purpose::Weights));
        assert_ne!(draw(1, Purpose::Weights), draw(1, Purpose::Batches));
    }

    #[test]
    fn every_step_and_layer_has_masks_of_its_own() {
        let draw = |step, layer| Stream::new(1, Purpose::Dropout { step, layer }).below(1 << 40);
        let drawn = [draw(1, 0), draw(1, 1), draw(2, 0), draw(256, 0), draw(1, 256)];
        let twice = |(place, number): (usize, &usize)| drawn[..place].contains(number);
        assert!(!drawn.iter().enumerate().any(twice), "{drawn:?}");
        assert_eq!(draw(2, 1), draw(2, 1));
    }

    #[test]
    fn what_has_a_probability_happens_so_often() {
        let mut stream = Stream::new(1, Purpose::Dropout { step: 1, layer: 0 });
        for probability in [0.0, 0.1, 0.5, 0.9, 1.0] {
            let share = (0..20_000).filter(|_| stream.happens(probability)).count() as f64 / 20_000.0;
            // Four standard deviations at most.
            assert!((share - probability).abs() <= 0.015, "{share} {probability}");
        }
        assert!((0..20_000).all(|_| !stream.happens(0.0) && stream.happens(1.0)));
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut stream = Stream::new(7, Purpose::Weights);
        let drawn: Vec<f64> = (0..20_000).map(|_| stream.normal()).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Stream::new(3, Purpose::Batches).shuffle(&mut items);
        assert!(items.iter().enumerate().any(|(place, &item)| place != item));
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
