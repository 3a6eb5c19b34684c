//! What is done to a pixel before a network sees it.

use batchnorm::Moments;
use serde::{Deserialize, Serialize};

use super::Dataset;

/// What is done to a pixel p before a network sees it; saved with a network, so that evaluation does the same.
///
/// ```text
/// x = p / white
/// x = 1 if x > binarize, else 0      if asked for
/// x = (x - mean[c]) / std[c]         if there are means, for each channel c
/// ```
///
/// in f32. The same pixel gives the same bits in every image and every batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// The largest value that a pixel can have.
    pub white: f32,
    /// Above it a pixel becomes 1, else 0: in `[0, 1)`, of the pixel divided by `white`.
    #[serde(default)]
    pub binarize: Option<f32>,
    /// What is subtracted, for each channel; empty for nothing.
    #[serde(default)]
    pub mean: Vec<f32>,
    /// What is divided by afterwards, for each channel; empty for nothing.
    #[serde(default)]
    pub std: Vec<f32>,
}

/// A preprocessing that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessingError {
    /// A white that is no positive number.
    #[error("the largest pixel value must be a finite number > 0, found {found}; 255 is usual")]
    White {
        /// The value found.
        found: f32,
    },
    /// A threshold outside [0, 1).
    #[error("the threshold of black and white must be in [0, 1), found {found}; 0.5 is the middle")]
    Threshold {
        /// The threshold found.
        found: f32,
    },
    /// Another number of means or deviations than channels.
    #[error(
        "expected a mean and a standard deviation for each of {channels} channels, or none at all; found {means} and \
         {stds}"
    )]
    Channels {
        /// The channels of an image.
        channels: usize,
        /// The means found.
        means: usize,
        /// The deviations found.
        stds: usize,
    },
    /// A mean or a deviation that is none.
    #[error(
        "the mean and standard deviation of channel {channel} must be finite, the latter > 0; found {mean} and {std}"
    )]
    Standard {
        /// The channel.
        channel: usize,
        /// Its mean.
        mean: f32,
        /// Its deviation.
        std: f32,
    },
}

impl Preprocessing {
    /// Pixels from 0 to 1 and nothing else.
    pub fn plain(white: f32) -> Self {
        Self { white, binarize: None, mean: Vec::new(), std: Vec::new() }
    }

    /// Pixels that become 1 above half of white, else 0.
    pub fn binarizing(white: f32) -> Self {
        Self { binarize: Some(0.5), ..Self::plain(white) }
    }

    /// Pixels less their channel's mean, in units of their channel's standard deviation, both of the part to train on.
    ///
    /// A channel that is the same everywhere is only centred.
    pub fn standardizing(data: &Dataset) -> Self {
        let [channels, height, width] = data.dims;
        let mut counts = vec![[0u64; 256]; channels];
        for image in data.train.images().chunks_exact(data.pixels()) {
            for (plane, counts) in image.chunks_exact(height * width).zip(&mut counts) {
                for &pixel in plane {
                    counts[usize::from(pixel)] += 1;
                }
            }
        }
        let of_channel = |counts: &[u64; 256]| -> Moments {
            // Equal pixels have no variance: all that is left is to merge 256 groups.
            let group = |(pixel, &count): (usize, &u64)| Moments {
                count,
                mean: pixel as f64 / f64::from(data.white),
                m2: 0.0,
            };
            counts.iter().enumerate().map(group).collect()
        };
        let moments: Vec<Moments> = counts.iter().map(of_channel).collect();
        let deviation = |moments: &Moments| match moments.biased_variance().sqrt() as f32 {
            std if std > 0.0 => std,
            _ => 1.0,
        };
        Self {
            mean: moments.iter().map(|moments| moments.mean as f32).collect(),
            std: moments.iter().map(deviation).collect(),
            ..Self::plain(data.white)
        }
    }

    /// Checks it against the number of channels of an image.
    ///
    /// # Errors
    ///
    /// The first value that makes no sense.
    pub fn validate(&self, channels: usize) -> Result<(), PreprocessingError> {
        use PreprocessingError as E;
        if !(self.white.is_finite() && self.white > 0.0) {
            return Err(E::White { found: self.white });
        }
        if let Some(found) = self.binarize.filter(|threshold| !(0.0..1.0).contains(threshold)) {
            return Err(E::Threshold { found });
        }
        let (means, stds) = (self.mean.len(), self.std.len());
        if means != stds || (means != 0 && means != channels) {
            return Err(E::Channels { channels, means, stds });
        }
        for (channel, (&mean, &std)) in self.mean.iter().zip(&self.std).enumerate() {
            if !(mean.is_finite() && std.is_finite() && std > 0.0) {
                return Err(E::Standard { channel, mean, std });
            }
        }
        Ok(())
    }

    /// What becomes of each of the 256 values that a pixel of a channel can have.
    fn table(&self, channel: usize) -> [f32; 256] {
        std::array::from_fn(|pixel| {
            let mut x = pixel as f32 / self.white;
            if let Some(threshold) = self.binarize {
                x = if x > threshold { 1.0 } else { 0.0 };
            }
            match (self.mean.get(channel), self.std.get(channel)) {
                (Some(mean), Some(std)) => (x - mean) / std,
                _ => x,
            }
        })
    }

    /// Appends what becomes of the pixels of any number of images, of `dims` channels, height and width each.
    ///
    /// A call costs 256 divisions for each channel before the first pixel: give it a batch rather than an image.
    ///
    /// # Panics
    ///
    /// If `pixels` is no whole number of images.
    pub fn apply(&self, dims: [usize; 3], pixels: &[u8], out: &mut Vec<f32>) {
        let [channels, height, width] = dims;
        let plane = height * width;
        assert!(
            channels * plane > 0 && pixels.len().is_multiple_of(channels * plane),
            "expected images of {channels}x{height}x{width} values, found {} values",
            pixels.len()
        );
        let tables: Vec<[f32; 256]> = (0..channels).map(|channel| self.table(channel)).collect();
        out.reserve(pixels.len());
        for (index, values) in pixels.chunks_exact(plane).enumerate() {
            let table = &tables[index % channels];
            out.extend(values.iter().map(|&pixel| table[usize::from(pixel)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Access, Source, Split};

    fn digits() -> Dataset {
        Source::Digits.load(&mut Access::none()).unwrap()
    }

    fn applied(preprocessing: &Preprocessing, dims: [usize; 3], pixels: &[u8]) -> Vec<f32> {
        let mut out = Vec::new();
        preprocessing.apply(dims, pixels, &mut out);
        out
    }

    #[test]
    fn digits_are_the_same_sixteenths_to_the_bit() {
        let digits = digits();
        let raw = digits.train.images();
        let widened = applied(&Preprocessing::plain(digits.white), digits.dims, raw);
        assert!(
            raw.iter().zip(&widened).all(|(&pixel, &x)| x.to_bits() == (f32::from(pixel) / 16.0).to_bits())
        );
    }

    #[test]
    fn pixels_above_the_threshold_become_one() {
        let black_and_white = Preprocessing::binarizing(255.0);
        assert_eq!(applied(&black_and_white, [1, 1, 4], &[0, 127, 128, 255]), [0.0, 0.0, 1.0, 1.0]);
        let above_zero = Preprocessing { binarize: Some(0.0), ..Preprocessing::plain(255.0) };
        assert_eq!(applied(&above_zero, [1, 1, 3], &[0, 1, 255]), [0.0, 1.0, 1.0]);
    }

    #[test]
    fn each_channel_has_its_own_mean_and_deviation() {
        let preprocessing =
            Preprocessing { mean: vec![0.0, 1.0], std: vec![1.0, 0.5], ..Preprocessing::plain(1.0) };
        let two_images = [1, 2, 1, 2, 3, 4, 3, 4];
        assert_eq!(applied(&preprocessing, [2, 1, 2], &two_images), [1.0, 2.0, 0.0, 2.0, 3.0, 4.0, 4.0, 6.0]);
    }

    #[test]
    fn images_are_appended() {
        let mut out = vec![9.0];
        Preprocessing::plain(2.0).apply([1, 1, 1], &[1, 2], &mut out);
        assert_eq!(out, [9.0, 0.5, 1.0]);
        Preprocessing::plain(2.0).apply([1, 1, 1], &[], &mut out);
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn standardized_training_images_have_mean_zero_and_variance_one() {
        let colours = Dataset {
            dims: [3, 2, 2],
            white: 255.0,
            train: Split::of(12, (0..120u8).map(|value| value.wrapping_mul(37)).collect(), vec![0; 10]),
            ..digits()
        };
        for data in [digits(), colours] {
            let preprocessing = Preprocessing::standardizing(&data);
            let [channels, height, width] = data.dims;
            preprocessing.validate(channels).unwrap();
            let x = applied(&preprocessing, data.dims, data.train.images());
            for channel in 0..channels {
                let planes = x.chunks_exact(height * width).skip(channel).step_by(channels);
                let values: Vec<f32> = planes.flatten().copied().collect();
                let moments = Moments::of(&values);
                // Mean and deviation are rounded to f32, 24 bits, and so is each value.
                assert!(moments.mean.abs() < 1e-6, "{}", moments.mean);
                assert!((moments.biased_variance() - 1.0).abs() < 1e-6, "{}", moments.biased_variance());
            }
        }
    }

    #[test]
    fn a_constant_channel_is_only_centred() {
        let data = Dataset { train: Split::of(64, vec![8; 128], vec![0, 1]), ..digits() };
        let preprocessing = Preprocessing::standardizing(&data);
        assert_eq!((preprocessing.mean, preprocessing.std), (vec![0.5], vec![1.0]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let plain = Preprocessing::plain(255.0);
        plain.validate(3).unwrap();
        let refused = |preprocessing: Preprocessing| preprocessing.validate(1).unwrap_err();
        assert!(matches!(refused(Preprocessing::plain(0.0)), PreprocessingError::White { .. }));
        assert!(matches!(refused(Preprocessing::plain(f32::NAN)), PreprocessingError::White { .. }));
        for threshold in [-0.1, 1.0, f32::NAN] {
            let found = refused(Preprocessing { binarize: Some(threshold), ..plain.clone() });
            assert!(matches!(found, PreprocessingError::Threshold { .. }), "{threshold}");
        }
        for (mean, std) in [(vec![0.0], vec![]), (vec![0.0; 3], vec![1.0; 3])] {
            let found = refused(Preprocessing { mean, std, ..plain.clone() });
            assert!(matches!(found, PreprocessingError::Channels { channels: 1, .. }));
        }
        for (mean, std) in [(f32::INFINITY, 1.0), (0.0, 0.0), (0.0, f32::NAN)] {
            let found = refused(Preprocessing { mean: vec![mean], std: vec![std], ..plain.clone() });
            assert!(matches!(found, PreprocessingError::Standard { channel: 0, .. }));
        }
    }

    #[test]
    fn it_survives_a_round_trip_to_the_bit() {
        let preprocessing = Preprocessing { binarize: Some(0.1), ..Preprocessing::standardizing(&digits()) };
        let json = serde_json::to_string(&preprocessing).unwrap();
        assert_eq!(serde_json::from_str::<Preprocessing>(&json).unwrap(), preprocessing);
        assert_eq!(
            serde_json::from_str::<Preprocessing>("{\"white\":16}").unwrap(),
            Preprocessing::plain(16.0)
        );
        assert!(serde_json::from_str::<Preprocessing>("{\"white\":16,\"crop\":2}").is_err());
    }
}
