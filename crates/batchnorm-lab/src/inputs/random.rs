//! Random numbers of the dimensions that a model takes: for verification, where any numbers will do.

use super::spec::shape;
use super::{InputSpec, InputsError};
use crate::streams::{Purpose, Stream};

/// More values than any sample has.
const MOST_VALUES: usize = 1 << 31;

/// Random samples, each of which depends on the seed and its own number alone.
#[derive(Debug)]
pub(super) struct Random {
    seed: u64,
    /// The dimensions of a sample of each input.
    pub(super) samples: Vec<Vec<usize>>,
}

impl Random {
    pub(super) fn new(seed: u64, inputs: &[InputSpec]) -> Result<Self, InputsError> {
        let sample = |input: &InputSpec| {
            let dims: Option<Vec<usize>> = input.dims.iter().skip(1).copied().collect();
            let size = dims
                .as_ref()
                .and_then(|dims| dims.iter().try_fold(1_usize, |size, &dim| size.checked_mul(dim)));
            match (dims, size) {
                (Some(dims), Some(size)) if size > MOST_VALUES => Err(InputsError::ImpossibleSize {
                    array: format!("the model's input {input}"),
                    found: shape(&dims),
                }),
                (Some(dims), Some(_)) if !input.dims.is_empty() => Ok(dims),
                _ => Err(InputsError::UnknownDims { input: input.to_string() }),
            }
        };
        Ok(Self { seed, samples: inputs.iter().map(sample).collect::<Result<_, _>>()? })
    }

    /// The samples at these places, for each input: standard normal numbers, or whole numbers that every table has.
    pub(super) fn values(&self, places: &[u64], inputs: &[InputSpec]) -> Vec<Vec<f32>> {
        let values = |(number, (input, dims)): (usize, (&InputSpec, &Vec<usize>))| {
            let size: usize = dims.iter().product();
            let mut values = Vec::with_capacity(size.saturating_mul(places.len()));
            for &place in places {
                let mut stream = Stream::new(self.seed, Purpose::Sample { number: place, input: number });
                let draw = || {
                    if input.element.is_float() { stream.normal() as f32 } else { stream.below(2) as f32 }
                };
                values.extend(std::iter::repeat_with(draw).take(size));
            }
            values
        };
        inputs.iter().zip(&self.samples).enumerate().map(values).collect()
    }
}
