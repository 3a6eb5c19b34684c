//! How many samples a classifier gets right.

use serde::{Deserialize, Serialize};

use super::RecalibrateError;
use crate::runtime::Array;

/// The share of samples whose largest logit is that of their class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The samples it got right.
    pub correct: u64,
    /// All of them.
    pub samples: u64,
}

impl Accuracy {
    /// The share, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.correct as f64 / self.samples.max(1) as f64
    }
}

/// How many of the first samples of a batch have their largest logit at their label. Of equal ones the first counts; a
/// sample with a NaN is wrong.
pub(super) fn correct(logits: &Array, labels: &[u32], first: u64) -> Result<u64, RecalibrateError> {
    let classes = logits.dims.get(1).copied().unwrap_or(0);
    let values = logits.to_f64();
    let mut correct = 0;
    for (index, (row, &label)) in values.chunks_exact(classes.max(1)).zip(labels).enumerate() {
        if label as usize >= classes {
            return Err(RecalibrateError::Label { sample: first + index as u64, label, classes });
        }
        let mut best = 0;
        for (class, value) in row.iter().enumerate() {
            if *value > row[best] {
                best = class;
            }
        }
        correct += u64::from(best == label as usize && row.iter().all(|value| !value.is_nan()));
    }
    Ok(correct)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_logit_decides_and_nan_is_wrong() {
        let logits = Array::new([3, 2], vec![0.0_f32, 1.0, 2.0, -1.0, f32::NAN, 0.0]).unwrap();
        assert_eq!(correct(&logits, &[1, 1, 0], 0).unwrap(), 1);
        assert_eq!(correct(&logits, &[1], 0).unwrap(), 1);
        let error = correct(&logits, &[0, 2], 10).unwrap_err();
        assert!(matches!(error, RecalibrateError::Label { sample: 11, label: 2, classes: 2 }));
    }
}
