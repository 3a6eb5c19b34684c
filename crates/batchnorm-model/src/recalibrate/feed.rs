//! Batches on their way into a model.

use super::RecalibrateError;
use super::samples::{Batch, Samples};
use crate::runtime::{Array, ArrayValues, Session};

type Result<T, E = RecalibrateError> = std::result::Result<T, E>;

/// A model's outputs for a batch.
pub(super) struct Fed {
    pub(super) outputs: Vec<Array>,
    pub(super) labels: Option<Vec<u32>>,
    /// The samples in it; the model may have seen more, which are repeated ones.
    pub(super) count: usize,
    /// As many as the model saw.
    pub(super) seen: usize,
}

impl Fed {
    pub(super) fn is_padded(&self) -> bool {
        self.seen > self.count
    }
}

/// Takes samples in batches of a size, or of exactly this size where the model insists.
pub(super) struct Feed<'s> {
    pub(super) samples: &'s mut dyn Samples,
    pub(super) total: u64,
    pub(super) batch: usize,
    pub(super) exactly: bool,
}

impl Feed<'_> {
    pub(super) fn run(&mut self, session: &mut dyn Session, first: u64) -> Result<Fed> {
        let count = (self.total - first).min(self.batch as u64) as usize;
        let got = self.samples.batch(first, count);
        let Batch { mut inputs, labels } = got.map_err(|source| RecalibrateError::Samples { first, source })?;
        let other = |found| RecalibrateError::SampleCount { first, expected: count, found };
        for (_, array) in &inputs {
            let found = array.dims.first().copied().unwrap_or(0);
            if found != count {
                return Err(other(found));
            }
        }
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != count) {
            return Err(other(labels.len()));
        }
        let seen = if self.exactly { self.batch } else { count };
        if seen > count {
            inputs = inputs.into_iter().map(|(name, array)| (name, repeated(array, seen))).collect();
        }
        let named: Vec<(&str, &Array)> = inputs.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let outputs = session.run(&named)?.into_iter().map(|(_, array)| array).collect();
        Ok(Fed { outputs, labels, count, seen })
    }
}

/// The entries along the first axis over and over, until there are so many.
fn repeated(array: Array, rows: usize) -> Array {
    let Array { mut dims, values } = array;
    let row = values.len() / dims[0].max(1);
    dims[0] = rows;
    let length = rows * row;
    macro_rules! cycled {
        ($($variant:ident),*) => {
            match values {
                $(ArrayValues::$variant(values) => {
                    ArrayValues::$variant(values.iter().copied().cycle().take(length).collect())
                })*
            }
        };
    }
    let values = cycled!(F32, F64, F16, Bf16, I64, I32, I16, I8, U64, U32, U16, U8, Bool);
    Array { dims, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_repeated_from_the_first_on() {
        let array = Array::new([2, 2], vec![1_i64, 2, 3, 4]).unwrap();
        let more = repeated(array, 5);
        assert_eq!(more.dims, [5, 2]);
        assert_eq!(more.to_f64(), [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0]);
    }
}
