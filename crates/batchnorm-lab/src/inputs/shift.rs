//! Images under other light: what recalibration is shown on.

use serde::{Deserialize, Serialize};

use super::InputsError;
use crate::streams::{Purpose, Stream};

/// A shift of images: contrast about the middle grey, brightness, and noise, each pixel held to its range.
///
/// ```text
/// x' = clamp(1/2 + contrast (x - 1/2) + brightness + noise z, 0, 1),     z standard normal
/// ```
///
/// of a pixel x from 0 (black) to 1 (white), before anything is subtracted or divided by. The noise of an image depends
/// on the seed and the image's place alone, whatever batch it is in.
///
/// ```
/// use batchnorm_lab::inputs::Shift;
///
/// let dark = Shift { brightness: -0.25, ..Shift::none() };
/// let mut pixels = [0.0, 0.5, 1.0];
/// dark.apply(0, &mut pixels);
/// assert_eq!(pixels, [0.0, 0.25, 0.75]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shift {
    /// What is added: 0 for nothing, 1 from black to white.
    pub brightness: f32,
    /// What the distance to the middle grey is multiplied by: 1 for nothing, negative for the negative.
    pub contrast: f32,
    /// The standard deviation of the noise.
    pub noise: f32,
    /// The seed of the noise.
    pub seed: u64,
}

impl Shift {
    /// Images as they are.
    pub const fn none() -> Self {
        Self { brightness: 0.0, contrast: 1.0, noise: 0.0, seed: 0 }
    }

    /// Checks that all of it are numbers.
    ///
    /// # Errors
    ///
    /// If one is not finite, or the noise is negative.
    pub fn validate(&self) -> Result<(), InputsError> {
        for (name, found) in
            [("brightness", self.brightness), ("contrast", self.contrast), ("noise", self.noise)]
        {
            if !found.is_finite() {
                return Err(InputsError::Settings {
                    problem: format!("the shift's {name} must be a finite number, found {found}"),
                });
            }
        }
        if self.noise < 0.0 {
            return Err(InputsError::Settings {
                problem: format!("the shift's noise is a standard deviation, at least 0; found {}", self.noise),
            });
        }
        Ok(())
    }

    /// Shifts the pixels, from 0 to 1, of the image at a place.
    pub fn apply(&self, place: u64, pixels: &mut [f32]) {
        let mut stream = Stream::new(self.seed, Purpose::SampleNoise { number: place });
        for x in pixels {
            let mut shifted = 0.5 + self.contrast * (*x - 0.5) + self.brightness;
            if self.noise > 0.0 {
                shifted += self.noise * stream.normal() as f32;
            }
            *x = shifted.clamp(0.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shift_leaves_a_pixel_as_it_is() {
        let before: Vec<f32> = (0..=255).map(|pixel| pixel as f32 / 255.0).collect();
        let mut after = before.clone();
        Shift::none().apply(3, &mut after);
        // One subtraction and one addition near 1/2: each rounds by at most 2^-25.
        assert!(before.iter().zip(&after).all(|(before, after)| (before - after).abs() <= f32::EPSILON / 2.0));
    }

    #[test]
    fn contrast_is_about_the_middle_grey() {
        let mut pixels = [0.0, 0.25, 0.5, 1.0];
        Shift { contrast: 0.5, ..Shift::none() }.apply(0, &mut pixels);
        assert_eq!(pixels, [0.25, 0.375, 0.5, 0.75]);
        Shift { contrast: -1.0, ..Shift::none() }.apply(0, &mut pixels);
        assert_eq!(pixels, [0.75, 0.625, 0.5, 0.25]);
    }

    #[test]
    fn noise_has_its_deviation_and_depends_on_seed_and_place() {
        let shift = Shift { noise: 0.05, seed: 1, ..Shift::none() };
        let drawn = |shift: Shift, place| {
            let mut pixels = vec![0.5; 10_000];
            shift.apply(place, &mut pixels);
            pixels
        };
        let noise = drawn(shift, 0);
        assert_eq!(noise, drawn(shift, 0));
        assert_ne!(noise, drawn(shift, 1));
        assert_ne!(noise, drawn(Shift { seed: 2, ..shift }, 0));
        let variance = noise.iter().map(|x| f64::from(x - 0.5).powi(2)).sum::<f64>() / noise.len() as f64;
        // The variance of 10 000 has a standard deviation of 1.4 in 100; five of them.
        assert!((variance.sqrt() / 0.05 - 1.0).abs() < 0.036, "{variance}");
        assert!(drawn(Shift { noise: 9.0, ..shift }, 0).iter().all(|x| (0.0..=1.0).contains(x)));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        Shift::none().validate().unwrap();
        for shift in [
            Shift { noise: -0.1, ..Shift::none() },
            Shift { contrast: f32::NAN, ..Shift::none() },
            Shift { brightness: f32::INFINITY, ..Shift::none() },
        ] {
            assert!(shift.validate().unwrap_err().to_string().contains("shift"), "{shift:?}");
        }
    }
}
